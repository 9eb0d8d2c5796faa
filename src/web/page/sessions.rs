//! Pages about a person's sessions: one that begins, one that has ended, and too many of them.

use askama::Template;
use time::format_description::BorrowedFormatItem;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Duration, OffsetDateTime, UtcOffset};

use super::{bare_page, with_note_on_unsaved};
use crate::session::ending::EndCause;
use crate::web::branding::Frame;
use crate::web::language::Language;

/// The page for somebody who signed in for the sake of another tab.
#[derive(Template)]
#[template(path = "signed_in.html", whitespace = "minimize")]
pub struct SignedIn<'a> {
    /// The elements that every page has in common.
    pub frame: Frame<'a>,
    /// The person who is signed in.
    pub name: &'a str,
}

impl SignedIn<'_> {
    fn heading(&self) -> String {
        self.frame.language.text("signed-in-title")
    }
}

/// The page for a session that ended without its owner's doing.
#[derive(Template)]
#[template(path = "session_ended.html", whitespace = "minimize")]
pub struct SessionEnded<'a> {
    /// The elements that every page has in common.
    pub frame: Frame<'a>,
    /// The reason it ended, if that is known: the messages `error-session-{key}-title` and `-advice`.
    pub cause: Option<EndCause>,
    /// The time at which it ended.
    pub ended_at: Option<Moment>,
    /// The address at which signing in begins; it should lead back to the page the person came for.
    pub sign_in_href: &'a str,
}

impl SessionEnded<'_> {
    fn heading(&self) -> String {
        self.text("session-ended-title", "title")
    }

    fn advice(&self) -> String {
        let kind = self.cause.map(|cause| format!("session-{}", cause.key())).unwrap_or_default();
        with_note_on_unsaved(self.frame.language, &kind, self.text("session-ended-text", "advice"))
    }

    /// Is true if the company account is as it was, for all that is known: not if the session ended from there.
    fn leaves_account(&self) -> bool {
        self.cause != Some(EndCause::EndedByProvider)
    }

    fn ended_words(&self) -> Option<(String, Moment)> {
        self.ended_at.map(|at| (at.ago(self.frame.language), at))
    }

    fn text(&self, unknown: &str, part: &str) -> String {
        let id = self.cause.map(|cause| format!("error-session-{}-{part}", cause.key()));
        self.frame.language.text(id.as_deref().unwrap_or(unknown))
    }
}

/// One of a person's own sessions.
#[derive(Debug, Clone)]
pub struct OwnSession {
    /// Its public name.
    pub handle: String,
    /// The browser, as it calls itself.
    pub browser: String,
    /// The address that it signed in from.
    pub address: String,
    /// The time of its last use.
    pub last_seen: Moment,
}

/// The choice of a session to end, for somebody who has as many as they may have.
#[derive(Template)]
#[template(path = "too_many_sessions.html", whitespace = "minimize")]
pub struct TooManySessions<'a> {
    /// The elements that every page has in common.
    pub frame: Frame<'a>,
    /// Their sessions, newest first.
    pub sessions: Vec<OwnSession>,
    /// The token the form sends back to show that the request is the person's own.
    pub csrf_token: &'a str,
    /// The address at which the login goes on.
    pub sign_in_href: &'a str,
}

impl TooManySessions<'_> {
    fn heading(&self) -> String {
        self.frame.language.text("too-many-sessions-title")
    }

    fn label(&self, session: &OwnSession) -> String {
        let language = self.frame.language;
        language.text_with("end-session-last-used", "time", &session.last_seen.ago(language))
    }
}

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

pages!(SessionEnded, SignedIn, TooManySessions);

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
