//! Answers that come in another site's form (OAuth 2.0 Form Post Response Mode).

use crate::support::broker::{Broker, PUBLIC, SESSION, Setup};
use crate::support::browser::{Answer, Browser};

async fn posting() -> Broker {
    Broker::with(Setup { idp: "response_mode = \"form_post\"".into(), ..Setup::default() }).await
}

async fn post(browser: &Browser, address: &str, fields: &[(String, String)]) -> Answer {
    let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    browser.submit(address, &fields).sent_by_another_site().send().await
}

/// oidcc-client-test-formpost (Form Post Basic): the cookie of the login survives the way through the provider's form.
#[tokio::test]
async fn a_login_answered_by_form_lands_like_any_other() {
    let broker = posting().await;
    let browser = broker.browser();
    let (address, fields) = broker.reach_form(&browser, "/orders?x=1").await;
    assert_eq!(address, format!("{PUBLIC}/sso/callback/company"));
    let landed = post(&browser, &address, &fields).await;
    assert_eq!((landed.status.as_u16(), landed.location()), (303, "/orders?x=1"), "{}", landed.body);
    assert_eq!(broker.status(&browser).await, 200);
    let set = landed.set_cookies();
    assert!(set.iter().any(|cookie| cookie.starts_with(SESSION) && cookie.contains("SameSite=Lax")), "{set:?}");
    let cleared = |cookie: &&str| cookie.contains("login-") && cookie.ends_with("SameSite=None; Max-Age=0");
    assert!(set.iter().any(cleared), "{set:?}");
    assert!(!browser.cookies().iter().any(|cookie| cookie.name.contains("login-")));
    // Accepted once; a repetition is redirected, as soon as the session's cookie comes along.
    let again = post(&browser, &address, &fields).await;
    assert!(again.location().starts_with("/sso/login?resume="), "{} {}", again.status, again.location());
    let resumed = browser.visit(&format!("{PUBLIC}{}", again.location())).send().await;
    assert_eq!((resumed.status.as_u16(), resumed.location()), (303, "/orders?x=1"));
    assert_eq!(broker.idp.received("/token").len(), 1);
}

/// R-B01: one line a case.
#[tokio::test]
async fn each_provider_answers_by_its_own_method_alone() {
    let (posting, plain) = (posting().await, Broker::start().await);
    let browser = posting.browser();
    let (address, fields) = posting.reach_form(&browser, "/").await;
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&fields).finish();
    assert_eq!(browser.visit(&format!("{address}?{query}")).send().await.status, 405);
    assert_eq!(browser.ask(http::Method::HEAD, &address).send().await.status, 405);
    assert_eq!(browser.ask(http::Method::PUT, &address).send().await.status, 405);
    let other = plain.browser();
    let callback = plain.reach_callback(&other, "/").await;
    let (address, query) = callback.split_once('?').unwrap();
    let fields: Vec<_> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    assert_eq!(post(&other, address, &fields).await.status, 405);
    assert_eq!(post(&other, &address.replace("company", "nobody"), &fields).await.status, 405);
    for broker in [posting, plain] {
        assert!(broker.idp.received("/token").is_empty());
    }
}

/// R-B05, R-B02: one line a case: nobody is asked anything.
#[tokio::test]
async fn broken_and_foreign_forms_are_refused() {
    let broker = posting().await;
    let browser = broker.browser();
    let (address, fields) = broker.reach_form(&browser, "/").await;
    let good = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&fields).finish();
    let form = "application/x-www-form-urlencoded";
    for (kind, body, status) in [
        (form, format!("{good}&code=x"), 400),
        (form, format!("{good}&state=x"), 400),
        (form, format!("{good}&unknown=1&unknown=2"), 400),
        (form, String::new(), 400),
        (form, "code=x&state=y".into(), 400),
        (form, format!("{good}&x={}", "x".repeat(17_000)), 413),
        ("text/plain", good.clone(), 400),
        ("application/json", "{}".into(), 400),
        ("multipart/form-data; boundary=x", good.clone(), 400),
    ] {
        let asking =
            browser.ask(http::Method::POST, &address).header("content-type", kind).header("accept", "text/html");
        let answer = asking.header("sec-fetch-mode", "navigate").body(&body).sent_by_another_site().send().await;
        assert_eq!(answer.status, status, "{kind} {}", &body[..body.len().min(80)]);
    }
    let stranger = broker.browser();
    let hop = post(&stranger, &address, &fields).await;
    let page = stranger.visit(&format!("{PUBLIC}{}", hop.location())).send().await;
    assert_eq!((hop.status.as_u16(), page.status.as_u16()), (303, 400), "not begun in this browser (R-M05)");
    assert!(stranger.cookies().is_empty());
    assert!(broker.idp.received("/token").is_empty());
    let charset = format!("{form}; charset=UTF-8");
    let asking = browser.ask(http::Method::POST, &address).header("content-type", &charset).body(&good);
    assert_eq!(asking.sent_by_another_site().send().await.status, 303);
}

/// R-B09: the session's cookie does not come along with the form, and it ends all the same.
#[tokio::test]
async fn a_login_answered_by_form_ends_the_session_before() {
    let broker = posting().await;
    let browser = broker.browser();
    let sign_in = async || {
        let (address, fields) = broker.reach_form(&browser, "/").await;
        assert_eq!(post(&browser, &address, &fields).await.status, 303);
    };
    sign_in().await;
    let before = browser.copy();
    sign_in().await;
    assert_ne!(browser.cookie(SESSION), before.cookie(SESSION));
    assert_eq!((broker.status(&browser).await, broker.status(&before).await), (200, 401));
}

/// R-B06
#[tokio::test]
async fn a_refusal_that_comes_by_form_is_a_page_and_ends_the_login() {
    let broker = posting().await;
    let browser = broker.browser();
    let (address, fields) = broker.reach_form(&browser, "/x").await;
    let state = fields.iter().find(|(name, _)| name == "state").unwrap().clone();
    let error = ("error".to_owned(), "access_denied".to_owned());
    let iss = ("iss".to_owned(), broker.idp.issuer());
    let page = post(&browser, &address, &[state, error, iss]).await;
    assert_eq!(page.status, 403);
    assert!(browser.cookies().is_empty());
}

/// R-I09: the cookie that counts does not come along with the form either.
#[tokio::test]
async fn a_login_loop_by_form_ends_in_a_page_too() {
    let broker = posting().await;
    let browser = broker.browser();
    let round = async || {
        let (address, fields) = broker.reach_form(&browser, "/orders").await;
        let landed = post(&browser, &address, &fields).await;
        browser.forget(SESSION);
        landed
    };
    for index in 0..5 {
        assert_eq!(round().await.location(), "/orders", "{index}");
    }
    broker.idp.forget_requests();
    let page = round().await;
    assert_eq!(page.status, 400);
    assert!(page.body.contains("round and round"));
    assert!(broker.idp.received("/token").is_empty());
    assert_eq!(round().await.location(), "/orders", "whoever has read that may try again");
}
