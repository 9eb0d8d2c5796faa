//! What ends stays ended: everything that can be in flight, against everything that ends sessions, in loops of
//! thousands, on two replicas.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration as StdDuration, Instant};

use counterfoil::session::key::SessionKey;
use counterfoil::session::store::{Extension, SessionBackend};
use counterfoil::session_redis::RedisBackend;
use http::Method;
use serde_json::json;
use time::{Duration, OffsetDateTime};
use tower_sessions::session::Record;

use crate::support::administration::{SECTION, call, call_from};
use crate::support::broker::{Broker, SESSION, Setup, Store};
use crate::support::browser::Browser;
use crate::support::child::until;
use crate::support::house::House;
use crate::support::redis::{Redis, settings};
use crate::support::scripted_idp::{Script, ScriptedIdp, set};

/// R-G09: late saves, late notes and prolongations of one replica against the end by another.
#[tokio::test(flavor = "multi_thread")]
async fn no_late_write_brings_a_record_back() {
    let redis = Redis::start();
    let stores: [Arc<dyn SessionBackend>; 2] =
        [0, 1].map(|_| Arc::new(RedisBackend::connect(settings(redis.port())).unwrap()) as Arc<dyn SessionBackend>);
    let expires = OffsetDateTime::from_unix_timestamp(4_000_000_000).unwrap();
    for round in 0..2_000 {
        let handle = SessionKey::generate().handle();
        let data = HashMap::from([("text".to_owned(), "x".into())]);
        let mut record = Record { id: handle.id(), data, expiry_date: expires };
        stores[0].create(&mut record).await.unwrap();
        let (late, later) = (stores[round % 2].clone(), expires + Duration::HOUR);
        let writes = tokio::spawn(async move {
            for _ in 0..3 {
                late.save(&record).await.unwrap();
                late.save_note(handle, b"seen", expires, Some(later)).await.unwrap();
                late.extend_ttls(&[Extension { handle, record: later, note: Some(later) }]).await.unwrap();
            }
        });
        let ended = if round % 3 == 0 {
            stores[0].delete(&handle.id()).await.map(|()| true).unwrap()
        } else {
            stores[(round + 1) % 2].end(handle, Some((b"why", expires))).await.unwrap()
        };
        assert!(ended, "round {round}");
        writes.await.unwrap();
        assert_eq!(stores[0].load(&handle.id()).await.unwrap(), None, "round {round}");
    }
}

/// Makes the provider answer for another person from now on; returns their name.
fn somebody_new(idp: &ScriptedIdp, round: impl std::fmt::Display) -> String {
    let subject = format!("person-{round}");
    let claims = set(json!({ "sub": subject, "sid": subject }));
    idp.behave(Script { id_token_claims: claims, userinfo: set(json!({ "sub": subject })), ..Script::default() });
    subject
}

async fn guarded(browser: &Browser) -> u16 {
    browser.get("/guarded").await.status.as_u16()
}

/// R-N04: a callback on one process, a revocation on the other, at the same time: whichever comes first, there is no
/// session in the end.
#[tokio::test(flavor = "multi_thread")]
async fn callbacks_and_revocations_race_and_the_revocation_wins() {
    let house = House::start(SECTION, 2).await;
    let (mut overtaken, mut ended) = (0, 0);
    let reviewer = house.browser(1);
    // What a callback takes here.
    let mut takes = StdDuration::ZERO;
    for round in 0..1_000_u32 {
        let subject = somebody_new(&house.idp, round);
        let browser = house.browser(0);
        let callback = house.reach_callback(&browser).await;
        let finish = async {
            let begun = Instant::now();
            (browser.visit(&callback).send().await.status.as_u16(), begun.elapsed())
        };
        let filter = match round % 3 {
            0 => json!({ "issuer": house.idp.issuer(), "subject": subject }),
            1 => json!({ "issuer": house.idp.issuer(), "subject": subject, "idp": "company" }),
            _ => json!({ "subject": subject }),
        };
        let body = json!({ "filter": filter, "reason": "race", "fresh_login": false });
        let revoke = call_from(&reviewer, Method::POST, "revocations", Some(body));
        // Before the callback, earlier and later in it, and after it, round by round.
        let (revoked, (status, took)) = match round % 50 {
            0 => (revoke.await, finish.await),
            49 => {
                let finished = finish.await;
                (revoke.await, finished)
            }
            later => {
                let revoke = async {
                    // The phase shift between the two is what is tried: each round meets the callback later.
                    tokio::time::sleep(takes * later / 49).await;
                    revoke.await
                };
                tokio::join!(revoke, finish)
            }
        };
        takes = took;
        assert_eq!(revoked.status, 200, "{}", revoked.body);
        ended += u32::from(revoked.json()["ended"] == 1);
        match status {
            303 => {}
            403 => overtaken += 1,
            other => panic!("{other}"),
        }
        assert_eq!(guarded(&browser).await, 401, "round {round}: let in after the revocation");
        assert_eq!(guarded(&house.takes_over(1, &browser)).await, 401, "round {round}: let in by the other process");
    }
    assert!(overtaken > 0 && ended > 0, "both orders were tried: {overtaken} refused, {ended} ended");
    assert_eq!(house.redis.records().await, [] as [String; 0]);
}

