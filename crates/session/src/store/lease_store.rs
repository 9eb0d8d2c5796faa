//! Leases: names that one owner holds at a time, each for its TTL.

use std::fmt::Debug;

use async_trait::async_trait;
use counterfoil_core::secret::random_token;
use time::Duration;

use super::StoreError;

/// The owner of a lease: a random value of 128 bits, another for each acquisition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseOwner(String);

impl LeaseOwner {
    /// Makes an owner that nobody else is.
    pub fn random() -> Self {
        Self(random_token::<16>())
    }

    /// Returns the value that the store keeps under the lease's name: 22 characters of base64url.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Grants leases.
///
/// A renewal or a release that comes late changes nothing: it is compared with the owner in the step that makes it. A lease
/// may be lost with the server that granted it, so that two owners work until one of them renews: what must not be done
/// twice needs a check of its own.
#[async_trait]
pub trait LeaseStore: Debug + Send + Sync {
    /// Acquires a lease for `ttl`, unless somebody holds it; `true` for exactly one of any number of simultaneous callers.
    async fn acquire(&self, name: &str, owner: &LeaseOwner, ttl: Duration) -> Result<bool, StoreError>;

    /// Renews a lease that this owner holds, for `ttl` from now; `false` if they do not hold it, which this does not change.
    async fn renew(&self, name: &str, owner: &LeaseOwner, ttl: Duration) -> Result<bool, StoreError>;

    /// Releases a lease that this owner holds; `false` if they do not hold it, which this does not change.
    async fn release(&self, name: &str, owner: &LeaseOwner) -> Result<bool, StoreError>;
}
