//! Records, in the format of `tower_sessions_redis_store`, which writes them, and what lies beside them.

use async_trait::async_trait;
use bytes::Bytes;
use counterfoil_session::key::SessionHandle;
use counterfoil_session::store::{Extension, Loaded, RecordStore, Remains, StoreError};
use fred::clients::Client;
use fred::interfaces::KeysInterface;
use time::OffsetDateTime;
use tower_sessions::SessionStore;
use tower_sessions::session::{Id, Record};
use tower_sessions::session_store;
use tower_sessions_redis_store::RedisStore;

use crate::feed::{Beside, Read};
use crate::{LONGEST_RECORD, NOTE, RedisBackend, TOMBSTONE, at, retention};

/// Tells a record that cannot be read from an outage. Whoever put another kind of value under its key made it the former.
fn unread(error: &fred::error::Error) -> session_store::Error {
    let text = error.to_string();
    if text.contains("WRONGTYPE") { session_store::Error::Decode(text) } else { session_store::Error::Backend(text) }
}

/// The format of `RedisStore`, which wrote it.
fn decoded(record: Option<Bytes>) -> session_store::Result<Option<Record>> {
    if record.as_ref().is_some_and(|record| record.len() >= LONGEST_RECORD) {
        return Err(session_store::Error::Decode("it is longer than a record can be".into()));
    }
    let record = record.map(|bytes| rmp_serde::from_slice(&bytes));
    record.transpose().map_err(|error| session_store::Error::Decode(error.to_string()))
}

#[async_trait]
impl SessionStore for RedisBackend {
    async fn create(&self, record: &mut Record) -> session_store::Result<()> {
        let record = &tokio::sync::Mutex::new(record);
        self.redirected(|client| async move { RedisStore::new(client).create(*record.lock().await).await }).await
    }

    async fn save(&self, record: &Record) -> session_store::Result<()> {
        self.redirected(|client| async move { RedisStore::new(client).save(record).await }).await
    }

    async fn load(&self, id: &Id) -> session_store::Result<Option<Record>> {
        let (record, ..) = self.read(id).await.map_err(|error| unread(&error))?;
        decoded(record)
    }

    async fn delete(&self, id: &Id) -> session_store::Result<()> {
        self.redirected(|client| async move { RedisStore::new(client).delete(id).await }).await
    }
}

#[async_trait]
impl RecordStore for RedisBackend {
    async fn load_watched(&self, handle: SessionHandle) -> Result<Loaded, StoreError> {
        let beside = Beside { note: self.key_beside(NOTE, handle), tombstone: self.key_beside(TOMBSTONE, handle) };
        let Some(read) = self.invalidation.read(handle, beside).await else {
            let read = self.read(&handle.id()).await;
            let (record, note, has_ended) = read.map_err(|error| unread(&error))?;
            let (record, note) = (decoded(record)?, note.map(Into::into));
            return Ok(Loaded { record, has_ended, note, ..Loaded::default() });
        };
        let Read { record, note, has_ended, expires, watch } = read;
        let (record, note) = (decoded(record)?, note.map(Into::into));
        Ok(Loaded { record, has_ended, note, expires, watch: Some(watch) })
    }

    async fn create_note(&self, handle: SessionHandle, note: &[u8], until: OffsetDateTime) -> Result<(), StoreError> {
        let key = &self.key_beside(NOTE, handle);
        let set = |client: Client| async move { client.set(key, note, Some(at(until)), None, false).await };
        self.ask(set).await
    }

    async fn save_note(
        &self,
        handle: SessionHandle,
        note: &[u8],
        until: OffsetDateTime,
        record: Option<OffsetDateTime>,
    ) -> Result<(), StoreError> {
        retention::save_note(self, handle, (note, until), record).await
    }

    async fn end(&self, handle: SessionHandle, tombstone: Option<(&[u8], OffsetDateTime)>) -> Result<bool, StoreError> {
        // The tombstone first: nobody should find the session gone without a reason.
        if let Some((tombstone, until)) = tombstone {
            let key = &self.key_beside(TOMBSTONE, handle);
            let set = |client: Client| async move {
                client.set::<(), _, _>(key, tombstone, Some(at(until)), None, false).await
            };
            // A Redis that is full takes no tombstone; that the session ends is worth more than its reason.
            if let Err(error) = self.ask(set).await {
                tracing::warn!(session = %handle, %error, "an ended session could not be told why");
            }
        }
        let (note, record) = (&self.key_beside(NOTE, handle), &handle.to_string());
        // The record first: without its note a session would seem to be unused since its login.
        let end = |client: Client| async move {
            let pipeline = client.pipeline();
            let _: () = pipeline.del(record).await?;
            let _: () = pipeline.del(note).await?;
            pipeline.all::<[i64; 2]>().await
        };
        Ok(self.ask(end).await?[0] > 0)
    }

    async fn tombstone(&self, handle: SessionHandle) -> Result<Option<Vec<u8>>, StoreError> {
        self.value(&self.key_beside(TOMBSTONE, handle)).await
    }

    async fn extend_ttls(&self, extensions: &[Extension]) -> Result<(), StoreError> {
        retention::extend_ttls(self, extensions).await
    }

    async fn remains(&self, handles: &[SessionHandle]) -> Result<Vec<Remains>, StoreError> {
        retention::remains(self, handles).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.connections.ping(self.timeout).await.map_err(StoreError::backend)
    }
}
