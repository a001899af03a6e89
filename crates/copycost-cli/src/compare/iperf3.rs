//! An installed iperf3 beside our own plain sender: a yardstick that others have made.
//!
//! Both send one contiguous 64 KiB block by one system call, with the same congestion control and socket buffers, both
//! ends on one CPU under SCHED_BATCH (what a child inherits, so iperf3 needs no option for it), and take their turns one
//! after the other. Each set-up is a new rig and a new pair of processes.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crossbeam::channel::bounded;
use serde::Deserialize;

use super::metric::Metric;
use super::stats::Pair;
use copycost::internals::placement;
use copycost::internals::sys::process;
use copycost::message::{Fields, Spec};
use copycost::rig::{Rig, RigError, Work};
use copycost::scenario::Scenario;
use copycost::send;
use copycost::units::{ByteSize, Rate};

/// The block that iperf3 is told to send, and the message of ours.
const BLOCK: usize = 64 << 10;

/// iperf3 counts its time in whole seconds.
const TURN: Duration = Duration::from_secs(1);

/// How long its server may take to say that it listens.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why there is no comparison; the text says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Iperf3Error {
    /// It is not there.
    #[error(
        "iperf3 is not installed: `apt-get install iperf3`, `dnf install iperf3` or your system's package \
         manager"
    )]
    NotInstalled,
    /// It is there and does not do what it should.
    #[error("iperf3 failed: {0}")]
    Iperf3(String),
    /// Our own end failed.
    #[error(transparent)]
    Rig(#[from] RigError),
    /// The machine refused something.
    #[error("{0}")]
    Setup(String),
}

fn iperf3(error: impl std::fmt::Display) -> Iperf3Error {
    Iperf3Error::Iperf3(error.to_string())
}

/// What both came to.
#[derive(Debug, Clone, Default)]
pub struct Iperf3Comparison {
    /// Of iperf3.
    pub version: String,
    /// Congestion control and buffers, as both have them.
    pub conditions: String,
    /// Bytes per second of each set-up: ours, and iperf3's.
    pub rate: Vec<Pair>,
    /// CPU time for each KiB of each set-up: ours, and iperf3's.
    pub cpu: Vec<Pair>,
}

/// The two sides.
#[derive(Debug)]
pub struct Contest {
    scenario: Scenario,
    cpu: usize,
}

impl Contest {
    /// Our side as iperf3 can be told to be: both of its buffers have one size, that of our send buffer.
    ///
    /// # Errors
    /// [`Iperf3Error::NotInstalled`], or what the machine refuses.
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

    /// So many set-ups, one turn of a second each. After each `go_on` is asked, with how many there are.
    ///
    /// # Errors
    /// Whatever fails on either side.
    pub fn hold(
        &self,
        setups: usize,
        go_on: &mut dyn FnMut(usize, &str) -> bool,
    ) -> Result<Iperf3Comparison, Iperf3Error> {
        let mut outcome = Iperf3Comparison::default();
        for number in 0..setups {
            // Who comes first changes, so that a drift hits both.
            let (ours, theirs) = if number.is_multiple_of(2) {
                let ours = self.ours()?;
                (ours, self.theirs(&mut outcome)?)
            } else {
                let theirs = self.theirs(&mut outcome)?;
                (self.ours()?, theirs)
            };
            outcome.rate.push(Pair { path: ours.rate, reference: theirs.rate });
            outcome.cpu.push(Pair { path: ours.ns_per_kib, reference: theirs.ns_per_kib });
            let rates = format!("{} copycost, {} iperf3", Rate(ours.rate), Rate(theirs.rate));
            if !go_on(number + 1, &rates) {
                break;
            }
        }
        Ok(outcome)
    }

    fn ours(&self) -> Result<Figures, Iperf3Error> {
        let mut rig = Rig::build(&self.scenario)?;
        let sample = rig.run(Work::Window(TURN))?;
        let ns_per_kib = Metric::Demand.of(&sample, BLOCK).unwrap_or(f64::NAN);
        Ok(Figures { rate: sample.throughput(), ns_per_kib })
    }

    fn theirs(&self, outcome: &mut Iperf3Comparison) -> Result<Figures, Iperf3Error> {
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
        let told = Iperf3Output::read(&client.said_within(TURN + PATIENCE)?)?;
        outcome.version.clone_from(&told.start.version);
        outcome.conditions = told.conditions();
        Ok(told.figures())
    }
}

#[derive(Debug, Clone, Copy)]
struct Figures {
    rate: f64,
    ns_per_kib: f64,
}

/// An iperf3 that ends with this.
#[derive(Debug)]
struct ChildGuard(Child);

impl ChildGuard {
    /// A server for one test, which listens.
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
        listens.recv_timeout(PATIENCE).map_err(|_| iperf3("its server does not listen"))?;
        Ok(server)
    }

    /// All that a client prints until it ends.
    fn said_within(mut self, limit: Duration) -> Result<Vec<u8>, Iperf3Error> {
        let mut stdout = self.0.stdout.take().ok_or_else(|| iperf3("it has no output"))?;
        let (said_to, said) = bounded(1);
        let read = move || {
            let mut text = Vec::new();
            let _ = said_to.try_send(stdout.read_to_end(&mut text).map(|_| text));
        };
        std::thread::Builder::new().name("iperf3".into()).spawn(read).map_err(iperf3)?;
        said.recv_timeout(limit).map_err(|_| iperf3("its client does not end"))?.map_err(iperf3)
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

/// What `iperf3 -J` prints, as far as it is used.
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
        let told: Self = serde_json::from_slice(json)
            .map_err(|error| iperf3(format!("its output is not JSON: {error}")))?;
        match told.error {
            Some(error) => Err(Iperf3Error::Iperf3(error)),
            None if told.end.sum_received.bytes == 0 => Err(iperf3("it received nothing")),
            None => Ok(told),
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
    fn its_json_is_read_and_its_errors_are_told() {
        let json = br#"{"start": {"version": "iperf 3.12", "sndbuf_actual": 524288, "rcvbuf_actual": 524288, "x": []},
            "end": {"sum_received": {"bytes": 2097152, "seconds": 2.0}, "sender_tcp_congestion": "cubic",
            "cpu_utilization_percent": {"host_total": 60.0, "remote_total": 40.0}}}"#;
        let told = Iperf3Output::read(json).unwrap();
        let Figures { rate, ns_per_kib } = told.figures();
        assert_eq!((rate, ns_per_kib), (1_048_576.0, 2e9 / 2048.0));
        assert_eq!(told.conditions(), "cubic, SO_SNDBUF 512 KiB, SO_RCVBUF 512 KiB");
        let error = Iperf3Output::read(br#"{"error": "unable to connect"}"#).unwrap_err().to_string();
        assert_eq!(error, "iperf3 failed: unable to connect");
        assert!(Iperf3Output::read(b"{}").unwrap_err().to_string().contains("nothing"));
        assert!(Iperf3Output::read(b"usage").is_err());
    }
}
