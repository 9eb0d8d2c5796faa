//! Metadata and keys after the first time: what they may change, when they are fetched again, and who may cause that.

use serde_json::json;
use time::Duration;

use crate::support::broker::{Broker, PUBLIC, Setup};
use crate::support::child::until;
use crate::support::notices::{push, tell_of_logout};
use crate::support::scripted_idp::{Misbehaviour, Script, ScriptedIdp, set};

const METADATA: &str = "/.well-known/openid-configuration";

/// One line an endpoint. The rule's own table is `an_endpoint_stays_at_its_host_until_a_move_is_confirmed`.
#[tokio::test]
async fn metadata_that_move_an_endpoint_count_once_confirmed() {
    let setup = Setup::default();
    let broker = Broker::with(setup).await;
    let elsewhere = ScriptedIdp::start(broker.clock.clone()).await;
    broker.signed_in().await;
    for (name, path) in [("token_endpoint", "/token"), ("userinfo_endpoint", "/userinfo"), ("jwks_uri", "/jwks")] {
        let moved = format!("{}{path}", elsewhere.issuer());
        broker.idp.behave(Script::metadata(json!({ name: moved })));
        broker.idp.forget_requests();
        broker.clock.advance(Duration::minutes(61));
        broker.signed_in().await;
        until("the later metadata were read", async || broker.readiness().await.json()["notes"].is_object()).await;
        let note = broker.readiness().await.json()["notes"]["company"].as_str().unwrap().to_owned();
        assert!(note.contains(name) && note.contains(&elsewhere.issuer()), "{note}");
        broker.signed_in().await;
        assert!(elsewhere.received(path).is_empty(), "{name}");
        broker.idp.behave(Script::default());
        broker.clock.advance(Duration::minutes(61));
        broker.signed_in().await;
        until("they are as before", async || broker.readiness().await.json()["notes"].is_null()).await;
    }
    let moved = format!("{}/userinfo", elsewhere.issuer());
    broker.idp.behave(Script::metadata(json!({ "userinfo_endpoint": moved })));
    for is_shown in [false, true] {
        broker.idp.forget_requests();
        broker.reload(&Setup::default());
        // The keys are fetched after the metadata.
        until("metadata and keys were fetched", async || !broker.idp.received("/jwks").is_empty()).await;
        assert_eq!(
            broker.readiness().await.json()["notes"].is_null(),
            is_shown,
            "an order meets it for the first time"
        );
        broker.signed_in().await;
        assert_eq!(elsewhere.received("/userinfo").len(), usize::from(is_shown), "taken over");
    }
}

/// R-F02: one line an address; the classes' own table is
/// `every_address_has_the_class_of_its_network_however_it_is_written`.
#[tokio::test]
async fn metadata_name_addresses_of_the_issuers_own_network_unless_the_configuration_lets_others_be() {
    for (name, address) in [
        ("token_endpoint", "https://169.254.169.254/token"),
        ("jwks_uri", "https://10.0.0.1/jwks"),
        ("userinfo_endpoint", "https://[::ffff:192.168.0.1]/me"),
        ("revocation_endpoint", "https://[fd00::1]/revoke"),
        ("pushed_authorization_request_endpoint", "https://100.64.0.1/par"),
    ] {
        for (idp, status) in [("", 502), ("private_addresses = true\npushed_authorization_requests = \"never\"", 303)] {
            let broker = Broker::with(Setup { idp: idp.into(), ..Setup::default() }).await;
            broker.idp.behave(Script::metadata(json!({ name: address })));
            let start = broker.browser().visit(&format!("{PUBLIC}/sso/login")).send().await;
            assert_eq!(start.status, status, "{name} {address} {idp}");
        }
    }
    // The browser connects there through its own network.
    let broker = Broker::start().await;
    let address = json!({ "authorization_endpoint": "https://10.0.0.1/authorize" });
    broker.idp.behave(Script::metadata(address));
    assert_eq!(broker.browser().visit(&format!("{PUBLIC}/sso/login")).send().await.status, 303);
}

