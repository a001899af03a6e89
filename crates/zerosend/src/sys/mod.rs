//! System calls, and the one place of this crate with `unsafe`.

pub(crate) mod clock;
pub(crate) mod connection;
#[cfg(feature = "tokio")]
pub(crate) mod epoll;
mod joined;
pub(crate) mod memory;
pub(crate) mod socket;

pub use memory::Memory;
pub use socket::supported;
