//! The parts that every view of the sessions shares, and what several of them do with one session.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

use counterfoil_core::clock::SharedClock;
use counterfoil_core::secret::keyring::Sealer;
use time::OffsetDateTime;
use tokio::sync::{Notify, Semaphore};

use super::blocks::of_persons::Blocks;
use super::checkpoint::Checkpoints;
use super::cut_off::CutOffs;
use super::cut_off::log::{LOG, LogCopy};
use super::cut_off::orders::Orders;
use super::ending::{EndCause, Tombstone};
use super::key::{CookieTags, SessionHandle, SessionKey};
use super::key_check::Keyed;
use super::listing::Scans;
use super::live::{EndedSession, KnownSession, LiveSession};
use super::maintenance::retention::Retention;
use super::policy::Policies;
use super::record::SessionRecord;
use super::refresh_lock::LocalLocks;
use super::registry::Registry;
use super::search::Searches;
use super::store::log::LogNumber;
use super::store::near_cache::NearCache;
use super::store::note::Note;
use super::store::sealed::{Found, SealedStore};
use super::store::{Extension, InvalidationFeed, InvalidationListener, Listeners, RecordStore, StoreError};
use super::timeout::{Verdict, judge};

/// Most sessions that are ended at a time behind the answers of checks.
pub(crate) const MOST_ENDINGS: usize = 64;

/// The state in the store of a session whose key is known.
#[derive(Debug)]
pub(crate) enum Lookup {
    /// There is a record, which this process knows now.
    Known(Arc<KnownSession>),
    /// There is none that counts; if it went without a word, its note is left.
    Gone(Option<Note>),
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) tags: CookieTags,
    pub(crate) sealed: SealedStore,
    pub(crate) near: Arc<Near>,
    pub(crate) registry: Registry,
    pub(crate) cut_offs: CutOffs,
    pub(crate) blocks: Blocks,
    pub(crate) tombstones: Sealer,
    pub(crate) store: Arc<Keyed>,
    pub(crate) policies: Policies,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) queues: LocalLocks,
    pub(crate) searches: Searches,
    pub(crate) scans: Scans,
    /// Places for ends behind the answers of checks.
    pub(crate) endings: Arc<Semaphore>,
    pub(crate) clock: SharedClock,
}

/// The near cache, if there is one; it hears of changes from the store.
#[derive(Debug)]
pub(crate) struct Near {
    pub(crate) cache: Option<NearCache<KnownSession>>,
    pub(crate) cut_off_log: Arc<LogCopy>,
    /// Notified when the store may have been emptied.
    pub(crate) cleared: Notify,
    /// Told of what this hears, once the cache has forgotten it.
    pub(crate) listeners: Listeners,
    /// Set once the store tells this.
    pub(crate) is_subscribed: AtomicBool,
}

impl Near {
    /// Has the store tell this from now on.
    pub(crate) fn subscribe_to(self: &Arc<Self>, store: &Keyed) {
        if !self.is_subscribed.swap(true, Ordering::AcqRel) {
            let listener: Weak<Self> = Arc::downgrade(self);
            store.subscribe(listener);
        }
    }
}

impl InvalidationListener for Near {
    fn invalidate(&self, handle: SessionHandle) {
        if let Some(cache) = &self.cache {
            cache.invalidate(handle);
        }
        self.listeners.each(|listener| listener.invalidate(handle));
    }

    fn invalidate_log(&self, log: &str) {
        if log == LOG {
            self.cut_off_log.invalidate();
        }
        self.listeners.each(|listener| listener.invalidate_log(log));
    }

    fn invalidate_all(&self) {
        self.cut_off_log.invalidate();
        if let Some(cache) = &self.cache {
            cache.clear();
        }
        self.cleared.notify_one();
        self.listeners.each(|listener| listener.invalidate_all());
    }
}

impl Inner {
    /// Loads what the store knows of a session whose key has a tag of ours; from now on this process knows it too.
    pub(crate) async fn load(&self, key: &SessionKey) -> Result<Lookup, StoreError> {
        self.policies.ensure_loaded().await?;
        let handle = key.handle();
        let token = self.near.cache.as_ref().map(|cache| cache.begin_load(handle));
        let opened = match self.sealed.load(handle).await? {
            Found::Session(opened) => opened,
            Found::Nothing(note) => return Ok(Lookup::Gone(note)),
            Found::Ended | Found::Unreadable => return Ok(Lookup::Gone(None)),
        };
        let (expires, watch) = (opened.expires, opened.watch.clone());
        let tag = Some(self.tags.tag_of(key));
        let mut known = KnownSession::new(handle, *opened);
        known.tag = tag;
        known.watch.clone_from(&watch);
        let known = Arc::new(known);
        if let (Some(cache), Some(token), Some(watch)) = (&self.near.cache, token, watch) {
            cache.fill(token, known.clone(), watch, expires, Instant::now());
        }
        Ok(Lookup::Known(known))
    }

    /// Returns what this process knows of a session, else what the store does.
    pub(crate) async fn known(&self, key: &SessionKey) -> Result<Option<Arc<KnownSession>>, StoreError> {
        match self.near.cache.as_ref().and_then(|cache| cache.get(key.handle(), Instant::now())) {
            Some(known) => Ok(Some(known)),
            None => match self.load(key).await? {
                Lookup::Known(known) => Ok(Some(known)),
                Lookup::Gone(_) => Ok(None),
            },
        }
    }

