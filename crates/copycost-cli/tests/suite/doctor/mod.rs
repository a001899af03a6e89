//! The doctor on machines that this one is not.
//!
//! Each test takes a healthy machine, breaks one thing and names what must be found, so that a check that fires
//! for the wrong reason shows: all the other findings must stay as they were.

mod fixture;
mod limits;
mod network;
mod output;
mod places;
mod processor;
