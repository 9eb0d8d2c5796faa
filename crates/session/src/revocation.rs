//! The ending of other people's sessions, for good (R-N01, R-N04).
//!
//! The order is: the cut-off, so that no login under way slips through; then each record that there is, live or not
//! (the rules may change): tombstone, record, this process's own cache, registry. A step that fails does not keep the
//! rest from being done; it is reported, and can be repeated: also an end that came no further than the tombstone.

mod persons;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration as StdDuration;

use futures_util::{StreamExt, stream};
use time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::administration::SessionAdministration;
use super::blocks::{Lifted, Meant};
use super::ending::{EndCause, Tombstone};
use super::hashed_name::HashedName;
use super::key::SessionHandle;
use super::listing::{AT_A_TIME, Records};
use super::live::{KnownSession, LiveSession};
use super::registry::Cursor;
use super::selection::Filter;
use super::store::StoreError;
use super::store::log::Appended;
use super::store::sealed::Found;

/// Records looked at together.
const BATCH: usize = 1_000;
/// Longest time that a search waits for others.
const SEARCHES_WAIT: StdDuration = StdDuration::from_secs(5);

/// The reason that is noted where the program gives none.
const ENDED_BY_THE_PROGRAM: &str = "ended by the program";

/// The sessions that end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// The sessions of these handles.
    Handles(Vec<SessionHandle>),
    /// Those that fit; an empty filter is everybody.
    Matching(Filter),
    /// Those that came from one session at the provider.
    ProviderSession {
        /// The provider's issuer identifier.
        issuer: String,
        /// Its name for the session (`sid`).
        sid: String,
        /// The person it has to be of, if that was said as well: somebody else's does not end.
        subject: Option<String>,
    },
    /// Those that fit, of persons who are known by something else than their name: whoever has this verified e-mail
    /// address, say. A person without a session cannot be known by it, and each session there is has to be looked at.
    Searched(Filter),
}

impl Selection {
    /// Selects every session of one person, and their logins under way.
    pub fn person(issuer: &str, subject: &str) -> Self {
        Self::Matching(Filter::subject(issuer, subject))
    }
}

/// Says whom it means, in the words that a terminal takes.
impl fmt::Display for Selection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handles(handles) => {
                let names: Vec<_> = handles.iter().map(ToString::to_string).collect();
                write!(formatter, "sessions {}", names.join(" "))
            }
            Self::Matching(filter) | Self::Searched(filter) => filter.fmt(formatter),
            Self::ProviderSession { issuer, sid, subject } => {
                write!(formatter, "issuer {issuer}, provider session {sid}")?;
                subject.iter().try_for_each(|subject| write!(formatter, ", subject {subject}"))
            }
        }
    }
}

/// An order of a reviewer, or of the provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The reason, in their words.
    pub reason: String,
    /// The name of whoever orders it.
    pub by: String,
    /// The cause of the end, as the persons concerned are told it.
    pub cause: EndCause,
    /// No new session for the persons concerned for so long; no length lifts what the same words blocked.
    pub block_for: Option<Duration>,
    /// Set if the next login of the persons concerned has to be a fresh one.
    pub fresh_login: bool,
}

impl Order {
    /// The block, if one is to be laid down.
    fn block(&self) -> Option<Duration> {
        self.block_for.filter(|block| block.is_positive())
    }

    /// Returns an order of the program itself: no block, and no fresh login.
    pub fn of_the_program(reason: &str) -> Self {
        let (reason, by) = (reason.to_owned(), "program".into());
        Self { reason, by, cause: EndCause::Revoked, block_for: None, fresh_login: false }
    }

    /// Returns a provider's order by a notice of its own: no block; whether a fresh login is due depends on the notice.
    pub fn of_the_provider(idp: &str, reason: &str, fresh_login: bool) -> Self {
        let (reason, by) = (reason.to_owned(), format!("provider:{idp}"));
        Self { reason, by, cause: EndCause::EndedByProvider, block_for: None, fresh_login }
    }
}

