//! What a run did not show, and the conditions under which its results hold.

use crate::record::MessageSize;
use std::collections::{BTreeMap, BTreeSet};

use super::{listed, of_paths};
use crate::record::{
    Conditions, DELAYS, LedgerRecord, NEVER_RELEASED, Record, Results, THROTTLED, offsets_asked_for,
};
use crate::stats::Judgement;
use copycost::message::Footprint;
use copycost::send::USUAL;
use copycost::units::{ByteSize, ClientCount};

/// What the lab models, and what it does not.
pub const LAB: &str = "The lab stands for a server whose network card reads the pages: the sender's CPU time and the sizes \
    from which paths beat each other by it are meaningful. It has no card, no PCIe and no IOMMU, and its throughput is \
    that of its relay.";

/// What is not shown of encryption.
pub const TLS: &str =
    "Not shown: TLS. A server that encrypts in user space reads and writes every byte before it sends it.";

/// One sentence for each conclusion that a reader must not draw.
pub fn not_shown(results: &Results) -> Vec<String> {
    let mut sentences = Vec::new();
    if results.records.iter().any(|record| record.lab.is_some()) {
        sentences.push(LAB.to_owned());
    }
    sentences.extend(copied(results.records.iter().map(Sent::of)));
    sentences.extend(flagged(results, "cannot tell send paths apart").map(|cells| {
        format!("Throughput does not show what sending costs for {cells}: the sender was not the limit.")
    }));
    sentences.extend(
        flagged(results, "measures the scheduler")
            .map(|cells| format!("Use with care: {cells}. Context switches shaped the figures.")),
    );
    sentences.extend(flagged(results, THROTTLED).map(|cells| {
        format!("Use with care: {cells}. A CPU quota stopped threads in the middle of messages.")
    }));
    sentences.extend(
        flagged(results, DELAYS)
            .map(|cells| format!("Not ranked: {cells}. Messages are held back and sent together there.")),
    );
    sentences.extend(flagged(results, NEVER_RELEASED).map(|cells| {
        format!("Use with care: {cells}. Memory that was sent may never be written again; it suits content that stays.")
    }));
    sentences.extend(undecided(results));
    sentences.extend(not_tried(results));
    sentences.push(TLS.to_owned());
    sentences
}

/// What became of the bytes of a path.
#[derive(Clone, Copy)]
pub struct Sent<'a> {
    pub path: &'a str,
    pub ledger: Option<&'a LedgerRecord>,
    pub verdict: Option<&'a str>,
    pub reason: Option<&'a str>,
}

impl<'a> Sent<'a> {
    fn of(record: &'a Record) -> Self {
        Self {
            path: &record.path,
            ledger: record.ledger.as_ref(),
            verdict: record.verdict.as_deref(),
            reason: record.verdict_reason.as_deref(),
        }
    }

    /// Whether the kernel copied most zero-copy sends. Sends that the path itself copies do not count.
    fn was_copied(&self) -> bool {
        let Some(ledger) = self.ledger else { return false };
        match self.verdict {
            Some("copied") => ledger.completed > 0,
            Some("mixed") => 2 * ledger.copied >= ledger.completed,
            _ => false,
        }
    }
}

/// The paths whose zero-copy sends the kernel mostly copied.
pub fn copied_paths(records: &[Record]) -> BTreeSet<String> {
    records.iter().filter(|record| Sent::of(record).was_copied()).map(|record| record.path.clone()).collect()
}

/// Says that zero copy was none, and why.
pub fn copied<'a>(sent: impl Iterator<Item = Sent<'a>>) -> Option<String> {
    let copied: Vec<Sent<'a>> = sent.filter(Sent::was_copied).collect();
    let paths: BTreeSet<String> = copied.iter().map(|sent| sent.path.to_owned()).collect();
    if paths.is_empty() {
        return None;
    }
    let paths = listed(&paths.into_iter().collect::<Vec<_>>());
    let reasons: BTreeSet<&str> = copied.iter().filter_map(|sent| sent.reason).collect();
    let reasons: Vec<String> = reasons.into_iter().map(str::to_owned).collect();
    Some(if reasons == ["loopback"] {
        format!(
            "Not shown: what zero copy saves. Loopback copies zero-copy sends when it delivers them, so {paths} paid for \
             the copy and for the notification. To see what it saves the sender, use two hosts (`copycost serve`, \
             `copycost run --over`) or `--over lab`."
        )
    } else if reasons.is_empty() {
        format!("Not shown: what zero copy saves. The kernel says that it copied what {paths} sent.")
    } else {
        format!(
            "Not shown: what zero copy saves. The kernel says that it copied what {paths} sent ({}).",
            listed(&reasons)
        )
    })
}

