//! Which processes to watch: by number, name, control group, or the port of their sockets.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use copycost::internals::sys::text;

/// A choice of processes. Their children are watched too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The process with this number.
    Pid(i32),
    /// Every process whose command or program has this name.
    Name(String),
    /// Every process of a control group and of those below it.
    Cgroup(PathBuf),
    /// Every process that has a TCP socket at this local port.
    Port(u16),
}

/// The kernel keeps so many bytes of a command's name.
const LONGEST_COMMAND: usize = 15;

/// The processes of the targets that run now, without this one.
pub fn find(targets: &[Target]) -> BTreeSet<i32> {
    let mut found: BTreeSet<i32> = targets.iter().flat_map(Target::find).collect();
    found.remove(&i32::try_from(std::process::id()).unwrap_or(0));
    found
}

impl Target {
    fn find(&self) -> Vec<i32> {
        match self {
            Self::Pid(pid) => {
                Path::new(&format!("/proc/{pid}")).exists().then_some(*pid).into_iter().collect()
            }
            Self::Name(name) => processes().into_iter().filter(|pid| has_name(*pid, name)).collect(),
            Self::Cgroup(path) => in_cgroup(path),
            Self::Port(port) => at_port(*port),
        }
    }

    /// Why nothing was found, as the end of a sentence.
    pub fn none(&self) -> String {
        match self {
            Self::Pid(pid) => format!("there is no process {pid}"),
            Self::Name(name) => format!("there is no process named '{}'", name.escape_debug()),
            Self::Cgroup(path) => format!("there is no process in the control group '{}'", path.display()),
            Self::Port(port) => format!("no process that can be seen has a TCP socket at port {port}"),
        }
    }
}

/// The numbers of all processes.
fn processes() -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Whether the command, or the file of the program, has this name.
fn has_name(pid: i32, name: &str) -> bool {
    let command = text::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    let cut: String = name.chars().take(LONGEST_COMMAND).collect();
    if command.trim_end_matches('\n') == cut {
        return true;
    }
    let program = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    program.file_name().is_some_and(|file| file == name)
}

/// The processes of a control group. A relative path begins at the mount of cgroup v2.
fn in_cgroup(path: &Path) -> Vec<i32> {
    // An absolute path replaces the mount.
    let folder = Path::new("/sys/fs/cgroup").join(path);
    let folder = if folder.exists() {
        folder
    } else {
        Path::new("/sys/fs/cgroup").join(path.strip_prefix("/").unwrap_or(path))
    };
    let mut found = Vec::new();
    let mut folders = vec![folder];
    while let Some(folder) = folders.pop() {
        let list = text::read(folder.join("cgroup.procs")).unwrap_or_default();
        found.extend(list.lines().filter_map(|line| line.parse::<i32>().ok()));
        let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
        folders.extend(
            entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|e| e.path()),
        );
    }
    found
}

/// The processes that have a TCP socket at a port of their network namespace.
fn at_port(port: u16) -> Vec<i32> {
    let mut namespaces: Vec<(PathBuf, BTreeSet<u64>)> = Vec::new();
    let mut found = Vec::new();
    for pid in processes() {
        let Ok(namespace) = fs::read_link(format!("/proc/{pid}/ns/net")) else { continue };
        if !namespaces.iter().any(|known| known.0 == namespace) {
            let of = |file: &str| {
                let table = text::read(format!("/proc/{pid}/net/{file}")).unwrap_or_default();
                sockets_at(port, &table)
            };
            namespaces.push((namespace.clone(), of("tcp").into_iter().chain(of("tcp6")).collect()));
        }
        let inodes = namespaces.iter().find(|known| known.0 == namespace).map(|known| &known.1);
        if inodes.is_some_and(|inodes| !inodes.is_empty() && has_socket(pid, inodes)) {
            found.push(pid);
        }
    }
    found
}

/// The inodes of the sockets at a local port, from the text of `/proc/net/tcp`.
fn sockets_at(port: u16, table: &str) -> Vec<u64> {
    let inode = |line: &str| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let (_, local) = fields.get(1)?.rsplit_once(':')?;
        (u16::from_str_radix(local, 16).ok()? == port).then_some(())?;
        // Sockets that wait for their end (TIME_WAIT) have no inode.
        fields.get(9)?.parse().ok().filter(|inode| *inode != 0)
    };
    table.lines().skip(1).filter_map(inode).collect()
}

fn has_socket(pid: i32, inodes: &BTreeSet<u64>) -> bool {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    files.filter_map(|file| fs::read_link(file.path()).ok()).any(|link| {
        let inode =
            link.to_str().and_then(|link| link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
        inode.is_some_and(|inode: u64| inodes.contains(&inode))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn this() -> i32 {
        i32::try_from(std::process::id()).unwrap()
    }

    #[test]
    fn sockets_are_found_by_their_port() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(at_port(port), [this()]);
        // This process only watches.
        assert_eq!(find(&[Target::Port(port)]), BTreeSet::new());
        drop(listener);
        assert!(at_port(port).is_empty());
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
                     0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 4242 1 0\n\
                     1: 0100007F:1F90 0100007F:9999 06 00000000:00000000 03:00000000 00000000 0 0 0 3 0\n\
                     nonsense\n";
        assert_eq!(sockets_at(8080, table), [4242]);
        assert_eq!(sockets_at(80, table), [0; 0]);
    }

    #[test]
    fn processes_are_found_by_name_and_number() {
        let mut sleeper = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = i32::try_from(sleeper.id()).unwrap();
        let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
        // Until the child has become another program it has our name.
        while !find(&[Target::Name("sleep".to_owned())]).contains(&pid) {
            assert!(std::time::Instant::now() < until);
        }
        assert_eq!(find(&[Target::Pid(pid)]), BTreeSet::from([pid]));
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
        assert_eq!(find(&[Target::Pid(pid), Target::Name("no such program".to_owned())]), BTreeSet::new());
        assert!(in_cgroup(Path::new("/no/such/group")).is_empty());
    }
}
