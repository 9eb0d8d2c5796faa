//! The keeping of sessions: one contract, two stores.
//!
//! [`SessionBackend`] is the contract that `redis` and `memory` fulfil, and that `tests/` runs one suite
//! against. It extends `tower_sessions::SessionStore` (the records) by what a record store lacks: names that
//! can be taken once, lists, small values, and reading a record so that its end will be heard of. Above it,
//! `sealed` encrypts what goes in, and `near_cache` keeps what came out for as long as the store promises to tell
//! of changes.

pub mod log;
pub mod memory;
pub(crate) mod near_cache;
pub(crate) mod note;
pub(crate) mod sealed;

use std::sync::{Arc, Weak};
use std::time::Instant;

use async_trait::async_trait;
use thiserror::Error;
use time::{Duration, OffsetDateTime};
use tokio::sync::Notify;
use tower_sessions::SessionStore;
use tower_sessions::session::Record;

use super::key::SessionHandle;
use super::key_check::Foreign;

use self::log::{Appended, LogNumber, LogRead};
pub use self::near_cache::{Lease, Watch};

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
    /// The log of cut-offs gives numbers that it gave before: it was deleted, or another server with an earlier clock took
    /// over.
    #[error(
        "the numbers of the cut-off log went back: the order counts for nothing; repeat it in a while, or restart the brokers"
    )]
    NumbersWentBack,
    /// More persons without an index are searched for than fit into one look at all sessions.
    #[error("too many searches of all sessions at once")]
    TooManySearches,
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
}

/// A record as the store had it when it was asked.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The record, if there is one and no tombstone outweighs it.
    pub record: Option<Record>,
    /// Set if a record lies there that its tombstone outweighs: its end came half through, or somebody put it back.
    pub is_outweighed: bool,
    /// The note that [`SessionBackend::create_note`] or [`SessionBackend::save_note`] left beside it, unless there is a
    /// tombstone. It may be there without a record.
    pub note: Option<Vec<u8>>,
    /// The moment the store will forget it by itself.
    pub expires: Option<Instant>,
    /// Says until when this may be believed without asking again. `None`: now and never again.
    pub watch: Option<Watch>,
}

/// The moments until which what belongs to one record is kept at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extension {
    /// The name of the record.
    pub handle: SessionHandle,
    /// The record is kept until then.
    pub record: OffsetDateTime,
    /// The note beside it is kept until then; `None` leaves that as it is.
    pub note: Option<OffsetDateTime>,
}

/// The parts of a session that a store has, without its record's content.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Remains {
    /// Set if there is a record.
    pub has_record: bool,
    /// The note beside it.
    pub note: Option<Vec<u8>>,
    /// Set if there is a tombstone.
    pub has_tombstone: bool,
}

/// Hears of records that changed or went, whoever did it.
pub trait InvalidationListener: Send + Sync {
    /// This record is no longer what it was.
    fn invalidate(&self, handle: SessionHandle);

    /// This log has an entry more, or less.
    fn invalidate_log(&self, log: &str);

    /// Nothing is known any more.
    fn invalidate_all(&self);
}

/// The contract of a store of sessions.
///
/// Of the record store's own methods: `create` never overwrites, `save` changes only what exists (so that
/// nothing in flight revives a deleted session, R-G09), `load` never returns what has expired or has a tombstone. No
/// value is empty, or longer than a mebibyte. Every method touches the keys of one hash slot only. Moments are kept
/// to the millisecond unless said otherwise.
#[async_trait]
pub trait SessionBackend: SessionStore {
    /// Loads a record, the note beside it, and the promise to tell when either is outdated, if there is one.
    async fn load_watched(&self, handle: SessionHandle) -> Result<Loaded, StoreError>;

    /// Tells `listener` from now on what changes; what [`Self::load_watched`] returned before is not covered. A
    /// store without replicas may have nothing to tell.
    fn subscribe(&self, listener: Weak<dyn InvalidationListener>);

    /// Is notified when a connection to the store was made anew, so that another server may answer. A store within the
    /// process has none.
    fn reconnected(&self) -> Option<Arc<Notify>> {
        None
    }

    /// Leaves a note for a record that is about to be created. A note is no record, and outlives it.
    async fn create_note(&self, handle: SessionHandle, note: &[u8], until: OffsetDateTime) -> Result<(), StoreError>;

    /// Replaces the note beside a record, if there is one, and keeps the record at least until `record` (in whole seconds),
    /// if that is given and there is one. Brings neither back. Whoever is told of the record's change finds the new note.
    async fn save_note(
        &self,
        handle: SessionHandle,
        note: &[u8],
        until: OffsetDateTime,
        record: Option<OffsetDateTime>,
    ) -> Result<(), StoreError>;

