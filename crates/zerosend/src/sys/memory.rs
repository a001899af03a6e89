//! The promise that memory of other kinds must keep.

use std::any::Any;

/// Memory of another kind, such as a mapped file, that can be sent by reference.
///
/// ```
/// use std::sync::Arc;
/// use zerosend::{Memory, Payload};
///
/// struct Table(Box<[u8; 4096]>);
///
/// // SAFETY: nothing changes or frees the table while an Arc of it is left, and a part is always the same.
/// unsafe impl Memory for Table {
///     fn part(&self, index: usize) -> Option<&[u8]> {
///         (index == 0).then(|| &self.0[..])
///     }
/// }
///
/// let payload = Payload::from(Arc::new(Table(Box::new([7; 4096]))) as Arc<dyn Memory>);
/// assert_eq!(payload.len(), 4096);
/// ```
///
/// # Safety
/// While an `Arc` of it is left, `part` returns the same memory for the same index, `size` is the sum of the parts, and nobody changes what is in it: no
/// `&mut`, no interior mutability, no other process, and no file that is truncated behind a mapping. The kernel reads this memory after the
/// call that sends it has returned.
pub unsafe trait Memory: Any + Send + Sync {
    /// The part with this index, from 0 on; `None` after the last.
    fn part(&self, index: usize) -> Option<&[u8]>;

    /// How many bytes all parts have. To be overridden where that is known: it is asked for each payload.
    fn size(&self) -> usize {
        (0..).map_while(|index| self.part(index)).map(<[u8]>::len).sum()
    }
}

/// For tests: a part for each byte, and empty ones between them.
#[cfg(test)]
pub(crate) struct Bytewise(pub(crate) Vec<u8>);

#[cfg(test)]
// SAFETY: nothing changes the bytes.
unsafe impl Memory for Bytewise {
    fn part(&self, index: usize) -> Option<&[u8]> {
        match index % 2 {
            0 => (index / 2 <= self.0.len()).then_some(&[]),
            _ => self.0.get(index / 2).map(std::slice::from_ref),
        }
    }
}

/// For tests: each part for itself.
#[cfg(test)]
pub(crate) struct Parts(pub(crate) Vec<Vec<u8>>);

#[cfg(test)]
// SAFETY: nothing changes the bytes.
unsafe impl Memory for Parts {
    fn part(&self, index: usize) -> Option<&[u8]> {
        self.0.get(index).map(Vec::as_slice)
    }
}
