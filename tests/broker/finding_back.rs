//! People who lose their way while signing in find back to the page they came for.

use std::sync::Arc;

use http::Method;
use serde_json::json;

use crate::support::broker::{Broker, HOST, PUBLIC, SESSION, Setup};
use crate::support::browser::{Answer, Browser};
use crate::support::scripted_idp::{Misbehaviour, Script};
use crate::support::witness::Witness;

type Parameters = Vec<(String, String)>;

/// A provider that answers the browser with this error.
fn refusing(error: &'static str, description: &'static str) -> Script {
    let change = move |answer: &mut Parameters| {
        answer.retain(|(name, _)| name != "code");
        answer.push(("error".into(), error.into()));
        answer.push(("error_description".into(), description.into()));
    };
    Script { authorization_answer: Some(Arc::new(change)), ..Script::default() }
}

fn led_to(answer: &Answer, location: &str) {
    assert_eq!((answer.status.as_u16(), answer.location()), (303, location), "{}", answer.body);
}

async fn follow(browser: &Browser, answer: &Answer) -> Answer {
    assert_eq!(answer.status, 303, "{}", answer.body);
    let location = answer.location();
    let url = if location.starts_with('/') { format!("{PUBLIC}{location}") } else { location.to_owned() };
    browser.visit(&url).send().await
}

/// A form is sent whose session has ended: the page that says so leads back to the form, and tells how to send it again.
/// One line a way to ask, found by going through what browsers send: forms of both encodings, the other methods, and
/// scripts, whose problem document names a page for a person and not the address that the script asked for.
#[tokio::test]
async fn a_request_that_comes_too_late_leads_back_to_its_page() {
    let broker = Broker::start().await;
    let browser = broker.browser();
    let (form, page) = (format!("{PUBLIC}/orders/7/save"), format!("{PUBLIC}/orders/7?tab=2"));
    let back = "/sso/login?return_to=%2Forders%2F7%3Ftab%3D2";
    for kind in ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x"] {
        let late = browser.ask(Method::POST, &form).header("content-type", kind).header("accept", "text/html");
        let late = late.header("sec-fetch-mode", "navigate").header("referer", &page).body("a=b").send().await;
        assert_eq!(late.status, 401);
        assert!(late.body.contains(&format!("href=\"{}\"", back.replace('&', "&amp;"))), "{}", late.body);
        let new_tab = "href=\"/sso/login?return_to=%2Fsso%2Fsigned-in\" target=\"_blank\" rel=\"noopener\"";
        assert!(late.body.contains(new_tab), "{}", late.body);
    }
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH, Method::GET] {
        let asked = browser.ask(method.clone(), &form).header("accept", "application/json");
        let refused = asked.header("sec-fetch-mode", "cors").header("referer", &page).send().await;
        assert_eq!((refused.status.as_u16(), refused.json()["login"].as_str()), (401, Some(back)), "{method}");
    }
    for referer in ["https://evil.example/orders", "https://app.example.test.evil.example/", "about:blank", ""] {
        let late = browser.submit(&form, &[("a", "b")]).header("referer", referer).send().await;
        assert!(late.body.contains("href=\"/sso/login?return_to=%2F\""), "{referer}: {}", late.body);
    }
}

