//! Shared Signals: security events that end sessions.

use counterfoil::clock::Clock;
use http::Method;
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};
use time::Duration;

use crate::support::broker::{Broker, PUBLIC, Setup, Store};
use crate::support::browser::{Answer, Browser};
use crate::support::child::free_port;
use crate::support::notices::push;
use crate::support::redis::Redis;
use crate::support::scripted_idp::{Misbehaviour, Script, ScriptedIdp, payload_of, set};

const ADDRESS: &str = "https://app.example.test/sso/security-events/company";
const REVOKED: &str = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";
const CHANGED: &str = "https://schemas.openid.net/secevent/caep/event-type/credential-change";
const VERIFICATION: &str = "https://schemas.openid.net/secevent/ssf/event-type/verification";
const SECTION: &str = "[idp.company.shared_signals]\nbearer_token = \"CANARY-transmitter\"\n";

fn setup() -> Setup {
    Setup { idp: SECTION.into(), ..Setup::default() }
}

async fn tell(broker: &Broker, token: &str) -> Answer {
    let answer = push(broker, token).header("authorization", "Bearer CANARY-transmitter").send().await;
    assert_eq!(answer.header("cache-control"), "no-store");
    assert!(answer.set_cookies().is_empty());
    answer
}

/// Signs somebody in whose provider says when they proved who they are.
async fn be(broker: &Broker, subject: &str, is_verified: bool, auth_time: i64) -> Browser {
    let claims = json!({
        "sub": subject, "sid": format!("sid-{subject}"), "email": format!("{subject}@example.com"),
        "email_verified": is_verified, "auth_time": auth_time,
    });
    let userinfo = set(json!({ "sub": subject }));
    broker.idp.behave(Script { id_token_claims: set(claims), userinfo, ..Script::default() });
    broker.signed_in().await
}

/// One line a case: what is told, and whose sessions end.
#[tokio::test]
async fn events_end_exactly_the_sessions_they_are_about() {
    let broker = Broker::with(setup()).await;
    let issuer = broker.idp.issuer();
    let subject = |sub: &str| json!({ "format": "iss_sub", "iss": issuer, "sub": sub });
    let opaque = |id: &str| json!({ "format": "opaque", "id": id });
    let email = |address: &str| json!({ "format": "email", "email": address });
    let foreign = json!({ "format": "iss_sub", "iss": "https://evil.example", "sub": "a" });
    let aliases = |names: &[Value]| json!({ "format": "aliases", "identifiers": names });
    for (what, event, sub_id, ended) in [
        ("revoked, by subject", REVOKED, subject("a"), [true, false]),
        ("revoked, by session", REVOKED, opaque("sid-a"), [true, false]),
        ("revoked, by address", REVOKED, email("A@example.com"), [true, false]),
        ("revoked, by address that is not verified", REVOKED, email("b@example.com"), [false, false]),
        ("revoked, by both", REVOKED, json!({ "user": subject("a"), "session": opaque("sid-a") }), [true, false]),
        ("not the same one's", REVOKED, json!({ "user": subject("b"), "session": opaque("sid-a") }), [false, false]),
        ("somebody else's issuer", REVOKED, foreign.clone(), [false, false]),
        ("unknown", REVOKED, subject("unknown"), [false, false]),
        ("revoked, by several names", REVOKED, aliases(&[foreign.clone(), subject("a")]), [true, false]),
        ("another kind of name", REVOKED, json!({ "format": "phone_number", "phone_number": "+1" }), [false, false]),
        ("changed, by subject", CHANGED, subject("b"), [false, true]),
        ("changed, by opaque subject", CHANGED, opaque("b"), [false, true]),
        ("verification", VERIFICATION, opaque("stream"), [false, false]),
        ("unknown event", "urn:example:event", subject("a"), [false, false]),
    ] {
        let now = broker.clock.now().unix_timestamp();
        let browsers = [be(&broker, "a", true, now).await, be(&broker, "b", false, now).await];
        let token = broker.idp.security_event(&json!({ event: {} }), &json!({ "sub_id": sub_id }));
        let answer = tell(&broker, &token).await;
        assert_eq!((answer.status.as_u16(), answer.body.as_str()), (202, ""), "{what}");
        for (browser, ended) in browsers.iter().zip(ended) {
            assert_eq!(broker.status(browser).await, if ended { 401 } else { 200 }, "{what}");
        }
        // A fresh login is due after a change: the next sign-ins are.
        broker.clock.advance(Duration::seconds(3));
    }
    let older_draft = json!({ REVOKED: { "subject": { "subject_type": "iss_sub", "iss": issuer, "sub": "a" } } });
    let browser = be(&broker, "a", true, broker.clock.now().unix_timestamp()).await;
    assert_eq!(tell(&broker, &broker.idp.security_event(&older_draft, &json!({ "sub_id": null }))).await.status, 202);
    let refused = browser.get("/guarded").await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (401, "session_revoked"));
}

