//! Where sessions are kept: one contract, two stores.
//!
//! [`SessionBackend`] is the contract that `redis` and `memory` fulfil, and that `tests/` runs one suite
//! against. It extends `tower_sessions::SessionStore` (the records) by what a record store lacks: names that
//! can be taken once, and indexes. [`sealed`] encrypts what goes into it.

pub mod memory;
pub mod redis;
pub mod sealed;

use async_trait::async_trait;
use thiserror::Error;
use time::{Duration, OffsetDateTime};
use tower_sessions::SessionStore;

use super::key::SessionHandle;
use super::registry::Index;

/// The store could not be asked, or did not take it. Says nothing about any session.
#[derive(Debug, Error)]
pub enum StoreError {
    /// Reading or writing a record failed.
    #[error("the session store failed: {0}")]
    Records(#[from] tower_sessions::session_store::Error),
    /// A command beside the records failed.
    #[error("the session store failed: {0}")]
    Redis(#[from] fred::error::Error),
    /// A session of the same handle exists: with 110 bits of hash this is a damaged random generator.
    #[error("a session of the same handle exists")]
    HandleTaken,
}

/// What a store of sessions must do.
///
/// Of the record store's own methods: `create` never overwrites, `save` changes only what exists (so that
/// nothing in flight revives a deleted session, R-G09), `load` never returns what has expired.
#[async_trait]
pub trait SessionBackend: SessionStore {
    /// Takes a name for `lifetime`; `true` for exactly one of any number of simultaneous callers.
    async fn claim_once(&self, name: &str, lifetime: Duration) -> Result<bool, StoreError>;

    /// Adds a handle to an index until a moment, and takes out those whose moment has come; adding it again moves
    /// the moment.
    async fn index_insert(
        &self,
        index: &Index,
        handle: SessionHandle,
        until: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Result<(), StoreError>;

    /// Takes a handle out of an index.
    async fn index_remove(&self, index: &Index, handle: SessionHandle) -> Result<(), StoreError>;

    /// The handles of an index whose moment has not come, by moment.
    async fn index_list(&self, index: &Index, now: OffsetDateTime) -> Result<Vec<SessionHandle>, StoreError>;

    /// Whether the store answers.
    async fn ping(&self) -> Result<(), StoreError>;
}
