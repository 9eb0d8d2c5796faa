//! Back-channel logout: the provider itself ends sessions here.

use counterfoil::clock::Clock;
use http::Method;
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};
use time::Duration;

use crate::support::broker::{Broker, KEY, PUBLIC, SESSION, Setup, Store};
use crate::support::browser::{Answer, Browser};
use crate::support::child::{eventually, free_port, until};
use crate::support::notices::tell_of_logout;
use crate::support::redis::Redis;
use crate::support::scripted_idp::{LOGOUT_EVENT, Misbehaviour, Script, payload_of, set};

const ADDRESS: &str = "https://app.example.test/sso/backchannel-logout/company";

async fn tell(broker: &Broker, token: &str) -> Answer {
    let answer = tell_of_logout(broker, token).await;
    assert_eq!(answer.header("cache-control"), "no-store");
    assert!(answer.set_cookies().is_empty());
    answer
}

async fn be(broker: &Broker, subject: &str, sid: &str) -> Browser {
    broker.idp.behave(Script {
        id_token_claims: set(json!({ "sub": subject, "sid": sid })),
        userinfo: set(json!({ "sub": subject })),
        ..Script::default()
    });
    broker.signed_in().await
}

/// R-J08, R-J09, oidcc-client-test-rp-backchannel-rpinitlogout*: one line a case.
#[tokio::test]
async fn logout_tokens_are_accepted_and_refused_by_the_book() {
    let events = |events: Value| json!({ "events": events });
    let strict = || Setup { idp: "logout_token_typ_required = true".into(), ..Setup::default() };
    let (lenient, strict) = (Broker::start().await, Broker::with(strict()).await);
    let now = lenient.clock.now().unix_timestamp();
    for (what, status, header, claims) in [
        ("oidcc-client-test-rp-backchannel-rpinitlogout", 200, json!({ "typ": null }), json!({})),
        ("...-rpinitlogout-alg-none", 400, json!({ "typ": null, "alg": "none" }), json!({})),
        ("...-rpinitlogout-no-event", 400, json!({ "typ": null }), events(Value::Null)),
        ("...-rpinitlogout-wrong-event", 400, json!({}), events(json!({ format!("{LOGOUT_EVENT}/foobar"): {} }))),
        ("...-rpinitlogout-with-nonce", 400, json!({}), json!({ "nonce": "n" })),
        ("...-rpinitlogout-wrong-iss", 400, json!({}), json!({ "iss": "https://evil.example" })),
        ("...-rpinitlogout-wrong-aud", 400, json!({}), json!({ "aud": "other" })),
        ("typ JWT", 200, json!({}), json!({})),
        ("typ logout+jwt", 200, json!({ "typ": "logout+jwt" }), json!({})),
        ("typ at+jwt", 400, json!({ "typ": "at+jwt" }), json!({})),
        ("typ secevent+jwt", 400, json!({ "typ": "secevent+jwt" }), json!({})),
        ("typ of no text", 400, json!({ "typ": 1 }), json!({})),
        ("crit", 400, json!({ "crit": ["exp"] }), json!({})),
        ("unknown kid", 400, json!({ "kid": "invented" }), json!({})),
        ("aud as list", 200, json!({}), json!({ "aud": ["backoffice", "other"] })),
        ("no exp", 200, json!({}), json!({ "exp": null })),
        ("no exp and old", 400, json!({}), json!({ "exp": null, "iat": now - 600 })),
        ("over", 400, json!({}), json!({ "exp": now - 61 })),
        ("issued tomorrow", 400, json!({}), json!({ "iat": now + 86_400 })),
        ("issued yesterday", 400, json!({}), json!({ "iat": now - 86_400, "exp": now + 86_400 })),
        ("no iat", 400, json!({}), json!({ "iat": null })),
        ("no jti", 400, json!({}), json!({ "jti": null })),
        ("text exp", 400, json!({}), json!({ "exp": "9999999999" })),
        ("event of no object", 400, json!({}), events(json!({ LOGOUT_EVENT: [] }))),
        ("neither sub nor sid", 400, json!({}), json!({ "sub": null, "sid": null })),
        ("number sid", 400, json!({}), json!({ "sid": 1 })),
        ("sub alone", 200, json!({}), json!({ "sid": null })),
        ("sid alone", 200, json!({}), json!({ "sub": null })),
        ("an id token", 400, json!({}), json!({ "events": null, "nonce": "n" })),
    ] {
        let browser = lenient.signed_in().await;
        let mut honest = json!({
            "iss": lenient.idp.issuer(), "sub": "248289761001", "aud": "backoffice", "jti": what, "sid": "sid-1",
            "events": { LOGOUT_EVENT: {} }, "iat": now, "exp": now + 120, "unknown": [{}],
        });
        set(claims).unwrap()(&mut honest);
        let answer = tell(&lenient, &lenient.idp.sign(header, &honest)).await;
        assert_eq!(answer.status, status, "{what}: {}", answer.body);
        let lives = lenient.status(&browser).await;
        assert_eq!(lives, if status == 200 { 401 } else { 200 }, "{what}");
        if status == 400 {
            assert_eq!(answer.json()["error"], "invalid_request", "{what}");
            assert!(answer.json()["error_description"].is_string(), "{what}");
        }
        // Logins begun before the notice are refused, so time passes before the next one.
        lenient.clock.advance(Duration::seconds(3));
    }
    for (typ, status) in [(json!(null), 400), (json!("JWT"), 400), (json!("logout+jwt"), 200)] {
        let token = strict.idp.logout_token(&json!({}));
        let claims = Value::Object(payload_of(&token));
        let answer = tell(&strict, &strict.idp.sign(json!({ "typ": typ }), &claims)).await;
        assert_eq!(answer.status, status, "{typ}");
    }
}

