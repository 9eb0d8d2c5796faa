//! Logs in memory.

use std::collections::BTreeMap;
use std::ops::Bound;

use async_trait::async_trait;
use counterfoil_core::unix_millis::UnixMillis;

use super::MemoryStore;
use crate::store::StoreError;
use crate::store::log::{Appended, Log, LogNumber, LogRead, MOST_READ};

/// A log's entries, and the number that it gave last.
#[derive(Default)]
pub(super) struct Entries {
    newest: LogNumber,
    entries: BTreeMap<LogNumber, Vec<u8>>,
}

#[async_trait]
impl Log for MemoryStore {
    async fn append(&self, log: &str, entry: &[u8]) -> Result<Appended, StoreError> {
        let UnixMillis(now) = self.clock.now().into();
        let now = LogNumber { milliseconds: u64::try_from(now).unwrap_or_default(), sequence: 0 };
        let mut state = self.lock_to_write();
        let entries = state.logs.entry(log.to_owned()).or_default();
        let number = now.max(entries.newest.next());
        entries.newest = number;
        entries.entries.insert(number, entry.to_vec());
        drop(state);
        self.listeners.each(|listener| listener.invalidate_log(log));
        Ok(Appended { number, is_replicated: true })
    }

    async fn newest(&self, log: &str) -> Result<Option<LogNumber>, StoreError> {
        Ok(self.lock().logs.get(log).and_then(|log| log.entries.keys().next_back().copied()))
    }

    async fn read_watched(&self, log: &str, behind: LogNumber) -> Result<LogRead, StoreError> {
        let state = self.lock();
        let behind = (Bound::Excluded(behind), Bound::Unbounded);
        let entries = state.logs.get(log).into_iter().flat_map(|log| log.entries.range(behind));
        Ok(LogRead {
            entries: entries.take(MOST_READ).map(|(number, entry)| (*number, entry.clone())).collect(),
            watch: None,
        })
    }

    async fn advance(&self, log: &str, beyond: LogNumber, entry: &[u8]) -> Result<(), StoreError> {
        let mut state = self.lock_to_write();
        let entries = state.logs.entry(log.to_owned()).or_default();
        if entries.newest <= beyond {
            entries.newest = beyond.next();
            entries.entries.insert(entries.newest, entry.to_vec());
            drop(state);
            self.listeners.each(|listener| listener.invalidate_log(log));
        }
        Ok(())
    }

    async fn delete_entry(&self, log: &str, number: LogNumber) -> Result<bool, StoreError> {
        let removed = self.lock_to_write().logs.get_mut(log).is_some_and(|log| log.entries.remove(&number).is_some());
        self.listeners.each(|listener| listener.invalidate_log(log));
        Ok(removed)
    }
}
