//! Sorted sets in memory.

use std::collections::{BTreeSet, HashMap};

use async_trait::async_trait;
use time::OffsetDateTime;

use super::{MemoryStore, State};
use crate::store::{SortedSets, StoreError};

/// A set's members by name and by score, and the moment it goes.
pub(super) struct SortedSet {
    scores: HashMap<String, i64>,
    order: BTreeSet<(i64, String)>,
    until: OffsetDateTime,
}

impl SortedSet {
    fn empty(until: OffsetDateTime) -> Self {
        Self { scores: HashMap::new(), order: BTreeSet::new(), until }
    }

    pub(super) fn is_there(&self, now: OffsetDateTime) -> bool {
        self.until > now && !self.scores.is_empty()
    }

    fn insert(&mut self, member: &str, score: i64) {
        self.remove(member);
        self.scores.insert(member.to_owned(), score);
        self.order.insert((score, member.to_owned()));
    }

    fn remove(&mut self, member: &str) -> bool {
        let Some(score) = self.scores.remove(member) else { return false };
        self.order.remove(&(score, member.to_owned()))
    }
}

impl State {
    fn set(&self, name: &str, now: OffsetDateTime) -> Option<&SortedSet> {
        self.sets.get(name).filter(|set| set.is_there(now))
    }

    fn set_mut(&mut self, name: &str, now: OffsetDateTime) -> Option<&mut SortedSet> {
        self.sets.get_mut(name).filter(|set| set.is_there(now))
    }
}

#[async_trait]
impl SortedSets for MemoryStore {
    async fn insert(&self, set: &str, member: &str, score: i64, until: OffsetDateTime) -> Result<(), StoreError> {
        let now = self.clock.now();
        let mut state = self.lock_to_write();
        if state.set(set, now).is_none() {
            state.sets.insert(set.to_owned(), SortedSet::empty(until));
        }
        if let Some(set) = state.sets.get_mut(set) {
            set.until = set.until.max(until);
            set.insert(member, score);
        }
        Ok(())
    }

    async fn remove_member(&self, set: &str, member: &str) -> Result<bool, StoreError> {
        let now = self.clock.now();
        Ok(self.lock_to_write().set_mut(set, now).is_some_and(|set| set.remove(member)))
    }

    async fn remove_members(&self, set: &str, members: &[String]) -> Result<(), StoreError> {
        let now = self.clock.now();
        if let Some(set) = self.lock_to_write().set_mut(set, now) {
            for member in members {
                set.remove(member);
            }
        }
        Ok(())
    }

    async fn down_from(&self, set: &str, highest: i64, limit: usize) -> Result<Vec<(String, i64)>, StoreError> {
        let state = self.lock();
        let Some(set) = state.set(set, self.clock.now()) else { return Ok(Vec::new()) };
        let found = set.order.iter().rev().skip_while(|(score, _)| *score > highest).take(limit);
        Ok(found.map(|(score, member)| (member.clone(), *score)).collect())
    }

    async fn up_to(&self, set: &str, highest: i64, limit: usize) -> Result<Vec<String>, StoreError> {
        let state = self.lock();
        let Some(set) = state.set(set, self.clock.now()) else { return Ok(Vec::new()) };
        let found = set.order.iter().take_while(|(score, _)| *score <= highest).take(limit);
        Ok(found.map(|(_, member)| member.clone()).collect())
    }

    async fn extend(&self, set: &str, until: OffsetDateTime) -> Result<(), StoreError> {
        let now = self.clock.now();
        if let Some(set) = self.lock_to_write().set_mut(set, now) {
            set.until = set.until.max(until);
        }
        Ok(())
    }

    async fn clear(&self, set: &str) -> Result<(), StoreError> {
        self.lock_to_write().sets.remove(set);
        Ok(())
    }

    async fn length(&self, set: &str) -> Result<u64, StoreError> {
        Ok(self.lock().set(set, self.clock.now()).map_or(0, |set| set.scores.len() as u64))
    }
}
