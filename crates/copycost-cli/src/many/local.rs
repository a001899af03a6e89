//! The server of a rank, and the addresses at which others reach it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use crate::remote::{HostTerms, IpNetwork, RemoteServer, Token};
use copycost::internals::connection::{self, ConnectionOptions};
use copycost::internals::server::{Handlers, Server};
use copycost::internals::sys::{interfaces, limits};

/// A server in this process for guests who know the token.
#[derive(Debug)]
pub struct RankServer {
    _server: Server,
    /// Where it is reached.
    pub addresses: Vec<SocketAddr>,
}

impl RankServer {
    /// A server for so many clients over all guests, reached in `network`, or where that is not said by any address
    /// that this host has.
    pub fn start(
        token: Token,
        network: Option<IpNetwork>,
        most_clients: usize,
        options: ConnectionOptions,
    ) -> Result<Self, String> {
        let failed = |error: io::Error| format!("a server could not start: {error}");
        raise_open_files();
        let own = interfaces::addresses().map_err(failed)?;
        let reached = reached(&own, network)?;
        let bind = match (network, reached[0]) {
            (Some(_), address) => address,
            (None, IpAddr::V4(_)) => Ipv4Addr::UNSPECIFIED.into(),
            (None, IpAddr::V6(_)) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let listener = connection::listen((bind, 0).into(), &options).map_err(failed)?;
        let host = RemoteServer::new(HostTerms { token: Some(token), most_clients }, options);
        let doors = Handlers { control: Some(Arc::new(host)), raw: None };
        let server = Server::start(listener, options, doors).map_err(failed)?;
        let port = server.address().port();
        let bound = |address: &&IpAddr| address.is_ipv4() == reached[0].is_ipv4();
        let addresses = match network {
            Some(_) => vec![SocketAddr::new(bind, port)],
            None => reached.iter().filter(bound).map(|address| SocketAddr::new(*address, port)).collect(),
        };
        Ok(Self { _server: server, addresses })
    }
}

/// As many files as may be had: each client of each host and path takes one, and its counters eight more. Where they do
/// not suffice, the host that asks for one too many is told.
fn raise_open_files() {
    if let Ok(limit) = limits::open_files()
        && limit.soft < limit.hard
    {
        let _ = limits::set_open_files(limit.hard);
    }
}

/// The addresses at which others can reach this host, IPv4 first; at least one. Those of loopback only where there are
/// no others: on another host they are its own.
fn reached(own: &[IpAddr], network: Option<IpNetwork>) -> Result<Vec<IpAddr>, String> {
    let usable = |address: &&IpAddr| match (network, address) {
        (Some(network), address) => network.holds(**address),
        // Without the name of an interface nobody can use those of a link.
        (None, IpAddr::V6(address)) => !address.is_unicast_link_local(),
        (None, IpAddr::V4(_)) => true,
    };
    let mut addresses: Vec<_> = own.iter().filter(usable).copied().collect();
    if addresses.iter().any(|address| !address.is_loopback()) {
        addresses.retain(|address| !address.is_loopback());
    }
    addresses.sort_by_key(IpAddr::is_ipv6);
    match (addresses.is_empty(), network) {
        (false, _) => Ok(addresses),
        (true, Some(network)) => Err(format!("this host has no address in {network} (--network)")),
        (true, None) => Err("this host has no address".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_offered_only_where_there_is_nothing_else() {
        let addresses = |own: &[&str], network: Option<&str>| {
            let own: Vec<_> = own.iter().map(|address| address.parse().unwrap()).collect();
            let network = network.map(|network| network.parse().unwrap());
            reached(&own, network).map(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(addresses(&["127.0.0.1"], None).unwrap(), ["127.0.0.1"]);
        let own = ["127.0.0.1", "fd00::1", "fe80::1", "10.0.0.1", "192.168.0.1"];
        assert_eq!(addresses(&own, None).unwrap(), ["10.0.0.1", "192.168.0.1", "fd00::1"]);
        assert_eq!(addresses(&own, Some("192.168.0.0/16")).unwrap(), ["192.168.0.1"]);
        assert!(addresses(&own, Some("172.16.0.0/12")).unwrap_err().contains("--network"));
    }
}
