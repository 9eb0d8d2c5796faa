//! Records in memory, with their notes and tombstones.

use async_trait::async_trait;
use time::OffsetDateTime;
use tower_sessions::SessionStore;
use tower_sessions::session::{Id, Record};
use tower_sessions::session_store;

use super::{Kind, MemoryStore, State};
use crate::key::SessionHandle;
use crate::store::{Extension, Loaded, RecordStore, Remains, StoreError};

impl State {
    fn record(&self, id: &Id, now: OffsetDateTime) -> Option<&Record> {
        self.records.get(id).filter(|record| record.expiry_date > now)
    }

    fn extend_record(&mut self, handle: SessionHandle, until: OffsetDateTime, now: OffsetDateTime) {
        if let Some(record) = self.records.get_mut(&handle.id()).filter(|record| record.expiry_date > now) {
            record.expiry_date = record.expiry_date.max(until);
        }
    }
}

impl MemoryStore {
    fn tell_of(&self, id: &Id) {
        if let Ok(handle) = id.to_string().parse() {
            self.listeners.each(|listener| listener.invalidate(handle));
        }
    }
}

#[async_trait]
impl SessionStore for MemoryStore {
    async fn create(&self, record: &mut Record) -> session_store::Result<()> {
        let now = self.clock.now();
        let mut state = self.lock_to_write();
        while state.record(&record.id, now).is_some() {
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
        drop(state);
        self.tell_of(&record.id);
        Ok(())
    }

    async fn load(&self, id: &Id) -> session_store::Result<Option<Record>> {
        let (now, state) = (self.clock.now(), self.lock());
        if state.value(Kind::Tombstone, &id.to_string(), now).is_some() {
            return Ok(None);
        }
        Ok(state.record(id, now).cloned())
    }

    async fn delete(&self, id: &Id) -> session_store::Result<()> {
        self.lock_to_write().records.remove(id);
        self.tell_of(id);
        Ok(())
    }
}

#[async_trait]
impl RecordStore for MemoryStore {
    async fn load_watched(&self, handle: SessionHandle) -> Result<Loaded, StoreError> {
        let (now, state, name) = (self.clock.now(), self.lock(), handle.to_string());
        let record = state.record(&handle.id(), now).cloned();
        if state.value(Kind::Tombstone, &name, now).is_some() {
            return Ok(Loaded { has_ended: record.is_some(), ..Loaded::default() });
        }
        // Asking this store costs no more than asking a cache.
        Ok(Loaded { record, note: state.value(Kind::Note, &name, now), ..Loaded::default() })
    }

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
        let removed = state.records.remove(&handle.id());
        drop(state);
        self.listeners.each(|listener| listener.invalidate(handle));
        Ok(removed.is_some_and(|record| record.expiry_date > now))
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
            has_record: state.record(&handle.id(), now).is_some(),
            note: state.value(Kind::Note, &handle.to_string(), now),
            has_tombstone: state.value(Kind::Tombstone, &handle.to_string(), now).is_some(),
        };
        Ok(handles.iter().map(remains).collect())
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
