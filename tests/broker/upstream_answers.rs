//! What an upstream says, by bytes, and what of it a browser gets.

use std::fmt::Write;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use crate::support::broker::{Broker, PUBLIC, Setup};
use crate::support::raw::{RawUpstream, exchange, read_head, read_until, request, status};

/// What a browser gets for what an upstream says, in bytes.
async fn passed_on(said: &str, method: &str) -> String {
    let upstream = RawUpstream::saying(said.as_bytes().to_vec(), true).await;
    let broker = upstream.behind_a_broker("").await;
    let browser = broker.signed_in().await;
    exchange(&broker, &request(&format!("{method} /x"), Some(&browser), "Connection: close\r\n")).await
}

/// R-K08. One line a case; which heads are refused is tested beside the check itself, here are those that a client library
/// may swallow on its way to it. Seen were both framings, 101, 999 and 205; the rest is RFC 9112 6.1 and 6.3.
#[tokio::test]
async fn an_answer_that_says_two_things_ends_as_502_and_nothing_of_it_is_passed_on() {
    for said in [
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\na\r\nSECRETabcd\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\na\r\nSECRETabcd\r\n0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: SECRET\r\nConnection: upgrade\r\n\r\nSECRET",
        "HTTP/1.1 999 SECRET\r\nContent-Length: 6\r\n\r\nSECRET",
        "HTTP/1.1 600 SECRET\r\nContent-Length: 6\r\n\r\nSECRET",
        "HTTP/1.1 205 Reset Content\r\nContent-Length: 6\r\n\r\nSECRET",
        "HTTP/1.1 205 Reset Content\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nSECRET\r\n0\r\n\r\n",
        "HTTP/1.1 205 Reset Content\r\n\r\nSECRET",
        "HTTP/1.1 204 No Content\r\nContent-Length: 6\r\n\r\nSECRET",
        "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nContent-Length: 7\r\n\r\nSECRETx",
        "HTTP/1.1 200 OK\r\nContent-Length: +6\r\n\r\nSECRET",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n6\r\nSECRET\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nSECRET\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nSECRET",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding : chunked\r\nContent-Length: 3\r\n\r\n6\r\nSECRET\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nSECRET\r\n0\r\n\r\n",
    ] {
        let answer = passed_on(said, "GET").await;
        assert_eq!(status(&answer), 502, "{said:?}: {answer}");
        assert!(answer.contains("upstream_unavailable") && !answer.contains("SECRET"), "{said:?}: {answer}");
    }
}

