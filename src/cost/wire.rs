//! The segments of a run on the wire: the difference of two TCP_INFO snapshots of the sending end.
//!
//! Two send paths may put the same bytes into very different segments (eight small ones with TCP_NODELAY, one
//! large one without), and the kernel's cost depends on the segments.

use std::time::Duration;

use super::missing::{Measured, Missing};
pub use crate::sys::tcp_info::{TcpInfo, tcp_info};

/// What one or several connections did between two snapshots.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Wire {
    /// Connections in the sum.
    pub connections: u32,
    /// Segments with payload, including retransmitted ones. On a device with segmentation offload this counts
    /// the segments on the wire, not the large packets that TCP hands down.
    pub segments: Measured<u64>,
    /// Payload bytes sent, including retransmitted ones.
    pub bytes: Measured<u64>,
    /// Segments retransmitted.
    pub retransmits: Measured<u64>,
    /// Bytes retransmitted.
    pub retransmitted_bytes: Measured<u64>,
    /// Time with unsent or unacknowledged data, in µs, summed over the connections. The kernel counts it in
    /// jiffies (1 to 10 ms). The next two times are part of it.
    pub busy_us: Measured<u64>,
    /// Time stopped by the peer's receive window, in µs, summed.
    pub rwnd_limited_us: Measured<u64>,
    /// Time with the whole send buffer in flight and no room for more, in µs, summed.
    pub sndbuf_limited_us: Measured<u64>,
    /// Rate at which data reached the peer, in bytes per second, at the end of the run; summed.
    pub delivery_rate: Measured<u64>,
    /// Smoothed round-trip time at the end of the run, in µs; the longest of the connections.
    pub rtt_us: Measured<u64>,
    /// Smallest round-trip time, in µs; the smallest of the connections.
    pub min_rtt_us: Measured<u64>,
}

impl Wire {
    /// The difference of two snapshots of a connection.
    pub fn between(before: &TcpInfo, after: &TcpInfo) -> Wire {
        // The 32-bit counts wrap within minutes at 100 Gbit/s; their differences do not.
        let count = |field, since, of: fn(&TcpInfo) -> Option<u32>| {
            let both = of(before).zip(of(after));
            let delta = both.map(|(before, after)| u64::from(after.wrapping_sub(before)));
            delta.ok_or(Missing::OldKernel { field, since })
        };
        let sum = |field, since, of: fn(&TcpInfo) -> Option<u64>| {
            let both = of(before).zip(of(after));
            let delta = both.map(|(before, after)| after.saturating_sub(before));
            delta.ok_or(Missing::OldKernel { field, since })
        };
        Wire {
            connections: 1,
            segments: count("data_segs_out", "4.6", |info| info.data_segs_out),
            bytes: sum("bytes_sent", "4.19", |info| info.bytes_sent),
            retransmits: count("total_retrans", "2.6", |info| info.total_retrans),
            retransmitted_bytes: sum("bytes_retrans", "4.19", |info| info.bytes_retrans),
            busy_us: sum("busy_time", "4.10", |info| info.busy_us),
            rwnd_limited_us: sum("rwnd_limited", "4.10", |info| info.rwnd_limited_us),
            sndbuf_limited_us: sum("sndbuf_limited", "4.10", |info| info.sndbuf_limited_us),
            delivery_rate: after.delivery_rate.ok_or(Missing::NoSample("delivery rate")),
            rtt_us: sample(after.rtt_us, "round-trip time"),
            min_rtt_us: sample(after.min_rtt_us, "smallest round-trip time"),
        }
    }

    /// The sum of both connections. Counts, times and rates add up.
    #[must_use]
    pub fn merge_parallel(self, other: Wire) -> Wire {
        let add = u64::saturating_add;
        Wire {
            connections: self.connections.saturating_add(other.connections),
            segments: both(self.segments, other.segments, add),
            bytes: both(self.bytes, other.bytes, add),
            retransmits: both(self.retransmits, other.retransmits, add),
            retransmitted_bytes: both(self.retransmitted_bytes, other.retransmitted_bytes, add),
            busy_us: both(self.busy_us, other.busy_us, add),
            rwnd_limited_us: both(self.rwnd_limited_us, other.rwnd_limited_us, add),
            sndbuf_limited_us: both(self.sndbuf_limited_us, other.sndbuf_limited_us, add),
            delivery_rate: both(self.delivery_rate, other.delivery_rate, add),
            rtt_us: both(self.rtt_us, other.rtt_us, u64::max),
            min_rtt_us: both(self.min_rtt_us, other.min_rtt_us, u64::min),
        }
    }

    /// Adds a later run of the same connections: counts and times add up, and the rates and round-trip times
    /// are those of the later run.
    #[must_use]
    pub fn merge_sequential(self, later: Wire) -> Wire {
        let state = (later.delivery_rate.clone(), later.rtt_us.clone());
        let connections = self.connections;
        let mut sum = self.merge_parallel(later);
        (sum.delivery_rate, sum.rtt_us) = state;
        sum.connections = connections;
        sum
    }

    /// Segments per message.
    ///
    /// # Errors
    /// The reason why segments are missing; [`Missing::NothingMoved`] without messages.
    pub fn segments_per_message(&self, messages: u64) -> Measured<f64> {
        ratio(self.segments.clone()?, messages)
    }

    /// Payload bytes per segment.
    ///
    /// # Errors
    /// The reason why either is missing; [`Missing::NothingMoved`] without segments.
    pub fn mean_segment_bytes(&self) -> Measured<f64> {
        ratio(self.bytes.clone()?, self.segments.clone()?)
    }

    /// The times as shares of `elapsed`, averaged over the connections.
    ///
    /// # Errors
    /// The reason why one of the times is missing; [`Missing::NothingMoved`] when no time passed.
    pub fn shares(&self, elapsed: Duration) -> Measured<TcpShares> {
        let whole = elapsed.as_micros() as u64 * u64::from(self.connections);
        // Jiffies can make a time a tick longer than the run, so shares are limited to 1.
        let share = |time: &Measured<u64>| Ok(ratio(time.clone()?, whole)?.min(1.0));
        let busy: f64 = share(&self.busy_us)?;
        let receiver = share(&self.rwnd_limited_us)?.min(busy);
        let buffer = share(&self.sndbuf_limited_us)?.min(busy - receiver);
        Ok(TcpShares {
            nothing_to_send: 1.0 - busy,
            receiver_window: receiver,
            send_buffer: buffer,
            under_way: busy - receiver - buffer,
        })
    }
}

/// How TCP spent a run, as the sending end sees it. The four shares add up to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TcpShares {
    /// Everything was sent and acknowledged: TCP waited for the sender.
    pub nothing_to_send: f64,
    /// The peer's receive window was full.
    pub receiver_window: f64,
    /// The whole send buffer was in flight, waiting for the peer's acknowledgements.
    pub send_buffer: f64,
    /// Data was under way, and neither of the two limits held it up.
    pub under_way: f64,
}

fn sample(value: Option<u32>, what: &'static str) -> Measured<u64> {
    value.map(u64::from).ok_or(Missing::NoSample(what))
}

fn both(a: Measured<u64>, b: Measured<u64>, join: fn(u64, u64) -> u64) -> Measured<u64> {
    Ok(join(a?, b?))
}

fn ratio(amount: u64, units: u64) -> Measured<f64> {
    if units == 0 {
        return Err(Missing::NothingMoved);
    }
    Ok(amount as f64 / units as f64)
}
