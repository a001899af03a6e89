//! A job under mpirun, as a user starts it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use copycost_cli::record::{Record, Results};

use crate::common::eventually;
use crate::program::{results, results_in};

/// How a job ended.
#[derive(Debug)]
pub struct Ended {
    /// mpirun's exit code.
    pub code: Option<i32>,
    /// Standard output of all ranks.
    pub out: String,
    /// Standard error of all ranks, and of mpirun.
    pub err: String,
    /// How long it took from its start.
    pub took: Duration,
}

/// The machine, for several jobs or for one alone: ranks wait by polling, and those of several jobs keep each other from
/// running.
static MACHINE: RwLock<()> = RwLock::new(());

/// Held by a job for as long as it runs.
#[expect(dead_code, reason = "held, not read")]
enum Machine {
    Shared(RwLockReadGuard<'static, ()>),
    Alone(RwLockWriteGuard<'static, ()>),
}

/// A job under way; killed on drop, and mpirun then kills its ranks.
pub struct Job {
    child: Child,
    began: Instant,
    out: PathBuf,
    err: PathBuf,
    _folder: tempfile::TempDir,
    _machine: Machine,
}

/// No job of these tests takes a third of this.
const LONG: Duration = Duration::from_secs(480);

/// The program under test.
pub fn copycost() -> String {
    assert_cmd::cargo::cargo_bin!("copycost").to_str().unwrap().to_owned()
}

/// mpirun's flags and then its applications, as one command line.
pub fn start(mpirun: &[&str]) -> Job {
    start_in(&["mpirun"], mpirun)
}

/// The same, with no other job beside it: for tests in which a host that is late is taken for one that hangs.
pub fn start_alone(mpirun: &[&str]) -> Job {
    // A test that failed with a job under way has ended that job.
    spawn(&["mpirun"], mpirun, Machine::Alone(MACHINE.write().unwrap_or_else(PoisonError::into_inner)))
}

/// A job whose command line begins with `launcher`.
pub fn start_in(launcher: &[&str], mpirun: &[&str]) -> Job {
    spawn(launcher, mpirun, Machine::Shared(MACHINE.read().unwrap_or_else(PoisonError::into_inner)))
}

fn spawn(launcher: &[&str], mpirun: &[&str], machine: Machine) -> Job {
    let folder = tempfile::tempdir().unwrap();
    // Files and not pipes, so that nobody has to read while something else is waited for.
    let (out, err) = (folder.path().join("out"), folder.path().join("err"));
    let mut command = Command::new(launcher[0]);
    command.args(&launcher[1..]).args(["--oversubscribe", "--bind-to", "none"]).args(mpirun);
    command.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
    command.stdin(Stdio::null());
    command.stdout(fs::File::create(&out).unwrap()).stderr(fs::File::create(&err).unwrap());
    let child = command.spawn().unwrap();
    Job { child, began: Instant::now(), out, err, _folder: folder, _machine: machine }
}

impl Job {
    /// Waits for its end, which must come by itself.
    pub fn finish(mut self) -> Ended {
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(self.began.elapsed() < LONG, "it does not end: {}", self.said());
            std::thread::sleep(Duration::from_millis(20));
        };
        let text = |path: &Path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
        let took = self.began.elapsed();
        Ended { code: status.code(), out: text(&self.out), err: text(&self.err), took }
    }

    /// Waits until a first cell is in `file`; the job must not end before.
    pub fn measures_into(&mut self, file: &Path) {
        eventually("the first cell is on disk", || {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "it ended before its first cell: {ended:?}: {}", self.said());
            results_in(file).is_some()
        });
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.err).unwrap_or_default()
    }

    /// The process of a rank: of those that this mpirun has started.
    pub fn pid_of(&self, rank: usize) -> u32 {
        let job = self.child.id();
        let all = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
        let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let is = |pid: &u32| {
            let read = |name: &str| fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
            let environ = read("environ");
            let mut variables = environ.split(|byte| *byte == 0);
            let own = format!("OMPI_COMM_WORLD_RANK={rank}");
            variables.any(|variable| variable == own.as_bytes())
                && String::from_utf8_lossy(&read("cmdline")).contains("copycost")
                && descends(*pid, job)
        };
        pids.into_iter().find(is).unwrap_or_else(|| panic!("no rank {rank}: {}", self.said()))
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        let _ = Command::new("kill").args(["-s", "TERM", &self.child.id().to_string()]).status();
        let until = Instant::now() + Duration::from_secs(10);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether a process is a child of `ancestor`, or of one.
fn descends(pid: u32, ancestor: u32) -> bool {
    let parent = |pid: u32| -> Option<u32> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
    };
    let mut pid = pid;
    while let Some(next) = parent(pid) {
        if next == ancestor {
            return true;
        }
        if next <= 1 {
            return false;
        }
        pid = next;
    }
    false
}

impl Ended {
    /// It ended well; its results.
    #[track_caller]
    pub fn good(&self) -> Results {
        assert_eq!(self.code, Some(0), "{self:?}");
        results(&self.out)
    }

    /// What each client host received by its own books: its rank, bytes and windows.
    pub fn books(&self) -> Vec<(usize, u64, u64)> {
        let books = |line: &str| {
            let (who, what) = line.strip_prefix("note: by its own count ")?.split_once(" received ")?;
            let rank = who.split_once("(rank ")?.1.trim_end_matches(')').parse().ok()?;
            let (bytes, windows) = what.split_once(" bytes in ")?;
            Some((rank, bytes.parse().ok()?, windows.split_once(' ')?.0.parse().ok()?))
        };
        self.err.lines().filter_map(books).collect()
    }
}

/// The sums of `results` are those of the hosts, as these know them themselves.
#[track_caller]
pub fn sums_are_the_hosts_own(results: &Results, ended: &Ended) {
    for record in &results.records {
        let hosts = record.hosts.as_ref().unwrap();
        assert_eq!(hosts.each.len(), record.client_hosts);
        assert_eq!(record.bytes, hosts.each.iter().map(|host| host.bytes).sum::<u64>(), "{record:?}");
        let sum: f64 = hosts.each.iter().map(|host| host.throughput_bytes_per_second).sum();
        assert!((record.throughput_bytes_per_second / sum - 1.0).abs() < 1e-6, "{sum}: {record:?}");
        let shares: f64 = hosts.each.iter().map(|host| host.share).sum();
        assert!((shares - 1.0).abs() < 1e-9);
        assert!(hosts.each.iter().all(|host| host.bytes > 0), "{record:?}");
        let (jain, least) = (hosts.fairness_jain.unwrap(), hosts.fairness_min_over_max.unwrap());
        assert!((1.0 / record.client_hosts as f64 - 1e-9..=1.0 + 1e-9).contains(&jain));
        assert!((0.0..=1.0).contains(&least));
    }
    let books = ended.books();
    assert!(!books.is_empty(), "{ended:?}");
    for (rank, bytes, windows) in books {
        let of = |record: &Record| {
            let hosts = record.hosts.as_ref().unwrap();
            hosts.each.iter().filter(|host| host.rank == rank).map(|host| host.bytes).sum::<u64>()
        };
        assert_eq!(bytes, results.records.iter().map(of).sum::<u64>(), "rank {rank}");
        assert!(windows > 0);
    }
    assert!(!ended.err.contains("in the results: a path failed"), "{}", ended.err);
}
