//! Which clients of all share a server, and which share the CPUs of a machine.

use super::membership::Member;
use crate::remote::ClientShares;
use copycost::internals::placement::ClientRange;

/// The server of a client host: hosts take the servers in turn.
pub fn server_of(host: usize, servers: usize) -> usize {
    host % servers
}

/// For each of the first `hosts` client hosts, with so many clients each: which of all its clients are, at its server and
/// on its own machine.
pub fn shares(servers: &[Member], clients: &[Member], hosts: usize, each: usize) -> Vec<ClientShares> {
    let among = |host: usize, with: &dyn Fn(usize) -> bool| {
        let of = |hosts: std::ops::Range<usize>| hosts.filter(|other| with(*other)).count() * each;
        ClientRange { before: of(0..host), all: of(0..hosts) }
    };
    let hosts_shares = |host: usize| {
        let server = server_of(host, servers.len());
        let at_server = among(host, &|other| server_of(other, servers.len()) == server);
        let machine = &clients[host].greeting.machine;
        // A client beside its own server sits where its server's thread expects it.
        let client = if *machine == servers[server].greeting.machine {
            at_server
        } else {
            among(host, &|other| clients[other].greeting.machine == *machine)
        };
        ClientShares { server: at_server, client }
    };
    (0..hosts).map(hosts_shares).collect()
}