/// R-D05: one line a kind of notice. An unauthenticated token uses up the rate limit of unauthenticated callers for ten
/// seconds: notices in that time are postponed, not refused; logins are unaffected.
#[tokio::test]
async fn a_strangers_token_before_a_rotation_costs_no_notice_and_no_login() {
    for way in ["logout token", "security event"] {
        let broker = Broker::with(Setup { idp: "[idp.company.shared_signals]\n".into(), ..Setup::default() }).await;
        let revoked = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";
        let (genuine, accepted) = match way {
            "logout token" => (broker.idp.logout_token(&json!({})), 200),
            _ => (broker.idp.security_event(&json!({ revoked: {} }), &json!({})), 202),
        };
        let tell = async |token: &str| match way {
            "logout token" => tell_of_logout(&broker, token).await,
            _ => push(&broker, token).send().await,
        };
        let again = |which: u32| match way {
            "logout token" => broker.idp.logout_token(&json!({ "jti": format!("again-{which}") })),
            _ => broker.idp.security_event(&json!({ revoked: {} }), &json!({ "jti": format!("again-{which}") })),
        };
        assert_eq!(tell(&genuine).await.status, accepted, "{way}: the keys are known");
        let kind = if way == "logout token" { json!("logout+jwt") } else { json!("secevent+jwt") };
        let junk = broker.idp.sign(json!({ "kid": "unknown", "typ": kind }), &json!({}));
        assert_eq!(tell(&junk).await.status, 400, "{way}");
        broker.idp.rotate_keys();
        let rotated = again(1);
        let put_off = tell(&rotated).await;
        assert_eq!(put_off.status, 503, "{way}: {}", put_off.body);
        assert_eq!(put_off.header("retry-after"), "10", "{way}");
        let fetched = broker.idp.received("/jwks").len();
        // Begun later than what was told before, and within the ten seconds.
        broker.clock.advance(Duration::seconds(3));
        let browser = broker.signed_in().await;
        assert_eq!(broker.idp.received("/jwks").len(), fetched + 1, "{way}: logins have a fetch of their own");
        // The keys of that fetch are everybody's.
        assert_eq!(tell(&rotated).await.status, accepted, "{way}");
        assert_eq!(broker.status(&browser).await, 401, "{way}");
        assert_eq!(tell(&junk).await.status, 503, "{way}: nobody knows yet");
        broker.clock.advance(Duration::seconds(7));
        assert_eq!(tell(&junk).await.status, 400, "{way}");
    }
}

/// R-F04: keys that were withdrawn count for an hour at most, and not at all after a reload.
#[tokio::test]
async fn keys_that_were_withdrawn_stop_counting() {
    // The provider itself says a week.
    let documents = Script { document_headers: &[("cache-control", "max-age=604800")], ..Script::default() };
    for order in [false, true] {
        let broker = Broker::start().await;
        broker.idp.behave(documents.clone());
        broker.signed_in().await;
        broker.clock.advance(Duration::minutes(59));
        let signed_before = broker.idp.logout_token(&json!({ "jti": "before" }));
        // Each is taken once at the most, so that the answer is about its key.
        let later: Vec<_> =
            (0..200).map(|number| broker.idp.logout_token(&json!({ "jti": number.to_string() }))).collect();
        let mut later = later.iter();
        broker.idp.rotate_keys();
        assert_eq!(tell_of_logout(&broker, &signed_before).await.status, 200, "they are not asked for yet");
        if order {
            broker.idp.forget_requests();
            broker.reload(&Setup::default());
            until("the keys were fetched", async || !broker.idp.received("/jwks").is_empty()).await;
            let told = later.by_ref();
            until("they count", async || tell_of_logout(&broker, told.next().unwrap()).await.status != 200).await;
            // What no key verifies is put off until the keys may be asked for again.
            broker.clock.advance(Duration::seconds(10));
        } else {
            broker.clock.advance(Duration::minutes(1));
        }
        assert_eq!(tell_of_logout(&broker, later.next().unwrap()).await.status, 400, "by order: {order}");
    }
}

