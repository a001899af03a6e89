//! The contest of the ways for messages of one class: which is the usual way, which is tried next, and when.
//!
//! A trial is three blocks of messages: the incumbent, the rival, the incumbent again, so that what drifts hits both.
//! Only trials read clocks. What a trial costs more than the incumbent would have (the rival's penalty and the clocks)
//! is a debt, and the next trials wait until it is one part in a hundred of what was sent since.
//!
//! What one connection's trial cannot see is a way that is cheaper only where all connections take it. In the lab at 16 KiB (heap,
//! 8 clients) all by reference need 0.7 of the sender's CPU time of all by copy, but one by reference among seven that copy
//! needs as much as they. So where CPU time is the objective one connection tries a way first, for it may be far dearer, and then
//! all of them at once. What each of them says then counts as a trial of its own, though what disturbs one disturbs the others (half
//! of the variance is that between trials). To count a trial by all as one, or as two, is surer and learns later: then of what was
//! sent in the first 400 ms 70 to 80 % went as begun, and not 15 to 60 %, and all of it took 1.2 to 1.5 of the best way's CPU time,
//! and not 0.9 to 1.3 (lab, heap, 16 and 64 KiB, 8 clients).

use std::sync::Arc;

use super::class::Class;
use super::decisions::{Reason, Way};
use super::evidence::{Evidence, FEWEST, GLARING, MARGIN, Verdict};
use super::trial::{Joint, Length, Trial};
use crate::message::words;

/// The share of the work that trials may cost.
const PROBING: f64 = 0.01;

/// Trials of a rival in a row that found no difference: then there is none that matters.
const MOST_TRIALS: usize = 12;

/// Where throughput is the objective so many connections try a way at the same time, until it is settled: as many trials as it
/// takes to believe something. What is learned costs the same, and is known so much sooner where many connections send little
/// each.
const AT_ONCE: usize = FEWEST as usize;

/// Each round of trials that changed nothing doubles the pause, so often.
const MOST_DOUBLINGS: u32 = 4;

/// Even trials that cost nothing need no repetition before so many times their length.
const SHORTEST_PAUSE: u64 = 5;

/// Connections send no more than so many blocks beside trials that others are in: who has not come to an end then has fallen
/// silent, and nobody waits for it.
const MOST_BESIDE: u64 = 256;

/// Messages before the first trial.
const FIRST_PAUSE: u64 = 2;

/// What the sender aims at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Objective {
    /// The most bytes per second: the time of its calls decides, and where that shows no difference their CPU time.
    #[default]
    Throughput,
    /// The least CPU time of the sending thread for each byte.
    Demand,
}

words!(Objective: Throughput = "throughput", Demand = "demand");

#[derive(Debug)]
pub(super) struct Contest {
    objective: Objective,
    incumbent: Way,
    reason: Reason,
    /// The ways that messages of this class can go.
    ways: [bool; Way::COUNT],
    rivals: [Rival; Way::COUNT],
    /// Whose turn for a trial it is.
    turn: usize,
    /// By way: held by the trials of it that run.
    running: [Arc<()>; Way::COUNT],
    /// The last trial by all connections, and who is tried.
    joint: Option<(Way, Arc<Joint>)>,
    /// Messages sent the usual way beside trials since one of them began.
    beside: u64,
    /// Messages before the next trial.
    pause: u64,
    /// What the trials since the last pause cost more than the incumbent, in messages of the incumbent.
    debt: f64,
    /// Messages of the longest trial.
    longest: u64,
    doublings: u32,
}

/// What a connection learns from a look at the contest.
#[derive(Debug)]
pub(super) struct Standing {
    /// The usual way.
    pub(super) way: Way,
    pub(super) reason: Reason,
    /// A trial, for this connection.
    pub(super) trial: Option<Trial>,
    /// Messages that go the usual way until the next look.
    pub(super) messages: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Rival {
    cpu: Evidence,
    wall: Evidence,
    /// Trials of the present round.
    tried: usize,
    decided: bool,
    /// Trials that are not concluded.
    begun: usize,
}

impl Rival {
    /// A connection has tried it: it is not far dearer, or that is known.
    fn is_known(&self) -> bool {
        self.cpu.trials() > 0
    }

    /// What a message costs more this way, as a share of what the incumbent's costs.
    fn penalty(&self, objective: Objective) -> f64 {
        let log = match objective {
            Objective::Throughput => self.cpu.mean().max(self.wall.mean().min(self.cpu.mean() + GLARING)),
            Objective::Demand => self.cpu.mean(),
        };
        log.exp_m1().max(0.0)
    }

