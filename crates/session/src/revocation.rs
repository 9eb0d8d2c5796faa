//! The ending of other people's sessions, for good (R-N01, R-N04).
//!
//! The order is: the cut-off, so that no login under way slips through; then each record that there is, live or not
//! (the rules may change): tombstone, record, this process's own cache, registry. A step that fails does not keep the
//! rest from being done; it is reported, and can be repeated: also an end that came no further than the tombstone.

mod lifting;
pub(crate) mod persons;
mod walk;
mod written;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use counterfoil_core::unix_millis::UnixMillis;
use futures_util::{StreamExt, stream};
use time::{Duration, OffsetDateTime};

use super::administration::SessionAdministration;
use super::blocks::{Lifted, Meant};
use super::ending::{EndCause, Tombstone};
use super::filter::{Filter, PersonFilter};
use super::key::SessionHandle;
use super::listing::{AT_A_TIME, Count, Records};
use super::live::{KnownSession, LiveSession};
use super::registry::{Cursor, Source};
use super::store::StoreError;
use super::store::log::Appended;
use super::store::sealed::Found;

use self::walk::{Progress, Walk};

/// Records looked at together.
const BATCH: usize = 1_000;
/// Sessions that are named before an order is given; of more only the number is told.
const MOST_PREVIEWED: usize = 1_000;

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
    /// Is true of words that may mean any number of persons.
    fn means_many(&self) -> bool {
        match self {
            Self::Matching(filter) => filter.one_person().is_none(),
            Self::Searched(_) => true,
            Self::Handles(_) | Self::ProviderSession { .. } => false,
        }
    }

    /// The words of a filter, if the order was given in such.
    pub(crate) fn filter(&self) -> Option<&Filter> {
        match self {
            Self::Matching(filter) => Some(filter),
            Self::Handles(_) | Self::ProviderSession { .. } | Self::Searched(_) => None,
        }
    }

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
    /// The blocks that go with it.
    pub block: BlockOrder,
    /// Set if the next login of the persons concerned has to be a fresh one.
    pub fresh_login: bool,
}

/// The part of an order that is about blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BlockOrder {
    /// Blocks stay as they are.
    #[default]
    Keep,
    /// The persons concerned get no new session for so long.
    LayDown(Duration),
    /// The blocks that the same words laid down are lifted.
    Lift,
}

impl Order {
    /// Returns an order of the program itself: no block, and no fresh login.
    pub fn of_the_program(reason: &str) -> Self {
        let (reason, by) = (reason.to_owned(), "program".into());
        Self { reason, by, cause: EndCause::Revoked, block: BlockOrder::Keep, fresh_login: false }
    }

    /// Returns a provider's order by a notice of its own: no block; whether a fresh login is due depends on the notice.
    pub fn of_the_provider(idp: &str, reason: &str, fresh_login: bool) -> Self {
        let (reason, by) = (reason.to_owned(), format!("provider:{idp}"));
        Self { reason, by, cause: EndCause::EndedByProvider, block: BlockOrder::Keep, fresh_login }
    }
}

/// The sessions that a revocation would end.
#[derive(Debug, Clone)]
pub struct Preview {
    /// Their number.
    pub count: Count,
    /// The newest thousand of them.
    pub sessions: Vec<SessionHandle>,
}

/// The outcome of a revocation.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "facts that do not depend on each other")]
pub struct Revoked {
    /// The sessions that were meant and lived.
    pub matched: Vec<SessionHandle>,
    /// Those of them that this call ended; others may have ended by themselves meanwhile.
    pub ended: Vec<SessionHandle>,
    /// The blocks that this call lifted, and those that stand against the same persons all the same.
    pub blocks: Lifted,
    /// Set if the order stands in the cut-off log: it counts, whether or not the records of whom it means are deleted.
    pub stands: bool,
    /// Set once an order was given that means many: to carry it out may take minutes.
    pub is_given: bool,
    /// Set if the order is carried out behind this answer, by this replica or another.
    pub goes_on: bool,
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

impl SessionAdministration {
    /// Ends the selected sessions. When it returns without a failure, none of their records is in the store, none is
    /// served by this process, and nothing in flight brings one back; other replicas hear of it as fast as the network
    /// carries it. With a failure as much of it has been done as could be, and repeating it is safe.
    pub async fn revoke(&self, selection: &Selection, order: &Order) -> Revoked {
        self.revoke_and_tell(selection, order, &|_| {}).await
    }