/// The paths with a flag that contains `mark`, each with its flagged cells, as text; `None` if there are none.
fn flagged(results: &Results, mark: &str) -> Option<String> {
    let mut cells: BTreeMap<&str, BTreeSet<(usize, MessageSize)>> = BTreeMap::new();
    for record in &results.records {
        if record.flags.iter().any(|flag| flag.contains(mark)) {
            cells.entry(&record.path).or_default().insert((record.clients, record.size));
        }
    }
    let all: BTreeSet<_> = results.records.iter().map(|record| (record.clients, record.size)).collect();
    let path_cells = |(path, cells): (&str, BTreeSet<_>)| {
        if cells == all {
            format!("{path} in every cell")
        } else {
            format!("{path} at {}", cell_list(&cells))
        }
    };
    let flagged: Vec<_> = cells.into_iter().map(path_cells).collect();
    (!flagged.is_empty()).then(|| flagged.join(", "))
}

fn cell_list(cells: &BTreeSet<(usize, MessageSize)>) -> String {
    let cell = |(clients, size): &(usize, MessageSize)| format!("{} with {}", size, ClientCount(*clients));
    listed(&cells.iter().map(cell).collect::<Vec<_>>())
}

fn undecided(results: &Results) -> Option<String> {
    // A comparison without a ratio failed; it is not undecided.
    let measured = || of_paths(results).filter(|comparison| comparison.ratio.is_some());
    let all = measured().count();
    let undecided = measured().filter(|comparison| comparison.word.is(Judgement::Undecided)).count();
    (undecided > 0).then(|| {
        format!("Undecided: {undecided} of {all} comparisons; more set-ups (--budget 5m) narrow that down.")
    })
}

/// Conditions that could rank the paths differently, but that the run did not vary.
fn not_tried(results: &Results) -> Option<String> {
    let Results { records, crossovers, .. } = results;
    let only =
        |of: fn(&Record) -> &str, value: &str| !records.is_empty() && records.iter().all(|r| of(r) == value);
    let mut untried = Vec::new();
    if only(|record| &record.footprint, "hot")
        && crossovers.iter().all(|crossover| crossover.footprint.is(Footprint::Hot))
    {
        untried.push("messages beyond the caches, where copying costs more (--footprint cold)");
    }
    if only(|record| &record.placement, "paired") {
        untried.push("sender and receiver on CPUs of their own (--placement split)");
    }
    // A usual path that was not compared may be the best.
    let missing: Vec<String> = USUAL
        .iter()
        .filter(|path| !records.iter().any(|record| record.path.split('@').next() == Some(path)))
        .filter(|path| !results.failures.iter().any(|failure| failure.path == **path))
        .map(ToString::to_string)
        .collect();
    let missing_one = format!("{}, which may be ahead (-p {})", listed(&missing), missing.join(","));
    if of_paths(results).next().is_some() && !missing.is_empty() {
        untried.push(&missing_one);
    }
    (!untried.is_empty()).then(|| format!("Not tried: {}.", untried.join("; ")))
}

/// The beginning of the sentence with the conditions: the build, the transport and the machine.
pub fn build_and_machine(c: &Conditions, transport: &str) -> String {
    let commit = c.commit.as_ref().map_or_else(String::new, |commit| format!(" ({commit})"));
    format!(
        "Measured by copycost {}{commit} over {transport}, Linux {}, {} × {}",
        c.version, c.kernel, c.cpus, c.cpu_model
    )
}

/// One sentence with the conditions of the run; `None` without records.
pub fn conditions(results: &Results) -> Option<String> {
    let record = results.records.first()?;
    let c = &results.conditions;
    let setups: Vec<usize> = results.comparisons.iter().map(|comparison| comparison.setups).collect();
    // A run with one path has no comparisons.
    let setups = match (setups.iter().min(), setups.iter().max()) {
        (Some(least), Some(most)) if least == most => Some(least.to_string()),
        (Some(least), Some(most)) => Some(format!("{least} to {most}")),
        _ => None,
    };
    let compared = setups.map_or_else(String::new, |setups| {
        format!("; {setups} set-ups a cell, intervals of 95 % for the run as a whole")
    });
    let [send_offset, receive_offset] = record.offsets_of_run();
    Some(format!(
        "{}; {} placement, {} layout, {} fields, {} buffers, \
         {} footprint{}, {}, SO_SNDBUF {}, SO_RCVBUF {}{compared}.",
        build_and_machine(c, &record.transport),
        record.placement,
        record.layout,
        record.fields,
        record.buffers,
        record.footprint,
        offsets_asked_for(send_offset, receive_offset),
        c.congestion_control,
        ByteSize(c.send_buffer_bytes),
        ByteSize(c.receive_buffer_bytes),
    ))
}
