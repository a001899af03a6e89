//! The generator of an open loop: one thread asks for the messages of all clients when they are due. It never
//! waits for an answer or for room in a socket.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::time::Duration;

use super::open_loop::{DueTimes, OpenLoop};
use super::progress::Progress;
use crate::latency::Latencies;
use crate::protocol::Ask;

/// What the generator did in one run.
#[derive(Debug, Default)]
pub struct GeneratorReport {
    /// Messages that were due.
    pub due: u64,
    /// How late the generator came to each of them.
    pub lateness: Latencies,
    /// The load could not be carried, so that the generator stopped early.
    pub overloaded: bool,
}

/// Why a run ended without a report.
#[derive(Debug)]
pub(super) enum Failure {
    /// The run has failed elsewhere.
    Abandoned,
    /// A connection failed.
    Connection {
        /// Its client.
        client: usize,
        /// The error of the send.
        error: io::Error,
    },
}

/// The clock of the generator.
pub(super) trait Clock {
    /// The time since the start of the run.
    fn now(&self) -> Duration;
    /// Sleeps for about this long.
    fn sleep(&self, time: Duration);
}

/// The connections of the clients.
pub(super) trait Connections {
    /// Hands bytes to the connection of a client without waiting and returns how many it took. A full socket is
    /// `WouldBlock`.
    fn send(&mut self, client: usize, bytes: &[u8]) -> io::Result<usize>;
}

/// Before a message is due, the generator spins for this long, because a sleeping thread may wake up late.
const SPIN: Duration = Duration::from_millis(1);

/// The longest sleep, so that the generator soon notices a run that has failed.
const LONGEST_SLEEP: Duration = Duration::from_millis(10);

/// The pause before the next attempt to hand requests to a socket that was full.
const RETRY_PAUSE: Duration = Duration::from_micros(20);

/// After the last message is due, its request may wait this long for room. Later, the load counts as one that
/// cannot be carried.
const GRACE: Duration = Duration::from_secs(1);

/// The most requests in one send.
const BATCH: u64 = 256;

/// The most messages of one client that are taken before its requests are sent, so that a generator that is late
/// still sends.
const MOST_AT_ONCE: u64 = BATCH;

/// Asks for all messages of `load`. `most_ahead` says for each client how many messages may be asked for and not
/// yet received.
pub(super) fn generate(
    load: &OpenLoop,
    most_ahead: &[u64],
    progress: &Progress,
    clock: &impl Clock,
    connections: &mut impl Connections,
) -> Result<GeneratorReport, Failure> {
    let (most_outstanding, deadline) = (load.most_outstanding(), load.length.saturating_add(GRACE));
    let mut report = GeneratorReport::default();
    let stream = |(client, ahead): (usize, &u64)| Stream::new(load.due_times(client), *ahead);
    let mut streams: Vec<Stream> = most_ahead.iter().enumerate().map(stream).collect();
    let first = |(client, stream): (usize, &Stream)| Some(Reverse((stream.next?, client)));
    let mut next: BinaryHeap<Reverse<(Duration, usize)>> =
        streams.iter().enumerate().filter_map(first).collect();
    // The clients that have requests to send.
    let mut waiting = with_requests(&streams);
    let mut retry = Duration::ZERO;
    loop {
        if progress.is_abandoned() {
            return Err(Failure::Abandoned);
        }
        // One client at a time, because each send takes a while in which the others become later.
        let now = clock.now();
        let mut overloaded = now > deadline && !waiting.is_empty();
        if let Some(Reverse((_, client))) = next.peek().copied().filter(|Reverse((due, _))| *due <= now) {
            next.pop();
            let stream = &mut streams[client];
            let waited = stream.unsent() > 0;
            let received = progress.received(client);
            stream.take_due(now, &mut report);
            overloaded |= stream.due - received > most_outstanding;
            next.extend(stream.next.map(|due| Reverse((due, client))));
            if !waited && stream.send(received, client, connections)? {
                waiting.push(client);
            }
        }
        if overloaded && !report.overloaded {
            report.overloaded = true;
            next.clear();
            for (client, stream) in streams.iter_mut().enumerate() {
                stream.close().into_iter().for_each(|messages| progress.close(client, messages));
            }
            waiting = with_requests(&streams);
        }
        if !waiting.is_empty() && now >= retry {
            let mut left = Vec::with_capacity(waiting.len());
            for client in waiting {
                if streams[client].send(progress.received(client), client, connections)? {
                    left.push(client);
                }
            }
            (waiting, retry) = (left, now + RETRY_PAUSE);
        }
        match next.peek() {
            None if waiting.is_empty() => return Ok(report),
            Some(Reverse((due, _))) if waiting.is_empty() && *due > now + SPIN => {
                clock.sleep((*due - now - SPIN).min(LONGEST_SLEEP));
            }
            _ => std::hint::spin_loop(),
        }
    }
}

