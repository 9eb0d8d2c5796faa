//! The rules in force: how long sessions live, how many a person may have, what binds them to a browser.
//!
//! The configuration says what applies; timeouts stored by an operator (`PUT /sso/api/v1/timeouts`) go before it, on
//! every replica, until they are withdrawn. Each replica reads them every 200 ms, one read at a time (single-flight), so a
//! change reaches live sessions within a second; a store that cannot be asked changes nothing. Integrity: what is stored is sealed, so
//! whoever can write to Redis cannot lengthen sessions.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use arc_swap::ArcSwap;
use counterfoil_core::clock::SharedClock;
use counterfoil_core::secret::keyring::{Keyring, Sealer};
use thiserror::Error;
use time::OffsetDateTime;

use super::maintenance::registered::RegisteredPolicies;
use super::maintenance::retention::Retention;
use super::store::{KeyValue, StoreError};
use super::timeout::{LONGEST, TimeoutPolicy};

/// The name of the stored timeouts.
const STORED: &str = "timeouts";

/// An operator's decisions about sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRules {
    /// The limits on their lives.
    pub timeouts: TimeoutPolicy,
    /// The most of them that a person may have at a time.
    pub max_per_user: Option<NonZeroUsize>,
    /// The treatment of one too many.
    pub on_limit: OnLimit,
    /// The traits that a request must have in common with the login.
    pub bind: Binding,
}

/// The treatment of a login of somebody who has as many sessions as they may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnLimit {
    /// The oldest session ends, and is told why.
    #[default]
    EndOldest,
    /// The login is refused until the person ends another session.
    Refuse,
}

/// The tie of a session to the browser of its login, beyond the cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Binding {
    /// Nothing.
    #[default]
    None,
    /// The `User-Agent`, but for the digits in it.
    UserAgent,
}

/// The origin of the timeouts in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicySource {
    /// The configuration of this replica.
    Configuration,
    /// The store, for every replica.
    Stored,
}

/// The timeouts stored by an operator cannot be read: sealed under a key that is gone, or damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "the stored timeouts cannot be read; those that were in force go on, which are the configuration's if none were read before"
)]
struct Unreadable;

/// The rules in force in this process.
#[derive(Debug)]
pub(super) struct Policies {
    /// The policies that records are kept for: those of every replica.
    pub(super) registered: RegisteredPolicies,
    values: Arc<dyn KeyValue>,
    sealer: Sealer,
    configured: ArcSwap<SessionRules>,
    in_force: ArcSwap<TimeoutPolicy>,
    stored: Mutex<Stored>,
    changes: AtomicU64,
    has_looked: AtomicBool,
    /// Set if this process registers no timeouts.
    is_observer: AtomicBool,
    /// The looks begun so far.
    looks: AtomicU64,
    /// Single-flight: one look at a time, and the outcome of the last one.
    last_look: tokio::sync::Mutex<LastLook>,
}

/// The number of the last look that came to its end, and its failure.
#[derive(Debug, Default)]
struct LastLook {
    number: u64,
    failure: Option<StoreError>,
}

/// The timeouts that were stored when the store was last looked at, and the policy that could be read of them.
type Stored = Option<(Vec<u8>, Option<TimeoutPolicy>)>;

impl Policies {
    pub(super) fn new(values: Arc<dyn KeyValue>, keyring: &Keyring, rules: SessionRules, clock: SharedClock) -> Self {
        let sealer = keyring.sealer("counterfoil timeouts v1", &[]);
        let in_force = ArcSwap::from_pointee(rules.timeouts.clone());
        Self {
            registered: RegisteredPolicies::new(values.clone(), keyring, clock),
            values,
            sealer,
            configured: ArcSwap::from_pointee(rules),
            in_force,
            stored: Mutex::default(),
            changes: AtomicU64::new(0),
            has_looked: AtomicBool::new(false),
            is_observer: AtomicBool::new(false),
            looks: AtomicU64::new(0),
            last_look: tokio::sync::Mutex::default(),
        }
    }

    /// The timeouts that apply.
    pub(super) fn timeouts(&self) -> arc_swap::Guard<Arc<TimeoutPolicy>> {
        self.in_force.load()
    }

    /// The longest timeouts that any session may have by the rules of any replica, as far as they are known here.
    pub(super) fn retention(&self) -> Retention {
        self.registered.longest(Retention::of(&self.timeouts()))
    }

    /// The same as every replica knows them that was heard of, for records that are written now.
    pub(super) async fn current_retention(&self) -> Result<Retention, StoreError> {
        if !self.registered.is_fresh() {
            self.look_unless(|| self.registered.is_fresh()).await?;
        }
        Ok(self.retention())
    }

    /// Returns the moment before which a session was established that no replica lets live. If a registered policy cannot
    /// be read here, it may be the longest that there can be.
    pub(super) fn oldest(&self, now: OffsetDateTime) -> OffsetDateTime {
        if self.registered.are_all_readable() { self.retention().oldest(now) } else { now - LONGEST }
    }

    /// Returns the configured rules. The timeouts among them need not be those that apply.
    pub(super) fn configured(&self) -> arc_swap::Guard<Arc<SessionRules>> {
        self.configured.load()
    }

    pub(super) fn source(&self) -> PolicySource {
        match &*self.stored() {
            Some((_, Some(_))) => PolicySource::Stored,
            _ => PolicySource::Configuration,
        }
    }

    /// Takes over another configuration.
    pub(super) fn configure(&self, rules: SessionRules) {
        let stored = self.stored();
        self.configured.store(Arc::new(rules));
        match &*stored {
            Some((_, Some(_))) => {
                tracing::warn!("stored timeouts go before those of the configuration until they are withdrawn");
            }
            _ => self.in_force.store(Arc::new(self.configured.load().timeouts.clone())),
        }
    }

