//! The pages people see.
//!
//! Owns the data of each page and its way to HTML; the words are in `language`, the
//! markup in `templates/`, the look in `static/counterfoil.css`. Does not own status codes,
//! headers or the choice of a page. Called by the handlers and by the error responder. Every
//! address given to a page must already be one of ours: pages escape it, but do not judge it.

use askama::Template;
use askama::filters::{Escaper, Html};
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_LANGUAGE;
use http::{HeaderValue, StatusCode};

use super::branding::Frame;
use super::language::Language;

/// Gives each page its `html`.
macro_rules! pages {
    ($($page:ident),+) => {$(
        impl $page<'_> {
            /// The whole page. Never fails: should the template not render, the answer is a
            /// bare page with the heading alone.
            pub fn html(&self) -> String {
                self.render().unwrap_or_else(|_| bare_page(&self.frame, &self.heading()))
            }
        }
    )+};
}

mod sessions;
mod sign_out_there;

pub use self::sessions::{Moment, OwnSession, SessionEnded, SignedIn, TooManySessions, moment};
pub use self::sign_out_there::SignOutThere;

/// A page as an answer.
pub fn response(status: StatusCode, language: Language, html: String) -> Response {
    let language = [(CONTENT_LANGUAGE, HeaderValue::from_static(language.tag()))];
    (status, language, axum::response::Html(html)).into_response()
}

/// One way to sign in.
#[derive(Debug, Clone)]
pub struct ProviderChoice {
    /// The provider's name as people know it.
    pub display_name: String,
    /// The address at which signing in with it begins.
    pub href: String,
}

/// The choice between several ways to sign in.
#[derive(Template)]
#[template(path = "sign_in_chooser.html", whitespace = "minimize")]
pub struct SignInChooser<'a> {
    /// The elements that every page has in common.
    pub frame: Frame<'a>,
    /// The ways to sign in, in the order shown; none at all is said in words.
    pub providers: Vec<ProviderChoice>,
}

impl SignInChooser<'_> {
    fn heading(&self) -> String {
        self.frame.language.text("chooser-title")
    }
}

/// The outcome of signing out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignedOutReason {
    /// The session ended here and at the company account.
    Complete,
    /// The session ended here; the company account may still be signed in.
    LocalOnly,
    /// There was no session to end.
    NotSignedIn,
}

/// The page after signing out.
#[derive(Template)]
#[template(path = "signed_out.html", whitespace = "minimize")]
pub struct SignedOut<'a> {
    /// The elements that every page has in common.
    pub frame: Frame<'a>,
    /// The outcome of signing out.
    pub reason: SignedOutReason,
    /// The address at which signing in begins.
    pub sign_in_href: &'a str,
}

impl SignedOut<'_> {
    fn heading(&self) -> String {
        let language = self.frame.language;
        match self.reason {
            SignedOutReason::Complete => language.text("signed-out-complete-title"),
            SignedOutReason::LocalOnly => language.text("signed-out-local-title"),
            SignedOutReason::NotSignedIn => language.text("signed-out-none-title"),
        }
    }

    fn advice(&self) -> String {
        let language = self.frame.language;
        match self.reason {
            SignedOutReason::Complete => language.text("signed-out-complete-text"),
            SignedOutReason::LocalOnly => language.text("signed-out-local-text"),
            SignedOutReason::NotSignedIn => language.text("signed-out-none-text"),
        }
    }

    fn sign_in_label(&self) -> String {
        let language = self.frame.language;
        match self.reason {
            SignedOutReason::NotSignedIn => language.text("sign-in"),
            SignedOutReason::Complete | SignedOutReason::LocalOnly => language.text("sign-in-again"),
        }
    }

    fn session_state(&self) -> String {
        let language = self.frame.language;
        match self.reason {
            SignedOutReason::NotSignedIn => language.text("state-not-signed-in"),
            SignedOutReason::Complete | SignedOutReason::LocalOnly => language.text("state-signed-out"),
        }
    }

    fn account_state(&self) -> String {
        let language = self.frame.language;
        match self.reason {
            SignedOutReason::Complete => language.text("state-signed-out"),
            SignedOutReason::LocalOnly | SignedOutReason::NotSignedIn => language.text("state-maybe-signed-in"),
        }
    }
}

/// The question before signing out, for a request that did not come from our own button.
#[derive(Template)]
#[template(path = "confirm_logout.html", whitespace = "minimize")]
pub struct ConfirmLogout<'a> {
    /// The elements that every page has in common.
    pub frame: Frame<'a>,
    /// The person who is signed in: a name or an address. `None` while the store cannot say.
    pub name: Option<&'a str>,
    /// The token the form sends back to show that the request is the person's own.
    pub csrf_token: &'a str,
    /// The address that "Stay signed in" leads to.
    pub cancel_href: &'a str,
}

