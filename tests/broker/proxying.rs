//! What travels between browser and upstream.

use serde_json::json;

use crate::support::broker::{Broker, HOST, PUBLIC, SESSION, Setup};
use crate::support::captured_log::CapturedLog;
use crate::support::scripted_idp::{Script, set};
use crate::support::upstream::received;

/// The upstream knows who it is, and only from the broker.
#[tokio::test]
async fn identity_headers_are_set_once_and_every_forged_twin_is_gone() {
    let broker = Broker::start().await;
    broker
        .idp
        .behave(Script { userinfo: set(json!({ "groups": ["staff", "x,admins", "회계"] })), ..Script::default() });
    let browser = broker.signed_in().await;
    let handle = broker.handle(&browser).await;
    let mut asking = browser.fetch(&format!("{PUBLIC}/page?x=1"));
    for name in ["X-Auth-Request-User", "x_auth_request_user", "X-Auth.Request-Groups", "X-Auth-Request-Assertion"] {
        asking = asking.header(name, "forged");
    }
    let echo =
        asking.header("X-Forwarded-For", "6.6.6.6").header("X-Forwarded-Host", "evil.example").send().await.json();
    for (name, value) in [
        ("x-auth-request-user", "248289761001"),
        ("x-auth-request-email", "alice@example.com"),
        ("x-auth-request-name", "Alice Kim"),
        ("x-auth-request-preferred-username", "alice"),
        ("x-auth-request-groups", "staff,x%2Cadmins,%ED%9A%8C%EA%B3%84"),
        ("x-auth-request-groups-left-out", "0"),
        ("x-auth-request-session", handle.as_str()),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-host", HOST),
        ("x-forwarded-proto", "https"),
        ("host", HOST),
    ] {
        assert_eq!(received(&echo, name), [value], "{name}");
    }
    assert!(!echo.to_string().contains("forged") && !echo.to_string().contains("evil.example"));
    assert!(!echo.to_string().contains("CANARY"), "R-C09: no token reaches an upstream");
}

/// R-K05: the log has it once a session, however much that is used.
#[tokio::test]
async fn groups_that_do_not_fit_into_a_header_are_logged_once_for_each_session() {
    let log = CapturedLog::begin(tracing::Level::WARN);
    let broker = Broker::start().await;
    let groups: Vec<_> = (0..150).map(|number| format!("00000000-0000-0000-0000-{number:012}")).collect();
    broker.idp.behave(Script { userinfo: set(json!({ "groups": groups })), ..Script::default() });
    for sessions in 1..=2 {
        let browser = broker.signed_in().await;
        for _ in 0..3 {
            let echo = browser.fetch(PUBLIC).send().await.json();
            assert_eq!(received(&echo, "x-auth-request-groups-left-out"), ["40"]);
        }
        assert_eq!(log.lines_with("groups do not fit").len(), sessions);
    }
}

#[tokio::test]
async fn a_public_page_gets_no_identity_and_no_forged_one() {
    let routes = "[[route]]\npath = \"/\"\nupstream = \"UPSTREAM\"\naccess = \"public\"\n";
    let broker = Broker::with(Setup { routes, ..Setup::default() }).await;
    let echo = broker.browser().fetch(PUBLIC).header("x-auth-request-user", "root").send().await.json();
    assert!(received(&echo, "x-auth-request-user").is_empty());
    let known = broker.signed_in().await.fetch(PUBLIC).send().await.json();
    assert_eq!(received(&known, "x-auth-request-user"), ["248289761001"], "who is signed in is told there, too");
}

/// R-D15: userinfo with an address but without `email_verified`; one line a case.
#[tokio::test]
async fn email_verified_of_the_id_token_applies_to_the_same_address_in_userinfo() {
    for (trust_email, is_verified, in_userinfo, passed_on) in [
        (false, true, "alice@example.com", "alice@example.com"),
        (false, true, "ceo@example.com", ""),
        (true, false, "alice@example.com", ""),
    ] {
        let broker = Broker::with(Setup { idp: format!("trust_email = {trust_email}"), ..Setup::default() }).await;
        broker.idp.behave(Script {
            id_token_claims: set(json!({ "email_verified": is_verified })),
            userinfo: set(json!({ "email": in_userinfo })),
            ..Script::default()
        });
        let echo = broker.signed_in().await.fetch(PUBLIC).send().await.json();
        assert_eq!(received(&echo, "x-auth-request-email"), [passed_on], "{trust_email} {is_verified} {in_userinfo}");
    }
}

