//! Ending other people's sessions: whose, how many, what they are told, and what it takes to come back.

use counterfoil::clock::Clock;
use http::Method;
use serde_json::{Value, json};
use time::Duration;

use crate::support::administration::{SECTION, call, revoke};
use crate::support::broker::{Broker, PUBLIC, Setup, Store};
use crate::support::redis::Redis;
use crate::support::scripted_idp::Script;

async fn broker() -> Broker {
    Broker::with(Setup { more: SECTION.into(), ..Setup::default() }).await
}

/// From now on the provider speaks of somebody who proved an hour ago who they are, and does not prove it afresh.
fn knows_of_an_hour_ago(broker: &Broker, subject: &str) {
    let an_hour_ago = broker.clock.now() - Duration::HOUR;
    broker.idp.behave(Script::person(subject, &[], an_hour_ago.unix_timestamp()));
}

/// R-N01, R-G12: one line a case: what is asked for, and whose sessions end.
#[tokio::test]
async fn revocation_ends_exactly_the_selected_sessions() {
    let redis = Redis::start();
    for store in [Store::Memory, Store::Redis(redis.port())] {
        let broker = Broker::with(Setup { store, more: SECTION.into(), ..Setup::default() }).await;
        for (filter, expected) in [
            (json!({ "user": "alice" }), "aa"),
            (json!({ "user": "ALICE@example.com" }), "aa"),
            (json!({ "user": "ali" }), ""),
            (json!({ "group": "finance" }), "bc"),
            (json!({ "group": "finance", "user": "carol" }), "c"),
            (json!({ "idp": "company" }), "aabc"),
            (json!({ "idp": "other" }), ""),
            (json!({ "issuer": broker.idp.issuer(), "subject": "bob" }), "b"),
            (json!({ "ip": "127.0.0.1" }), "aabc"),
            (json!({ "ip": "192.0.2.1" }), ""),
            (json!({ "older_than": "30m" }), "a"),
            (json!({ "idle_longer_than": "30m" }), ""),
            (json!({ "all": true }), "aabc"),
        ] {
            let first = broker.signed_in_as("alice", &["staff"]).await;
            broker.clock.advance(Duration::minutes(20));
            assert_eq!(first.get("/guarded").await.status, 200);
            broker.clock.advance(Duration::minutes(15));
            let people = [
                ("a", first),
                ("a", broker.signed_in_as("alice", &["staff"]).await),
                ("b", broker.signed_in_as("bob", &["staff", "finance"]).await),
                ("c", broker.signed_in_as("carol", &["staff", "finance"]).await),
            ];
            let order = |dry_run: bool| json!({ "filter": filter, "reason": "test", "dry_run": dry_run });
            let would = revoke(&broker, order(true)).await;
            assert_eq!((would["matched"].as_u64(), would["ended"].as_u64()), (Some(expected.len() as u64), Some(0)));
            for (_, browser) in &people {
                assert_eq!(browser.get("/guarded").await.status, 200, "a dry run ends nothing");
            }
            let done = revoke(&broker, order(false)).await;
            assert_eq!(done["ended"].as_u64(), Some(expected.len() as u64), "{filter}: {done}");
            let mut ended = String::new();
            for (person, browser) in &people {
                let answer = browser.get("/guarded").await;
                if answer.status == 401 {
                    assert_eq!(answer.code(), "session_revoked");
                    ended += person;
                }
            }
            assert_eq!(ended, expected, "{filter}");
            broker.clock.advance(Duration::seconds(3));
            revoke(&broker, json!({ "filter": { "all": true }, "reason": "clean up", "fresh_login": false })).await;
            broker.clock.advance(Duration::seconds(3));
        }
    }
}

