//! Connections that switch to another protocol: who may ask for it, and what of it an upstream and a client get.

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use crate::support::broker::{Broker, PUBLIC, Setup};
use crate::support::captured_log::CapturedLog;
use crate::support::child::until;
use crate::support::raw::{RawUpstream, exchange, read_head, read_until, request, status};
use crate::support::websocket::{EchoApplication, close, echo, open, refusal};

/// A handshake's key and the answer to it (RFC 6455 1.3).
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

const HANDSHAKE: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// What an upstream says that agrees.
fn agrees() -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {ACCEPT}\r\n\r\n"
    )
}

/// A broker in front of an application, with a guarded and a public route and more of each route.
async fn broker_before(application: &EchoApplication, more: &str) -> Broker {
    let at = application.address;
    let routes = format!(
        "[[route]]\npath = \"/open\"\nupstream = \"http://{at}\"\naccess = \"public\"\n{more}\n\
         [[route]]\npath = \"/finance\"\nupstream = \"http://{at}\"\ngroups = [\"finance\"]\n\
         [[route]]\npath = \"/\"\nupstream = \"http://{at}\"\non_anonymous = \"login\"\n{more}\n"
    );
    Broker::with(Setup { routes: Box::leak(routes.into_boxed_str()), ..Setup::default() }).await
}

