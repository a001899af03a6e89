//! The features of a message that are known before it is sent.

use copycost::message::{Footprint, Layout, Spec};
use copycost::send::Release;
use copycost::workload::Workload;

/// The size of a pinned page in bytes.
const PAGE: f64 = 4096.0;

/// The features of a message and of its memory that the model uses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Features {
    /// The number of fields.
    pub fields: f64,
    /// The size in KiB.
    pub kib: f64,
    /// The number of pages of its fields, counted for each field; 0 if the path does not keep references to pages.
    pub pages: f64,
    /// How much memory the messages cover.
    pub footprint: Footprint,
}

impl Features {
    /// The features of messages of `spec` on a path that releases their memory at `release`.
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

impl Features {
    /// The features of a mean message of `workload`, laid out as `base` says. The model is linear in them, so it predicts the
    /// mean cost.
    pub fn of_workload(workload: &Workload, base: &Spec, release: Release) -> Self {
        let all = workload.messages().max(1) as f64;
        let mut mean = Self { fields: 0.0, kib: 0.0, pages: 0.0, footprint: base.footprint };
        for (class, count) in workload.classes().iter().zip(workload.counts()) {
            let share = f64::from(count) / all;
            let of_class = Self::of(&workload.spec(*class, base), release);
            mean.fields += share * of_class.fields;
            mean.kib += share * of_class.kib;
            mean.pages += share * of_class.pages;
        }
        mean
    }
}

/// The number of pages of a field. On a heap a field begins anywhere in a page, so this is the mean.
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
    fn the_features_of_a_workload_are_the_mean_of_its_messages() {
        let workload = Workload::mix("1KiB/single:3,9KiB/even:1", Default::default()).unwrap();
        let base = Spec { layout: Layout::Page, ..Spec::new(64).unwrap() };
        let features = Features::of_workload(&workload, &base, Release::OnCompletion);
        assert_eq!((features.kib, features.fields, features.pages), (3.0, 2.75, 2.75));
    }

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
