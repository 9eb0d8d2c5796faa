//! Sessions in Redis (7 or newer), shared by every replica.
//!
//! Records go through `tower_sessions_redis_store::RedisStore`, under their handle as the key; everything else
//! goes through the same client, under keys that begin with the configured prefix. Each operation touches the
//! keys of one hash slot only: what belongs to one record carries its handle as a hash tag (`{cf-…}`). Writes, and
//! reads without a live link, go through the pool; reads for the near cache through [`super::invalidation`].

mod tls;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration as StdDuration, Instant};

use async_trait::async_trait;
use fred::clients::{Client, Pool};
use fred::interfaces::{ClientLike, EventInterface, KeysInterface, SortedSetsInterface};
use fred::types::config::{Config, ReconnectError, ReconnectPolicy, TlsConnector as FredTls, UnresponsiveConfig};
use fred::types::sorted_sets::ZSort;
use fred::types::{Builder, Expiration, ExpireOptions, SetOptions};
use time::{Duration, OffsetDateTime};
use tower_sessions::SessionStore;
use tower_sessions::session::{Id, Record};
use tower_sessions::session_store;
use tower_sessions_redis_store::RedisStore;

use super::invalidation::{Access, Invalidation, Read};
use super::{InvalidationListener, Loaded, SessionBackend, StoreError};
use crate::secret::Secret;
use crate::session::key::SessionHandle;

/// Connections: commands on one are pipelined, so more than one per core gains nothing (measured).
const CONNECTIONS: usize = 2;
/// Commands that may wait on a connection before new ones fail at once.
const LONGEST_QUEUE: usize = 10_000;

/// Before a command is sent again to where its slot is now.
const REDIRECTION_PAUSE: StdDuration = StdDuration::from_millis(10);
/// Before a client that gave up begins again.
const RESTART_PAUSE: StdDuration = StdDuration::from_millis(50);

/// Kinds of keys that lie beside a record.
const NOTE: &str = "seen";
const TOMBSTONE: &str = "tombstone";

/// How to reach Redis.
#[derive(Debug, Clone)]
pub struct RedisSettings {
    /// `redis://` or `rediss://`, also with `-cluster` or `-sentinel`; with credentials and database if needed.
    pub url: Secret<String>,
    /// Certificates (PEM) of the authorities that are believed, instead of the system's.
    pub certificate_authorities: Option<String>,
    /// Begins every key but the records' own.
    pub prefix: String,
    /// Longest wait for a connection and for an answer.
    pub timeout: StdDuration,
}

/// A store in Redis.
pub struct RedisBackend {
    records: RedisStore<Pool>,
    pool: Pool,
    prefix: String,
    timeout: StdDuration,
    invalidation: Invalidation,
}

impl RedisBackend {
    /// Starts connecting in the background and keeps doing so for ever: a store that is down is reported by
    /// each operation, and is used again as soon as it is back.
    ///
    /// # Errors
    /// [`StoreError`] if the URL or its TLS set-up cannot be used.
    pub fn connect(settings: &RedisSettings) -> Result<Self, StoreError> {
        let url = settings.url.expose();
        // Without its `s`: fred would want the system's authorities for it, also where others are named.
        let plain = url.strip_prefix("rediss").map(|rest| Secret::new(format!("redis{rest}")));
        let mut config = Config::from_url(plain.as_ref().map_or(url, |plain| plain.expose()))?;
        config.fail_fast = false;
        let tls = plain.is_some().then(|| tls::connector(settings.certificate_authorities.as_deref())).transpose()?;
        config.tls = tls.clone().map(|connector| FredTls::Rustls(connector).into());
        let access = Access {
            username: config.username.clone(),
            password: config.password.clone().map(Secret::new),
            database: config.database.unwrap_or_default(),
            tls,
            timeout: settings.timeout,
        };
        let server = config.server.clone();
        let pool = Builder::from_config(config)
            .with_performance_config(|performance| performance.default_command_timeout = settings.timeout)
            .with_connection_config(|connection| {
                connection.connection_timeout = settings.timeout;
                connection.internal_command_timeout = settings.timeout;
                connection.max_command_attempts = 1;
                // Redirections are followed by `redirected`: fred ends its task when it is to follow ASK with one
                // attempt, and takes the answer of another command for that of ASKING with more.
                connection.max_redirections = 0;
                connection.max_command_buffer_len = LONGEST_QUEUE;
                connection.tcp.nodelay = Some(true);
                connection.unresponsive =
                    UnresponsiveConfig { max_timeout: Some(settings.timeout * 2), interval: settings.timeout };
                connection.reconnect_errors =
                    vec![ReconnectError::ReadOnly, ReconnectError::Loading, ReconnectError::MasterDown];
            })
            .set_policy(ReconnectPolicy::new_exponential(0, 50, 2_000, 2))
            .build_pool(CONNECTIONS)?;
        report_connections(&pool);
        for client in pool.clients() {
            tokio::spawn(keep_connected(client.clone()));
        }
        let records = RedisStore::new(pool.clone());
        let invalidation = Invalidation::new(server, access, pool.clone());
        Ok(Self { records, pool, prefix: settings.prefix.clone(), timeout: settings.timeout, invalidation })
    }

