//! The note beside a record: when a session was last used, and what its limits were then.
//!
//! It outlives the record, which goes soon after the session became idle, and tells then how the session ended. It never
//! brings one back: a session whose record is gone is over, whatever the timeouts are by now.

use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use crate::ending::{EndCause, Tombstone};
use crate::timeout::{Limits, SessionTimes};

/// The last use of a session, and the limits of that moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Note {
    #[serde(with = "time::serde::timestamp::milliseconds")]
    pub(crate) last_seen_at: OffsetDateTime,
    idle_timeout: Duration,
    #[serde(with = "time::serde::timestamp::milliseconds")]
    absolute_expires_at: OffsetDateTime,
}

impl Note {
    /// The note on a session with these limits.
    pub(crate) fn new(times: SessionTimes, limits: Limits) -> Self {
        let absolute_expires_at = times.absolute_end(limits);
        Self { last_seen_at: times.last_seen_at, idle_timeout: limits.idle, absolute_expires_at }
    }

    /// Returns how the session ended whose record is gone and that left no tombstone. `None` if neither of its limits was
    /// reached: then somebody deleted the record.
    pub(crate) fn ending(&self, now: OffsetDateTime) -> Option<Tombstone> {
        let idle_expires_at = self.last_seen_at.saturating_add(self.idle_timeout);
        if now >= self.absolute_expires_at {
            Some(Tombstone::of(EndCause::Absolute, self.absolute_expires_at))
        } else if now >= idle_expires_at {
            Some(Tombstone::of(EndCause::Idle, idle_expires_at))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    /// R-G07, R-G08, R-G10: one line a case, in minutes since the login: the last use, the provider's end, now, the cause.
    #[test]
    fn a_note_tells_which_limit_was_reached() {
        let login = datetime!(2026-01-31 09:00 UTC);
        let after = |minutes| login + Duration::minutes(minutes);
        for (last, ends_by, now, cause) in [
            (0, None, 29, None),
            (0, None, 30, Some((EndCause::Idle, 30))),
            (100, None, 129, None),
            (100, None, 500, Some((EndCause::Idle, 130))),
            (100, None, 720, Some((EndCause::Absolute, 720))),
            (100, Some(110), 115, Some((EndCause::Absolute, 110))),
        ] {
            let times = SessionTimes { created_at: login, last_seen_at: after(last), ends_by: ends_by.map(after) };
            let limits = Limits { idle: Duration::minutes(30), absolute: Duration::hours(12) };
            let ended = Note::new(times, limits).ending(after(now));
            assert_eq!(ended, cause.map(|(cause, at)| Tombstone::of(cause, after(at))), "{last} {now}");
        }
    }
}
