//! The page for a request that failed, drawn by the error responder.

use askama::Template;

use crate::web::branding::Frame;
use crate::web::page::session_ended::with_note_on_unsaved;

/// A step that a person can take after an error, with the address to go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action<'a> {
    /// Sign in.
    SignIn(&'a str),
    /// Ask for the same page again.
    TryAgain(&'a str),
    /// Go to the start page.
    Home(&'a str),
    /// Go on with the session that lives.
    GoOn(&'a str),
    /// Sign in as somebody else.
    OtherAccount(&'a str),
}

impl Action<'_> {
    fn href(&self) -> &str {
        match self {
            Self::SignIn(href)
            | Self::TryAgain(href)
            | Self::Home(href)
            | Self::GoOn(href)
            | Self::OtherAccount(href) => href,
        }
    }
}

/// A page for something that did not work.
#[derive(Template)]
#[template(path = "error.html", whitespace = "minimize")]
pub struct ErrorPage<'a> {
    /// The elements that every page has in common.
    pub frame: Frame<'a>,
    /// The status the response carries.
    pub status: u16,
    /// The kind of error, which selects the messages `error-{kind}-title` and `error-{kind}-advice`.
    pub kind: &'a str,
    /// The stable code of the error, for those who look into it.
    pub code: &'static str,
    /// The request's id, to quote to support.
    pub request_id: &'a str,
    /// The name of this site in the person's browser.
    pub site: &'a str,
    /// The steps that the person can take, the best first.
    pub actions: Vec<Action<'a>>,
    /// The person who is signed in all the same.
    pub account: Option<&'a str>,
    /// The address at which to sign in in another tab, if reloading this page sends again what was sent.
    pub new_tab_sign_in: Option<&'a str>,
}

/// Every [`ErrorPage::kind`] there are texts for.
#[cfg(test)]
pub(crate) const ERROR_KINDS: [&str; 38] = [
    "token-invalid",
    "csrf-token-invalid",
    "session-missing",
    "session-idle",
    "session-expired",
    "session-revoked",
    "session-displaced",
    "session-ended-elsewhere",
    "session-ended-by-provider",
    "login-overtaken",
    "login-blocked",
    "login-too-old",
    "forbidden",
    "store-unavailable",
    "logout-incomplete",
    "idp-unavailable",
    "login-failed",
    "login-put-off",
    "login-refused",
    "login-expired",
    "login-loop",
    "login-clock",
    "login-other-response-mode",
    "bad-request",
    "ambiguous-path",
    "not-found",
    "wrong-host",
    "method-not-allowed",
    "cross-site",
    "payload-too-large",
    "request-timeout",
    "target-too-long",
    "headers-too-large",
    "too-many-scans",
    "too-many-streams",
    "upstream-unavailable",
    "upstream-timeout",
    "internal",
];

/// Kinds that only say how things stand; nothing the person just did has failed.
const QUIET_KINDS: [&str; 10] = [
    "session-missing",
    "session-idle",
    "session-expired",
    "session-revoked",
    "session-displaced",
    "session-ended-elsewhere",
    "session-ended-by-provider",
    "not-found",
    "wrong-host",
    "method-not-allowed",
];

impl ErrorPage<'_> {
    fn heading(&self) -> String {
        self.frame.language.text(&format!("error-{}-title", self.kind))
    }

    fn advice(&self) -> String {
        let language = self.frame.language;
        let advice = language.text_with(&format!("error-{}-advice", self.kind), "site", self.site);
        if self.new_tab_sign_in.is_some() { advice } else { with_note_on_unsaved(language, self.kind, advice) }
    }

    fn label(&self, action: &Action<'_>) -> String {
        let language = self.frame.language;
        match action {
            Action::SignIn(_) => language.text("sign-in"),
            Action::TryAgain(_) => language.text("try-again"),
            Action::Home(_) => language.text("go-home"),
            Action::GoOn(_) => language.text("go-on"),
            Action::OtherAccount(_) => language.text("sign-in-other"),
        }
    }

    fn ended_session(&self) -> bool {
        self.kind.starts_with("session-") && self.kind != "session-missing"
    }

    fn reports_failure(&self) -> bool {
        !QUIET_KINDS.contains(&self.kind)
    }
}

page!(ErrorPage);

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::web::branding::Branding;
    use crate::web::language::Language::{English, Korean};

    /// A page of `kind` with every other field set to `value`.
    pub(in crate::web::page) fn sample<'a>(frame: Frame<'a>, kind: &'static str, value: &'a str) -> ErrorPage<'a> {
        let actions = vec![Action::TryAgain(value), Action::OtherAccount(value)];
        let (account, new_tab_sign_in) = (Some(value), Some(value));
        ErrorPage {
            frame,
            status: 503,
            kind,
            code: "some_code",
            request_id: value,
            site: value,
            actions,
            account,
            new_tab_sign_in,
        }
    }

    #[test]
    fn every_kind_of_error_has_its_texts_in_both_languages() {
        let branding = Branding::default();
        for kind in ERROR_KINDS {
            let [english, korean] =
                [English, Korean].map(|language| sample(Frame { language, branding: &branding }, kind, ""));
            assert_ne!(english.heading(), korean.heading(), "{kind}");
            assert_ne!(english.advice(), korean.advice(), "{kind}");
            for page in [english, korean] {
                assert_ne!(page.heading(), format!("error-{kind}-title"));
                assert_ne!(page.advice(), format!("error-{kind}-advice"));
            }
        }
    }

    #[test]
    fn only_a_failure_is_announced_as_an_alert() {
        let branding = Branding::default();
        let frame = Frame { language: English, branding: &branding };
        assert!(sample(frame, "internal", "").html().contains("role=\"alert\""));
        for kind in QUIET_KINDS {
            assert!(!sample(frame, kind, "").html().contains("role=\"alert\""), "{kind}");
        }
    }
}
