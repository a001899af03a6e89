//! The thread of the generator, which has all clients' connections.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver as Commands, Sender};

use super::generator::{Clock, Connections, Failure, GeneratorReport, generate};
use super::open_loop::OpenLoop;
use super::progress::Progress;
use super::state::RunState;
use super::{ClientOutcome, ThreadPlacement};
use crate::sys::socket::{SendFlags, Socket};

/// How often to look whether all clients are ready to receive.
const READY_POLL: Duration = Duration::from_micros(50);

/// The thread of the generator.
pub(super) struct GeneratorThread {
    placement: ThreadPlacement,
    connections: Arc<[Socket]>,
    most_ahead: Vec<u64>,
    outcomes: Sender<ClientOutcome>,
    reports: Sender<GeneratorReport>,
    /// A run has begun and its result has not been sent. `Drop` then reports a panic.
    owes_report: bool,
}

impl Drop for GeneratorThread {
    fn drop(&mut self) {
        if self.owes_report {
            self.fail(0, "its thread panicked");
        }
    }
}

impl GeneratorThread {
    pub(super) fn new(
        placement: ThreadPlacement,
        connections: Arc<[Socket]>,
        most_ahead: Vec<u64>,
        outcomes: Sender<ClientOutcome>,
        reports: Sender<GeneratorReport>,
    ) -> Self {
        Self { placement, connections, most_ahead, outcomes, reports, owes_report: false }
    }

    pub(super) fn run_commands(mut self, commands: &Commands<(Arc<RunState>, OpenLoop)>) {
        if let Err(error) = self.placement.apply() {
            self.fail(0, &error.to_string());
        }
        while let Ok((state, load)) = commands.recv() {
            self.owes_report = true;
            let result = self.run(&state.open_loop, &load);
            self.owes_report = false;
            match result {
                Ok(report) => drop(self.reports.send(report)),
                Err(Failure::Connection { client, error }) => self.fail(client, &error.to_string()),
                Err(Failure::Abandoned) => {}
            }
        }
    }

    /// Reports an error as that of a client. The rig then ends the run.
    fn fail(&self, client: usize, error: &str) {
        let error = io::Error::other(format!("the generator could not ask for its messages: {error}"));
        let _ = self.outcomes.send(ClientOutcome { client, result: Err(error) });
    }

    fn run(&self, progress: &Progress, load: &OpenLoop) -> Result<GeneratorReport, Failure> {
        while !progress.all_ready() {
            if progress.is_abandoned() {
                return Err(Failure::Abandoned);
            }
            thread::sleep(READY_POLL);
        }
        let clock = SystemClock(progress.begin());
        generate(load, &self.most_ahead, progress, &clock, &mut Sockets(&self.connections))
    }
}

/// The time since the start of the run.
struct SystemClock(Instant);

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }

    fn sleep(&self, time: Duration) {
        thread::sleep(time);
    }
}

struct Sockets<'a>(&'a [Socket]);

impl Connections for Sockets<'_> {
    fn send(&mut self, client: usize, bytes: &[u8]) -> io::Result<usize> {
        self.0[client].send(bytes, SendFlags::DONTWAIT)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::clients::Arrivals;

    #[test]
    fn a_peer_that_does_not_read_never_blocks_the_generator() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (silent, _) = listener.accept().unwrap();
        let socket = Socket::from(stream);
        socket.options().set_send_buffer_size(4096).unwrap();
        let sockets = [socket];
        let progress = Progress::new(1);
        let (interval, length) = (Duration::from_micros(1), Duration::from_secs(3600));
        let load = OpenLoop { interval, length, arrivals: Arrivals::Poisson, seed: 3 };
        let began = Instant::now();
        let failure = thread::scope(|scope| {
            thread::Builder::new()
                .spawn_scoped(scope, || {
                    // More than the overload takes: until then, the generator counts what is due.
                    thread::sleep(Duration::from_millis(1500));
                    progress.abandon();
                })
                .unwrap();
            let clock = SystemClock(progress.begin());
            generate(&load, &[u64::MAX], &progress, &clock, &mut Sockets(&sockets)).unwrap_err()
        });
        assert!(matches!(failure, Failure::Abandoned), "{failure:?}");
        assert!(began.elapsed() < Duration::from_secs(20));
        drop(silent);
    }
}
