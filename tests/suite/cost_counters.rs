//! Counters on machines that this one is not: a fake opener stands for each.

use std::cell::Cell;
use std::io;
use std::rc::Rc;

use copycost::cost::Missing;
use copycost::internals::cost::counters::Counters;
use copycost::internals::cost::counts::{CounterScope, Counts};
use copycost::internals::cost::cpu::{CpuScope, ThreadCpu};
use copycost::internals::cost::opener::{CounterReach, Event, OpenCounter, Opener, Reading};

/// A machine: what it answers to an open, and what its counters say.
struct Machine {
    paranoid: i32,
    answer: fn(Event, CounterReach) -> Result<Behaviour, i32>,
    open: Rc<Cell<u32>>,
}

/// What a counter reads after each enable: count, and the share of the time it ran in percent.
#[derive(Clone, Copy)]
enum Behaviour {
    Counts { count: u64, ran_percent: u64 },
    BreaksOnEnable,
    BreaksOnRead,
}

struct Fake {
    behaviour: Behaviour,
    reading: Reading,
    enabled: bool,
    open: Rc<Cell<u32>>,
}

const WHOLE: Behaviour = Behaviour::Counts { count: 1000, ran_percent: 100 };

impl Machine {
    fn new(paranoid: i32, answer: fn(Event, CounterReach) -> Result<Behaviour, i32>) -> Machine {
        Machine { paranoid, answer, open: Rc::default() }
    }

    /// One run on this machine.
    fn run(&self) -> Counts {
        let mut counters = Counters::open_with(self);
        counters.start();
        counters.stop()
    }
}

impl Opener for Machine {
    fn open(&self, event: Event, reach: CounterReach) -> io::Result<Box<dyn OpenCounter>> {
        let behaviour = (self.answer)(event, reach).map_err(io::Error::from_raw_os_error)?;
        self.open.set(self.open.get() + 1);
        Ok(Box::new(Fake {
            behaviour,
            // What an earlier owner of the numbers left: only differences may count.
            reading: Reading { count: 5_000_000, enabled_ns: 7_000_000, running_ns: 6_000_000 },
            enabled: false,
            open: Rc::clone(&self.open),
        }))
    }

    fn paranoid(&self) -> Option<i32> {
        Some(self.paranoid)
    }

    fn last_level(&self) -> Event {
        Event::LlcLoadMisses
    }
}

impl OpenCounter for Fake {
    fn enable(&mut self) -> io::Result<()> {
        self.enabled = true;
        match self.behaviour {
            Behaviour::BreaksOnEnable => Err(io::Error::from_raw_os_error(libc::EIO)),
            _ => Ok(()),
        }
    }

    fn disable(&mut self) -> io::Result<()> {
        if let (true, Behaviour::Counts { count, ran_percent }) = (self.enabled, self.behaviour) {
            self.reading.count += count;
            self.reading.enabled_ns += 1_000_000;
            self.reading.running_ns += 10_000 * ran_percent;
        }
        self.enabled = false;
        Ok(())
    }

    fn read(&mut self) -> io::Result<Reading> {
        match self.behaviour {
            Behaviour::BreaksOnRead => Err(io::Error::from_raw_os_error(libc::EIO)),
            _ => Ok(self.reading),
        }
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.open.set(self.open.get() - 1);
    }
}

#[test]
fn a_machine_that_has_everything() {
    let machine = Machine::new(-1, |_, _| Ok(WHOLE));
    let counts = machine.run();
    assert_eq!(counts.scope.to_string(), "user+kernel");
    assert!(counts.counts.iter().all(|count| count.value == Ok(1000)));
    assert_eq!(counts.per_kib(Event::Cycles, 2048), Ok(500.0));
    assert_eq!(counts.per_message(Event::LlcLoadMisses, 10), Ok(100.0));
    assert_eq!(counts.per_message(Event::Cycles, 0), Err(Missing::NothingMoved));
    assert_eq!(machine.open.get(), 0, "every counter was closed");
}

#[test]
fn nothing_is_counted_outside_the_clock() {
    let machine = Machine::new(-1, |_, _| Ok(WHOLE));
    let mut counters = Counters::open_with(&machine);
    let unstarted = counters.stop();
    assert_eq!(unstarted.scope.to_string(), "none: not measured");
    assert_eq!(unstarted.get(Event::Cycles), Err(Missing::NotMeasured));
    for _ in 0..2 {
        counters.start();
        assert_eq!(counters.stop().get(Event::Cycles), Ok(1000));
    }
    assert_eq!(counters.stop().get(Event::PageFaults), Err(Missing::NotMeasured));
}

