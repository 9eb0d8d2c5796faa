//! The session registry: which sessions there are, whose they are, and which came from one session at the
//! provider.
//!
//! Lists of handles, scored by when the session was established (R-G12): one for each person, one for each session at
//! a provider, one for each user name and e-mail address, and one for each hour, which together are all of them. That
//! order never changes, so a listing can be continued from any place in it; a list of an hour is bounded by the logins
//! of that hour. Its entries carry a signature behind the handle, which tells most sessions that a filter does not mean.
//!
//! The record in the store alone decides whether a session lives. Entry first, record second: an entry without
//! a record is harmless and goes with its list, a record without an entry could never be found. An entry older than
//! the longest timeout is pruned together with its record, so correctness never depends on the store telling
//! about expired keys.

mod maintenance;

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{self, AtomicU64};

use counterfoil_core::unix_millis::UnixMillis;
use futures_util::{StreamExt, TryStreamExt, future, stream};
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use super::hashed_name::{HashedName, Names};
use super::key::SessionHandle;
use super::key_check::Keyed;
use super::record::SessionRecord;
use super::signature::{Probe, Signature};
use super::store::{SortedSets, StoreError};

/// The list of the hours that have a list.
pub(super) const HOURS: &str = "all";
/// The list of the issuers that sessions are of.
const ISSUERS: &str = "issuers";
/// Issuers that somebody is looked for at who is known by their subject alone.
const MOST_ISSUERS: usize = 1_000;
/// An hour that no session is of, in hours since 1970: it is ten thousand years away.
const LATEST_HOUR: i64 = 100_000_000;
const MILLISECONDS_PER_HOUR: i64 = 60 * 60 * 1_000;
/// Entries asked for at a time.
const BATCH: usize = 500;
/// The same, where few of them will be opened.
const SCANNED_BATCH: usize = 5_000;
/// Hours whose lists are read at the same time.
const HOURS_AT_A_TIME: usize = 4;
/// An entry without a record may belong to a session that is just being established.
pub(super) const YOUNGEST_PRUNED: Duration = Duration::minutes(10);

/// A place in the list of all sessions. Listings go from the highest to the lowest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// The moment the session was established.
    pub established: UnixMillis,
    /// The session there.
    pub handle: SessionHandle,
}

/// Orders places as the store does: by moment, then by the handle's text.
impl Ord for Cursor {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_text = || self.handle.to_string().cmp(&other.handle.to_string());
        self.established.cmp(&other.established).then_with(by_text)
    }
}

impl PartialOrd for Cursor {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Cursor {
    /// The place behind every session that was established at or after a moment.
    pub(super) fn before(established: UnixMillis) -> Self {
        Self { established, handle: SessionHandle::LOWEST }
    }
}

/// An entry of a list.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) place: Cursor,
    /// The traits of the session, in the lists of hours.
    pub(super) signature: Option<Signature>,
}

impl Entry {
    fn parse(member: &str, established: i64) -> Option<Self> {
        let (handle, signature) = member.split_at_checked(SessionHandle::CHARACTERS)?;
        Some(Self {
            place: Cursor { established: UnixMillis(established), handle: handle.parse().ok()? },
            signature: Signature::parse(signature),
        })
    }

    fn member(&self) -> String {
        let handle = self.place.handle;
        self.signature.map_or_else(|| handle.to_string(), |signature| format!("{handle}{signature}"))
    }
}

/// The sessions that are looked at, newest first.
#[derive(Debug)]
pub(super) enum Source {
    /// Every session whose signature does not say no.
    All(Probe),
    /// The sessions of any of these indexes.
    Indexes(Vec<HashedName>),
    /// Sessions that a search found.
    Found(Vec<Cursor>),
}

/// The registry of one store.
#[derive(Debug)]
pub(super) struct Registry {
    store: Arc<Keyed>,
    /// The entries that were met and cannot be read: nobody knows whose they are.
    damaged: AtomicU64,
}

impl Registry {
    pub(super) fn new(store: Arc<Keyed>) -> Self {
        Self { store, damaged: AtomicU64::new(0) }
    }

    /// The number of entries that were met so far and cannot be read.
    pub(super) fn damaged(&self) -> u64 {
        self.damaged.load(atomic::Ordering::Acquire)
    }

    fn parse(&self, list: &str, member: &str, established: i64) -> Option<Entry> {
        let entry = Entry::parse(member, established);
        if entry.is_none() && self.damaged.fetch_add(1, atomic::Ordering::AcqRel) == 0 {
            tracing::error!(list, "an entry of a list of sessions cannot be read: somebody wrote it who is no broker");
        }
        entry
    }

    /// The lists that a session belongs to, and its entry in each.
    fn entries(names: &Names, record: &SessionRecord, handle: SessionHandle) -> BTreeSet<(String, String)> {
        let hour = list_of_hour(hour_of(record.created_at.into()));
        let in_hour = (hour, format!("{handle}{}", Signature::of(record, names)));
        let indexes = names.indexes(record).into_iter().map(|index| (index.as_str().to_owned(), handle.to_string()));
        indexes.chain([in_hour]).collect()
    }

