//! Sessions checked without a read from Redis, and refused as soon as Redis has pushed their deletion.

use std::time::Instant;

use crate::support::administration::{SECTION, revoke};
use crate::support::broker::{Broker, PUBLIC, SESSION, Setup, Store};
use crate::support::browser::Browser;
use crate::support::child::until;
use crate::support::cut_proxy::CutProxy;
use crate::support::redis::Redis;

fn setup(redis: &Redis) -> Setup {
    Setup { store: Store::Redis(redis.port()), more: SECTION.into(), ..Setup::default() }
}

/// Waits until a session is refused, which only a push can bring about: the cache would keep it for an hour.
async fn refused(broker: &Broker, browser: &Browser, why: &str) {
    until(why, async || broker.status(browser).await == 401).await;
    for _ in 0..3 {
        assert_eq!(broker.status(browser).await, 401, "{why}: from then on");
    }
}

/// R-N01: whatever deletes the record, on both replicas, without any message from a broker.
#[tokio::test]
async fn every_deletion_invalidates_all_near_caches() {
    let redis = Redis::start();
    let one = Broker::with(setup(&redis)).await;
    let other = one.replica(setup(&redis)).await;
    for command in ["DEL", "UNLINK", "EXPIRE", "PEXPIRE", "FLUSHALL", "FLUSHDB", "SET", "RENAME", "eviction"] {
        let browser = one.signed_in().await;
        let moved = other.takes_over(&browser);
        let handle = one.handle(&browser).await;
        one.served_from_memory(&browser, || redis.gets()).await;
        other.served_from_memory(&moved, || redis.gets()).await;
        match command {
            "FLUSHALL" | "FLUSHDB" => redis.command(&[command]).await,
            "EXPIRE" => redis.command(&["EXPIRE", &handle, "0"]).await,
            "PEXPIRE" => redis.command(&["PEXPIRE", &handle, "20"]).await,
            "SET" => redis.command(&["SET", &handle, "something else"]).await,
            "RENAME" => redis.command(&["RENAME", &handle, "elsewhere"]).await,
            "eviction" => {
                redis.command(&["CONFIG", "SET", "maxmemory-policy", "allkeys-random"]).await;
                redis.command(&["CONFIG", "SET", "maxmemory", "1"]).await;
                // The next write makes room, and there is nothing else to evict.
                let client = redis.client().await;
                let _: Result<(), _> = fred::interfaces::KeysInterface::set(&client, "x", "x", None, None, false).await;
                redis.command(&["CONFIG", "SET", "maxmemory", "0"]).await
            }
            _ => redis.command(&[command, &handle]).await,
        };
        refused(&one, &browser, command).await;
        refused(&other, &moved, command).await;
    }
}

/// R-N01: once the call is answered, this replica lets nobody in for a moment longer.
#[tokio::test]
async fn a_revocation_holds_here_before_it_is_answered() {
    let redis = Redis::start();
    let broker = Broker::with(setup(&redis)).await;
    for _ in 0..50 {
        let browser = broker.signed_in().await;
        let handle = broker.handle(&browser).await;
        assert_eq!(broker.status(&browser).await, 200);
        let body = serde_json::json!({ "handles": [handle], "reason": "lost laptop" });
        assert_eq!(revoke(&broker, body).await["ended"], 1);
        assert_eq!(broker.status(&browser).await, 401, "no grace");
        broker.clock.advance(time::Duration::seconds(3));
    }
}

/// R-P01: a lost tracking connection, however it is lost, invalidates everything that was read on it.
#[tokio::test]
async fn without_a_link_everything_is_asked_and_nothing_is_believed() {
    let redis = Redis::start();
    let network = CutProxy::in_front_of(([127, 0, 0, 1], redis.port()).into()).await;
    let store = Store::Unreliable(network.address().port());
    let broker = Broker::with(Setup { store, ..setup(&redis) }).await;
    for stall in [false, true] {
        let browser = broker.signed_in_after_an_outage().await;
        let handle = broker.handle(&browser).await;
        broker.served_from_memory(&browser, || redis.gets()).await;
        let cookie = browser.cookie(SESSION);
        if stall {
            network.stall();
        } else {
            network.cut();
        }
        // Behind the network that carries nothing, the record goes.
        redis.command(&["DEL", &handle]).await;
        let status = if stall {
            broker.refused_after_the_lease(&browser, Instant::now()).await
        } else {
            // A link that is closed is heard to be so while the record goes.
            broker.status(&browser).await
        };
        assert_eq!(status, 503, "an outage is not a logout, and nobody is let in");
        assert_eq!(browser.cookie(SESSION), cookie);
        network.restore();
        assert_eq!(broker.status_after_an_outage(&browser).await, 401, "a deleted session does not come back");
    }
    let browser = broker.signed_in_after_an_outage().await;
    broker.served_from_memory(&browser, || redis.gets()).await;
}

/// R-P02: Redis hangs: the cache answers for half a second, then nobody does.
#[tokio::test]
async fn a_redis_that_hangs_is_believed_for_half_a_second() {
    let redis = Redis::start();
    let broker = Broker::with(Setup { store: Store::Unreliable(redis.port()), ..setup(&redis) }).await;
    let browser = broker.signed_in_after_an_outage().await;
    assert_eq!(broker.status_after_an_outage(&browser).await, 200);
    broker.served_from_memory(&browser, || redis.gets()).await;
    redis.freeze();
    assert_eq!(broker.refused_after_the_lease(&browser, Instant::now()).await, 503);
    // Answered while Redis still hangs: waiting is bounded.
    let answer = browser.visit(&format!("{PUBLIC}/guarded")).send().await;
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, "5"));
    redis.thaw();
    assert_eq!(broker.status_after_an_outage(&browser).await, 200);
}

