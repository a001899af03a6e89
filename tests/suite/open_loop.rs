//! Open loops: messages are asked for when they are due, all of them arrive, and the latencies contain every delay.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::common::{
    available, end_of, fitting, impatient, representatives, spec, verified, window_with_bytes, within,
};
use copycost::internals::sys::sched;
use copycost::latency::Latencies;
use copycost::message::{Fields, Message, Spec};
use copycost::recv::{self, ReceivePath};
use copycost::rig::{Arrivals, OpenLoop, OpenLoopSample, Rig, RigError, Sample, Work};
use copycost::scenario::{Placement, Scenario};
use copycost::send::{OneCopy, Release, SendPath, Sender};
use copycost::workload::Workload;

const MILLISECOND: Duration = Duration::from_millis(1);

fn load(interval: Duration, length: Duration) -> OpenLoop {
    OpenLoop { interval, length, arrivals: Arrivals::Poisson, seed: 11 }
}

/// The messages that are due, which both ends must agree on.
fn due(load: &OpenLoop, clients: usize) -> u64 {
    (0..clients).map(|client| load.due_times(client).count() as u64).sum()
}

fn run(rig: &mut Rig, load: OpenLoop) -> (Sample, OpenLoopSample) {
    let what = rig.scenario().to_string();
    let sample = rig.run(Work::OpenLoop(load)).unwrap_or_else(|error| panic!("{error}: {what}"));
    let open_loop = sample.open_loop.clone().unwrap();
    assert_eq!(open_loop.lateness.len(), open_loop.due, "{what}");
    assert_eq!(open_loop.received, sample.latency.len(), "{what}");
    assert!(sample.bytes == sample.sent && sample.elapsed == open_loop.elapsed, "{what}");
    if !open_loop.overloaded {
        let clients = rig.scenario().clients;
        assert_eq!((open_loop.due, open_loop.received), (due(&load, clients), sample.messages), "{what}");
        assert_eq!(open_loop.due, due(&load, clients), "{what}");
    }
    (sample, open_loop)
}

/// Whether the generator can have a CPU.
fn possible() -> bool {
    let cpus = sched::allowed_cpus().unwrap().len();
    if cpus < 2 {
        crate::common::skip("an open loop needs two CPUs");
    }
    cpus >= 2
}

#[test]
fn every_path_delivers_every_message_that_is_due() {
    if !possible() {
        return;
    }
    for (p, path) in available(&spec(4096, true)).into_iter().enumerate() {
        within(path.name, move || {
            let clients = 1 + p % 3;
            let scenario = verified(path, spec([100, 4096, 70_000][p % 3], true), clients).for_open_loop();
            let mut rig = Rig::build(&scenario).unwrap_or_else(|error| panic!("{error}: {scenario}"));
            for arrivals in Arrivals::ALL {
                let load = OpenLoop { arrivals: *arrivals, ..load(MILLISECOND / 2, 60 * MILLISECOND) };
                let (sample, _) = run(&mut rig, load);
                assert_eq!(sample.sent, sample.messages * scenario.spec.size as u64);
            }
            // Other work is done by the same rig.
            assert_eq!(rig.run(Work::Single(3)).unwrap().latency.len(), 3 * clients as u64);
            assert!(rig.run(Work::Rounds(2)).unwrap().open_loop.is_none());
        });
    }
}

#[test]
fn messages_of_several_sizes_arrive_complete() {
    if !possible() {
        return;
    }
    let text = "8B/single:20%,512B:40%,4097B/headed:20%,65536B/64+65472:10%,1MiB/single:10%";
    let mix = Arc::new(Workload::mix(text, Fields::Even).unwrap());
    for path in representatives(available(&spec(4096, false)), 0) {
        let mix = Arc::clone(&mix);
        within(path.name, move || {
            let base = verified(path, fitting(path, spec(4096, false)), 2);
            let scenario = base.with_workload(mix).unwrap().of_set_up(5).for_open_loop();
            let mut rig = Rig::build(&scenario).unwrap();
            for seed in 0..3 {
                // Runs end within a deck, and the next one goes on there.
                run(&mut rig, OpenLoop { seed, ..load(3 * MILLISECOND, 100 * MILLISECOND) });
                window_with_bytes(&mut rig);
            }
        });
    }
}

#[test]
fn receive_paths_and_placements_keep_count() {
    if !possible() {
        return;
    }
    let path = &copycost::send::ALL[1];
    for (r, receive) in recv::ALL.iter().enumerate() {
        if let Err(reason) = (receive.probe)(false) {
            crate::common::skip(&format!("{}: {reason}", receive.name));
            continue;
        }
        let placement = Placement::ALL[r % Placement::ALL.len()];
        within(receive.name, move || {
            let scenario =
                Scenario { receive, placement, verify: false, ..verified(path, spec(10_000, true), 3) };
            let mut rig = Rig::build(&scenario.for_open_loop()).unwrap();
            let (sample, _) = run(&mut rig, load(MILLISECOND, 50 * MILLISECOND));
            assert_eq!(sample.bytes, sample.messages * 10_000);
        });
    }
}