#[test]
fn an_ordinary_user_under_paranoid_2() {
    let machine = Machine::new(2, |_, reach| match reach {
        CounterReach::Kernel => Err(libc::EACCES),
        CounterReach::UserOnly => Ok(WHOLE),
    });
    let counts = machine.run();
    assert_eq!(counts.scope.to_string(), "user-only (perf_event_paranoid=2)");
    assert_eq!(counts.get(Event::Cycles), Ok(1000));
    // The fake's 1000 would be the kernel's constant 0: these two come from getrusage instead.
    assert_ne!(counts.get(Event::ContextSwitches), Ok(1000));
    assert!(counts.get(Event::ContextSwitches).is_ok());
    assert!(counts.get(Event::PageFaults).is_ok());
    let migrations = counts.get(Event::CpuMigrations).unwrap_err();
    assert!(migrations.to_string().starts_with("cpu-migrations happens in the kernel"));
}

#[test]
fn paranoid_4_refuses_everything() {
    for errno in [libc::EACCES, libc::EPERM] {
        // A function pointer captures nothing, so each errno has its own.
        let answer: fn(Event, CounterReach) -> Result<Behaviour, i32> = match errno {
            libc::EACCES => |_, _| Err(libc::EACCES),
            _ => |_, _| Err(libc::EPERM),
        };
        let counts = Machine::new(4, answer).run();
        let refused = Missing::NotPermitted { paranoid: Some(4) };
        assert_eq!(counts.scope, CounterScope::SoftwareOnly(refused.clone()));
        assert_eq!(counts.get(Event::Cycles), Err(refused.clone()));
        assert_eq!(counts.get(Event::CpuMigrations), Err(refused));
        assert!(counts.get(Event::ContextSwitches).is_ok());
    }
}

#[test]
fn a_virtual_machine_without_a_pmu() {
    // As root, and as an ordinary user, to whom the kernel refuses first and then has nothing.
    let root: fn(Event, CounterReach) -> Result<Behaviour, i32> = |event, _| match event.is_hardware() {
        true => Err(libc::ENOENT),
        false => Ok(WHOLE),
    };
    let user: fn(Event, CounterReach) -> Result<Behaviour, i32> =
        |event, reach| match (reach, event.is_hardware()) {
            (CounterReach::Kernel, _) => Err(libc::EACCES),
            (_, true) => Err(libc::ENOENT),
            (_, false) => Ok(WHOLE),
        };
    for answer in [root, user] {
        let counts = Machine::new(2, answer).run();
        assert_eq!(counts.scope.to_string(), "software only: this machine exposes no PMU");
        assert_eq!(counts.get(Event::Cycles), Err(Missing::NoPmu));
    }
    assert_eq!(Machine::new(2, root).run().get(Event::CpuMigrations), Ok(1000));
}

#[test]
fn an_event_that_this_cpu_lacks() {
    let machine = Machine::new(-1, |event, _| match event {
        Event::L1dLoadMisses | Event::LlcLoadMisses => Err(libc::EINVAL),
        _ => Ok(WHOLE),
    });
    let counts = machine.run();
    assert_eq!(counts.scope, CounterScope::UserKernel);
    assert_eq!(counts.get(Event::L1dLoadMisses), Err(Missing::EventUnsupported("L1-dcache-load-misses")));
    // The last-level event has a stand-in, under its own name.
    assert_eq!(counts.get(Event::CacheMisses), Ok(1000));
    assert_eq!(counts.get(Event::LlcLoadMisses), Err(Missing::NotMeasured));
}

#[test]
fn a_multiplexed_event_is_scaled_and_named() {
    let machine = Machine::new(-1, |event, _| {
        Ok(match event {
            Event::L1dLoadMisses => Behaviour::Counts { count: 630, ran_percent: 63 },
            _ => WHOLE,
        })
    });
    let counts = machine.run();
    assert_eq!(counts.scope.to_string(), "multiplexed 63 %");
    assert_eq!(counts.get(Event::L1dLoadMisses), Ok(1000));
    assert_eq!(counts.get(Event::Cycles), Ok(1000));
}

#[test]
fn multiplexed_and_user_only_says_both() {
    let machine = Machine::new(2, |event, reach| match (reach, event.is_hardware()) {
        (CounterReach::Kernel, _) => Err(libc::EACCES),
        (_, true) => Ok(Behaviour::Counts { count: 10, ran_percent: 50 }),
        (_, false) => Ok(WHOLE),
    });
    assert_eq!(machine.run().scope.to_string(), "user-only (perf_event_paranoid=2), multiplexed 50 %");
}