    fn verdict(&self, objective: Objective) -> Verdict {
        let (cpu, wall) = (&self.cpu, &self.wall);
        match objective {
            Objective::Demand if cpu.is_glaringly_dearer() => Verdict::Dearer,
            Objective::Demand if cpu.is_glaringly_cheaper() => Verdict::Cheaper,
            Objective::Demand => cpu.verdict(),
            // Of a sender that waits for its link, not for its CPU, CPU time says nothing.
            Objective::Throughput if cpu.is_glaringly_dearer() && wall.is_glaringly_dearer() => {
                Verdict::Dearer
            }
            Objective::Throughput if cpu.is_glaringly_cheaper() && wall.is_glaringly_cheaper() => {
                Verdict::Cheaper
            }
            Objective::Throughput => match (wall.verdict(), cpu.verdict()) {
                // Where the clock shows no difference CPU time decides, but not against what the clock suggests.
                (Verdict::Open, Verdict::Cheaper) if wall.is_no_dearer() => Verdict::Cheaper,
                (Verdict::Open, Verdict::Dearer) if wall.is_no_cheaper() => Verdict::Dearer,
                (by_wall, _) => by_wall,
            },
        }
    }
}

impl Contest {
    /// For messages of a class, where by reference is `open` or not.
    pub(super) fn new(class: Class, objective: Objective, open: bool) -> Self {
        let first = match objective {
            Objective::Throughput => Way::Flatten,
            // What saves CPU time saves most of it by not copying.
            Objective::Demand => Way::Reference,
        };
        Self {
            objective,
            incumbent: class.start(objective, open),
            reason: Reason::Start,
            ways: class.ways(open),
            rivals: [Rival::default(); Way::COUNT],
            turn: first as usize,
            running: Default::default(),
            joint: None,
            beside: 0,
            // The first messages find cold caches and a closed congestion window.
            pause: FIRST_PAUSE,
            debt: 0.0,
            longest: 0,
            doublings: 0,
        }
    }

    /// How messages go from here on, by a connection whose blocks have this length; so many of its messages went the usual
    /// way since its last look.
    pub(super) fn look(&mut self, sent: u64, length: Length) -> Standing {
        self.pause = self.pause.saturating_sub(sent);
        let joinable = self.joint.as_ref().is_some_and(|(_, joint)| joint.can_be_joined());
        if !joinable && !self.is_idle() {
            self.beside += sent;
            if self.beside > MOST_BESIDE * length.timed {
                self.forget_trials();
            }
        }
        let trial = match self.joint.clone() {
            Some((rival, joint)) if joinable => Some(self.trial(rival, length).following(&joint)),
            Some((_, joint)) if !joint.is_over() => None,
            _ if self.pause == 0 => self.begin(length),
            _ => None,
        };
        let messages = if self.pause == 0 { length.timed } else { self.pause.min(length.timed) };
        Standing { way: self.incumbent, reason: self.reason, trial, messages }
    }

    /// A trial, unless enough of them run or there is nothing to try.
    fn begin(&mut self, length: Length) -> Option<Trial> {
        self.write_off(length);
        if self.pause > 0 {
            return None;
        }
        // In turn, not one to its end before the next: the one that is far cheaper may be the last.
        let order = (self.turn..Way::COUNT).chain(0..self.turn).map(|index| Way::ALL[index]);
        let mut rivals = order.filter(|way| self.is_rival(*way)).peekable();
        if rivals.peek().is_none() {
            (self.pause, self.reason) = (u64::MAX, Reason::Only);
            return None;
        }
        let rival = if self.is_settled() {
            let idle = self.is_idle();
            rivals.find(|_| idle)
        } else {
            rivals.find(|way| self.trials_of(*way) < self.trials_at_once(*way))
        }?;
        self.turn = (rival as usize + 1) % Way::COUNT;
        self.beside = 0;
        let trial = self.trial(rival, length);
        if !self.is_for_all(rival) {
            return Some(trial);
        }
        let (trial, joint) = trial.leading();
        self.joint = Some((rival, joint));
        Some(trial)
    }

    /// Whether all connections try it at once.
    fn is_for_all(&self, way: Way) -> bool {
        self.objective == Objective::Demand && self.rivals[way as usize].is_known()
    }

    /// No trial runs.
    fn is_idle(&self) -> bool {
        Way::ALL.iter().all(|way| self.trials_of(*way) == 0)
    }

    /// Those that run do not hold up others any more.
    fn forget_trials(&mut self) {
        if let Some((_, joint)) = &self.joint {
            joint.end();
        }
        self.running = Default::default();
        self.beside = 0;
    }

    fn trial(&mut self, rival: Way, length: Length) -> Trial {
        self.rivals[rival as usize].begun += 1;
        let turn = Arc::clone(&self.running[rival as usize]);
        Trial::new(self.incumbent, rival, self.length(rival, length), turn)
    }

    /// Of the blocks of a trial, by a connection whose blocks have that length otherwise.
    fn length(&self, rival: Way, length: Length) -> Length {
        if self.is_of_the_link(rival) { length.drained() } else { length }
    }