/// R-N01, R-N04: of an end by another process the tombstone came through and the deletion did not. The session is served
/// from memory until the order is repeated, in whichever words; then it is refused for good.
#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_that_came_half_through_is_brought_to_its_end_by_repeating_it() {
    let house = House::start(SECTION, 2).await;
    for (round, selected_by) in ["handle", "user", "issuer and subject", "group", "all"].into_iter().enumerate() {
        let subject = somebody_new(&house.idp, format!("{round}"));
        let browser = house.signed_in(0).await;
        let session = browser.session().await;
        let handle = session["session"]["handle"].as_str().unwrap();
        assert_eq!(guarded(&browser).await, 200);
        let tombstone = format!("counterfoil:tombstone:{{{handle}}}");
        house.redis.command(&["SET", &tombstone, "x", "EX", "3600"]).await;
        let mut body = match selected_by {
            "handle" => json!({ "handles": [handle] }),
            "user" => json!({ "filter": { "user": subject } }),
            "issuer and subject" => json!({ "filter": { "issuer": house.idp.issuer(), "subject": subject } }),
            "group" => json!({ "filter": { "group": "staff" } }),
            _ => json!({ "filter": { "all": true } }),
        };
        body["reason"] = "again".into();
        body["fresh_login"] = false.into();
        let revoked = call_from(&house.browser(1), Method::POST, "revocations", Some(body)).await;
        assert_eq!(revoked.status, 200, "{}", revoked.body);
        until("it is deleted", async || house.redis.command(&["EXISTS", handle]).await.as_i64() == Some(0)).await;
        until("the other process has heard of it", async || guarded(&browser).await == 401).await;
        assert_eq!(house.redis.command(&["EXISTS", &tombstone]).await.as_i64(), Some(1), "{selected_by}");
    }
}

/// R-G09, R-N04: requests that note their use on both replicas, while the session is revoked by either.
#[tokio::test(flavor = "multi_thread")]
async fn requests_and_revocations_race_and_the_revocation_wins() {
    let redis = Redis::start();
    let setup = || Setup { store: Store::Redis(redis.port()), more: SECTION.into(), ..Setup::default() };
    let one = Broker::with(setup()).await;
    let other = one.replica(setup()).await;
    let replicas = [one, other];
    for round in 0..20 {
        let mut sessions = Vec::new();
        for _ in 0..25 {
            let replica = &replicas[round % 2];
            let browser = replica.signed_in().await;
            let handle = replica.handle(&browser).await;
            sessions.push((browser, handle));
        }
        // A use is noted once a minute.
        replicas[0].clock.advance(Duration::minutes(2));
        let busy: Vec<_> = sessions
            .iter()
            .flat_map(|(browser, _)| replicas.each_ref().map(|replica| replica.takes_over(browser)))
            .map(|browser| {
                tokio::spawn(async move {
                    let mut statuses = Vec::new();
                    for _ in 0..4 {
                        statuses.push(guarded(&browser).await);
                    }
                    statuses
                })
            })
            .collect();
        let handles: Vec<_> = sessions.iter().map(|(_, handle)| handle).collect();
        let body = json!({ "handles": handles, "reason": "race", "fresh_login": false });
        let revoked = call(&replicas[(round + 1) % 2], Method::POST, "revocations", Some(body)).await;
        assert_eq!(revoked.json()["ended"], 25, "{}", revoked.body);
        for requests in busy {
            let statuses = requests.await.unwrap();
            assert!(statuses.is_sorted(), "once refused, always refused: {statuses:?}");
        }
        for (browser, _) in &sessions {
            assert!(browser.cookie(SESSION).is_some());
            for replica in &replicas {
                let browser = replica.takes_over(browser);
                until("the other replica has heard of it", async || guarded(&browser).await == 401).await;
                assert_eq!(guarded(&browser).await, 401, "round {round}");
            }
        }
        // The next round's people begin their logins after the cut-off, whatever the clocks say.
        somebody_new(&replicas[0].idp, round);
    }
    assert_eq!(redis.records().await, [] as [String; 0]);
}
