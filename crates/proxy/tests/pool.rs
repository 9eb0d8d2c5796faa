//! The pool of connections to an upstream, which each test plays on real sockets.

use std::time::Duration;

use axum::body::{Body, Bytes};
use counterfoil_proxy::pool::{AnswerBody, Content, Pool, PoolError, PoolLimits};
use http::{Method, Request, Response, Uri};
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A pool, and the upstream that it connects to.
struct Between {
    pool: Pool,
    listener: TcpListener,
    upstream: Uri,
}

impl Between {
    async fn start() -> Self {
        Self::with(PoolLimits::default(), Duration::from_secs(30)).await
    }

    async fn with(limits: PoolLimits, timeout: Duration) -> Self {
        let pool = Pool::new(timeout, None, limits).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        Self { pool, listener, upstream }
    }

    /// The next connection to the upstream.
    async fn accept(&self) -> TcpStream {
        self.listener.accept().await.unwrap().0
    }

    async fn send(&self, method: Method, content: Content) -> Result<Response<AnswerBody>, PoolError> {
        let request = Request::builder().method(method).uri("/x").header("host", "a.example").body(content).unwrap();
        self.pool.send(&self.upstream, request).await
    }

    /// Sends a request without content, and reads its answer, whose connection may be used again.
    async fn ask(&self, method: Method) -> Result<Bytes, PoolError> {
        Ok(read(self.send(method, Content::none()).await?).await)
    }

    /// Asks once; the upstream accepts a connection for that, and says this.
    async fn ask_anew(&self, method: Method, said: &str) -> TcpStream {
        let upstream = async {
            let mut upstream = self.accept().await;
            answer(&mut upstream, said).await;
            upstream
        };
        let (answered, upstream) = tokio::join!(self.ask(method), upstream);
        answered.unwrap();
        settle().await;
        upstream
    }

    /// Asks once; the upstream answers on this connection.
    async fn ask_on(&self, upstream: &mut TcpStream) {
        let (answered, ()) = tokio::join!(self.ask(Method::GET), answer(upstream, OK));
        assert_eq!(answered.unwrap(), "ok");
        settle().await;
    }
}

/// Reads an answer to its end, and leaves its connection to the next request.
async fn read(answer: Response<AnswerBody>) -> Bytes {
    let mut body = answer.into_body();
    body.keep_connection();
    body.collect().await.unwrap().to_bytes()
}

/// Reads the head of a request; false if the connection ended instead.
async fn hears(upstream: &mut TcpStream) -> bool {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match upstream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return false,
        }
    }
    true
}

/// Answers one request.
async fn answer(upstream: &mut TcpStream, said: &str) {
    assert!(hears(upstream).await, "the connection ended");
    upstream.write_all(said.as_bytes()).await.unwrap();
}

