//! SIGINT, SIGTERM and SIGHUP as a channel: the command finishes its current step, prints its results, and ends.
//!
//! A signal that was ignored when the command started (nohup, a background job) stays ignored.

use std::sync::atomic::{AtomicI32, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam::channel::{Receiver, unbounded};

use super::Failure;
use crate::lab;
use copycost::internals::sys::signals;

/// The number of the first signal; 0 before any.
static CAUGHT: AtomicI32 = AtomicI32::new(0);

/// Signals within this time of the first count as one. timeout(1) sends its signal to the command and again to its
/// process group, which contains the command.
const SAME_SIGNAL: Duration = Duration::from_millis(500);

/// The number of the first signal; `None` if none has arrived.
pub fn caught() -> Option<i32> {
    Some(CAUGHT.load(Ordering::SeqCst)).filter(|signal| *signal != 0)
}

/// The exit code of a command that `signal` ended early, as a shell reports it.
pub fn exit_code(signal: i32) -> u8 {
    u8::try_from(128 + signal).unwrap_or(u8::MAX)
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SignalRequest {
    /// Finish and end.
    End,
    /// Nothing: it repeats the first signal.
    Nothing,
    /// End at once.
    EndNow,
}

/// What a signal that arrives at `now` asks for, if the first arrived at `first`.
fn request(first: Option<Duration>, now: Duration) -> SignalRequest {
    match first {
        None => SignalRequest::End,
        Some(first) if now.saturating_sub(first) < SAME_SIGNAL => SignalRequest::Nothing,
        Some(_) => SignalRequest::EndNow,
    }
}

/// Starts to catch signals and returns a channel that receives the first. A signal more than [`SAME_SIGNAL`] after it
/// ends the process at once.
pub fn listen() -> Result<Receiver<()>, Failure> {
    let failed = |error: std::io::Error| Failure::Failed(format!("signals cannot be caught: {error}"));
    let mut signals = signals::catch(&[libc::SIGINT, libc::SIGTERM, libc::SIGHUP]).map_err(failed)?;
    let (signalled, receiver) = unbounded();
    let watch = move || {
        let mut first = None;
        while let Ok(arrival) = signals.wait() {
            match request(first, arrival.at) {
                SignalRequest::End => {
                    first = Some(arrival.at);
                    CAUGHT.store(arrival.signal, Ordering::SeqCst);
                    let _ = signalled.send(());
                }
                SignalRequest::Nothing => {}
                SignalRequest::EndNow => {
                    // `exit` runs no destructors, so the lab must be removed here.
                    lab::remove_all();
                    std::process::exit(exit_code(arrival.signal).into());
                }
            }
        }
    };
    thread::Builder::new().name("signals".into()).spawn(watch).map_err(failed)?;
    Ok(receiver)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_close_together_are_one_and_a_later_one_ends_at_once() {
        let ms = Duration::from_millis;
        assert_eq!(request(None, ms(7)), SignalRequest::End);
        // As from timeout(1), or a key pressed twice.
        for later in [0, 1, 499] {
            assert_eq!(request(Some(ms(7)), ms(7 + later)), SignalRequest::Nothing, "{later}");
        }
        // Counted from the first signal, so that a user who keeps pressing the key gets through.
        assert_eq!(request(Some(ms(7)), ms(507)), SignalRequest::EndNow);
        assert_eq!(request(Some(ms(7)), ms(6)), SignalRequest::Nothing, "threads may write in any order");
    }

    #[test]
    fn exit_codes_are_those_of_a_shell() {
        assert_eq!([libc::SIGHUP, libc::SIGINT, libc::SIGTERM].map(exit_code), [129, 130, 143]);
    }
}
