//! The renewal of a session with its provider: what is stored of it, by whoever has the session's turn.
//!
//! A refresh token that is used twice is taken for stolen, so everything new is stored before the turn
//! ([`super::refresh_lock`]) is given up, and only where the record still exists: no renewal brings an ended session back
//! (R-G09, R-N04). The caller's `work` decides what is asked of the provider, and when.

use std::time::{Duration as StdDuration, Instant};

use counterfoil_core::identity::Identity;
use counterfoil_core::unix_millis::UnixMillis;
use time::{Duration, OffsetDateTime};

use super::cut_off::orders::Standing;
use super::ending::{EndCause, Tombstone};
use super::key::{SessionHandle, SessionKey};
use super::live::KnownSession;
use super::record::{ExposedSecret, SessionRecord, Tokens};
use super::sessions::Sessions;
use super::store::log::LogNumber;
use super::store::{InvalidationListener, KeyValue, StoreError};

/// Time for which storing is retried: the provider may have made the old refresh token worthless.
const STORE_FOR: StdDuration = StdDuration::from_secs(4);
const STORE_AGAIN_AFTER: StdDuration = StdDuration::from_millis(100);
/// Backoff after an attempt that failed: nobody asks again for so long.
pub const REFRESH_BACKOFF: Duration = Duration::seconds(10);

pub(super) fn backoff_key(handle: SessionHandle) -> String {
    format!("renewal-rest:{handle}")
}

/// The outcome of storing something new about a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Saved {
    /// It is stored.
    Saved,
    /// The session has ended.
    SessionEnded,
    /// Somebody else has renewed the session meanwhile: what they stored is newer.
    Superseded,
}

/// The reason why a provider did not confirm a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// It is away for everybody, or nobody asked it.
    Outage,
    /// It answers others.
    OfThisSession,
    /// It answers with tokens that no published key signed.
    Keys,
}

/// A session whose turn it is: what the store has of it, and the right to change that.
#[derive(Debug)]
pub struct LockedSession {
    sessions: Sessions,
    key: SessionKey,
    record: SessionRecord,
    tokens: Tokens,
    /// The newest number of the cut-off log before the provider was asked.
    asked: LogNumber,
}

impl LockedSession {
    pub(super) fn new(
        sessions: Sessions,
        key: SessionKey,
        record: SessionRecord,
        tokens: Tokens,
        asked: LogNumber,
    ) -> Self {
        Self { sessions, key, record, tokens, asked }
    }

    /// The session's public name.
    pub fn handle(&self) -> SessionHandle {
        self.key.handle()
    }

    /// Returns what is remembered of the session.
    pub fn record(&self) -> &SessionRecord {
        &self.record
    }

    /// The provider's tokens.
    pub fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// Stores new tokens, and the end that the provider may have set beside them: it moves earlier and never later
    /// (R-G10).
    ///
    /// # Errors
    /// [`StoreError`] if the store did not take them, tried again and again.
    pub async fn save_tokens(&mut self, tokens: Tokens, ends_by: Option<OffsetDateTime>) -> Result<Saved, StoreError> {
        // Another ID token has been verified.
        let is_verified = tokens.id_token != self.tokens.id_token;
        let record = SessionRecord {
            access_token_expires_at: tokens.access_token_expires_at,
            unverifiable_since: self.record.unverifiable_since.filter(|_| !is_verified),
            ends_by: self.record.ends_by.into_iter().chain(ends_by).min(),
            ..self.record.clone()
        };
        let tokens = Tokens { issued_at: tokens.issued_at.truncate_to_millisecond(), ..tokens };
        self.store(record, tokens).await
    }

    /// Remembers that the provider did not confirm the person, and since when. If `is_rejected`, the session counts for
    /// nothing from here on, on every replica, until the provider confirms them again.
    ///
    /// # Errors
    /// [`StoreError`] if the store did not take it.
    pub async fn mark_indeterminate(&mut self, is_rejected: bool, failure: Failure) -> Result<Saved, StoreError> {
        let now = self.sessions.0.clock.now().truncate_to_millisecond();
        let record = SessionRecord {
            unconfirmed: self.record.unconfirmed || is_rejected,
            indeterminate_since: self.record.indeterminate_since.or(Some(now)),
            failing_since: self.record.failing_since.or((failure != Failure::Outage).then_some(now)),
            unverifiable_since: self.record.unverifiable_since.or((failure == Failure::Keys).then_some(now)),
            ..self.record.clone()
        };
        if record == self.record {
            return Ok(Saved::Saved);
        }
        self.store(record, self.tokens.clone()).await
    }

