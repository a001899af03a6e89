//! Durations of many events as a histogram. Histograms can be merged; percentiles cannot.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;

/// Two significant digits: a bucket is at most 1 % wide, and runs differ by more than that.
const DIGITS: u8 = 2;

/// Longer events count as this long. Every wait in this crate ends earlier.
const LONGEST: Duration = Duration::from_secs(3600);

/// A histogram of durations in nanoseconds.
#[derive(Clone)]
pub struct Latencies(Histogram<u64>);

impl fmt::Debug for Latencies {
    /// A summary, because samples and errors hold one of these and the histogram has thousands of counts.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Latencies");
        shown
            .field("events", &self.len())
            .field("median", &self.quantile(0.5))
            .field("max", &self.max())
            .finish()
    }
}

impl Default for Latencies {
    fn default() -> Self {
        #[allow(
            clippy::expect_used,
            reason = "the arguments are constants within the crate's documented bounds"
        )]
        Self(Histogram::new_with_bounds(1, LONGEST.as_nanos() as u64, DIGITS).expect("valid bounds"))
    }
}

impl Latencies {
    /// Counts one event.
    pub fn record(&mut self, duration: Duration) {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.0.saturating_record(ns.max(1));
    }

    /// Adds the events of another histogram.
    pub fn add(&mut self, other: &Self) {
        // All histograms have the same bounds, so no event can lie outside.
        let _ = self.0.add(&other.0);
    }

    /// Subtracts the events of `earlier`, a former state of this histogram.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut rest = self.clone();
        let _ = rest.0.subtract(&earlier.0);
        rest
    }

    /// Its values in ns, ascending, and how often each occurred. A value stands for all of its bucket, which is at most 1 %
    /// wide.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.0.iter_recorded().map(|bucket| (bucket.value_iterated_to(), bucket.count_at_value()))
    }

    /// The number of events.
    pub fn len(&self) -> u64 {
        self.0.len()
    }

    /// Whether it has no events.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The duration that `quantile` (0 to 1) of the events do not exceed; `None` without events.
    pub fn quantile(&self, quantile: f64) -> Option<Duration> {
        (!self.is_empty()).then(|| Duration::from_nanos(self.0.value_at_quantile(quantile)))
    }

    /// The mean, to the histogram's precision.
    pub fn mean(&self) -> Option<Duration> {
        (!self.is_empty()).then(|| Duration::from_nanos(self.0.mean() as u64))
    }

    /// The longest event.
    pub fn max(&self) -> Option<Duration> {
        (!self.is_empty()).then(|| Duration::from_nanos(self.0.max()))
    }
}

/// hdrhistogram's own serialised form (V2), which other programs can read.
pub mod v2 {
    use hdrhistogram::serialization::{Deserializer as Reader, Serializer as _, V2Serializer};
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer, de, ser};

    use super::Latencies;

    /// Serialises a histogram as V2 bytes.
    pub fn serialize<S: Serializer>(latencies: &Latencies, serializer: S) -> Result<S::Ok, S::Error> {
        let mut bytes = Vec::new();
        V2Serializer::new()
            .serialize(&latencies.0, &mut bytes)
            .map_err(|error| ser::Error::custom(format!("a histogram could not be written: {error:?}")))?;
        bytes.serialize(serializer)
    }

    /// Reads a histogram and checks that it has the bounds of all others, so that it can be merged.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Latencies, D::Error> {
        let bytes = Vec::<u8>::deserialize(deserializer)?;
        if !alike(&bytes) {
            return Err(de::Error::custom("a histogram has different bounds"));
        }
        let histogram = Reader::new()
            .deserialize(&mut bytes.as_slice())
            .map_err(|error| de::Error::custom(format!("a histogram could not be read: {error:?}")))?;
        let mut latencies = Latencies::default();
        latencies.0.add(&histogram).map_err(|_| de::Error::custom("a histogram has different bounds"))?;
        Ok(latencies)
    }

    /// Whether a header has the length of its payload and the usual bounds. It is checked first, because the
    /// reader allocates what the header announces. All numbers are big-endian: the cookie of the uncompressed
    /// form, length, normalising index and digits with 32 bits each; lowest value, highest value and a ratio
    /// with 64 bits.
    fn alike(bytes: &[u8]) -> bool {
        const HEADER: usize = 40;
        const COOKIE: u32 = 0x1c84_9313;
        let expected = Latencies::default().0;
        let Some((header, payload)) = bytes.split_at_checked(HEADER) else { return false };
        let bounds = [
            &u32::from(expected.sigfig()).to_be_bytes()[..],
            &expected.low().to_be_bytes(),
            &expected.high().to_be_bytes(),
        ];
        header[..4] == COOKIE.to_be_bytes()
            && header[4..8] == (payload.len() as u32).to_be_bytes()
            && header[12..32] == *bounds.concat()
    }
}

