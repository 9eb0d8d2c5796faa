//! WebSockets end when their session does, or its right to their route: on every replica, whatever ends it (R-J15).

use std::time::{Duration, Instant};

use counterfoil::session::store::memory::MemoryStore;
use futures_util::SinkExt;
use http::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;

use crate::support::administration::{SECTION, call, revoke};
use crate::support::broker::{Broker, SESSION, Setup, Store};
use crate::support::browser::Browser;
use crate::support::captured_log::CapturedLog;
use crate::support::child::until;
use crate::support::cut_proxy::CutProxy;
use crate::support::raw::{read_head, read_until, request};
use crate::support::redis::Redis;
use crate::support::scripted_idp::{Script, set};
use crate::support::websocket::{Close, EchoApplication, WebSocket, close, echo, open, refusal};

/// Longest time between the end of a session and that of its sockets, here as on other replicas: one sweep, for what no
/// store tells, and the machine's own time.
const BOUND: Duration = Duration::from_secs(3);

fn setup(application: &EchoApplication, store: Store, more: &str) -> Setup {
    let at = application.address;
    let routes = format!(
        "[[route]]\npath = \"/open\"\nupstream = \"http://{at}\"\naccess = \"public\"\n\
         [[route]]\npath = \"/finance\"\nupstream = \"http://{at}\"\ngroups = [\"finance\"]\n\
         [[route]]\npath = \"/fresh\"\nupstream = \"http://{at}\"\nmax_auth_age = \"10m\"\n\
         [[route]]\npath = \"/quiet\"\nupstream = \"http://{at}\"\ncounts_as_use = false\n\
         [[route]]\npath = \"/\"\nupstream = \"http://{at}\"\n"
    );
    Setup { store, routes: Box::leak(routes.into_boxed_str()), more: format!("{SECTION}{more}"), ..Setup::default() }
}

async fn opened(broker: &Broker, path: &str, browser: &Browser) -> WebSocket {
    let mut socket = open(broker.address, path, Some(browser), &[]).await.unwrap();
    echo(&mut socket, "hello").await;
    socket
}

#[expect(clippy::unnecessary_wraps, reason = "compared with what may be none")]
fn closed(code: u16, reason: &str) -> Close {
    Some((code, reason.to_owned()))
}

/// What a socket ends with, within the bound.
async fn ends(socket: &mut WebSocket, why: &str) -> Close {
    let began = Instant::now();
    let close = close(socket).await;
    assert!(began.elapsed() < BOUND, "{why}: {:?}", began.elapsed());
    close
}

/// A broker that ends says goodbye to all sockets, strangers' too, and not to all at once.
#[tokio::test]
async fn sockets_are_told_that_the_broker_ends_one_after_the_other() {
    let application = EchoApplication::start().await;
    let broker = Broker::with(setup(&application, Store::Memory, "")).await;
    let browser = broker.signed_in().await;
    let mut sockets = vec![open(broker.address, "/open", None, &[]).await.unwrap()];
    for _ in 0..40 {
        sockets.push(opened(&broker, "/", &browser).await);
    }
    let began = Instant::now();
    broker.app.end_streams(Duration::from_secs(2));
    for socket in &mut sockets {
        assert_eq!(close(socket).await, closed(1001, "going_away"));
    }
    assert!(began.elapsed() >= Duration::from_secs(1), "the last of them had its turn");
    // One that comes too late has the same end.
    let mut late = open(broker.address, "/open", None, &[]).await.unwrap();
    assert_eq!(close(&mut late).await, closed(1001, "going_away"));
}

/// An upstream that sends one head and one piece, and then nothing for as long as anybody listens.
async fn sends_and_waits(said: &'static str) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                read_head(&mut stream).await.unwrap();
                stream.write_all(said.as_bytes()).await.unwrap();
                let _ = stream.read_u8().await;
            });
        }
    });
    address
}

