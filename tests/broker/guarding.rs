//! The guard: which requests pass, and the answers to the others.

use http::Method;
use serde_json::json;

use crate::support::broker::{Broker, HOST, PUBLIC, SESSION, Setup, Store};
use crate::support::redis::Redis;
use crate::support::scripted_idp::{Script, set};

const ROUTES: &str = r#"
[[route]]
path = "/public"
upstream = "UPSTREAM"
access = "public"
[[route]]
path = "= /public/but-this"
upstream = "UPSTREAM"
[[route]]
path = "/finance"
upstream = "UPSTREAM"
groups = ["finance"]
[[route]]
path = "/api"
upstream = "UPSTREAM"
on_anonymous = "401"
[[route]]
path = "/old"
upstream = "UPSTREAM"
on_anonymous = "login"
[[route]]
path = "/here"
[[route]]
path = "= /"
upstream = "UPSTREAM"
"#;

async fn broker() -> Broker {
    Broker::with(Setup { routes: ROUTES, ..Setup::default() }).await
}

/// R-I01, R-I07: one line a case: path, as a stranger's page, as a stranger's program, as staff.
#[tokio::test]
async fn each_route_lets_the_right_people_pass_and_no_rule_means_no_entry() {
    let broker = broker().await;
    let staff = broker.signed_in().await;
    let stranger = broker.browser();
    for (path, page, program, as_staff) in [
        ("/", 303, 401, 200),
        ("/public", 200, 200, 200),
        ("/public/x", 200, 200, 200),
        ("/publicity", 303, 401, 403),
        ("/finance", 303, 401, 403),
        ("/finance/x", 303, 401, 403),
        ("/api/x", 401, 401, 200),
        ("/old", 303, 303, 200),
        ("/here", 303, 401, 404),
        ("/nowhere", 303, 401, 403),
    ] {
        let url = format!("{PUBLIC}{path}");
        assert_eq!(stranger.visit(&url).send().await.status, page, "{path} as a page");
        assert_eq!(stranger.fetch(&url).send().await.status, program, "{path} as a program");
        assert_eq!(staff.fetch(&url).send().await.status, as_staff, "{path} as staff");
    }
    assert!(stranger.cookies().is_empty());
}

/// R-I02: what a program is told.
#[tokio::test]
async fn a_program_without_session_gets_a_problem_document() {
    let broker = broker().await;
    let answer = broker.browser().get("/finance").await;
    let problem = answer.json();
    assert_eq!((problem["status"].as_u64(), problem["code"].as_str()), (Some(401), Some("session_missing")));
    assert_eq!(problem["request_id"].as_str().unwrap(), answer.header("x-request-id"));
    assert_eq!(problem["login"], "/sso/login?return_to=%2Ffinance");
    assert!(answer.headers.contains_key("www-authenticate"));
    let form = broker.browser().submit(&format!("{PUBLIC}/finance"), &[("a", "b")]).send().await;
    assert_eq!(form.status, 401, "a form that was sent cannot be sent again by coming back");
    assert!(form.header("content-type").starts_with("text/html"));
}

/// R-I07: no redirect loop.
#[tokio::test]
async fn somebody_who_may_not_pass_is_told_so() {
    let broker = broker().await;
    let browser = broker.signed_in().await;
    let page = browser.visit(&format!("{PUBLIC}/finance")).send().await;
    assert_eq!((page.status.as_u16(), page.location()), (403, ""));
    assert_eq!(browser.get("/finance").await.code(), "forbidden");
    broker.idp.behave(Script { userinfo: set(json!({ "groups": ["staff", "finance"] })), ..Script::default() });
    let member = broker.signed_in().await;
    assert_eq!(member.get("/finance").await.status, 200);
}

/// R-I04, R-I05: no spelling of a guarded path passes as a public one, nor an ambiguous one to anybody.
#[tokio::test]
async fn tricks_with_paths_open_nothing() {
    let broker = broker().await;
    let member = broker.signed_in().await;
    for path in [
        "/public/../finance",
        "/public/%2e%2e/finance",
        "/public/..%2ffinance",
        "/public/..;/finance",
        "/public//finance",
        "//finance",
        "/%2ffinance",
        "/public\\..\\finance",
        "/public/%5c../finance",
        "/finance;x=/public",
        "/FINANCE",
        "/finance%2Fx",
        "/finance%3Fx",
        "/finance%3Bx",
        "/finance%23x",
        "/finance%20",
        "/finance.",
        "/public/%252e%252e/finance",
        "/public/%00",
        "/public/%0d%0ax",
        "/public/%zz",
        "/public/%c0%af",
        "/%73so/login",
        "/SSO/login",
    ] {
        for (who, cookie) in [("stranger", None), ("staff", member.cookie("__Host-session"))] {
            let status = raw_status(&broker, path, cookie.as_deref()).await;
            assert!((400..500).contains(&status), "{path} as {who}: {status}");
        }
    }
    // What is only unusual still works, and reaches the upstream as it is.
    for path in ["/public/a%2Fb", "/public/x;v=1", "/public/caf%C3%A9", "/public/100%25", "/public/A.b_c~d-e"] {
        let answer = member.fetch(&format!("{PUBLIC}{path}")).send().await;
        assert_eq!(answer.json()["target"], path);
    }
    let decoded = member.get("/p%75blic/x?y=%2e%2e//").await;
    assert_eq!(decoded.json()["target"], "/public/x?y=%2e%2e//", "matched and forwarded in one spelling");
}

