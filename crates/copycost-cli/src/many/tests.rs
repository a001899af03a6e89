//! A job of several ranks as threads of this process, joined by channels. This tests everything but MPI itself.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, unbounded};

use super::control_messages::Command;
use super::director::{Director, JobConfig};
use super::follower::{JobEnd, follow};
use super::link::RankLink;
use super::membership::VERSION;
use super::sharing::shares;
use copycost::message::{Fields, Spec};
use copycost::rig::{Rig, RigError, Work};
use copycost::scenario::ConnectionOptions;
use copycost::scenario::Placement;
use copycost::scenario::Scenario;
use copycost::send;
use copycost::workload::Workload;

/// The channels of one rank to all ranks.
#[derive(Debug)]
struct Channels {
    rank: usize,
    all: Vec<Sender<(usize, Vec<u8>)>>,
    inbox: Receiver<(usize, Vec<u8>)>,
    /// If set, the rank receives nothing, like a stopped process.
    stopped: Arc<AtomicBool>,
}

impl RankLink for Channels {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.all.len()
    }

    fn send(&self, to: usize, bytes: &[u8]) {
        let _ = self.all[to].send((self.rank, bytes.to_vec()));
    }

    fn poll(&self) -> Option<(usize, Vec<u8>)> {
        if self.stopped.load(Ordering::SeqCst) {
            return None;
        }
        self.inbox.try_recv().ok()
    }
}

fn channels(size: usize) -> Vec<Channels> {
    let (all, inboxes): (Vec<_>, Vec<_>) = (0..size).map(|_| unbounded()).unzip();
    let end = |(rank, inbox)| Channels { rank, all: all.clone(), inbox, stopped: Arc::default() };
    inboxes.into_iter().enumerate().map(end).collect()
}

fn spawn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    thread::Builder::new().spawn(work).unwrap()
}

/// A running job.
struct Job {
    director: Arc<Director>,
    followers: Vec<JoinHandle<Result<JobEnd, String>>>,
    stopped: Vec<Arc<AtomicBool>>,
}

const STALL: Duration = Duration::from_secs(1);

fn options() -> ConnectionOptions {
    ConnectionOptions { stall_timeout: STALL, ..ConnectionOptions::for_this_machine() }
}

fn config(servers: usize) -> JobConfig {
    JobConfig {
        servers,
        network: Some("127.0.0.0/8".parse().unwrap()),
        most_clients: 64,
        options: options(),
        called_off: || false,
    }
}

fn job(servers: usize, clients: usize) -> Job {
    let mut links = channels(servers + clients);
    let others = links.split_off(1);
    let stopped = others.iter().map(|link| Arc::clone(&link.stopped)).collect();
    let followers = others.into_iter().map(|link| spawn(move || follow(&link))).collect();
    let director = Director::start(Arc::new(links.remove(0)), config(servers)).unwrap();
    Job { director, followers, stopped }
}

impl Job {
    fn rig(&self, hosts: usize, path: &str, clients: usize) -> Result<Rig, RigError> {
        self.director.with(hosts).build(&scenario(path, clients))
    }

    /// Ends the job. The byte count that each host kept must equal the one that rank 0 collected from it.
    fn finish(self) {
        for received in self.director.finish() {
            assert_eq!(received.counted, received.collected, "{}", received.host);
        }
        let done = |follower: JoinHandle<_>| assert_eq!(follower.join().unwrap(), Ok(JobEnd::Done));
        self.followers.into_iter().for_each(done);
    }
}

fn scenario(path: &str, clients: usize) -> Scenario {
    let spec = Spec::new(4096).unwrap();
    Scenario {
        options: options(),
        placement: Placement::Free,
        verify: true,
        ..Scenario::new(send::by_name(path).unwrap(), spec, clients)
    }
}

const WINDOW: Work = Work::Window(Duration::from_millis(20));

#[test]
fn hosts_measure_together_and_the_sum_is_that_of_their_shares() {
    for servers in [1, 2] {
        let job = job(servers, 3);
        for path in ["onecopy", "zerocopy"] {
            let mut rig = job.rig(3, path, 2).unwrap();
            let mut sum = rig.run(WINDOW).unwrap();
            sum.merge_sequential(&rig.run(WINDOW).unwrap());
            assert_eq!(sum.hosts.len(), 3);
            assert_eq!(sum.bytes, sum.hosts.iter().map(|host| host.bytes).sum::<u64>());
            assert_eq!(sum.messages, sum.hosts.iter().map(|host| host.messages).sum::<u64>());
            let rates = sum.hosts.iter().map(|host| host.bytes as f64 / host.elapsed.as_secs_f64());
            let rate: f64 = rates.sum();
            assert!((sum.throughput() / rate - 1.0).abs() < 1e-6, "{} and {rate}", sum.throughput());
            assert!(sum.hosts.iter().all(|host| host.bytes > 0 && host.elapsed >= Duration::from_millis(40)));
            assert!(sum.process.is_some() && sum.sender.cpu.is_some());
            if path == "zerocopy" {
                assert!(sum.ledger.sends > 0 && sum.ledger.completed == sum.ledger.sends);
            }
        }
        job.finish();
    }
}

