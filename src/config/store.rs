//! `[store]`: where sessions are kept.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use super::reader::Reader;
use crate::clock::SharedClock;
use crate::secret::Secret;
use crate::session::store::memory::MemoryStore;
use crate::session::store::redis::{RedisBackend, RedisSettings};
use crate::session::store::{SessionBackend, StoreError};

/// Begins every Redis key but the records' own, unless configured.
const DEFAULT_PREFIX: &str = "counterfoil:";
/// Longest wait for the store, unless configured.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);
const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_mins(1);

/// The `[store]` section.
#[derive(Debug, Clone)]
pub enum StoreSettings {
    /// In this process alone.
    Memory,
    /// In Redis.
    Redis(RedisSettings),
}

impl StoreSettings {
    /// Reads a store URL with everything else at its default.
    ///
    /// # Errors
    /// What is wrong with the URL, without repeating it: it may hold a password.
    pub fn of_url(url: Secret<String>) -> Result<Self, &'static str> {
        if url.expose() == "memory:" {
            return Ok(Self::Memory);
        }
        let parsed = url::Url::parse(url.expose()).map_err(|_| "must be a URL such as redis://127.0.0.1:6379/0")?;
        match parsed.scheme() {
            "redis" | "rediss" if parsed.host_str().is_some_and(|host| !host.is_empty()) => {
                Ok(Self::Redis(RedisSettings { url, prefix: DEFAULT_PREFIX.into(), timeout: DEFAULT_TIMEOUT }))
            }
            "redis-cluster" | "rediss-cluster" | "redis-sentinel" | "rediss-sentinel" => {
                Err("this version speaks to a single Redis server: redis:// or rediss://")
            }
            _ => Err("must be redis://, rediss:// or memory:"),
        }
    }

    /// Opens the store. A Redis that is down is no error: it is connected to as soon as it is there.
    ///
    /// # Errors
    /// [`StoreError`] if its URL or TLS set-up cannot be used.
    pub fn open(&self, clock: SharedClock) -> Result<Arc<dyn SessionBackend>, StoreError> {
        Ok(match self {
            Self::Memory => Arc::new(MemoryStore::new(clock)),
            Self::Redis(settings) => Arc::new(RedisBackend::connect(settings)?),
        })
    }
}

pub(super) fn read(section: &mut Reader, warnings: &mut Vec<String>) -> Option<StoreSettings> {
    let url = section.secret("url");
    let prefix = section.or("prefix", DEFAULT_PREFIX.to_owned());
    if prefix.starts_with("cf-") || prefix.is_empty() || !prefix.is_ascii() {
        section.fault("prefix", "must be plain text, not empty and not begin with `cf-`, which names the records");
    }
    let timeout = section.or("timeout", DEFAULT_TIMEOUT);
    if !TIMEOUTS.contains(&timeout) {
        section.fault("timeout", "must be between 10ms and 1m");
    }
    let entries = section.optional::<u64>("near_cache_entries");
    let max_age = section.optional::<Duration>("near_cache_max_age");
    if entries.is_some_and(|entries| entries > 0) || max_age.is_some() {
        warnings.push("store.near_cache_entries: has no effect in this version: every check asks the store".into());
    }
    let Some(url) = url else {
        section.fault("url", "is missing: redis://127.0.0.1:6379/0, or memory: for trials");
        return None;
    };
    match StoreSettings::of_url(url) {
        Ok(StoreSettings::Memory) => {
            warnings.push("store.url: sessions are kept in this process and end with it".into());
            Some(StoreSettings::Memory)
        }
        Ok(StoreSettings::Redis(settings)) => Some(StoreSettings::Redis(RedisSettings { prefix, timeout, ..settings })),
        Err(problem) => {
            section.fault("url", problem);
            None
        }
    }
}
