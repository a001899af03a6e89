//! `--over`: what lies between the two ends, and the token for another host.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use clap::Args;

use super::job::{self, ProcessRole};
use super::zone::{BadZone, ZonedAddress};
use super::{Failure, arguments, output};
use crate::doctor;
use crate::lab::{Lab, LabSite};
use crate::record::Conditions;
use crate::remote::{IpNetwork, RemoteSite, Token};
use copycost::message::Spec;
use copycost::rig::{Loopback, Site};
use copycost::scenario::ConnectionOptions;
use copycost::scenario::Placement;
use copycost::send::{SendPath, Unsupported};

/// Where the server is.
#[derive(Debug, Clone, Default, Args)]
pub struct Over {
    /// Measure against `copycost serve` on another host (HOST:PORT), through a network card in software (lab, needs
    /// root), or with many client hosts (mpi, under mpirun or srun, in a build with the feature mpi) [default: loopback]
    #[arg(long, value_name = "HOST:PORT|lab|mpi")]
    over: Option<Transport>,
    /// The file with the secret that `copycost serve` uses
    #[arg(long, value_name = "FILE", requires = "over")]
    token_file: Option<PathBuf>,
    /// With --over mpi: the first N processes serve, and the others receive [default: 1]
    #[arg(long, value_name = "N", requires = "over", value_parser = arguments::hosts)]
    servers: Option<usize>,
    /// With --over mpi: reach servers by their address in this network (10.0.0.0/8) [default: any that answers]
    #[arg(long, value_name = "CIDR", requires = "over")]
    network: Option<IpNetwork>,
}

/// What lies between the two ends, other than loopback.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Transport {
    /// The lab: a software network card on this machine.
    Lab,
    /// An MPI job of many hosts.
    Mpi,
    /// Another host, as the user wrote it.
    Host(String),
}

impl FromStr for Transport {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text {
            "lab" => Self::Lab,
            "mpi" => Self::Mpi,
            host => Self::Host(host.to_owned()),
        })
    }
}

impl Over {
    /// Whether `path` is available, as far as this host can know. If the path works here for other messages, it refuses
    /// this message on every host. If it works for none here, the kernel of the other host may still have it.
    pub fn probe(&self, path: &SendPath, spec: &Spec) -> Result<(), Unsupported> {
        let other_kernel = matches!(self.over, Some(Transport::Host(_))) && path.nearest(spec).is_err();
        if other_kernel { Ok(()) } else { (path.probe)(spec) }
    }

    /// The connection options for this transport.
    pub fn options(&self) -> ConnectionOptions {
        match self.over {
            Some(Transport::Lab) => ConnectionOptions::for_a_lab(),
            _ => ConnectionOptions::for_this_machine(),
        }
    }

    /// The default placement of threads. In the lab the ends have separate CPUs: on a shared CPU, softirq work of one
    /// end is charged to whichever end is running.
    pub fn placement(&self) -> Placement {
        match self.over {
            Some(Transport::Lab) => Placement::Split,
            _ => Placement::default(),
        }
    }

    /// Joins the MPI job, if there is one, with at most `most_clients` clients for each host. On ranks other than 0
    /// this returns when the job is done.
    pub fn join(&self, most_clients: usize, options: ConnectionOptions) -> Result<ProcessRole, Failure> {
        let usage = |text: &str| Err(Failure::Usage(text.to_owned()));
        if self.over == Some(Transport::Mpi) {
            if self.token_file.is_some() {
                return usage("--over mpi makes its own token: leave out --token-file");
            }
            return job::join(self.servers(), self.network, most_clients, options);
        }
        if self.servers.is_some() || self.network.is_some() {
            return usage("--servers and --network need --over mpi");
        }
        Ok(ProcessRole::Alone)
    }

    /// Whether both ends are in this process, connected over loopback.
    pub fn is_loopback(&self) -> bool {
        self.over.is_none()
    }

    /// Whether both ends are in this process, with the lab's network between them.
    pub fn is_lab(&self) -> bool {
        matches!(self.over, Some(Transport::Lab))
    }

    /// Whether another process sends, so that the messages are in the memory of that process.
    pub fn serves_elsewhere(&self) -> bool {
        matches!(self.over, Some(Transport::Host(_) | Transport::Mpi))
    }

    /// The number of hosts that serve.
    pub fn servers(&self) -> usize {
        self.servers.unwrap_or(1)
    }

    /// The conditions of this machine and process, with the interface towards the other end if it is in this network
    /// namespace.
    pub fn conditions(&self) -> Conditions {
        let mut conditions = Conditions::here();
        match &self.over {
            None => conditions.leaving_by("lo", IpAddr::from([127, 0, 0, 1])),
            Some(Transport::Host(host)) => {
                // `site` reports an address that is wrong.
                let peer = addresses(host, "--over").ok().and_then(|addresses| addresses.first().copied());
                if let Some((peer, interface)) =
                    peer.and_then(|peer| Some((peer, doctor::interface_to(peer)?)))
                {
                    conditions.leaving_by(&interface, peer.ip());
                }
            }
            Some(Transport::Lab | Transport::Mpi) => {}
        }
        conditions
    }

