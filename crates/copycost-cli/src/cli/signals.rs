//! SIGINT, SIGTERM and SIGHUP as a channel: the command finishes what it is at, says what it has, and ends.
//!
//! A signal that whoever started the command has ignored (nohup, a job in the background) stays ignored.

use std::sync::atomic::{AtomicI32, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam::channel::{Receiver, unbounded};

use super::Failure;
use crate::lab;
use copycost::internals::sys::signals;

/// The first signal's number; 0 before.
static CAUGHT: AtomicI32 = AtomicI32::new(0);

/// Signals closer to each other are one: timeout(1) sends its signal to the command and to its process group, which is
/// the command once more.
const ONE: Duration = Duration::from_millis(500);

/// The first signal that came, if one did.
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
    /// To come to an end.
    End,
    /// Nothing new.
    Nothing,
    /// To end at once.
    EndNow,
}

/// What a signal asks for that comes at `now`, where the first came at `first`.
fn asked(first: Option<Duration>, now: Duration) -> SignalRequest {
    match first {
        None => SignalRequest::End,
        Some(first) if now.saturating_sub(first) < ONE => SignalRequest::Nothing,
        Some(_) => SignalRequest::EndNow,
    }
}

/// From now on the first signal arrives here; one that comes later than half a second after it ends the process at once.
pub fn listen() -> Result<Receiver<()>, Failure> {
    let failed = |error: std::io::Error| Failure::Failed(format!("signals cannot be caught: {error}"));
    let mut signals = signals::catch(&[libc::SIGINT, libc::SIGTERM, libc::SIGHUP]).map_err(failed)?;
    let (signalled, receiver) = unbounded();
    let watch = move || {
        let mut first = None;
        while let Ok(arrival) = signals.wait() {
            match asked(first, arrival.at) {
                SignalRequest::End => {
                    first = Some(arrival.at);
                    CAUGHT.store(arrival.signal, Ordering::SeqCst);
                    let _ = signalled.send(());
                }
                SignalRequest::Nothing => {}
                SignalRequest::EndNow => {
                    // Nothing is unwound any more.
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
    fn signals_close_together_are_one_and_a_later_one_is_impatience() {
        let ms = Duration::from_millis;
        assert_eq!(asked(None, ms(7)), SignalRequest::End);
        // As timeout(1) sends them, and a finger that trembles.
        for later in [0, 1, 499] {
            assert_eq!(asked(Some(ms(7)), ms(7 + later)), SignalRequest::Nothing, "{later}");
        }
        // Counted from the first: who presses a key again and again is not put off.
        assert_eq!(asked(Some(ms(7)), ms(507)), SignalRequest::EndNow);
        assert_eq!(asked(Some(ms(7)), ms(6)), SignalRequest::Nothing, "threads may write in any order");
    }

    #[test]
    fn exit_codes_are_those_of_a_shell() {
        assert_eq!([libc::SIGHUP, libc::SIGINT, libc::SIGTERM].map(exit_code), [129, 130, 143]);
    }
}