/// Serialises it as pairs of a duration in ns and its number of events.
impl serde::Serialize for Latencies {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.buckets())
    }
}

impl<'de> serde::Deserialize<'de> for Latencies {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut latencies = Self::default();
        for (ns, count) in Vec::<(u64, u64)>::deserialize(deserializer)? {
            latencies.0.saturating_record_n(ns.max(1), count);
        }
        Ok(latencies)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn merged_quantiles_are_those_of_the_sorted_list(
            a in proptest::collection::vec(1u64..10_000_000, 1..200),
            b in proptest::collection::vec(1u64..10_000_000, 0..200),
        ) {
            let histogram = |values: &[u64]| {
                let mut one = Latencies::default();
                values.iter().for_each(|ns| one.record(Duration::from_nanos(*ns)));
                one
            };
            let mut merged = histogram(&a);
            merged.add(&histogram(&b));
            let mut all = [a.clone(), b.clone()].concat();
            all.sort_unstable();
            for quantile in [0.5f64, 0.9, 0.99, 1.0] {
                let rank = ((quantile * all.len() as f64).ceil() as usize).clamp(1, all.len());
                let exact = all[rank - 1] as f64;
                let estimate = merged.quantile(quantile).unwrap().as_nanos() as f64;
                prop_assert!((estimate - exact).abs() <= exact * 0.011 + 1.0, "{quantile}: {estimate} for {exact}");
            }
            prop_assert_eq!(merged.since(&histogram(&a)).len(), b.len() as u64);
        }
    }

    #[test]
    fn serialisation_keeps_the_counts() {
        let mut latencies = Latencies::default();
        (0..2000).for_each(|i| latencies.record(Duration::from_nanos(i * i)));
        let text = serde_json::to_string(&latencies).unwrap();
        let back: Latencies = serde_json::from_str(&text).unwrap();
        assert_eq!(back.len(), latencies.len());
        for quantile in [0.0, 0.5, 0.99, 1.0] {
            assert_eq!(back.quantile(quantile), latencies.quantile(quantile));
        }
    }

    #[test]
    fn a_histogram_that_announces_more_than_it_holds_is_refused() {
        #[derive(serde::Serialize, serde::Deserialize)]
        struct Sent(#[serde(with = "v2")] Latencies);
        let mut latencies = Latencies::default();
        latencies.record(Duration::from_millis(3));
        let sent = serde_json::to_value(Sent(latencies)).unwrap();
        let back: Sent = serde_json::from_value(sent.clone()).unwrap();
        assert_eq!(back.0.len(), 1);
        // The form, the length, the digits, the highest value.
        for at in [0, 4, 12, 15, 16, 24] {
            let mut changed = sent.clone();
            changed[at] = 5.into();
            assert!(serde_json::from_value::<Sent>(changed).is_err(), "{at}");
        }
        assert!(serde_json::from_value::<Sent>(serde_json::json!([0, 1, 2])).is_err());
    }

    #[test]
    fn any_duration_is_counted() {
        let mut latencies = Latencies::default();
        for duration in [Duration::ZERO, Duration::from_nanos(1), LONGEST, Duration::MAX] {
            latencies.record(duration);
        }
        assert_eq!(latencies.len(), 4);
        assert!(latencies.max() >= Some(LONGEST));
    }

    #[test]
    fn shown_for_debugging_it_is_one_line() {
        let mut latencies = Latencies::default();
        latencies.record(Duration::from_micros(1));
        assert_eq!(
            format!("{latencies:?}"),
            "Latencies { events: 1, median: Some(1.003µs), max: Some(1.003µs) }"
        );
    }
}
