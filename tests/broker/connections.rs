//! Connections: their number for each peer, the timeouts on clients, and that closing loses no answer.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::{get, post};
use counterfoil::app::server::{ConnectionLimits, serve_within};
use counterfoil::clock::SystemClock;
use counterfoil::config::Source;
use counterfoil::web::client_address::TrustedProxies;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::support::broker::{Broker, HOST, KEY, PUBLIC, SESSION, Setup};
use crate::support::browser::Browser;
use crate::support::child::{PATIENCE, Program, free_ports, until};
use crate::support::program::{Folder, counterfoil};
use crate::support::redis::Redis;
use crate::support::scripted_idp::ScriptedIdp;

/// As many open files as Linux gives a process that asks for nothing.
const DESCRIPTORS: usize = 1024;

/// The real program in front of a real Redis, with a person who is signed in.
struct Serving {
    program: Program,
    address: SocketAddr,
    cookie: String,
    _idp: ScriptedIdp,
    _redis: Redis,
    _folder: Folder,
}

impl Serving {
    /// Starts it with few descriptors, also by the hard limit; `more` is configuration of `[server]`.
    async fn start(more: &str) -> Self {
        let (folder, redis, [port, operations]) = (Folder::new(), Redis::start(), free_ports());
        let idp = ScriptedIdp::start(Arc::new(SystemClock)).await;
        let large = axum::body::Bytes::from(vec![b'x'; 8 * 1024 * 1024]);
        let office = Router::new().route("/public/large", get(async move || large)).fallback(async || "office");
        let office = crate::support::broker::listen(office).await;
        let config = format!(
            "public_url = \"{PUBLIC}\"\n[server]\nlisten = \"127.0.0.1:{port}\"\nops_listen = \"127.0.0.1:{operations}\"\n\
             {more}\n[secrets]\nkeys = [\"{KEY}\"]\n[store]\nurl = \"{}\"\ntimeout = \"30s\"\n\
             [idp.company]\nkind = \"oidc\"\nissuer = \"{}\"\nclient_id = \"backoffice\"\nclient_secret = \"x\"\ntimeout = \"30s\"\n\
             [[route]]\npath = \"/public\"\naccess = \"public\"\nupstream = \"http://{office}\"\n\
             [[route]]\npath = \"/\"\nupstream = \"http://{office}\"\n",
            redis.url(),
            idp.issuer(),
        );
        let file = folder.write("counterfoil.toml", &config);
        let inner = counterfoil(folder.path(), &["serve", "--config", &file]);
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -n {DESCRIPTORS} && exec \"$@\""), "sh"]);
        command.arg(inner.get_program()).args(inner.get_args()).current_dir(folder.path());
        for (name, _) in inner.get_envs() {
            command.env_remove(name);
        }
        let program = Program::start(&mut command);
        program.wait_for("an identity provider is ready");
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let browser = Browser::new([(HOST.to_owned(), address)]);
        let login = browser.visit(&format!("{PUBLIC}/sso/login")).send().await;
        let callback = browser.visit(login.location()).send().await.location().to_owned();
        assert_eq!(browser.visit(&callback).send().await.status, 303);
        let cookie = browser.cookie(SESSION).unwrap();
        Self { program, address, cookie, _idp: idp, _redis: redis, _folder: folder }
    }

    /// One request of the person, on a connection of its own from an address of its own; the status.
    async fn asks(&self) -> Option<u16> {
        let mut connection = connect(Ipv4Addr::new(127, 0, 0, 2), self.address).await?;
        let head = format!(
            "GET /page HTTP/1.1\r\nHost: {HOST}\r\nCookie: {SESSION}={}\r\nConnection: close\r\n\r\n",
            self.cookie
        );
        connection.write_all(head.as_bytes()).await.ok()?;
        status(&answer(&mut connection).await)
    }

    /// How many descriptors the program has open.
    fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.program.id())).unwrap().count()
    }
}

/// A connection from an address of loopback.
async fn connect(from: Ipv4Addr, to: SocketAddr) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    socket.connect(to).await.ok()
}

/// Everything that a server says until it ends the connection, however it does so.
async fn answer(connection: &mut TcpStream) -> String {
    let mut said = Vec::new();
    let _ = connection.read_to_end(&mut said).await;
    String::from_utf8_lossy(&said).into_owned()
}

fn status(answer: &str) -> Option<u16> {
    answer.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()
}

