//! What limited a run. If it was not the sender, the run cannot distinguish send paths.
//!
//! TCP counts the time in which it had data to send, and in it the time stopped by the receive window and the
//! time with the whole send buffer in flight. That splits a run into four shares ([`TcpShares`]):
//!
//! | share | limiter | why |
//! |---|---|---|
//! | nothing to send | sender | TCP waited for the sender |
//! | receive window full | receiver | the receiver did not read fast enough |
//! | send buffer in flight | network | TCP waited for acknowledgements; a larger SO_SNDBUF might help, a cheaper send would not |
//! | under way | network, or sender if the senders' CPUs were full | on loopback a busy sender always has data under way, so the time alone does not decide |

use std::fmt;
use std::time::Duration;

use super::missing::{Measured, Missing};
use super::wire::TcpShares;

/// From this share on a CPU counts as full. The rest is room for the kernel's timer, the measurement's own
/// threads, and the start and end of a run. A thread that waits for its peer is well below.
pub const CPU_FULL: f64 = 0.95;

/// The shortest run for which TCP's times are used. The kernel counts them in jiffies of 1 to 10 ms, and one
/// jiffy at each end is at most 2 % of a second.
pub const MIN_RUN: Duration = Duration::from_secs(1);

/// A cause with more than this share of the run explains it, because all others together have less.
pub const DOMINANT: f64 = 0.5;

/// The data about a run that decides its limiter.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// Length of the run.
    pub elapsed: Duration,
    /// Whether sender and receiver use different CPUs (`split`, lab, two hosts). If they share one, a wait in
    /// TCP is a wait for the CPU, and its times mean nothing.
    pub separate_cpus: bool,
    /// Busy share of the CPUs of the run, 0 to 1.
    pub cpus_busy: Measured<f64>,
    /// Busy share of the CPUs of the sender threads, 0 to 1. If there are fewer threads than CPUs, it is the
    /// share of as many CPUs as threads.
    pub sender_busy: Measured<f64>,
    /// How TCP spent the run.
    pub tcp: Measured<TcpShares>,
}

/// What limited a run.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Limiter {
    /// The CPUs were full, so any saving at either end is a gain.
    Cpu,
    /// The sending end.
    Sender,
    /// The receiving end.
    Receiver,
    /// What lies between: bandwidth, round-trip time, congestion window.
    Network,
    /// No cause has more than half of the run.
    Mixed,
    /// The limiter is not known.
    Unknown(Missing),
}

impl Limiter {
    /// Decides what limited the run that `evidence` describes.
    pub fn of(evidence: &Evidence) -> Limiter {
        if matches!(evidence.cpus_busy, Ok(busy) if busy > CPU_FULL) {
            return Limiter::Cpu;
        }
        if !evidence.separate_cpus {
            return Limiter::Unknown(Missing::SharedCpus);
        }
        if evidence.elapsed < MIN_RUN {
            return Limiter::Unknown(Missing::TooShort {
                figure: "the limiter",
                needs: MIN_RUN,
                had: evidence.elapsed,
            });
        }
        match &evidence.tcp {
            Ok(shares) => Limiter::by_shares(shares, &evidence.sender_busy),
            Err(reason) => Limiter::Unknown(reason.clone()),
        }
    }

    fn by_shares(shares: &TcpShares, sender_busy: &Measured<f64>) -> Limiter {
        if shares.receiver_window > DOMINANT {
            return Limiter::Receiver;
        }
        if shares.nothing_to_send > DOMINANT || matches!(sender_busy, Ok(busy) if *busy > CPU_FULL) {
            return Limiter::Sender;
        }
        let network = shares.send_buffer + shares.under_way;
        match sender_busy {
            _ if network <= DOMINANT => Limiter::Mixed,
            // Without the senders' CPU time, "under way" may be a busy sender as well as the network.
            Err(reason) if shares.send_buffer <= DOMINANT => Limiter::Unknown(reason.clone()),
            _ => Limiter::Network,
        }
    }

    /// Whether the run can distinguish send paths: only if the sender's work was the limit.
    pub fn distinguishes_paths(&self) -> bool {
        matches!(self, Limiter::Cpu | Limiter::Sender)
    }
}

impl fmt::Display for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Limiter::Cpu => "cpu",
            Limiter::Sender => "sender",
            Limiter::Receiver => "receiver",
            Limiter::Network => "network",
            Limiter::Mixed => "mixed",
            Limiter::Unknown(reason) => return write!(f, "unknown: {reason}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run of 2 s on different CPUs. The shares are nothing to send, receive window and send buffer; the
    /// rest is under way.
    fn run(idle: f64, window: f64, buffer: f64, sender_busy: f64) -> Evidence {
        Evidence {
            elapsed: Duration::from_secs(2),
            separate_cpus: true,
            cpus_busy: Ok(0.7),
            sender_busy: Ok(sender_busy),
            tcp: Ok(TcpShares {
                nothing_to_send: idle,
                receiver_window: window,
                send_buffer: buffer,
                under_way: 1.0 - idle - window - buffer,
            }),
        }
    }

    #[test]
    fn the_table_of_shares() {
        let cases = [
            (run(0.8, 0.1, 0.0, 0.4), Limiter::Sender),
            (run(0.0, 0.7, 0.1, 0.5), Limiter::Receiver),
            (run(0.0, 0.1, 0.8, 0.5), Limiter::Network),
            (run(0.0, 0.1, 0.1, 0.5), Limiter::Network),
            // A sender whose CPU is full always has data under way on loopback.
            (run(0.0, 0.1, 0.1, 0.99), Limiter::Sender),
            (run(0.3, 0.4, 0.2, 0.5), Limiter::Mixed),
        ];
        for (evidence, limiter) in cases {
            assert_eq!(Limiter::of(&evidence), limiter, "{evidence:?}");
        }
    }

    #[test]
    fn full_cpus_come_first() {
        let full = Evidence {
            cpus_busy: Ok(0.96),
            separate_cpus: false,
            elapsed: Duration::from_millis(10),
            ..run(0.0, 1.0, 0.0, 0.5)
        };
        assert_eq!(Limiter::of(&full), Limiter::Cpu);
        assert!(Limiter::Cpu.distinguishes_paths() && Limiter::Sender.distinguishes_paths());
        assert!(!Limiter::Network.distinguishes_paths() && !Limiter::Mixed.distinguishes_paths());
    }

    #[test]
    fn an_unknown_limiter_has_a_reason() {
        let name = |evidence: Evidence| Limiter::of(&evidence).to_string();
        let short = Evidence { elapsed: Duration::from_millis(300), ..run(0.0, 0.9, 0.0, 0.5) };
        assert!(name(short).starts_with("unknown: the limiter needs at least 1 s"));
        let shared = Evidence { separate_cpus: false, ..run(0.0, 0.9, 0.0, 0.5) };
        assert!(name(shared).contains("share"));
        let blind = Evidence {
            tcp: Err(Missing::OldKernel { field: "busy_time", since: "4.10" }),
            ..run(0.0, 0.0, 0.0, 0.5)
        };
        assert!(name(blind).contains("needs Linux 4.10"));
        // Data is under way and the senders' CPU time is not known: a busy sender, or the network.
        let half_blind = Evidence { sender_busy: Err(Missing::NotMeasured), ..run(0.0, 0.1, 0.1, 0.0) };
        assert_eq!(name(half_blind), "unknown: not measured");
    }
}
