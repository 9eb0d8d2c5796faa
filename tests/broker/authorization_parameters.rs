//! What the configuration, the page and the browser may add to an authorization request.

use std::collections::HashMap;

use serde_json::json;
use url::Url;

use crate::support::broker::{Broker, PUBLIC, Setup};
use crate::support::scripted_idp::Script;

async fn with(idp: &str) -> Broker {
    Broker::with(Setup { idp: idp.to_owned(), ..Setup::default() }).await
}

/// What the provider is asked, no parameter twice (R-A08).
async fn asked(broker: &Broker, query: &str, language: &str) -> HashMap<String, String> {
    let start = broker.browser().visit(&format!("{PUBLIC}/sso/login{query}")).header("accept-language", language);
    let start = start.send().await;
    assert_eq!(start.status, 303, "{}", start.body);
    let url: Url = start.location().parse().unwrap();
    let pairs: Vec<_> = url.query_pairs().into_owned().collect();
    let asked: HashMap<_, _> = pairs.iter().cloned().collect();
    assert_eq!(asked.len(), pairs.len(), "{url}");
    asked
}

/// R-A03, R-A08: one line a case: the configuration, the address, the language, and what is sent.
#[tokio::test]
async fn requests_say_what_is_configured_and_what_may_be_said() {
    let long = format!("?login_hint={}", "x".repeat(255));
    for (idp, query, language, name, sent) in [
        ("", "", "en", "prompt", None),
        ("", "", "en", "max_age", None),
        ("", "", "en", "acr_values", None),
        ("", "", "en", "ui_locales", None),
        ("", "", "en", "response_mode", None),
        ("", "", "en", "login_hint", None),
        ("authorization_parameters = { access_type = \"offline\" }", "", "en", "access_type", Some("offline")),
        ("authorization_parameters = { hd = \"a b&c=d\" }", "?hd=evil.example", "en", "hd", Some("a b&c=d")),
        // The endpoint's own parameter gives way to one that is configured.
        ("authorization_parameters = { tenant = \"2\" }", "", "en", "tenant", Some("2")),
        ("prompt = \"select_account\"", "?prompt=none", "en", "prompt", Some("select_account")),
        ("prompt = \"consent  select_account\"", "", "en", "prompt", Some("consent select_account")),
        ("prompt = \"select_account\"", "?fresh=1", "en", "prompt", Some("login select_account")),
        ("prompt = \"login\"", "?fresh=1", "en", "prompt", Some("login")),
        ("max_age = \"8h\"", "?max_age=1", "en", "max_age", Some("28800")),
        ("max_age = \"8h\"", "?fresh=1", "en", "max_age", Some("0")),
        ("acr_values = [\"urn:a\", \"urn:b\"]", "?acr_values=urn:c", "en", "acr_values", Some("urn:a urn:b")),
        ("ui_locales = true", "", "ko-KR,ko;q=0.9,en;q=0.5", "ui_locales", Some("ko")),
        ("ui_locales = true", "?ui_locales=xx", "fr", "ui_locales", Some("en")),
        ("response_mode = \"query\"", "?response_mode=fragment", "en", "response_mode", Some("query")),
        ("", "?login_hint=alice%40example.com", "en", "login_hint", Some("alice@example.com")),
        ("", "?login_hint=%EA%B9%80%26prompt%3Dnone", "en", "login_hint", Some("김&prompt=none")),
        ("", "?login_hint=a%0Ab", "en", "login_hint", None),
        ("", long.as_str(), "en", "login_hint", None),
        ("", "?scope=offline_access&claims=x&request=y&request_uri=z&id_token_hint=w", "en", "request_uri", None),
    ] {
        let asked = asked(&with(idp).await, query, language).await;
        assert_eq!(asked.get(name).map(String::as_str), sent, "{idp} {query}");
        assert_eq!(asked["scope"], "openid profile email");
    }
}

