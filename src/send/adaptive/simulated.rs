//! The controller on a link that is made up: costs, noise, completions and refusals as wanted, and no clock.

use std::collections::VecDeque;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::class::{Class, Division};
use super::contest::Objective;
use super::controller::Controller;
use super::course::Next;
use super::decisions::{Decisions, Reason, Way};
use super::experience::Experience;
use super::gate::{Link, Outcome};
use super::trial::{Cost, Length};

/// What the kernel makes of messages by reference.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kernel {
    Copies,
    References,
    Refuses,
    /// Each third.
    RefusesSome,
}

/// As SO_SNDBUF of a connection over loopback reads.
const SEND_BUFFER: usize = 512 << 10;

/// The first lessons cost no more than so many blocks by the dearest way.
const LESSONS: f64 = 24.0;

/// What a message of no bytes costs, in ns.
const CALL: f64 = 400.0;

/// ns for each KiB, in the order of [`Way::ALL`]: what the lab costs at 64 KiB with adjacent fields.
const LAB: [f64; Way::COUNT] = [103.0, 115.0, 71.0, 75.0];

#[derive(Clone, Copy)]
struct Shape {
    size: usize,
    division: Division,
}

impl Shape {
    fn class(self) -> Class {
        Class::of(self.size, self.division)
    }
}

/// A connection of a server that knows nothing yet.
fn alone(objective: Objective, link: Link, able: bool) -> Controller {
    Controller::new(objective, Experience::new(), link, able)
}

struct Simulated {
    controller: Controller,
    kernel: Kernel,
    /// CPU time for each KiB, by way.
    cpu: [f64; Way::COUNT],
    /// Time for each KiB, by way.
    wall: [f64; Way::COUNT],
    send_buffer: usize,
    /// Where the link drains a full buffer: what its messages take, the oldest first.
    buffer: Option<VecDeque<f64>>,
    /// One block's cost is off by up to this share.
    noise: f64,
    random: fastrand::Rng,
    /// Calls by reference so far.
    calls: u64,
    /// Those whose completion is to come, and whether they were copied.
    outstanding: VecDeque<bool>,
    /// Messages whose cost was read.
    timed: u64,
    /// What was spent, and what the cheapest way would have.
    spent: f64,
    least: f64,
}

impl Simulated {
    fn new(kernel: Kernel, costs: [f64; Way::COUNT], noise: f64) -> Self {
        Self {
            controller: alone(Objective::Throughput, Link::Far, true),
            kernel,
            cpu: costs,
            wall: costs,
            send_buffer: SEND_BUFFER,
            buffer: None,
            noise,
            random: fastrand::Rng::with_seed(7),
            calls: 0,
            outstanding: VecDeque::new(),
            timed: 0,
            spent: 0.0,
            least: 0.0,
        }
    }

    /// A further connection of the same server.
    fn another(&self) -> Controller {
        Controller::new(Objective::Throughput, self.controller.experience().clone(), Link::Far, true)
    }

    fn probes(&self) -> u64 {
        let decisions = self.controller.decisions();
        Way::ALL.iter().map(|way| decisions.messages(*way, Reason::Probe)).sum()
    }

    fn of_reference(&self) -> u64 {
        self.controller.decisions().of_way(Way::Reference)
    }

    /// Sends so many messages and says what was decided for them.
    fn send(&mut self, messages: usize, shape: Shape) -> Decisions {
        let before = self.controller.decisions();
        (0..messages).for_each(|_| self.send_one(shape));
        self.controller.decisions().since(&before)
    }

