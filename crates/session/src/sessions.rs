//! The life of sessions: what a login begins, a renewal changes and a logout ends.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration as StdDuration;

use counterfoil_core::clock::SharedClock;
use counterfoil_core::secret::keyring::Keyring;
use tokio::sync::{Notify, Semaphore};

use super::administration::SessionAdministration;
use super::blocks::of_persons::Blocks;
use super::checkpoint::Checkpoints;
use super::cut_off::CutOffs;
use super::cut_off::log::LogCopy;
use super::inner::{Inner, MOST_ENDINGS, Near};
use super::key::{CookieTags, SessionHandle, SessionKey};
use super::key_check::Keyed;
use super::lease::Lease;
use super::listing::Scans;
use super::live::KnownSession;
use super::maintenance::Maintenance;
use super::policy::{Policies, SessionRules};
use super::reader::SessionReader;
use super::record::Tokens;
use super::refresh_lock::LocalLocks;
use super::registry::Registry;
use super::search::Searches;
use super::store::near_cache::NearCache;
use super::store::sealed::{Found, SealedStore};
use super::store::{Listeners, SessionBackend, StoreError};

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
pub struct Sessions(pub(crate) Arc<Inner>);

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
        let copy = Arc::new(LogCopy::default());
        let near = Arc::new(Near {
            cache,
            cut_off_log: copy.clone(),
            cleared: Notify::new(),
            listeners: Listeners::default(),
            is_subscribed: AtomicBool::new(false),
        });
        let store = Keyed::new(backend, keyring);
        if entries > 0 {
            near.subscribe_to(&store);
        }
        Self(Arc::new(Inner {
            tags: CookieTags::new(keyring),
            sealed: SealedStore::new(store.clone(), keyring.clone()),
            near,
            registry: Registry::new(store.clone()),
            cut_offs: CutOffs::new(store.clone(), keyring, copy),
            blocks: Blocks::new(store.clone(), keyring),
            tombstones: keyring.sealer("counterfoil tombstone v1", &[]),
            policies: Policies::new(store.clone(), keyring, rules, clock.clone()),
            checkpoints: Checkpoints::new(store.clone(), keyring),
            queues: LocalLocks::default(),
            searches: Searches::default(),
            scans: Scans::default(),
            endings: Arc::new(Semaphore::new(MOST_ENDINGS)),
            store,
            clock,
        }))
    }

    /// Lets this process look without registering its timeouts: for whoever lists sessions and ends those that somebody names,
    /// and neither begins, renews nor checks any. The store keeps records for the timeouts of others alone.
    #[must_use]
    pub fn as_observer(self) -> Self {
        self.0.policies.observe();
        self
    }

    /// Returns the view of whoever checks sessions and ends none.
    pub fn reader(&self) -> SessionReader {
        SessionReader(self.0.clone())
    }

    /// Returns the view of whoever lists sessions and ends other people's.
    pub fn administration(&self) -> SessionAdministration {
        SessionAdministration(self.0.clone())
    }

    /// Returns the view of whoever keeps the store in order.
    pub fn maintenance(&self) -> Maintenance {
        Maintenance(self.0.clone())
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
            Found::Session(opened) => self.0.end_known(&KnownSession::new(handle, *opened), None).await,
            // Unreadable records are deleted as well.
            Found::Nothing(_) | Found::Ended | Found::Unreadable => {
                self.0.tear_up(handle, None, self.0.clock.now()).await.map(|_| false)
            }
        }
    }

    /// Acquires the lease called `name` for `ttl`, so that something is done once; `None` if somebody holds it. It is not
    /// renewed.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be asked: treat the lease as held.
    pub async fn try_lease(&self, name: &str, ttl: time::Duration) -> Result<Option<Lease>, StoreError> {
        Lease::try_acquire(self.0.store.clone(), name, ttl).await
    }
}
