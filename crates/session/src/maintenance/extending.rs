//! The pass that extends what was established before a longer policy was registered.
//!
//! A score gives a session's age, and a longer idle timeout counts from now: records are opened only if the lists of their
//! persons have to last longer, too.

use futures_util::{StreamExt, TryStreamExt, stream};

use super::Maintenance;
use super::leader::Pass;
use super::registered::{Due, HEARD_WITHIN};
use super::retention::Retention;
use crate::key::SessionHandle;
use crate::lease::Lease;
use crate::listing::AT_A_TIME;
use crate::registry::{Cursor, Entry};
use crate::store::sealed::Found;
use crate::store::{Extension, RecordStore, StoreError};

impl Maintenance {
    /// Does the pass that is due. Returns whether it has come to its end.
    pub(super) async fn extend(&self, lead: &Lease, due: &Due) -> Result<bool, StoreError> {
        let registered = &self.0.policies.registered;
        if due.extends() {
            // From then on every replica creates records for the target.
            tokio::time::sleep_until((due.heard + HEARD_WITHIN).into()).await;
            if !self.pass(lead, Pass::Extend(due)).await? {
                return Ok(false);
            }
        }
        registered.conclude(due).await?;
        Ok(true)
    }

    pub(super) async fn extend_batch(&self, due: &Due, at: Option<Cursor>) -> Result<Option<Cursor>, StoreError> {
        let entries = self.0.registry.entries_behind(at).await?;
        let Some(last) = entries.last() else { return Ok(None) };
        if due.extends_lists() {
            // Lists first, as at the login: no record outlives its entries.
            self.0.registry.extend_hours(&entries, due.target).await?;
            let handles: Vec<_> = entries.iter().map(|entry| entry.place.handle).collect();
            let lists = stream::iter(handles).map(async |handle| self.extend_lists_of(handle, due.target).await);
            lists.buffer_unordered(AT_A_TIME).try_collect::<()>().await?;
        }
        let now = self.0.clock.now();
        let extension = |entry: &Entry| Extension {
            handle: entry.place.handle,
            record: due.target.record_until(entry.established_at(), None, now),
            note: due.extends_lists().then(|| due.target.note_until(entry.established_at())),
        };
        let extensions: Vec<_> = entries.iter().map(extension).collect();
        self.0.store.extend_ttls(&extensions).await?;
        Ok(Some(last.place))
    }

    async fn extend_lists_of(&self, handle: SessionHandle, longest: Retention) -> Result<(), StoreError> {
        let Found::Session(opened) = self.0.look_up(handle).await? else { return Ok(()) };
        self.0.registry.extend_lists(&opened.record, longest).await
    }
}
