//! What a provider told once: so that a notice that is repeated has no further effect (R-J12).
//!
//! A notice is remembered after it was carried out, not before: the provider repeats what was answered with an error,
//! and whatever became of a half-taken notice, repeating it must work. That two copies at the same moment are both
//! carried out does no harm: they end the same sessions.

use time::OffsetDateTime;

use super::Sessions;
use super::registry::Index;
use super::store::StoreError;

impl Sessions {
    /// Whether a notice (`jti` of an issuer) was carried out before.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be asked: the provider is to try again.
    pub async fn knows_notice(&self, issuer: &str, jti: &str) -> Result<bool, StoreError> {
        Ok(self.0.backend.get(&name(issuer, jti)).await?.is_some())
    }

    /// Remembers that a notice was carried out, for as long as it could be sent again.
    ///
    /// # Errors
    /// [`StoreError`] if the store did not take it: it would have an effect if it were repeated.
    pub async fn remember_notice(&self, issuer: &str, jti: &str, until: OffsetDateTime) -> Result<(), StoreError> {
        self.0.backend.put(&name(issuer, jti), b"1", Some(until)).await
    }
}

/// Hashed: issuers choose names of any length.
fn name(issuer: &str, jti: &str) -> String {
    Index::notice(issuer, jti).as_str().to_owned()
}
