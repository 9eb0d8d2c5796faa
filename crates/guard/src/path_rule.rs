//! Which paths a route covers, as the configuration writes it.

use std::fmt;

use thiserror::Error;

use super::reading::readings;

/// Which paths a route covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathRule {
    /// This path alone (`= /x`).
    Exact(String),
    /// This path and everything below it, by whole segments (`/x`).
    Prefix(String),
}

impl fmt::Display for PathRule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(path) => write!(formatter, "= {path}"),
            Self::Prefix(path) if path.is_empty() => formatter.write_str("/"),
            Self::Prefix(path) => formatter.write_str(path),
        }
    }
}

/// A text that is no path rule.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidPathRule {
    /// Not an absolute path in its one spelling.
    #[error(
        "must be a path such as /admin, or `= /admin` for that path alone, without `..`, `//`, `;`, `?` or escapes"
    )]
    NotAPath,
    /// A wildcard, as other proxies write it.
    #[error(
        "must not contain `*`, which is no wildcard here: /admin covers everything below it, `= /admin` that path alone"
    )]
    Wildcard,
}

impl PathRule {
    /// Reads a rule.
    ///
    /// # Errors
    /// [`InvalidPathRule`] unless requests could match it: rules are written in the one spelling of paths.
    pub fn parse(text: &str) -> Result<Self, InvalidPathRule> {
        let (exact, path) = match text.strip_prefix('=') {
            Some(rest) => (true, rest.trim_start()),
            None => (false, text),
        };
        let is_path = path.starts_with('/')
            && path.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"#%;<>?\\^`{|}".contains(&byte))
            && readings(path).is_ok_and(|readings| readings.len() == 1);
        if !is_path {
            return Err(InvalidPathRule::NotAPath);
        }
        if path.contains('*') {
            return Err(InvalidPathRule::Wildcard);
        }
        Ok(match path.strip_suffix('/') {
            Some(prefix) if !exact => Self::Prefix(prefix.to_owned()),
            None if !exact => Self::Prefix(path.to_owned()),
            _ => Self::Exact(path.to_owned()),
        })
    }

    /// Is true if no path is one of another rule alone, for servers that ignore case as well: what is of both is of the
    /// first of them, or refused.
    pub(crate) fn hides(&self, other: &Self) -> bool {
        let own = self.loose();
        match (self, other) {
            (Self::Exact(_), Self::Prefix(_)) => false,
            (_, Self::Exact(other) | Self::Prefix(other)) => own.covers_loosely(other),
        }
    }

    pub(crate) fn covers(&self, path: &str) -> bool {
        match self {
            Self::Exact(own) => path == own,
            // An empty comparison takes 75 ns on some machines.
            Self::Prefix(own) if own.is_empty() => path.is_empty() || path.starts_with('/'),
            Self::Prefix(own) => {
                path.strip_prefix(own.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
        }
    }

    /// The rule for servers that ignore case and a slash at the end: in lower case, without one.
    #[must_use]
    pub fn loose(&self) -> Self {
        let loose = |own: &str| own.to_ascii_lowercase().trim_end_matches('/').to_owned();
        match self {
            Self::Exact(own) => Self::Exact(loose(own)),
            Self::Prefix(own) => Self::Prefix(loose(own)),
        }
    }

    /// Is true if such a server takes a path for one of this rule, which has been made [`Self::loose`].
    pub(crate) fn covers_loosely(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/').as_bytes();
        match self {
            Self::Exact(own) => path.eq_ignore_ascii_case(own.as_bytes()),
            Self::Prefix(own) => path.split_at_checked(own.len()).is_some_and(|(same, rest)| {
                same.eq_ignore_ascii_case(own.as_bytes()) && matches!(rest, [] | [b'/', ..])
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_written_in_the_one_spelling() {
        for bad in [
            "", "admin", "/a//b", "/a/../b", "/%61", "/a;b", "/a?b", "= admin", "/a b", "*", "/a/./b", "/a|b", "/a.",
            "/a::$b", "/é", "//a", "/a#b",
        ] {
            assert_eq!(PathRule::parse(bad), Err(InvalidPathRule::NotAPath), "{bad}");
        }
        for wildcard in ["/admin/*", "/admin*", "= /*", "/**/x"] {
            assert_eq!(PathRule::parse(wildcard), Err(InvalidPathRule::Wildcard), "{wildcard}");
        }
        for good in ["/", "= /", "/a/", "/.well-known/x", "/v1/items:batchGet", "/a@b,c+d~e!", "= /a.b"] {
            assert!(PathRule::parse(good).is_ok(), "{good}");
        }
    }
}
