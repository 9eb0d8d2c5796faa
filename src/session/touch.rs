//! When a use of a session is worth noting: a pure decision.
//!
//! Noting each request would cost a write each time, so uses are noted once in a tenth of the idle timeout and
//! at least once a minute. A session may therefore end up to that much earlier than its last use would
//! say; never later.

use time::{Duration, OffsetDateTime};

/// The longest time between two notes of a session in steady use.
const LONGEST_INTERVAL: Duration = Duration::MINUTE;

/// Whether the last note is old enough for another.
pub fn is_due(last_seen_at: OffsetDateTime, idle_timeout: Duration, now: OffsetDateTime) -> bool {
    now - last_seen_at >= Duration::min(idle_timeout / 10, LONGEST_INTERVAL)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_use_is_noted_once_a_minute_or_a_tenth_of_the_idle_timeout() {
        let seen = datetime!(2026-01-31 09:00 UTC);
        assert!(!is_due(seen, Duration::minutes(30), seen + Duration::seconds(59)));
        assert!(is_due(seen, Duration::minutes(30), seen + Duration::seconds(60)));
        assert!(!is_due(seen, Duration::seconds(10), seen + Duration::milliseconds(999)));
        assert!(is_due(seen, Duration::seconds(10), seen + Duration::seconds(1)));
    }
}
