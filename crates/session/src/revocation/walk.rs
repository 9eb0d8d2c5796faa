//! The walk of a revocation, which deletes the records that it meant.
//!
//! An order that stands counts before its walk begins: the walk is clean-up. It leaves its place in the store after each
//! batch, under a lease, so that another replica goes on from there should whoever walks go away. Batches behind the first
//! are paced: other work of the store goes before.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration as StdDuration, Instant};

use counterfoil_core::unix_millis::UnixMillis;
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use super::persons::NotCutOff;
use super::{Revoked, Selection};
use crate::administration::SessionAdministration;
use crate::cut_off::OrderTerms;
use crate::cut_off::orders::{Orders, Standing};
use crate::ending::Tombstone;
use crate::filter::LoginFilter;
use crate::lease::Lease;
use crate::listing::{AT_A_TIME, Records};
use crate::live::KnownSession;
use crate::registry::{Cursor, Source};
use crate::signature::Probe;
use crate::store::StoreError;
use crate::store::log::LogNumber;

/// Time for which nobody else walks, from each batch on.
const LEASE: Duration = Duration::seconds(30);
/// Interval at which it is renewed while a search waits.
const RENEWAL: StdDuration = StdDuration::from_secs(10);
/// Most walks that one replica goes on with at a time.
const MOST_RESUMED: usize = 4;
/// Most that the clocks of two replicas may differ.
const CLOCK_SKEW: Duration = Duration::MINUTE;
/// Shortest time that a batch of a thousand records takes, behind the first.
const PACE: StdDuration = StdDuration::from_millis(200);

/// A walk, by the order that it follows.
#[derive(Debug, Clone)]
pub(super) struct Walk {
    pub(super) selection: Selection,
    /// The order's number; `None` if it could not be laid down.
    pub(super) number: Option<LogNumber>,
    /// The entry of the log that holds it: one that was brought back, or whose block was lifted, is carried out from the beginning.
    pub(super) entry: Option<LogNumber>,
    /// The words of an order that stands.
    pub(super) standing: Option<LoginFilter>,
    pub(super) tombstone: Tombstone,
    pub(super) terms: OrderTerms,
    /// The orders before it.
    pub(super) before: Arc<Orders>,
}

/// The state of a walk, as it lies in the store while the walk goes on.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Progress {
    /// The place behind which it goes on; `None` at the beginning.
    place: Option<Cursor>,
    /// Set if records were met that may be meant and cannot be read here.
    is_in_part: bool,
    /// Set if there is nothing to go on with.
    is_over: bool,
}

/// The lease and the place of a walk that can be resumed.
struct Resumable {
    name: String,
    number: LogNumber,
    entry: LogNumber,
    lease: Lease,
    progress: Progress,
    /// The end of the order: nobody goes on behind it.
    until: OffsetDateTime,
}

impl Walk {
    /// Is true if a session that fits is meant, and did not begin after the order. What a renewal confirmed after an
    /// order that stands was judged by that order; other orders no renewal knows of.
    fn means(&self, known: &KnownSession) -> bool {
        let (record, Some(number)) = (&known.record, self.number) else { return true };
        match (&self.selection, &self.standing) {
            (Selection::Handles(_), _) => true,
            (_, Some(standing)) => record.confirmed < number && standing.fits(record, self.terms.at),
            (_, None) => record.confirmed < number || record.created_at <= self.terms.at,
        }
    }

    /// Is true if a session carries a higher number than the order although it is older: the numbers had gone back.
    fn misses(&self, known: &KnownSession) -> bool {
        let record = &known.record;
        self.standing.is_some()
            && self.number.is_some_and(|number| record.confirmed > number)
            && record.created_at.max(record.renewed_at) < self.terms.at - CLOCK_SKEW
    }

    /// Writes down what it ended, where nobody waits for that.
    fn audit(&self, revoked: &Revoked) {
        revoked.audit(&self.selection, &self.terms.by, &self.terms.reason, None, None);
    }

    /// Is true if each person found is cut off too: at their next login they may be of another group, or have another
    /// address. Sessions of theirs from elsewhere at the provider are not meant.
    fn marks_each_person(&self) -> bool {
        match &self.selection {
            Selection::Handles(_) | Selection::Searched(_) => true,
            Selection::Matching(filter) => !filter.is_empty(),
            Selection::ProviderSession { .. } => false,
        }
    }
}

