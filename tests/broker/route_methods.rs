//! Routes that cover some methods alone: which route judges a request, by what its upstream received.

use http::Method;
use serde_json::{Value, json};

use crate::support::broker::{Broker, HOST, PUBLIC, SESSION, Setup};
use crate::support::raw::{exchange, request, status};
use crate::support::upstream::received;

/// Everybody may read, staff may write, security may delete, and a change needs a recent login.
const ROUTES: &str = r#"
[[route]]
path = "/api"
methods = ["GET"]
access = "public"
upstream = "UPSTREAM"
[[route]]
path = "/api"
methods = ["POST", "PUT"]
groups = ["staff"]
max_auth_age = "10m"
upstream = "UPSTREAM"
[[route]]
path = "/api"
methods = ["DELETE"]
groups = ["security"]
upstream = "UPSTREAM"
"#;

async fn broker() -> Broker {
    let broker = Broker::with(Setup { routes: ROUTES, ..Setup::default() }).await;
    broker.meets("1", &["staff"]);
    broker
}

/// R-I05: one line a request.
#[tokio::test]
async fn each_method_is_judged_by_the_first_route_that_covers_it() {
    let broker = broker().await;
    let (stranger, staff) = (broker.browser(), broker.signed_in_as("1", &["staff"]).await);
    for (browser, method, path, expected) in [
        (&stranger, Method::GET, "/api/x", 200),
        (&stranger, Method::HEAD, "/api/x", 200),
        (&stranger, Method::POST, "/api/x", 401),
        (&stranger, Method::DELETE, "/api/x", 401),
        (&stranger, Method::PATCH, "/api/x", 405),
        (&stranger, Method::OPTIONS, "/api/x", 405),
        (&stranger, Method::PATCH, "/other", 401),
        (&staff, Method::POST, "/api/x", 200),
        (&staff, Method::PUT, "/api/x", 200),
        (&staff, Method::DELETE, "/api/x", 403),
        (&staff, Method::PATCH, "/api/x", 405),
        (&staff, Method::PATCH, "/other", 403),
    ] {
        let answer = browser.ask(method.clone(), &format!("{PUBLIC}{path}")).send().await;
        assert_eq!(answer.status, expected, "{method} {path}: {}", answer.body);
        let allow = if expected == 405 { "GET, HEAD, POST, PUT, DELETE" } else { "" };
        assert_eq!(answer.header("allow"), allow, "{method} {path}");
    }
}

/// R-I05: attack lines. A field or a parameter that names another method neither opens a route nor arrives.
#[tokio::test]
async fn a_method_cannot_be_overridden() {
    let broker = broker().await;
    let staff = broker.signed_in_as("1", &["staff"]).await;
    for (line, fields) in [
        ("POST /api/x?_method=DELETE", ""),
        ("POST /api/x", "X-HTTP-Method-Override: DELETE\r\n"),
        ("POST /api/x", "X-HTTP-Method: DELETE\r\nX-Method-Override: DELETE\r\n"),
        ("POST /api/x", "x_http_method_override: DELETE\r\n"),
        ("POST /api/x", "Origin: https://app.example.test\r\nAccess-Control-Request-Method: GET\r\n"),
    ] {
        let with_body = format!("{fields}Connection: close\r\nContent-Length: 14\r\n");
        let attack = |browser| request(line, browser, &with_body) + "_method=DELETE";
        assert_eq!(status(&exchange(&broker, &attack(None)).await), 401, "{line} {fields}");
        let answer = exchange(&broker, &attack(Some(&staff))).await;
        let echo: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        assert_eq!(echo["method"], json!("POST"), "{line} {fields}");
        for name in ["x-http-method-override", "x-http-method", "x-method-override", "x_http_method_override"] {
            assert!(received(&echo, name).is_empty(), "{line} {fields}");
        }
    }
    // Methods are case-sensitive (RFC 9110 9.1), so these are others, which nobody serves.
    for line in ["get /api/x", "Delete /api/x", "PURGE /api/x"] {
        assert_eq!(
            status(&exchange(&broker, &request(line, Some(&staff), "Connection: close\r\n")).await),
            405,
            "{line}"
        );
    }
}

/// A preflight has no cookie: it is judged by the route of the request that it asks about. What has one is none.
#[tokio::test]
async fn a_preflight_is_judged_by_the_route_of_the_method_it_asks_about() {
    let broker = broker().await;
    let staff = broker.signed_in_as("1", &["staff"]).await;
    let cookie = staff.cookie(SESSION).unwrap();
    for (fields, as_stranger) in [
        ("Origin: https://a.example\r\nAccess-Control-Request-Method: GET", 200),
        ("Origin: https://a.example\r\nAccess-Control-Request-Method: HEAD", 200),
        ("Origin: https://a.example\r\nAccess-Control-Request-Method: PUT", 401),
        ("Origin: https://a.example\r\nAccess-Control-Request-Method: DELETE", 401),
        ("Origin: https://a.example\r\nAccess-Control-Request-Method: PATCH", 405),
        ("Access-Control-Request-Method: GET", 405),
        ("Origin: https://a.example", 405),
        (
            "Origin: https://a.example\r\nAccess-Control-Request-Method: GET\r\nAccess-Control-Request-Method: DELETE",
            405,
        ),
    ] {
        for (cookie, expected) in [(String::new(), as_stranger), (format!("Cookie: {SESSION}={cookie}\r\n"), 405)] {
            let bytes =
                format!("OPTIONS /api/x HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n{cookie}{fields}\r\n\r\n");
            let answer = exchange(&broker, &bytes).await;
            assert_eq!(status(&answer), expected, "{fields}: {answer}");
            assert!(expected != 200 || answer.contains("\"method\":\"OPTIONS\""), "{answer}");
        }
    }
}

/// A form that is sent too late leads to the login that its own method's route demands, and not to the page's.
#[tokio::test]
async fn a_login_for_a_form_satisfies_the_route_of_its_method() {
    let broker = broker().await;
    let staff = broker.signed_in_as("1", &["staff"]).await;
    broker.clock.advance(time::Duration::minutes(11));
    let refused = staff.submit(&format!("{PUBLIC}/api/x"), &[("a", "b")]).send().await;
    assert_eq!(refused.status, 401);
    let (_, link) = refused.body.split_once("href=\"/sso/login?return_to=%2Fsso%2Fsigned-in").unwrap();
    let link = link.split('"').next().unwrap().replace("&amp;", "&");
    let login = staff.visit(&format!("{PUBLIC}/sso/login?return_to=%2Fsso%2Fsigned-in{link}")).send().await;
    assert!(login.location().contains("max_age=600"), "{link}: {}", login.location());
}