/// R-J15: answers that go on end with their session on the other replica too: an event stream with a last event between two
/// others, everything else without its end. What the browser got so far is what the application sent.
#[tokio::test]
async fn answers_that_go_on_end_with_their_session() {
    const EVENTS: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
    let redis = Redis::start();
    for (said, is_told, ends_well) in [
        (format!("{EVENTS}data: hello\n\n"), true, true),
        (format!("{EVENTS}data: hello\n"), false, false),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nhello".to_owned(), false, false),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n".to_owned(), false, false),
    ] {
        let upstream = sends_and_waits(said.clone().leak()).await;
        let routes = format!("[[route]]\npath = \"/\"\nupstream = \"http://{upstream}\"\n");
        let setup = || Setup {
            store: Store::Redis(redis.port()),
            routes: Box::leak(routes.clone().into_boxed_str()),
            more: SECTION.into(),
            ..Setup::default()
        };
        let one = Broker::with(setup()).await;
        let other = one.replica(setup()).await;
        let browser = one.signed_in().await;
        let mut client = TcpStream::connect(other.address).await.unwrap();
        let asked = request("GET /feed", Some(&browser), "Connection: close\r\n");
        client.write_all(asked.as_bytes()).await.unwrap();
        let mut answer = read_until(&mut client, "hello").await;
        revoke(&one, json!({ "handles": [one.handle(&browser).await], "reason": "test" })).await;
        let began = Instant::now();
        let mut rest = Vec::new();
        let _ = client.read_to_end(&mut rest).await;
        assert!(began.elapsed() < BOUND, "{said}");
        answer.push_str(&String::from_utf8_lossy(&rest));
        let last = "event: session-ended\ndata: {\"code\":\"session_revoked\"}\n\n";
        assert_eq!(answer.contains(last), is_told, "{answer}");
        assert_eq!(answer.ends_with("0\r\n\r\n"), ends_well, "{answer}");
    }
}

/// One line a way to end a session, on two replicas; the others' sockets stay.
#[tokio::test]
async fn whatever_ends_a_session_closes_its_websockets_on_every_replica() {
    let redis = Redis::start();
    let application = EchoApplication::start().await;
    let setup = || setup(&application, Store::Redis(redis.port()), "");
    let one = Broker::with(setup()).await;
    let other = one.replica(setup()).await;
    let bystander = one.signed_in_as("bystander", &["staff"]).await;
    let mut stays = opened(&other, "/", &bystander).await;
    let mut anybody = open(one.address, "/open", None, &[]).await.unwrap();
    for (number, (way, code)) in [
        ("API", "session_revoked"),
        ("filter", "session_revoked"),
        ("block", "session_revoked"),
        ("logout", "session_missing"),
        ("DEL", "session_missing"),
        ("EXPIRE", "session_missing"),
        ("RENAME", "session_missing"),
    ]
    .into_iter()
    .enumerate()
    {
        let subject = format!("person-{number}");
        let browser = one.signed_in_as(&subject, &["finance"]).await;
        let moved = other.takes_over(&browser);
        let handle = one.handle(&browser).await;
        let before = application.closes().len();
        let mut sockets = [
            opened(&one, "/", &browser).await,
            opened(&other, "/finance", &moved).await,
            opened(&one, "/open", &browser).await,
        ];
        match way {
            "API" => drop(revoke(&one, json!({ "handles": [handle], "reason": "lost laptop" })).await),
            "filter" => drop(revoke(&one, json!({ "filter": { "group": "finance" }, "reason": "t" })).await),
            "block" => {
                let filter = json!({ "user": subject });
                drop(revoke(&one, json!({ "filter": filter, "reason": "t", "block_for": "1h" })).await);
            }
            "logout" => assert!(one.app.sessions().end(handle.parse().unwrap()).await.unwrap()),
            "EXPIRE" => drop(redis.command(&["EXPIRE", &handle, "0"]).await),
            "RENAME" => drop(redis.command(&["RENAME", &handle, "elsewhere"]).await),
            command => drop(redis.command(&[command, &handle]).await),
        }
        for socket in &mut sockets {
            assert_eq!(ends(socket, way).await, closed(4401, code), "{way}");
        }
        let heard = || application.closes().split_off(before);
        until("the application hears of it", async || heard().len() == sockets.len()).await;
        assert!(heard().iter().all(|close| *close == closed(4401, code)), "{way}: {:?}", heard());
        one.clock.advance(time::Duration::seconds(3));
    }
    echo(&mut stays, "still here").await;
    echo(&mut anybody, "and so is everybody else").await;
    redis.command(&["FLUSHALL"]).await;
    assert_eq!(ends(&mut stays, "FLUSHALL").await, closed(4401, "session_missing"));
    echo(&mut anybody, "nobody's session").await;
}

