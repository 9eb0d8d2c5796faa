//! The time for which the store keeps what belongs to a session: pure functions of the longest timeouts that apply.
//!
//! A record stays a while longer than its session can stay unused, and goes then by itself, whatever group the person is
//! of. Its note stays for as long as the cookie can live, so that a session that is gone can still say why.

use counterfoil_core::unix_millis::whole_milliseconds;
use time::{Duration, OffsetDateTime};

use crate::timeout::TimeoutPolicy;

/// Time for which a record is kept beyond the timeouts: for clocks that differ, for uses that are noted late, and for
/// timeouts that are lengthened just before.
const RECORD_GRACE: Duration = Duration::minutes(10);
/// Time for which a note is kept beyond the absolute timeout: a session that ended by its age can say so.
const NOTE_GRACE: Duration = Duration::HOUR;
/// Time for which a record is kept beyond the end that the provider set.
const KEPT_AFTER_THE_PROVIDERS_END: Duration = Duration::HOUR;

/// The longest timeouts that any session may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Retention {
    /// The longest time between two uses.
    pub(crate) idle: Duration,
    /// The longest time since the login.
    pub(crate) absolute: Duration,
}

impl Retention {
    /// The longest timeouts of a policy, over all groups.
    pub(crate) fn of(policy: &TimeoutPolicy) -> Self {
        let limits = || policy.by_group.iter().map(|entry| entry.limits).chain([policy.default]);
        let longest = |of: fn(_) -> Duration| limits().map(of).max().unwrap_or_default();
        Self { idle: longest(|limits| limits.idle), absolute: longest(|limits| limits.absolute) }
    }

    /// The longer of each of two timeouts.
    pub(crate) fn longest(self, other: Self) -> Self {
        Self { idle: self.idle.max(other.idle), absolute: self.absolute.max(other.absolute) }
    }

    /// Is true if what is kept for these timeouts is kept for others as well.
    pub(crate) fn covers(self, other: Self) -> bool {
        self.longest(other) == self
    }

    /// Returns the moment the store may forget the record of a session that was used at `used_at`. The idle timeout counts
    /// one and a half times: uses extend the record once in half of it.
    pub(crate) fn record_until(
        self,
        created_at: OffsetDateTime,
        ends_by: Option<OffsetDateTime>,
        used_at: OffsetDateTime,
    ) -> OffsetDateTime {
        let by_age = self.entry_until(created_at);
        let by_provider = ends_by.map(|ends_by| ends_by.saturating_add(KEPT_AFTER_THE_PROVIDERS_END));
        let unused = used_at + self.idle * 3 / 2 + RECORD_GRACE;
        by_age.min(unused).min(by_provider.unwrap_or(by_age))
    }

    /// Is true if a use at `now` has to extend the record: it is the first one in its half of an idle timeout, counted from
    /// the login. So a record is kept for an idle timeout and the grace from its last use on, whoever noted that.
    pub(crate) fn is_extension_due(
        self,
        created_at: OffsetDateTime,
        noted_before: OffsetDateTime,
        now: OffsetDateTime,
    ) -> bool {
        let half = (whole_milliseconds(self.idle) / 2).max(1);
        let number = |moment: OffsetDateTime| whole_milliseconds(moment - created_at).div_euclid(half);
        number(noted_before) != number(now)
    }

    /// Returns the moment until which the lists keep an entry.
    pub(crate) fn entry_until(self, created_at: OffsetDateTime) -> OffsetDateTime {
        created_at + self.absolute + RECORD_GRACE
    }

    /// Returns the moment before which a session was established that no timeout lets live.
    pub(crate) fn oldest(self, now: OffsetDateTime) -> OffsetDateTime {
        now - self.absolute - RECORD_GRACE
    }

    /// Returns the moment until which the note beside a record is kept.
    pub(crate) fn note_until(self, created_at: OffsetDateTime) -> OffsetDateTime {
        created_at + self.absolute + NOTE_GRACE
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::timeout::{GroupLimits, Limits};

    const LOGIN: OffsetDateTime = datetime!(2026-01-31 09:00 UTC);
    const LONGEST: Retention = Retention { idle: Duration::minutes(30), absolute: Duration::hours(12) };

    #[test]
    fn the_longest_timeouts_of_any_group_count_each_for_itself() {
        let limits = |idle, absolute| Limits { idle: Duration::minutes(idle), absolute: Duration::hours(absolute) };
        let group = |limits| GroupLimits { groups: vec!["a".into()], limits };
        let policy =
            TimeoutPolicy { default: limits(30, 2), by_group: vec![group(limits(10, 12)), group(limits(20, 1))] };
        assert_eq!(Retention::of(&policy), LONGEST);
    }

    /// R-G07, R-G08, R-G10: one line a case, in minutes since the login: the provider's end, the last use, the expiry.
    #[test]
    fn a_record_goes_soon_after_its_session_became_idle_and_with_its_age_at_the_latest() {
        for (ends_by, used_at, until) in [
            (None, 0, 55),
            (None, 100, 155),
            (None, 700, 730),
            (Some(60), 100, 120),
            (Some(10_000), 700, 730),
            (Some(i64::MAX), 700, 730),
        ] {
            let after = |minutes| LOGIN.saturating_add(Duration::seconds(i64::saturating_mul(minutes, 60)));
            assert_eq!(LONGEST.record_until(LOGIN, ends_by.map(after), after(used_at)), after(until), "{used_at}");
        }
        assert_eq!(LONGEST.note_until(LOGIN), LOGIN + Duration::hours(13));
    }

    /// Every moment of use in steps of three minutes, as they are noted: the record is always kept for the idle timeout and
    /// the grace from the last of them on, and extended once in half an idle timeout.
    #[test]
    fn uses_keep_the_record_and_few_of_them_extend_it() {
        let (mut noted, mut until, mut extended) = (LOGIN, LONGEST.record_until(LOGIN, None, LOGIN), 0);
        for step in 1..200 {
            let now = LOGIN + Duration::minutes(3) * step;
            if LONGEST.is_extension_due(LOGIN, noted, now) {
                until = LONGEST.record_until(LOGIN, None, now);
                extended += 1;
            }
            noted = now;
            assert!(until >= (noted + Duration::minutes(40)).min(LOGIN + LONGEST.absolute), "{step}");
        }
        assert_eq!(extended, 39);
    }
}
