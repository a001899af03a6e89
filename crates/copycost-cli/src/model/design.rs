//! The cells that are measured for a model, and the cells that are held out to check it.
//!
//! Cells differ in everything that has a coefficient: many and few fields at the same size, sizes from 1 to 256 KiB,
//! hot and cold memory, and fields on page boundaries. Only on page boundaries does the number of pages vary
//! independently of fields and bytes. The held-out cells lie between the others.

use copycost::message::{Fields, Footprint, Layout, Spec};

/// A form of message: its size, its division into fields, whether fields begin on page boundaries, and whether it has
/// the other footprint.
type MessageForm = (usize, &'static str, bool, bool);

/// The cells to which the model is fitted.
const TRAINING: [MessageForm; 14] = [
    (1024, "single", false, false),
    (1024, "even", false, false),
    (4096, "even", false, false),
    (16_384, "single", false, false),
    (32_768, "even", false, false),
    (65_536, "single", false, false),
    (262_144, "headed", false, false),
    (4096, "even", true, false),
    (65_536, "even", true, false),
    (131_072, "single", true, false),
    (4096, "single", false, true),
    (16_384, "even", false, true),
    (65_536, "single", false, true),
    (131_072, "even", false, true),
];

/// The cells that check the model.
const HELD_OUT: [MessageForm; 4] = [
    (8192, "even", false, false),
    (98_304, "headed", false, false),
    (32_768, "single", false, false),
    (32_768, "headed", false, true),
];

/// The specs to which a model for messages like `like` is fitted, with its layout and buffers.
pub fn training(like: &Spec) -> Vec<Spec> {
    of(&TRAINING, like)
}

/// The specs that check the model.
pub fn held_out(like: &Spec) -> Vec<Spec> {
    of(&HELD_OUT, like)
}

fn of(forms: &[MessageForm], like: &Spec) -> Vec<Spec> {
    // The other footprint is the one of the message. For a hot message it is cold memory, which shows the cost of
    // copying best.
    let other = match like.footprint {
        Footprint::Hot => Footprint::Cold,
        asked => asked,
    };
    let spec = |(size, fields, on_pages, other_footprint): &MessageForm| Spec {
        size: *size,
        fields: fields.parse().unwrap_or(Fields::Even),
        layout: if *on_pages { Layout::Page } else { like.layout },
        footprint: if *other_footprint { other } else { Footprint::Hot },
        ..*like
    };
    forms.iter().map(spec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cell_is_a_message_and_none_is_held_out_twice() {
        for footprint in Footprint::ALL {
            let like = Spec { footprint: *footprint, ..Spec::new(8).unwrap() };
            let (training, held_out) = (training(&like), held_out(&like));
            for spec in training.iter().chain(&held_out) {
                assert_eq!(spec.lengths().iter().sum::<usize>(), spec.size);
                assert_eq!(training.iter().chain(&held_out).filter(|other| *other == spec).count(), 1);
            }
            let asked = |specs: &[Spec]| specs.iter().any(|spec| spec.footprint == *footprint);
            assert!(asked(&training) && (asked(&held_out) || *footprint == Footprint::Hot));
        }
    }
}
