//! What a process pays for copies at a hazardous distance, as text and for JSON.

use std::fmt::Write as _;

use serde::Serialize;

use crate::watch::{Direction, HazardousCopies, WatchResult};

/// The most places that the text format shows.
const SHOWN: usize = 8;

/// The most stack frames shown for each place.
const FRAMES: usize = 5;

/// With fewer samples the text warns that shares are rough: one sample more or less changes a share by per cents.
const FEW: u64 = 100;

/// Copies of one kind.
#[derive(Debug, Serialize)]
pub(super) struct PlaceReport {
    percent: f64,
    direction: &'static str,
    distance: u16,
    frames: Vec<String>,
}

/// The places with their shares, the largest first.
pub(super) fn places(seen: &WatchResult) -> Vec<PlaceReport> {
    by_weight(seen)
        .into_iter()
        .map(|(place, samples)| PlaceReport {
            percent: 100.0 * seen.counts.share(samples),
            direction: describe(place.direction),
            distance: place.distance,
            frames: place.frames.iter().map(ToString::to_string).collect(),
        })
        .collect()
}

fn by_weight(seen: &WatchResult) -> Vec<(&HazardousCopies, u64)> {
    let mut places: Vec<_> = seen.counts.hazardous.iter().map(|(place, samples)| (place, *samples)).collect();
    places.sort_by_key(|(_, samples)| std::cmp::Reverse(*samples));
    places
}

fn describe(direction: Direction) -> &'static str {
    match direction {
        Direction::FromKernel => "out of the kernel",
        Direction::ToKernel => "into the kernel",
        Direction::Within => "in user space",
    }
}

/// What the user can change. The kernel's side of a copy mostly begins at offset 0 of a page, so the buffer of the
/// program must move.
fn advice(place: &HazardousCopies) -> String {
    let distance = place.distance;
    match place.direction {
        Direction::FromKernel => format!(
            "the receive buffer begins {distance} bytes further into its page than the data it receives: \
             begin it at 64"
        ),
        Direction::ToKernel => format!(
            "the send buffer begins {} bytes into its page, and the kernel copies it to the start of one: \
             begin it at 64",
            4096 - u32::from(distance)
        ),
        Direction::Within => format!(
            "the destination begins {distance} bytes further into its page than the source: move one of them \
             to another multiple of 64"
        ),
    }
}

/// What is known of hazardous copies. `slower` is how many times as long such a copy takes on this machine.
pub(super) fn text(seen: &WatchResult, slower: Option<f64>) -> String {
    let counts = &seen.counts;
    let mut text = String::new();
    if counts.samples == 0 {
        return text + "No sample found it on a CPU, so there is nothing to report.\n";
    }
    if counts.with_registers == 0 {
        return text
            + "This kernel or this architecture adds no registers to samples, so the addresses of copies are \
                unknown.\n";
    }
    let percent = |samples: u64| 100.0 * counts.share(samples);
    if counts.unread > 0 {
        let _ = writeln!(
            text,
            "{:.1} % of its CPU time is in user space where its memory cannot be read, so copies there are \
             not seen: run this as root, or with CAP_SYS_PTRACE.",
            percent(counts.unread)
        );
    }
    if counts.hits() == 0 {
        let _ = writeln!(
            text,
            "No hazardous copying: {:.1} % of its CPU time is copying, and no copy goes to 1 to 31 bytes \
             past its source, modulo 4096.",
            percent(counts.copies)
        );
        return text + warning_if_few(counts.samples);
    }
    let _ = writeln!(
        text,
        "Hazardous copying: {:.1} % of its CPU time, out of {:.1} % for all copying. Destination minus \
         source, modulo 4096, is 1 to 31.",
        percent(counts.hits()),
        percent(counts.copies)
    );
    text += &match slower {
        Some(factor) if factor > 1.0 => {
            format!("On this machine such copies take up to {factor:.1} times as long as others.\n")
        }
        Some(_) => {
            "On this machine such copies take as long as others: there is nothing to gain here.\n".to_owned()
        }
        None => "Whether such copies take longer on this machine was not measured.\n".to_owned(),
    };
    text += warning_if_few(counts.samples);
    for (place, samples) in by_weight(seen).into_iter().take(SHOWN) {
        let frames: Vec<&str> = place.frames.iter().take(FRAMES).map(AsRef::as_ref).collect();
        let within = if frames.is_empty() { String::new() } else { format!(", {}", frames.join(" < ")) };
        let _ = writeln!(
            text,
            "  {:.1} %  {}, distance {}{within}\n         {}",
            percent(samples),
            describe(place.direction),
            place.distance,
            advice(place)
        );
    }
    let hidden = counts.hazardous.len().saturating_sub(SHOWN);
    if hidden > 0 {
        let _ = writeln!(text, "  and {hidden} more places (--format json has all)");
    }
    text
}

fn warning_if_few(samples: u64) -> &'static str {
    if samples < FEW {
        "With so few samples the shares are rough: watch longer, or under load.\n"
    } else {
        ""
    }
}
