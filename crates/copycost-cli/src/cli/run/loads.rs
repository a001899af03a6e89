//! `--load` and `--rate`: paths under loads that do not wait.

use std::time::{Duration, Instant};

use super::RunArguments;
use super::flags::{Offered, RequestedLoads};
use super::session::{RunSession, cell_name};
use crate::cli::Failure;
use crate::compare::cell::SetUpEnd;
use crate::compare::open_loop::{self, OfferedLoad, OpenLoopCell};
use crate::compare::turns::building;
use crate::record::{ALPHA, CellFailure, LoadCurve, MessageSize, rate_text};
use copycost::internals::placement;
use copycost::scenario::{Placement, Scenario};
use copycost::send::SendPath;
use copycost::units::{ClientCount, plural};

/// How long the search for the reference's saturation takes, about.
const SEARCH: Duration = Duration::from_secs(5);

/// The longest turn at a load: more time gives more set-ups, because the intervals count set-ups.
const LONGEST_TURN: Duration = Duration::from_secs(2);

/// The shortest turn with a budget, and the fewest set-ups.
const SHORTEST_TURN: Duration = Duration::from_millis(100);
const FEWEST_SETUPS: usize = 3;

/// What a reader must know of a lab on two CPUs.
const LAB_SHARES: &str = "lab: both ends and the relay share the only CPU beside the generator's, so the sender pays for \
    some of the relay's work: three CPUs keep them apart";

/// One cell under loads.
pub(super) struct LoadedCell<'a> {
    pub(super) run: &'a RunArguments,
    pub(super) loads: &'a RequestedLoads,
    pub(super) clients: usize,
}

/// How the time of a cell is divided.
struct LoadEffort {
    setups: usize,
    /// The length of one turn at one load.
    length: Duration,
}

impl LoadedCell<'_> {
    /// The expected time of the cell with `paths` paths.
    pub(super) fn expected(&self, paths: usize) -> Duration {
        let LoadEffort { setups, length } = self.effort(paths, None);
        let of_path = building(self.clients) + length * self.loads.offered.count() as u32;
        self.search() + of_path * (setups * paths) as u32
    }

    /// The set-ups of a cell without a budget.
    pub(super) fn setups(&self, paths: usize) -> usize {
        self.effort(paths, None).setups
    }

    fn search(&self) -> Duration {
        match self.loads.offered {
            Offered::Shares(_) => SEARCH,
            Offered::Rates(_) => Duration::ZERO,
        }
    }

    /// `share` is the cell's part of a budget.
    fn effort(&self, paths: usize, share: Option<Duration>) -> LoadEffort {
        let turns = (paths * self.loads.offered.count()).max(1) as u32;
        let Some(share) = share else {
            let seconds = self.run.seconds();
            let long = seconds.as_secs_f64() / LONGEST_TURN.as_secs_f64();
            let setups = self.run.setups.max(long.ceil() as usize);
            return LoadEffort { setups, length: seconds / setups as u32 };
        };
        let length = |setups: usize| {
            let of_setup = share.saturating_sub(self.search()) / setups.max(1) as u32;
            of_setup.saturating_sub(building(self.clients) * paths as u32) / turns
        };
        let fits = |setups: &usize| length(*setups) >= SHORTEST_TURN;
        let setups = (FEWEST_SETUPS..=self.run.setups).rev().find(fits).unwrap_or(FEWEST_SETUPS);
        LoadEffort { setups, length: length(setups).clamp(SHORTEST_TURN, LONGEST_TURN) }
    }

    /// Measures the cell, keeps its curve and saves the results. Does nothing in an interrupted run.
    pub(super) fn measure(
        &self,
        session: &mut RunSession<'_>,
        scenario: impl Fn(&'static SendPath) -> Scenario,
    ) -> Result<(), Failure> {
        if session.interrupted() {
            return Ok(());
        }
        let contestants = session.contestants.contestants(&scenario);
        session.contestants.reach(&contestants[0].scenario.options)?;
        let contestants = session.contestants.contestants(&scenario);
        let size = MessageSize::of(&contestants[0].scenario);
        let what = cell_name(size, self.clients);
        session.progress.begin(&what);
        session.keep_distortions();
        self.keep_remarks(session);
        let began = Instant::now();
        let left = session.until.saturating_duration_since(began) / session.to_come.max(1) as u32;
        let effort = self.effort(contestants.len(), session.time_budget.budgeted.then_some(left));
        let reference = &contestants[session.contestants.reference()];
        let name = reference.name.clone();
        let found = match &self.loads.offered {
            Offered::Rates(_) => Ok(Some(1.0)),
            Offered::Shares(_) => {
                open_loop::saturation(reference, self.loads.arrivals, effort.length, &mut || session.go_on())
            }
        };
        let base = match found {
            Ok(Some(base)) => base,
            Ok(None) => return Ok(()),
            Err(error) => {
                session.still_whole()?;
                let error = format!("the load that {name} carries could not be found: {error}");
                let client_hosts = session.contestants.site().client_hosts();
                session.results.failures.extend(contestants.iter().map(|one| CellFailure {
                    path: one.name.clone(),
                    size,
                    clients: self.clients,
                    client_hosts,
                    error: error.clone(),
                }));
                return self.end(session, &format!("{what}: {error}"));
            }
        };
        let saturation = matches!(self.loads.offered, Offered::Shares(_)).then_some(base);
        let connections = self.clients * contestants.len();
        let seed = session.next_seed();
        let mut cell = OpenLoopCell::new(contestants, self.offered(base), self.loads.arrivals, seed);
        for number in 1..=effort.setups {
            // A set-up that would exceed the budget is not begun, unless there are too few for an interval.
            if number > 2 && session.is_out_of_time() {
                break;
            }
            session.progress.setting_up(number, connections);
            if cell.set_up(effort.length, &mut || session.go_on()) != SetUpEnd::Complete {
                break;
            }
        }
        session.still_whole()?;
        let setups = cell.setups();
        if setups == 0 && session.interrupted() {
            return Ok(());
        }
        let pairs = session.contestants.pairs();
        // The cells of a run share the probability of an error.
        let alpha = ALPHA / self.cells(session) as f64;
        let (curve, failures) = LoadCurve::new(cell, self.loads.arrivals, &name, saturation, &pairs, alpha);
        session.results.failures.extend(failures);
        let carried = curve.saturation_per_second.map_or_else(String::new, |rate| {
            format!("{name} carries {} messages a second ", rate_text(rate))
        });
        if !curve.points.is_empty() {
            session.results.load_curves.push(curve);
        }
        let seconds = began.elapsed().as_secs_f64();
        self.end(session, &format!("{what}: {carried}({}, {seconds:.1} s)", plural(setups, "set-up")))
    }

    fn end(&self, session: &mut RunSession<'_>, text: &str) -> Result<(), Failure> {
        session.to_come = session.to_come.saturating_sub(1);
        session.progress.end(1, text);
        session.save()
    }

    /// The cells of the whole run.
    fn cells(&self, session: &RunSession<'_>) -> usize {
        (session.results.load_curves.len() + session.to_come).max(1)
    }

    /// The loads; `base` is the rate of each client to which shares refer.
    fn offered(&self, base: f64) -> Vec<OfferedLoad> {
        match &self.loads.offered {
            Offered::Shares(shares) => shares
                .iter()
                .map(|&share| OfferedLoad { per_client: share * base, share: Some(share) })
                .collect(),
            Offered::Rates(rates) => {
                rates.iter().map(|&per_client| OfferedLoad { per_client, share: None }).collect()
            }
        }
    }

    /// Says what does not fit on the CPUs beside the generator's.
    fn keep_remarks(&self, session: &mut RunSession<'_>) {
        if self.run.over.serves_elsewhere() {
            return;
        }
        let Ok(cpus) = placement::cpus() else { return };
        let placement = self.run.setting.placement.unwrap_or_else(|| self.run.over.placement());
        let rest = cpus.len().saturating_sub(1);
        let remark = match self.run.over.is_lab() && rest < 2 {
            true => Some(LAB_SHARES.to_owned()),
            false => remark(placement, self.clients, rest),
        };
        let flags = &mut session.results.conditions.flags;
        flags.extend(remark.filter(|remark| !flags.contains(remark)));
    }
}

