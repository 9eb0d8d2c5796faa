//! The guard's view of the sessions: it checks them and notes their use, and can end none.

use std::sync::{Arc, Weak};
use std::time::Instant;

use counterfoil_core::clock::SharedClock;
use time::OffsetDateTime;

use super::audit::{AuditEvent, audit};
use super::ending::Tombstone;
use super::inner::{Inner, Lookup};
use super::key::SessionKey;
use super::live::{Check, EndedSession, KnownSession, LiveSession};
use super::policy::Binding;
use super::store::{InvalidationListener, StoreError};
use super::timeout::{Verdict, judge};

/// Checks sessions and notes that they are in use. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SessionReader(pub(crate) Arc<Inner>);

impl SessionReader {
    /// Asks for the session of this key and judges it by the rules of the moment.
    ///
    /// # Errors
    /// [`StoreError`] if the store has to be asked and cannot, which says nothing about the session.
    pub async fn check(&self, key: &SessionKey) -> Result<Check, StoreError> {
        if let Some(live) = self.check_cached(key) {
            return Ok(Check::Live(live));
        }
        // What was invented is asked for nowhere.
        if !self.is_ours(key) {
            return self.ensure_store_is_ours().await.map(|()| Check::Absent);
        }
        let handle = key.handle();
        let orders = self.0.orders().await?;
        let cache = self.0.near.cache.as_ref().filter(|_| self.0.store.is_ours());
        let known = match cache.and_then(|cache| cache.get(handle, Instant::now())) {
            // That it is over, only the store may say: another replica may have noted a use.
            Some(known) if self.0.live(known.clone(), &orders, self.0.clock.now()).is_ok() => Lookup::Known(known),
            _ => self.0.load(key).await?,
        };
        let known = match known {
            Lookup::Known(known) => known,
            Lookup::Gone(note) => {
                let by_limit = || note.and_then(|note| note.ending(self.0.clock.now()));
                let ended = self.0.tombstone(handle).await?.or_else(by_limit);
                return Ok(ended.map_or(Check::Absent, Check::Ended));
            }
        };
        let now = self.0.clock.now();
        if known.record.confirmed > orders.newest {
            let caught_up = self.0.cut_offs.log.catch_up(known.record.confirmed, now).await;
            if let Err(error) = caught_up {
                tracing::warn!(session = %handle, %error, "the cut-off log could not catch up with a session");
            }
        }
        // The answers do not need that the record is deleted: it is judged again each time.
        match self.0.live(known, &orders, now) {
            Ok(live) => Ok(Check::Live(live)),
            Err(EndedSession::ByOrder(known, tombstone)) => {
                self.end_behind_the_answer(known, tombstone.clone());
                Ok(Check::Ended(tombstone))
            }
            Err(EndedSession::ByTime(known, cause)) => {
                let tombstone = Tombstone::of(cause, now);
                self.end(&known, &tombstone).await;
                Ok(Check::Ended(tombstone))
            }
        }
    }

    /// Ends a session that an order for many means, unless many are being ended: everybody may come at once, and whoever
    /// carries the order out comes to all of them.
    fn end_behind_the_answer(&self, known: Arc<KnownSession>, tombstone: Tombstone) {
        let Ok(place) = self.0.endings.clone().try_acquire_owned() else { return };
        let reader = self.clone();
        tokio::spawn(async move {
            reader.end(&known, &tombstone).await;
            drop(place);
        });
    }

    async fn end(&self, known: &KnownSession, tombstone: &Tombstone) {
        let session = known.handle;
        match (self.0.end_known(known, Some(tombstone)).await, &tombstone.by) {
            (Ok(true), Some(by)) => audit(&AuditEvent::SessionRevoked { session, by }),
            (Ok(_), _) => {}
            (Err(error), _) => tracing::warn!(%session, %error, "an ended session could not be deleted yet"),
        }
    }

    /// The near cache's word, if it says that the session lives. That it does not, only the store may say: another
    /// replica may have noted a use.
    pub fn check_cached(&self, key: &SessionKey) -> Option<LiveSession> {
        // Nothing counts that was read before from a store that is not ours any more.
        let cache = self.0.near.cache.as_ref().filter(|_| self.0.store.is_ours())?;
        let now = Instant::now();
        let known = cache.get(key.handle(), now).filter(|known| known.tag == Some(key.tag()))?;
        let orders = self.0.cut_offs.log.known(now)?;
        self.0.live(known, &orders, self.0.clock.now()).ok()
    }

    /// Judges a session that was live when it was checked once more, without asking the store. `None` if its record may
    /// have changed unheard, and if it is over: that, only the store may say.
    pub fn judge_again(&self, session: &LiveSession) -> Option<LiveSession> {
        let now = Instant::now();
        let is_heard = self.0.store.is_ours() && session.known.watch.as_ref().is_some_and(|watch| watch.holds(now));
        let orders = self.0.cut_offs.log.known(now).filter(|_| is_heard)?;
        self.0.live(session.known.clone(), &orders, self.0.clock.now()).ok()
    }

    /// Notes that a session was in use at `at`, unless it was over by then.
    pub fn touch_at(&self, session: &LiveSession, at: OffsetDateTime) {
        let limits = self.0.policies.timeouts().limits_for(&session.record().identity.groups);
        if at > session.last_seen_at() && matches!(judge(session.known.moments(), limits, at), Verdict::Live { .. }) {
            self.touch(&LiveSession { checked_at: at, ..session.clone() });
        }
    }

    /// Tells `listener` of every change that this process hears of, once its own copies are void. It is not told of records
    /// that nobody in this process has read since their last change.
    pub fn subscribe(&self, listener: Weak<dyn InvalidationListener>) {
        self.0.near.listeners.add(listener);
        self.0.near.subscribe_to(&self.0.store);
    }

    /// Is true if one of the server's keys made this key's tag: whatever else a cookie holds, nobody asks for it.
    pub fn is_ours(&self, key: &SessionKey) -> bool {
        self.0.tags.are_ours(key)
    }

    /// Makes sure that the store is ours; asks it if that is not known.
    ///
    /// # Errors
    /// [`StoreError::Foreign`] if it is not ours, another if it cannot be asked.
    pub async fn ensure_store_is_ours(&self) -> Result<(), StoreError> {
        self.0.store.ours().await.map(drop)
    }

    /// Returns a key as the cookie should have it, if its tag is not by the server's sealing key.
    pub fn renewed_tag(&self, key: &SessionKey) -> Option<SessionKey> {
        let tagged = self.0.tags.tagged(key);
        (tagged.tag() != key.tag()).then_some(tagged)
    }

    /// The clock that sessions are judged by.
    pub fn clock(&self) -> &SharedClock {
        &self.0.clock
    }

    /// Returns what binds sessions to the browser of their login.
    pub fn binding(&self) -> Binding {
        self.0.policies.configured().bind
    }
}