    /// Enters a session in every list it belongs to; each of them lives at least until then.
    pub(super) async fn insert(
        &self,
        record: &SessionRecord,
        handle: SessionHandle,
        until: OffsetDateTime,
    ) -> Result<(), StoreError> {
        let names = self.store.names().await?;
        let established = UnixMillis::from(record.created_at);
        let hour = hour_of(established);
        let mut entries: Vec<_> = Self::entries(&names, record, handle)
            .into_iter()
            .map(|(list, member)| (list, member, established.0))
            .collect();
        entries.push((HOURS.to_owned(), hour.to_string(), hour));
        entries.push((ISSUERS.to_owned(), record.identity.issuer.clone(), established.0));
        let insert =
            async |(list, member, score): &(String, String, i64)| self.store.insert(list, member, *score, until).await;
        future::try_join_all(entries.iter().map(insert)).await.map(drop)
    }

    /// Takes a session out of every list it belongs to.
    pub(super) async fn remove(&self, record: &SessionRecord, handle: SessionHandle) -> Result<(), StoreError> {
        self.remove_entries(Self::entries(&*self.store.names().await?, record, handle)).await
    }

    /// Takes a session out of the lists that it belonged to and does no more.
    pub(super) async fn remove_outdated(
        &self,
        before: &SessionRecord,
        after: &SessionRecord,
        handle: SessionHandle,
    ) -> Result<(), StoreError> {
        let names = self.store.names().await?;
        let (before, after) = (Self::entries(&names, before, handle), Self::entries(&names, after, handle));
        self.remove_entries(before.difference(&after).cloned().collect()).await
    }

    async fn remove_entries(&self, entries: BTreeSet<(String, String)>) -> Result<(), StoreError> {
        let remove = async |(list, member): &(String, String)| self.store.remove_member(list, member).await;
        future::try_join_all(entries.iter().map(remove)).await.map(drop)
    }

    /// Takes an entry without a record out of the lists it was found in, unless its record may be on its way.
    pub(super) async fn prune(&self, source: &Source, entry: Entry, now: OffsetDateTime) -> Result<(), StoreError> {
        if entry.place.established > UnixMillis::from(now - YOUNGEST_PRUNED) {
            return Ok(());
        }
        let lists = match source {
            Source::All(_) => vec![list_of_hour(hour_of(entry.place.established))],
            Source::Indexes(indexes) => indexes.iter().map(|index| index.as_str().to_owned()).collect(),
            Source::Found(_) => Vec::new(),
        };
        self.remove_entries(lists.into_iter().map(|list| (list, entry.member())).collect()).await
    }

    /// The issuers that sessions are of.
    pub(super) async fn issuers(&self) -> Result<Vec<String>, StoreError> {
        let issuers = self.store.down_from(ISSUERS, i64::MAX, MOST_ISSUERS).await?;
        Ok(issuers.into_iter().map(|(issuer, _)| issuer).collect())
    }

    /// Is true if any of these indexes names a session.
    pub(super) async fn name_any(&self, indexes: &[HashedName]) -> Result<bool, StoreError> {
        let length = async |index: &HashedName| self.store.length(index.as_str()).await;
        Ok(future::try_join_all(indexes.iter().map(length)).await?.into_iter().any(|length| length > 0))
    }

    /// A batch of a source's entries behind a place, whatever their signatures say; empty at the end.
    pub(super) async fn behind(&self, source: &Source, place: Option<Cursor>) -> Result<Vec<Entry>, StoreError> {
        match source {
            Source::All(probe) => self.all_behind(place, if probe.is_empty() { BATCH } else { SCANNED_BATCH }).await,
            Source::Indexes(indexes) => self.indexes_behind(indexes, place).await,
            Source::Found(found) => {
                let behind = found.iter().filter(|found| place.is_none_or(|place| **found < place));
                Ok(behind.map(|place| Entry { place: *place, signature: None }).collect())
            }
        }
    }

    async fn all_behind(&self, place: Option<Cursor>, batch: usize) -> Result<Vec<Entry>, StoreError> {
        // Whoever can write to the store may have put anything into the list of hours.
        let mut hour = place.map_or(LATEST_HOUR, |place| hour_of(place.established)).min(LATEST_HOUR);
        // One hour after the other, until one has something.
        while let Some((_, found)) = self.store.down_from(HOURS, hour, 1).await?.pop() {
            if found < 0 {
                break;
            }
            let (entries, _) = self.list_behind(&list_of_hour(found), place, batch).await?;
            if !entries.is_empty() {
                return Ok(entries);
            }
            hour = found - 1;
        }
        Ok(Vec::new())
    }

