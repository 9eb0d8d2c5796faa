//! The provider's answer to the browser.

use serde_json::json;

use crate::support::broker::{Broker, PUBLIC, SESSION, Setup};
use crate::support::browser::Browser;
use crate::support::scripted_idp::{Script, set};

fn nothing_was_asked(broker: &Broker) {
    assert!(broker.idp.received("/token").is_empty(), "no token request may be made");
}

/// R-B01
#[tokio::test]
async fn only_get_is_served() {
    let broker = Broker::start().await;
    let browser = broker.browser();
    let callback = broker.reach_callback(&browser, "/").await;
    assert_eq!(browser.submit(&callback, &[]).send().await.status, 405);
    assert_eq!(browser.ask(http::Method::HEAD, &callback).send().await.status, 405);
    assert!(browser.cookie(SESSION).is_none());
    nothing_was_asked(&broker);
}

/// R-B02, R-M05: one line a case.
#[tokio::test]
async fn an_answer_that_this_browser_did_not_ask_for_is_refused_without_asking_anybody() {
    let broker = Broker::start().await;
    let browser = broker.browser();
    let callback = broker.reach_callback(&browser, "/").await;
    let stranger = broker.browser();
    let other_provider = callback.replace("/callback/company", "/callback/other");
    for (who, url) in [
        (&browser, format!("{PUBLIC}/sso/callback/company")),
        (&browser, format!("{PUBLIC}/sso/callback/company?code=x")),
        (&browser, format!("{PUBLIC}/sso/callback/company?code=x&state=")),
        (&browser, format!("{PUBLIC}/sso/callback/company?code=x&state=bogus")),
        (&stranger, callback.clone()),
        (&browser.copy(), other_provider),
    ] {
        let answer = who.visit(&url).send().await;
        assert!(answer.status.is_client_error(), "{url}: {}", answer.status);
        assert!(who.cookie(SESSION).is_none(), "{url}");
    }
    nothing_was_asked(&broker);
}

/// R-B02: ten minutes. The login begins again for its page.
#[tokio::test]
async fn an_answer_that_comes_too_late_is_refused() {
    let broker = Broker::start().await;
    let browser = broker.browser();
    let callback = broker.reach_callback(&browser, "/").await;
    broker.clock.advance(time::Duration::minutes(10));
    let answer = browser.visit(&callback).send().await;
    assert_eq!((answer.status.as_u16(), answer.location()), (303, "/sso/login?return_to=%2F&idp=company&again=1"));
    assert!(browser.cookie(SESSION).is_none());
    nothing_was_asked(&broker);
}

/// R-B03
#[tokio::test]
async fn twenty_equal_callbacks_in_parallel_make_one_token_request() {
    let broker = Broker::start().await;
    let browser = broker.browser();
    let callback = broker.reach_callback(&browser, "/").await;
    let copies: Vec<_> = (0..20).map(|_| browser.copy()).collect();
    let answers: Vec<_> = copies
        .into_iter()
        .map(|copy| {
            let callback = callback.clone();
            tokio::spawn(async move { copy.visit(&callback).send().await.status.as_u16() })
        })
        .collect();
    let mut statuses = Vec::new();
    for answer in answers {
        statuses.push(answer.await.unwrap());
    }
    statuses.sort_unstable();
    assert_eq!((statuses[0], &statuses[1..]), (303, &[400; 19][..]));
    assert_eq!(broker.idp.received("/token").len(), 1);
}

/// R-B02: used once, also one after the other.
#[tokio::test]
async fn an_answer_works_once() {
    let broker = Broker::start().await;
    let browser = broker.browser();
    let callback = broker.reach_callback(&browser, "/").await;
    let earlier = browser.copy();
    assert_eq!(browser.visit(&callback).send().await.status, 303);
    let again = browser.visit(&callback).send().await;
    assert_eq!((again.status.as_u16(), again.location()), (303, "/"), "its cookie is gone, the person is signed in");
    assert!(again.set_cookies().is_empty());
    assert_eq!(earlier.visit(&callback).send().await.status, 400, "its state is claimed");
    assert_eq!(broker.idp.received("/token").len(), 1);
    assert_eq!(broker.status(&browser).await, 200, "the session of the first stands");
}

