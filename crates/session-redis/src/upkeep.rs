//! The time for which records and notes are kept: one pipeline for any number of them, which the client parts by slot.

use counterfoil_session::key::SessionHandle;
use counterfoil_session::store::{Extension, StoreError};
use fred::clients::{Client, Pipeline};
use fred::interfaces::KeysInterface;
use fred::types::{ExpireOptions, SetOptions, Value};
use time::OffsetDateTime;

use crate::{NOTE, RedisBackend, at};

pub(crate) async fn save_note(
    store: &RedisBackend,
    handle: SessionHandle,
    (note, until): (&[u8], OffsetDateTime),
    record: Option<OffsetDateTime>,
) -> Result<(), StoreError> {
    let key = &store.key_beside(NOTE, handle);
    let save = |client: Client| async move {
        let pipeline = client.pipeline();
        // The note comes first: whoever hears of the record reads both.
        let _: () = pipeline.set(key, note, Some(at(until)), Some(SetOptions::XX), false).await?;
        if let Some(until) = record {
            extend(&pipeline, handle.to_string(), until).await?;
        }
        pipeline.all::<Vec<Value>>().await
    };
    store.ask(save).await?;
    Ok(())
}

/// Extends a key's TTL. GT that would shorten it changes nothing, and tells nobody.
async fn extend(pipeline: &Pipeline<Client>, key: String, until: OffsetDateTime) -> Result<(), fred::error::Error> {
    pipeline.expire_at(key, until.unix_timestamp() + 1, Some(ExpireOptions::GT)).await
}

pub(crate) async fn extend_ttls(store: &RedisBackend, extensions: &[Extension]) -> Result<(), StoreError> {
    if extensions.is_empty() {
        return Ok(());
    }
    let extend_all = |client: Client| async move {
        let pipeline = client.pipeline();
        for Extension { handle, record, note } in extensions {
            let note = note.map(|until| (store.key_beside(NOTE, handle), until));
            for (key, until) in [(handle.to_string(), *record)].into_iter().chain(note) {
                extend(&pipeline, key, until).await?;
            }
        }
        pipeline.all::<Vec<i64>>().await
    };
    store.ask(extend_all).await?;
    Ok(())
}
