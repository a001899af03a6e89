//! The load that a reader has in mind, such as 25 Gbit/s: it turns CPU time for each byte into cores.

use std::fmt;
use std::str::FromStr;

use copycost::units::significant;

/// A load on one server.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Load {
    /// Bits of messages in a second. Headers of TCP, IP and Ethernet are not counted.
    Bits(f64),
    /// Messages in a second, whatever their size.
    Messages(f64),
}

/// Decimal units of a second's bits and bytes, as network rates have them, largest first.
const SCALES: [(&str, f64); 5] = [("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3), ("", 1.0)];

/// The largest load: a petabit or as many messages in a second.
const MOST: f64 = 1e15;

/// Why a text is no load.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no load: write bits (25Gbit), bytes (3GB/s) or messages (200k msg/s) in a second")]
pub struct BadLoad(String);

impl Load {
    /// How many cores' time this load takes, where a KiB of messages of `size` bytes takes `ns_per_kib`.
    pub fn cores(self, ns_per_kib: f64, size: usize) -> f64 {
        let bytes = match self {
            Self::Bits(bits) => bits / 8.0,
            Self::Messages(messages) => messages * size as f64,
        };
        bytes / 1024.0 * ns_per_kib / 1e9
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Bits(value) | Self::Messages(value)) = *self;
        let (prefix, scale) = SCALES.into_iter().find(|(_, scale)| value >= *scale).unwrap_or(("", 1.0));
        let scaled = value / scale;
        // A round number is written as its user wrote it.
        let digits = if scaled.fract() == 0.0 { format!("{scaled:.0}") } else { significant(scaled) };
        f.pad(&match self {
            Self::Bits(_) => format!("{digits} {prefix}bit/s"),
            Self::Messages(_) => format!("{digits}{prefix} msg/s"),
        })
    }
}

impl FromStr for Load {
    type Err = BadLoad;

    fn from_str(text: &str) -> Result<Self, BadLoad> {
        let bad = || BadLoad(text.to_owned());
        let trimmed = text.trim();
        let digits = trimmed.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(digits);
        let unit = unit.trim();
        let (scale, rest) = SCALES
            .iter()
            .find_map(|(prefix, scale)| {
                let first = unit.get(..prefix.len()).filter(|first| first.eq_ignore_ascii_case(prefix))?;
                // "msg" begins with an m, as "Mbit" does.
                let is_noun = ["msg", "mess"].iter().any(|noun| unit.to_ascii_lowercase().starts_with(noun));
                (!is_noun || first.is_empty()).then_some((*scale, unit[prefix.len()..].trim()))
            })
            .ok_or_else(bad)?;
        let value = number.parse::<f64>().map_err(|_| bad())? * scale;
        let load = match rest.trim_end_matches("/s").trim_end_matches("ps").trim() {
            "B" | "byte" | "bytes" => Self::Bits(8.0 * value),
            "b" | "bit" | "bits" => Self::Bits(value),
            "msg" | "msgs" | "message" | "messages" => Self::Messages(value),
            // As iperf3's -b has it: 25G.
            "" if scale > 1.0 && !rest.ends_with("/s") => Self::Bits(value),
            _ => return Err(bad()),
        };
        if (1.0..=MOST).contains(&value) { Ok(load) } else { Err(bad()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn loads_are_read_as_people_write_them() {
        for (text, load, shown) in [
            ("25Gbit", Load::Bits(25e9), "25 Gbit/s"),
            ("25 Gbit/s", Load::Bits(25e9), "25 Gbit/s"),
            ("25Gbps", Load::Bits(25e9), "25 Gbit/s"),
            ("25G", Load::Bits(25e9), "25 Gbit/s"),
            ("2.5gbit", Load::Bits(2.5e9), "2.50 Gbit/s"),
            ("3GB/s", Load::Bits(24e9), "24 Gbit/s"),
            ("200k msg/s", Load::Messages(2e5), "200k msg/s"),
            ("200000 msg/s", Load::Messages(2e5), "200k msg/s"),
            ("12 messages/s", Load::Messages(12.0), "12 msg/s"),
        ] {
            assert_eq!(text.parse(), Ok(load), "{text}");
            assert_eq!(load.to_string(), shown);
        }
    }

    #[test]
    fn what_is_no_load_is_named_in_the_error() {
        for text in ["", "25", "G", "0Gbit", "-1Gbit", "25Gbyt", "1e9bit", "NaN", "9999999Tbit", "25 Gé"] {
            let error = text.parse::<Load>().unwrap_err().to_string();
            assert!(error.contains(&format!("'{text}'")), "{error}");
        }
    }

    #[test]
    fn cores_are_the_cpu_time_of_a_second() {
        // 25 Gbit/s are 3,051,758 KiB in a second; at 360 ns each they take 1.1 seconds of CPU time.
        assert!((Load::Bits(25e9).cores(360.0, 1 << 16) - 1.0986).abs() < 1e-3);
        assert!((Load::Messages(1e6).cores(1000.0, 1024) - 1.0).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,20}") {
            let _ = text.parse::<Load>();
        }

        #[test]
        fn what_is_printed_is_read_again(bits in 1.0f64..1e15) {
            let load = Load::Bits(bits);
            let Ok(Load::Bits(read)) = load.to_string().parse::<Load>() else { panic!("{load}") };
            prop_assert!((read / bits - 1.0).abs() < 0.006, "{} {}", load, read);
        }
    }
}
