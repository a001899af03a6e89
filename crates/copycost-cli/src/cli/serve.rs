//! `copycost serve`: runs the server on its own host.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use crossbeam::channel::{Receiver, unbounded};
use crossbeam::select;

use super::arguments::{self, PathChoice};
use super::zone::ZonedAddress;
use super::{Done, Failure, output, over, signals, values};
use crate::remote::raw::{Departure, RawServer};
use crate::remote::{HostLimits, RemoteServer};
use copycost::internals::connection::{self, AppliedOptions, ConnectionOptions};
use copycost::internals::server::{Handlers, Server};
use copycost::internals::sys::limits;
use copycost::message::{Buffers, Fields, Layout, Spec};
use copycost::send::{Budget, SendPath, SenderConfig, ZeroCopyLimits};
use copycost::units::{ByteSize, Rate, thousands};

/// The default of --max-clients.
const MOST_CLIENTS: usize = 64;

#[derive(Debug, Args)]
pub struct ServeArguments {
    /// The address to listen on; a link-local one with its interface: fe80::1%eth0
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS")]
    bind: ZonedAddress,
    /// The port to listen on; 0 picks one
    #[arg(long, default_value_t = 9000)]
    port: u16,
    /// A file with a secret that clients must have; required for any address other than loopback
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Serve anyone who connects, on any address
    #[arg(long)]
    insecure_open: bool,
    /// The most clients at once, over all hosts that measure
    #[arg(long, value_name = "N", value_parser = arguments::clients, default_value_t = MOST_CLIENTS)]
    max_clients: usize,
    /// Without a protocol: send messages by this path to each TCP client until it disconnects
    #[arg(long, value_name = "PATH", value_parser = values::path(), hide_possible_values = true,
          conflicts_with = "token_file")]
    raw: Option<PathChoice>,
    /// How long a client may be silent before the server drops it
    #[arg(long, value_name = "S", value_parser = arguments::seconds, hide = true)]
    stall: Option<Duration>,
    /// How long a new connection may take to identify itself
    #[arg(long, value_name = "S", value_parser = arguments::seconds, hide = true)]
    hello: Option<Duration>,
    /// With --raw: the message size
    #[arg(short, long, value_name = "SIZE", value_parser = arguments::size, default_value = "64KiB", requires = "raw")]
    size: ByteSize,
    /// With --raw: where the fields lie: heap, page, arena, huge or memfd
    #[arg(long, default_value_t, value_parser = values::layout(), hide_possible_values = true, requires = "raw")]
    layout: Layout,
    /// With --raw: how the message is divided: even, headed or single
    #[arg(long, default_value_t, requires = "raw")]
    fields: Fields,
    /// With --raw: constant, or ring:N
    #[arg(long, default_value_t, requires = "raw")]
    buffers: Buffers,
}

impl ServeArguments {
    pub fn run(&self) -> Result<Done, Failure> {
        let token = over::token(self.token_file.as_ref())?;
        self.check_openness(token.is_some())?;
        raise_open_files(self.max_clients);
        let signals = signals::listen()?;
        let options = arguments::options(self.stall);
        let options =
            ConnectionOptions { hello_timeout: self.hello.unwrap_or(options.hello_timeout), ..options };
        let address = self.bind.with_port(self.port);
        let listener = connection::listen(address, &options).map_err(|error| {
            Failure::Usage(format!(
                "invalid value for --bind and --port: the server cannot listen on {address}: {error}"
            ))
        })?;
        match self.raw {
            Some(choice) => self.serve_raw(choice, listener, options, &signals),
            None => {
                let remote = RemoteServer::new(HostLimits { token, most_clients: self.max_clients }, options);
                let handlers = Handlers { control: Some(Arc::new(remote)), raw: None };
                let server = Server::start(listener, options, handlers).map_err(failed)?;
                self.announce(&server);
                let _ = signals.recv();
                server.registry().finish(options.stall_timeout);
                output::print(&format!("served {} scenarios\n", server.registry().registrations()));
                Ok(Done::Yes)
            }
        }
    }

    /// Refuses to send at line rate to anyone who connects, unless --insecure-open allows it.
    fn check_openness(&self, token: bool) -> Result<(), Failure> {
        let usage = |text: &str| Err(Failure::Usage(text.to_owned()));
        if self.bind.ip.is_loopback() {
            return Ok(());
        }
        if self.raw.is_some() && !self.insecure_open {
            return usage(
                "--raw on an address other than loopback sends data to anyone who connects: add \
                 --insecure-open to allow that",
            );
        }
        if !token && !self.insecure_open {
            return usage(
                "--bind on an address other than loopback needs --token-file FILE (a secret that both hosts \
                 have), or --insecure-open to serve anyone who connects",
            );
        }
        Ok(())
    }

