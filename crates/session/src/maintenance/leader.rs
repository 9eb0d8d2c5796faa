//! One replica at a time does what needs doing once: it has a lease, and says how far it has come.
//!
//! The lease is prolonged with each batch. Whoever takes it over goes on from the stored cursor; a cursor counts for the
//! pass that it names, and for no other. So a leader that was thought dead can at most repeat a batch.

use std::sync::Arc;
use std::time::Duration as StdDuration;

use serde::{Deserialize, Serialize};
use time::Duration;

use super::Maintenance;
use super::registered::Due;
use crate::lease::Lease;
use crate::registry::Cursor;
use crate::store::{KeyValue, LeaseStore, StoreError};

/// The lease's name, and the beginning of the cursors'.
const NAME: &str = "upkeep";
/// The lease: so long a replica that died keeps the others from the upkeep.
const LEASE: Duration = Duration::seconds(30);
/// Time for which a cursor is kept.
const CURSOR_KEPT: Duration = Duration::DAY;
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
    /// Takes entries without a record out of the lists.
    Prune,
}

impl Pass<'_> {
    /// The name of the stored cursor.
    fn name(self) -> String {
        let kind = match self {
            Self::Extend(_) => "extend",
            Self::Prune => "prune",
        };
        format!("{NAME}:{kind}")
    }

    /// The number of the pass: the cursor of another counts for nothing.
    fn number(self) -> String {
        match self {
            Self::Extend(due) => due.number(),
            Self::Prune => "0".to_owned(),
        }
    }
}

/// A cursor as it is stored.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    /// The number of its pass.
    pass: String,
    cursor: Cursor,
}

/// Returns the place that a stored cursor names, if it is of the pass with this number.
fn parse(stored: &[u8], number: &str) -> Option<Cursor> {
    let stored: Stored = serde_json::from_slice(stored).ok()?;
    (stored.pass == number).then_some(stored.cursor)
}

impl Maintenance {
    /// Returns the place to go on from, if a pass was begun and left.
    pub(super) async fn cursor(&self, pass: Pass<'_>) -> Result<Option<Cursor>, StoreError> {
        let stored = self.0.store.get(&pass.name()).await?;
        Ok(stored.as_deref().and_then(|stored| parse(stored, &pass.number())))
    }

    /// Does a pass in batches, from where it was left. Returns whether it has come to its end: before, the lease may be
    /// lost, or longer policies be registered.
    pub(super) async fn pass(&self, lead: &Lease, pass: Pass<'_>) -> Result<bool, StoreError> {
        let name = pass.name();
        let mut at = self.cursor(pass).await?;
        loop {
            let begun = tokio::time::Instant::now();
            if self.is_outdated(pass) || !lead.renew_once().await? {
                return Ok(false);
            }
            let next = match pass {
                Pass::Extend(due) => self.extend_batch(due, at).await?,
                Pass::Prune => self.prune_batch(at).await?,
            };
            let Some(next) = next else {
                self.0.store.remove(&name).await?;
                return Ok(true);
            };
            let kept_until = self.0.clock.now() + CURSOR_KEPT;
            let stored = Stored { pass: pass.number(), cursor: next };
            self.0.store.put(&name, &serde_json::to_vec(&stored).unwrap_or_default(), Some(kept_until)).await?;
            at = Some(next);
            tokio::time::sleep_until(begun + SHORTEST_BATCH).await;
        }
    }

    /// Is true if another pass has to begin first.
    fn is_outdated(&self, pass: Pass<'_>) -> bool {
        match (pass, self.0.policies.registered.due()) {
            (Pass::Extend(due), now) => now.is_none_or(|now| now.number() != due.number()),
            (Pass::Prune, now) => now.is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use counterfoil_core::unix_millis::UnixMillis;

    use super::*;
    use crate::key::SessionKey;

    #[test]
    fn a_cursor_counts_for_its_own_pass_alone() {
        let cursor = Cursor { established: UnixMillis(1_700_000_000_000), handle: SessionKey::generate().handle() };
        let stored = serde_json::to_vec(&Stored { pass: "1-2-3".to_owned(), cursor }).unwrap();
        assert_eq!(parse(&stored, "1-2-3"), Some(cursor));
        assert_eq!(parse(&stored, "1-2-4"), None);
        for damaged in ["", "{}", r#"{"pass":"1-2-3"}"#, r#"{"pass":"1-2-3","cursor":{"established":1,"handle":"x"}}"#]
        {
            assert_eq!(parse(damaged.as_bytes(), "1-2-3"), None, "{damaged}");
        }
    }
}