/// R-D15: an unverified address is not passed on.
#[tokio::test]
async fn an_unverified_address_is_not_passed_on() {
    let broker = Broker::start().await;
    for claims in
        [json!({ "email_verified": false }), json!({ "email_verified": null }), json!({ "email_verified": "true" })]
    {
        broker.idp.behave(Script::claims(claims.clone()));
        let echo = broker.signed_in().await.fetch(PUBLIC).send().await.json();
        assert_eq!(received(&echo, "x-auth-request-email"), [""], "{claims}");
    }
}

#[tokio::test]
async fn methods_bodies_queries_and_statuses_pass_unchanged() {
    let broker = Broker::start().await;
    let browser = broker.signed_in().await;
    let plain = browser.get("/x").await.json();
    assert!(received(&plain, "transfer-encoding").is_empty() && received(&plain, "content-length").is_empty());
    let large = "x".repeat(300_000);
    let url = format!("{PUBLIC}/orders?b=2&a=1&a=%20+");
    for method in [http::Method::POST, http::Method::PUT, http::Method::PATCH, http::Method::DELETE] {
        let echo = browser.ask(method.clone(), &url).body(&large).send().await.json();
        assert_eq!((&echo["method"], &echo["target"]), (&json!(method.as_str()), &json!("/orders?b=2&a=1&a=%20+")));
        assert_eq!(echo["body"].as_str().unwrap().len(), large.len());
    }
}

/// R-K08: a length that several servers read as several numbers reaches the upstream in one spelling.
#[tokio::test]
async fn an_upstream_is_told_a_bodys_length_in_the_brokers_own_digits() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let broker = Broker::start().await;
    let cookie = broker.signed_in().await.cookie(SESSION).unwrap();
    for (spelt, reaches) in
        [("10", Some("10")), ("010", Some("10")), ("0000000010", Some("10")), ("+10", None), ("0x0a", None)]
    {
        let mut stream = tokio::net::TcpStream::connect(broker.address).await.unwrap();
        let request = format!(
            "POST /x HTTP/1.1\r\nHost: {HOST}\r\nCookie: {SESSION}={cookie}\r\nConnection: close\r\n\
             Content-Length: {spelt}\r\n\r\n0123456789"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let Some(reaches) = reaches else {
            assert!(head.starts_with("HTTP/1.1 400"), "{spelt}: {head}");
            continue;
        };
        let echo: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(received(&echo, "content-length"), [reaches], "{spelt}");
        assert_eq!(echo["body"], "0123456789");
    }
}

/// The Back button after a logout: pages that say nothing of caching are not kept.
#[tokio::test]
async fn guarded_pages_are_not_kept_unless_the_upstream_says_so() {
    let broker = Broker::start().await;
    let browser = broker.signed_in().await;
    let answer = browser.visit(&format!("{PUBLIC}/page")).send().await;
    assert_eq!(answer.header("cache-control"), "no-store");
    let told = browser.visit(&format!("{PUBLIC}/page")).header("x-answer-cache-control", "max-age=60").send().await;
    assert_eq!(told.header("cache-control"), "private, max-age=60");
    assert!(answer.header("content-security-policy").is_empty(), "an upstream's page is its own");
}

#[tokio::test]
async fn an_upstream_that_is_away_is_named_as_such_and_nothing_inside_is_shown() {
    let routes = "[[route]]\npath = \"/\"\nupstream = \"http://127.0.0.1:1\"\n";
    let broker = Broker::with(Setup { routes, ..Setup::default() }).await;
    let browser = broker.signed_in().await;
    let answer = browser.get("/page").await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (502, "upstream_unavailable"));
    assert!(!answer.body.contains("127.0.0.1"));
    let page = browser.visit(&format!("{PUBLIC}/page")).send().await;
    assert!(page.status == 502 && !page.body.contains("127.0.0.1"));
}

