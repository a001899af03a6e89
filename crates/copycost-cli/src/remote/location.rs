//! Whether both ends are on one machine: it has one kernel, and the kernel's boot id shows through every network
//! namespace, container and address.

use serde::{Deserialize, Serialize};

use copycost::internals::sys::boot;

/// Where a process runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessLocation {
    /// The kernel's boot id; two machines never have the same.
    pub boot_id: String,
    /// The CPUs that the process may use, in the order in which it fills them.
    pub cpus: Vec<usize>,
}

impl ProcessLocation {
    /// Of this process, which may use `cpus`; `None` where the kernel does not tell its boot id.
    pub fn here(cpus: &[usize]) -> Option<Self> {
        Some(Self { boot_id: boot::id()?, cpus: cpus.to_vec() })
    }
}

/// What a host knows of a guest's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Colocation {
    /// Both ends are on one machine.
    pub same_machine: bool,
    /// The CPUs that both may use; none on two machines, and where each end was given CPUs of its own.
    pub shared_cpus: Vec<usize>,
}

/// Compares the host's place with the guest's, as far as each is known; `same_address`: the guest has connected from the
/// address that it has connected to.
pub fn together(
    here: Option<&ProcessLocation>,
    guest: Option<&ProcessLocation>,
    same_address: bool,
    cpus: &[usize],
) -> Colocation {
    match (here, guest) {
        (Some(here), Some(guest)) if here.boot_id == guest.boot_id => Colocation {
            same_machine: true,
            shared_cpus: cpus.iter().copied().filter(|cpu| guest.cpus.contains(cpu)).collect(),
        },
        (Some(_), Some(_)) => Colocation { same_machine: false, shared_cpus: Vec::new() },
        // A guest of an earlier version, or a kernel that does not tell.
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
        let of = |guest: Option<&ProcessLocation>, same_address| {
            let Colocation { same_machine, shared_cpus } =
                together(Some(&here), guest, same_address, &here.cpus);
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
