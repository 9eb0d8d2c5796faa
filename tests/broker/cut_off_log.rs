//! Orders that end many sessions: in force at once on every replica before any record is deleted, and ordered by the
//! numbers of the log alone.

use counterfoil::session::blocks::Meant;
use http::Method;
use serde_json::json;

use crate::support::administration::{SECTION, call, revoke};
use crate::support::broker::{Broker, Setup, Store};
use crate::support::child::until;
use crate::support::redis::Redis;

const LOG: &str = "counterfoil:cut-off-log";

fn setup(redis: &Redis) -> Setup {
    Setup { store: Store::Redis(redis.port()), more: SECTION.into(), ..Setup::default() }
}

/// R-N04: the order counts although no record can be deleted, on a replica that had the sessions in its near cache too.
#[tokio::test]
async fn an_order_is_in_force_before_any_record_is_deleted() {
    let redis = Redis::start();
    let one = Broker::with(setup(&redis)).await;
    let other = one.replica(setup(&redis)).await;
    let mut finance = Vec::new();
    for subject in ["ann", "ben", "cid"] {
        let browser = one.signed_in_as(subject, &["finance"]).await;
        let moved = other.takes_over(&browser);
        assert_eq!([one.status(&browser).await, other.status(&moved).await], [200, 200]);
        finance.push((browser, moved));
    }
    let bystander = one.signed_in_as("dan", &["staff"]).await;
    redis.command(&["ACL", "SETUSER", "default", "-del", "-zrem"]).await;
    let order = json!({ "filter": { "group": "finance" }, "reason": "test", "fresh_login": false });
    let answer = call(&one, Method::POST, "revocations", Some(order)).await;
    assert_eq!(answer.status, 503, "not all could be done: {}", answer.body);
    for (browser, moved) in &finance {
        assert_eq!(one.status(browser).await, 401);
        until("the other replica has heard of it", async || other.status(moved).await == 401).await;
    }
    assert_eq!([one.status(&bystander).await, other.status(&other.takes_over(&bystander)).await], [200, 200]);
    let listed = call(&one, Method::GET, "sessions?group=finance", None).await.json();
    assert_eq!(listed["sessions"].as_array().unwrap().len(), 0, "nobody lists them as live");
    redis.command(&["ACL", "SETUSER", "default", "+@all"]).await;
    let again = one.signed_in_as("ann", &["finance"]).await;
    assert_eq!(one.status(&again).await, 200, "who comes later is not meant");
}

/// R-N04: no clock decides who came first.
#[tokio::test]
async fn logins_begun_after_a_revocation_are_not_refused_and_those_begun_before_get_nowhere() {
    let redis = Redis::start();
    let one = Broker::with(setup(&redis)).await;
    let other = one.replica(setup(&redis)).await;
    for (filter, subject) in
        [(json!({ "all": true }), "ann"), (json!({ "issuer": one.idp.issuer(), "subject": "ben" }), "ben")]
    {
        one.meets(subject, &[]);
        let mut under_way = Vec::new();
        for _ in 0..20 {
            let browser = one.browser();
            let callback = one.reach_callback(&browser, "/").await;
            under_way.push((browser, callback));
        }
        let done = revoke(&one, json!({ "filter": filter, "reason": "test", "fresh_login": false })).await;
        assert_eq!(done["replicated"], true);
        for _ in 0..20 {
            let fresh = one.signed_in().await;
            assert_eq!(one.status(&fresh).await, 200);
        }
        for (index, (browser, callback)) in under_way.into_iter().enumerate() {
            let (replica, browser) =
                if index % 2 == 0 { (&one, browser) } else { (&other, other.takes_over(&browser)) };
            assert_eq!(browser.visit(&callback).send().await.status, 403, "{subject} {index}");
            assert_eq!(replica.status(&browser).await, 401);
        }
    }
}

/// A server that took over without an order, or was emptied under a live connection, gets it again from any replica
/// that knows it.
#[tokio::test]
async fn an_order_that_was_lost_with_its_server_is_laid_down_again() {
    for is_cut in [true, false] {
        an_order_is_laid_down_again(is_cut).await;
    }
}