#[test]
fn rates_from_one_a_second_to_a_million() {
    if !possible() {
        return;
    }
    within("rates", || {
        let scenario = verified(&copycost::send::ALL[1], spec(64, true), 1).for_open_loop();
        let mut rig = Rig::build(&scenario).unwrap();
        let seldom = OpenLoop {
            arrivals: Arrivals::Fixed,
            ..load(Duration::from_secs(1), Duration::from_millis(1500))
        };
        let (_, open_loop) = run(&mut rig, seldom);
        assert!((1..=2).contains(&open_loop.received));
        let (_, open_loop) = run(&mut rig, load(Duration::from_micros(1), 40 * MILLISECOND));
        assert!(open_loop.received > 30_000 && !open_loop.overloaded);
        let (sample, open_loop) = run(&mut rig, load(MILLISECOND, Duration::ZERO));
        assert_eq!((sample.bytes, open_loop.due, open_loop.elapsed), (0, 0, Duration::ZERO));
    });
}

/// Messages farther apart than an end may be silent are no error.
#[test]
fn a_gap_longer_than_the_timeout_is_no_silence() {
    if !possible() {
        return;
    }
    let stall = Duration::from_millis(300);
    for receive in recv::ALL.iter().filter(|receive| (receive.probe)(true).is_ok()) {
        within(receive.name, move || {
            let scenario = Scenario {
                receive,
                options: impatient(stall),
                ..verified(&copycost::send::ALL[1], spec(64, true), 1)
            };
            let mut rig = Rig::build(&scenario.for_open_loop()).unwrap();
            let seldom = OpenLoop { arrivals: Arrivals::Fixed, ..load(3 * stall, 9 * stall / 2) };
            assert!((1..=2).contains(&run(&mut rig, seldom).1.received));
        });
    }
}

#[test]
fn a_rig_without_a_generator_says_so_and_stays_usable() {
    within("no generator", || {
        let mut rig = Rig::build(&verified(&copycost::send::ALL[0], spec(64, true), 1)).unwrap();
        let error = rig.run(Work::OpenLoop(load(MILLISECOND, MILLISECOND))).unwrap_err();
        assert!(error.to_string().contains("Scenario::for_open_loop"), "{error}");
        rig.run(Work::Rounds(1)).unwrap();
    });
}

#[test]
fn one_cpu_is_not_enough() {
    let cpus = sched::allowed_cpus().unwrap();
    within("one CPU", move || {
        sched::pin(&cpus[..1]).unwrap();
        let scenario = verified(&copycost::send::ALL[0], spec(64, true), 1).for_open_loop();
        let error = Rig::build(&scenario).map(drop).unwrap_err();
        assert!(matches!(error, RigError::OpenLoopCpus { cpus: 1 }), "{error:?}");
        assert_eq!(
            error.to_string(),
            "an open loop needs a CPU for its generator beside one for the ends: this process may use 1"
        );
    });
    if possible() {
        within("no time", || {
            let scenario = verified(&copycost::send::ALL[0], spec(64, true), 1).for_open_loop();
            let mut rig = Rig::build(&scenario).unwrap();
            assert!(rig.run(Work::OpenLoop(load(Duration::ZERO, MILLISECOND))).is_err());
            run(&mut rig, load(MILLISECOND, 5 * MILLISECOND));
        });
    }
}

/// Sends as `onecopy` does, after `before`, which gets the number of messages sent so far.
#[derive(Debug)]
struct Planted {
    inner: OneCopy,
    sent: u64,
    before: fn(u64) -> io::Result<()>,
}

impl Sender for Planted {
    fn send(&mut self, message: &Arc<Message>) -> io::Result<()> {
        (self.before)(self.sent)?;
        self.sent += 1;
        self.inner.send(message)
    }
}

macro_rules! planted {
    ($before:expr) => {
        SendPath {
            name: "planted",
            description: "for tests",
            aliases: &[],
            release: Release::OnReturn,
            delays: false,
            probe: |_| Ok(()),
            open: |socket, _, _| {
                Ok(Box::new(Planted { inner: OneCopy::new(socket), sent: 0, before: $before }))
            },
        }
    };
}

fn build(path: &'static SendPath, clients: usize) -> Rig {
    Rig::build(&verified(path, spec(64, true), clients).for_open_loop()).unwrap()
}

/// How many messages took longer than this.
fn longer(latency: &Latencies, than: Duration) -> u64 {
    let buckets: Vec<(u64, u64)> = serde_json::from_value(serde_json::to_value(latency).unwrap()).unwrap();
    buckets.iter().filter(|(ns, _)| u128::from(*ns) > than.as_nanos()).map(|(_, count)| count).sum()
}

