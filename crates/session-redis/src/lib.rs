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
mod key_value;
mod leases;
mod log;
mod records;
mod retention;
mod settings;
mod sorted_sets;
mod tls;

use std::fmt;
use std::time::{Duration as StdDuration, Instant};

use bytes::Bytes;
use counterfoil_core::unix_millis::UnixMillis;
use counterfoil_session::store::StoreError;
use fred::clients::Client;
use fred::interfaces::{ClientLike, KeysInterface};
use fred::types::{ClusterHash, CustomCommand, Expiration, FromValue, Value};
use time::OffsetDateTime;
use tower_sessions::session::Id;

use self::connections::Connections;
use self::feed::Invalidation;
pub use self::settings::RedisSettings;

/// Pause before a command is sent again to where its slot is now.
const REDIRECTION_PAUSE: StdDuration = StdDuration::from_millis(10);

/// Longest record that is read, in bytes: a token answer of the largest size and the largest number of groups, sealed.
pub(crate) const LONGEST_RECORD: usize = 4 * 1024 * 1024;
/// Longest value beside the records that is read, in bytes.
pub(crate) const LONGEST_VALUE: usize = 1024 * 1024;

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
        let (is_live, has_ended) = (tombstone.is_empty(), !tombstone.is_empty() && !record.is_empty());
        Ok((found(record).filter(|_| is_live), found(note).filter(|_| is_live), has_ended))
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

/// Sends a command in these words to the server of a key, which fred does not find in them.
async fn on_the_server_of<T: FromValue>(
    key: &str,
    client: &impl ClientLike,
    command: &'static str,
    words: Vec<Value>,
) -> Result<T, fred::error::Error> {
    client.custom(CustomCommand::new_static(command, ClusterHash::from(key), false), words).await
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

fn at(moment: OffsetDateTime) -> Expiration {
    Expiration::PXAT(UnixMillis::from(moment).0)
}
