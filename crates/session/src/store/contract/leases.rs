//! Promises of [`LeaseStore`](crate::store::LeaseStore).

use futures_util::future;
use time::Duration;

use super::{Subject, name};

/// A lease is acquired by exactly one of many simultaneous callers (R-B03).
pub async fn a_lease_is_acquired_by_exactly_one_of_many(subject: &Subject) {
    let name = name();
    let acquire = async |_| subject.store.acquire(&name, Duration::MINUTE).await.unwrap();
    let acquired = future::join_all((0..50).map(acquire)).await;
    assert_eq!(acquired.into_iter().filter(|acquired| *acquired).count(), 1);
}

/// A lease ends with its TTL.
pub async fn a_lease_ends_with_its_ttl(subject: &Subject) {
    let (short, long) = (name(), name());
    assert!(subject.store.acquire(&long, Duration::HOUR).await.unwrap());
    assert!(subject.store.acquire(&short, Duration::milliseconds(300)).await.unwrap());
    subject.until(async || subject.store.acquire(&short, Duration::HOUR).await.unwrap()).await;
    for name in [&short, &long] {
        assert!(!subject.store.acquire(name, Duration::HOUR).await.unwrap());
    }
}

/// A lease is renewed while it is held, and never taken up again afterwards (R-C11).
pub async fn a_lease_is_renewed_while_it_is_held_and_never_taken_up_again(subject: &Subject) {
    let (kept, lapsed) = (name(), name());
    assert!(!subject.store.renew(&lapsed, Duration::HOUR).await.unwrap(), "nobody has it");
    subject
        .in_time(async |lifetime| {
            subject.store.release(&kept).await.unwrap();
            assert!(subject.store.acquire(&kept, lifetime).await.unwrap());
            subject.store.renew(&kept, Duration::HOUR).await.unwrap()
        })
        .await;
    assert!(subject.store.acquire(&lapsed, Duration::seconds(1)).await.unwrap());
    subject.until(async || !subject.store.renew(&lapsed, Duration::milliseconds(1)).await.unwrap()).await;
    assert!(!subject.store.acquire(&kept, Duration::HOUR).await.unwrap());
    assert!(subject.store.acquire(&lapsed, Duration::HOUR).await.unwrap());
    subject.store.release(&kept).await.unwrap();
    assert!(!subject.store.renew(&kept, Duration::HOUR).await.unwrap());
}