    /// Stores timeouts for every replica, or withdraws them; they apply here at once.
    pub(super) async fn store(&self, policy: Option<&TimeoutPolicy>) -> Result<(), StoreError> {
        let configured = self.configured.load().timeouts.clone();
        self.registered.register(policy.unwrap_or(&configured)).await?;
        let sealed = policy.map(|policy| self.seal(policy));
        match &sealed {
            Some(sealed) => self.values.put(STORED, sealed, None).await?,
            None => self.values.remove(STORED).await?,
        }
        // A look that is under way may have read what was there before.
        let mut stored = self.stored();
        self.changes.fetch_add(1, Ordering::AcqRel);
        self.apply(&mut stored, sealed.map(|sealed| (sealed, policy.cloned())));
        Ok(())
    }

    /// Registers no timeouts from now on.
    pub(super) fn observe(&self) {
        self.is_observer.store(true, Ordering::Release);
    }

    /// Looks for stored timeouts before anything is judged for the first time: they may be longer than those
    /// configured, and a session that is ended by mistake is ended for good.
    pub(super) async fn ensure_loaded(&self) -> Result<(), StoreError> {
        let has_looked = || self.has_looked.load(Ordering::Acquire);
        if has_looked() { Ok(()) } else { self.look_unless(has_looked).await }
    }

    /// Looks for stored timeouts and for the policies of other replicas. Timeouts are registered before they apply, but
    /// for those of an observer.
    pub(super) async fn look(&self) -> Result<(), StoreError> {
        self.look_unless(|| false).await
    }

    /// Looks, unless somebody has done it who began after this was called, or `is_enough` is true when they have ended.
    async fn look_unless(&self, is_enough: impl Fn() -> bool) -> Result<(), StoreError> {
        let begun = self.looks.load(Ordering::Acquire);
        let mut last = self.last_look.lock().await;
        if is_enough() {
            return Ok(());
        }
        if last.number > begun {
            return last.failure.as_ref().map_or(Ok(()), |failure| Err(failure.for_another()));
        }
        let number = self.looks.fetch_add(1, Ordering::AcqRel) + 1;
        let looked = self.look_now().await;
        *last = LastLook { number, failure: looked.as_ref().err().map(StoreError::for_another) };
        looked
    }

    async fn look_now(&self) -> Result<(), StoreError> {
        let changes = self.changes.load(Ordering::Acquire);
        let (found, ()) = tokio::try_join!(self.values.get(STORED), self.registered.read())?;
        let found = found.map(|text| {
            let policy = self.read_policy(&text);
            (text, policy)
        });
        let in_force = self.choice(&found);
        if !self.is_observer.load(Ordering::Acquire)
            && let Err(error) = self.registered.register(&in_force).await
        {
            // A store that takes no writes can still be read from.
            if !self.registered.cover(Retention::of(&in_force)) {
                return Err(error);
            }
            tracing::debug!(%error, "the timeouts could not be registered yet; those of others last as long");
        }
        let mut stored = self.stored();
        if self.changes.load(Ordering::Acquire) == changes {
            self.apply(&mut stored, found);
        }
        Ok(())
    }

    /// Opens stored timeouts. A policy that could not be opened may be opened later, when its key has become known.
    fn read_policy(&self, text: &[u8]) -> Option<TimeoutPolicy> {
        let (is_known, policy) = match &*self.stored() {
            Some((known, policy)) if known == text => (true, policy.clone()),
            _ => (false, None),
        };
        policy.or_else(|| match self.open(text) {
            Ok(policy) => Some(policy),
            Err(error) => {
                if !is_known {
                    tracing::error!(%error, "timeouts");
                }
                None
            }
        })
    }

    /// Returns the timeouts that apply if these are stored. If they cannot be read, those that were in force stay: nobody loosens
    /// them by damaging what is stored.
    fn choice(&self, stored: &Stored) -> TimeoutPolicy {
        match stored {
            Some((_, Some(policy))) => policy.clone(),
            Some((_, None)) => TimeoutPolicy::clone(&self.in_force.load()),
            None => self.configured.load().timeouts.clone(),
        }
    }

    fn apply(&self, stored: &mut Stored, found: Stored) {
        let in_force = self.choice(&found);
        *stored = found;
        self.has_looked.store(true, Ordering::Release);
        if **self.in_force.load() != in_force {
            tracing::info!(are_stored = stored.is_some(), "other timeouts apply from now on");
            self.in_force.store(Arc::new(in_force));
        }
    }

    /// Seals stored timeouts again, under the sealing key, if they were sealed under another.
    pub(super) async fn seal_again(&self) -> Result<(), StoreError> {
        let Some(sealed) = self.values.get(STORED).await? else { return Ok(()) };
        if self.sealer.is_under_sealing_key(STORED.as_bytes(), &sealed) {
            return Ok(());
        }
        let Ok(policy) = self.open(&sealed) else { return Ok(()) };
        // Somebody may have stored others meanwhile.
        if self.values.get(STORED).await?.as_deref() != Some(sealed.as_slice()) {
            return Ok(());
        }
        self.values.put(STORED, &self.seal(&policy), None).await
    }

    fn stored(&self) -> MutexGuard<'_, Stored> {
        counterfoil_core::lock(&self.stored)
    }

    fn seal(&self, policy: &TimeoutPolicy) -> Vec<u8> {
        self.sealer.seal_json(STORED.as_bytes(), policy)
    }

    fn open(&self, sealed: &[u8]) -> Result<TimeoutPolicy, Unreadable> {
        self.sealer.open_json(STORED.as_bytes(), sealed).map_err(|_| Unreadable)
    }
}
