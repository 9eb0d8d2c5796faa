//! A login becomes a session, unless a cut-off or the limit per person says no.
//!
//! The cut-offs are read before and after the record is written. A revocation lays its cut-off down first and then ends
//! what it finds; so either this login finds the cut-off, or the revocation finds the record (R-N04).

use std::time::Duration as StdDuration;

use counterfoil_core::identity::Identity;
use counterfoil_core::secret::Secret;
use thiserror::Error;
use time::OffsetDateTime;
use tokio::sync::oneshot;

use super::cut_off::Attempt;
pub use super::cut_off::{Freshness, Refusal};
use super::ending::{EndCause, Tombstone};
use super::key::{SessionHandle, SessionKey};
use super::lease::LeaseRequest;
use super::policy::OnLimit;
use super::record::{ClientTraits, SessionRecord, Tokens};
use super::sessions::Sessions;
use super::store::log::LogNumber;
use super::store::note::Note;
use super::store::{RecordStore, StoreError};
use super::timeout::SessionTimes;

/// Longest time that a login waits for other logins of the same person.
const LONGEST_WAIT: StdDuration = StdDuration::from_secs(8);

/// The facts that a login hands over to be remembered.
#[derive(Debug, Clone)]
pub struct NewSession {
    /// The person who signed in.
    pub identity: Identity,
    /// The newest number of the cut-off log when the login was begun ([`Sessions::login_number`]); `None` if it begins
    /// now.
    pub begun: Option<LogNumber>,
    /// The moment the person last proved who they are to the provider, if it said so.
    pub auth_time: Option<OffsetDateTime>,
    /// The authentication context class (`acr`), if it said so.
    pub acr: Option<String>,
    /// The moment by which the provider wants the session to be over, if it said so.
    pub ends_by: Option<OffsetDateTime>,
    /// The freshness of that proof, as far as it is known.
    pub freshness: Freshness,
    /// The provider's name for its own session (`sid`), if it said so.
    pub provider_session: Option<String>,
    /// The provider's tokens.
    pub tokens: Tokens,
    /// The client that the login came from.
    pub client: ClientTraits,
}

impl NewSession {
    /// A login that the application itself has just checked, without any provider.
    pub fn of_the_application(identity: Identity, now: OffsetDateTime, client: ClientTraits) -> Self {
        let tokens = Tokens {
            access_token: Secret::new(String::new()),
            access_token_expires_at: None,
            issued_at: now,
            refresh_token: None,
            id_token: None,
            nonce: None,
        };
        let (auth_time, freshness) = (Some(now), Freshness::At(now));
        let (acr, ends_by, provider_session) = (None, None, None);
        Self { identity, begun: None, auth_time, acr, ends_by, freshness, provider_session, tokens, client }
    }
}

/// The reason why there is no session.
#[derive(Debug, Error)]
pub enum EstablishError {
    /// The store did not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The person may not have one.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

impl Sessions {
    /// Remembers a login under a fresh key, which goes into the cookie and nowhere else.
    ///
    /// # Errors
    /// [`EstablishError`]: then there is no session.
    pub async fn establish(&self, new: NewSession) -> Result<SessionKey, EstablishError> {
        let (hand_over, handed_over) = oneshot::channel();
        let sessions = self.clone();
        // The browser may hang up: what was begun is brought to its end.
        tokio::spawn(async move {
            let established = sessions.establish_in_turn(new).await;
            if let Err(Ok(key)) = hand_over.send(established) {
                // Nobody can use the session, but it would count.
                if let Err(error) = sessions.end(key.handle()).await {
                    tracing::warn!(session = %key.handle(), %error, "a session that nobody waited for lives on");
                }
            }
        });
        handed_over.await.unwrap_or_else(|_| Err(StoreError::Timeout.into()))
    }

    /// Returns the newest number of the cut-off log, for a login that begins: orders of a higher number refuse it. The
    /// last one known if the store cannot be asked, which refuses more and nothing less.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be asked and none is known.
    pub async fn login_number(&self) -> Result<LogNumber, StoreError> {
        self.0.cut_offs.log.newest().await
    }

    /// One login of a person at a time, if their number is limited: each has to see what the other did.
    async fn establish_in_turn(&self, new: NewSession) -> Result<SessionKey, EstablishError> {
        let rules = self.0.policies.configured().clone();
        let Some(most) = rules.max_per_user else { return self.establish_one(new, None).await };
        let names = self.0.store.names().await?;
        let name = format!("limit:{}", names.subject(&new.identity.issuer, &new.identity.subject).as_str());
        let lease = LeaseRequest::new(self.0.store.clone(), name, LONGEST_WAIT).acquire().await?;
        lease.hold(self.establish_one(new, Some((most.get(), rules.on_limit)))).await
    }