    /// Does what [`Self::revoke`] does, and tells how far it is: when the order has been given, and after each batch of
    /// records. An order that [`stands`](Revoked::stands) is in force on every replica once it was given, or, where a
    /// replica does not hear of it, when that replica's lease on what it knows runs out.
    pub async fn revoke_and_tell(
        &self,
        selection: &Selection,
        order: &Order,
        tell: &(dyn Fn(&Revoked) + Send + Sync),
    ) -> Revoked {
        let mut revoked = Revoked::default();
        // Those who lived until this order are told by the orders before it.
        let before = revoked.note(self.0.orders().await).unwrap_or_default();
        let tombstone = Tombstone {
            ended_at: self.0.clock.now(),
            cause: order.cause,
            reason: Some(order.reason.clone()),
            by: Some(order.by.clone()),
            fresh_login: order.fresh_login,
        };
        let filter = selection.filter();
        if order.block == BlockOrder::Lift {
            let mut blocks = self.lift_blocks(&Meant::by_order(selection)).await;
            revoked.failure = blocks.failure.take().or(revoked.failure.take());
            revoked.blocks = blocks;
        }
        let terms = self.terms(order);
        if let Some(filter) = filter {
            let laid_down = self.block_the_named(filter, &terms).await;
            revoked.note(laid_down);
        }
        let many = filter.and_then(Filter::of_logins).filter(|logins| logins.one_person().is_none());
        let laid_down = match &many {
            // From here on no check of a session that it means lets it pass, on any replica.
            Some(logins) => self.0.cut_offs.set_for_logins(logins, order.cause, &terms).await,
            None => self.0.cut_offs.log.tick().await,
        };
        // What a full log does not take, nobody is to be sent to by half.
        let is_refused = matches!(laid_down, Err(StoreError::TooManyCutOffs));
        let appended = revoked.note(laid_down);
        // Whoever could not be blocked keeps their sessions, by which a repetition finds them again, unless they are named.
        let is_named = filter.is_some_and(|filter| filter.one_person().is_some());
        if is_refused || appended.is_none() && terms.block_for.is_some() && !is_named {
            return revoked;
        }
        revoked.is_replicated = appended.is_some_and(|appended| appended.is_replicated);
        revoked.stands = many.is_some() && appended.is_some();
        if let Some(Appended { number, .. }) = appended {
            let laid_down = self.cut_off_the_named(selection, number, &terms).await;
            revoked.note(laid_down);
        }
        revoked.is_given = appended.is_some() && selection.means_many();
        tell(&revoked);
        let number = appended.map(|appended| appended.number);
        let (selection, standing) = (selection.clone(), many.filter(|_| revoked.stands));
        let walk = Walk { selection, number, entry: number, standing, tombstone, terms, before };
        self.walk(walk, Progress::default(), &mut revoked, tell).await;
        revoked
    }