/// R-K02, P12: both directions, with the person's name and without their cookie and what others claim.
#[tokio::test]
async fn a_websocket_goes_both_ways_and_the_application_learns_who_it_is() {
    let log = CapturedLog::begin(tracing::Level::INFO);
    let application = EchoApplication::start().await;
    let broker = broker_before(&application, "").await;
    let browser = broker.signed_in().await;
    let more = [
        ("x-auth-request-user", "root"),
        ("x-forwarded-for", "6.6.6.6"),
        ("sec-websocket-protocol", "v1.CANARY-token"),
        ("origin", PUBLIC),
    ];
    let mut socket = open(broker.address, "/live?key=CANARY-query", Some(&browser), &more).await.unwrap();
    echo(&mut socket, "hello").await;
    let large = "x".repeat(300_000);
    echo(&mut socket, &large).await;
    application.say("unasked");
    assert_eq!(crate::support::websocket::text(&mut socket).await, "unasked");
    let handshake = application.handshakes().remove(0);
    let values = |name: &str| handshake.get_all(name).iter().map(|value| value.to_str().unwrap()).collect::<Vec<_>>();
    assert_ne!(values("x-auth-request-user"), ["root"]);
    assert_eq!(values("x-auth-request-user").len(), 1);
    assert_eq!(values("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(values("cookie"), ["theme=dark"]);
    assert_eq!(values("sec-websocket-protocol"), ["v1.CANARY-token"]);
    socket.close(None).await.unwrap();
    assert!(close(&mut socket).await.is_none_or(|(code, _)| code == 1000 || code == 1005));
    until("the application hears of it", async || application.closes() == [None]).await;
    until("its end is in the log", async || !log.lines_with("stream.ended").is_empty()).await;
    let line = log.lines_with("stream.ended").remove(0);
    for told in ["protocol=websocket", "milliseconds=", "bytes_to_client=3", "bytes_to_upstream=3", "request{id="] {
        assert!(line.contains(told), "{told}: {line}");
    }
    assert!(log.lines_with("CANARY").is_empty(), "neither query nor subprotocol is logged");
}

/// R-K10: the status is the same for a browser, which cannot show a page there.
#[tokio::test]
async fn a_guarded_handshake_needs_a_session_and_is_never_sent_to_the_login() {
    let application = EchoApplication::start().await;
    let broker = broker_before(&application, "").await;
    assert_eq!(refusal(open(broker.address, "/live", None, &[("accept", "text/html")]).await), 401);
    let navigation = [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document"), ("accept", "text/html")];
    assert_eq!(refusal(open(broker.address, "/live", None, &navigation).await), 401);
    let browser = broker.signed_in_as("eve", &["staff"]).await;
    assert_eq!(refusal(open(broker.address, "/finance", Some(&browser), &[]).await), 403);
    assert!(application.handshakes().is_empty());
    let mut stranger = open(broker.address, "/open", None, &[]).await.unwrap();
    echo(&mut stranger, "anybody").await;
    assert!(application.handshakes()[0].get("x-auth-request-user").is_none());
}

/// R-K10, RFC 6455 10.2. One line an `Origin`; found by walking over what browsers and attackers send.
#[tokio::test]
async fn a_session_is_not_lent_to_another_origins_handshake() {
    let application = EchoApplication::start().await;
    let broker = broker_before(&application, "allowed_origins = [\"https://wiki.example.test\"]").await;
    let browser = broker.signed_in().await;
    for (origins, expected) in [
        (&[][..], 101),
        (&[PUBLIC], 101),
        (&["https://wiki.example.test"], 101),
        (&["https://evil.example.test"], 403),
        (&["null"], 403),
        (&["http://app.example.test"], 403),
        (&[PUBLIC, "https://evil.example.test"], 403),
    ] {
        let more: Vec<_> = origins.iter().map(|origin| ("origin", *origin)).collect();
        for path in ["/live", "/open"] {
            let before = application.handshakes().len();
            assert_eq!(
                refusal(open(broker.address, path, Some(&browser), &more).await),
                expected,
                "{path} {origins:?}"
            );
            assert_eq!(application.handshakes().len() - before, usize::from(expected == 101), "{path} {origins:?}");
        }
    }
    // Without a session there is nothing to lend, unless the application has one of its own.
    let evil = ("origin", "https://evil.example.test");
    assert_eq!(refusal(open(broker.address, "/open", None, &[evil]).await), 101);
    assert_eq!(refusal(open(broker.address, "/open", None, &[evil, ("cookie", "their-own=1")]).await), 403);
}

/// R-K10. One line a request that is no handshake of the route's: what reaches the upstream of it is a plain request.
#[tokio::test]
async fn what_the_route_does_not_name_is_stripped_and_goes_on_as_a_plain_request() {
    let said = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nplain".to_vec();
    let upstream = RawUpstream::saying(said, true).await;
    let broker = upstream.behind_a_broker("").await;
    let browser = broker.signed_in().await;
    let h2c = "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n";
    for (method, more, body) in [
        ("GET", h2c.to_owned(), ""),
        ("GET", format!("{HANDSHAKE}Content-Length: 5\r\n"), "hello"),
        ("GET", format!("{HANDSHAKE}Transfer-Encoding: chunked\r\n"), "5\r\nhello\r\n0\r\n\r\n"),
        ("POST", format!("{HANDSHAKE}Content-Length: 5\r\n"), "hello"),
        ("GET", HANDSHAKE.replace("13", "8"), ""),
        ("GET", HANDSHAKE.replace("websocket", "tus"), ""),
        ("GET", HANDSHAKE.replace("Connection: Upgrade", "Connection: close"), ""),
        ("GET", HANDSHAKE.replace(KEY, "short"), ""),
    ] {
        for (path, browser) in [("/x", Some(&browser)), ("/open", None)] {
            let before = upstream.heads().len();
            let head = request(&format!("{method} {path}"), browser, &format!("{more}Connection: close\r\n"));
            let answer = exchange(&broker, &format!("{head}{body}")).await;
            assert_eq!(status(&answer), 200, "{more}: {answer}");
            let head = upstream.heads().remove(before).to_lowercase();
            assert!(!head.contains("upgrade:") && !head.contains("connection:"), "{more}: {head}");
            assert!(!head.contains("http2-settings"), "{head}");
        }
    }
}

/// Another protocol passes if the route names it, and WebSockets then do not.
#[tokio::test]
async fn a_route_may_name_another_protocol_or_none() {
    let said = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: chat/2\r\nConnection: upgrade\r\n\r\nwelcome".to_vec();
    let upstream = RawUpstream::saying(said, false).await;
    let routes = |upgrades: &str| {
        let text = format!("[[route]]\npath = \"/\"\nupstream = \"http://{}\"\n{upgrades}\n", upstream.address);
        &*Box::leak(text.into_boxed_str())
    };
    let broker = Broker::with(Setup { routes: routes("upgrades = [\"Chat/2\"]"), ..Setup::default() }).await;
    let browser = broker.signed_in().await;
    let mut client = TcpStream::connect(broker.address).await.unwrap();
    let asks = request("POST /x", Some(&browser), "Upgrade: chat/2\r\nConnection: Upgrade\r\n");
    client.write_all(asks.as_bytes()).await.unwrap();
    let answer = read_until(&mut client, "welcome").await;
    assert!(answer.starts_with("HTTP/1.1 101 ") && answer.contains("upgrade: chat/2\r\n"), "{answer}");
    let none = Broker::with(Setup { routes: routes("upgrades = []"), ..Setup::default() }).await;
    let browser = none.signed_in().await;
    assert_eq!(refusal(open(none.address, "/x", Some(&browser), &[]).await), 502, "a 101 that nobody asked for");
    let head = upstream.heads().remove(1).to_lowercase();
    assert!(!head.contains("upgrade:"), "{head}");
}

/// What an upstream says to a handshake that is not the answer to it: nothing of what follows is handed on, neither way.
#[tokio::test]
async fn an_upstream_that_switches_otherwise_than_asked_is_a_502() {
    for said in [
        agrees().replace("Upgrade: websocket", "Upgrade: h2c"),
        agrees().replace("Upgrade: websocket\r\n", ""),
        agrees().replace("Connection: Upgrade\r\n", ""),
        agrees().replace(ACCEPT, "AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        agrees().replace(&format!("Sec-WebSocket-Accept: {ACCEPT}\r\n"), ""),
    ] {
        let upstream = RawUpstream::saying(format!("{said}SECRET").into_bytes(), true).await;
        let broker = upstream.behind_a_broker("").await;
        let browser = broker.signed_in().await;
        let head = request("GET /x", Some(&browser), &format!("{HANDSHAKE}Connection: close\r\n"));
        let answer = exchange(&broker, &head).await;
        assert_eq!(status(&answer), 502, "{said}: {answer}");
        assert!(!answer.contains("SECRET"), "{answer}");
    }
}

/// An upstream that does not agree answers as to any request, and the connection goes on in HTTP: what the client sent
/// behind its handshake is its next request, which the guard judges.
#[tokio::test]
async fn a_request_hidden_behind_a_handshake_that_is_not_agreed_to_is_judged_by_itself() {
    let said = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nplain".to_vec();
    let upstream = RawUpstream::saying(said, false).await;
    let broker = upstream.behind_a_broker("").await;
    let hidden = request("GET /admin", None, "Connection: close\r\n");
    let answer = exchange(&broker, &format!("{}{hidden}", request("GET /open", None, HANDSHAKE))).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("plain"), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1 401 ").count(), 1, "{answer}");
    assert_eq!(upstream.heads().len(), 1, "{:?}", upstream.heads());
}

/// What the client sends before the 101 reaches the upstream behind it, once, as bytes of the other protocol; and what the
/// upstream sends with it reaches the client.
#[tokio::test]
async fn bytes_sent_before_the_101_are_the_other_protocols() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let routes = format!(
        "[[route]]\npath = \"/\"\nupstream = \"http://{}\"\naccess = \"public\"\n",
        listener.local_addr().unwrap()
    );
    let broker = Broker::with(Setup { routes: Box::leak(routes.into_boxed_str()), ..Setup::default() }).await;
    let mut client = TcpStream::connect(broker.address).await.unwrap();
    let early = "GET /admin HTTP/1.1\r\nHost: x\r\n\r\n";
    client.write_all(format!("{}{early}", request("GET /x", None, HANDSHAKE)).as_bytes()).await.unwrap();
    let (mut upstream, _) = listener.accept().await.unwrap();
    let head = read_head(&mut upstream).await.unwrap().to_lowercase();
    assert!(head.contains("upgrade: websocket\r\n") && head.contains("connection: upgrade\r\n"), "{head}");
    let mut byte = [0];
    let nothing = tokio::time::timeout(std::time::Duration::from_millis(50), upstream.read(&mut byte)).await;
    assert!(nothing.is_err(), "nothing comes before the upstream agrees");
    upstream.write_all(format!("{}first", agrees()).as_bytes()).await.unwrap();
    let answer = read_until(&mut client, "first").await;
    assert!(answer.starts_with("HTTP/1.1 101 ") && answer.ends_with("\r\n\r\nfirst"), "{answer}");
    assert!(answer.contains("upgrade: websocket\r\n") && answer.contains("connection: Upgrade\r\n"), "{answer}");
    client.write_all(b"then").await.unwrap();
    assert_eq!(read_until(&mut upstream, "then").await, format!("{early}then"));
    drop(upstream);
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty());
}

/// R-K09: a socket keeps its place among the connections to its end.
#[tokio::test]
async fn an_upgraded_connection_counts_among_the_others() {
    let application = EchoApplication::start().await;
    let broker = broker_before(&application, "").await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let limits = counterfoil::app::server::ConnectionLimits { most: 2, per_peer: 2, ..Default::default() };
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let site = broker.app.site();
    let grace = std::time::Duration::from_millis(300);
    let serving = tokio::spawn(async move {
        let shutdown = async { _ = stopped.await };
        counterfoil::app::server::serve_within(&limits, listener, site, shutdown, grace).await;
    });
    let mut one = open(address, "/open", None, &[]).await.unwrap();
    let mut two = open(address, "/open", None, &[]).await.unwrap();
    let waiting = tokio::spawn(async move { open(address, "/open", None, &[]).await });
    for _ in 0..100 {
        echo(&mut two, "still there").await;
    }
    assert!(!waiting.is_finished(), "both places are taken");
    one.close(None).await.unwrap();
    while let Some(Ok(_)) = one.next().await {}
    drop(one);
    let mut three = waiting.await.unwrap().unwrap();
    echo(&mut three, "in its place").await;
    // A shutdown waits for sockets as for requests under way, and no longer.
    let began = std::time::Instant::now();
    stop.send(()).unwrap();
    echo(&mut three, "until the end").await;
    serving.await.unwrap();
    assert!(began.elapsed() >= grace);
}

/// A side that does not read makes the other wait, and nothing is lost.
#[tokio::test]
async fn a_side_that_does_not_read_makes_the_other_wait() {
    let application = EchoApplication::start().await;
    let broker = broker_before(&application, "").await;
    let mut socket = open(broker.address, "/open", None, &[]).await.unwrap();
    let messages = 200;
    let large = "y".repeat(64 * 1024);
    let (mut sender, mut receiver) = (&mut socket).split();
    let sends = async {
        for _ in 0..messages {
            sender.send(Message::text(large.clone())).await.unwrap();
        }
    };
    let reads = async {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        for _ in 0..messages {
            assert_eq!(receiver.next().await.unwrap().unwrap().into_text().unwrap().len(), large.len());
        }
    };
    tokio::join!(sends, reads);
}

/// The keys of the configuration.
#[test]
fn upgrades_and_origins_are_checked() {
    let faults = |more: &str| crate::configuration::faults_of_route(more);
    for (line, key) in [
        ("upgrades = [\"h2c\"]", "route[0].upgrades"),
        ("upgrades = [\"HTTP/2.0\"]", "route[0].upgrades"),
        ("upgrades = [\"web socket\"]", "route[0].upgrades"),
        ("allowed_origins = [\"null\"]", "route[0].allowed_origins"),
        ("allowed_origins = [\"https://wiki.example.com/x\"]", "route[0].allowed_origins"),
        ("allowed_origins = [\"*\"]", "route[0].allowed_origins"),
    ] {
        assert_eq!(faults(line).into_keys().collect::<Vec<_>>(), [key], "{line}");
    }
    for line in [
        "upgrades = []",
        "upgrades = [\"websocket\", \"SPDY/3.1\"]",
        "allowed_origins = [\"https://wiki.example.com\"]",
    ] {
        assert!(faults(line).is_empty(), "{line}");
    }
}
