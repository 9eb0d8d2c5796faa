//! The walk of a revocation, which deletes the records that it meant.
//!
//! An order that stands counts before its walk begins: the walk is clean-up. It leaves its place in the store after each
//! batch, under a lease, so that another replica goes on from there should whoever walks go away. Batches behind the first
//! are paced: other work of the store goes before.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration as StdDuration, Instant};

use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use super::{Revoked, Selection};
use crate::administration::SessionAdministration;
use crate::cut_off::CutOffRule;
use crate::cut_off::orders::{Orders, Standing};
use crate::ending::Tombstone;
use crate::listing::{AT_A_TIME, Records};
use crate::live::KnownSession;
use crate::registry::Cursor;
use crate::selection::Filter;
use crate::store::StoreError;
use crate::store::log::LogNumber;

/// Time for which nobody else walks, from each batch on.
const LEASE: Duration = Duration::seconds(30);
/// Shortest time that a batch of a thousand records takes, behind the first.
const PACE: StdDuration = StdDuration::from_millis(200);

/// A walk, by the order that it follows.
pub(super) struct Walk<'a> {
    pub(super) selection: &'a Selection,
    /// The order's number; `None` if it could not be laid down.
    pub(super) number: Option<LogNumber>,
    /// Set if the order stands.
    pub(super) stands: bool,
    pub(super) tombstone: Tombstone,
    pub(super) terms: CutOffRule,
    /// The orders before it.
    pub(super) before: Arc<Orders>,
}

/// The state of a walk, as it lies in the store while the walk goes on.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Progress {
    /// The place behind which it goes on; `None` at the beginning.
    place: Option<(i64, String)>,
    /// Set if records were met that may be meant and cannot be read here.
    is_in_part: bool,
    /// Set if there is nothing to go on with.
    is_over: bool,
}

impl Progress {
    fn behind(&self) -> Option<Cursor> {
        let (established, handle) = self.place.as_ref()?;
        Some(Cursor { established: *established, handle: handle.parse().ok()? })
    }
}

impl Walk<'_> {
    /// Is true if a session is meant that fits: of an order that stands, those are not that somebody signed in to, or
    /// whose provider confirmed them, after it was given.
    fn means(&self, known: &KnownSession) -> bool {
        !self.stands || self.number.is_none_or(|number| known.record.confirmed < number)
    }

    /// Is true if each person found is cut off too: at their next login they may be of another group, or have another
    /// address. Sessions of theirs from elsewhere at the provider are not meant.
    fn marks_each_person(&self) -> bool {
        match self.selection {
            Selection::Handles(_) | Selection::Searched(_) => true,
            Selection::Matching(filter) => !filter.is_empty(),
            Selection::ProviderSession { .. } => false,
        }
    }

    fn filter(&self) -> Option<&Filter> {
        match self.selection {
            Selection::Matching(filter) => Some(filter),
            Selection::Handles(_) | Selection::ProviderSession { .. } | Selection::Searched(_) => None,
        }
    }

    /// The name of its state and its lease, if it can be resumed.
    fn name(&self) -> Option<String> {
        self.number.filter(|_| self.stands).map(name_of)
    }
}

fn name_of(number: LogNumber) -> String {
    format!("walk:{number}")
}

impl SessionAdministration {
    pub(super) async fn walk(
        &self,
        walk: &Walk<'_>,
        mut progress: Progress,
        revoked: &mut Revoked,
        tell: &(dyn Fn(&Revoked) + Send + Sync),
    ) {
        let name = walk.name();
        let Some(source) = revoked.note(self.source_of(walk.selection).await) else { return };
        let mut place = progress.behind();
        loop {
            if let Some(name) = &name {
                let held = self.hold(name, place.is_none()).await;
                revoked.note(held);
            }
            let begun = Instant::now();
            let records = self.selected(walk.selection, source.as_ref(), place).await;
            let Some(records) = revoked.note(records) else { return };
            place = records.next;
            progress.is_in_part |= self.end_all(walk, records, revoked).await;
            let Some(next) = place else { break };
            tell(revoked);
            // What failed is tried again by whoever goes on.
            if let (Some(name), None) = (&name, &revoked.failure) {
                progress.place = Some((next.established, next.handle.to_string()));
                let left = self.leave(name, &progress, walk.terms.at + walk.terms.remember_for).await;
                revoked.note(left);
            }
            tokio::time::sleep(PACE.saturating_sub(begun.elapsed())).await;
        }
        if let (Some(name), Some(number), None) = (&name, walk.number, &revoked.failure) {
            let ended = self.conclude(name, number, progress, walk.terms.at + walk.terms.remember_for).await;
            revoked.note(ended);
        }
    }