/// A revocation between the guard's look at the session and the stream's place among the others.
#[tokio::test]
async fn a_session_that_ends_while_its_handshake_is_under_way_has_no_socket() {
    let redis = Redis::start();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let routes = format!("[[route]]\npath = \"/\"\nupstream = \"http://{}\"\n", listener.local_addr().unwrap());
    let store = Store::Redis(redis.port());
    let broker = Broker::with(Setup { store, routes: Box::leak(routes.into_boxed_str()), ..Setup::default() }).await;
    let browser = broker.signed_in().await;
    let handle = broker.handle(&browser).await;
    let address = broker.address;
    let opening = tokio::spawn({
        let browser = browser.copy();
        async move { open(address, "/", Some(&browser), &[]).await }
    });
    let (mut upstream, _) = listener.accept().await.unwrap();
    let head = read_head(&mut upstream).await.unwrap();
    redis.command(&["DEL", &handle]).await;
    until("the end is heard of", async || browser.get("/sso/session").await.status == 401).await;
    let key = head.lines().find_map(|line| line.strip_prefix("sec-websocket-key: ")).unwrap();
    let accept = tokio_tungstenite::tungstenite::handshake::derive_accept_key(key.as_bytes());
    let agrees = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    upstream.write_all(agrees.as_bytes()).await.unwrap();
    let mut socket = opening.await.unwrap().unwrap();
    assert_eq!(ends(&mut socket, "DEL").await, closed(4401, "session_missing"));
}

