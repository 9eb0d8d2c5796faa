//! A session that was live when it was checked, and what this process knows of it.

use std::any::Any;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

#[cfg(feature = "test-util")]
use counterfoil_core::identity::Identity;
use counterfoil_core::unix_millis::UnixMillis;
use time::OffsetDateTime;

use super::cut_off::orders::{Orders, Standing};
use super::ending::{EndCause, Tombstone};
use super::key::SessionHandle;
#[cfg(feature = "test-util")]
use super::key::SessionKey;
use super::record::SessionRecord;
use super::store::Watch;
use super::store::sealed::Opened;
use super::timeout::SessionTimes;

/// The result of asking for a session.
#[derive(Debug, Clone)]
pub enum Check {
    /// The session lives.
    Live(LiveSession),
    /// There is no such session: never issued, or gone from the store without a word.
    Absent,
    /// It ended, and this is how.
    Ended(Tombstone),
}

/// A session that was live when it was checked. Cheap to clone.
#[derive(Debug, Clone)]
pub struct LiveSession {
    pub(crate) known: Arc<KnownSession>,
    pub(crate) checked_at: OffsetDateTime,
    pub(crate) idle_timeout: time::Duration,
    pub(crate) idle_expires_at: OffsetDateTime,
    pub(crate) absolute_expires_at: OffsetDateTime,
}

/// A session as this process knows it; what the near cache holds. No tokens.
#[derive(Debug)]
pub(crate) struct KnownSession {
    pub(crate) handle: SessionHandle,
    /// The tag of its key under the server's sealing key: a cookie that has it needs no MAC.
    pub(crate) tag: Option<[u8; 16]>,
    pub(crate) record: SessionRecord,
    /// [`UnixMillis`]; moves on as this process sees it used.
    pub(crate) last_seen: AtomicI64,
    /// The promise to tell of the record's next change, if it was read with one.
    pub(crate) watch: Option<Watch>,
    /// The value that [`LiveSession::derived`] made.
    pub(crate) derived: OnceLock<Arc<dyn Any + Send + Sync>>,
    /// The version of the orders that were found not to end it.
    judged: AtomicU64,
}

impl KnownSession {
    pub(crate) fn new(handle: SessionHandle, opened: Opened) -> Self {
        let last_seen = AtomicI64::new(UnixMillis::from(opened.last_seen_at).0);
        Self { last_seen, ..Self::of(handle, opened.record) }
    }

    /// A session of which nothing but its record is known.
    pub(crate) fn of(handle: SessionHandle, record: SessionRecord) -> Self {
        Self {
            handle,
            tag: None,
            record,
            last_seen: AtomicI64::default(),
            watch: None,
            derived: OnceLock::new(),
            judged: AtomicU64::default(),
        }
    }

    #[cfg(test)]
    pub(crate) fn mark_judged(&self, version: u64) {
        self.judged.store(version, Ordering::Relaxed);
    }

    /// Returns the order that ends the session, if one does. What was judged by the same orders is not judged again.
    pub(crate) fn ended_by<'orders>(&self, orders: &'orders Orders, now: OffsetDateTime) -> Option<&'orders Standing> {
        if self.record.confirmed >= orders.newest || self.judged.load(Ordering::Relaxed) == orders.version {
            return None;
        }
        let ended = orders.ends(&self.record, now);
        if ended.is_none() {
            self.judged.store(orders.version, Ordering::Relaxed);
        }
        ended
    }

    pub(crate) fn last_seen_at(&self) -> OffsetDateTime {
        UnixMillis(self.last_seen.load(Ordering::Relaxed)).try_into().unwrap_or(self.record.created_at)
    }

    pub(crate) fn moments(&self) -> SessionTimes {
        let SessionRecord { created_at, ends_by, .. } = self.record;
        SessionTimes { created_at, last_seen_at: self.last_seen_at(), ends_by }
    }
}

impl LiveSession {
    /// The session's public name.
    pub fn handle(&self) -> SessionHandle {
        self.known.handle
    }

    /// Returns what is remembered of the session.
    pub fn record(&self) -> &SessionRecord {
        &self.known.record
    }

    /// Returns a value that follows from the record and the handle alone. It is made once and kept beside the record, as
    /// long as this process keeps that; values of a second type are made each time.
    pub fn derived<T: Send + Sync + 'static>(&self, make: impl Fn() -> T) -> Arc<T> {
        let derived = self.known.derived.get_or_init(|| Arc::new(make()));
        derived.clone().downcast().unwrap_or_else(|_| Arc::new(make()))
    }

    /// Returns the moment it was checked.
    pub fn checked_at(&self) -> OffsetDateTime {
        self.checked_at
    }

    /// Returns the moment the session was last noted to be in use.
    pub fn last_seen_at(&self) -> OffsetDateTime {
        self.known.last_seen_at()
    }

    /// Returns the moment the session ends unless it is used.
    pub fn idle_expires_at(&self) -> OffsetDateTime {
        self.idle_expires_at
    }

    /// Returns the moment the session ends however much it is used.
    pub fn absolute_expires_at(&self) -> OffsetDateTime {
        self.absolute_expires_at
    }
}

#[cfg(feature = "test-util")]
impl LiveSession {
    /// A session that no store knows, for tests of handlers.
    pub fn for_test(identity: Identity) -> Self {
        let now = OffsetDateTime::UNIX_EPOCH;
        let record = SessionRecord { auth_time: Some(now), ..SessionRecord::for_test(identity, now) };
        let known = KnownSession::of(SessionKey::generate().handle(), record);
        let (idle_timeout, end) = (time::Duration::HOUR, now + time::Duration::HOUR);
        Self { known: Arc::new(known), checked_at: now, idle_timeout, idle_expires_at: end, absolute_expires_at: end }
    }
}

/// A session that has ended, although its record is still there.
#[derive(Debug)]
pub(crate) enum EndedSession {
    /// A timeout ended it.
    ByTime(Arc<KnownSession>, EndCause),
    /// An order that means many ended it.
    ByOrder(Arc<KnownSession>, Tombstone),
}
