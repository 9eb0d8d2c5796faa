//! The end of a session by timeout: a pure decision from its moments, the policy and the time.
//!
//! Documented for operators in the README: the idle timeout counts from the last noted use, the absolute
//! timeout from the login; the first `[[session.timeout]]` that names one of the person's groups applies,
//! else `[session]` itself (R-G07, R-G08).

use serde::{Deserialize, Serialize};
use thiserror::Error;
use time::{Duration, OffsetDateTime};

/// Shortest timeout that makes sense.
pub const SHORTEST: Duration = Duration::SECOND;
/// Longest absolute timeout: browsers keep no cookie longer (RFC 6265bis).
pub const LONGEST: Duration = Duration::days(400);

/// The limits on a session's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Longest time between two uses.
    pub idle: Duration,
    /// Longest time since the login.
    pub absolute: Duration,
}

/// The reason why two durations are no limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidLimits {
    /// The absolute timeout is too short, or too long for any browser.
    #[error("must be between 1s and 400d")]
    Absolute,
    /// The idle timeout is too short, or never reached.
    #[error("must be at least 1s and at most `absolute_timeout`")]
    Idle,
}

impl Limits {
    /// Limits that make sense.
    ///
    /// # Errors
    /// [`InvalidLimits`].
    pub fn new(idle: Duration, absolute: Duration) -> Result<Self, InvalidLimits> {
        if !(SHORTEST..=LONGEST).contains(&absolute) {
            Err(InvalidLimits::Absolute)
        } else if !(SHORTEST..=absolute).contains(&idle) {
            Err(InvalidLimits::Idle)
        } else {
            Ok(Self { idle, absolute })
        }
    }
}

/// Limits for the members of some groups.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupLimits {
    /// Any of these groups.
    pub groups: Vec<String>,
    /// The limits that apply to their members.
    pub limits: Limits,
}

/// Every limit an operator configured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeoutPolicy {
    /// The limits for everybody whom no entry of `by_group` names.
    pub default: Limits,
    /// The limits of groups, of which the first match wins.
    pub by_group: Vec<GroupLimits>,
}

impl TimeoutPolicy {
    /// The limits for somebody with these groups.
    pub fn limits_for(&self, groups: &[String]) -> Limits {
        let named = |entry: &&GroupLimits| entry.groups.iter().any(|group| groups.contains(group));
        self.by_group.iter().find(named).map_or(self.default, |entry| entry.limits)
    }
}

/// The verdict of the limits on a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It lives until then.
    Live {
        /// The moment it ends unless it is used.
        idle_expires_at: OffsetDateTime,
        /// The moment it ends however much it is used: by the absolute timeout, or because the provider said so.
        absolute_expires_at: OffsetDateTime,
    },
    /// It was not used for longer than the idle timeout.
    IdleExpired,
    /// It is older than the absolute timeout, or than the provider allows.
    AbsoluteExpired,
}

/// The moments of a session that are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionTimes {
    /// The moment it was established.
    pub created_at: OffsetDateTime,
    /// The moment it was last noted to be in use.
    pub last_seen_at: OffsetDateTime,
    /// The moment by which the provider wants it to be over, if it said so (R-G10). No policy of ours moves that.
    pub ends_by: Option<OffsetDateTime>,
}

impl SessionTimes {
    /// Returns the moment the session ends however much it is used.
    pub fn absolute_end(&self, limits: Limits) -> OffsetDateTime {
        let absolute = self.created_at + limits.absolute;
        self.ends_by.map_or(absolute, |ends_by| ends_by.min(absolute))
    }
}

/// Judges a session. A limit is reached at its very moment: a session of thirty minutes is over after thirty
/// minutes, not a millisecond later.
pub fn judge(session: SessionTimes, limits: Limits, now: OffsetDateTime) -> Verdict {
    let absolute_expires_at = session.absolute_end(limits);
    let idle_expires_at = (session.last_seen_at + limits.idle).min(absolute_expires_at);
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

    const LOGIN: OffsetDateTime = datetime!(2026-01-31 09:00 UTC);
    const LIMITS: Limits = Limits { idle: Duration::minutes(30), absolute: Duration::hours(12) };

    fn judged(last_seen_at: OffsetDateTime, ends_by: Option<OffsetDateTime>, now: OffsetDateTime) -> Verdict {
        judge(SessionTimes { created_at: LOGIN, last_seen_at, ends_by }, LIMITS, now)
    }

    /// R-G07
    #[test]
    fn a_session_is_idle_at_the_very_moment_of_its_timeout() {
        let just_before = LOGIN + Duration::minutes(30) - Duration::milliseconds(1);
        assert!(matches!(judged(LOGIN, None, just_before), Verdict::Live { .. }));
        assert_eq!(judged(LOGIN, None, LOGIN + Duration::minutes(30)), Verdict::IdleExpired);
    }

    /// R-G08
    #[test]
    fn use_does_not_move_the_absolute_timeout() {
        let end = LOGIN + Duration::hours(12);
        assert_eq!(judged(end - Duration::seconds(1), None, end), Verdict::AbsoluteExpired);
    }

    /// R-G10
    #[test]
    fn the_provider_can_end_a_session_earlier_and_never_later() {
        let earlier = LOGIN + Duration::minutes(20);
        let just_before = earlier - Duration::milliseconds(1);
        let live = Verdict::Live { idle_expires_at: earlier, absolute_expires_at: earlier };
        assert_eq!(judged(LOGIN, Some(earlier), just_before), live);
        assert_eq!(judged(just_before, Some(earlier), earlier), Verdict::AbsoluteExpired);
        let end = LOGIN + Duration::hours(12);
        assert_eq!(judged(end, Some(end + Duration::HOUR), end), Verdict::AbsoluteExpired);
    }

    #[test]
    fn limits_make_sense_or_are_refused() {
        let limits = |idle, absolute| Limits::new(Duration::seconds(idle), Duration::seconds(absolute));
        assert!(limits(1, 1).is_ok() && limits(60, 60).is_ok());
        assert_eq!(limits(61, 60), Err(InvalidLimits::Idle));
        assert_eq!(limits(0, 60), Err(InvalidLimits::Idle));
        assert_eq!(limits(1, 401 * 24 * 3600), Err(InvalidLimits::Absolute));
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