    /// Loads what the store has under a handle. Not for the near cache: whoever lists everything does not work with it.
    pub(crate) async fn look_up(&self, handle: SessionHandle) -> Result<Found, StoreError> {
        self.policies.ensure_loaded().await?;
        self.sealed.load(handle).await
    }

    /// Returns the orders that mean many, as they are now.
    pub(crate) async fn orders(&self) -> Result<Arc<Orders>, StoreError> {
        self.cut_offs.log.current(self.clock.now()).await
    }

    /// Returns the orders that mean many, as they are now, or as they were when they were last read.
    pub(crate) async fn orders_or_known(&self) -> Arc<Orders> {
        self.orders().await.unwrap_or_else(|error| {
            tracing::warn!(%error, "the orders cannot be read; those that are known count");
            self.cut_offs.log.last_read()
        })
    }

    /// Judges a session by the timeouts, and by the orders that came since its person was confirmed.
    pub(crate) fn live(
        &self,
        known: Arc<KnownSession>,
        orders: &Orders,
        now: OffsetDateTime,
    ) -> Result<LiveSession, EndedSession> {
        let limits = self.policies.timeouts().limits_for(&known.record.identity.groups);
        match judge(known.moments(), limits, now) {
            Verdict::Live { idle_expires_at, absolute_expires_at } => match known.ended_by(orders, now) {
                Some(order) => Err(EndedSession::ByOrder(known, order.tombstone())),
                None => Ok(LiveSession {
                    known,
                    checked_at: now,
                    idle_timeout: limits.idle,
                    idle_expires_at,
                    absolute_expires_at,
                }),
            },
            Verdict::IdleExpired => Err(EndedSession::ByTime(known, EndCause::Idle)),
            Verdict::AbsoluteExpired => Err(EndedSession::ByTime(known, EndCause::Absolute)),
        }
    }

    /// Extends a record that was written for shorter timeouts than are registered by now. Whoever extends what there is
    /// begins half a second after a policy was registered: what was written until then is found by it, or knows.
    pub(crate) async fn extend_if_longer(
        &self,
        record: &SessionRecord,
        handle: SessionHandle,
        written_for: Retention,
        written: Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        written?;
        let longest = self.policies.current_retention().await?;
        if written_for.covers(longest) {
            return Ok(());
        }
        let (created_at, ends_by) = (record.created_at, record.ends_by);
        self.registry.insert(record, handle, longest.entry_until(created_at)).await?;
        let until = longest.record_until(created_at, ends_by, self.clock.now());
        self.store.extend_ttls(&[Extension { handle, record: until, note: Some(longest.note_until(created_at)) }]).await
    }

    /// Returns how a session ended, if it left a tombstone.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be asked.
    pub(crate) async fn tombstone(&self, handle: SessionHandle) -> Result<Option<Tombstone>, StoreError> {
        let Some(sealed) = self.store.tombstone(handle).await? else { return Ok(None) };
        Ok(self.tombstones.open_json(handle.to_string().as_bytes(), &sealed).ok())
    }

    fn seal_tombstone(&self, handle: SessionHandle, tombstone: &Tombstone) -> Vec<u8> {
        self.tombstones.seal_json(handle.to_string().as_bytes(), tombstone)
    }

    /// No session of that age can live longer, whatever group it is of.
    pub(crate) fn cookie_dies_at(&self, created_at: OffsetDateTime) -> OffsetDateTime {
        // An hour is the least: a session that ended by its age should still be able to say so.
        let now = self.clock.now();
        (created_at + self.policies.retention().absolute).max(now + time::Duration::HOUR)
    }

    /// Ends a session that is known; whether there was a record until now.
    pub(crate) async fn end_known(
        &self,
        known: &KnownSession,
        tombstone: Option<&Tombstone>,
    ) -> Result<bool, StoreError> {
        self.end_within(known, tombstone, None).await
    }

    /// Does the same for whoever carries an order out, and has laid down what that says of the person.
    pub(crate) async fn end_within(
        &self,
        known: &KnownSession,
        tombstone: Option<&Tombstone>,
        order: Option<LogNumber>,
    ) -> Result<bool, StoreError> {
        self.cut_off_by_orders(known, order).await?;
        let until = self.cookie_dies_at(known.record.created_at);
        let ended = self.tear_up(known.handle, tombstone, until).await?;
        self.forget(&known.record, known.handle).await;
        Ok(ended)
    }

    /// Takes a session whose record is gone out of the lists. An entry that stays there is harmless, and pruned in
    /// time; that the session has ended is to be heard all the same.
    pub(crate) async fn forget(&self, record: &SessionRecord, handle: SessionHandle) {
        if let Err(error) = self.registry.remove(record, handle).await {
            tracing::warn!(session = %handle, %error, "an ended session is still in a list; it goes with that");
        }
    }

    /// Deletes a record for good, whatever is in it, and leaves the tombstone.
    pub(crate) async fn tear_up(
        &self,
        handle: SessionHandle,
        tombstone: Option<&Tombstone>,
        until: OffsetDateTime,
    ) -> Result<bool, StoreError> {
        let sealed = tombstone.map(|tombstone| self.seal_tombstone(handle, tombstone));
        let tombstone = sealed.as_deref().map(|sealed| (sealed, until));
        let ended = self.store.end(handle, tombstone).await;
        // This is due also if the store did not answer: it may have done it.
        self.near.invalidate(handle);
        ended
    }
}
