//! Which clients of a job share a server, and which share the CPUs of a machine.

use super::membership::Member;
use crate::remote::ClientShares;
use copycost::internals::placement::ClientRange;

/// The number of the server for a client host. Hosts are assigned to servers round-robin.
pub fn server_of(host: usize, servers: usize) -> usize {
    host % servers
}

/// For each of the first `hosts` client hosts: the range that its clients take among all clients of its server, and
/// among all clients on its machine. Every host has `each` clients.
pub fn shares(servers: &[Member], clients: &[Member], hosts: usize, each: usize) -> Vec<ClientShares> {
    let range = |host: usize, shares: &dyn Fn(usize) -> bool| {
        let count = |hosts: std::ops::Range<usize>| hosts.filter(|other| shares(*other)).count() * each;
        ClientRange { before: count(0..host), all: count(0..hosts) }
    };
    let hosts_shares = |host: usize| {
        let server = server_of(host, servers.len());
        let at_server = range(host, &|other| server_of(other, servers.len()) == server);
        let machine = &clients[host].greeting.machine;
        // On the machine of its server, a client gets the CPU that the placement plan of the server gives it.
        let client = if *machine == servers[server].greeting.machine {
            at_server
        } else {
            range(host, &|other| clients[other].greeting.machine == *machine)
        };
        ClientShares { server: at_server, client }
    };
    (0..hosts).map(hosts_shares).collect()
}
