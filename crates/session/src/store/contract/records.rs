//! Promises of [`RecordStore`](crate::store::RecordStore).

use std::collections::HashMap;

use time::{Duration, OffsetDateTime};
use tower_sessions::session::Record;

use super::{Subject, handle};
use crate::key::SessionHandle;
use crate::store::{Extension, Remains};

fn record(handle: SessionHandle, text: &str, expires: OffsetDateTime) -> Record {
    let data = HashMap::from([("text".to_owned(), text.into())]);
    Record { id: handle.id(), data, expiry_date: expires }
}

/// A record is loaded as it was created.
pub async fn a_record_is_loaded_as_it_was_created(subject: &Subject) {
    let handle = handle();
    assert_eq!(subject.store.load(&handle.id()).await.unwrap(), None);
    let mut created = record(handle, "one", (subject.now() + Duration::HOUR).truncate_to_second());
    subject.store.create(&mut created).await.unwrap();
    assert_eq!(subject.store.load(&handle.id()).await.unwrap(), Some(created));
}

/// Creating never overwrites: the newcomer is refused, or gets another name.
pub async fn creating_never_overwrites(subject: &Subject) {
    let handle = handle();
    let expires = (subject.now() + Duration::HOUR).truncate_to_second();
    let mut first = record(handle, "first", expires);
    subject.store.create(&mut first).await.unwrap();
    let mut second = record(handle, "second", expires);
    // The other name is none of ours, which a user with few rights may not even create.
    let created = subject.store.create(&mut second).await;
    assert!(created.is_err() || second.id != handle.id(), "the newcomer gets another name, which its owner notices");
    assert_eq!(subject.store.load(&handle.id()).await.unwrap(), Some(first));
}

/// Saving changes what exists, and never revives what is gone (R-G09).
pub async fn saving_changes_what_exists_and_never_revives(subject: &Subject) {
    let handle = handle();
    let expires = (subject.now() + Duration::HOUR).truncate_to_second();
    subject.store.save(&record(handle, "never created", expires)).await.unwrap();
    assert_eq!(subject.store.load(&handle.id()).await.unwrap(), None);
    subject.store.create(&mut record(handle, "one", expires)).await.unwrap();
    let changed = record(handle, "two", expires);
    subject.store.save(&changed).await.unwrap();
    assert_eq!(subject.store.load(&handle.id()).await.unwrap(), Some(changed.clone()));
    subject.store.delete(&handle.id()).await.unwrap();
    subject.store.save(&changed).await.unwrap();
    assert_eq!(subject.store.load(&handle.id()).await.unwrap(), None);
}

/// A deleted record is gone, and deleting is idempotent.
pub async fn a_deleted_record_is_gone_and_deleting_twice_is_fine(subject: &Subject) {
    let handle = handle();
    subject.store.create(&mut record(handle, "one", subject.now() + Duration::HOUR)).await.unwrap();
    for _ in 0..2 {
        subject.store.delete(&handle.id()).await.unwrap();
        assert_eq!(subject.store.load(&handle.id()).await.unwrap(), None);
    }
}

/// A record goes by itself when its time is over.
pub async fn a_record_expires_by_itself(subject: &Subject) {
    let (short, long) = (handle(), handle());
    subject.store.create(&mut record(long, "long", subject.now() + Duration::HOUR)).await.unwrap();
    subject.store.create(&mut record(short, "short", subject.now() + Duration::seconds(2))).await.unwrap();
    subject.until(async || subject.store.load(&short.id()).await.unwrap().is_none()).await;
    assert!(subject.store.load(&long.id()).await.unwrap().is_some());
}

