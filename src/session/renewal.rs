//! Renewing a session with whoever vouches for it: one at a time among all replicas (R-C11).
//!
//! A refresh token that is used twice is taken for stolen, so whoever renews a session holds its turn: in this process a
//! place in a queue, among the replicas a lease in the store, prolonged while the provider takes its time. Who has
//! waited looks again first: somebody else has mostly done it by then. Everything new is stored before the turn is given
//! up, and only where the record still exists: no renewal brings an ended session back (R-G09, R-N04). What is asked of
//! the provider, and when, is not decided here: the caller's `work` does that.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration as StdDuration, Instant};

use time::{Duration, OffsetDateTime};

use super::ending::{EndCause, Tombstone};
use super::key::{SessionHandle, SessionKey};
use super::record::{SessionRecord, Tokens};
use super::registry::milliseconds;
use super::store::{InvalidationListener, StoreError};
use super::{KnownSession, Sessions};
use crate::identity::Identity;

/// How long a process that died keeps the others from renewing a session.
const LEASE: Duration = Duration::seconds(4);
/// Between two prolongations of the lease: some of them may fail.
const PROLONG_AFTER: StdDuration = StdDuration::from_secs(1);
/// Between two looks at what another replica is doing.
const SHORTEST_PAUSE: StdDuration = StdDuration::from_millis(20);
const LONGEST_PAUSE: StdDuration = StdDuration::from_millis(200);
/// How long storing is tried again: the provider may have made the old refresh token worthless.
const STORE_FOR: StdDuration = StdDuration::from_secs(4);
const STORE_AGAIN_AFTER: StdDuration = StdDuration::from_millis(100);
/// How long no replica asks again for a session after an attempt that failed.
const REST: Duration = Duration::seconds(10);

/// What came of asking for a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn<T> {
    /// It was this caller's, and this is what came of the work.
    Had(T),
    /// There was nothing left to do: somebody else did it, or the session is over.
    NotNeeded,
    /// An attempt failed a moment ago, here or on another replica.
    Resting,
}

/// Who waits for a session's turn in this process.
#[derive(Debug, Default)]
pub(super) struct Queues(Mutex<HashMap<SessionHandle, Arc<tokio::sync::Mutex<()>>>>);

impl Queues {
    fn lock(&self) -> MutexGuard<'_, HashMap<SessionHandle, Arc<tokio::sync::Mutex<()>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, handle: SessionHandle) -> InQueue<'_> {
        let queue = self.lock().entry(handle).or_default().clone();
        InQueue { queues: self, handle, queue }
    }
}

/// A place in a queue, which goes with its last.
struct InQueue<'a> {
    queues: &'a Queues,
    handle: SessionHandle,
    queue: Arc<tokio::sync::Mutex<()>>,
}

impl Drop for InQueue<'_> {
    fn drop(&mut self) {
        let mut queues = self.queues.lock();
        // The map's own, and this one.
        if Arc::strong_count(&self.queue) <= 2 {
            queues.remove(&self.handle);
        }
    }
}

impl Sessions {
    /// Does `work` on a session while nobody else does, here or on another replica, if it `is_due` by the time it is this
    /// caller's turn. Waits at most `patience` for others. The work is brought to its end whoever stops waiting for it.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be asked, or if the others took longer than `patience`.
    pub async fn in_turn<T, Done>(
        &self,
        key: &SessionKey,
        patience: StdDuration,
        is_due: impl Fn(&SessionRecord) -> bool + Send + Sync + 'static,
        work: impl FnOnce(Renewing) -> Done + Send + 'static,
    ) -> Result<Turn<T>, StoreError>
    where
        T: Send + 'static,
        Done: Future<Output = T> + Send,
    {
        let (sessions, key) = (self.clone(), key.clone());
        let renewing = tokio::spawn(async move {
            let queued = sessions.0.queues.enter(key.handle());
            let waiting = tokio::time::timeout(patience, queued.queue.lock());
            let _turn = waiting.await.map_err(|_| StoreError::Busy)?;
            sessions.with_lease(&key, patience, is_due, work).await
        });
        renewing.await.unwrap_or(Err(StoreError::Silent))
    }

    /// Waits, at most so long, until no renewal is under way here.
    pub async fn finish_renewals(&self, patience: StdDuration) {
        let begun = Instant::now();
        while begun.elapsed() < patience && !self.0.queues.lock().is_empty() {
            tokio::time::sleep(SHORTEST_PAUSE).await;
        }
    }