/// An ambiguous order ends nothing.
#[tokio::test]
async fn a_revocation_that_says_nothing_clear_is_refused() {
    let broker = broker().await;
    let browser = broker.signed_in_as("alice", &[]).await;
    let handle = broker.handle(&browser).await;
    for body in [
        json!({}),
        json!({ "reason": "x" }),
        json!({ "filter": {}, "reason": "x" }),
        json!({ "filter": { "all": false }, "reason": "x" }),
        json!({ "filter": { "all": true, "user": "alice" }, "reason": "x" }),
        json!({ "filter": { "usr": "alice" }, "reason": "x" }),
        json!({ "filter": { "user": "" }, "reason": "x" }),
        json!({ "filter": { "older_than": "0s" }, "reason": "x" }),
        json!({ "filter": { "user": "alice" } }),
        json!({ "filter": { "user": "alice" }, "reason": "  " }),
        json!({ "filter": { "user": "alice" }, "reason": "x".repeat(501) }),
        json!({ "handles": [handle], "filter": { "user": "alice" }, "reason": "x" }),
        json!({ "handles": ["cf-nonsense"], "reason": "x" }),
        json!({ "handles": [handle], "reason": "x", "block_for": "for ever" }),
        json!({ "handles": [handle], "reason": "x", "dryrun": true }),
        Value::Null,
    ] {
        let answer = call(&broker, Method::POST, "revocations", Some(body.clone())).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (400, "bad_request"), "{body}");
        assert!(!answer.json()["detail"].as_str().unwrap().is_empty());
    }
    assert_eq!(browser.get("/guarded").await.status, 200);
}

/// The person learns that and when, not by whom nor why; the page leads back to where they were.
#[tokio::test]
async fn the_person_is_told_that_it_was_ended_but_not_by_whom() {
    let redis = Redis::start();
    for store in [Store::Memory, Store::Redis(redis.port())] {
        let broker = Broker::with(Setup { store, more: SECTION.into(), ..Setup::default() }).await;
        let browser = broker.signed_in_as("alice", &[]).await;
        let handle = broker.handle(&browser).await;
        revoke(&broker, json!({ "handles": [handle], "reason": "SUSPECTED of fraud" })).await;
        for _ in 0..2 {
            let refused = browser.get("/guarded").await;
            assert_eq!((refused.status.as_u16(), refused.code().as_str()), (401, "session_revoked"));
            assert!(!refused.body.contains("SUSPECTED") && !refused.body.contains("api-token"), "{}", refused.body);
        }
        let away = browser.visit(&format!("{PUBLIC}/orders?x=1")).send().await;
        let page = browser.visit(&format!("{PUBLIC}{}", away.location())).send().await;
        assert!(page.body.contains("Your session was ended") && page.body.contains(" UTC"), "{}", page.body);
        assert!(!page.body.contains("SUSPECTED") && !page.body.contains("api-token"), "{}", page.body);
        assert!(page.body.contains("/sso/login?return_to=%2Forders%3Fx%3D1\""), "leads back to the page");
    }
}

/// A live session at the provider does not let the person straight back in: neither in the same browser, nor in
/// another one.
#[tokio::test]
async fn the_next_login_has_to_be_a_fresh_one() {
    let redis = Redis::start();
    for store in [Store::Memory, Store::Redis(redis.port())] {
        let broker = Broker::with(Setup { store, more: SECTION.into(), ..Setup::default() }).await;
        let browser = broker.signed_in_as("alice", &[]).await;
        let handle = broker.handle(&browser).await;
        revoke(&broker, json!({ "handles": [handle], "reason": "stolen" })).await;
        broker.clock.advance(Duration::seconds(5));

        // The same browser: asked for at once.
        let start = browser.visit(&format!("{PUBLIC}/sso/login?return_to=/orders")).send().await;
        assert!(start.location().contains("prompt=login") && start.location().contains("max_age=0"));

        // Another browser, whose session at the provider is an hour old: sent back for it.
        knows_of_an_hour_ago(&broker, "alice");
        let other = broker.browser();
        let start = other.visit(&format!("{PUBLIC}/sso/login?return_to=/orders")).send().await;
        assert!(!start.location().contains("prompt="));
        let sent_back = broker.sign_in(&other, "/orders").await;
        assert_eq!(sent_back.location(), "/sso/login?return_to=%2Forders&idp=company&fresh=1");
        assert_eq!(other.get("/guarded").await.status, 401);
        let start = other.visit(&format!("{PUBLIC}{}", sent_back.location())).send().await;
        assert!(start.location().contains("prompt=login") && start.location().contains("max_age=0"));
        // A provider that ignores it is not believed.
        let callback = other.visit(start.location()).send().await.location().to_owned();
        assert_eq!(other.visit(&callback).send().await.status, 502);
        // One that does not is.
        broker.meets("alice", &[]);
        let start = other.visit(&format!("{PUBLIC}{}", sent_back.location())).send().await;
        let callback = other.visit(start.location()).send().await.location().to_owned();
        assert_eq!(other.visit(&callback).send().await.location(), "/orders");
        assert_eq!(other.get("/guarded").await.status, 200);
        // It is nobody else's business.
        knows_of_an_hour_ago(&broker, "bob");
        broker.signed_in().await;
    }
}

