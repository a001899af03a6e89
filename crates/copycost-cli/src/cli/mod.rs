//! The command `copycost`, one file a verb.
//!
//! Exit codes: 0 done; 1 failed; 2 usage; 3 measured, and the answer is no; 130 interrupted with nothing measured.

mod arguments;
mod check;
mod client;
mod doctor;
mod explain;
mod job;
mod lab;
mod list;
mod manual;
mod output;
mod over;
mod predict;
mod progress;
mod report;
mod run;
mod serve;
mod setting;
mod signals;
mod zone;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

/// Measures what it costs to move a message from user memory into a TCP socket.
#[derive(Debug, Parser)]
#[command(name = "copycost", version, about, max_term_width = 100)]
struct Command {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Compare send paths in one interleaved run
    Run(Box<run::Arguments>),
    /// Show where the CPU time of paths goes: copying, pinning, system calls, TCP, wake-ups
    Explain(Box<explain::Arguments>),
    /// Predict which path is the cheapest for a message that was not measured
    Predict(Box<predict::Arguments>),
    /// Turn saved results, or Criterion's, into a page, a table or a comparison for a pull request
    Report(report::Arguments),
    /// Show every send path, what it does, and whether it can be had here
    List(list::Arguments),
    /// Serve another host's `copycost run --over`, or raw messages to any TCP client
    Serve(Box<serve::Arguments>),
    /// Receive from a raw server for a while
    Client(client::Arguments),
    /// Keep the lab up for other tools: two ends with a network card in software between them (needs root)
    Lab(lab::Arguments),
    /// Show what will distort or break a measurement on this machine, and how to mend it
    Doctor(doctor::Arguments),
    /// Print completions for a shell: bash, elvish, fish, powershell or zsh
    Completions(manual::Completions),
    /// Print the manual page, or with --folder write one for each command
    Man(manual::Man),
}

/// The command did what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Done {
    /// Exit code 0.
    Yes,
    /// It was measured, and the answer is no: exit code 3.
    AnswerIsNo,
    /// It was called off before anything was measured: exit code 130, as a shell reports SIGINT.
    Interrupted,
}

/// A failure of the command: one sentence for the user.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// The user can mend it: exit code 2.
    #[error("{0}")]
    Usage(String),
    /// What was asked for did not work: exit code 1.
    #[error("{0}")]
    Failed(String),
}

/// Runs the command with the process's arguments.
pub fn main() -> ExitCode {
    let command = Command::parse();
    let result = match command.verb {
        Some(Verb::Run(arguments)) => arguments.run(),
        Some(Verb::Explain(arguments)) => arguments.run(),
        Some(Verb::Predict(arguments)) => arguments.run(),
        Some(Verb::Report(arguments)) => arguments.run(),
        Some(Verb::List(arguments)) => arguments.run(),
        Some(Verb::Serve(arguments)) => arguments.run(),
        Some(Verb::Client(arguments)) => arguments.run(),
        Some(Verb::Lab(arguments)) => arguments.run(),
        Some(Verb::Doctor(arguments)) => arguments.run(),
        Some(Verb::Completions(arguments)) => arguments.run(Command::command()),
        Some(Verb::Man(arguments)) => arguments.run(Command::command()),
        None => quick(),
    };
    match result {
        Ok(Done::Yes) => ExitCode::SUCCESS,
        Ok(Done::AnswerIsNo) => ExitCode::from(3),
        Ok(Done::Interrupted) => {
            eprintln!("error: interrupted before anything was measured");
            ExitCode::from(130)
        }
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::from(match failure {
                Failure::Usage(_) => 2,
                Failure::Failed(_) => 1,
            })
        }
    }
}

/// Without a verb: what distorts, and a first answer.
fn quick() -> Result<Done, Failure> {
    output::print(&doctor::warnings())?;
    run::Arguments::given(&["--quick"]).run()
}
