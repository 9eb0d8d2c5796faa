//! Sessions in this process alone: for the demo and for tests. Gone with the process, unknown to replicas.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, Weak};

use async_trait::async_trait;
use counterfoil_core::clock::SharedClock;
use time::{Duration, OffsetDateTime};
use tower_sessions::SessionStore;
use tower_sessions::session::{Id, Record};
use tower_sessions::session_store;

use super::log::{Appended, LogNumber, LogRead};
use super::{Extension, InvalidationListener, Loaded, Remains, SessionBackend, StoreError};
use crate::key::SessionHandle;

/// Writes between two sweeps of what has expired: keeps memory bounded by what is live.
const WRITES_PER_SWEEP: u32 = 256;

/// A store in memory.
pub struct MemoryStore {
    clock: SharedClock,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    records: HashMap<Id, Record>,
    /// Claims, notes, tombstones and values, by kind and name.
    values: HashMap<(Kind, String), (Vec<u8>, Option<OffsetDateTime>)>,
    lists: HashMap<String, List>,
    hashes: HashMap<String, HashMap<String, Vec<u8>>>,
    logs: HashMap<String, Log>,
    writes_since_sweep: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Claim,
    Note,
    Tombstone,
    Value,
}

#[derive(Default)]
struct Log {
    newest: LogNumber,
    entries: BTreeMap<LogNumber, Vec<u8>>,
}

struct List {
    members: HashMap<String, i64>,
    order: BTreeSet<(i64, String)>,
    until: OffsetDateTime,
}

impl State {
    fn sweep_now_and_then(&mut self, now: OffsetDateTime) {
        self.writes_since_sweep += 1;
        if self.writes_since_sweep < WRITES_PER_SWEEP {
            return;
        }
        self.writes_since_sweep = 0;
        self.records.retain(|_, record| record.expiry_date > now);
        self.values.retain(|_, (_, until)| until.is_none_or(|until| until > now));
        self.lists.retain(|_, list| list.until > now && !list.members.is_empty());
    }

    fn value(&self, kind: Kind, name: &str, now: OffsetDateTime) -> Option<Vec<u8>> {
        let (value, until) = self.values.get(&(kind, name.to_owned()))?;
        until.is_none_or(|until| until > now).then(|| value.clone())
    }

    fn set_value(&mut self, kind: Kind, name: &str, value: &[u8], until: Option<OffsetDateTime>) {
        self.values.insert((kind, name.to_owned()), (value.to_vec(), until));
    }

    fn extend_record(&mut self, handle: SessionHandle, until: OffsetDateTime, now: OffsetDateTime) {
        if let Some(record) = self.records.get_mut(&handle.id()).filter(|record| record.expiry_date > now) {
            record.expiry_date = record.expiry_date.max(until);
        }
    }

    fn list(&self, name: &str, now: OffsetDateTime) -> Option<&List> {
        self.lists.get(name).filter(|list| list.until > now)
    }
}

impl MemoryStore {
    /// An empty store; `clock` decides what has expired.
    pub fn new(clock: SharedClock) -> Self {
        Self { clock, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change below is complete or not begun when it can panic, so a poisoned lock is sound.
        counterfoil_core::lock(&self.state)
    }

    fn lock_to_write(&self) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        state.sweep_now_and_then(self.clock.now());
        state
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("MemoryStore").finish_non_exhaustive()
    }
}

#[async_trait]
impl SessionStore for MemoryStore {
    async fn create(&self, record: &mut Record) -> session_store::Result<()> {
        let now = self.clock.now();
        let mut state = self.lock_to_write();
        while state.records.get(&record.id).is_some_and(|existing| existing.expiry_date > now) {
            record.id = Id::default();
        }
        state.records.insert(record.id, record.clone());
        Ok(())
    }

    async fn save(&self, record: &Record) -> session_store::Result<()> {
        let now = self.clock.now();
        let mut state = self.lock_to_write();
        if let Some(existing) = state.records.get_mut(&record.id).filter(|existing| existing.expiry_date > now) {
            *existing = record.clone();
        }
        Ok(())
    }

    async fn load(&self, id: &Id) -> session_store::Result<Option<Record>> {
        let (now, state) = (self.clock.now(), self.lock());
        if state.value(Kind::Tombstone, &id.to_string(), now).is_some() {
            return Ok(None);
        }
        Ok(state.records.get(id).filter(|record| record.expiry_date > now).cloned())
    }

    async fn delete(&self, id: &Id) -> session_store::Result<()> {
        self.lock_to_write().records.remove(id);
        Ok(())
    }
}