/// Sends a target as it is: clients tidy paths up before they send them.
async fn raw_status(broker: &Broker, target: &str, cookie: Option<&str>) -> u16 {
    let cookie = cookie.map_or_else(String::new, |value| format!("Cookie: __Host-session={value}\r\n"));
    let head = format!("GET {target} HTTP/1.1\r\nHost: {HOST}\r\n{cookie}Connection: close\r\n\r\n");
    raw(broker, head.as_bytes()).await
}

/// Sends bytes; the status of the answer, 0 if there is none.
pub async fn raw(broker: &Broker, bytes: &[u8]) -> u16 {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(broker.address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let text = String::from_utf8_lossy(&answer).into_owned();
    text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
}

/// R-I05, R-I06, R-K07, R-K15: one line a case.
#[tokio::test]
async fn nothing_but_a_session_opens_a_guarded_page() {
    let broker = broker().await;
    let ask = |line: &str, headers: &str| format!("{line} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n").into_bytes();
    let host = format!("Host: {HOST}\r\n");
    for (expected, line, headers) in [
        (401, "GET /finance", host.clone()),
        (401, "GET /finance?/public", host.clone()),
        (401, "GET /finance", format!("{host}Authorization: Bearer x\r\n")),
        (401, "GET /finance", format!("{host}Authorization: Basic YTpi\r\n")),
        (401, "GET /finance", format!("{host}User-Agent: GoogleHC/1.0\r\n")),
        (
            401,
            "GET /finance",
            format!("{host}X-Original-URI: /public\r\nX-Forwarded-Uri: /public\r\nX-Rewrite-URL: /public\r\n"),
        ),
        (401, "GET /finance", format!("{host}X-Auth-Request-User: root\r\nX-Forwarded-User: root\r\n")),
        (401, "POST /finance", format!("{host}X-HTTP-Method-Override: OPTIONS\r\nContent-Length: 0\r\n")),
        (
            401,
            "OPTIONS /finance",
            format!("{host}Origin: https://evil.example\r\nAccess-Control-Request-Method: GET\r\n"),
        ),
        (401, "HEAD /finance", host.clone()),
        (405, "TRACE /public", host.clone()),
        (405, "CONNECT evil.example:443", host.clone()),
        (405, "BREW /public", host.clone()),
        (400, "OPTIONS *", host.clone()),
        (400, "GET http://evil.example/public", host.clone()),
        (400, "GET http://evil.example/sso/signed-out", host.clone()),
        (421, "GET /public", String::new()),
        (421, "GET /public", "Host: evil.example\r\n".into()),
        (421, "GET /public", format!("{host}{host}")),
    ] {
        assert_eq!(raw(&broker, &ask(line, &headers)).await, expected, "{line} {headers}");
    }
}

/// R-M02: no other site is ever allowed in.
#[tokio::test]
async fn no_answer_of_the_broker_opens_itself_to_other_origins() {
    let broker = broker().await;
    let browser = broker.signed_in().await;
    for path in ["/sso/session", "/sso/login", "/finance", "/sso/logout", "/nowhere"] {
        for origin in ["https://evil.example", "null", PUBLIC] {
            let answer = browser.fetch(&format!("{PUBLIC}{path}")).header("origin", origin).send().await;
            assert!(!answer.headers.keys().any(|name| name.as_str().starts_with("access-control-")), "{path}");
        }
    }
}

/// R-I09: a client that keeps no cookie ends at a page, not in a redirect loop.
#[tokio::test]
async fn a_browser_without_cookies_makes_no_redirect_loop() {
    let broker = broker().await;
    let browser = broker.browser();
    let mut location = format!("{PUBLIC}/");
    for step in 0..10 {
        browser.clear();
        let answer = browser.visit(&location).send().await;
        if answer.status != 303 {
            assert_eq!(answer.status, 400);
            assert!(answer.body.to_lowercase().contains("cookies"), "says what to do: {}", answer.body);
            assert!(step > 1);
            return;
        }
        location = answer.location().to_owned();
        if location.starts_with('/') {
            location = format!("{PUBLIC}{location}");
        }
    }
    panic!("still being redirected, to {location}");
}

/// A 64 kB query, and worse: refused with a status, and the next request is served.
#[tokio::test]
async fn oversized_requests_are_refused_and_do_no_harm() {
    let broker = broker().await;
    let host = format!("Host: {HOST}\r\nConnection: close\r\n\r\n");
    let huge = "x".repeat(64 * 1024);
    let cookie = format!("GET /public HTTP/1.1\r\nCookie: a={huge}\r\n{host}");
    for request in [format!("GET /public?q={huge} HTTP/1.1\r\n{host}"), cookie] {
        let status = raw(&broker, request.as_bytes()).await;
        assert!([414, 431].contains(&status), "{status}");
    }
    let many = (0..200).fold(String::new(), |lines, index| lines + &format!("X-{index}: 1\r\n"));
    assert_eq!(raw(&broker, format!("GET /public HTTP/1.1\r\n{many}{host}").as_bytes()).await, 431);
    let long = broker.browser().visit(&format!("{PUBLIC}/finance?q={}", "x".repeat(20_000))).send().await;
    assert_eq!(long.location(), "/sso/login?return_to=%2Ffinance", "too long to remember: the page without its query");
}

/// R-P02, R-K09: a body that never comes is not waited for.
#[tokio::test]
async fn a_body_that_never_comes_is_not_waited_for() {
    let more = "[server]\nclient_timeout = \"300ms\"\n".to_owned();
    let broker = Broker::with(Setup { more, ..Setup::default() }).await;
    let cookie = broker.signed_in().await.cookie("__Host-session").unwrap();
    for path in ["/sso/logout", "/upload"] {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {HOST}\r\nCookie: __Host-session={cookie}\r\nContent-Length: 1000\r\n\
             Connection: close\r\n\r\nx"
        );
        assert_eq!(raw(&broker, head.as_bytes()).await, 408, "{path}");
    }
}

