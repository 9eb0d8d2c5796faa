//! The settings to reach Redis.

use std::time::Duration as StdDuration;

use counterfoil_core::secret::Secret;
use counterfoil_session::store::StoreError;

use crate::address;

/// Begins every key but the records' own, unless told otherwise.
const PREFIX: &str = "counterfoil:";
/// Longest wait for Redis, unless told otherwise.
const TIMEOUT: StdDuration = StdDuration::from_secs(1);

/// The settings to reach Redis.
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

impl RedisSettings {
    /// Checks that the address can be read, without asking anybody. Of TLS nothing is said.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot.
    pub fn check_url(&self) -> Result<(), StoreError> {
        let without_tls = self.url.expose().replacen("rediss", "redis", 1);
        address::configuration(&without_tls).map(drop).map_err(StoreError::backend)
    }
}

impl From<&str> for RedisSettings {
    /// An address with everything else at its default: keys begin with `counterfoil:`, waits end after 1 s.
    fn from(url: &str) -> Self {
        let (url, prefix) = (Secret::new(url.to_owned()), PREFIX.to_owned());
        Self { url, certificate_authorities: None, prefix, timeout: TIMEOUT }
    }
}

impl From<&Self> for RedisSettings {
    fn from(settings: &Self) -> Self {
        settings.clone()
    }
}
