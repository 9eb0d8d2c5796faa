//! Sessions in this process alone: for the demo and for tests. Gone with the process, unknown to replicas.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use time::{Duration, OffsetDateTime};
use tower_sessions::SessionStore;
use tower_sessions::session::{Id, Record};
use tower_sessions::session_store;

use super::{SessionBackend, StoreError};
use crate::clock::SharedClock;
use crate::session::key::SessionHandle;
use crate::session::registry::Index;

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
    claims: HashMap<String, OffsetDateTime>,
    indexes: HashMap<String, HashMap<SessionHandle, OffsetDateTime>>,
    writes_since_sweep: u32,
}

impl State {
    fn sweep_now_and_then(&mut self, now: OffsetDateTime) {
        self.writes_since_sweep += 1;
        if self.writes_since_sweep < WRITES_PER_SWEEP {
            return;
        }
        self.writes_since_sweep = 0;
        self.records.retain(|_, record| record.expiry_date > now);
        self.claims.retain(|_, until| *until > now);
        self.indexes.retain(|_, handles| {
            handles.retain(|_, until| *until > now);
            !handles.is_empty()
        });
    }
}

impl MemoryStore {
    /// An empty store; `clock` decides what has expired.
    pub fn new(clock: SharedClock) -> Self {
        Self { clock, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change below is complete or not begun when it can panic, so a poisoned lock is sound.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
        let now = self.clock.now();
        Ok(self.lock().records.get(id).filter(|record| record.expiry_date > now).cloned())
    }

    async fn delete(&self, id: &Id) -> session_store::Result<()> {
        self.lock_to_write().records.remove(id);
        Ok(())
    }
}

#[async_trait]
impl SessionBackend for MemoryStore {
    async fn claim_once(&self, name: &str, lifetime: Duration) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let mut state = self.lock_to_write();
        if state.claims.get(name).is_some_and(|until| *until > now) {
            return Ok(false);
        }
        state.claims.insert(name.to_owned(), now + lifetime);
        Ok(true)
    }

    async fn index_insert(
        &self,
        index: &Index,
        handle: SessionHandle,
        until: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Result<(), StoreError> {
        let mut state = self.lock_to_write();
        let handles = state.indexes.entry(index.as_str().to_owned()).or_default();
        handles.retain(|_, until| *until > now);
        handles.insert(handle, until);
        Ok(())
    }

    async fn index_remove(&self, index: &Index, handle: SessionHandle) -> Result<(), StoreError> {
        if let Some(handles) = self.lock_to_write().indexes.get_mut(index.as_str()) {
            handles.remove(&handle);
        }
        Ok(())
    }

    async fn index_list(&self, index: &Index, now: OffsetDateTime) -> Result<Vec<SessionHandle>, StoreError> {
        let state = self.lock();
        let mut live: Vec<_> = state.indexes.get(index.as_str()).into_iter().flatten().collect();
        live.retain(|(_, until)| **until > now);
        live.sort_by_key(|(handle, until)| (**until, **handle));
        Ok(live.into_iter().map(|(handle, _)| *handle).collect())
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
