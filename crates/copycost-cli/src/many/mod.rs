//! Many hosts as one job of an engine that clusters already have: rank 0 serves and directs, the next ranks serve too
//! where several servers are wanted, and every other rank is a client host with a fleet of its own.
//!
//! - `link`: messages between the ranks; `mpi` carries them in a cluster
//! - `words`: what the ranks say to each other
//! - `roll`: who takes part, and in what they differ
//! - `seat`: which clients of all share a server and a machine
//! - `local`: the server of a rank
//! - `director`: rank 0, for which all client hosts together are a [`copycost::rig::Site`]
//! - `follower`: every other rank
//!
//! Only control goes over the link: what to set up, when to begin, what was measured. The data flow over TCP as
//! everywhere, from [`copycost::internals::server`] to [`copycost::internals::clients`], past the proof of a token that rank 0 has made for this job.
//!
//! **The clock.** Hosts have no clock in common, so order is made by messages alone. A client host says when all of
//! its clients receive; when all hosts have said so, rank 0 lets the windows open; a host whose window is closed says so,
//! and its clients go on receiving until rank 0 has heard that from all. So no window holds a moment in which some
//! client of some host did not yet, or no longer, receive, whatever the clocks and the network do. How far apart the
//! windows opened is estimated from round trips and kept in the record.
//!
//! **Nobody computes for the link while a clock runs.** Waiting is a look and a sleep, never a blocking call (those
//! spin). A window opens a lead after the word for it, in which that word reaches everyone, and after its end a host
//! is silent for as long; rank 0 and other servers do not look for as long as a window lasts.

mod cluster;
mod control_messages;
mod follower;
pub mod link;
mod local;
mod membership;
pub mod mpi;
mod sharing;
#[cfg(test)]
mod tests;

pub use cluster::{Director, HostReceived, JobConfig};
pub use follower::{JobEnd, follow};
pub use link::RankLink;
pub use membership::{Member, RankRole};