/// R-J09, oidcc-client-test-rp-backchannel-rpinitlogout-alg-none, -wrong-alg: signatures that are not the provider's.
#[tokio::test]
async fn only_the_providers_own_signature_ends_anything() {
    let broker = Broker::start().await;
    let browser = broker.signed_in().await;
    let honest = broker.idp.logout_token(&json!({}));
    let (message, _) = honest.rsplit_once('.').unwrap();
    let unsigned = broker.idp.sign(json!({ "alg": "none", "typ": null }), &json!({}));
    let unsigned = format!("{}.{}.", unsigned.split('.').next().unwrap(), honest.split('.').nth(1).unwrap());
    broker.idp.behave(Script { signing: Algorithm::ES256, ..Script::default() });
    let other_algorithm = broker.idp.logout_token(&json!({}));
    broker.idp.behave(Script { foreign_key: true, ..Script::default() });
    let other_key = broker.idp.logout_token(&json!({}));
    broker.idp.behave(Script::default());
    for token in [&unsigned, &format!("{message}."), &format!("{message}.AAAA"), &other_algorithm, &other_key, "", "x"]
    {
        assert_eq!(tell(&broker, token).await.status, 400, "{token}");
        broker.clock.advance(Duration::seconds(10));
    }
    assert_eq!(broker.status(&browser).await, 200);
    assert_eq!(tell(&broker, &honest).await.status, 200, "what was refused took nothing from the honest one");
    assert_eq!(broker.status(&browser).await, 401);
}

/// R-J08, R-P06, R-M01: what is no logout request at all; and cookies change nothing.
#[tokio::test]
async fn requests_that_are_no_logout_requests_are_refused() {
    let broker = Broker::start().await;
    let browser = broker.signed_in().await;
    let token = broker.idp.logout_token(&json!({}));
    let pair = ("logout_token", token.as_str());
    let post = |address: &str| broker.browser().ask(Method::POST, address);
    let form = format!("logout_token={token}");
    for (what, status, asking) in [
        ("nothing", 400, broker.browser().submit(ADDRESS, &[])),
        ("two tokens", 400, broker.browser().submit(ADDRESS, &[pair, pair])),
        ("no content type", 400, post(ADDRESS).body(&form)),
        ("json", 400, post(ADDRESS).header("content-type", "application/json").body(&form)),
        ("in the query", 400, browser.submit(&format!("{ADDRESS}?{form}"), &[])),
        ("no such provider", 404, broker.browser().submit(&format!("{PUBLIC}/sso/backchannel-logout/x"), &[pair])),
        ("get", 405, broker.browser().fetch(&format!("{ADDRESS}?{form}"))),
        ("put", 405, broker.browser().ask(Method::PUT, ADDRESS)),
        ("too large", 413, broker.browser().submit(ADDRESS, &[("logout_token", &"x".repeat(20_000))])),
    ] {
        let answer = asking.send().await;
        assert_eq!((answer.status.as_u16(), answer.header("cache-control")), (status, "no-store"), "{what}");
        assert!(answer.set_cookies().is_empty(), "{what}");
        assert_eq!(broker.status(&browser).await, 200, "{what}");
    }
    let typed = post(ADDRESS).header("content-type", "Application/X-WWW-Form-Urlencoded; charset=UTF-8").body(&form);
    assert_eq!(typed.send().await.status, 200);
    assert_eq!(broker.status(&browser).await, 401);
}

