//! The store of sessions: six traits, and the two things that stand on them.
//!
//! A store keeps records and what belongs to them ([`RecordStore`]), small values and hashes ([`KeyValue`]), leases
//! ([`LeaseStore`]), sorted sets ([`SortedSets`]) and logs ([`Log`]), and tells of changes ([`InvalidationFeed`]). One that
//! does all of it is a [`SessionBackend`]: [`memory`] here, Redis in `counterfoil-session-redis`. The traits are public, and
//! not frozen yet: a store of your own has to follow them until version 1.0. `contract` is the suite that each store has to
//! pass (feature `test-util`).
//!
//! Of all six: a method is one atomic step unless it says otherwise, and touches the keys of one hash slot only, so that a
//! cluster can take it. A caller gives a name to one kind of thing only. No value is empty, or longer than a mebibyte.
//! Moments are kept to the millisecond unless said otherwise, and go by the store's own clock. An error says that the store
//! did not answer, not that nothing was done. What was written may be lost with the server that took it, unless the method
//! tells of replicas.
//!
//! Above them, `sealed` encrypts what goes in, and `near_cache` keeps what came out for as long as the store promises to
//! tell of changes.

#[cfg(any(test, feature = "test-util"))]
pub mod contract;
mod feed;
mod key_value;
mod lease_store;
pub mod log;
pub mod memory;
pub(crate) mod near_cache;
pub(crate) mod note;
mod record_store;
pub(crate) mod sealed;
mod sorted_sets;

use thiserror::Error;

use super::key_check::Foreign;

pub use self::feed::{Coverage, InvalidationFeed, InvalidationListener, Listeners, Watch};
pub use self::key_value::KeyValue;
pub use self::lease_store::{LeaseOwner, LeaseStore};
pub use self::log::Log;
pub use self::record_store::{Extension, Loaded, RecordStore, Remains};
pub use self::sorted_sets::SortedSets;

/// The store could not be asked, or did not take it. Says nothing about any session.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Reading or writing a record failed.
    #[error("the session store failed: {0}")]
    Records(#[from] tower_sessions::session_store::Error),
    /// A command beside the records failed.
    #[error("the session store failed: {0}")]
    Backend(Box<dyn std::error::Error + Send + Sync>),
    /// The store did not answer in time.
    #[error("the session store did not answer in time")]
    Timeout,
    /// Others worked on the same thing for too long.
    #[error("others work on the same session, person or block for too long")]
    LockTimeout,
    /// The log of cut-offs gave numbers that it gave before: it was deleted, or another server with an earlier clock took
    /// over. It has caught up.
    #[error("the numbers of the cut-off log had gone back, so some sessions were not meant: repeat the order")]
    NumbersWentBack,
    /// More persons without an index are searched for than fit into one look at all sessions.
    #[error("too many searches of all sessions at once")]
    TooManySearches,
    /// As many reviewers look through all sessions as may at a time in one process.
    #[error("too many lists, counts and dry runs look through all sessions at once: try again in a few seconds")]
    TooManyScans,
    /// It is not ours to use.
    #[error(transparent)]
    Foreign(#[from] Foreign),
    /// The store's certificate authorities cannot be used.
    #[error("no TLS to the session store: {0}")]
    Tls(String),
    /// There are as many standing cut-offs of many persons as there may be.
    #[error("too many revocations of many persons stand: lift blocks, or wait until some are over")]
    TooManyCutOffs,
    /// A session of the same handle exists: with 110 bits of hash this is a damaged random generator.
    #[error("a session of the same handle exists")]
    HandleTaken,
}

impl StoreError {
    /// Wraps a store's own error.
    pub fn backend(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Backend(error.into())
    }

    /// Returns the same failure for somebody else who waited for the same answer.
    pub(crate) fn for_another(&self) -> Self {
        match self {
            Self::Timeout => Self::Timeout,
            Self::Foreign(foreign) => Self::Foreign(*foreign),
            Self::Backend(error) => Self::backend(error.to_string()),
            error => Self::backend(error.to_string()),
        }
    }
}

/// A store of sessions: everything that the six traits promise, of one server or one cluster.
pub trait SessionBackend: RecordStore + KeyValue + LeaseStore + SortedSets + Log + InvalidationFeed {}

impl<Store> SessionBackend for Store where
    Store: RecordStore + KeyValue + LeaseStore + SortedSets + Log + InvalidationFeed
{
}