/// A record that is loaded for the near cache is the same, and comes with its note, which brings no record back (R-G09).
pub async fn a_watched_record_is_the_same_and_comes_with_its_note(subject: &Subject) {
    let handle = handle();
    let until = subject.now() + Duration::HOUR;
    let loaded = subject.store.load_watched(handle).await.unwrap();
    assert!(loaded.record.is_none() && loaded.note.is_none());
    let mut created = record(handle, "one", until.truncate_to_second());
    subject.store.create(&mut created).await.unwrap();
    subject.store.create_note(handle, b"seen \xff", until).await.unwrap();
    let loaded = subject.store.load_watched(handle).await.unwrap();
    assert_eq!(loaded.record, Some(created));
    assert_eq!(loaded.note.as_deref(), Some(&b"seen \xff"[..]));
    subject.store.delete(&handle.id()).await.unwrap();
    subject.store.save_note(handle, b"late", until, None).await.unwrap();
    assert!(subject.store.load_watched(handle).await.unwrap().record.is_none());
}

/// A note outlives its record, so that a session whose record has expired can say why (R-G07), and is replaced only where it is.
pub async fn a_note_outlives_its_record_and_is_replaced_only_where_it_is(subject: &Subject) {
    let handle = handle();
    let until = subject.now() + Duration::HOUR;
    let note = async || subject.store.load_watched(handle).await.unwrap().note;
    subject.store.save_note(handle, b"late", until, None).await.unwrap();
    assert_eq!(note().await, None);
    subject.store.create_note(handle, b"first", until).await.unwrap();
    subject.store.save_note(handle, b"second", until, Some(until)).await.unwrap();
    assert!(subject.store.load(&handle.id()).await.unwrap().is_none());
    subject.store.create(&mut record(handle, "one", subject.now() + Duration::seconds(1))).await.unwrap();
    subject.store.save_note(handle, b"second", until, None).await.unwrap();
    assert_eq!(note().await.as_deref(), Some(&b"second"[..]));
    subject.until(async || subject.store.load(&handle.id()).await.unwrap().is_none()).await;
    assert_eq!(note().await.as_deref(), Some(&b"second"[..]));
    subject.store.end(handle, None).await.unwrap();
    subject.store.save_note(handle, b"late", until, None).await.unwrap();
    assert_eq!(note().await, None, "nothing is left of a session that its owner ended");
}

/// Ending a session takes its record and its note, and leaves the tombstone.
pub async fn ending_a_session_takes_all_of_it_and_leaves_the_tombstone(subject: &Subject) {
    let handle = handle();
    let until = subject.now() + Duration::HOUR;
    subject.store.create(&mut record(handle, "one", until)).await.unwrap();
    subject.store.create_note(handle, b"seen", until).await.unwrap();
    assert_eq!(subject.store.tombstone(handle).await.unwrap(), None);
    assert!(subject.store.end(handle, Some((b"why", until))).await.unwrap());
    let loaded = subject.store.load_watched(handle).await.unwrap();
    assert!(loaded.record.is_none() && loaded.note.is_none());
    assert_eq!(subject.store.tombstone(handle).await.unwrap().as_deref(), Some(&b"why"[..]));
    assert!(!subject.store.end(handle, None).await.unwrap(), "nothing is ended twice");
    assert!(subject.store.tombstone(handle).await.unwrap().is_some());
}

/// A tombstone outweighs a record that somebody puts back, as a restored backup does (R-G09).
pub async fn a_tombstone_outweighs_a_record_that_somebody_puts_back(subject: &Subject) {
    let handle = handle();
    let until = subject.now() + Duration::HOUR;
    subject.store.create(&mut record(handle, "one", until)).await.unwrap();
    assert!(!subject.store.load_watched(handle).await.unwrap().has_ended);
    subject.store.end(handle, Some((b"why", until))).await.unwrap();
    assert!(!subject.store.load_watched(handle).await.unwrap().has_ended, "nothing lies there");
    subject.store.create(&mut record(handle, "one", until)).await.unwrap();
    subject.store.create_note(handle, b"seen", until).await.unwrap();
    assert_eq!(subject.store.load(&handle.id()).await.unwrap(), None);
    let loaded = subject.store.load_watched(handle).await.unwrap();
    assert!(loaded.record.is_none() && loaded.note.is_none() && loaded.has_ended);
    assert!(subject.store.end(handle, None).await.unwrap(), "and can be taken away");
    assert!(!subject.store.load_watched(handle).await.unwrap().has_ended);
    assert!(subject.store.tombstone(handle).await.unwrap().is_some());
}