    /// Ends what is meant of a batch of records; returns whether some may be meant that cannot be read here: they may be
    /// sessions for another replica.
    async fn end_all(&self, walk: &Walk<'_>, mut records: Records, revoked: &mut Revoked) -> bool {
        records.sessions.retain(|known| walk.means(known));
        revoked.failure = records.failure.take().or(revoked.failure.take());
        if let Some(number) = walk.number.filter(|_| walk.marks_each_person()) {
            let laid_down = self.cut_off(&records.sessions, walk.filter(), number, &walk.terms).await;
            revoked.note(laid_down);
        }
        let now = self.0.clock.now();
        let live = |known: &&Arc<KnownSession>| self.0.live((*known).clone(), &walk.before, now).is_ok();
        let matched: BTreeSet<_> = records.sessions.iter().filter(live).map(|known| known.handle).collect();
        let mut ending = stream::iter(records.sessions)
            .map(async |known| (known.handle, self.0.end_known(&known, Some(&walk.tombstone)).await))
            .buffer_unordered(AT_A_TIME);
        while let Some((handle, ended)) = ending.next().await {
            if revoked.note(ended) == Some(true) && matched.contains(&handle) {
                revoked.ended.push(handle);
            }
        }
        revoked.matched.extend(matched);
        let found_unreadable = records.unreadable.len();
        let unreadable = self.unreadable_selected(walk.selection, records.is_certain, records.unreadable).await;
        let unreadable = revoked.note(unreadable).unwrap_or_default();
        let is_in_part = found_unreadable != unreadable.len();
        for handle in unreadable.into_iter().chain(records.remains) {
            let torn_up = self.0.tear_up(handle, None, now).await;
            revoked.note(torn_up);
        }
        is_in_part
    }

    async fn hold(&self, name: &str, is_first: bool) -> Result<(), StoreError> {
        let backend = &self.0.backend;
        if is_first && backend.put_if_absent(name, LEASE).await? {
            return Ok(());
        }
        backend.renew_lease(name, LEASE).await.map(drop)
    }

    async fn leave(&self, name: &str, progress: &Progress, until: OffsetDateTime) -> Result<(), StoreError> {
        let text = serde_json::to_vec(progress).unwrap_or_default();
        self.0.backend.put(name, &text, Some(until)).await
    }

    /// Notes that every session an order meant is gone; if some cannot be read here, the order stands until none can live.
    async fn conclude(
        &self,
        name: &str,
        number: LogNumber,
        progress: Progress,
        until: OffsetDateTime,
    ) -> Result<(), StoreError> {
        if progress.is_in_part {
            self.leave(name, &Progress { is_over: true, ..progress }, until).await?;
        } else {
            self.0.cut_offs.log.done(number).await?;
            self.0.backend.remove(name).await?;
        }
        self.0.backend.release_lease(name).await
    }

    /// Goes on with the walks of orders that stand, where whoever began one is gone.
    pub(crate) async fn resume_walks(&self) -> Result<(), StoreError> {
        let (orders, now) = (self.0.orders().await?, self.0.clock.now());
        for standing in orders.all(now).filter(|standing| standing.is_unfinished(now - LEASE)) {
            let name = name_of(standing.number);
            let progress = match self.0.backend.get(&name).await? {
                Some(text) => serde_json::from_slice(&text).unwrap_or_default(),
                None => Progress::default(),
            };
            if progress.is_over || !self.0.backend.put_if_absent(&name, LEASE).await? {
                continue;
            }
            let revoked = self.resume(&orders, standing, progress, now).await;
            let ended = revoked.ended.len();
            tracing::info!(order = %standing.number, ended, "the clearing of a revocation that somebody began went on");
            revoked.complete()?;
        }
        Ok(())
    }

    async fn resume(&self, orders: &Orders, standing: &Standing, progress: Progress, now: OffsetDateTime) -> Revoked {
        let mut revoked = Revoked::default();
        let selection = Selection::Matching(standing.filter(now));
        let walk = Walk {
            selection: &selection,
            number: Some(standing.number),
            stands: true,
            tombstone: standing.tombstone(),
            terms: standing.terms(now),
            before: Arc::new(orders.before(standing.number)),
        };
        self.walk(&walk, progress, &mut revoked, &|_| {}).await;
        revoked
    }
}
