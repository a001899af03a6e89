//! copycost measures what it costs to move a message from user memory into a TCP socket, and so answers one
//! question with evidence: *for my message sizes, on my kernel and my network, should my server use `send()`,
//! `sendmsg()`, `MSG_ZEROCOPY` or something else?*
//!
//! It is a set of Criterion benchmarks (`cargo bench`), the command `copycost` for what Criterion cannot do
//! (interleaved comparison), and this library, which holds the send paths.
//!
//! # The words
//!
//! | word | meaning |
//! |---|---|
//! | message | eight *fields*; its *size* is the sum of the field lengths ([`message`]) |
//! | send path | one way to hand messages to the kernel ([`send`]) |
//! | receive path | one way to take bytes from the socket ([`recv`]) |
//! | layout, buffers, footprint | where the fields lie, whether messages are rewritten, how much memory they cover |
//! | placement | which CPUs the two ends of each connection use ([`seat`]) |
//! | round | one message to every client; one Criterion iteration is one round |
//! | rig | a warm scenario: server, fleet, connections ([`rig`]) |
//! | sample | what one [`rig::Rig::run`] yields |
//! | ledger | what the kernel told a sender ([`send::Ledger`]) |
//! | completion | a notification that the kernel has released the pages of a send |
//!
//! # The way of the data
//!
//! A [`scenario::Scenario`] says what is measured. [`rig::Rig::build`] starts a [`server::Server`] and a
//! [`fleet::Fleet`] for it. In a run each client *asks* for messages ([`protocol::Ask`]); its server thread takes
//! them from its [`supply::Supply`], pushes them into its [`send::Sender`], waits at the end until the kernel has
//! released them, and reports; the client receives and counts. The rig joins both ends into a [`rig::Sample`].
//!
//! Three decisions carry the rest:
//!
//! - **Messages are pushed into a sender, and the uniqueness of an `Arc` proves release.** A path keeps a clone of
//!   each message for as long as the kernel may read it. So buffer policies, verification and the search for early
//!   reuse live outside the paths, a copying path is one method, and a user's server can use [`send::ZeroCopy`] as it is.
//! - **A window is many asks, not a deadline at the server.** A client asks ahead for portions of a few
//!   milliseconds until the window is over. So the server has no clock in its loop, both ends know every byte that
//!   must come, and the same protocol serves throughput, latency and remote ends.
//! - **The clock never stops at the sender.** It counts bytes that clients have received; stopping at the sender
//!   would time the filling of socket buffers. What the kernel still has to release is waited for outside the clock
//!   and inside the CPU time.
//!
//! Where the ends are is a [`rig::Site`]: here, on another host, or in the lab. In the lab every thread begins by entering
//! its network namespace ([`seat::Seat`]); a socket belongs to the namespace of the thread that made it, so listener and
//! connections are made there too. What the relay between the ends spends is a part of the sample beside the ends', and
//! a record's word for what became of the bytes is the probe's, not only the kernel's.
//!
//! The rooms of the house, bottom up; a file imports only from rows below its own:
//!
//! ```text
//! benches/*            cli
//! report               from records to text
//! compare              verdict, baseline: sentences and changes, from records     explain   answer
//! record
//! explain  model       where the CPU time of paths goes; what it comes to for messages that were not measured
//! compare              schedule, turns, cell, trial, stats, crossover, self_test     many
//! rig
//! remote  lab          other hosts; a network card in software     doctor
//! seat  server  fleet
//! scenario  conditions
//! protocol  connection  profile
//! cost
//! send  recv
//! message  supply  units  latency  unsupported
//! sys                  system calls; the only place with `unsafe`
//! ```

#[cfg(not(target_os = "linux"))]
compile_error!("copycost measures Linux system calls and builds on Linux only");

#[cfg(feature = "cli")]
pub mod cli;
pub mod compare;
#[cfg(feature = "cli")]
pub mod conditions;
pub mod connection;
pub mod cost;
#[cfg(feature = "cli")]
pub mod doctor;
#[cfg(feature = "cli")]
pub mod explain;
pub mod fleet;
#[cfg(feature = "cli")]
pub mod lab;
pub mod latency;
#[cfg(feature = "cli")]
pub mod many;
pub mod message;
#[cfg(feature = "cli")]
pub mod model;
#[cfg(feature = "cli")]
pub mod profile;
pub mod protocol;
#[cfg(feature = "cli")]
pub mod record;
pub mod recv;
#[cfg(feature = "cli")]
pub mod remote;
#[cfg(feature = "cli")]
pub mod report;
pub mod rig;
pub mod scenario;
pub mod seat;
pub mod send;
pub mod server;
pub mod supply;
pub mod sys;
pub mod units;
mod unsupported;