    fn send_one(&mut self, shape: Shape) {
        // As Adaptive: what goes as the message before it is not asked for.
        let alike = self.controller.next_alike(shape.class(), shape.size);
        let usual = |way| Next { way, reason: Reason::Equal, timed: false };
        let next = alike.map_or_else(|| self.controller.next(shape.class(), || self.send_buffer), usual);
        let kib = shape.size as f64 / 1024.0;
        let by_reference = next.way.by_reference();
        // A refused call copies after all, and pays for having asked.
        self.calls += u64::from(by_reference);
        let refused = by_reference
            && match self.kernel {
                Kernel::Refuses => true,
                Kernel::RefusesSome => self.calls.is_multiple_of(3),
                Kernel::References | Kernel::Copies => false,
            };
        let dearer = if refused || (by_reference && self.kernel == Kernel::Copies) { 2.0 } else { 1.0 };
        let noise = 1.0 + self.noise * (2.0 * self.random.f64() - 1.0);
        let cost = |of: [f64; Way::COUNT]| (CALL + of[next.way as usize] * kib) * dearer * noise;
        let wall = match &mut self.buffer {
            None => cost(self.wall),
            Some(buffer) => {
                buffer.push_back(cost(self.wall));
                let full = buffer.len() * shape.size > self.send_buffer;
                if full { buffer.pop_front().unwrap_or_default() } else { 0.0 }
            }
        };
        let spent = Cost { cpu: cost(self.cpu) as u64, wall: wall as u64 };
        self.timed += u64::from(next.timed);
        self.spent += cost(self.cpu) / noise + if next.timed { 300.0 } else { 0.0 };
        let copying = self.cpu[0].min(self.cpu[1]);
        let referring = if matches!(self.kernel, Kernel::References | Kernel::RefusesSome) {
            self.cpu[2]
        } else {
            f64::MAX
        };
        self.least += CALL + copying.min(referring) * kib;
        if alike.is_none() {
            self.controller.sent(shape.size, next.timed.then_some(spent));
        }
        if by_reference {
            self.controller.called(if refused { Outcome::Refused } else { Outcome::Taken });
            if !refused {
                self.outstanding.push_back(self.kernel == Kernel::Copies);
            }
        }
        // Completions come in bursts, some messages later.
        if self.outstanding.len() >= 4 || (!by_reference && !self.outstanding.is_empty()) {
            let copied = self.outstanding.iter().filter(|copied| **copied).count();
            self.controller.completed(self.outstanding.len() as u64, copied as u64);
            self.outstanding.clear();
        }
    }
}

const fn shape(size: usize) -> Shape {
    Shape { size, division: Division::Alike }
}

const MESSAGE: Shape = shape(64 << 10);

fn share(decisions: &Decisions, way: Way) -> f64 {
    decisions.of_way(way) as f64 / decisions.total() as f64
}

#[test]
fn it_follows_a_link_that_copies_then_does_not_then_refuses() {
    let mut link = Simulated::new(Kernel::Copies, LAB, 0.2);
    let copying = link.send(100_000, MESSAGE);
    assert!(copying.messages(Way::Gather, Reason::Cheaper) > 95_000, "{copying}");
    assert!(copying.of_way(Way::Reference) < 20, "{copying}");
    assert!(copying.given_up_copied > 0, "{copying}");

    link.kernel = Kernel::References;
    let wait = link.send(1_000_000, MESSAGE);
    assert!(wait.of_way(Way::Reference) > 0, "it is asked again at some time: {wait}");
    let referring = link.send(100_000, MESSAGE);
    assert!(share(&referring, Way::Reference) > 0.98, "{referring}");
    assert_eq!(referring.switches, 0, "{referring}");

    link.kernel = Kernel::Refuses;
    let refusing = link.send(100_000, MESSAGE);
    assert!(refusing.messages(Way::Gather, Reason::Refused) > 95_000, "{refusing}");
    assert!(refusing.of_way(Way::Reference) < 60, "{refusing}");
    assert!(refusing.given_up_refused > 0, "{refusing}");

    link.kernel = Kernel::References;
    link.send(1_000_000, MESSAGE);
    assert!(share(&link.send(100_000, MESSAGE), Way::Reference) > 0.98);

    link.kernel = Kernel::Copies;
    let again = link.send(100_000, MESSAGE);
    assert!(again.messages(Way::Gather, Reason::Copied) > 95_000, "{again}");
}

#[test]
fn equal_ways_do_not_make_it_swing() {
    for (costs, most) in
        [([100.0; Way::COUNT], 2), ([100.0, 101.0, 99.0, 100.0], 2), ([100.0, 105.0, 95.0, 95.0], 3)]
    {
        for seed in 0..20 {
            let mut link = Simulated::new(Kernel::References, costs, 0.3);
            link.random = fastrand::Rng::with_seed(seed);
            let all = link.send(1_000_000, MESSAGE);
            assert!(all.switches <= most, "seed {seed}, {costs:?}: {} switches; {all}", all.switches);
            let late = link.send(200_000, MESSAGE);
            assert!(late.switches <= 1, "seed {seed}, {costs:?}: {late}");
        }
    }
}

