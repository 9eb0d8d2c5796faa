//! Promises of [`KeyValue`](crate::store::KeyValue).

use futures_util::future;
use time::Duration;

use super::{Subject, name};

/// A value is kept until it is replaced, removed or over.
pub async fn a_value_is_kept_until_it_is_removed_or_expires(subject: &Subject) {
    let name = name();
    assert_eq!(subject.store.get(&name).await.unwrap(), None);
    subject.store.put(&name, b"one", None).await.unwrap();
    subject.store.put(&name, b"two", None).await.unwrap();
    assert_eq!(subject.store.get(&name).await.unwrap().as_deref(), Some(&b"two"[..]));
    subject.store.remove(&name).await.unwrap();
    assert_eq!(subject.store.get(&name).await.unwrap(), None);
    subject.store.put(&name, b"long", Some(subject.now() + Duration::HOUR)).await.unwrap();
    assert!(subject.store.get(&name).await.unwrap().is_some());
    subject.store.put(&name, b"short", Some(subject.now() + Duration::milliseconds(300))).await.unwrap();
    subject.until(async || subject.store.get(&name).await.unwrap().is_none()).await;
}

/// A hash keeps its fields apart.
pub async fn a_hash_keeps_its_fields_apart(subject: &Subject) {
    let hash = name();
    let fields = async || {
        let mut fields = subject.store.fields(&hash).await.unwrap();
        fields.sort();
        fields
    };
    assert!(fields().await.is_empty());
    subject.store.remove_field(&hash, "a").await.unwrap();
    assert!(subject.store.put_field_if_absent(&hash, "a", b"one \xff").await.unwrap());
    assert!(!subject.store.put_field_if_absent(&hash, "a", b"two").await.unwrap());
    subject.store.put_field(&hash, "b", b"three").await.unwrap();
    assert_eq!(fields().await, [("a".to_owned(), b"one \xff".to_vec()), ("b".to_owned(), b"three".to_vec())]);
    subject.store.put_field(&hash, "a", b"four").await.unwrap();
    subject.store.remove_field(&hash, "b").await.unwrap();
    assert_eq!(fields().await, [("a".to_owned(), b"four".to_vec())]);
}

/// A value is put where there is none by exactly one of many simultaneous callers, and replaces none.
pub async fn a_value_is_put_by_exactly_one_of_many_where_there_is_none(subject: &Subject) {
    let name = name();
    let values: Vec<_> = (0..20).map(|number| number.to_string()).collect();
    let put = async |value: &String| subject.store.put_if_absent(&name, value.as_bytes()).await.unwrap();
    let put = future::join_all(values.iter().map(put)).await;
    assert_eq!(put.iter().filter(|was_put| **was_put).count(), 1);
    let winner = values.iter().zip(put).find_map(|(value, was_put)| was_put.then(|| value.clone().into_bytes()));
    assert_eq!(subject.store.get(&name).await.unwrap(), winner);
    subject.store.remove(&name).await.unwrap();
    assert!(subject.store.put_if_absent(&name, b"next").await.unwrap());
}
