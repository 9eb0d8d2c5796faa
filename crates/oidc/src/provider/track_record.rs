//! The latest exchanges and renewals that a provider completed in this process.
//!
//! By them a refusal of one person is told from a refusal of our configuration, and a failure for one person from a
//! failure for everybody. Kept in memory alone: empty when a process starts.

use std::sync::{Mutex, MutexGuard};

use time::OffsetDateTime;

use counterfoil_core::identity::Identity;
use counterfoil_core::lock;

/// The last time that a person was served.
#[derive(Debug)]
struct Served {
    issuer: String,
    subject: String,
    at: OffsetDateTime,
}

/// The two persons served last, the later one first, so that for any person one of them is another.
#[derive(Debug, Default)]
pub(crate) struct TrackRecord(Mutex<[Option<Served>; 2]>);

impl Served {
    fn is_of(&self, issuer: &str, subject: &str) -> bool {
        (self.issuer.as_str(), self.subject.as_str()) == (issuer, subject)
    }
}

impl TrackRecord {
    /// Notes that an exchange or a renewal was completed for a person.
    pub(crate) fn note(&self, identity: &Identity, at: OffsetDateTime) {
        let served = Served { issuer: identity.issuer.clone(), subject: identity.subject.clone(), at };
        let mut latest = self.lock();
        let [first, second] = &mut *latest;
        if first.as_ref().is_some_and(|first| !first.is_of(&served.issuer, &served.subject)) {
            *second = first.take();
        }
        *first = Some(served);
    }

    /// Is true if the provider has ever completed an exchange or a renewal with this process.
    pub(crate) fn is_proven(&self) -> bool {
        self.lock()[0].is_some()
    }

    /// Is true if the provider has served anybody but this person since a moment.
    pub(crate) fn has_served_another(&self, identity: &Identity, since: OffsetDateTime) -> bool {
        let is_another = |served: &Served| !served.is_of(&identity.issuer, &identity.subject) && served.at >= since;
        self.lock().iter().flatten().any(is_another)
    }

    fn lock(&self) -> MutexGuard<'_, [Option<Served>; 2]> {
        lock(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use time::Duration;
    use time::macros::datetime;

    use super::*;

    const NOON: OffsetDateTime = datetime!(2026-01-31 12:00 UTC);

    fn person(subject: &str) -> Identity {
        Identity {
            idp: "company".into(),
            issuer: "https://idp.example.test".into(),
            subject: subject.into(),
            name: None,
            preferred_username: None,
            email: None,
            email_verified: false,
            groups: Vec::new(),
        }
    }

    /// One line a case: who was served, minutes after noon, and whether that is somebody else than alice, since noon.
    #[test]
    fn only_somebody_else_since_then_shows_that_a_provider_serves() {
        for (served, is_another) in [
            (vec![], false),
            (vec![("alice", 1)], false),
            (vec![("bob", 1)], true),
            (vec![("bob", 0)], true),
            (vec![("bob", -1)], false),
            (vec![("bob", -1), ("alice", 1)], false),
            (vec![("bob", 1), ("alice", 2)], true),
            (vec![("bob", 1), ("alice", 2), ("alice", 3)], true),
            (vec![("alice", 1), ("bob", 2), ("bob", 3)], true),
            (vec![("carol", -2), ("bob", -1), ("alice", 2)], false),
            (vec![("carol", 1), ("bob", 2), ("alice", 3)], true),
        ] {
            let record = TrackRecord::default();
            for (subject, minutes) in &served {
                record.note(&person(subject), NOON + Duration::minutes(*minutes));
            }
            assert_eq!(record.has_served_another(&person("alice"), NOON), is_another, "{served:?}");
            assert_eq!(record.is_proven(), !served.is_empty(), "{served:?}");
        }
    }
}
