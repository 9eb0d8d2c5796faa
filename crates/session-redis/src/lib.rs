//! Sessions in Redis (7 or newer), shared by every replica.
//!
//! Records are written by `tower_sessions_redis_store::RedisStore`, under their handle as the key; everything else
//! goes through the same clients, under keys that begin with the configured prefix. Each operation touches the
//! keys of one hash slot only: what belongs to one record carries its handle as a hash tag (`{cf-…}`). Writes, and
//! reads without a live link, go through the pool; reads for the near cache through `feed`.
//!
//! No more is read of a value than one of ours can be long: whoever can write to Redis fills no process with it. A
//! record that has a tombstone is none, although somebody put it back.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod address;
mod client;
mod connections;
pub mod examination;
mod feed;
mod lists;
mod log;
mod records;
mod settings;
mod tls;
mod upkeep;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::{Duration as StdDuration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use counterfoil_session::key::SessionHandle;
use counterfoil_session::store::log::{Appended, LogNumber, LogRead};
use counterfoil_session::store::{Extension, InvalidationListener, Loaded, Remains, SessionBackend, StoreError};
use fred::clients::Client;
use fred::interfaces::{HashesInterface, KeysInterface, SortedSetsInterface};
use fred::types::{Expiration, SetOptions};
use time::{Duration, OffsetDateTime};
use tokio::sync::Notify;
use tower_sessions::session::Id;

use self::connections::Connections;
pub use self::settings::RedisSettings;

use self::feed::{Beside, Invalidation, Read};
use self::records::{decoded, unread};

/// Pause before a command is sent again to where its slot is now.
const REDIRECTION_PAUSE: StdDuration = StdDuration::from_millis(10);

/// Longest record that is read, in bytes: a token answer of the largest size and the largest number of groups, sealed.
pub(crate) const LONGEST_RECORD: usize = 4 * 1024 * 1024;
/// Longest value beside the records that is read, in bytes.
pub(crate) const LONGEST_VALUE: usize = 1024 * 1024;

/// Most entries of a log that are read at a time.
pub(crate) const MOST_ENTRIES: u64 = 10_000;

/// PTTL's answer for a key that is not there.
const MISSING: i64 = -2;

/// Kinds of keys that lie beside a record.
const NOTE: &str = "seen";
const TOMBSTONE: &str = "tombstone";

/// A store in Redis.
pub struct RedisBackend {
    connections: Connections,
    prefix: String,
    timeout: StdDuration,
    invalidation: Invalidation,
}

impl RedisBackend {
    /// Starts connecting in the background and keeps doing so until it is dropped: a store that is down is reported by
    /// each operation, and is used again as soon as it is back.
    ///
    /// # Errors
    /// [`StoreError`] if the URL or its TLS set-up cannot be used.
    pub fn connect(settings: impl Into<RedisSettings>) -> Result<Self, StoreError> {
        let settings = settings.into();
        let (config, access) = client::configured(&settings)?;
        let server = config.server.clone();
        let builder = client::builder(config, settings.timeout);
        let connections = Connections::start(&builder, settings.timeout).map_err(StoreError::backend)?;
        let invalidation = Invalidation::new(server, access, settings.prefix.clone(), connections.clone());
        Ok(Self { connections, prefix: settings.prefix, timeout: settings.timeout, invalidation })
    }

    /// Asks again when the keys were at another node of a cluster. Whoever is sent away has changed nothing; fred
    /// learns from it where a slot is now. A slot that is just moving has arrived in a moment, or is an outage.
    async fn redirected<T, E, Asked>(&self, ask: impl Fn(Client) -> Asked + Send + Sync) -> Result<T, E>
    where
        Asked: Future<Output = Result<T, E>> + Send,
        E: fmt::Display,
    {
        let started = Instant::now();
        loop {
            match ask(self.connections.next()).await {
                Err(error) if is_redirection(&error) && started.elapsed() < self.timeout => {
                    tokio::time::sleep(REDIRECTION_PAUSE).await;
                }
                answered => return answered,
            }
        }
    }

    /// Asks like `redirected`, and tells failures as a store does.
    async fn ask<T, Asked>(&self, ask: impl Fn(Client) -> Asked + Send + Sync) -> Result<T, StoreError>
    where
        Asked: Future<Output = Result<T, fred::error::Error>> + Send,
    {
        self.redirected(ask).await.map_err(StoreError::backend)
    }

