//! Ends of our own that die: a sender or a receiver that fails or panics ends the run with an error that names
//! the side, and nothing hangs.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::common::{
    Host, at_once, available, end_of, impatient, receivers, representatives, spec, verified, within,
};
use copycost::internals::sys::socket::{SendFlags, Socket};
use copycost::message::{Buffers, Message, Spec};
use copycost::offset::BufferStart;
use copycost::recv::{self, ReceivePath, Receiver};
use copycost::rig::{Rig, Work};
use copycost::scenario::Scenario;
use copycost::send::{Release, SendPath, Sender};

/// Large enough that no socket buffer holds a whole run.
const SIZE: usize = 1 << 20;

/// More messages than buffers hold.
const MANY: u64 = 64;

/// Two messages of this size in turn: for two clients they are within the 8 MiB that a user may lock.
fn large() -> Spec {
    Spec { buffers: Buffers::Ring(2), ..spec(SIZE, true) }
}

/// Sends three messages, then fails as the peer that went away would not.
#[derive(Debug)]
struct Dying {
    socket: Socket,
    left: u32,
    panics: bool,
}

impl Sender for Dying {
    fn send(&mut self, message: &Arc<Message>) -> io::Result<()> {
        for field in message.slices() {
            self.socket.send(field, SendFlags::NONE)?;
        }
        self.left = self.left.saturating_sub(1);
        assert!(self.left > 0 || !self.panics, "made to panic");
        if self.left == 0 { Err(io::Error::other("made to fail")) } else { Ok(()) }
    }
}

const fn dying(panics: bool) -> SendPath {
    SendPath {
        name: "dying",
        description: "for tests",
        aliases: &[],
        release: Release::OnReturn,
        delays: false,
        probe: |_| Ok(()),
        open: if panics {
            |socket, _, _| Ok(Box::new(Dying { socket, left: 3, panics: true }))
        } else {
            |socket, _, _| Ok(Box::new(Dying { socket, left: 3, panics: false }))
        },
    }
}

static FAILING: SendPath = dying(false);
static PANICKING: SendPath = dying(true);

#[test]
fn a_sender_that_dies_names_its_side_and_ends_its_connection() {
    for (path, why) in [(&FAILING, "made to fail"), (&PANICKING, "panicked")] {
        within(why, move || {
            for (receive, verify) in receivers() {
                let scenario = Scenario { receive, verify, ..verified(path, spec(1024, false), 2) };
                let error = end_of(Rig::build(&scenario));
                assert!(error.starts_with("the sender of client ") && error.contains(why), "{error}");
            }
            // Its client is not left waiting, though the server goes on for others.
            let host = Host::start(path, spec(1024, false), 2, |_| {});
            for client in [0, 1] {
                let guest = host.guest(client);
                guest.ask(9, true);
                assert!(host.failure(client as usize).error.to_string().contains(why));
                assert_eq!(guest.read_to_end().unwrap(), 3 * 1024);
            }
        });
    }
}

/// How a receiver ends that has taken more than it can bear.
#[derive(Debug, Clone, Copy)]
enum Death {
    Panic,
    Error,
    /// It shuts the connection down, as a client whose machine goes away would.
    Close,
}

#[derive(Debug)]
struct Mortal {
    inner: Box<dyn Receiver>,
    socket: Socket,
    left: usize,
    death: Death,
}

impl Receiver for Mortal {
    fn recv(&mut self, max: usize, see: &mut dyn FnMut(&[u8])) -> io::Result<usize> {
        let got = self.inner.recv(max, see)?;
        self.left = self.left.saturating_sub(got);
        match (self.left, self.death) {
            (1.., _) => {}
            (0, Death::Panic) => panic!("made to panic"),
            (0, Death::Error) => return Err(io::Error::other("made to fail")),
            (0, Death::Close) => self.socket.shutdown(),
        }
        Ok(got)
    }
}

fn mortal(socket: Socket, begin: BufferStart, death: Death) -> io::Result<Box<dyn Receiver>> {
    let inner = (recv::ALL[0].open)(socket.try_clone()?, begin)?;
    Ok(Box::new(Mortal { inner, socket, left: 4 << 20, death }))
}

const fn dying_receiver(
    name: &'static str,
    open: fn(Socket, BufferStart) -> io::Result<Box<dyn Receiver>>,
) -> ReceivePath {
    ReceivePath { name, description: "for tests", probe: |_| Ok(()), open }
}

static MORTALS: [ReceivePath; 3] = [
    dying_receiver("panic", |socket, begin| mortal(socket, begin, Death::Panic)),
    dying_receiver("error", |socket, begin| mortal(socket, begin, Death::Error)),
    dying_receiver("close", |socket, begin| mortal(socket, begin, Death::Close)),
];

#[test]
fn a_receiver_that_dies_ends_the_run_with_an_error() {
    for (turn, receive) in MORTALS.iter().enumerate() {
        at_once(representatives(available(&large()), turn), 4 * SIZE, move |path| {
            let scenario = verified(path, large(), 2);
            let scenario = Scenario { receive, options: impatient(Duration::from_secs(2)), ..scenario };
            // It may die in the warm-up already.
            let error = end_of(Rig::build(&scenario).and_then(|mut rig| {
                let result = rig.run(Work::Rounds(MANY));
                let again = rig.run(Work::Rounds(1)).unwrap_err().to_string();
                assert_eq!(again, "this rig has failed before and cannot run again");
                result
            }));
            assert!(error.contains("client 0") || error.contains("client 1"), "{error}");
        });
    }
}