    async fn with_lease<T, Done: Future<Output = T>>(
        &self,
        key: &SessionKey,
        patience: StdDuration,
        is_due: impl Fn(&SessionRecord) -> bool,
        work: impl FnOnce(Renewing) -> Done,
    ) -> Result<Turn<T>, StoreError> {
        let name = format!("renewal:{}", key.handle());
        let (asked, mut pause) = (Instant::now(), SHORTEST_PAUSE);
        let mut ours_until = loop {
            match self.known(key.handle()).await? {
                Some(known) if is_due(&known.record) => {}
                _ => return Ok(Turn::NotNeeded),
            }
            let begun = Instant::now();
            if self.claim_once(&name, LEASE).await? {
                break begun + LEASE.unsigned_abs();
            }
            if asked.elapsed() > patience {
                return Err(StoreError::Busy);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        };
        let had = tokio::select! {
            had = self.work_on(key, is_due, work) => had,
            never = self.prolong(&name, &mut ours_until) => match never {},
        };
        // Later it may be somebody else's.
        if Instant::now() < ours_until
            && let Err(error) = self.0.backend.release(&name).await
        {
            tracing::warn!(%error, "the turn to renew a session could not be given up; it ends by itself");
        }
        had
    }

    /// What this process knows of a session, else what the store does.
    async fn known(&self, handle: SessionHandle) -> Result<Option<Arc<KnownSession>>, StoreError> {
        match self.0.near.0.as_ref().and_then(|cache| cache.get(handle, Instant::now())) {
            Some(known) => Ok(Some(known)),
            None => self.load(handle).await,
        }
    }

    async fn work_on<T, Done: Future<Output = T>>(
        &self,
        key: &SessionKey,
        is_due: impl Fn(&SessionRecord) -> bool,
        work: impl FnOnce(Renewing) -> Done,
    ) -> Result<Turn<T>, StoreError> {
        // From the store: what was known here may be older than the turn of whoever had it last.
        let Some((record, tokens, _)) = self.0.sealed.load_whole(key).await? else { return Ok(Turn::NotNeeded) };
        if !is_due(&record) {
            self.0.near.invalidate(key.handle());
            return Ok(Turn::NotNeeded);
        }
        let begun_at = self.0.clock.now();
        if self.rests_until(key.handle()).await?.is_some_and(|until| begun_at < until) {
            return Ok(Turn::Resting);
        }
        let renewing = Renewing { sessions: self.clone(), key: key.clone(), record, tokens, begun_at };
        Ok(Turn::Had(work(renewing).await))
    }

    /// Keeps the lease for as long as it is ours.
    async fn prolong(&self, name: &str, ours_until: &mut Instant) -> Infallible {
        loop {
            tokio::time::sleep(PROLONG_AFTER).await;
            let begun = Instant::now();
            if begun >= *ours_until {
                // Slept too long: it may be somebody else's, who must not be given our time.
                return std::future::pending().await;
            }
            match self.0.backend.prolong(name, LEASE).await {
                Ok(true) => *ours_until = begun + LEASE.unsigned_abs(),
                Ok(false) => *ours_until = begun,
                Err(error) => tracing::warn!(%error, "the turn to renew a session could not be prolonged yet"),
            }
        }
    }

    async fn rests_until(&self, handle: SessionHandle) -> Result<Option<OffsetDateTime>, StoreError> {
        let Some(value) = self.0.backend.get(&rest(handle)).await? else { return Ok(None) };
        let milliseconds = std::str::from_utf8(&value).ok().and_then(|text| text.parse::<i128>().ok());
        Ok(milliseconds.and_then(|number| OffsetDateTime::from_unix_timestamp_nanos(number * 1_000_000).ok()))
    }
}

fn rest(handle: SessionHandle) -> String {
    format!("renewal-rest:{handle}")
}

/// A session whose turn it is: what the store has of it, and the right to change that.
#[derive(Debug)]
pub struct Renewing {
    sessions: Sessions,
    key: SessionKey,
    record: SessionRecord,
    tokens: Tokens,
    begun_at: OffsetDateTime,
}

impl Renewing {
    /// The session's public name.
    pub fn handle(&self) -> SessionHandle {
        self.key.handle()
    }

    /// What is remembered of the session.
    pub fn record(&self) -> &SessionRecord {
        &self.record
    }