#[test]
fn a_part_of_the_hosts_measures_alone_and_latencies_are_merged() {
    let job = job(1, 3);
    let mut rig = job.rig(2, "onecopy", 1).unwrap();
    let sample = rig.run(Work::Single(7)).unwrap();
    assert_eq!(sample.hosts.iter().map(|host| host.rank).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(sample.latency.len(), 14, "a histogram of all, not a mean of percentiles");
    let most = sample.hosts.iter().filter_map(|host| host.latency.max()).max();
    assert_eq!(sample.latency.max(), most);
    drop(rig);
    job.finish();
}

#[test]
fn hosts_play_the_same_workload() {
    let job = job(1, 2);
    let workload = std::sync::Arc::new(Workload::mix("64B:70%,4097B:25%,100000B:5%", Fields::Even).unwrap());
    let scenario = scenario("onecopy", 3).with_workload(workload).unwrap().of_set_up(1);
    let mut rig = job.director.with(2).build(&scenario).unwrap();
    for rounds in [1, 4] {
        let sample = rig.run(Work::Rounds(rounds)).unwrap();
        assert_eq!(
            (sample.messages, sample.sent),
            (rounds * 2 * 3 * 20, rounds * 2 * scenario.round_bytes())
        );
        assert_eq!(sample.hosts.iter().map(|host| host.sent).sum::<u64>(), sample.sent);
        assert_eq!(sample.classes.groups().len(), 3);
    }
    drop(rig);
    job.finish();
}

#[test]
fn a_host_that_cannot_measure_is_named_and_the_others_go_on() {
    let job = job(1, 2);
    // More clients than the job allows: every server refuses.
    let error = job.rig(2, "onecopy", 40).unwrap_err();
    assert!(matches!(error, RigError::Host { .. }), "{error}");
    let message = error.to_string();
    assert!(
        message.contains("client host") && message.contains("(rank ") && message.contains("clients"),
        "{message}"
    );
    assert_eq!(job.director.lost(), None);
    job.rig(2, "onecopy", 1).unwrap().run(WINDOW).unwrap();
    job.finish();
}

#[test]
fn a_host_that_hangs_ends_the_job_with_its_name() {
    let job = job(1, 3);
    let mut rig = job.rig(3, "onecopy", 1).unwrap();
    rig.run(WINDOW).unwrap();
    job.stopped[1].store(true, Ordering::SeqCst);
    let began = Instant::now();
    let error = rig.run(WINDOW).unwrap_err();
    let message = error.to_string();
    assert!(matches!(error, RigError::Lost(_)) && message.contains("(rank 2)"), "{message}");
    assert!(!message.contains("(rank 1)") && !message.contains("(rank 3)"), "only that one: {message}");
    assert!(began.elapsed() >= STALL);
    // Nothing more is tried with it.
    assert!(matches!(job.rig(3, "onecopy", 1), Err(RigError::Lost(_))));
    assert_eq!(job.director.lost(), Some(message));
    // Rank 0 notifies all ranks, and those that receive it end at once.
    job.director.abandon();
    job.stopped[1].store(false, Ordering::SeqCst);
    let ends: Vec<_> = job.followers.into_iter().map(|follower| follower.join().unwrap()).collect();
    assert_eq!(ends, [Ok(JobEnd::Abandoned), Ok(JobEnd::Abandoned), Ok(JobEnd::Abandoned)]);
}

#[test]
fn a_signal_ends_the_wait_and_names_the_missing_hosts() {
    static SIGNALLED: AtomicBool = AtomicBool::new(false);
    let mut links = channels(2);
    let other = links.pop().unwrap();
    let stopped = Arc::clone(&other.stopped);
    let follower = spawn(move || follow(&other));
    let config = JobConfig { called_off: || SIGNALLED.load(Ordering::SeqCst), ..config(1) };
    let director = Director::start(Arc::new(links.pop().unwrap()), config).unwrap();
    stopped.store(true, Ordering::SeqCst);
    SIGNALLED.store(true, Ordering::SeqCst);
    let error = director.with(1).build(&scenario("onecopy", 1)).unwrap_err().to_string();
    assert!(error.contains("signal") && error.contains("(rank 1)"), "{error}");
    stopped.store(false, Ordering::SeqCst);
    director.finish();
    assert_eq!(follower.join().unwrap(), Ok(JobEnd::Done));
}

#[test]
fn a_rank_with_another_version_is_refused_by_name() {
    let mut links = channels(2);
    let other = links.pop().unwrap();
    let stranger = spawn(move || {
        let until = Instant::now() + Duration::from_secs(20);
        while Instant::now() < until {
            if let Some((_, bytes)) = other.poll() {
                assert!(matches!(serde_json::from_slice(&bytes).unwrap(), Command::Welcome { .. }));
                let mut greeting = super::membership::Greeting::here(Vec::new());
                greeting.words = VERSION + 1;
                greeting.conditions.version = "9.9.9".into();
                let reply = super::control_messages::Reply::Greeting(Box::new(greeting));
                other.send(0, &serde_json::to_vec(&reply).unwrap());
                return;
            }
            thread::sleep(Duration::from_millis(1));
        }
    });
    let error = Director::start(Arc::new(links.pop().unwrap()), config(1)).unwrap_err();
    assert!(error.contains("rank 1") && error.contains("9.9.9"), "{error}");
    stranger.join().unwrap();
}

#[test]
fn windows_lie_within_the_time_in_which_all_receive() {
    /// All messages in one order, each with its sender and its receiver.
    type Log = Arc<Mutex<Vec<(usize, usize, String)>>>;
    #[derive(Debug)]
    struct Logged(Channels, Log);
    impl RankLink for Logged {
        fn rank(&self) -> usize {
            self.0.rank()
        }
        fn size(&self) -> usize {
            self.0.size()
        }
        fn send(&self, to: usize, bytes: &[u8]) {
            let text = String::from_utf8_lossy(bytes).chars().take(24).collect();
            self.1.lock().unwrap().push((self.0.rank, to, text));
            self.0.send(to, bytes);
        }
        fn poll(&self) -> Option<(usize, Vec<u8>)> {
            self.0.poll()
        }
    }
    let log = Log::default();
    let mut links = channels(4);
    let others = links.split_off(1);
    let follower = |link| {
        let link = Logged(link, Arc::clone(&log));
        spawn(move || follow(&link))
    };
    let followers: Vec<_> = others.into_iter().map(follower).collect();
    let first = Logged(links.remove(0), Arc::clone(&log));
    let director = Director::start(Arc::new(first), config(1)).unwrap();
    let mut rig = director.with(3).build(&scenario("onecopy", 1)).unwrap();
    log.lock().unwrap().clear();
    rig.run(WINDOW).unwrap();
    let messages = log.lock().unwrap().clone();
    let places = |what: &str| -> Vec<usize> {
        let is = |(_, message): &(usize, &(usize, usize, String))| message.2.contains(what);
        messages.iter().enumerate().filter(is).map(|(place, _)| place).collect()
    };
    let (receives, open) = (places("Receives"), places("Open"));
    let (closed, over) = (places("Closed"), places("Over"));
    for places in [&receives, &open, &closed, &over] {
        assert_eq!(places.len(), 3, "{messages:?}");
    }
    assert!(receives.iter().max() < open.iter().min(), "{messages:?}");
    assert!(closed.iter().max() < over.iter().min(), "{messages:?}");
    // No rank sends anything between the last Open and the first Closed.
    assert_eq!(open[2] + 1, closed[0], "{messages:?}");
    drop(rig);
    director.finish();
    followers.into_iter().for_each(|follower| assert_eq!(follower.join().unwrap(), Ok(JobEnd::Done)));
}

#[test]
fn hosts_share_servers_in_turn_and_machines_as_they_are() {
    let member = |rank: usize, machine: &str| {
        let mut greeting = super::membership::Greeting::here(Vec::new());
        greeting.machine = machine.to_owned();
        super::membership::Member { rank, role: super::membership::RankRole::Receives, greeting }
    };
    let servers = [member(0, "s0"), member(1, "s1")];
    let clients = [member(2, "a"), member(3, "a"), member(4, "s0"), member(5, "b")];
    let shares = shares(&servers, &clients, 4, 8);
    let at = |of: fn(&crate::remote::ClientShares) -> copycost::internals::placement::ClientRange| -> Vec<_> {
        shares.iter().map(|shares| (of(shares).before, of(shares).all)).collect()
    };
    assert_eq!(at(|shares| shares.server), [(0, 16), (0, 16), (8, 16), (8, 16)]);
    // The third host is the machine of its server, where a client shares the CPU of its server's thread.
    assert_eq!(at(|shares| shares.client), [(0, 16), (8, 16), (8, 16), (0, 8)]);
}
