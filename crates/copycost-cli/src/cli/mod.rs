//! The command `copycost`, with one file for each verb.
//!
//! | exit code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | failed, or standard output did not take the result |
//! | 2 | usage: the command line, or a file that it names |
//! | 3 | measured, and the answer is no |
//! | 129, 130, 143 | SIGHUP, SIGINT or SIGTERM ended it early, whether or not something had been measured by then |
//!
//! Only a signal ends `serve`, and `lab` without a command: for them a signal means exit code 0.
//!
//! A closed pipe on standard output, or a full or closed standard error, does not stop the command: it still writes the
//! files and returns the exit code of the measurement. If standard output fails otherwise (a full disk), the command
//! goes on, reports the error at its end, and exits with 1 instead of 0 or 3. `println!` and its relatives would panic
//! there; the lints `print_stdout` and `print_stderr` forbid them in this crate.

mod arguments;
mod check;
mod client;
mod doctor;
mod explain;
mod files;
mod hints;
mod input;
mod job;
mod lab;
mod list;
mod manual;
mod output;
mod over;
mod plan;
mod predict;
mod progress;
mod report;
mod run;
mod serve;
mod setting;
mod signals;
mod trace;
mod values;
mod watch;
mod zone;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

/// Measures what it costs to move a message from user memory into a TCP socket.
#[derive(Debug, Parser)]
#[command(
    name = "copycost",
    version,
    about = "Compare what the ways of sending a message over TCP cost, explain it, and predict it",
    after_help = "Without a command, copycost shows what distorts a measurement here and gives a first answer in \
                  20 seconds.\n\n\
                  Examples:\n  copycost\n  copycost run --fields 300,24KiB --clients 8\n  copycost doctor",
    max_term_width = 100
)]
struct CommandLine {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Compare send paths in one interleaved run
    #[command(
        after_help = "Examples:\n  copycost run --path onecopy,zerocopy --size 1KiB,64KiB\n  copycost run --fields 300,24KiB --clients 8 --budget 2m\n  copycost run -o before.json"
    )]
    Run(Box<run::RunArguments>),
    /// Show where the CPU time of paths goes: copying, pinning, system calls, TCP, wake-ups
    #[command(after_help = "Example:\n  copycost explain --path onecopy,zerocopy --size 64KiB")]
    Explain(Box<explain::ExplainArguments>),
    /// Predict which path is the cheapest for a message that was not measured
    #[command(after_help = "Example:\n  copycost predict --fields 300,24KiB")]
    Predict(Box<predict::PredictArguments>),
    /// Turn saved results, or Criterion's, into a page, a table or a comparison for a pull request
    #[command(
        after_help = "Examples:\n  copycost report before.json after.json -o both.html\n  copycost report target/criterion -o criterion.html"
    )]
    Report(report::ReportArguments),
    /// Show every send path, what it does, and whether it is available here
    #[command(after_help = "Example:\n  copycost list")]
    List(list::ListArguments),
    /// Serve another host's `copycost run --over`, or raw messages to any TCP client
    #[command(
        after_help = "Examples:\n  copycost serve --bind 10.0.0.1 --token-file token\n  copycost serve --raw zerocopy --size 64KiB"
    )]
    Serve(Box<serve::ServeArguments>),
    /// Receive from a raw server for a while
    #[command(after_help = "Example:\n  copycost client 127.0.0.1:9000 10")]
    Client(client::ClientArguments),
    /// Keep the lab up for other tools: two ends with a network card in software between them (needs root)
    #[command(after_help = "Example:\n  copycost lab")]
    Lab(lab::LabArguments),
    /// Show what will distort or break a measurement on this machine, and how to fix it
    #[command(after_help = "Examples:\n  copycost doctor\n  copycost doctor --over 10.0.0.1:9000")]
    Doctor(doctor::DoctorArguments),
    /// Show how much of a running process's CPU time goes into copies that some CPUs make slowly
    #[command(after_help = "Example:\n  copycost watch 4242 --seconds 30")]
    Watch(watch::WatchArguments),
    /// Print completions for a shell: bash, elvish, fish, powershell or zsh
    #[command(
        after_help = "Example:\n  copycost completions bash > ~/.local/share/bash-completion/completions/copycost"
    )]
    Completions(manual::Completions),
    /// Print the manual page, or with --folder write one for each command
    #[command(after_help = "Example:\n  copycost man --folder /usr/local/share/man/man1")]
    Man(manual::Man),
}

