//! What a cell compares: a scenario with a name and a site.

use std::sync::Arc;
use std::time::{Duration, Instant};

use copycost::rig::{Rig, RigError, Site};
use copycost::scenario::Scenario;

/// A path, possibly served by another build, that a cell measures side by side with others.
#[derive(Debug, Clone)]
pub struct Contestant {
    /// The name in records: the path, or the path and the build that serves it.
    pub name: String,
    /// What the contestant sends, and how.
    pub scenario: Scenario,
    /// Where its server is.
    pub site: Arc<dyn Site>,
}

/// How long to retry while another host refuses a rig. That host learns a moment later that the rigs of the last set-up
/// ended, and until then may have no room.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);

impl Contestant {
    /// Builds a rig for set-up `number`, from 1.
    pub fn build(&self, number: usize) -> Result<Rig, RigError> {
        let scenario = self.scenario.clone().of_set_up(number);
        let until = Instant::now() + REFUSAL_TIMEOUT;
        loop {
            match self.site.build(&scenario) {
                Err(error) if error.is_refusal() && number > 1 && Instant::now() < until => {
                    std::thread::sleep(REFUSAL_TIMEOUT / 20);
                }
                result => return result,
            }
        }
    }
}
