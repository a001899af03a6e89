//! Tests that need a process of their own: the test binary starts itself again, alone, as another user, with other
//! limits or in a network namespace.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};
use std::{env, fs};

use tempfile::TempDir;

use super::rules::{SKIPPED, skip};
use super::{LONG, patience};

/// Says to a child what it is.
const ROLE: &str = "COPYCOST_TEST_ROLE";

/// How the harness of a child ends that ran the one test that it was started for, and no other.
const ONE_PASSED: &str = "test result: ok. 1 passed; 0 failed;";

/// The full name of the test that this stands in, as its binary lists it.
#[allow(unused_macros, reason = "each test binary uses its own part")]
macro_rules! this_test {
    () => {{
        fn here() {}
        $crate::common::child::test_of(&here)
    }};
}
#[allow(unused_imports, reason = "likewise")]
pub(crate) use this_test;

/// The name of the test in which a function lies. For [`this_test`].
pub fn test_of<T>(_: &T) -> &'static str {
    let path = std::any::type_name::<T>().strip_suffix("::here").unwrap();
    // The first part is the crate.
    path.split_once("::").unwrap().1
}

/// What this process is to do if it is a child that was started as `test`.
pub fn role(test: &str) -> Option<String> {
    env::var(ROLE).ok()?.strip_prefix(&format!("{test}=")).map(str::to_owned)
}

/// Does `work` in a child that runs nothing but `test`, which calls this: for what belongs to a whole process, such as
/// its memory, files, threads and signals.
pub fn alone(test: &str, work: impl FnOnce()) {
    match role(test) {
        Some(_) => work(),
        None => {
            let printed = Wanted { patience: 10 * LONG, ..Wanted::new(test, "alone", &[]) }.run();
            println!("{printed}");
        }
    }
}

/// A child to be: this binary, one test of it, under a wrapper such as `prlimit`.
pub struct Wanted {
    /// The name of the test, or enough of it that no other test has it in its name.
    test: String,
    role: String,
    wrapper: Vec<String>,
    user: Option<u32>,
    patience: Duration,
}

impl Wanted {
    /// This binary again, to run `test` as `role`; `wrapper` is the start of the command line.
    pub fn new(test: &str, role: &str, wrapper: &[&str]) -> Self {
        let wrapper = wrapper.iter().map(|word| (*word).to_owned()).collect();
        Self { test: test.to_owned(), role: role.to_owned(), wrapper, user: None, patience: 2 * LONG }
    }

    /// As a user without privileges; needs root. The name of the user does not matter to the kernel.
    pub fn of_user(mut self, user: u32) -> Self {
        self.user = Some(user);
        self
    }

    /// Runs it to its end. It must succeed, and must have run exactly one test: a name that no test has would pass
    /// otherwise. Returns what it printed.
    pub fn run(self) -> String {
        let (mut command, _copy) = self.command();
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (status, printed) = Running { child, _copy: None }.finish(self.patience * patience());
        assert!(status.success(), "{} as {}: {status}\n{printed}", self.test, self.role);
        assert!(printed.contains(ONE_PASSED), "{}: not one test of this name\n{printed}", self.test);
        printed.lines().filter_map(|line| line.strip_prefix(SKIPPED)).for_each(skip);
        printed
    }

    /// Starts it and leaves it running; it ends when its standard input does, or is killed on drop.
    pub fn start(self) -> Running {
        let (mut command, copy) = self.command();
        let child = command.stdout(Stdio::piped()).spawn().unwrap();
        Running { child, _copy: copy }
    }

    fn command(&self) -> (Command, Option<Arc<TempDir>>) {
        // Another user may not enter the folder of this binary.
        let copy = self.user.map(|_| copy_of_this_binary());
        let binary = match &copy {
            Some(folder) => folder.path().join("test"),
            None => env::current_exe().unwrap(),
        };
        let mut words = self.wrapper.iter().map(PathBuf::from).chain([binary]);
        let mut command = Command::new(words.next().unwrap());
        command.args(words).args([&self.test, "--nocapture", "--test-threads=1"]);
        // A full name names one test; a part of it may stand in the names of others, and then more than one passes.
        if self.test.contains("::") {
            command.arg("--exact");
        }
        command.env(ROLE, format!("{}={}", self.test, self.role)).current_dir("/").stdin(Stdio::piped());
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        (command, copy)
    }
}

/// A folder with this binary, that everybody may enter; all children that live at a time share it, and it is removed
/// after the last of them.
fn copy_of_this_binary() -> Arc<TempDir> {
    static COPY: Mutex<Weak<TempDir>> = Mutex::new(Weak::new());
    let mut shared = COPY.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(copy) = shared.upgrade() {
        return copy;
    }
    let name = format!("copycost-{}-", std::process::id());
    let open = fs::Permissions::from_mode(0o755);
    let copy = Arc::new(tempfile::Builder::new().prefix(&name).permissions(open).tempdir().unwrap());
    write_executable(&copy.path().join("test"), &fs::read(env::current_exe().unwrap()).unwrap());
    *shared = Arc::downgrade(&copy);
    copy
}

/// A running child, killed and waited for on drop.
pub struct Running {
    child: Child,
    _copy: Option<Arc<TempDir>>,
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

    fn finish(&mut self, patience: Duration) -> (std::process::ExitStatus, String) {
        drop(self.child.stdin.take());
        let (mut out, mut err) = (self.child.stdout.take().unwrap(), self.child.stderr.take().unwrap());
        std::thread::scope(|scope| {
            let errors = scope.spawn(move || read(&mut err));
            let prints = scope.spawn(move || read(&mut out));
            let until = Instant::now() + patience;
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

/// Writes a file that everybody can execute, at once. A process of its own writes it: a child that another test's thread
/// forks meanwhile would hold it open for writing, and executing it would fail with "Text file busy".
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
