//! A real Keycloak, one realm a test, set up by its administration API.
//!
//! Time is moved here and stands still there, so the broker is told to tolerate a clock that is off.

mod realm;

use serde_json::json;

use self::realm::{NAME, Realm};
use crate::support::broker::{Broker, PUBLIC};
use crate::support::browser::{Answer, Browser};
use crate::support::counterpart::{follow, follow_as};
use crate::support::keys::{Kind, private_key};
use crate::support::program::Folder;

const RENEWED: &str = "refresh = \"1m\"\nclock_skew = \"5m\"\n";

async fn sign_in_as(browser: &Browser, person: &str) -> Answer {
    let start = browser.visit(&format!("{PUBLIC}/sso/login?idp={NAME}&return_to=/orders")).send().await;
    assert_eq!(start.status, 303, "{}", start.body);
    follow_as(browser, start.location(), person, "x").await
}

async fn signed_in(broker: &Broker, person: &str) -> Browser {
    let browser = broker.browser();
    let landed = sign_in_as(&browser, person).await;
    assert_eq!((landed.status.as_u16(), landed.location()), (303, "/orders"), "{}", landed.body);
    browser
}

async fn groups(browser: &Browser) -> Vec<String> {
    let session = browser.session().await;
    let mut groups: Vec<String> =
        serde_json::from_value(session["groups"].clone()).unwrap_or_else(|_| panic!("{session}"));
    groups.sort();
    groups
}

async fn ends_with(browser: &Browser, code: &str) {
    crate::support::child::until("the session has ended", async || browser.get("/guarded").await.status == 401).await;
    assert_eq!(browser.get("/guarded").await.code(), code);
}

/// Groups by a mapper, roles of realm and client as Keycloak is delivered: in the access token alone.
#[tokio::test]
async fn keycloak_tells_groups_and_roles() {
    let realm = Realm::create(json!({})).await;
    let broker = realm.broker("").await;
    let browser = signed_in(&broker, "alice").await;
    let groups = groups(&browser).await;
    for group in ["approver", "auditor", "staff"] {
        assert!(groups.iter().any(|known| known == group), "{group} is not among {groups:?}");
    }
}

/// Keycloak asks nothing and leads back, since it is told whose logout it is.
#[tokio::test]
async fn a_logout_ends_the_session_at_keycloak_too_and_leads_back() {
    let realm = Realm::create(json!({})).await;
    let broker = realm.broker("").await;
    let browser = signed_in(&broker, "alice").await;
    assert_eq!(realm.sessions_of("alice").await.len(), 1);
    let away = crate::support::sign_out::sign_out(&browser).await;
    let back = follow(&browser, away.location()).await;
    assert_eq!(back.status, 200, "{}", back.body);
    assert!(realm.sessions_of("alice").await.is_empty());
}

/// Two browsers of one person: an administrator ends one session, then all of the person's.
#[tokio::test]
async fn keycloak_ends_one_session_and_all_of_a_person() {
    let realm = Realm::create(json!({})).await;
    let broker = realm.broker("").await;
    let first = signed_in(&broker, "alice").await;
    let first_at_keycloak = realm.sessions_of("alice").await.remove(0);
    let second = signed_in(&broker, "alice").await;
    let other = signed_in(&broker, "bob").await;
    realm.end_session(&first_at_keycloak).await;
    ends_with(&first, "session_revoked").await;
    assert_eq!(broker.status(&second).await, 200);
    realm.log_out("alice").await;
    ends_with(&second, "session_revoked").await;
    assert_eq!(broker.status(&other).await, 200);
}

/// New groups count at the next renewal; who is disabled is out by then.
#[tokio::test]
async fn a_renewal_brings_new_groups_and_a_disabled_person_is_out() {
    let realm = Realm::create(json!({})).await;
    let broker = realm.broker(RENEWED).await;
    let browser = signed_in(&broker, "alice").await;
    assert!(!groups(&browser).await.contains(&"finance".to_owned()));
    realm.join("alice", "finance").await;
    broker.clock.advance(time::Duration::minutes(1));
    assert_eq!(broker.status(&browser).await, 200);
    assert!(groups(&browser).await.contains(&"finance".to_owned()));
    realm.disable("alice").await;
    broker.clock.advance(time::Duration::minutes(1));
    ends_with(&browser, "session_revoked").await;
}

/// Keys that change under living sessions: renewals, logins and logout tokens go on.
#[tokio::test]
async fn keycloak_may_change_its_keys() {
    let realm = Realm::create(json!({})).await;
    let broker = realm.broker(RENEWED).await;
    let browser = signed_in(&broker, "alice").await;
    realm.change_keys().await;
    broker.clock.advance(time::Duration::minutes(1));
    assert_eq!(broker.status(&browser).await, 200);
    assert_eq!(broker.status(&signed_in(&broker, "bob").await).await, 200);
    realm.log_out("alice").await;
    ends_with(&browser, "session_revoked").await;
}

/// Every way of talking to it, one line a way.
#[tokio::test]
async fn keycloak_agrees_with_every_way_of_talking_to_it() {
    let folder = Folder::new();
    let file = folder.write("client.pem", &private_key(Kind::P256));
    let by_key = format!("token_endpoint_auth_method = \"private_key_jwt\"\nclient_key_file = \"{file}\"\n");
    let keys = realm::client_keys(&file);
    let pushed = json!({ "attributes": { "require.pushed.authorization.requests": "true" } });
    let bound = json!({ "attributes": { "dpop.bound.access.tokens": "true" } });
    for (way, client, more) in [
        ("signed answers", json!({}), "response_mode = \"jwt\"\n".to_owned()),
        ("signed answers by form", json!({}), "response_mode = \"form_post.jwt\"\n".to_owned()),
        ("pushed requests", pushed, "pushed_authorization_requests = \"always\"\n".to_owned()),
        ("pushed requests, private_key_jwt", keys, format!("{by_key}pushed_authorization_requests = \"always\"\n")),
        ("DPoP", bound, format!("dpop = true\ndpop_key_file = \"{file}\"\n")),
    ] {
        let with_secret = !more.contains("private_key_jwt");
        let realm = Realm::create(client).await;
        let broker = realm.broker_with(&format!("{RENEWED}{more}"), with_secret).await;
        let browser = broker.browser();
        let landed = sign_in_as(&browser, "alice").await;
        assert_eq!((landed.status.as_u16(), landed.location()), (303, "/orders"), "{way}: {}", landed.body);
        // Keycloak takes no proof from a minute ahead of its own clock, which cannot be moved.
        if way != "DPoP" {
            broker.clock.advance(time::Duration::minutes(1));
            assert_eq!(broker.status(&browser).await, 200, "{way}: renewal");
        }
    }
}