    /// The site that the flags name, for a command that does not support a job of many hosts.
    pub fn site_of_two(&self) -> Result<Arc<dyn Site>, Failure> {
        let of_a_job = self.over == Some(Transport::Mpi) || self.servers.is_some() || self.network.is_some();
        if of_a_job {
            let text = "only `copycost run` measures many hosts: give --over HOST:PORT or lab here";
            return Err(Failure::Usage(text.to_owned()));
        }
        self.site()
    }

    /// The site that the flags name. This may build a lab; catch signals before, so that the lab is removed.
    pub fn site(&self) -> Result<Arc<dyn Site>, Failure> {
        match &self.over {
            None => Ok(Arc::new(Loopback)),
            Some(Transport::Lab) if self.token_file.is_some() => Err(Failure::Usage(
                "--over lab has no other host that needs a token: leave out --token-file".to_owned(),
            )),
            // The job provides the sites of its hosts.
            Some(Transport::Mpi) => Ok(Arc::new(Loopback)),
            Some(Transport::Lab) => lab().map(|lab| -> Arc<dyn Site> { Arc::new(LabSite(Arc::new(lab))) }),
            Some(Transport::Host(host)) => {
                let addresses = addresses(host, "--over")?;
                let token = token(self.token_file.as_ref())?;
                Ok(Arc::new(RemoteSite::new(addresses, token)))
            }
        }
    }
}

/// Builds a new lab and prints a warning if a packet capture would distort its results.
pub fn lab() -> Result<Lab, Failure> {
    let lab = Lab::start().map_err(|error| Failure::Failed(error.to_string()))?;
    if let Some(tapped) = lab.tapped() {
        output::message(&format!(
            "warning: {tapped}: until it stops, every zero-copy send is reported as copied"
        ));
    }
    Ok(lab)
}

/// Checks that the other host is reachable and accepts this one.
pub fn check(site: &dyn Site, options: &ConnectionOptions) -> Result<(), Failure> {
    site.check(options).map_err(|error| Failure::Failed(error.to_string()))
}

/// Parses and resolves HOST:PORT, with IPv6 addresses in brackets. Returns at least one address.
pub fn addresses(text: &str, flag: &str) -> Result<Vec<SocketAddr>, Failure> {
    let usage = |what: &str| Failure::Usage(format!("invalid value for {flag}: '{text}' {what}"));
    let malformed =
        || usage("is not HOST:PORT with a port from 1 to 65535 (IPv6 as [::1]:9000 or [fe80::1%eth0]:9000)");
    let (host, port) = text.rsplit_once(':').ok_or_else(malformed)?;
    let port = port.parse().ok().filter(|port| *port > 0).ok_or_else(malformed)?;
    let (host, bracketed) = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(host) => (host, true),
        None => (host, false),
    };
    if host.is_empty() || bracketed != host.contains(':') {
        return Err(malformed());
    }
    match host.parse::<ZonedAddress>() {
        Ok(zoned) => return Ok(vec![zoned.with_port(port)]),
        // It may be a name, which the resolver knows.
        Err(BadZone::NoAddress(_)) => {}
        Err(bad) => return Err(usage(&format!("cannot be reached: {bad}"))),
    }
    let resolved =
        (host, port).to_socket_addrs().map_err(|error| usage(&format!("cannot be resolved: {error}")))?;
    let addresses: Vec<_> = resolved.collect();
    if addresses.is_empty() { Err(usage("has no address")) } else { Ok(addresses) }
}

/// Reads the token from a file; `None` without a file.
pub fn token(file: Option<&PathBuf>) -> Result<Option<Token>, Failure> {
    let read = |path: &PathBuf| Token::read(path);
    file.map(read)
        .transpose()
        .map_err(|error| Failure::Usage(format!("invalid value for --token-file: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_form_of_an_address_parses() {
        for (text, address) in [("127.0.0.1:9000", "127.0.0.1:9000"), ("[::1]:9000", "[::1]:9000")] {
            assert_eq!(addresses(text, "--over").unwrap(), [address.parse().unwrap()]);
        }
        let zoned = addresses("[fe80::1%lo]:9000", "--over").unwrap();
        assert!(zoned[0].to_string().starts_with("[fe80::1%"), "{zoned:?}");
        let missing = addresses("[fe80::1]:9000", "--over").unwrap_err().to_string();
        assert!(missing.contains("--over") && missing.contains("needs a zone"), "{missing}");
        assert!(addresses("localhost:1", "--over").unwrap().iter().all(|address| address.port() == 1));
        for text in [
            "",
            "localhost",
            "1.2.3.4",
            "1.2.3.4:0",
            "1.2.3.4:65536",
            "::1:9000",
            "[::1]",
            "[::1]:",
            "[]:1",
            "[::1]:0",
            "[1.2.3.4]:1",
            "[::1:1",
            "::1]:1",
            ":",
            ":1",
            "h:x",
            "h:-1",
            "h:1 ",
            "h:+",
        ] {
            let error = addresses(text, "--over").unwrap_err().to_string();
            assert!(error.contains("--over") && error.contains(text), "{error}");
        }
    }
}
