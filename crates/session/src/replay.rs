//! The memory of providers' notices, which makes them idempotent: one that is repeated has no further effect (R-J12).
//!
//! A notice is remembered after it was carried out, not before: the provider repeats what was answered with an error,
//! and whatever became of a half-taken notice, repeating it must work. That two copies at the same moment are both
//! carried out does no harm: they end the same sessions.

use time::{Duration, OffsetDateTime};

use super::sessions::Sessions;
use super::store::{KeyValue, StoreError};

/// The clocks of two replicas may be apart: a notice is forgotten later than it could be sent again.
const REMEMBERED_LONGER: Duration = Duration::MINUTE;

/// The identity by which a notice counts once. Names are chosen by issuers, apart for every way and every recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayKey {
    /// The way it came.
    pub way: &'static str,
    /// The issuer that tells.
    pub issuer: String,
    /// The recipient that is told.
    pub audience: String,
    /// Its own name (`jti`).
    pub id: String,
}

impl Sessions {
    /// Is true if a notice was carried out before.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be asked: the provider is to try again.
    pub async fn is_replay(&self, name: &ReplayKey) -> Result<bool, StoreError> {
        Ok(self.0.store.get(self.0.store.names().await?.notice(name).as_str()).await?.is_some())
    }

    /// Remembers that a notice was carried out, for as long as it could be sent again.
    ///
    /// # Errors
    /// [`StoreError`] if the store did not take it: it would have an effect if it were repeated.
    pub async fn remember_notice(&self, name: &ReplayKey, until: OffsetDateTime) -> Result<(), StoreError> {
        let until = until.saturating_add(REMEMBERED_LONGER);
        self.0.store.put(self.0.store.names().await?.notice(name).as_str(), b"1", Some(until)).await
    }
}