    /// The provider's tokens.
    pub fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// Stores new tokens. Whether there was still a session to store them in.
    ///
    /// # Errors
    /// [`StoreError`] if the store did not take them, tried again and again.
    pub async fn keep_tokens(&mut self, tokens: Tokens) -> Result<bool, StoreError> {
        let record = SessionRecord { access_token_expires_at: tokens.access_token_expires_at, ..self.record.clone() };
        let tokens = Tokens { issued_at: tokens.issued_at.truncate_to_millisecond(), ..tokens };
        self.store(record, tokens).await
    }

    /// Stores what the provider says of the person now. Whether there was still a session to store it in: one that a
    /// revocation meant which came while this was under way is ended.
    ///
    /// # Errors
    /// [`StoreError`] if the store did not take it.
    pub async fn keep_identity(&mut self, identity: Identity) -> Result<bool, StoreError> {
        let (before, now) = (self.record.clone(), self.sessions.0.clock.now());
        // As it is stored: what was stored is compared with it.
        let record = SessionRecord { identity, renewed_at: now.truncate_to_millisecond(), ..before.clone() };
        if !self.store(record, self.tokens.clone()).await? {
            return Ok(false);
        }
        // "Everybody of the group finance": the revocation did not find whom this has just made one of them.
        let cut_offs = &self.sessions.0.cut_offs;
        if before.identity != self.record.identity
            && cut_offs.concerns_the_change(&before, &self.record, self.begun_at, now).await?
        {
            self.end(EndCause::Revoked).await?;
            return Ok(false);
        }
        Ok(true)
    }

    /// Ends the session; whether there was one until now.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be asked: it may live on.
    pub async fn end(&self, cause: EndCause) -> Result<bool, StoreError> {
        // Somebody else's reason stands.
        if self.sessions.0.sealed.load_whole(&self.key).await?.is_none() {
            self.sessions.0.near.invalidate(self.handle());
            return Ok(false);
        }
        let tombstone = Tombstone::of(cause, self.sessions.0.clock.now());
        let known =
            KnownSession { handle: self.handle(), record: self.record.clone(), last_seen: AtomicI64::default() };
        self.sessions.end_known(&known, Some(&tombstone)).await
    }

    /// Lets the others know that an attempt failed: for a moment nobody makes another.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be asked.
    pub async fn rest(&self) -> Result<(), StoreError> {
        let until = self.sessions.0.clock.now() + REST;
        let text = milliseconds(until).to_string();
        self.sessions.0.backend.put(&rest(self.handle()), text.as_bytes(), Some(until)).await
    }

    async fn store(&mut self, record: SessionRecord, tokens: Tokens) -> Result<bool, StoreError> {
        let begun = Instant::now();
        loop {
            match self.try_to_store(&record, &tokens).await {
                Err(error) if begun.elapsed() < STORE_FOR => {
                    tracing::warn!(session = %self.handle(), %error, "a renewed session could not be stored yet");
                    tokio::time::sleep(STORE_AGAIN_AFTER).await;
                }
                Ok(true) => {
                    (self.record, self.tokens) = (record, tokens);
                    return Ok(true);
                }
                other => return other,
            }
        }
    }

    async fn try_to_store(&self, record: &SessionRecord, tokens: &Tokens) -> Result<bool, StoreError> {
        let Sessions(inner) = &self.sessions;
        let stored = inner.sealed.load_whole(&self.key).await?;
        // Not if the lease was lost and somebody else has renewed it since: theirs is newer. What a try before this one
        // stored without our hearing of it is ours.
        let is_known = |stored: &(SessionRecord, Tokens, OffsetDateTime)| {
            let moments = (stored.0.renewed_at, stored.1.issued_at);
            [(&self.record, &self.tokens), (record, tokens)]
                .iter()
                .any(|(record, tokens)| moments == (record.renewed_at, tokens.issued_at))
        };
        let Some((_, _, expires)) = stored.filter(is_known) else { return Ok(false) };
        inner.policies.look().await?;
        let backstop =
            inner.policies.timeouts().limits_for(&record.identity.groups).backstop(record.created_at, record.ends_by);
        if backstop > expires {
            // Entry first, record second, as at the login: no record outlives its entries.
            inner.registry.insert(record, self.handle(), backstop).await?;
        }
        let saved = inner.sealed.save(&self.key, record, tokens, backstop.max(expires)).await;
        // Also if the store did not answer: it may have done it.
        inner.near.invalidate(self.handle());
        saved.map(|()| true)
    }
}
