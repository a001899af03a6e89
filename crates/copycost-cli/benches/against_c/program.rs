//! The C program `plain.c`: compiled, started under a scenario's conditions, and asked for turns over its pipes.
//!
//! Every wait here has an end: an answer that does not come in time is an error, the child is killed when
//! dropped, and its own watchdog ends it if this process is killed first.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use copycost::message::Message;
use copycost::offset::{BufferStart, PERIOD};
use copycost::scenario::Scenario;
use tempfile::TempDir;

/// Beyond the turn itself: connections are made, and a drain may take ten seconds before the program gives up.
const PATIENCE: Duration = Duration::from_secs(20);

/// The compiled program, gone when dropped.
#[derive(Debug)]
pub struct Program {
    directory: TempDir,
}

impl Program {
    /// Compiles `plain.c`; the error is one sentence.
    pub fn compile() -> Result<Self, String> {
        let base = option_env!("CARGO_TARGET_TMPDIR").map_or_else(std::env::temp_dir, PathBuf::from);
        let directory = tempfile::Builder::new()
            .prefix("against_c-")
            .tempdir_in(&base)
            .map_err(|error| format!("no directory for the C program in {}: {error}", base.display()))?;
        let program = Self { directory };
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/against_c/plain.c");
        let output = Command::new("cc")
            .args(["-O2", "-Wall", "-Wextra", "-pthread", "-o"])
            .args([&program.executable(), &source])
            .output()
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => {
                    "there is no C compiler: install one that is called `cc` (gcc or clang)".to_owned()
                }
                _ => format!("`cc` could not be started: {error}"),
            })?;
        if output.status.success() {
            Ok(program)
        } else {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(format!("`cc` could not compile {}:\n{}", source.display(), said.trim_end()))
        }
    }

    /// Starts it under the conditions of `scenario`, its buffers where those of a rig of it begin, on `cpus` in the order in
    /// which our rig uses them.
    pub fn start(&self, scenario: &Scenario, reap_bytes: usize, cpus: &[usize]) -> io::Result<Plain> {
        let Scenario { path, spec, clients, placement, options, .. } = scenario;
        let cpus: Vec<_> = cpus.iter().map(usize::to_string).collect();
        let BufferStart::At(receive) = scenario.offsets.receive_begin() else {
            return Err(io::Error::other("the C program cannot follow an allocator"));
        };
        // As they lie in a message of ours, from the page in which the first begins.
        let message = Message::new(&scenario.placed_spec())?;
        let addresses: Vec<_> = message.slices().iter().map(|field| field.as_ptr().addr()).collect();
        let page = addresses[0] / PERIOD * PERIOD;
        let fields: Vec<_> = addresses.iter().map(|address| (address - page).to_string()).collect();
        let mut child = Command::new(self.executable())
            .arg(path.name)
            .args([spec.size, *clients, options.send_buffer, options.receive_buffer].map(|n| n.to_string()))
            .args([placement.to_string(), reap_bytes.to_string(), cpus.join(",")])
            .args([fields.join(","), receive.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let commands = child.stdin.take();
        let answers = child.stdout.take();
        let mut plain = Plain { child, commands, answers: channel().1 };
        plain.answers = lines(answers.ok_or(io::ErrorKind::BrokenPipe)?)?;
        Ok(plain)
    }

    fn executable(&self) -> PathBuf {
        self.directory.path().join("plain")
    }
}

/// The lines of a pipe: a pipe cannot be read with a deadline, a channel can. The thread ends with the child.
fn lines(pipe: ChildStdout) -> io::Result<Receiver<String>> {
    let (to, lines) = channel();
    thread::Builder::new().name("answers".into()).spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if to.send(line).is_err() {
                break;
            }
        }
    })?;
    Ok(lines)
}

/// The running program.
#[derive(Debug)]
pub struct Plain {
    child: Child,
    commands: Option<ChildStdin>,
    answers: Receiver<String>,
}

impl Plain {
    /// A turn of `length`: bytes received, and in what time.
    pub fn turn(&mut self, length: Duration) -> io::Result<(u64, Duration)> {
        let commands = self.commands.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        writeln!(commands, "turn {}", length.as_millis())?;
        let line = self
            .answers
            .recv_timeout(2 * length + PATIENCE)
            .map_err(|_| io::Error::other("the C program gave no answer (what it said stands above)"))?;
        let numbers: Option<Vec<u64>> = line.split(' ').map(|word| word.parse().ok()).collect();
        match numbers.as_deref() {
            Some([bytes, ns, _sends, _copied]) => Ok((*bytes, Duration::from_nanos(*ns))),
            _ => Err(io::Error::other(format!("the C program answered '{line}'"))),
        }
    }

    /// The user and the system time of its sending threads so far, in clock ticks. It starts the two threads of
    /// each connection in turn, the sender first, so their ids tell which is which.
    pub fn sender_ticks(&self) -> io::Result<(u64, u64)> {
        let mut threads: Vec<u64> = fs::read_dir(format!("/proc/{}/task", self.child.id()))?
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .collect();
        threads.sort_unstable();
        let mut sum = (0, 0);
        for thread in threads.iter().skip(1).step_by(2) {
            let stat = fs::read_to_string(format!("/proc/{}/task/{thread}/stat", self.child.id()))?;
            // proc_pid_stat(5): utime and stime are fields 14 and 15; the name before field 3 may hold blanks.
            let mut times = stat.rsplit(") ").next().unwrap_or_default().split(' ').skip(11);
            let mut next = || times.next().and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
            sum.0 += next();
            sum.1 += next();
        }
        Ok(sum)
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        // Killed or ended by itself: either way it is gone, and is reaped.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
