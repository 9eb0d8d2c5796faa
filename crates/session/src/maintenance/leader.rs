//! One replica at a time does what needs doing once: it has a lease, and says how far it has come.
//!
//! The lease is prolonged with each batch. Whoever takes it over goes on from the checkpoint ([`super::super::checkpoint`]). So a
//! leader that was thought dead can at most repeat a batch.

use std::sync::Arc;
use std::time::Duration as StdDuration;

use time::Duration;

use super::Maintenance;
use super::registered::Due;
use crate::lease::Lease;
use crate::registry::Cursor;
use crate::store::{LeaseStore, StoreError};

/// The lease's name, and the beginning of the checkpoints'.
const NAME: &str = "upkeep";
/// The lease: so long a replica that died keeps the others from the upkeep.
const LEASE: Duration = Duration::seconds(30);
/// Time for which a checkpoint is kept.
const CHECKPOINT_KEPT: Duration = Duration::DAY;
/// Shortest time that a batch of 500 takes: 5,000 sessions a second.
const SHORTEST_BATCH: StdDuration = StdDuration::from_millis(100);

/// Becomes the leader, unless another replica is.
pub(super) async fn lead(store: Arc<dyn LeaseStore>) -> Result<Option<Lease>, StoreError> {
    Lease::try_acquire(store, NAME, LEASE).await
}

/// The work that a pass over all entries does, newest first.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pass<'due> {
    /// Extends what was established before a longer policy was registered.
    Extend(&'due Due),
    /// Takes entries without a record out of the lists. It gives way to the extension by a policy that was registered since it
    /// began, and not to one that failed before.
    Prune(Option<&'due Due>),
}

impl Pass<'_> {
    /// The name of the checkpoint.
    fn name(self) -> String {
        let kind = match self {
            Self::Extend(_) => "extend",
            Self::Prune(_) => "prune",
        };
        format!("{NAME}:{kind}")
    }

    /// The number of the pass: the checkpoint of another counts for nothing.
    fn number(self) -> String {
        match self {
            Self::Extend(due) => due.number(),
            Self::Prune(_) => "0".to_owned(),
        }
    }
}

impl Maintenance {
    /// Returns the place to go on from, if a pass was begun and left.
    pub(super) async fn cursor(&self, pass: Pass<'_>) -> Option<Cursor> {
        self.0.checkpoints.find(&pass.name(), &pass.number()).await
    }

    /// Does a pass in batches, from where it was left. Returns whether it has come to its end: before, the lease may be
    /// lost, or longer policies be registered.
    pub(super) async fn pass(&self, lead: &Lease, pass: Pass<'_>) -> Result<bool, StoreError> {
        let (name, number) = (pass.name(), pass.number());
        let mut at = self.cursor(pass).await;
        loop {
            let begun = tokio::time::Instant::now();
            if self.is_outdated(pass) || !lead.renew_once().await? {
                return Ok(false);
            }
            let next = match pass {
                Pass::Extend(due) => self.extend_batch(due, at).await?,
                Pass::Prune(_) => self.prune_batch(at).await?,
            };
            let Some(next) = next else {
                self.0.checkpoints.remove(&name).await?;
                return Ok(true);
            };
            let kept_until = self.0.clock.now() + CHECKPOINT_KEPT;
            self.0.checkpoints.leave(&name, &number, &next, kept_until).await?;
            at = Some(next);
            tokio::time::sleep_until(begun + SHORTEST_BATCH).await;
        }
    }

    /// Is true if another pass has to begin first.
    fn is_outdated(&self, pass: Pass<'_>) -> bool {
        let now = self.0.policies.registered.due().map(|due| due.number());
        match pass {
            Pass::Extend(due) => now != Some(due.number()),
            Pass::Prune(due) => now.is_some() && now != due.map(Due::number),
        }
    }
}