/// RFC 9112 5.1, 5.2 and 6.3: answers that a proxy corrects, and unusual ones that it passes on.
#[tokio::test]
async fn an_answer_that_is_only_odd_is_passed_on_in_order() {
    for (method, said, expected) in [
        ("GET", "HTTP/1.1 200 OK\r\nX-A : 1\r\nContent-Length: 2\r\n\r\nok", "x-a: 1\r\n"),
        ("GET", "HTTP/1.1 200 OK\r\nX-A\t:1\r\nContent-Length: 2\r\n\r\nok", "x-a: 1\r\n"),
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok", "\r\n\r\nok"),
        ("GET", "HTTP/1.1 200 OK\r\nX-A: one\r\n two\r\nContent-Length: 2\r\n\r\nok", "x-a: one two\r\n"),
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok", "content-length: 2\r\n"),
        ("GET", "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 200"),
        ("GET", "HTTP/1.0 200 OK\r\n\r\nto the end", "to the end"),
        ("GET", "HTTP/1.1 205 Reset Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "HTTP/1.1 205"),
        ("GET", "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 204"),
        (
            "GET",
            "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            "\r\n\r\nok",
        ),
        ("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n", "HTTP/1.1 304"),
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n", "content-length: 12345\r\n"),
    ] {
        let answer = passed_on(said, method).await;
        assert!(answer.contains(expected), "{said:?}: {answer}");
        assert!(!answer.to_lowercase().contains("early"), "{answer}");
    }
}

/// Beyond the hundred fields that other proxies take, and bounded all the same.
#[tokio::test]
async fn answers_are_bounded_by_bytes_and_by_a_generous_number_of_fields() {
    for (fields, length, expected) in [(101, 10, 200), (511, 10, 200), (512, 10, 502), (60, 1_200, 502)] {
        let fields = (0..fields).fold(String::new(), |mut lines, number| {
            let _ = write!(lines, "X-{number}: {}\r\n", "v".repeat(length));
            lines
        });
        let answer = passed_on(&format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 2\r\n\r\nok"), "GET").await;
        assert_eq!(status(&answer), expected, "{}", &answer[..200.min(answer.len())]);
        assert_eq!(answer.matches("\r\nx-").count() > 100, expected == 200);
    }
}

/// What follows an answer that has no content is not the next person's answer.
#[tokio::test]
async fn what_follows_an_answer_without_content_reaches_nobody() {
    let stray = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nSECRET";
    for head in [
        "HTTP/1.1 204 No Content\r\nContent-Length: 44\r\n\r\n",
        "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n",
    ] {
        let upstream = RawUpstream::saying(format!("{head}{stray}").into_bytes(), false).await;
        let broker = upstream.behind_a_broker("").await;
        let browser = broker.signed_in().await;
        for _ in 0..20 {
            let answer = browser.get("/x").await;
            assert!([204, 304, 502].contains(&answer.status.as_u16()) && !answer.body.contains("SECRET"), "{head}");
        }
    }
}

/// R-H09 and the like through the whole broker; the table is tested beside itself.
#[tokio::test]
async fn an_upstream_says_nothing_in_the_brokers_stead() {
    let said = "HTTP/1.1 200 OK\r\nClear-Site-Data: \"cookies\"\r\nX-Auth-Request-User: root\r\nX-CSRF-Token: t\r\n\
        X-Request-Id: mine\r\nAlt-Svc: h3=\":9\"\r\nX-Own: kept\r\nContent-Length: 2\r\n\r\nok";
    let answer = passed_on(said, "GET").await.to_lowercase();
    for gone in ["clear-site-data", "x-auth-request", "x-csrf-token", "alt-svc", "x-request-id: mine"] {
        assert!(!answer.contains(gone), "{gone}: {answer}");
    }
    assert!(answer.contains("x-own: kept"));
    let upstream = RawUpstream::saying(said.as_bytes().to_vec(), true).await;
    let more =
        "[proxy]\nstrip_response_headers = [\"X-O*\", \"!X-CSRF-Token\"]\nstrip_request_headers = [\"X-Department\"]\n";
    let broker = upstream.behind_a_broker(more).await;
    let asked = request("GET /open", None, "X_Department: sales\r\nX-Kept: 1\r\nConnection: close\r\n");
    let answer = exchange(&broker, &asked).await.to_lowercase();
    assert!(!answer.contains("x-own") && answer.contains("x-csrf-token: t"), "{answer}");
    let head = &upstream.heads()[0];
    assert!(head.contains("x-kept: 1") && !head.contains("sales"), "{head}");
}

/// R-K11 through the whole broker, on a route of either kind.
#[tokio::test]
async fn a_guarded_answer_is_private_unless_the_route_says_that_the_upstream_decides() {
    let said =
        "HTTP/1.1 200 OK\r\nCache-Control: public, s-maxage=60\r\nSet-Cookie: a=b\r\nContent-Length: 2\r\n\r\nok";
    let upstream = RawUpstream::saying(said.as_bytes().to_vec(), true).await;
    let routes = format!(
        "[[route]]\npath = \"/shared\"\nupstream = \"http://{0}\"\ncache = \"upstream\"\n\
         [[route]]\npath = \"/open\"\nupstream = \"http://{0}\"\naccess = \"public\"\n\
         [[route]]\npath = \"/\"\nupstream = \"http://{0}\"\ncache = \"private\"\n",
        upstream.address
    );
    let broker = Broker::with(Setup { routes: Box::leak(routes.into_boxed_str()), ..Setup::default() }).await;
    let browser = broker.signed_in().await;
    for (path, expected) in
        [("/x", "private"), ("/shared/x", "public, s-maxage=60"), ("/open/x", "public, s-maxage=60")]
    {
        let answer = browser.fetch(&format!("{PUBLIC}{path}")).send().await;
        assert_eq!(answer.header("cache-control"), expected, "{path}");
    }
}

/// RFC 9110 10.1.1. A stranger is refused without having sent a body, and told that the connection ends.
#[tokio::test]
async fn who_waits_for_100_and_is_refused_sends_nothing() {
    let upstream = RawUpstream::saying(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec(), true).await;
    let broker = upstream.behind_a_broker("").await;
    for (line, more, expected) in [
        ("POST /x", "Content-Length: 9", 401),
        ("PUT /x", "Transfer-Encoding: chunked", 401),
        ("POST /open/../x", "Content-Length: 9", 400),
        ("BREW /open", "Content-Length: 9", 405),
        ("POST /sso/nothing", "Content-Length: 9", 404),
    ] {
        let answer = exchange(&broker, &request(line, None, &format!("Expect: 100-continue\r\n{more}\r\n"))).await;
        assert_eq!(status(&answer), expected, "{line}: {answer}");
        assert!(!answer.contains("100 Continue") && answer.contains("connection: close\r\n"), "{answer}");
    }
    assert!(upstream.heads().is_empty());
}

/// RFC 9110 10.1.1: the upstream decides when the body is sent, and if.
#[tokio::test]
async fn the_upstreams_100_is_what_brings_the_body() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let routes = format!(
        "[[route]]\npath = \"/\"\nupstream = \"http://{}\"\naccess = \"public\"\n",
        listener.local_addr().unwrap()
    );
    let broker = Broker::with(Setup { routes: Box::leak(routes.into_boxed_str()), ..Setup::default() }).await;
    let asked = request("POST /x", None, "Expect: 100-continue\r\nContent-Length: 4\r\n");

    // Asked for: 100 goes through, then the body, then the answer.
    let mut client = TcpStream::connect(broker.address).await.unwrap();
    client.write_all(asked.as_bytes()).await.unwrap();
    let (mut upstream, _) = listener.accept().await.unwrap();
    let head = read_head(&mut upstream).await.unwrap();
    assert!(head.to_lowercase().contains("expect: 100-continue\r\n"), "{head}");
    upstream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
    assert!(read_until(&mut client, "\r\n\r\n").await.starts_with("HTTP/1.1 100"));
    client.write_all(b"BODY").await.unwrap();
    assert_eq!(read_until(&mut upstream, "BODY").await, "BODY");
    // Not kept for the next request, which would go to a connection that is just closing.
    upstream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
    assert!(read_until(&mut client, "ok").await.starts_with("HTTP/1.1 200"));
    drop((client, upstream));

    // Refused: the answer goes through whole, no body is asked for, and nothing more reaches the upstream.
    let mut client = TcpStream::connect(broker.address).await.unwrap();
    client.write_all(asked.as_bytes()).await.unwrap();
    let (mut upstream, _) = listener.accept().await.unwrap();
    read_head(&mut upstream).await.unwrap();
    upstream.write_all(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 9\r\n\r\ntoo ").await.unwrap();
    let begun = read_until(&mut client, "too ").await;
    upstream.write_all(b"large").await.unwrap();
    let whole = begun + &read_until(&mut client, "nothing more").await;
    assert!(whole.starts_with("HTTP/1.1 413") && whole.ends_with("too large"), "{whole}");
    assert!(whole.contains("connection: close\r\n") && !whole.contains("100 Continue"), "{whole}");
    assert_eq!(read_until(&mut upstream, "nothing more").await, "");

    // Not understood: the upstream says nothing and waits for the body, which comes all the same.
    let mut client = TcpStream::connect(broker.address).await.unwrap();
    client.write_all(asked.as_bytes()).await.unwrap();
    let (mut upstream, _) = listener.accept().await.unwrap();
    read_head(&mut upstream).await.unwrap();
    assert!(read_until(&mut client, "\r\n\r\n").await.starts_with("HTTP/1.1 100"));
    client.write_all(b"BODY").await.unwrap();
    assert_eq!(read_until(&mut upstream, "BODY").await, "BODY");
}

/// A request without a body has nothing to wait for.
#[tokio::test]
async fn an_expectation_without_a_body_goes_nowhere() {
    let upstream = RawUpstream::saying(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec(), true).await;
    let broker = upstream.behind_a_broker("").await;
    let asked = request("GET /open", None, "Expect: 100-continue\r\nConnection: close\r\n");
    assert_eq!(status(&exchange(&broker, &asked).await), 200);
    assert!(!upstream.heads()[0].to_lowercase().contains("expect"));
}

/// R-K08, RFC 9112 6.1. One line a case; the first was seen. A body whose coding is not understood is not read, and what
/// follows it on the connection is no request.
#[tokio::test]
async fn a_request_that_is_coded_otherwise_than_chunked_is_refused() {
    let upstream = RawUpstream::saying(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec(), true).await;
    let broker = upstream.behind_a_broker("").await;
    for (coding, expected) in [
        ("gzip, chunked", 501),
        ("identity, chunked", 501),
        ("gzip\r\nTransfer-Encoding: chunked", 501),
        ("chunked;q=1, chunked", 501),
        ("chunked, chunked", 400),
        ("chunked\r\nTransfer-Encoding: chunked", 400),
        (", chunked", 400),
        ("gzip", 400),
    ] {
        let body = "3\r\nabc\r\n0\r\n\r\nGET /open/smuggled HTTP/1.1\r\nHost: app.example.test\r\n\r\n";
        let asked = request("POST /open", None, &format!("Transfer-Encoding: {coding}\r\n")) + body;
        let answer = exchange(&broker, &asked).await;
        assert_eq!(status(&answer), expected, "{coding}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    }
    assert!(upstream.heads().is_empty(), "{:?}", upstream.heads());
    let plain =
        request("POST /open", None, "Transfer-Encoding: Chunked\r\nConnection: close\r\n") + "1\r\nx\r\n0\r\n\r\n";
    assert_eq!(status(&exchange(&broker, &plain).await), 200);
}

/// R-I04. Addresses of queues, branches and images: what is forwarded is what came, byte for byte.
#[tokio::test]
async fn an_upstream_gets_the_path_as_the_browser_wrote_it() {
    let upstream = RawUpstream::saying(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec(), true).await;
    let broker = upstream.behind_a_broker("").await;
    let browser = broker.signed_in().await;
    let paths = [
        "/api/queues/%2F/amq.queue",
        "/api/queues/%2f/amq.queue?columns=%2F",
        "/job/feature%252Fx/1/",
        "/iiif/ark:%2F12148%2Fb/full/max/0/default.jpg",
        "/%ED%9A%8C%ea%b3%84",
        "/a|b",
        "/%7Euser/%61",
    ];
    for path in paths {
        let asked = request(&format!("GET {path}"), Some(&browser), "Connection: close\r\n");
        assert_eq!(status(&exchange(&broker, &asked).await), 200, "{path}");
    }
    let lines: Vec<_> = upstream.heads().iter().map(|head| head.lines().next().unwrap().to_owned()).collect();
    assert_eq!(lines, paths.map(|path| format!("GET {path} HTTP/1.1")));
    for path in ["/open/..%2Fx", "/open/%252e%252e/x", "/open//x", "/x/..;/open", "/OPEN/x", "/open%2F..%2Fx"] {
        let asked = request(&format!("GET {path}"), Some(&browser), "Connection: close\r\n");
        assert_eq!(status(&exchange(&broker, &asked).await), 400, "{path}");
    }
    assert_eq!(upstream.heads().len(), paths.len());
}
