//! The page between a logout here and the provider's, where that takes a form.

use askama::Template;

use crate::web::branding::Frame;

/// The page after a logout here, with the one button that ends the provider's session too.
#[derive(Template)]
#[template(path = "sign_out_there.html", whitespace = "minimize")]
pub struct SignOutThere<'a> {
    /// The elements that every page has in common.
    pub frame: Frame<'a>,
    /// The name that people know the provider by.
    pub provider: &'a str,
    /// The provider's logout: the one address on our pages that is not ours.
    pub endpoint: &'a str,
    /// The names and values of the form's fields.
    pub fields: &'a [(String, String)],
    /// The address that "not there" leads to.
    pub stay_href: &'a str,
}

impl SignOutThere<'_> {
    fn heading(&self) -> String {
        self.frame.language.text("sign-out-there-title")
    }
}

page!(SignOutThere);

#[cfg(test)]
pub(super) fn sample(frame: Frame<'_>, value: &str) -> String {
    let fields = [(value.to_owned(), value.to_owned())];
    SignOutThere { frame, provider: value, endpoint: value, fields: &fields, stay_href: value }.html()
}