#[async_trait]
impl SessionBackend for MemoryStore {
    async fn load_watched(&self, handle: SessionHandle) -> Result<Loaded, StoreError> {
        let record = self.load(&handle.id()).await?;
        let (now, state) = (self.clock.now(), self.lock());
        let has_tombstone = state.value(Kind::Tombstone, &handle.to_string(), now).is_some();
        let note = state.value(Kind::Note, &handle.to_string(), now).filter(|_| !has_tombstone);
        let lies_there = state.records.get(&handle.id()).is_some_and(|record| record.expiry_date > now);
        let is_outweighed = lies_there && has_tombstone;
        // Asking this store costs no more than asking a cache.
        Ok(Loaded { record, is_outweighed, note, ..Loaded::default() })
    }

    fn subscribe(&self, _listener: Weak<dyn InvalidationListener>) {}

    async fn create_note(&self, handle: SessionHandle, note: &[u8], until: OffsetDateTime) -> Result<(), StoreError> {
        self.lock_to_write().set_value(Kind::Note, &handle.to_string(), note, Some(until));
        Ok(())
    }

    async fn save_note(
        &self,
        handle: SessionHandle,
        note: &[u8],
        until: OffsetDateTime,
        record: Option<OffsetDateTime>,
    ) -> Result<(), StoreError> {
        let (now, name) = (self.clock.now(), handle.to_string());
        let mut state = self.lock_to_write();
        if state.value(Kind::Note, &name, now).is_some() {
            state.set_value(Kind::Note, &name, note, Some(until));
        }
        if let Some(record) = record {
            state.extend_record(handle, record, now);
        }
        Ok(())
    }

