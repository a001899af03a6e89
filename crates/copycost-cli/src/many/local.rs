//! The server of a rank, and the addresses at which other hosts reach it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use crate::remote::{HostLimits, IpNetwork, RemoteServer, Token};
use copycost::internals::connection::{self, ConnectionOptions};
use copycost::internals::server::{Handlers, Server};
use copycost::internals::sys::{interfaces, limits};

/// A server in this process for clients that know the token.
#[derive(Debug)]
pub struct RankServer {
    _server: Server,
    /// The addresses of the server, at least one.
    pub addresses: Vec<SocketAddr>,
}

impl RankServer {
    /// Starts a server for at most `most_clients` clients over all connected hosts. It is reached at an address in
    /// `network`; `None` means any address of this host.
    ///
    /// # Errors
    /// A sentence for the user: the host has no suitable address, or the server cannot start.
    pub fn start(
        token: Token,
        network: Option<IpNetwork>,
        most_clients: usize,
        options: ConnectionOptions,
    ) -> Result<Self, String> {
        let failed = |error: io::Error| format!("a server could not start: {error}");
        raise_open_files();
        let addresses = interfaces::addresses().map_err(failed)?;
        let reached = reached(&addresses, network)?;
        let bind = match (network, reached[0]) {
            (Some(_), address) => address,
            (None, IpAddr::V4(_)) => Ipv4Addr::UNSPECIFIED.into(),
            (None, IpAddr::V6(_)) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let listener = connection::listen((bind, 0).into(), &options).map_err(failed)?;
        let remote = RemoteServer::new(HostLimits { token: Some(token), most_clients }, options);
        let handlers = Handlers { control: Some(Arc::new(remote)), raw: None };
        let server = Server::start(listener, options, handlers).map_err(failed)?;
        let port = server.address().port();
        let bound = |address: &&IpAddr| address.is_ipv4() == reached[0].is_ipv4();
        let addresses = match network {
            Some(_) => vec![SocketAddr::new(bind, port)],
            None => reached.iter().filter(bound).map(|address| SocketAddr::new(*address, port)).collect(),
        };
        Ok(Self { _server: server, addresses })
    }
}

/// Raises the limit of open files as far as possible: each client of each host and path takes one file, and its
/// counters take eight more. A host whose client exceeds the limit gets an error.
fn raise_open_files() {
    if let Ok(limit) = limits::open_files()
        && limit.soft < limit.hard
    {
        let _ = limits::set_open_files(limit.hard);
    }
}

/// The addresses at which other hosts can reach this one, IPv4 first; at least one. Loopback addresses count only if
/// there are no others, because another host cannot use them.
fn reached(all: &[IpAddr], network: Option<IpNetwork>) -> Result<Vec<IpAddr>, String> {
    let usable = |address: &&IpAddr| match (network, address) {
        (Some(network), address) => network.holds(**address),
        // A link-local address is of no use without the name of an interface.
        (None, IpAddr::V6(address)) => !address.is_unicast_link_local(),
        (None, IpAddr::V4(_)) => true,
    };
    let mut addresses: Vec<_> = all.iter().filter(usable).copied().collect();
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
        let addresses = |all: &[&str], network: Option<&str>| {
            let all: Vec<_> = all.iter().map(|address| address.parse().unwrap()).collect();
            let network = network.map(|network| network.parse().unwrap());
            reached(&all, network).map(|found| found.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(addresses(&["127.0.0.1"], None).unwrap(), ["127.0.0.1"]);
        let all = ["127.0.0.1", "fd00::1", "fe80::1", "10.0.0.1", "192.168.0.1"];
        assert_eq!(addresses(&all, None).unwrap(), ["10.0.0.1", "192.168.0.1", "fd00::1"]);
        assert_eq!(addresses(&all, Some("192.168.0.0/16")).unwrap(), ["192.168.0.1"]);
        assert!(addresses(&all, Some("172.16.0.0/12")).unwrap_err().contains("--network"));
    }
}