#[test]
fn a_way_that_becomes_cheaper_is_found() {
    let mut link = Simulated::new(Kernel::Copies, LAB, 0.2);
    link.send(200_000, MESSAGE);
    // The messages have outgrown the caches.
    link.cpu = [150.0, 138.0, 160.0, 160.0];
    link.wall = link.cpu;
    link.send(200_000, MESSAGE);
    let late = link.send(100_000, MESSAGE);
    assert!(share(&late, Way::Flatten) > 0.95, "{late}");
}

#[test]
fn what_is_slower_by_the_clock_is_not_chosen_for_throughput_whatever_cpu_time_it_saves() {
    for (objective, way) in [(Objective::Throughput, Way::Gather), (Objective::Demand, Way::Reference)] {
        let mut link = Simulated::new(Kernel::References, LAB, 0.1);
        link.controller = alone(objective, Link::Far, true);
        link.wall = [260.0, 280.0, 340.0, 340.0];
        link.send(100_000, MESSAGE);
        let late = link.send(100_000, MESSAGE);
        assert!(share(&late, way) > 0.95, "{objective:?}: {late}");
    }
}

#[test]
fn what_the_buffer_holds_of_another_way_is_not_taken_for_the_pace_of_this_one() {
    for faster in [Way::Gather, Way::Reference] {
        let mut link = Simulated::new(Kernel::References, [200.0, 260.0, 160.0, 160.0], 0.1);
        link.send_buffer = 4 << 20;
        link.buffer = Some(VecDeque::new());
        link.wall = [250.0, 250.0, 320.0, 320.0];
        if faster == Way::Reference {
            link.wall = [320.0, 320.0, 250.0, 250.0];
        }
        link.send(100_000, shape(8 << 10));
        let late = link.send(100_000, shape(8 << 10));
        let flat = if faster == Way::Gather { late.of_way(Way::Flatten) } else { 0 };
        assert!(late.of_way(faster) + flat > 95_000, "{faster}: {late}");
    }
}

#[test]
fn a_local_link_is_asked_later_and_a_kernel_without_it_never() {
    let mut link = Simulated::new(Kernel::Copies, LAB, 0.1);
    link.controller = alone(Objective::Throughput, Link::Local, true);
    assert_eq!(link.send(100, MESSAGE).of_way(Way::Reference), 0);
    assert!(link.send(1000, MESSAGE).of_way(Way::Reference) > 0);
    link.controller = alone(Objective::Throughput, Link::Far, false);
    let all = link.send(100_000, MESSAGE);
    assert_eq!(all.of_way(Way::Reference) + all.of_way(Way::Hybrid), 0);
}

#[test]
fn asking_a_kernel_that_copies_becomes_rare() {
    let mut link = Simulated::new(Kernel::Copies, LAB, 0.1);
    let first = link.send(1 << 18, MESSAGE).of_way(Way::Reference);
    let second = link.send(1 << 18, MESSAGE).of_way(Way::Reference);
    assert!((2..=10).contains(&first) && second <= 2, "{first} times in 16 GiB, then {second}");
}

#[test]
fn what_is_refused_now_and_then_is_not_given_up() {
    let mut link = Simulated::new(Kernel::RefusesSome, LAB, 0.1);
    let decisions = link.send(200_000, MESSAGE);
    assert_eq!(decisions.given_up_refused, 0, "{decisions}");
    assert!(share(&decisions, Way::Reference) > 0.9, "{decisions}");
}

#[test]
fn waiting_for_memory_counts_against_the_way_that_holds_it() {
    let mut link = Simulated::new(Kernel::References, LAB, 0.1);
    for _ in 0..200_000 {
        let next = link.controller.next(MESSAGE.class(), || SEND_BUFFER);
        let spent =
            Cost { cpu: 64 * LAB[next.way as usize] as u64, wall: 64 * LAB[next.way as usize] as u64 };
        link.controller.sent(MESSAGE.size, next.timed.then_some(spent));
        if next.way.by_reference() {
            link.controller.called(Outcome::Taken);
            link.controller.completed(1, 0);
            link.controller.waited(Cost { cpu: 500, wall: 40_000 });
        }
    }
    let late = link.controller.decisions();
    assert!(share(&late, Way::Gather) > 0.9, "{late}");
}