/// The outcome of a revocation.
#[derive(Debug, Default)]
pub struct Revoked {
    /// The sessions that were meant and lived.
    pub matched: Vec<SessionHandle>,
    /// Those of them that this call ended; others may have ended by themselves meanwhile.
    pub ended: Vec<SessionHandle>,
    /// The blocks that this call lifted, and those that stand against the same persons all the same.
    pub blocks: Lifted,
    /// Set if the order would outlive the loss of the server that took it. Repeat it otherwise, once there is another.
    pub is_replicated: bool,
    /// The store's failure, if not all could be done: some sessions may live on.
    pub failure: Option<StoreError>,
}

impl Revoked {
    /// # Errors
    /// The [`StoreError`] of what could not be done.
    pub fn complete(self) -> Result<Self, StoreError> {
        match self.failure {
            Some(failure) => Err(failure),
            None => Ok(self),
        }
    }

    fn note<T>(&mut self, done: Result<T, StoreError>) -> Option<T> {
        done.map_err(|failure| self.failure = Some(failure)).ok()
    }
}

/// The right to look at every session, if that is needed: providers order it as often as they like, so one is under way
/// at a time.
async fn turn_to_search<'a>(
    searches: &'a Semaphore,
    selection: &Selection,
    patience: StdDuration,
) -> Result<Option<SemaphorePermit<'a>>, StoreError> {
    let Selection::Searched(_) = selection else { return Ok(None) };
    let turn = tokio::time::timeout(patience, searches.acquire()).await;
    turn.ok().and_then(Result::ok).map(Some).ok_or(StoreError::TooManySearches)
}

impl SessionAdministration {
    /// Ends the selected sessions. When it returns without a failure, none of their records is in the store, none is
    /// served by this process, and nothing in flight brings one back; other replicas hear of it as fast as the network
    /// carries it. With a failure as much of it has been done as could be, and repeating it is safe.
    pub async fn revoke(&self, selection: &Selection, order: &Order) -> Revoked {
        let mut revoked = Revoked::default();
        let turn = turn_to_search(&self.0.searches, selection, SEARCHES_WAIT).await;
        let Some(_turn) = revoked.note(turn) else { return revoked };
        // Those who lived until this order are told by the orders before it.
        let before = revoked.note(self.0.orders().await).unwrap_or_default();
        let mut is_whole = true;
        let tombstone = Tombstone {
            ended_at: self.0.clock.now(),
            cause: order.cause,
            reason: Some(order.reason.clone()),
            by: Some(order.by.clone()),
            fresh_login: order.fresh_login,
        };
        let filter = match selection {
            Selection::Matching(filter) => Some(filter),
            Selection::Handles(_) | Selection::ProviderSession { .. } | Selection::Searched(_) => None,
        };
        if order.block_for.is_some_and(|block| !block.is_positive()) {
            let mut blocks = self.lift_blocks(&Meant::by_order(selection)).await;
            revoked.failure = blocks.failure.take().or(revoked.failure.take());
            revoked.blocks = blocks;
        }
        if let Some(filter) = filter {
            let laid_down = self.block_the_named(filter, &self.terms(order)).await;
            revoked.note(laid_down);
        }
        let many = filter.and_then(Filter::of_logins).filter(|logins| logins.one_person().is_none());
        let laid_down = match &many {
            // From here on no check of a session that it means lets it pass, on any replica.
            Some(logins) => self.0.cut_offs.set_for_logins(logins, order.cause, &self.terms(order)).await,
            None => self.0.cut_offs.log.tick().await,
        };
        let appended = revoked.note(laid_down);
        revoked.is_replicated = appended.is_some_and(|appended| appended.is_replicated);
        if let Some(Appended { number, .. }) = appended {
            let laid_down = self.cut_off_the_named(selection, number, &self.terms(order)).await;
            revoked.note(laid_down);
        }
        // Each person found is cut off too: at their next login they may be of another group, or have another address.
        // Sessions of theirs from elsewhere at the provider are not meant.
        let each_person = match selection {
            Selection::Handles(_) | Selection::Searched(_) => true,
            Selection::Matching(filter) => !filter.is_empty(),
            Selection::ProviderSession { .. } => false,
        };
        let mut place = None;
        loop {
            let Some(records) = revoked.note(self.selected(selection, place).await) else { return revoked };
            revoked.failure = records.failure.or(revoked.failure);
            if let Some(Appended { number, .. }) = appended.filter(|_| each_person) {
                let laid_down = self.cut_off(&records.sessions, filter, number, &self.terms(order)).await;
                revoked.note(laid_down);
            }
            let now = self.0.clock.now();
            let live = |known: &&Arc<KnownSession>| self.0.live((*known).clone(), &before, now).is_ok();
            let matched: BTreeSet<_> = records.sessions.iter().filter(live).map(|known| known.handle).collect();
            let tombstone = &tombstone;
            let mut ending = stream::iter(records.sessions)
                .map(async |known| (known.handle, self.0.end_known(&known, Some(tombstone)).await))
                .buffer_unordered(AT_A_TIME);
            while let Some((handle, ended)) = ending.next().await {
                if revoked.note(ended) == Some(true) && matched.contains(&handle) {
                    revoked.ended.push(handle);
                }
            }
            revoked.matched.extend(matched);
            let found_unreadable = records.unreadable.len();
            let unreadable = self.unreadable_selected(selection, records.unreadable).await;
            let unreadable = revoked.note(unreadable).unwrap_or_default();
            is_whole &= found_unreadable == unreadable.len();
            for handle in unreadable.into_iter().chain(records.remains) {
                let torn_up = self.0.tear_up(handle, None, now).await;
                revoked.note(torn_up);
            }
            if records.next.is_none() {
                // What could not be read here may be a session for another replica: the order stands until none can live.
                if let (Some(Appended { number, .. }), Some(_), None, true) =
                    (appended, &many, &revoked.failure, is_whole)
                {
                    let done = self.0.cut_offs.log.done(number).await;
                    revoked.note(done);
                }
                return revoked;
            }
            place = records.next;
        }
    }