/// The moments of a session, the rules of its route and the timeouts of the moment, by the clock alone.
#[tokio::test]
async fn timeouts_and_rules_close_websockets_without_any_request() {
    let application = EchoApplication::start().await;
    let redis = Redis::start();
    let broker = Broker::with(setup(&application, Store::Redis(redis.port()), "")).await;
    let browser = broker.signed_in().await;
    let (mut plain, mut fresh) = (opened(&broker, "/", &browser).await, opened(&broker, "/fresh", &browser).await);
    broker.clock.advance(time::Duration::minutes(15));
    assert_eq!(ends(&mut fresh, "max_auth_age").await, closed(4401, "reauthentication_required"));
    echo(&mut plain, "a use").await;
    broker.clock.advance(time::Duration::minutes(31));
    assert_eq!(ends(&mut plain, "idle").await, closed(4401, "session_idle"));
    let browser = broker.signed_in().await;
    let mut socket = opened(&broker, "/", &browser).await;
    let shorter = json!({ "idle_timeout": "10m", "absolute_timeout": "12h" });
    broker.clock.advance(time::Duration::minutes(20));
    echo(&mut socket, "lives by the old ones, and is in use").await;
    broker.clock.advance(time::Duration::minutes(12));
    let answer = call(&broker, Method::PUT, "timeouts", Some(shorter)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(ends(&mut socket, "timeouts").await, closed(4401, "session_idle"));
    call(&broker, Method::DELETE, "timeouts", None).await;
}

/// The provider is asked about somebody who has nothing open but a socket, and its word counts there.
#[tokio::test]
async fn the_providers_word_reaches_somebody_who_has_only_a_socket_open() {
    let application = EchoApplication::start().await;
    let redis = Redis::start();
    let idp = "refresh = \"5m\"\nrefresh_wait = \"1m\"\ntimeout = \"1m\"".to_owned();
    let broker = Broker::with(Setup { idp, ..setup(&application, Store::Redis(redis.port()), "") }).await;
    let says = |groups| Script { userinfo: set(json!({ "groups": [groups] })), ..Script::default() };
    broker.idp.behave(says("finance"));
    let browser = broker.signed_in().await;
    let (mut finance, mut plain) = (opened(&broker, "/finance", &browser).await, opened(&broker, "/", &browser).await);
    broker.idp.behave(says("staff"));
    broker.clock.advance(time::Duration::minutes(6));
    assert_eq!(ends(&mut finance, "another group").await, closed(4403, "forbidden"));
    echo(&mut plain, "the rest is theirs").await;
}

/// With nothing cached, and with a store that watches nothing.
#[tokio::test]
async fn websockets_end_without_a_near_cache_and_with_sessions_in_memory() {
    let application = EchoApplication::start().await;
    let redis = Redis::start();
    let none = Setup { near_cache_entries: 0, ..setup(&application, Store::Redis(redis.port()), "") };
    let clock = none.clock.clone();
    let memory = setup(&application, Store::Shared(std::sync::Arc::new(MemoryStore::new(clock.clone()))), "");
    for setup in [none, Setup { clock, ..memory }] {
        let broker = Broker::with(setup).await;
        let browser = broker.signed_in().await;
        let handle = broker.handle(&browser).await;
        let mut socket = opened(&broker, "/", &browser).await;
        revoke(&broker, json!({ "handles": [handle], "reason": "lost laptop" })).await;
        assert_eq!(ends(&mut socket, "API").await, closed(4401, "session_revoked"));
    }
}

/// Fails closed: what cannot be judged for longer than `streams.unheard` ends; a short outage ends nothing.
#[tokio::test]
async fn sockets_outlive_a_short_outage_of_the_store_and_no_long_one() {
    let application = EchoApplication::start().await;
    let redis = Redis::start();
    let network = CutProxy::in_front_of(([127, 0, 0, 1], redis.port()).into()).await;
    let store = Store::Unreliable(network.address().port());
    let broker = Broker::with(setup(&application, store, "[streams]\nunheard = \"4s\"\n")).await;
    let browser = broker.signed_in_after_an_outage().await;
    let mut socket = opened(&broker, "/", &browser).await;
    network.cut();
    tokio::time::sleep(Duration::from_millis(700)).await;
    network.restore();
    until("the store is back", async || browser.get("/sso/session").await.status == 200).await;
    echo(&mut socket, "still here").await;
    network.cut();
    let began = Instant::now();
    assert_eq!(close(&mut socket).await, closed(1013, "store_unavailable"));
    assert!(began.elapsed() > Duration::from_secs(2), "{:?}", began.elapsed());
}

/// authelia#5271, grafana#8113: what the browser sends is a use; what the application sends is none, nor are pings, nor
/// opening a socket, nor anything on a route that says so.
#[tokio::test]
async fn only_data_from_the_browser_keeps_a_session_alive() {
    let application = EchoApplication::start().await;
    let redis = Redis::start();
    for (path, said, expected) in [
        ("/", "data", closed(4401, "session_expired")),
        ("/", "ping", closed(4401, "session_idle")),
        ("/", "application", closed(4401, "session_idle")),
        ("/", "open", closed(4401, "session_idle")),
        ("/quiet", "data", closed(4401, "session_idle")),
    ] {
        let more = "[session]\nidle_timeout = \"30m\"\nabsolute_timeout = \"2h\"\n";
        let broker = Broker::with(setup(&application, Store::Redis(redis.port()), more)).await;
        let browser = broker.signed_in().await;
        let handle = broker.handle(&browser).await;
        let mut socket = open(broker.address, path, Some(&browser), &[]).await.unwrap();
        let note = async || redis.try_ask(&["GET", &format!("note:{handle}")]);
        // Ten minutes each: beyond the absolute timeout, or the idle one.
        for _ in 0..if expected == closed(4401, "session_expired") { 13 } else { 4 } {
            let before = note().await;
            let sent = match said {
                "data" => socket.send(Message::text("data")).await,
                "ping" => socket.send(Message::Ping("p".into())).await,
                "open" => open(broker.address, path, Some(&browser), &[]).await.map(drop),
                _ => {
                    application.say("data");
                    Ok(())
                }
            };
            if sent.is_err() {
                break;
            }
            if expected == closed(4401, "session_expired") {
                // Noted with the next sweep, if it is time to.
                let _ = tokio::time::timeout(Duration::from_millis(800), async {
                    while note().await == before {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                })
                .await;
            }
            broker.clock.advance(time::Duration::minutes(10));
        }
        assert_eq!(ends(&mut socket, said).await, expected, "{path} {said}");
    }
}

/// P-limits: 503 beyond them, and a place that is left is free.
#[tokio::test]
async fn streams_are_bounded_for_each_session_and_in_all() {
    let application = EchoApplication::start().await;
    let more = "[streams]\nper_session = 2\nmost = 3\n";
    let broker = Broker::with(setup(&application, Store::Memory, more)).await;
    let browser = broker.signed_in().await;
    let first = opened(&broker, "/", &browser).await;
    let _second = opened(&broker, "/", &browser).await;
    assert_eq!(refusal(open(broker.address, "/", Some(&browser), &[]).await), 503, "of the session");
    let stranger = open(broker.address, "/open", None, &[]).await.unwrap();
    assert_eq!(refusal(open(broker.address, "/open", None, &[]).await), 503, "in all");
    drop((first, stranger));
    until("a place is free", async || refusal(open(broker.address, "/", Some(&browser), &[]).await) == 101).await;
    let handshakes = application.handshakes().len();
    assert!(handshakes < 3 + 40, "{handshakes}");
}

/// A close frame within a frame would be garbage: the rest of a frame is waited for, but not for long.
#[tokio::test]
async fn a_close_frame_stands_between_two_frames_or_not_at_all() {
    let log = CapturedLog::begin(tracing::Level::INFO);
    for comes_late in [true, false] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let routes = format!("[[route]]\npath = \"/\"\nupstream = \"http://{}\"\n", listener.local_addr().unwrap());
        let routes = Box::leak(routes.into_boxed_str());
        let broker = Broker::with(Setup { routes, more: SECTION.into(), ..Setup::default() }).await;
        let browser = broker.signed_in().await;
        let handle = broker.handle(&browser).await;
        let mut client = TcpStream::connect(broker.address).await.unwrap();
        let asks = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
            Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        client.write_all(request("GET /", Some(&browser), asks).as_bytes()).await.unwrap();
        let (mut upstream, _) = listener.accept().await.unwrap();
        read_head(&mut upstream).await.unwrap();
        let agrees = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
        // A text of ten bytes, of which six have come; the client's frame is not whole either.
        upstream.write_all(format!("{agrees}\u{1}\u{a}begins").as_bytes()).await.unwrap();
        read_until(&mut client, "begins").await;
        client.write_all(&[0x81, 0x85, 0, 0, 0, 0, b'h', b'a', b'l', b'f']).await.unwrap();
        read_until(&mut upstream, "half").await;
        revoke(&broker, json!({ "handles": [handle], "reason": "t" })).await;
        if comes_late {
            tokio::time::sleep(Duration::from_millis(60)).await;
            // The rest, and the next frame.
            upstream.write_all(b"ends\x01\x04next").await.unwrap();
        }
        let began = Instant::now();
        let rest = read_until(&mut client, "to its end").await;
        assert!(began.elapsed() < BOUND, "{:?}", began.elapsed());
        if comes_late {
            assert!(rest.starts_with("ends") && rest.ends_with("session_revoked"), "{rest:?}");
            assert!(!rest.contains("next"), "{rest:?}");
        } else {
            assert_eq!(rest, "", "nothing is put into a frame");
        }
        let to_upstream = read_until(&mut upstream, "to its end").await;
        assert_eq!(to_upstream, "", "the client's frame was not whole");
    }
    until("both ends are in the log", async || log.lines_with("stream.ended").len() == 2).await;
    for line in log.lines_with("stream.ended") {
        assert!(
            line.contains("by the broker") && line.contains("session_revoked") && line.contains("session="),
            "{line}"
        );
    }
    assert!(log.lines_with(SESSION).is_empty());
}

/// Somebody who goes on sending after the end is told of it all the same, and nothing of it goes on.
#[tokio::test]
async fn a_client_that_goes_on_sending_hears_of_the_end() {
    let application = EchoApplication::start().await;
    let broker = Broker::with(setup(&application, Store::Memory, "")).await;
    let browser = broker.signed_in().await;
    let handle = broker.handle(&browser).await;
    let mut socket = opened(&broker, "/", &browser).await;
    let ordered = revoke(&broker, json!({ "handles": [handle], "reason": "t" }));
    let sends = async {
        for number in 0..2_000 {
            if socket.send(Message::text(format!("{number} {}", "z".repeat(5_000)))).await.is_err() {
                break;
            }
            if number == 50 {
                tokio::task::yield_now().await;
            }
        }
    };
    let _ = tokio::join!(ordered, tokio::time::timeout(BOUND, sends));
    let ending = close(&mut socket).await;
    assert!(ending == closed(4401, "session_revoked") || ending.is_none(), "{ending:?}");
    until("the application hears of it", async || application.closes().len() == 1).await;
}
