//! The conditions of a set as pairs of a name and a value, and its distortions, for every output form.

use std::collections::BTreeSet;

use super::dated;
use super::set::{RecordSet, SETTING_NAMES};
use crate::conditions::LinkConditions;
use crate::record::{Conditions, RankConditions};
use copycost::units::ByteSize;

/// Names and values of the known conditions, in display order.
pub fn pairs(set: &RecordSet) -> Vec<(String, String)> {
    let mut pairs: Vec<(String, String)> = SETTING_NAMES
        .iter()
        .zip(&set.settings)
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect();
    if let Some(conditions) = &set.conditions {
        pairs.extend(of_machine(conditions, ""));
        if let Some(host) = &conditions.host {
            pairs.extend(of_machine(host, "serving host's "));
        }
        pairs.extend(conditions.ranks.iter().take(MOST_RANKS).map(of_rank));
        if conditions.ranks.len() > MOST_RANKS {
            let more = format!("{} more ranks", conditions.ranks.len() - MOST_RANKS);
            pairs.push((more, "the JSON has them".to_owned()));
        }
    } else {
        pairs.push(("source".to_owned(), "Criterion, which keeps no conditions".to_owned()));
    }
    pairs.push(("measured (UTC)".to_owned(), dated::span(set)));
    let scopes: BTreeSet<_> =
        set.rows.iter().filter_map(|row| row.record.as_ref()).map(|r| &r.cpu.scope).collect();
    pairs.extend(scopes.into_iter().map(|scope| ("CPU time covers".to_owned(), scope.clone())));
    pairs.push(("files".to_owned(), set.files.join(", ")));
    pairs.retain(|(_, value)| !value.is_empty());
    pairs
}

/// The most ranks that a report lists.
const MOST_RANKS: usize = 16;

/// The conditions of a rank as one pair.
fn of_rank(of: &RankConditions) -> (String, String) {
    let RankConditions { rank, role, host, conditions: c } = of;
    let commit = c.commit.as_deref().unwrap_or_default();
    let value = format!(
        "Linux {}, {} × {}, {}, copycost {} {commit}",
        c.kernel, c.cpus, c.cpu_model, c.congestion_control, c.version
    );
    (format!("rank {rank}, {role} {host}"), value.trim_end().to_owned())
}

fn of_machine(c: &Conditions, whose: &str) -> Vec<(String, String)> {
    let buffer = |bytes: usize| if bytes == 0 { String::new() } else { ByteSize(bytes).to_string() };
    [
        ("kernel", c.kernel.clone()),
        ("CPU", if c.cpu_model.is_empty() { String::new() } else { format!("{} × {}", c.cpus, c.cpu_model) }),
        ("congestion control", c.congestion_control.clone()),
        ("SO_SNDBUF", buffer(c.send_buffer_bytes)),
        ("SO_RCVBUF", buffer(c.receive_buffer_bytes)),
        ("Nagle's algorithm", if c.nodelay { "off (TCP_NODELAY)" } else { "on" }.to_owned()),
        ("copycost", format!("{} {}", c.version, c.commit.clone().unwrap_or_default()).trim().to_owned()),
        ("machine", if c.same_machine { "that of the clients" } else { "" }.to_owned()),
    ]
    .into_iter()
    .chain(c.link.iter().flat_map(LinkConditions::known))
    .chain(c.system.hardware_and_libc())
    .chain(c.system.known())
    .map(|(name, value)| (format!("{whose}{name}"), value))
    .collect()
}

/// The machine, the kernel and the transport in one line.
pub fn machine(set: &RecordSet) -> Option<String> {
    let c = set.conditions.as_ref()?;
    let parts = [
        (!c.cpu_model.is_empty()).then(|| format!("{} × {}", c.cpus, c.cpu_model)),
        (!c.kernel.is_empty()).then(|| format!("Linux {}", c.kernel)),
        set.settings.first().filter(|transport| !transport.is_empty()).cloned(),
    ];
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(" · "))
}

/// Sentences about distortions, each once and, for those of records, with the number of records.
pub fn flags(set: &RecordSet) -> Vec<String> {
    let mut flags: Vec<(String, usize)> = Vec::new();
    for flag in set.rows.iter().filter_map(|row| row.record.as_ref()).flat_map(|record| &record.flags) {
        match flags.iter_mut().find(|known| known.0 == *flag) {
            Some(known) => known.1 += 1,
            None => flags.push((flag.clone(), 1)),
        }
    }
    let of_all = set.conditions.iter().flat_map(|conditions| conditions.flags.clone());
    let host = set.conditions.as_ref().and_then(|conditions| conditions.host.as_ref());
    let of_host = host.iter().flat_map(|host| &host.flags).map(|flag| format!("serving host: {flag}"));
    set.differs
        .iter()
        .cloned()
        .chain(of_all)
        .chain(of_host)
        .chain(dated::notes(set))
        .chain(
            flags.into_iter().map(|(flag, count)| format!("{flag} ({count} of {} figures)", set.rows.len())),
        )
        .collect()
}

/// A sentence for each cell that could not be measured.
pub fn failures(set: &RecordSet) -> Vec<String> {
    let line = |f: &crate::record::CellFailure| {
        format!("not measured: {}, {}, clients {}: {}", f.path, f.size, f.clients, f.error)
    };
    set.failures.iter().map(line).collect()
}

/// The reason why a set has no cycles and no cache misses, as a sentence.
pub fn why_not_counted(set: &RecordSet) -> String {
    let mut records = set.rows.iter().filter_map(|row| row.record.as_ref()).peekable();
    if records.peek().is_none() {
        return "Criterion's benches count no cycles and no cache misses; `copycost run` does.".to_owned();
    }
    let reason = records.find_map(|record| {
        let missing = &record.counters.as_ref()?.missing;
        let named =
            ["cycles", "L1-dcache-load-misses", "cache-misses"].iter().find_map(|name| missing.get(*name));
        named.or_else(|| missing.values().next()).cloned()
    });
    reason.map_or_else(
        || "No cycles and no cache misses were counted in this run.".to_owned(),
        |reason| format!("No cycles and no cache misses: {reason}."),
    )
}