impl ConfirmLogout<'_> {
    fn heading(&self) -> String {
        self.frame.language.text("confirm-logout-title")
    }
}

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
pub(crate) const ERROR_KINDS: [&str; 36] = [
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

/// Sessions that end while people work take along what they had not saved.
fn with_note_on_unsaved(language: Language, kind: &str, advice: String) -> String {
    match kind {
        "session-idle" | "session-expired" | "session-revoked" => {
            format!("{advice} {}", language.text("error-unsaved-note"))
        }
        _ => advice,
    }
}

pages!(SignInChooser, SignedOut, ConfirmLogout, ErrorPage);

fn bare_page(frame: &Frame<'_>, heading: &str) -> String {
    let (tag, title) = (frame.language.tag(), escaped(&frame.title(heading)));
    let heading = escaped(heading);
    format!("<!doctype html><html lang=\"{tag}\"><title>{title}</title><h1>{heading}</h1></html>")
}

fn escaped(text: &str) -> String {
    let mut safe = String::new();
    // Writing to a String cannot fail.
    let _ = Html.write_escaped_str(&mut safe, text);
    safe
}

#[cfg(test)]
mod tests {
    use time::{Duration, OffsetDateTime};

    use super::*;
    use crate::session::ending::EndCause;
    use crate::web::assets::{logo_href, stylesheet_href};
    use crate::web::branding::{Branding, Contact};
    use crate::web::language::Language::{English, Korean};

    const HOSTILE: &str = "<svg onload=1>\"'&";

    fn error<'a>(frame: Frame<'a>, kind: &'static str, value: &'a str) -> ErrorPage<'a> {
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

    /// One of each page, every field set to `value`.
    fn samples(language: Language, branding: &Branding, value: &str) -> Vec<String> {
        let frame = Frame { language, branding };
        let choice = ProviderChoice { display_name: value.to_owned(), href: value.to_owned() };
        let own = OwnSession {
            handle: value.to_owned(),
            browser: value.to_owned(),
            address: value.to_owned(),
            last_seen: Moment::new(OffsetDateTime::UNIX_EPOCH, OffsetDateTime::UNIX_EPOCH),
        };
        let ended_at = Moment::new(OffsetDateTime::UNIX_EPOCH, OffsetDateTime::UNIX_EPOCH + Duration::HOUR);
        let mut pages = vec![
            SignInChooser { frame, providers: vec![choice] }.html(),
            SignInChooser { frame, providers: Vec::new() }.html(),
            SessionEnded { frame, cause: None, ended_at: Some(ended_at), sign_in_href: value }.html(),
            SessionEnded { frame, cause: Some(EndCause::Revoked), ended_at: None, sign_in_href: value }.html(),
            TooManySessions { frame, sessions: vec![own], csrf_token: value, sign_in_href: value }.html(),
            TooManySessions { frame, sessions: Vec::new(), csrf_token: value, sign_in_href: value }.html(),
            SignedIn { frame, name: value }.html(),
            ConfirmLogout { frame, name: Some(value), csrf_token: value, cancel_href: value }.html(),
            sign_out_there::sample(frame, value),
        ];
        for reason in [SignedOutReason::Complete, SignedOutReason::LocalOnly, SignedOutReason::NotSignedIn] {
            pages.push(SignedOut { frame, reason, sign_in_href: value }.html());
        }
        pages.extend(ERROR_KINDS.map(|kind| error(frame, kind, value).html()));
        pages
    }

    fn branded(value: &str) -> Branding {
        Branding { product_name: value.to_owned(), support_contact: Some(value.to_owned()) }
    }

    #[test]
    fn a_hostile_value_is_escaped_wherever_it_appears() {
        for language in [English, Korean] {
            for page in samples(language, &branded(HOSTILE), HOSTILE) {
                assert!(!page.contains("<svg"), "{page}");
                assert!(!page.contains("onload=1>"), "{page}");
                assert!(!page.contains("\"'&"), "{page}");
                assert!(page.contains("&#60;svg onload=1&#62;&#34;&#39;&#38;"), "{page}");
            }
        }
    }

    #[test]
    fn no_page_needs_more_than_the_strict_content_policy_allows() {
        for language in [English, Korean] {
            for page in samples(language, &branded("Contoso"), "/sso/login") {
                for forbidden in ["style=", "<style", "<script", "://", "onclick", "onload"] {
                    assert!(!page.contains(forbidden), "{forbidden}: {page}");
                }
            }
        }
    }

    #[test]
    fn every_page_names_its_language_its_title_and_one_heading() {
        for language in [English, Korean] {
            for page in samples(language, &branded("Contoso"), "/sso/login") {
                assert!(page.starts_with("<!doctype html>"), "{page}");
                assert!(page.contains(&format!("<html lang=\"{}\">", language.tag())));
                assert_eq!(page.matches("<h1>").count(), 1, "{page}");
                assert_eq!(page.matches("<main").count(), 1, "{page}");
                assert!(page.contains(" · Contoso</title>"), "{page}");
                assert!(page.contains(stylesheet_href()) && page.contains(logo_href()));
            }
        }
    }

    #[test]
    fn every_kind_of_error_has_its_texts_in_both_languages() {
        let branding = Branding::default();
        for kind in ERROR_KINDS {
            let [english, korean] =
                [English, Korean].map(|language| error(Frame { language, branding: &branding }, kind, ""));
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
        assert!(error(frame, "internal", "").html().contains("role=\"alert\""));
        for kind in QUIET_KINDS {
            assert!(!error(frame, kind, "").html().contains("role=\"alert\""), "{kind}");
        }
    }

    #[test]
    fn a_support_contact_becomes_a_link_only_when_it_is_surely_one() {
        let table = [
            ("help@contoso.com", Some("mailto:help@contoso.com")),
            ("https://help.contoso.com/x", Some("https://help.contoso.com/x")),
            ("http://help.contoso.com", None),
            ("javascript:alert(1)//@x", None),
            ("mailto:help@contoso.com", None),
            ("help@contoso.com?bcc=a@b.c", None),
            ("help@@contoso.com", None),
            ("@", None),
            ("extension 1234", None),
        ];
        for (text, href) in table {
            assert_eq!(Contact::new(text).href.as_deref(), href, "{text}");
        }
    }

    #[test]
    fn the_bare_page_is_escaped_too() {
        let branding = branded(HOSTILE);
        let page = bare_page(&Frame { language: Korean, branding: &branding }, HOSTILE);
        assert!(!page.contains("<svg"), "{page}");
    }
}
