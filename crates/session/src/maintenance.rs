//! The keeping of the books: following the timeouts that are stored, keeping records for as long as the timeouts of the
//! moment let them live, and pruning what none lets live.
//!
//! It runs in the background of each replica ([`Maintenance::spawn`]): one task looks for stored timeouts, one whose
//! store it is, another does what takes longer, so that none waits for the others. Work that needs doing once is done
//! by whoever claims it.

pub(crate) mod retention;

use std::sync::{Arc, Weak};
use std::time::{Duration as StdDuration, Instant};

use aws_lc_rs::digest;
use counterfoil_core::log_on_change::LogOnChange;
use counterfoil_core::secret::keyring::Keyring;
use futures_util::{StreamExt, TryStreamExt, stream};
use time::Duration;

use super::administration::SessionAdministration;
use super::inner::Inner;
use super::key_check::StoreOwner;
use super::listing::AT_A_TIME;
use super::live::LiveSession;
use super::policy::SessionRules;
use super::selection::Filter;
use super::store::{Extension, StoreError};

/// Interval between two looks at the stored timeouts: well below the second in which a change has to be everywhere.
const LOOK: StdDuration = StdDuration::from_millis(400);
/// Interval between two looks at whose store it is.
const KEY_CHECK: StdDuration = StdDuration::from_mins(1);
/// The same, while the store could not be asked.
const KEY_RETRY: StdDuration = StdDuration::from_secs(1);
/// Interval between two rounds of everything else.
const ROUND: StdDuration = StdDuration::from_secs(5);
/// Rounds between two prunings.
const ROUNDS_PER_PRUNING: u32 = 12;
/// Longest time that one replica's walk keeps the others from theirs.
const LONGEST_TURN: Duration = Duration::minutes(5);
/// Sessions kept up together.
const BATCH: usize = 1_000;
/// The timeouts that every record was last kept for, by their hash.
const KEPT_FOR: &str = "kept-for";

/// Keeps the store in order: whose it is, how long its records last, what no timeout lets live. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Maintenance(pub(crate) Arc<Inner>);

impl Maintenance {
    /// Keeps the books in the background for as long as somebody holds these sessions.
    pub fn spawn(&self) {
        tokio::spawn(look_for_stored_timeouts(Arc::downgrade(&self.0)));
        tokio::spawn(maintenance_loop(Arc::downgrade(&self.0)));
        tokio::spawn(look_whose_store_it_is(Arc::downgrade(&self.0)));
    }

    /// Makes sure that the store is ours, and begins it if it is nobody's. Until that has succeeded once, every other
    /// question does it first; from when it fails for [`StoreError::Foreign`] none is asked any more.
    ///
    /// # Errors
    /// [`StoreError::Foreign`] if the store is not ours, another if it cannot be asked.
    pub async fn claim_store(&self) -> Result<(), StoreError> {
        self.0.keyed.look_or_begin().await
    }

    /// Does what [`Self::claim_store`] does unless the answer is known.
    ///
    /// # Errors
    /// Those of [`Self::claim_store`].
    pub async fn ensure_store_is_ours(&self) -> Result<(), StoreError> {
        self.0.keyed.ours().await.map(drop)
    }

    /// The same, and lets the store know if another of our keys seals by now: once a minute.
    ///
    /// # Errors
    /// Those of [`Self::claim_store`].
    pub async fn renew_store_claim(&self) -> Result<(), StoreError> {
        self.0.keyed.renew().await
    }

    /// Returns whose store it is, without beginning it.
    ///
    /// # Errors
    /// Those of [`Self::claim_store`].
    pub async fn store_owner(&self) -> Result<StoreOwner, StoreError> {
        self.0.keyed.look().await
    }

    /// Makes sure that the store would be ours with other keys as well.
    ///
    /// # Errors
    /// Those of [`Self::claim_store`].
    pub async fn would_be_ours_with(&self, keyring: &Keyring) -> Result<(), StoreError> {
        self.0.keyed.fits(keyring).await
    }

    /// Takes over other rules. Timeouts stored by an operator go before them.
    pub fn configure(&self, rules: SessionRules) {
        self.0.policies.configure(rules);
    }

