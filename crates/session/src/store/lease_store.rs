//! Leases: names that one caller holds at a time, each for its TTL.

use std::fmt::Debug;

use async_trait::async_trait;
use time::Duration;

use super::StoreError;

/// Grants leases.
///
/// A lease may be lost with the server that granted it, so that two hold it until one of them renews: work under a lease
/// that must not be done twice needs a check of its own.
#[async_trait]
pub trait LeaseStore: Debug + Send + Sync {
    /// Acquires a lease for `ttl`, unless somebody holds it; `true` for exactly one of any number of simultaneous callers.
    async fn acquire(&self, name: &str, ttl: Duration) -> Result<bool, StoreError>;

    /// Renews a lease for `ttl` from now; `false` if nobody holds it any more, which this does not change.
    async fn renew(&self, name: &str, ttl: Duration) -> Result<bool, StoreError>;

    /// Releases a lease.
    async fn release(&self, name: &str) -> Result<(), StoreError>;
}
