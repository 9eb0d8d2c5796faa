//! One suite for every store: what the traits of `SessionBackend` promise.

use std::collections::HashMap;
use std::sync::Arc;

use counterfoil::clock::{Clock, ManualClock, SystemClock};
use counterfoil::session::key::{SessionHandle, SessionKey};
use counterfoil::session::store::log::LogNumber;
use counterfoil::session::store::memory::MemoryStore;
use counterfoil::session::store::{Extension, Remains, SessionBackend};
use counterfoil::session_redis::{RedisBackend, RedisSettings};
use time::{Duration, OffsetDateTime};
use tower_sessions::session::Record;

use crate::support::child::{PATIENCE, until};
use crate::support::redis::{Redis, settings};
use crate::support::redis_cluster::Cluster;
use crate::support::redis_sentinel::Sentinels;
use crate::support::redis_tls::RedisTls;

/// A store, and a way to let time pass for it.
struct Subject {
    store: Arc<dyn SessionBackend>,
    clock: Option<Arc<ManualClock>>,
    _server: Option<Redis>,
}

impl Subject {
    fn memory() -> Self {
        let clock = ManualClock::at(SystemClock.now());
        Self { store: Arc::new(MemoryStore::new(clock.clone())), clock: Some(clock), _server: None }
    }

    fn redis() -> Self {
        let server = Redis::start();
        let subject = Self::shared(&settings(server.port()));
        Self { _server: Some(server), ..subject }
    }

    fn redis_tls() -> Self {
        Self::shared(&RedisTls::shared().settings())
    }

    fn redis_sentinel() -> Self {
        Self::shared(&Sentinels::shared().settings())
    }

    fn redis_cluster() -> Self {
        Self::shared(&Cluster::shared().settings())
    }

    /// On servers that outlive the test: every name in this suite is random.
    fn shared(settings: &RedisSettings) -> Self {
        // Long enough for a dozen servers that start on a small machine.
        let settings = RedisSettings { timeout: PATIENCE, ..settings.clone() };
        Self { store: Arc::new(RedisBackend::connect(&settings).unwrap()), clock: None, _server: None }
    }

    fn now(&self) -> OffsetDateTime {
        self.clock.as_ref().map_or_else(|| SystemClock.now(), |clock| clock.now())
    }

    /// Waits until a condition holds; the memory store's clock is moved, Redis has its own.
    async fn until(&self, mut holds: impl AsyncFnMut() -> bool) {
        until("its time has passed", async || {
            let held = holds().await;
            if let Some(clock) = self.clock.as_ref().filter(|_| !held) {
                clock.advance(Duration::milliseconds(100));
            }
            held
        })
        .await;
    }

    /// Does what has to be done within a lifetime, with a longer one if the machine was too slow for it; that lifetime.
    async fn in_time(&self, attempt: impl AsyncFn(Duration) -> bool) -> Duration {
        for lifetime in [1, 2, 4, 8, 16, 32].map(Duration::seconds) {
            if attempt(lifetime).await {
                return lifetime;
            }
        }
        panic!("it is over before its time");
    }
}

fn record(handle: SessionHandle, text: &str, expires: OffsetDateTime) -> Record {
    let data = HashMap::from([("text".to_owned(), text.into())]);
    Record { id: handle.id(), data, expiry_date: expires }
}

fn handle() -> SessionHandle {
    SessionKey::generate().handle()
}