/// What the attackers do, each on its connection.
#[derive(Clone, Copy, Debug)]
enum Attack {
    /// A large body for the broker itself, byte by byte.
    Body,
    /// A head, byte by byte.
    Head,
    /// A large answer that is not read.
    Reader,
    /// Nothing.
    Idle,
}

impl Attack {
    /// Begins, and goes on for as long as the connection is taken.
    async fn run(self, mut connection: TcpStream) {
        let notice = "/sso/backchannel-logout/company";
        let head = match self {
            Self::Body => format!("POST {notice} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 60000\r\n\r\n"),
            Self::Head => format!("GET /public HTTP/1.1\r\nHost: {HOST}\r\nX-Slow: "),
            Self::Reader => format!("GET /public/large HTTP/1.1\r\nHost: {HOST}\r\n\r\n"),
            Self::Idle => String::new(),
        };
        if connection.write_all(head.as_bytes()).await.is_err() {
            return;
        }
        if matches!(self, Self::Idle) {
            // Until the connection is ended.
            let _ = connection.read(&mut [0]).await;
            return;
        }
        // Nobody reads what comes after a request whose answer is not read, but a connection that has ended is noticed.
        while connection.write_all(b"x").await.is_ok() {
            // The trickle itself: often enough not to count as silence (15 s), and far below the least rate.
            tokio::time::sleep(Duration::from_secs(8)).await;
        }
    }
}

const ATTACKS: [Attack; 4] = [Attack::Body, Attack::Head, Attack::Reader, Attack::Idle];

/// What a person sees while others attack.
struct Seen {
    served: usize,
    longest: Duration,
    descriptors: usize,
}

