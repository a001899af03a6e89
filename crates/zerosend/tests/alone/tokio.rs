//! What a connection of a tokio runtime costs while nothing happens.

use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use ::tokio::io::AsyncReadExt as _;
use ::tokio::net::{TcpListener, TcpStream};
use ::tokio::runtime::Builder;
use ::tokio::{join, time};

use zerosend::Policy;
use zerosend::tokio::Stream;

use crate::common::child::{alone, this_test};

/// Both ends of a connection.
async fn pair() -> (Stream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (client, server) = join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    (Stream::with_options(server.unwrap().0, Policy::Always).unwrap(), client.unwrap())
}

/// tokio's own wait for room ends at once from the first report on, and a blocked task keeps a CPU: 60,553 rounds in half a
/// second were seen (tokio#5550).
#[test]
fn reports_that_nobody_reads_cost_no_cpu_whether_idle_or_blocked() {
    alone(this_test!(), || {
        let current = Builder::new_current_thread().enable_all().build().unwrap();
        for runtime in [current, Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()]
        {
            runtime.block_on(async {
                // Idle: everything is sent, and its reports are in the queue.
                let (mut idle, mut client) = pair().await;
                idle.send(vec![1; 500_000]).await.unwrap();
                client.read_exact(&mut vec![0; 500_000]).await.unwrap();
                // Blocked: the peer reads a little, so that there are reports, and then no more.
                let (mut blocked, mut slow) = pair().await;
                let blocked = ::tokio::spawn(async move {
                    let _ = time::timeout(Duration::from_secs(2), blocked.send(vec![1; 40 << 20])).await;
                });
                slow.read_exact(&mut vec![0; 1 << 20]).await.unwrap();
                let mut one = [0; 1];
                let mut waits = pin!(idle.read(&mut one));
                let quiet =
                    std::future::poll_fn(|cx| Poll::Ready(waits.as_mut().poll(cx).is_pending())).await;
                assert!(quiet);
                time::sleep(Duration::from_millis(300)).await;
                let (before, began) = (thread_times(), Instant::now());
                time::sleep(Duration::from_millis(800)).await;
                let used = thread_times().saturating_sub(before);
                assert!(used < began.elapsed() / 10, "{used:?} of CPU time in {:?}", began.elapsed());
                drop(client);
                blocked.await.unwrap();
            });
        }
    });
}

/// CPU time of the threads of this process that belong to tokio, and of this one.
fn thread_times() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().filter_map(Result::ok);
    let own = cpu_time_of("/proc/thread-self");
    let tokio = tasks.filter_map(|task| {
        let path = task.path();
        let name = std::fs::read_to_string(path.join("comm")).ok()?;
        name.starts_with("tokio").then(|| cpu_time_of(path.to_str().unwrap()))
    });
    own + tokio.sum::<Duration>()
}

fn cpu_time_of(task: &str) -> Duration {
    let stat = std::fs::read_to_string(format!("{task}/schedstat")).unwrap_or_default();
    Duration::from_nanos(stat.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0))
}
