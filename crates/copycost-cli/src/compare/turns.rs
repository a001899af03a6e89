//! How the time of a set-up is divided into turns.

use std::time::Duration;

/// A turn should last about this long: well above the 10 to 20 ms in which a window opens and closes, well below the
/// seconds over which a machine drifts.
const TURN: Duration = Duration::from_millis(80);

/// A shorter turn would mostly be its own beginning.
const SHORTEST_TURN: Duration = Duration::from_millis(10);

/// Where a budget has to hold the opening and closing of windows too, a turn should be at least as long as these take.
const FRUGAL_TURN: Duration = Duration::from_millis(20);

/// What a set-up costs beside its turns, for each path: connections, threads, messages, and 20 ms of warming up
/// (40 ms measured for hot messages).
const BUILDING: Duration = Duration::from_millis(40);

/// What a turn costs beside its window: asking ahead, and receiving the rest (15 ms measured).
const OPENING: Duration = Duration::from_millis(15);

/// With many clients a set-up costs more: two sockets and two threads for each client.
const BUILDING_EACH: Duration = Duration::from_micros(1_000);

/// Likewise a turn: each pair of threads must get the CPU before the window opens, and again after it is over.
const OPENING_EACH: Duration = Duration::from_micros(600);

/// What a set-up of one path with so many clients costs beside its turns.
pub fn building(clients: usize) -> Duration {
    BUILDING.max(BUILDING_EACH * count(clients))
}

/// What a turn with so many clients costs beside its window.
pub fn opening(clients: usize) -> Duration {
    OPENING.max(OPENING_EACH * count(clients))
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// The turns of each path in a set-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turns {
    /// Rows of the schedule: turns of each path.
    pub rows: usize,
    /// The length of each.
    pub length: Duration,
}

impl Turns {
    /// Whole blocks of turns of about 80 ms that make up `time` for each path; where there is not the time for a
    /// block of turns of 10 ms, fewer rows, and the next set-up goes on in the block. A turn of many clients is as long as
    /// its opening and closing takes, or most of the time would go there.
    pub fn of(time: Duration, rows_per_block: usize, clients: usize) -> Self {
        let block = rows_per_block.max(1);
        let blocks = (time.as_secs_f64() / TURN.as_secs_f64() / block as f64).round() as usize;
        let shortest = if opening(clients) > OPENING { opening(clients) } else { SHORTEST_TURN };
        Self::within(time, blocks.max(1) * block, shortest)
    }

    /// What fits into `share`, the wall time of one set-up of `paths` paths, one block at the most.
    pub fn within_share(share: Duration, paths: usize, rows_per_block: usize, clients: usize) -> Self {
        let opening = opening(clients);
        let time = (share / count(paths.max(1))).saturating_sub(building(clients));
        let rows = (time.as_secs_f64() / (FRUGAL_TURN.max(opening) + opening).as_secs_f64()) as u32;
        let rows = rows.clamp(1, count(rows_per_block.max(1)));
        let length = (time / rows).saturating_sub(opening).clamp(SHORTEST_TURN, TURN.max(opening));
        Self { rows: rows as usize, length }
    }

    fn within(time: Duration, rows: usize, shortest: Duration) -> Self {
        let most = (time.as_secs_f64() / shortest.as_secs_f64()) as usize;
        let rows = rows.min(most).max(1);
        Self { rows, length: time / count(rows) }
    }

    /// The measured time of each path in a set-up.
    pub fn time(&self) -> Duration {
        self.length * count(self.rows)
    }
}

/// The time of one balanced block of turns of the usual length, for each path.
pub fn block_time(rows_per_block: usize) -> Duration {
    TURN * count(rows_per_block.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn turns_fill_the_time_in_whole_blocks() {
        assert_eq!(Turns::of(ms(960), 6, 8), Turns { rows: 12, length: ms(80) });
        assert_eq!(Turns::of(ms(60), 6, 8), Turns { rows: 6, length: ms(10) });
        assert_eq!(Turns::of(ms(30), 6, 8), Turns { rows: 3, length: ms(10) });
        assert_eq!(Turns::of(ms(1), 6, 8), Turns { rows: 1, length: ms(1) });
        assert_eq!(Turns::of(ms(1000), 0, 8).rows, 13);
    }

    #[test]
    fn a_share_holds_building_and_opening_too() {
        // A long share: a whole block of the longest turns, and more set-ups instead of more turns.
        assert_eq!(Turns::within_share(ms(60_000), 3, 6, 8), Turns { rows: 6, length: ms(80) });
        // 3 × (40 + 3 × (28 + 15)) = 507 ms
        let turns = Turns::within_share(ms(507), 3, 6, 8);
        assert_eq!((turns.rows, turns.length.as_millis()), (3, 28));
        // Nothing fits: the least that can be measured all the same.
        assert_eq!(Turns::within_share(ms(1), 3, 6, 8), Turns { rows: 1, length: ms(10) });
        assert_eq!(Turns::within_share(ms(0), 0, 0, 8), Turns { rows: 1, length: ms(10) });
    }

    #[test]
    fn turns_of_many_clients_are_few_and_long() {
        // Half a second in eight set-ups: six turns of 10 ms, each of which 64 clients would take 40 ms to open.
        let turns = |clients| Turns::of(Duration::from_micros(62_500), 6, clients);
        assert_eq!(turns(8).rows, 6);
        assert_eq!(turns(64), Turns { rows: 1, length: Duration::from_micros(62_500) });
        assert_eq!(turns(1024).rows, 1);
        assert!(Turns::within_share(ms(2000), 3, 6, 256).length >= opening(256));
        assert_eq!(opening(1), OPENING);
        assert_eq!(building(1), BUILDING);
    }
}
