//! A balanced order in which the paths of a cell take their turns, block after block.
//!
//! The speed of a machine drifts by a fifth between minutes, and a turn leaves its traces (warm caches, a raised clock,
//! a full page list) to the next. So no path may stand first more often than another, and none may profit more often
//! from one predecessor. A Williams design does both with the fewest rows: k rows of k paths for even k, 2k for odd k.

use fastrand::Rng;

/// Rows of turns without end: each row is an order of all paths, and every [`rows_per_block`](Self::rows_per_block)
/// rows make up a block.
///
/// Over a block each path stands equally often in each place, and within rows each path comes equally often (once for
/// an even number of paths, twice for an odd one) right after each other path. So a drift that is linear over a block
/// adds the same to the sum of each path. The rows of each block come in a shuffled order; what follows what *across*
/// two rows is left to that shuffle: each path begins and ends equally many rows, so it is alike for all on average.
///
/// Source: E. J. Williams, "Experimental designs balanced for the estimation of residual effects of treatments",
/// Australian Journal of Scientific Research A 2 (1949), 149-168.
///
/// ```
/// # use copycost_cli::compare::schedule::Schedule;
/// let mut schedule = Schedule::new(2, 7);
/// let mut block: Vec<_> = schedule.by_ref().take(2).collect();
/// block.sort();
/// assert_eq!(block, [[0, 1], [1, 0]]);
/// ```
#[derive(Clone, Debug)]
pub struct Schedule {
    paths: usize,
    /// The rows of the running block that are still to come, by number in the design.
    left: Vec<usize>,
    rng: Rng,
}

impl Schedule {
    /// The schedule of `paths` paths, numbered from 0; the same seed gives the same rows. Without a path there is no row.
    pub fn new(paths: usize, seed: u64) -> Self {
        Self { paths, left: Vec::new(), rng: Rng::with_seed(seed) }
    }

    /// How many rows balance each other; stop only after a multiple of them.
    pub fn rows_per_block(&self) -> usize {
        if self.paths.is_multiple_of(2) { self.paths } else { 2 * self.paths }
    }
}

impl Iterator for Schedule {
    type Item = Vec<usize>;

    fn next(&mut self) -> Option<Vec<usize>> {
        if self.paths == 0 {
            return None;
        }
        if self.left.is_empty() {
            self.left.extend(0..self.rows_per_block());
            self.rng.shuffle(&mut self.left);
        }
        self.left.pop().map(|number| row(self.paths, number))
    }
}

/// Row `number` of the design: the first row, shifted; and from row `paths` on (odd numbers of paths) its mirror image.
///
/// The first row zigzags, 0 1 k-1 2 k-2 …, so that its neighbours differ by each of 1 to k-1 once (even k); shifting it
/// then yields each ordered pair once. For odd k each difference and its negative come in one of the two directions.
fn row(paths: usize, number: usize) -> Vec<usize> {
    let zigzag = |place: usize| {
        if place % 2 == 1 { place.div_ceil(2) } else { paths - place / 2 }
    };
    let mut row: Vec<usize> = (0..paths).map(|place| (zigzag(place) + number) % paths).collect();
    if number >= paths {
        row.reverse();
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn block(schedule: &mut Schedule) -> Vec<Vec<usize>> {
        let rows = schedule.rows_per_block();
        schedule.take(rows).collect()
    }

    /// How often each path stands in each place, and how often each follows each within a row.
    fn counts(rows: &[Vec<usize>], paths: usize) -> (Vec<Vec<usize>>, Vec<Vec<usize>>) {
        let mut stands = vec![vec![0; paths]; paths];
        let mut follows = vec![vec![0; paths]; paths];
        for row in rows {
            for (place, &path) in row.iter().enumerate() {
                stands[path][place] += 1;
            }
            for pair in row.windows(2) {
                follows[pair[0]][pair[1]] += 1;
            }
        }
        (stands, follows)
    }

    #[test]
    fn four_paths_make_the_textbook_square() {
        let rows: Vec<_> = (0..4).map(|number| row(4, number)).collect();
        assert_eq!(rows, [[0, 1, 3, 2], [1, 2, 0, 3], [2, 3, 1, 0], [3, 0, 2, 1]]);
    }

    #[test]
    fn three_paths_take_all_six_orders() {
        let mut rows = block(&mut Schedule::new(3, 1));
        rows.sort();
        assert_eq!(rows, [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]]);
    }

    #[test]
    fn no_path_has_no_row_and_one_path_has_its_own() {
        assert_eq!(Schedule::new(0, 1).next(), None);
        assert_eq!(Schedule::new(0, 1).rows_per_block(), 0);
        assert!(Schedule::new(1, 1).take(5).all(|row| row == [0]));
    }

    #[test]
    fn blocks_are_shuffled_anew() {
        let mut schedule = Schedule::new(8, 3);
        let first = block(&mut schedule);
        let others: Vec<_> = (0..5).map(|_| block(&mut schedule)).collect();
        assert!(others.iter().all(|other| *other != first));
    }

    proptest! {
        #[test]
        fn every_block_is_balanced(paths in 1usize..20, seed: u64, skip in 0usize..4) {
            let mut schedule = Schedule::new(paths, seed);
            for _ in 0..skip {
                block(&mut schedule);
            }
            let rows = block(&mut schedule);
            let (stands, follows) = counts(&rows, paths);
            prop_assert!(stands.iter().flatten().all(|&n| n == rows.len() / paths));
            for (path, row) in follows.iter().enumerate() {
                for (other, &n) in row.iter().enumerate() {
                    prop_assert_eq!(n, if other == path { 0 } else { rows.len() / paths });
                }
            }
        }

        #[test]
        fn a_linear_drift_over_a_block_hits_all_alike(paths in 1usize..20, seed: u64) {
            let mut moments = vec![0usize; paths];
            for (moment, path) in block(&mut Schedule::new(paths, seed)).into_iter().flatten().enumerate() {
                moments[path] += moment;
            }
            prop_assert!(moments.iter().all(|&sum| sum == moments[0]));
        }

        #[test]
        fn the_seed_decides(paths in 1usize..20, seed: u64) {
            let rows = |seed| Schedule::new(paths, seed).take(50).collect::<Vec<_>>();
            prop_assert_eq!(rows(seed), rows(seed));
        }
    }
}
