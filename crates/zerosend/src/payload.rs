//! What is sent: segments that own their memory.

use std::fmt;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use crate::Memory;

/// Who keeps a segment's memory.
#[derive(Clone)]
enum Owner {
    Vec(Vec<u8>),
    String(String),
    Shared(Arc<[u8]>),
    Static(&'static [u8]),
    #[cfg(feature = "bytes")]
    Bytes(bytes::Bytes),
    Memory(Arc<dyn Memory>),
}

/// A part of a payload, and the memory that it lies in.
#[derive(Clone)]
pub struct Segment {
    owner: Owner,
    /// Within the bytes of all parts.
    start: usize,
    end: usize,
    by_reference: bool,
}

/// Bytes to be sent, in order: some by reference, some by a copy.
///
/// A payload owns its memory until the kernel is done with it. A header that is copied and a body that is sent by reference are
/// one line:
///
/// ```
/// use zerosend::Payload;
///
/// let body = vec![7; 1 << 20];
/// let payload = Payload::new().copied("HTTP/1.1 200 OK\r\n\r\n").by_reference(body);
/// assert_eq!(payload.len(), 19 + (1 << 20));
/// ```
#[derive(Default)]
pub struct Payload {
    /// Most payloads have one: it costs no allocation.
    first: Option<Segment>,
    rest: Vec<Segment>,
    len: usize,
    /// Some of it is to go by reference.
    has_references: bool,
}

/// Where the rest of a payload begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Place {
    segment: usize,
    /// Bytes of the segment that went.
    offset: usize,
    near: Near,
}

/// A part of a segment's memory, and how many bytes are in the parts before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Near {
    part: usize,
    start: usize,
}

impl Segment {
    /// All of the memory that `owner` keeps.
    #[inline]
    fn of(owner: Owner) -> Self {
        let mut segment = Self { owner, start: 0, end: 0, by_reference: true };
        segment.end = match &segment.owner {
            Owner::Memory(memory) => memory.size(),
            _ => segment.whole().len(),
        };
        segment
    }

    /// A range of this segment, without a copy; the memory of all of it stays until it is released.
    ///
    /// # Panics
    /// Where the range begins after its end or ends after the segment's.
    #[must_use]
    #[inline]
    pub fn range(mut self, range: impl RangeBounds<usize>) -> Self {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(before) => before.checked_add(1).expect("a range within a segment"),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(last) => last.checked_add(1).expect("a range within a segment"),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => self.len(),
        };
        assert!(
            start <= end && end <= self.len(),
            "range {start}..{end} of a segment of {} bytes",
            self.len()
        );
        self.end = self.start + end;
        self.start += start;
        self
    }

    /// How many bytes it has.
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All memory of the owner; of [`Memory`] its first part.
    fn whole(&self) -> &[u8] {
        match &self.owner {
            Owner::Vec(bytes) => bytes,
            Owner::String(text) => text.as_bytes(),
            Owner::Shared(bytes) => bytes,
            Owner::Static(bytes) => bytes,
            #[cfg(feature = "bytes")]
            Owner::Bytes(bytes) => bytes,
            Owner::Memory(memory) => memory.part(0).unwrap_or_default(),
        }
    }

    /// Gives the pieces from `offset` on to `piece`, until it returns false: whether it never did. `near` is a part that does not
    /// begin behind that place, and then the one in which it lies: of thousands of parts a call sends a few.
    #[inline]
    fn pieces<'a>(
        &'a self,
        offset: usize,
        near: &mut Near,
        piece: &mut impl FnMut(&'a [u8]) -> bool,
    ) -> bool {
        let (mut start, mut left) = (self.start + offset - near.start, self.len() - offset);
        let mut give = |part: &'a [u8], start: &mut usize| {
            let skipped = (*start).min(part.len());
            let taken = left.min(part.len() - skipped);
            *start -= skipped;
            left -= taken;
            taken == 0 || piece(&part[skipped..skipped + taken])
        };
        match &self.owner {
            Owner::Memory(memory) => {
                while let Some(part) = memory.part(near.part)
                    && near.start + part.len() <= self.start + offset
                {
                    near.part += 1;
                    near.start += part.len();
                }
                start = self.start + offset - near.start;
                (near.part..).map_while(|index| memory.part(index)).all(|part| give(part, &mut start))
            }
            _ => give(self.whole(), &mut start),
        }
    }

    /// Bytes of memory that it alone keeps, the unused and those out of its range among them. What is shared is there anyhow.
    fn held(&self) -> usize {
        match &self.owner {
            Owner::Vec(bytes) => bytes.capacity(),
            Owner::String(text) => text.capacity(),
            _ => 0,
        }
    }

    /// The memory as the `Vec` that it was; the segment again where it was something else. A `Box<[u8]>` becomes a `Vec` without a copy.
    ///
    /// # Errors
    /// The segment, where it was no `Vec<u8>`, `Box<[u8]>` or `String`.
    pub fn into_vec(self) -> Result<Vec<u8>, Self> {
        match self.owner {
            Owner::Vec(bytes) => Ok(bytes),
            Owner::String(text) => Ok(text.into_bytes()),
            _ => Err(self),
        }
    }
}

