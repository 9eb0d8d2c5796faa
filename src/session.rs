//! Sessions: establishing, checking, touching and ending them.
//!
//! [`Sessions`] is the one door: `login` establishes, `guard` checks, `logout` ends. Below it lie the key in
//! the cookie ([`key`]), what is remembered ([`record`]), when it is over ([`timeout`], [`touch`]), who has
//! which sessions ([`registry`]) and where it is all kept ([`store`]). Knows nothing of HTTP or of providers.

pub mod key;
pub mod record;
pub mod registry;
pub mod store;
pub mod timeout;
pub mod touch;

use std::sync::Arc;

use time::OffsetDateTime;

use crate::clock::SharedClock;
use crate::identity::Identity;
use crate::secret::keyring::Keyring;

use self::key::{SessionHandle, SessionKey};
use self::record::{ClientTraits, SessionRecord, Tokens};
use self::registry::{Index, Registry};
use self::store::sealed::{SealedStore, StoredSession};
use self::store::{SessionBackend, StoreError};
use self::timeout::{TimeoutPolicy, Verdict, judge};

/// What a login hands over to be remembered.
#[derive(Debug, Clone)]
pub struct NewSession {
    /// Who signed in.
    pub identity: Identity,
    /// When the person last proved who they are to the provider, if it said so.
    pub auth_time: Option<OffsetDateTime>,
    /// The provider's name for its own session (`sid`), if it said so.
    pub provider_session: Option<String>,
    /// The provider's tokens.
    pub tokens: Tokens,
    /// Where the login came from.
    pub client: ClientTraits,
}

/// What asking for a session found.
#[derive(Debug, Clone)]
pub enum Check {
    /// The session lives.
    Live(LiveSession),
    /// There is no such session: never issued, ended, or gone from the store.
    Absent,
    /// It was idle for too long; its record has been deleted.
    IdleExpired,
    /// It reached its absolute timeout; its record has been deleted.
    AbsoluteExpired,
}

/// A session that was live when it was checked.
#[derive(Debug, Clone)]
pub struct LiveSession {
    stored: Arc<StoredSession>,
    idle_timeout: time::Duration,
    idle_expires_at: OffsetDateTime,
    absolute_expires_at: OffsetDateTime,
}

impl LiveSession {
    /// The session's public name.
    pub fn handle(&self) -> SessionHandle {
        self.stored.handle()
    }

    /// What is remembered of the session.
    pub fn record(&self) -> &SessionRecord {
        self.stored.record()
    }

    /// When the session ends unless it is used.
    pub fn idle_expires_at(&self) -> OffsetDateTime {
        self.idle_expires_at
    }

    /// When the session ends however much it is used.
    pub fn absolute_expires_at(&self) -> OffsetDateTime {
        self.absolute_expires_at
    }
}

/// Every session of every replica that shares the store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Sessions(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    sealed: SealedStore,
    registry: Registry,
    backend: Arc<dyn SessionBackend>,
    policy: TimeoutPolicy,
    clock: SharedClock,
}

impl Sessions {
    /// Sessions in `backend`, sealed with `keyring`, judged by `policy`.
    pub fn new(backend: Arc<dyn SessionBackend>, keyring: &Keyring, policy: TimeoutPolicy, clock: SharedClock) -> Self {
        let sealed = SealedStore::new(backend.clone(), keyring.clone());
        let registry = Registry::new(backend.clone());
        Self(Arc::new(Inner { sealed, registry, backend, policy, clock }))
    }

    /// Remembers a login under a fresh key, which goes into the cookie and nowhere else.
    ///
    /// # Errors
    /// [`StoreError`] if the store did not take it: then there is no session.
    pub async fn establish(&self, new: NewSession) -> Result<SessionKey, StoreError> {
        let now = self.0.clock.now();
        let key = SessionKey::generate();
        let record = SessionRecord {
            identity: new.identity,
            provider_session: new.provider_session,
            created_at: now,
            auth_time: new.auth_time,
            last_seen_at: now,
            client: new.client,
        };
        let limits = self.0.policy.limits_for(&record.identity.groups);
        // Entry first, record second: an entry without a record is pruned in time, a record without an
        // entry could never be found again to be revoked.
        self.0.registry.insert(&record, key.handle(), now + limits.absolute, now).await?;
        self.0.sealed.create(&key, &record, &new.tokens, limits.backstop(&record)).await?;
        Ok(key)
    }