fn with_requests(streams: &[Stream]) -> Vec<usize> {
    let requests = streams.iter().enumerate().filter(|(_, stream)| stream.unsent() > 0);
    requests.map(|(client, _)| client).collect()
}

/// The requests of one client.
#[derive(Debug)]
struct Stream {
    times: DueTimes,
    /// When the next message is due; `None` if no more messages become due.
    next: Option<Duration>,
    /// The messages that were due so far.
    due: u64,
    /// The requests that the socket has taken completely. There is one for each message.
    asked: u64,
    /// The bytes of the next request that the socket has taken.
    partial: usize,
    /// Nothing is ever due, so that the only request is for no message.
    empty: bool,
    most_ahead: u64,
}

impl Stream {
    fn new(mut times: DueTimes, most_ahead: u64) -> Self {
        let next = times.next();
        let empty = next.is_none();
        Self { times, next, due: u64::from(empty), asked: 0, partial: 0, empty, most_ahead }
    }

    fn unsent(&self) -> u64 {
        self.due - self.asked
    }

    /// Takes the messages that are due by `now`, at most [`MOST_AT_ONCE`].
    fn take_due(&mut self, now: Duration, report: &mut GeneratorReport) {
        for _ in 0..MOST_AT_ONCE {
            let Some(due) = self.next.filter(|due| *due <= now) else { break };
            report.due += 1;
            report.lateness.record(now - due);
            self.due += 1;
            self.next = self.times.next();
        }
    }

    /// Ends the stream early: requests that the socket has not taken are dropped, and one more closes the run.
    /// Returns the number of all messages; `None` if the stream ends as planned.
    fn close(&mut self) -> Option<u64> {
        if self.next.is_none() && self.unsent() <= 1 {
            return None;
        }
        self.next = None;
        // A request that was sent in part must be completed. The message of the closing request tells the client
        // that the run is over; without it, the client might already wait for the next message.
        self.due = self.asked + u64::from(self.partial > 0) + 1;
        Some(self.due)
    }

