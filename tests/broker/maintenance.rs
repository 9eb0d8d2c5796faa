//! The time for which Redis keeps sessions when replicas have different timeouts, and when those change.

use std::sync::Arc;
use std::time::Instant;

use counterfoil::clock::{Clock, ManualClock, SharedClock, SystemClock};
use counterfoil::identity::Identity;
use counterfoil::secret::Secret;
use counterfoil::secret::keyring::Keyring;
use counterfoil::session::establish::NewSession;
use counterfoil::session::filter::{Filter, PersonFilter};
use counterfoil::session::key::SessionHandle;
use counterfoil::session::policy::SessionRules;
use counterfoil::session::record::ClientTraits;
use counterfoil::session::revocation::{Order, Selection};
use counterfoil::session::store::memory::MemoryStore;
use counterfoil::session::store::{KeyValue, RecordStore, SessionBackend};
use counterfoil::session::timeout::Limits;
use counterfoil::session::{Check, NearCacheSettings, Sessions};
use counterfoil::session_redis::RedisBackend;
use futures_util::future;
use time::Duration;

use crate::support::child::until;
use crate::support::redis::{GIVEN_UP_AFTER, Redis, settings, unreliable};

/// A replica without a background task, whose sessions may be unused for so many minutes and live for so many hours.
fn replica(store: Arc<dyn SessionBackend>, clock: SharedClock, (idle, absolute): (i64, i64)) -> Sessions {
    let limits = Limits::new(Duration::minutes(idle), Duration::hours(absolute)).unwrap();
    let keyring = Keyring::new(vec![Secret::new([7; 32])]).unwrap();
    let near_cache = NearCacheSettings { entries: 0, max_age: std::time::Duration::ZERO };
    Sessions::new(store, &keyring, SessionRules::of(limits), near_cache, clock)
}

fn replica_on(redis: &Redis, limits: (i64, i64)) -> Sessions {
    let store = RedisBackend::connect(settings(redis.port())).unwrap();
    replica(Arc::new(store), Arc::new(SystemClock), limits)
}

/// Signs in so many people, each once.
async fn sign_in(sessions: &Sessions, people: std::ops::Range<usize>) -> Vec<SessionHandle> {
    let mut handles = Vec::new();
    for person in people {
        let identity = Identity::new("https://app.example.test", format!("person-{person}"));
        let now = sessions.reader().clock().now();
        let new = NewSession::of_the_application(identity, now, ClientTraits::default());
        handles.push(sessions.establish(new).await.unwrap().handle());
    }
    handles
}

/// Does the maintenance until nothing is left to do.
async fn settle(sessions: &Sessions) {
    until("nothing is left to do", async || sessions.maintenance().round().await.unwrap()).await;
}

/// The number of times that Redis was told to extend something since the last question.
fn extensions(redis: &Redis) -> usize {
    calls(redis, "expireat")
}

/// The number of times that Redis was given a command since the last question.
fn calls(redis: &Redis, command: &str) -> usize {
    let statistics = redis.ask(&["INFO", "commandstats"]);
    let (beginning, ask) = (format!("cmdstat_{command}:calls="), ["CONFIG", "RESETSTAT"]);
    let calls = statistics.lines().find_map(|line| line.strip_prefix(&beginning)?.split(',').next());
    redis.ask(&ask);
    calls.map_or(0, |calls| calls.parse().unwrap())
}

/// The shortest of the times that Redis keeps these keys, in minutes.
fn shortest(redis: &Redis, keys: impl Iterator<Item = String>) -> i64 {
    let left = keys.map(|key| redis.ask(&["TTL", &key]).parse::<i64>().unwrap());
    left.min().unwrap() / 60
}

