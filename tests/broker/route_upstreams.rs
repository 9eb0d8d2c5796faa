//! Routes with several upstreams: which of them gets a request, by what each received.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use crate::support::broker::{Broker, PUBLIC, Setup};
use crate::support::captured_log::CapturedLog;
use crate::support::child::until;
use crate::support::raw::{RawUpstream, read_head, request};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A broker with one public route to these upstreams.
async fn broker(upstreams: &[SocketAddr], keys: &str) -> Broker {
    let upstreams: Vec<_> = upstreams.iter().map(|address| format!("\"http://{address}\"")).collect();
    let upstreams = upstreams.join(", ");
    let routes = format!(
        "[[route]]\npath = \"/\"\naccess = \"public\"\nupstreams = [{upstreams}]\ntimeout = \"500ms\"\n{keys}\n"
    );
    Broker::with(Setup { routes: Box::leak(routes.into_boxed_str()), ..Setup::default() }).await
}

/// An address that refuses connections, until something listens there.
async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// An upstream that reads each request and closes its connection; how many it read.
async fn breaking_off() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, count) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let read = count.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            if read_head(&mut stream).await.is_some() {
                read.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    (address, count)
}

#[tokio::test]
async fn healthy_upstreams_are_asked_in_turn() {
    let (one, two, three) = tokio::join!(
        RawUpstream::saying(OK.to_vec(), false),
        RawUpstream::saying(OK.to_vec(), false),
        RawUpstream::saying(OK.to_vec(), false)
    );
    // Lists of two and of three: a turn that is lost shows in one of them.
    for (addresses, expected) in
        [(vec![one.address, two.address], [6, 6, 0]), (vec![one.address, two.address, three.address], [10, 10, 4])]
    {
        let broker = broker(&addresses, "").await;
        let browser = broker.browser();
        for _ in 0..12 {
            assert_eq!(browser.get("/page").await.status, 200);
        }
        assert_eq!([&one, &two, &three].map(|upstream| upstream.heads().len()), expected);
    }
}

/// R-K12: a request that an upstream may have read is sent to nobody else, whatever it asks for: what made one application fall
/// is not handed to the next. One that no connection could be made for is, if it only reads.
#[tokio::test]
async fn an_upstream_that_fails_is_left_out_and_what_it_had_is_sent_to_nobody_else() {
    let log = CapturedLog::begin(tracing::Level::INFO);
    let good = RawUpstream::saying(OK.to_vec(), false).await;
    for method in ["GET", "HEAD", "POST", "PUT", "DELETE"] {
        let (failing, read) = breaking_off().await;
        let broker = broker(&[failing, good.address], "").await;
        let browser = broker.browser();
        let method: http::Method = method.parse().unwrap();
        let before = good.heads().len();
        let mut failed = 0;
        for _ in 0..6 {
            let answer = browser.ask(method.clone(), &format!("{PUBLIC}/x")).send().await;
            failed += usize::from(answer.status == 502);
        }
        assert_eq!((failed, read.load(Ordering::Relaxed)), (1, 1), "{method}");
        assert_eq!(good.heads().len() - before, 6 - failed, "{method}");
        assert_eq!(log.lines_with(&format!("upstream=http://{failing}/")).len(), 1, "said once");
    }
    let refusing = broker(&[nobody().await, good.address], "").await;
    for _ in 0..4 {
        assert_eq!(refusing.browser().get("/x").await.status, 200);
    }
}

#[tokio::test]
async fn one_is_tried_although_all_have_failed_and_its_answer_lets_it_back() {
    let addresses = [nobody().await, nobody().await];
    let broker = broker(&addresses, "").await;
    let browser = broker.browser();
    for _ in 0..4 {
        assert_eq!(browser.get("/x").await.status, 502);
    }
    // Both have some seconds to be out for.
    let listener = TcpListener::bind(addresses[1]).await.unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                while read_head(&mut stream).await.is_some() {
                    stream.write_all(OK).await.unwrap();
                }
            });
        }
    });
    // At most once it is the other one's turn, and a GET goes on to this one.
    for _ in 0..6 {
        assert_eq!(browser.get("/x").await.status, 200);
    }
}

