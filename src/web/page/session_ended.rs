//! The page for a session that ended without a logout, drawn for `GET /sso/login`.

use askama::Template;

use crate::session::ending::EndCause;
use crate::web::branding::Frame;
use crate::web::language::Language;
use crate::web::page::moment::Moment;

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

/// Sessions that end while people work take along what they had not saved.
pub(super) fn with_note_on_unsaved(language: Language, kind: &str, advice: String) -> String {
    match kind {
        "session-idle" | "session-expired" | "session-revoked" => {
            format!("{advice} {}", language.text("error-unsaved-note"))
        }
        _ => advice,
    }
}

page!(SessionEnded);