async fn an_order_is_laid_down_again(is_cut: bool) {
    let redis = Redis::start();
    let broker = Broker::with(setup(&redis)).await;
    let browser = broker.signed_in_as("ann", &["finance"]).await;
    redis.command(&["ACL", "SETUSER", "default", "-del"]).await;
    let order = json!({ "filter": { "group": "finance" }, "reason": "test", "block_for": "1h" });
    assert_eq!(call(&broker, Method::POST, "revocations", Some(order)).await.status, 503);
    assert_eq!(broker.status(&browser).await, 401);
    redis.command(&["ACL", "SETUSER", "default", "+@all"]).await;
    redis.command(&["DEL", LOG]).await;
    if is_cut {
        redis.command(&["CLIENT", "KILL", "TYPE", "normal"]).await;
    }
    until("it is laid down again", async || {
        // The connections may be away for a moment.
        assert!([401, 503].contains(&broker.status(&browser).await));
        redis.command(&["XLEN", LOG]).await.as_u64() > Some(0)
    })
    .await;
    let late = broker.replica(setup(&redis)).await;
    assert_eq!(late.status(&late.takes_over(&browser)).await, 401);
    let blocked = broker.browser();
    assert_eq!(broker.sign_in(&blocked, "/").await.status, 403, "the block stands as well");
}

/// The lifting of a block is heard by every replica, and leaves the order itself.
#[tokio::test]
async fn a_lifted_block_is_lifted_everywhere() {
    let redis = Redis::start();
    let one = Broker::with(setup(&redis)).await;
    let other = one.replica(setup(&redis)).await;
    one.meets("ann", &["finance"]);
    let order = |block: &str| json!({ "filter": { "group": "finance" }, "reason": "test", "block_for": block, "fresh_login": false });
    revoke(&one, order("1h")).await;
    assert_eq!(other.sign_in(&other.browser(), "/").await.status, 403);
    assert_eq!(revoke(&one, order("0s")).await["lifted"], 1);
    let answer = other.sign_in(&other.browser(), "/").await;
    assert_eq!(answer.status, 303, "{}", answer.body);
    let entries = redis.command(&["XLEN", LOG]).await.as_u64().unwrap();
    assert!(entries <= 4, "{entries} entries: what was replaced is gone");
}

/// Ticks and what is over are deleted, and the newest entry stays: its number is the clock.
#[tokio::test]
async fn the_log_is_short_again_once_everything_is_over() {
    let redis = Redis::start();
    let broker = Broker::with(setup(&redis)).await;
    for subject in ["ann", "ben", "cid"] {
        let filter = json!({ "issuer": broker.idp.issuer(), "subject": subject });
        revoke(&broker, json!({ "filter": filter, "reason": "test" })).await;
        revoke(&broker, json!({ "filter": { "group": subject }, "reason": "test", "fresh_login": false })).await;
    }
    let newest = redis.command(&["XREVRANGE", LOG, "+", "-", "COUNT", "1"]).await;
    broker.clock.advance(time::Duration::hours(13));
    broker.app.sessions().maintenance().prune().await.unwrap();
    assert_eq!(redis.command(&["XLEN", LOG]).await.as_u64(), Some(1));
    assert_eq!(redis.command(&["XREVRANGE", LOG, "+", "-", "COUNT", "1"]).await, newest);
    broker.signed_in().await;
}

/// R-N04: an order that names nobody blocks those whose sessions it ends. Whatever ends one of these first, a check or a login,
/// blocks the person in its place, or nobody would know whom to block.
#[tokio::test]
async fn whoever_asks_before_their_record_is_reached_is_blocked_all_the_same() {
    let redis = Redis::start();
    let filters = [json!({ "ip": "127.0.0.1" }), json!({ "group": "finance" })];
    for (filter, way) in filters.iter().flat_map(|filter| ["check", "login"].map(|way| (filter, way))) {
        let broker = Broker::with(setup(&redis)).await;
        let browser = broker.signed_in_as("ann", &["finance"]).await;
        // No list can be read: the order is in force, and its walk finds nobody yet.
        redis.command(&["ACL", "SETUSER", "default", "-zrange", "-zrevrange", "-zrangebyscore"]).await;
        let order = || json!({ "filter": filter, "reason": "test", "block_for": "1h", "fresh_login": false });
        assert_eq!(call(&broker, Method::POST, "revocations", Some(order())).await.status, 503);
        redis.command(&["ACL", "SETUSER", "default", "+@all"]).await;
        broker.meets("ann", &[]);
        if way == "check" {
            assert_eq!(broker.status(&browser).await, 401);
        }
        // A login ends what its browser came with.
        assert_eq!(broker.sign_in(&browser, "/").await.status, 403, "{filter} {way}");
        assert_eq!(redis.records().await.len(), 0, "{filter} {way}");
        assert_eq!(broker.sign_in(&broker.browser(), "/").await.status, 403, "{filter} {way}");
        redis.command(&["FLUSHALL"]).await;
    }
}