/// A transmitter that was away for an hour: sessions begun since then stay; older ones end.
#[tokio::test]
async fn an_event_that_comes_late_ends_no_session_that_began_after_it() {
    for sub_id in [json!({ "format": "opaque", "id": "a" }), json!({ "format": "email", "email": "a@example.com" })] {
        let broker = Broker::with(setup()).await;
        let user = json!({ "format": "complex", "user": sub_id });
        for event in [json!({ CHANGED: {} }), json!({ REVOKED: {} })] {
            let old = be(&broker, "a", true, broker.clock.now().unix_timestamp()).await;
            broker.clock.advance(Duration::minutes(1));
            let happened_at = broker.clock.now().unix_timestamp();
            let told_then = broker.idp.security_event(&event, &json!({ "sub_id": user, "iat": happened_at }));
            broker.clock.advance(Duration::minutes(20));
            let new = be(&broker, "a", true, broker.clock.now().unix_timestamp()).await;
            assert_eq!(tell(&broker, &told_then).await.status, 202);
            assert_eq!([broker.status(&old).await, broker.status(&new).await], [401, 200], "{user} {event}");
            broker.clock.advance(Duration::seconds(3));
        }
        // It was signed just now, and says when it happened.
        let happened_at = (broker.clock.now() - Duration::minutes(20)).unix_timestamp();
        let dated = json!({ REVOKED: { "event_timestamp": happened_at } });
        let new = be(&broker, "a", true, broker.clock.now().unix_timestamp()).await;
        assert_eq!(tell(&broker, &broker.idp.security_event(&dated, &json!({ "sub_id": user }))).await.status, 202);
        assert_eq!(broker.status(&new).await, 200);
        let absurd = json!({ REVOKED: { "event_timestamp": 1 } });
        assert_eq!(tell(&broker, &broker.idp.security_event(&absurd, &json!({ "sub_id": user }))).await.status, 202);
        assert_eq!(broker.status(&new).await, 401, "no moment that cannot be keeps a session");
    }
}

/// After a change of credentials the provider's own session is not enough.
#[tokio::test]
async fn after_a_change_of_credentials_the_next_login_has_to_be_fresh() {
    for (event, goes_on) in [(CHANGED, false), (REVOKED, true)] {
        let broker = Broker::with(setup()).await;
        let before = broker.clock.now().unix_timestamp() - 3_600;
        let browser = be(&broker, "248289761001", true, before).await;
        assert_eq!(tell(&broker, &broker.idp.security_event(&json!({ event: {} }), &json!({}))).await.status, 202);
        assert_eq!(broker.status(&browser).await, 401);
        broker.clock.advance(Duration::seconds(30));
        let landed = broker.sign_in(&broker.browser(), "/").await;
        assert_eq!(landed.location() == "/", goes_on, "{event}: {}", landed.location());
        assert_eq!(landed.location().contains("fresh=1"), !goes_on, "{event}");
    }
}

/// RFC 8935 2.3, 2.4, R-D13: one line a case.
#[tokio::test]
async fn events_that_are_not_to_be_believed_are_refused_by_the_book() {
    let broker = Broker::with(setup()).await;
    let browser = broker.signed_in().await;
    let event = |claims: Value| broker.idp.security_event(&json!({ REVOKED: {} }), &claims);
    let honest = event(json!({}));
    let typed = |typ: Value| broker.idp.sign(json!({ "typ": typ }), &Value::Object(payload_of(&honest)));
    let now = broker.clock.now().unix_timestamp();
    broker.idp.behave(Script { foreign_key: true, ..Script::default() });
    let foreign = event(json!({}));
    broker.idp.behave(Script { signing: Algorithm::ES256, ..Script::default() });
    let other_algorithm = event(json!({}));
    broker.idp.behave(Script::default());
    for (what, err, token) in [
        ("no token", "invalid_request", String::new()),
        ("no JWT", "invalid_request", "{}".into()),
        ("a form", "invalid_request", format!("token={honest}")),
        ("typ JWT", "invalid_request", typed(json!("JWT"))),
        ("no typ", "invalid_request", typed(json!(null))),
        ("a logout token", "invalid_request", broker.idp.logout_token(&json!({}))),
        ("another key", "invalid_key", foreign),
        ("another algorithm", "invalid_request", other_algorithm),
        ("another issuer", "invalid_issuer", event(json!({ "iss": "https://evil.example" }))),
        ("another audience", "invalid_audience", event(json!({ "aud": "other" }))),
        ("no jti", "invalid_request", event(json!({ "jti": null }))),
        ("no iat", "invalid_request", event(json!({ "iat": null }))),
        ("issued tomorrow", "invalid_request", event(json!({ "iat": now + 86_400 }))),
        ("issued last month", "invalid_request", event(json!({ "iat": now - 30 * 86_400 }))),
        ("no events", "invalid_request", event(json!({ "events": null }))),
        ("events as a list", "invalid_request", event(json!({ "events": [REVOKED] }))),
        ("no subject", "invalid_request", event(json!({ "sub_id": null }))),
        ("a broken subject", "invalid_request", event(json!({ "sub_id": { "format": "iss_sub", "sub": 1 } }))),
    ] {
        let answer = tell(&broker, &token).await;
        assert_eq!((answer.status.as_u16(), answer.json()["err"].as_str().unwrap()), (400, err), "{what}");
        assert!(answer.json()["description"].is_string() && answer.header("content-language") == "en", "{what}");
    }
    for authorization in [None, Some("Bearer wrong"), Some("Basic CANARY-transmitter"), Some("CANARY-transmitter")] {
        let asking = push(&broker, &honest);
        let asking = authorization.map_or(push(&broker, &honest), |value| asking.header("authorization", value));
        let answer = asking.send().await;
        assert_eq!((answer.status.as_u16(), answer.header("www-authenticate")), (401, "Bearer"), "{authorization:?}");
        assert_eq!(answer.json()["err"], "authentication_failed");
    }
    let get = broker.browser().fetch(ADDRESS).send().await;
    let untyped = broker.browser().ask(Method::POST, ADDRESS).header("authorization", "Bearer CANARY-transmitter");
    let untyped = untyped.body(&honest).send().await;
    let unknown = broker.browser().ask(Method::POST, &format!("{PUBLIC}/sso/security-events/x")).send().await;
    assert_eq!([get.status, untyped.status, unknown.status].map(|status| status.as_u16()), [405, 400, 404]);
    assert_eq!(broker.status(&browser).await, 200, "nothing of all that ended anything");
    assert_eq!(tell(&broker, &honest).await.status, 202);
    assert_eq!(broker.status(&browser).await, 401);
}