/// The fast path and the slow path of the guard agree: a replica with the sessions in its near cache and one that reads
/// the store each time give the same answers.
#[tokio::test]
async fn what_the_near_cache_lets_pass_is_what_the_store_would_let_pass() {
    let redis = Redis::start();
    let routes = "[[route]]\npath = \"/staff\"\nupstream = \"UPSTREAM\"\ngroups = [\"staff\"]\n\
        [[route]]\npath = \"/finance\"\nupstream = \"UPSTREAM\"\ngroups = [\"nobody is in it\"]\n\
        [[route]]\npath = \"/recent\"\nupstream = \"UPSTREAM\"\nmax_auth_age = \"10m\"\n\
        [[route]]\npath = \"/public\"\nupstream = \"UPSTREAM\"\naccess = \"public\"\n";
    let setup = |near_cache_entries| Setup {
        store: Store::Redis(redis.port()),
        routes,
        near_cache_entries,
        more: "[session]\nbind = \"user-agent\"\n".into(),
        ..Setup::default()
    };
    let knowing = Broker::with(setup(1_000)).await;
    let asking = knowing.replica(setup(0)).await;
    let (alice, other) = (knowing.signed_in().await, knowing.signed_in().await);
    for advance in [0, 11, 30] {
        knowing.clock.advance(time::Duration::minutes(advance));
        for (path, method) in [
            ("/staff", Method::GET),
            ("/staff/a%20b?x=1", Method::POST),
            ("/staff", Method::HEAD),
            ("/staff", Method::OPTIONS),
            ("/finance", Method::GET),
            ("/recent", Method::GET),
            ("/public", Method::GET),
            ("/nowhere", Method::GET),
            ("/sso/none", Method::GET),
            ("/SSO/none", Method::GET),
            ("/Staff", Method::GET),
            ("/staff//x", Method::GET),
            ("/staff/%2e%2e/finance", Method::GET),
        ] {
            for agent in ["", "another browser"] {
                for cookies in [1, 2] {
                    let mut answers = Vec::new();
                    // Asked three times: the near cache is filled by then, if it can be.
                    for broker in [&knowing, &knowing, &knowing, &asking] {
                        let browser = broker.takes_over(&alice);
                        let mut asked = browser.ask(method.clone(), &format!("{PUBLIC}{path}"));
                        if cookies == 2 {
                            let second = format!("{SESSION}={}", other.cookie(SESSION).unwrap());
                            asked = asked.header("cookie", &second);
                        }
                        if !agent.is_empty() {
                            asked = asked.header("user-agent", agent);
                        }
                        let answer = asked.send().await;
                        answers.push((answer.status.as_u16(), answer.location().to_owned()));
                    }
                    answers.dedup();
                    assert_eq!(answers.len(), 1, "{method} {path}, {agent:?}, {cookies} cookies: {answers:?}");
                }
            }
        }
    }
}