/// A server without memory takes no block, but would delete records. Whoever cannot be blocked keeps their session, so that
/// repeating the order finds them; who is named by the order needs none for that, and nor does an order that blocks nobody.
#[tokio::test]
async fn nobody_loses_their_session_whom_an_order_could_not_block() {
    let redis = Redis::start();
    let broker = Broker::with(setup(&redis)).await;
    for words in ["handle", "ip", "idle_longer_than", "user"] {
        let browser = broker.signed_in_as("ann", &["finance"]).await;
        let handle = broker.handle(&browser).await;
        broker.clock.advance(time::Duration::seconds(5));
        let order = || match words {
            "handle" => json!({ "handles": [handle], "reason": "test", "block_for": "1h" }),
            "ip" => json!({ "filter": { "ip": "127.0.0.1" }, "reason": "test", "block_for": "1h" }),
            "user" => {
                json!({ "filter": { "issuer": broker.idp.issuer(), "subject": "ann" }, "reason": "t", "block_for": "1h" })
            }
            _ => json!({ "filter": { "idle_longer_than": "1s" }, "reason": "test", "block_for": "1h" }),
        };
        redis.command(&["CONFIG", "SET", "maxmemory", "1"]).await;
        assert_eq!(call(&broker, Method::POST, "revocations", Some(order())).await.status, 503, "{words}");
        redis.command(&["CONFIG", "SET", "maxmemory", "0"]).await;
        // Who is named is found without a session.
        let is_named = words == "user";
        assert_eq!(broker.status(&browser).await, if is_named { 401 } else { 200 }, "{words}");
        broker.clock.advance(time::Duration::seconds(5));
        assert_eq!(revoke(&broker, order()).await["ended"], u32::from(!is_named), "{words}");
        assert_eq!(broker.status(&browser).await, 401, "{words}");
        assert_eq!(broker.sign_in(&broker.browser(), "/").await.status, 403, "{words}");
        let lift = json!({ "filter": { "issuer": broker.idp.issuer(), "subject": "ann" }, "reason": "test", "block_for": "0s" });
        revoke(&broker, lift).await;
        broker.clock.advance(time::Duration::hours(2));
    }
}

/// A server that took over may lack what an order has done, and with it that it was done: nobody lives on who was ended.
#[tokio::test]
async fn an_order_that_was_carried_out_on_a_server_that_is_gone_is_carried_out_again() {
    let redis = Redis::start();
    let broker = Broker::with(setup(&redis)).await;
    let browser = broker.signed_in_as("ann", &["finance"]).await;
    assert_eq!(redis.records().await.len(), 1);
    // As it was before the order, in another database.
    for key in redis.ask(&["KEYS", "*"]).lines() {
        redis.command(&["COPY", key, key, "DB", "1"]).await;
    }
    revoke(&broker, json!({ "filter": { "group": "finance" }, "reason": "test", "fresh_login": false })).await;
    until("the order is done", async || redis.ask(&["XRANGE", LOG, "-", "+"]).lines().count() >= 4).await;
    assert_eq!(broker.status(&browser).await, 401);
    redis.command(&["SWAPDB", "0", "1"]).await;
    redis.command(&["CLIENT", "KILL", "TYPE", "normal"]).await;
    // An unfinished walk is taken up by whoever finds it, once its lease has run out.
    until("the record is deleted again", async || {
        broker.clock.advance(time::Duration::seconds(10));
        assert!([401, 503].contains(&broker.status(&browser).await));
        redis.records().await.is_empty()
    })
    .await;
}

/// R-J02, R-J10: what ends has to end, although nobody can tell which orders there are.
#[tokio::test]
async fn what_is_to_end_ends_although_the_log_cannot_be_read() {
    let redis = Redis::start();
    let broker = Broker::with(setup(&redis)).await;
    for way in ["its owner", "a reviewer"] {
        let browser = broker.signed_in_as("ann", &["finance"]).await;
        let handle = broker.handle(&browser).await;
        redis.command(&["DEL", LOG]).await;
        redis.command(&["SET", LOG, "nonsense"]).await;
        if way == "its owner" {
            broker.app.sessions().end(handle.parse().unwrap()).await.unwrap();
        } else {
            let order = json!({ "handles": [handle], "reason": "test" });
            let answer = call(&broker, Method::POST, "revocations", Some(order)).await;
            assert_eq!(answer.status, 503, "no login under way was refused");
        }
        assert_eq!(redis.records().await.len(), 0, "{way}");
        redis.command(&["DEL", LOG]).await;
        assert_eq!(broker.status(&browser).await, 401, "{way}");
    }
}

