//! Connections of one server, at the same time or one after the other.

use super::*;

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
