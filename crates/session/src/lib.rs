//! Sessions: establishing, checking, touching and ending them.
//!
//! [`Sessions`] is the one door: `login` establishes, `guard` checks, `logout` and `api` end. What it does with
//! sessions:
//! - [`establish`]: a login becomes a session, unless a [`cut_off`] forbids it;
//! - [`Sessions::check`]: from the near cache, else from the store, judged by the time ([`timeout`]) and the
//!   rules in force ([`policy`]);
//! - [`touch`]: noting that it is in use; [`renewal`]: changing it, one at a time ([`refresh_lock`]);
//! - [`listing`], [`revocation`] and [`maintenance`]: what there is (by the [`registry`]), ending it ([`selection`],
//!   [`ending`]), [`blocks`] of persons, and keeping the books; [`replay`]: what a provider told once.
//!
//! Below it lie the key in the cookie ([`key`]), what is remembered ([`record`]), and where it is all kept
//! ([`store`]), which is used only while it is ours ([`key_check`]). Knows nothing of HTTP or of providers.

pub mod audit;
pub mod blocks;
pub mod cut_off;
pub mod ending;
pub mod establish;
pub mod hashed_name;
pub mod key;
pub mod key_check;
pub mod listing;
pub mod maintenance;
pub mod policy;
pub mod record;
pub mod refresh_lock;
pub mod registry;
pub mod renewal;
pub mod replay;
pub mod revocation;
pub mod selection;
pub mod store;
pub mod timeout;
pub mod touch;

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration as StdDuration, Instant};

use time::OffsetDateTime;
use tokio::sync::{Notify, Semaphore};

use counterfoil_core::clock::SharedClock;
use counterfoil_core::secret::keyring::{Keyring, Sealer};

use self::blocks::of_persons::Blocks;
use self::cut_off::CutOffs;
use self::ending::{EndCause, Tombstone};
use self::key::{SessionHandle, SessionKey};
use self::key_check::Keyed;
use self::policy::{Binding, Policies, SessionRules};
use self::record::{SessionRecord, Tokens};
use self::refresh_lock::LocalLocks;
use self::registry::{Registry, milliseconds};
use self::store::near_cache::NearCache;
use self::store::sealed::{Found, Opened, SealedStore};
use self::store::{InvalidationListener, SessionBackend, StoreError};
use self::timeout::{SessionTimes, Verdict, judge};

/// The result of asking for a session.
#[derive(Debug, Clone)]
pub enum Check {
    /// The session lives.
    Live(LiveSession),
    /// There is no such session: never issued, or gone from the store without a word.
    Absent,
    /// It ended, and this is how.
    Ended(Tombstone),
}

/// A session that was live when it was checked. Cheap to clone.
#[derive(Debug, Clone)]
pub struct LiveSession {
    known: Arc<KnownSession>,
    checked_at: OffsetDateTime,
    idle_timeout: time::Duration,
    idle_expires_at: OffsetDateTime,
    absolute_expires_at: OffsetDateTime,
}

/// A session as this process knows it; what the near cache holds. No tokens.
#[derive(Debug)]
struct KnownSession {
    handle: SessionHandle,
    record: SessionRecord,
    /// Milliseconds since 1970; moves on as this process sees it used.
    last_seen: AtomicI64,
}

impl KnownSession {
    fn new(handle: SessionHandle, opened: Opened) -> Self {
        let last_seen = AtomicI64::new(milliseconds(opened.last_seen_at));
        Self { handle, record: opened.record, last_seen }
    }

    fn last_seen_at(&self) -> OffsetDateTime {
        let milliseconds = i128::from(self.last_seen.load(Ordering::Relaxed));
        OffsetDateTime::from_unix_timestamp_nanos(milliseconds * 1_000_000).unwrap_or(self.record.created_at)
    }

    fn moments(&self) -> SessionTimes {
        let SessionRecord { created_at, ends_by, .. } = self.record;
        SessionTimes { created_at, last_seen_at: self.last_seen_at(), ends_by }
    }
}

impl LiveSession {
    /// The session's public name.
    pub fn handle(&self) -> SessionHandle {
        self.known.handle
    }

    /// Returns what is remembered of the session.
    pub fn record(&self) -> &SessionRecord {
        &self.known.record
    }

    /// Returns the moment it was checked.
    pub fn checked_at(&self) -> OffsetDateTime {
        self.checked_at
    }

    /// Returns the moment the session was last noted to be in use.
    pub fn last_seen_at(&self) -> OffsetDateTime {
        self.known.last_seen_at()
    }

