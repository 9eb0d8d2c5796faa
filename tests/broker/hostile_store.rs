//! What somebody else put into Redis: records that were ended and came back, values of any size. Found by trying a
//! `RESTORE` and a record of 50 MB; the members beside them are every key that a request reads.

use crate::support::administration::{SECTION, revoke};
use crate::support::broker::{Broker, Setup, Store};
use crate::support::browser::Browser;
use crate::support::child::until;
use crate::support::redis::Redis;

/// Far beyond any value of ours, in bytes.
const HUGE: u64 = 50_000_000;
/// What a request may make Redis send, in bytes.
const MOST_SENT: u64 = 10_000_000;

async fn broker_on(redis: &Redis, near_cache_entries: u32) -> Broker {
    let setup =
        Setup { store: Store::Redis(redis.port()), near_cache_entries, more: SECTION.into(), ..Setup::default() };
    Broker::with(setup).await
}

async fn end(broker: &Broker, handle: &str) {
    let body = serde_json::json!({ "handles": [handle], "reason": "lost laptop" });
    assert_eq!(revoke(broker, body).await["ended"], 1);
}

/// Puts a copy of a record where it was, however that is done.
fn put_back(redis: &Redis, handle: &str, by: &str) {
    match by {
        "RESTORE" => {
            let port = redis.port().to_string();
            let script = format!(
                "redis-cli -p {port} --raw DUMP kept | head -c -1 | redis-cli -p {port} -x RESTORE {handle} 3600000"
            );
            let done = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
            assert!(String::from_utf8_lossy(&done.stdout).contains("OK"), "{done:?}");
        }
        _ => assert_eq!(redis.ask(&[by, "kept", handle]), if by == "RENAME" { "OK" } else { "1" }),
    }
}

#[tokio::test]
async fn a_revoked_session_stays_dead_when_its_record_is_put_back() {
    let redis = Redis::start();
    for near_cache_entries in [1_000, 0] {
        let broker = broker_on(&redis, near_cache_entries).await;
        for by in ["RESTORE", "COPY", "RENAME"] {
            let browser = broker.signed_in().await;
            let handle = broker.handle(&browser).await;
            assert_eq!(broker.status(&browser).await, 200);
            assert_eq!(redis.ask(&["COPY", &handle, "kept", "REPLACE"]), "1");
            end(&broker, &handle).await;
            assert_eq!(broker.status(&browser).await, 401);
            put_back(&redis, &handle, by);
            for _ in 0..3 {
                let answer = browser.fetch("https://app.example.test/guarded").send().await;
                assert_eq!((answer.status.as_u16(), answer.code().as_str()), (401, "session_revoked"), "{by}");
            }
            broker.clock.advance(time::Duration::seconds(3));
        }
    }
}

/// How much a server has sent so far, in bytes.
fn sent(redis: &Redis) -> u64 {
    let statistics = redis.ask(&["INFO", "stats"]);
    let sent = statistics.lines().find_map(|line| line.strip_prefix("total_net_output_bytes:")).unwrap();
    sent.trim().parse().unwrap()
}

#[tokio::test]
async fn no_value_is_read_further_than_one_of_ours_can_be_long() {
    let redis = Redis::start();
    for near_cache_entries in [1_000, 0] {
        let broker = broker_on(&redis, near_cache_entries).await;
        for (key, status) in [
            ("{handle}", 401),
            ("counterfoil:seen:{{handle}}", 200),
            // Nothing of this tells a near cache: only a record that goes does.
            ("counterfoil:tombstone:{{handle}}", if near_cache_entries == 0 { 401 } else { 200 }),
            ("counterfoil:timeouts", 200),
        ] {
            let browser: Browser = broker.signed_in().await;
            assert_eq!(broker.status(&browser).await, 200);
            let key = key.replace("{handle}", &broker.handle(&browser).await);
            redis.ask(&["SETRANGE", &key, &HUGE.to_string(), "x"]);
            until("it is known here", async || broker.status(&browser).await == status).await;
            let (before, asked) = (sent(&redis), 5);
            for _ in 0..asked {
                assert_eq!(broker.status(&browser).await, status, "{key}");
            }
            // Other readers in the meantime account for a few more requests.
            let sent = sent(&redis) - before;
            assert!(sent < (asked + 5) * MOST_SENT, "{key}: {sent} bytes");
            redis.ask(&["DEL", &key]);
        }
    }
}
