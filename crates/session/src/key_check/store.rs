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
use crate::store::{Extension, InvalidationListener, Loaded, Remains, SessionBackend, StoreError};

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
impl SessionBackend for Keyed {
    async fn load_watched(&self, handle: SessionHandle) -> Result<Loaded, StoreError> {
        self.ours().await?.load_watched(handle).await
    }

    fn subscribe(&self, listener: Weak<dyn InvalidationListener>) {
        self.backend.subscribe(listener);
    }

    fn reconnected(&self) -> Option<Arc<Notify>> {
        self.backend.reconnected()
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

    async fn put_if_absent(&self, name: &str, lifetime: Duration) -> Result<bool, StoreError> {
        self.ours().await?.put_if_absent(name, lifetime).await
    }

    async fn renew_lease(&self, name: &str, lifetime: Duration) -> Result<bool, StoreError> {
        self.ours().await?.renew_lease(name, lifetime).await
    }

    async fn release_lease(&self, name: &str) -> Result<(), StoreError> {
        self.ours().await?.release_lease(name).await
    }

    async fn put(&self, name: &str, value: &[u8], until: Option<OffsetDateTime>) -> Result<(), StoreError> {
        self.ours().await?.put(name, value, until).await
    }

    async fn put_new(&self, name: &str, value: &[u8]) -> Result<bool, StoreError> {
        self.ours().await?.put_new(name, value).await
    }

    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.ours().await?.get(name).await
    }

    async fn remove(&self, name: &str) -> Result<(), StoreError> {
        self.ours().await?.remove(name).await
    }

    async fn list_insert(&self, list: &str, member: &str, score: i64, until: OffsetDateTime) -> Result<(), StoreError> {
        self.ours().await?.list_insert(list, member, score, until).await
    }

    async fn list_remove(&self, list: &str, member: &str) -> Result<bool, StoreError> {
        self.ours().await?.list_remove(list, member).await
    }

    async fn list_down_from(&self, list: &str, highest: i64, limit: usize) -> Result<Vec<(String, i64)>, StoreError> {
        self.ours().await?.list_down_from(list, highest, limit).await
    }

    async fn list_up_to(&self, list: &str, highest: i64, limit: usize) -> Result<Vec<String>, StoreError> {
        self.ours().await?.list_up_to(list, highest, limit).await
    }

    async fn list_remove_all(&self, list: &str, members: &[String]) -> Result<(), StoreError> {
        self.ours().await?.list_remove_all(list, members).await
    }

    async fn list_extend(&self, list: &str, until: OffsetDateTime) -> Result<(), StoreError> {
        self.ours().await?.list_extend(list, until).await
    }

    async fn list_delete(&self, list: &str) -> Result<(), StoreError> {
        self.ours().await?.list_delete(list).await
    }

    async fn list_length(&self, list: &str) -> Result<u64, StoreError> {
        self.ours().await?.list_length(list).await
    }

    async fn hash_get_all(&self, hash: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        self.ours().await?.hash_get_all(hash).await
    }

    async fn hash_put_if_absent(&self, hash: &str, field: &str, value: &[u8]) -> Result<bool, StoreError> {
        self.ours().await?.hash_put_if_absent(hash, field, value).await
    }

    async fn hash_put(&self, hash: &str, field: &str, value: &[u8]) -> Result<(), StoreError> {
        self.ours().await?.hash_put(hash, field, value).await
    }

    async fn hash_remove(&self, hash: &str, field: &str) -> Result<(), StoreError> {
        self.ours().await?.hash_remove(hash, field).await
    }

    async fn log_append(&self, log: &str, entry: &[u8]) -> Result<Appended, StoreError> {
        self.ours().await?.log_append(log, entry).await
    }

    async fn log_newest(&self, log: &str) -> Result<Option<LogNumber>, StoreError> {
        self.ours().await?.log_newest(log).await
    }

    async fn log_read_watched(&self, log: &str, behind: LogNumber) -> Result<LogRead, StoreError> {
        self.ours().await?.log_read_watched(log, behind).await
    }

    async fn log_delete(&self, log: &str, number: LogNumber) -> Result<bool, StoreError> {
        self.ours().await?.log_delete(log, number).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.backend.ping().await
    }
}