impl SessionAdministration {
    pub(super) async fn walk(
        &self,
        walk: Walk,
        progress: Progress,
        revoked: &mut Revoked,
        tell: &(dyn Fn(&Revoked) + Send + Sync),
    ) {
        let mut resumable = match self.resumable(&walk, progress).await {
            Ok(resumable) => resumable,
            Err(error) => {
                revoked.failure = Some(error);
                return;
            }
        };
        if walk.standing.is_some() && resumable.is_none() {
            // Another replica walks already.
            revoked.goes_on = true;
            return;
        }
        let source = match (self.source_of(&walk.selection).await, resumable) {
            // Without an index all entries are read, which takes as long as it takes: the order is in force meanwhile.
            (Err(StoreError::Timeout), Some(resumable)) => {
                revoked.goes_on = true;
                let administration = self.clone();
                tokio::spawn(async move { administration.look_beyond_the_index(walk, resumable).await });
                return;
            }
            (source, still_resumable) => {
                resumable = still_resumable;
                let Some(source) = revoked.note(source) else { return };
                source
            }
        };
        let is_whole = self.walk_through(&walk, source.as_ref(), resumable.as_mut(), revoked, tell).await;
        let Some(resumable) = resumable.filter(|_| is_whole && revoked.failure.is_none()) else { return };
        if let Some(Source::Indexes(_)) = source {
            // An index may lack sessions, if somebody deleted it and one was begun since. The order stands until all entries
            // were looked at.
            let administration = self.clone();
            tokio::spawn(async move { administration.look_beyond_the_index(walk, resumable).await });
        } else {
            let concluded = self.conclude(resumable).await;
            revoked.note(concluded);
        }
    }

    /// Takes the lease of a walk that can be resumed; `None` if it cannot, or somebody else has it.
    async fn resumable(&self, walk: &Walk, progress: Progress) -> Result<Option<Resumable>, StoreError> {
        let (Some(number), Some(entry), Some(_)) = (walk.number, walk.entry, &walk.standing) else { return Ok(None) };
        let (name, until) = (name_of(number), walk.terms.at + walk.terms.remember_for);
        let lease = Lease::try_acquire(self.0.store.clone(), &name, LEASE).await?;
        Ok(lease.map(|lease| Resumable { name, number, entry, lease, progress, until }))
    }

    /// Ends what a source has of the sessions that are meant; returns whether it came to its end.
    async fn walk_through(
        &self,
        walk: &Walk,
        source: Option<&Source>,
        mut resumable: Option<&mut Resumable>,
        revoked: &mut Revoked,
        tell: &(dyn Fn(&Revoked) + Send + Sync),
    ) -> bool {
        let mut terms = walk.terms.clone();
        // A search has not what an index had.
        let is_searched = matches!(source, Some(Source::Found(_)));
        let mut place = resumable.as_ref().filter(|_| !is_searched).and_then(|resumable| resumable.progress.place);
        loop {
            let begun = Instant::now();
            if let Some(resumable) = &mut resumable {
                match resumable.lease.renew_once().await {
                    Ok(true) => {}
                    Ok(false) => {
                        revoked.goes_on = true;
                        return false;
                    }
                    // The next batch learns if it was lost.
                    Err(error) => tracing::warn!(%error, "the lease of a revocation could not be renewed"),
                }
            }
            let damaged = self.0.registry.damaged();
            let records = self.selected(&walk.selection, source, place, walk.terms.at).await;
            // Of an entry that cannot be read nobody knows whom it names.
            let is_damaged = self.0.registry.damaged() > damaged;
            let Some(records) = revoked.note(records) else { return false };
            place = records.next;
            let caught_up = self.catch_up(walk, &records).await;
            revoked.note(caught_up);
            // Without its block no batch is ended: nobody would find those persons again.
            let Some(block_for) = revoked.note(self.block_by_now(walk).await) else { return false };
            terms.block_for = block_for;
            let is_in_part = self.end_all(walk, &terms, records, revoked).await;
            if terms.block_for.is_some() {
                let taken_back = self.take_back_if_lifted(walk).await;
                revoked.note(taken_back);
            }
            if let Some(resumable) = &mut resumable {
                resumable.progress.is_in_part |= is_in_part || is_damaged;
            }
            let Some(next) = place else { return true };
            tell(revoked);
            // What failed is tried again by whoever goes on.
            if let (Some(resumable), None) = (&mut resumable, &revoked.failure) {
                resumable.progress.place = Some(next);
                let left = self.leave(resumable).await;
                revoked.note(left);
            }
            tokio::time::sleep(PACE.saturating_sub(begun.elapsed())).await;
        }
    }