/// R-J10, R-J11: three people's sessions on two replicas of one Redis; one line a case.
#[tokio::test]
async fn exactly_the_sessions_that_the_provider_means_end_on_every_replica() {
    let redis = Redis::start();
    let setup = || Setup { store: Store::Redis(redis.port()), ..Setup::default() };
    let one = Broker::with(setup()).await;
    let other = one.replica(setup()).await;
    for (what, claims, ended) in [
        ("one session", json!({ "sid": "a-1", "sub": "a" }), [true, false, false]),
        ("one session by its name alone", json!({ "sid": "a-2", "sub": null }), [false, true, false]),
        ("everything of a person", json!({ "sid": null, "sub": "a" }), [true, true, false]),
        ("another person", json!({ "sid": null, "sub": "b" }), [false, false, true]),
        ("a session of somebody else", json!({ "sid": "a-1", "sub": "b" }), [false, false, false]),
        ("an unknown session", json!({ "sid": "unknown", "sub": "a" }), [false, false, false]),
        ("an unknown person", json!({ "sid": null, "sub": "unknown" }), [false, false, false]),
        ("another issuer's", json!({ "sid": "a-1", "sub": "a", "iss": "https://evil.example" }), [false; 3]),
    ] {
        let browsers = [be(&one, "a", "a-1").await, be(&one, "a", "a-2").await, be(&one, "b", "b-1").await];
        let last = other.takes_over(&be(&one, "c", "c-1").await);
        assert_eq!(other.status(&last).await, 200);
        let elsewhere = browsers.each_ref().map(|browser| other.takes_over(browser));
        for browser in &elsewhere {
            assert_eq!(other.status(browser).await, 200, "{what}: warms the near cache");
        }
        let answer = tell(&one, &one.idp.logout_token(&claims)).await;
        assert_eq!(answer.status, if claims["iss"].is_null() { 200 } else { 400 }, "{what}");
        // R-N01: only a push can bring it about; near caches would keep it for an hour. Once the last is heard of, all is.
        assert_eq!(tell(&one, &one.idp.logout_token(&json!({ "sid": "c-1", "sub": "c" }))).await.status, 200);
        until(what, async || other.status(&last).await == 401).await;
        for ((browser, moved), ended) in browsers.iter().zip(&elsewhere).zip(ended) {
            let expected = if ended { 401 } else { 200 };
            assert_eq!([one.status(browser).await, other.status(moved).await], [expected; 2], "{what}");
        }
        one.clock.advance(Duration::seconds(3));
    }
}

