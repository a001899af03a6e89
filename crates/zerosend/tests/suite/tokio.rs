//! Connections of a tokio runtime.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use ::tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use ::tokio::net::{TcpListener, TcpStream};
use ::tokio::runtime::{Builder, Runtime};
use ::tokio::{join, time};

use zerosend::tokio::Stream;
use zerosend::{Lost, Outcome, Payload, Policy};

use crate::common::{LONG, content, eventually};

/// Both kinds of runtime.
fn runtimes() -> [Runtime; 2] {
    let current = Builder::new_current_thread().enable_all().build().unwrap();
    [current, Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()]
}

/// Both ends of a connection.
async fn pair() -> (Stream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (client, server) = join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    (Stream::with_options(server.unwrap().0, Policy::Always).unwrap(), client.unwrap())
}

/// `work` on both kinds of runtime, which must not take long.
fn on_both<F: Future<Output = ()> + Send + 'static>(work: impl Fn() -> F) {
    for runtime in runtimes() {
        runtime.block_on(async {
            let work = ::tokio::spawn(work());
            time::timeout(LONG, work).await.expect("it hangs").unwrap();
        });
    }
}

#[test]
fn payloads_and_writes_arrive_in_their_order_and_receipts_resolve() {
    on_both(|| async {
        let (mut stream, mut client) = pair().await;
        let reading = ::tokio::spawn(async move {
            let mut bytes = Vec::new();
            client.read_to_end(&mut bytes).await.map(|_| bytes)
        });
        let (mut expected, mut receipts) = (Vec::new(), Vec::new());
        for index in 0..20 {
            let header = content(1, 10 * index, 10);
            let body = content(2, index * 300_000, [100, 5000, 300_000, 3 << 20][index % 4]);
            expected.extend([&header[..], &body, b"and a write"].concat());
            let payload = Payload::new().copied(header).by_reference(body);
            receipts.push((stream.send(payload).await.unwrap(), index));
            stream.write_all(b"and a write").await.unwrap();
        }
        for (receipt, index) in receipts {
            let released = receipt.await.unwrap();
            assert_eq!(released.outcome, Outcome::Copied, "over loopback");
            assert_eq!(released.payload.len(), 10 + [100, 5000, 300_000, 3 << 20][index % 4]);
        }
        assert_eq!(stream.stats().in_flight, 0);
        stream.shutdown().await.unwrap();
        assert!(reading.await.unwrap().unwrap() == expected);
    });
}

#[test]
fn a_cancelled_send_is_finished_before_the_next() {
    on_both(|| async {
        let (mut stream, mut client) = pair().await;
        // Before its first poll it has done nothing.
        drop(stream.send(content(9, 0, 1000)));
        let cut = time::timeout(Duration::from_millis(50), stream.send(content(3, 0, 20 << 20))).await;
        assert!(cut.is_err(), "nobody reads");
        // Its successor waits, and is dropped with its payload.
        let shared: Arc<[u8]> = vec![1; 100].into();
        let waiting = time::timeout(Duration::from_millis(20), stream.send(Arc::clone(&shared))).await;
        assert!(waiting.is_err());
        assert_eq!(Arc::strong_count(&shared), 1);
        let reading = ::tokio::spawn(async move {
            let mut bytes = Vec::new();
            client.read_to_end(&mut bytes).await.map(|_| bytes)
        });
        stream.send(content(3, 20 << 20, 5000)).await.unwrap();
        stream.shutdown().await.unwrap();
        drop(stream);
        assert!(reading.await.unwrap().unwrap() == content(3, 0, (20 << 20) + 5000));
    });
}

#[test]
fn halves_work_in_tasks_of_their_own() {
    on_both(|| async {
        const TURNS: usize = 200;
        let (stream, client) = pair().await;
        let (mut read, mut write) = stream.into_split();
        let echo = ::tokio::spawn(async move {
            let (mut from, mut to) = client.into_split();
            ::tokio::io::copy(&mut from, &mut to).await.unwrap();
            to.shutdown().await.unwrap();
        });
        let receiving = ::tokio::spawn(async move {
            let mut bytes = Vec::new();
            read.read_to_end(&mut bytes).await.map(|_| bytes)
        });
        let mut receipts = Vec::new();
        for turn in 0..TURNS {
            receipts.push(write.send(content(4, turn * 50_000, 50_000)).await.unwrap());
        }
        write.shutdown().await.unwrap();
        // In tasks of their own too.
        let receipts: Vec<_> = receipts.into_iter().map(::tokio::spawn).collect();
        for receipt in receipts {
            receipt.await.unwrap().unwrap();
        }
        assert!(receiving.await.unwrap().unwrap() == content(4, 0, TURNS * 50_000));
        echo.await.unwrap();
    });
}