/// R-F04: one line a header: how long keys are used without asking again, in seconds.
#[tokio::test]
async fn keys_are_fetched_again_when_the_provider_says_so_within_bounds() {
    for (headers, fresh) in [
        (&[][..], 900),
        (&[("cache-control", "public, max-age=300")][..], 300),
        (&[("cache-control", "no-store")], 60),
        (&[("cache-control", "max-age=600"), ("age", "400")], 200),
    ] {
        let broker = Broker::start().await;
        broker.idp.behave(Script { document_headers: headers, ..Script::default() });
        broker.signed_in().await;
        broker.clock.advance(Duration::seconds(fresh - 1));
        broker.signed_in().await;
        assert_eq!(broker.idp.received("/jwks").len(), 1, "{headers:?}");
        broker.clock.advance(Duration::seconds(1));
        broker.signed_in().await;
        until("they are fetched again", async || broker.idp.received("/jwks").len() == 2).await;
    }
}

/// R-P02, RFC 9110 10.2.3: one line an answer.
#[tokio::test]
async fn a_busy_provider_gets_the_backoff_that_it_asks_for() {
    for busy in [
        Misbehaviour::Refuse(429, &[("retry-after", "60")]),
        Misbehaviour::Busy("60"),
        Misbehaviour::Refuse(
            503,
            &[("date", "Sun, 06 Nov 1994 08:49:37 GMT"), ("retry-after", "Sun, 06 Nov 1994 08:50:37 GMT")],
        ),
    ] {
        let broker = Broker::start().await;
        broker.idp.behave(Script { at_metadata: busy, ..Script::default() });
        let login = format!("{PUBLIC}/sso/login");
        assert_eq!(broker.browser().visit(&login).send().await.status, 503);
        broker.idp.behave(Script::default());
        broker.clock.advance(Duration::seconds(59));
        assert_eq!(broker.browser().visit(&login).send().await.status, 503);
        assert_eq!(broker.idp.received(METADATA).len(), 1);
        broker.clock.advance(Duration::seconds(1));
        assert_eq!(broker.browser().visit(&login).send().await.status, 303);
    }
}

/// R-D05, RFC 9111 5.2.1.4: caches on the way have to ask the provider where the keys that are known do not fit.
#[tokio::test]
async fn keys_that_do_not_fit_are_asked_for_past_every_cache() {
    let broker = Broker::start().await;
    broker.signed_in().await;
    assert!(!broker.idp.received("/jwks")[0].headers.contains_key("cache-control"));
    broker.idp.rotate_keys();
    broker.signed_in().await;
    assert_eq!(broker.idp.received("/jwks")[1].headers["cache-control"], "no-cache");
    broker.idp.forget_requests();
    broker.reload(&Setup::default());
    until("the keys were fetched", async || !broker.idp.received("/jwks").is_empty()).await;
    assert_eq!(broker.idp.received("/jwks")[0].headers["cache-control"], "no-cache", "by order");
}

/// R-F05, R-C12: one line a set in which no key can be used: what is there while somebody is at work at the provider. The
/// last good one stays: whoever is signed in goes on, and whoever signs in does.
#[tokio::test]
async fn an_empty_key_set_takes_the_place_of_none() {
    let weak = json!({ "kty": "RSA", "kid": "weak", "n": "w_w", "e": "AQAB" });
    for keys in [json!([]), json!([{ "kty": "oct", "k": "c2VjcmV0" }]), json!([weak])] {
        let broker =
            Broker::with(Setup { idp: "refresh = \"5m\"\nrefresh_wait = \"1m\"".into(), ..Setup::default() }).await;
        let browser = broker.signed_in().await;
        broker.idp.behave(Script { jwks: set(json!({ "keys": keys })), ..Script::default() });
        broker.clock.advance(Duration::minutes(16));
        broker.idp.forget_requests();
        broker.signed_in().await;
        until("the keys are fetched again", async || !broker.idp.received("/jwks").is_empty()).await;
        broker.clock.advance(Duration::minutes(5));
        assert_eq!(broker.status(&browser).await, 200, "{keys}");
        broker.signed_in().await;
    }
}