/// The log itself refuses everybody: nothing is laid down person by person by those who ask before their record is deleted.
#[tokio::test]
async fn an_order_for_everybody_lays_nothing_on_single_persons() {
    let redis = Redis::start();
    let broker = Broker::with(setup(&redis)).await;
    let browser = broker.signed_in_as("ann", &["finance"]).await;
    // No list can be read: the order is in force, and its walk finds nobody yet.
    redis.command(&["ACL", "SETUSER", "default", "-zrange", "-zrevrange", "-zrangebyscore"]).await;
    let order = json!({ "filter": { "all": true }, "reason": "test", "block_for": "1h", "fresh_login": false });
    assert_eq!(call(&broker, Method::POST, "revocations", Some(order)).await.status, 503);
    redis.command(&["ACL", "SETUSER", "default", "+@all"]).await;
    until("its record is deleted behind an answer", async || {
        assert_eq!(broker.status(&browser).await, 401);
        redis.records().await.is_empty()
    })
    .await;
    let keys = redis.keys().await;
    assert!(!keys.iter().any(|key| key.contains("blocks") || key.contains("index:cut-off")), "{keys:?}");
    assert_eq!(broker.sign_in(&broker.browser(), "/").await.status, 403, "the order blocks all the same");
}

/// A server that took over may lack the lifting of a block, which other brokers know of.
#[tokio::test]
async fn a_block_stays_lifted_although_the_lifting_was_lost_with_its_server() {
    let redis = Redis::start();
    let broker = Broker::with(setup(&redis)).await;
    broker.meets("ann", &["finance"]);
    let order = |block: &str| json!({ "filter": { "group": "finance" }, "reason": "test", "block_for": block, "fresh_login": false });
    revoke(&broker, order("1h")).await;
    // As it was before the lifting, in another database.
    for key in redis.ask(&["KEYS", "*"]).lines() {
        redis.command(&["COPY", key, key, "DB", "1"]).await;
    }
    let meant = Meant::All;
    assert_eq!(broker.app.sessions().administration().lift_blocks(&meant).await.lifted.len(), 1);
    assert_eq!(broker.sign_in(&broker.browser(), "/").await.status, 303);
    redis.command(&["SWAPDB", "0", "1"]).await;
    redis.command(&["CLIENT", "KILL", "TYPE", "normal"]).await;
    until("whoever it meant may sign in", async || broker.sign_in(&broker.browser(), "/").await.status == 303).await;
    let late = broker.replica(setup(&redis)).await;
    assert_eq!(late.sign_in(&late.browser(), "/").await.status, 303, "also at a broker that never knew");
}

/// A log that was lost begins again with the numbers of its server's clock, which may be lower than those that sessions carry. A
/// broker that never knew the old ones notices it by the sessions.
#[tokio::test]
async fn sessions_with_numbers_of_a_log_that_was_lost_are_ended_all_the_same() {
    let redis = Redis::start();
    let broker = Broker::with(setup(&redis)).await;
    let ahead = redis.ask(&["TIME"]).lines().next().unwrap().parse::<u64>().unwrap() * 1_000 + 7_200_000;
    redis.command(&["XADD", LOG, &format!("{ahead}-1"), "e", "t"]).await;
    let browsers = [broker.signed_in_as("ann", &["finance"]).await, broker.signed_in_as("ben", &["finance"]).await];
    redis.command(&["DEL", LOG]).await;
    let late = broker.replica(setup(&redis)).await;
    let order = || json!({ "filter": { "group": "finance" }, "reason": "test", "fresh_login": false });
    let answer = call(&late, Method::POST, "revocations", Some(order())).await;
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert!(answer.body.contains("repeat the order"), "{}", answer.body);
    assert_eq!(revoke(&late, order()).await["ended"], 2);
    for browser in &browsers {
        assert_eq!([broker.status(browser).await, late.status(&late.takes_over(browser)).await], [401, 401]);
    }
    assert_eq!(late.status(&late.signed_in_as("ann", &["finance"]).await).await, 200);
}

/// R-N04: of an entry that somebody damaged nobody knows whom it names: the order stands until no session of before can live.
#[tokio::test]
async fn a_damaged_entry_lets_no_session_outlive_an_order() {
    let redis = Redis::start();
    let broker = Broker::with(setup(&redis)).await;
    let browser = broker.signed_in_as("ann", &["finance"]).await;
    let list = redis.keys().await.into_iter().find(|key| key.contains("index:all:")).unwrap();
    let entry = redis.ask(&["ZRANGE", &list, "0", "0", "WITHSCORES"]);
    let (entry, score) = entry.split_once('\n').unwrap();
    redis.command(&["ZREM", &list, entry]).await;
    redis.command(&["ZADD", &list, score.trim(), &format!("x{entry}")]).await;
    revoke(&broker, json!({ "filter": { "group": "finance" }, "reason": "test", "fresh_login": false })).await;
    broker.clock.advance(time::Duration::minutes(16));
    assert_eq!(broker.status(&browser).await, 401);
}