#[tokio::test]
async fn a_fresh_login_is_not_demanded_if_it_was_not_ordered() {
    let broker = broker().await;
    let browser = broker.signed_in_as("alice", &[]).await;
    let handle = broker.handle(&browser).await;
    revoke(&broker, json!({ "handles": [handle], "reason": "tidying", "fresh_login": false })).await;
    broker.clock.advance(Duration::seconds(3));
    knows_of_an_hour_ago(&broker, "alice");
    assert_eq!(broker.sign_in(&browser, "/").await.location(), "/");
}

/// R-N04: a login begun before and finished after is refused with a reason; the next one is not.
#[tokio::test]
async fn a_login_under_way_is_overtaken_by_a_revocation() {
    let redis = Redis::start();
    for store in [Store::Memory, Store::Redis(redis.port())] {
        let broker = Broker::with(Setup { store, more: SECTION.into(), ..Setup::default() }).await;
        for body in [
            json!({ "filter": { "user": "alice" } }),
            json!({ "filter": { "group": "finance" } }),
            json!({ "filter": { "all": true } }),
            json!({ "filter": { "issuer": broker.idp.issuer(), "subject": "alice" } }),
            json!({ "filter": { "ip": "127.0.0.1" } }),
            json!({ "filter": { "older_than": "1s" } }),
            json!({ "handles": "hers" }),
        ] {
            let live = broker.signed_in_as("alice", &["finance"]).await;
            broker.clock.advance(Duration::seconds(3));
            let under_way = broker.browser();
            let callback = broker.reach_callback(&under_way, "/").await;
            broker.clock.advance(Duration::seconds(3));
            let mut body = body;
            body["reason"] = "test".into();
            if body["handles"].is_string() {
                body["handles"] = json!([broker.handle(&live).await]);
            }
            assert_eq!(revoke(&broker, body.clone()).await["ended"], 1, "{body}");
            broker.clock.advance(Duration::seconds(3));
            let refused = under_way.visit(&callback).send().await;
            assert_eq!(refused.status, 403, "{body}");
            assert!(refused.body.contains("sessions were ended"), "{}", refused.body);
            assert_eq!(under_way.get("/guarded").await.status, 401);
            broker.meets("alice", &["finance"]);
            broker.signed_in().await;
            broker.clock.advance(Duration::seconds(3));
            let clean_up = json!({ "filter": { "all": true }, "reason": "clean up", "fresh_login": false });
            revoke(&broker, clean_up).await;
            broker.clock.advance(Duration::seconds(3));
        }
    }
}