/// R-A13: one line a case: what the provider is set to, what its ID token says, whether that will do.
#[tokio::test]
async fn what_a_provider_is_asked_at_every_login_is_checked_at_every_login() {
    const SIGNED_IN: (u16, &str) = (303, "/");
    const ONCE_MORE: (u16, &str) = (303, "/sso/login?return_to=%2F&idp=company&fresh=1");
    const REFUSED: (u16, &str) = (502, "");
    let now = "max_age = \"8h\"";
    let acr = "acr_values = [\"urn:a\", \"urn:b\"]";
    for (idp, age, acr, (status, location)) in [
        (now, Some(8 * 3_600), json!(null), SIGNED_IN),
        (now, Some(8 * 3_600 + 61), json!(null), REFUSED),
        (now, None, json!(null), REFUSED),
        (acr, Some(0), json!("urn:b"), SIGNED_IN),
        (acr, Some(0), json!("urn:c"), ONCE_MORE),
        (acr, Some(0), json!(["urn:a"]), REFUSED),
        (acr, Some(0), json!(null), ONCE_MORE),
        ("", Some(0), json!(1), REFUSED),
        ("", None, json!("urn:c"), SIGNED_IN),
    ] {
        let broker = with(idp).await;
        let auth_time = age.map(|age| counterfoil::clock::Clock::now(&*broker.clock).unix_timestamp() - age);
        let claims = json!({ "auth_time": auth_time, "acr": acr });
        broker.idp.behave(Script::claims(claims.clone()));
        let landed = broker.sign_in(&broker.browser(), "/").await;
        assert_eq!(landed.status, status, "{idp} {claims}: {}", landed.body);
        assert!(status != 303 || landed.location() == location, "{idp} {claims}: {}", landed.location());
    }
}

/// A hint survives the choice among providers.
#[tokio::test]
async fn a_hint_goes_with_whichever_provider_is_chosen() {
    let more =
        "[idp.other]\nkind = \"oidc\"\nissuer = \"https://other.example\"\nclient_id = \"x\"\nclient_secret = \"y\"\n";
    let broker = Broker::with(Setup { more: more.into(), ..Setup::default() }).await;
    let page = broker.browser().visit(&format!("{PUBLIC}/sso/login?login_hint=a%26b%22c")).send().await;
    assert!(page.body.contains("idp=company&#38;login_hint=a%26b%22c"), "{}", page.body);
}

/// R-G10, R-D13: one line a case: what the provider says of the session's end, whether there is a session.
#[tokio::test]
async fn a_session_ends_when_the_provider_says_and_says_so() {
    let broker = Broker::start().await;
    let now = || counterfoil::clock::Clock::now(&*broker.clock).unix_timestamp();
    for (expiry, passes) in [
        (json!(now() + 600), true),
        (json!(now() + 999_999_999), true),
        // As late as the calendar goes.
        (json!(253_402_300_799_i64), true),
        (json!(now()), false),
        (json!(now() - 1), false),
        (json!((now() + 600).to_string()), false),
        (json!({}), false),
    ] {
        broker.idp.behave(Script::claims(json!({ "session_expiry": expiry })));
        let landed = broker.sign_in(&broker.browser(), "/").await;
        assert_eq!(landed.status, if passes { 303 } else { 502 }, "{expiry}");
    }
    let ends = now() + 600;
    broker.idp.behave(Script::claims(json!({ "session_expiry": ends })));
    let browser = broker.signed_in().await;
    let session = browser.session().await;
    let told = session["session"]["absolute_expires_at"].as_str().unwrap().to_owned();
    let format = time::format_description::well_known::Rfc3339;
    assert_eq!(time::OffsetDateTime::parse(&told, &format).unwrap().unix_timestamp(), ends);
    broker.clock.advance(time::Duration::seconds(599));
    assert_eq!(broker.status(&browser).await, 200);
    broker.clock.advance(time::Duration::seconds(1));
    let ended = browser.get("/guarded").await;
    assert_eq!((ended.status.as_u16(), ended.code().as_str()), (401, "session_expired"));
    assert_eq!(browser.get("/guarded").await.code(), "session_expired");

    broker.idp.behave(Script::claims(json!({ "session_expiry": now() + 600 })));
    let slept = broker.signed_in().await;
    broker.clock.advance(time::Duration::minutes(40));
    let ended = slept.get("/guarded").await;
    assert_eq!(ended.code(), "session_expired", "also for somebody who comes back later");
}
