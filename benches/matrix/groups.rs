//! Which groups of cells each bench target measures, without Criterion: a test reads the ids here and needs no bench
//! program for it.

#![allow(dead_code, reason = "each bench target compiles this file and uses a part of it")]

use std::sync::Arc;

use copycost::message::{Fields, Layout, Spec};
use copycost::recv;
use copycost::scenario::{CLIENTS, SIZES, Scenario, matrix};
use copycost::send::{self, SendPath};
use copycost::workload::{Workload, published};

/// The group of `micro` whose ids are no cells.
pub const PART: &str = "part";

/// A Criterion group. Its ids are `{name}/{size}/{clients}`.
#[derive(Debug)]
pub struct Group {
    /// The first part of the ids.
    pub name: String,
    /// What is measured, in order.
    pub cells: Vec<Scenario>,
}

impl Group {
    fn new(
        name: String,
        sizes: &[usize],
        clients: &[usize],
        scenario: impl Fn(Spec, usize) -> Scenario,
    ) -> Self {
        let spec = |size| Spec::new(size).expect("the matrix holds valid sizes");
        let cells = matrix(sizes, clients).map(|(size, clients)| scenario(spec(size), clients)).collect();
        Self { name, cells }
    }

    /// The cells that this machine has, or why it has none.
    pub fn available(&self) -> Result<&[Scenario], String> {
        let lacking = self.cells.iter().find_map(|cell| {
            (cell.path.probe)(&cell.spec).and_then(|()| (cell.receive.probe)(cell.verify)).err()
        });
        match lacking {
            Some(reason) => Err(format!("{} is left out: {reason}", self.name)),
            None => Ok(&self.cells),
        }
    }

    /// The ids of the cells that this machine has.
    pub fn ids(&self) -> Vec<String> {
        let cells = self.available().unwrap_or_default();
        cells.iter().map(|cell| format!("{}/{}/{}", self.name, function(cell), cell.clients)).collect()
    }
}

/// A bench target by its name, and its groups.
type Target = (&'static str, fn() -> Vec<Group>);

/// Every bench target whose ids are cells, with its groups.
pub const TARGETS: [Target; 7] = [
    ("throughput", throughput),
    ("cost", cost),
    ("latency", latency),
    ("layout", layout),
    ("paths", paths),
    ("receive", receive),
    ("mix", mix),
];

/// The main matrix.
pub fn throughput() -> Vec<Group> {
    let group = |path: &'static SendPath| {
        Group::new(path.name.to_owned(), &SIZES, &CLIENTS, |spec, clients| Scenario::new(path, spec, clients))
    };
    originals().map(group).collect()
}

/// Service demand.
pub fn cost() -> Vec<Group> {
    let group = |path: &'static SendPath| {
        let name = format!("{}-cpu", path.name);
        Group::new(name, &SIZES, &[1, 8], |spec, clients| Scenario::new(path, spec, clients))
    };
    originals().map(group).collect()
}

/// Message latency.
pub fn latency() -> Vec<Group> {
    let group = |path: &'static SendPath| {
        let name = format!("{}-latency", path.name);
        Group::new(name, &SIZES, &[1, 8], |spec, clients| Scenario::new(path, spec, clients).for_latency())
    };
    originals().map(group).collect()
}

/// Layouts other than the heap, which is the target `throughput`, for the two paths that they matter to.
pub fn layout() -> Vec<Group> {
    let paths = ["zerocopy", "onecopy"].into_iter().filter_map(send::by_name);
    let layouts = [Layout::Page, Layout::Arena, Layout::Huge];
    let group = |path: &'static SendPath, layout| {
        Group::new(format!("{}-{layout}", path.name), &[4096, 16_384, 65_536], &[1], |spec, clients| {
            Scenario::new(path, Spec { layout, ..spec }, clients)
        })
    };
    paths.flat_map(|path| layouts.map(|layout| group(path, layout))).collect()
}

/// Every path beyond the original's three, each with the first layout that it takes.
pub fn paths() -> Vec<Group> {
    let others = send::ALL.iter().filter(|path| !send::ORIGINAL.contains(&path.name));
    let group = |path: &'static SendPath| {
        Group::new(path.name.to_owned(), &[1024, 16_384, 65_536], &[1, 8], |spec, clients| {
            Scenario::new(path, path.nearest(&spec).unwrap_or(spec), clients)
        })
    };
    others.map(group).collect()
}

/// The receive paths, of what a copying path sends and, with the ending `-late`, of what `zerocopy` sends, which the
/// kernel copies late.
pub fn receive() -> Vec<Group> {
    let senders = [("onecopy", ""), ("zerocopy", "-late")].into_iter();
    let senders = senders.filter_map(|(name, ending)| Some((send::by_name(name)?, ending)));
    let group = |receive: &'static recv::ReceivePath, path: &'static SendPath, ending| {
        let name = format!("recv-{}{ending}", receive.name);
        Group::new(name, &[1024, 16_384, 65_536], &[1, 8], |spec, clients| Scenario {
            receive,
            ..Scenario::new(path, spec, clients)
        })
    };
    senders
        .flat_map(|(path, ending)| recv::ALL.iter().map(move |receive| group(receive, path, ending)))
        .collect()
}

/// The published mixes, sent by the original's three paths and by the one that chooses. One iteration is a whole deck to
/// every client.
pub fn mix() -> Vec<Group> {
    let mixes: Vec<Arc<Workload>> = published::ALL
        .iter()
        .filter_map(|known| Workload::mix(known.name, Fields::default()).ok().map(Arc::new))
        .collect();
    let group = |path: &'static SendPath| {
        let spec = Spec::new(1024).expect("a valid size");
        let cell = |(mix, clients): (&Arc<Workload>, usize)| {
            Scenario::new(path, spec, clients).with_workload(Arc::clone(mix)).expect("a mix has a valid mean")
        };
        let cells = mixes.iter().flat_map(|mix| [1, 8].map(|clients| cell((mix, clients)))).collect();
        Group { name: path.name.to_owned(), cells }
    };
    originals().chain(send::by_name("adaptive")).map(group).collect()
}

/// What of a cell follows the group's name in an id: its size, or its mix.
pub fn function(cell: &Scenario) -> String {
    cell.workload.as_ref().map_or_else(|| cell.spec.size.to_string(), |workload| workload.id())
}

/// The group of single calls of `path` in the target `micro`; its ids are `{group}/{size}`.
pub fn call(path: &SendPath) -> String {
    format!("{}-call", path.name)
}

fn originals() -> impl Iterator<Item = &'static SendPath> {
    send::ORIGINAL.iter().filter_map(|name| send::by_name(name))
}
