//! Mixes as text: `512B:60%,16KiB/single:30%,1MiB:10%`, or the name of a published one.

use super::{MessageClass, Order, Workload, published};
use crate::message::{Fields, Spec};
use crate::units::ByteSize;

/// The most messages of a deck: shares have at most three decimals of a percent.
pub const MOST_DECK_MESSAGES: u64 = 100_000;

/// The most bytes of a deck, because a turn is a whole one.
pub const MOST_DECK_BYTES: u64 = 2 << 30;

/// How many classes of equal share stand for a published distribution.
const CLASSES: usize = 100;

/// The text is not a mix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadMix {
    /// A part has another form, or the name is not known.
    #[error(
        "'{0}' is not a part of a mix: write SIZE:SHARE or SIZE/FIELDS:SHARE separated by commas, such as \
         512B:60%,16KiB/single:30%,1MiB:10%, or one of {names}",
        names = names()
    )]
    Form(String),
    /// A size is impossible.
    #[error("{0}")]
    Size(String),
    /// A share is not a positive number with at most three decimals.
    #[error(
        "'{0}' is not a share: write a percentage with at most three decimals (60%, 0.125%), or for all a whole number"
    )]
    Share(String),
    /// Some shares are percentages and some are not.
    #[error("either all shares are percentages or none is")]
    Units,
    /// The shares do not add up.
    #[error("the shares add up to {0}%, not to 100%")]
    Sum(String),
    /// A deck would be too long.
    #[error(
        "a deck of this mix has {messages} messages and {bytes} bytes, which is too long for a turn (at most {MOST_DECK_MESSAGES} messages and 2 GiB): use coarser shares"
    )]
    Deck {
        /// The messages of a deck.
        messages: u64,
        /// Their bytes.
        bytes: u64,
    },
}

fn names() -> String {
    published::ALL.iter().map(|known| known.name).collect::<Vec<_>>().join(", ")
}

/// A share in thousandths of its unit, and whether the unit is a percent.
fn share(text: &str) -> Option<(u64, bool)> {
    let percent = text.ends_with('%');
    let number = text.strip_suffix('%').unwrap_or(text).trim();
    let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.chars().all(|c| c.is_ascii_digit());
    if decimals.len() > 3 || !digits(whole) || !digits(decimals) || !(1..=9).contains(&whole.len()) {
        return None;
    }
    if !percent && !decimals.is_empty() {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    let thousandths: u64 = format!("{decimals:0<3}").parse().ok()?;
    Some((whole * 1000 + thousandths, percent)).filter(|(share, _)| *share > 0)
}

fn class(text: &str) -> Result<MessageClass, BadMix> {
    let form = || BadMix::Form(text.to_owned());
    let (size, fields) = text.split_once('/').map_or((text, None), |(size, fields)| (size, Some(fields)));
    let size: ByteSize =
        size.parse().map_err(|error: crate::units::BadSize| BadMix::Size(error.to_string()))?;
    let spec = Spec::new(size.0).map_err(|error| BadMix::Size(error.to_string()))?;
    // Commas separate the parts of a mix, so plus signs separate lengths.
    let fields = match fields {
        Some(fields) => fields.replace('+', ",").parse::<Fields>().map_err(|_| form())?,
        None => Fields::default(),
    };
    let spec = spec.with_fields(fields).map_err(|error| BadMix::Size(error.to_string()))?;
    Ok(MessageClass { size: spec.size, fields: spec.fields })
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

impl Workload {
    /// A mix by its text, or a published one by its name. `fields` is how messages are divided that do not say it.
    ///
    /// # Errors
    /// [`BadMix`] says what is wrong with the text.
    pub fn mix(text: &str, fields: Fields) -> Result<Self, BadMix> {
        let text = text.trim();
        if let Some(known) = published::by_name(text) {
            let mut classes: Vec<MessageClass> = Vec::new();
            let mut counts: Vec<u32> = Vec::new();
            for size in known.sizes(CLASSES) {
                let class = MessageClass { size, fields: fitting(fields) };
                match classes.iter().position(|seen| *seen == class) {
                    Some(seen) => counts[seen] += 1,
                    None => {
                        classes.push(class);
                        counts.push(1);
                    }
                }
            }
            return Ok(Self { name: known.name.to_owned(), classes, order: Order::Mix(counts) });
        }
        let mut classes: Vec<MessageClass> = Vec::new();
        let mut shares: Vec<u64> = Vec::new();
        let mut units = Vec::new();
        for part in text.split(',') {
            let (message, weight) =
                part.rsplit_once(':').ok_or_else(|| BadMix::Form(part.trim().to_owned()))?;
            let mut one = class(message.trim())?;
            if !message.contains('/') {
                one.fields = fitting(fields);
            }
            let (weight, percent) =
                share(weight.trim()).ok_or_else(|| BadMix::Share(weight.trim().to_owned()))?;
            units.push(percent);
            match classes.iter().position(|seen| *seen == one) {
                Some(seen) => shares[seen] += weight,
                None => {
                    classes.push(one);
                    shares.push(weight);
                }
            }
        }
        let sum: u64 = shares.iter().sum();
        match units.iter().filter(|percent| **percent).count() {
            0 => {}
            all if all == units.len() => {
                if sum != 100_000 {
                    return Err(BadMix::Sum(format!("{}", sum as f64 / 1000.0)));
                }
            }
            _ => return Err(BadMix::Units),
        }
        let common = shares.iter().fold(0, |common, share| gcd(common, *share)).max(1);
        let counts: Vec<u64> = shares.iter().map(|share| share / common).collect();
        let messages = counts.iter().sum();
        let bytes = counts.iter().zip(&classes).map(|(count, class)| count.saturating_mul(class.size as u64));
        let bytes = bytes.fold(0, u64::saturating_add);
        if messages > MOST_DECK_MESSAGES || bytes > MOST_DECK_BYTES {
            return Err(BadMix::Deck { messages, bytes });
        }
        let name: Vec<&str> = text.split(',').map(str::trim).collect();
        let counts = counts.into_iter().map(|count| count as u32).collect();
        Ok(Self { name: name.join(","), classes, order: Order::Mix(counts) })
    }
}

/// A division that does not fix the size.
fn fitting(fields: Fields) -> Fields {
    if fields.size().is_some() { Fields::default() } else { fields }
}
