//! Records, in the format of `tower_sessions_redis_store`, which writes them.

use async_trait::async_trait;
use bytes::Bytes;
use tower_sessions::SessionStore;
use tower_sessions::session::{Id, Record};
use tower_sessions::session_store;
use tower_sessions_redis_store::RedisStore;

use crate::{LONGEST_RECORD, RedisBackend};

/// Tells a record that cannot be read from an outage. Whoever put another kind of value under its key made it the former.
pub(crate) fn unread(error: &fred::error::Error) -> session_store::Error {
    let text = error.to_string();
    if text.contains("WRONGTYPE") { session_store::Error::Decode(text) } else { session_store::Error::Backend(text) }
}

/// The format of `RedisStore`, which wrote it.
pub(crate) fn decoded(record: Option<Bytes>) -> session_store::Result<Option<Record>> {
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
