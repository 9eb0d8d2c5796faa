//! The scopes this provider knows.
//!
//! Owns which scopes exist and the set of them that a grant carries. Called wherever a scope is read or checked.

/// Every scope there is, in the order they are written in answers.
pub(super) const KNOWN: [&str; 5] = ["openid", "profile", "email", "groups", "offline_access"];

/// A set of known scopes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scopes(Vec<&'static str>);

impl Scopes {
    /// Keeps the known ones of the requested; unknown ones are ignored, OpenID Connect Core 1.0 section 3.1.2.1.
    pub(super) fn granted(requested: &str) -> Self {
        let is_requested = |known: &&str| requested.split(' ').any(|scope| scope == *known);
        Self(KNOWN.into_iter().filter(is_requested).collect())
    }

    /// Returns the same set without `openid`, which means nothing in plain OAuth 2.0.
    pub(super) fn without_openid(mut self) -> Self {
        self.0.retain(|scope| *scope != "openid");
        self
    }

    /// Returns a subset asked for at refresh; `None` if it asks for more than was granted, RFC 6749 section 6.
    pub(super) fn narrowed_to(&self, requested: &str) -> Option<Self> {
        let mut asked = requested.split(' ').filter(|scope| !scope.is_empty());
        asked.all(|scope| self.contains(scope)).then(|| Self::granted(requested))
    }

    /// Is true if the set has this scope.
    pub(super) fn contains(&self, scope: &str) -> bool {
        self.0.contains(&scope)
    }

    /// Returns the set as the value of a `scope` parameter.
    pub(super) fn to_parameter(&self) -> String {
        self.0.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refresh_may_narrow_the_scope_but_not_widen_it() {
        let scopes = Scopes::granted("email openid made-up profile");
        assert_eq!(scopes.to_parameter(), "openid profile email");
        assert_eq!(scopes.narrowed_to("openid email"), Some(Scopes::granted("openid email")));
        assert_eq!(scopes.narrowed_to("openid groups"), None);
    }
}