/// Messages until the planted stall; a large number is none.
static BEFORE_STALL: AtomicU64 = AtomicU64::new(u64::MAX);
const STALL: Duration = Duration::from_millis(100);

static STALLING: SendPath = planted!(|_| {
    if BEFORE_STALL.fetch_sub(1, Ordering::Relaxed) == 0 {
        std::thread::sleep(STALL);
    }
    Ok(())
});

/// With a load that waits, only one message would be late. Here, all that were due in the stall are.
#[test]
fn a_stall_delays_every_message_that_was_due_in_it() {
    if !possible() {
        return;
    }
    within("a stall", || {
        let mut rig = build(&STALLING, 1);
        let load = OpenLoop { arrivals: Arrivals::Fixed, ..load(MILLISECOND, 500 * MILLISECOND) };
        // A busy machine delays other messages too, so that the counts are right only in a quiet moment.
        let attempt = || {
            BEFORE_STALL.store(200, Ordering::Relaxed);
            let (sample, open_loop) = run(&mut rig, load);
            BEFORE_STALL.store(u64::MAX, Ordering::Relaxed);
            assert_eq!((open_loop.due, open_loop.overloaded), (500, false));
            // No machine can make a stall shorter.
            assert!(sample.latency.max() >= Some(STALL - 2 * MILLISECOND), "{:?}", sample.latency);
            let counts = [10, 25, 50, 75].map(|ms| (longer(&sample.latency, ms * MILLISECOND), 100 - ms));
            assert!(counts.iter().all(|(count, ramp)| *count + 5 >= u64::from(*ramp)), "{counts:?}");
            counts.iter().all(|(count, ramp)| *count <= u64::from(*ramp) + 8).then_some(()).ok_or(counts)
        };
        repeat(20, attempt);
    });
}

/// Repeats `attempt` until it succeeds.
fn repeat<T, E: std::fmt::Debug>(times: usize, attempt: impl FnMut() -> Result<T, E>) -> T {
    let mut failures = Vec::new();
    for result in std::iter::repeat_with(attempt).take(times) {
        match result {
            Ok(done) => return done,
            Err(failure) => failures.push(failure),
        }
    }
    panic!("{failures:?}");
}

const SERVICE: Duration = Duration::from_millis(5);

// Sleeping leaves the CPU to others: it keeps the time of a service even where this thread has half a CPU.
static SLOW: SendPath = planted!(|_| {
    let until = Instant::now() + SERVICE;
    std::thread::sleep(SERVICE - MILLISECOND / 5);
    while Instant::now() < until {
        std::hint::spin_loop();
    }
    Ok(())
});

/// The mean time in a queue in which each message is served for [`SERVICE`], in units of that.
fn mean_in_queue(load: &OpenLoop) -> f64 {
    let (mut free, mut all, mut count) = (Duration::ZERO, Duration::ZERO, 0);
    for due in load.due_times(0) {
        free = free.max(due) + SERVICE;
        (all, count) = (all + (free - due), count + 1);
    }
    all.as_secs_f64() / f64::from(count) / SERVICE.as_secs_f64()
}

/// The mean time in a queue with random arrivals and a fixed service time D at utilisation ρ (M/D/1) is
/// D + ρD/(2(1-ρ)), which is 1.5 D for ρ = 0.5. With equal gaps it would be D.
#[test]
fn latencies_are_those_of_queueing_theory() {
    let all = load(2 * SERVICE, Duration::from_secs(5000));
    assert!((mean_in_queue(&all) - 1.5).abs() < 0.02, "{}", mean_in_queue(&all));
    if !possible() {
        return;
    }
    within("a queue", move || {
        // Not `paired`, where the server's thread never preempts another when it wakes up.
        let placement = Placement::Split;
        let scenario = Scenario { placement, ..verified(&SLOW, spec(8192, true), 1) };
        let mut rig = Rig::build(&scenario.for_open_loop()).unwrap();
        let mut ratios = Vec::new();
        let attempt = || {
            let load = OpenLoop { seed: ratios.len() as u64, length: Duration::from_secs(1), ..all };
            let (sample, _) = run(&mut rig, load);
            let mean = sample.latency.mean().unwrap().as_secs_f64() / SERVICE.as_secs_f64();
            ratios.push(mean / mean_in_queue(&load));
            // No machine serves faster. The histogram is exact to 1 %.
            assert!(ratios.iter().all(|ratio| *ratio > 0.98), "{ratios:?}");
            // A busy machine serves more slowly.
            let mut sorted = ratios.clone();
            sorted.sort_by(f64::total_cmp);
            let median = sorted[sorted.len() / 2];
            if ratios.len() >= 3 && median < 1.4 { Ok(()) } else { Err(median) }
        };
        repeat(15, attempt);
    });
}

