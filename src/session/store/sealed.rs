//! Typed sessions over stored bytes: what is encrypted under what.
//!
//! A stored record has two sealed halves, both bound to the handle they are stored under:
//! - `listed` (the [`SessionRecord`]) under the server's keys alone: checks and lists need it;
//! - `private` (the [`Tokens`]) under the server's keys *and* the session key in the cookie. A dump of
//!   the store together with the server's keys opens no tokens, and the tokens of a deleted session are
//!   unreadable to everybody.
//!
//! A record that cannot be read (damaged, of a newer format, sealed under a retired key) is no session:
//! logged, and answered as absent (R-G11).

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde_json::Value;
use thiserror::Error;
use time::{Duration, OffsetDateTime};
use tower_sessions::session::{Id, Record};
use tower_sessions::session_store;

use super::{SessionBackend, StoreError};
use crate::secret::keyring::{Keyring, Sealer, Unopenable};
use crate::session::key::{SessionHandle, SessionKey};
use crate::session::record::{SessionRecord, Tokens};

/// The format this version writes, and the only one it reads.
const FORMAT: u64 = 1;
const LISTED_PURPOSE: &str = "counterfoil session listed v1";
const PRIVATE_PURPOSE: &str = "counterfoil session private v1";
/// Redis counts expiry in whole seconds here; rounding up keeps the backstop behind the policy.
const EXPIRY_ROUNDING: Duration = Duration::SECOND;

/// A session as it lies in the store, its listed half opened.
#[derive(Debug, Clone)]
pub struct StoredSession {
    handle: SessionHandle,
    record: SessionRecord,
    private: Arc<str>,
}

impl StoredSession {
    /// The session's public name.
    pub fn handle(&self) -> SessionHandle {
        self.handle
    }

    /// What is remembered of it.
    pub fn record(&self) -> &SessionRecord {
        &self.record
    }

    /// The same session, seen at `now`.
    pub(in crate::session) fn touched(&self, now: OffsetDateTime) -> Self {
        let mut touched = self.clone();
        touched.record.last_seen_at = touched.record.last_seen_at.max(now);
        touched
    }
}

/// Why a stored record is no session.
#[derive(Debug, Error)]
enum Unreadable {
    #[error("not a record of this format")]
    Format,
    #[error("not base64: {0}")]
    Encoding(#[from] base64::DecodeError),
    #[error(transparent)]
    Unopenable(#[from] Unopenable),
    #[error("not the expected content: {0}")]
    Content(#[from] serde_json::Error),
}

/// Sessions, sealed into a backend.
#[derive(Debug)]
pub(in crate::session) struct SealedStore {
    backend: Arc<dyn SessionBackend>,
    keyring: Keyring,
    listed: Sealer,
}

impl SealedStore {
    pub(in crate::session) fn new(backend: Arc<dyn SessionBackend>, keyring: Keyring) -> Self {
        let listed = keyring.sealer(LISTED_PURPOSE, &[]);
        Self { backend, keyring, listed }
    }

    /// Stores a new session; never overwrites one.
    pub(in crate::session) async fn create(
        &self,
        key: &SessionKey,
        record: &SessionRecord,
        tokens: &Tokens,
        expires_at: OffsetDateTime,
    ) -> Result<(), StoreError> {
        let handle = key.handle();
        let sealed = self.private_sealer(key).seal(handle.to_string().as_bytes(), &json(tokens));
        let private = STANDARD_NO_PAD.encode(sealed).into();
        let stored = StoredSession { handle, record: record.clone(), private };
        let mut stored = self.to_stored(&stored, expires_at);
        self.backend.create(&mut stored).await?;
        // The record store answers a collision by another id, which our cookie would not name.
        if stored.id != handle.id() {
            self.backend.delete(&stored.id).await?;
            return Err(StoreError::HandleTaken);
        }
        Ok(())
    }

    /// The session of a handle, if there is one that can be read.
    pub(in crate::session) async fn load(&self, handle: SessionHandle) -> Result<Option<StoredSession>, StoreError> {
        let unreadable = |cause: &dyn std::fmt::Display| {
            tracing::warn!(session = %handle, %cause, "a stored session cannot be read and counts as absent");
            Ok(None)
        };
        let stored = match self.backend.load(&handle.id()).await {
            Ok(Some(stored)) => stored,
            Ok(None) => return Ok(None),
            Err(session_store::Error::Decode(cause)) => return unreadable(&cause),
            // Somebody put another kind of value under the key: for ever no session, not an outage.
            Err(session_store::Error::Backend(cause)) if cause.contains("WRONGTYPE") => return unreadable(&cause),
            Err(error) => return Err(error.into()),
        };
        self.read(handle, &stored).map(Some).or_else(|cause| unreadable(&cause))
    }

    /// Replaces a session that still exists; does nothing otherwise.
    pub(in crate::session) async fn update(
        &self,
        stored: &StoredSession,
        expires_at: OffsetDateTime,
    ) -> Result<(), StoreError> {
        Ok(self.backend.save(&self.to_stored(stored, expires_at)).await?)
    }

    pub(in crate::session) async fn delete(&self, handle: SessionHandle) -> Result<(), StoreError> {
        Ok(self.backend.delete(&handle.id()).await?)
    }

    /// Opens the private half; `None` (logged) if the key does not fit.
    pub(in crate::session) fn tokens(&self, key: &SessionKey, stored: &StoredSession) -> Option<Tokens> {
        let open = || -> Result<Tokens, Unreadable> {
            let sealed = STANDARD_NO_PAD.decode(stored.private.as_bytes())?;
            let opened = self.private_sealer(key).open(stored.handle.to_string().as_bytes(), &sealed)?;
            Ok(serde_json::from_slice(&opened)?)
        };
        open().inspect_err(|cause| tracing::warn!(session = %stored.handle, %cause, "tokens cannot be read")).ok()
    }

    fn private_sealer(&self, key: &SessionKey) -> Sealer {
        self.keyring.sealer(PRIVATE_PURPOSE, key.expose_bytes())
    }

    fn to_stored(&self, stored: &StoredSession, expires_at: OffsetDateTime) -> Record {
        let listed = self.listed.seal(stored.handle.to_string().as_bytes(), &json(&stored.record));
        let data = [
            ("format", Value::from(FORMAT)),
            ("listed", Value::from(STANDARD_NO_PAD.encode(listed))),
            ("private", Value::from(&*stored.private)),
        ];
        Record {
            id: stored.handle.id(),
            data: data.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            expiry_date: expires_at + EXPIRY_ROUNDING,
        }
    }

    fn read(&self, handle: SessionHandle, stored: &Record) -> Result<StoredSession, Unreadable> {
        let text = |name: &str| stored.data.get(name).and_then(Value::as_str).ok_or(Unreadable::Format);
        // The store names the record inside as well; a record copied under another key is not ours.
        let own = |id: Id| id == handle.id();
        if !own(stored.id) || stored.data.get("format").and_then(Value::as_u64) != Some(FORMAT) {
            return Err(Unreadable::Format);
        }
        let sealed = STANDARD_NO_PAD.decode(text("listed")?)?;
        let opened = self.listed.open(handle.to_string().as_bytes(), &sealed)?;
        Ok(StoredSession { handle, record: serde_json::from_slice(&opened)?, private: text("private")?.into() })
    }
}

/// Plain data of our own always becomes JSON; wiped after sealing.
fn json<T: serde::Serialize>(value: &T) -> zeroize::Zeroizing<Vec<u8>> {
    serde_json::to_vec(value).unwrap_or_else(|_| unreachable!("structs of strings and numbers are JSON")).into()
}
