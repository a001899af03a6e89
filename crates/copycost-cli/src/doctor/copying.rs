//! Whether copies are slow at some distances between the page offsets of source and destination
//! (docs/buffer-offsets.md).

use super::Machine;
use super::PlannedRun;
use super::copies::{Copier, SLOW_FROM, factors};
use super::finding::CheckResult;
use super::machine::Unread;

/// Checks whether the speed of copies depends on the page offsets of source and destination.
pub(super) fn hazard(machine: &Machine, _: &PlannedRun) -> Result<CheckResult, Unread> {
    let all = &machine.facts.copies;
    let mut cpus: Vec<usize> = all.iter().map(|time| time.cpu).collect();
    cpus.dedup();
    let slow: Vec<_> = factors(all).into_iter().filter(|(_, _, factor)| *factor >= SLOW_FROM).collect();
    let slow_cpus = cpus.iter().filter(|cpu| slow.iter().any(|(on, _, _)| on == *cpu)).count();
    let worst_of = |copier: Copier| {
        let factors = slow.iter().filter(|(_, by, _)| *by == copier).map(|(_, _, factor)| *factor);
        Some((copier, factors.reduce(f64::max)?))
    };
    let hit: Vec<(Copier, f64)> = Copier::ALL.into_iter().filter_map(worst_of).collect();
    if cpus.is_empty() {
        return Ok(CheckResult::note("It was not measured whether copies depend on where buffers begin."));
    }
    let allowed = machine.facts.allowed_cpus.len();
    let measured = match cpus.len() {
        1 => "the CPU measured".to_owned(),
        number if number < allowed => format!("the {number} of {allowed} CPUs that could be measured"),
        _ => "every CPU".to_owned(),
    };
    let Some(worst) = hit.iter().map(|(_, factor)| *factor).reduce(f64::max) else {
        return Ok(CheckResult::ready(format!(
            "No copy hazard: on {measured}, copies take equally long wherever in a page the buffers begin."
        )));
    };
    let each: Vec<_> = hit.iter().map(|(by, factor)| format!("{by} {factor:.1} times")).collect();
    let cpus = if slow_cpus == cpus.len() {
        String::new()
    } else {
        format!(" on {slow_cpus} of {} CPUs", cpus.len())
    };
    Ok(CheckResult::note(format!(
        "Copy hazard{cpus}: copies are up to {worst:.1} times slower where destination minus source, modulo 4096, is 1 to 31 \
         ({}).",
        each.join(", ")
    ))
    .effect(
        "copycost places its own buffers so that they avoid it. In other programs the allocator places them: \
         glibc begins mapped allocations, 128 KiB and larger, 16 bytes into a page.",
    )
    .fix("begin receive buffers 64 bytes into a page, and pad headers to a multiple of 32 bytes"))
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::time::Duration;

    use super::*;
    use crate::doctor::copies::{CopyTime, CopyTimer, times};
    use crate::doctor::{Facts, Status};

    /// Takes a nanosecond per byte, and five times as long for the copies that the function selects.
    struct Fake(fn(Copier, usize) -> bool);

    impl CopyTimer for Fake {
        fn copy(&mut self, by: Copier, bytes: usize, distance: usize) -> io::Result<Duration> {
            Ok(Duration::from_nanos(bytes as u64) * if (self.0)(by, distance) { 5 } else { 1 })
        }
    }

    fn found(copies: Vec<CopyTime>) -> super::super::Finding {
        let machine = Machine::at("/nonexistent", Facts { copies, ..Facts::default() });
        hazard(&machine, &PlannedRun::default()).unwrap().of("copy-hazard")
    }

    #[test]
    fn a_machine_without_the_hazard_is_ready() {
        let found = found(times(&mut Fake(|_, _| false), 0));
        assert_eq!(found.status, Status::Ready, "{found:?}");
        assert!(found.told.starts_with("No copy hazard"));
    }

    #[test]
    fn the_hazard_is_reported_with_its_factor_the_copiers_and_a_fix() {
        let hit = |by: Copier, distance: usize| by != Copier::Memcpy && (1..=31).contains(&distance);
        let mut copies = times(&mut Fake(hit), 0);
        let finding = found(copies.clone());
        assert_eq!(finding.status, Status::Note, "{finding:?}");
        for part in ["5.0 times slower", "1 to 31", "by recv 5.0 times"] {
            assert!(finding.told.contains(part), "{part}: {finding:?}");
        }
        assert!(!finding.told.contains("memcpy") && !finding.told.contains("CPUs"), "{finding:?}");
        assert!(finding.fix.unwrap().contains("64 bytes into a page"));
        // Only one of two CPUs has the hazard.
        copies.extend(times(&mut Fake(|_, _| false), 1));
        assert!(found(copies).told.starts_with("Copy hazard on 1 of 2 CPUs"));
    }

    #[test]
    fn a_missing_measurement_is_reported_as_such() {
        struct Broken;
        impl CopyTimer for Broken {
            fn copy(&mut self, _: Copier, _: usize, _: usize) -> io::Result<Duration> {
                Err(io::ErrorKind::Unsupported.into())
            }
        }
        let found = found(times(&mut Broken, 0));
        assert_eq!(found.status, Status::Note);
        assert!(found.told.contains("was not measured"));
    }
}
