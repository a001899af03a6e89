//! The controller on a link that is made up: costs, noise, completions and refusals as wanted, and no clock.

mod alone;
mod together;

use std::collections::VecDeque;

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