    /// Asks again when the keys were at another node of a cluster. Whoever is sent away has changed nothing; fred
    /// learns from it where a slot is now. A slot that is just moving has arrived in a moment, or is an outage.
    async fn redirected<T, E, Asked>(&self, ask: impl Fn() -> Asked + Send + Sync) -> Result<T, E>
    where
        Asked: Future<Output = Result<T, E>> + Send,
        E: fmt::Display,
    {
        let started = Instant::now();
        loop {
            match ask().await {
                Err(error) if is_redirection(&error) && started.elapsed() < self.timeout => {
                    tokio::time::sleep(REDIRECTION_PAUSE).await;
                }
                answered => return answered,
            }
        }
    }

    fn key(&self, kind: &str, name: &str) -> String {
        format!("{}{kind}:{name}", self.prefix)
    }

    fn value_key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// What belongs to a record lies in its slot.
    fn key_beside(&self, kind: &str, handle: SessionHandle) -> String {
        format!("{}{kind}:{{{handle}}}", self.prefix)
    }
}

/// Keeps a client connecting: some errors in the midst of a cluster's change end fred's task.
async fn keep_connected(client: Client) {
    // Ends well only when the client is told to quit.
    while !matches!(client.connect().await, Ok(Ok(()))) {
        tokio::time::sleep(RESTART_PAUSE).await;
    }
}

/// Fred's error when it may not follow a redirection; the record store passes on its text alone.
fn is_redirection(error: &impl fmt::Display) -> bool {
    error.to_string().contains("Too many redirections")
}

/// Says why there is no connection (wrong password, refused, READONLY), which the failing operations themselves do not
/// know: each reason once, until the connection is back.
fn report_connections(pool: &Pool) {
    let known = Arc::new(Mutex::new(String::new()));
    let replace = move |known: &Mutex<String>, reason: String| {
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = *known != reason;
        *known = reason;
        is_new
    };
    for client in pool.clients() {
        let reasons = known.clone();
        client.on_error(move |(error, _)| {
            if replace(&reasons, error.to_string()) {
                tracing::warn!(%error, "there is no connection to Redis");
            }
            std::future::ready(Ok(()))
        });
        let reasons = known.clone();
        client.on_reconnect(move |_| {
            if replace(&reasons, String::new()) {
                tracing::info!("the connection to Redis is back");
            }
            std::future::ready(Ok(()))
        });
    }
}

impl fmt::Debug for RedisBackend {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RedisBackend").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

#[async_trait]
impl SessionStore for RedisBackend {
    async fn create(&self, record: &mut Record) -> session_store::Result<()> {
        let record = tokio::sync::Mutex::new(record);
        self.redirected(|| async { self.records.create(*record.lock().await).await }).await
    }

    async fn save(&self, record: &Record) -> session_store::Result<()> {
        self.redirected(|| self.records.save(record)).await
    }