    /// Tells the store to keep records long enough if other timeouts apply than they were last kept for. Done again
    /// until somebody has brought it to its end.
    async fn extend_ttls_to_policy(&self) -> Result<(), StoreError> {
        let policy = self.0.policies.timeouts().clone();
        let text = serde_json::to_vec(&*policy).unwrap_or_default();
        let hash = digest::digest(&digest::SHA256, &text);
        if self.0.backend.get(KEPT_FOR).await?.as_deref() == Some(hash.as_ref())
            || !self.0.backend.put_if_absent(KEPT_FOR, LONGEST_TURN).await?
        {
            return Ok(());
        }
        let begun = Instant::now();
        let kept = self.extend_all().await;
        if begun.elapsed() > LONGEST_TURN.unsigned_abs() {
            // Somebody else may be at it.
            return kept;
        }
        if kept.is_ok() {
            self.0.backend.put(KEPT_FOR, hash.as_ref(), None).await?;
        }
        self.0.backend.release_lease(KEPT_FOR).await?;
        kept
    }

    pub(crate) async fn extend_all(&self) -> Result<(), StoreError> {
        let mut place = None;
        loop {
            let page = SessionAdministration(self.0.clone()).page(&Filter::default(), place, BATCH).await?;
            let kept = stream::iter(page.sessions).map(async |session| self.extend(&session).await);
            kept.buffer_unordered(AT_A_TIME).try_collect::<()>().await?;
            if page.next.is_none() {
                return Ok(());
            }
            place = page.next;
        }
    }

    /// Keeps the entry first, then the record, as at the login: no record outlives its entries.
    async fn extend(&self, session: &LiveSession) -> Result<(), StoreError> {
        let (retention, record) = (self.0.policies.retention(), session.record());
        let (created_at, ends_by) = (record.created_at, record.ends_by);
        self.0.registry.insert(record, session.handle(), retention.entry_until(created_at)).await?;
        let extension = Extension {
            handle: session.handle(),
            record: retention.record_until(created_at, ends_by, self.0.clock.now()),
            note: Some(retention.note_until(created_at)),
        };
        self.0.backend.extend_ttls(&[extension]).await
    }

    /// Asks the store whether it is there.
    ///
    /// # Errors
    /// [`StoreError`] if it is not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.0.backend.ping().await
    }

    /// Ends what is older than any timeout allows and takes it out of the lists.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be asked: the rest goes next time.
    pub async fn prune(&self) -> Result<(), StoreError> {
        let oldest = self.0.clock.now() - self.0.policies.retention().absolute;
        for hour in self.0.registry.overdue_hours(oldest).await? {
            for handle in self.0.registry.members_of_hour(hour).await? {
                self.0.tear_up(handle, None, oldest).await?;
            }
            self.0.registry.forget_hour(hour).await?;
        }
        self.0.cut_offs.log.keep_up(self.0.clock.now()).await?;
        self.0.blocks.keep_up(self.0.clock.now()).await?;
        self.0.policies.seal_again().await
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
    let Some(reconnected) = inner.upgrade().map(|inner| inner.backend.reconnected().unwrap_or_default()) else {
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
            sessions.0.keyed.forget();
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
    let (mut rounds, mut trouble) = (0_u32, LogOnChange::default());
    loop {
        tokio::time::sleep(ROUND).await;
        let Some(sessions) = inner.upgrade().map(Maintenance) else { return };
        let mut done = sessions.extend_ttls_to_policy().await;
        if done.is_ok() {
            done = SessionAdministration(sessions.0.clone()).resume_walks().await;
        }
        rounds = rounds.wrapping_add(1);
        if rounds.is_multiple_of(ROUNDS_PER_PRUNING) && done.is_ok() {
            done = match sessions.0.backend.put_if_absent("pruning", Duration::seconds(50)).await {
                Ok(true) => sessions.prune().await,
                other => other.map(drop),
            };
        }
        if let Some(reason) = trouble.record(&done) {
            tracing::warn!(%reason, "the books of sessions cannot be kept");
        }
    }
}
