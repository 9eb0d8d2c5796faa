//! Promises of [`Log`](crate::store::Log).

use futures_util::future;

use super::{Subject, name};
use crate::store::log::LogNumber;

/// A log numbers its entries upwards, and never gives a number twice.
pub async fn a_log_numbers_its_entries_and_never_gives_a_number_twice(subject: &Subject) {
    let log = &name();
    assert_eq!(subject.store.newest(log).await.unwrap(), None);
    let append = async |index: usize| subject.store.append(log, index.to_string().as_bytes()).await.unwrap();
    let mut numbers: Vec<_> =
        future::join_all((0..20).map(append)).await.into_iter().map(|taken| taken.number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), 20);
    assert_eq!(subject.store.newest(log).await.unwrap(), numbers.last().copied());
    for number in &numbers {
        assert!(subject.store.delete_entry(log, *number).await.unwrap());
        assert!(!subject.store.delete_entry(log, *number).await.unwrap());
    }
    assert_eq!(subject.store.newest(log).await.unwrap(), None);
    let next = append(20).await.number;
    assert!(next > numbers[19], "{next} follows what was deleted");
    assert_eq!(subject.store.newest(log).await.unwrap(), Some(next));
}

/// A log that was given a number from elsewhere goes on behind it, and is not moved by one that it is beyond.
pub async fn a_log_goes_on_behind_a_number_from_elsewhere(subject: &Subject) {
    let log = &name();
    let first = subject.store.append(log, b"first").await.unwrap().number;
    let elsewhere = LogNumber { milliseconds: first.milliseconds + 3_600_000, sequence: 7 };
    subject.store.advance(log, elsewhere, b"tick").await.unwrap();
    let next = subject.store.append(log, b"next").await.unwrap().number;
    assert!(next > elsewhere, "{next}");
    subject.store.advance(log, elsewhere, b"tick").await.unwrap();
    subject.store.advance(log, first, b"tick").await.unwrap();
    assert_eq!(subject.store.newest(log).await.unwrap(), Some(next));
    let entries = subject.store.read_watched(log, first).await.unwrap().entries;
    assert_eq!(entries.into_iter().map(|(_, entry)| entry).collect::<Vec<_>>(), [b"tick", b"next"]);
}

/// A log is read behind any number, also one whose entry was deleted.
pub async fn a_log_is_read_behind_any_number(subject: &Subject) {
    let log = &name();
    let read = async |behind| {
        let entries = subject.store.read_watched(log, behind).await.unwrap().entries;
        entries.into_iter().map(|(_, entry)| entry).collect::<Vec<_>>()
    };
    assert!(read(LogNumber::BEGINNING).await.is_empty());
    let mut numbers = Vec::new();
    for entry in [&b"one"[..], b"\xff\x00two", b"three"] {
        numbers.push(subject.store.append(log, entry).await.unwrap().number);
    }
    let all = [b"one".to_vec(), b"\xff\x00two".to_vec(), b"three".to_vec()];
    assert_eq!(read(LogNumber::BEGINNING).await, all);
    assert_eq!(read(numbers[0]).await, all[1..]);
    assert_eq!(read(numbers[2]).await, all[3..]);
    subject.store.delete_entry(log, numbers[1]).await.unwrap();
    assert_eq!(read(LogNumber::BEGINNING).await, [all[0].clone(), all[2].clone()]);
    assert_eq!(read(numbers[1]).await, all[2..]);
}
