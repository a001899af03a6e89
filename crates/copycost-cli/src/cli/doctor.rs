//! `copycost doctor`: finds what distorts or breaks a measurement on this machine, and prints a fix for each finding.

use std::net::{SocketAddr, ToSocketAddrs};

use clap::Args;

use super::arguments;
use super::check;
use super::output;
use super::zone::{BadZone, ZonedAddress};
use super::{Done, Failure};
use crate::doctor::{Finding, Machine, PlannedRun, Status, examine, exit_code, print};
use copycost::scenario;
use copycost::scenario::ConnectionOptions;
use copycost::units::ByteSize;

#[derive(Debug, Args)]
pub struct DoctorArguments {
    /// The host to measure against, or HOST:PORT [default: loopback]
    #[arg(long, value_name = "HOST")]
    over: Option<String>,
    /// The message sizes to measure
    #[arg(short, long = "size", value_name = "SIZE", value_delimiter = ',', value_parser = arguments::size,
          default_values_t = scenario::SIZES.map(ByteSize))]
    sizes: Vec<ByteSize>,
    /// The numbers of clients to measure
    #[arg(short, long, value_name = "N", value_delimiter = ',', value_parser = arguments::clients,
          default_values_t = scenario::CLIENTS)]
    clients: Vec<usize>,
    /// The format: table or json
    #[arg(long, default_value = "table", value_parser = ["table", "json"])]
    format: String,
    /// Check the instrument: 100 cells of a path against itself, 100 of a path slowed by 5 % (about five minutes)
    #[arg(long, conflicts_with_all = ["over", "format", "iperf3"])]
    self_test: bool,
    /// Compare copycost's plain send() with an installed iperf3, interleaved (about half a minute)
    #[arg(long, conflicts_with_all = ["over", "format"])]
    iperf3: bool,
    /// How many cells of each kind the self-test measures
    #[arg(long, value_name = "N", default_value_t = 100, hide = true, requires = "self_test",
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    cells: u32,
}

impl DoctorArguments {
    pub fn run(&self) -> Result<Done, Failure> {
        if self.self_test {
            return check::self_test(self.cells as usize);
        }
        if self.iperf3 {
            return check::iperf3();
        }
        let options = ConnectionOptions::for_this_machine();
        let over = self.over.as_deref().map(address).transpose()?;
        let plan = PlannedRun {
            sizes: self.sizes.iter().map(|size| size.0).collect(),
            clients: self.clients.clone(),
            send_buffer: options.send_buffer,
            receive_buffer: options.receive_buffer,
            server_threads: self.clients.iter().copied().max().unwrap_or(1),
            address: over.map(|over| over.ip),
            zone: over.and_then(ZonedAddress::interface),
        };
        let findings = examine(&Machine::measured(), &plan);
        let text = if self.format == "json" {
            format!("{:#}\n", print::to_json(&findings))
        } else {
            print::render(&findings)
        };
        output::print(&text);
        Ok(if exit_code(&findings) == 0 { Done::Yes } else { Done::AnswerIsNo })
    }
}

/// Checks that matter even where the other end is on another machine.
const OF_THIS_MACHINE: [&str; 6] = ["cpus", "cpu-quota", "memory-limit", "governor", "steal", "load"];

/// The planned run for the checks. Where another process serves, it counts no server threads here.
pub fn plan(sizes: &[usize], clients: &[usize], serves_elsewhere: bool) -> PlannedRun {
    let most = clients.iter().copied().max().unwrap_or(1);
    let server_threads = if serves_elsewhere { 0 } else { most };
    PlannedRun { sizes: sizes.to_vec(), clients: clients.to_vec(), server_threads, ..PlannedRun::default() }
}

/// The findings that distort such a run, one string each, with its fix. Checks of the network path count over loopback
/// only.
pub fn distortions(plan: &PlannedRun, over_loopback: bool) -> Vec<String> {
    let findings = examine(&Machine::measured(), plan).into_iter();
    let matters = |finding: &Finding| {
        // These two are notes, but they concern every run: more threads than CPUs, and copies that some CPUs make
        // slowly.
        let note = ["cpus", "copy-hazard"].contains(&finding.check) && finding.effect.is_some();
        note || (finding.status == Status::Distorts
            && (over_loopback || OF_THIS_MACHINE.contains(&finding.check)))
    };
    let sentence = |finding: Finding| {
        let effect = finding.effect.map_or_else(String::new, |effect| format!(" {effect}"));
        let fix = finding.fix.map_or_else(String::new, |fix| format!(" Fix: {fix}"));
        format!("{}: {}{effect}{fix}", finding.check, finding.told)
    };
    findings.filter(matters).map(sentence).collect()
}

/// Parses and resolves `--over`: an address or a name, with or without a port.
fn address(text: &str) -> Result<ZonedAddress, Failure> {
    let usage = |what: String| Failure::Usage(format!("invalid value for --over: {what}"));
    let bare = text.strip_prefix('[').and_then(|rest| rest.split_once(']')).map_or(text, |(host, _)| host);
    match bare.parse::<ZonedAddress>() {
        Ok(zoned) => return Ok(zoned),
        Err(BadZone::NoAddress(_)) => {}
        Err(bad) => return Err(usage(bad.to_string())),
    }
    let resolved = text.parse::<SocketAddr>().ok().or_else(|| {
        let with_port = || text.to_socket_addrs().ok()?.next();
        with_port().or_else(|| (text, 0).to_socket_addrs().ok()?.next())
    });
    resolved
        .map(|address| ZonedAddress { ip: address.ip(), zone: 0 })
        .ok_or_else(|| usage(format!("'{text}' is not an address, and no host of this name is known")))
}
