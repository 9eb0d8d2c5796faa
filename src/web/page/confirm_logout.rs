//! The page that asks for confirmation before a logout, drawn for `GET /sso/logout`.

use askama::Template;

use crate::web::branding::Frame;

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

page!(ConfirmLogout);
