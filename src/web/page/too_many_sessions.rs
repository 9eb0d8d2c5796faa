//! The page with the choice of a session to end, drawn for `GET /sso/limit`.

use askama::Template;

use crate::web::branding::Frame;
use crate::web::page::moment::Moment;

/// One of a person's own sessions.
#[derive(Debug, Clone)]
pub struct OwnSession {
    /// Its public name.
    pub handle: String,
    /// The kind of browser, such as "Chrome on Windows".
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

page!(TooManySessions);