/// R-J10, R-G11: what a replica cannot read ends all the same, or the provider would believe that it did.
#[tokio::test]
async fn sessions_that_a_replica_cannot_read_end_by_back_channel_logout_too() {
    const OTHER_KEY: &str = "Hx4dHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA=";
    let redis = Redis::start();
    let setup = || Setup { store: Store::Redis(redis.port()), ..Setup::default() };
    // A key that one replica has put in front already and the other does not know yet.
    let other = Broker::with(setup()).await;
    other.app.sessions().maintenance().claim_store().await.unwrap();
    let one = other.replica(Setup { keys: vec![OTHER_KEY, KEY], ..setup() }).await;
    for (claims, ended) in [
        (json!({ "sid": null, "sub": "a" }), [true, true, false]),
        (json!({ "sid": "a-1", "sub": null }), [true, false, true]),
        (json!({ "sid": "a-1", "sub": "a" }), [true, false, false]),
    ] {
        let browsers = [be(&one, "a", "a-1").await, be(&one, "a", "a-2").await, be(&one, "b", "a-1").await];
        assert_eq!(other.status(&other.takes_over(&browsers[0])).await, 401, "sealed under another key");
        assert_eq!(tell(&other, &one.idp.logout_token(&claims)).await.status, 200);
        let (over, live): (Vec<_>, Vec<_>) = browsers.iter().zip(ended).partition(|(_, ended)| *ended);
        for (browser, _) in over {
            until(&claims.to_string(), async || one.status(browser).await == 401).await;
        }
        for (browser, _) in live {
            assert_eq!(one.status(browser).await, 200, "{claims}");
        }
        one.clock.advance(Duration::seconds(3));
    }
}

/// What the person is told, whoever looks at the tombstone is told, and that coming back needs no more than signing in.
#[tokio::test]
async fn the_person_is_told_who_ended_the_session() {
    let broker = Broker::start().await;
    let browser = broker.signed_in().await;
    assert_eq!(tell(&broker, &broker.idp.logout_token(&json!({}))).await.status, 200);
    let refused = browser.get("/guarded").await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (401, "session_revoked"));
    let page = browser.visit(&format!("{PUBLIC}/guarded")).send().await;
    let page =
        if page.status == 303 { browser.visit(&format!("{PUBLIC}{}", page.location())).send().await } else { page };
    assert!(page.body.contains("company account"), "{} {}", page.status, page.body);
    assert!(!page.body.contains("Unchanged"), "the company account is what has changed: {}", page.body);
    assert!(browser.cookie(SESSION).is_some(), "no cookie is touched");
    broker.clock.advance(Duration::seconds(3));
    assert_eq!(broker.status(&broker.signed_in().await).await, 200);
}

/// R-N04: a login under way when the notice comes is refused; other people's logins go on.
#[tokio::test]
async fn a_back_channel_logout_refuses_a_login_under_way() {
    for (claims, status) in [
        (json!({}), 403),
        (json!({ "sid": null }), 403),
        (json!({ "sub": null }), 403),
        (json!({ "sub": "somebody else" }), 303),
        (json!({ "sid": "other" }), 303),
    ] {
        let broker = Broker::start().await;
        let browser = broker.browser();
        let callback = broker.reach_callback(&browser, "/").await;
        assert_eq!(tell(&broker, &broker.idp.logout_token(&claims)).await.status, 200);
        assert_eq!(browser.visit(&callback).send().await.status, status, "{claims}");
    }
}

/// R-J12: a second delivery has no effect, on no replica, for as long as the token could count.
#[tokio::test]
async fn a_logout_token_counts_once() {
    let redis = Redis::start();
    let setup = || Setup { store: Store::Redis(redis.port()), ..Setup::default() };
    let one = Broker::with(setup()).await;
    let other = one.replica(setup()).await;
    let tokens = [json!({ "sid": null, "jti": "once" }), json!({ "jti": "once more" })];
    let tokens = tokens.map(|claims| one.idp.logout_token(&claims));
    for token in &tokens {
        assert_eq!(tell(&one, token).await.status, 200);
    }
    one.clock.advance(Duration::seconds(3));
    // Begun later, from the same session at the provider.
    let browser = one.signed_in().await;
    for (broker, token) in [(&one, &tokens[0]), (&other, &tokens[0]), (&one, &tokens[1]), (&other, &tokens[1])] {
        assert_eq!(tell(broker, token).await.status, 400);
        assert_eq!(one.status(&browser).await, 200);
    }
    let kept = redis.keys().await.into_iter().filter(|key| key.contains(":notice:")).collect::<Vec<_>>();
    assert_eq!(kept.len(), 2, "{kept:?}");
    let expires: i64 = redis.ask(&["PTTL", &kept[0]]).parse().unwrap();
    assert!((160_000..=240_000).contains(&expires), "exp, a minute of skew, and one more: {expires}");
    let again = one.idp.logout_token(&json!({ "sid": null, "jti": "twice" }));
    assert_eq!(tell(&other, &again).await.status, 200);
    assert_eq!(one.status(&browser).await, 401);
}

