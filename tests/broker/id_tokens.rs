//! ID tokens and userinfo, as the provider really sends them: what refuses a login, and that nothing else is
//! asked after a refusal.

use serde_json::json;

use crate::support::broker::{Broker, SESSION};
use crate::support::scripted_idp::{Misbehaviour, Script, change, set};

async fn sign_in_with(script: Script) -> (Broker, u16) {
    let broker = Broker::start().await;
    broker.idp.behave(script);
    let browser = broker.browser();
    let status = broker.sign_in(&browser, "/").await.status.as_u16();
    assert_eq!(browser.cookie(SESSION).is_some(), status == 303);
    (broker, status)
}

/// R-D01 to R-D14, R-C05: one line a case.
#[tokio::test]
async fn a_wrong_id_token_refuses_the_login_before_userinfo_is_asked() {
    let flipped = |token: String| {
        let (message, signature) = token.rsplit_once('.').unwrap();
        let first = if signature.starts_with('A') { 'B' } else { 'A' };
        format!("{message}.{first}{}", &signature[1..])
    };
    for (what, script) in vec![
        ("signature", Script { id_token: Some(std::sync::Arc::new(flipped)), ..Script::default() }),
        (
            "no signature",
            Script {
                id_token: Some(std::sync::Arc::new(|token| format!("{}.", token.rsplit_once('.').unwrap().0))),
                ..Script::default()
            },
        ),
        ("key", Script { foreign_key: true, ..Script::default() }),
        ("none", Script::header(json!({ "alg": "none" }))),
        ("hmac", Script::header(json!({ "alg": "HS256" }))),
        ("other algorithm", Script::header(json!({ "alg": "RS384" }))),
        ("kid", Script::header(json!({ "kid": "unknown" }))),
        ("crit", Script::header(json!({ "crit": ["x"], "x": 1 }))),
        ("typ", Script::header(json!({ "typ": "at+jwt" }))),
        ("logout token", Script::header(json!({ "typ": "logout+jwt" }))),
        ("iss", Script::claims(json!({ "iss": "https://evil.example" }))),
        ("aud", Script::claims(json!({ "aud": "other" }))),
        ("second audience", Script::claims(json!({ "aud": ["backoffice", "other"] }))),
        ("azp", Script::claims(json!({ "azp": "other" }))),
        ("exp", Script::claims(json!({ "exp": 1 }))),
        ("no exp", Script::claims(json!({ "exp": null }))),
        ("text exp", Script::claims(json!({ "exp": "9999999999" }))),
        ("no iat", Script::claims(json!({ "iat": null }))),
        ("text nbf", Script::claims(json!({ "nbf": "x" }))),
        ("nonce", Script::claims(json!({ "nonce": "other" }))),
        ("no nonce", Script::claims(json!({ "nonce": null }))),
        ("no sub", Script::claims(json!({ "sub": null }))),
        ("empty sub", Script::claims(json!({ "sub": "" }))),
        ("number sub", Script::claims(json!({ "sub": 7 }))),
        ("at_hash", Script::claims(json!({ "at_hash": "AAAAAAAAAAAAAAAAAAAAAA" }))),
        ("events", Script::claims(json!({ "events": {} }))),
    ] {
        let (broker, status) = sign_in_with(script).await;
        assert_eq!(status, 502, "{what}");
        assert!(broker.idp.received("/userinfo").is_empty(), "{what}");
    }
}

/// R-D03, R-D04, R-D07: odd, but right.
#[tokio::test]
async fn honest_tokens_of_every_make_are_accepted() {
    for (what, script) in [
        ("plain", Script::default()),
        ("no kid, one key", Script::header(json!({ "kid": null }))),
        ("no typ", Script::header(json!({ "typ": null }))),
        ("audience as list", Script::claims(json!({ "aud": ["backoffice"], "azp": "backoffice" }))),
        (
            "hostile key addresses",
            Script::header(json!({ "jku": "http://127.0.0.1:1/", "x5u": "http://127.0.0.1:1/" })),
        ),
        ("auth_time 0", Script::claims(json!({ "auth_time": 0 }))),
    ] {
        assert_eq!(sign_in_with(script).await.1, 303, "{what}");
    }
}

/// A provider whose clock is ten minutes off, either way: said as such.
#[tokio::test]
async fn a_clock_that_is_ten_minutes_off_is_named() {
    for offset in [-600, 600] {
        let broker = Broker::start().await;
        broker.idp.behave(Script {
            id_token_claims: change(move |claims| {
                for time in ["iat", "exp"] {
                    claims[time] = (claims[time].as_i64().unwrap() + offset).into();
                }
            }),
            ..Script::default()
        });
        let page = broker.sign_in(&broker.browser(), "/").await;
        assert_eq!(page.status, 502);
        assert!(page.body.to_lowercase().contains("clock"), "{}", page.body);
    }
}

