//! The page after a login for the sake of another tab, drawn for `GET /sso/signed-in`.

use askama::Template;

use crate::web::branding::Frame;

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

page!(SignedIn);
