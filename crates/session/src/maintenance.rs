//! Background maintenance: following the timeouts that are stored, keeping records for as long as the timeouts of any
//! replica let them live, and pruning what none lets live.
//!
//! It runs in each replica ([`Maintenance::spawn`]): one task looks for stored timeouts and registers this replica's own
//! ([`registered`]), one looks whose store it is, one goes on with revocations of many that another replica left half carried
//! out, and one does what needs doing once, if it has the lease ([`leader`]): records are extended when a longer policy was
//! registered ([`extending`], by [`retention`]), and entries without a record are taken out of the lists ([`pruning`]). A step
//! that fails keeps no other back.

mod extending;
mod leader;
mod pruning;
pub(crate) mod registered;
pub(crate) mod retention;

use std::sync::{Arc, Weak};
use std::time::Duration as StdDuration;

use counterfoil_core::log_on_change::LogOnChange;
use counterfoil_core::secret::keyring::Keyring;
use time::Duration;

use super::administration::SessionAdministration;
use super::inner::Inner;
use super::key_check::StoreOwner;
use super::lease::Lease;
use super::policy::SessionRules;
use super::store::{InvalidationFeed, RecordStore, StoreError};

/// Interval between two looks at the stored timeouts and the registered policies: well below the second in which a change has
/// to be everywhere, and the half second for which policies that were read count ([`registered::HEARD_WITHIN`]).
const LOOK: StdDuration = StdDuration::from_millis(200);
/// Interval between two looks at whose store it is.
const KEY_CHECK: StdDuration = StdDuration::from_mins(1);
/// The same, while the store could not be asked.
const KEY_RETRY: StdDuration = StdDuration::from_secs(1);
/// Interval between two rounds of everything else, and between two looks for revocations to go on with.
const ROUND: StdDuration = StdDuration::from_secs(5);
/// Interval between two rounds of what is neither extending nor pruning.
const TIDYING: Duration = Duration::seconds(50);

/// Keeps the store in order: whose it is, how long its records last, what no timeout lets live. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Maintenance(pub(crate) Arc<Inner>);

impl Maintenance {
    /// Maintains the store in the background for as long as somebody holds these sessions.
    pub fn spawn(&self) {
        tokio::spawn(look_for_stored_timeouts(Arc::downgrade(&self.0)));
        tokio::spawn(maintenance_loop(Arc::downgrade(&self.0)));
        tokio::spawn(resume_walks(Arc::downgrade(&self.0)));
        tokio::spawn(look_whose_store_it_is(Arc::downgrade(&self.0)));
    }

    /// Makes sure that the store is ours, and begins it if it is nobody's. Until that has succeeded once, every other
    /// question does it first; from when it fails for [`StoreError::Foreign`] none is asked any more.
    ///
    /// # Errors
    /// [`StoreError::Foreign`] if the store is not ours, another if it cannot be asked.
    pub async fn claim_store(&self) -> Result<(), StoreError> {
        self.0.store.look_or_begin().await
    }

    /// Does what [`Self::claim_store`] does unless the answer is known.
    ///
    /// # Errors
    /// Those of [`Self::claim_store`].
    pub async fn ensure_store_is_ours(&self) -> Result<(), StoreError> {
        self.0.store.ours().await.map(drop)
    }

    /// Makes sure that the orders that mean many are known: without them no session can be judged.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be asked for them, or somebody damaged them.
    pub async fn ensure_orders_are_known(&self) -> Result<(), StoreError> {
        self.0.orders().await.map(drop)
    }

    /// Does what [`Self::claim_store`] does, and lets the store know if another of our keys seals by now: once a minute.
    ///
    /// # Errors
    /// Those of [`Self::claim_store`].
    pub async fn renew_store_claim(&self) -> Result<(), StoreError> {
        self.0.store.seal_again().await
    }

    /// Returns whose store it is, without beginning it.
    ///
    /// # Errors
    /// Those of [`Self::claim_store`].
    pub async fn store_owner(&self) -> Result<StoreOwner, StoreError> {
        self.0.store.look().await
    }

    /// Makes sure that the store would be ours with other keys as well.
    ///
    /// # Errors
    /// Those of [`Self::claim_store`].
    pub async fn would_be_ours_with(&self, keyring: &Keyring) -> Result<(), StoreError> {
        self.0.store.fits(keyring).await
    }

    /// Takes over other rules. Timeouts stored by an operator go before them.
    pub fn configure(&self, rules: SessionRules) {
        self.0.policies.configure(rules);
    }

