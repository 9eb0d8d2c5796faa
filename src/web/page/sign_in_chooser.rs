//! The page with the choice between several providers, drawn for `GET /sso/login`.

use askama::Template;

use crate::web::branding::Frame;

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

page!(SignInChooser);