/// Lets so many attackers in, each from `from(index)`, and has the person ask so often meanwhile.
async fn under_attack(serving: &Serving, attackers: usize, from: impl Fn(usize) -> Ipv4Addr) -> Seen {
    let mut attacks = tokio::task::JoinSet::new();
    for index in 0..attackers {
        // A connection without a place is accepted as soon as there is one.
        let (attack, from, to) = (ATTACKS[index % ATTACKS.len()], from(index), serving.address);
        attacks.spawn(async move {
            loop {
                if let Some(connection) = connect(from, to).await {
                    attack.run(connection).await;
                }
                // The attacker's own pace of coming back.
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
    }
    let seconds =
        std::env::var_os("COUNTERFOIL_TRICKLE_SECONDS").and_then(|text| text.into_string().ok()?.parse().ok());
    let lasting = Duration::from_secs(seconds.unwrap_or(0));
    let (began, mut seen) = (Instant::now(), Seen { served: 0, longest: Duration::ZERO, descriptors: 0 });
    while seen.served < 20 || began.elapsed() < lasting {
        let asked = Instant::now();
        let status = tokio::time::timeout(PATIENCE, serving.asks()).await.expect("an answer");
        assert_eq!(status, Some(200), "after {} requests", seen.served);
        seen.longest = seen.longest.max(asked.elapsed());
        seen.served += 1;
        seen.descriptors = seen.descriptors.max(serving.descriptors());
    }
    seen
}

/// R-K09: slow bodies, slow heads, readers who do not read and connections that do nothing, 330 of them, more than there are
/// places, while the system gives the program 1,024 descriptors: whoever is signed in is served all the time. They come from one address,
/// each from an address of its own, and through a proxy that has no share. `docs/connections.md` has the figures of a
/// longer run (`COUNTERFOIL_TRICKLE_SECONDS`).
#[tokio::test(flavor = "multi_thread")]
async fn slow_clients_take_nobody_elses_place() {
    let everybody_elsewhere = |index: usize| Ipv4Addr::from_bits(0x7f01_0001 + u32::try_from(index).unwrap());
    let one = |_: usize| Ipv4Addr::LOCALHOST;
    for (how, more, from) in [
        ("one address", "max_connections = 300", &one as &dyn Fn(usize) -> Ipv4Addr),
        ("an address each", "max_connections = 300", &everybody_elsewhere),
        ("through a proxy", "max_connections = 300\ntrusted_proxies = [\"127.0.0.1\"]", &one),
    ] {
        let serving = Serving::start(more).await;
        let seen = under_attack(&serving, 330, from).await;
        println!(
            "330 attackers, {how}: {} requests served, longest wait {:?}, {} descriptors",
            seen.served, seen.longest, seen.descriptors
        );
        assert!(seen.descriptors < DESCRIPTORS - 200, "{how}: {} descriptors", seen.descriptors);
    }
}

/// More than there are places, each from its own address: those that do nothing make room, the others have to end.
#[tokio::test(flavor = "multi_thread")]
async fn more_attackers_than_places_only_make_others_wait() {
    let serving = Serving::start("max_connections = 40\nbody_deadline = \"1s\"").await;
    let mut held = Vec::new();
    for index in 0..60_u32 {
        let from = Ipv4Addr::from_bits(0x7f01_0001 + index);
        let mut connection = connect(from, serving.address).await.unwrap();
        if index % 2 == 0 {
            let request =
                format!("POST /sso/backchannel-logout/company HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 9\r\n\r\n");
            // Its place may be taken already.
            let _ = connection.write_all(request.as_bytes()).await;
        }
        held.push(connection);
    }
    for _ in 0..3 {
        assert_eq!(tokio::time::timeout(PATIENCE, serving.asks()).await.unwrap(), Some(200));
    }
}

/// A site with bounds of its own.
async fn bounded(limits: ConnectionLimits, site: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        serve_within(&limits, listener, site, std::future::pending(), Duration::from_secs(1)).await;
    });
    address
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";

/// Sends a request and reads its short answer; `false` if the connection is gone.
async fn is_served(connection: &mut TcpStream) -> bool {
    let mut piece = [0; 1024];
    connection.write_all(REQUEST).await.is_ok() && matches!(connection.read(&mut piece).await, Ok(1..))
}

#[tokio::test]
async fn an_idle_connection_is_kept_for_as_long_as_configured() {
    let site = Router::new().fallback(async || "hello");
    let limits = |keep_alive| ConnectionLimits { keep_alive, ..ConnectionLimits::default() };
    let (brief, long) = (Duration::from_millis(300), Duration::from_mins(10));
    let (brief, long) = (bounded(limits(brief), site.clone()).await, bounded(limits(long), site).await);
    let (mut ends, mut stays) = (TcpStream::connect(brief).await.unwrap(), TcpStream::connect(long).await.unwrap());
    assert!(is_served(&mut ends).await && is_served(&mut stays).await);
    ends_by_itself(ends).await;
    assert!(is_served(&mut stays).await);
    let settings = counterfoil::config::ServerSettings::default();
    assert!(settings.keep_alive_timeout > Duration::from_mins(1), "longer than load balancers keep theirs");
}

/// Reads what is left, until the server ends the connection, with time enough for it.
async fn ends_by_itself(mut connection: TcpStream) {
    tokio::time::timeout(PATIENCE, answer(&mut connection)).await.expect("the server ends it");
}

/// Requests that are there before the server looks, so that it never has to wait for one. Found by walking over what a
/// connection may have done before it is idle: a request without a body, with one that is read, with one that is not.
#[tokio::test]
async fn a_connection_ends_although_its_request_came_with_its_first_packet() {
    let reads = async |body: String| body;
    let site = Router::new().route("/reads", post(reads)).fallback(async || "hello");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    for request in [
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST /reads HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab",
        "GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
    ] {
        let mut connection = TcpStream::connect(address).await.unwrap();
        connection.write_all(request.as_bytes()).await.unwrap();
        waiting.push(connection);
    }
    let limits = ConnectionLimits { keep_alive: Duration::from_millis(300), ..ConnectionLimits::default() };
    tokio::spawn(async move {
        serve_within(&limits, listener, site, std::future::pending(), Duration::from_secs(1)).await;
    });
    futures_util::future::join_all(waiting.into_iter().map(ends_by_itself)).await;
}

/// More than the buffers of two sockets hold.
const LARGE: usize = 32 * 1024 * 1024;

/// Both are larger than what the buffers in between hold: the client sends all before it reads, and then hears it all.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_early_answer_reaches_a_client_that_is_still_sending() {
    let address = bounded(ConnectionLimits::default(), Router::new().fallback(async || vec![b'x'; LARGE])).await;
    let mut connection = TcpStream::connect(address).await.unwrap();
    let head = format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {LARGE}\r\n\r\n");
    connection.write_all(head.as_bytes()).await.unwrap();
    connection.write_all(&vec![b'q'; LARGE]).await.unwrap();
    assert!(answer(&mut connection).await.len() > LARGE);
}

/// Of a body that is passed on behind an answer that is written already, whoever reads it sees the end when it comes.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_comes_after_its_answer_has_an_end() {
    let (sender, mut bodies) = tokio::sync::mpsc::unbounded_channel();
    let site = Router::new().fallback(async move |request: axum::extract::Request| {
        tokio::spawn(async move {
            let read = axum::body::to_bytes(request.into_body(), 64).await.map_err(|error| error.to_string());
            sender.send(read.map(|body| body.len())).unwrap();
        });
        "hello"
    });
    let address = bounded(ConnectionLimits::default(), site).await;
    for (framing, first, second) in [
        ("Content-Length: 10", "01234", "56789"),
        ("Content-Length: 10", "012345678", "9"),
        ("Content-Length: 10", "", "0123456789"),
        ("Transfer-Encoding: chunked", "5\r\n01234\r\n", "5\r\n56789\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked", "", "a\r\n0123456789\r\n0\r\n\r\n"),
    ] {
        let mut connection = TcpStream::connect(address).await.unwrap();
        let head = format!("POST / HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n{first}");
        connection.write_all(head.as_bytes()).await.unwrap();
        let mut piece = [0; 1024];
        let length = connection.read(&mut piece).await.unwrap();
        assert!(String::from_utf8_lossy(&piece[..length]).ends_with("hello"));
        connection.write_all(second.as_bytes()).await.unwrap();
        let read = tokio::time::timeout(PATIENCE, bodies.recv()).await;
        assert_eq!(read.map_err(|_| "no end"), Ok(Some(Ok(10))), "{framing}: {first} {second}");
    }
}

