//! What is known of a message before it is sent.

use copycost::message::{Footprint, Layout, Spec};
use copycost::send::Release;

/// Bytes of a page that is pinned.
const PAGE: f64 = 4096.0;

/// A message and its memory, as the model sees them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Features {
    /// How many fields.
    pub fields: f64,
    /// Bytes in KiB.
    pub kib: f64,
    /// Pages that its fields lie on, each field counted by itself; 0 where the path does not keep references to them.
    pub pages: f64,
    /// How much memory the messages in turn cover.
    pub footprint: Footprint,
}

impl Features {
    /// Of messages of `spec` on a path that lets go of them at `release`.
    pub fn of(spec: &Spec, release: Release) -> Self {
        let lengths = spec.lengths();
        let pages: f64 = lengths.iter().map(|length| pages(*length, spec.layout)).sum();
        Self {
            fields: lengths.len() as f64,
            kib: spec.size as f64 / 1024.0,
            pages: if release == Release::OnReturn { 0.0 } else { pages },
            footprint: spec.footprint,
        }
    }
}

/// Pages that a field lies on: on a heap it begins anywhere in one, so that this is the mean.
fn pages(length: usize, layout: Layout) -> f64 {
    match layout {
        Layout::Page => (length as f64 / PAGE).ceil(),
        _ => 1.0 + (length as f64 - 1.0) / PAGE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_those_that_fields_lie_on() {
        let spec = Spec { layout: Layout::Page, ..Spec::new(8 * 4097).unwrap() };
        assert_eq!(Features::of(&spec, Release::OnCompletion).pages, 16.0);
        assert_eq!(Features::of(&spec, Release::OnReturn).pages, 0.0);
        let heap = Spec { layout: Layout::Heap, ..spec };
        assert_eq!(Features::of(&heap, Release::Never).pages, 16.0);
        let small = Spec::new(8).unwrap();
        let features = Features::of(&small, Release::OnCompletion);
        assert_eq!((features.pages, features.fields, features.kib), (8.0, 8.0, 8.0 / 1024.0));
    }
}
