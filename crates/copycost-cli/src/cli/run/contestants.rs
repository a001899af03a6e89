//! The contestants of a run, and the pairs that are compared.

use std::sync::Arc;

use crate::cli::Failure;
use crate::cli::over;
use crate::compare::contestant::Contestant;
use copycost::offset::Offsets;
use copycost::rig::Site;
use copycost::scenario::ConnectionOptions;
use copycost::scenario::Scenario;
use copycost::send::SendPath;

use super::other_build::{BothBuilds, OLD};

/// The paths of a run, where they are served, and the reference.
#[derive(Debug)]
pub struct Contestants {
    paths: Vec<&'static SendPath>,
    site: Arc<dyn Site>,
    both: Option<BothBuilds>,
    arms: Vec<(Option<String>, Offsets)>,
    reference: usize,
    reached: bool,
}

/// The default reference: what a server does that was not optimised for copies.
const DEFAULT_REFERENCE: &str = "onecopy";

impl Contestants {
    /// `paths` served at `site`, each with every one of `arms`; or with `both`, each path served by both builds.
    pub fn new(
        paths: Vec<&'static SendPath>,
        site: Arc<dyn Site>,
        both: Option<BothBuilds>,
        arms: Vec<(Option<String>, Offsets)>,
        reference: Option<&SendPath>,
    ) -> Result<Self, Failure> {
        let place = |name: &str| paths.iter().position(|path| path.name == name);
        let reference = match reference {
            None => place(DEFAULT_REFERENCE).unwrap_or(0),
            Some(path) => place(path.name).ok_or_else(|| {
                let names: Vec<_> = paths.iter().map(|path| path.name).collect();
                Failure::Usage(format!(
                    "invalid value for --reference: '{}' is not among the paths of this run ({})",
                    path.name,
                    names.join(", ")
                ))
            })?,
        };
        Ok(Self { paths, site, both, arms, reference, reached: false })
    }

    /// Checks once that the other host is reachable and accepts this one.
    pub fn reach(&mut self, options: &ConnectionOptions) -> Result<(), Failure> {
        if !std::mem::replace(&mut self.reached, true) {
            over::check(&*self.site, options)?;
        }
        Ok(())
    }

    /// The number of contestants in each cell.
    pub fn count(&self) -> usize {
        self.paths.len() * if self.both.is_some() { 2 } else { self.arms.len() }
    }

    /// The place of the reference among the contestants of a cell; of several arms the first.
    pub fn reference(&self) -> usize {
        self.reference * self.arms.len()
    }

    /// Serves all contestants at `site` from now on.
    pub fn move_to(&mut self, site: Arc<dyn Site>) {
        self.site = site;
    }

    /// The site of the servers, unless two builds serve.
    pub fn site(&self) -> &Arc<dyn Site> {
        &self.site
    }

    /// The contestants of a cell; `scenario` gives the scenario of each path.
    pub fn contestants(&self, scenario: impl Fn(&'static SendPath) -> Scenario) -> Vec<Contestant> {
        let named = |path: &'static SendPath, name: String, site: Arc<dyn Site>| Contestant {
            name,
            scenario: scenario(path),
            site,
        };
        match &self.both {
            None => {
                let armed = |path: &'static SendPath, (arm, offsets): &(Option<String>, Offsets)| {
                    let name = arm
                        .as_ref()
                        .map_or_else(|| path.name.to_owned(), |arm| format!("{}@{arm}", path.name));
                    let mut contestant = named(path, name, self.site.clone());
                    contestant.scenario.offsets = *offsets;
                    contestant
                };
                self.paths
                    .iter()
                    .flat_map(|path| self.arms.iter().map(move |arm| (path, arm)))
                    .map(|(path, arm)| armed(path, arm))
                    .collect()
            }
            Some(both) => {
                let [this, other] = both.sites();
                let pair = |path: &&'static SendPath| {
                    let old = format!("{}@{OLD}", path.name);
                    [named(path, path.name.to_owned(), this.clone()), named(path, old, other.clone())]
                };
                self.paths.iter().flat_map(pair).collect()
            }
        }
    }

    /// The pairs that are compared, as indices of a contestant and of its reference. With several arms, a contestant is
    /// compared with the reference path on the same arm, and with its own path on the first arm.
    pub fn pairs(&self) -> Vec<(usize, usize)> {
        if self.both.is_some() {
            (0..self.paths.len()).map(|path| (2 * path, 2 * path + 1)).collect()
        } else {
            let arms = self.arms.len();
            let of_path = |path: usize| {
                let place = move |arm: usize| path * arms + arm;
                let others = (0..arms).filter(move |_| path != self.reference);
                let against_reference = others.map(move |arm| (place(arm), self.reference * arms + arm));
                against_reference.chain((1..arms).map(move |arm| (place(arm), place(0))))
            };
            (0..self.paths.len()).flat_map(of_path).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use copycost::rig::Loopback;
    use copycost::send;

    fn contestants(names: &[&str], reference: Option<&str>) -> Result<Contestants, Failure> {
        let path = |name: &&str| send::by_name(name).unwrap();
        let reference = reference.map(|name| path(&name));
        let arms = vec![(None, Offsets::default())];
        Contestants::new(names.iter().map(path).collect(), Arc::new(Loopback), None, arms, reference)
    }

    #[test]
    fn with_several_offsets_a_path_is_compared_with_itself_and_with_the_reference() {
        let paths = vec![send::by_name("onecopy").unwrap(), send::by_name("zerocopy").unwrap()];
        let arm = |name: &str| (Some(name.to_owned()), Offsets::default());
        let arms = vec![arm("64"), arm("16")];
        let contestants = Contestants::new(paths, Arc::new(Loopback), None, arms, None).unwrap();
        assert_eq!(contestants.pairs(), [(1, 0), (2, 0), (3, 1), (3, 2)]);
        assert_eq!(contestants.count(), 4);
        let scenario = |path| Scenario::new(path, copycost::message::Spec::new(64).unwrap(), 1);
        let names: Vec<_> = contestants.contestants(scenario).into_iter().map(|one| one.name).collect();
        let wanted = ["onecopy@64", "onecopy@16", "zerocopy@64", "zerocopy@16"];
        assert_eq!(names, wanted);
    }

    #[test]
    fn every_path_is_compared_with_the_reference() {
        let pairs = |names: &[&str], reference| contestants(names, reference).unwrap().pairs();
        assert_eq!(pairs(&["twocopy", "onecopy", "zerocopy"], None), [(0, 1), (2, 1)]);
        assert_eq!(pairs(&["twocopy", "onecopy", "zerocopy"], Some("zerocopy")), [(0, 2), (1, 2)]);
        assert_eq!(pairs(&["zerocopy", "twocopy"], None), [(1, 0)]);
        assert_eq!(pairs(&["onecopy"], None), []);
        let error = contestants(&["twocopy"], Some("onecopy")).unwrap_err().to_string();
        assert!(error.contains("--reference") && error.contains("twocopy"), "{error}");
    }
}