/// R-G08: each replica judges by its own timeouts, the store keeps records for the longest of them, and says so once.
#[tokio::test]
async fn replicas_with_different_timeouts_do_not_rewrite_each_others_expiries() {
    const SESSIONS: usize = 100;
    let redis = Redis::start();
    let short = replica_on(&redis, (30, 10));
    let handles = sign_in(&short, 0..SESSIONS).await;
    settle(&short).await;
    let records = || handles.iter().map(ToString::to_string);
    let notes = || handles.iter().map(|handle| format!("counterfoil:seen:{{{handle}}}"));
    assert!((50..=55).contains(&shortest(&redis, records())));

    // May be unused for longer: one command a session, and nothing is opened.
    let unused = replica_on(&redis, (60, 10));
    extensions(&redis);
    settle(&unused).await;
    assert_eq!(extensions(&redis), SESSIONS);
    assert!((95..=100).contains(&shortest(&redis, records())));

    // May live for longer: notes and lists follow.
    let long = replica_on(&redis, (30, 12));
    settle(&long).await;
    assert!((3 * SESSIONS..3 * SESSIONS + 20).contains(&extensions(&redis)));
    assert!((12 * 60 + 50..=13 * 60).contains(&shortest(&redis, notes())));
    let keys = redis.keys().await;
    let lists = || keys.iter().filter(|key| key.contains(":index:")).cloned();
    assert!((12 * 60..=12 * 60 + 10).contains(&shortest(&redis, lists())));

    for _ in 0..12 {
        for sessions in [&short, &unused, &long] {
            settle(sessions).await;
        }
    }
    assert_eq!(extensions(&redis), 0, "in a minute of rounds");
    // What is created from here on is kept for all of them.
    let new = sign_in(&short, SESSIONS..SESSIONS + 3).await;
    assert!((95..=100).contains(&shortest(&redis, new.iter().map(ToString::to_string))));
    extensions(&redis);
    settle(&replica_on(&redis, (20, 8))).await;
    assert_eq!(extensions(&redis), 0, "shorter timeouts need nothing");
}

/// R-G08: 10 hours become 12, one replica after the other, and the one that extends the records dies in the middle.
#[tokio::test]
async fn a_rolling_change_of_timeouts_ends_nothing_too_early() {
    const SESSIONS: usize = 1_200;
    let redis = Redis::start();
    let old = replica_on(&redis, (30, 10));
    let mut handles = sign_in(&old, 0..SESSIONS).await;
    settle(&old).await;
    let new = replica_on(&redis, (60, 12));
    let walk = {
        let maintenance = new.maintenance();
        tokio::spawn(async move { maintenance.round().await })
    };
    let store = RedisBackend::connect(settings(redis.port())).unwrap();
    until("the leader has come far", async || store.get("upkeep:extend").await.unwrap().is_some()).await;
    walk.abort();
    assert!(walk.await.unwrap_err().is_cancelled());
    assert_eq!(redis.ask(&["EXISTS", "counterfoil:once:upkeep"]), "1", "it could not give the lease back");
    let count = "local left = 0 for _, key in ipairs(redis.call('KEYS', 'cf-*')) do \
                 if redis.call('TTL', key) < 3600 then left = left + 1 end end return left";
    let left: usize = redis.ask(&["EVAL", count, "0"]).parse().unwrap();
    assert!(!old.maintenance().round().await.unwrap(), "whoever has the lease is thought to live");
    handles.extend(sign_in(&old, SESSIONS..SESSIONS + 10).await);
    handles.extend(sign_in(&new, SESSIONS + 10..SESSIONS + 20).await);

    // Its thirty seconds are over.
    redis.ask(&["DEL", "counterfoil:once:upkeep"]);
    extensions(&redis);
    settle(&old).await;
    let extended = extensions(&redis);
    assert!((3 * left..3 * SESSIONS).contains(&extended), "{left} were left: {extended}");
    assert!((95..=100).contains(&shortest(&redis, handles.iter().map(ToString::to_string))));
    let keys = redis.keys().await;
    assert!(shortest(&redis, keys.iter().filter(|key| key.contains(":index:")).cloned()) >= 11 * 60 + 50);
    settle(&new).await;
    assert_eq!(extensions(&redis), 0);
}

/// A policy goes when no replica has named it for a day, and comes again with the next replica that has it.
#[tokio::test]
async fn policies_that_no_replica_names_are_forgotten() {
    let clock = ManualClock::at(SystemClock.now());
    let store = Arc::new(MemoryStore::new(clock.clone()));
    let registered = async || store.fields("kept").await.unwrap().len();
    let [long, short] = [(60, 12), (30, 10)].map(|limits| replica(store.clone(), clock.clone(), limits));
    settle(&long).await;
    settle(&short).await;
    assert_eq!(registered().await, 2);
    clock.advance(Duration::days(1));
    settle(&short).await;
    assert_eq!(registered().await, 2, "it was named yesterday");
    clock.advance(Duration::days(1));
    settle(&short).await;
    assert_eq!(registered().await, 1);
    settle(&long).await;
    assert_eq!(registered().await, 2);
    // Whoever can write there makes nothing last, and is no trouble to anybody.
    store.put_field("kept", "made up", b"nonsense").await.unwrap();
    clock.advance(Duration::minutes(1));
    settle(&short).await;
    assert_eq!(registered().await, 2);
}

