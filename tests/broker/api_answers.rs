//! The refusals of the administration API, which name the fault for the caller, and the audit events of what it did.

use http::Method;
use serde_json::json;

use crate::support::administration::{SECTION, TOKEN};
use crate::support::broker::{Broker, KEY, PUBLIC, Setup};
use crate::support::house::House;
use crate::support::program::{counterfoil, run};
use crate::support::scripted_idp::Script;

/// A path, the headers, then the status, the code and what the answer names.
type Case<'a> = (&'a str, Vec<(&'a str, &'a str)>, u16, &'a str, &'a str);

/// One line a refusal: what was sent, the status, the code, what the answer names, and what it must not say. Those
/// refusals were found by sending each half of what a machine and a browser need (RFC 6750 3, RFC 9457).
#[tokio::test]
async fn the_api_says_what_is_wrong_to_whom() {
    let broker = Broker::with(Setup { more: SECTION.into(), ..Setup::default() }).await;
    broker.idp.behave(Script::claims(json!({ "groups": ["ops"] })));
    let operator = broker.signed_in().await;
    let session = operator.get("/sso/session").await;
    let csrf = session.header("x-csrf-token").to_owned();
    let (wrong, right) = ("Bearer wrong".to_owned(), format!("Bearer {TOKEN}"));
    let cases: [Case<'_>; 11] = [
        ("sessions", vec![("authorization", &wrong)], 401, "token_invalid", "api_tokens"),
        ("sessions", vec![("authorization", "Basic eDp5")], 401, "token_invalid", "has to say Bearer"),
        ("sessions", vec![("authorization", "Bearer")], 401, "token_invalid", "has to say Bearer"),
        ("sessions", vec![], 401, "session_missing", "Authorization: Bearer"),
        ("sessions", vec![("cookie", "yes")], 403, "forbidden", "X-CSRF-Token is missing"),
        ("sessions", vec![("cookie", "yes"), ("x-csrf-token", "wrong")], 403, "forbidden", "GET /sso/session"),
        (
            "sessions",
            vec![("cookie", "yes"), ("x-csrf-token", &csrf), ("sec-fetch-site", "cross-site")],
            403,
            "forbidden",
            "Sec-Fetch-Site",
        ),
        ("sessions", vec![("cookie", "yes"), ("x-csrf-token", &csrf)], 403, "forbidden", "[admin] groups"),
        ("sessions?usr=x", vec![("authorization", &right)], 400, "bad_request", "usr"),
        ("sessions/cf-8QzvTn2LmX0aPq4RsWg", vec![("authorization", &right)], 404, "bad_request", "live session"),
        ("sessions?limit=0", vec![("authorization", &right)], 400, "bad_request", "limit"),
    ];
    for (path, headers, status, code, said) in cases {
        let with_session = headers.iter().any(|(name, _)| *name == "cookie");
        let browser = if with_session { operator.clone() } else { broker.browser() };
        for language in ["en", "ko"] {
            let asking = browser.ask(Method::GET, &format!("{PUBLIC}/sso/api/v1/{path}"));
            let asking = asking.header("accept-language", language);
            let headers = headers.iter().filter(|(name, _)| *name != "cookie");
            let answer = headers.fold(asking, |asking, (name, value)| asking.header(name, value)).send().await;
            assert_eq!(
                (answer.status.as_u16(), answer.code().as_str()),
                (status, code),
                "{path} {said}: {}",
                answer.body
            );
            let problem = answer.json();
            assert!(problem["detail"].as_str().unwrap().contains(said) || language == "ko", "{said}: {problem}");
            for words in ["Please sign in", "company account", "Another website", "로그인이 필요합니다", "회사 계정"]
            {
                assert!(!answer.body.contains(words), "an employee's words: {problem}");
            }
            if code == "token_invalid" {
                let challenge = answer.header("www-authenticate");
                // RFC 6750 3.1: who showed none is told of no error.
                let error = if said == "api_tokens" { ", error=\"invalid_token\"" } else { "" };
                assert_eq!(challenge, format!("Bearer realm=\"/sso/api/v1\"{error}"), "{said}");
                assert!(problem.get("login").is_none(), "a login does not help: {problem}");
            }
        }
    }
}

/// Whom an order meant stands in the audit trail in words, whichever way it came.
#[tokio::test(flavor = "multi_thread")]
async fn audit_lines_say_whom_an_order_meant_in_words() {
    let house = House::start("", 1).await;
    let handle = "cf-8QzvTn2LmX0aPq4RsWg";
    for (arguments, said) in [
        (vec!["--user", "bob"], "selection=user bob "),
        (vec!["--user", "bob", "--group", "finance"], "selection=user bob, group finance "),
        (vec![handle], "selection=sessions cf-8QzvTn2LmX0aPq4RsWg "),
        (vec!["--all"], "selection=everybody "),
        (vec!["--ip", "192.0.2.1", "--older-than", "90m"], "selection=address 192.0.2.1, older than 1h 30m "),
    ] {
        let all = ["revoke"].into_iter().chain(arguments).chain(["--reason", "x", "--yes"]).collect::<Vec<_>>();
        let (code, _, errors) = house.terminal(&all);
        assert!(code == Some(0) && errors.contains(said), "{said}: {errors}");
        assert!(!errors.contains("Some(") && !errors.contains("Filter") && !errors.contains("u{22}"), "{errors}");
    }
    // A key that is missing names the danger of making one.
    let file = house.folder.write("nothing.toml", &format!("[store]\nurl = \"{}\"\n", house.redis.url()));
    let (code, _, errors) = run(counterfoil(house.folder.path(), &["sessions", "list", "--config", &file]));
    assert!(code == Some(64) && errors.contains("everybody is signed out") && !errors.contains(KEY), "{errors}");
}
