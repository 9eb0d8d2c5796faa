//! The store as everybody else has it: whose it is comes before every use of it.

use std::sync::{Arc, Weak};

use async_trait::async_trait;
use time::{Duration, OffsetDateTime};
use tokio::sync::Notify;
use tower_sessions::SessionStore;
use tower_sessions::session::{Id, Record};
use tower_sessions::session_store;

use super::Keyed;
use crate::key::SessionHandle;
use crate::store::log::{Appended, LogNumber, LogRead};
use crate::store::{
    Extension, InvalidationFeed, InvalidationListener, KeyValue, LeaseOwner, LeaseStore, Loaded, Log, RecordStore,
    Remains, SessionBackend, SortedSets, StoreError,
};

impl Keyed {
    async fn our_records(&self) -> session_store::Result<&dyn SessionBackend> {
        self.ours().await.map_err(|error| session_store::Error::Backend(error.to_string()))
    }
}

#[async_trait]
impl SessionStore for Keyed {
    async fn create(&self, record: &mut Record) -> session_store::Result<()> {
        self.our_records().await?.create(record).await
    }

    async fn save(&self, record: &Record) -> session_store::Result<()> {
        self.our_records().await?.save(record).await
    }

    async fn load(&self, id: &Id) -> session_store::Result<Option<Record>> {
        self.our_records().await?.load(id).await
    }

    async fn delete(&self, id: &Id) -> session_store::Result<()> {
        self.our_records().await?.delete(id).await
    }
}

#[async_trait]
impl RecordStore for Keyed {
    async fn load_watched(&self, handle: SessionHandle) -> Result<Loaded, StoreError> {
        self.ours().await?.load_watched(handle).await
    }

    async fn create_note(&self, handle: SessionHandle, note: &[u8], until: OffsetDateTime) -> Result<(), StoreError> {
        self.ours().await?.create_note(handle, note, until).await
    }

    async fn save_note(
        &self,
        handle: SessionHandle,
        note: &[u8],
        until: OffsetDateTime,
        record: Option<OffsetDateTime>,
    ) -> Result<(), StoreError> {
        self.ours().await?.save_note(handle, note, until, record).await
    }

    async fn end(&self, handle: SessionHandle, tombstone: Option<(&[u8], OffsetDateTime)>) -> Result<bool, StoreError> {
        self.ours().await?.end(handle, tombstone).await
    }

    async fn tombstone(&self, handle: SessionHandle) -> Result<Option<Vec<u8>>, StoreError> {
        self.ours().await?.tombstone(handle).await
    }

    async fn extend_ttls(&self, extensions: &[Extension]) -> Result<(), StoreError> {
        self.ours().await?.extend_ttls(extensions).await
    }

    async fn remains(&self, handles: &[SessionHandle]) -> Result<Vec<Remains>, StoreError> {
        self.ours().await?.remains(handles).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.backend.ping().await
    }
}

#[async_trait]
impl KeyValue for Keyed {
    async fn put(&self, name: &str, value: &[u8], until: Option<OffsetDateTime>) -> Result<(), StoreError> {
        self.ours().await?.put(name, value, until).await
    }

    async fn put_if_absent(&self, name: &str, value: &[u8]) -> Result<bool, StoreError> {
        self.ours().await?.put_if_absent(name, value).await
    }

    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.ours().await?.get(name).await
    }

    async fn remove(&self, name: &str) -> Result<(), StoreError> {
        self.ours().await?.remove(name).await
    }

    async fn fields(&self, hash: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        self.ours().await?.fields(hash).await
    }

    async fn put_field(&self, hash: &str, field: &str, value: &[u8]) -> Result<(), StoreError> {
        self.ours().await?.put_field(hash, field, value).await
    }

    async fn put_field_if_absent(&self, hash: &str, field: &str, value: &[u8]) -> Result<bool, StoreError> {
        self.ours().await?.put_field_if_absent(hash, field, value).await
    }

    async fn remove_field(&self, hash: &str, field: &str) -> Result<(), StoreError> {
        self.ours().await?.remove_field(hash, field).await
    }
}

#[async_trait]
impl LeaseStore for Keyed {
    async fn acquire(&self, name: &str, owner: &LeaseOwner, ttl: Duration) -> Result<bool, StoreError> {
        self.ours().await?.acquire(name, owner, ttl).await
    }

    async fn renew(&self, name: &str, owner: &LeaseOwner, ttl: Duration) -> Result<bool, StoreError> {
        self.ours().await?.renew(name, owner, ttl).await
    }

    async fn release(&self, name: &str, owner: &LeaseOwner) -> Result<bool, StoreError> {
        self.ours().await?.release(name, owner).await
    }
}

#[async_trait]
impl SortedSets for Keyed {
    async fn insert(&self, set: &str, member: &str, score: i64, until: OffsetDateTime) -> Result<(), StoreError> {
        self.ours().await?.insert(set, member, score, until).await
    }

    async fn remove_member(&self, set: &str, member: &str) -> Result<bool, StoreError> {
        self.ours().await?.remove_member(set, member).await
    }

    async fn remove_members(&self, set: &str, members: &[String]) -> Result<(), StoreError> {
        self.ours().await?.remove_members(set, members).await
    }

    async fn down_from(&self, set: &str, highest: i64, limit: usize) -> Result<Vec<(String, i64)>, StoreError> {
        self.ours().await?.down_from(set, highest, limit).await
    }

    async fn up_to(&self, set: &str, highest: i64, limit: usize) -> Result<Vec<String>, StoreError> {
        self.ours().await?.up_to(set, highest, limit).await
    }

    async fn extend(&self, set: &str, until: OffsetDateTime) -> Result<(), StoreError> {
        self.ours().await?.extend(set, until).await
    }

    async fn clear(&self, set: &str) -> Result<(), StoreError> {
        self.ours().await?.clear(set).await
    }

    async fn length(&self, set: &str) -> Result<u64, StoreError> {
        self.ours().await?.length(set).await
    }
}

#[async_trait]
impl Log for Keyed {
    async fn append(&self, log: &str, entry: &[u8]) -> Result<Appended, StoreError> {
        self.ours().await?.append(log, entry).await
    }

    async fn newest(&self, log: &str) -> Result<Option<LogNumber>, StoreError> {
        self.ours().await?.newest(log).await
    }

    async fn read_watched(&self, log: &str, behind: LogNumber) -> Result<LogRead, StoreError> {
        self.ours().await?.read_watched(log, behind).await
    }

    async fn advance(&self, log: &str, beyond: LogNumber, entry: &[u8]) -> Result<(), StoreError> {
        self.ours().await?.advance(log, beyond, entry).await
    }

    async fn delete_entry(&self, log: &str, number: LogNumber) -> Result<bool, StoreError> {
        self.ours().await?.delete_entry(log, number).await
    }
}

impl InvalidationFeed for Keyed {
    fn subscribe(&self, listener: Weak<dyn InvalidationListener>) {
        self.backend.subscribe(listener);
    }

    fn reconnected(&self) -> Option<Arc<Notify>> {
        self.backend.reconnected()
    }
}