/// Transmitters repeat what was not acknowledged: acknowledged again, without effect.
#[tokio::test]
async fn an_event_that_is_repeated_is_acknowledged_and_has_no_effect() {
    let redis = Redis::start();
    let broker = Broker::with(Setup { store: Store::Redis(redis.port()), ..setup() }).await;
    let token = broker.idp.security_event(&json!({ REVOKED: {} }), &json!({}));
    assert_eq!(tell(&broker, &token).await.status, 202);
    broker.clock.advance(Duration::seconds(3));
    let browser = broker.signed_in().await;
    assert_eq!(tell(&broker, &token).await.status, 202);
    assert_eq!(broker.status(&browser).await, 200);
}

/// R-P01: what cannot be decided now is to be sent again.
#[tokio::test]
async fn an_event_that_met_an_outage_is_asked_for_again() {
    let broker = Broker::with(Setup { store: Store::Unreliable(free_port()), ..setup() }).await;
    let event = || broker.idp.security_event(&json!({ REVOKED: {} }), &json!({}));
    assert_eq!(tell(&broker, &event()).await.status, 503);
    let broker = Broker::with(setup()).await;
    broker.idp.behave(Script { at_jwks: Misbehaviour::Answer(500, "text/plain", ""), ..Script::default() });
    let away = tell(&broker, &broker.idp.security_event(&json!({ REVOKED: {} }), &json!({}))).await;
    assert_eq!((away.status.as_u16(), away.code().as_str()), (503, "idp_unavailable"));
}

/// A transmitter that is not the provider: its own issuer, keys and algorithm; its events are about the provider's
/// people.
#[tokio::test]
async fn a_transmitter_beside_the_provider_has_keys_of_its_own() {
    let clock = setup().clock;
    let transmitter = ScriptedIdp::start(clock.clone()).await;
    transmitter.behave(Script { signing: Algorithm::ES256, ..Script::default() });
    let section = format!(
        "[idp.company.shared_signals]\nissuer = \"{0}\"\njwks_uri = \"{0}/jwks\"\nsigning_alg = \"ES256\"\naudience = \"us\"\n",
        transmitter.issuer()
    );
    let broker = Broker::with(Setup { idp: section, clock, ..Setup::default() }).await;
    let browser = broker.signed_in().await;
    let sub_id = json!({ "format": "iss_sub", "iss": broker.idp.issuer(), "sub": "248289761001" });
    let claims = json!({ "aud": "us", "sub_id": sub_id, "iss": transmitter.issuer() });
    let by_provider = broker.idp.security_event(&json!({ REVOKED: {} }), &claims);
    assert_eq!(push(&broker, &by_provider).send().await.status, 400);
    assert_eq!(broker.status(&browser).await, 200);
    let by_transmitter = transmitter.security_event(&json!({ REVOKED: {} }), &claims);
    assert_eq!(push(&broker, &by_transmitter).send().await.status, 202);
    assert_eq!(broker.status(&browser).await, 401);
}

/// Without the section there is no such address.
#[tokio::test]
async fn a_provider_without_shared_signals_takes_no_events() {
    let broker = Broker::start().await;
    let browser = broker.signed_in().await;
    assert_eq!(tell(&broker, &broker.idp.security_event(&json!({ REVOKED: {} }), &json!({}))).await.status, 404);
    assert_eq!(broker.status(&browser).await, 200);
}
