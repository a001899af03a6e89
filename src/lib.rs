//! copycost measures what it costs to move a message from user memory into a TCP socket.
#![cfg_attr(not(target_os = "linux"), allow(unused))]

#[cfg(not(target_os = "linux"))]
compile_error!("copycost measures Linux system calls and builds on Linux only");

#[cfg(feature = "cli")]
pub mod cli;
pub mod compare;
pub mod connection;
pub mod fleet;
pub mod latency;
pub mod message;
pub mod protocol;
#[cfg(feature = "cli")]
pub mod record;
pub mod recv;
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
