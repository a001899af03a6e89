//! The number of cores that the sender needs at the load that the user names.

use super::metric::RecordMetric;
use super::set::{RecordSet, SetRow};
use crate::record::Load;
use crate::record::MessageSize;
use copycost::units::{ClientCount, significant};

/// The cores of a row's sender; `None` if its CPU time is unknown.
pub fn of_row(row: &SetRow, load: Load) -> Option<f64> {
    Some(load.cores(row.figure(RecordMetric::SenderDemand)?.value, row.size.bytes))
}

/// A sentence for each number of clients; empty if the user named no load.
pub fn sentences(set: &RecordSet) -> Vec<String> {
    let Some(load) = set.load else { return Vec::new() };
    let of_size = |size: MessageSize, clients: usize| {
        let of_path = |path: &&str| {
            let cores = of_row(set.row(path, size, clients)?, load)?;
            Some(format!("{path} {}", significant(cores)))
        };
        let cores: Vec<_> = set.paths().iter().filter_map(of_path).collect();
        (!cores.is_empty()).then(|| format!("at {} {}", size, cores.join(", ")))
    };
    let of_clients = |clients: usize| {
        let sizes: Vec<_> = set.sizes().into_iter().filter_map(|size| of_size(size, clients)).collect();
        let cores = sizes.join("; ");
        (!sizes.is_empty())
            .then(|| format!("Cores that the sender takes at {load} with {}: {cores}.", ClientCount(clients)))
    };
    set.clients().into_iter().filter_map(of_clients).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture::full;
    use crate::report::set::of_results;

    #[test]
    fn cores_follow_from_the_load_and_the_demand() {
        let mut set = of_results("", &full()).remove(0);
        assert!(sentences(&set).is_empty());
        set.load = Some("8Gbit".parse().unwrap());
        // 8 Gbit/s, or 1 GB/s, at 1000 ns/KiB take 0.98 cores.
        let found = sentences(&set);
        assert!(
            found[0].starts_with("Cores that the sender takes at 8 Gbit/s with 1 client: at 1 KiB"),
            "{found:?}"
        );
        assert!(found[0].contains("onecopy 0.98"), "{found:?}");
        assert_eq!(found.len(), set.clients().len());
    }
}