    /// Reads a record and the note beside it, unless there is a tombstone, and whether one outweighs a record. Takes
    /// one round trip.
    async fn read(&self, id: &Id) -> Result<(Option<Bytes>, Option<Bytes>, bool), fred::error::Error> {
        let (record, note, tombstone) = &(id.to_string(), self.key_beside(NOTE, id), self.key_beside(TOMBSTONE, id));
        let read = |client: Client| async move {
            let pipeline = client.pipeline();
            let _: () = pipeline.getrange(record, 0, LONGEST_RECORD - 1).await?;
            let _: () = pipeline.getrange(note, 0, LONGEST_VALUE - 1).await?;
            let _: () = pipeline.getrange(tombstone, 0, 0).await?;
            pipeline.all::<[Bytes; 3]>().await
        };
        let [record, note, tombstone] = self.redirected(read).await?;
        let (is_live, is_outweighed) = (tombstone.is_empty(), !tombstone.is_empty() && !record.is_empty());
        Ok((found(record).filter(|_| is_live), found(note).filter(|_| is_live), is_outweighed))
    }

    /// A value, as far as one of ours goes.
    async fn value(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let get = |client: Client| async move { client.getrange::<Bytes, _>(key, 0, LONGEST_VALUE - 1).await };
        Ok(found(self.ask(get).await?).map(Into::into))
    }

    fn key(&self, kind: &str, name: &str) -> String {
        format!("{}{kind}:{name}", self.prefix)
    }

    fn value_key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Returns the key of something beside a record, which lies in the record's slot.
    fn key_beside(&self, kind: &str, handle: impl fmt::Display) -> String {
        format!("{}{kind}:{{{handle}}}", self.prefix)
    }
}

/// Fred's error when it may not follow a redirection; the record store passes on its text alone.
fn is_redirection(error: &impl fmt::Display) -> bool {
    error.to_string().contains("Too many redirections")
}

/// Returns a part of an answer, `None` if it is empty: nothing that is stored is empty.
fn found(part: Bytes) -> Option<Bytes> {
    (!part.is_empty()).then_some(part)
}

impl fmt::Debug for RedisBackend {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RedisBackend").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

#[async_trait]
impl SessionBackend for RedisBackend {
    async fn load_watched(&self, handle: SessionHandle) -> Result<Loaded, StoreError> {
        let beside = Beside { note: self.key_beside(NOTE, handle), tombstone: self.key_beside(TOMBSTONE, handle) };
        let Some(read) = self.invalidation.read(handle, beside).await else {
            let read = self.read(&handle.id()).await;
            let (record, note, is_outweighed) = read.map_err(|error| unread(&error))?;
            let (record, note) = (decoded(record)?, note.map(Into::into));
            return Ok(Loaded { record, is_outweighed, note, ..Loaded::default() });
        };
        let Read { record, note, is_outweighed, expires, watch } = read;
        let (record, note) = (decoded(record)?, note.map(Into::into));
        Ok(Loaded { record, is_outweighed, note, expires, watch: Some(watch) })
    }

    fn subscribe(&self, listener: Weak<dyn InvalidationListener>) {
        self.invalidation.subscribe(listener);
    }

    fn reconnected(&self) -> Option<Arc<Notify>> {
        Some(self.connections.reconnected())
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
        upkeep::save_note(self, handle, (note, until), record).await
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
        upkeep::extend_ttls(self, extensions).await
    }

    async fn remains(&self, handles: &[SessionHandle]) -> Result<Vec<Remains>, StoreError> {
        upkeep::remains(self, handles).await
    }

    async fn put_if_absent(&self, name: &str, lifetime: Duration) -> Result<bool, StoreError> {
        let key = &self.key("once", name);
        let claim = |client: Client| async move {
            client.set(key, 1, Some(within(lifetime)), Some(SetOptions::NX), false).await
        };
        self.ask(claim).await
    }

    async fn renew_lease(&self, name: &str, lifetime: Duration) -> Result<bool, StoreError> {
        let key = &self.key("once", name);
        let renew_lease = |client: Client| async move {
            client.set(key, 1, Some(within(lifetime)), Some(SetOptions::XX), false).await
        };
        self.ask(renew_lease).await
    }

    async fn release_lease(&self, name: &str) -> Result<(), StoreError> {
        let key = &self.key("once", name);
        self.ask(|client| async move { client.del(key).await }).await
    }

    async fn put(&self, name: &str, value: &[u8], until: Option<OffsetDateTime>) -> Result<(), StoreError> {
        let key = &self.value_key(name);
        let set = |client: Client| async move { client.set(key, value, until.map(at), None, false).await };
        self.ask(set).await
    }

