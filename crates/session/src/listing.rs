//! Views of sessions: one of them, a page, their number.

use std::sync::Arc;

use futures_util::{StreamExt, stream};
use time::OffsetDateTime;

use super::administration::SessionAdministration;
use super::hashed_name::HashedName;
use super::inner::Inner;
use super::key::SessionHandle;
use super::live::{KnownSession, LiveSession};
use super::registry::Cursor;
use super::selection::Filter;
use super::store::StoreError;
use super::store::sealed::Found;
use super::timeout::{TimeoutPolicy, Verdict, judge};

/// Records asked for at the same time.
pub(super) const AT_A_TIME: usize = 64;
/// Records looked at for one page, however few of them fit: no question is unbounded work.
const MOST_LOOKED_AT: usize = 10_000;

/// Some of the sessions, newest first.
#[derive(Debug)]
pub struct Page {
    /// The live sessions that fit.
    pub sessions: Vec<LiveSession>,
    /// The place to go on from; `None` at the end.
    pub next: Option<Cursor>,
}

/// Some of the records, newest first, whatever the rules say of them.
#[derive(Debug, Default)]
pub(super) struct Records {
    pub(super) sessions: Vec<Arc<KnownSession>>,
    /// Records that cannot be read here.
    pub(super) unreadable: Vec<SessionHandle>,
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
    /// The records that fit: what [`Self::page`] shows, and those that the rules of the moment say are over. A
    /// revocation means them too: the rules may change, and another replica may know of a later use.
    pub(crate) async fn records(
        &self,
        filter: &Filter,
        behind: Option<Cursor>,
        limit: usize,
    ) -> Result<Records, StoreError> {
        let index = filter.person.by_subject().map(|(issuer, subject)| HashedName::subject(issuer, subject));
        self.records_of(index.as_ref(), filter, behind, limit).await
    }

    /// Those of one index, or of all.
    pub(crate) async fn records_of(
        &self,
        index: Option<&HashedName>,
        filter: &Filter,
        behind: Option<Cursor>,
        limit: usize,
    ) -> Result<Records, StoreError> {
        let now = self.clock.now();
        let mut records = Records { next: behind, ..Records::default() };
        let mut looked_at = 0;
        loop {
            let batch = self.registry.behind(index, records.next).await?;
            if batch.is_empty() {
                return Ok(Records { next: None, ..records });
            }
            let mut found = stream::iter(batch)
                .map(async |place: Cursor| (place, self.look_up(place.handle).await))
                .buffered(AT_A_TIME);
            while let Some((place, found)) = found.next().await {
                records.next = Some(place);
                looked_at += 1;
                match found {
                    Ok(Found::Session(opened)) => {
                        let known = KnownSession::new(place.handle, *opened);
                        if filter.fits(&known.record, known.last_seen_at(), now) {
                            records.sessions.push(Arc::new(known));
                        }
                    }
                    Ok(Found::Outweighed) => records.remains.push(place.handle),
                    Ok(Found::Nothing(_)) => self.registry.prune(index, place, now).await?,
                    // It is not ours to forget: a replica with another key may serve it.
                    Ok(Found::Unreadable) => records.unreadable.push(place.handle),
                    Err(error) => records.failure = Some(error),
                }
                if records.sessions.len() == limit || looked_at == MOST_LOOKED_AT {
                    return Ok(records);
                }
            }
        }
    }
}

impl SessionAdministration {
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
            Found::Nothing(_) | Found::Outweighed | Found::Unreadable => Ok(None),
        }
    }

    /// The live sessions that fit, newest first, from behind a place: at most `limit` of them, and fewer if few fit.
    /// Going on from a page's `next` neither repeats nor skips any, whatever begins and ends meanwhile.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be asked.
    pub async fn page(&self, filter: &Filter, behind: Option<Cursor>, limit: usize) -> Result<Page, StoreError> {
        let now = self.0.clock.now();
        let records = self.0.records(filter, behind, limit).await?.complete()?;
        let orders = self.0.orders().await?;
        let live = records.sessions.into_iter().filter_map(|known| self.0.live(known, &orders, now).ok());
        Ok(Page { sessions: live.collect(), next: records.next })
    }

    /// The live sessions of a person, newest first.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be asked.
    pub async fn of_subject(&self, issuer: &str, subject: &str) -> Result<Vec<LiveSession>, StoreError> {
        let (filter, mut sessions, mut place) = (Filter::subject(issuer, subject), Vec::new(), None);
        loop {
            let page = self.page(&filter, place, usize::MAX).await?;
            sessions.extend(page.sessions);
            if page.next.is_none() {
                return Ok(sessions);
            }
            place = page.next;
        }
    }

    /// Counts the live sessions that fit: each of them is looked at.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be asked.
    pub async fn count(&self, filter: &Filter) -> Result<usize, StoreError> {
        self.count_those(filter, |_, _| true).await
    }

    /// Counts the live sessions that would be over if this policy applied.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be asked.
    pub async fn would_end(&self, policy: &TimeoutPolicy) -> Result<usize, StoreError> {
        self.count_those(&Filter::default(), |session, now| {
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

    async fn count_those(
        &self,
        filter: &Filter,
        counts: impl Fn(&LiveSession, OffsetDateTime) -> bool,
    ) -> Result<usize, StoreError> {
        let (mut count, mut place) = (0, None);
        loop {
            let page = self.page(filter, place, 1_000).await?;
            let now = self.0.clock.now();
            count += page.sessions.iter().filter(|session| counts(session, now)).count();
            if page.next.is_none() {
                return Ok(count);
            }
            place = page.next;
        }
    }
}
