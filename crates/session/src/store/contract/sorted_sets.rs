//! Promises of [`SortedSets`](crate::store::SortedSets).

use time::Duration;

use super::{Subject, name};

/// A sorted set is read in the order of its scores from any place in it (R-G12).
pub async fn a_sorted_set_is_read_in_its_order_from_any_place(subject: &Subject) {
    let set = name();
    let until = subject.now() + Duration::HOUR;
    for (member, score) in [("c", 2), ("a", 1), ("b", 2), ("d", 3), ("gone", 2)] {
        subject.store.insert(&set, member, score, until).await.unwrap();
    }
    subject.store.insert(&set, "a", 0, until).await.unwrap();
    subject.store.remove_member(&set, "gone").await.unwrap();
    subject.store.remove_member(&set, "never there").await.unwrap();
    let down = async |highest, limit| {
        let found = subject.store.down_from(&set, highest, limit).await.unwrap();
        found.iter().map(|(member, score)| format!("{member}{score}")).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(down(i64::MAX, usize::MAX).await, "d3 c2 b2 a0");
    assert_eq!(down(2, 2).await, "c2 b2");
    assert_eq!(down(-1, 10).await, "");
    assert_eq!(subject.store.up_to(&set, 2, 2).await.unwrap(), ["a", "b"]);
    assert_eq!(subject.store.length(&set).await.unwrap(), 4);
}

/// Sorted sets are apart, and each goes with its longest member.
pub async fn sorted_sets_are_apart_and_expire(subject: &Subject) {
    let name = name();
    let other = |lifetime: Duration| format!("{name}:{lifetime}");
    let lifetime = subject
        .in_time(async |lifetime| {
            let (now, other) = (subject.now(), other(lifetime));
            // The longest member decides, in whichever order they come.
            for (member, score, lives) in [("member", 1, lifetime), ("long", 2, Duration::HOUR), ("short", 3, lifetime)]
            {
                subject.store.insert(&other, member, score, now + lives).await.unwrap();
            }
            subject.store.length(&other).await.unwrap() == 3
        })
        .await;
    subject.store.insert(&name, "member", 1, subject.now() + lifetime).await.unwrap();
    subject.until(async || subject.store.length(&name).await.unwrap() == 0).await;
    assert_eq!(subject.store.length(&other(lifetime)).await.unwrap(), 3);
}

/// A sorted set is extended where it is there, and loses many members at a time.
pub async fn a_sorted_set_is_extended_and_loses_many_members_at_a_time(subject: &Subject) {
    let (set, gone) = (name(), name());
    let members = async |set: &str| subject.store.up_to(set, i64::MAX, 10).await.unwrap();
    subject.store.extend(&gone, subject.now() + Duration::HOUR).await.unwrap();
    assert!(members(&gone).await.is_empty());
    let lifetime = subject
        .in_time(async |lifetime| {
            subject.store.clear(&set).await.unwrap();
            for member in ["a", "b", "c"] {
                subject.store.insert(&set, member, 1, subject.now() + lifetime).await.unwrap();
            }
            subject.store.extend(&set, subject.now() + Duration::HOUR).await.unwrap();
            subject.store.extend(&set, subject.now() + Duration::seconds(1)).await.unwrap();
            members(&set).await.len() == 3
        })
        .await;
    subject.store.insert(&gone, "a", 1, subject.now() + lifetime).await.unwrap();
    subject.until(async || members(&gone).await.is_empty()).await;
    subject.store.remove_members(&set, &["a".into(), "missing".into(), "c".into()]).await.unwrap();
    subject.store.remove_members(&set, &[]).await.unwrap();
    assert_eq!(members(&set).await, ["b"]);
}
