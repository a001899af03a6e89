//! `copycost lab`: keeps the lab's network and its relay up for other tools, in the foreground.

use std::ffi::{OsStr, OsString};
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use clap::Args;
use crossbeam::channel::RecvTimeoutError;

use super::{Done, Failure, output, over, signals};
use crate::lab::Lab;
use copycost::internals::placement::{self, Placement};
use copycost::internals::sys::process;

/// What to run in the lab.
#[derive(Debug, Clone, Args)]
pub struct LabArguments {
    /// A command to run at the clients' end; the lab ends with it. Without one it ends with Ctrl-C
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// How often the command is polled.
const LOOK: Duration = Duration::from_millis(20);

/// How long the command may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(5);

impl LabArguments {
    pub fn run(&self) -> Result<Done, Failure> {
        let signals = signals::listen()?;
        let lab = over::lab()?;
        let failed = |error: &dyn std::fmt::Display| Failure::Failed(error.to_string());
        let cpus = placement::cpus().map_err(|error| failed(&error))?;
        // The CPUs of other tools are unknown, so both ends may use all CPUs except the relay's.
        lab.arrange(Placement::Free, 1, &cpus).map_err(|error| failed(&error))?;
        output::print(&how_to_enter(&lab));
        let Some((program, arguments)) = self.command.split_first() else {
            // The sending end of the channel lives as long as the process, so this cannot fail.
            let _ = signals.recv();
            return Ok(Done::Yes);
        };
        let mut child = start(&lab, program, arguments)?;
        let status = loop {
            match child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) => {}
                Err(error) => return Err(failed(&error)),
            }
            match signals.recv_timeout(LOOK) {
                Ok(()) | Err(RecvTimeoutError::Disconnected) => {
                    end(&mut child);
                    return Ok(Done::CutShort);
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        };
        ended(program, status)
    }
}

fn how_to_enter(lab: &Lab) -> String {
    let network = lab.network();
    let (server, clients) = (&network.server.name, &network.clients.name);
    let (at_server, at_clients) = (crate::lab::SERVER, crate::lab::CLIENTS);
    format!(
        "the lab is up: two ends with a network card in software between them\n\
         \x20 server   {at_server}  ip netns exec {server} COMMAND\n\
         \x20 clients  {at_clients}  ip netns exec {clients} COMMAND\n\
         for example: ip netns exec {server} iperf3 -s -1 & ip netns exec {clients} iperf3 -c {at_server} -Z -R\n"
    )
}

/// Starts the command in the clients' network namespace, tied to this process. Call it from the main thread: the kernel
/// kills a tied child when the thread that started it ends.
fn start(lab: &Lab, program: &OsStr, arguments: &[OsString]) -> Result<Child, Failure> {
    let failed =
        |error: std::io::Error| Failure::Failed(format!("'{}' cannot be run: {error}", program.display()));
    let mut command = Command::new(program);
    command.args(arguments);
    command.env("COPYCOST_LAB_SERVER", &lab.network().server.name);
    command.env("COPYCOST_LAB_CLIENTS", &lab.network().clients.name);
    let clients = &lab.network().clients.netns;
    process::spawn_within(&mut command, clients).map_err(failed)
}

/// Sends SIGTERM, and SIGKILL if the command still runs after [`GRACE`].
fn end(child: &mut Child) {
    let until = std::time::Instant::now() + GRACE;
    let _ = process::terminate(child);
    while matches!(child.try_wait(), Ok(None)) {
        if std::time::Instant::now() > until {
            let _ = child.kill();
            let _ = child.wait();
            return;
        }
        std::thread::sleep(LOOK);
    }
}

fn ended(program: &OsStr, status: ExitStatus) -> Result<Done, Failure> {
    if status.success() {
        Ok(Done::Yes)
    } else {
        Err(Failure::Failed(format!("'{}' ended: {status}", program.display())))
    }
}
