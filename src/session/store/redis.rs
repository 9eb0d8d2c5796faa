//! Sessions in Redis (7 or newer), shared by every replica.
//!
//! Records go through `tower_sessions_redis_store::RedisStore`, under their handle as the key; everything else
//! goes through the same client, under keys that begin with the configured prefix. Each operation touches the
//! keys of one hash slot only.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration as StdDuration;

use async_trait::async_trait;
use fred::clients::Pool;
use fred::interfaces::{ClientLike, EventInterface, KeysInterface, SortedSetsInterface};
use fred::types::config::{Config, ReconnectError, ReconnectPolicy, UnresponsiveConfig};
use fred::types::{Builder, Expiration, ExpireOptions, SetOptions};
use time::{Duration, OffsetDateTime};
use tower_sessions::SessionStore;
use tower_sessions::session::{Id, Record};
use tower_sessions::session_store;
use tower_sessions_redis_store::RedisStore;

use super::{SessionBackend, StoreError};
use crate::secret::Secret;
use crate::session::key::SessionHandle;
use crate::session::registry::Index;

/// Connections: commands on one are pipelined, so more than one per core gains nothing (measured).
const CONNECTIONS: usize = 2;
/// Commands that may wait on a connection before new ones fail at once.
const LONGEST_QUEUE: usize = 10_000;

/// How to reach Redis.
#[derive(Debug, Clone)]
pub struct RedisSettings {
    /// `redis://` or `rediss://`, with credentials and database if needed.
    pub url: Secret<String>,
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
}

impl RedisBackend {
    /// Starts connecting in the background and keeps doing so for ever: a store that is down is reported by
    /// each operation, and is used again as soon as it is back.
    ///
    /// # Errors
    /// [`StoreError::Redis`] if the URL or its TLS set-up cannot be used.
    pub fn connect(settings: &RedisSettings) -> Result<Self, StoreError> {
        let mut config = Config::from_url(settings.url.expose())?;
        config.fail_fast = false;
        let pool = Builder::from_config(config)
            .with_performance_config(|performance| performance.default_command_timeout = settings.timeout)
            .with_connection_config(|connection| {
                connection.connection_timeout = settings.timeout;
                connection.internal_command_timeout = settings.timeout;
                connection.max_command_attempts = 1;
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
        pool.connect_pool();
        Ok(Self { records: RedisStore::new(pool.clone()), pool, prefix: settings.prefix.clone() })
    }

    fn index_key(&self, index: &Index) -> String {
        format!("{}index:{}", self.prefix, index.as_str())
    }
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
        self.records.create(record).await
    }

    async fn save(&self, record: &Record) -> session_store::Result<()> {
        self.records.save(record).await
    }

    async fn load(&self, id: &Id) -> session_store::Result<Option<Record>> {
        self.records.load(id).await
    }

    async fn delete(&self, id: &Id) -> session_store::Result<()> {
        self.records.delete(id).await
    }
}

#[async_trait]
impl SessionBackend for RedisBackend {
    async fn claim_once(&self, name: &str, lifetime: Duration) -> Result<bool, StoreError> {
        let key = format!("{}once:{name}", self.prefix);
        let expires = Expiration::PX(milliseconds(lifetime));
        Ok(self.pool.set(key, 1, Some(expires), Some(SetOptions::NX), false).await?)
    }

    async fn index_insert(
        &self,
        index: &Index,
        handle: SessionHandle,
        until: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Result<(), StoreError> {
        let key = self.index_key(index);
        let until = until.unix_timestamp() + 1;
        let pipeline = self.pool.next().pipeline();
        let _: () = pipeline.zremrangebyscore(&key, f64::NEG_INFINITY, seconds(now.unix_timestamp())).await?;
        let _: () = pipeline.zadd(&key, None, None, false, false, (seconds(until), handle.to_string())).await?;
        // The index lives as long as its longest entry: NX gives it an expiry, GT only ever extends it.
        let _: () = pipeline.expire_at(&key, until, Some(ExpireOptions::NX)).await?;
        let _: () = pipeline.expire_at(&key, until, Some(ExpireOptions::GT)).await?;
        let _: Vec<i64> = pipeline.all().await?;
        Ok(())
    }

    async fn index_remove(&self, index: &Index, handle: SessionHandle) -> Result<(), StoreError> {
        let _: () = self.pool.zrem(self.index_key(index), handle.to_string()).await?;
        Ok(())
    }

    async fn index_list(&self, index: &Index, now: OffsetDateTime) -> Result<Vec<SessionHandle>, StoreError> {
        let key = self.index_key(index);
        let now = seconds(now.unix_timestamp());
        let _: () = self.pool.zremrangebyscore(&key, f64::NEG_INFINITY, now).await?;
        let members: Vec<String> = self.pool.zrange(&key, 0, -1, None, false, None, false).await?;
        Ok(members.iter().filter_map(|member| member.parse().ok()).collect())
    }

    async fn ping(&self) -> Result<(), StoreError> {
        let _: String = self.pool.ping(None).await?;
        Ok(())
    }
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.whole_milliseconds()).unwrap_or(i64::MAX)
}

/// A sorted set's score; seconds since 1970 are exact in an `f64` for the next hundred million years.
#[expect(clippy::cast_precision_loss, reason = "see above")]
fn seconds(unix_timestamp: i64) -> f64 {
    unix_timestamp as f64
}
