//! Views of sessions: one of them, a page, their number.
//!
//! Records are opened for what the registry cannot tell: one person is found by an index, a group or a network by the
//! signatures of all entries, and the record of whoever may fit decides.

use std::sync::Arc;

use counterfoil_core::unix_millis::UnixMillis;
use futures_util::{StreamExt, stream};
use time::OffsetDateTime;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::administration::SessionAdministration;
use super::filter::Filter;
use super::hashed_name::HashedName;
use super::inner::Inner;
use super::key::SessionHandle;
use super::live::{KnownSession, LiveSession};
use super::registry::{Cursor, Entry, Source};
use super::sampling::Reservoir;
use super::signature::Probe;
use super::store::StoreError;
use super::store::sealed::Found;
use super::timeout::{TimeoutPolicy, Verdict, judge};

/// Records asked for at the same time.
pub(super) const AT_A_TIME: usize = 64;
/// Records looked at for one page, however few of them fit: no question is unbounded work.
const MOST_LOOKED_AT: usize = 10_000;
/// Entries that cost as much as the opening of one record, when their signatures are looked at.
const ENTRIES_A_RECORD: usize = 100;
/// Most sessions that are counted one by one; of more a sample is.
const MOST_COUNTED: usize = 20_000;
/// The size of that sample: it tells a share to within 2.2 points in 19 of 20 cases.
const SAMPLE: usize = 2_000;

/// Scans of all sessions at a time in one process, for reviewers: each costs the store and this process what thousands of
/// requests do.
const MOST_SCANS: usize = 2;

/// The places for reviewers' scans of all sessions.
#[derive(Debug)]
pub(crate) struct Scans(Semaphore);

impl Default for Scans {
    fn default() -> Self {
        Self(Semaphore::new(MOST_SCANS))
    }
}

/// Some of the sessions, newest first.
#[derive(Debug)]
pub struct Page {
    /// The live sessions that fit.
    pub sessions: Vec<LiveSession>,
    /// The place to go on from; `None` at the end.
    pub next: Option<Cursor>,
}

/// A number of sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// The number.
    pub sessions: usize,
    /// False if it was told from a sample: of those that may fit, the share that does is right to within 2.2 points in
    /// 19 of 20 cases.
    pub is_exact: bool,
}

/// Some of the records, newest first, whatever the rules say of them.
#[derive(Debug, Default)]
pub(super) struct Records {
    pub(super) sessions: Vec<Arc<KnownSession>>,
    /// Records that cannot be read here.
    pub(super) unreadable: Vec<Cursor>,
    /// Set if each of those is of the index that was read, and did not only seem to fit.
    pub(super) is_certain: bool,
    /// Those that have ended and may lie there all the same: a revocation deletes them, whoever they were of.
    pub(super) remains: Vec<SessionHandle>,
    pub(super) next: Option<Cursor>,
    /// Some records could not be asked for.
    pub(super) failure: Option<StoreError>,
}

impl Records {
    /// Returns all of them, or the failure that kept some back.
    pub(super) fn complete(self) -> Result<Self, StoreError> {
        match self.failure {
            Some(failure) => Err(failure),
            None => Ok(self),
        }
    }
}

impl Inner {
    /// Returns where the sessions that fit are found. A person without an index is searched for: they have no session, or
    /// somebody deleted it.
    pub(crate) async fn source(self: &Arc<Self>, filter: &Filter) -> Result<Source, StoreError> {
        let (names, person) = (self.store.names().await?, &filter.person);
        let mut indexes = Vec::new();
        if let Some((issuer, subject)) = person.by_subject() {
            indexes.push(names.subject(issuer, subject));
        } else {
            let known_as = person.user.as_ref().or(person.verified_email.as_ref());
            indexes.extend(known_as.map(|word| names.word(word)));
            if let Some(subject) = person.user.as_ref().or(person.subject.as_ref()) {
                let issuers = match &person.issuer {
                    Some(issuer) => vec![issuer.clone()],
                    None => self.registry.issuers().await?,
                };
                indexes.extend(issuers.iter().map(|issuer| names.subject(issuer, subject)));
            } else if indexes.is_empty() {
                return Ok(Source::All(Probe::of(filter, &names)));
            }
        }
        self.indexes_or_search(indexes, Probe::of(filter, &names)).await
    }

    /// The same of the sessions that came from one session at a provider.
    pub(crate) async fn source_of_provider_session(
        self: &Arc<Self>,
        issuer: &str,
        sid: &str,
    ) -> Result<Source, StoreError> {
        let names = self.store.names().await?;
        let probe = Probe::of_provider_session(issuer, sid, &names);
        self.indexes_or_search(vec![names.provider_session(issuer, sid)], probe).await
    }