    /// Does what is due of the maintenance, unless another replica is at it: extends records if a longer policy was
    /// registered, prunes, seals again what older keys sealed. Returns whether there is nothing left to do.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be asked: the rest is done by the next round.
    pub async fn round(&self) -> Result<bool, StoreError> {
        self.0.policies.look().await?;
        let Some(lead) = leader::lead(self.0.store.clone()).await? else { return Ok(false) };
        let done = self.lead(&lead).await;
        lead.release().await;
        done
    }

    async fn lead(&self, lead: &Lease) -> Result<bool, StoreError> {
        let extended = match self.0.policies.registered.due() {
            Some(due) => self.extend(lead, &due).await,
            None => Ok(true),
        };
        if matches!(extended, Ok(false)) {
            return Ok(false);
        }
        let tidied = self.tidy_if_due().await;
        let pruned = self.prune_if_due(lead).await;
        extended.and(tidied).and(pruned)
    }

    async fn tidy_if_due(&self) -> Result<(), StoreError> {
        // Never released: its TTL is the interval.
        match Lease::try_acquire(self.0.store.clone(), "tidying", TIDYING).await? {
            Some(_) => self.tidy().await,
            None => Ok(()),
        }
    }

    /// Asks the store whether it is there.
    ///
    /// # Errors
    /// [`StoreError`] if it is not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.0.store.ping().await
    }

    /// Ends what is older than any timeout allows, and takes what has no record out of the lists, all at once.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be asked: the rest goes next time.
    pub async fn prune(&self) -> Result<(), StoreError> {
        let mut at = None;
        while let Some(next) = self.prune_batch(at).await? {
            at = Some(next);
        }
        self.forget_overdue_hours().await?;
        self.tidy().await
    }

    async fn tidy(&self) -> Result<(), StoreError> {
        let log = self.0.cut_offs.log.keep_up(self.0.clock.now(), self.0.policies.retention().absolute).await;
        let blocks = self.0.blocks.keep_up(self.0.clock.now()).await;
        let registered = self.0.policies.registered.forget_unnamed().await;
        let stored = self.0.policies.seal_again().await;
        log.and(blocks).and(registered).and(stored)
    }
}

async fn look_for_stored_timeouts(inner: Weak<Inner>) {
    let mut trouble = LogOnChange::default();
    loop {
        tokio::time::sleep(LOOK).await;
        let Some(sessions) = inner.upgrade().map(Maintenance) else { return };
        let looked = sessions.0.policies.look().await;
        if let Some(reason) = trouble.record(&looked) {
            tracing::warn!(%reason, "stored timeouts cannot be looked for");
        }
    }
}

async fn look_whose_store_it_is(inner: Weak<Inner>) {
    let (mut trouble, mut is_known) = (LogOnChange::default(), true);
    let Some(reconnected) = inner.upgrade().map(|inner| inner.store.reconnected().unwrap_or_default()) else {
        return;
    };
    loop {
        let Some(near) = inner.upgrade().map(|inner| inner.near.clone()) else { return };
        let was_cleared = tokio::select! {
            () = near.cleared.notified() => true,
            () = reconnected.notified() => true,
            () = tokio::time::sleep(if is_known { KEY_CHECK } else { KEY_RETRY }) => false,
        };
        let Some(sessions) = inner.upgrade().map(Maintenance) else { return };
        if was_cleared {
            // Another Redis may answer from now on: whoever asks looks first.
            sessions.0.store.forget();
        }
        let looked =
            if was_cleared || !is_known { sessions.claim_store().await } else { sessions.renew_store_claim().await };
        is_known = matches!(looked, Ok(()) | Err(StoreError::Foreign(_)));
        if let Some(reason) = trouble.record(&looked) {
            tracing::warn!(%reason, "it is not known whose store it is");
        }
    }
}

async fn maintenance_loop(inner: Weak<Inner>) {
    let mut trouble = LogOnChange::default();
    loop {
        tokio::time::sleep(ROUND).await;
        let Some(sessions) = inner.upgrade().map(Maintenance) else { return };
        let done = sessions.round().await;
        if let Some(reason) = trouble.record(&done) {
            tracing::warn!(%reason, "the store of sessions cannot be maintained");
        }
    }
}

/// Goes on with revocations of many. A walk may take minutes, which the rounds do not wait for.
async fn resume_walks(inner: Weak<Inner>) {
    let mut trouble = LogOnChange::default();
    loop {
        tokio::time::sleep(ROUND).await;
        let Some(sessions) = inner.upgrade().map(SessionAdministration) else { return };
        let resumed = sessions.resume_walks().await;
        if let Some(reason) = trouble.record(&resumed) {
            tracing::warn!(%reason, "not every revocation could be gone on with");
        }
    }
}
