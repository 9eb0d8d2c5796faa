//! Leases in the store: one holder of a name at a time among all replicas.
//!
//! A lease has a TTL of [`LIFETIME`], is renewed while its owner works and released afterwards. Each acquisition has an owner
//! of its own, so that a renewal or a release that comes late does nothing to whoever holds the lease by then. Its name and the work under it belong to whoever asks: [`super::establish`],
//! [`super::refresh_lock`] and [`super::maintenance`], whose lease is longer and renewed with each batch.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration as StdDuration, Instant};

use counterfoil_core::backoff::Backoff;
use time::Duration;

use super::store::{LeaseOwner, LeaseStore, StoreError};

/// TTL of a lease: the longest time for which a process that died keeps the others waiting.
const LIFETIME: Duration = Duration::seconds(4);
/// Interval between two renewals: up to two in succession may fail.
const RENEWAL_INTERVAL: StdDuration = StdDuration::from_secs(1);
/// Pauses between two attempts to acquire a lease that somebody else holds.
const SHORTEST_PAUSE: StdDuration = StdDuration::from_millis(5);
const LONGEST_PAUSE: StdDuration = StdDuration::from_millis(100);

/// A request for a lease, repeated with backoff until it is granted or its patience ends.
#[derive(Debug)]
pub(crate) struct LeaseRequest {
    store: Arc<dyn LeaseStore>,
    name: String,
    lifetime: Duration,
    asked: Instant,
    patience: StdDuration,
    pauses: Backoff,
}

impl LeaseRequest {
    /// Begins to ask for the lease called `name`, for at most `patience`.
    pub(crate) fn new(store: Arc<dyn LeaseStore>, name: String, patience: StdDuration) -> Self {
        let pauses = Backoff::new(SHORTEST_PAUSE, LONGEST_PAUSE);
        Self { store, name, lifetime: LIFETIME, asked: Instant::now(), patience, pauses }
    }

    /// Tries to acquire the lease. `None` if somebody else holds it: a pause has been made, and the caller may see if
    /// there is still something to do before the next attempt.
    pub(crate) async fn attempt(&mut self) -> Result<Option<Lease>, StoreError> {
        if let Some(lease) = Lease::try_acquire(self.store.clone(), &self.name, self.lifetime).await? {
            return Ok(Some(lease));
        }
        if self.asked.elapsed() > self.patience {
            return Err(StoreError::LockTimeout);
        }
        tokio::time::sleep(self.pauses.pause()).await;
        Ok(None)
    }

    /// Waits until the lease is acquired.
    pub(crate) async fn acquire(mut self) -> Result<Lease, StoreError> {
        loop {
            if let Some(lease) = self.attempt().await? {
                return Ok(lease);
            }
        }
    }
}

/// A lease that was acquired. It ends with its TTL, unless it is renewed or released.
#[derive(Debug)]
#[must_use]
pub struct Lease {
    store: Arc<dyn LeaseStore>,
    name: String,
    owner: LeaseOwner,
    lifetime: Duration,
}

impl Lease {
    /// Acquires the lease called `name` for `lifetime`, unless somebody else holds it.
    pub(crate) async fn try_acquire(
        store: Arc<dyn LeaseStore>,
        name: &str,
        lifetime: Duration,
    ) -> Result<Option<Self>, StoreError> {
        let owner = LeaseOwner::random();
        let is_ours = store.acquire(name, &owner, lifetime).await?;
        Ok(is_ours.then(|| Self { store, name: name.to_owned(), owner, lifetime }))
    }

    /// Renews the lease once; `false` if it has ended.
    pub(crate) async fn renew_once(&self) -> Result<bool, StoreError> {
        self.store.renew(&self.name, &self.owner, self.lifetime).await
    }

    /// Releases the lease, if it has not ended.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be asked: it may last for its TTL.
    pub async fn try_release(self) -> Result<(), StoreError> {
        self.store.release(&self.name, &self.owner).await.map(drop)
    }

    /// Releases the lease; one that cannot be released ends with its TTL.
    pub(crate) async fn release(self) {
        let name = self.name.clone();
        if let Err(error) = self.try_release().await {
            tracing::warn!(lease = name, %error, "a lease could not be released; it ends with its TTL");
        }
    }

    /// Does `work` under the lease, which is renewed meanwhile and released afterwards.
    pub(crate) async fn hold<T>(self, work: impl Future<Output = T>) -> T {
        let done = tokio::select! {
            done = work => done,
            never = self.renew() => match never {},
        };
        self.release().await;
        done
    }

    /// Renews the lease until it has ended.
    async fn renew(&self) -> Infallible {
        loop {
            tokio::time::sleep(RENEWAL_INTERVAL).await;
            match self.renew_once().await {
                Ok(true) => {}
                Ok(false) => return std::future::pending().await,
                Err(error) => tracing::warn!(lease = self.name, %error, "a lease could not be renewed yet"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use counterfoil_core::clock::ManualClock;
    use time::OffsetDateTime;

    use super::*;
    use crate::store::memory::MemoryStore;

    fn store() -> Arc<dyn LeaseStore> {
        Arc::new(MemoryStore::new(ManualClock::at(OffsetDateTime::UNIX_EPOCH)))
    }

    fn request(store: &Arc<dyn LeaseStore>, lifetime: Duration) -> LeaseRequest {
        let request = LeaseRequest::new(store.clone(), "work".to_owned(), StdDuration::ZERO);
        LeaseRequest { lifetime, ..request }
    }

    async fn is_free(store: &Arc<dyn LeaseStore>) -> bool {
        match request(store, Duration::MINUTE).acquire().await {
            Ok(_) => true,
            Err(error) => {
                assert!(matches!(error, StoreError::LockTimeout), "{error}");
                false
            }
        }
    }

    #[tokio::test]
    async fn a_lease_has_one_holder_and_is_released_after_the_work() {
        let store = store();
        let lease = request(&store, Duration::MINUTE).acquire().await.unwrap();
        assert!(!lease.hold(is_free(&store)).await, "somebody else holds it during the work");
        assert!(is_free(&store).await, "nobody holds it afterwards");
    }

    #[tokio::test]
    async fn a_lease_that_ran_out_is_neither_renewed_nor_released() {
        let store = store();
        let lease = request(&store, Duration::ZERO).acquire().await.unwrap();
        let _successor = request(&store, Duration::MINUTE).acquire().await.unwrap();
        assert!(!lease.renew_once().await.unwrap());
        lease.hold(async {}).await;
        assert!(!is_free(&store).await, "the successor holds it");
    }
}
