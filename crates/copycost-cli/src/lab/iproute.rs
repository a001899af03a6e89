//! The command `ip`, and threads that enter a namespace to run it there.

use std::io::{self, Write as _};
use std::process::{Command, Stdio};
use std::thread;

use super::error::LabError;
use copycost::internals::sys::netns::Netns;

/// Runs `lines` as an `ip` batch in the network namespace of the calling thread. With `force`, `ip` continues after a
/// failed line.
pub(super) fn batch(what: &'static str, lines: &[String], force: bool) -> Result<(), LabError> {
    let mut command = Command::new("ip");
    if force {
        command.arg("-force");
    }
    command.args(["-batch", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| no_ip(what, error))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A write fails if `ip` has exited early; its error output then gives the reason.
        let _ = stdin.write_all((lines.join("\n") + "\n").as_bytes());
    }
    let output = child.wait_with_output().map_err(|error| no_ip(what, error))?;
    if output.status.success() {
        return Ok(());
    }
    Err(LabError::Ip { what, output: sentence(&String::from_utf8_lossy(&output.stderr)) })
}

fn no_ip(what: &'static str, error: io::Error) -> LabError {
    match error.kind() {
        io::ErrorKind::NotFound => LabError::NoIproute,
        _ => LabError::Os { what, error },
    }
}

/// The error output of `ip` in one line, without the line that only gives the line number.
fn sentence(output: &str) -> String {
    let lines: Vec<_> = output
        .lines()
        .map(|line| line.trim().trim_start_matches("Error: ").trim_end_matches('.'))
        .filter(|line| !line.is_empty() && !line.starts_with("Command failed"))
        .collect();
    if lines.is_empty() { "it gave no reason".to_owned() } else { lines.join("; ") }
}

/// Runs `work` on a new thread inside `netns`.
pub(super) fn inside<T: Send>(
    netns: &Netns,
    work: impl FnOnce() -> Result<T, LabError> + Send,
) -> Result<T, LabError> {
    on_a_thread(|| {
        netns.enter().map_err(LabError::os("a network namespace could not be entered"))?;
        work()
    })
}

/// Runs `work` on a new thread. It may change its namespaces, because nothing else runs on that thread.
pub(super) fn on_a_thread<T: Send>(work: impl FnOnce() -> Result<T, LabError> + Send) -> Result<T, LabError> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("lab-builder".into());
        let thread = thread
            .spawn_scoped(scope, work)
            .map_err(LabError::os("the lab's thread could not be started"))?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ip_says_becomes_one_line() {
        let output = "Error: Unknown device type.\nCommand failed -:1\n";
        assert_eq!(sentence(output), "Unknown device type");
        assert_eq!(
            sentence("RTNETLINK answers: Operation not supported\nCommand failed -:2\n"),
            "RTNETLINK answers: Operation not supported"
        );
        assert_eq!(sentence(""), "it gave no reason");
    }
}
