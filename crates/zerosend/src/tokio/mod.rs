//! Connections of a tokio runtime (feature `tokio`).
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! use tokio::io::AsyncReadExt as _;
//! use tokio::net::{TcpListener, TcpStream};
//! use zerosend::Payload;
//! use zerosend::tokio::Stream;
//!
//! let listener = TcpListener::bind("127.0.0.1:0").await?;
//! let mut client = TcpStream::connect(listener.local_addr()?).await?;
//!
//! let mut stream = Stream::new(listener.accept().await?.0)?;
//! let body = vec![7; 100_000];
//! let receipt = stream.send(Payload::new().copied("a header\n").by_reference(body)).await?;
//!
//! # let mut received = vec![0; 100_009];
//! # client.read_exact(&mut received).await?;
//! // The kernel is done with the body when the peer has acknowledged it. Then it is ours again.
//! let released = receipt.await.expect("the connection lives");
//! assert_eq!(released.payload.len(), 100_009);
//! # Ok(())
//! # }
//! ```
//!
//! [`Stream::send`] hands over a payload, by reference where it asks for it. The writes of `AsyncWrite` copy: they borrow their
//! bytes, so that nothing keeps them from being changed when the call has returned. What writes by that trait, such as hyper, gains nothing.
//!
//! # Cancellation
//! A `send` that is dropped before it was polled has done nothing. One that was polled stays queued, also if nothing of it was
//! sent, and is finished before anything else is sent: a message is never cut off by a timeout around its future. One that was
//! still waiting for such a predecessor is dropped with its payload.
//!
//! # Why it has an epoll instance for each connection
//! A report in the socket's error queue raises EPOLLERR. mio takes that for an end of the writing direction, which tokio never clears
//! (tokio#5550): each wait for room to send would end at once, and a blocked connection would keep a CPU. So the socket
//! lies in an epoll instance of its own, edge-triggered, and the runtime waits for that: one more descriptor for each connection.

mod link;
mod receipt;

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use ::tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use ::tokio::net::TcpStream;

use crate::{Options, Outcome, Payload, Refused, Released, SendError, Sender, Stats};
use link::Link;
pub use receipt::Receipt;

/// A connection. See the [module](self).
#[derive(Debug)]
pub struct Stream {
    link: Arc<Link>,
}

/// The receiving half of a [`Stream`].
#[derive(Debug)]
pub struct ReadHalf {
    link: Arc<Link>,
}

/// The sending half of a [`Stream`]. The connection lives until both halves are dropped, and the peer sees the end of the stream when
/// it is shut down or both are.
#[derive(Debug)]
pub struct WriteHalf {
    link: Arc<Link>,
}

impl Stream {
    /// On a connection on which nobody has sent by reference yet, within a runtime with its I/O enabled.
    ///
    /// # Errors
    /// As [`Sender::new`]; and where no descriptor is left for the epoll instance, and the connection is closed then.
    ///
    /// # Panics
    /// Outside of a runtime.
    pub fn new(stream: TcpStream) -> io::Result<Self> {
        Self::with_options(stream, Options::default())
    }

    /// The same with another policy, or other limits.
    ///
    /// # Errors
    /// As [`Stream::new`].
    ///
    /// # Panics
    /// As [`Stream::new`].
    pub fn with_options(stream: TcpStream, options: impl Into<Options>) -> io::Result<Self> {
        // Out of the runtime's own epoll: see above.
        let stream = stream.into_std()?;
        let sender = Sender::with_options(stream, options).map_err(|Refused { error, .. }| error)?;
        Self::from_sender(sender)
    }

    /// Of a sender.
    ///
    /// # Errors
    /// Those of epoll_create1(2) and fcntl(2), and the runtime's.
    ///
    /// # Panics
    /// As [`Stream::new`].
    pub fn from_sender(sender: Sender) -> io::Result<Self> {
        Ok(Self { link: Arc::new(Link::new(sender)?) })
    }

    /// Hands all of a payload to the kernel, after what an earlier send has left. The receipt resolves when the kernel is done with it.
    ///
    /// # Errors
    /// [`SendError`], with the payload where nothing of it was sent.
    pub async fn send(&mut self, payload: impl Into<Payload>) -> Result<Receipt, SendError> {
        send(&self.link, payload.into()).await
    }

    /// Sends what a cancelled [`send`](Self::send) has left.
    ///
    /// # Errors
    /// Those of the connection.
    pub async fn finish(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.link.poll_finish(cx)).await
    }

    /// Both directions, for a task each.
    pub fn into_split(self) -> (ReadHalf, WriteHalf) {
        (ReadHalf { link: Arc::clone(&self.link) }, WriteHalf { link: self.link })
    }

    /// What was counted so far.
    pub fn stats(&self) -> Stats {
        self.link.stats()
    }

    /// The address of the peer.
    ///
    /// # Errors
    /// Those of getpeername(2).
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.link.peer_addr()
    }
}

impl WriteHalf {
    /// As [`Stream::send`].
    ///
    /// # Errors
    /// As [`Stream::send`].
    pub async fn send(&mut self, payload: impl Into<Payload>) -> Result<Receipt, SendError> {
        send(&self.link, payload.into()).await
    }

    /// As [`Stream::finish`].
    ///
    /// # Errors
    /// Those of the connection.
    pub async fn finish(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.link.poll_finish(cx)).await
    }

    /// What was counted so far.
    pub fn stats(&self) -> Stats {
        self.link.stats()
    }
}

async fn send(link: &Arc<Link>, payload: Payload) -> Result<Receipt, SendError> {
    let (mut cursor, receipt) = match link.send_now(payload) {
        Ok(payload) => return Ok(Receipt::released(Released { payload, outcome: Outcome::Copied })),
        Err(rest) => rest,
    };
    // In the link from the moment that it may be sent: to drop this future then cuts nothing off.
    match poll_fn(|cx| link.poll_send(cx, &mut cursor)).await {
        Ok(()) => Ok(Receipt::new(receipt, Arc::downgrade(link))),
        Err(error) if error.payload.is_some() => Err(error),
        Err(error) => Err(SendError { receipt: Some(receipt), ..error }),
    }
}

/// Both of the stream, and each of its half.
macro_rules! forward {
    (AsyncRead for $($type:ty),+) => {
        $(
            impl AsyncRead for $type {
                fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
                    self.link.poll_read(cx, buffer)
                }
            }
        )+
    };
    (AsyncWrite for $($type:ty),+) => {
        $(
            impl AsyncWrite for $type {
                fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
                    self.link.poll_write(cx, &[IoSlice::new(bytes)])
                }

                fn poll_write_vectored(
                    self: Pin<&mut Self>,
                    cx: &mut Context<'_>,
                    slices: &[IoSlice<'_>],
                ) -> Poll<io::Result<usize>> {
                    self.link.poll_write(cx, slices)
                }

                fn is_write_vectored(&self) -> bool {
                    true
                }

                /// Sends what a cancelled send has left. What was sent is the kernel's; to wait for the peer, wait for receipts.
                fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                    self.link.poll_finish(cx)
                }

                fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                    self.link.poll_shutdown(cx)
                }
            }
        )+
    };
}

forward!(AsyncRead for Stream, ReadHalf);
forward!(AsyncWrite for Stream, WriteHalf);
