//! `copycost client`: receives from any raw server for a given time, as the client of the original experiment does.

use std::io::IsTerminal;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::{Done, Failure, arguments, output, over, signals};
use crate::remote::raw;
use copycost::recv;
use copycost::scenario::ConnectionOptions;
use copycost::units::{Rate, significant, thousands};

#[derive(Debug, Args)]
pub struct ClientArguments {
    /// The raw server: HOST:PORT
    #[arg(value_name = "HOST:PORT")]
    server: String,
    /// How long to receive
    #[arg(value_name = "SECONDS", value_parser = arguments::seconds, default_value = "10")]
    seconds: Duration,
}

impl ClientArguments {
    pub fn run(&self) -> Result<Done, Failure> {
        let addresses = over::addresses(&self.server, "HOST:PORT")?;
        let signals = signals::listen()?;
        let bar =
            if std::io::stderr().is_terminal() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
            bar.set_style(style);
        }
        let mut last = (0, Duration::ZERO);
        let mut called_off = false;
        let mut progress = |bytes: u64, elapsed: Duration| {
            if elapsed - last.1 >= Duration::from_secs(1) {
                let rate = Rate((bytes - last.0) as f64 / (elapsed - last.1).as_secs_f64());
                bar.set_message(format!(
                    "{:.0} s, {} bytes, {rate}",
                    elapsed.as_secs_f64(),
                    thousands(bytes)
                ));
                last = (bytes, elapsed);
            }
            called_off |= signals.try_recv().is_ok();
            !called_off
        };
        let options = ConnectionOptions::for_this_machine();
        let received = raw::receive(&addresses, &recv::ALL[0], self.seconds, &options, &mut progress)
            .map_err(|error| Failure::Failed(format!("receiving from {} failed: {error}", self.server)))?;
        bar.finish_and_clear();
        let seconds = received.elapsed.as_secs_f64();
        let rate = Rate(received.bytes as f64 / seconds.max(f64::MIN_POSITIVE));
        let mut text = format!("{} bytes in {seconds:.2} s, {rate}", thousands(received.bytes));
        match received.cpu.and_then(|cpu| cpu.ns_per_kib(received.bytes).ok()) {
            Some(demand) => text += &format!(", CPU {} ns/KiB", significant(demand)),
            None => text += ", CPU unknown",
        }
        if received.ended {
            text += "; the server ended the connection";
        }
        output::print(&(text + "\n"));
        Ok(if called_off { Done::CutShort } else { Done::Yes })
    }
}