    /// Sends what the socket takes, if the client has received `received` messages so far. Returns whether
    /// requests are left.
    fn send(
        &mut self,
        received: u64,
        client: usize,
        connections: &mut impl Connections,
    ) -> Result<bool, Failure> {
        while self.unsent() > 0 {
            let room = self.most_ahead.saturating_sub(self.asked.saturating_sub(received));
            let requests = self.unsent().min(BATCH).min(room);
            if requests == 0 {
                return Ok(true);
            }
            let mut bytes = [0; BATCH as usize * Ask::BYTES];
            let bytes = &mut bytes[..requests as usize * Ask::BYTES];
            for (request, encoded) in (self.asked + 1..).zip(bytes.chunks_exact_mut(Ask::BYTES)) {
                let last = self.next.is_none() && request == self.due;
                encoded.copy_from_slice(&Ask { messages: u64::from(!self.empty), last }.encode());
            }
            let rest = &bytes[self.partial..];
            let sent = match connections.send(client, rest) {
                Ok(sent) => sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(error) => return Err(Failure::Connection { client, error }),
            };
            let full = sent < rest.len();
            let sent = self.partial + sent;
            self.asked += (sent / Ask::BYTES) as u64;
            self.partial = sent % Ask::BYTES;
            if full {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::clients::Arrivals;

    /// Passes by 10 µs at each look, and shows its time in steps.
    struct Steps {
        time: Cell<Duration>,
        step: Duration,
    }

    impl Steps {
        fn of(step: Duration) -> Self {
            Self { time: Cell::default(), step }
        }
    }

    impl Clock for Steps {
        fn now(&self) -> Duration {
            self.time.set(self.time.get() + Duration::from_micros(10));
            let step = self.step.as_nanos();
            Duration::from_nanos((self.time.get().as_nanos() / step * step) as u64)
        }

        fn sleep(&self, time: Duration) {
            self.time.set(self.time.get() + time);
        }
    }

    /// Peers that answer every request that has arrived completely, unless they are too slow.
    struct Peers<'a> {
        progress: &'a Progress,
        streams: Vec<Vec<u8>>,
        answers: bool,
        /// How much a socket takes at the next send.
        room: Box<dyn FnMut() -> usize + 'a>,
        sends: usize,
    }

    impl<'a> Peers<'a> {
        fn new(progress: &'a Progress, room: impl FnMut() -> usize + 'a) -> Self {
            let streams = vec![Vec::new(); progress.clients()];
            Self { progress, streams, answers: true, room: Box::new(room), sends: 0 }
        }

        fn asks(&self, client: usize) -> Vec<Ask> {
            let asks = self.streams[client].chunks(Ask::BYTES);
            asks.map(|bytes| Ask::decode(bytes.try_into().unwrap()).unwrap()).collect()
        }
    }

    impl Connections for Peers<'_> {
        fn send(&mut self, client: usize, bytes: &[u8]) -> io::Result<usize> {
            self.sends += 1;
            let taken = (self.room)().min(bytes.len());
            if taken == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let stream = &mut self.streams[client];
            stream.extend_from_slice(&bytes[..taken]);
            if self.answers {
                self.progress.set_received(client, (stream.len() / Ask::BYTES) as u64);
            }
            Ok(taken)
        }
    }

    const MILLISECOND: Duration = Duration::from_millis(1);

    fn load(messages: u32, arrivals: Arrivals) -> OpenLoop {
        OpenLoop { interval: MILLISECOND, length: MILLISECOND * messages, arrivals, seed: 1 }
    }

    /// Single messages, and only the last request ends the run.
    fn assert_ends(asks: &[Ask]) {
        let (last, others) = asks.split_last().unwrap();
        assert_eq!(*last, Ask { messages: 1, last: true });
        assert!(others.iter().all(|ask| *ask == Ask { messages: 1, last: false }));
    }

    #[test]
    fn a_coarse_clock_shows_in_the_lateness() {
        const STEP: Duration = Duration::from_millis(4);
        for (step, most) in [(STEP, STEP), (Duration::from_nanos(1), Duration::from_micros(200))] {
            let progress = Progress::new(20);
            let mut peers = Peers::new(&progress, || usize::MAX);
            let load = load(400, Arrivals::Fixed);
            let report = generate(&load, &[1000; 20], &progress, &Steps::of(step), &mut peers).unwrap();
            assert_eq!((report.due, report.lateness.len(), report.overloaded), (8000, 8000, false));
            let lateness = report.lateness.max().unwrap();
            assert!(lateness <= most.mul_f64(1.01), "{lateness:?}");
            if step == STEP {
                let mean = report.lateness.mean().unwrap();
                assert!(lateness > STEP.mul_f64(0.9), "{lateness:?}");
                assert!(mean > STEP.mul_f64(0.4) && mean < STEP.mul_f64(0.6), "{mean:?}");
                // What is due at once goes out at once: 20 clients, every 4 ms.
                assert!(peers.sends < 20 * 110, "{}", peers.sends);
            }
        }
    }

    #[test]
    fn a_socket_may_take_any_part_of_a_request() {
        for seed in 0..50 {
            let mut random = fastrand::Rng::with_seed(seed);
            let progress = Progress::new(3);
            let mut peers = Peers::new(&progress, || random.usize(..40).saturating_sub(10));
            let load = load(300, Arrivals::Poisson);
            let clock = Steps::of(Duration::from_nanos(1));
            let report = generate(&load, &[1, 2, 1000], &progress, &clock, &mut peers).unwrap();
            let counts = [0, 1, 2].map(|client| load.due_times(client).count());
            assert_eq!(report.due, counts.iter().sum::<usize>() as u64);
            assert!(!report.overloaded);
            for (client, count) in counts.into_iter().enumerate() {
                assert_ends(&peers.asks(client));
                assert_eq!(peers.asks(client).len(), count);
            }
        }
    }

    #[test]
    fn a_client_without_messages_asks_for_the_end_of_the_run() {
        let progress = Progress::new(2);
        let mut peers = Peers::new(&progress, || 5);
        let nothing = load(0, Arrivals::Poisson);
        let clock = Steps::of(MILLISECOND);
        let report = generate(&nothing, &[1; 2], &progress, &clock, &mut peers).unwrap();
        assert_eq!((report.due, report.lateness.len(), report.overloaded), (0, 0, false));
        assert_eq!(peers.asks(1), [Ask { messages: 0, last: true }]);
    }

    #[test]
    fn an_overload_ends_all_streams_early() {
        // Client 0 takes requests, but never answers; client 1 takes 500 requests and half of one more.
        for (ahead, asked) in [([5000, 5000], 1001), ([200, 5000], 200)] {
            let progress = Progress::new(2);
            let mut room = [usize::MAX, 500 * Ask::BYTES + 8];
            let mut streams = [Vec::new(), Vec::new()];
            let mut sends = 0;
            struct Silent<'a>(&'a mut [usize; 2], &'a mut [Vec<u8>; 2], &'a Progress, &'a mut usize);
            impl Connections for Silent<'_> {
                fn send(&mut self, client: usize, bytes: &[u8]) -> io::Result<usize> {
                    *self.3 += 1;
                    let taken = self.0[client].min(bytes.len());
                    self.0[client] -= taken;
                    self.1[client].extend_from_slice(&bytes[..taken]);
                    // Once the generator waits with the last requests, the peers wake up.
                    if self.2.is_closed_by(1, 502) {
                        self.0[1] = usize::MAX;
                        self.2.set_received(0, 200);
                    }
                    if taken == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(taken) }
                }
            }
            let mut silent = Silent(&mut room, &mut streams, &progress, &mut sends);
            let load = load(100_000, Arrivals::Fixed);
            let clock = Steps::of(Duration::from_nanos(1));
            let report = generate(&load, &ahead, &progress, &clock, &mut silent).unwrap();
            assert!(report.overloaded && (2000..2003).contains(&report.due), "{report:?}");
            assert_eq!(report.lateness.len(), report.due);
            assert!(clock.now() < Duration::from_secs(2));
            for (stream, expected) in streams.iter().zip([asked + 1, 502]) {
                let asks: Vec<Ask> = stream
                    .chunks(Ask::BYTES)
                    .map(|bytes| Ask::decode(bytes.try_into().unwrap()).unwrap())
                    .collect();
                assert_ends(&asks);
                assert!(asks.len().abs_diff(expected) <= 1, "{} for {expected}", asks.len());
            }
            let ended = [0, 1].map(|client| streams[client].len() / Ask::BYTES);
            assert!((0..2).all(|client| progress.is_closed_by(client, ended[client] as u64)));
        }
    }

    #[test]
    fn requests_that_find_no_room_after_the_end_are_an_overload() {
        let progress = Progress::new(1);
        let mut calls = 0;
        let mut peers = Peers::new(&progress, || {
            calls += 1;
            if calls < 200_000 { 0 } else { usize::MAX }
        });
        let clock = Steps::of(Duration::from_nanos(1));
        let report = generate(&load(10, Arrivals::Fixed), &[8], &progress, &clock, &mut peers).unwrap();
        assert_eq!((report.due, report.overloaded), (10, true));
        assert_eq!(peers.asks(0), [Ask { messages: 1, last: true }]);
        assert!(progress.is_closed_by(0, 1));
    }

    #[test]
    fn a_failed_connection_or_run_ends_it() {
        struct Broken;
        impl Connections for Broken {
            fn send(&mut self, _: usize, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
        }
        let progress = Progress::new(4);
        let clock = Steps::of(MILLISECOND);
        let load = load(10, Arrivals::Poisson);
        let failure = generate(&load, &[8; 4], &progress, &clock, &mut Broken).unwrap_err();
        assert!(matches!(failure, Failure::Connection { .. }), "{failure:?}");
        progress.abandon();
        let failure = generate(&load, &[8; 4], &progress, &clock, &mut Broken).unwrap_err();
        assert!(matches!(failure, Failure::Abandoned), "{failure:?}");
    }
}
