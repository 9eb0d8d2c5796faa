//! When a session is over: a pure decision from its moments, the policy and the time.
//!
//! Documented for operators in the README: the idle timeout counts from the last noted use, the absolute
//! timeout from the login; the first `[[session.timeout]]` that names one of the person's groups applies,
//! else `[session]` itself (R-G07, R-G08).

use time::{Duration, OffsetDateTime};

use super::record::SessionRecord;

/// How long a session may live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest time between two uses.
    pub idle: Duration,
    /// Longest time since the login.
    pub absolute: Duration,
}

impl Limits {
    /// When the store may forget a record by itself: a backstop. Not the idle deadline: the policy judges that at
    /// each check, can say why a session is over, and may have been lengthened since.
    pub fn backstop(&self, record: &SessionRecord) -> OffsetDateTime {
        record.created_at + self.absolute
    }
}

/// Limits for the members of some groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupLimits {
    /// Any of these groups.
    pub groups: Vec<String>,
    /// What applies to their members.
    pub limits: Limits,
}

/// Every limit an operator configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeoutPolicy {
    /// For everybody whom no entry of `by_group` names.
    pub default: Limits,
    /// First match wins.
    pub by_group: Vec<GroupLimits>,
}

impl TimeoutPolicy {
    /// The limits for somebody with these groups.
    pub fn limits_for(&self, groups: &[String]) -> Limits {
        let named = |entry: &&GroupLimits| entry.groups.iter().any(|group| groups.contains(group));
        self.by_group.iter().find(named).map_or(self.default, |entry| entry.limits)
    }
}

/// What the limits say of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It lives until then.
    Live {
        /// Unless it is used.
        idle_expires_at: OffsetDateTime,
        /// However much it is used.
        absolute_expires_at: OffsetDateTime,
    },
    /// Not used for longer than the idle timeout.
    IdleExpired,
    /// Older than the absolute timeout.
    AbsoluteExpired,
}

/// Judges a record. A limit is reached at its very moment: a session of thirty minutes is over after thirty
/// minutes, not a millisecond later.
pub fn judge(record: &SessionRecord, limits: Limits, now: OffsetDateTime) -> Verdict {
    let absolute_expires_at = record.created_at + limits.absolute;
    let idle_expires_at = (record.last_seen_at + limits.idle).min(absolute_expires_at);
    if now >= absolute_expires_at {
        Verdict::AbsoluteExpired
    } else if now >= idle_expires_at {
        Verdict::IdleExpired
    } else {
        Verdict::Live { idle_expires_at, absolute_expires_at }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::identity::Identity;
    use crate::session::record::ClientTraits;

    const LOGIN: OffsetDateTime = datetime!(2026-01-31 09:00 UTC);
    const LIMITS: Limits = Limits { idle: Duration::minutes(30), absolute: Duration::hours(12) };

    fn record(last_seen_at: OffsetDateTime) -> SessionRecord {
        SessionRecord {
            identity: Identity {
                idp: "company".into(),
                issuer: "https://idp.example.com".into(),
                subject: "1".into(),
                name: None,
                preferred_username: None,
                email: None,
                email_verified: false,
                groups: vec!["staff".into(), "finance".into()],
            },
            provider_session: None,
            created_at: LOGIN,
            auth_time: None,
            last_seen_at,
            client: ClientTraits::default(),
        }
    }

    /// R-G07
    #[test]
    fn a_session_is_idle_at_the_very_moment_of_its_timeout() {
        let just_before = LOGIN + Duration::minutes(30) - Duration::milliseconds(1);
        assert!(matches!(judge(&record(LOGIN), LIMITS, just_before), Verdict::Live { .. }));
        assert_eq!(judge(&record(LOGIN), LIMITS, LOGIN + Duration::minutes(30)), Verdict::IdleExpired);
    }

    /// R-G08
    #[test]
    fn use_does_not_move_the_absolute_timeout() {
        let end = LOGIN + Duration::hours(12);
        let used_until_the_end = record(end - Duration::seconds(1));
        assert_eq!(judge(&used_until_the_end, LIMITS, end), Verdict::AbsoluteExpired);
        assert_eq!(LIMITS.backstop(&used_until_the_end), end);
    }

    #[test]
    fn the_first_entry_that_names_a_group_applies() {
        let strict = Limits { idle: Duration::minutes(10), absolute: Duration::hours(1) };
        let policy = TimeoutPolicy {
            default: LIMITS,
            by_group: vec![
                GroupLimits { groups: vec!["finance".into()], limits: strict },
                GroupLimits { groups: vec!["staff".into()], limits: LIMITS },
            ],
        };
        assert_eq!(policy.limits_for(&["staff".into(), "finance".into()]), strict);
        assert_eq!(policy.limits_for(&["fin".into()]), LIMITS);
    }
}