async fn answered_with(
    broker: &Broker,
    change: impl Fn(&mut Vec<(String, String)>) + Send + Sync + 'static,
) -> (Browser, u16) {
    broker.idp.behave(Script { authorization_answer: Some(std::sync::Arc::new(change)), ..Script::default() });
    let browser = broker.browser();
    let answer = broker.sign_in(&browser, "/").await;
    (browser, answer.status.as_u16())
}

fn without(name: &'static str) -> impl Fn(&mut Vec<(String, String)>) + Send + Sync + 'static {
    move |answer| answer.retain(|(known, _)| known != name)
}

fn with(name: &'static str, value: &'static str) -> impl Fn(&mut Vec<(String, String)>) + Send + Sync + 'static {
    move |answer| {
        answer.retain(|(known, _)| known != name);
        answer.push((name.into(), value.into()));
    }
}

/// R-B04: promised by the metadata, so its absence is fatal; errors too.
#[tokio::test]
async fn the_answer_must_name_the_issuer() {
    let broker = Broker::start().await;
    assert_eq!(answered_with(&broker, without("iss")).await.1, 400);
    assert_eq!(answered_with(&broker, with("iss", "https://evil.example")).await.1, 400);
    let foreign_error = |answer: &mut Vec<(String, String)>| {
        without("code")(answer);
        with("iss", "https://evil.example")(answer);
        answer.push(("error".into(), "access_denied".into()));
    };
    assert_eq!(answered_with(&broker, foreign_error).await.1, 400, "not taken for the provider's own refusal");
    nothing_was_asked(&broker);
}

/// R-B04: not promised, so its absence is fine.
#[tokio::test]
async fn a_provider_that_promises_no_issuer_need_not_send_one() {
    let broker = Broker::start().await;
    broker.idp.behave(Script {
        metadata: set(json!({ "authorization_response_iss_parameter_supported": null })),
        authorization_answer: Some(std::sync::Arc::new(without("iss"))),
        ..Script::default()
    });
    assert_eq!(broker.sign_in(&broker.browser(), "/").await.status, 303);
}

/// R-B05: one line a case.
#[tokio::test]
async fn a_parameter_that_stands_twice_is_an_error() {
    let broker = Broker::start().await;
    for name in ["code", "state", "iss", "error"] {
        let browser = broker.browser();
        let callback = broker.reach_callback(&browser, "/").await;
        let value = callback.split(['?', '&']).find_map(|pair| pair.strip_prefix(&format!("{name}="))).unwrap_or("x");
        let twice = format!("{callback}&{name}={value}&{name}={value}");
        assert_eq!(browser.visit(&twice).send().await.status, 400, "{name}");
    }
    nothing_was_asked(&broker);
}

/// R-B06, R-M04
#[tokio::test]
async fn a_refusal_of_the_provider_is_a_page_that_repeats_nothing_and_ends_the_login() {
    let broker = Broker::start().await;
    broker.idp.behave(Script {
        authorization_answer: Some(std::sync::Arc::new(|answer| {
            without("code")(answer);
            answer.push(("error".into(), "access_denied".into()));
            answer.push(("error_description".into(), "<svg onload=1>CANARY".into()));
            answer.push(("error_uri".into(), "https://evil.example/".into()));
        })),
        ..Script::default()
    });
    let browser = broker.browser();
    let callback = broker.reach_callback(&browser, "/x").await;
    let page = browser.visit(&callback).send().await;
    assert_eq!(page.status, 403);
    assert!(page.header("content-type").starts_with("text/html"));
    for echoed in ["<svg", "CANARY", "evil.example"] {
        assert!(!page.body.contains(echoed), "{echoed}");
    }
    assert!(page.body.contains("/sso/login?return_to=%2Fx"), "offers another try");
    assert!(browser.cookies().is_empty(), "the login is closed");
    nothing_was_asked(&broker);
}

/// R-B07
#[tokio::test]
async fn unknown_parameters_are_ignored() {
    let broker = Broker::start().await;
    let browser = broker.browser();
    let callback = broker.reach_callback(&browser, "/").await;
    assert_eq!(browser.visit(&format!("{callback}&foo=bar&session_state=x")).send().await.status, 303);
}

