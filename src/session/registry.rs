//! The session registry: which live sessions a person has, and which came from one session at the provider.
//!
//! An index of handles by (issuer, subject) and by (issuer, `sid`) (R-G12). The record in the store alone
//! decides whether a session lives: an entry that points at nothing is harmless and pruned by its time, so
//! correctness never depends on the store telling about expired keys.

use std::sync::Arc;

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use time::OffsetDateTime;

use super::key::SessionHandle;
use super::record::SessionRecord;
use super::store::{SessionBackend, StoreError};

/// The name of one list of sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index(String);

impl Index {
    /// All sessions of one person at one provider.
    pub fn subject(issuer: &str, subject: &str) -> Self {
        Self::named("subject", issuer, subject)
    }

    /// All sessions that came from one session at the provider.
    pub fn provider_session(issuer: &str, sid: &str) -> Self {
        Self::named("provider-session", issuer, sid)
    }

    fn named(kind: &str, issuer: &str, name: &str) -> Self {
        // Hashed: names may be of any length and alphabet, and key listings need not show them. The length
        // in front keeps ("a", "bc") apart from ("ab", "c").
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(&u64::try_from(issuer.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(issuer.as_bytes());
        context.update(name.as_bytes());
        Self(format!("{kind}:{}", URL_SAFE_NO_PAD.encode(context.finish())))
    }

    fn of(record: &SessionRecord) -> impl Iterator<Item = Self> {
        let issuer = &record.identity.issuer;
        let by_provider_session = record.provider_session.iter().map(|sid| Self::provider_session(issuer, sid));
        std::iter::once(Self::subject(issuer, &record.identity.subject)).chain(by_provider_session)
    }

    /// The index's name in the store.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The registry of one store.
#[derive(Debug)]
pub(super) struct Registry {
    backend: Arc<dyn SessionBackend>,
}

impl Registry {
    pub(super) fn new(backend: Arc<dyn SessionBackend>) -> Self {
        Self { backend }
    }

    /// Enters a session in every index it belongs to, until its absolute timeout.
    pub(super) async fn insert(
        &self,
        record: &SessionRecord,
        handle: SessionHandle,
        until: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Result<(), StoreError> {
        for index in Index::of(record) {
            self.backend.index_insert(&index, handle, until, now).await?;
        }
        Ok(())
    }

    /// Takes a session out of every index it belongs to.
    pub(super) async fn remove(&self, record: &SessionRecord, handle: SessionHandle) -> Result<(), StoreError> {
        for index in Index::of(record) {
            self.forget(&index, handle).await?;
        }
        Ok(())
    }

    /// Takes a session out of one index.
    pub(super) async fn forget(&self, index: &Index, handle: SessionHandle) -> Result<(), StoreError> {
        self.backend.index_remove(index, handle).await
    }

    /// The sessions of an index that may still live, oldest expiry first.
    pub(super) async fn list(&self, index: &Index, now: OffsetDateTime) -> Result<Vec<SessionHandle>, StoreError> {
        self.backend.index_list(index, now).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issuer_and_subject_cannot_be_shifted_into_each_other() {
        assert_ne!(Index::subject("a", "bc"), Index::subject("ab", "c"));
        assert_ne!(Index::subject("a", "b"), Index::provider_session("a", "b"));
    }
}