/// R-G12: entries go soon after their records, and not only when no timeout lets them live.
#[tokio::test]
async fn entries_without_a_record_are_pruned() {
    let clock = ManualClock::at(SystemClock.now());
    let store = Arc::new(MemoryStore::new(clock.clone()));
    let sessions = replica(store.clone(), clock.clone(), (30, 12));
    sign_in(&sessions, 0..700).await;
    clock.advance(Duration::minutes(56));
    let live = sign_in(&sessions, 700..703).await;
    assert_eq!(sessions.administration().registered().await.unwrap(), 703);
    settle(&sessions).await;
    assert_eq!(sessions.administration().registered().await.unwrap(), 3);
    store.end(live[0], None).await.unwrap();
    sessions.maintenance().prune().await.unwrap();
    assert_eq!(sessions.administration().registered().await.unwrap(), 3, "its record may be on its way");
    clock.advance(Duration::minutes(11));
    sessions.maintenance().prune().await.unwrap();
    assert_eq!(sessions.administration().registered().await.unwrap(), 2);
    assert!(sessions.administration().find(live[1]).await.unwrap().is_some());
}

/// R-G12: an extension that fails each time does not keep the lists from being pruned.
#[tokio::test]
async fn what_has_no_record_is_pruned_although_records_cannot_be_extended() {
    let (redis, clock) = (Redis::start(), ManualClock::at(SystemClock.now()));
    let store = Arc::new(RedisBackend::connect(settings(redis.port())).unwrap());
    let sessions = replica(store.clone(), clock.clone(), (30, 12));
    for handle in sign_in(&sessions, 0..5).await {
        redis.ask(&["DEL", &handle.to_string()]);
    }
    clock.advance(Duration::minutes(11));
    let longer = replica(store.clone(), clock.clone(), (60, 14));
    sign_in(&longer, 5..6).await;
    redis.ask(&["ACL", "SETUSER", "default", "-expireat", "-pexpireat"]);
    assert!(longer.maintenance().round().await.is_err());
    assert_eq!(longer.administration().registered().await.unwrap(), 1);
}

/// R-G08: timeouts count when they are registered: nothing is judged by a policy that others do not keep records for.
#[tokio::test]
async fn timeouts_are_registered_before_anything_is_judged_by_them() {
    let clock = ManualClock::at(SystemClock.now());
    let store = Arc::new(MemoryStore::new(clock.clone()));
    let sessions = replica(store.clone(), clock.clone(), (30, 12));
    let key = {
        let identity = Identity::new("https://app.example.test", "person");
        let new = NewSession::of_the_application(identity, clock.now(), ClientTraits::default());
        sessions.establish(new).await.unwrap()
    };
    assert_eq!(store.fields("kept").await.unwrap().len(), 1, "by the login");
    let other = replica(store.clone(), clock.clone(), (60, 14));
    assert!(matches!(other.reader().check(&key).await.unwrap(), Check::Live(_)));
    assert_eq!(store.fields("kept").await.unwrap().len(), 2, "by the check");
}

/// However many ask for the timeouts while Redis is slow, they are read by one at a time, for all who wait.
#[tokio::test]
async fn those_who_wait_for_the_timeouts_share_one_read_of_them() {
    const ASKING: usize = 40;
    let redis = Redis::start();
    let sessions = replica_on(&redis, (30, 12));
    sign_in(&sessions, 0..1).await;
    calls(&redis, "hgetall");
    let administration = sessions.administration();
    redis.freeze();
    let asked = future::join_all((0..ASKING).map(|_| administration.reload_stored_timeouts()));
    let (answers, ()) = tokio::join!(asked, async { redis.thaw() });
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(calls(&redis, "hgetall"), 2, "the one that was under way may have missed what came since");

    let store = RedisBackend::connect(unreliable(redis.port())).unwrap();
    let administration = replica(Arc::new(store), Arc::new(SystemClock), (30, 12)).administration();
    administration.reload_stored_timeouts().await.unwrap();
    redis.freeze();
    let begun = Instant::now();
    let answers = future::join_all((0..ASKING).map(|_| administration.reload_stored_timeouts())).await;
    let waited = begun.elapsed();
    redis.thaw();
    assert!(answers.iter().all(Result::is_err));
    assert!(waited < GIVEN_UP_AFTER * 4, "a failure is for all who wait as well: {waited:?}");
}

/// One session in each of the groups a, b and c, and orders that could delete nothing yet.
struct Interrupted {
    redis: Redis,
    store: Arc<RedisBackend>,
    sessions: Sessions,
    clock: Arc<ManualClock>,
    /// The sessions, by group.
    handles: Vec<SessionHandle>,
    /// The names of the orders.
    orders: Vec<String>,
}

