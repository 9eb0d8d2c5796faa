//! The reviewer's view of the sessions: what there is, ending it, blocks, and the timeouts in force.

use std::sync::Arc;

use super::ending::Tombstone;
use super::inner::Inner;
use super::key::SessionHandle;
use super::maintenance::Maintenance;
use super::policy::PolicySource;
use super::store::StoreError;
use super::timeout::TimeoutPolicy;

/// Lists sessions, ends them, lifts blocks, and changes the timeouts. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SessionAdministration(pub(crate) Arc<Inner>);

impl SessionAdministration {
    /// The timeouts in force, and where they come from.
    pub fn timeouts(&self) -> (Arc<TimeoutPolicy>, PolicySource) {
        (self.0.policies.timeouts().clone(), self.0.policies.source())
    }

    /// Stores timeouts for every replica, or withdraws the stored ones. They apply here at once and everywhere within
    /// a second.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be asked.
    pub async fn store_timeouts(&self, policy: Option<&TimeoutPolicy>) -> Result<(), StoreError> {
        self.0.policies.store(policy).await?;
        let maintenance = Maintenance(self.0.clone());
        // Records that are about to expire are extended without waiting for the next round, which does it if this fails.
        tokio::spawn(async move { maintenance.round().await });
        Ok(())
    }

    /// Reads timeouts that an operator stored.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be asked: then nothing changes.
    pub async fn reload_stored_timeouts(&self) -> Result<(), StoreError> {
        self.0.policies.look().await
    }

    /// Returns how a session ended, if it left a tombstone.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be asked.
    pub async fn tombstone(&self, handle: SessionHandle) -> Result<Option<Tombstone>, StoreError> {
        self.0.tombstone(handle).await
    }
}
