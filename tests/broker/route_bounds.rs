//! The bounds that a route has for itself: how long its upstream may take, how much it is sent, how long it is kept.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::broker::{Broker, HOST, PUBLIC, Setup};
use crate::support::raw::{RawUpstream, exchange, read_head, read_until, request, status};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A broker whose one route has these keys.
async fn broker(upstream: std::net::SocketAddr, keys: &str) -> Broker {
    let routes = format!("[[route]]\npath = \"/\"\naccess = \"public\"\nupstream = \"http://{upstream}\"\n{keys}\n");
    Broker::with(Setup { routes: Box::leak(routes.into_boxed_str()), ..Setup::default() }).await
}

/// The server's own timeout is a minute.
#[tokio::test]
async fn a_route_has_a_timeout_of_its_own() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let broker = broker(listener.local_addr().unwrap(), "timeout = \"300ms\"").await;
    let began = Instant::now();
    let answer = broker.browser().get("/page").await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (504, "upstream_unavailable"));
    assert!((Duration::from_millis(300)..Duration::from_secs(20)).contains(&began.elapsed()), "{:?}", began.elapsed());
}

/// R-K09: judged by what the upstream received.
#[tokio::test]
async fn a_body_beyond_a_routes_limit_does_not_arrive_whole() {
    let upstream = RawUpstream::saying(OK.to_vec(), false).await;
    let broker = broker(upstream.address, "max_body = \"10B\"").await;
    let browser = broker.browser();
    let post = |body: &str| browser.ask(http::Method::POST, &format!("{PUBLIC}/x")).body(body);
    assert_eq!(post("0123456789").send().await.status, 200);
    let asked = upstream.heads().len();
    let refused = post("0123456789a").send().await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (413, "bad_request"));
    // Whoever waits for 100 has sent nothing yet.
    let waiting = "Expect: 100-continue\r\nContent-Length: 11\r\n";
    assert_eq!(status(&exchange(&broker, &request("POST /x", None, waiting)).await), 413);
    assert_eq!(upstream.heads().len(), asked, "refused before the upstream is asked");
}

/// R-K09, R-K08: a body that tells no length is cut at the limit, and never ends properly.
#[tokio::test]
async fn a_body_without_a_length_is_counted() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let broker = broker(listener.local_addr().unwrap(), "max_body = \"10B\"").await;
    let chunked = "Transfer-Encoding: chunked\r\nConnection: close\r\n";
    let mut client = TcpStream::connect(broker.address).await.unwrap();
    client.write_all(request("POST /x", None, chunked).as_bytes()).await.unwrap();
    client.write_all(b"8\r\n01234567\r\n").await.unwrap();
    let (mut stream, _) = listener.accept().await.unwrap();
    assert!(read_head(&mut stream).await.unwrap().contains("chunked"));
    read_until(&mut stream, "01234567").await;
    client.write_all(b"8\r\n89abcdef\r\n0\r\n\r\n").await.unwrap();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert!(!String::from_utf8_lossy(&rest).contains("0\r\n\r\n"), "{rest:?}");
    let answer = read_until(&mut client, "bad_request").await;
    assert_eq!(status(&answer), 413, "{answer}");
}

/// The upstream closes idle connections after a while; the route's own limit is shorter or longer than that.
#[tokio::test]
async fn connections_wait_for_the_next_request_as_long_as_the_route_says() {
    for (keys, reused) in [("pool_idle = \"100ms\"", false), ("pool_idle = \"30s\"", true)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let broker = broker(listener.local_addr().unwrap(), keys).await;
        let mut client = TcpStream::connect(broker.address).await.unwrap();
        let ask = format!("GET /x HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
        client.write_all(ask.as_bytes()).await.unwrap();
        let (mut first, _) = listener.accept().await.unwrap();
        read_head(&mut first).await.unwrap();
        first.write_all(OK).await.unwrap();
        read_until(&mut client, "ok").await;
        if !reused {
            // Closed by the broker.
            assert_eq!(read_head(&mut first).await, None);
        }
        client.write_all(ask.as_bytes()).await.unwrap();
        let mut second = if reused { first } else { listener.accept().await.unwrap().0 };
        read_head(&mut second).await.unwrap();
        second.write_all(OK).await.unwrap();
        read_until(&mut client, "ok").await;
    }
}