/// A block holds for its time, whoever is signed in or not, and can be lifted.
#[tokio::test]
async fn a_blocked_person_gets_no_session_until_the_block_ends_or_is_lifted() {
    let broker = broker().await;
    let attempt = async |subject: &str| {
        broker.meets(subject, &["staff"]);
        broker.sign_in(&broker.browser(), "/").await
    };
    let order = |block: &str| json!({ "filter": { "user": "alice" }, "reason": "test", "block_for": block });
    assert_eq!(revoke(&broker, order("1h")).await["matched"], 0, "she need not be signed in");
    for minutes in [1, 30, 28] {
        broker.clock.advance(Duration::minutes(minutes));
        let refused = attempt("alice").await;
        assert_eq!(refused.status, 403);
        assert!(refused.body.contains("can’t sign in just now"), "{}", refused.body);
        assert_eq!(attempt("bob").await.location(), "/");
    }
    broker.clock.advance(Duration::minutes(2));
    assert_eq!(attempt("alice").await.location(), "/");

    // By handle it is the person who is blocked, not the browser.
    let browser = broker.signed_in_as("alice", &[]).await;
    let handle = broker.handle(&browser).await;
    revoke(&broker, json!({ "handles": [handle], "reason": "test", "block_for": "7d" })).await;
    revoke(&broker, order("7d")).await;
    broker.clock.advance(Duration::hours(20));
    assert_eq!(attempt("alice").await.status, 403);
    revoke(&broker, order("0s")).await;
    broker.clock.advance(Duration::seconds(3));
    assert_eq!(attempt("alice").await.status, 403, "the other order still stands");
    revoke(
        &broker,
        json!({ "filter": { "issuer": broker.idp.issuer(), "subject": "alice" }, "reason": "t", "block_for": "0s" }),
    )
    .await;
    broker.clock.advance(Duration::seconds(3));
    assert_eq!(attempt("alice").await.location(), "/", "a block by subject is lifted by subject");
}

/// R-G12: ten thousand sessions of one person are listed once each, counted, and ended.
#[tokio::test]
async fn ten_thousand_sessions_of_one_person() {
    use counterfoil::identity::Identity;
    use counterfoil::secret::Secret;
    use counterfoil::session::establish::{Freshness, NewSession};
    use counterfoil::session::record::{ClientTraits, Tokens};

    const MANY: usize = 10_000;
    let redis = Redis::start();
    let broker =
        Broker::with(Setup { store: Store::Redis(redis.port()), more: SECTION.into(), ..Setup::default() }).await;
    let new = || {
        use counterfoil::clock::Clock;
        NewSession {
            identity: Identity {
                idp: "company".into(),
                issuer: broker.idp.issuer(),
                subject: "robot".into(),
                name: None,
                preferred_username: None,
                email: None,
                email_verified: false,
                groups: vec![],
            },
            begun: None,
            auth_time: None,
            acr: None,
            ends_by: None,
            freshness: Freshness::CannotBeTold,
            provider_session: Some("one session at the provider".into()),
            tokens: Tokens {
                access_token: Secret::new(String::new()),
                access_token_expires_at: None,
                issued_at: broker.clock.now(),
                refresh_token: None,
                id_token: None,
                nonce: None,
            },
            client: ClientTraits::default(),
        }
    };
    let sessions = broker.app.sessions();
    let mut established = tokio::task::JoinSet::new();
    for index in 0..MANY {
        let (sessions, new) = (sessions.clone(), new());
        established.spawn(async move { sessions.establish(new).await.unwrap() });
        if index % 64 == 0 {
            while established.len() > 64 {
                established.join_next().await.unwrap().unwrap();
            }
        }
    }
    established.join_all().await;
    let (mut seen, mut cursor) = (std::collections::HashSet::new(), String::new());
    loop {
        let page = call(&broker, Method::GET, &format!("sessions?user=robot&limit=999{cursor}"), None).await.json();
        for session in page["sessions"].as_array().unwrap() {
            assert!(seen.insert(session["handle"].as_str().unwrap().to_owned()), "listed twice");
        }
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen.len(), MANY);
    let counted = call(&broker, Method::GET, "sessions?limit=1&count=true", None).await.json();
    assert_eq!((counted["count"].as_u64(), counted["registered"].as_u64()), (Some(MANY as u64), Some(MANY as u64)));
    broker.clock.advance(Duration::seconds(3));
    let filter = json!({ "issuer": broker.idp.issuer(), "subject": "robot" });
    let done = revoke(&broker, json!({ "filter": filter, "reason": "a robot that went mad" })).await;
    assert_eq!((done["matched"].as_u64(), done["ended"].as_u64()), (Some(MANY as u64), Some(MANY as u64)));
    let left = redis.keys().await;
    assert!(!left.iter().any(|key| key.starts_with("cf-") || key.contains("index:subject")), "nothing is left behind");
    assert!(!left.iter().any(|key| key.contains("index:all:") || key.contains("index:provider-session")));
}
