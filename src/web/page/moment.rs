//! Moments as pages and the terminal write them.

use time::format_description::BorrowedFormatItem;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Duration, OffsetDateTime, UtcOffset};

use crate::web::language::Language;

/// A moment in the past. Pages say how long ago it was, which everybody understands wherever they are; the exact time
/// stands beside it, with its zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    at: OffsetDateTime,
    now: OffsetDateTime,
}

impl Moment {
    /// A moment as it is spoken of `now`.
    pub fn new(at: OffsetDateTime, now: OffsetDateTime) -> Self {
        Self { at: at.to_offset(UtcOffset::UTC), now }
    }

    /// The time that has passed since, in whole minutes, hours or days.
    pub(super) fn ago(&self, language: Language) -> String {
        let age = (self.now - self.at).max(Duration::ZERO);
        let (id, count) = match (age.whole_days(), age.whole_hours(), age.whole_minutes()) {
            (0, 0, 0) => ("moment-just-now", 0),
            (0, 0, minutes) => ("moment-minutes-ago", minutes),
            (0, hours, _) => ("moment-hours-ago", hours),
            (days, ..) => ("moment-days-ago", days),
        };
        if count == 0 { language.text(id) } else { language.text_with_count(id, count) }
    }

    /// The date and the time, with the zone.
    pub(super) fn exact(&self) -> String {
        moment(self.at)
    }

    /// The same for programs (HTML 2.3.5.7).
    pub(super) fn machine_readable(&self) -> String {
        self.at.format(&Rfc3339).unwrap_or_default()
    }
}

/// The date and the time of a moment, with the zone.
pub fn moment(moment: OffsetDateTime) -> String {
    const FORMAT: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day] [hour]:[minute] UTC");
    // Only a year beyond 9999 has no such text.
    moment.to_offset(UtcOffset::UTC).format(&FORMAT).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_moment_is_told_by_its_age_and_with_its_zone() {
        let at = datetime!(2026-01-31 18:00 +9);
        for (age, english, korean) in [
            (Duration::seconds(-5), "just now", "방금"),
            (Duration::seconds(59), "just now", "방금"),
            (Duration::MINUTE, "1 minute ago", "1분 전"),
            (Duration::minutes(59), "59 minutes ago", "59분 전"),
            (Duration::HOUR, "1 hour ago", "1시간 전"),
            (Duration::hours(23), "23 hours ago", "23시간 전"),
            (Duration::DAY, "1 day ago", "1일 전"),
            (Duration::days(45), "45 days ago", "45일 전"),
        ] {
            let moment = Moment::new(at, at + age);
            assert_eq!(
                (moment.ago(Language::English).as_str(), moment.ago(Language::Korean).as_str()),
                (english, korean)
            );
            assert_eq!(moment.exact(), "2026-01-31 09:00 UTC");
            assert_eq!(moment.machine_readable(), "2026-01-31T09:00:00Z");
        }
    }
}