/// Runs a check on every store.
macro_rules! on_every_store {
    ($($name:ident)*) => {
        on_every_store! { memory: $($name)* }
        on_every_store! { redis: $($name)* }
        on_every_store! { redis_tls: $($name)* }
        on_every_store! { redis_sentinel: $($name)* }
        on_every_store! { redis_cluster: $($name)* }
    };
    ($store:ident: $($name:ident)*) => {
        mod $store { $(#[tokio::test] async fn $name() { super::$name(super::Subject::$store()).await; })* }
    };
}

on_every_store! {
    a_record_is_loaded_as_it_was_created
    creating_never_overwrites
    saving_changes_what_exists_and_never_revives
    a_deleted_record_is_gone_and_deleting_twice_is_fine
    a_record_expires_by_itself
    a_watched_record_is_the_same_and_comes_with_its_note
    a_note_outlives_its_record_and_is_replaced_only_where_it_is
    ending_a_session_takes_all_of_it_and_leaves_the_tombstone
    a_tombstone_outweighs_a_record_that_somebody_puts_back
    extending_ttls_never_revives_a_record_and_never_shortens_it
    a_name_is_claimed_by_exactly_one_of_many
    a_claim_expires
    a_claim_is_prolonged_while_it_is_there_and_never_taken_up_again
    a_value_is_kept_until_it_is_removed_or_expires
    a_list_is_read_in_its_order_from_any_place
    lists_are_apart_and_expire
    a_list_is_extended_and_loses_many_members_at_a_time
    a_hash_keeps_its_fields_apart
    what_is_left_of_many_sessions_is_read_at_once
    a_log_numbers_its_entries_and_never_gives_a_number_twice
    a_log_is_read_behind_any_number
    the_store_answers
}
async fn a_record_is_loaded_as_it_was_created(subject: Subject) {
    let handle = handle();
    assert_eq!(subject.store.load(&handle.id()).await.unwrap(), None);
    let mut created = record(handle, "one", (subject.now() + Duration::HOUR).truncate_to_second());
    subject.store.create(&mut created).await.unwrap();
    assert_eq!(subject.store.load(&handle.id()).await.unwrap(), Some(created));
}

async fn creating_never_overwrites(subject: Subject) {
    let handle = handle();
    let expires = (subject.now() + Duration::HOUR).truncate_to_second();
    let mut first = record(handle, "first", expires);
    subject.store.create(&mut first).await.unwrap();
    let mut second = record(handle, "second", expires);
    // The other name is none of ours, which a user with few rights may not even create.
    let created = subject.store.create(&mut second).await;
    assert!(created.is_err() || second.id != handle.id(), "the newcomer gets another name, which its owner notices");
    assert_eq!(subject.store.load(&handle.id()).await.unwrap(), Some(first));
}

/// R-G09
async fn saving_changes_what_exists_and_never_revives(subject: Subject) {
    let handle = handle();
    let expires = (subject.now() + Duration::HOUR).truncate_to_second();
    subject.store.save(&record(handle, "never created", expires)).await.unwrap();
    assert_eq!(subject.store.load(&handle.id()).await.unwrap(), None);
    subject.store.create(&mut record(handle, "one", expires)).await.unwrap();
    let changed = record(handle, "two", expires);
    subject.store.save(&changed).await.unwrap();
    assert_eq!(subject.store.load(&handle.id()).await.unwrap(), Some(changed.clone()));
    subject.store.delete(&handle.id()).await.unwrap();
    subject.store.save(&changed).await.unwrap();
    assert_eq!(subject.store.load(&handle.id()).await.unwrap(), None);
}

async fn a_deleted_record_is_gone_and_deleting_twice_is_fine(subject: Subject) {
    let handle = handle();
    subject.store.create(&mut record(handle, "one", subject.now() + Duration::HOUR)).await.unwrap();
    for _ in 0..2 {
        subject.store.delete(&handle.id()).await.unwrap();
        assert_eq!(subject.store.load(&handle.id()).await.unwrap(), None);
    }
}

async fn a_record_expires_by_itself(subject: Subject) {
    let (short, long) = (handle(), handle());
    subject.store.create(&mut record(long, "long", subject.now() + Duration::HOUR)).await.unwrap();
    subject.store.create(&mut record(short, "short", subject.now() + Duration::seconds(2))).await.unwrap();
    subject.until(async || subject.store.load(&short.id()).await.unwrap().is_none()).await;
    assert!(subject.store.load(&long.id()).await.unwrap().is_some());
}

/// R-B03
async fn a_name_is_claimed_by_exactly_one_of_many(subject: Subject) {
    let name = format!("test:{}", handle());
    let claims: Vec<_> = (0..50)
        .map(|_| {
            let (store, name) = (subject.store.clone(), name.clone());
            tokio::spawn(async move { store.acquire(&name, Duration::MINUTE).await.unwrap() })
        })
        .collect();
    let mut winners = 0;
    for claim in claims {
        winners += usize::from(claim.await.unwrap());
    }
    assert_eq!(winners, 1);
}

async fn a_claim_expires(subject: Subject) {
    let (short, long) = (format!("test:{}", handle()), format!("test:{}", handle()));
    assert!(subject.store.acquire(&long, Duration::HOUR).await.unwrap());
    assert!(subject.store.acquire(&short, Duration::milliseconds(300)).await.unwrap());
    subject.until(async || subject.store.acquire(&short, Duration::HOUR).await.unwrap()).await;
    for name in [&short, &long] {
        assert!(!subject.store.acquire(name, Duration::HOUR).await.unwrap());
    }
}

/// R-C11
async fn a_claim_is_prolonged_while_it_is_there_and_never_taken_up_again(subject: Subject) {
    let (kept, lapsed) = (format!("test:{}", handle()), format!("test:{}", handle()));
    assert!(!subject.store.renew(&lapsed, Duration::HOUR).await.unwrap(), "nobody has it");
    subject
        .in_time(async |lifetime| {
            subject.store.release(&kept).await.unwrap();
            assert!(subject.store.acquire(&kept, lifetime).await.unwrap());
            subject.store.renew(&kept, Duration::HOUR).await.unwrap()
        })
        .await;
    assert!(subject.store.acquire(&lapsed, Duration::seconds(1)).await.unwrap());
    subject.until(async || !subject.store.renew(&lapsed, Duration::milliseconds(1)).await.unwrap()).await;
    assert!(!subject.store.acquire(&kept, Duration::HOUR).await.unwrap());
    assert!(subject.store.acquire(&lapsed, Duration::HOUR).await.unwrap());
    subject.store.release(&kept).await.unwrap();
    assert!(!subject.store.renew(&kept, Duration::HOUR).await.unwrap());
}

/// R-G09: a note cannot bring a record back.
async fn a_watched_record_is_the_same_and_comes_with_its_note(subject: Subject) {
    let handle = handle();
    let until = subject.now() + Duration::HOUR;
    let loaded = subject.store.load_watched(handle).await.unwrap();
    assert!(loaded.record.is_none() && loaded.note.is_none());
    let mut created = record(handle, "one", until.truncate_to_second());
    subject.store.create(&mut created).await.unwrap();
    subject.store.create_note(handle, b"seen \xff", until).await.unwrap();
    let loaded = subject.store.load_watched(handle).await.unwrap();
    assert_eq!(loaded.record, Some(created));
    assert_eq!(loaded.note.as_deref(), Some(&b"seen \xff"[..]));
    subject.store.delete(&handle.id()).await.unwrap();
    subject.store.save_note(handle, b"late", until, None).await.unwrap();
    assert!(subject.store.load_watched(handle).await.unwrap().record.is_none());
}

/// R-G07: so that a session whose record has expired can say why.
async fn a_note_outlives_its_record_and_is_replaced_only_where_it_is(subject: Subject) {
    let handle = handle();
    let until = subject.now() + Duration::HOUR;
    let note = async || subject.store.load_watched(handle).await.unwrap().note;
    subject.store.save_note(handle, b"late", until, None).await.unwrap();
    assert_eq!(note().await, None);
    subject.store.create_note(handle, b"first", until).await.unwrap();
    subject.store.save_note(handle, b"second", until, Some(until)).await.unwrap();
    assert!(subject.store.load(&handle.id()).await.unwrap().is_none());
    subject.store.create(&mut record(handle, "one", subject.now() + Duration::seconds(1))).await.unwrap();
    subject.store.save_note(handle, b"second", until, None).await.unwrap();
    assert_eq!(note().await.as_deref(), Some(&b"second"[..]));
    subject.until(async || subject.store.load(&handle.id()).await.unwrap().is_none()).await;
    assert_eq!(note().await.as_deref(), Some(&b"second"[..]));
    subject.store.end(handle, None).await.unwrap();
    subject.store.save_note(handle, b"late", until, None).await.unwrap();
    assert_eq!(note().await, None, "nothing is left of a session that its owner ended");
}

async fn ending_a_session_takes_all_of_it_and_leaves_the_tombstone(subject: Subject) {
    let handle = handle();
    let until = subject.now() + Duration::HOUR;
    subject.store.create(&mut record(handle, "one", until)).await.unwrap();
    subject.store.create_note(handle, b"seen", until).await.unwrap();
    assert_eq!(subject.store.tombstone(handle).await.unwrap(), None);
    assert!(subject.store.end(handle, Some((b"why", until))).await.unwrap());
    let loaded = subject.store.load_watched(handle).await.unwrap();
    assert!(loaded.record.is_none() && loaded.note.is_none());
    assert_eq!(subject.store.tombstone(handle).await.unwrap().as_deref(), Some(&b"why"[..]));
    assert!(!subject.store.end(handle, None).await.unwrap(), "nothing is ended twice");
    assert!(subject.store.tombstone(handle).await.unwrap().is_some());
}

/// R-G09: a backup that is played back, say.
async fn a_tombstone_outweighs_a_record_that_somebody_puts_back(subject: Subject) {
    let handle = handle();
    let until = subject.now() + Duration::HOUR;
    subject.store.create(&mut record(handle, "one", until)).await.unwrap();
    assert!(!subject.store.load_watched(handle).await.unwrap().is_outweighed);
    subject.store.end(handle, Some((b"why", until))).await.unwrap();
    assert!(!subject.store.load_watched(handle).await.unwrap().is_outweighed, "nothing lies there");
    subject.store.create(&mut record(handle, "one", until)).await.unwrap();
    subject.store.create_note(handle, b"seen", until).await.unwrap();
    assert_eq!(subject.store.load(&handle.id()).await.unwrap(), None);
    let loaded = subject.store.load_watched(handle).await.unwrap();
    assert!(loaded.record.is_none() && loaded.note.is_none() && loaded.is_outweighed);
    assert!(subject.store.end(handle, None).await.unwrap(), "and can be taken away");
    assert!(!subject.store.load_watched(handle).await.unwrap().is_outweighed);
    assert!(subject.store.tombstone(handle).await.unwrap().is_some());
}

/// Of records in several slots at a time.
async fn extending_ttls_never_revives_a_record_and_never_shortens_it(subject: Subject) {
    let (short, gone) = ([(); 8].map(|()| handle()), handle());
    let extend = async |handles: &[SessionHandle], until: OffsetDateTime, note: Option<OffsetDateTime>| {
        let extension = |handle: &SessionHandle| Extension { handle: *handle, record: until, note };
        let extensions: Vec<_> = handles.iter().map(extension).collect();
        subject.store.extend_ttls(&extensions).await.unwrap();
    };
    extend(&[gone], subject.now() + Duration::HOUR, Some(subject.now() + Duration::HOUR)).await;
    extend(&[], subject.now(), None).await;
    assert!(subject.store.load(&gone.id()).await.unwrap().is_none());
    let are_there = async || {
        for handle in short {
            let loaded = subject.store.load_watched(handle).await.unwrap();
            if loaded.record.is_none() || loaded.note.is_none() {
                return false;
            }
        }
        true
    };
    let lifetime = subject
        .in_time(async |lifetime| {
            let now = subject.now();
            for handle in short {
                subject.store.delete(&handle.id()).await.unwrap();
                subject.store.create(&mut record(handle, "short", now + lifetime)).await.unwrap();
                subject.store.create_note(handle, b"seen", now + lifetime).await.unwrap();
            }
            extend(&short[1..], now + Duration::HOUR, Some(now + Duration::HOUR)).await;
            let noted = subject.store.save_note(short[0], b"used", now + Duration::HOUR, Some(now + Duration::HOUR));
            noted.await.unwrap();
            extend(&short, now + Duration::seconds(1), Some(now + Duration::seconds(1))).await;
            extend(&short, now + Duration::seconds(1), None).await;
            are_there().await
        })
        .await;
    // Created later, it is over later.
    subject.store.create(&mut record(gone, "next", subject.now() + lifetime)).await.unwrap();
    subject.until(async || subject.store.load(&gone.id()).await.unwrap().is_none()).await;
    assert!(are_there().await);
}

async fn a_value_is_kept_until_it_is_removed_or_expires(subject: Subject) {
    let name = format!("test:{}", handle());
    assert_eq!(subject.store.get(&name).await.unwrap(), None);
    subject.store.put(&name, b"one", None).await.unwrap();
    subject.store.put(&name, b"two", None).await.unwrap();
    assert_eq!(subject.store.get(&name).await.unwrap().as_deref(), Some(&b"two"[..]));
    subject.store.remove(&name).await.unwrap();
    assert_eq!(subject.store.get(&name).await.unwrap(), None);
    subject.store.put(&name, b"long", Some(subject.now() + Duration::HOUR)).await.unwrap();
    assert!(subject.store.get(&name).await.unwrap().is_some());
    subject.store.put(&name, b"short", Some(subject.now() + Duration::milliseconds(300))).await.unwrap();
    subject.until(async || subject.store.get(&name).await.unwrap().is_none()).await;
}

/// R-G12
async fn a_list_is_read_in_its_order_from_any_place(subject: Subject) {
    let list = format!("test:{}", handle());
    let until = subject.now() + Duration::HOUR;
    for (member, score) in [("c", 2), ("a", 1), ("b", 2), ("d", 3), ("gone", 2)] {
        subject.store.insert(&list, member, score, until).await.unwrap();
    }
    subject.store.insert(&list, "a", 0, until).await.unwrap();
    subject.store.remove_member(&list, "gone").await.unwrap();
    subject.store.remove_member(&list, "never there").await.unwrap();
    let down = async |highest, limit| {
        let found = subject.store.down_from(&list, highest, limit).await.unwrap();
        found.iter().map(|(member, score)| format!("{member}{score}")).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(down(i64::MAX, usize::MAX).await, "d3 c2 b2 a0");
    assert_eq!(down(2, 2).await, "c2 b2");
    assert_eq!(down(-1, 10).await, "");
    assert_eq!(subject.store.up_to(&list, 2, 2).await.unwrap(), ["a", "b"]);
    assert_eq!(subject.store.length(&list).await.unwrap(), 4);
}

async fn lists_are_apart_and_expire(subject: Subject) {
    let name = format!("test:{}", handle());
    let other = |lifetime: Duration| format!("{name}:{lifetime}");
    let lifetime = subject
        .in_time(async |lifetime| {
            let (now, other) = (subject.now(), other(lifetime));
            // The longest member decides, in whichever order they come.
            for (member, score, lives) in [("member", 1, lifetime), ("long", 2, Duration::HOUR), ("short", 3, lifetime)]
            {
                subject.store.insert(&other, member, score, now + lives).await.unwrap();
            }
            subject.store.length(&other).await.unwrap() == 3
        })
        .await;
    subject.store.insert(&name, "member", 1, subject.now() + lifetime).await.unwrap();
    subject.until(async || subject.store.length(&name).await.unwrap() == 0).await;
    assert_eq!(subject.store.length(&other(lifetime)).await.unwrap(), 3);
}

async fn a_log_numbers_its_entries_and_never_gives_a_number_twice(subject: Subject) {
    let log = &format!("test:log:{}", handle());
    assert_eq!(subject.store.newest(log).await.unwrap(), None);
    let append = async |index: usize| subject.store.append(log, index.to_string().as_bytes()).await.unwrap();
    let mut numbers: Vec<_> =
        futures_util::future::join_all((0..20).map(append)).await.into_iter().map(|taken| taken.number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), 20);
    assert_eq!(subject.store.newest(log).await.unwrap(), numbers.last().copied());
    for number in &numbers {
        assert!(subject.store.delete_entry(log, *number).await.unwrap());
        assert!(!subject.store.delete_entry(log, *number).await.unwrap());
    }
    assert_eq!(subject.store.newest(log).await.unwrap(), None);
    let next = append(20).await.number;
    assert!(next > numbers[19], "{next} follows what was deleted");
    assert_eq!(subject.store.newest(log).await.unwrap(), Some(next));
}

async fn a_log_is_read_behind_any_number(subject: Subject) {
    let log = &format!("test:log:{}", handle());
    let read = async |behind| {
        let entries = subject.store.read_watched(log, behind).await.unwrap().entries;
        entries.into_iter().map(|(_, entry)| entry).collect::<Vec<_>>()
    };
    assert!(read(LogNumber::BEGINNING).await.is_empty());
    let mut numbers = Vec::new();
    for entry in [&b"one"[..], b"\xff\x00two", b"three"] {
        numbers.push(subject.store.append(log, entry).await.unwrap().number);
    }
    let all = [b"one".to_vec(), b"\xff\x00two".to_vec(), b"three".to_vec()];
    assert_eq!(read(LogNumber::BEGINNING).await, all);
    assert_eq!(read(numbers[0]).await, all[1..]);
    assert_eq!(read(numbers[2]).await, all[3..]);
    subject.store.delete_entry(log, numbers[1]).await.unwrap();
    assert_eq!(read(LogNumber::BEGINNING).await, [all[0].clone(), all[2].clone()]);
    assert_eq!(read(numbers[1]).await, all[2..]);
}

async fn the_store_answers(subject: Subject) {
    subject.store.ping().await.unwrap();
}

async fn a_list_is_extended_and_loses_many_members_at_a_time(subject: Subject) {
    let (list, gone) = (format!("test:{}", handle()), format!("test:{}", handle()));
    let members = async |list: &str| subject.store.up_to(list, i64::MAX, 10).await.unwrap();
    subject.store.extend(&gone, subject.now() + Duration::HOUR).await.unwrap();
    assert!(members(&gone).await.is_empty());
    let lifetime = subject
        .in_time(async |lifetime| {
            subject.store.clear(&list).await.unwrap();
            for member in ["a", "b", "c"] {
                subject.store.insert(&list, member, 1, subject.now() + lifetime).await.unwrap();
            }
            subject.store.extend(&list, subject.now() + Duration::HOUR).await.unwrap();
            subject.store.extend(&list, subject.now() + Duration::seconds(1)).await.unwrap();
            members(&list).await.len() == 3
        })
        .await;
    subject.store.insert(&gone, "a", 1, subject.now() + lifetime).await.unwrap();
    subject.until(async || members(&gone).await.is_empty()).await;
    subject.store.remove_members(&list, &["a".into(), "missing".into(), "c".into()]).await.unwrap();
    subject.store.remove_members(&list, &[]).await.unwrap();
    assert_eq!(members(&list).await, ["b"]);
}

async fn a_hash_keeps_its_fields_apart(subject: Subject) {
    let hash = format!("test:{}", handle());
    let fields = async || {
        let mut fields = subject.store.fields(&hash).await.unwrap();
        fields.sort();
        fields
    };
    assert!(fields().await.is_empty());
    subject.store.remove_field(&hash, "a").await.unwrap();
    assert!(subject.store.put_field_if_absent(&hash, "a", b"one \xff").await.unwrap());
    assert!(!subject.store.put_field_if_absent(&hash, "a", b"two").await.unwrap());
    subject.store.put_field(&hash, "b", b"three").await.unwrap();
    assert_eq!(fields().await, [("a".to_owned(), b"one \xff".to_vec()), ("b".to_owned(), b"three".to_vec())]);
    subject.store.put_field(&hash, "a", b"four").await.unwrap();
    subject.store.remove_field(&hash, "b").await.unwrap();
    assert_eq!(fields().await, [("a".to_owned(), b"four".to_vec())]);
}

/// In several slots, and in their order.
async fn what_is_left_of_many_sessions_is_read_at_once(subject: Subject) {
    let until = subject.now() + Duration::HOUR;
    let (live, expired, ended) = (handle(), handle(), handle());
    for live in [live, ended] {
        subject.store.create(&mut record(live, "one", until)).await.unwrap();
        subject.store.create_note(live, b"seen", until).await.unwrap();
    }
    subject.store.create_note(expired, b"last seen", until).await.unwrap();
    subject.store.end(ended, Some((b"why", until))).await.unwrap();
    let remains = |has_record, note: Option<&[u8]>, has_tombstone| Remains {
        has_record,
        note: note.map(Into::into),
        has_tombstone,
    };
    let expected = [
        (live, remains(true, Some(b"seen"), false)),
        (handle(), Remains::default()),
        (expired, remains(false, Some(b"last seen"), false)),
        (ended, remains(false, None, true)),
    ];
    let asked = expected.clone().map(|(handle, _)| handle);
    assert_eq!(subject.store.remains(&asked).await.unwrap(), expected.map(|(_, remains)| remains));
    assert!(subject.store.remains(&[]).await.unwrap().is_empty());
}
