//! SIGINT and SIGTERM as a channel: the command finishes what it is at, says what it has, and ends with 0.

use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam::channel::{Receiver, unbounded};

use super::Failure;
use crate::lab;

static CAUGHT: AtomicBool = AtomicBool::new(false);

/// Whether a signal has come, for those who wait where no channel reaches.
#[cfg(feature = "mpi")]
pub fn caught() -> bool {
    CAUGHT.load(Ordering::SeqCst)
}

/// From now on the first signal arrives here; a second one ends the process at once.
pub fn listen() -> Result<Receiver<()>, Failure> {
    let (signalled, signals) = unbounded();
    let mut before = 0;
    let handler = move || {
        before += 1;
        CAUGHT.store(true, Ordering::SeqCst);
        if before > 1 {
            // Nothing is unwound any more.
            lab::remove_all();
            // 128 + SIGINT, as a shell reports it.
            std::process::exit(130);
        }
        let _ = signalled.send(());
    };
    ctrlc::set_handler(handler)
        .map_err(|error| Failure::Failed(format!("signals cannot be caught: {error}")))?;
    Ok(signals)
}