/// The tab that signs in for another one satisfies what that one needs, and says that it can be closed.
#[tokio::test]
async fn signing_in_for_another_tab_ends_at_a_page_that_says_so() {
    let routes = "[[route]]\npath = \"/vault\"\nupstream = \"UPSTREAM\"\nmax_auth_age = \"10m\"\n\
                  [[route]]\npath = \"/\"\nupstream = \"UPSTREAM\"\n";
    let broker = Broker::with(Setup { routes, ..Setup::default() }).await;
    let browser = broker.signed_in().await;
    broker.clock.advance(time::Duration::minutes(11));
    let late = browser.submit(&format!("{PUBLIC}/vault/7"), &[("text", "typed")]).send().await;
    assert_eq!(late.status, 401);
    let before_the_target = late.body.split_once("\" target=\"_blank\"").unwrap().0;
    let sign_in = before_the_target.rsplit_once("href=\"").unwrap().1;
    let start = browser.visit(&format!("{PUBLIC}{sign_in}")).send().await;
    assert!(start.location().contains("max_age=600"), "what the form's route demands: {}", start.location());
    let landed = follow(&browser, &follow(&browser, &start).await).await;
    let page = follow(&browser, &landed).await;
    assert_eq!(page.status, 200, "{}", page.body);
    assert!(page.body.contains("You can close this tab") && page.body.contains("Alice Kim"), "{}", page.body);
    let sent_again = browser.submit(&format!("{PUBLIC}/vault/7"), &[("text", "typed")]).send().await;
    assert_eq!((sent_again.status.as_u16(), sent_again.json()["body"].as_str()), (200, Some("text=typed")));

    let stranger = broker.browser().visit(&format!("{PUBLIC}/sso/signed-in")).send().await;
    assert_eq!(stranger.status, 401, "nobody is sent round in circles from here");
    assert!(stranger.body.contains("/sso/login?return_to=%2Fsso%2Fsigned-in"));
}

/// One line a way in which an answer comes that no login waits for: Back, a second copy of the request, another tab's
/// login that took the cookie's place, ten minutes that are over, a jar that forgot. Whoever is signed in goes on.
#[tokio::test]
async fn whoever_has_a_session_goes_on_to_the_page_that_a_lost_login_was_for() {
    let broker = Broker::start().await;
    for (what, late, jar) in [
        ("again", false, "after"),
        ("a copy that was sent before the first was answered", false, "before"),
        ("too late", true, "before"),
        ("the cookie is gone", false, "forgotten"),
    ] {
        let browser = broker.browser();
        let callback = broker.reach_callback(&browser, "/orders?status=open").await;
        let before = browser.copy();
        if late {
            broker.clock.advance(time::Duration::minutes(11));
            broker.sign_in(&browser, "/").await;
        } else {
            led_to(&browser.visit(&callback).send().await, "/orders?status=open");
        }
        let key = browser.cookie(SESSION).unwrap();
        let asking = if jar == "before" { before } else { browser };
        if jar == "before" {
            asking.plant(HOST, SESSION, &key);
        }
        if jar == "forgotten" {
            asking.clear();
            asking.plant(HOST, SESSION, &key);
        }
        let exchanges = broker.idp.received("/token").len();
        let answer = asking.visit(&callback).send().await;
        assert_eq!((answer.status.as_u16(), answer.location()), (303, "/orders?status=open"), "{what}");
        assert!(answer.set_cookies().is_empty(), "{what}");
        assert_eq!(broker.idp.received("/token").len(), exchanges, "{what}");
    }
}

#[tokio::test]
async fn twenty_tabs_that_are_restored_at_once_all_find_their_page() {
    let broker = Broker::start().await;
    let browser = broker.browser();
    let mut callbacks = Vec::new();
    for tab in 0..20 {
        callbacks.push(broker.reach_callback(&browser, &format!("/tab/{tab}")).await);
    }
    for (tab, callback) in callbacks.iter().enumerate() {
        let mut answer = browser.visit(callback).send().await;
        // A login whose cookie was evicted begins again, if nobody is signed in by then.
        for _ in 0..3 {
            if answer.location() == format!("/tab/{tab}") {
                break;
            }
            answer = follow(&browser, &answer).await;
        }
        led_to(&answer, &format!("/tab/{tab}"));
        assert_eq!(follow(&browser, &answer).await.status, 200);
    }
}

