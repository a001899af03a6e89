//! The contest of the ways for messages of one size class: who is the usual way, who is tried next, and when.
//!
//! A trial is three blocks of messages: the incumbent, the rival, the incumbent again, so that what drifts hits both.
//! Only trials read clocks. What a trial costs more than the incumbent would have (the rival's penalty and the clocks)
//! is a debt, and the next trial waits until it is one part in a hundred of what was sent since.

use super::decisions::{Reason, Way};
use super::evidence::{Evidence, MARGIN};
use super::trial::{Cost, Trial};

/// A block is about so many bytes: twice what a socket buffers, so that a way is not paid for by the next one.
const BLOCK_BYTES: usize = 1 << 20;

/// And within so many messages: large ones would make a trial of tens of megabytes, of small ones enough says enough.
const BLOCK_MESSAGES: (usize, usize) = (2, 128);

/// The share of the work that trials may cost.
const PROBING: f64 = 0.01;

/// Trials of a rival in a row that found no difference: then there is none that matters.
const MOST_TRIALS: usize = 12;

/// Each round of trials that changed nothing doubles the pause, so often.
const MOST_DOUBLINGS: u32 = 4;

/// Even trials that cost nothing need no repetition before so many blocks.
const SHORTEST_PAUSE: u64 = 16;

/// One trial is enough to turn from a rival that costs twice as much (as a logarithm).
const GLARING: f64 = std::f64::consts::LN_2;

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

/// How the message at hand goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Next {
    pub(super) way: Way,
    pub(super) reason: Reason,
    /// Its cost is wanted.
    pub(super) timed: bool,
}

/// What the controller knows that all contests share.
#[derive(Debug, Clone, Copy)]
pub(super) struct Climate {
    pub(super) objective: Objective,
    /// Messages may go by reference.
    pub(super) open: bool,
    /// Why they may not.
    pub(super) why_shut: Reason,
}

#[derive(Debug)]
pub(super) struct Contest {
    incumbent: Way,
    reason: Reason,
    /// The ways that messages of this class can go.
    ways: [bool; Way::COUNT],
    rivals: [Rival; Way::COUNT],
    trial: Option<Trial>,
    /// Who has the next trial.
    turn: usize,
    /// The messages of a block.
    block: u64,
    /// Messages before the next trial.
    pause: u64,
    /// What the trials since the last pause cost more than the incumbent, in messages of the incumbent.
    debt: f64,
    doublings: u32,
    /// How often the incumbent was replaced.
    switches: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Rival {
    cpu: Evidence,
    wall: Evidence,
    /// Trials of the present round.
    tried: usize,
    decided: bool,
}

/// What is to be believed of a rival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Cheaper,
    Dearer,
    Open,
}

impl Rival {
    fn verdict(&self, objective: Objective) -> Verdict {
        let by_cpu = match () {
            () if self.cpu.is_cheaper() => Verdict::Cheaper,
            () if self.cpu.is_dearer() => Verdict::Dearer,
            () if self.cpu.trials() > 0 && self.cpu.mean() > GLARING => Verdict::Dearer,
            () => Verdict::Open,
        };
        match objective {
            Objective::Demand => by_cpu,
            Objective::Throughput if self.wall.is_cheaper() => Verdict::Cheaper,
            Objective::Throughput if self.wall.is_dearer() => Verdict::Dearer,
            // Where the clock says little, CPU time decides, but not against what the clock says.
            Objective::Throughput if by_cpu == Verdict::Cheaper && self.wall.sureness() > 1.0 => {
                Verdict::Open
            }
            Objective::Throughput => by_cpu,
        }
    }
}