    /// Prints the address on the first line, for programs that wait for it.
    fn announce(&self, server: &Server) {
        output::print(&format!("listening on {}\n", server.address()));
        if !self.bind.ip.is_loopback() && self.token_file.is_none() {
            let bind = self.bind;
            output::message(&format!(
                "warning: --insecure-open: anyone who reaches {bind} receives data at line rate"
            ));
        }
    }

    fn serve_raw(
        &self,
        choice: PathChoice,
        listener: copycost::internals::sys::socket::Socket,
        options: ConnectionOptions,
        signals: &Receiver<()>,
    ) -> Result<Done, Failure> {
        let PathChoice::One(path) = choice else {
            return Err(Failure::Usage("invalid value for --raw: give one path, not all".to_owned()));
        };
        let spec = self.spec(path)?;
        let applied = AppliedOptions::of(&listener).map_err(failed)?;
        let budget = Budget::share(&ZeroCopyLimits::of_process(), self.max_clients, applied.send_buffer);
        let (departures, departed) = unbounded();
        let (serving, stopping) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let raw = RawServer {
            path,
            spec,
            terms: SenderConfig::within(budget),
            stall: options.stall_timeout,
            most_clients: self.max_clients,
            serving: Arc::clone(&serving),
            stopping: Arc::clone(&stopping),
            departures,
        };
        let handlers = Handlers { raw: Some(Arc::new(raw)), control: None };
        let server = Server::start(listener, options, handlers).map_err(failed)?;
        self.announce(&server);
        let mut total = ServedTotals::default();
        loop {
            select! {
                recv(departed) -> departure => if let Ok(departure) = departure { total.add(&departure); },
                recv(signals) -> _ => break,
            }
        }
        stopping.store(true, Ordering::SeqCst);
        let by = Instant::now() + options.stall_timeout;
        while serving.load(Ordering::SeqCst) > 0 && Instant::now() < by {
            if let Ok(departure) = departed.recv_timeout(Duration::from_millis(10)) {
                total.add(&departure);
            }
        }
        drop(server);
        while let Ok(departure) = departed.try_recv() {
            total.add(&departure);
        }
        output::print(&format!("served {} clients, {} bytes\n", total.clients, thousands(total.bytes)));
        Ok(Done::Yes)
    }

    fn spec(&self, path: &SendPath) -> Result<Spec, Failure> {
        let spec = Spec::new(self.size.0).map_err(|error| Failure::Usage(error.to_string()))?;
        let spec = spec.with_fields(self.fields).map_err(|error| Failure::Usage(error.to_string()))?;
        let spec = Spec { layout: self.layout, buffers: self.buffers, ..spec };
        (path.probe)(&spec).map_err(|reason| Failure::Usage(format!("{}: {reason}", path.name)))?;
        Ok(spec)
    }
}

/// The totals of all clients that have left.
#[derive(Debug, Default)]
struct ServedTotals {
    clients: u64,
    bytes: u64,
}

impl ServedTotals {
    /// Adds a client that left, and prints its line.
    fn add(&mut self, departure: &Departure) {
        self.clients += 1;
        self.bytes += departure.bytes;
        output::print(&line(departure));
    }
}

/// One line about a client that left.
fn line(departure: &Departure) -> String {
    let Departure { peer, bytes, elapsed, ledger, error } = departure;
    let seconds = elapsed.as_secs_f64();
    let rate = Rate(*bytes as f64 / seconds.max(f64::MIN_POSITIVE));
    let mut line = format!("{peer}: {} bytes in {seconds:.2} s, {rate}", thousands(*bytes));
    if let Some(ledger) = ledger {
        let (sends, copied) = (thousands(ledger.sends), thousands(ledger.copied));
        line += &format!(", {sends} zero-copy sends, {copied} copied, {} fallbacks", ledger.fallbacks);
        if ledger.doubtful > 0 {
            line +=
                &format!(", {} marked copied by io_uring, which proves nothing", thousands(ledger.doubtful));
        }
    }
    if let Some(error) = error {
        line += &format!("; ended by: {error}");
    }
    line + "\n"
}

fn failed(error: std::io::Error) -> Failure {
    Failure::Failed(format!("the server could not start: {error}"))
}

/// Raises the limit of open files to what the clients and pending connections may need. If the hard limit is lower,
/// further connections wait to be accepted.
fn raise_open_files(clients: usize) {
    const PER_CLIENT: u64 = 24;
    const PENDING: u64 = 2560;
    let needed = clients as u64 * PER_CLIENT + PENDING;
    if let Ok(limit) = limits::open_files()
        && limit.soft < needed
    {
        let _ = limits::set_open_files(needed.min(limit.hard));
    }
}