/// A browser that keeps nothing, and one that keeps some of it, end at a page that says what to do.
#[tokio::test]
async fn a_lost_login_begins_again_once_and_for_its_page() {
    let broker = Broker::start().await;
    let browser = broker.browser();
    let callback = broker.reach_callback(&browser, "/orders").await;
    let stranger = broker.browser();
    let page = stranger.visit(&callback).send().await;
    assert_eq!(page.status, 400);
    assert!(page.body.contains("/sso/login?return_to=%2Forders"), "its button leads on: {}", page.body);
    assert!(stranger.cookies().is_empty());

    broker.clock.advance(time::Duration::minutes(11));
    let again = browser.visit(&callback).send().await;
    led_to(&again, "/sso/login?return_to=%2Forders&idp=company&again=1");
    let provider = follow(&browser, &again).await;
    let second = follow(&browser, &provider).await.location().to_owned();
    broker.clock.advance(time::Duration::minutes(11));
    assert_eq!(browser.visit(&second).send().await.status, 400, "not a third time by itself");
    assert!(broker.idp.received("/token").is_empty());
}

/// The provider refused, or cannot be used, and somebody is signed in all the same: the page says who, and offers to go
/// on as well as to try again. One line a cause; those of the login address itself are at the end.
#[tokio::test]
async fn a_login_that_fails_beside_a_session_says_who_is_signed_in() {
    let broker = Broker::start().await;
    let browser = broker.signed_in().await;
    for (script, status) in [
        (refusing("access_denied", ""), 403),
        (refusing("login_required", ""), 403),
        (refusing("server_error", ""), 400),
        (refusing("invalid_scope", ""), 400),
        (Script::claims(json!({ "aud": "other" })), 502),
        (Script { at_token: Misbehaviour::Answer(500, "text/plain", "x"), ..Script::default() }, 503),
    ] {
        broker.idp.behave(script);
        let page = broker.sign_in(&browser, "/orders").await;
        assert_eq!(page.status, status);
        assert!(page.body.contains("Signed in as") && page.body.contains("Alice Kim"), "{}", page.body);
        assert!(page.body.contains("href=\"/orders\"") && page.body.contains("return_to=%2Forders"), "{}", page.body);
        assert!(!page.body.contains("not signed in"), "{}", page.body);
        let session = browser.get("/sso/session").await;
        assert_eq!(session.json()["name"], "Alice Kim");
    }
    broker.idp.behave(refusing("access_denied", ""));
    let stranger = broker.sign_in(&broker.browser(), "/orders").await;
    assert!(!stranger.body.contains("Signed in as"), "{}", stranger.body);

    let posting = Broker::with(Setup { idp: "response_mode = \"form_post\"".into(), ..Setup::default() }).await;
    let browser = posting.browser();
    for (error, status) in [(None, 303), (Some("access_denied"), 403)] {
        let (address, mut fields) = posting.reach_form(&browser, "/orders").await;
        if let Some(error) = error {
            fields.retain(|(name, _)| name != "code");
            fields.push(("error".into(), error.into()));
        }
        let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let answer = browser.submit(&address, &fields).sent_by_another_site().send().await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.body.contains("Alice Kim"), error.is_some(), "{}", answer.body);
    }
}

/// A person who may not open a page is told who they are, and can sign in with another account.
#[tokio::test]
async fn somebody_who_may_not_pass_is_told_who_they_are_and_can_be_somebody_else() {
    let routes = "[[route]]\npath = \"/finance\"\nupstream = \"UPSTREAM\"\ngroups = [\"finance\"]\n\
                  [[route]]\npath = \"= /\"\nupstream = \"UPSTREAM\"\n";
    let broker = Broker::with(Setup { routes, ..Setup::default() }).await;
    let browser = broker.signed_in().await;
    for path in ["/finance/7?x=1", "/nowhere"] {
        let page = browser.visit(&format!("{PUBLIC}{path}")).send().await;
        assert_eq!(page.status, 403);
        assert!(page.body.contains("Alice Kim (alice@example.com)"), "{}", page.body);
        let encoded: String = url::form_urlencoded::byte_serialize(path.as_bytes()).collect();
        let other = format!("/sso/login?return_to={encoded}&choose=1&fresh=1");
        assert!(page.body.contains(&other.replace('&', "&#38;")), "{other}: {}", page.body);
        let start = browser.visit(&format!("{PUBLIC}{other}")).send().await;
        assert!(start.location().contains("prompt=login"), "the provider asks who it is: {}", start.location());
    }
}

