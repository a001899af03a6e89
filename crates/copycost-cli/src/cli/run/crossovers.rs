//! `--crossover`: compares two paths at many sizes, hot and cold.

use super::session::{RunSession, cell_name};
use crate::cli::Failure;
use crate::cli::arguments::CrossoverRequest;
use crate::compare::contestant::Contestant;
use crate::compare::crossover::{self, CrossoverInterval, Standing, Standings};
use crate::compare::metric::Metric;
use crate::compare::trial::TrialEnd;
use crate::record::{Crossover, MessageSize, Named};
use crate::stats::{Estimate, Judgement};
use copycost::message::Footprint;
use copycost::units::ClientCount;

/// Hot memory favours copying, cold memory favours zero copy. A real server lies between them.
pub const FOOTPRINTS: [Footprint; 2] = [Footprint::Hot, Footprint::Cold];

/// The level at which each size is judged. A crossover measures about a dozen sizes, so about one crossover in ten has
/// a wrong size.
const ALPHA: f64 = 0.01;

/// What a search measures at each size.
pub struct CrossoverSearch<'a> {
    /// The number of clients.
    pub clients: usize,
    /// How much memory the messages cover.
    pub footprint: Footprint,
    /// The two paths at a given size: the one that should win, then the other.
    pub contestants: &'a dyn Fn(usize) -> Vec<Contestant>,
}

/// Finds the crossover of each metric, keeps those with an answer, and saves the results. Does nothing in an
/// interrupted run.
pub fn find(
    session: &mut RunSession<'_>,
    request: &CrossoverRequest,
    search: &CrossoverSearch<'_>,
) -> Result<(), Failure> {
    if session.interrupted() {
        return Ok(());
    }
    find_and_keep(session, request, search);
    session.still_whole()?;
    session.save()
}

fn find_and_keep(session: &mut RunSession<'_>, request: &CrossoverRequest, search: &CrossoverSearch<'_>) {
    let (clients, footprint) = (search.clients, Named::Known(search.footprint));
    let (path, against) = (request.path.name.to_owned(), request.against.name.to_owned());
    let client_hosts = session.contestants.site().client_hosts();
    let known = session.results.crossovers.iter().any(|old| {
        (old.clients, old.client_hosts, &old.footprint, &old.path, &old.against, old.most)
            == (clients, client_hosts, &footprint, &path, &against, request.most)
    });
    let mut looks_left = crossover::looks(request.most);
    if known {
        session.to_come = session.to_come.saturating_sub(looks_left);
        return;
    }
    let mut estimated = [false; 3];
    let mut look = |size: usize| {
        let standings = measure_size(session, search, size, &mut estimated);
        // A look beyond the expected number does not reduce the share of other cells.
        if looks_left > 0 {
            looks_left -= 1;
            session.to_come -= 1;
        }
        standings
    };
    let found = crossover::find(request.most, &mut look);
    session.to_come = session.to_come.saturating_sub(looks_left);
    for (metric, CrossoverInterval { low, high }) in found.into_iter().flatten() {
        // Without an estimate at any size there is nothing to keep.
        if estimated[metric as usize] && (low.is_some() || high.is_some()) {
            session.results.crossovers.push(Crossover {
                path: path.clone(),
                against: against.clone(),
                clients,
                client_hosts,
                metric: Named::Known(metric),
                footprint: footprint.clone(),
                low,
                high,
                most: request.most,
            });
        }
    }
    let message = format!("crossover of {path} and {against}, {}, {footprint}: done", ClientCount(clients));
    session.progress.end(looks_left, &message);
}

/// The standing of each metric at `size`; sets `estimated` for each metric with an estimate.
fn measure_size(
    session: &mut RunSession<'_>,
    search: &CrossoverSearch<'_>,
    size: usize,
    estimated: &mut [bool; 3],
) -> Option<Standings> {
    // Cold messages take seconds to make. A size for which there is no time left stays unknown.
    if session.is_out_of_time() {
        session.progress.skip();
        return Some([Standing::Unknown; 3]);
    }
    let what = format!(
        "crossover, {}, {}",
        cell_name(MessageSize::of_bytes(size), search.clients),
        search.footprint
    );
    session.progress.begin(&what);
    // The first contestant against the second.
    let pairs = [(0, 1)];
    let (cell, end, _) = session.measure((search.contestants)(size), &pairs);
    session.progress.end(1, &format!("{what}: {} set-ups", cell.setups()));
    let standings = [Metric::Throughput, Metric::Demand, Metric::SenderDemand].map(|metric| {
        let estimate = cell.pairs(0, 1, metric).ok().and_then(|pairs| Estimate::new(&pairs).ok());
        estimated[metric as usize] |= estimate.is_some();
        estimate.map_or(Standing::Unknown, |estimate| standing(&estimate, metric))
    });
    let mut whole = end != TrialEnd::CalledOff;
    for (contestant, measured) in cell.finish(None, &mut |_| ()) {
        if let (Err(error), true) = (measured, end != TrialEnd::CalledOff) {
            session.fail(&contestant.name, MessageSize::of_bytes(size), search.clients, &error);
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