    /// Entries of several lists in one order. Of each list a part may be known: the order is known as far as all are.
    async fn indexes_behind(&self, indexes: &[HashedName], place: Option<Cursor>) -> Result<Vec<Entry>, StoreError> {
        let read = async |index: &HashedName| self.list_behind(index.as_str(), place, BATCH).await;
        let parts = stream::iter(indexes).map(read).buffered(BATCH).try_collect::<Vec<_>>().await?;
        let ends = parts.iter().filter(|(_, is_all)| !is_all).filter_map(|(entries, _)| entries.last());
        let known_to = ends.map(|end| end.place).max();
        let mut entries: Vec<_> = parts.iter().flat_map(|(entries, _)| entries).copied().collect();
        entries.retain(|entry| known_to.is_none_or(|end| entry.place >= end));
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.place));
        entries.dedup_by_key(|entry| entry.place.handle);
        Ok(entries)
    }

    /// Every session of an index.
    pub(super) async fn all_of(&self, index: &HashedName) -> Result<BTreeSet<SessionHandle>, StoreError> {
        let entries = self.store.down_from(index.as_str(), i64::MAX, usize::MAX).await?;
        Ok(entries.iter().filter_map(|(member, _)| member.parse().ok()).collect())
    }

    /// A batch of a list's entries behind a place, and whether there are no more. Entries of one session stay together:
    /// it has two while a renewal gives it another signature.
    async fn list_behind(
        &self,
        list: &str,
        place: Option<Cursor>,
        batch: usize,
    ) -> Result<(Vec<Entry>, bool), StoreError> {
        let highest = place.map_or(i64::MAX, |place| place.established.0);
        let mut limit = batch;
        loop {
            let members = self.store.down_from(list, highest, limit).await?;
            let is_all = members.len() < limit;
            let entries =
                members.into_iter().filter_map(|(member, established)| self.parse(list, &member, established));
            let mut entries: Vec<_> = entries.filter(|found| place.is_none_or(|place| found.place < place)).collect();
            if is_all {
                return Ok((entries, true));
            }
            // The other entry of the last session may come next.
            if let Some(last) = entries.last().map(|last| last.place.handle)
                && let Some(first) = entries.iter().position(|entry| entry.place.handle == last)
            {
                entries.truncate(first);
            }
            if !entries.is_empty() {
                return Ok((entries, false));
            }
            // One millisecond has more sessions than fit into a batch.
            limit *= 2;
        }
    }

    /// Shows every entry of the lists of hours to `see`, in no order.
    pub(super) async fn scan(&self, mut see: impl FnMut(&Entry)) -> Result<(), StoreError> {
        let hours = self.store.down_from(HOURS, i64::MAX, usize::MAX).await?;
        let batches = |(_, hour): (String, i64)| {
            // Each batch, and the place behind which the next one begins.
            stream::try_unfold(Some(None), move |next| async move {
                let Some(place) = next else { return Ok(None) };
                let (entries, is_all) = self.list_behind(&list_of_hour(hour), place, SCANNED_BATCH).await?;
                let next = entries.last().filter(|_| !is_all).map(|last| Some(last.place));
                Ok::<_, StoreError>(Some((entries, next)))
            })
            .boxed()
        };
        let mut entries = stream::iter(hours).map(batches).flatten_unordered(HOURS_AT_A_TIME);
        while let Some(batch) = entries.try_next().await? {
            batch.iter().for_each(&mut see);
        }
        Ok(())
    }

    /// Counts the entries; some of them may have ended by themselves.
    pub(super) async fn size(&self) -> Result<u64, StoreError> {
        let mut size = 0;
        for (_, hour) in self.store.down_from(HOURS, i64::MAX, usize::MAX).await? {
            size += self.store.length(&list_of_hour(hour)).await?;
        }
        Ok(size)
    }

    /// Entries of a person's lists that no timeout lets live, to be ended and forgotten.
    pub(super) async fn overdue(
        &self,
        index: &HashedName,
        established_before: OffsetDateTime,
    ) -> Result<Vec<SessionHandle>, StoreError> {
        let overdue = self.store.up_to(index.as_str(), UnixMillis::from(established_before).0, BATCH).await?;
        Ok(overdue.iter().filter_map(|member| handle_of(member)).collect())
    }

    /// Takes an entry out of one list.
    pub(super) async fn forget(&self, index: &HashedName, handle: SessionHandle) -> Result<(), StoreError> {
        self.store.remove_member(index.as_str(), &handle.to_string()).await.map(drop)
    }

    /// Hours whose sessions no timeout lets live.
    pub(super) async fn overdue_hours(&self, established_before: OffsetDateTime) -> Result<Vec<i64>, StoreError> {
        let last = hour_of(established_before.into()) - 1;
        let hours = self.store.up_to(HOURS, last, BATCH).await?;
        Ok(hours.iter().filter_map(|hour| hour.parse().ok()).collect())
    }

    /// Forgets an hour and its list.
    pub(super) async fn forget_hour(&self, hour: i64) -> Result<(), StoreError> {
        self.store.clear(&list_of_hour(hour)).await?;
        self.store.remove_member(HOURS, &hour.to_string()).await.map(drop)
    }
}

/// The session of an entry.
pub(super) fn handle_of(member: &str) -> Option<SessionHandle> {
    Entry::parse(member, 0).map(|entry| entry.place.handle)
}

/// Returns the hour of a moment, in hours since 1970.
fn hour_of(UnixMillis(milliseconds): UnixMillis) -> i64 {
    milliseconds.div_euclid(MILLISECONDS_PER_HOUR)
}

fn list_of_hour(hour: i64) -> String {
    format!("all:{hour}")
}