    async fn indexes_or_search(self: &Arc<Self>, indexes: Vec<HashedName>, probe: Probe) -> Result<Source, StoreError> {
        if self.registry.name_any(&indexes).await? {
            return Ok(Source::Indexes(indexes));
        }
        Ok(Source::Found(self.search(probe).await?))
    }

    /// The records of a source that fit, by the time that is given: what [`SessionAdministration::page`] shows, and those that the rules of the
    /// moment say are over. A revocation means them too: the rules may change, and another replica may know of a later
    /// use.
    pub(crate) async fn records(
        &self,
        source: &Source,
        filter: &Filter,
        behind: Option<Cursor>,
        limit: usize,
        now: OffsetDateTime,
    ) -> Result<Records, StoreError> {
        let is_certain = matches!(source, Source::Indexes(_));
        // The lists are in the order of age.
        let begin = behind.or_else(|| filter.older_than.map(|age| Cursor::before(now.saturating_sub(age).into())));
        let mut records = Records { next: begin, is_certain, ..Records::default() };
        let (mut opened, mut skipped) = (0, 0);
        loop {
            let batch = self.registry.behind(source, records.next).await?;
            if batch.is_empty() {
                return Ok(Records { next: None, ..records });
            }
            let may_fit = |entry: &Entry| match source {
                Source::All(probe) => probe.may_fit(entry.signature.as_ref()),
                Source::Indexes(_) | Source::Found(_) => true,
            };
            let (end, entries) = (batch.last().map(|entry| entry.place), batch.len());
            let mut batch: Vec<_> = batch.into_iter().filter(may_fit).collect();
            // A session may have two entries for a moment.
            batch.dedup_by_key(|entry| entry.place.handle);
            skipped += entries - batch.len();
            let mut found = stream::iter(batch)
                .map(async |entry: Entry| (entry, self.look_up(entry.place.handle).await))
                .buffered(AT_A_TIME);
            while let Some((entry, found)) = found.next().await {
                let handle = entry.place.handle;
                records.next = Some(entry.place);
                opened += 1;
                match found {
                    Ok(Found::Session(opened)) => {
                        let known = KnownSession::new(handle, *opened);
                        if filter.fits(&known.record, known.last_seen_at(), now) {
                            records.sessions.push(Arc::new(known));
                        }
                    }
                    Ok(Found::Ended) => records.remains.push(handle),
                    Ok(Found::Nothing(_)) => self.registry.prune(source, entry, self.clock.now()).await?,
                    // It is not ours to forget: a replica with another key may serve it.
                    Ok(Found::Unreadable) => records.unreadable.push(entry.place),
                    Err(error) => records.failure = Some(error),
                }
                if records.sessions.len() == limit || opened == MOST_LOOKED_AT {
                    return Ok(records);
                }
            }
            records.next = end;
            if skipped >= MOST_LOOKED_AT * ENTRIES_A_RECORD {
                return Ok(records);
            }
        }
    }
}