static HOPELESS: SendPath = planted!(|_| {
    std::thread::sleep(Duration::from_micros(200));
    Ok(())
});

#[test]
fn an_overload_ends_early_and_loses_nothing() {
    if !possible() {
        return;
    }
    within("an overload", || {
        let scenario = verified(&HOPELESS, spec(8192, true), 2);
        let mut rig = Rig::build(&scenario.for_open_loop()).unwrap();
        let hour = Duration::from_secs(3600);
        let (sample, open_loop) = run(&mut rig, load(MILLISECOND / 20, hour));
        assert!(open_loop.overloaded && open_loop.received <= open_loop.due, "{open_loop:?}");
        // Each client got one more message, which says that the run is over.
        assert_eq!(sample.messages, open_loop.received + 2);
        assert_eq!(sample.sent, 8192 * sample.messages);
        let (_, open_loop) = run(&mut rig, load(5 * MILLISECOND, 40 * MILLISECOND));
        assert!(!open_loop.overloaded);
    });
    // Large messages: the server must not work off what was asked for in a second.
    within("large messages", || {
        let path = &copycost::send::ALL[1];
        let mut rig = Rig::build(&verified(path, Spec { ..spec(1 << 20, true) }, 1).for_open_loop()).unwrap();
        let (sample, open_loop) = run(&mut rig, load(Duration::from_micros(2), 400 * MILLISECOND));
        assert!(open_loop.overloaded && open_loop.due > 100_000, "{open_loop:?}");
        assert_eq!(sample.messages, open_loop.received + 1);
        run(&mut rig, load(20 * MILLISECOND, 100 * MILLISECOND));
    });
}

/// Messages of one sender until it fails, warm-up included.
static BEFORE_FAILURE: AtomicU64 = AtomicU64::new(u64::MAX);

static FAILING: SendPath = planted!(|_| {
    match BEFORE_FAILURE.fetch_sub(1, Ordering::Relaxed) {
        0 => Err(io::Error::other("made to fail")),
        _ => Ok(()),
    }
});

#[derive(Debug)]
struct Mortal(Box<dyn recv::Receiver>);

static BEFORE_DEATH: AtomicU64 = AtomicU64::new(u64::MAX);
static PANICS: AtomicBool = AtomicBool::new(false);

impl recv::Receiver for Mortal {
    fn recv(&mut self, max: usize, see: &mut dyn FnMut(&[u8])) -> io::Result<usize> {
        let got = self.0.recv(max, see)?;
        match BEFORE_DEATH.fetch_sub(1, Ordering::Relaxed) {
            0 if PANICS.load(Ordering::Relaxed) => panic!("made to panic"),
            0 => Err(io::Error::other("made to fail")),
            _ => Ok(got),
        }
    }
}

static MORTAL: ReceivePath = ReceivePath {
    name: "mortal",
    description: "for tests",
    probe: |_| Ok(()),
    open: |socket, begin| Ok(Box::new(Mortal((recv::ALL[0].open)(socket, begin)?))),
};

#[test]
fn an_error_of_either_end_ends_the_run_at_once() {
    if !possible() {
        return;
    }
    within("dying ends", || {
        let hour = Duration::from_secs(3600);
        for interval in [MILLISECOND / 2, 30 * MILLISECOND] {
            let mut rig = build(&FAILING, 3);
            BEFORE_FAILURE.store(9, Ordering::Relaxed);
            let error = end_of(rig.run(Work::OpenLoop(load(interval, hour))));
            assert!(error.starts_with("the sender of client ") && error.contains("made to fail"), "{error}");
            assert!(matches!(rig.run(Work::Rounds(1)), Err(RigError::Broken)));
            drop(rig);
            for panics in [false, true] {
                let base = verified(&copycost::send::ALL[1], spec(64, true), 3);
                let mut rig = Rig::build(&Scenario { receive: &MORTAL, ..base }.for_open_loop()).unwrap();
                PANICS.store(panics, Ordering::Relaxed);
                BEFORE_DEATH.store(9, Ordering::Relaxed);
                let error = end_of(rig.run(Work::OpenLoop(load(interval, hour))));
                let why = if panics { "panicked" } else { "made to fail" };
                assert!(error.starts_with("client ") && error.contains(why), "{error}");
            }
        }
    });
}

#[test]
fn a_rig_dropped_between_open_loops_ends_its_generator() {
    if !possible() {
        return;
    }
    within("drop", || {
        for _ in 0..20 {
            drop(build(&copycost::send::ALL[0], 2));
        }
        let mut rig = build(&copycost::send::ALL[0], 2);
        run(&mut rig, load(MILLISECOND, 10 * MILLISECOND));
    });
}