/// Orders the end of everybody's sessions in each of these groups, while Redis deletes nothing.
async fn interrupted(groups: &[&str]) -> Interrupted {
    let (redis, clock) = (Redis::start(), ManualClock::at(SystemClock.now()));
    let store = Arc::new(RedisBackend::connect(settings(redis.port())).unwrap());
    let sessions = replica(store.clone(), clock.clone(), (30, 12));
    let mut handles = Vec::new();
    for group in ["a", "b", "c"] {
        handles.push(sign_in_to(&sessions, group).await);
    }
    redis.ask(&["ACL", "SETUSER", "default", "-del"]);
    for group in groups {
        let person = PersonFilter { group: Some((*group).to_owned()), ..PersonFilter::default() };
        let selection = Selection::Matching(Filter { person, ..Filter::default() });
        let revoked = sessions.administration().revoke(&selection, &Order::of_the_program("test")).await;
        assert!(revoked.stands && revoked.failure.is_some());
    }
    redis.ask(&["ACL", "SETUSER", "default", "+@all"]);
    let keys = redis.keys().await.into_iter();
    let mut orders: Vec<_> =
        keys.filter_map(|key| Some(key.strip_prefix("counterfoil:once:walk:")?.to_owned())).collect();
    orders.sort();
    assert_eq!(orders.len(), groups.len());
    // Their time passes in Redis.
    redis.delete_keys(|key| key.contains("once:walk:")).await;
    Interrupted { redis, store, sessions, clock, handles, orders }
}

async fn sign_in_to(sessions: &Sessions, group: &str) -> SessionHandle {
    let mut identity = Identity::new("https://app.example.test", format!("of-{group}"));
    identity.groups = vec![group.to_owned()];
    let new = NewSession::of_the_application(identity, sessions.reader().clock().now(), ClientTraits::default());
    sessions.establish(new).await.unwrap().handle()
}

/// R-N04: one revocation that cannot be gone on with keeps neither the others nor the rest of the maintenance back.
#[tokio::test]
async fn a_revocation_that_cannot_go_on_holds_nothing_up() {
    let Interrupted { redis, store, sessions, clock, handles, orders } = interrupted(&["a", "b"]).await;
    store.put_field("kept", "made up", b"nonsense").await.unwrap();
    // Nobody gets the lease of the first one.
    let may = format!("~counterfoil:once:walk:{}", orders[1]);
    redis.ask(&[
        "ACL",
        "SETUSER",
        "default",
        "resetkeys",
        "~cf-*",
        "~counterfoil:[^o]*",
        "~counterfoil:once:[^w]*",
        &may,
    ]);
    clock.advance(Duration::seconds(31));
    sessions.maintenance().spawn();
    let is_there = async |handle: SessionHandle| store.remains(&[handle]).await.unwrap()[0].has_record;
    until("the second one is carried out", async || !is_there(handles[1]).await).await;
    until("the store is tidy", async || store.fields("kept").await.unwrap().len() == 1).await;
    assert!(is_there(handles[0]).await);
    redis.ask(&["ACL", "SETUSER", "default", "allkeys"]);
    until("the first one is carried out as well", async || !is_there(handles[0]).await).await;
    assert!(is_there(handles[2]).await);
}

/// R-N04: whoever can write to Redis cannot let a revocation skip anybody.
#[tokio::test]
async fn an_invented_checkpoint_lets_no_revocation_skip_anybody() {
    let Interrupted { redis, store, sessions, clock, handles, orders } = interrupted(&["a", "b", "c"]).await;
    let at_the_end = format!("[0,\"{}\"]", handles[0]);
    let progress = |place: &str, is_over| format!("{{\"place\":{place},\"is_in_part\":false,\"is_over\":{is_over}}}");
    let key = |order: usize| format!("counterfoil:walk:{}", orders[order]);
    redis.ask(&["SET", &key(0), &progress(&at_the_end, false)]);
    redis.ask(&["SET", &key(1), &progress("null", true)]);
    redis.ask(&["RPUSH", &key(2), "a value of another type"]);
    clock.advance(Duration::seconds(31));
    sessions.maintenance().spawn();
    until("all are carried out", async || {
        let remains = store.remains(&handles).await.unwrap();
        remains.iter().all(|remains| !remains.has_record)
    })
    .await;
    until("nothing is left of them", async || redis.keys().await.iter().all(|key| !key.contains("walk:"))).await;
}
