//! One suite for every store: what `SessionBackend` promises.

use std::collections::HashMap;
use std::sync::Arc;

use counterfoil::clock::{Clock, ManualClock, SystemClock};
use counterfoil::session::key::{SessionHandle, SessionKey};
use counterfoil::session::registry::Index;
use counterfoil::session::store::SessionBackend;
use counterfoil::session::store::memory::MemoryStore;
use counterfoil::session::store::redis::RedisBackend;
use time::{Duration, OffsetDateTime};
use tower_sessions::session::Record;

use crate::support::redis::{Redis, settings};

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
        let store = RedisBackend::connect(&settings(server.port())).unwrap();
        Self { store: Arc::new(store), clock: None, _server: Some(server) }
    }

    fn now(&self) -> OffsetDateTime {
        self.clock.as_ref().map_or_else(|| SystemClock.now(), |clock| clock.now())
    }

    /// Waits until a condition holds; the memory store's clock is moved, Redis has its own.
    async fn until(&self, mut holds: impl AsyncFnMut() -> bool) {
        for _ in 0..500 {
            if holds().await {
                return;
            }
            match &self.clock {
                Some(clock) => clock.advance(Duration::milliseconds(20)),
                None => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
            }
        }
        panic!("it never came about");
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
        mod memory { $(#[tokio::test] async fn $name() { super::$name(super::Subject::memory()).await; })* }
        mod redis { $(#[tokio::test] async fn $name() { super::$name(super::Subject::redis()).await; })* }
    };
}

on_every_store! {
    a_record_is_loaded_as_it_was_created
    creating_never_overwrites
    saving_changes_what_exists_and_never_revives
    a_deleted_record_is_gone_and_deleting_twice_is_fine
    a_record_expires_by_itself
    a_name_is_claimed_by_exactly_one_of_many
    a_claim_expires
    an_index_lists_what_lives_and_forgets_the_rest
    indexes_are_apart
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
    subject.store.create(&mut second).await.unwrap();
    assert_ne!(second.id, handle.id(), "the newcomer gets another name, which its owner notices");
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
    let handle = handle();
    subject.store.create(&mut record(handle, "one", subject.now() + Duration::seconds(2))).await.unwrap();
    assert!(subject.store.load(&handle.id()).await.unwrap().is_some());
    subject.until(async || subject.store.load(&handle.id()).await.unwrap().is_none()).await;
}

/// R-B03
async fn a_name_is_claimed_by_exactly_one_of_many(subject: Subject) {
    let name = format!("test:{}", handle());
    let claims: Vec<_> = (0..50)
        .map(|_| {
            let (store, name) = (subject.store.clone(), name.clone());
            tokio::spawn(async move { store.claim_once(&name, Duration::MINUTE).await.unwrap() })
        })
        .collect();
    let mut winners = 0;
    for claim in claims {
        winners += usize::from(claim.await.unwrap());
    }
    assert_eq!(winners, 1);
}

async fn a_claim_expires(subject: Subject) {
    let name = format!("test:{}", handle());
    assert!(subject.store.claim_once(&name, Duration::milliseconds(300)).await.unwrap());
    assert!(!subject.store.claim_once(&name, Duration::milliseconds(300)).await.unwrap());
    subject.until(async || subject.store.claim_once(&name, Duration::MINUTE).await.unwrap()).await;
}

/// R-G12
async fn an_index_lists_what_lives_and_forgets_the_rest(subject: Subject) {
    let index = Index::subject("issuer", &handle().to_string());
    let now = subject.now();
    let (short, long, removed) = (handle(), handle(), handle());
    for (handle, minutes) in [(long, 60), (short, 1), (removed, 30)] {
        subject.store.index_insert(&index, handle, now + Duration::minutes(minutes), now).await.unwrap();
    }
    subject.store.index_remove(&index, removed).await.unwrap();
    assert_eq!(subject.store.index_list(&index, now).await.unwrap(), [short, long]);
    assert_eq!(subject.store.index_list(&index, now + Duration::minutes(2)).await.unwrap(), [long]);
    subject.store.index_insert(&index, long, now + Duration::hours(2), now).await.unwrap();
    assert_eq!(subject.store.index_list(&index, now + Duration::minutes(90)).await.unwrap(), [long]);
    assert_eq!(subject.store.index_list(&index, now + Duration::hours(3)).await.unwrap(), []);
}

async fn indexes_are_apart(subject: Subject) {
    let (one, other) = (Index::subject("i", "one"), Index::provider_session("i", "one"));
    let handle = handle();
    let now = subject.now();
    subject.store.index_insert(&one, handle, now + Duration::MINUTE, now).await.unwrap();
    assert!(!subject.store.index_list(&other, now).await.unwrap().contains(&handle));
    assert!(subject.store.index_list(&one, now).await.unwrap().contains(&handle));
}

async fn the_store_answers(subject: Subject) {
    subject.store.ping().await.unwrap();
}
