//! Which cells are measured for a model, and which are held out to check it by.
//!
//! Cells differ in every way that a coefficient needs: many and few fields at the same size, sizes from 1 to 256 KiB, hot
//! memory and cold, and fields that begin on a page, for only there pages do not go with fields and bytes. The cells that
//! are held out lie between the others.

use copycost::message::{Fields, Footprint, Layout, Spec};

/// A form of message: size, division, whether fields begin on pages, whether from the other footprint.
type MessageForm = (usize, &'static str, bool, bool);

/// What the model is fitted to.
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

/// What it is checked by.
const HELD_OUT: [MessageForm; 4] = [
    (8192, "even", false, false),
    (98_304, "headed", false, false),
    (32_768, "single", false, false),
    (32_768, "headed", false, true),
];

/// The specs that a model for messages like `like` is fitted to: of its layout and buffers.
pub fn training(like: &Spec) -> Vec<Spec> {
    of(&TRAINING, like)
}

/// The specs that it is checked by.
pub fn held_out(like: &Spec) -> Vec<Spec> {
    of(&HELD_OUT, like)
}

fn of(forms: &[MessageForm], like: &Spec) -> Vec<Spec> {
    // Whoever asks about one footprint wants that, and cold memory is what tells most about copying.
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
