//! Tests that need a process of their own: the test binary starts itself again, as another user, with other
//! limits or in a network namespace.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs};

use super::LONG;

/// Tells a child what it is.
const ROLE: &str = "COPYCOST_TEST_ROLE";

/// What this process is to do if it is a child that was started as `test`.
pub fn role(test: &str) -> Option<String> {
    env::var(ROLE).ok()?.strip_prefix(&format!("{test}=")).map(str::to_owned)
}

/// A child to be: this binary, one test of it, under a wrapper such as `prlimit`.
pub struct Wanted {
    command: Command,
    /// A copy of the binary that another user may execute; removed when this is dropped.
    _copy: tempfile::TempDir,
}

impl Wanted {
    /// This binary again, to run `test` as `role`; `wrapper` is the start of the command line.
    pub fn new(test: &str, role: &str, wrapper: &[&str]) -> Self {
        let name = format!("copycost-{}-", std::process::id());
        let copy =
            tempfile::Builder::new().prefix(&name).permissions(fs::Permissions::from_mode(0o755)).tempdir();
        let copy = copy.unwrap();
        let binary = copy.path().join("test");
        write_executable(&binary, &fs::read(env::current_exe().unwrap()).unwrap());
        let mut words: Vec<&str> = wrapper.to_vec();
        words.push(binary.to_str().unwrap());
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).args(["--exact", test, "--nocapture", "--test-threads=1"]);
        command.env(ROLE, format!("{test}={role}")).current_dir("/").stdin(Stdio::piped());
        Self { command, _copy: copy }
    }

    /// As a user without privileges; needs root. The name of the user does not matter to the kernel.
    pub fn of_user(mut self, user: u32) -> Self {
        self.command.uid(user).gid(user);
        self
    }

    /// Runs it to its end, which must be a success; returns what it printed.
    pub fn run(mut self) -> String {
        let child = self.command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut running = Running { child, _wanted: None };
        let (status, printed) = running.finish();
        assert!(status.success(), "{status}\n{printed}");
        printed
    }

    /// Starts it and leaves it running; it ends when its standard input does, or is killed on drop.
    pub fn start(mut self) -> Running {
        let child = self.command.stdout(Stdio::piped()).spawn().unwrap();
        Running { child, _wanted: Some(self) }
    }
}

/// A running child, killed and waited for on drop.
pub struct Running {
    child: Child,
    _wanted: Option<Wanted>,
}

impl Running {
    /// Waits until it has printed `word`.
    pub fn await_word(&mut self, word: &str) {
        let mut printed = Vec::new();
        let mut byte = [0];
        let out = self.child.stdout.as_mut().unwrap();
        while !String::from_utf8_lossy(&printed).contains(word) {
            let n = out.read(&mut byte).unwrap();
            assert_eq!(n, 1, "it ended before it said {word:?}: {}", String::from_utf8_lossy(&printed));
            printed.push(byte[0]);
        }
    }

    fn finish(&mut self) -> (std::process::ExitStatus, String) {
        drop(self.child.stdin.take());
        let (mut out, mut err) = (self.child.stdout.take().unwrap(), self.child.stderr.take().unwrap());
        std::thread::scope(|scope| {
            let errors = scope.spawn(move || read(&mut err));
            let prints = scope.spawn(move || read(&mut out));
            let until = Instant::now() + 2 * LONG;
            let status = loop {
                if let Some(status) = self.child.try_wait().unwrap() {
                    break status;
                }
                if Instant::now() > until {
                    let _ = self.child.kill();
                }
                std::thread::sleep(Duration::from_millis(5));
            };
            (status, format!("{}{}", prints.join().unwrap(), errors.join().unwrap()))
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(from: &mut impl std::io::Read) -> String {
    let mut text = Vec::new();
    let _ = from.read_to_end(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}

/// Writes a file that everybody can execute, at once. A process of its own writes it: a child that another test's thread forks
/// meanwhile would hold it open for writing, and who then executed it were told "Text file busy".
pub fn write_executable(path: &Path, content: &[u8]) {
    let mut writer = Command::new("sh");
    writer.args(["-c", "cat >\"$0\" && chmod 755 \"$0\""]).arg(path).stdin(Stdio::piped());
    let mut writer = writer.spawn().unwrap();
    writer.stdin.take().unwrap().write_all(content).unwrap();
    assert!(writer.wait().unwrap().success());
}

/// Whether this process is root, by the owner of its own status file.
pub fn is_root() -> bool {
    fs::metadata("/proc/self/status").is_ok_and(|status| std::os::unix::fs::MetadataExt::uid(&status) == 0)
}

/// Whether a command can be run with `arguments`.
pub fn works(command: &str, arguments: &[&str]) -> bool {
    let run = Command::new(command).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    run.is_ok_and(|status| status.success())
}