    /// Ends a session for good: deletes its record and note, and leaves a tombstone if one is given. Returns
    /// whether there was a record.
    async fn end(&self, handle: SessionHandle, tombstone: Option<(&[u8], OffsetDateTime)>) -> Result<bool, StoreError>;

    /// The tombstone of a session.
    async fn tombstone(&self, handle: SessionHandle) -> Result<Option<Vec<u8>>, StoreError>;

    /// Keeps records and notes, if they exist, at least until a moment (in whole seconds). Takes one round trip, however
    /// many slots they lie in.
    async fn extend_ttls(&self, extensions: &[Extension]) -> Result<(), StoreError>;

    /// Returns what is left of these sessions, in their order. Takes one round trip, however many slots they lie in.
    async fn remains(&self, handles: &[SessionHandle]) -> Result<Vec<Remains>, StoreError>;

    /// Takes a name for `lifetime`; `true` for exactly one of any number of simultaneous callers.
    async fn put_if_absent(&self, name: &str, lifetime: Duration) -> Result<bool, StoreError>;

    /// Keeps a name that [`Self::put_if_absent`] took for `lifetime` from now; `false` if nobody has it any more, which
    /// this does not change.
    async fn renew_lease(&self, name: &str, lifetime: Duration) -> Result<bool, StoreError>;

    /// Gives a name back that [`Self::put_if_absent`] took.
    async fn release_lease(&self, name: &str) -> Result<(), StoreError>;

    /// Keeps a small value under a name, until a moment or for ever.
    async fn put(&self, name: &str, value: &[u8], until: Option<OffsetDateTime>) -> Result<(), StoreError>;

    /// Keeps a small value under a name for ever, unless there is one; `true` for exactly one of any number of
    /// simultaneous callers.
    async fn put_new(&self, name: &str, value: &[u8]) -> Result<bool, StoreError>;

    /// The value under a name.
    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError>;

    /// Removes the value under a name.
    async fn remove(&self, name: &str) -> Result<(), StoreError>;

    /// Adds a member to a list, or moves it; the list lives at least until a moment (in whole seconds).
    async fn list_insert(&self, list: &str, member: &str, score: i64, until: OffsetDateTime) -> Result<(), StoreError>;

    /// Takes a member out of a list; `false` if it was not in it.
    async fn list_remove(&self, list: &str, member: &str) -> Result<bool, StoreError>;

    /// Returns `limit` members at most, scored `highest` at most, highest first; equal scores by member, downwards.
    async fn list_down_from(&self, list: &str, highest: i64, limit: usize) -> Result<Vec<(String, i64)>, StoreError>;

    /// Returns `limit` members at most, scored `highest` at most, lowest first.
    async fn list_up_to(&self, list: &str, highest: i64, limit: usize) -> Result<Vec<String>, StoreError>;

    /// Takes members out of a list.
    async fn list_remove_all(&self, list: &str, members: &[String]) -> Result<(), StoreError>;

    /// Keeps a list, if it exists, at least until a moment (in whole seconds).
    async fn list_extend(&self, list: &str, until: OffsetDateTime) -> Result<(), StoreError>;

    /// Deletes a whole list.
    async fn list_delete(&self, list: &str) -> Result<(), StoreError>;

    /// Counts the members of a list.
    async fn list_length(&self, list: &str) -> Result<u64, StoreError>;

    /// Returns the fields of a hash and their values, in any order.
    async fn hash_get_all(&self, hash: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError>;

    /// Sets a field of a hash for ever, unless it is set; `true` for exactly one of any number of simultaneous callers.
    async fn hash_put_if_absent(&self, hash: &str, field: &str, value: &[u8]) -> Result<bool, StoreError>;

    /// Sets a field of a hash for ever.
    async fn hash_put(&self, hash: &str, field: &str, value: &[u8]) -> Result<(), StoreError>;

    /// Removes a field of a hash.
    async fn hash_remove(&self, hash: &str, field: &str) -> Result<(), StoreError>;

    /// Appends an entry to a log. It is stored with the number that is returned, or not at all; after an error that is not
    /// known.
    async fn log_append(&self, log: &str, entry: &[u8]) -> Result<Appended, StoreError>;

    /// Returns the number of a log's newest entry; `None` if it has none.
    async fn log_newest(&self, log: &str) -> Result<Option<LogNumber>, StoreError>;

    /// Reads the entries behind a number, 10,000 at the most, and the promise to tell of others, if there is one.
    async fn log_read_watched(&self, log: &str, behind: LogNumber) -> Result<LogRead, StoreError>;

    /// Deletes an entry, whose number is never given again; `false` if it was not there.
    async fn log_delete(&self, log: &str, number: LogNumber) -> Result<bool, StoreError>;

    /// Checks that the store answers.
    async fn ping(&self) -> Result<(), StoreError>;
}