    /// Stores what the provider says of the person now. A session that a revocation meant which came since it last did
    /// is ended.
    ///
    /// # Errors
    /// [`StoreError`] if the store did not take it.
    pub async fn save_claims(&mut self, identity: Identity) -> Result<Saved, StoreError> {
        let (before, now) = (self.record.clone(), self.sessions.0.clock.now());
        let after = SessionRecord { identity, ..before.clone() };
        if let Some(order) = self.sessions.0.cut_offs.order_after_refresh(&before, &after, now).await? {
            return self.end_by_order(&order).await.map(|()| Saved::SessionEnded);
        }
        // The moment is cut as the store cuts it: what was stored is compared with it.
        let renewed_at = now.truncate_to_millisecond();
        let record = SessionRecord {
            renewed_at,
            unconfirmed: false,
            indeterminate_since: None,
            failing_since: None,
            unverifiable_since: None,
            // Orders that came while the provider was asked are judged at the next check.
            confirmed: before.confirmed.max(self.asked),
            ..after.clone()
        };
        let saved = self.store(record, self.tokens.clone()).await;
        // An order that came in between may mean the person as they were: nobody else would find that. A store that did not
        // answer may have done it.
        let is_over = matches!(saved, Ok(Saved::SessionEnded | Saved::Superseded));
        if is_over {
            return saved;
        }
        match self.order_meanwhile(&before, &after).await {
            Ok(None) => return saved,
            Ok(Some(order)) => self.end_by_order(&order).await?,
            Err(error) => {
                tracing::warn!(session = %self.handle(), %error, "whether a session was revoked cannot be found out");
                self.end(EndCause::Revoked).await?;
            }
        }
        Ok(Saved::SessionEnded)
    }

    /// Returns an order that came by now and ends the session; asked for again and again.
    async fn order_meanwhile(
        &self,
        before: &SessionRecord,
        after: &SessionRecord,
    ) -> Result<Option<Standing>, StoreError> {
        let (inner, trying) = (&self.sessions.0, RetryBudget::begin());
        loop {
            match inner.cut_offs.order_after_refresh(before, after, inner.clock.now()).await {
                Ok(order) => return Ok(order),
                Err(error) => trying.pause(error).await?,
            }
        }
    }

    /// Ends the session by an order that means many, and lays on its person what that says of them: whoever carries the
    /// order out would not find them any more.
    ///
    /// # Errors
    /// [`StoreError`] if the person was not blocked, or the session may live on.
    async fn end_by_order(&self, order: &Standing) -> Result<(), StoreError> {
        let known = KnownSession::of(self.handle(), self.record.clone());
        let (trying, mut laid_down) = (RetryBudget::begin(), Ok(()));
        while let Err(failed) = self.sessions.0.cut_off_by(&known, order).await {
            laid_down = trying.pause(failed.error).await;
            if laid_down.is_err() {
                break;
            }
        }
        // Also if the person was not blocked: what is stored by now may not fit the order any more, so nobody else would end it.
        self.end_with(&order.tombstone(), Some(order.number)).await?;
        laid_down
    }

    /// Ends the session, tried again and again; whether there was one until now, as this renewal knows it.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be asked: it may live on.
    pub async fn end(&self, cause: EndCause) -> Result<bool, StoreError> {
        self.end_with(&Tombstone::of(cause, self.sessions.0.clock.now()), None).await
    }

    /// Does the same, by an order if that is what ends it: what that says of the person was seen to.
    async fn end_with(&self, tombstone: &Tombstone, order: Option<LogNumber>) -> Result<bool, StoreError> {
        let trying = RetryBudget::begin();
        loop {
            let ended = self.try_to_end(tombstone, order).await;
            self.sessions.0.near.invalidate(self.handle());
            match ended {
                Ok(ended) => return Ok(ended),
                Err(error) => trying.pause(error).await?,
            }
        }
    }