/// R-D05: a rotation works at once.
#[tokio::test]
async fn a_key_rotation_just_before_signing_is_followed() {
    let broker = Broker::start().await;
    broker.signed_in().await;
    broker.idp.rotate_keys();
    broker.signed_in().await;
    assert_eq!(broker.idp.received("/jwks").len(), 2);
}

/// R-D05: without names, or under an old one.
#[tokio::test]
async fn a_key_rotation_that_keeps_the_name_is_followed() {
    for kid in [json!(null), json!("the only one")] {
        let broker = Broker::start().await;
        let named = kid.clone();
        broker.idp.behave(Script {
            jwks: change(move |document| set(json!({ "kid": named })).unwrap()(&mut document["keys"][0])),
            ..Script::header(json!({ "kid": kid }))
        });
        broker.signed_in().await;
        broker.idp.rotate_keys();
        broker.signed_in().await;
    }
}

/// R-D05: also while fetching fails, which says nothing of the signature.
#[tokio::test]
async fn unknown_key_names_cause_at_most_one_fetch_per_window() {
    let broker = Broker::start().await;
    broker.signed_in().await;
    broker.idp.forget_requests();
    broker.idp.behave(Script {
        at_jwks: Misbehaviour::Answer(500, "text/plain", ""),
        ..Script::header(json!({ "kid": "invented" }))
    });
    broker.clock.advance(time::Duration::seconds(30));
    for _ in 0..50 {
        assert_eq!(broker.sign_in(&broker.browser(), "/").await.status, 503);
    }
    assert_eq!(broker.idp.received("/jwks").len(), 1);
}

/// R-D15: the address is an attribute, not a name.
#[tokio::test]
async fn two_subjects_with_one_address_are_two_people() {
    let broker = Broker::start().await;
    let first = broker.signed_in().await;
    broker.idp.behave(Script { userinfo: set(json!({ "sub": "other" })), ..Script::claims(json!({ "sub": "other" })) });
    let second = broker.signed_in().await;
    let issuer = broker.idp.issuer();
    assert_eq!(broker.app.sessions().administration().end_subject(&issuer, "other").await.unwrap(), 1);
    assert_eq!((broker.status(&first).await, broker.status(&second).await), (200, 401));
}

/// R-E01, R-E02, R-E03: one line a case.
#[tokio::test]
async fn userinfo_is_asked_by_header_and_must_be_about_the_same_person() {
    let (broker, status) = sign_in_with(Script::default()).await;
    assert_eq!(status, 303);
    let request = broker.idp.received("/userinfo").remove(0);
    assert_eq!(request.headers["authorization"], "Bearer CANARY-access-token");
    assert!(request.query.is_empty());

    let answer = |kind, body| Script { at_userinfo: Misbehaviour::Answer(200, kind, body), ..Script::default() };
    for (what, script) in [
        ("other", Script { userinfo: set(json!({ "sub": "somebody else" })), ..Script::default() }),
        ("nobody", Script { userinfo: set(json!({ "sub": null })), ..Script::default() }),
        ("list", answer("application/json", "[{\"sub\":\"248289761001\"}]")),
        ("text", answer("application/json", "\"248289761001\"")),
        ("page", answer("text/html", "<html>")),
        ("unsigned", answer("application/jwt", "eyJhbGciOiJub25lIn0.eyJzdWIiOiIyNDgyODk3NjEwMDEifQ.")),
        ("refusal", Script { at_userinfo: Misbehaviour::Answer(401, "text/plain", ""), ..Script::default() }),
    ] {
        assert_eq!(sign_in_with(script).await.1, 502, "{what}");
    }
}

/// R-E04
#[tokio::test]
async fn userinfo_cannot_replace_what_the_id_token_proved() {
    let broker = Broker::start().await;
    let forged = json!({ "iss": "https://evil.example", "aud": "x", "sid": "x", "auth_time": 1, "exp": 1, "acr": "x" });
    broker.idp.behave(Script { userinfo: set(forged), ..Script::default() });
    let browser = broker.signed_in().await;
    let session = browser.fetch("https://app.example.test/sso/session").send().await.json();
    assert_eq!(session["issuer"], broker.idp.issuer());
    assert_ne!(session["session"]["auth_time"], "1970-01-01T00:00:01Z");
    assert_eq!(
        broker.app.sessions().administration().end_provider_session(&broker.idp.issuer(), "sid-1").await.unwrap(),
        1
    );
}
