//! The paths of the sign-in, which the guard redirects to and never guards.

use std::borrow::Cow;

/// The paths of a site that are not the application's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerPaths {
    /// The prefix of the broker's own paths, which never reach the application and are no return paths; `None` if there
    /// is no such part.
    pub root: Option<Cow<'static, str>>,
    /// The address that signs people in; it is given `return_to`, and `ended=1` for those whose session has ended.
    /// Empty if there is no login.
    pub login: Cow<'static, str>,
    /// The page for a person who signed in for the sake of another tab; `None` if there is no such page.
    pub signed_in: Option<Cow<'static, str>>,
}

impl BrokerPaths {
    /// Makes the paths of a site without a login.
    pub fn none() -> Self {
        Self::login_at("")
    }

    /// The paths of a site whose application signs people in itself, at this address.
    pub fn login_at(path: impl Into<Cow<'static, str>>) -> Self {
        Self { root: None, login: path.into(), signed_in: None }
    }

    /// Is true if a path, in lower case and without escapes, lies in our part of the site in any spelling that some
    /// server may fold onto it (RFC 3986 6.2.2, path parameters).
    pub(crate) fn holds(&self, decoded: &[u8]) -> bool {
        let lies_below = |own: &str| {
            let mut segments = segments(decoded);
            !own.is_empty()
                && own
                    .trim_matches('/')
                    .split('/')
                    .all(|own| segments.next().is_some_and(|segment| segment.eq_ignore_ascii_case(own.as_bytes())))
        };
        self.root.as_deref().is_some_and(lies_below) || lies_below(&self.login)
    }
}

/// The segments of a path, without their parameters.
fn segments(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let path = path.strip_prefix(b"/").unwrap_or(path);
    path.split(|byte| *byte == b'/')
        .map(|segment| segment.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii())
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::return_to::ReturnTo;

    /// An application's own login is no return path: that would be a redirect loop.
    #[test]
    fn a_login_of_the_applications_own_is_led_to_and_never_landed_on() {
        let paths = BrokerPaths::login_at("/account/login");
        for path in ["/account/login", "/Account/Login", "/account/login;x?y=1", "/account/%6cogin/"] {
            assert_eq!(ReturnTo::parse(path, &paths), None, "{path}");
        }
        for path in ["/account", "/account/logins", "/sso/logout", "/login"] {
            assert!(ReturnTo::parse(path, &paths).is_some(), "{path}");
        }
        let orders = ReturnTo::parse("/orders", &paths).unwrap();
        assert_eq!(orders.login_href(&paths), "/account/login?return_to=%2Forders");
        assert_eq!(orders.ended_href(&paths), "/account/login?return_to=%2Forders&ended=1");
        assert_eq!(ReturnTo::signed_in_for(Some((&orders, &Method::POST)), &paths), None);
    }
}