    async fn establish_one(
        &self,
        new: NewSession,
        limit: Option<(usize, OnLimit)>,
    ) -> Result<SessionKey, EstablishError> {
        let retention = self.0.policies.current_retention().await?;
        let now = self.0.clock.now();
        let confirmed = match new.begun {
            Some(begun) => begun,
            None => self.login_number().await?,
        };
        let key = self.0.tags.tagged(&SessionKey::generate());
        let handle = key.handle();
        let record = SessionRecord {
            identity: new.identity,
            provider_session: new.provider_session,
            created_at: now,
            auth_time: new.auth_time,
            acr: new.acr,
            ends_by: new.ends_by,
            renewed_at: now,
            access_token_expires_at: new.tokens.access_token_expires_at,
            client: new.client,
            unconfirmed: false,
            indeterminate_since: None,
            failing_since: None,
            unverifiable_since: None,
            confirmed,
        };
        let attempt = Attempt { record: &record, freshness: new.freshness };
        self.refuse_if_cut_off(attempt).await?;
        self.prune_lists_of(&record).await?;
        let others = match limit {
            Some(_) => self.administration().of_subject(&record.identity.issuer, &record.identity.subject).await?,
            None => Vec::new(),
        };
        if limit.is_some_and(|(most, on_limit)| on_limit == OnLimit::Refuse && others.len() >= most) {
            return Err(Refusal::TooManySessions.into());
        }
        let limits = self.0.policies.timeouts().limits_for(&record.identity.groups);
        let times = SessionTimes { created_at: now, last_seen_at: now, ends_by: record.ends_by };
        // The entry comes first, the record last: an entry without a record is pruned in time, a record without an
        // entry could never be found again to be revoked.
        self.0.registry.insert(&record, handle, retention.entry_until(now)).await?;
        self.0.sealed.create_note(handle, &Note::new(times, limits), retention.note_until(now)).await?;
        let until = retention.record_until(now, record.ends_by, now);
        let created = self.0.sealed.create(&key, &record, &new.tokens, until).await;
        let established = match self.0.extend_if_longer(&record, handle, retention, created).await {
            Ok(()) => self.refuse_if_cut_off(attempt).await,
            Err(error) => Err(error.into()),
        };
        if let Err(refused) = established {
            self.undo(&record, handle).await?;
            return Err(refused);
        }
        if let Some((most, _)) = limit {
            let tombstone = Tombstone::of(EndCause::Displaced, now);
            let mut has_displaced = false;
            for oldest in others.iter().skip(most - 1) {
                match self.0.end_known(&oldest.known, Some(&tombstone)).await {
                    Ok(_) => has_displaced = true,
                    // The next login tries again.
                    Err(error) if has_displaced => tracing::warn!(%error, "a session too many could not be ended yet"),
                    Err(error) => {
                        self.undo(&record, handle).await?;
                        return Err(error.into());
                    }
                }
            }
        }
        Ok(key)
    }

    /// Deletes a record that was written for a login that is refused. If this fails as well, the key is lost with the answer:
    /// nobody can use the record.
    async fn undo(&self, record: &SessionRecord, handle: SessionHandle) -> Result<(), StoreError> {
        self.0.tear_up(handle, None, record.created_at).await?;
        self.0.registry.remove(record, handle).await
    }

    async fn refuse_if_cut_off(&self, attempt: Attempt<'_>) -> Result<(), EstablishError> {
        match self.0.cut_offs.refusal(&self.0.blocks, attempt, self.0.clock.now()).await? {
            Some(refusal) => Err(refusal.into()),
            None => Ok(()),
        }
    }

    /// Ends what no timeout lets live and nobody has asked for since, so that no list grows without bound.
    async fn prune_lists_of(&self, record: &SessionRecord) -> Result<(), StoreError> {
        let oldest = self.0.policies.oldest(record.created_at);
        for index in self.0.store.names().await?.indexes(record) {
            let overdue = self.0.registry.overdue(&index, oldest).await?;
            let remains = self.0.store.remains(&overdue).await?;
            for (overdue, remains) in overdue.into_iter().zip(remains) {
                // A note without a record still says how the session ended.
                if remains.has_record {
                    let tombstone = Tombstone::of(EndCause::Absolute, record.created_at);
                    let tombstone = (!remains.has_tombstone).then_some(&tombstone);
                    self.0.tear_up(overdue, tombstone, self.0.cookie_dies_at(record.created_at)).await?;
                }
                self.0.registry.forget(&index, overdue).await?;
            }
        }
        Ok(())
    }
}