/// One line a kind of prefetch: it has no side effect and is not cached. Found by going through every GET of `routes`
/// that does something: login, callback, front-channel logout, and the guard's redirect.
#[tokio::test]
async fn a_prefetch_has_no_side_effect() {
    let broker = Broker::start().await;
    for (name, value) in [
        ("sec-purpose", "prefetch"),
        ("sec-purpose", "prefetch;prerender"),
        ("purpose", "prefetch"),
        ("x-moz", "prefetch"),
        ("x-purpose", "preview"),
        ("HEAD", ""),
    ] {
        let browser = broker.browser();
        let ahead = async |browser: &Browser, path: &str| {
            let url = if path.starts_with('/') { format!("{PUBLIC}{path}") } else { path.to_owned() };
            let asking = if name == "HEAD" {
                browser.ask(Method::HEAD, &url).header("accept", "text/html")
            } else {
                browser.visit(&url).header(name, value)
            };
            let answer = asking.send().await;
            assert!(answer.set_cookies().is_empty(), "{name} {value} {path}");
            assert_eq!(answer.header("cache-control"), "no-store", "{name} {value} {path}");
            answer.status.as_u16()
        };
        for path in ["/sso/login?return_to=/x", "/sso/login?return_to=/x&idp=company"] {
            assert_eq!(ahead(&browser, path).await, if name == "HEAD" { 204 } else { 401 }, "{name} {value}");
        }
        if name != "HEAD" {
            assert_eq!(ahead(&browser, "/orders").await, 401, "{name} {value}");
        }
        let exchanges = broker.idp.received("/token").len();
        let callback = broker.reach_callback(&browser, "/x").await;
        assert_eq!(ahead(&browser, &callback).await, if name == "HEAD" { 405 } else { 401 }, "{name} {value}");
        assert_eq!(broker.idp.received("/token").len(), exchanges);
        led_to(&browser.visit(&callback).send().await, "/x");
        let issuer: String = url::form_urlencoded::byte_serialize(broker.idp.issuer().as_bytes()).collect();
        let logout = format!("/sso/frontchannel-logout/company?iss={issuer}&sid=sid-1");
        assert!((400..500).contains(&ahead(&browser, &logout).await), "{name} {value}");
        assert_eq!(broker.status(&browser).await, 200, "{name} {value}: the session lives");
    }
}

/// Looking ahead is no use of a session either.
#[tokio::test]
async fn a_prefetch_keeps_no_session_alive() {
    let broker = Broker::start().await;
    let browser = broker.signed_in().await;
    for _ in 0..4 {
        broker.clock.advance(time::Duration::minutes(10));
        let ahead = browser.visit(&format!("{PUBLIC}/orders")).header("sec-purpose", "prefetch").send().await;
        if ahead.status == 401 {
            return;
        }
        assert_eq!(ahead.status, 200);
    }
    panic!("the session was not idle for half an hour");
}

/// The provider's page was left open for too long, and it says so: the login begins again, once. One line a way in
/// which the answer comes; what else is temporarily unavailable is said.
#[tokio::test]
async fn a_form_that_expired_at_the_provider_begins_the_login_again_once() {
    for mode in ["query", "jwt"] {
        let broker = Broker::with(Setup { idp: format!("response_mode = \"{mode}\""), ..Setup::default() }).await;
        let browser = broker.browser();
        let expired = refusing("temporarily_unavailable", "authentication_expired");
        broker.idp.behave(expired.clone());
        let again = broker.sign_in(&browser, "/orders").await;
        led_to(&again, "/sso/login?return_to=%2Forders&idp=company&again=1");
        let provider = follow(&browser, &again).await;
        let once_more = follow(&browser, &follow(&browser, &provider).await).await;
        assert_eq!(once_more.status, 400, "{mode}: not a third time");

        broker.idp.behave(expired);
        let again = broker.sign_in(&browser, "/orders").await;
        broker.idp.behave(Script::default());
        let provider = follow(&browser, &again).await;
        led_to(&follow(&browser, &follow(&browser, &provider).await).await, "/orders");
    }
    let broker = Broker::start().await;
    for (error, description) in [
        ("temporarily_unavailable", "maintenance"),
        ("temporarily_unavailable", ""),
        ("access_denied", "authentication_expired"),
    ] {
        broker.idp.behave(refusing(error, description));
        let page = broker.sign_in(&broker.browser(), "/orders").await;
        assert!(page.status.is_client_error(), "{error} {description}: {}", page.status);
    }
}

