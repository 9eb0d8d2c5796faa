//! Pages about a person's sessions: one that has ended, and too many of them.

use askama::Template;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{OffsetDateTime, UtcOffset};

use super::bare_page;
use crate::web::branding::Frame;

/// The page for a session that ended without its owner's doing.
#[derive(Template)]
#[template(path = "session_ended.html", whitespace = "minimize")]
pub struct SessionEnded<'a> {
    /// What every page has in common.
    pub frame: Frame<'a>,
    /// Why it ended, if that is known: the messages `error-{kind}-title` and `error-{kind}-advice`.
    pub kind: Option<&'static str>,
    /// When, as [`moment`] writes it.
    pub ended_at: Option<String>,
    /// Where signing in begins; it should lead back to the page the person came for.
    pub sign_in_href: &'a str,
}

impl SessionEnded<'_> {
    fn heading(&self) -> String {
        self.text("session-ended-title", "title")
    }

    fn advice(&self) -> String {
        self.text("session-ended-text", "advice")
    }

    /// Whether the company account is as it was, for all that is known: not if the session ended from there.
    fn leaves_account(&self) -> bool {
        self.kind != Some("session-ended-by-provider")
    }

    fn text(&self, unknown: &str, part: &str) -> String {
        let id = self.kind.map(|kind| format!("error-{kind}-{part}"));
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
    /// Where it signed in from.
    pub address: String,
    /// When it was last used, as [`moment`] writes it.
    pub last_seen: String,
}

/// The choice of a session to end, for somebody who has as many as they may have.
#[derive(Template)]
#[template(path = "too_many_sessions.html", whitespace = "minimize")]
pub struct TooManySessions<'a> {
    /// What every page has in common.
    pub frame: Frame<'a>,
    /// Their sessions, newest first.
    pub sessions: Vec<OwnSession>,
    /// The token the form sends back to show that the request is the person's own.
    pub csrf_token: &'a str,
    /// Where the login goes on.
    pub sign_in_href: &'a str,
}

impl TooManySessions<'_> {
    fn heading(&self) -> String {
        self.frame.language.text("too-many-sessions-title")
    }
}

/// A moment as people read it, in every language the same.
pub fn moment(moment: OffsetDateTime) -> String {
    const FORMAT: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day] [hour]:[minute] UTC");
    // Only a year beyond 9999 has no such text.
    moment.to_offset(UtcOffset::UTC).format(&FORMAT).unwrap_or_default()
}

pages!(SessionEnded, TooManySessions);