/// One peer's newcomer takes the place of a connection that the same peer does not use; while it uses all, there is none.
#[tokio::test]
async fn a_peer_has_no_more_connections_than_its_share() {
    let (release, released) = tokio::sync::watch::channel(false);
    let hangs = async move || {
        released.clone().wait_for(|released| *released).await.unwrap();
        "done"
    };
    let site = Router::new().route("/hangs", get(hangs)).fallback(async || "hello");
    let proxies = Arc::new(TrustedProxies::new(vec!["127.0.0.9/32".parse().unwrap()]));
    let address = bounded(ConnectionLimits { per_peer: 2, proxies, ..ConnectionLimits::default() }, site).await;
    let open = async |from: u8| connect(Ipv4Addr::new(127, 0, 0, from), address).await.unwrap();
    let mut busy = open(1).await;
    busy.write_all(b"GET /hangs HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut idle = open(1).await;
    assert!(is_served(&mut idle).await);
    let mut newcomer = open(1).await;
    newcomer.write_all(b"GET /hangs HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert_eq!(idle.read(&mut [0; 64]).await.unwrap(), 0, "it made room");
    let mut refused = open(1).await;
    assert!(!is_served(&mut refused).await);
    for (from, expected) in [(2, true), (9, true), (9, true), (9, true)] {
        let mut other = open(from).await;
        assert_eq!(is_served(&mut other).await, expected, "127.0.0.{from}");
        // A proxy's connections stay.
        std::mem::forget(other.into_std().unwrap());
    }
    release.send_replace(true);
    let mut piece = [0; 1024];
    assert!(busy.read(&mut piece).await.unwrap() > 0 && newcomer.read(&mut piece).await.unwrap() > 0);
}

/// RFC 9112 9.6: whoever is refused while still sending hears why, also a client that reads nothing before it has sent
/// everything. One line an answer that comes early; found by walking over every layer that can answer without reading:
/// HTTP itself, `admit`, the broker's own addresses, the guard, the proxy, the upstream.
#[tokio::test(flavor = "multi_thread")]
async fn an_early_answer_reaches_a_client_that_is_still_sending() {
    let dead = free_ports::<1>()[0];
    let routes = "[[route]]\npath = \"/public\"\naccess = \"public\"\nupstream = \"UPSTREAM\"\n\
        [[route]]\npath = \"/nobody\"\ngroups = [\"nobody\"]\nupstream = \"UPSTREAM\"\n\
        [[route]]\npath = \"/here\"\naccess = \"public\"\n";
    let more = format!(
        "[[route]]\npath = \"/dead\"\naccess = \"public\"\nupstream = \"http://127.0.0.1:{dead}\"\n\
        [[route]]\npath = \"/\"\nupstream = \"UPSTREAM\"\n"
    );
    let broker = Broker::with(Setup { more, routes, ..Setup::default() }).await;
    let cookie = broker.signed_in().await.cookie(SESSION).unwrap();
    let cookie = format!("Cookie: {SESSION}={cookie}\r\n");
    let host = format!("Host: {HOST}\r\n");
    let body = vec![b'x'; 20 * 1024 * 1024];
    for (status_line, headers, expected) in [
        ("POST /orders HTTP/1.1", host.clone(), 401),
        ("POST /orders HTTP/1.1", format!("{host}Connection: upgrade\r\nUpgrade: websocket\r\n"), 401),
        ("POST /orders HTTP/1.0", host.clone(), 401),
        ("POST /nobody HTTP/1.1", format!("{host}{cookie}"), 403),
        ("POST /here HTTP/1.1", host.clone(), 404),
        ("POST /sso/nothing HTTP/1.1", host.clone(), 404),
        ("POST /sso/logout HTTP/1.1", format!("{host}{cookie}"), 413),
        ("POST /sso/backchannel-logout/company HTTP/1.1", host.clone(), 413),
        ("POST /sso/api/v1/revocations HTTP/1.1", host.clone(), 401),
        ("POST /orders HTTP/1.1", "Host: elsewhere.example.test\r\n".into(), 421),
        ("POST /public%2F..%2Fnobody HTTP/1.1", host.clone(), 400),
        ("POST /dead HTTP/1.1", host.clone(), 502),
        ("POST /public HTTP/1.1", format!("{host}X-Large: {}\r\n", "x".repeat(40 * 1024)), 431),
        ("BREW /public HTTP/1.1", host.clone(), 405),
        ("POST /public HTTP/1.1", format!("{host}X Y: 1\r\n"), 400),
        ("POST /public HTTP/1.1", format!("{host}X-Large: {}\r\n", "x".repeat(70 * 1024)), 431),
    ] {
        let mut connection = TcpStream::connect(broker.address).await.unwrap();
        let head = format!("{status_line}\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
        let sent = async {
            connection.write_all(head.as_bytes()).await?;
            connection.write_all(&body).await
        };
        let sent = sent.await;
        connection.shutdown().await.unwrap();
        let answered = answer(&mut connection).await;
        let shown = answered.lines().next().unwrap_or_default().to_owned();
        assert!(sent.is_ok(), "{status_line}: {sent:?}, {shown}");
        let answered = answered.replace("HTTP/1.0 ", "HTTP/1.1 ");
        assert_eq!(status(&answered), Some(expected), "{status_line}: {shown}");
    }
}

/// A request that may be upgraded, and is not, changes nothing for what comes later on its connection.
#[tokio::test(flavor = "multi_thread")]
async fn an_early_answer_arrives_also_after_a_request_that_asked_for_an_upgrade() {
    let broker = Broker::start().await;
    let body = vec![b'x'; 20 * 1024 * 1024];
    for upgrade in ["Upgrade: websocket\r\nConnection: upgrade\r\n", "Upgrade: h2c\r\nConnection: upgrade\r\n"] {
        let mut connection = TcpStream::connect(broker.address).await.unwrap();
        let first = format!("GET /orders HTTP/1.1\r\nHost: {HOST}\r\n{upgrade}\r\n");
        connection.write_all(first.as_bytes()).await.unwrap();
        let mut piece = vec![0; 64 * 1024];
        let length = connection.read(&mut piece).await.unwrap();
        let refused = String::from_utf8_lossy(&piece[..length]);
        assert_eq!(status(&refused), Some(401), "{upgrade}: {refused}");
        let head = format!("POST /orders HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {}\r\n\r\n", body.len());
        connection.write_all(head.as_bytes()).await.unwrap();
        let sent = connection.write_all(&body).await;
        connection.shutdown().await.unwrap();
        let answered = answer(&mut connection).await;
        assert!(sent.is_ok(), "{upgrade}: {sent:?}");
        assert_eq!(status(&answered), Some(401), "{upgrade}");
    }
}

/// RFC 9110 10.1.1: a client that waits for 100 is refused before it sends its content.
#[tokio::test]
async fn a_refused_client_that_asks_before_it_sends_may_keep_its_body() {
    let broker = Broker::start().await;
    let mut connection = TcpStream::connect(broker.address).await.unwrap();
    let head =
        format!("POST /orders HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 60000\r\nExpect: 100-continue\r\n\r\n");
    connection.write_all(head.as_bytes()).await.unwrap();
    let mut piece = [0; 64];
    let length = connection.read(&mut piece).await.unwrap();
    connection.shutdown().await.unwrap();
    assert_eq!(status(&String::from_utf8_lossy(&piece[..length])), Some(401), "no 100 before it");
}

/// What HTTP itself refuses never reaches the site, and has a line in the log all the same: who, and why. Found by
/// sending what is no HTTP, another protocol, and every bound's next number.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_leaves_a_line_in_the_log() {
    let serving = Serving::start("").await;
    let host = format!("Host: {HOST}\r\n");
    let many = (0..150).fold(String::new(), |lines, index| lines + &format!("X-{index}: 1\r\n"));
    let two_lengths = "Content-Length: 1\r\nContent-Length: 2\r\n\r\nx";
    for (what, request, status) in [
        ("no HTTP", "hello there\r\n\r\n".to_owned(), Some(400)),
        ("a client that speaks TLS", "\u{16}\u{3}\u{1}\u{0}\u{5}hello\r\n\r\n".into(), Some(400)),
        // Whose client would not understand an answer.
        ("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), None),
        ("a header without a name", format!("GET / HTTP/1.1\r\n{host}: x\r\n\r\n"), Some(400)),
        ("two lengths", format!("POST / HTTP/1.1\r\n{host}{two_lengths}"), Some(400)),
        ("too many headers", format!("GET / HTTP/1.1\r\n{host}{many}\r\n"), Some(431)),
        ("too large a head", format!("GET / HTTP/1.1\r\n{host}X: {}\r\n\r\n", "x".repeat(200_000)), Some(431)),
    ] {
        let mut connection = TcpStream::connect(serving.address).await.unwrap();
        let _ = connection.write_all(request.as_bytes()).await;
        let _ = connection.shutdown().await;
        let shown = answer(&mut connection).await;
        let line = serving.program.wait_for("a request that cannot be read was refused");
        let line = line.lines().last().unwrap();
        let cause = line.split_once("cause=").map_or("", |(_, cause)| cause);
        let logged = line.split_once("status=").map(|(_, rest)| rest.split(' ').next().unwrap().to_owned());
        assert_eq!(crate::connections::status(&shown), status, "{what}: {shown}");
        assert_eq!(logged, status.map(|status| status.to_string()), "{what}: {line}");
        assert!(!cause.is_empty(), "{what}: {line}");
        assert!(line.contains("peer=127.0.0.1:"), "{what}: {line}");
    }
}

/// One line a setting. Found by giving every key its smallest and largest value, and one that is none.
#[test]
fn bounds_that_bound_nothing_are_refused() {
    let faults_of = |line: &str| {
        let file = format!(
            "public_url = \"{PUBLIC}\"\n[server]\n{line}\n[secrets]\nkeys = [\"{KEY}\"]\n[store]\nurl = \"memory:\"\n\
             [idp.company]\nkind = \"oidc\"\nissuer = \"https://idp.example.com\"\nclient_id = \"x\"\nclient_secret = \"x\"\n\
             [[route]]\npath = \"/\"\n"
        );
        let settings = Source { file: Some(file), ..Source::default() }.settings();
        settings.err().map_or(String::new(), |faults| faults.to_string())
    };
    for (line, named) in [
        ("least_rate = \"0B\"", "server.least_rate"),
        ("least_rate = \"fast\"", "server.least_rate: must be a size such as"),
        ("least_rate = 1024", "server.least_rate: must be a size such as"),
        ("least_rate = \"99999999999GiB\"", "server.least_rate"),
        ("body_deadline = \"0s\"", "server.body_deadline"),
        ("keep_alive_timeout = \"2h\"", "server.keep_alive_timeout"),
        ("drain_delay = \"2h\"", "server.drain_delay"),
        ("max_connections = 0", "server.max_connections"),
        ("max_connections = -1", "server.max_connections: must be a whole number"),
        ("max_connections = 10\nper_peer_connections = 11", "server.per_peer_connections"),
    ] {
        assert!(faults_of(line).contains(named), "{line}: {}", faults_of(line));
    }
    for line in
        ["least_rate = \"1B\"", "least_rate = \"2 MiB\"", "per_peer_connections = 0", "keep_alive_timeout = \"1h\""]
    {
        assert_eq!(faults_of(line), "", "{line}");
    }
}

/// A load balancer sees `/readyz` fail while everybody is still served; asked a second time, the broker waits no longer.
#[tokio::test(flavor = "multi_thread")]
async fn readiness_ends_before_service_does() {
    let serving = Serving::start("drain_delay = \"1h\"").await;
    assert_eq!(serving.asks().await, Some(200));
    serving.program.signal("TERM");
    serving.program.wait_for("not ready any more, still serving");
    for _ in 0..3 {
        assert_eq!(serving.asks().await, Some(200));
    }
    serving.program.signal("TERM");
    until("the listener is closed", async || serving.asks().await.is_none()).await;
    assert_eq!(serving.program.end().0, Some(0));
}
