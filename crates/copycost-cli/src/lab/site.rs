//! The lab as a site for a rig: both ends run in this process, each in its network namespace.

use std::sync::Arc;

use crossbeam::channel::Sender;

use super::{Lab, LabError};
use copycost::internals::cost::relayed::RelayCost;
use copycost::internals::placement::{self, PlacementPlan};
use copycost::internals::rig::{RelayMeter, ServerHandle, ServerSite, available, serve};
use copycost::internals::server::WorkerUpdate;
use copycost::rig::{Rig, RigError, Site, SiteError};
use copycost::scenario::Scenario;

/// A lab as a [`Site`]. The report of its server is the [`super::Probed`] of the path.
#[derive(Debug, Clone)]
pub struct LabSite(pub Arc<Lab>);

impl Site for LabSite {
    fn transport(&self) -> &'static str {
        "lab"
    }

    fn build(&self, scenario: &Scenario) -> Result<Rig, RigError> {
        Rig::with_local_clients(self, scenario)
    }
}

impl ServerSite for LabSite {
    fn placement_plan(&self, scenario: &Scenario, cpus: &[usize]) -> PlacementPlan {
        let (generator, cpus) = placement::reserve(scenario.open_loop, cpus);
        self.0.placement_plan(scenario.placement, scenario.clients, cpus).with_generator(generator)
    }

    /// Probes the path before the server starts.
    fn start_server(
        &self,
        scenario: &Scenario,
        cpus: &[usize],
        updates: Sender<WorkerUpdate>,
    ) -> Result<ServerHandle, RigError> {
        let lab = &self.0;
        available(scenario)?;
        let (_, others) = placement::reserve(scenario.open_loop, cpus);
        lab.arrange(scenario.placement, scenario.clients, others)?;
        let (tapped, probed) = (lab.tapped(), lab.probed(scenario));
        let listener = lab.listen(&scenario.options)?;
        let reached = serve(scenario, listener, self.placement_plan(scenario, cpus).servers, updates)?;
        let relay: Arc<dyn RelayMeter> = lab.clone();
        Ok(ServerHandle {
            copied_because: tapped,
            relay: Some(relay),
            report: Some(Arc::new(probed)),
            ..reached
        })
    }
}

impl RelayMeter for Lab {
    fn start(&self) -> Box<dyn FnOnce() -> RelayCost + '_> {
        let before = self.snapshot();
        Box::new(move || self.since(&before))
    }
}

impl SiteError for LabError {}

impl From<LabError> for RigError {
    fn from(error: LabError) -> Self {
        Self::Site(Box::new(error))
    }
}