#[test]
fn each_size_and_division_has_a_way_of_its_own() {
    let mut link = Simulated::new(Kernel::References, LAB, 0.1);
    let mixed = Shape { division: Division::Mixed, ..MESSAGE };
    for _ in 0..300_000 {
        let classes = [
            (LAB, MESSAGE),
            ([900.0, 600.0, 4000.0, 4000.0], shape(1024)),
            ([103.0, 115.0, 90.0, 60.0], mixed),
        ];
        for (costs, shape) in classes {
            (link.cpu, link.wall) = (costs, costs);
            link.send_one(shape);
        }
    }
    let large = link.send(1000, MESSAGE);
    assert!(share(&large, Way::Reference) > 0.9, "{large}");
    let small = link.send(1000, shape(1024));
    assert!(share(&small, Way::Flatten) > 0.8, "{small}");
    let divided = link.send(1000, mixed);
    assert!(share(&divided, Way::Hybrid) > 0.8, "{divided}");
}

#[test]
fn what_one_connection_learns_the_next_one_knows() {
    let mut first = Simulated::new(Kernel::References, LAB, 0.1);
    first.send(20_000, MESSAGE);
    let mut next = Simulated::new(Kernel::References, LAB, 0.1);
    next.controller = first.another();
    let short = next.send(40, MESSAGE);
    assert!(short.messages(Way::Reference, Reason::Cheaper) >= 38, "{short}");
}

#[test]
fn few_connections_try_a_way_while_the_others_go_on_as_usual() {
    const AT_ONCE: u64 = 4;
    let mut connections = vec![Simulated::new(Kernel::Copies, LAB, 0.1)];
    for _ in 1..8 {
        let mut another = Simulated::new(Kernel::Copies, LAB, 0.1);
        another.controller = connections[0].another();
        connections.push(another);
    }
    let sum =
        |connections: &[Simulated], of: fn(&Simulated) -> u64| -> u64 { connections.iter().map(of).sum() };
    let (mut probes, mut most) = (0, 0);
    for round in 0..2000 {
        let (before, asked) = (probes, sum(&connections, Simulated::of_reference));
        connections.iter_mut().for_each(|one| one.send_one(MESSAGE));
        probes = sum(&connections, Simulated::probes);
        // Beside the question whether the kernel copies, which each link answers for itself.
        let now = probes - before - (sum(&connections, Simulated::of_reference) - asked);
        assert!(now <= AT_ONCE, "{now} in round {round}");
        let first = Length::of(MESSAGE.size, SEND_BUFFER).timed;
        assert!(now <= 1 || probes > first, "what is not known at all is tried by one");
        most = most.max(now);
    }
    assert!(most > 1, "what one has tried without an answer, more try");
    let mut alone = Simulated::new(Kernel::Copies, LAB, 0.1);
    alone.send(16_000, MESSAGE);
    assert!(probes < 2 * alone.probes() + 8, "together {probes}, one alone {}", alone.probes());
}

#[test]
fn a_connection_that_ends_in_a_trial_leaves_it_to_the_others() {
    let mut first = Simulated::new(Kernel::Copies, LAB, 0.1);
    while !first.controller.is_timing() {
        first.send(1, MESSAGE);
    }
    let mut other = Simulated::new(Kernel::Copies, LAB, 0.1);
    other.controller = first.another();
    assert_eq!(other.send(500, MESSAGE).of_way(Way::Flatten), 0, "the trial is the first one's");
    drop(first);
    assert!(other.send(500, MESSAGE).of_way(Way::Flatten) > 0);
}

#[test]
fn connections_shorter_than_a_trial_do_not_try_all_the_time() {
    // A trial takes 72 messages.
    for life in [50, 300] {
        let mut one = Simulated::new(Kernel::Copies, [100.0; Way::COUNT], 0.1);
        let mut live = |messages: usize| {
            let (mut sent, mut probes) = (0, 0);
            while sent < messages {
                one.send(life, MESSAGE);
                // Beside the question whether the kernel copies, which each connection asks.
                (sent, probes) = (sent + life, probes + one.probes() - one.of_reference());
                one.controller = one.another();
            }
            probes as f64 / sent as f64
        };
        live(200_000);
        let late = live(300_000);
        assert!(late < 0.01, "{life}: {late}");
    }
}