/// Extending the TTLs of records in several slots at a time revives none, and shortens none.
pub async fn extending_ttls_never_revives_a_record_and_never_shortens_it(subject: &Subject) {
    let (short, gone) = ([(); 8].map(|()| handle()), handle());
    let extend = async |handles: &[SessionHandle], until: OffsetDateTime, note: Option<OffsetDateTime>| {
        let extension = |handle: &SessionHandle| Extension { handle: *handle, record: until, note };
        let extensions: Vec<_> = handles.iter().map(extension).collect();
        subject.store.extend_ttls(&extensions).await.unwrap();
    };
    extend(&[gone], subject.now() + Duration::HOUR, Some(subject.now() + Duration::HOUR)).await;
    extend(&[], subject.now(), None).await;
    assert!(subject.store.load(&gone.id()).await.unwrap().is_none());
    let are_there = async || {
        for handle in short {
            let loaded = subject.store.load_watched(handle).await.unwrap();
            if loaded.record.is_none() || loaded.note.is_none() {
                return false;
            }
        }
        true
    };
    let lifetime = subject
        .in_time(async |lifetime| {
            let now = subject.now();
            for handle in short {
                subject.store.delete(&handle.id()).await.unwrap();
                subject.store.create(&mut record(handle, "short", now + lifetime)).await.unwrap();
                subject.store.create_note(handle, b"seen", now + lifetime).await.unwrap();
            }
            extend(&short[1..], now + Duration::HOUR, Some(now + Duration::HOUR)).await;
            let noted = subject.store.save_note(short[0], b"used", now + Duration::HOUR, Some(now + Duration::HOUR));
            noted.await.unwrap();
            extend(&short, now + Duration::seconds(1), Some(now + Duration::seconds(1))).await;
            extend(&short, now + Duration::seconds(1), None).await;
            are_there().await
        })
        .await;
    // Created later, it is over later.
    subject.store.create(&mut record(gone, "next", subject.now() + lifetime)).await.unwrap();
    subject.until(async || subject.store.load(&gone.id()).await.unwrap().is_none()).await;
    assert!(are_there().await);
}

/// The remains of many sessions in several slots are read at once, in the order they were asked for.
pub async fn what_is_left_of_many_sessions_is_read_at_once(subject: &Subject) {
    let until = subject.now() + Duration::HOUR;
    let (live, expired, ended) = (handle(), handle(), handle());
    for live in [live, ended] {
        subject.store.create(&mut record(live, "one", until)).await.unwrap();
        subject.store.create_note(live, b"seen", until).await.unwrap();
    }
    subject.store.create_note(expired, b"last seen", until).await.unwrap();
    subject.store.end(ended, Some((b"why", until))).await.unwrap();
    let remains = |has_record, note: Option<&[u8]>, has_tombstone| Remains {
        has_record,
        note: note.map(Into::into),
        has_tombstone,
    };
    let expected = [
        (live, remains(true, Some(b"seen"), false)),
        (handle(), Remains::default()),
        (expired, remains(false, Some(b"last seen"), false)),
        (ended, remains(false, None, true)),
    ];
    let asked = expected.clone().map(|(handle, _)| handle);
    assert_eq!(subject.store.remains(&asked).await.unwrap(), expected.map(|(_, remains)| remains));
    assert!(subject.store.remains(&[]).await.unwrap().is_empty());
}

/// The store answers.
pub async fn the_store_answers(subject: &Subject) {
    subject.store.ping().await.unwrap();
}