/// Conversions of a kind of memory into a segment by reference, and back.
macro_rules! memory {
    ($($(#[$attribute:meta])* $owner:ident($type:ty);)+) => {
        $(
            $(#[$attribute])*
            impl From<$type> for Segment {
                #[inline]
                fn from(memory: $type) -> Self {
                    Self::of(Owner::$owner(memory))
                }
            }

            $(#[$attribute])*
            impl TryFrom<Segment> for $type {
                type Error = Segment;

                fn try_from(segment: Segment) -> Result<Self, Segment> {
                    match segment.owner {
                        Owner::$owner(memory) => Ok(memory),
                        _ => Err(segment),
                    }
                }
            }
        )+
    };
}

memory! {
    Vec(Vec<u8>);
    String(String);
    Shared(Arc<[u8]>);
    Static(&'static [u8]);
    #[cfg(feature = "bytes")]
    #[cfg_attr(docsrs, doc(cfg(feature = "bytes")))]
    Bytes(bytes::Bytes);
    Memory(Arc<dyn Memory>);
}

impl From<Box<[u8]>> for Segment {
    /// Kept as a `Vec`: to move a box asserts that nobody else refers to what is in it.
    fn from(bytes: Box<[u8]>) -> Self {
        Vec::from(bytes).into()
    }
}

impl TryFrom<Segment> for Box<[u8]> {
    type Error = Segment;

    fn try_from(segment: Segment) -> Result<Self, Segment> {
        Vec::try_from(segment).map(Vec::into_boxed_slice)
    }
}

impl From<&'static str> for Segment {
    fn from(text: &'static str) -> Self {
        text.as_bytes().into()
    }
}

impl<const N: usize> From<&'static [u8; N]> for Segment {
    fn from(bytes: &'static [u8; N]) -> Self {
        bytes.as_slice().into()
    }
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let owner = match self.owner {
            Owner::Vec(_) => "Vec",
            Owner::String(_) => "String",
            Owner::Shared(_) => "Arc",
            Owner::Static(_) => "static",
            #[cfg(feature = "bytes")]
            Owner::Bytes(_) => "Bytes",
            Owner::Memory(_) => "Memory",
        };
        let way = if self.by_reference { "by reference" } else { "copied" };
        write!(f, "{} bytes of {owner}, {way}", self.len())
    }
}

impl Payload {
    /// Without a segment yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds memory that is sent by reference, where the sender's [`Policy`](crate::Policy) says so.
    #[must_use]
    #[inline]
    pub fn by_reference(mut self, segment: impl Into<Segment>) -> Self {
        self.push_reference(segment);
        self
    }

    /// Adds memory that the kernel copies when it is sent: headers, and whatever is small.
    #[must_use]
    #[inline]
    pub fn copied(mut self, segment: impl Into<Segment>) -> Self {
        self.push_copy(segment);
        self
    }

    /// [`Payload::by_reference`], in place.
    #[inline]
    pub fn push_reference(&mut self, segment: impl Into<Segment>) {
        let mut segment = segment.into();
        segment.by_reference = true;
        self.push(segment);
    }

    /// [`Payload::copied`], in place.
    #[inline]
    pub fn push_copy(&mut self, segment: impl Into<Segment>) {
        let mut segment = segment.into();
        segment.by_reference = false;
        self.push(segment);
    }

    /// Adds all of a buffer by reference. What it can give out as `Bytes` is not copied.
    #[cfg(feature = "bytes")]
    #[cfg_attr(docsrs, doc(cfg(feature = "bytes")))]
    #[must_use]
    pub fn buffer(mut self, mut buffer: impl bytes::Buf) -> Self {
        // Whoever implements `Buf` may say that something remains and give nothing.
        while buffer.has_remaining() && !buffer.chunk().is_empty() {
            let bytes = buffer.copy_to_bytes(buffer.chunk().len());
            self.push(bytes.into());
        }
        self
    }

    #[inline]
    fn push(&mut self, segment: Segment) {
        // The sum of lengths of live memory, each at most isize::MAX; a segment that is sent many times may still exceed it.
        self.len = self.len.checked_add(segment.len()).expect("a payload is shorter than usize::MAX bytes");
        self.has_references |= segment.by_reference && !segment.is_empty();
        match self.first {
            None => self.first = Some(segment),
            Some(_) => self.rest.push(segment),
        }
    }

    fn segments(&self) -> impl Iterator<Item = &Segment> {
        self.first.iter().chain(&self.rest)
    }

    /// How many bytes it has.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The segments, to be converted back to what they were.
    pub fn into_segments(self) -> impl DoubleEndedIterator<Item = Segment> {
        self.first.into_iter().chain(self.rest)
    }

    /// Gives the pieces that come after `place` and go the same way to `piece`, until it returns false. Those of `least` bytes or more
    /// go by reference where their segments may. Returns whether these do; `None` where nothing is left.
    #[inline]
    pub(crate) fn pieces<'a>(
        &'a self,
        place: &mut Place,
        least: usize,
        mut piece: impl FnMut(&'a [u8]) -> bool,
    ) -> Option<bool> {
        let mut by_reference = None;
        let mut give = |segment: &Segment, bytes: &'a [u8]| {
            let this = segment.by_reference && bytes.len() >= least;
            *by_reference.get_or_insert(this) == this && piece(bytes)
        };
        let mut left = self.segments().skip(place.segment);
        let mut first = left.next()?;
        while first.is_empty() {
            first = left.next()?;
            *place = Place { segment: place.segment + 1, ..Place::default() };
        }
        if first.pieces(place.offset, &mut place.near, &mut |bytes| give(first, bytes)) {
            for segment in left {
                if !segment.pieces(0, &mut Near::default(), &mut |bytes| give(segment, bytes)) {
                    break;
                }
            }
        }
        by_reference
    }

    /// Whether one of its pieces may go by reference and has `least` bytes or more.
    pub(crate) fn has_large(&self, least: usize) -> bool {
        let is_small = |segment: &Segment| {
            !segment.by_reference
                || segment.len() < least
                || segment.pieces(0, &mut Near::default(), &mut |bytes| bytes.len() < least)
        };
        self.has_references && self.len >= least && !self.segments().all(is_small)
    }

    /// Whether any of it is to go by reference.
    #[inline]
    pub(crate) fn has_references(&self) -> bool {
        self.has_references
    }

    /// The place after `bytes` more. Calls nobody's code.
    #[inline]
    pub(crate) fn advance(&self, place: Place, bytes: usize) -> Place {
        let mut next = Place { offset: place.offset + bytes, ..place };
        if let (Some(only), true, 0) = (&self.first, self.rest.is_empty(), place.segment) {
            let done = next.offset == only.len();
            return if done { Place { segment: 1, ..Place::default() } } else { next };
        }
        for passed in self.segments().skip(place.segment) {
            if next.offset < passed.len() {
                break;
            }
            next = Place {
                segment: next.segment + 1,
                offset: next.offset - passed.len(),
                near: Near::default(),
            };
        }
        next
    }

    /// Bytes of memory that it keeps.
    pub(crate) fn held(&self) -> usize {
        self.segments().map(Segment::held).sum()
    }
}

impl<T: Into<Segment>> Extend<T> for Payload {
    /// Adds segments, each by reference unless it came from another payload's copied one.
    fn extend<I: IntoIterator<Item = T>>(&mut self, segments: I) {
        segments.into_iter().for_each(|segment| self.push(segment.into()));
    }
}

impl<T: Into<Segment>> FromIterator<T> for Payload {
    fn from_iter<I: IntoIterator<Item = T>>(segments: I) -> Self {
        let mut payload = Self::new();
        payload.extend(segments);
        payload
    }
}

impl<T: Into<Segment>> From<T> for Payload {
    /// One segment, by reference.
    #[inline]
    fn from(segment: T) -> Self {
        let mut segment = segment.into();
        segment.by_reference = true;
        // Not by the builder, whose moves are a hundredth of what sending a kilobyte costs (docs/results/2026-11-30-zerosend.md).
        Self {
            len: segment.len(),
            has_references: !segment.is_empty(),
            first: Some(segment),
            rest: Vec::new(),
        }
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.segments()).finish()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use proptest::prelude::*;

    use super::*;
    use crate::sys::memory::{Bytewise, Parts};

    /// All that is left after `place`, call by call: the way, and the bytes of at most `most` that one call takes.
    fn calls(payload: &Payload, least: usize, most: usize) -> Vec<(bool, Vec<u8>)> {
        let (mut place, mut calls) = (Place::default(), Vec::new());
        loop {
            let mut bytes: Vec<u8> = Vec::new();
            let way = payload.pieces(&mut place, least, |piece| {
                bytes.extend(&piece[..piece.len().min(most - bytes.len())]);
                bytes.len() < most
            });
            let Some(way) = way.filter(|_| !bytes.is_empty()) else { return calls };
            place = payload.advance(place, bytes.len());
            calls.push((way, bytes));
        }
    }

    fn segment(kind: u8, bytes: &[u8]) -> Segment {
        match kind % 5 {
            0 => bytes.to_vec().into(),
            1 => bytes.to_vec().into_boxed_slice().into(),
            2 => Arc::<[u8]>::from(bytes).into(),
            3 => Segment::from(Arc::new(Bytewise(bytes.to_vec())) as Arc<dyn Memory>),
            _ => Segment::from(bytes.to_vec()).range(..),
        }
    }

    proptest! {
        /// However segments are cut, and however little a call takes: every byte in its order, by its way.
        #[test]
        fn every_byte_goes_once_by_its_way(
            parts in proptest::collection::vec((any::<u8>(), any::<bool>(), 0..40usize, 0..5usize, 0..5usize), 0..6),
            most in 1..50usize,
        ) {
            let (mut payload, mut expected) = (Payload::new(), Vec::new());
            for (number, (kind, by_reference, len, before, after)) in parts.into_iter().enumerate() {
                let bytes: Vec<u8> = (0..len + before + after).map(|at| (number * 50 + at) as u8).collect();
                let segment = segment(kind, &bytes).range(before..before + len);
                expected.extend(bytes[before..before + len].iter().map(|byte| (by_reference, *byte)));
                payload = if by_reference { payload.by_reference(segment) } else { payload.copied(segment) };
            }
            prop_assert_eq!(payload.len(), expected.len());
            prop_assert_eq!(payload.has_references(), expected.iter().any(|(way, _)| *way));
            prop_assert_eq!(payload.has_large(1), payload.has_references());
            let calls = calls(&payload, 1, most);
            prop_assert!(calls.iter().all(|(_, bytes)| bytes.len() <= most));
            let sent = calls.into_iter().flat_map(|(way, bytes)| bytes.into_iter().map(move |byte| (way, byte)));
            prop_assert_eq!(sent.collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn ranges_of_ranges_and_no_others() {
        let segment = Segment::from((0..10).collect::<Vec<u8>>()).range(2..=8).range(1..4);
        assert_eq!(calls(&segment.clone().into(), 1, 100), [(true, vec![3, 4, 5])]);
        for range in [(0, 4), (3, 2), (usize::MAX, usize::MAX)] {
            let segment = AssertUnwindSafe(segment.clone());
            let result = catch_unwind(|| { segment }.0.range(range.0..range.1));
            assert!(result.is_err(), "{range:?}");
        }
        let segment = AssertUnwindSafe(segment);
        assert!(catch_unwind(|| { segment }.0.range(0..=usize::MAX)).is_err());
    }

    #[test]
    fn small_pieces_are_copied_wherever_they_lie() {
        let parts = Parts([3, 2, 10, 12, 4].map(|bytes| vec![bytes as u8; bytes]).into());
        let body = Segment::from(Arc::new(parts) as Arc<dyn Memory>);
        let payload = Payload::new().copied(vec![20; 20]).by_reference(body).by_reference(vec![11; 11]);
        let ways: Vec<_> =
            calls(&payload, 10, 100).into_iter().map(|(way, bytes)| (way, bytes.len())).collect();
        assert_eq!(ways, [(false, 25), (true, 22), (false, 4), (true, 11)]);
        assert!(payload.has_large(12) && !payload.has_large(13), "what is given as copied is");
        assert_eq!(calls(&payload, usize::MAX, 100).len(), 1);
    }

    #[cfg(feature = "bytes")]
    #[test]
    fn buffers_are_not_copied_where_they_need_not_be() {
        use bytes::Buf as _;
        let first = bytes::Bytes::from(vec![1; 100]);
        let at = first.as_ptr();
        let chained = first.chain(&[2u8; 50][..]);
        let payload = Payload::new().buffer(chained);
        assert_eq!(payload.len(), 150);
        let mut segments = payload.into_segments();
        assert_eq!(bytes::Bytes::try_from(segments.next().unwrap()).unwrap().as_ptr(), at);
        /// Says that there is more, and gives nothing.
        struct Liar;
        impl bytes::Buf for Liar {
            fn remaining(&self) -> usize {
                1
            }
            fn chunk(&self) -> &[u8] {
                &[]
            }
            fn advance(&mut self, _: usize) {}
        }
        assert!(Payload::new().buffer(Liar).is_empty());
    }
}