    /// Lets the log go on beyond the numbers that sessions carry.
    ///
    /// # Errors
    /// [`StoreError::NumbersWentBack`] if it had to: the order meant none of those sessions.
    async fn catch_up(&self, walk: &Walk, records: &Records) -> Result<(), StoreError> {
        let Some(newest) = records.sessions.iter().map(|known| known.record.confirmed).max() else { return Ok(()) };
        let mut is_missed = self.0.cut_offs.log.catch_up(newest, self.0.clock.now()).await?;
        // Others may have noticed before, since the order got its number.
        is_missed |= records.sessions.iter().any(|known| walk.misses(known));
        if is_missed { Err(StoreError::NumbersWentBack) } else { Ok(()) }
    }

    /// Ends what is meant of a batch of records; returns whether some may be meant that cannot be read here: they may be
    /// sessions for another replica.
    async fn end_all(&self, walk: &Walk, terms: &OrderTerms, mut records: Records, revoked: &mut Revoked) -> bool {
        records.sessions.retain(|known| walk.means(known));
        revoked.failure = records.failure.take().or(revoked.failure.take());
        if let Some(number) = walk.number.filter(|_| walk.marks_each_person()) {
            let laid_down = self.0.cut_off(&records.sessions, walk.selection.filter(), number, terms).await;
            if let Err(NotCutOff { persons, error }) = laid_down {
                // Their sessions stay: nobody would find them again, to block them or to ask them for a fresh login, unless they
                // are named. Where the order stands none of those sessions counts.
                let keeps = terms.block_for.is_some() || (walk.standing.is_some() && terms.fresh_login);
                let is_named = walk.selection.filter().is_some_and(|filter| filter.one_person().is_some());
                let is_cut_off = |known: &Arc<KnownSession>| {
                    let identity = &known.record.identity;
                    !persons.contains(&(identity.issuer.clone(), identity.subject.clone()))
                };
                records.sessions.retain(|known| is_named || !keeps || is_cut_off(known));
                revoked.failure = Some(error);
            }
        }
        let now = self.0.clock.now();
        let live = |known: &&Arc<KnownSession>| self.0.live((*known).clone(), &walk.before, now).is_ok();
        let matched: BTreeSet<_> = records.sessions.iter().filter(live).map(|known| known.handle).collect();
        let mut ending = stream::iter(records.sessions)
            .map(async |known| (known.handle, self.0.end_within(&known, Some(&walk.tombstone), walk.number).await))
            .buffer_unordered(AT_A_TIME);
        while let Some((handle, ended)) = ending.next().await {
            if revoked.note(ended) == Some(true) && matched.contains(&handle) {
                revoked.ended.push(handle);
            }
        }
        revoked.matched.extend(matched);
        // Those begun after the order are not meant; about those begun around it clocks may disagree.
        let ordered_at = UnixMillis::from(walk.terms.at);
        let may_be_meant = UnixMillis::from(walk.terms.at + CLOCK_SKEW);
        let found_unreadable = records.unreadable.iter().filter(|place| place.established <= may_be_meant).count();
        records.unreadable.retain(|place| place.established <= ordered_at);
        let unreadable = records.unreadable.iter().map(|place| place.handle).collect();
        let unreadable = self.unreadable_selected(&walk.selection, records.is_certain, unreadable).await;
        let unreadable = revoked.note(unreadable).unwrap_or_default();
        let is_in_part = found_unreadable != unreadable.len();
        for handle in unreadable.into_iter().chain(records.remains) {
            let torn_up = self.0.tear_up(handle, None, now).await;
            revoked.note(torn_up);
        }
        is_in_part
    }

