//! A buffer in which small pieces are joined, one for each thread.

use std::cell::Cell;

/// Up to so many bytes, [`Policy::Auto`](crate::Policy::Auto) joins the pieces of a payload in one buffer: for eight pieces this moves 1.3 to 1.4 times as much
/// as to gather them at 1 KiB, 1.06 times at 16 KiB and less at 64 KiB: `copycost run -p onecopy,flatten`.
pub(crate) const JOINED: usize = 16 << 10;

/// The bytes begin 64 bytes into a page. From there no copy to the kernel's pages, which mostly begin at 0, is slow on a CPU whose
/// `rep movsb` is slow where the destination lies 1 to 31 bytes behind the source, modulo a page.
#[repr(align(4096))]
struct Buffer([u8; BEGIN + JOINED]);

const BEGIN: usize = 64;

thread_local! {
    /// Out of it while it is used: whoever is asked for pieces may send on another connection.
    static BUFFER: Cell<Option<Box<Buffer>>> = const { Cell::new(None) };
}

/// Pieces in one: the first where it lies, or [`JOINED`] bytes of several at most.
pub(super) struct Joined<'a> {
    only: &'a [u8],
    buffer: Option<Box<Buffer>>,
    filled: usize,
}

impl<'a> Joined<'a> {
    #[inline]
    pub(super) fn new() -> Self {
        Self { only: &[], buffer: None, filled: 0 }
    }

    /// One more piece, or what there is room for of it. False: there is no more room.
    #[inline]
    pub(super) fn push(&mut self, piece: &'a [u8]) -> bool {
        if self.filled == 0 {
            if self.only.is_empty() {
                self.only = piece;
                return true;
            }
            let only = self.only;
            self.append(only);
        }
        self.append(piece);
        self.filled < JOINED
    }

    #[inline]
    fn append(&mut self, piece: &[u8]) {
        let buffer = self.buffer.get_or_insert_with(take);
        let free = &mut buffer.0[BEGIN + self.filled..];
        let taken = piece.len().min(free.len());
        free[..taken].copy_from_slice(&piece[..taken]);
        self.filled += taken;
    }

    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        match &self.buffer {
            Some(buffer) => &buffer.0[BEGIN..BEGIN + self.filled],
            None => self.only,
        }
    }
}

impl Drop for Joined<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Some(buffer) = self.buffer.take() {
            // A thread that ends has none any more.
            let _ = BUFFER.try_with(|kept| kept.set(Some(buffer)));
        }
    }
}

#[inline]
fn take() -> Box<Buffer> {
    let kept = BUFFER.try_with(Cell::take).ok().flatten();
    kept.unwrap_or_else(|| Box::new(Buffer([0; BEGIN + JOINED])))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn joined(pieces: &[&[u8]]) -> (Vec<u8>, usize) {
        let mut joined = Joined::new();
        let _ = pieces.iter().all(|piece| joined.push(piece));
        (joined.bytes().to_vec(), joined.bytes().as_ptr().addr())
    }

    #[test]
    fn one_piece_stays_where_it_is_and_several_are_joined() {
        let bytes: Vec<u8> = (0..JOINED + 10).map(|at| at as u8).collect();
        assert_eq!(joined(&[&bytes]), (bytes.clone(), bytes.as_ptr().addr()));
        for cuts in [vec![1, 2], vec![5, 900, JOINED - 906, 1], vec![JOINED - 1, 1], vec![1; 100]] {
            let (mut pieces, mut rest) = (Vec::new(), &bytes[..]);
            for cut in &cuts {
                let (piece, left) = rest.split_at(*cut);
                pieces.push(piece);
                rest = left;
            }
            let (found, at) = joined(&pieces);
            assert_eq!(found, bytes[..cuts.iter().sum()]);
            assert_eq!(at % 4096, BEGIN);
        }
        assert_eq!(joined(&[&bytes[..JOINED - 3], &bytes[JOINED - 3..], &[1]]).0, bytes[..JOINED], "no more");
        assert_eq!(joined(&[]).0, []);
    }

    #[test]
    fn pieces_may_be_asked_for_while_others_are_joined() {
        let mut outer = Joined::new();
        outer.push(&[1]);
        outer.push(&[2]);
        assert_eq!(joined(&[&[3], &[4]]).0, [3, 4]);
        outer.push(&[5]);
        assert_eq!(outer.bytes(), [1, 2, 5]);
    }
}
