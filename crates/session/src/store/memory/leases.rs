//! Leases in memory.

use async_trait::async_trait;
use time::{Duration, OffsetDateTime};

use super::{Kind, MemoryStore, State};
use crate::store::{LeaseOwner, LeaseStore, StoreError};

impl State {
    fn holds(&self, owner: &LeaseOwner, name: &str, now: OffsetDateTime) -> bool {
        self.value(Kind::Lease, name, now).is_some_and(|holder| holder == owner.as_str().as_bytes())
    }
}

#[async_trait]
impl LeaseStore for MemoryStore {
    async fn acquire(&self, name: &str, owner: &LeaseOwner, ttl: Duration) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let mut state = self.lock_to_write();
        let is_free = state.value(Kind::Lease, name, now).is_none();
        if is_free {
            state.set_value(Kind::Lease, name, owner.as_str().as_bytes(), Some(now + ttl));
        }
        Ok(is_free)
    }

    async fn renew(&self, name: &str, owner: &LeaseOwner, ttl: Duration) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let mut state = self.lock_to_write();
        let is_held = state.holds(owner, name, now);
        if is_held {
            state.set_value(Kind::Lease, name, owner.as_str().as_bytes(), Some(now + ttl));
        }
        Ok(is_held)
    }

    async fn release(&self, name: &str, owner: &LeaseOwner) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let mut state = self.lock_to_write();
        let is_held = state.holds(owner, name, now);
        if is_held {
            state.values.remove(&(Kind::Lease, name.to_owned()));
        }
        Ok(is_held)
    }
}