    /// Returns whom [`Self::revoke`] would end: how many, and the newest thousand of them.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be asked; [`StoreError::TooManyScans`] if that asks for a look through all sessions,
    /// and two of those are under way in this process.
    pub async fn preview(&self, selection: &Selection) -> Result<Preview, StoreError> {
        let (orders, now) = (self.0.orders().await?, self.0.clock.now());
        let source = self.source_of(selection).await?;
        let _place = source.as_ref().map(|source| self.scan(source, false)).transpose()?;
        let (mut sessions, mut place) = (Vec::new(), None);
        loop {
            let records = self.selected(selection, source.as_ref(), place, now).await?.complete()?;
            let live = records.sessions.into_iter().filter_map(|known| self.0.live(known, &orders, now).ok());
            sessions.extend(live.map(|session| session.handle()));
            place = records.next;
            if place.is_none() || sessions.len() >= MOST_PREVIEWED {
                break;
            }
        }
        let count = match (selection, &source) {
            (Selection::Matching(filter), Some(source)) if place.is_some() => {
                self.count_of(source, filter, |_, _| true).await?
            }
            _ => Count { sessions: sessions.len(), is_exact: place.is_none() },
        };
        sessions.truncate(MOST_PREVIEWED);
        Ok(Preview { count, sessions })
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

    /// Returns where the sessions that are meant are found, unless they are named.
    async fn source_of(&self, selection: &Selection) -> Result<Option<Source>, StoreError> {
        match selection {
            Selection::Handles(_) => Ok(None),
            Selection::Matching(filter) | Selection::Searched(filter) => self.0.source(filter).await.map(Some),
            Selection::ProviderSession { issuer, sid, .. } => {
                self.0.source_of_provider_session(issuer, sid).await.map(Some)
            }
        }
    }

    /// Some of the records that are meant.
    async fn selected(
        &self,
        selection: &Selection,
        source: Option<&Source>,
        behind: Option<Cursor>,
        now: OffsetDateTime,
    ) -> Result<Records, StoreError> {
        let handles = match (selection, source) {
            (Selection::Handles(handles), _) => handles.iter().copied().collect::<BTreeSet<_>>(),
            (Selection::Matching(filter) | Selection::Searched(filter), Some(source)) => {
                return self.0.records(source, filter, behind, BATCH, now).await;
            }
            (Selection::ProviderSession { issuer, sid, subject }, Some(source)) => {
                let person =
                    PersonFilter { issuer: Some(issuer.clone()), subject: subject.clone(), ..PersonFilter::default() };
                let filter = Filter { person, ..Filter::default() };
                let mut records = self.0.records(source, &filter, behind, BATCH, now).await?;
                // A search finds others, too.
                records.sessions.retain(|known| known.record.provider_session.as_ref() == Some(sid));
                return Ok(records);
            }
            (_, None) => return Ok(Records::default()),
        };
        let mut records = Records { is_certain: true, ..Records::default() };
        let mut found =
            stream::iter(handles).map(async |handle| (handle, self.0.look_up(handle).await)).buffered(AT_A_TIME);
        while let Some((handle, found)) = found.next().await {
            match found {
                Ok(Found::Session(opened)) => records.sessions.push(Arc::new(KnownSession::new(handle, *opened))),
                // An end that came half through has hidden it, and other replicas may serve it from memory.
                Ok(Found::Nothing(_) | Found::Ended) => records.remains.push(handle),
                Ok(Found::Unreadable) => records.unreadable.push(Cursor { established: UnixMillis(i64::MIN), handle }),
                // A record that cannot be read can perhaps be deleted.
                Err(error) => {
                    records.unreadable.push(Cursor { established: UnixMillis(i64::MIN), handle });
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
        is_certain: bool,
        unreadable: Vec<SessionHandle>,
    ) -> Result<Vec<SessionHandle>, StoreError> {
        match selection {
            Selection::Handles(_) => Ok(unreadable),
            Selection::Matching(filter) if filter.is_empty() => Ok(unreadable),
            _ if !is_certain => Ok(Vec::new()),
            Selection::ProviderSession { subject: None, .. } => Ok(unreadable),
            Selection::Matching(filter) if filter.one_person().is_some() => Ok(unreadable),
            Selection::ProviderSession { issuer, subject: Some(subject), .. } if !unreadable.is_empty() => {
                let names = self.0.store.names().await?;
                let theirs = self.0.registry.all_of(&names.subject(issuer, subject)).await?;
                Ok(unreadable.into_iter().filter(|handle| theirs.contains(handle)).collect())
            }
            Selection::Matching(_) | Selection::ProviderSession { .. } | Selection::Searched(_) => Ok(Vec::new()),
        }
    }
}