    /// Returns the sessions that [`Self::revoke`] would end.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be asked.
    pub async fn preview(&self, selection: &Selection) -> Result<Revoked, StoreError> {
        let (mut revoked, mut place) = (Revoked::default(), None);
        let orders = self.0.orders().await?;
        loop {
            let records = self.selected(selection, place).await?.complete()?;
            let now = self.0.clock.now();
            let live = records.sessions.into_iter().filter_map(|known| self.0.live(known, &orders, now).ok());
            revoked.matched.extend(live.map(|session| session.handle()));
            if records.next.is_none() {
                return Ok(revoked);
            }
            place = records.next;
        }
    }

    /// Ends every session of a person and refuses their logins under way; how many there were.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be asked: some may live on.
    pub async fn end_subject(&self, issuer: &str, subject: &str) -> Result<usize, StoreError> {
        let selection = Selection::person(issuer, subject);
        Ok(self.revoke(&selection, &Order::of_the_program(ENDED_BY_THE_PROGRAM)).await.complete()?.ended.len())
    }

    /// Ends every session that came from one session at the provider (`sid`) and refuses logins under way from it; how
    /// many there were.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be asked: some may live on.
    pub async fn end_provider_session(&self, issuer: &str, sid: &str) -> Result<usize, StoreError> {
        let selection = Selection::ProviderSession { issuer: issuer.to_owned(), sid: sid.to_owned(), subject: None };
        Ok(self.revoke(&selection, &Order::of_the_program(ENDED_BY_THE_PROGRAM)).await.complete()?.ended.len())
    }