#[test]
fn a_receipt_outlives_its_stream_and_a_runtime_may_end_with_sends_in_flight() {
    let mut kept = Vec::new();
    for runtime in runtimes() {
        let (receipt, client) = runtime.block_on(async {
            let (mut stream, client) = pair().await;
            let receipt = stream.send(content(5, 0, 100_000)).await.unwrap();
            (receipt, client.into_std().unwrap())
        });
        drop(runtime);
        client.set_nonblocking(false).unwrap();
        let mut bytes = Vec::new();
        io::Read::read_to_end(&mut &client, &mut bytes).unwrap();
        assert!(bytes == content(5, 0, 100_000));
        kept.push(receipt);
    }
    for receipt in kept {
        // On another runtime: it resolves in the background.
        let released = runtimes()[0].block_on(async { time::timeout(LONG, receipt).await.unwrap().unwrap() });
        assert_eq!(released.payload.len(), 100_000);
    }
}

#[test]
fn a_peer_that_resets_ends_sends_reads_and_receipts() {
    on_both(|| async {
        let (mut stream, client) = pair().await;
        let mut sending = Box::pin(stream.send(vec![1; 40 << 20]));
        let blocked = std::future::poll_fn(|cx| Poll::Ready(sending.as_mut().poll(cx).is_pending())).await;
        assert!(blocked);
        client.set_zero_linger().unwrap();
        drop(client);
        let error = sending.await.unwrap_err();
        assert!(error.payload.is_none(), "some of it was sent");
        let mut buffer = [0; 10];
        assert!(stream.read(&mut buffer).await.is_err());
        assert!(stream.send(vec![1]).await.is_err());
        let (mut stream, client) = pair().await;
        let receipt = stream.send(vec![1; 1000]).await.unwrap();
        client.set_zero_linger().unwrap();
        drop(client);
        let came = receipt.await;
        assert!(came.is_ok_and(|released| released.payload.len() == 1000));
        drop(stream);
        // A payload of which nothing was sent is lost with its future.
        let (mut stream, _client) = pair().await;
        let sent = time::timeout(Duration::from_millis(30), stream.send(vec![1; 40 << 20])).await;
        assert!(sent.is_err());
        let _ = Lost;
    });
}

#[test]
fn a_reset_is_told_by_its_name_to_who_sends_little() {
    on_both(|| async {
        for policy in [Policy::Auto, Policy::Never] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let (client, server) =
                join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
            let mut stream = Stream::with_options(server.unwrap().0, policy).unwrap();
            // Unread data makes the close a reset.
            stream.send(vec![1; 100]).await.unwrap();
            let client = client.unwrap();
            client.readable().await.unwrap();
            drop(client);
            let mut error = None;
            while error.is_none() {
                time::sleep(Duration::from_millis(1)).await;
                error = stream.send(vec![1; 100]).await.err();
            }
            assert_eq!(error.unwrap().error.kind(), std::io::ErrorKind::ConnectionReset);
        }
    });
}

#[test]
fn a_send_that_was_polled_once_is_finished_also_where_it_was_not_its_turn() {
    on_both(|| async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (client, server) = join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        let mut stream = Stream::with_options(server.unwrap().0, Policy::Never).unwrap();
        let mut client = client.unwrap();
        let reading = ::tokio::spawn(async move {
            let mut bytes = Vec::new();
            client.read_to_end(&mut bytes).await.map(|_| bytes)
        });
        // Each is polled once and dropped. After a thousand others have their turn, and the one that is polled then stays queued.
        for index in 0..3000 {
            let mut send = std::pin::pin!(stream.send(content(5, index * 10, 10)));
            let _ = std::future::poll_fn(|cx| Poll::Ready(send.as_mut().poll(cx))).await;
        }
        stream.finish().await.unwrap();
        stream.shutdown().await.unwrap();
        assert!(reading.await.unwrap().unwrap() == content(5, 0, 3000 * 10));
    });
}

#[test]
fn many_connections_at_once_lose_nothing() {
    on_both(|| async {
        let mut tasks = Vec::new();
        for number in 0..50u64 {
            tasks.push(::tokio::spawn(async move {
                let (mut stream, mut client) = pair().await;
                let reading = ::tokio::spawn(async move {
                    let mut bytes = Vec::new();
                    client.read_to_end(&mut bytes).await.map(|_| bytes)
                });
                let size = 10_000 + 7000 * number as usize;
                for turn in 0..5 {
                    let receipt = stream.send(content(number, turn * size, size)).await.unwrap();
                    if turn % 2 == 0 {
                        receipt.await.unwrap();
                    }
                }
                drop(stream);
                assert!(reading.await.unwrap().unwrap() == content(number, 0, 5 * size));
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
    });
    eventually("nothing is left", || zerosend::dropped().waiting == 0);
}

#[test]
fn a_fast_peer_does_not_keep_the_runtime() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (mut stream, client) = pair().await;
        let client = client.into_std().unwrap();
        client.set_nonblocking(false).unwrap();
        // In a thread: it reads as fast as it can.
        let reading =
            std::thread::Builder::new().spawn(move || io::copy(&mut &client, &mut io::sink())).unwrap();
        let sending = ::tokio::spawn(async move {
            for _ in 0..300 {
                drop(stream.send(Payload::new().copied(vec![1; 1 << 20])).await.unwrap());
            }
        });
        // Other tasks have their turn in between.
        let mut turns = 0;
        while !sending.is_finished() {
            ::tokio::task::yield_now().await;
            turns += 1;
        }
        assert!(turns > 20, "{turns}");
        sending.await.unwrap();
        reading.join().unwrap().unwrap();
    });
}