/// Lets every task notice what has arrived: another connection makes a round through the reactor.
async fn settle() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    listener.accept().await.unwrap().0.write_u8(1).await.unwrap();
    near.read_u8().await.unwrap();
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_connection_takes_the_next_request_once_its_answer_was_read() {
    for (method, said) in [
        (Method::GET, OK),
        (Method::GET, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
        (Method::GET, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        (Method::GET, "HTTP/1.1 204 No Content\r\n\r\n"),
        (Method::HEAD, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"),
        (Method::POST, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    ] {
        let between = Between::start().await;
        let mut upstream = between.ask_anew(method, said).await;
        between.ask_on(&mut upstream).await;
    }
}

#[tokio::test]
async fn a_connection_closes_unless_its_answer_was_read_and_may_be_followed() {
    let between = Between::start().await;
    for is_read in [false, true] {
        let upstream = async {
            let mut upstream = between.accept().await;
            answer(&mut upstream, OK).await;
            upstream
        };
        let (answered, mut upstream) = tokio::join!(between.send(Method::GET, Content::none()), upstream);
        let mut body = answered.unwrap().into_body();
        if is_read {
            body.collect().await.unwrap();
        } else {
            body.keep_connection();
            drop(body);
        }
        assert!(!hears(&mut upstream).await, "read: {is_read}");
    }
}

/// One line a case: the upstream's own word, an answer that lasts as long as its connection, and bytes that nobody asked
/// for.
#[tokio::test]
async fn an_upstreams_end_of_a_connection_is_noticed_before_it_is_used() {
    for said in [
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nSECRET",
    ] {
        let between = Between::start().await;
        let mut upstream = between.ask_anew(Method::POST, said).await;
        assert!(!hears(&mut upstream).await, "{said}");
        between.ask_anew(Method::POST, OK).await;
    }
    // Without a word: closed, and closed for its own direction alone.
    for is_half_closed in [false, true] {
        let between = Between::start().await;
        let mut upstream = between.ask_anew(Method::POST, OK).await;
        upstream.shutdown().await.unwrap();
        let _half_open = is_half_closed.then_some(upstream);
        settle().await;
        between.ask_anew(Method::POST, OK).await;
    }
}

#[tokio::test]
async fn an_answer_without_a_length_lasts_until_its_connection_ends() {
    let between = Between::start().await;
    let upstream = async {
        let mut upstream = between.accept().await;
        answer(&mut upstream, "HTTP/1.0 200 OK\r\n\r\nto the end").await;
    };
    let (answered, ()) = tokio::join!(between.ask(Method::GET), upstream);
    assert_eq!(answered.unwrap(), "to the end");
    between.ask_anew(Method::GET, OK).await;
}

#[tokio::test]
async fn a_cancelled_request_closes_its_connection() {
    let between = Between::start().await;
    let asked = async {
        let mut upstream = between.accept().await;
        assert!(hears(&mut upstream).await);
        upstream
    };
    let mut upstream = tokio::select! {
        _ = between.ask(Method::GET) => panic!("nobody has answered"),
        upstream = asked => upstream,
    };
    assert!(!hears(&mut upstream).await);
}

#[tokio::test]
async fn the_connection_that_was_used_last_is_used_next() {
    let between = Between::start().await;
    let (mut first, mut second) = two_idle(&between).await;
    between.ask_on(&mut second).await;
    drop(second);
    settle().await;
    between.ask_on(&mut first).await;
}

/// Two idle connections; the second was used last.
async fn two_idle(between: &Between) -> (TcpStream, TcpStream) {
    let (asked, mut first) = tokio::join!(between.send(Method::GET, Content::none()), async {
        let mut first = between.accept().await;
        answer(&mut first, OK).await;
        first
    });
    let second = between.ask_anew(Method::GET, OK).await;
    // The first is free only now, which makes it the last one used; one more request each puts them in order.
    read(asked.unwrap()).await;
    settle().await;
    between.ask_on(&mut first).await;
    (second, first)
}

#[tokio::test]
async fn connections_close_that_are_idle_for_too_long() {
    let limits = PoolLimits { idle: Duration::from_millis(100), ..PoolLimits::default() };
    let between = Between::with(limits, Duration::from_secs(30)).await;
    // The second time, closing begins anew after there was none left.
    for _ in 0..2 {
        let mut upstream = between.ask_anew(Method::GET, OK).await;
        assert!(!hears(&mut upstream).await);
    }
}

#[tokio::test]
async fn connections_close_that_are_too_old_or_too_many() {
    let old = PoolLimits { age: Duration::ZERO, ..PoolLimits::default() };
    let between = Between::with(old, Duration::from_secs(30)).await;
    let mut first = between.ask_anew(Method::GET, OK).await;
    between.ask_anew(Method::GET, OK).await;
    assert!(!hears(&mut first).await, "the next request took another one");

    let few = PoolLimits { most_idle: 0, ..PoolLimits::default() };
    let between = Between::with(few, Duration::from_secs(30)).await;
    let mut only = between.ask_anew(Method::GET, OK).await;
    assert!(!hears(&mut only).await);
}

/// R-K12, RFC 9112 9.3.1: keep-alive ends without notice, and only what changes nothing is sent again.
#[tokio::test]
async fn a_request_that_died_on_a_used_connection_is_sent_once_more_if_it_may_be() {
    for (method, content, is_repeated) in [
        (Method::GET, Content::none(), true),
        (Method::HEAD, Content::none(), true),
        (Method::GET, Content::of(Body::from("x")), false),
        (Method::POST, Content::none(), false),
        (Method::PUT, Content::of(Body::from("x")), false),
        (Method::DELETE, Content::none(), false),
    ] {
        let between = Between::start().await;
        let mut used = between.ask_anew(Method::GET, OK).await;
        let case = format!("{method} {content:?}");
        let upstream = async {
            assert!(hears(&mut used).await);
            drop(used);
            if is_repeated {
                answer(&mut between.accept().await, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
            }
        };
        let (answered, ()) = tokio::join!(between.send(method, content), upstream);
        assert_eq!(answered.is_ok(), is_repeated, "{case}");
        assert!(answered.is_ok() || matches!(answered, Err(PoolError::Exchange(_))), "{case}");
    }
}

#[tokio::test]
async fn a_request_that_died_on_a_fresh_connection_is_not_sent_again() {
    let between = Between::start().await;
    let mut used = between.ask_anew(Method::GET, OK).await;
    let upstream = async {
        assert!(hears(&mut used).await);
        drop(used);
        assert!(hears(&mut between.accept().await).await);
    };
    let (answered, ()) = tokio::join!(between.ask(Method::GET), upstream);
    assert!(matches!(answered, Err(PoolError::Exchange(_))), "{answered:?}");
    let nobody_comes = tokio::select! {
        biased;
        _ = between.accept() => false,
        () = settle() => true,
    };
    assert!(nobody_comes);
}

#[tokio::test]
async fn a_connection_on_which_the_content_was_sent_takes_the_next_request() {
    let between = Between::start().await;
    let upstream = async {
        let mut upstream = between.accept().await;
        let mut request = Vec::new();
        while !request.ends_with(b"content") {
            upstream.read_buf(&mut request).await.unwrap();
        }
        upstream.write_all(OK.as_bytes()).await.unwrap();
        upstream
    };
    let (answered, mut upstream) =
        tokio::join!(between.send(Method::POST, Content::of(Body::from("content"))), upstream);
    assert_eq!(read(answered.unwrap()).await, "ok");
    settle().await;
    between.ask_on(&mut upstream).await;
}

/// An upstream would take the next request for the rest of the content, or the rest of the content for the next request.
#[tokio::test]
async fn a_connection_that_answered_before_it_had_the_content_takes_no_request() {
    let between = Between::start().await;
    let (mut more, content) = tokio::io::duplex(64);
    let content = Content::of(Body::from_stream(pieces(content)));
    let upstream = async {
        let mut upstream = between.accept().await;
        answer(&mut upstream, OK).await;
        upstream
    };
    let (early, mut upstream) = tokio::join!(between.send(Method::POST, content), upstream);
    assert_eq!(read(early.unwrap()).await, "ok");
    settle().await;
    let second = between.ask_anew(Method::GET, OK).await;
    drop(second);
    settle().await;
    more.write_all(b"rest").await.unwrap();
    drop(more);
    let mut rest = Vec::new();
    upstream.read_to_end(&mut rest).await.unwrap();
    drop(between.ask_anew(Method::GET, OK).await);
}

/// Pieces as they come.
fn pieces(
    source: tokio::io::DuplexStream,
) -> impl futures_util::Stream<Item = std::io::Result<Bytes>> + Send + 'static {
    futures_util::stream::unfold(source, async |mut source| {
        let mut piece = vec![0; 64];
        let length = source.read(&mut piece).await.ok().filter(|length| *length > 0)?;
        piece.truncate(length);
        Some((Ok(Bytes::from(piece)), source))
    })
}

#[tokio::test]
async fn an_upstream_that_says_nothing_is_not_waited_for() {
    let between = Between::with(PoolLimits::default(), Duration::from_millis(200)).await;
    let (answered, mut upstream) = tokio::join!(between.ask(Method::GET), between.accept());
    assert!(matches!(answered, Err(PoolError::Timeout(_))), "{answered:?}");
    assert!(hears(&mut upstream).await && !hears(&mut upstream).await, "its connection is not used again");
}

#[tokio::test]
async fn an_upstream_that_is_away_is_told_from_one_that_breaks_off() {
    let between = Between::start().await;
    let Between { pool, listener, upstream } = between;
    drop(listener);
    let request = Request::builder().uri("/x").header("host", "a.example").body(Content::none()).unwrap();
    let answered = pool.send(&upstream, request).await;
    assert!(matches!(answered, Err(PoolError::Connect(_))));
}
