//! The page after a logout, drawn for `GET /sso/signed-out`.

use askama::Template;

use crate::web::branding::Frame;

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

page!(SignedOut);
