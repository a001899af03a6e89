//! Compares copycost's plain sender with an installed iperf3, as an independent check.
//!
//! Both send one contiguous 64 KiB block by one system call, with the same congestion control and socket buffers. Both
//! ends run on one CPU under SCHED_BATCH; iperf3 inherits that and needs no option for it. They take turns. Each set-up
//! uses a new rig and a new pair of processes.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crossbeam::channel::bounded;
use serde::Deserialize;

use super::metric::Metric;
use crate::stats::Pair;
use copycost::internals::placement;
use copycost::internals::sys::process;
use copycost::message::{Fields, Spec};
use copycost::rig::{Rig, RigError, Work};
use copycost::scenario::Scenario;
use copycost::send;
use copycost::units::{ByteSize, Rate};

/// The block size of iperf3 and the message size of copycost, in bytes.
const BLOCK: usize = 64 << 10;

/// The length of a turn. iperf3 takes whole seconds only.
const TURN: Duration = Duration::from_secs(1);

/// How long the iperf3 server may take until it listens, and the client to end after its turn.
const IPERF3_TIMEOUT: Duration = Duration::from_secs(5);

/// Why there is no comparison; the text says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Iperf3Error {
    /// The command `iperf3` cannot be started.
    #[error(
        "iperf3 is not installed: `apt-get install iperf3`, `dnf install iperf3` or your system's package \
         manager"
    )]
    NotInstalled,
    /// iperf3 is installed but did not work.
    #[error("iperf3 failed: {0}")]
    Iperf3(String),
    /// copycost's own rig failed.
    #[error(transparent)]
    Rig(#[from] RigError),
    /// This machine refused something that the comparison needs.
    #[error("{0}")]
    Setup(String),
}

fn iperf3(error: impl std::fmt::Display) -> Iperf3Error {
    Iperf3Error::Iperf3(error.to_string())
}

/// The results of both sides.
#[derive(Debug, Clone, Default)]
pub struct Iperf3Comparison {
    /// The version that iperf3 prints.
    pub version: String,
    /// Congestion control and buffers, as iperf3 reports them.
    pub conditions: String,
    /// Bytes per second of each set-up: copycost's (`path`) and iperf3's (`reference`).
    pub rate: Vec<Pair>,
    /// CPU time of each set-up in ns/KiB: copycost's (`path`) and iperf3's (`reference`).
    pub cpu: Vec<Pair>,
}

/// A comparison of copycost with iperf3 that can begin.
#[derive(Debug)]
pub struct Contest {
    scenario: Scenario,
    cpu: usize,
}

impl Contest {
    /// Prepares copycost's side so that iperf3 can match it: iperf3 takes one size for both buffers, so both get the
    /// size of the send buffer.
    ///
    /// # Errors
    /// [`Iperf3Error::NotInstalled`], or [`Iperf3Error::Setup`] if the scenario cannot be made here.
    pub fn new() -> Result<Self, Iperf3Error> {
        let asked =
            Command::new("iperf3").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        asked.map_err(|_| Iperf3Error::NotInstalled)?;
        let setup = |error: &dyn std::fmt::Display| Iperf3Error::Setup(error.to_string());
        let path = send::by_name("twocopy").ok_or_else(|| setup(&"there is no path twocopy"))?;
        let spec = Spec { fields: Fields::Single, ..Spec::new(BLOCK).map_err(|error| setup(&error))? };
        let mut scenario = Scenario::new(path, spec, 1);
        scenario.options.receive_buffer = scenario.options.send_buffer;
        let cpu = *placement::cpus()
            .map_err(|error| setup(&error))?
            .first()
            .ok_or_else(|| setup(&"no CPU is available"))?;
        Ok(Self { scenario, cpu })
    }

    /// Measures `setups` set-ups of one turn for each side. After each it calls `go_on` with the number so far and the
    /// rates, and stops if that returns false.
    ///
    /// # Errors
    /// The first error of either side.
    pub fn hold(
        &self,
        setups: usize,
        go_on: &mut dyn FnMut(usize, &str) -> bool,
    ) -> Result<Iperf3Comparison, Iperf3Error> {
        let mut outcome = Iperf3Comparison::default();
        for number in 0..setups {
            // The order alternates, so that drift affects both sides.
            let (copycost, iperf3) = if number.is_multiple_of(2) {
                let copycost = self.run_copycost()?;
                (copycost, self.run_iperf3(&mut outcome)?)
            } else {
                let iperf3 = self.run_iperf3(&mut outcome)?;
                (self.run_copycost()?, iperf3)
            };
            outcome.rate.push(Pair { path: copycost.rate, reference: iperf3.rate });
            outcome.cpu.push(Pair { path: copycost.ns_per_kib, reference: iperf3.ns_per_kib });
            let rates = format!("{} copycost, {} iperf3", Rate(copycost.rate), Rate(iperf3.rate));
            if !go_on(number + 1, &rates) {
                break;
            }
        }
        Ok(outcome)
    }

    fn run_copycost(&self) -> Result<Figures, Iperf3Error> {
        let mut rig = Rig::build(&self.scenario)?;
        let sample = rig.run(Work::Window(TURN))?;
        let ns_per_kib = Metric::Demand.of(&sample).unwrap_or(f64::NAN);
        Ok(Figures { rate: sample.throughput(), ns_per_kib })
    }

