//! Divides the time of a set-up into turns.

use std::time::Duration;

/// The usual length of a turn: well above the 10 to 20 ms in which a window opens and closes, and well below the
/// seconds over which a machine drifts.
const TURN: Duration = Duration::from_millis(80);

/// The shortest turn. A shorter one would consist mostly of its beginning.
const SHORTEST_TURN: Duration = Duration::from_millis(10);

/// The shortest turn within a budget that also covers opening and closing windows: at least as long as these take.
const FRUGAL_TURN: Duration = Duration::from_millis(20);

/// The time of a set-up without its turns, for each path: connections, threads, messages, and 20 ms of warming up (40
/// ms measured for hot messages).
const BUILDING: Duration = Duration::from_millis(40);

/// The time of a turn without its window: requesting ahead, and receiving the rest (15 ms measured).
const OPENING: Duration = Duration::from_millis(15);

/// The time of a set-up for each of many clients: two sockets and two threads.
const BUILDING_EACH: Duration = Duration::from_micros(1_000);

/// The time of a turn for each of many clients: each pair of threads needs the CPU before the window opens, and again
/// after it closes.
const OPENING_EACH: Duration = Duration::from_micros(600);

/// The time of a set-up of one path with `clients` clients, without its turns.
pub fn building(clients: usize) -> Duration {
    BUILDING.max(BUILDING_EACH * count(clients))
}

/// The time of a turn with `clients` clients, without its window.
pub fn opening(clients: usize) -> Duration {
    OPENING.max(OPENING_EACH * count(clients))
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// The turns of each path in a set-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turns {
    /// Rows of the schedule, which is the number of turns of each path.
    pub rows: usize,
    /// The length of each turn.
    pub length: Duration,
}

impl Turns {
    /// Whole blocks of turns of about 80 ms that fill `time` for each path. If the time is too short for a block of 10
    /// ms turns, there are fewer rows and the next set-up continues the block. With many clients, a turn is at least as
    /// long as its opening and closing, which would otherwise take most of the time.
    pub fn of(time: Duration, rows_per_block: usize, clients: usize) -> Self {
        let block = rows_per_block.max(1);
        let blocks = (time.as_secs_f64() / TURN.as_secs_f64() / block as f64).round() as usize;
        let shortest = if opening(clients) > OPENING { opening(clients) } else { SHORTEST_TURN };
        Self::within(time, blocks.max(1) * block, shortest)
    }

    /// The turns that fit into `share`, the wall time of one set-up of `paths` paths; at most one block.
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
        // A long share gives one block of the longest turns; more time makes more set-ups.
        assert_eq!(Turns::within_share(ms(60_000), 3, 6, 8), Turns { rows: 6, length: ms(80) });
        // 3 × (40 + 3 × (28 + 15)) = 507 ms
        let turns = Turns::within_share(ms(507), 3, 6, 8);
        assert_eq!((turns.rows, turns.length.as_millis()), (3, 28));
        // If nothing fits, the minimum is measured anyway.
        assert_eq!(Turns::within_share(ms(1), 3, 6, 8), Turns { rows: 1, length: ms(10) });
        assert_eq!(Turns::within_share(ms(0), 0, 0, 8), Turns { rows: 1, length: ms(10) });
    }

    #[test]
    fn turns_of_many_clients_are_few_and_long() {
        // Half a second in eight set-ups gives six turns of 10 ms, but 64 clients take 40 ms to open each.
        let turns = |clients| Turns::of(Duration::from_micros(62_500), 6, clients);
        assert_eq!(turns(8).rows, 6);
        assert_eq!(turns(64), Turns { rows: 1, length: Duration::from_micros(62_500) });
        assert_eq!(turns(1024).rows, 1);
        assert!(Turns::within_share(ms(2000), 3, 6, 256).length >= opening(256));
        assert_eq!(opening(1), OPENING);
        assert_eq!(building(1), BUILDING);
    }
}
