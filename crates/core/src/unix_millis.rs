//! Moments and durations as integer milliseconds: what stores count in, and what is compared most often.

use serde::{Deserialize, Serialize};
use time::error::ComponentRange;
use time::{Duration, OffsetDateTime};

/// A moment in whole milliseconds since 1970-01-01 UTC; what lies between two is rounded down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixMillis(pub i64);

impl From<OffsetDateTime> for UnixMillis {
    fn from(moment: OffsetDateTime) -> Self {
        Self(moment.unix_timestamp() * 1_000 + i64::from(moment.millisecond()))
    }
}

/// Fails beyond the years that [`OffsetDateTime`] knows.
impl TryFrom<UnixMillis> for OffsetDateTime {
    type Error = ComponentRange;

    fn try_from(UnixMillis(milliseconds): UnixMillis) -> Result<Self, ComponentRange> {
        let second = Self::from_unix_timestamp(milliseconds.div_euclid(1_000))?;
        Ok(second + Duration::milliseconds(milliseconds.rem_euclid(1_000)))
    }
}

/// Returns a duration in whole milliseconds, the nearest that there is.
pub fn whole_milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.whole_milliseconds()).unwrap_or(if duration.is_negative() { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn moments_become_milliseconds_and_moments_again() {
        for (moment, milliseconds) in [
            (datetime!(1970-01-01 00:00 UTC), 0),
            (datetime!(2026-01-31 09:00:00.0019 UTC), 1_769_850_000_001),
            (datetime!(2026-01-31 10:00:00.0019 +1), 1_769_850_000_001),
            (datetime!(1969-12-31 23:59:59.9991 UTC), -1),
            (datetime!(1969-12-31 23:59:58.5 UTC), -1_500),
            (datetime!(9999-12-31 23:59:59.999 UTC), 253_402_300_799_999),
        ] {
            assert_eq!(UnixMillis::from(moment), UnixMillis(milliseconds), "{moment}");
            let back = OffsetDateTime::try_from(UnixMillis(milliseconds)).unwrap();
            assert!(back <= moment && moment - back < Duration::MILLISECOND, "{moment} {back}");
        }
        for far in [i64::MIN, 253_402_300_800_000, i64::MAX] {
            assert!(OffsetDateTime::try_from(UnixMillis(far)).is_err(), "{far}");
        }
    }

    #[test]
    fn the_longest_durations_are_the_nearest_milliseconds() {
        assert_eq!(whole_milliseconds(Duration::microseconds(1_999)), 1);
        assert_eq!([Duration::MIN, Duration::MAX].map(whole_milliseconds), [i64::MIN, i64::MAX]);
    }
}