/// R-K12: an upstream that ends keep-alive without a word costs nobody an error, and no form is sent twice.
#[tokio::test]
async fn connections_that_the_upstream_closed_are_replaced_but_forms_are_not_repeated() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let requests = Arc::new(AtomicU32::new(0));
    let counter = requests.clone();
    tokio::spawn(async move {
        // Answers one request a connection and promises more; a second one on it is read and dropped.
        while let Ok((mut stream, _)) = listener.accept().await {
            let counter = counter.clone();
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                for answer in [&b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"[..], b""] {
                    if stream.read(&mut buffer).await.unwrap_or(0) == 0 {
                        return;
                    }
                    counter.fetch_add(1, Ordering::Relaxed);
                    let _ = stream.write_all(answer).await;
                }
            });
        }
    });
    let routes = format!("[[route]]\npath = \"/\"\nupstream = \"http://{address}\"\n");
    let broker = Broker::with(Setup { routes: Box::leak(routes.into_boxed_str()), ..Setup::default() }).await;
    let browser = broker.signed_in().await;
    for _ in 0..10 {
        assert_eq!(browser.get("/page").await.status, 200);
    }
    let before = requests.load(Ordering::Relaxed);
    let form = browser.ask(http::Method::POST, &format!("{PUBLIC}/page")).body("x").send().await;
    let sent = requests.load(Ordering::Relaxed) - before;
    assert!(form.status == 502 && sent == 1, "{} after {sent} requests", form.status);
}

/// A listener that accepts and then does nothing, for as long as the test runs.
async fn silent_upstream() -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            kept.push(stream);
        }
    });
    address
}

/// R-P02: an upstream that says nothing, reads nothing, or never finishes its handshake.
#[tokio::test]
async fn an_upstream_that_stalls_is_not_waited_for() {
    let address = silent_upstream().await;
    let routes = format!(
        "[[route]]\npath = \"/tls\"\nupstream = \"https://{address}\"\n\
         [[route]]\npath = \"/\"\nupstream = \"http://{address}\"\n"
    );
    let more = "[server]\nupstream_timeout = \"2s\"\n".to_owned();
    let broker = Broker::with(Setup { routes: Box::leak(routes.into_boxed_str()), more, ..Setup::default() }).await;
    let browser = broker.signed_in().await;
    let large = "x".repeat(20_000_000);
    let silent = browser.get("/page").await;
    assert_eq!((silent.status.as_u16(), silent.code().as_str()), (504, "upstream_unavailable"));
    let deaf = browser.ask(http::Method::POST, &format!("{PUBLIC}/page")).body(&large).try_send().await;
    // The answer may come while the request is still being sent, which some clients take for a broken connection.
    assert!(deaf.map_or_else(|error| !error.is_timeout(), |answer| answer.status.is_server_error()));
    let handshake = browser.get("/tls/page").await;
    assert!([502, 504].contains(&handshake.status.as_u16()), "{}", handshake.status);
}

/// Uploads may take longer than an answer may.
#[tokio::test]
async fn a_slow_upload_is_not_cut_while_it_moves() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let more = "[server]\nupstream_timeout = \"5s\"\n".to_owned();
    let broker = Broker::with(Setup { more, ..Setup::default() }).await;
    let cookie = broker.signed_in().await.cookie("__Host-session").unwrap();
    let mut stream = tokio::net::TcpStream::connect(broker.address).await.unwrap();
    let head = format!(
        "POST /upload HTTP/1.1\r\nHost: {HOST}\r\nCookie: __Host-session={cookie}\r\nContent-Length: 10\r\n\
         Connection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    for _ in 0..10 {
        // The upload's own pace: in all it takes longer than an answer may.
        tokio::time::sleep(std::time::Duration::from_millis(600)).await;
        stream.write_all(b"x").await.unwrap();
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("xxxxxxxxxx"), "{answer}");
}

/// A body without a length arrives whole, whatever the method.
#[tokio::test]
async fn chunked_bodies_arrive_whole() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let broker = Broker::start().await;
    let cookie = broker.signed_in().await.cookie("__Host-session").unwrap();
    for method in ["GET", "POST"] {
        let mut stream = tokio::net::TcpStream::connect(broker.address).await.unwrap();
        let request = format!(
            "{method} /search HTTP/1.1\r\nHost: {HOST}\r\nCookie: __Host-session={cookie}\r\n\
             Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nwhole\r\n0\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.contains("\"body\":\"whole\""), "{method}: {answer}");
    }
}