/// One line a forged answer, with the `state` of a real login: the browser's fault, never the provider's. The last ones
/// are what RFC 6749 4.1.2.1 and OpenID Connect Core 3.1.2.6 register.
#[tokio::test]
async fn a_forged_answer_is_the_browsers_fault() {
    let broker = Broker::start().await;
    let iss: String = url::form_urlencoded::byte_serialize(broker.idp.issuer().as_bytes()).collect();
    for query in [
        "code=c&iss=https%3A%2F%2Fevil.example".to_owned(),
        "code=c".to_owned(),
        format!("iss={iss}"),
        format!("code=&iss={iss}"),
        format!("error=&iss={iss}"),
        format!("error=no-such-error&iss={iss}"),
        format!("error=server_error&iss={iss}"),
        format!("error=temporarily_unavailable&iss={iss}"),
        format!("error=invalid_scope&iss={iss}"),
        format!("error=unauthorized_client&iss={iss}"),
        format!("error=registration_not_supported&iss={iss}"),
    ] {
        let browser = broker.browser();
        let start = browser.visit(&format!("{PUBLIC}/sso/login")).send().await;
        let state = start.location().split("state=").nth(1).unwrap().split('&').next().unwrap().to_owned();
        let url = format!("{PUBLIC}/sso/callback/company?state={state}&{query}");
        assert_eq!(browser.visit(&url).send().await.status, 400, "{query}");
    }
    assert!(broker.idp.received("/token").is_empty());
}

/// One line of the log, that rouses nobody.
#[tokio::test(flavor = "multi_thread")]
async fn a_forged_answer_is_one_line_at_info() {
    let witness = Witness::start("", Script::default()).await;
    let start = witness.browser.visit(&format!("{}/sso/login", witness.public)).send().await;
    let state = start.location().split("state=").nth(1).unwrap().split('&').next().unwrap().to_owned();
    let callback = format!("{}/sso/callback/company?state={state}", witness.public);
    let made_up = format!("{callback}&code=c&iss=https%3A%2F%2Fevil.example");
    assert_eq!(witness.browser.visit(&made_up).send().await.status, 400);
    witness.program.signal("TERM");
    let (_, said) = witness.program.end();
    let lines: Vec<_> = said.lines().filter(|line| line.contains("login_failed")).collect();
    assert_eq!(lines.len(), 1, "{said}");
    assert!(lines[0].contains("INFO") && lines[0].contains("names the issuer"), "{}", lines[0]);
    assert!(!said.contains("a request could not be served"), "{said}");
}