    async fn put_new(&self, name: &str, value: &[u8]) -> Result<bool, StoreError> {
        let key = &self.value_key(name);
        let set = |client: Client| async move { client.set(key, value, None, Some(SetOptions::NX), false).await };
        self.ask(set).await
    }

    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let key = &self.value_key(name);
        if let Some(value) = self.value(key).await? {
            return Ok(Some(value));
        }
        // GETRANGE answers alike for a value that is empty and for one that is missing.
        let read = |client: Client| async move {
            let pipeline = client.pipeline();
            let _: () = pipeline.pttl(key).await?;
            let _: () = pipeline.getrange(key, 0, LONGEST_VALUE - 1).await?;
            pipeline.all::<(i64, Bytes)>().await
        };
        let (lifetime, value) = self.ask(read).await?;
        Ok((lifetime != MISSING || !value.is_empty()).then(|| value.into()))
    }

    async fn remove(&self, name: &str) -> Result<(), StoreError> {
        let key = &self.value_key(name);
        self.ask(|client| async move { client.del(key).await }).await
    }

    async fn list_insert(&self, list: &str, member: &str, score: i64, until: OffsetDateTime) -> Result<(), StoreError> {
        lists::insert(self, &self.key("index", list), (member, score), until).await
    }

    async fn list_remove(&self, list: &str, member: &str) -> Result<bool, StoreError> {
        let key = &self.key("index", list);
        Ok(self.ask(|client| async move { client.zrem::<i64, _, _>(key, member).await }).await? > 0)
    }

    async fn list_down_from(&self, list: &str, highest: i64, limit: usize) -> Result<Vec<(String, i64)>, StoreError> {
        lists::down_from(self, &self.key("index", list), highest, limit).await
    }

    async fn list_up_to(&self, list: &str, highest: i64, limit: usize) -> Result<Vec<String>, StoreError> {
        lists::up_to(self, &self.key("index", list), highest, limit).await
    }

    async fn list_remove_all(&self, list: &str, members: &[String]) -> Result<(), StoreError> {
        lists::remove_all(self, &self.key("index", list), members).await
    }

    async fn list_extend(&self, list: &str, until: OffsetDateTime) -> Result<(), StoreError> {
        lists::extend(self, &self.key("index", list), until).await
    }

    async fn list_delete(&self, list: &str) -> Result<(), StoreError> {
        let key = &self.key("index", list);
        self.ask(|client| async move { client.del(key).await }).await
    }

    async fn list_length(&self, list: &str) -> Result<u64, StoreError> {
        let key = &self.key("index", list);
        self.ask(|client| async move { client.zcard(key).await }).await
    }

    async fn hash_get_all(&self, hash: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let key = &self.value_key(hash);
        let fields: HashMap<String, Bytes> = self.ask(|client| async move { client.hgetall(key).await }).await?;
        Ok(fields.into_iter().map(|(field, value)| (field, value.into())).collect())
    }

    async fn hash_put_if_absent(&self, hash: &str, field: &str, value: &[u8]) -> Result<bool, StoreError> {
        let key = &self.value_key(hash);
        self.ask(|client| async move { client.hsetnx(key, field, value).await }).await
    }

    async fn hash_put(&self, hash: &str, field: &str, value: &[u8]) -> Result<(), StoreError> {
        let key = &self.value_key(hash);
        self.ask(|client| async move { client.hset(key, (field, value)).await }).await
    }

    async fn hash_remove(&self, hash: &str, field: &str) -> Result<(), StoreError> {
        let key = &self.value_key(hash);
        self.ask(|client| async move { client.hdel(key, field).await }).await
    }

    async fn log_append(&self, log: &str, entry: &[u8]) -> Result<Appended, StoreError> {
        log::append(self, &self.value_key(log), entry).await
    }

    async fn log_newest(&self, log: &str) -> Result<Option<LogNumber>, StoreError> {
        log::newest(self, &self.value_key(log)).await
    }

    async fn log_read_watched(&self, log: &str, behind: LogNumber) -> Result<LogRead, StoreError> {
        let key = self.value_key(log);
        match self.invalidation.read_log(key.clone(), behind).await {
            Some(read) => Ok(read),
            None => log::read(self, &key, behind).await,
        }
    }

    async fn log_delete(&self, log: &str, number: LogNumber) -> Result<bool, StoreError> {
        log::delete(self, &self.value_key(log), number).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.connections.ping(self.timeout).await.map_err(StoreError::backend)
    }
}

fn at(moment: OffsetDateTime) -> Expiration {
    let milliseconds = moment.unix_timestamp_nanos() / 1_000_000;
    Expiration::PXAT(i64::try_from(milliseconds).unwrap_or(i64::MAX))
}

fn within(lifetime: Duration) -> Expiration {
    Expiration::PX(i64::try_from(lifetime.whole_milliseconds()).unwrap_or(i64::MAX))
}
