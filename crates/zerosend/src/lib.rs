//! Safe zero-copy sends (`MSG_ZEROCOPY`) on Linux TCP sockets.
//!
//! ```
//! # fn main() -> std::io::Result<()> {
//! # use std::net::{TcpListener, TcpStream};
//! # let listener = TcpListener::bind("127.0.0.1:0")?;
//! # let client = TcpStream::connect(listener.local_addr()?)?;
//! # let (stream, _) = listener.accept()?;
//! use zerosend::{Blocking, Payload, Sender};
//!
//! let mut sender = Blocking::new(Sender::new(stream)?);
//! let body = vec![7; 1 << 20];
//! sender.send(Payload::new().copied("HTTP/1.1 200 OK\r\ncontent-length: 1048576\r\n\r\n").by_reference(body))?;
//! # drop(client);
//! # Ok(())
//! # }
//! ```
//!
//! With `MSG_ZEROCOPY` the kernel sends from the program's memory instead of copying it, and reports later when it is done with
//! it. Until then the memory must neither change nor be freed. Here a [`Payload`] owns its memory, and the [`Sender`] keeps it until the
//! kernel has reported that it is done. A [`Receipt`] gives it back. A dropped sender neither cuts off what was sent nor leaks.
//!
//! # When it pays
//! Where the peer is on another machine, with payloads from some 16 to 32 KiB of contiguous memory on: what is saved is the copy, and
//! what it costs is pinning pages and reading reports. Below 10 KiB a copy is nearly always cheaper. On loopback, and between
//! containers of one machine, the kernel copies after all, and zero copy costs more than it saves. With TLS in user space the
//! encryption makes a copy anyhow.
//!
//! A [`Policy`] decides, by default [`Policy::Auto`]: it copies what is small, sends large pieces by reference, and stops asking where the
//! kernel answers that it copies. [`Stats::decisions`] and [`routes()`] show what it did and why. `copycost run -p onecopy,zerocopy`
//! measures where the border is on your machine.
//!
//! # Where things are
//! - [`Payload`]: what is sent, of [`Segment`]s by reference and copied.
//! - [`Sender`], [`Cursor`]: the core, which never blocks.
//! - [`Policy`], [`Options`]: what goes by reference, and how much at once.
//! - [`Blocking`]: the same, which waits, with deadlines.
//! - [`Receipt`], [`Released`], [`Outcome`]: what comes back.
//! - [`set_linger`], [`dropped`], [`wait_for_dropped`]: what becomes of dropped senders.
//! - [`Stats`], [`process_stats`], [`routes()`]: what happened.
//!
//! # Features
//! - `bytes`: segments from `bytes::Bytes`, and whole `bytes::Buf`s.
//! - `tokio`: connections of a tokio runtime, in the module `tokio`.
//! - `tracing`: an event when a route changes its answer (target `zerosend::routes`).
//!
//! # Layers
//! A file imports only from rows below its own:
//!
//! ```text
//! tokio                             connections of a tokio runtime
//! blocking                          the façade that waits
//! process  sender                   what all senders did; the core
//! reaper                            the thread that waits for dropped senders
//! sys::connection                   the payloads that the kernel may refer to
//! receipt                           what comes back
//! payload  routes                   what is sent; where the kernel copies
//! policy  ids  stats  rota          what goes by reference; what is in flight; counts; whose turn it is
//! sys  report  sync                 system calls; what the kernel reports
//! ```
//!
//! What must hold, and why, is in DESIGN.md. Linux from 4.14 on, x86-64 and aarch64; Rust 1.88.

#![cfg_attr(docsrs, feature(doc_cfg))]

/// As the crate of that name has it, which would be a dependency for one use. rustfmt knows it by its name.
macro_rules! cfg_if {
    (if #[cfg($here:meta)] { $($item:item)* } else { $($elsewhere:item)* }) => {
        $(#[cfg($here)] $item)*
        $(#[cfg(not($here))] $elsewhere)*
    };
}

cfg_if! {
    if #[cfg(all(target_os = "linux", target_pointer_width = "64"))] {
        mod blocking;
        mod ids;
        mod payload;
        mod policy;
        mod process;
        mod reaper;
        mod receipt;
        mod report;
        mod rota;
        mod routes;
        mod sender;
        mod stats;
        mod sync;
        #[allow(unsafe_code, reason = "system calls; nothing outside this module is unsafe")]
        mod sys;
        #[cfg(feature = "tokio")]
        #[cfg_attr(docsrs, doc(cfg(feature = "tokio")))]
        pub mod tokio;

        pub use blocking::{Blocking, SendError};
        pub use payload::{Payload, Segment};
        pub use policy::{Limits, Options, Policy};
        pub use process::{ProcessStats, process_stats};
        pub use reaper::{Dropped, Linger, dropped, linger, set_linger, wait_for_dropped};
        pub use receipt::{Lost, Receipt, Released};
        pub use report::Outcome;
        pub use routes::{Answer, RouteStats, routes};
        pub use sender::{Cursor, ReadHalf, Refused, Sender};
        pub use stats::{Decisions, ReportTimes, Stats};
        pub use sys::{Memory, supported};
    } else {
        compile_error!("zerosend sends by MSG_ZEROCOPY, which only Linux has, on 64-bit machines: x86-64 and aarch64");
    }
}
