//! A map whose entries expire and which cannot grow without bound.
//!
//! Owns expiry and the limit on how much is remembered. Knows nothing of what it holds. Used by the sessions
//! and the grants.

use std::collections::HashMap;

use time::{Duration, OffsetDateTime};

const CAPACITY: usize = 10_000;
const PRUNING_INTERVAL: Duration = Duration::minutes(1);

/// Values by their secret or public handle.
pub(super) struct Table<V> {
    entries: HashMap<String, Entry<V>>,
    pruned_at: OffsetDateTime,
}

struct Entry<V> {
    value: V,
    expires_at: OffsetDateTime,
}

impl<V> Default for Table<V> {
    fn default() -> Self {
        Self { entries: HashMap::new(), pruned_at: OffsetDateTime::UNIX_EPOCH }
    }
}

impl<V> Table<V> {
    /// Remembers a value until `expires_at`, or until the table is full and this is the next to expire.
    pub(super) fn insert(&mut self, key: String, value: V, expires_at: OffsetDateTime, now: OffsetDateTime) {
        if self.entries.len() >= CAPACITY || now - self.pruned_at >= PRUNING_INTERVAL {
            self.entries.retain(|_, entry| entry.expires_at > now);
            self.pruned_at = now;
        }
        if self.entries.len() >= CAPACITY {
            let next = self.entries.iter().min_by_key(|(_, entry)| entry.expires_at).map(|(key, _)| key.clone());
            next.map(|key| self.entries.remove(&key));
        }
        self.entries.insert(key, Entry { value, expires_at });
    }

    /// Returns the live value under this key.
    pub(super) fn get(&self, key: &str, now: OffsetDateTime) -> Option<&V> {
        self.entries.get(key).filter(|entry| entry.expires_at > now).map(|entry| &entry.value)
    }

    /// Returns the live value under this key, to change it.
    pub(super) fn get_mut(&mut self, key: &str, now: OffsetDateTime) -> Option<&mut V> {
        self.entries.get_mut(key).filter(|entry| entry.expires_at > now).map(|entry| &mut entry.value)
    }

    /// Returns every value, to change it.
    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.entries.values_mut().map(|entry| &mut entry.value)
    }

    /// Takes the value under this key out, if it is still alive.
    pub(super) fn remove(&mut self, key: &str, now: OffsetDateTime) -> Option<V> {
        self.entries.remove(key).filter(|entry| entry.expires_at > now).map(|entry| entry.value)
    }

    /// Forgets every value that is not to be kept.
    pub(super) fn retain(&mut self, mut is_kept: impl FnMut(&V) -> bool) {
        self.entries.retain(|_, entry| is_kept(&entry.value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_table_forgets_what_would_expire_first() {
        let now = OffsetDateTime::UNIX_EPOCH + Duration::days(1);
        let mut table = Table::default();
        for number in 0..=CAPACITY {
            let lifetime = Duration::seconds(i64::try_from(number).unwrap() + 1);
            table.insert(number.to_string(), number, now + lifetime, now);
        }
        assert_eq!(table.entries.len(), CAPACITY);
        assert_eq!((table.get("0", now), table.get("1", now)), (None, Some(&1)));
    }

    #[test]
    fn what_has_expired_is_gone() {
        let now = OffsetDateTime::UNIX_EPOCH;
        let mut table = Table::default();
        table.insert("a".into(), 1, now + Duration::seconds(5), now);
        assert_eq!(table.get("a", now + Duration::seconds(5)), None);
        assert_eq!(table.remove("a", now + Duration::seconds(5)), None);
    }
}
