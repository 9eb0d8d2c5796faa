//! Applications below a prefix: what their upstream receives, by bytes, and what browsers are told of paths.

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::broker::{Broker, HOST, PUBLIC, Setup};
use crate::support::raw::{RawUpstream, exchange, read_until, request, status};

const ANSWER: &str = "HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: /login?next=%2F\r\nContent-Location: /d.json\r\n\
    Set-Cookie: a=1; Path=/; HttpOnly\r\nSet-Cookie: b=1; Path=/grafana/x\r\n\r\n";

/// A broker in front of an application at `/grafana`, of one at the folder `/app` of its server, and of one for the rest.
async fn broker(upstream: &RawUpstream) -> Broker {
    let address = upstream.address;
    let routes = format!(
        "[[route]]\npath = \"/grafana\"\nstrip_prefix = \"/grafana\"\nupstream = \"http://{address}\"\naccess = \"public\"\n\
         [[route]]\npath = \"/moved\"\nstrip_prefix = \"/moved\"\nupstream = \"http://{address}/app/\"\naccess = \"public\"\n\
         [[route]]\npath = \"/staff\"\nstrip_prefix = \"/staff\"\nupstream = \"http://{address}\"\n\
         [[route]]\npath = \"/\"\nupstream = \"http://{address}\"\naccess = \"public\"\n"
    );
    Broker::with(Setup { routes: Box::leak(routes.into_boxed_str()), ..Setup::default() }).await
}

/// One line a request: the target of the browser, and the one that reached the upstream.
#[tokio::test]
async fn an_upstream_is_asked_for_its_own_path() {
    let upstream = RawUpstream::saying(ANSWER.into(), false).await;
    let broker = broker(&upstream).await;
    for (asked, received, prefix) in [
        ("/grafana/d/1?x=/grafana/y", "/d/1?x=/grafana/y", Some("/grafana")),
        ("/grafana", "/", Some("/grafana")),
        ("/grafana/", "/", Some("/grafana")),
        ("/grafana/grafana/d", "/grafana/d", Some("/grafana")),
        ("/grafana/%ED%9A%8C%EA%B3%84;v=1", "/%ED%9A%8C%EA%B3%84;v=1", Some("/grafana")),
        ("/moved/x/y", "/app/x/y", Some("/moved")),
        ("/moved", "/app", Some("/moved")),
        ("/grafanas", "/grafanas", None),
        ("/api/queues/%2F/x", "/api/queues/%2F/x", None),
    ] {
        // A prefix that a stranger names is nobody's word.
        let forged = "Connection: close\r\nX-Forwarded-Prefix: /evil\r\nx_forwarded_prefix: /evil\r\n";
        let answer = exchange(&broker, &request(&format!("GET {asked}"), None, forged)).await;
        assert_eq!(status(&answer), 302, "{asked}: {answer}");
        let head = upstream.heads().pop().unwrap();
        assert!(head.starts_with(&format!("GET {received} HTTP/1.1\r\n")), "{asked}: {head}");
        let told: Vec<_> = head.lines().filter(|line| line.to_ascii_lowercase().contains("prefix")).collect();
        let expected: Vec<_> = prefix.iter().map(|prefix| format!("x-forwarded-prefix: {prefix}")).collect();
        assert_eq!(told, expected, "{asked}");
    }
}

/// A handshake is asked for at the same path as any other request.
#[tokio::test]
async fn a_handshake_below_a_prefix_is_asked_for_at_the_applications_own_path() {
    let upstream = RawUpstream::saying(ANSWER.into(), false).await;
    let broker = broker(&upstream).await;
    let handshake = format!(
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nOrigin: {PUBLIC}\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    );
    let mut client = TcpStream::connect(broker.address).await.unwrap();
    client.write_all(request("GET /grafana/api/live?x", None, &handshake).as_bytes()).await.unwrap();
    assert_eq!(status(&read_until(&mut client, "\r\n\r\n").await), 302);
    let head = upstream.heads().pop().unwrap().to_ascii_lowercase();
    assert!(head.starts_with("get /api/live?x http/1.1\r\n") && head.contains("upgrade: websocket"), "{head}");
    client.write_all(request("GET /grafana/x%2Fy", None, &handshake).as_bytes()).await.unwrap();
    assert_eq!(status(&read_until(&mut client, "bad_request").await), 400);
}

/// R-I04, R-K06: attack lines. Nothing of these reaches the upstream, under a cut path or a joined one.
#[tokio::test]
async fn a_path_that_leads_out_of_its_prefix_reaches_nobody() {
    let upstream = RawUpstream::saying(ANSWER.into(), false).await;
    let broker = broker(&upstream).await;
    let browser = broker.signed_in().await;
    let before = upstream.heads().len();
    for prefix in ["/grafana", "/moved", "/staff"] {
        for rest in [
            "//evil.example/x",
            "/%2Fevil.example/x",
            "/%2f%2fevil.example",
            "/\\evil.example",
            "/%5cevil.example",
            "/../admin",
            "/..;/admin",
            "/%2e%2e/admin",
            "/x/%2e%2e/%2e%2e/admin",
            "/%252e%252e/admin",
            "/x//y",
            "/x%2Fy",
            "/%EF%BC%8Fevil.example",
            "/.",
            "/..",
            "/x%3fy",
        ] {
            let line = format!("GET {prefix}{rest}");
            let answer = exchange(&broker, &request(&line, Some(&browser), "Connection: close\r\n")).await;
            assert_eq!(status(&answer), 400, "{line}: {answer}");
        }
    }
    assert_eq!(upstream.heads().len(), before, "{:?}", upstream.heads());
    // A stranger learns nothing of it: first who asks, then what for.
    let line = "GET /staff/x%2Fy";
    assert_eq!(status(&exchange(&broker, &request(line, None, "Connection: close\r\n")).await), 401);
}

#[tokio::test]
async fn a_browser_is_told_its_own_paths_and_stays_below_the_prefix() {
    let upstream = RawUpstream::saying(ANSWER.into(), false).await;
    let broker = broker(&upstream).await;
    let answer = broker.browser().get("/grafana/d/1").await;
    assert_eq!(answer.location(), "/grafana/login?next=%2F");
    assert_eq!(answer.header("content-location"), "/grafana/d.json");
    let cookies: Vec<_> = answer.headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a=1; Path=/grafana; HttpOnly", "b=1; Path=/grafana/x"]);
    // Elsewhere nothing is put back.
    assert_eq!(broker.browser().get("/d/1").await.location(), "/login?next=%2F");
    for (said, expected) in [
        (format!("https://{HOST}/d"), format!("{PUBLIC}/grafana/d")),
        (format!("{PUBLIC}/grafana/d"), format!("{PUBLIC}/grafana/d")),
        ("https://evil.example/d".to_owned(), "https://evil.example/d".to_owned()),
        ("//evil.example/d".to_owned(), "//evil.example/d".to_owned()),
        ("/grafana".to_owned(), "/grafana".to_owned()),
        ("d/2".to_owned(), "d/2".to_owned()),
    ] {
        let answer = format!("HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: {said}\r\n\r\n");
        let broker = self::broker(&RawUpstream::saying(answer.into(), false).await).await;
        assert_eq!(broker.browser().get("/grafana/d/1").await.location(), expected, "{said}");
    }
}
