//! The time for which records and notes are kept, and what is left of sessions: one pipeline for any number of them, which
//! the client parts by slot.

use counterfoil_session::key::SessionHandle;
use counterfoil_session::store::{Extension, Remains, StoreError};
use fred::clients::{Client, Pipeline};
use fred::error::{Error, ErrorKind};
use fred::interfaces::KeysInterface;
use fred::types::{ExpireOptions, SetOptions, Value};
use time::OffsetDateTime;

use crate::{MISSING, NOTE, RedisBackend, TOMBSTONE, at, found};

/// Longest note that is read here, in bytes: it holds three moments and two durations, sealed.
const LONGEST_NOTE: usize = 1024;

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
async fn extend(pipeline: &Pipeline<Client>, key: String, until: OffsetDateTime) -> Result<(), Error> {
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

pub(crate) async fn remains(store: &RedisBackend, handles: &[SessionHandle]) -> Result<Vec<Remains>, StoreError> {
    if handles.is_empty() {
        return Ok(Vec::new());
    }
    let read = |client: Client| async move {
        let pipeline = client.pipeline();
        for handle in handles {
            let _: () = pipeline.pttl(handle.to_string()).await?;
            for (kind, last) in [(NOTE, LONGEST_NOTE - 1), (TOMBSTONE, 0)] {
                let _: () = pipeline.getrange(store.key_beside(kind, handle), 0, last).await?;
            }
        }
        // One value that somebody damaged stops nobody; a pipeline that failed as a whole has one answer.
        let answers = pipeline.try_all::<Value>().await;
        if answers.len() == 3 * handles.len() {
            return Ok(answers);
        }
        let failure = answers.into_iter().find_map(Result::err);
        Err(failure.unwrap_or_else(|| Error::new(ErrorKind::Protocol, "answers are missing")))
    };
    let answers = store.ask(read).await?;
    answers.chunks_exact(3).map(|answers| remains_of(answers).map_err(StoreError::backend)).collect()
}

fn remains_of(answers: &[Result<Value, Error>]) -> Result<Remains, Error> {
    let [lifetime, note, tombstone] = answers else { return Ok(Remains::default()) };
    let has_record = lifetime.clone()?.convert::<i64>()? != MISSING;
    let value = |part: &Result<Value, Error>| found(part.clone().ok()?.convert().ok()?);
    Ok(Remains { has_record, note: value(note).map(Into::into), has_tombstone: value(tombstone).is_some() })
}