#[test]
fn one_trial_by_cpu_time_alone_does_not_settle_what_may_be_faster() {
    for seed in 0..20 {
        let mut link = Simulated::new(Kernel::References, [200.0, 260.0, 80.0, 80.0], 0.05);
        let mut pace = fastrand::Rng::with_seed(seed);
        // It starts by reference, over a link that changes its pace every 100 messages, by up to 40 %.
        let shape = Shape { division: Division::One, ..MESSAGE };
        for _ in 0..200 {
            let now = 1.0 + 0.4 * (2.0 * pace.f64() - 1.0);
            link.wall = [230.0, 260.0, 300.0, 300.0].map(|wall| wall * now);
            link.send(100, shape);
        }
        let all = link.controller.decisions();
        assert!(share(&all, Way::Gather) > 0.8, "seed {seed}: {all}");
    }
}

#[test]
fn who_falls_silent_in_a_trial_of_its_own_does_not_hold_up_the_others() {
    for objective in Objective::ALL {
        let [mut silent, mut other] = <[_; 2]>::try_from(together(*objective, 2)).ok().unwrap();
        while !silent.controller.is_timing() {
            silent.send(1, MESSAGE);
        }
        let tried = other.send(20_000, MESSAGE);
        assert!(tried.of_way(Way::Flatten) > 0, "{objective}: {tried}");
    }
}

/// Connections of one server with this objective.
fn together(objective: Objective, connections: usize) -> Vec<Simulated> {
    let experience = Experience::new();
    let one = |number| {
        let mut one = Simulated::new(Kernel::References, LAB, 0.1);
        one.controller = Controller::new(objective, experience.clone(), Link::Far, true);
        one.random = fastrand::Rng::with_seed(number);
        one
    };
    (0..connections as u64).map(one).collect()
}

#[test]
fn a_way_that_is_cheaper_only_if_all_take_it_is_found_and_kept() {
    let mut connections = together(Objective::Demand, 8);
    let mut referring = 0;
    for _ in 0..20_000 {
        // One by reference among seven others saves nothing, and one that copies among seven by reference would save more.
        let share = referring as f64 / connections.len() as f64;
        let before: Vec<_> = connections.iter().map(|one| one.controller.decisions()).collect();
        for one in &mut connections {
            one.cpu = [100.0 - 50.0 * share, 130.0, 106.0 - 46.0 * share, 200.0];
            one.send_one(shape(16 << 10));
        }
        let since = |(one, before): (&Simulated, &Decisions)| one.controller.decisions().since(before);
        let sent: Vec<_> = connections.iter().zip(&before).map(since).collect();
        referring = sent.iter().filter(|sent| sent.of_way(Way::Reference) > 0).count();
    }
    for one in &mut connections {
        let all = one.controller.decisions();
        assert!(share(&all, Way::Reference) > 0.9 && all.switches <= 2, "{all}");
    }
}

/// Three connections that try `flatten` at this moment, all of them.
fn in_a_trial_of_all() -> Vec<Simulated> {
    let mut connections = together(Objective::Demand, 3);
    let probing = |one: &mut Simulated| one.send(1, MESSAGE).messages(Way::Flatten, Reason::Probe) > 0;
    let mut rounds = 0..10_000;
    let all = |_| connections.iter_mut().filter_map(|one| probing(one).then_some(())).count() == 3;
    assert!(rounds.any(all), "they never try it together");
    connections
}

#[test]
fn nobody_waits_in_a_trial_of_all_for_who_does_not_send() {
    for on in 0..3 {
        let sent = in_a_trial_of_all()[on].send(10_000, MESSAGE);
        let block = Length::of(MESSAGE.size, SEND_BUFFER);
        assert!(sent.of_way(Way::Flatten) < 8 * (block.timed + block.warm_up), "{on}: {sent}");
    }
}

