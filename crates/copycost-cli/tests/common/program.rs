//! The command as a real process, so that what is tested is what a user starts: its lines as they come, its end, its
//! memory. Nothing waits without a deadline, and nothing is left running.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::fs;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use copycost::internals::sys::socket::Socket;
use copycost::offset::BufferStart;
use copycost::recv::ReceivePath;
use copycost::send::SendPath;
use copycost_cli::record::{Record, Results};

use crate::common::full;
use crate::common::{LONG, eventually};

/// What a test takes in the full set, and what it takes otherwise.
pub fn sized<T>(full_set: T, otherwise: T) -> T {
    if full() { full_set } else { otherwise }
}

/// How long a run measures: in the full set so many seconds for each path in eight set-ups, otherwise 0.15 s in two. Small
/// messages wait for 40 ms now and then, and on a machine under load a thread waits as long for its CPU.
pub fn length(seconds: &str) -> [&str; 4] {
    ["--seconds", sized(seconds, "0.15"), "--setups", sized("8", "2")]
}

/// All of `paths` in the full set, otherwise the first of each way of release: for tests in which the path itself does
/// not matter.
pub fn sample(paths: Vec<&'static SendPath>) -> Vec<&'static SendPath> {
    if full() {
        return paths;
    }
    let mut sample: Vec<&SendPath> = Vec::new();
    for path in paths {
        if sample.iter().all(|other| other.release != path.release) {
            sample.push(path);
        }
    }
    sample
}

/// The value of `--path` for a sample: in the full set `all`.
pub fn named(sample: &[&SendPath]) -> String {
    if full() { "all".to_owned() } else { sample.iter().map(|path| path.name).collect::<Vec<_>>().join(",") }
}

/// Flags with their values, as they are given to one run after the other: in the full set each alone, otherwise as few
/// runs as can have every value, for no run has a flag twice.
pub fn runs_of<'a>(flags: &[[&'a str; 2]]) -> Vec<Vec<[&'a str; 2]>> {
    let mut runs: Vec<Vec<[&str; 2]>> = Vec::new();
    for &flag in flags {
        let free = |run: &&mut Vec<[&str; 2]>| !full() && run.iter().all(|[name, _]| *name != flag[0]);
        match runs.iter_mut().find(free) {
            Some(run) => run.push(flag),
            None => runs.push(vec![flag]),
        }
    }
    runs
}

/// Flags of a run of two paths or more that lasts for half a minute in each cell where nothing ends it. With more than
/// this for each path it would watch the idle machine for two seconds first.
pub const LASTING: [&str; 4] = ["--seconds", "1.9", "--precision", "0.01%"];

/// Sizes of a run of one path that lasts as long with the same flags.
pub const LASTING_SIZES: &str =
    "64KiB,65KiB,66KiB,67KiB,68KiB,69KiB,70KiB,71KiB,72KiB,73KiB,74KiB,75KiB,76KiB,77KiB";

/// Says, past the harness that captures it, what this kernel or network lacks. Unlike a skip it never fails: a machine
/// for tests cannot be made to have it.
pub fn lacking(what: &str) {
    let _ = std::io::stderr().write_all(format!("skipped: {what}\n").as_bytes());
}

