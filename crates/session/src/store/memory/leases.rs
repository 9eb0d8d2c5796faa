//! Leases in memory.

use async_trait::async_trait;
use time::Duration;

use super::{Kind, MemoryStore};
use crate::store::{LeaseStore, StoreError};

#[async_trait]
impl LeaseStore for MemoryStore {
    async fn acquire(&self, name: &str, ttl: Duration) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let mut state = self.lock_to_write();
        let is_free = state.value(Kind::Lease, name, now).is_none();
        if is_free {
            state.set_value(Kind::Lease, name, &[], Some(now + ttl));
        }
        Ok(is_free)
    }

    async fn renew(&self, name: &str, ttl: Duration) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let mut state = self.lock_to_write();
        let is_taken = state.value(Kind::Lease, name, now).is_some();
        if is_taken {
            state.set_value(Kind::Lease, name, &[], Some(now + ttl));
        }
        Ok(is_taken)
    }

    async fn release(&self, name: &str) -> Result<(), StoreError> {
        self.lock_to_write().values.remove(&(Kind::Lease, name.to_owned()));
        Ok(())
    }
}