#[test]
fn nobody_waits_for_who_began_a_trial_of_all_alone_and_fell_silent() {
    let mut connections = together(Objective::Demand, 2);
    let mut late = connections.pop().unwrap();
    let mut silent = connections.pop().unwrap();
    let started = |one: &Simulated| one.controller.decisions().of_way(Way::Flatten);
    // Its first trial is its own, and the second one that of all who are there.
    let first = Length::of(MESSAGE.size, SEND_BUFFER);
    while started(&silent) < first.timed + first.warm_up + 2 {
        silent.send(1, MESSAGE);
    }
    let tried = late.send(20_000, MESSAGE);
    assert!(tried.of_way(Way::Flatten) > 0, "{tried}");
}

#[test]
fn a_trial_of_all_that_nobody_can_finish_is_not_repeated_for_ever() {
    let [mut slow, mut fast] = <[_; 2]>::try_from(together(Objective::Demand, 2)).ok().unwrap();
    // The slow one begins whatever there is to begin, and the other one has no patience with it.
    let most = 10 * Length::of(MESSAGE.size, SEND_BUFFER).timed;
    let mut timed = |rounds: u64| {
        let before = fast.timed;
        for _ in 0..rounds {
            slow.send(2, MESSAGE);
            fast.send(most as usize, MESSAGE);
        }
        fast.timed - before
    };
    let (first, later) = (timed(10), timed(200));
    assert!(first > most && later < 200 * most / 20, "{first} of {}, {later} of {}", 10 * most, 200 * most);
}

#[test]
fn who_leads_a_trial_of_all_and_leaves_ends_it() {
    let block = Length::of(MESSAGE.size, SEND_BUFFER);
    // One of them leads.
    for on in 0..3 {
        let mut connections = in_a_trial_of_all();
        let mut on = connections.swap_remove(on);
        drop(connections);
        // Who leads goes it to its end, alone.
        let sent = on.send(3 * block.timed as usize, MESSAGE);
        assert!(sent.of_way(Way::Flatten) <= block.timed + block.warm_up, "{sent}");
    }
}

proptest! {
    // Always the same cases: with enough noise any sender is wrong at some time, and this is no lottery.
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), ..ProptestConfig::with_cases(128) })]

    /// Whatever the ways cost: what is spent comes within 3 % of the least possible, clocks and mistakes included, beside
    /// what the first lessons cost.
    #[test]
    fn it_comes_close_to_the_cheapest_way(
        costs in proptest::array::uniform4(50.0f64..400.0),
        size in 9u32..21,
        noise in 0.0f64..0.3,
        seed: u64,
    ) {
        let costs = [costs[0], costs[1], costs[2], costs[2]];
        let size = 1usize << size;
        let mut link = Simulated::new(Kernel::References, costs, noise);
        // Below the smallest size by reference is not thought of.
        if size < 8192 {
            link.kernel = Kernel::Copies;
        }
        link.random = fastrand::Rng::with_seed(seed);
        link.send(((8usize << 30) / size).min(4_000_000), shape(size));
        let dearest = costs.iter().copied().fold(0.0, f64::max);
        let lessons = LESSONS * Length::of(size, SEND_BUFFER).timed as f64 * (CALL + dearest * size as f64 / 1024.0);
        prop_assert!(
            link.spent < 1.03 * link.least + lessons,
            "{} of the least: {}", link.spent / link.least, link.controller.decisions()
        );
    }

    /// Nothing that it can be told makes it panic, and every message is counted once.
    #[test]
    fn any_news_will_do(news in proptest::collection::vec((0usize..1 << 24, 0u8..6, 0u64..100, 0u64..200), 0..2000)) {
        let mut controller = alone(Objective::Throughput, Link::Far, true);
        let mut sent = 0;
        for (size, kind, one, other) in news {
            match kind {
                0 => controller.completed(one, other),
                1 => controller.called([Outcome::Taken, Outcome::Refused, Outcome::Copied][one as usize % 3]),
                2 => controller.waited(Cost { cpu: one, wall: other }),
                _ if controller.next_alike(Class::of(size, Division::Mixed), size).is_some() => sent += 1,
                _ => {
                    let next = controller.next(Class::of(size, Division::Mixed), || SEND_BUFFER);
                    controller.sent(size, next.timed.then_some(Cost { cpu: one, wall: other }));
                    sent += 1;
                }
            }
        }
        prop_assert_eq!(controller.decisions().total(), sent);
    }
}