/// Every method at every address of the public site: who is refused a method is told which ones are served, and those
/// are served. The addresses are those of `routes`.
#[tokio::test]
async fn whoever_is_refused_a_method_is_told_which_ones_are_served() {
    let broker = Broker::start().await;
    let browser = broker.browser();
    let mut refused = 0;
    for path in [
        "/sso",
        "/sso/nothing",
        "/sso/login",
        "/sso/callback/company",
        "/sso/callback/nobody",
        "/sso/limit",
        "/sso/signed-in",
        "/sso/logout",
        "/sso/signed-out",
        "/sso/session",
        "/sso/backchannel-logout/company",
        "/sso/frontchannel-logout/company",
        "/sso/security-events/company",
        "/sso/assets/nothing.css",
        "/sso/api/v1/sessions",
        "/sso/api/v1/sessions/cf-x",
        "/sso/api/v1/revocations",
        "/sso/api/v1/timeouts",
        "/sso/api/v1/openapi.json",
        "/guarded",
    ] {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"] {
            let ask =
                async |method: &str| browser.ask(method.parse().unwrap(), &format!("{PUBLIC}{path}")).send().await;
            let answer = ask(method).await;
            if answer.status != 405 {
                continue;
            }
            refused += 1;
            let allow = answer.header("allow").to_owned();
            assert!(!allow.is_empty(), "{method} {path}");
            for served in allow.split(',').map(str::trim) {
                let global = matches!(method, "TRACE" | "BREW");
                assert!(global || ask(served).await.status != 405, "{method} {path} says {allow}");
            }
        }
    }
    assert!(refused > 50, "the walk finds what it looks for: {refused}");
}

/// What can be had again in a moment uses nothing up: the same answer, brought again, signs in. One line a thing that
/// is missing before the code is sent.
#[tokio::test]
async fn a_login_whose_provider_is_away_can_be_finished_by_reloading() {
    let away = || Misbehaviour::Answer(503, "text/plain", "");
    for (what, script) in [
        ("metadata", Script { at_metadata: away(), ..Script::default() }),
        ("keys", Script { at_jwks: away(), ..Script::default() }),
        ("keys that are none", Script { at_jwks: Misbehaviour::Answer(200, "text/html", "<p>"), ..Script::default() }),
    ] {
        let broker = Broker::start().await;
        let browser = broker.browser();
        let callback = broker.reach_callback(&browser, "/orders").await;
        // Another replica, that knows nothing of the provider yet.
        let replica = broker.replica(Setup::default()).await;
        let browser = replica.takes_over(&browser);
        broker.idp.behave(script);
        let page = browser.visit(&callback).send().await;
        assert!(page.status.is_server_error(), "{what}: {}", page.status);
        assert_eq!(page.header("retry-after").is_empty(), page.status != 503, "{what}");
        assert!(broker.idp.received("/token").is_empty(), "{what}: the code was not sent");
        broker.idp.behave(Script::default());
        replica.clock.advance(time::Duration::seconds(11));
        led_to(&browser.visit(&callback).send().await, "/orders");
    }
}

/// The token endpoint's port is closed: nothing was sent, so the answer is as good as before. Once it was sent it is
/// used up, whatever came back (R-C08).
#[tokio::test]
async fn a_code_that_could_not_be_sent_is_not_used_up_and_one_that_was_is() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = format!("http://{}/token", gone.local_addr().unwrap());
    drop(gone);
    let broker = Broker::start().await;
    let browser = broker.browser();
    let elsewhere = json!({ "token_endpoint": closed });
    broker.idp.behave(Script::metadata(elsewhere));
    let callback = broker.reach_callback(&browser, "/orders").await;
    for _ in 0..2 {
        let page = browser.visit(&callback).send().await;
        assert_eq!((page.status.as_u16(), page.header("retry-after").is_empty()), (503, false), "{}", page.body);
    }
    let other = broker.replica(Setup::default()).await;
    let moved = other.takes_over(&browser);
    broker.idp.behave(Script::default());
    led_to(&moved.visit(&callback).send().await, "/orders");

    for misbehaviour in [Misbehaviour::Drop, Misbehaviour::Answer(503, "text/plain", "")] {
        let broker = Broker::start().await;
        let browser = broker.browser();
        broker.idp.behave(Script { at_token: misbehaviour, ..Script::default() });
        let callback = broker.reach_callback(&browser, "/orders").await;
        assert_eq!(browser.visit(&callback).send().await.status, 503);
        assert!(browser.cookies().is_empty(), "the login is over");
        broker.idp.behave(Script::default());
        assert_eq!(browser.visit(&callback).send().await.status, 400);
        assert_eq!(broker.idp.received("/token").len(), 1);
    }
}
