//! The feed of changes, and the promise that none was missed.
//!
//! A store that tells of changes gives a [`Watch`] with what was read; whoever keeps a copy asks the watch before each use.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Instant;

use tokio::sync::Notify;

use crate::key::SessionHandle;

/// The time for which one connection to the store answers for what was read on it.
#[derive(Debug)]
pub struct Coverage {
    born: Instant,
    /// Nanoseconds after `born`; 0 when there is none.
    pub(super) until: AtomicU64,
    /// A count that moves on whenever everything that was read becomes void.
    epoch: AtomicU64,
}

/// The promise that a change of what was read would have been heard of.
#[derive(Debug, Clone)]
pub struct Watch {
    coverage: Arc<Coverage>,
    pub(super) epoch: u64,
}

impl Coverage {
    /// Coverage that has not begun.
    pub fn new(now: Instant) -> Arc<Self> {
        Arc::new(Self { born: now, until: AtomicU64::new(0), epoch: AtomicU64::new(0) })
    }

    /// The other side was heard: what it says holds until then.
    pub fn extend(&self, until: Instant) {
        let nanoseconds = until.saturating_duration_since(self.born).as_nanos();
        self.until.store(u64::try_from(nanoseconds).unwrap_or(u64::MAX), Ordering::Release);
    }

    /// Is true if the connection is heard.
    pub fn holds(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.born).as_nanos() < u128::from(self.until.load(Ordering::Acquire))
    }

    /// Is true if it was ever extended since it ended last.
    pub fn was_held(&self) -> bool {
        self.until.load(Ordering::Acquire) != 0
    }

    /// Voids everything read so far.
    pub fn void(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// Ends it: the connection is lost.
    pub fn end(&self) {
        self.until.store(0, Ordering::Release);
        self.void();
    }

    /// Watches what is read from now on.
    pub fn watch(self: &Arc<Self>) -> Watch {
        Watch { coverage: self.clone(), epoch: self.epoch.load(Ordering::Acquire) }
    }
}

impl Watch {
    /// Is true if a change would have been heard of.
    pub(crate) fn holds(&self, now: Instant) -> bool {
        self.coverage.epoch.load(Ordering::Acquire) == self.epoch && self.coverage.holds(now)
    }
}

/// Hears of records and logs that changed or went, whoever did it.
pub trait InvalidationListener: Send + Sync {
    /// This record is no longer what it was.
    fn invalidate(&self, handle: SessionHandle);

    /// This log has an entry more, or less.
    fn invalidate_log(&self, log: &str);

    /// Nothing is known any more.
    fn invalidate_all(&self);
}

/// The listeners of a feed, in the order in which they are told. A listener that nobody else holds is forgotten.
#[derive(Default)]
pub struct Listeners(RwLock<Vec<Weak<dyn InvalidationListener>>>);

impl Listeners {
    /// Tells `listener` from now on, behind those that are told already.
    pub fn add(&self, listener: Weak<dyn InvalidationListener>) {
        let mut listeners = self.0.write().unwrap_or_else(PoisonError::into_inner);
        listeners.retain(|known| known.strong_count() > 0);
        listeners.push(listener);
    }

    /// Tells each listener.
    pub fn each(&self, tell: impl Fn(&dyn InvalidationListener)) {
        let listeners = self.0.read().unwrap_or_else(PoisonError::into_inner);
        listeners.iter().filter_map(Weak::upgrade).for_each(|listener| tell(&*listener));
    }
}

impl fmt::Debug for Listeners {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Listeners").finish_non_exhaustive()
    }
}

/// Tells of changes in the store.
///
/// A change is told after it was made and at least once for each read that is watched; a change that cannot be told ends
/// the [`Coverage`] of the reads it concerns. A store without replicas may have nothing to tell: then no read is watched.
pub trait InvalidationFeed: Send + Sync {
    /// Tells `listener` from now on; what was read before is not covered.
    fn subscribe(&self, listener: Weak<dyn InvalidationListener>);

    /// Is notified when a connection to the store was made anew, so that another server may answer. A store within the
    /// process has none.
    fn reconnected(&self) -> Option<Arc<Notify>> {
        None
    }
}