    /// Ends a session of the same person from another browser; whether there was one of theirs.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be asked: it may live on.
    pub async fn end_own(&self, issuer: &str, subject: &str, handle: SessionHandle) -> Result<bool, StoreError> {
        let own = |session: &LiveSession| {
            let identity = &session.record().identity;
            identity.issuer == issuer && identity.subject == subject
        };
        let Some(session) = self.find(handle).await?.filter(own) else { return Ok(false) };
        let tombstone = Tombstone::of(EndCause::EndedElsewhere, self.0.clock.now());
        self.0.end_known(&session.known, Some(&tombstone)).await
    }

    /// Some of the records that are meant.
    async fn selected(&self, selection: &Selection, behind: Option<Cursor>) -> Result<Records, StoreError> {
        let handles = match selection {
            Selection::Handles(handles) => handles.iter().copied().collect::<BTreeSet<_>>(),
            Selection::Matching(filter) | Selection::Searched(filter) => {
                return self.0.records(filter, behind, BATCH).await;
            }
            Selection::ProviderSession { issuer, sid, subject } => {
                let index = HashedName::provider_session(issuer, sid);
                let filter = subject.as_ref().map(|subject| Filter::subject(issuer, subject)).unwrap_or_default();
                return self.0.records_of(Some(&index), &filter, behind, BATCH).await;
            }
        };
        let mut records = Records::default();
        let mut found =
            stream::iter(handles).map(async |handle| (handle, self.0.look_up(handle).await)).buffered(AT_A_TIME);
        while let Some((handle, found)) = found.next().await {
            match found {
                Ok(Found::Session(opened)) => records.sessions.push(Arc::new(KnownSession::new(handle, *opened))),
                // An end that came half through has hidden it, and other replicas may serve it from memory.
                Ok(Found::Nothing(_) | Found::Outweighed) => records.remains.push(handle),
                Ok(Found::Unreadable) => records.unreadable.push(handle),
                // A record that cannot be read can perhaps be deleted.
                Err(error) => {
                    records.unreadable.push(handle);
                    records.failure = Some(error);
                }
            }
        }
        Ok(records)
    }

    /// Those of the records that cannot be read which are meant all the same: what an index names belongs to whose
    /// index it is. By anything else it cannot be told whose they are.
    async fn unreadable_selected(
        &self,
        selection: &Selection,
        unreadable: Vec<SessionHandle>,
    ) -> Result<Vec<SessionHandle>, StoreError> {
        let one_person = |filter: &Filter| filter.of_logins().is_some_and(|logins| logins.one_person().is_some());
        match selection {
            Selection::Handles(_) | Selection::ProviderSession { subject: None, .. } => Ok(unreadable),
            Selection::Matching(filter) if filter.is_empty() || one_person(filter) => Ok(unreadable),
            Selection::ProviderSession { issuer, subject: Some(subject), .. } if !unreadable.is_empty() => {
                let theirs = self.0.registry.all_of(&HashedName::subject(issuer, subject)).await?;
                Ok(unreadable.into_iter().filter(|handle| theirs.contains(handle)).collect())
            }
            Selection::Matching(_) | Selection::ProviderSession { .. } | Selection::Searched(_) => Ok(Vec::new()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R-P06: one search runs at a time; the next one waits, and not for ever.
    #[tokio::test]
    async fn every_session_is_looked_at_by_one_search_at_a_time() {
        let (searches, patience) = (Semaphore::new(1), StdDuration::from_millis(10));
        let by_address = Selection::Searched(Filter::address("i", "a@example.com"));
        let held = turn_to_search(&searches, &by_address, patience).await.unwrap();
        let refused = turn_to_search(&searches, &by_address, patience).await;
        assert!(matches!(refused, Err(StoreError::TooManySearches)));
        let by_name = Selection::Matching(Filter::subject("i", "a"));
        assert!(turn_to_search(&searches, &by_name, patience).await.is_ok_and(|turn| turn.is_none()));
        drop(held);
        assert!(turn_to_search(&searches, &by_address, patience).await.is_ok());
    }
}
