//! `[store]`: the place where sessions are kept.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use super::reader::Reader;
use crate::clock::SharedClock;
use crate::secret::Secret;
use crate::session::NearCacheSettings;
use crate::session::store::memory::MemoryStore;
use crate::session::store::{SessionBackend, StoreError};
#[cfg(feature = "redis")]
use crate::session_redis::{RedisBackend, RedisSettings};

/// Begins every Redis key but the records' own, unless configured.
const DEFAULT_PREFIX: &str = "counterfoil:";
/// Longest wait for the store, unless configured.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);
const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_mins(1);

/// Most entries of the near cache, unless configured: some 200 MB when they are all there.
const DEFAULT_ENTRIES: u64 = 100_000;
const MOST_ENTRIES: u64 = 10_000_000;
/// Longest time that anything is cached, unless configured.
const DEFAULT_MAX_AGE: Duration = Duration::from_mins(1);
const MAX_AGES: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(1);

/// The `[store]` section.
#[derive(Debug, Clone)]
pub enum StoreSettings {
    /// A store in this process alone.
    Memory,
    /// A store in Redis.
    #[cfg(feature = "redis")]
    Redis(RedisSettings),
}

impl StoreSettings {
    /// Reads a store URL with everything else at its default.
    ///
    /// # Errors
    /// The fault in the URL, without repeating it: it may hold a password.
    pub fn of_url(url: Secret<String>) -> Result<Self, &'static str> {
        if url.expose() == "memory:" {
            return Ok(Self::Memory);
        }
        let parsed = url::Url::parse(url.expose()).map_err(|_| "must be a URL such as redis://127.0.0.1:6379/0")?;
        match parsed.scheme() {
            "redis-sentinel" | "rediss-sentinel"
                if !parsed.query_pairs().any(|(name, _)| name == "sentinelServiceName") =>
            {
                Err(
                    "must name the primary: redis-sentinel://host:26379/0?sentinelServiceName=mymaster&node=host2:26379",
                )
            }
            "redis" | "rediss" | "redis-cluster" | "rediss-cluster" | "redis-sentinel" | "rediss-sentinel"
                if parsed.host_str().is_some_and(|host| !host.is_empty()) =>
            {
                Self::redis(url)
            }
            _ => Err("must be redis://, redis-sentinel://, redis-cluster://, each with rediss for TLS, or memory:"),
        }
    }

    #[cfg(feature = "redis")]
    fn redis(url: Secret<String>) -> Result<Self, &'static str> {
        let (prefix, timeout) = (DEFAULT_PREFIX.into(), DEFAULT_TIMEOUT);
        let settings = RedisSettings { url, certificate_authorities: None, prefix, timeout };
        settings.check_url().map_err(|_| {
            "must end in host:port/database, the database a number; in user and password write @ as %40, # as %23, / as %2F \
             and % as %25"
        })?;
        Ok(Self::Redis(settings))
    }

    #[cfg(not(feature = "redis"))]
    fn redis(_: Secret<String>) -> Result<Self, &'static str> {
        Err("is Redis, which this program was built without (feature `redis`)")
    }

    /// Opens the store. A Redis that is down is no error: it is connected to as soon as it is there.
    ///
    /// # Errors
    /// [`StoreError`] if its URL or TLS set-up cannot be used.
    pub fn open(&self, clock: SharedClock) -> Result<Arc<dyn SessionBackend>, StoreError> {
        Ok(match self {
            Self::Memory => Arc::new(MemoryStore::new(clock)),
            #[cfg(feature = "redis")]
            Self::Redis(settings) => Arc::new(RedisBackend::connect(settings)?),
        })
    }
}

pub(super) fn read_near_cache(section: &mut Reader) -> NearCacheSettings {
    let entries = section.or("near_cache_entries", DEFAULT_ENTRIES);
    if entries > MOST_ENTRIES {
        section.fault("near_cache_entries", "must be at most 10000000");
    }
    let max_age = section.or("near_cache_max_age", DEFAULT_MAX_AGE);
    if !MAX_AGES.contains(&max_age) {
        section.fault("near_cache_max_age", "must be between 1s and 1h");
    }
    NearCacheSettings { entries: usize::try_from(entries).unwrap_or(usize::MAX), max_age }
}

pub(super) fn read(section: &mut Reader, warnings: &mut Vec<String>) -> Option<StoreSettings> {
    let url = section.secret("url");
    let prefix = section.or("prefix", DEFAULT_PREFIX.to_owned());
    if prefix.starts_with("cf-") || prefix.is_empty() || !prefix.bytes().all(|byte| byte.is_ascii_graphic()) {
        section.fault("prefix", "must be plain text, not empty and not begin with `cf-`, which names the records");
    }
    let timeout = section.or("timeout", DEFAULT_TIMEOUT);
    if !TIMEOUTS.contains(&timeout) {
        section.fault("timeout", "must be between 10ms and 1m");
    }
    if prefix.contains(['{', '}']) {
        section.fault("prefix", "must not contain braces, which decide where a cluster keeps a key");
    }
    let ca_file = section.optional::<String>("ca_file");
    #[cfg_attr(not(feature = "redis"), expect(unused_variables, reason = "no store without Redis has TLS"))]
    let certificate_authorities = ca_file.and_then(|path| match std::fs::read_to_string(&path) {
        Ok(pem) => Some(pem),
        Err(error) => {
            section.fault("ca_file", format!("{path} cannot be read: {error}"));
            None
        }
    });
    let Some(url) = url else {
        section.fault("url", "is missing: redis://127.0.0.1:6379/0, or memory: for trials");
        return None;
    };
    match StoreSettings::of_url(url) {
        Ok(StoreSettings::Memory) => {
            warnings.push("store.url: sessions are kept in this process and end with it".into());
            Some(StoreSettings::Memory)
        }
        #[cfg(feature = "redis")]
        Ok(StoreSettings::Redis(settings)) => {
            if certificate_authorities.is_some() && !settings.url.expose().starts_with("rediss") {
                section.fault("ca_file", "is for TLS alone: the URL must begin with rediss");
            }
            Some(StoreSettings::Redis(RedisSettings { certificate_authorities, prefix, timeout, ..settings }))
        }
        Err(problem) => {
            section.fault("url", problem);
            None
        }
    }
}
