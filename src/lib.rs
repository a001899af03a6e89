//! copycost measures what it costs to move a message from user memory into a TCP socket, and so answers one
//! question with evidence: *for my message sizes, on my kernel and my network, should my server use `send()`,
//! `sendmsg()`, `MSG_ZEROCOPY` or something else?*
//!
//! This crate is the library with the send paths and a set of Criterion benchmarks (`cargo bench`). The command `copycost`
//! (the crate `copycost-cli`) does what Criterion cannot: interleaved comparison, other hosts, a software network card,
//! explanation, prediction, reports.
//!
//! ```
//! use std::time::Duration;
//!
//! use copycost::message::Spec;
//! use copycost::rig::{Rig, Work};
//! use copycost::scenario::Scenario;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // 16 KiB by one sendmsg() for each message, to four clients over loopback.
//! let path = copycost::send::by_name("onecopy").ok_or("no such path")?;
//! let mut rig = Rig::build(&Scenario::new(path, Spec::new(16 * 1024)?, 4))?;
//! let sample = rig.run(Work::Window(Duration::from_millis(50)))?;
//! println!("{:.2} GB/s, {} system calls", sample.throughput() / 1e9, sample.calls);
//! # Ok(())
//! # }
//! ```
//!
//! # Terms
//!
//! | term | meaning |
//! |---|---|
//! | message | one to eight *fields*; its *size* is the sum of the field lengths ([`message`]) |
//! | send path | one way to hand messages to the kernel ([`send`]) |
//! | receive path | one way to take bytes from the socket ([`recv`]) |
//! | layout, buffers, footprint | where the fields lie, whether messages are rewritten, how much memory they cover |
//! | placement | which CPUs the two ends of each connection use ([`scenario::Placement`]) |
//! | workload | messages of several sizes: a mix with shares, or a trace ([`workload`]) |
//! | deck | what a sender of a workload plays again and again |
//! | round | one message, or one deck, to every client; one Criterion iteration is one round |
//! | open loop | a load that does not wait: a message is asked for when it is due ([`rig::OpenLoop`]) |
//! | rig | a warm scenario: server, clients, connections ([`rig`]) |
//! | sample | the result of one [`rig::Rig::run`] |
//! | ledger | what the kernel reported to a sender ([`send::Ledger`]) |
//! | completion | a notification that the kernel has released the pages of a send |
//!
//! # How a measurement runs
//!
//! A [`scenario::Scenario`] says what is measured. [`rig::Rig::build`] starts a server and its clients. In a run, each
//! client asks for messages (`protocol::Ask`). Its server thread takes them from its `pool::MessagePool`, pushes them into
//! its [`send::Sender`], waits at the end until the kernel has released them, and reports. The client receives and counts.
//! The rig joins the reports of both ends into a [`rig::Sample`].
//!
//! Three decisions carry the rest:
//!
//! - **Messages are pushed into a sender, and the uniqueness of an `Arc` proves release.** A path keeps a clone of each
//!   message for as long as the kernel may read it. So buffer policies, verification and the search for early reuse live
//!   outside the paths, a copying path is one method, and your server can use [`send::ZeroCopy`] as it is.
//! - **A window is many requests, not a deadline at the server.** A client asks ahead for portions of a few milliseconds
//!   until the window is over. So the server has no clock in its loop, both ends know every byte that must come, and the
//!   same protocol serves throughput, latency and other hosts.
//! - **The clock never stops at the sender.** It counts bytes that clients have received; stopping at the sender would
//!   time the filling of socket buffers. Memory that the kernel still has to release is waited for outside the clock and
//!   inside the CPU time.
//!
//! The ends of a connection are where a [`rig::Site`] puts them: [`rig::Loopback`] here; the command adds another host,
//! the lab and jobs of many hosts.
//!
//! # Layers
//!
//! From the top; a file imports only from rows below its own:
//!
//! ```text
//! benches/*
//! rig                                    the two ends as one warm whole: every measurement is `rig.run(work)`
//! server  clients                        the sending end; the receiving end
//! scenario                               one cell of a matrix
//! placement  protocol  connection        where threads run; the first bytes of a connection; socket options
//! cost                                   what a run costs: CPU time, counters, TCP_INFO
//! pool                                   messages in turn, rewritten when they are free
//! send  recv                             one file a path
//! workload                               messages of several sizes: mixes and traces
//! message  cgroup                        what is sent; what control groups limit
//! offset  latency  units  unsupported    where buffers start; histograms; sizes and rates; why a path is not available
//! sys  names                             system calls, and the only `unsafe`; enums of plain words
//! ```

// All or nothing: elsewhere the one error is a sentence, not a list of what is missing.
cfg_if::cfg_if! {
    if #[cfg(all(target_os = "linux", target_pointer_width = "64"))] {
        mod cgroup;
        mod connection;
        pub mod cost;
        mod clients;
        pub mod latency;
        pub mod message;
        pub mod offset;
        mod names;
        mod protocol;
        pub mod recv;
        pub mod rig;
        pub mod scenario;
        mod placement;
        pub mod send;
        mod server;
        mod pool;
        mod sys;
        pub mod units;
        mod unsupported;
        pub mod workload;

        /// What a skipped test says, and whether the full set is run.
        #[cfg(test)]
        #[path = "../tests/common/rules.rs"]
        mod test_rules;

        /// What the command `copycost`, the tests and the benches of this project need beyond the public items. It changes
        /// without notice.
        #[doc(hidden)]
        pub mod internals {
            macro_rules! open {
                ($($module:ident),*) => {$(
                    pub mod $module {
                        pub use crate::$module::*;
                    }
                )*};
                (of $parent:ident: $($module:ident),*) => {$(
                    pub mod $module {
                        pub use crate::$parent::$module::*;
                    }
                )*};
            }

            open!(cgroup, clients, connection, placement, pool, protocol, server, sys, unsupported);

            pub mod cost {
                open!(of cost: counters, counts, cpu, limiter, meter, opener, pollution, relayed, softirq, system, wire);
            }

            pub mod rig {
                pub use crate::rig::{barrier::*, cluster::*, memory::*, site::*};
            }
        }
    } else {
        compile_error!("copycost measures Linux system calls and builds on 64-bit Linux only");
    }
}
