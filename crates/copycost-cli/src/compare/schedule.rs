//! The balanced order in which the paths of a cell take turns.
//!
//! The speed of a machine drifts by a fifth within minutes, and a turn affects the next one (warm caches, a higher
//! clock, a full page list). So each path must come first equally often, and follow each other path equally often. A
//! Williams design does both with the fewest rows: k rows of k paths for even k, 2k rows for odd k.

use fastrand::Rng;

/// An endless iterator of rows. Each row is an order of all paths, and every [`rows_per_block`](Self::rows_per_block)
/// rows form a block.
///
/// Within a block, each path takes each place equally often. Within rows, each path follows each other path equally
/// often: once for an even number of paths, twice for an odd one. So a drift that is linear over a block adds the same
/// to the sum of each path. The rows of a block are shuffled. Successions *across* two rows are balanced on average
/// only: each path begins and ends the same number of rows.
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
    /// The remaining rows of the current block, as numbers in the design.
    left: Vec<usize>,
    rng: Rng,
}

impl Schedule {
    /// The schedule of `paths` paths, numbered from 0. The same seed gives the same rows. Without paths there are no
    /// rows.
    pub fn new(paths: usize, seed: u64) -> Self {
        Self { paths, left: Vec::new(), rng: Rng::with_seed(seed) }
    }

    /// The number of rows in a balanced block; stop only after a multiple of it.
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

/// Row `number` of the design: the first row shifted by `number`, and mirrored from row `paths` on (odd numbers of
/// paths).
///
/// The first row zigzags, 0 1 k-1 2 k-2 …, so that its neighbours differ by each of 1 to k-1 once (even k). Its shifts
/// then contain each ordered pair once. For odd k the mirrored rows supply the negative differences.
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

    /// How often each path takes each place, and how often each path follows each other path within a row.
    fn counts(rows: &[Vec<usize>], paths: usize) -> (Vec<Vec<usize>>, Vec<Vec<usize>>) {
        let mut places = vec![vec![0; paths]; paths];
        let mut follows = vec![vec![0; paths]; paths];
        for row in rows {
            for (place, &path) in row.iter().enumerate() {
                places[path][place] += 1;
            }
            for pair in row.windows(2) {
                follows[pair[0]][pair[1]] += 1;
            }
        }
        (places, follows)
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
    fn no_paths_give_no_rows_and_one_path_gives_single_rows() {
        assert_eq!(Schedule::new(0, 1).next(), None);
        assert_eq!(Schedule::new(0, 1).rows_per_block(), 0);
        assert!(Schedule::new(1, 1).take(5).all(|row| row == [0]));
    }

    #[test]
    fn each_block_is_shuffled() {
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
            let (places, follows) = counts(&rows, paths);
            prop_assert!(places.iter().flatten().all(|&n| n == rows.len() / paths));
            for (path, row) in follows.iter().enumerate() {
                for (other, &n) in row.iter().enumerate() {
                    prop_assert_eq!(n, if other == path { 0 } else { rows.len() / paths });
                }
            }
        }

        #[test]
        fn a_linear_drift_over_a_block_affects_all_paths_alike(paths in 1usize..20, seed: u64) {
            let mut sums = vec![0usize; paths];
            for (position, path) in block(&mut Schedule::new(paths, seed)).into_iter().flatten().enumerate() {
                sums[path] += position;
            }
            prop_assert!(sums.iter().all(|&sum| sum == sums[0]));
        }

        #[test]
        fn the_seed_decides(paths in 1usize..20, seed: u64) {
            let rows = |seed| Schedule::new(paths, seed).take(50).collect::<Vec<_>>();
            prop_assert_eq!(rows(seed), rows(seed));
        }
    }
}