    /// Asks the store for the session of this key and judges it by the policy of the moment.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be asked, which says nothing about the session.
    pub async fn check(&self, key: &SessionKey) -> Result<Check, StoreError> {
        let Some(stored) = self.0.sealed.load(key.handle()).await? else { return Ok(Check::Absent) };
        let limits = self.0.policy.limits_for(&stored.record().identity.groups);
        let over = match judge(stored.record(), limits, self.0.clock.now()) {
            Verdict::Live { idle_expires_at, absolute_expires_at } => {
                return Ok(Check::Live(LiveSession {
                    stored: Arc::new(stored),
                    idle_timeout: limits.idle,
                    idle_expires_at,
                    absolute_expires_at,
                }));
            }
            Verdict::IdleExpired => Check::IdleExpired,
            Verdict::AbsoluteExpired => Check::AbsoluteExpired,
        };
        // Not needed for the answer (the record is judged again each time), so a failure may wait.
        if let Err(error) = self.remove(&stored).await {
            tracing::warn!(session = %stored.handle(), %error, "an expired session could not be deleted yet");
        }
        Ok(over)
    }

    /// Whether the session's last use is old enough to be noted again.
    pub fn touch_is_due(&self, session: &LiveSession) -> bool {
        touch::is_due(session.record().last_seen_at, session.idle_timeout, self.0.clock.now())
    }

    /// Notes that the session is in use. Never brings back a session that has ended meanwhile.
    ///
    /// # Errors
    /// [`StoreError`] if the store did not take it.
    pub async fn touch(&self, session: &LiveSession) -> Result<(), StoreError> {
        let touched = session.stored.touched(self.0.clock.now());
        let limits = self.0.policy.limits_for(&touched.record().identity.groups);
        self.0.sealed.update(&touched, limits.backstop(touched.record())).await
    }

    /// The provider's tokens of a session. Only the key from the cookie opens them.
    pub fn tokens(&self, key: &SessionKey, session: &LiveSession) -> Option<Tokens> {
        self.0.sealed.tokens(key, &session.stored)
    }

    /// Ends one session; whether there was one.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be asked: the session may live on.
    pub async fn end(&self, handle: SessionHandle) -> Result<bool, StoreError> {
        match self.0.sealed.load(handle).await? {
            Some(stored) => self.remove(&stored).await.map(|()| true),
            // Unreadable records are deleted as well.
            None => self.0.sealed.delete(handle).await.map(|()| false),
        }
    }

    /// Ends every session of a person; how many there were.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be asked: some may live on.
    pub async fn end_subject(&self, issuer: &str, subject: &str) -> Result<usize, StoreError> {
        self.end_indexed(&Index::subject(issuer, subject)).await
    }

    /// Ends every session that came from one session at the provider (`sid`); how many there were.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be asked: some may live on.
    pub async fn end_provider_session(&self, issuer: &str, sid: &str) -> Result<usize, StoreError> {
        self.end_indexed(&Index::provider_session(issuer, sid)).await
    }

    /// Takes a name that nobody may take again before `lifetime` is over; whether this call was the first.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be asked: treat the name as taken.
    pub async fn claim_once(&self, name: &str, lifetime: time::Duration) -> Result<bool, StoreError> {
        self.0.backend.claim_once(name, lifetime).await
    }

    /// Asks the store whether it is there.
    ///
    /// # Errors
    /// [`StoreError`] if it is not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.0.backend.ping().await
    }

    async fn end_indexed(&self, index: &Index) -> Result<usize, StoreError> {
        let mut ended = 0;
        for handle in self.0.registry.list(index, self.0.clock.now()).await? {
            ended += usize::from(self.end(handle).await?);
            self.0.registry.forget(index, handle).await?;
        }
        Ok(ended)
    }

    async fn remove(&self, stored: &StoredSession) -> Result<(), StoreError> {
        // Record first: it alone decides whether the session lives.
        self.0.sealed.delete(stored.handle()).await?;
        self.0.registry.remove(stored.record(), stored.handle()).await
    }
}