/// Connections killed one by one, during requests: slower, never wrong, never refused.
#[tokio::test]
async fn killed_connections_are_made_again() {
    let redis = Redis::start();
    let broker = Broker::with(setup(&redis)).await;
    let browser = broker.signed_in().await;
    let handle = broker.handle(&browser).await;
    for _ in 0..5 {
        broker.served_from_memory(&browser, || redis.gets()).await;
        redis.command(&["CLIENT", "KILL", "TYPE", "normal"]).await;
        assert_eq!(broker.status_after_an_outage(&browser).await, 200);
    }
    broker.served_from_memory(&browser, || redis.gets()).await;
    redis.command(&["DEL", &handle]).await;
    refused(&broker, &browser, "after all that").await;
}

/// A server keeps the tracked keys in a table, absent records too: forged keys are not tracked, and neither are uses.
#[tokio::test]
async fn the_server_registers_what_is_cached_and_nothing_else() {
    let redis = Redis::start();
    let broker = Broker::with(setup(&redis)).await;
    let browser = broker.signed_in().await;
    let handle = broker.handle(&browser).await;
    broker.served_from_memory(&browser, || redis.gets()).await;
    let registered = async || {
        let statistics: String = redis.command(&["INFO", "stats"]).await.convert().unwrap();
        let line = statistics.lines().find_map(|line| line.strip_prefix("tracking_total_keys:")).unwrap().to_owned();
        line.parse::<u64>().unwrap()
    };
    let clients: String = redis.command(&["CLIENT", "LIST"]).await.convert().unwrap();
    let is_tracking = |line: &&str| line.contains("flags=") && line.contains("resp=3");
    let link = clients.lines().find(is_tracking).unwrap();
    assert!(link.contains("flags=t "), "tracked, and not by broadcast: {link}");
    assert_eq!(registered().await, 2, "the record, and the log of orders");
    for number in 0..200_u32 {
        let stranger = broker.browser();
        stranger.plant("app.example.test", SESSION, &format!("{number:064}"));
        assert_eq!(broker.status(&stranger).await, 401);
    }
    assert_eq!(registered().await, 2);
    redis.command(&["SET", &format!("counterfoil:seen:{{{handle}}}"), "a use", "KEEPTTL"]).await;
    broker.served_from_memory(&browser, || redis.gets()).await;
    redis.command(&["DEL", &handle]).await;
    refused(&broker, &browser, "registered all the same").await;
}

/// A table that is too small costs reads, and nothing else.
#[tokio::test]
async fn a_full_table_is_told_of() {
    let redis = Redis::start();
    redis.command(&["CONFIG", "SET", "tracking-table-max-keys", "1"]).await;
    let broker = Broker::with(setup(&redis)).await;
    let mut people = Vec::new();
    for _ in 0..5 {
        let browser = broker.signed_in().await;
        let handle = broker.handle(&browser).await;
        assert_eq!(broker.status(&browser).await, 200);
        people.push((browser, handle));
    }
    for (browser, handle) in people {
        assert_eq!(broker.status(&browser).await, 200);
        redis.command(&["DEL", &handle]).await;
        refused(&broker, &browser, "the table was full").await;
    }
}

/// Redis says no to some commands and yes to others: tracking is one of them.
#[tokio::test]
async fn without_tracking_every_request_reads_the_store() {
    for command in ["-client|tracking", "-client|caching"] {
        without(command).await;
    }
}

async fn without(command: &str) {
    let redis = Redis::start();
    let broker = Broker::with(setup(&redis)).await;
    redis.command(&["ACL", "SETUSER", "default", command]).await;
    redis.command(&["CLIENT", "KILL", "TYPE", "normal"]).await;
    let browser = broker.signed_in_after_an_outage().await;
    let handle = broker.handle(&browser).await;
    redis.command(&["CONFIG", "SET", "slowlog-log-slower-than", "0"]).await;
    for _ in 0..20 {
        redis.command(&["SLOWLOG", "RESET"]).await;
        assert_eq!(broker.status(&browser).await, 200);
        assert!(
            format!("{:?}", redis.command(&["SLOWLOG", "GET", "-1"]).await).contains(&handle),
            "served from memory"
        );
    }
    redis.command(&["DEL", &handle]).await;
    assert_eq!(broker.status(&browser).await, 401);
}

#[tokio::test]
async fn the_near_cache_can_be_turned_off() {
    let redis = Redis::start();
    let broker = Broker::with(Setup { near_cache_entries: 0, ..setup(&redis) }).await;
    let browser = broker.signed_in().await;
    let handle = broker.handle(&browser).await;
    let clients: String = redis.command(&["CLIENT", "LIST"]).await.convert().unwrap();
    assert!(!clients.contains("resp=3"), "nobody listens: {clients}");
    redis.command(&["DEL", &handle]).await;
    assert_eq!(broker.status(&browser).await, 401);
}

/// A thousand sessions in a cache for few: bounded, and right for all of them.
#[tokio::test]
async fn more_sessions_than_fit_are_served_all_the_same() {
    let redis = Redis::start();
    let broker = Broker::with(Setup { near_cache_entries: 64, ..setup(&redis) }).await;
    let mut browsers = Vec::new();
    for _ in 0..200 {
        browsers.push(broker.signed_in().await);
    }
    for _ in 0..2 {
        for browser in &browsers {
            assert_eq!(broker.status(browser).await, 200);
        }
    }
}
