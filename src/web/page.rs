//! The pages people see.
//!
//! One file a page holds its data; this one owns the way to HTML and to a response. The words are in `language`, the
//! markup in `templates/`, the look in `static/counterfoil.css`. Does not own status codes,
//! headers or the choice of a page. Called by the handlers and by the error responder. Every
//! address given to a page must already be one of ours: pages escape it, but do not judge it.

use askama::filters::{Escaper, Html};
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_LANGUAGE;
use http::{HeaderValue, StatusCode};

use super::branding::Frame;
use super::language::Language;

/// Gives a page its `html`.
macro_rules! page {
    ($page:ident) => {
        impl $page<'_> {
            /// The whole page. Never fails: should the template not render, the answer is a
            /// bare page with the heading alone.
            pub fn html(&self) -> String {
                self.render().unwrap_or_else(|_| crate::web::page::bare_page(&self.frame, &self.heading()))
            }
        }
    };
}

mod confirm_logout;
mod error;
mod moment;
mod session_ended;
mod sign_in_chooser;
mod sign_out_there;
mod signed_in;
mod signed_out;
mod too_many_sessions;

pub use self::confirm_logout::ConfirmLogout;
#[cfg(test)]
pub(crate) use self::error::ERROR_KINDS;
pub use self::error::{Action, ErrorPage};
pub use self::moment::{Moment, moment};
pub use self::session_ended::SessionEnded;
pub use self::sign_in_chooser::{ProviderChoice, SignInChooser};
pub use self::sign_out_there::SignOutThere;
pub use self::signed_in::SignedIn;
pub use self::signed_out::{SignedOut, SignedOutReason};
pub use self::too_many_sessions::{OwnSession, TooManySessions};

/// A page as an answer.
pub fn response(status: StatusCode, language: Language, html: String) -> Response {
    let language = [(CONTENT_LANGUAGE, HeaderValue::from_static(language.tag()))];
    (status, language, axum::response::Html(html)).into_response()
}

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
    use crate::web::branding::Branding;
    use crate::web::language::Language::{English, Korean};

    const HOSTILE: &str = "<svg onload=1>\"'&";

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
        pages.extend(ERROR_KINDS.map(|kind| error::tests::sample(frame, kind, value).html()));
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
    fn the_bare_page_is_escaped_too() {
        let branding = branded(HOSTILE);
        let page = bare_page(&Frame { language: Korean, branding: &branding }, HOSTILE);
        assert!(!page.contains("<svg"), "{page}");
    }
}