/// What a reader must know of `clients` clients on `rest` CPUs, those beside the generator's.
fn remark(placement: Placement, clients: usize, rest: usize) -> Option<String> {
    let beside = format!("{} beside the generator's", plural(rest, "CPU"));
    match placement {
        _ if rest == 0 => None,
        Placement::Split if rest == 1 => {
            Some(format!("placement split: there is {beside}, so both ends share it"))
        }
        Placement::Split if clients > rest / 2 => Some(format!(
            "{} and their servers have {beside}: latencies include their waiting for each other",
            ClientCount(clients)
        )),
        _ if placement != Placement::Split && clients > rest => Some(format!(
            "{} have {beside}: latencies include their waiting for each other",
            ClientCount(clients)
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_said() {
        let of = |placement, clients, rest| remark(placement, clients, rest).unwrap_or_default();
        assert_eq!(of(Placement::Paired, 1, 1), "");
        assert_eq!(
            of(Placement::Paired, 4, 1),
            "4 clients have 1 CPU beside the generator's: latencies include their waiting for each other"
        );
        assert_eq!(
            of(Placement::Split, 1, 1),
            "placement split: there is 1 CPU beside the generator's, so both ends share it"
        );
        assert!(of(Placement::Split, 2, 3).starts_with("2 clients and their servers have 3 CPUs"));
        assert_eq!(of(Placement::Split, 1, 2), "");
        assert_eq!(of(Placement::Free, 3, 3), "");
    }

    #[test]
    fn time_is_divided_among_set_ups_and_loads() {
        let effort = |flags: &[&str], budget: Option<u64>| {
            let run = RunArguments::given(flags);
            let loads = run.loads().unwrap();
            let cell = LoadedCell { run: &run, loads: &loads, clients: 1 };
            let effort = cell.effort(3, budget.map(Duration::from_secs));
            (effort.setups, effort.length.as_millis())
        };
        assert_eq!(effort(&["--load"], None), (8, 1000));
        assert_eq!(effort(&["--load", "--seconds", "60"], None), (30, 2000));
        assert_eq!(effort(&["--rate", "20k", "--seconds", "0.8"], None), (8, 100));
        let (setups, length) = effort(&["--load", "50%,80%"], Some(17));
        assert!(setups == 8 && (200..300).contains(&length), "{setups} {length}");
        assert_eq!(effort(&["--load"], Some(1)), (3, 100));
    }

    #[test]
    fn loads_are_in_order_and_each_once() {
        let of = |flags: &[&str]| RunArguments::given(flags).loads();
        assert_eq!(of(&[]), None);
        let shares = |shares: &[f64]| Some(Offered::Shares(shares.to_vec()));
        assert_eq!(of(&["--load"]).map(|loads| loads.offered), shares(&[0.2, 0.5, 0.8, 0.95]));
        assert_eq!(of(&["--load", "90%,20,90%"]).map(|loads| loads.offered), shares(&[0.2, 0.9]));
        let rates = of(&["--rate", "20k,500", "--arrivals", "fixed"]).unwrap();
        assert_eq!(rates.offered, Offered::Rates(vec![500.0, 20_000.0]));
        assert_eq!(rates.arrivals.to_string(), "fixed");
    }
}