    async fn end(&self, handle: SessionHandle, tombstone: Option<(&[u8], OffsetDateTime)>) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let mut state = self.lock_to_write();
        if let Some((tombstone, until)) = tombstone {
            state.set_value(Kind::Tombstone, &handle.to_string(), tombstone, Some(until));
        }
        state.values.remove(&(Kind::Note, handle.to_string()));
        Ok(state.records.remove(&handle.id()).is_some_and(|record| record.expiry_date > now))
    }

    async fn tombstone(&self, handle: SessionHandle) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.lock().value(Kind::Tombstone, &handle.to_string(), self.clock.now()))
    }

    async fn extend_ttls(&self, extensions: &[Extension]) -> Result<(), StoreError> {
        let now = self.clock.now();
        let mut state = self.lock_to_write();
        for Extension { handle, record, note } in extensions {
            state.extend_record(*handle, *record, now);
            if let Some((_, until)) = state.values.get_mut(&(Kind::Note, handle.to_string())) {
                *until = (*until).max(*note);
            }
        }
        Ok(())
    }

    async fn remains(&self, handles: &[SessionHandle]) -> Result<Vec<Remains>, StoreError> {
        let (now, state) = (self.clock.now(), self.lock());
        let remains = |handle: &SessionHandle| Remains {
            has_record: state.records.get(&handle.id()).is_some_and(|record| record.expiry_date > now),
            note: state.value(Kind::Note, &handle.to_string(), now),
            has_tombstone: state.value(Kind::Tombstone, &handle.to_string(), now).is_some(),
        };
        Ok(handles.iter().map(remains).collect())
    }

    async fn put_if_absent(&self, name: &str, lifetime: Duration) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let mut state = self.lock_to_write();
        let is_free = state.value(Kind::Claim, name, now).is_none();
        if is_free {
            state.set_value(Kind::Claim, name, &[], Some(now + lifetime));
        }
        Ok(is_free)
    }

    async fn renew_lease(&self, name: &str, lifetime: Duration) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let mut state = self.lock_to_write();
        let is_taken = state.value(Kind::Claim, name, now).is_some();
        if is_taken {
            state.set_value(Kind::Claim, name, &[], Some(now + lifetime));
        }
        Ok(is_taken)
    }

    async fn release_lease(&self, name: &str) -> Result<(), StoreError> {
        self.lock_to_write().values.remove(&(Kind::Claim, name.to_owned()));
        Ok(())
    }

    async fn put(&self, name: &str, value: &[u8], until: Option<OffsetDateTime>) -> Result<(), StoreError> {
        self.lock_to_write().set_value(Kind::Value, name, value, until);
        Ok(())
    }

    async fn put_new(&self, name: &str, value: &[u8]) -> Result<bool, StoreError> {
        let mut state = self.lock_to_write();
        let is_new = state.value(Kind::Value, name, self.clock.now()).is_none();
        if is_new {
            state.set_value(Kind::Value, name, value, None);
        }
        Ok(is_new)
    }

    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.lock().value(Kind::Value, name, self.clock.now()))
    }

    async fn remove(&self, name: &str) -> Result<(), StoreError> {
        self.lock_to_write().values.remove(&(Kind::Value, name.to_owned()));
        Ok(())
    }

    async fn list_insert(&self, list: &str, member: &str, score: i64, until: OffsetDateTime) -> Result<(), StoreError> {
        let now = self.clock.now();
        let mut state = self.lock_to_write();
        if state.lists.get(list).is_some_and(|list| list.until <= now) {
            state.lists.remove(list);
        }
        let empty = || List { members: HashMap::new(), order: BTreeSet::new(), until };
        let list = state.lists.entry(list.to_owned()).or_insert_with(empty);
        list.until = list.until.max(until);
        if let Some(old) = list.members.insert(member.to_owned(), score) {
            list.order.remove(&(old, member.to_owned()));
        }
        list.order.insert((score, member.to_owned()));
        Ok(())
    }

    async fn list_remove(&self, list: &str, member: &str) -> Result<bool, StoreError> {
        let mut state = self.lock_to_write();
        let Some(list) = state.lists.get_mut(list) else { return Ok(false) };
        let Some(score) = list.members.remove(member) else { return Ok(false) };
        Ok(list.order.remove(&(score, member.to_owned())))
    }

    async fn list_down_from(&self, list: &str, highest: i64, limit: usize) -> Result<Vec<(String, i64)>, StoreError> {
        let state = self.lock();
        let Some(list) = state.list(list, self.clock.now()) else { return Ok(Vec::new()) };
        let found = list.order.iter().rev().skip_while(|(score, _)| *score > highest).take(limit);
        Ok(found.map(|(score, member)| (member.clone(), *score)).collect())
    }

    async fn list_up_to(&self, list: &str, highest: i64, limit: usize) -> Result<Vec<String>, StoreError> {
        let state = self.lock();
        let Some(list) = state.list(list, self.clock.now()) else { return Ok(Vec::new()) };
        let found = list.order.iter().take_while(|(score, _)| *score <= highest).take(limit);
        Ok(found.map(|(_, member)| member.clone()).collect())
    }

    async fn list_remove_all(&self, list: &str, members: &[String]) -> Result<(), StoreError> {
        for member in members {
            self.list_remove(list, member).await?;
        }
        Ok(())
    }

    async fn list_extend(&self, list: &str, until: OffsetDateTime) -> Result<(), StoreError> {
        if let Some(list) = self.lock_to_write().lists.get_mut(list) {
            list.until = list.until.max(until);
        }
        Ok(())
    }

    async fn list_delete(&self, list: &str) -> Result<(), StoreError> {
        self.lock_to_write().lists.remove(list);
        Ok(())
    }

    async fn list_length(&self, list: &str) -> Result<u64, StoreError> {
        Ok(self.lock().list(list, self.clock.now()).map_or(0, |list| list.members.len() as u64))
    }

    async fn hash_get_all(&self, hash: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        Ok(self.lock().hashes.get(hash).cloned().unwrap_or_default().into_iter().collect())
    }

    async fn hash_put_if_absent(&self, hash: &str, field: &str, value: &[u8]) -> Result<bool, StoreError> {
        let mut state = self.lock_to_write();
        let hash = state.hashes.entry(hash.to_owned()).or_default();
        let is_new = !hash.contains_key(field);
        hash.entry(field.to_owned()).or_insert_with(|| value.to_vec());
        Ok(is_new)
    }

    async fn hash_put(&self, hash: &str, field: &str, value: &[u8]) -> Result<(), StoreError> {
        let mut state = self.lock_to_write();
        state.hashes.entry(hash.to_owned()).or_default().insert(field.to_owned(), value.to_vec());
        Ok(())
    }

    async fn hash_remove(&self, hash: &str, field: &str) -> Result<(), StoreError> {
        self.lock_to_write().hashes.get_mut(hash).map(|hash| hash.remove(field));
        Ok(())
    }

    async fn log_append(&self, log: &str, entry: &[u8]) -> Result<Appended, StoreError> {
        let milliseconds = self.clock.now().unix_timestamp_nanos() / 1_000_000;
        let now = LogNumber { milliseconds: u64::try_from(milliseconds).unwrap_or_default(), sequence: 0 };
        let mut state = self.lock_to_write();
        let log = state.logs.entry(log.to_owned()).or_default();
        let next = LogNumber { sequence: log.newest.sequence + 1, ..log.newest };
        log.newest = now.max(next);
        log.entries.insert(log.newest, entry.to_vec());
        Ok(Appended { number: log.newest, is_replicated: true })
    }

    async fn log_newest(&self, log: &str) -> Result<Option<LogNumber>, StoreError> {
        Ok(self.lock().logs.get(log).and_then(|log| log.entries.keys().next_back().copied()))
    }

    async fn log_read_watched(&self, log: &str, behind: LogNumber) -> Result<LogRead, StoreError> {
        let state = self.lock();
        let behind = (Bound::Excluded(behind), Bound::Unbounded);
        let entries = state.logs.get(log).into_iter().flat_map(|log| log.entries.range(behind));
        Ok(LogRead {
            entries: entries.take(10_000).map(|(number, entry)| (*number, entry.clone())).collect(),
            watch: None,
        })
    }

    async fn log_delete(&self, log: &str, number: LogNumber) -> Result<bool, StoreError> {
        Ok(self.lock_to_write().logs.get_mut(log).is_some_and(|log| log.entries.remove(&number).is_some()))
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
