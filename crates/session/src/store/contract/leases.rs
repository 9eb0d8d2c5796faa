//! Promises of [`LeaseStore`](crate::store::LeaseStore).

use futures_util::future;
use time::Duration;

use super::{Subject, name};
use crate::store::LeaseOwner;

/// A lease under a name of its own, as one owner sees it.
struct Lease<'a> {
    subject: &'a Subject,
    name: &'a str,
    owner: LeaseOwner,
}

impl<'a> Lease<'a> {
    fn new(subject: &'a Subject, name: &'a str) -> Self {
        Self { subject, name, owner: LeaseOwner::random() }
    }

    async fn acquire(&self, ttl: Duration) -> bool {
        self.subject.store.acquire(self.name, &self.owner, ttl).await.unwrap()
    }

    async fn renew(&self, ttl: Duration) -> bool {
        self.subject.store.renew(self.name, &self.owner, ttl).await.unwrap()
    }

    async fn release(&self) -> bool {
        self.subject.store.release(self.name, &self.owner).await.unwrap()
    }
}

/// A lease is acquired by exactly one of many simultaneous callers (R-B03).
pub async fn a_lease_is_acquired_by_exactly_one_of_many(subject: &Subject) {
    let name = name();
    let acquire = async |_| Lease::new(subject, &name).acquire(Duration::MINUTE).await;
    let acquired = future::join_all((0..50).map(acquire)).await;
    assert_eq!(acquired.into_iter().filter(|acquired| *acquired).count(), 1);
}

/// A lease ends with its TTL.
pub async fn a_lease_ends_with_its_ttl(subject: &Subject) {
    let (short, long) = (name(), name());
    assert!(Lease::new(subject, &long).acquire(Duration::HOUR).await);
    assert!(Lease::new(subject, &short).acquire(Duration::milliseconds(300)).await);
    subject.until(async || Lease::new(subject, &short).acquire(Duration::HOUR).await).await;
    for name in [&short, &long] {
        assert!(!Lease::new(subject, name).acquire(Duration::HOUR).await);
    }
}

/// A lease is renewed while it is held, and never taken up again afterwards (R-C11).
pub async fn a_lease_is_renewed_while_it_is_held_and_never_taken_up_again(subject: &Subject) {
    let (kept, lapsed) = (name(), name());
    let (kept, lapsed) = (Lease::new(subject, &kept), Lease::new(subject, &lapsed));
    assert!(!lapsed.renew(Duration::HOUR).await, "nobody has it");
    subject
        .in_time(async |ttl| {
            kept.release().await;
            assert!(kept.acquire(ttl).await);
            kept.renew(Duration::HOUR).await
        })
        .await;
    assert!(lapsed.acquire(Duration::seconds(1)).await);
    subject.until(async || !lapsed.renew(Duration::milliseconds(1)).await).await;
    assert!(!Lease::new(subject, kept.name).acquire(Duration::HOUR).await);
    assert!(lapsed.acquire(Duration::HOUR).await);
    assert!(kept.release().await);
    assert!(!kept.renew(Duration::HOUR).await);
    assert!(!kept.release().await);
}

/// A renewal or a release that comes late does nothing to the lease of whoever holds it by then.
pub async fn a_lease_is_renewed_and_released_by_its_owner_alone(subject: &Subject) {
    let name = name();
    let late = Lease::new(subject, &name);
    assert!(late.acquire(Duration::milliseconds(300)).await);
    let successor = Lease::new(subject, &name);
    subject.until(async || successor.acquire(Duration::seconds(2)).await).await;
    assert!(!late.renew(Duration::HOUR).await);
    assert!(!late.release().await);
    let third = Lease::new(subject, &name);
    // It ends when the successor's TTL is over, and not an hour later.
    subject.until(async || third.acquire(Duration::HOUR).await).await;
    assert!(!successor.renew(Duration::HOUR).await && !successor.release().await);
    assert!(third.renew(Duration::HOUR).await && third.release().await);
}
