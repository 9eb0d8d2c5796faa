//! The session registry: which sessions there are, whose they are, and which came from one session at the
//! provider.
//!
//! Lists of handles, scored by when the session was established (R-G12): one for each person, one for each session at
//! a provider, and one for each hour, which together are all of them. That order never changes, so a listing can be
//! continued from any place in it; a list of an hour is bounded by the logins of that hour.
//!
//! The record in the store alone decides whether a session lives. Entry first, record second: an entry without
//! a record is harmless and goes with its list, a record without an entry could never be found. An entry older than
//! the longest timeout is pruned together with its record, so correctness never depends on the store telling
//! about expired keys.

use std::collections::BTreeSet;
use std::sync::Arc;

use time::{Duration, OffsetDateTime};

use super::hashed_name::HashedName;
use super::key::SessionHandle;
use super::record::SessionRecord;
use super::store::{SessionBackend, StoreError};

/// The list of the hours that have a list.
const HOURS: &str = "all";
const MILLISECONDS_PER_HOUR: i64 = 60 * 60 * 1_000;
/// Entries asked for at a time.
const BATCH: usize = 500;
/// An entry without a record may belong to a session that is just being established.
const YOUNGEST_PRUNED: Duration = Duration::minutes(10);

/// A place in the order of all sessions: newest first, those of the same millisecond by handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// The moment the session was established, in milliseconds since 1970.
    pub established: i64,
    /// The session there.
    pub handle: SessionHandle,
}

/// The registry of one store.
#[derive(Debug)]
pub(super) struct Registry {
    backend: Arc<dyn SessionBackend>,
}

impl Registry {
    pub(super) fn new(backend: Arc<dyn SessionBackend>) -> Self {
        Self { backend }
    }

    /// Enters a session in every list it belongs to; each of them lives at least until then.
    pub(super) async fn insert(
        &self,
        record: &SessionRecord,
        handle: SessionHandle,
        until: OffsetDateTime,
    ) -> Result<(), StoreError> {
        let established = milliseconds(record.created_at);
        let member = handle.to_string();
        for index in HashedName::of(record) {
            self.backend.list_insert(index.as_str(), &member, established, until).await?;
        }
        let hour = hour_of(established);
        self.backend.list_insert(HOURS, &hour.to_string(), hour, until).await?;
        self.backend.list_insert(&list_of_hour(hour), &member, established, until).await
    }

    /// Takes a session out of every list it belongs to.
    pub(super) async fn remove(&self, record: &SessionRecord, handle: SessionHandle) -> Result<(), StoreError> {
        let member = handle.to_string();
        for index in HashedName::of(record) {
            self.backend.list_remove(index.as_str(), &member).await?;
        }
        self.backend.list_remove(&list_of_hour(hour_of(milliseconds(record.created_at))), &member).await.map(drop)
    }

    /// Takes an entry without a record out of a list, unless its record may be on its way.
    pub(super) async fn prune(
        &self,
        index: Option<&HashedName>,
        place: Cursor,
        now: OffsetDateTime,
    ) -> Result<(), StoreError> {
        if place.established > milliseconds(now - YOUNGEST_PRUNED) {
            return Ok(());
        }
        let list = index.map_or_else(|| list_of_hour(hour_of(place.established)), |index| index.as_str().to_owned());
        self.backend.list_remove(&list, &place.handle.to_string()).await.map(drop)
    }

    /// A batch of the sessions of an index, or of all, behind a place; empty at the end.
    pub(super) async fn behind(
        &self,
        index: Option<&HashedName>,
        place: Option<Cursor>,
    ) -> Result<Vec<Cursor>, StoreError> {
        if let Some(index) = index {
            return self.list_behind(index.as_str(), place).await;
        }
        let mut hour = place.map_or(i64::MAX, |place| hour_of(place.established));
        // One hour after the other, until one has something.
        while let Some((_, found)) = self.backend.list_down_from(HOURS, hour, 1).await?.pop() {
            let places = self.list_behind(&list_of_hour(found), place).await?;
            if !places.is_empty() {
                return Ok(places);
            }
            hour = found - 1;
        }
        Ok(Vec::new())
    }