    fn run_iperf3(&self, outcome: &mut Iperf3Comparison) -> Result<Figures, Iperf3Error> {
        let port = free_port().map_err(|error| Iperf3Error::Setup(format!("no free port: {error}")))?;
        let _server = ChildGuard::server(port, self.cpu)?;
        let buffer = self.scenario.options.send_buffer.to_string();
        let block = BLOCK.to_string();
        let port = port.to_string();
        let mut client = Command::new("iperf3");
        client.args(["-c", "127.0.0.1", "-p", &port, "-J", "-t", "1", "-w", &buffer, "-l", &block]);
        client.args(["--congestion", "cubic"]);
        client.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let client = ChildGuard(process::spawn_tied(&mut client, Some(self.cpu)).map_err(iperf3)?);
        let output = Iperf3Output::read(&client.output_within(TURN + IPERF3_TIMEOUT)?)?;
        outcome.version.clone_from(&output.start.version);
        outcome.conditions = output.conditions();
        Ok(output.figures())
    }
}

#[derive(Debug, Clone, Copy)]
struct Figures {
    rate: f64,
    ns_per_kib: f64,
}

/// An iperf3 process that is killed when this value is dropped.
#[derive(Debug)]
struct ChildGuard(Child);

impl ChildGuard {
    /// Starts a server for one test and waits until it listens.
    fn server(port: u16, cpu: usize) -> Result<Self, Iperf3Error> {
        let mut command = Command::new("iperf3");
        command.args(["-s", "-1", "--forceflush", "-p", &port.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut server = Self(process::spawn_tied(&mut command, Some(cpu)).map_err(iperf3)?);
        let stdout = server.0.stdout.take().ok_or_else(|| iperf3("it has no output"))?;
        let (listens_to, listens) = bounded(1);
        let read = move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if line.contains("listening") {
                    let _ = listens_to.try_send(());
                }
            }
        };
        std::thread::Builder::new().name("iperf3".into()).spawn(read).map_err(iperf3)?;
        listens.recv_timeout(IPERF3_TIMEOUT).map_err(|_| iperf3("its server does not listen"))?;
        Ok(server)
    }

    /// Everything that a client prints until it ends; an error after `limit`.
    fn output_within(mut self, limit: Duration) -> Result<Vec<u8>, Iperf3Error> {
        let mut stdout = self.0.stdout.take().ok_or_else(|| iperf3("it has no output"))?;
        let (output_to, output) = bounded(1);
        let read = move || {
            let mut text = Vec::new();
            let _ = output_to.try_send(stdout.read_to_end(&mut text).map(|_| text));
        };
        std::thread::Builder::new().name("iperf3".into()).spawn(read).map_err(iperf3)?;
        output.recv_timeout(limit).map_err(|_| iperf3("its client does not end"))?.map_err(iperf3)
    }
}

impl Drop for ChildGuard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// The part of the output of `iperf3 -J` that is used.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Iperf3Output {
    error: Option<String>,
    start: Iperf3Start,
    end: Iperf3End,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Iperf3Start {
    version: String,
    sndbuf_actual: usize,
    rcvbuf_actual: usize,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Iperf3End {
    sum_received: Iperf3Received,
    cpu_utilization_percent: Iperf3Cpu,
    sender_tcp_congestion: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Iperf3Received {
    bytes: u64,
    seconds: f64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Iperf3Cpu {
    host_total: f64,
    remote_total: f64,
}

impl Iperf3Output {
    fn read(json: &[u8]) -> Result<Self, Iperf3Error> {
        let output: Self = serde_json::from_slice(json)
            .map_err(|error| iperf3(format!("its output is not JSON: {error}")))?;
        match output.error {
            Some(error) => Err(Iperf3Error::Iperf3(error)),
            None if output.end.sum_received.bytes == 0 => Err(iperf3("it received nothing")),
            None => Ok(output),
        }
    }

    fn conditions(&self) -> String {
        format!(
            "{}, SO_SNDBUF {}, SO_RCVBUF {}",
            self.end.sender_tcp_congestion,
            ByteSize(self.start.sndbuf_actual),
            ByteSize(self.start.rcvbuf_actual)
        )
    }

    fn figures(&self) -> Figures {
        let Iperf3Received { bytes, seconds } = self.end.sum_received;
        let busy = (self.end.cpu_utilization_percent.host_total
            + self.end.cpu_utilization_percent.remote_total)
            / 100.0;
        let ns_per_kib = busy * seconds * 1e9 / (bytes as f64 / 1024.0);
        Figures { rate: bytes as f64 / seconds.max(f64::MIN_POSITIVE), ns_per_kib }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_output_and_errors_are_read() {
        let json = br#"{"start": {"version": "iperf 3.12", "sndbuf_actual": 524288, "rcvbuf_actual": 524288, "x": []},
            "end": {"sum_received": {"bytes": 2097152, "seconds": 2.0}, "sender_tcp_congestion": "cubic",
            "cpu_utilization_percent": {"host_total": 60.0, "remote_total": 40.0}}}"#;
        let output = Iperf3Output::read(json).unwrap();
        let Figures { rate, ns_per_kib } = output.figures();
        assert_eq!((rate, ns_per_kib), (1_048_576.0, 2e9 / 2048.0));
        assert_eq!(output.conditions(), "cubic, SO_SNDBUF 512 KiB, SO_RCVBUF 512 KiB");
        let error = Iperf3Output::read(br#"{"error": "unable to connect"}"#).unwrap_err().to_string();
        assert_eq!(error, "iperf3 failed: unable to connect");
        assert!(Iperf3Output::read(b"{}").unwrap_err().to_string().contains("nothing"));
        assert!(Iperf3Output::read(b"usage").is_err());
    }
}
