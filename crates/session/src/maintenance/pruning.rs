//! The pass that takes entries without a record out of the lists, and ends what is older than any timeout allows.

use futures_util::{StreamExt, TryStreamExt, stream};
use time::{Duration, OffsetDateTime};

use super::Maintenance;
use super::leader::Pass;
use crate::ending::{EndCause, Tombstone};
use crate::lease::Lease;
use crate::listing::AT_A_TIME;
use crate::registry::{Cursor, Entry, YOUNGEST_PRUNED};
use crate::store::{RecordStore, Remains, StoreError};

/// Interval between two passes.
const INTERVAL: Duration = Duration::minutes(10);

/// The decision on one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It stays.
    Keep,
    /// It has no record, and goes.
    Drop,
    /// It goes with its record, which no timeout lets live.
    End,
}

/// Decides on an entry, by the moment before which no timeout lets a session live.
fn fate(established: OffsetDateTime, has_record: bool, oldest: OffsetDateTime, now: OffsetDateTime) -> Fate {
    match has_record {
        true if established < oldest => Fate::End,
        false if now - established > YOUNGEST_PRUNED => Fate::Drop,
        _ => Fate::Keep,
    }
}

impl Maintenance {
    /// Begins a pass every ten minutes, or goes on with one that was left. Returns whether there is nothing left to do.
    pub(super) async fn prune_if_due(&self, lead: &Lease) -> Result<bool, StoreError> {
        let due = self.0.policies.registered.due();
        let pass = Pass::Prune(due.as_ref());
        let has_begun = self.cursor(pass).await.is_some();
        // Never released: its TTL is the interval.
        if !has_begun && Lease::try_acquire(self.0.store.clone(), "pruning", INTERVAL).await?.is_none() {
            return Ok(true);
        }
        if !self.pass(lead, pass).await? {
            return Ok(false);
        }
        self.forget_overdue_hours().await?;
        Ok(true)
    }

    /// Prunes one batch of entries; returns the place to go on from.
    pub(super) async fn prune_batch(&self, at: Option<Cursor>) -> Result<Option<Cursor>, StoreError> {
        let entries = self.0.registry.entries_behind(at).await?;
        let Some(last) = entries.last().map(|entry| entry.place) else { return Ok(None) };
        let handles: Vec<_> = entries.iter().map(|entry| entry.place.handle).collect();
        let remains = self.0.store.remains(&handles).await?;
        let now = self.0.clock.now();
        let oldest = self.0.policies.oldest(now);
        // Whoever carries such an order out finds persons by their sessions.
        let ends_any = !self.0.orders_or_known().await.is_blocking_persons(now);
        let (mut dropped, mut overdue, mut causes) = (Vec::new(), Vec::new(), Causes::default());
        for (entry, remains) in entries.into_iter().zip(remains) {
            let decided = fate(entry.established_at(), remains.has_record, oldest, now);
            match decided {
                Fate::Keep => continue,
                Fate::Drop => causes.count(self, &entry, &remains, now),
                Fate::End if !ends_any => continue,
                Fate::End => overdue.push((entry, remains.has_tombstone)),
            }
            dropped.push(entry);
        }
        let tombstone = Tombstone::of(EndCause::Absolute, now);
        let ended = stream::iter(overdue).map(async |(entry, has_tombstone)| {
            let until = self.0.cookie_dies_at(entry.established_at());
            // Somebody else's reason stands.
            let tombstone = (!has_tombstone).then_some(&tombstone);
            self.0.tear_up(entry.place.handle, tombstone, until).await.map(drop)
        });
        ended.buffer_unordered(AT_A_TIME).try_collect::<()>().await?;
        self.0.registry.forget_entries(&dropped).await?;
        if !dropped.is_empty() {
            tracing::debug!(entries = dropped.len(), ?causes, "entries were pruned");
        }
        Ok(Some(last))
    }

    /// Forgets the hours whose sessions no timeout lets live.
    pub(super) async fn forget_overdue_hours(&self) -> Result<(), StoreError> {
        let oldest = self.0.policies.oldest(self.0.clock.now());
        for hour in self.0.registry.overdue_hours(oldest).await? {
            self.0.registry.forget_hour(hour).await?;
        }
        Ok(())
    }
}

/// The numbers of sessions whose records went, by cause.
#[derive(Debug, Default)]
struct Causes {
    /// Ended with a word.
    ended: usize,
    idle: usize,
    absolute: usize,
    /// Deleted without a word, or long ago.
    vanished: usize,
}

impl Causes {
    fn count(&mut self, maintenance: &Maintenance, entry: &Entry, remains: &Remains, now: OffsetDateTime) {
        let open = |note: &Vec<u8>| maintenance.0.sealed.open_note(entry.place.handle, note)?.ending(now);
        let ending = remains.note.as_ref().and_then(open);
        let counter = match ending.map(|ending| ending.cause) {
            _ if remains.has_tombstone => &mut self.ended,
            Some(EndCause::Idle) => &mut self.idle,
            Some(_) => &mut self.absolute,
            None => &mut self.vanished,
        };
        *counter += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R-G12: one line a case: the age in minutes, whether there is a record, and the decision.
    #[test]
    fn entries_go_with_their_records_and_not_before_those_can_be_there() {
        let now = OffsetDateTime::UNIX_EPOCH;
        let oldest = now - Duration::DAY;
        for (age, has_record, expected) in [
            (1, true, Fate::Keep),
            (1, false, Fate::Keep),
            (11, false, Fate::Drop),
            (11, true, Fate::Keep),
            (24 * 60, true, Fate::Keep),
            (24 * 60 + 1, true, Fate::End),
            // Its note still says how it ended.
            (24 * 60 + 1, false, Fate::Drop),
        ] {
            let established = now - Duration::minutes(age);
            assert_eq!(fate(established, has_record, oldest, now), expected, "{age} {has_record}");
        }
    }
}