/// R-J12, R-P01: the store is away: 503, and the same token works when the provider sends it again.
#[tokio::test]
async fn a_delivery_that_met_an_outage_works_when_it_is_repeated() {
    let port = free_port();
    let broker = Broker::with(Setup { store: Store::Unreliable(port), ..Setup::default() }).await;
    let token = broker.idp.logout_token(&json!({}));
    let away = tell(&broker, &token).await;
    assert_eq!((away.status.as_u16(), away.code().as_str()), (503, "store_unavailable"));
    assert!(!away.header("retry-after").is_empty());
    let redis = Redis::start_on(port);
    let browser = broker.signed_in_after_an_outage().await;
    redis.freeze();
    assert_eq!(tell(&broker, &token).await.status, 503);
    redis.thaw();
    let again = eventually("the store is back", async || {
        let again = tell(&broker, &token).await;
        (again.status != 503).then_some(again)
    })
    .await;
    // The frozen server may have executed queued commands meanwhile: then the token counted, and so did its effect.
    assert!([200, 400].contains(&again.status.as_u16()), "{}", again.body);
    assert_eq!(broker.status_after_an_outage(&browser).await, 401);
}

/// R-D05, R-P01: keys that cannot be had are an outage; keys that changed are followed.
#[tokio::test]
async fn the_providers_keys_are_fetched_when_they_are_needed() {
    let broker = Broker::start().await;
    let token = broker.idp.logout_token(&json!({}));
    broker.idp.behave(Script { at_jwks: Misbehaviour::Answer(500, "text/plain", ""), ..Script::default() });
    let away = tell(&broker, &token).await;
    assert_eq!((away.status.as_u16(), away.code().as_str()), (503, "idp_unavailable"));
    broker.idp.behave(Script::default());
    broker.clock.advance(Duration::seconds(3));
    let browser = broker.signed_in().await;
    broker.idp.rotate_keys();
    assert_eq!(tell(&broker, &broker.idp.logout_token(&json!({}))).await.status, 200);
    assert_eq!(broker.status(&browser).await, 401);
    broker.idp.forget_requests();
    broker.clock.advance(Duration::seconds(30));
    for _ in 0..50 {
        let claims = Value::Object(payload_of(&broker.idp.logout_token(&json!({}))));
        let invented = broker.idp.sign(json!({ "kid": "invented" }), &claims);
        // The first one is judged by keys that were fetched for it, the others by nothing for now.
        let expected = if broker.idp.received("/jwks").is_empty() { 400 } else { 503 };
        assert_eq!(tell(&broker, &invented).await.status, expected);
    }
    assert_eq!(broker.idp.received("/jwks").len(), 1, "R-P06");
}

/// R-D05, R-P01: keys changed while they cannot be had: nothing is said of the signature, and the provider tries again.
#[tokio::test]
async fn a_new_key_that_cannot_be_fetched_is_an_outage_and_no_forgery() {
    let broker = Broker::start().await;
    let browser = broker.signed_in().await;
    let token = broker.idp.logout_token(&json!({ "sub": "somebody else" }));
    assert_eq!(tell(&broker, &token).await.status, 200, "the keys are known");
    broker.idp.rotate_keys();
    broker.idp.behave(Script { at_jwks: Misbehaviour::Answer(500, "text/plain", ""), ..Script::default() });
    let token = broker.idp.logout_token(&json!({}));
    for _ in 0..3 {
        let away = tell(&broker, &token).await;
        assert_eq!((away.status.as_u16(), away.code().as_str()), (503, "idp_unavailable"));
        assert!(!away.header("retry-after").is_empty());
    }
    assert_eq!(broker.status(&browser).await, 200);
    broker.idp.behave(Script::default());
    broker.clock.advance(Duration::seconds(10));
    assert_eq!(tell(&broker, &token).await.status, 200);
    assert_eq!(broker.status(&browser).await, 401);
}
