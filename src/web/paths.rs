//! The broker's part of the site, as the guard and every way back to a page know it.

use std::borrow::Cow;

use crate::guard::broker_paths::BrokerPaths;

/// The page for a person who signed in for the sake of another tab.
pub const SIGNED_IN: &str = "/sso/signed-in";

/// The broker's part of the site.
pub const PATHS: BrokerPaths = BrokerPaths {
    root: Some(Cow::Borrowed("/sso")),
    login: Cow::Borrowed("/sso/login"),
    signed_in: Some(Cow::Borrowed(SIGNED_IN)),
};