/// How a command ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Done {
    /// Exit code 0.
    Yes,
    /// The measurement is complete, and the answer is no: exit code 3.
    AnswerIsNo,
    /// A signal ended the command before anything was measured.
    Interrupted,
    /// A signal ended the command early; the results so far were kept.
    CutShort,
}

/// A failure of the command: one sentence for the user.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// The user can correct the command line or a file: exit code 2.
    #[error("{0}")]
    Usage(String),
    /// The command did not work: exit code 1.
    #[error("{0}")]
    Failed(String),
}

/// Runs the command with the process's arguments.
pub fn main() -> ExitCode {
    let code = match CommandLine::try_parse() {
        Ok(command) => exit_code(command.verb.map_or_else(quick, run)),
        Err(error) => {
            if let Some(hint) = hints::of(&error) {
                output::message(&hint);
                return ExitCode::from(2);
            }
            let printed = error.print();
            if error.use_stderr() {
                return ExitCode::from(2);
            }
            output::note(printed);
            0
        }
    };
    match output::failure() {
        None => ExitCode::from(code),
        Some(why) => {
            output::message(&format!("error: standard output was not written: {why}"));
            ExitCode::from(if matches!(code, 0 | 3) { 1 } else { code })
        }
    }
}

fn run(verb: Verb) -> Result<Done, Failure> {
    match verb {
        Verb::Run(arguments) => arguments.run(),
        Verb::Explain(arguments) => arguments.run(),
        Verb::Predict(arguments) => arguments.run(),
        Verb::Report(arguments) => arguments.run(),
        Verb::List(arguments) => arguments.run(),
        Verb::Serve(arguments) => arguments.run(),
        Verb::Client(arguments) => arguments.run(),
        Verb::Lab(arguments) => arguments.run(),
        Verb::Doctor(arguments) => arguments.run(),
        Verb::Watch(arguments) => arguments.run(),
        Verb::Completions(arguments) => arguments.run(CommandLine::command()),
        Verb::Man(arguments) => arguments.run(CommandLine::command()),
    }
}

/// Prints the failure, if any, and returns the exit code.
fn exit_code(result: Result<Done, Failure>) -> u8 {
    let interrupted = || signals::caught().map_or(1, signals::exit_code);
    match result {
        Ok(Done::Yes) => 0,
        Ok(Done::AnswerIsNo) => 3,
        Ok(Done::CutShort) => interrupted(),
        Ok(Done::Interrupted) => {
            output::message("error: interrupted before anything was measured");
            interrupted()
        }
        Err(failure) => {
            output::message(&format!("error: {failure}"));
            match failure {
                Failure::Usage(_) => 2,
                Failure::Failed(_) => 1,
            }
        }
    }
}

/// Whether these arguments parse; the first is the program's name. A test checks every command line in the
/// documentation with it.
///
/// # Errors
/// The message that a user would read.
#[doc(hidden)]
pub fn parses<T: Into<OsString> + Clone>(arguments: impl IntoIterator<Item = T>) -> Result<(), String> {
    match CommandLine::try_parse_from(arguments) {
        // clap returns the texts of --help and --version as errors too.
        Err(error) if error.use_stderr() => Err(error.to_string()),
        _ => Ok(()),
    }
}

/// Runs without a verb: a short run, and what distorts it.
fn quick() -> Result<Done, Failure> {
    run::RunArguments::given(&["--quick"]).run()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_has_examples_that_parse() {
        for verb in CommandLine::command().get_subcommands() {
            let help = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
            let lines: Vec<_> = help.lines().filter_map(|line| line.strip_prefix("  ")).collect();
            assert!(!lines.is_empty(), "{} has no example", verb.get_name());
            for line in lines {
                // Redirections belong to the shell.
                let arguments = line.split_whitespace().take_while(|argument| *argument != ">");
                let parsed = CommandLine::try_parse_from(arguments);
                assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
                assert!(line.starts_with(&format!("copycost {}", verb.get_name())), "{line}");
            }
        }
    }
}
