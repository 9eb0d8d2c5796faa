//! Timeouts that change while people work: by the API for every replica, by reload, and what Redis makes of it.

use http::Method;
use serde_json::{Value, json};
use time::Duration;

use crate::support::administration::{SECTION, call};
use crate::support::broker::{Broker, PUBLIC, Setup, Store};
use crate::support::child::until;
use crate::support::redis::Redis;
use crate::support::scripted_idp::{Script, set};

fn setup(store: Store) -> Setup {
    Setup { store, more: SECTION.into(), ..Setup::default() }
}

async fn put(broker: &Broker, body: Value) -> Value {
    let answer = call(broker, Method::PUT, "timeouts", Some(body)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()
}

/// R-G07: a shortened timeout reaches live sessions on every replica within a second, and a dry run says how many.
#[tokio::test]
async fn stored_timeouts_reach_live_sessions_on_every_replica() {
    let redis = Redis::start();
    let one = Broker::with(setup(Store::Redis(redis.port()))).await;
    let other = one.replica(setup(Store::Redis(redis.port()))).await;
    let browser = one.signed_in().await;
    let moved = other.takes_over(&browser);
    assert_eq!(
        (browser.get("/guarded").await.status, moved.get("/guarded").await.status),
        (http::StatusCode::OK, http::StatusCode::OK)
    );
    one.clock.advance(Duration::minutes(10));
    let shorter = json!({ "idle_timeout": "5m", "absolute_timeout": "12h" });
    let mut dry = shorter.clone();
    dry["dry_run"] = true.into();
    assert_eq!(put(&one, dry).await["would_end"], 1);
    assert_eq!(call(&one, Method::GET, "timeouts", None).await.json()["source"], "configuration");
    assert_eq!(moved.get("/guarded").await.status, 200);

    // Used just now over there, which this replica does not know.
    let changed = put(&one, shorter.clone()).await;
    assert_eq!((changed["source"].as_str(), changed["idle_timeout"].as_str()), (Some("stored"), Some("5m")));
    assert_eq!(browser.get("/guarded").await.status, 200, "the store is asked before a session counts as idle");
    one.clock.advance(Duration::minutes(5));
    assert_eq!(browser.get("/guarded").await.code(), "session_idle", "here at once");
    until("the other replica hears of it", async || moved.get("/guarded").await.status == 401).await;
    assert_eq!(moved.get("/guarded").await.code(), "session_idle");
    // Withdrawn, everywhere.
    let back = call(&other, Method::DELETE, "timeouts", None).await.json();
    assert_eq!((back["source"].as_str(), back["idle_timeout"].as_str()), (Some("configuration"), Some("30m")));
    let source = async |broker| call(broker, Method::GET, "timeouts", None).await.json()["source"].clone();
    until("the other replica hears of that", async || source(&one).await == "configuration").await;
    let third = one.replica(setup(Store::Redis(redis.port()))).await;
    put(&one, shorter).await;
    until("a replica that has just begun hears of it", async || source(&third).await == "stored").await;
}

/// R-G08: Redis' own expiry, set under the old policy, does not end a session that the new one keeps; nor do the
/// lists forget it.
#[tokio::test]
async fn a_lengthened_timeout_keeps_the_records_that_would_have_expired() {
    let redis = Redis::start();
    for store in [Store::Memory, Store::Redis(redis.port())] {
        let more = format!("{SECTION}[session]\nidle_timeout = \"2m\"\nabsolute_timeout = \"3m\"\n");
        let is_redis = matches!(store, Store::Redis(_));
        let broker = Broker::with(Setup { store, more, ..Setup::default() }).await;
        let browser = broker.signed_in().await;
        let handle = broker.handle(&browser).await;
        put(&broker, json!({ "idle_timeout": "1h", "absolute_timeout": "12h" })).await;
        if is_redis {
            let left = async || redis.command(&["PTTL", &handle]).await.convert::<i64>().unwrap();
            // For one and a half idle timeouts and ten minutes.
            until("the record is kept", async || left().await > 95 * 60_000).await;
            let lists: Vec<_> = redis.keys().await.into_iter().filter(|key| key.contains("index:")).collect();
            assert!(lists.len() > 3, "{lists:?}");
            for key in &lists {
                let left: i64 = redis.command(&["PTTL", key]).await.convert().unwrap();
                assert!(left > 11 * 3_600_000, "{key}: {left}");
            }
        }
        let maintenance = broker.app.sessions().maintenance();
        until("every record is kept", async || maintenance.round().await.unwrap()).await;
        broker.clock.advance(Duration::minutes(59));
        assert_eq!(browser.get("/guarded").await.status, 200);
        assert_eq!(call(&broker, Method::GET, "sessions", None).await.json()["sessions"][0]["handle"], handle.as_str());
    }
}

/// By group: the first entry that names one of the person's groups.
#[tokio::test]
async fn stored_timeouts_know_groups() {
    let broker = Broker::with(setup(Store::Memory)).await;
    let people = ["staff", "finance"].map(|group| {
        let claims = set(json!({ "groups": [group], "sub": group }));
        Script { id_token_claims: claims, userinfo: set(json!({ "sub": group, "groups": null })), ..Script::default() }
    });
    let mut browsers = Vec::new();
    for script in people {
        broker.idp.behave(script);
        browsers.push(broker.signed_in().await);
    }
    broker.clock.advance(Duration::minutes(10));
    let body = json!({
        "idle_timeout": "30m", "absolute_timeout": "12h",
        "timeout": [{ "groups": ["finance"], "idle_timeout": "10m", "absolute_timeout": "1h" }],
    });
    put(&broker, body).await;
    assert_eq!(
        (browsers[0].get("/guarded").await.status.as_u16(), browsers[1].get("/guarded").await.status.as_u16()),
        (200, 401)
    );
}

#[tokio::test]
async fn timeouts_that_make_no_sense_are_refused() {
    let broker = Broker::with(setup(Store::Memory)).await;
    for body in [
        json!({}),
        json!({ "idle_timeout": "30m" }),
        json!({ "idle_timeout": "13h", "absolute_timeout": "12h" }),
        json!({ "idle_timeout": "0s", "absolute_timeout": "12h" }),
        json!({ "idle_timeout": "30m", "absolute_timeout": "401d" }),
        json!({ "idle_timeout": "30m", "absolute_timeout": "999999999999y" }),
        json!({ "idle_timeout": 1800, "absolute_timeout": "12h" }),
        json!({ "idle_timeout": "30m", "absolute_timeout": "12h", "max": 1 }),
        json!({ "idle_timeout": "30m", "absolute_timeout": "12h", "timeout": [
            { "groups": [], "idle_timeout": "1m", "absolute_timeout": "1h" }] }),
        json!({ "idle_timeout": "30m", "absolute_timeout": "12h", "timeout": [
            { "groups": ["a"], "idle_timeout": "2h", "absolute_timeout": "1h" }] }),
    ] {
        let answer = call(&broker, Method::PUT, "timeouts", Some(body.clone())).await;
        assert_eq!(answer.status, 400, "{body}");
    }
    assert_eq!(call(&broker, Method::GET, "timeouts", None).await.json()["source"], "configuration");
}

/// Write access to Redis does not lengthen sessions, and garbage there breaks nothing.
#[tokio::test]
async fn timeouts_that_no_broker_wrote_are_not_believed() {
    let redis = Redis::start();
    let broker = Broker::with(setup(Store::Redis(redis.port()))).await;
    let browser = broker.signed_in().await;
    redis.command(&["SET", "counterfoil:timeouts", "{\"default\":{\"idle\":\"400d\",\"absolute\":\"400d\"}}"]).await;
    broker.app.sessions().administration().reload_stored_timeouts().await.unwrap();
    assert_eq!(call(&broker, Method::GET, "timeouts", None).await.json()["source"], "configuration");
    broker.clock.advance(Duration::minutes(30));
    assert_eq!(browser.get("/guarded").await.code(), "session_idle");
}

/// Nor does damage loosen what an operator had stored, where a broker has read it.
#[tokio::test]
async fn stored_timeouts_that_are_damaged_go_on() {
    let redis = Redis::start();
    let broker = Broker::with(setup(Store::Redis(redis.port()))).await;
    put(&broker, json!({ "idle_timeout": "2m", "absolute_timeout": "1h" })).await;
    let browser = broker.signed_in().await;
    redis.command(&["SET", "counterfoil:timeouts", "nonsense"]).await;
    broker.app.sessions().administration().reload_stored_timeouts().await.unwrap();
    broker.clock.advance(Duration::minutes(3));
    assert_eq!(browser.get("/guarded").await.code(), "session_idle");
}

/// Polling does not keep a session alive.
#[tokio::test]
async fn requests_marked_as_background_do_not_extend_the_session() {
    let broker = Broker::with(setup(Store::Memory)).await;
    let browser = broker.signed_in().await;
    for _ in 0..2 {
        broker.clock.advance(Duration::minutes(14));
        let poll = browser.fetch(&format!("{PUBLIC}/guarded")).header("x-session-background", "1").send().await;
        assert_eq!(poll.status, 200);
    }
    broker.clock.advance(Duration::minutes(2));
    assert_eq!(browser.get("/guarded").await.code(), "session_idle");
}
