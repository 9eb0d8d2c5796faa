//! Typed sessions over stored bytes, and which part is encrypted under which key.
//!
//! A stored record has two sealed halves, both bound to the handle they are stored under:
//! - `listed` (the [`SessionRecord`]) under the server's keys alone: checks and lists need it;
//! - `private` (the [`Tokens`]) under the server's keys *and* the session key in the cookie. A dump of
//!   the store together with the server's keys opens no tokens, and the tokens of a deleted session are
//!   unreadable to everybody. It stays in the store until it is needed: no cache holds tokens.
//!
//! Beside the record lies a [`Note`], sealed as well: when the session was last used. Noting a use therefore neither
//! touches the record nor tells every replica to forget it.
//!
//! A record that cannot be read (damaged, of a newer format, sealed under a retired key) is no session:
//! logged, and answered as absent (R-G11).

use std::sync::Arc;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use counterfoil_core::secret::keyring::{Keyring, Sealer, Unopenable};
use serde_json::Value;
use thiserror::Error;
use time::{Duration, OffsetDateTime};
use tower_sessions::session::{Id, Record};
use tower_sessions::session_store;

use super::note::Note;
use super::{RecordStore, StoreError, Watch};
use crate::key::{SessionHandle, SessionKey};
use crate::record::{SessionRecord, Tokens};

/// The format this version writes, and the only one it reads.
const FORMAT: u64 = 2;
const LISTED_PURPOSE: &str = "counterfoil session listed v1";
const PRIVATE_PURPOSE: &str = "counterfoil session private v1";
const SEEN_PURPOSE: &str = "counterfoil session seen v1";
/// Redis counts expiry in whole seconds here; rounding up keeps the backstop behind the policy.
const EXPIRY_ROUNDING: Duration = Duration::SECOND;

/// The content of a handle, as the store has it.
#[derive(Debug)]
pub(crate) enum Found {
    /// A session.
    Session(Box<Opened>),
    /// No record, and perhaps the note of a session that is gone.
    Nothing(Option<Note>),
    /// A record that counts for nothing, since there is a tombstone: it has ended, and has yet to be deleted.
    Ended,
    /// Something that is no session for us: damaged, of a newer format, sealed under a key that is not known (yet). It
    /// may be one for another replica.
    Unreadable,
}

/// A session as it lies in the store, its listed half opened.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) record: SessionRecord,
    pub(crate) last_seen_at: OffsetDateTime,
    pub(crate) expires: Option<Instant>,
    pub(crate) watch: Option<Watch>,
}