impl Contest {
    /// For messages of about `size` bytes: `start` is the usual way until something is known.
    pub(super) fn new(size: usize, start: Way, ways: [bool; Way::COUNT]) -> Self {
        let block = (BLOCK_BYTES / size.max(1)).clamp(BLOCK_MESSAGES.0, BLOCK_MESSAGES.1) as u64;
        Self {
            incumbent: start,
            reason: Reason::Start,
            ways,
            rivals: [Rival::default(); Way::COUNT],
            trial: None,
            turn: 0,
            block,
            // The first messages find cold caches and a closed congestion window.
            pause: block,
            debt: 0.0,
            doublings: 0,
            switches: 0,
        }
    }

    /// Whether any way by reference is thought of.
    pub(super) fn thinks_of_reference(&self) -> bool {
        Way::ALL.iter().any(|way| way.by_reference() && self.ways[*way as usize])
    }

    /// How the next message goes.
    #[inline]
    pub(super) fn next(&mut self, climate: &Climate) -> Next {
        if self.trial.is_none() && self.pause > 0 && (climate.open || !self.incumbent.by_reference()) {
            self.pause -= 1;
            return Next { way: self.incumbent, reason: self.reason, timed: false };
        }
        self.decide(climate)
    }

    fn decide(&mut self, climate: &Climate) -> Next {
        if !climate.open {
            self.trial.take_if(|trial| trial.rival.by_reference());
            if self.incumbent.by_reference() {
                self.demote(climate.why_shut);
            }
        }
        if self.trial.is_none() && self.pause == 0 {
            self.begin(climate);
        }
        let usual = Next { way: self.incumbent, reason: self.reason, timed: false };
        match &self.trial {
            Some(trial) => {
                let probed = Next { way: trial.rival, reason: Reason::Probe, ..usual };
                let next = if trial.step == 1 { probed } else { usual };
                Next { timed: trial.messages >= self.warm_up(trial.step), ..next }
            }
            None => {
                self.pause = self.pause.saturating_sub(1);
                usual
            }
        }
    }

    /// After a change of way the first messages of a block meet what the other one left in the socket.
    fn warm_up(&self, step: usize) -> u64 {
        if step == 0 { 0 } else { self.block / 4 }
    }

    /// How often the usual way changed.
    pub(super) fn switches(&self) -> u64 {
        self.switches
    }

    /// A message of so many bytes was sent as [`Contest::next`] said.
    #[inline]
    pub(super) fn sent(&mut self, bytes: usize, spent: Option<Cost>, climate: &Climate) {
        let Some(trial) = &mut self.trial else { return };
        trial.messages += 1;
        if let Some(spent) = spent {
            trial.bytes[trial.step] += bytes as u64;
            trial.add(spent);
        }
        let (step, messages) = (trial.step, trial.messages);
        if messages < self.block + self.warm_up(step) {
            return;
        }
        match &mut self.trial {
            Some(trial) if step < 2 => (trial.step, trial.messages) = (step + 1, 0),
            _ => self.conclude(climate),
        }
    }

    /// Time that went by between messages because memory was not yet released: it belongs to the way at hand.
    pub(super) fn waited(&mut self, spent: Cost) {
        if let Some(trial) = &mut self.trial {
            trial.add(spent);
        }
    }

    /// Whether waiting belongs to a block that is being measured.
    pub(super) fn is_timing(&self) -> bool {
        self.trial.as_ref().is_some_and(|trial| trial.messages >= self.warm_up(trial.step))
    }

    fn begin(&mut self, climate: &Climate) {
        let eligible = |index: &usize| {
            let way = Way::ALL[*index];
            self.ways[*index] && way != self.incumbent && (climate.open || !way.by_reference())
        };
        let order = (self.turn..Way::COUNT).chain(0..self.turn);
        match order.into_iter().find(eligible) {
            Some(index) => {
                self.turn = index;
                self.trial = Some(Trial::of(Way::ALL[index]));
            }
            None => self.pause = self.block * SHORTEST_PAUSE,
        }
    }