impl SessionAdministration {
    /// Takes a place for a scan, if the sessions are found by one. A page without a filter reads no more than it shows.
    pub(super) fn scan(
        &self,
        source: &Source,
        is_page_of_all: bool,
    ) -> Result<Option<SemaphorePermit<'_>>, StoreError> {
        match source {
            Source::All(_) if !is_page_of_all => {
                self.0.scans.0.try_acquire().map(Some).map_err(|_| StoreError::TooManyScans)
            }
            Source::All(_) | Source::Indexes(_) | Source::Found(_) => Ok(None),
        }
    }

    /// A live session, by its public name.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be asked.
    pub async fn find(&self, handle: SessionHandle) -> Result<Option<LiveSession>, StoreError> {
        match self.0.look_up(handle).await? {
            Found::Session(opened) => {
                let known = Arc::new(KnownSession::new(handle, *opened));
                let orders = self.0.orders().await?;
                Ok(self.0.live(known, &orders, self.0.clock.now()).ok())
            }
            Found::Nothing(_) | Found::Ended | Found::Unreadable => Ok(None),
        }
    }

    /// The live sessions that fit, newest first, from behind a place: at most `limit` of them, and fewer if few fit.
    /// Going on from a page's `next` neither repeats nor skips any, whatever begins and ends meanwhile.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be asked; [`StoreError::TooManyScans`] if the filter asks for a look through all
    /// sessions, and two of those are under way in this process.
    pub async fn page(&self, filter: &Filter, behind: Option<Cursor>, limit: usize) -> Result<Page, StoreError> {
        let source = self.0.source(filter).await?;
        let _place = self.scan(&source, filter.is_empty())?;
        self.page_of(&source, filter, behind, limit).await
    }

    /// The same, and the number of all that fit.
    ///
    /// # Errors
    /// Those of [`Self::count`].
    pub async fn page_and_count(
        &self,
        filter: &Filter,
        behind: Option<Cursor>,
        limit: usize,
    ) -> Result<(Page, Count), StoreError> {
        let source = self.0.source(filter).await?;
        let _place = self.scan(&source, false)?;
        let page = self.page_of(&source, filter, behind, limit).await?;
        Ok((page, self.count_of(&source, filter, |_, _| true).await?))
    }

    async fn page_of(
        &self,
        source: &Source,
        filter: &Filter,
        behind: Option<Cursor>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let now = self.0.clock.now();
        let records = self.0.records(source, filter, behind, limit, now).await?.complete()?;
        let orders = self.0.orders().await?;
        let live = records.sessions.into_iter().filter_map(|known| self.0.live(known, &orders, now).ok());
        Ok(Page { sessions: live.collect(), next: records.next })
    }

    /// The live sessions of a person that their index names, newest first.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be asked.
    pub async fn of_subject(&self, issuer: &str, subject: &str) -> Result<Vec<LiveSession>, StoreError> {
        let (filter, mut sessions, mut place) = (Filter::subject(issuer, subject), Vec::new(), None);
        let source = Source::Indexes(vec![self.0.store.names().await?.subject(issuer, subject)]);
        loop {
            let page = self.page_of(&source, &filter, place, usize::MAX).await?;
            sessions.extend(page.sessions);
            if page.next.is_none() {
                return Ok(sessions);
            }
            place = page.next;
        }
    }

    /// Counts the live sessions that fit: one by one, or by a sample of those that may, if they are many.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be asked; [`StoreError::TooManyScans`] if that asks for a look through all sessions,
    /// and two of those are under way in this process.
    pub async fn count(&self, filter: &Filter) -> Result<Count, StoreError> {
        let source = self.0.source(filter).await?;
        let _place = self.scan(&source, false)?;
        self.count_of(&source, filter, |_, _| true).await
    }

    /// Counts the live sessions that would be over if this policy applied, like [`Self::count`].
    ///
    /// # Errors
    /// Those of [`Self::count`].
    pub async fn would_end(&self, policy: &TimeoutPolicy) -> Result<Count, StoreError> {
        let filter = Filter::default();
        let source = self.0.source(&filter).await?;
        let _place = self.scan(&source, false)?;
        self.count_of(&source, &filter, |session, now| {
            let limits = policy.limits_for(&session.record().identity.groups);
            let verdict = judge(session.known.moments(), limits, now);
            !matches!(verdict, Verdict::Live { .. })
        })
        .await
    }

    /// Counts the registered sessions without looking at them, those included that have ended by themselves since.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be asked.
    pub async fn registered(&self) -> Result<u64, StoreError> {
        self.0.registry.size().await
    }

    pub(super) async fn count_of(
        &self,
        source: &Source,
        filter: &Filter,
        counts: impl Fn(&LiveSession, OffsetDateTime) -> bool,
    ) -> Result<Count, StoreError> {
        let Source::All(probe) = source else {
            return self.count_one_by_one(source, filter, counts).await;
        };
        let mut reservoir = Reservoir::new(MOST_COUNTED);
        let older_than = filter.older_than.map(|age| UnixMillis::from(self.0.clock.now().saturating_sub(age)));
        let see = |entry: &Entry| {
            if probe.may_fit(entry.signature.as_ref())
                && older_than.is_none_or(|before| entry.place.established < before)
            {
                reservoir.see(entry.place);
            }
        };
        self.0.registry.scan(see).await?;
        let (seen, mut kept) = reservoir.into_parts();
        if seen <= MOST_COUNTED {
            return self.count_one_by_one(&Source::Found(newest_first(kept)), filter, counts).await;
        }
        kept.truncate(SAMPLE);
        let counted = self.count_one_by_one(&Source::Found(newest_first(kept)), filter, counts).await?;
        Ok(Count { sessions: seen * counted.sessions / SAMPLE, is_exact: false })
    }

    async fn count_one_by_one(
        &self,
        source: &Source,
        filter: &Filter,
        counts: impl Fn(&LiveSession, OffsetDateTime) -> bool,
    ) -> Result<Count, StoreError> {
        let (mut sessions, mut place) = (0, None);
        loop {
            let page = self.page_of(source, filter, place, usize::MAX).await?;
            let now = self.0.clock.now();
            sessions += page.sessions.iter().filter(|session| counts(session, now)).count();
            if page.next.is_none() {
                return Ok(Count { sessions, is_exact: true });
            }
            place = page.next;
        }
    }
}

/// Sorts places as listings go through them.
pub(super) fn newest_first(mut places: Vec<Cursor>) -> Vec<Cursor> {
    places.sort_by_key(|place| std::cmp::Reverse(*place));
    places.dedup_by_key(|place| place.handle);
    places
}
