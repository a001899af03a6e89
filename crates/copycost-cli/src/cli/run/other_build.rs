//! `--with`: runs another build of copycost and this build as servers, each in its own process, so that both are
//! measured the same way.

use std::io::{self, BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam::channel::bounded;

use crate::cli::Failure;
use crate::remote::RemoteSite;
use copycost::internals::sys::process;
use copycost::rig::Site;
use copycost::scenario::MAX_CLIENTS;

/// The suffix of a path's name when the other build serves it.
pub use crate::record::OLD;

/// How long a server may take to print its address, and to end. Both usually take milliseconds.
const SERVER_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest line that can be an address, in bytes. It bounds what is read from a program that is not copycost.
const LONGEST_LINE: u64 = 1024;

/// A build of copycost that serves until this value is dropped.
#[derive(Debug)]
pub struct OtherBuild {
    child: Child,
    address: SocketAddr,
}

/// This build and the other build, both serving.
#[derive(Debug)]
pub struct BothBuilds {
    this: OtherBuild,
    other: OtherBuild,
}

impl BothBuilds {
    /// Starts the other build at `binary` and this one.
    pub fn start(binary: &Path) -> Result<Self, Failure> {
        let usage = |why: String| {
            Failure::Usage(format!("invalid value for --with: '{}' cannot serve: {why}", binary.display()))
        };
        let other = OtherBuild::start(binary).map_err(usage)?;
        // Not by name: a new build may have replaced the file.
        let this_binary = PathBuf::from("/proc/self/exe");
        let this = OtherBuild::start(&this_binary)
            .map_err(|why| Failure::Failed(format!("this program cannot serve: {why}")))?;
        Ok(Self { this, other })
    }

    /// The sites of this build and of the other build, in this order.
    pub fn sites(&self) -> [Arc<dyn Site>; 2] {
        [&self.this, &self.other]
            .map(|served| -> Arc<dyn Site> { Arc::new(RemoteSite::new(vec![served.address], None)) })
    }
}

impl OtherBuild {
    fn start(binary: &Path) -> Result<Self, String> {
        let mut command = Command::new(binary);
        command.args(["serve", "--port", "0", "--max-clients", &MAX_CLIENTS.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = process::spawn_tied(&mut command, None).map_err(|error| error.to_string())?;
        match first_line(&mut child).and_then(|line| address(&line)) {
            Ok(address) => Ok(Self { child, address }),
            Err(why) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(why)
            }
        }
    }
}

impl Drop for OtherBuild {
    fn drop(&mut self) {
        let until = Instant::now() + SERVER_TIMEOUT;
        let _ = process::terminate(&mut self.child);
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > until {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// The first line that the child prints. A thread keeps reading until the child ends, so that the child never blocks on
/// a full pipe.
fn first_line(child: &mut Child) -> Result<String, String> {
    let stdout = child.stdout.take().ok_or("it has no output")?;
    let (line_to, line) = bounded(1);
    let read = move || {
        let mut printed = BufReader::new(stdout);
        let mut line = Vec::new();
        let read = printed.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line);
        let _ = line_to.send(read.ok().filter(|read| *read > 0).map(|_| line));
        let _ = io::copy(&mut printed, &mut io::sink());
    };
    std::thread::Builder::new().name("served".into()).spawn(read).map_err(|error| error.to_string())?;
    match line.recv_timeout(SERVER_TIMEOUT) {
        Ok(Some(line)) => Ok(String::from_utf8_lossy(&line).into_owned()),
        Ok(_) => Err("it ended without a word: is it a copycost that knows `serve`?".to_owned()),
        Err(_) => Err(format!("it said nothing for {} seconds", SERVER_TIMEOUT.as_secs())),
    }
}

fn address(line: &str) -> Result<SocketAddr, String> {
    let address = line.strip_prefix("listening on ").and_then(|address| address.trim().parse().ok());
    address.ok_or_else(|| {
        let printed: String =
            line.trim_end().chars().take(80).collect::<String>().replace(char::is_control, " ");
        format!("it said '{printed}' and not where it listens: is it a copycost that knows `serve`?")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_holds_the_address() {
        assert_eq!(address("listening on 127.0.0.1:9\n").unwrap().port(), 9);
        for line in ["", "listening on", "listening on port 9", "Usage: frob"] {
            assert!(address(line).unwrap_err().contains("serve"), "{line}");
        }
    }

    #[test]
    fn a_binary_that_cannot_serve_gives_one_sentence() {
        for (binary, says) in
            [("/nonexistent/copycost", "No such file"), ("/bin/true", "ended without a word")]
        {
            let error = BothBuilds::start(Path::new(binary)).unwrap_err().to_string();
            assert!(error.contains("--with") && error.contains(binary) && error.contains(says), "{error}");
        }
    }
}