/// A running `copycost`, killed on drop.
pub struct Program {
    child: Child,
    lines: Receiver<String>,
    errors: Option<JoinHandle<String>>,
}

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    /// The exit code; `None` after a signal.
    pub code: Option<i32>,
    /// Standard output that was not read before.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Program {
    /// `copycost` with these arguments, after `wrapper`, the start of the command line. It starts with the signals of a
    /// login shell: tests that run in the background have SIGINT ignored, and it would ignore it too.
    pub fn start_in<W: AsRef<str>>(wrapper: &[W], arguments: &[&str]) -> Self {
        let binary = assert_cmd::cargo::cargo_bin!("copycost").to_str().unwrap().to_owned();
        let wrapper = wrapper.iter().map(AsRef::as_ref);
        let mut command = Command::new("env");
        command.arg("--default-signal=HUP,INT,QUIT,TERM").args(wrapper).arg(&binary).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (line_to, lines) = mpsc::channel();
        let (out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        thread::Builder::new()
            .spawn(move || {
                BufReader::new(out).lines().map_while(Result::ok).all(|line| line_to.send(line).is_ok())
            })
            .unwrap();
        let errors = thread::Builder::new().spawn(move || {
            let mut text = Vec::new();
            let _ = err.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        Self { child, lines, errors: Some(errors.unwrap()) }
    }

    pub fn start(arguments: &[&str]) -> Self {
        Self::start_in::<&str>(&[], arguments)
    }

    /// Runs it to its end.
    pub fn run(arguments: &[&str]) -> Ended {
        Self::start(arguments).finish()
    }

    /// A server with these arguments beside `serve`, and where it listens: its first line.
    pub fn serve_in(wrapper: &[&str], arguments: &[&str]) -> (Self, SocketAddr) {
        let mut server = Self::start_in(wrapper, &[&["serve"], arguments].concat());
        let Some(line) = server.line() else { panic!("no server: {:?}", server.finish()) };
        let address = line.strip_prefix("listening on ").and_then(|text| text.parse().ok());
        (server, address.unwrap_or_else(|| panic!("the first line is no address: {line}")))
    }

    /// Likewise on a free port of loopback.
    pub fn serve(arguments: &[&str]) -> (Self, SocketAddr) {
        Self::serve_in(&[], &[&["--port", "0"], arguments].concat())
    }

    /// The next line of its standard output; `None` when it has ended.
    pub fn line(&mut self) -> Option<String> {
        match self.lines.recv_timeout(LONG) {
            Ok(line) => Some(line),
            Err(mpsc::RecvTimeoutError::Disconnected) => None,
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("no line after {LONG:?}"),
        }
    }

    /// Sends it a signal by name, such as `INT`.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
        // Of two signals that wait at once one is lost.
        eventually("the signal is delivered", || self.mask("ShdPnd") == 0);
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// What it holds in memory now, in KiB.
    pub fn memory_kib(&self) -> u64 {
        crate::common::status_kib(self.child.id(), "VmRSS")
    }

    /// Its threads now.
    pub fn threads(&self) -> usize {
        fs::read_dir(format!("/proc/{}/task", self.child.id())).map_or(0, Iterator::count)
    }

    /// Whether it handles SIGINT itself.
    pub fn catches_signals(&self) -> bool {
        self.mask("SigCgt") & (1 << (libc::SIGINT - 1)) != 0
    }

    /// A mask of signals as the kernel tells it; empty when the process is gone.
    fn mask(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        if status.contains("\nState:\tZ") {
            return 0;
        }
        let mask = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        mask.map_or(0, |mask| u64::from_str_radix(mask.trim(), 16).unwrap())
    }

    /// Whether it has been stopped by a signal.
    pub fn is_stopped(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
    }

    /// Whether all of its threads whose names begin so, and there are some, wait for something.
    pub fn waits(&self, thread: &str) -> bool {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).into_iter().flatten().flatten();
        let stats = tasks.filter_map(|task| fs::read_to_string(task.path().join("stat")).ok());
        let states: Vec<_> = stats
            .filter_map(|stat| {
                let (name, rest) = stat.split_once('(')?.1.rsplit_once(") ")?;
                name.starts_with(thread).then(|| rest.starts_with('S'))
            })
            .collect();
        !states.is_empty() && states.iter().all(|waits| *waits)
    }

    /// Its open files now.
    pub fn files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).map_or(0, Iterator::count)
    }

    /// Waits for its end, which must come by itself.
    pub fn finish(self) -> Ended {
        self.finish_within(2 * LONG)
    }

    /// Likewise for one that may take this long.
    pub fn finish_within(mut self, time: Duration) -> Ended {
        let until = Instant::now() + time;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < until, "it does not end");
            thread::sleep(Duration::from_millis(5));
        };
        let lines = std::iter::from_fn(|| self.lines.recv_timeout(LONG).ok());
        let out = lines.map(|line| line + "\n").collect();
        let err = self.errors.take().map(|errors| errors.join().unwrap()).unwrap_or_default();
        Ended { code: status.code(), out, err }
    }

    /// Ends it as a user does, and says how it ended.
    pub fn stop(self) -> Ended {
        self.signal("TERM");
        self.finish()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// It ended well; what it printed.
    #[track_caller]
    pub fn good(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.out
    }

    /// It failed with this code and one sentence, which names everything in `says`.
    #[track_caller]
    pub fn refused(self, code: i32, says: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert!(self.err.starts_with("error: "), "{self:?}");
        assert!(self.out.is_empty(), "{self:?}");
        says.iter().for_each(|part| assert!(self.err.contains(part), "{part} in {self:?}"));
        assert!(!self.err.contains("panicked"), "{self:?}");
    }
}

/// The bytes and the seconds in a client's line: "1,234 bytes in 0.50 s, …".
#[track_caller]
pub fn received(line: &str) -> (usize, f64) {
    let parsed = || {
        let (bytes, rest) = line.split_once(" bytes in ")?;
        Some((bytes.replace(',', "").parse().ok()?, rest.split_once(" s, ")?.0.parse().ok()?))
    };
    parsed().unwrap_or_else(|| panic!("no bytes in seconds: {line}"))
}

/// Results from a file or from standard output.
pub fn results(text: &str) -> Results {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Results in a file that is being written by others, if it is there.
pub fn results_in(path: &Path) -> Option<Results> {
    fs::read_to_string(path).ok().filter(|text| !text.is_empty()).map(|text| results(&text))
}

/// A file with this text that nobody else can read.
pub fn secret(folder: &Path, name: &str, text: &[u8], mode: u32) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path
}

/// What `record` says of its receive path is what it was: a share was mapped where one could be, and only there.
#[track_caller]
pub fn received_by(record: &Record, receive: &ReceivePath) {
    assert_eq!(record.receive, receive.name);
    assert!(record.messages > 0 && record.throughput_bytes_per_second > 0.0, "{record:?}");
    let receiver = Socket::tcp((Ipv4Addr::LOCALHOST, 0).into())
        .and_then(|socket| (receive.open)(socket, BufferStart::default()))
        .unwrap();
    assert_eq!(record.mapped_share.is_some(), receiver.mapped().is_some(), "{record:?}");
    assert!(record.mapped_share.is_none_or(|share| (0.0..=1.0).contains(&share)), "{record:?}");
}