    /// Returns the moment the session ends unless it is used.
    pub fn idle_expires_at(&self) -> OffsetDateTime {
        self.idle_expires_at
    }

    /// Returns the moment the session ends however much it is used.
    pub fn absolute_expires_at(&self) -> OffsetDateTime {
        self.absolute_expires_at
    }
}

/// The limits on what is kept of the store in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NearCacheSettings {
    /// Most sessions kept; 0 asks the store each time.
    pub entries: usize,
    /// Longest time anything is kept, although changes are told.
    pub max_age: StdDuration,
}

/// Every session of every replica that shares the store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Sessions(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    sealed: SealedStore,
    near: Arc<Near>,
    registry: Registry,
    cut_offs: CutOffs,
    blocks: Blocks,
    tombstones: Sealer,
    backend: Arc<dyn SessionBackend>,
    /// The same, by what it says of itself.
    keyed: Arc<Keyed>,
    policies: Policies,
    queues: LocalLocks,
    /// The turn to look at every session: one search at a time has it.
    searches: Semaphore,
    clock: SharedClock,
}

/// The near cache, if there is one; it hears of changes from the store.
#[derive(Debug)]
struct Near {
    cache: Option<NearCache<KnownSession>>,
    /// Notified when the store may have been emptied.
    cleared: Notify,
}

impl InvalidationListener for Near {
    fn invalidate(&self, handle: SessionHandle) {
        if let Some(cache) = &self.cache {
            cache.invalidate(handle);
        }
    }

    fn invalidate_all(&self) {
        if let Some(cache) = &self.cache {
            cache.clear();
        }
        self.cleared.notify_one();
    }
}

impl Sessions {
    /// Sessions in `backend`, sealed with `keyring`, under these rules.
    pub fn new(
        backend: Arc<dyn SessionBackend>,
        keyring: &Keyring,
        rules: SessionRules,
        near_cache: NearCacheSettings,
        clock: SharedClock,
    ) -> Self {
        let NearCacheSettings { entries, max_age } = near_cache;
        let cache = (entries > 0).then(|| NearCache::new(entries, max_age));
        let near = Arc::new(Near { cache, cleared: Notify::new() });
        let keyed = Keyed::new(backend, keyring);
        let backend: Arc<dyn SessionBackend> = keyed.clone();
        if entries > 0 {
            let listener: Weak<Near> = Arc::downgrade(&near);
            backend.subscribe(listener);
        }
        Self(Arc::new(Inner {
            sealed: SealedStore::new(backend.clone(), keyring.clone()),
            near,
            registry: Registry::new(backend.clone()),
            cut_offs: CutOffs::new(backend.clone(), keyring),
            blocks: Blocks::new(backend.clone(), keyring),
            tombstones: keyring.sealer("counterfoil tombstone v1", &[]),
            policies: Policies::new(backend.clone(), keyring, rules),
            queues: LocalLocks::default(),
            searches: Semaphore::new(1),
            backend,
            keyed,
            clock,
        }))
    }

    /// Asks for the session of this key and judges it by the rules of the moment.
    ///
    /// # Errors
    /// [`StoreError`] if the store has to be asked and cannot, which says nothing about the session.
    pub async fn check(&self, key: &SessionKey) -> Result<Check, StoreError> {
        let handle = key.handle();
        if let Some(live) = self.check_nearby(handle) {
            return Ok(Check::Live(live));
        }
        let Some(known) = self.load(handle).await? else {
            let tombstone = self.tombstone(handle).await?;
            return Ok(tombstone.map_or(Check::Absent, Check::Ended));
        };
        let now = self.0.clock.now();
        let over = match self.live(known, now) {
            Ok(live) => return Ok(Check::Live(live)),
            Err(over) => over,
        };
        let tombstone = Tombstone::of(over.cause, now);
        // The answer does not need this (the record is judged again each time), so a failure may wait.
        let (record, until) = (&over.known.record, self.cookie_dies_at(over.known.record.created_at));
        let removed = match self.tear_up(handle, Some(&tombstone), until).await {
            Ok(_) => self.0.registry.remove(record, handle).await,
            Err(error) => Err(error),
        };
        if let Err(error) = removed {
            tracing::warn!(session = %handle, %error, "an expired session could not be deleted yet");
        }
        Ok(Check::Ended(tombstone))
    }

    /// The near cache's word, if it says that the session lives. That it does not, only the store may say: another
    /// replica may have noted a use.
    pub fn check_nearby(&self, handle: SessionHandle) -> Option<LiveSession> {
        // Nothing counts that was read before from a store that is not ours any more.
        let cache = self.0.near.cache.as_ref().filter(|_| self.0.keyed.is_ours())?;
        let known = cache.get(handle, Instant::now())?;
        self.live(known, self.0.clock.now()).ok()
    }

