//! Sizes and rates in the form that people write and read, because a bare number hides its unit.

use std::fmt;
use std::str::FromStr;

/// A number of bytes. Reads `65536`, `64KiB`, `64K`, `1MiB`, `1GiB` (powers of 1024, any case); prints the
/// largest binary unit that divides it exactly: `64 KiB`, `1000 B`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub usize);

/// Binary units, largest first, in the order in which `Display` tries them.
const UNITS: [(&str, usize); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = UNITS.iter().find(|(_, bytes)| self.0 >= *bytes && self.0.is_multiple_of(*bytes));
        match unit {
            Some((name, bytes)) => f.pad(&format!("{} {name}", self.0 / bytes)),
            None => f.pad(&format!("{} B", self.0)),
        }
    }
}

/// A number of clients for a sentence: `1 client`, `8 clients`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientCount(pub usize);

impl fmt::Display for ClientCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&plural(self.0, "client"))
    }
}

/// A count with its noun: `1 cell`, `4 cells`.
pub fn plural(count: usize, noun: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{s}")
}

/// The text is not a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a size: write bytes (65536) or a binary unit (64KiB, 1MiB, 1GiB)")]
pub struct BadSize(String);

impl FromStr for ByteSize {
    type Err = BadSize;

    fn from_str(text: &str) -> Result<Self, BadSize> {
        let bad = || BadSize(text.to_owned());
        let trimmed = text.trim();
        let digits = trimmed.find(|c: char| !c.is_ascii_digit()).unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(digits);
        let scale = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kib" => 1 << 10,
            "m" | "mib" => 1 << 20,
            "g" | "gib" => 1 << 30,
            _ => return Err(bad()),
        };
        let number: usize = number.parse().map_err(|_| bad())?;
        number.checked_mul(scale).map(ByteSize).ok_or_else(bad)
    }
}

/// Bytes per second, printed in decimal units as network rates are: `7.62 GB/s`.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Rate(pub f64);

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scaled, unit) = match self.0 {
            r if r >= 1e9 => (r / 1e9, "GB/s"),
            r if r >= 1e6 => (r / 1e6, "MB/s"),
            r if r >= 1e3 => (r / 1e3, "kB/s"),
            0.0 => return f.pad("0 B/s"),
            r => (r, "B/s"),
        };
        f.pad(&format!("{} {unit}", significant(scaled)))
    }
}

/// A number with three significant digits, for reading. A number with more than nine digits before the point,
/// or more than three zeros after it, is shown as a power of ten.
pub fn significant(value: f64) -> String {
    match value.abs() {
        v if v >= 1e9 || (v > 0.0 && v < 1e-3) => format!("{value:.1e}"),
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 0.1 || v == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

/// As [`significant`], with at most two decimals, for figures among which small ones do not matter.
pub fn hundredths(value: f64) -> String {
    if value.abs() < 0.1 { format!("{value:.2}") } else { significant(value) }
}

/// A difference with its sign.
pub fn signed(value: f64) -> String {
    let sign = if value < 0.0 { "-" } else { "+" };
    format!("{sign}{}", hundredths(value.abs()))
}

/// A count with thousands separated: `1,234,567`.
pub fn thousands(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_are_read_in_every_documented_form() {
        for (text, bytes) in [
            ("8", 8),
            ("64KiB", 65536),
            ("64kib", 65536),
            ("64 KiB", 65536),
            ("64K", 65536),
            ("1MiB", 1 << 20),
            ("2g", 2 << 30),
            ("100B", 100),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
    }

    #[test]
    fn an_error_names_the_text() {
        for text in ["", "KiB", "-1", "1.5KiB", "64KB", "99999999999999999999", "20000000000GiB"] {
            let error = text.parse::<ByteSize>().unwrap_err().to_string();
            assert!(error.contains(&format!("'{text}'")), "{error}");
        }
    }

    #[test]
    fn rates_and_counts_read_well() {
        assert_eq!(Rate(7.618e9).to_string(), "7.62 GB/s");
        assert_eq!(Rate(0.0).to_string(), "0 B/s");
        assert_eq!([1.4e28, 0.00004, 0.0047].map(significant), ["1.4e28", "4.0e-5", "0.0047"]);
        assert_eq!([1, 2].map(|count| plural(count, "cell")), ["1 cell", "2 cells"]);
        assert_eq!([0.0, 0.0149, 0.123, 99.96].map(hundredths), ["0.00", "0.01", "0.12", "100.0"]);
        assert_eq!([-0.001, 12.34, -150.2].map(signed), ["-0.00", "+12.3", "-150"]);
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(1_234_567), "1,234,567");
    }

    proptest! {
        #[test]
        fn printed_sizes_parse_back(bytes in 0usize..1 << 40) {
            prop_assert_eq!(ByteSize(bytes).to_string().parse(), Ok(ByteSize(bytes)));
        }

        #[test]
        fn any_text_parses_or_fails(text in ".*") {
            let _ = text.parse::<ByteSize>();
        }
    }
}