    /// Whether the pace of the link decides. With a full send buffer a call waits until what was put into it before has left
    /// it, at the pace of the way that it went: a sender that is faster than its link measures the way of a buffer ago. In the
    /// lab (16 KiB, huge, cold, 1 client) a block by reference took 46 ns/KiB where it found the buffer empty and about 300 where
    /// it was full, and trials of `gather` beside it gave -0.04 (the median of 42 logarithms) after 32 of the 128 messages that
    /// the buffer holds, and -0.07 (of 81) after all of them. CPU time is that of the call at hand, and what two ways have copied
    /// drains alike.
    fn is_of_the_link(&self, rival: Way) -> bool {
        self.objective == Objective::Throughput && rival.by_reference() != self.incumbent.by_reference()
    }

    /// Trials that nobody came to the end of, where connections are shorter than they: they have been, and cost as much as those
    /// of a way that is twice as dear.
    fn write_off(&mut self, length: Length) {
        for way in Way::ALL {
            let (running, block) = (self.trials_of(*way), self.length(*way, length));
            let rival = &mut self.rivals[*way as usize];
            let lost = rival.begun.saturating_sub(running);
            if lost == 0 {
                continue;
            }
            rival.begun = running;
            rival.tried += lost;
            self.debt += (lost as u64 * (block.warm_up + block.timed)) as f64;
            if rival.decided || rival.tried >= MOST_TRIALS {
                (rival.decided, rival.tried) = (true, 0);
                self.rest();
            }
        }
    }

    /// How many trials of it may run, each of one connection or one of all.
    fn trials_at_once(&self, way: Way) -> usize {
        let rival = &self.rivals[way as usize];
        match self.objective {
            _ if rival.decided => 0,
            Objective::Throughput if rival.is_known() => AT_ONCE.saturating_sub(rival.cpu.trials()).max(1),
            _ => 1,
        }
    }

    /// How many trials of it run.
    fn trials_of(&self, way: Way) -> usize {
        Arc::strong_count(&self.running[way as usize]) - 1
    }

    /// Nothing is left to find out, only to look whether it still holds.
    fn is_settled(&self) -> bool {
        Way::ALL.iter().filter(|way| self.is_rival(**way)).all(|way| self.rivals[*way as usize].decided)
    }

    fn is_rival(&self, way: Way) -> bool {
        self.ways[way as usize] && way != self.incumbent
    }

    /// A trial is over.
    pub(super) fn conclude(&mut self, trial: Trial) {
        let rival = &mut self.rivals[trial.rival as usize];
        rival.begun = rival.begun.saturating_sub(1);
        if trial.incumbent != self.incumbent {
            return;
        }
        let logs = trial.logs();
        if let Some((cpu, wall)) = logs {
            rival.cpu.add(cpu);
            rival.wall.add(wall);
        }
        // Of a trial by all that nobody could finish its leader tells.
        rival.tried += usize::from(logs.is_some() || trial.is_led());
        let verdict = rival.verdict(self.objective);
        self.debt += trial.dearer(rival.penalty(self.objective));
        self.longest = self.longest.max(trial.messages());
        if verdict == Verdict::Cheaper {
            self.replace(trial.rival);
            return;
        }
        // What was settled and now looks the other way round is looked at again at once, but not for ever.
        let turned = logs.is_some_and(|(cpu, wall)| {
            cpu.mean < -MARGIN || (self.objective == Objective::Throughput && wall.mean < -MARGIN)
        });
        let settled = verdict == Verdict::Dearer || rival.decided;
        if (settled && !turned) || rival.tried >= MOST_TRIALS {
            rival.decided = true;
            rival.tried = 0;
            self.rest();
        }
    }

    /// Once every rival was tried: go on as usual until the debt is paid.
    fn rest(&mut self) {
        if !self.is_settled() {
            return;
        }
        let due = (std::mem::take(&mut self.debt) / PROBING) as u64;
        if self.pause > 0 {
            // A trial that ran beside the one that settled it.
            self.pause = self.pause.saturating_add(due << self.doublings);
            return;
        }
        self.pause = due.max(self.longest * SHORTEST_PAUSE) << self.doublings;
        self.doublings = (self.doublings + 1).min(MOST_DOUBLINGS);
        if matches!(self.reason, Reason::Start | Reason::Equal) {
            let dearer = |way: &Way| self.rivals[*way as usize].verdict(self.objective) == Verdict::Dearer;
            let all_dearer = Way::ALL.iter().filter(|way| self.is_rival(**way)).all(dearer);
            self.reason = if all_dearer { Reason::Cheaper } else { Reason::Equal };
        }
    }

    fn replace(&mut self, way: Way) {
        let won = self.rivals[way as usize];
        let former = self.incumbent as usize;
        self.rivals[former] =
            Rival { cpu: won.cpu.mirrored(), wall: won.wall.mirrored(), decided: true, ..Rival::default() };
        for (index, rival) in self.rivals.iter_mut().enumerate() {
            if index != former && index != way as usize {
                rival.cpu.rebase(won.cpu.mean());
                rival.wall.rebase(won.wall.mean());
                rival.decided = false;
            }
        }
        self.rivals[way as usize] = Rival::default();
        (self.incumbent, self.reason, self.joint) = (way, Reason::Cheaper, None);
        self.pause = 0;
        self.doublings = 0;
    }
}