    async fn load(&self, id: &Id) -> session_store::Result<Option<Record>> {
        self.redirected(|| self.records.load(id)).await
    }

    async fn delete(&self, id: &Id) -> session_store::Result<()> {
        self.redirected(|| self.records.delete(id)).await
    }
}

#[async_trait]
impl SessionBackend for RedisBackend {
    async fn load_watched(&self, handle: SessionHandle) -> Result<Loaded, StoreError> {
        let note_key = self.key_beside(NOTE, handle);
        let Some(read) = self.invalidation.read(handle, &note_key).await? else {
            let id = handle.id();
            let note = self.redirected(|| self.pool.get(&note_key));
            let (record, note) = tokio::join!(self.load(&id), note);
            return Ok(Loaded { record: record?, note: note?, expires: None, watch: None });
        };
        let Read { record, note, expires, watch } = read;
        // The format of `RedisStore`, which wrote it.
        let record = record.map(|bytes| rmp_serde::from_slice(&bytes));
        let record = record.transpose().map_err(|error| session_store::Error::Decode(error.to_string()))?;
        Ok(Loaded { record, note: note.map(Into::into), expires, watch: Some(watch) })
    }

    fn tell(&self, listener: Weak<dyn InvalidationListener>) {
        self.invalidation.tell(listener);
    }

    async fn note(&self, handle: SessionHandle, note: &[u8], until: OffsetDateTime) -> Result<(), StoreError> {
        let key = self.key_beside(NOTE, handle);
        Ok(self.redirected(|| self.pool.set(&key, note, Some(at(until)), None, false)).await?)
    }

    async fn end(&self, handle: SessionHandle, tombstone: Option<(&[u8], OffsetDateTime)>) -> Result<bool, StoreError> {
        // The tombstone first: nobody should find the session gone without a reason.
        if let Some((tombstone, until)) = tombstone {
            let key = self.key_beside(TOMBSTONE, handle);
            let left =
                self.redirected(|| self.pool.set::<(), _, _>(&key, tombstone, Some(at(until)), None, false)).await;
            // A Redis that is full takes no tombstone; that the session ends is worth more than its reason.
            if let Err(error) = left {
                tracing::warn!(session = %handle, %error, "an ended session could not be told why");
            }
        }
        let (note, record) = (self.key_beside(NOTE, handle), handle.to_string());
        let note = self.redirected(|| self.pool.del::<i64, _>(&note));
        let record = self.redirected(|| self.pool.del::<i64, _>(&record));
        let (_, records) = tokio::try_join!(note, record)?;
        Ok(records > 0)
    }

    async fn tombstone(&self, handle: SessionHandle) -> Result<Option<Vec<u8>>, StoreError> {
        let key = self.key_beside(TOMBSTONE, handle);
        Ok(self.redirected(|| self.pool.get(&key)).await?)
    }

    async fn keep(&self, handle: SessionHandle, until: OffsetDateTime) -> Result<(), StoreError> {
        let (until, options) = (until.unix_timestamp() + 1, Some(ExpireOptions::GT));
        let (note, record) = (self.key_beside(NOTE, handle), handle.to_string());
        let keep = || async {
            let pipeline = self.pool.next().pipeline();
            let _: () = pipeline.expire_at(&record, until, options.clone()).await?;
            let _: () = pipeline.expire_at(&note, until, options.clone()).await?;
            pipeline.all::<Vec<i64>>().await
        };
        self.redirected(keep).await?;
        Ok(())
    }

    async fn claim_once(&self, name: &str, lifetime: Duration) -> Result<bool, StoreError> {
        let key = self.key("once", name);
        let claim = || self.pool.set(&key, 1, Some(within(lifetime)), Some(SetOptions::NX), false);
        Ok(self.redirected(claim).await?)
    }

    async fn prolong(&self, name: &str, lifetime: Duration) -> Result<bool, StoreError> {
        let key = self.key("once", name);
        let prolong = || self.pool.set(&key, 1, Some(within(lifetime)), Some(SetOptions::XX), false);
        Ok(self.redirected(prolong).await?)
    }

