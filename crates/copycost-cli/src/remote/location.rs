//! Whether both ends run on one machine. One machine has one kernel, and its boot ID is the same in every network
//! namespace and container and behind every address.

use serde::{Deserialize, Serialize};

use copycost::internals::sys::boot;

/// The machine and the CPUs of a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessLocation {
    /// The kernel's boot ID, which is unique to a machine.
    pub boot_id: String,
    /// The CPUs that the process may use, in order of preference.
    pub cpus: Vec<usize>,
}

impl ProcessLocation {
    /// The location of this process, which may use `cpus`; `None` if the boot ID cannot be read.
    pub fn here(cpus: &[usize]) -> Option<Self> {
        Some(Self { boot_id: boot::id()?, cpus: cpus.to_vec() })
    }
}

/// What the client and the server have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Colocation {
    /// Whether both ends run on one machine.
    pub same_machine: bool,
    /// The CPUs that both ends may use. Empty on two machines, and if the CPU sets of the ends are disjoint.
    pub shared_cpus: Vec<usize>,
}

/// Compares the locations of server and client, as far as they are known. `same_address` says whether the client
/// connected from the address to which it connected.
pub fn together(
    here: Option<&ProcessLocation>,
    client: Option<&ProcessLocation>,
    same_address: bool,
    cpus: &[usize],
) -> Colocation {
    match (here, client) {
        (Some(here), Some(client)) if here.boot_id == client.boot_id => Colocation {
            same_machine: true,
            shared_cpus: cpus.iter().copied().filter(|cpu| client.cpus.contains(cpu)).collect(),
        },
        (Some(_), Some(_)) => Colocation { same_machine: false, shared_cpus: Vec::new() },
        // A client of an earlier version, or a kernel without a boot ID.
        _ if same_address => Colocation { same_machine: true, shared_cpus: cpus.to_vec() },
        _ => Colocation { same_machine: false, shared_cpus: Vec::new() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(boot_id: &str, cpus: &[usize]) -> ProcessLocation {
        ProcessLocation { boot_id: boot_id.into(), cpus: cpus.to_vec() }
    }

    #[test]
    fn one_kernel_is_one_machine_whatever_the_addresses() {
        let here = machine("a", &[0, 2, 1]);
        let of = |client: Option<&ProcessLocation>, same_address| {
            let Colocation { same_machine, shared_cpus } =
                together(Some(&here), client, same_address, &here.cpus);
            (same_machine, shared_cpus)
        };
        assert_eq!(of(Some(&machine("a", &[0, 1, 2])), false), (true, vec![0, 2, 1]));
        assert_eq!(of(Some(&machine("a", &[1, 5])), false), (true, vec![1]));
        assert_eq!(of(Some(&machine("a", &[7])), false), (true, vec![]));
        assert_eq!(of(Some(&machine("b", &[0, 1, 2])), true), (false, vec![]));
        assert_eq!(of(None, true), (true, vec![0, 2, 1]));
        assert_eq!(of(None, false), (false, vec![]));
    }

    #[test]
    fn this_machine_has_a_boot_id() {
        assert_eq!(ProcessLocation::here(&[3]).unwrap().cpus, [3]);
    }
}
