//! Records, and what lies beside each: the note on its last use, and its tombstone.

use std::time::Instant;

use async_trait::async_trait;
use time::OffsetDateTime;
use tower_sessions::SessionStore;
use tower_sessions::session::Record;

use super::{StoreError, Watch};
use crate::key::SessionHandle;

/// A record as the store had it when it was asked.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The record, if there is one and no tombstone, which outweighs it.
    pub record: Option<Record>,
    /// Set if a record lies there beside a tombstone: its end came half through, or somebody put it back.
    pub has_ended: bool,
    /// The note that [`RecordStore::create_note`] or [`RecordStore::save_note`] left beside it, unless there is a
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

/// Keeps the records of sessions, each with a note and a tombstone in its hash slot.
///
/// Of the methods of [`SessionStore`]: `create` never overwrites, `save` changes only what exists (so that nothing in
/// flight revives a deleted session), `load` never returns what has expired or has a tombstone. A record goes by itself at
/// its `expiry_date`, in whole seconds.
#[async_trait]
pub trait RecordStore: SessionStore {
    /// Loads a record, the note beside it, and the promise to tell when the record changes, if there is one. Not one
    /// atomic step: the record is read first, the tombstone last.
    async fn load_watched(&self, handle: SessionHandle) -> Result<Loaded, StoreError>;

    /// Leaves a note for a record that is about to be created. A note is no record, and outlives it.
    async fn create_note(&self, handle: SessionHandle, note: &[u8], until: OffsetDateTime) -> Result<(), StoreError>;

    /// Replaces the note beside a record, if there is one, and keeps the record at least until `record` (in whole seconds),
    /// if that is given and there is one. Brings neither back. Not one atomic step: the note comes first, so that whoever is
    /// told of the record's change finds it.
    async fn save_note(
        &self,
        handle: SessionHandle,
        note: &[u8],
        until: OffsetDateTime,
        record: Option<OffsetDateTime>,
    ) -> Result<(), StoreError>;

    /// Ends a session for good: leaves a tombstone if one is given, then deletes the record and its note. Returns whether
    /// there was a record. Not one atomic step: whoever finds the record gone finds the tombstone, and a failure in between
    /// leaves a record that its tombstone outweighs.
    async fn end(&self, handle: SessionHandle, tombstone: Option<(&[u8], OffsetDateTime)>) -> Result<bool, StoreError>;

    /// Returns the tombstone of a session.
    async fn tombstone(&self, handle: SessionHandle) -> Result<Option<Vec<u8>>, StoreError>;

    /// Keeps records and notes, if they exist, at least until a moment (in whole seconds). Takes one round trip, however
    /// many slots they lie in; each key is a step of its own.
    async fn extend_ttls(&self, extensions: &[Extension]) -> Result<(), StoreError>;

    /// Returns what is left of these sessions, in their order. Takes one round trip, however many slots they lie in.
    async fn remains(&self, handles: &[SessionHandle]) -> Result<Vec<Remains>, StoreError>;

    /// Checks that the store answers.
    async fn ping(&self) -> Result<(), StoreError>;
}