/// The reason why a stored record is no session.
#[derive(Debug, Error)]
enum Unreadable {
    #[error("not a record of this format")]
    Format,
    #[error("not base64: {0}")]
    Encoding(#[from] base64::DecodeError),
    #[error(transparent)]
    Unopenable(#[from] Unopenable),
    #[error("not the expected content: {0}")]
    Content(#[from] rmp_serde::decode::Error),
}

/// Sessions, sealed into a store of records.
#[derive(Debug)]
pub(crate) struct SealedStore {
    records: Arc<dyn RecordStore>,
    keyring: Keyring,
    listed: Sealer,
    seen: Sealer,
}

impl SealedStore {
    pub(crate) fn new(records: Arc<dyn RecordStore>, keyring: Keyring) -> Self {
        let listed = keyring.sealer(LISTED_PURPOSE, &[]);
        let seen = keyring.sealer(SEEN_PURPOSE, &[]);
        Self { records, keyring, listed, seen }
    }

    /// Stores a new session; never overwrites one.
    pub(crate) async fn create(
        &self,
        key: &SessionKey,
        record: &SessionRecord,
        tokens: &Tokens,
        expires_at: OffsetDateTime,
    ) -> Result<(), StoreError> {
        let mut stored = self.stored(key, record, tokens, expires_at);
        self.records.create(&mut stored).await?;
        // The record store answers a collision by another id, which our cookie would not name.
        if stored.id != key.handle().id() {
            self.records.delete(&stored.id).await?;
            return Err(StoreError::HandleTaken);
        }
        Ok(())
    }

    /// Replaces what is stored of a session, if there still is one.
    pub(crate) async fn save(
        &self,
        key: &SessionKey,
        record: &SessionRecord,
        tokens: &Tokens,
        expires_at: OffsetDateTime,
    ) -> Result<(), StoreError> {
        Ok(self.records.save(&self.stored(key, record, tokens, expires_at)).await?)
    }

    fn stored(&self, key: &SessionKey, record: &SessionRecord, tokens: &Tokens, expires_at: OffsetDateTime) -> Record {
        let handle = key.handle();
        let subject = handle.to_string();
        let listed = self.listed.seal(subject.as_bytes(), &packed(record));
        let private = self.private_sealer(key).seal(subject.as_bytes(), &packed(tokens));
        let data = [
            ("format", Value::from(FORMAT)),
            ("listed", Value::from(STANDARD_NO_PAD.encode(listed))),
            ("private", Value::from(STANDARD_NO_PAD.encode(private))),
        ];
        Record {
            id: handle.id(),
            data: data.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            expiry_date: expires_at + EXPIRY_ROUNDING,
        }
    }

    /// Loads what lies under a handle.
    pub(crate) async fn load(&self, handle: SessionHandle) -> Result<Found, StoreError> {
        let unreadable = |cause: &dyn std::fmt::Display| {
            tracing::warn!(session = %handle, %cause, "a stored session cannot be read and counts as absent");
            Ok(Found::Unreadable)
        };
        let loaded = match self.records.load_watched(handle).await {
            Ok(loaded) => loaded,
            Err(StoreError::Records(session_store::Error::Decode(cause))) => return unreadable(&cause),
            Err(error) => return Err(error),
        };
        if loaded.has_ended {
            return Ok(Found::Ended);
        }
        let note = loaded.note.and_then(|note| self.open_note(handle, &note));
        let Some(stored) = loaded.record else { return Ok(Found::Nothing(note)) };
        let record: SessionRecord = match self.open_listed(handle, &stored) {
            Ok(record) => record,
            Err(cause) => return unreadable(&cause),
        };
        let last_seen_at = note.map_or(record.created_at, |note| note.last_seen_at).max(record.created_at);
        let (expires, watch) = (loaded.expires, loaded.watch);
        Ok(Found::Session(Box::new(Opened { record, last_seen_at, expires, watch })))
    }

    /// Leaves the first note on a session, before there is a record.
    pub(crate) async fn create_note(
        &self,
        handle: SessionHandle,
        note: &Note,
        until: OffsetDateTime,
    ) -> Result<(), StoreError> {
        self.records.create_note(handle, &self.seal_note(handle, note), until).await
    }

    /// Replaces the note on a session, if there still is one, and keeps its record until `record`, if that is given.
    pub(crate) async fn save_note(
        &self,
        handle: SessionHandle,
        note: &Note,
        until: OffsetDateTime,
        record: Option<OffsetDateTime>,
    ) -> Result<(), StoreError> {
        self.records.save_note(handle, &self.seal_note(handle, note), until, record).await
    }

    /// The provider's tokens of a session; `None` if it is gone, or (logged) if the key does not fit.
    pub(crate) async fn tokens(&self, key: &SessionKey) -> Result<Option<Tokens>, StoreError> {
        Ok(self.load_whole(key).await?.map(|(_, tokens)| tokens))
    }

    /// A session with its tokens; `None` if it is gone, or (logged) if it cannot be read.
    pub(crate) async fn load_whole(&self, key: &SessionKey) -> Result<Option<(SessionRecord, Tokens)>, StoreError> {
        let handle = key.handle();
        let Some(stored) = self.records.load(&handle.id()).await? else { return Ok(None) };
        let open = || -> Result<_, Unreadable> {
            let record = self.open_listed(handle, &stored)?;
            let sealed = STANDARD_NO_PAD.decode(text(&stored, "private")?)?;
            let opened = self.private_sealer(key).open(handle.to_string().as_bytes(), &sealed)?;
            Ok((record, rmp_serde::from_slice(&opened)?))
        };
        Ok(open().inspect_err(|cause| tracing::warn!(session = %handle, %cause, "tokens cannot be read")).ok())
    }

    fn private_sealer(&self, key: &SessionKey) -> Sealer {
        self.keyring.sealer(PRIVATE_PURPOSE, key.expose_bytes())
    }

    fn open_listed(&self, handle: SessionHandle, stored: &Record) -> Result<SessionRecord, Unreadable> {
        // The store names the record inside as well; a record copied under another key is not ours.
        let own = |id: Id| id == handle.id();
        if !own(stored.id) || stored.data.get("format").and_then(Value::as_u64) != Some(FORMAT) {
            return Err(Unreadable::Format);
        }
        let sealed = STANDARD_NO_PAD.decode(text(stored, "listed")?)?;
        let opened = self.listed.open(handle.to_string().as_bytes(), &sealed)?;
        Ok(rmp_serde::from_slice(&opened)?)
    }

    fn seal_note(&self, handle: SessionHandle, note: &Note) -> Vec<u8> {
        self.seen.seal(handle.to_string().as_bytes(), &packed(note))
    }

    /// A note that cannot be read is none: then the session counts as used less recently.
    pub(crate) fn open_note(&self, handle: SessionHandle, note: &[u8]) -> Option<Note> {
        let opened = self.seen.open(handle.to_string().as_bytes(), note).ok()?;
        rmp_serde::from_slice(&opened).ok()
    }
}

fn text<'a>(stored: &'a Record, name: &str) -> Result<&'a str, Unreadable> {
    stored.data.get(name).and_then(Value::as_str).ok_or(Unreadable::Format)
}

/// Packs into `MessagePack` without names, so that little lies in Redis: whoever changes the order of a struct's
/// fields, or takes one away, changes [`FORMAT`]. A new one stands last and has a default; before this version nobody
/// reads it. Wiped after sealing.
fn packed<T: serde::Serialize>(value: &T) -> zeroize::Zeroizing<Vec<u8>> {
    rmp_serde::to_vec(value).unwrap_or_else(|_| unreachable!("structs of strings and numbers can be packed")).into()
}
