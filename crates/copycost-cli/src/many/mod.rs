//! A measurement with many hosts as one MPI job. Rank 0 serves and directs. If several servers are wanted, the next
//! ranks serve too. Every other rank is a client host with its own set of clients.
//!
//! - `link`: messages between the ranks; `mpi` carries them in a cluster
//! - `control_messages`: the commands of rank 0 and the replies of the other ranks
//! - `membership`: the ranks that take part, and their differences
//! - `sharing`: which clients share a server, and which share a machine
//! - `local`: the server of a rank
//! - `director`: rank 0, which presents all client hosts together as a [`copycost::rig::Site`]
//! - `follower`: every other rank
//!
//! Only control messages go over the link: what to set up, when to begin, what was measured. The data flow over TCP as
//! in every other measurement, from [`copycost::internals::server`] to [`copycost::internals::clients`]. Each
//! connection proves that it knows the token that rank 0 made for this job.
//!
//! **The clock.** Hosts have no common clock, so only messages give an order. A client host reports when all of its
//! clients receive. When all hosts have reported, rank 0 lets the windows open. A host reports when its window is
//! closed, and its clients keep receiving until rank 0 has this report from every host. So all clients of all hosts
//! receive for the whole length of every window, whatever the clocks and the network do. The record keeps how far apart
//! the windows opened, estimated from round trips.
//!
//! **The link uses no CPU time during a window.** A waiting rank polls and sleeps; a blocking MPI call would spin. A
//! window opens one lead after the command to open it, so that the command reaches every host in time. After the end of
//! its window a host stays silent for one more lead. Rank 0 and the other servers do not poll while a window lasts.

mod control_messages;
mod director;
mod follower;
pub mod link;
mod local;
mod membership;
pub mod mpi;
mod sharing;
#[cfg(test)]
mod tests;

pub use director::{Director, HostReceived, JobConfig};
pub use follower::{JobEnd, follow};
pub use link::RankLink;
pub use membership::{Member, RankRole};