/// Clients that hang up while their requests wait, or in the middle of them, say nothing of the upstream.
#[tokio::test]
async fn a_client_that_gives_up_counts_against_nobody() {
    let log = CapturedLog::begin(tracing::Level::INFO);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let waiting = listener.local_addr().unwrap();
    let other = RawUpstream::saying(OK.to_vec(), false).await;
    let broker = broker(&[waiting, other.address], "").await;
    for round in 0..6 {
        let mut client = TcpStream::connect(broker.address).await.unwrap();
        let body = if round % 2 == 0 { "Content-Length: 5\r\n" } else { "" };
        let asked = request(if round % 2 == 0 { "POST /x" } else { "GET /x" }, None, body);
        client.write_all(asked.as_bytes()).await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        read_head(&mut stream).await.unwrap();
        drop(client);
        // The broker gives the request up.
        assert_eq!(read_head(&mut stream).await, None);
        // The other one's turn.
        assert_eq!(broker.browser().get("/x").await.status, 200);
    }
    assert_eq!(other.heads().len(), 6, "each turn came");
    assert!(log.lines_with("gets no more requests").is_empty());
}

/// Several checks in a row take an upstream out and let it back, and each change is said once.
#[tokio::test]
async fn checks_take_an_upstream_out_and_let_it_back() {
    let log = CapturedLog::begin(tracing::Level::INFO);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, is_well, asked) =
        (listener.local_addr().unwrap(), Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
    let (well, count) = (is_well.clone(), asked.clone());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (well, count) = (well.clone(), count.clone());
            tokio::spawn(async move {
                while let Some(head) = read_head(&mut stream).await {
                    let is_check = head.starts_with("GET /healthz?deep HTTP/1.1\r\n");
                    count.fetch_add(usize::from(!is_check), Ordering::Relaxed);
                    let answer = if is_check && !well.load(Ordering::Relaxed) {
                        b"HTTP/1.1 503 Not now\r\nContent-Length: 2\r\n\r\nno"
                    } else {
                        OK
                    };
                    let _ = stream.write_all(answer).await;
                }
            });
        }
    });
    let other = RawUpstream::saying(OK.to_vec(), false).await;
    let health = "health = { path = \"/healthz?deep\", interval = \"100ms\", timeout = \"2s\", fall = 2, rise = 2 }";
    let broker = broker(&[address, other.address], health).await;
    let browser = broker.browser();
    let line = format!("upstream=http://{address}/");
    for (well, change) in
        [(false, "gets no more requests"), (true, "gets requests again"), (false, "gets no more requests")]
    {
        let before = log.lines_with(&line).len();
        is_well.store(well, Ordering::Relaxed);
        until("a change", async || log.lines_with(&line).len() > before).await;
        assert!(log.lines_with(&line).last().unwrap().contains(change), "{change}");
        let before = asked.load(Ordering::Relaxed);
        for _ in 0..4 {
            assert_eq!(browser.get("/page").await.status, 200);
        }
        assert_eq!(asked.load(Ordering::Relaxed) - before, if well { 2 } else { 0 });
    }
}

/// The same upstream may be well for one route and not for another: a route's failures are its own.
#[tokio::test]
async fn the_health_of_an_upstream_is_each_routes_own() {
    let (failing, read) = breaking_off().await;
    let good = RawUpstream::saying(OK.to_vec(), false).await;
    let list = format!("upstreams = [\"http://{failing}\", \"http://{}\"]", good.address);
    let routes =
        ["/a", "/b"].map(|path| format!("[[route]]\npath = \"{path}\"\naccess = \"public\"\n{list}\n")).concat();
    let broker = Broker::with(Setup { routes: Box::leak(routes.into_boxed_str()), ..Setup::default() }).await;
    for (path, status, expected) in [("/a", 502, 1), ("/a", 200, 1), ("/b", 502, 2), ("/b", 200, 2)] {
        assert_eq!(broker.browser().get(path).await.status, status, "{path}");
        assert_eq!(read.load(Ordering::Relaxed), expected, "{path}");
    }
}
