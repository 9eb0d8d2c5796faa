//! The near cache: opened records in this process, for as long as their end would be heard of.
//!
//! Three rules keep it from ever serving what was revoked:
//! 1. A record enters with a [`Watch`]: the promise of the very connection it was read on to tell when it changes.
//!    The promise holds while the [`Coverage`](super::Coverage) of that connection does; when the connection is lost,
//!    or silent for longer than that, everything read on it is void at once.
//! 2. An invalidation that arrives while a load is under way wins: [`NearCache::fill`] takes a [`FillToken`] from
//!    before the load, and does nothing if its shard heard of any change since.
//! 3. A maximum age bounds every entry all the same, and so does the store's own expiry.
//!
//! Every operation is one critical section of one shard, so their order is all there is to check; `model` tries all
//! of them. Holds no tokens and knows neither Redis nor encryption.

#[cfg(test)]
mod model;

use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use counterfoil_core::lock;
use quick_cache::UnitWeighter;
use quick_cache::unsync::{Cache, DefaultLifecycle};

use super::Watch;
use crate::key::SessionHandle;

/// Locks that can be held at the same time, so that cores do not wait for each other.
const SHARDS: usize = 64;

/// A token taken before a load begins; it shows afterwards whether anything changed meanwhile.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FillToken {
    handle: SessionHandle,
    generation: u64,
}

/// A bounded cache of values by session.
pub(crate) struct NearCache<V> {
    shards: Box<[Mutex<Shard<V>>]>,
    max_age: Duration,
}

struct Shard<V> {
    entries: Cache<SessionHandle, Entry<V>, UnitWeighter, IdentityHasher>,
    /// Invalidations heard so far.
    generation: u64,
}

/// A handle is a hash already, and only handles that we gave out ever enter.
#[derive(Debug, Clone, Copy, Default)]
struct IdentityHasher;

impl BuildHasher for IdentityHasher {
    type Hasher = Bits;

    fn build_hasher(&self) -> Bits {
        Bits(0)
    }
}

/// The half of a handle that has no fixed part.
struct Bits(u64);

impl Hasher for Bits {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_i128(&mut self, handle: i128) {
        self.0 = u64::try_from(handle.cast_unsigned() >> 64).unwrap_or_default();
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[derive(Clone)]
struct Entry<V> {
    value: Arc<V>,
    watch: Watch,
    expires: Instant,
}

impl<V> NearCache<V> {
    /// A cache of about so many entries, none of them older than `max_age`.
    pub(crate) fn new(entries: usize, max_age: Duration) -> Self {
        Self::with_shards(SHARDS, entries, max_age)
    }

    fn with_shards(shards: usize, entries: usize, max_age: Duration) -> Self {
        let room = entries.div_ceil(shards);
        let cache = || Cache::with(room, room as u64, UnitWeighter, IdentityHasher, DefaultLifecycle::default());
        let shard = || Shard { entries: cache(), generation: 0 };
        Self { shards: (0..shards).map(|_| Mutex::new(shard())).collect(), max_age }
    }

    /// Returns what is known of a session, if it may still be believed.
    pub(crate) fn get(&self, handle: SessionHandle, now: Instant) -> Option<Arc<V>> {
        let shard = self.shard(handle);
        let entry = shard.entries.get(&handle)?;
        (now < entry.expires && entry.watch.holds(now)).then(|| entry.value.clone())
    }

    /// Begins a load, before the store is asked.
    pub(crate) fn begin_load(&self, handle: SessionHandle) -> FillToken {
        FillToken { handle, generation: self.shard(handle).generation }
    }

    /// Keeps what the store answered, unless a change was heard of since the load began.
    pub(crate) fn fill(&self, token: FillToken, value: Arc<V>, watch: Watch, expires: Option<Instant>, now: Instant) {
        let mut shard = self.shard(token.handle);
        if shard.generation != token.generation {
            return;
        }
        let oldest = now + self.max_age;
        let expires = expires.map_or(oldest, |expires| expires.min(oldest));
        shard.entries.insert(token.handle, Entry { value, watch, expires });
    }

    /// A session changed or ended: it is forgotten, and loads under way come too late.
    pub(crate) fn invalidate(&self, handle: SessionHandle) {
        let mut shard = self.shard(handle);
        shard.generation += 1;
        shard.entries.remove(&handle);
    }

    /// Forgets everything; loads under way come too late.
    pub(crate) fn clear(&self) {
        for shard in &self.shards {
            let mut shard = lock(shard);
            shard.generation += 1;
            shard.entries.clear();
        }
    }

    fn shard(&self, handle: SessionHandle) -> MutexGuard<'_, Shard<V>> {
        // A handle is a hash already, and only handles that we gave out ever enter.
        lock(&self.shards[handle.bucket(self.shards.len())])
    }
}

impl<V> fmt::Debug for NearCache<V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("NearCache").field("max_age", &self.max_age).finish_non_exhaustive()
    }
}