    /// Ends those whom the order means and their index lacks, before the order is noted to be carried out.
    async fn look_beyond_the_index(&self, walk: Walk, mut resumable: Resumable) {
        let mut revoked = Revoked::default();
        resumable.progress.place = None;
        let found = match (&walk.selection, self.0.store.names().await) {
            (Selection::Matching(filter), Ok(names)) => {
                let search = self.0.search_patiently(Probe::of(filter, &names));
                tokio::pin!(search);
                loop {
                    tokio::select! {
                        found = &mut search => break found,
                        () = tokio::time::sleep(RENEWAL) => {
                            if matches!(resumable.lease.renew_once().await, Ok(false)) {
                                return;
                            }
                        }
                    }
                }
            }
            (_, names) => names.map(|_| Vec::new()),
        };
        if let Some(found) = revoked.note(found)
            && self.walk_through(&walk, Some(&Source::Found(found)), Some(&mut resumable), &mut revoked, &|_| {}).await
            && revoked.failure.is_none()
        {
            let concluded = self.conclude(resumable).await;
            revoked.note(concluded);
        }
        if !revoked.ended.is_empty() {
            walk.audit(&revoked);
        }
        if let Some(error) = revoked.failure {
            tracing::warn!(%error, "the entries beyond an index could not be looked at yet");
        }
    }

    async fn leave(&self, resumable: &Resumable) -> Result<(), StoreError> {
        let Resumable { name, entry, progress, until, .. } = resumable;
        self.0.checkpoints.leave(name, &entry.to_string(), progress, *until).await
    }

    /// Notes that every session an order meant is gone; if some cannot be read here, the order stands until none can live, and
    /// is walked again each hour: another replica may have their key.
    async fn conclude(&self, mut resumable: Resumable) -> Result<(), StoreError> {
        if resumable.progress.is_in_part {
            resumable.progress.is_over = true;
            resumable.until = resumable.until.min(self.0.clock.now() + Duration::HOUR);
            self.leave(&resumable).await?;
        } else {
            self.0.cut_offs.log.done(resumable.number).await?;
            self.0.checkpoints.remove(&resumable.name).await?;
        }
        resumable.lease.release().await;
        Ok(())
    }

    /// Goes on with the walks of orders that stand, where whoever began one is gone. One that fails keeps no other back.
    ///
    /// # Errors
    /// [`StoreError`], the first one: those walks are tried again.
    pub(crate) async fn resume_walks(&self) -> Result<(), StoreError> {
        let (orders, now) = (self.0.orders().await?, self.0.clock.now());
        let unfinished = orders.all(now).filter(|standing| standing.is_unfinished(now - LEASE));
        let unfinished: Vec<Standing> = unfinished.cloned().collect();
        // One that has far to go does not keep the others waiting, and they do not crowd the store.
        let walk = async |standing: Standing| self.resume_walk(&standing, &orders, now).await;
        let walks: Vec<_> = stream::iter(unfinished).map(walk).buffer_unordered(MOST_RESUMED).collect().await;
        walks.into_iter().collect()
    }

    async fn resume_walk(&self, standing: &Standing, orders: &Orders, now: OffsetDateTime) -> Result<(), StoreError> {
        let number = standing.number;
        let progress = self.0.checkpoints.find::<Progress>(&name_of(number), &standing.entry.to_string()).await;
        let progress = progress.unwrap_or_default();
        if progress.is_over {
            return Ok(());
        }
        let walk = Walk {
            selection: Selection::Matching(standing.filter()),
            number: Some(number),
            entry: Some(standing.entry),
            standing: Some(standing.order.logins.clone()),
            tombstone: standing.tombstone(),
            terms: standing.terms(now),
            before: Arc::new(orders.before(number)),
        };
        let mut revoked = Revoked::default();
        self.walk(walk.clone(), progress, &mut revoked, &|_| {}).await;
        if !revoked.ended.is_empty() {
            walk.audit(&revoked);
        }
        revoked.complete().map(drop)
    }
}

fn name_of(number: LogNumber) -> String {
    format!("walk:{number}")
}