    async fn release(&self, name: &str) -> Result<(), StoreError> {
        let key = self.key("once", name);
        Ok(self.redirected(|| self.pool.del(&key)).await?)
    }

    async fn put(&self, name: &str, value: &[u8], until: Option<OffsetDateTime>) -> Result<(), StoreError> {
        let key = self.value_key(name);
        Ok(self.redirected(|| self.pool.set(&key, value, until.map(at), None, false)).await?)
    }

    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let key = self.value_key(name);
        Ok(self.redirected(|| self.pool.get(&key)).await?)
    }

    async fn remove(&self, name: &str) -> Result<(), StoreError> {
        let key = self.value_key(name);
        Ok(self.redirected(|| self.pool.del(&key)).await?)
    }

    async fn list_insert(&self, list: &str, member: &str, score: i64, until: OffsetDateTime) -> Result<(), StoreError> {
        let key = self.key("index", list);
        let until = until.unix_timestamp() + 1;
        let insert = || async {
            let pipeline = self.pool.next().pipeline();
            let _: () = pipeline.zadd(&key, None, None, false, false, (exact(score), member)).await?;
            // The list lives as long as its longest member: NX gives it an expiry, GT only ever extends it.
            let _: () = pipeline.expire_at(&key, until, Some(ExpireOptions::NX)).await?;
            let _: () = pipeline.expire_at(&key, until, Some(ExpireOptions::GT)).await?;
            pipeline.all::<Vec<i64>>().await
        };
        self.redirected(insert).await?;
        Ok(())
    }

    async fn list_remove(&self, list: &str, member: &str) -> Result<(), StoreError> {
        let key = self.key("index", list);
        Ok(self.redirected(|| self.pool.zrem(&key, member)).await?)
    }

    async fn list_down_from(&self, list: &str, highest: i64, limit: usize) -> Result<Vec<(String, i64)>, StoreError> {
        let (from, to) = (exact(highest), f64::NEG_INFINITY);
        let limit = Some((0, i64::try_from(limit).unwrap_or(i64::MAX)));
        let key = self.key("index", list);
        let found: Vec<(String, f64)> =
            self.redirected(|| self.pool.zrange(&key, from, to, Some(ZSort::ByScore), true, limit, true)).await?;
        Ok(found.into_iter().map(|(member, score)| (member, whole(score))).collect())
    }

    async fn list_up_to(&self, list: &str, highest: i64, limit: usize) -> Result<Vec<String>, StoreError> {
        let (from, to) = (f64::NEG_INFINITY, exact(highest));
        let limit = Some((0, i64::try_from(limit).unwrap_or(i64::MAX)));
        let key = self.key("index", list);
        let read = || self.pool.zrange(&key, from, to, Some(ZSort::ByScore), false, limit, false);
        Ok(self.redirected(read).await?)
    }

    async fn list_delete(&self, list: &str) -> Result<(), StoreError> {
        let key = self.key("index", list);
        Ok(self.redirected(|| self.pool.del(&key)).await?)
    }

    async fn list_length(&self, list: &str) -> Result<u64, StoreError> {
        let key = self.key("index", list);
        Ok(self.redirected(|| self.pool.zcard(&key)).await?)
    }

    async fn ping(&self) -> Result<(), StoreError> {
        let _: String = self.pool.ping(None).await?;
        Ok(())
    }
}

fn at(moment: OffsetDateTime) -> Expiration {
    let milliseconds = moment.unix_timestamp_nanos() / 1_000_000;
    Expiration::PXAT(i64::try_from(milliseconds).unwrap_or(i64::MAX))
}

fn within(lifetime: Duration) -> Expiration {
    Expiration::PX(i64::try_from(lifetime.whole_milliseconds()).unwrap_or(i64::MAX))
}

/// A sorted set's score. Milliseconds since 1970 are exact in an `f64` for the next hundred thousand years.
#[expect(clippy::cast_precision_loss, reason = "see above")]
fn exact(score: i64) -> f64 {
    score as f64
}

#[expect(clippy::cast_possible_truncation, reason = "only whole numbers are written")]
fn whole(score: f64) -> i64 {
    score as i64
}