    async fn try_to_end(&self, tombstone: &Tombstone, order: Option<LogNumber>) -> Result<bool, StoreError> {
        // Somebody else's reason stands.
        let Some((was, had)) = self.sessions.0.sealed.load_whole(&self.key).await? else { return Ok(false) };
        // If the lease was lost, somebody else may have renewed it since: to their token ours was a second use, and the
        // provider's no was to that, not to the person.
        let is_ours = version(&was, &had) == version(&self.record, &self.tokens);
        if tombstone.cause == EndCause::EndedByProvider && !is_ours {
            return Ok(false);
        }
        let known = KnownSession::of(self.handle(), self.record.clone());
        self.sessions.0.end_within(&known, Some(tombstone), order).await
    }

    /// Lets the others know that an attempt failed: for a moment nobody makes another.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be asked.
    pub async fn back_off(&self) -> Result<(), StoreError> {
        let until = self.sessions.0.clock.now() + REFRESH_BACKOFF;
        let text = UnixMillis::from(until).0.to_string();
        self.sessions.0.store.put(&backoff_key(self.handle()), text.as_bytes(), Some(until)).await
    }

    async fn store(&mut self, record: SessionRecord, tokens: Tokens) -> Result<Saved, StoreError> {
        let trying = RetryBudget::begin();
        loop {
            match self.try_to_store(&record, &tokens).await {
                Ok(Saved::Saved) => {
                    (self.record, self.tokens) = (record, tokens);
                    return Ok(Saved::Saved);
                }
                Ok(other) => return Ok(other),
                Err(error) => trying.pause(error).await?,
            }
        }
    }

    async fn try_to_store(&self, record: &SessionRecord, tokens: &Tokens) -> Result<Saved, StoreError> {
        let Sessions(inner) = &self.sessions;
        let Some((was, had)) = inner.sealed.load_whole(&self.key).await? else {
            return Ok(Saved::SessionEnded);
        };
        // Nothing is stored if the lease was lost and somebody else has renewed it since: theirs is newer. A record
        // that an earlier try stored without our hearing of it is ours.
        let ours = [(&self.record, &self.tokens), (record, tokens)];
        if !ours.iter().any(|(record, tokens)| version(&was, &had) == version(record, tokens)) {
            return Ok(Saved::Superseded);
        }
        let retention = inner.policies.current_retention().await?;
        let until = retention.record_until(record.created_at, record.ends_by, inner.clock.now());
        // The entry comes first, the record second, as at the login: no record outlives its entries. One that somebody
        // deleted is there again.
        inner.registry.insert(record, self.handle(), retention.entry_until(record.created_at)).await?;
        let saved = inner.sealed.save(&self.key, record, tokens, until).await;
        // This is due also if the store did not answer: it may have done it.
        inner.near.invalidate(self.handle());
        inner.extend_if_longer(record, self.handle(), retention, saved).await?;
        if let Err(error) = inner.registry.remove_outdated(&was, record, self.handle()).await {
            tracing::warn!(session = %self.handle(), %error, "a renewed session is still in a list of before; it goes with that");
        }
        // A record that went in between is not brought back, and the store does not say so.
        let still = inner.sealed.load_whole(&self.key).await?;
        Ok(if still.is_some() { Saved::Saved } else { Saved::SessionEnded })
    }
}

/// The mark that tells what one renewal stored from what another did. The refresh token belongs to it: one that was
/// rotated by an answer of which nothing else is believed is stored alone.
fn version<'a>(
    record: &SessionRecord,
    tokens: &'a Tokens,
) -> (OffsetDateTime, OffsetDateTime, Option<&'a ExposedSecret>) {
    (record.renewed_at, tokens.issued_at, tokens.refresh_token.as_ref())
}

/// An operation that is retried for a while, as long as the store fails.
struct RetryBudget(Instant);

impl RetryBudget {
    fn begin() -> Self {
        Self(Instant::now())
    }

    /// Waits for the next try.
    ///
    /// # Errors
    /// The same again, if it has been tried for long enough.
    async fn pause(&self, error: StoreError) -> Result<(), StoreError> {
        if self.0.elapsed() >= STORE_FOR {
            return Err(error);
        }
        tracing::warn!(%error, "what came of a renewal could not be stored yet");
        tokio::time::sleep(STORE_AGAIN_AFTER).await;
        Ok(())
    }
}
