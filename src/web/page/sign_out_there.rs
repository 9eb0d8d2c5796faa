//! The page between a logout here and the provider's, where that takes a form.

use askama::Template;

use super::bare_page;
use crate::web::branding::Frame;

/// The page after a logout here, with the one button that ends the provider's session too.
#[derive(Template)]
#[template(path = "sign_out_there.html", whitespace = "minimize")]
pub struct SignOutThere<'a> {
    /// What every page has in common.
    pub frame: Frame<'a>,
    /// What people call the provider.
    pub provider: &'a str,
    /// The provider's logout: the one address on our pages that is not ours.
    pub endpoint: &'a str,
    /// What the form says there.
    pub fields: &'a [(String, String)],
    /// Where "not there" leads.
    pub stay_href: &'a str,
}

impl SignOutThere<'_> {
    fn heading(&self) -> String {
        self.frame.language.text("sign-out-there-title")
    }
}

pages!(SignOutThere);

#[cfg(test)]
pub(super) fn sample(frame: Frame<'_>, value: &str) -> String {
    let fields = [(value.to_owned(), value.to_owned())];
    SignOutThere { frame, provider: value, endpoint: value, fields: &fields, stay_href: value }.html()
}
