//! `--crossover`: two paths at size after size, hot and cold.

use super::session::{RunSession, cell_name};
use crate::cli::arguments::CrossoverRequest;
use crate::compare::cell::Contestant;
use crate::compare::crossover::{self, CrossoverInterval, Standing, Standings};
use crate::compare::metric::Metric;
use crate::compare::stats::{Estimate, Judgement};
use crate::compare::trial::TrialEnd;
use crate::record::Crossover;
use copycost::message::Footprint;
use copycost::units::ClientCount;

/// Hot flatters copying, cold flatters what does not copy: the truth of a server lies between.
pub const FOOTPRINTS: [Footprint; 2] = [Footprint::Hot, Footprint::Cold];

/// The level at which each size is judged: of the dozen that a crossover looks at, one in ten crossovers may have one
/// that errs.
const ALPHA: f64 = 0.01;

/// Who is to be measured, given a size.
pub struct CrossoverSearch<'a> {
    /// The clients.
    pub clients: usize,
    /// How much memory the messages in turn cover.
    pub footprint: Footprint,
    /// The path and its opponent at a size.
    pub contestants: &'a dyn Fn(usize) -> Vec<Contestant>,
}

/// Finds the crossover of every metric and keeps those that have an answer.
pub fn find(course: &mut RunSession<'_>, crossing: &CrossoverRequest, looker: &CrossoverSearch<'_>) {
    let (clients, footprint) = (looker.clients, looker.footprint.to_string());
    let (path, against) = (crossing.path.name.to_owned(), crossing.against.name.to_owned());
    let client_hosts = course.field.site().client_hosts();
    let known = course.results.crossovers.iter().any(|old| {
        (old.clients, old.client_hosts, &old.footprint, &old.path, &old.against, old.most)
            == (clients, client_hosts, &footprint, &path, &against, crossing.most)
    });
    let mut looks_left = crossover::looks(crossing.most);
    if known {
        course.to_come = course.to_come.saturating_sub(looks_left);
        return;
    }
    let mut told = [false; 3];
    let mut look = |size: usize| {
        let standings = at(course, looker, size, &mut told);
        // A look beyond those foreseen takes from nobody's share.
        if looks_left > 0 {
            looks_left -= 1;
            course.to_come -= 1;
        }
        standings
    };
    let found = crossover::find(crossing.most, &mut look);
    course.to_come = course.to_come.saturating_sub(looks_left);
    for (metric, CrossoverInterval { low, high }) in found.into_iter().flatten() {
        // Where no size could tell, there is nothing to keep.
        if told[metric as usize] && (low.is_some() || high.is_some()) {
            course.results.crossovers.push(Crossover {
                path: path.clone(),
                against: against.clone(),
                clients,
                client_hosts,
                metric: metric.to_string(),
                footprint: footprint.clone(),
                low,
                high,
                most: crossing.most,
            });
        }
    }
    let told = format!("crossover of {path} and {against}, {}, {footprint}: done", ClientCount(clients));
    course.progress.end(looks_left, &told);
}

fn at(
    course: &mut RunSession<'_>,
    looker: &CrossoverSearch<'_>,
    size: usize,
    told: &mut [bool; 3],
) -> Option<Standings> {
    // Cold messages take seconds to make: what there is no time for stays unknown.
    if course.is_out_of_time() {
        course.progress.skip();
        return Some([Standing::Unknown; 3]);
    }
    let what = format!("crossover, {}, {}", cell_name(size, looker.clients), looker.footprint);
    course.progress.begin(&what);
    // The first of the pair against the second.
    let pairs = [(0, 1)];
    let (cell, end, _) = course.measure((looker.contestants)(size), &pairs);
    course.progress.end(1, &format!("{what}: {} set-ups", cell.setups()));
    let standings = [Metric::Throughput, Metric::Demand, Metric::SenderDemand].map(|metric| {
        let estimate = cell.pairs(0, 1, metric).ok().and_then(|pairs| Estimate::new(&pairs).ok());
        told[metric as usize] |= estimate.is_some();
        estimate.map_or(Standing::Unknown, |estimate| standing(&estimate, metric))
    });
    let mut whole = end != TrialEnd::CalledOff;
    for (contestant, measured) in cell.finish(None, &mut |_| ()) {
        if let (Err(error), true) = (measured, end != TrialEnd::CalledOff) {
            course.fail(&contestant.name, size, looker.clients, &error);
            whole = false;
        }
    }
    whole.then_some(standings)
}

fn standing(estimate: &Estimate, metric: Metric) -> Standing {
    match Judgement::of(&estimate.interval(ALPHA), metric.better()) {
        Judgement::Faster => Standing::Wins,
        Judgement::Slower | Judgement::Equivalent => Standing::DoesNotWin,
        Judgement::Undecided => Standing::Unknown,
    }
}