#[test]
fn a_counter_that_never_ran_is_not_zero() {
    let machine = Machine::new(-1, |event, _| {
        Ok(match event {
            Event::Cycles => Behaviour::Counts { count: 0, ran_percent: 0 },
            _ => WHOLE,
        })
    });
    let counts = machine.run();
    let never = Missing::NeverScheduled("cycles");
    assert_eq!(counts.get(Event::Cycles), Err(never));
    assert_eq!(counts.scope, CounterScope::UserKernel);
    // None at all: the scope falls to the software events, with the reason.
    let machine = Machine::new(-1, |event, _| {
        Ok(Behaviour::Counts { count: 0, ran_percent: if event.is_hardware() { 0 } else { 100 } })
    });
    let scope = machine.run().scope.to_string();
    assert!(scope.starts_with("software only: cycles never got a hardware counter"), "{scope}");
}

#[test]
fn failures_are_reasons() {
    let reasons = [(libc::EMFILE, Missing::TooManyFiles), (libc::ENOSYS, Missing::NoPerf)];
    for (errno, reason) in reasons {
        let answer: fn(Event, CounterReach) -> Result<Behaviour, i32> = match errno {
            libc::EMFILE => |_, _| Err(libc::EMFILE),
            _ => |_, _| Err(libc::ENOSYS),
        };
        let counts = Machine::new(-1, answer).run();
        assert_eq!(counts.get(Event::Cycles), Err(reason.clone()));
        assert_eq!(counts.scope, CounterScope::SoftwareOnly(reason));
    }
    let broken = Machine::new(-1, |event, _| {
        Ok(match event {
            Event::Cycles => Behaviour::BreaksOnEnable,
            Event::Instructions => Behaviour::BreaksOnRead,
            _ => WHOLE,
        })
    });
    let counts = broken.run();
    assert!(matches!(counts.get(Event::Cycles), Err(Missing::Os { .. })));
    assert!(matches!(counts.get(Event::Instructions), Err(Missing::Os { .. })));
    assert_eq!(counts.get(Event::PageFaults), Ok(1000));
}

#[test]
fn a_sum_keeps_the_worst_scope_and_no_partial_value() {
    let whole = Machine::new(-1, |_, _| Ok(WHOLE)).run();
    let shared = Machine::new(-1, |_, _| Ok(Behaviour::Counts { count: 500, ran_percent: 50 })).run();
    let lacking = Machine::new(-1, |event, _| match event {
        Event::Instructions => Err(libc::ENOENT),
        _ => Ok(WHOLE),
    })
    .run();
    let sum = whole.clone().and(shared.clone()).and(lacking.clone());
    assert_eq!(sum.threads, 3);
    assert_eq!(sum.scope.to_string(), "multiplexed 50 %");
    assert_eq!(sum.get(Event::Cycles), Ok(3000));
    assert!(sum.get(Event::Instructions).is_err());
    assert_eq!(sum, lacking.and(shared).and(whole.clone()), "in any order");
    let none = Counts::missing(Event::LlcLoadMisses, Missing::NotMeasured);
    let with_none = whole.and(none);
    assert_eq!(with_none.scope.to_string(), "none: not measured");
    assert!(with_none.counts.iter().all(|count| count.value.is_err()));
}

#[test]
fn threads_on_cpus_of_two_kinds_do_not_add_up() {
    let whole = Machine::new(-1, |_, _| Ok(WHOLE)).run();
    let other = Machine::new(-1, |event, _| match event {
        Event::LlcLoadMisses => Err(libc::ENOENT),
        _ => Ok(WHOLE),
    })
    .run();
    let sum = whole.and(other);
    assert_eq!(sum.get(Event::LlcLoadMisses), Err(Missing::MixedEvents));
    assert_eq!(sum.get(Event::Cycles), Ok(2000));
}

#[test]
fn cpu_time_falls_back_with_a_reason() {
    let refused = Machine::new(4, |_, _| Err(libc::EACCES));
    let mut cpu = ThreadCpu::open_with(&refused);
    assert_eq!(cpu.fallback(), Some(&Missing::NotPermitted { paranoid: Some(4) }));
    assert_eq!(cpu.scope(), CpuScope::of_clocks());
    assert_ne!(cpu.scope(), CpuScope::TaskClock);
    let begun = cpu.now().unwrap();
    assert!(cpu.since(begun).is_ok());
    // Granted without the kernel, the task clock counts the same (measured, see cost/cpu.rs).
    let user = Machine::new(2, |_, reach| match reach {
        CounterReach::Kernel => Err(libc::EACCES),
        CounterReach::UserOnly => Ok(WHOLE),
    });
    let cpu = ThreadCpu::open_with(&user);
    assert_eq!(cpu.scope(), CpuScope::TaskClock);
    assert_eq!(cpu.fallback(), None);
    let broken = Machine::new(-1, |_, _| Ok(Behaviour::BreaksOnRead));
    assert!(ThreadCpu::open_with(&broken).fallback().is_some());
}