    /// A trial is over.
    fn conclude(&mut self, climate: &Climate) {
        let Some(trial) = self.trial.take() else { return };
        let [cpu, wall] = trial.log_ratios();
        let rival = &mut self.rivals[trial.rival as usize];
        rival.cpu.add(cpu);
        rival.wall.add(wall);
        rival.tried += 1;
        let verdict = rival.verdict(climate.objective);
        let penalty = match climate.objective {
            Objective::Throughput => rival.cpu.mean().max(rival.wall.mean().min(rival.cpu.mean() + GLARING)),
            Objective::Demand => rival.cpu.mean(),
        };
        let clocks = trial.share_of_clocks();
        self.debt += self.block as f64 * (1.25 * penalty.exp_m1().max(0.0) + 3.0 * clocks);
        if verdict == Verdict::Cheaper {
            self.replace(trial.rival, Reason::Cheaper);
            self.pause = 0;
            return;
        }
        // What was settled and now looks the other way round is looked at again at once, but not for ever.
        let rival = &mut self.rivals[trial.rival as usize];
        let turned = cpu < -MARGIN || (climate.objective == Objective::Throughput && wall < -MARGIN);
        let settled = verdict == Verdict::Dearer || rival.decided;
        if (settled && !turned) || rival.tried >= MOST_TRIALS {
            rival.decided = true;
            rival.tried = 0;
            self.turn = (self.turn + 1) % Way::COUNT;
            self.rest(climate);
        }
    }

    /// Once every rival was tried: go on as usual until the debt is paid.
    fn rest(&mut self, climate: &Climate) {
        let eligible = |way: &&Way| {
            self.ways[**way as usize] && **way != self.incumbent && (climate.open || !way.by_reference())
        };
        if Way::ALL.iter().filter(eligible).any(|way| !self.rivals[*way as usize].decided) {
            return;
        }
        let due = (self.debt / PROBING) as u64;
        self.pause = due.max(self.block * SHORTEST_PAUSE) << self.doublings;
        self.doublings = (self.doublings + 1).min(MOST_DOUBLINGS);
        self.debt = 0.0;
        if matches!(self.reason, Reason::Start | Reason::Equal) {
            let dearer = |way: &Way| self.rivals[*way as usize].verdict(climate.objective) == Verdict::Dearer;
            let all_dearer = Way::ALL.iter().filter(eligible).all(dearer);
            self.reason = if all_dearer { Reason::Cheaper } else { Reason::Equal };
        }
    }

    /// The usual way cannot be gone any more: take the cheapest of those that copy.
    fn demote(&mut self, why: Reason) {
        let cost = |way: &&Way| self.rivals[**way as usize].cpu.mean();
        let copying = Way::ALL.iter().filter(|way| self.ways[**way as usize] && !way.by_reference());
        let cheapest = copying.min_by(|one, other| cost(one).total_cmp(&cost(other)));
        self.replace(*cheapest.unwrap_or(&Way::Gather), why);
        self.pause = self.block * SHORTEST_PAUSE;
    }

    fn replace(&mut self, way: Way, reason: Reason) {
        let won = self.rivals[way as usize];
        let former = self.incumbent as usize;
        self.rivals[former] =
            Rival { cpu: won.cpu.mirrored(), wall: won.wall.mirrored(), tried: 0, decided: true };
        for (index, rival) in self.rivals.iter_mut().enumerate() {
            if index != former && index != way as usize {
                rival.cpu.rebase(won.cpu.mean());
                rival.wall.rebase(won.wall.mean());
                rival.decided = false;
            }
        }
        self.rivals[way as usize] = Rival::default();
        (self.incumbent, self.reason) = (way, reason);
        self.trial = None;
        self.doublings = 0;
        self.switches += 1;
    }

    /// The kernel takes messages by reference again: what was known of those ways is of another time.
    pub(super) fn opened(&mut self) {
        for way in Way::ALL.iter().filter(|way| way.by_reference() && **way != self.incumbent) {
            self.rivals[*way as usize] = Rival::default();
        }
        self.doublings = 0;
        if self.thinks_of_reference() && self.trial.is_none() {
            self.turn = Way::Reference as usize;
            self.pause = 0;
        }
    }
}
