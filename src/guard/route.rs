//! The routes of the configuration: first match by path, nothing else of a request counts (R-I05).

use std::fmt;
use std::sync::Arc;

use http::Uri;
use thiserror::Error;
use time::Duration;

use super::access::AccessRule;
use super::request_target::{InvalidTarget, RequestTarget};

/// One `[[route]]` of the configuration.
#[derive(Debug, Clone)]
pub struct Route {
    /// Which paths it covers.
    pub path: PathRule,
    /// Where its requests go: scheme, host and port. `None` for applications mounted in this process.
    pub upstream: Option<Uri>,
    /// Who may pass.
    pub access: AccessRule,
    /// What strangers are told.
    pub on_anonymous: OnAnonymous,
    /// The oldest authentication that may pass.
    pub max_auth_age: Option<Duration>,
    /// Whether the upstream gets the provider's access token.
    pub pass_access_token: bool,
    /// Ways to authenticate (`acr`), any of which may pass; empty: all.
    pub acr: Vec<String>,
}

/// What a request without a session is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnAnonymous {
    /// Pages are sent to the login, everything else gets 401.
    Auto,
    /// Every GET is sent to the login.
    Login,
    /// Everything gets 401.
    Unauthorized,
}

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

impl Route {
    /// Whether a login for this route is another than for any other page: with a certain provider, or proving more.
    pub fn demands_of_login(&self) -> bool {
        self.max_auth_age.is_some() || !self.acr.is_empty() || !self.access.idps.is_empty()
    }
}

/// Why a text is no path rule.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidPathRule {
    /// Not an absolute path in its one spelling.
    #[error(
        "must be a path such as /admin, or `= /admin` for that path alone, without `..`, `//`, `;`, `?` or escapes"
    )]
    NotAPath,
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
        let target = path.parse().ok().and_then(|uri| RequestTarget::read(&uri).ok());
        let canonical = target.is_some_and(|target| target.path_and_query() == path);
        if !canonical || path.contains([';', '%', '?']) {
            return Err(InvalidPathRule::NotAPath);
        }
        Ok(match path.strip_suffix('/') {
            Some(prefix) if !exact => Self::Prefix(prefix.to_owned()),
            None if !exact => Self::Prefix(path.to_owned()),
            _ => Self::Exact(path.to_owned()),
        })
    }

    fn covers(&self, path: &str) -> bool {
        match self {
            Self::Exact(own) => path == own,
            Self::Prefix(own) => {
                path.strip_prefix(own.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
        }
    }

    /// The rule for the loosest readings of paths: in lower case, without a slash at its end.
    fn loosest(&self) -> Self {
        let loosest = |own: &str| own.to_ascii_lowercase().trim_end_matches('/').to_owned();
        match self {
            Self::Exact(own) => Self::Exact(loosest(own)),
            Self::Prefix(own) => Self::Prefix(loosest(own)),
        }
    }
}

/// All routes, in order.
#[derive(Debug, Clone, Default)]
pub struct RouteTable {
    routes: Vec<(Arc<Route>, PathRule)>,
}

impl RouteTable {
    /// A table of these routes, in order.
    pub fn new(routes: Vec<Route>) -> Self {
        let folded = |route: Route| {
            let loosest = route.path.loosest();
            (Arc::new(route), loosest)
        };
        Self { routes: routes.into_iter().map(folded).collect() }
    }

    /// The first route that covers a path; `None` if none does.
    ///
    /// # Errors
    /// [`InvalidTarget::Ambiguous`] if another server could read the path as one of another route's.
    pub fn find(&self, target: &RequestTarget) -> Result<Option<Arc<Route>>, InvalidTarget> {
        let literal = self.routes.iter().position(|(route, _)| route.path.covers(target.path()));
        let loosest = target.loosest_reading()?;
        if self.routes.iter().position(|(_, folded)| folded.covers(&loosest)) != literal {
            return Err(InvalidTarget::Ambiguous);
        }
        Ok(literal.map(|index| self.routes[index].0.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(paths: &[&str]) -> RouteTable {
        let route = |path: &&str| Route {
            path: PathRule::parse(path).unwrap(),
            upstream: None,
            access: AccessRule::default(),
            on_anonymous: OnAnonymous::Auto,
            max_auth_age: None,
            pass_access_token: false,
            acr: Vec::new(),
        };
        RouteTable::new(paths.iter().map(route).collect())
    }

    fn found(table: &RouteTable, path: &str) -> Result<Option<PathRule>, InvalidTarget> {
        let target = RequestTarget::read(&path.parse().unwrap())?;
        Ok(table.find(&target)?.map(|route| route.path.clone()))
    }

    /// R-I05
    #[test]
    fn the_first_route_that_covers_the_path_by_whole_segments_is_found() {
        let table = table(&["= /admin/health", "/admin", "/public/", "= /"]);
        for (path, rule) in [
            ("/admin/health", Some(PathRule::Exact("/admin/health".into()))),
            ("/admin/health-x", Some(PathRule::Prefix("/admin".into()))),
            ("/admin", Some(PathRule::Prefix("/admin".into()))),
            ("/admin/?x=/public", Some(PathRule::Prefix("/admin".into()))),
            ("/public", Some(PathRule::Prefix("/public".into()))),
            ("/", Some(PathRule::Exact("/".into()))),
            ("/administrator", None),
            ("/x?/admin", None),
        ] {
            assert_eq!(found(&table, path), Ok(rule), "{path}");
        }
    }

    /// R-I04: what an upstream could read as /admin never passes by the rule for everything else.
    #[test]
    fn a_path_that_another_server_reads_as_another_route_is_refused() {
        let table = table(&["/Admin", "/"]);
        for path in [
            "/admin",
            "/ADMIN/users",
            "/Admin%2Fusers",
            "/admin;x=1/users",
            "/Admin;x",
            "/Admin.",
            "/Admin%3Fx",
            "/Admin%20",
        ] {
            assert_eq!(found(&table, path), Err(InvalidTarget::Ambiguous), "{path}");
        }
        for path in ["/Admin/users", "/Orders/A%2FB;c"] {
            assert!(found(&table, path).unwrap().is_some(), "{path}");
        }
    }

    #[test]
    fn rules_are_written_in_the_one_spelling() {
        for bad in ["", "admin", "/a//b", "/a/../b", "/%61", "/a;b", "/a?b", "= admin", "/a b", "*"] {
            assert_eq!(PathRule::parse(bad), Err(InvalidPathRule::NotAPath), "{bad}");
        }
    }
}
