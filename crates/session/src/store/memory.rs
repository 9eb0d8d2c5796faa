//! Sessions in this process alone: for the demo and for tests. Gone with the process, unknown to replicas.

mod key_value;
mod leases;
mod log;
mod records;
mod sorted_sets;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, Weak};

use counterfoil_core::clock::SharedClock;
use time::OffsetDateTime;
use tower_sessions::session::{Id, Record};

use self::log::Entries;
use self::sorted_sets::SortedSet;
use super::{InvalidationFeed, InvalidationListener, Listeners};

/// Writes between two sweeps of what has expired: keeps memory bounded by what is live.
const WRITES_PER_SWEEP: u32 = 256;

/// A store in memory.
pub struct MemoryStore {
    clock: SharedClock,
    state: Mutex<State>,
    listeners: Listeners,
}

#[derive(Default)]
struct State {
    records: HashMap<Id, Record>,
    /// Leases, notes, tombstones and values, by kind and name.
    values: HashMap<(Kind, String), (Vec<u8>, Option<OffsetDateTime>)>,
    sets: HashMap<String, SortedSet>,
    hashes: HashMap<String, HashMap<String, Vec<u8>>>,
    logs: HashMap<String, Entries>,
    writes_since_sweep: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Lease,
    Note,
    Tombstone,
    Value,
}

impl State {
    fn sweep_now_and_then(&mut self, now: OffsetDateTime) {
        self.writes_since_sweep += 1;
        if self.writes_since_sweep < WRITES_PER_SWEEP {
            return;
        }
        self.writes_since_sweep = 0;
        self.records.retain(|_, record| record.expiry_date > now);
        self.values.retain(|_, (_, until)| until.is_none_or(|until| until > now));
        self.sets.retain(|_, set| set.is_there(now));
    }

    fn value(&self, kind: Kind, name: &str, now: OffsetDateTime) -> Option<Vec<u8>> {
        let (value, until) = self.values.get(&(kind, name.to_owned()))?;
        until.is_none_or(|until| until > now).then(|| value.clone())
    }

    fn set_value(&mut self, kind: Kind, name: &str, value: &[u8], until: Option<OffsetDateTime>) {
        self.values.insert((kind, name.to_owned()), (value.to_vec(), until));
    }
}

impl MemoryStore {
    /// An empty store; `clock` decides what has expired.
    pub fn new(clock: SharedClock) -> Self {
        Self { clock, state: Mutex::default(), listeners: Listeners::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change below is complete or not begun when it can panic, so a poisoned lock is sound.
        counterfoil_core::lock(&self.state)
    }

    fn lock_to_write(&self) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        state.sweep_now_and_then(self.clock.now());
        state
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("MemoryStore").finish_non_exhaustive()
    }
}

/// Nothing that was read is watched: asking this store costs no more than asking a cache. Changes are told all the same.
impl InvalidationFeed for MemoryStore {
    fn subscribe(&self, listener: Weak<dyn InvalidationListener>) {
        self.listeners.add(listener);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use counterfoil_core::clock::{Clock, ManualClock, SystemClock};

    use super::*;
    use crate::store::contract::{Subject, check};

    #[tokio::test]
    async fn memory_keeps_every_promise() {
        let clock = ManualClock::at(SystemClock.now());
        check(&Subject::new(Arc::new(MemoryStore::new(clock.clone()))).with_clock(clock)).await;
    }
}
