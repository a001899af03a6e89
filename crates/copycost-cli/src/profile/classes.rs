//! Which kernel function belongs to which class of cost. The table is `kernel_functions.txt`.
//!
//! A sample belongs to the class of its innermost frame, because that is the code that ran. Three kinds of frames say
//! nothing by themselves and give way to the nearest caller that has a class:
//!
//! - what everybody uses (`[generic]`): copying and filling memory, locks, RCU, lists, clocks, timers. So a
//!   `memcpy` below `skb_copy_ubufs` is a copy, and an unlock below `__wake_up` is a wake-up;
//! - small helpers of TCP and of buffers that are in no line of the table (`tcp_*`, `skb_*`, …): which of them a
//!   compiler leaves as functions changes from kernel to kernel;
//! - nothing else. A function that is in neither list is [`Class::Rest`], even below a classed caller, and is listed.

use std::collections::HashMap;
use std::sync::OnceLock;

use copycost::named_enum;

/// What the time went into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Bytes of messages, between user memory and the kernel or from page to page, with the checks before it.
    Copy,
    /// Of these what was copied to a destination that lies 1 to 31 bytes behind its source, modulo 4096
    /// (docs/buffer-offsets.md).
    Hazard,
    /// Taking and giving back references to pages of user memory or files.
    Pin,
    /// Memory of the kernel for buffers and their descriptions, and the accounts of how much a socket may have.
    Allocate,
    /// From user space into the kernel and back, down to the socket.
    Entry,
    /// Making segments and handing them to a device: TCP, IP, queueing.
    Transmit,
    /// The receiving half of TCP and IP, acknowledgements included; on loopback it runs on the sender's time.
    Softirq,
    /// The receiving system call itself.
    Receive,
    /// Telling a sender that its memory is free, and reading that.
    Notification,
    /// Waking, sleeping, choosing who runs, polling.
    Scheduling,
    /// Code of the process.
    User,
    /// What no line of the table has.
    Rest,
}

named_enum!(Class: Copy = "copy", Hazard = "hazardous copy", Pin = "pin and unpin", Allocate = "allocate and free", Entry = "system-call entry",
    Transmit = "TCP transmit", Softirq = "receive softirq", Receive = "receive call", Notification = "notification",
    Scheduling = "wake-up and scheduling", User = "user space", Rest = "rest");

/// Functions of the kernel that have the copying instruction in them.
const COPYING: [&str; 8] = [
    "rep_movs",
    "copy_user_",
    "_copy_from_iter",
    "_copy_to_iter",
    "copy_page_from_iter",
    "copy_page_to_iter",
    "copy_to_user_iter",
    "copy_from_user_iter",
];

/// Whether a function of this name copies between memory of the kernel and of a program by itself, so that its registers tell
/// from where to where.
pub fn has_the_copy(name: &str) -> bool {
    COPYING.iter().any(|begin| name.starts_with(begin))
}

/// The table; its head explains it.
const TABLE: &str = include_str!("kernel_functions.txt");

/// What a name of the table stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NameMatch {
    Class(Class),
    /// The nearest caller with a class decides.
    Generic,
}

/// The names of the table, each with what it stands for and the file above it; empty above the first file of a class.
fn entries() -> impl Iterator<Item = (&'static str, NameMatch, &'static str)> {
    let (mut section, mut file) = (NameMatch::Generic, "");
    let lines = TABLE.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines.flat_map(move |line| {
        if let Some(name) = line.strip_prefix('[') {
            let class = name.trim_end_matches(']').parse().map(NameMatch::Class);
            (section, file) = (class.unwrap_or(NameMatch::Generic), "");
        } else if !line.starts_with(' ') {
            file = line;
        }
        let names = if line.starts_with(' ') { line } else { "" };
        let (section, file) = (section, file);
        names.split_whitespace().map(move |name| (name, section, file))
    })
}

struct ClassIndex {
    exact: HashMap<&'static str, NameMatch>,
    /// Longest first.
    prefixes: Vec<(&'static str, NameMatch)>,
}

fn index() -> &'static ClassIndex {
    static INDEX: OnceLock<ClassIndex> = OnceLock::new();
    INDEX.get_or_init(|| {
        let (mut exact, mut prefixes) = (HashMap::new(), Vec::new());
        for (name, meaning, _) in entries() {
            match name.strip_suffix('*') {
                Some(prefix) => prefixes.push((prefix, meaning)),
                None => drop(exact.insert(name, meaning)),
            }
        }
        prefixes.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        ClassIndex { exact, prefixes }
    })
}

fn meaning(name: &str) -> Option<NameMatch> {
    let index = index();
    let by_prefix =
        || index.prefixes.iter().find(|(prefix, _)| name.starts_with(prefix)).map(|(_, meaning)| *meaning);
    index.exact.get(name).copied().or_else(by_prefix)
}

/// The class of a sample in the kernel, by its frames from the innermost to the outermost.
pub fn of<'a>(frames: impl Iterator<Item = &'a str>) -> Class {
    let mut meanings = frames.map(meaning);
    match meanings.next().flatten() {
        Some(NameMatch::Class(class)) => class,
        Some(NameMatch::Generic) => meanings
            .find_map(|meaning| match meaning {
                Some(NameMatch::Class(class)) => Some(class),
                _ => None,
            })
            .unwrap_or(Class::Rest),
        None => Class::Rest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_frame_decides_and_the_generic_give_way() {
        for (frames, class) in [
            ("_copy_from_iter;tcp_sendmsg_locked;do_syscall_64", Class::Copy),
            ("__pi_memcpy;skb_copy_ubufs;ip_local_deliver_finish", Class::Copy),
            ("memset_orig;__alloc_skb;tcp_stream_alloc_skb", Class::Allocate),
            ("_raw_spin_unlock_irqrestore;__wake_up_common_lock;sock_def_readable", Class::Scheduling),
            ("tcp_helper_of_this_kernel;tcp_ack;tcp_rcv_established", Class::Softirq),
            ("__rcu_read_unlock;unheard_of;sock_def_readable", Class::Scheduling),
            ("unheard_of;sock_def_readable", Class::Rest),
            ("memcpy;unheard_of", Class::Rest),
            ("tcp_write_xmit;tcp_ack;tcp_rcv_established", Class::Transmit),
            ("io_tx_ubuf_complete;io_issue_sqe", Class::Notification),
            ("", Class::Rest),
        ] {
            assert_eq!(of(frames.split(';')), class, "{frames}");
        }
    }

    #[test]
    fn no_name_stands_twice() {
        let mut names: Vec<_> = entries().map(|(name, ..)| name).collect();
        names.sort_unstable();
        for pair in names.windows(2) {
            assert_ne!(pair[0], pair[1]);
        }
    }

    #[test]
    fn every_class_of_the_kernel_has_functions_and_every_function_a_file() {
        for class in Class::ALL {
            let has = entries().any(|(_, meaning, _)| meaning == NameMatch::Class(*class));
            assert_eq!(!has, matches!(class, Class::Hazard | Class::User | Class::Rest), "{class}");
        }
        for (name, meaning, file) in entries() {
            assert_eq!(meaning == NameMatch::Generic, file.is_empty(), "{name}");
            assert!(!name.trim_end_matches('*').contains('*'), "a star stands only at the end: {name}");
        }
        let sections = TABLE.lines().filter(|line| line.starts_with('['));
        for section in sections.filter(|section| *section != "[generic]") {
            assert!(section.trim_matches(['[', ']']).parse::<Class>().is_ok(), "{section} is no class");
        }
    }
}
