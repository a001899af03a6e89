//! Set-ups of real rigs: what a cell keeps, and what happens to a contestant that fails.

use std::net::SocketAddr;

use super::*;
use copycost::message::Spec;
use copycost::rig::{Loopback, Site};
use copycost::scenario::Scenario;
use copycost::send;
use std::sync::Arc;

/// The work of a turn. It is a number of messages, because in a fixed time a busy machine may receive nothing.
const WORK: Work = Work::Rounds(50);

fn contestant(name: &str, site: impl Site + 'static) -> Contestant {
    let path = send::by_name("onecopy").unwrap();
    Contestant {
        name: name.to_owned(),
        scenario: Scenario::new(path, Spec::new(4096).unwrap(), 1),
        site: Arc::new(site),
    }
}

fn set_up(cell: &mut Cell) -> SetUpEnd {
    cell.set_up(2, WORK, &mut || true)
}

#[test]
fn every_set_up_gives_a_pair_of_each_metric() {
    let mut cell = Cell::new(vec![contestant("a", Loopback), contestant("b", Loopback)], 1, None);
    assert_eq!((set_up(&mut cell), set_up(&mut cell)), (SetUpEnd::Complete, SetUpEnd::Complete));
    for metric in Metric::ALL {
        let pairs = cell.pairs(0, 1, *metric).unwrap();
        assert_eq!(pairs.len(), 2);
        assert!(pairs.iter().all(|pair| pair.path > 0.0 && pair.reference > 0.0), "{metric} {pairs:?}");
    }
    // `path` of a pair belongs to the path, `reference` to the reference.
    let rate = |turns: &Vec<TurnResult>| {
        let bytes: u64 = turns.iter().map(|turn| turn.bytes).sum();
        bytes as f64 / turns.iter().map(|turn| turn.elapsed).sum::<Duration>().as_secs_f64()
    };
    let rates = |index: usize| cell.turns(index).iter().map(rate).collect::<Vec<_>>();
    let pairs = cell.pairs(0, 1, Metric::Throughput).unwrap();
    assert_eq!(pairs.iter().map(|pair| pair.path).collect::<Vec<_>>(), rates(0));
    assert_eq!(pairs.iter().map(|pair| pair.reference).collect::<Vec<_>>(), rates(1));
    assert_eq!(cell.turns(0).iter().map(Vec::len).collect::<Vec<_>>(), [2, 2]);
}

#[test]
fn the_time_of_a_sum_is_that_of_its_turns() {
    const LENGTH: Duration = Duration::from_millis(2);
    let mut cell = Cell::new(vec![contestant("a", Loopback), contestant("b", Loopback)], 1, None);
    for _ in 0..2 {
        assert_eq!(cell.set_up(2, Work::Window(LENGTH), &mut || true), SetUpEnd::Complete);
    }
    let turns = |index: usize| cell.turns(index).iter().flatten().map(|turn| turn.elapsed).sum::<Duration>();
    let elapsed = [turns(0), turns(1)];
    for ((_, measured), turns) in cell.finish(None, &mut |_| ()).into_iter().zip(elapsed) {
        let elapsed = measured.unwrap().sample.elapsed;
        assert!(elapsed == turns && elapsed >= 4 * LENGTH, "{elapsed:?} and {turns:?}");
    }
}

#[test]
fn a_set_up_that_is_called_off_is_discarded() {
    let mut cell = Cell::new(vec![contestant("a", Loopback), contestant("b", Loopback)], 1, None);
    assert_eq!(set_up(&mut cell), SetUpEnd::Complete);
    let mut turns = 0;
    let ended = cell.set_up(2, Work::Rounds(10), &mut || {
        turns += 1;
        turns < 3
    });
    assert_eq!((ended, turns, cell.setups()), (SetUpEnd::CalledOff, 3, 1));
    assert_eq!(cell.pairs(0, 1, Metric::Throughput).unwrap().len(), 1);
}

#[test]
fn a_failure_in_a_later_set_up_is_reported_and_the_others_go_on() {
    use crate::remote::{self, HostLimits, RemoteServer};
    use copycost::internals::connection::{self, ConnectionOptions};
    use copycost::internals::server::{Handlers, Server};

    let options = ConnectionOptions::for_this_machine();
    let remote = RemoteServer::new(HostLimits { token: None, most_clients: 4 }, options);
    let listener = connection::listen(SocketAddr::from(([127, 0, 0, 1], 0)), &options).unwrap();
    let server =
        Server::start(listener, options, Handlers { control: Some(Arc::new(remote)), raw: None }).unwrap();
    let there = remote::RemoteSite::new(vec![server.address()], None);
    let mut cell = Cell::new(vec![contestant("a", Loopback), contestant("b", there)], 1, None);
    assert_eq!(set_up(&mut cell), SetUpEnd::Complete);
    drop(server);
    assert_eq!((set_up(&mut cell), set_up(&mut cell)), (SetUpEnd::Complete, SetUpEnd::Complete));
    let why = cell.pairs(0, 1, Metric::Throughput).unwrap_err();
    assert!(why.starts_with("b failed: ") && why.ends_with("(in set-up 2)"), "{why}");
    let [(_, a), (_, b)] = <[_; 2]>::try_from(cell.finish(None, &mut |_| ())).unwrap();
    assert!(a.is_ok());
    assert_eq!(b.unwrap_err().setup, 2);
}

#[test]
fn a_cell_without_contestants_left_ends() {
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
    let site = crate::remote::RemoteSite::new(vec![nowhere], None);
    let mut cell = Cell::new(vec![contestant("a", site)], 1, None);
    assert_eq!((set_up(&mut cell), cell.setups()), (SetUpEnd::NobodyLeft, 0));
    assert!(cell.finish(None, &mut |_| ())[0].1.is_err());
}
