//! The parts by themselves, in user space and on one socket: what a message costs before and beside the kernel.
//! Groups `part` and `{path}-call`.

mod matrix;

use std::hint::black_box;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use matrix::groups;

use copycost::internals::pool::MessagePool;
use copycost::internals::sys::socket::Socket;
use copycost::message::{Message, Spec};
use copycost::offset::Pages;
use copycost::send::{self, Budget, SendPath, Sender, SenderConfig, drain};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};

const SIZES: [usize; 2] = [1024, 65_536];

fn spec(size: usize) -> Spec {
    Spec::new(size).expect("the sizes are valid")
}

fn parts(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group(groups::PART);
    let message = Message::new(&spec(1024)).expect("memory for a message");
    group.bench_function("eight iovecs", |b| b.iter(|| black_box(&message).slices().len()));
    for size in SIZES {
        let message = Message::new(&spec(size)).expect("memory for a message");
        let mut buffer = Vec::with_capacity(size);
        group.bench_function(BenchmarkId::new("gather eight fields", size), |b| {
            b.iter(|| {
                buffer.clear();
                black_box(&message).slices().iter().for_each(|field| buffer.extend_from_slice(field));
                black_box(&buffer);
            });
        });
    }
    group.finish();
}

/// One message into a socket whose peer throws everything away.
fn calls(criterion: &mut Criterion) {
    for path in send::ORIGINAL.iter().filter_map(|name| send::by_name(name)) {
        let mut group = criterion.benchmark_group(groups::call(path));
        for size in SIZES {
            let spec = spec(size);
            let Ok(()) = (path.probe)(&spec) else { break };
            let mut open: Option<Discarding> = None;
            group.bench_function(BenchmarkId::from_parameter(size), |b| {
                let Discarding { sender, message, .. } =
                    open.get_or_insert_with(|| Discarding::open(path, &spec));
                b.iter(|| sender.send(message).expect("the peer reads"));
            });
        }
        group.finish();
    }
}

struct Discarding {
    sender: Box<dyn Sender>,
    message: Arc<Message>,
    peer: Option<JoinHandle<()>>,
    socket: Socket,
}

impl Discarding {
    fn open(path: &SendPath, spec: &Spec) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback listener");
        let address = listener.local_addr().expect("its address");
        let peer = thread::Builder::new().spawn(move || discard(address)).expect("a thread");
        let socket = Socket::from(listener.accept().expect("the peer connects").0);
        let own = socket.try_clone().expect("a second handle");
        let pool = MessagePool::new(spec, false).expect("memory for a message");
        let message = Arc::clone(&pool.messages()[0]);
        let terms = SenderConfig::within(Budget { bytes: 1 << 20, notifications: 100, pages: None });
        let sender = (path.open)(socket, pool.messages(), terms).expect("the path was probed");
        Self { sender, message, peer: Some(peer), socket: own }
    }
}

fn discard(address: std::net::SocketAddr) {
    let mut stream = TcpStream::connect(address).expect("the listener is there");
    const BYTES: usize = 256 << 10;
    let mut pages = Pages::new(BYTES);
    let buffer = pages.at(64, BYTES);
    while matches!(stream.read(buffer), Ok(n) if n > 0) {}
}

impl Drop for Discarding {
    fn drop(&mut self) {
        let _ = drain(&mut *self.sender, Instant::now() + Duration::from_secs(5));
        self.socket.shutdown();
        if let Some(peer) = self.peer.take() {
            let _ = peer.join();
        }
    }
}

criterion_group!(name = benches; config = matrix::config(); targets = parts, calls);
criterion_main!(benches);