/// R-B08, R-B10
#[tokio::test]
async fn success_and_failure_leave_no_trace_of_the_login() {
    let broker = Broker::start().await;
    let browser = broker.browser();
    let landed = broker.sign_in(&browser, "/orders").await;
    assert_eq!((landed.status.as_u16(), landed.location()), (303, "/orders"));
    assert_eq!(landed.header("cache-control"), "no-store");
    assert_eq!(landed.header("referrer-policy"), "no-referrer");
    assert!(landed.set_cookies().iter().any(|cookie| cookie.contains("login-") && cookie.contains("Max-Age=0")));
    let left: Vec<_> = browser.cookies().into_iter().map(|cookie| cookie.name).collect();
    assert_eq!(left, ["__Host-session", "__Host-landings"], "nothing of the login is left");

    broker.idp.behave(Script::claims(json!({ "nonce": "wrong" })));
    let failed = broker.browser();
    assert_eq!(broker.sign_in(&failed, "/").await.status, 502);
    assert!(failed.cookies().is_empty());
}

/// R-B09, R-G03
#[tokio::test]
async fn a_login_makes_a_new_session_and_ends_the_one_before() {
    let broker = Broker::start().await;
    let planted = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let victim = broker.browser();
    victim.plant("app.example.test", SESSION, planted);
    assert_eq!(broker.sign_in(&victim, "/").await.status, 303);
    assert_ne!(victim.cookie(SESSION).unwrap(), planted);
    let attacker = broker.browser();
    attacker.plant("app.example.test", SESSION, planted);
    assert_eq!(broker.status(&attacker).await, 401);

    let before = victim.copy();
    assert_eq!(broker.sign_in(&victim, "/").await.status, 303);
    assert_ne!(victim.cookie(SESSION), before.cookie(SESSION));
    assert_eq!(broker.status(&victim).await, 200);
    assert_eq!(broker.status(&before).await, 401);
}

/// R-B11: a trusted proxy says that the browser came by plain HTTP.
#[tokio::test]
async fn a_callback_over_plain_http_is_not_processed() {
    let more = "[server]\ntrusted_proxies = [\"127.0.0.1\"]\n".to_owned();
    let broker = Broker::with(Setup { more, ..Setup::default() }).await;
    let browser = broker.browser();
    let callback = broker.reach_callback(&browser, "/").await;
    assert_eq!(browser.visit(&callback).header("x-forwarded-proto", "http").send().await.status, 421);
    nothing_was_asked(&broker);
    assert_eq!(browser.visit(&callback).header("x-forwarded-proto", "https").send().await.status, 303);
}

/// Anonymous traffic writes nothing: an answer that will not be exchanged leaves no claim.
#[tokio::test]
async fn refused_answers_leave_nothing_in_redis() {
    use crate::support::broker::Store;
    let redis = crate::support::redis::Redis::start();
    let broker = Broker::with(Setup { store: Store::Redis(redis.port()), ..Setup::default() }).await;
    for change in ["error=access_denied", "error=invalid_scope", "code=a&code=b", "iss=x&code=a", "nothing=1"] {
        let browser = broker.browser();
        let start = browser.visit(&format!("{PUBLIC}/sso/login")).send().await;
        let state = start.location().split("state=").nth(1).unwrap().split('&').next().unwrap().to_owned();
        let iss = if change.contains("iss=") { String::new() } else { format!("&iss={}", broker.idp.issuer()) };
        let answer = browser.visit(&format!("{PUBLIC}/sso/callback/company?state={state}&{change}{iss}")).send().await;
        assert!(!answer.status.is_success() && answer.status != 303, "{change}");
    }
    let mut left = redis.keys().await;
    // What the broker writes by itself, from time to time.
    let is_upkeep = |key: &str| ["upkeep", "tidying", "pruning"].iter().any(|kind| key.ends_with(kind));
    left.retain(|key| !key.ends_with(":kept") && !key.ends_with(":keys") && !is_upkeep(key));
    assert_eq!(left, [""; 0]);
}

/// A refusal comes from the person or through the browser: 5xx is for answers of the provider to us.
#[tokio::test]
async fn refusals_of_the_provider_are_told_apart() {
    let broker = Broker::start().await;
    for (error, status) in
        [("access_denied", 403), ("login_required", 403), ("invalid_scope", 400), ("server_error", 400), ("<x>", 400)]
    {
        let answer = move |answer: &mut Vec<(String, String)>| {
            without("code")(answer);
            answer.push(("error".into(), error.into()));
        };
        assert_eq!(answered_with(&broker, answer).await.1, status, "{error}");
    }
}