    /// Loads what the store knows of a session; from now on this process knows it too.
    async fn load(&self, handle: SessionHandle) -> Result<Option<Arc<KnownSession>>, StoreError> {
        self.0.policies.ensure_loaded().await?;
        let token = self.0.near.cache.as_ref().map(|cache| cache.begin_load(handle));
        let Found::Session(opened) = self.0.sealed.load(handle).await? else { return Ok(None) };
        let (expires, watch) = (opened.expires, opened.watch.clone());
        let known = Arc::new(KnownSession::new(handle, *opened));
        if let (Some(cache), Some(token), Some(watch)) = (&self.0.near.cache, token, watch) {
            cache.fill(token, known.clone(), watch, expires, Instant::now());
        }
        Ok(Some(known))
    }

    fn live(&self, known: Arc<KnownSession>, now: OffsetDateTime) -> Result<LiveSession, Over> {
        let limits = self.0.policies.timeouts().limits_for(&known.record.identity.groups);
        match judge(known.moments(), limits, now) {
            Verdict::Live { idle_expires_at, absolute_expires_at } => Ok(LiveSession {
                known,
                checked_at: now,
                idle_timeout: limits.idle,
                idle_expires_at,
                absolute_expires_at,
            }),
            Verdict::IdleExpired => Err(Over { known, cause: EndCause::Idle }),
            Verdict::AbsoluteExpired => Err(Over { known, cause: EndCause::Absolute }),
        }
    }

    /// The provider's tokens of a session, from the store. Only the key from the cookie opens them.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be asked.
    pub async fn tokens(&self, key: &SessionKey) -> Result<Option<Tokens>, StoreError> {
        self.0.sealed.tokens(key).await
    }

    /// Ends one session without a word about it, as its owner does by signing out; whether there was one.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be asked: the session may live on.
    pub async fn end(&self, handle: SessionHandle) -> Result<bool, StoreError> {
        match self.0.sealed.load(handle).await? {
            Found::Session(opened) => {
                let ended = self.tear_up(handle, None, self.0.clock.now()).await?;
                self.forget(&opened.record, handle).await;
                Ok(ended)
            }
            // Unreadable records are deleted as well.
            Found::Nothing | Found::Outweighed | Found::Unreadable => {
                self.tear_up(handle, None, self.0.clock.now()).await.map(|_| false)
            }
        }
    }

    /// Returns how a session ended, if it left a tombstone.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be asked.
    pub async fn tombstone(&self, handle: SessionHandle) -> Result<Option<Tombstone>, StoreError> {
        let Some(sealed) = self.0.backend.tombstone(handle).await? else { return Ok(None) };
        Ok(self.0.tombstones.open_json(handle.to_string().as_bytes(), &sealed).ok())
    }

    fn seal_tombstone(&self, handle: SessionHandle, tombstone: &Tombstone) -> Vec<u8> {
        self.0.tombstones.seal_json(handle.to_string().as_bytes(), tombstone)
    }

    /// No session of that age can live longer, whatever group it is of.
    fn cookie_dies_at(&self, created_at: OffsetDateTime) -> OffsetDateTime {
        // An hour is the least: a session that ended by its age should still be able to say so.
        let now = self.0.clock.now();
        (created_at + self.0.policies.timeouts().longest_absolute()).max(now + time::Duration::HOUR)
    }

    /// Returns what binds sessions to the browser of their login.
    pub fn binding(&self) -> Binding {
        self.0.policies.rules().bind
    }

    /// The rules in force.
    pub fn rules(&self) -> Arc<SessionRules> {
        self.0.policies.rules().clone()
    }

    /// Takes a name that nobody may take again before `lifetime` is over; whether this call was the first.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be asked: treat the name as taken.
    pub async fn put_if_absent(&self, name: &str, lifetime: time::Duration) -> Result<bool, StoreError> {
        self.0.backend.put_if_absent(name, lifetime).await
    }

    /// Gives a name back that [`Self::put_if_absent`] took.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be asked: the name may stay taken.
    pub async fn release_claim(&self, name: &str) -> Result<(), StoreError> {
        self.0.backend.release_lease(name).await
    }

    /// Asks the store whether it is there.
    ///
    /// # Errors
    /// [`StoreError`] if it is not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.0.backend.ping().await
    }
}

/// A session that the rules say is over, although its record is still there.
#[derive(Debug)]
struct Over {
    known: Arc<KnownSession>,
    cause: EndCause,
}