    /// Every session of an index.
    pub(super) async fn all_of(&self, index: &HashedName) -> Result<BTreeSet<SessionHandle>, StoreError> {
        let entries = self.backend.list_down_from(index.as_str(), i64::MAX, usize::MAX).await?;
        Ok(entries.iter().filter_map(|(member, _)| member.parse().ok()).collect())
    }

    async fn list_behind(&self, list: &str, place: Option<Cursor>) -> Result<Vec<Cursor>, StoreError> {
        let highest = place.map_or(i64::MAX, |place| place.established);
        let mut limit = BATCH;
        loop {
            let entries = self.backend.list_down_from(list, highest, limit).await?;
            let is_all = entries.len() < limit;
            let places = entries.into_iter().filter_map(|(member, established)| {
                let handle = member.parse().ok()?;
                Some(Cursor { established, handle })
            });
            // Places are compared as the store orders them: by their text.
            let is_behind = |found: &Cursor| {
                place.is_none_or(|place| {
                    (found.established, found.handle.to_string()) < (place.established, place.handle.to_string())
                })
            };
            let places: Vec<_> = places.filter(is_behind).collect();
            if is_all || !places.is_empty() {
                return Ok(places);
            }
            // One millisecond has more sessions than fit into a batch.
            limit *= 2;
        }
    }

    /// Counts the entries; some of them may have ended by themselves.
    pub(super) async fn size(&self) -> Result<u64, StoreError> {
        let mut size = 0;
        for (_, hour) in self.backend.list_down_from(HOURS, i64::MAX, usize::MAX).await? {
            size += self.backend.list_length(&list_of_hour(hour)).await?;
        }
        Ok(size)
    }

    /// Entries of a person's lists that no timeout lets live, to be ended and forgotten.
    pub(super) async fn overdue(
        &self,
        index: &HashedName,
        established_before: OffsetDateTime,
    ) -> Result<Vec<SessionHandle>, StoreError> {
        let overdue = self.backend.list_up_to(index.as_str(), milliseconds(established_before), BATCH).await?;
        Ok(overdue.iter().filter_map(|member| member.parse().ok()).collect())
    }

    /// Takes an entry out of one list.
    pub(super) async fn forget(&self, index: &HashedName, handle: SessionHandle) -> Result<(), StoreError> {
        self.backend.list_remove(index.as_str(), &handle.to_string()).await.map(drop)
    }

    /// Hours whose sessions no timeout lets live.
    pub(super) async fn overdue_hours(&self, established_before: OffsetDateTime) -> Result<Vec<i64>, StoreError> {
        let last = hour_of(milliseconds(established_before)) - 1;
        let hours = self.backend.list_up_to(HOURS, last, BATCH).await?;
        Ok(hours.iter().filter_map(|hour| hour.parse().ok()).collect())
    }

    /// Everything that is left in the list of an hour.
    pub(super) async fn members_of_hour(&self, hour: i64) -> Result<Vec<SessionHandle>, StoreError> {
        let members = self.backend.list_up_to(&list_of_hour(hour), i64::MAX, usize::MAX).await?;
        Ok(members.iter().filter_map(|member| member.parse().ok()).collect())
    }

    /// Forgets an hour and its list.
    pub(super) async fn forget_hour(&self, hour: i64) -> Result<(), StoreError> {
        self.backend.list_delete(&list_of_hour(hour)).await?;
        self.backend.list_remove(HOURS, &hour.to_string()).await.map(drop)
    }
}

fn hour_of(milliseconds: i64) -> i64 {
    milliseconds.div_euclid(MILLISECONDS_PER_HOUR)
}

fn list_of_hour(hour: i64) -> String {
    format!("all:{hour}")
}

/// Milliseconds since 1970.
pub(super) fn milliseconds(moment: OffsetDateTime) -> i64 {
    i64::try_from(moment.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX)
}
