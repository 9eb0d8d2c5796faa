//! A guard for an application of one's own, described in code.

use std::borrow::Cow;
use std::sync::Arc;

use counterfoil_session::{SessionReader, Sessions};
use http::Method;
use thiserror::Error;
use time::Duration;

use crate::access::AccessRule;
use crate::broker_paths::BrokerPaths;
use crate::cookies::{CookiePolicy, InvalidCookieName, check_session_name};
use crate::layer::{Guard, GuardParts};
use crate::public_url::{InvalidPublicUrl, PublicUrl};
use crate::revalidation::{NoRevalidation, Revalidator};
use crate::route::{InvalidPathRule, OnAnonymous, PathRule, Place, Route, RouteTable};

/// The reason that a description makes no guard.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum GuardError {
    /// The public URL cannot be one.
    #[error("the public URL {0}")]
    PublicUrl(InvalidPublicUrl),
    /// A path cannot be one.
    #[error("the path {path:?} {fault}")]
    Path {
        /// The path as it was written.
        path: String,
        /// The fault in it.
        fault: InvalidPathRule,
    },
    /// A rule never applies, because an earlier one covers its whole path: the first rule that covers a path counts.
    #[error("the rule for {path:?} never applies: the earlier one for {by:?} covers it")]
    NeverApplies {
        /// The path of the rule.
        path: String,
        /// The path of the earlier rule.
        by: String,
    },
    /// The session's cookie cannot have this name.
    #[error("the name of the cookie {0}")]
    CookieName(InvalidCookieName),
    /// The login is behind the guard itself: nobody could ever sign in.
    #[error("the login {0:?} is not public: add `.public({0:?})` before the rule that covers it")]
    LoginNotPublic(String),
}

/// Collects what a [`Guard`] is made of; made by [`Guard::builder`].
#[derive(Debug)]
pub struct GuardBuilder {
    sessions: SessionReader,
    public_url: String,
    rules: Vec<(String, AccessRule)>,
    login: Option<String>,
    revalidator: Arc<dyn Revalidator>,
    cookie_name: Option<String>,
}

impl Guard {
    /// Begins to describe a guard that asks `sessions`, for a site that browsers reach by `public_url`. Rules apply in
    /// their order: the first that covers a path counts, and a path that none covers is refused.
    pub fn builder(sessions: &Sessions, public_url: impl Into<String>) -> GuardBuilder {
        GuardBuilder {
            sessions: sessions.reader(),
            public_url: public_url.into(),
            rules: Vec::new(),
            login: None,
            revalidator: Arc::new(NoRevalidation),
            cookie_name: None,
        }
    }
}

impl GuardBuilder {
    /// Lets everybody pass to a path and everything below it. Handlers there may take an `Option<CurrentUser>`.
    #[must_use]
    pub fn public(self, path: impl Into<String>) -> Self {
        self.rule(path, AccessRule::public())
    }

    /// Lets those pass whom a rule allows, to a path and everything below it (`/finance`), or to that path alone
    /// (`= /finance`).
    #[must_use]
    pub fn rule(mut self, path: impl Into<String>, rule: AccessRule) -> Self {
        self.rules.push((path.into(), rule));
        self
    }

    /// Sends people who ask for a page without a session to this address, which is given `return_to`. Everything else
    /// gets 401, and so does everything if no login is named.
    #[must_use]
    pub fn login_at(mut self, path: impl Into<String>) -> Self {
        self.login = Some(path.into());
        self
    }

    /// Asks whether sessions are still what their providers say. Without one, sessions are never revalidated.
    #[must_use]
    pub fn revalidator(mut self, revalidator: Arc<dyn Revalidator>) -> Self {
        self.revalidator = revalidator;
        self
    }

    /// Names the session's cookie instead of `__Host-session` (over HTTP on loopback `session`).
    #[must_use]
    pub fn cookie_name(mut self, name: impl Into<String>) -> Self {
        self.cookie_name = Some(name.into());
        self
    }

    /// Makes the guard.
    ///
    /// # Errors
    /// [`GuardError`] if the description would refuse what it names, or let pass what it does not.
    pub fn build(self) -> Result<Guard, GuardError> {
        let public_url = Arc::new(PublicUrl::parse(&self.public_url).map_err(GuardError::PublicUrl)?);
        let on_anonymous = if self.login.is_some() { OnAnonymous::Auto } else { OnAnonymous::Unauthorized };
        let mut routes: Vec<Route> = Vec::new();
        for (path, access) in self.rules {
            let rule = PathRule::parse(&path).map_err(|fault| GuardError::Path { path: path.clone(), fault })?;
            if let Some(earlier) = routes.iter().find(|earlier| earlier.path.hides(&rule)) {
                return Err(GuardError::NeverApplies { path, by: earlier.path.to_string() });
            }
            routes.push(Route { on_anonymous, ..Route::new(rule, access) });
        }
        let paths = self.login.map_or_else(BrokerPaths::none, |login| BrokerPaths::login_at(Cow::Owned(login)));
        let routes = Arc::new(RouteTable::new(routes, &paths));
        if !paths.login.is_empty()
            && let Err(fault) = PathRule::parse(&paths.login)
        {
            return Err(GuardError::Path { path: paths.login.into_owned(), fault });
        }
        if !paths.login.is_empty() && !is_public(&routes, &paths.login) {
            return Err(GuardError::LoginNotPublic(paths.login.into_owned()));
        }
        if let Some(name) = &self.cookie_name {
            check_session_name(name, public_url.is_https()).map_err(GuardError::CookieName)?;
        }
        let cookies = Arc::new(CookiePolicy::new(&public_url, self.cookie_name));
        let (clock, clock_skew) = (self.sessions.clock().clone(), Duration::ZERO);
        let (sessions, revalidator) = (self.sessions, self.revalidator);
        Ok(GuardParts { routes, sessions, revalidator, cookies, clock, clock_skew, public_url, paths }.into())
    }
}

fn is_public(routes: &RouteTable, path: &str) -> bool {
    matches!(routes.locate(path, &Method::GET), Ok((_, Place::Route(route))) if route.access.public)
}

#[cfg(test)]
mod tests {
    use counterfoil_core::clock::SystemClock;
    use counterfoil_core::secret::keyring::Keyring;
    use counterfoil_session::store::memory::MemoryStore;

    use super::*;

    /// One line a mistake: each would open, or shut, more than its author sees.
    #[tokio::test]
    async fn a_contradictory_description_makes_no_guard() {
        let sessions = Sessions::builder(MemoryStore::new(Arc::new(SystemClock)), Keyring::ephemeral()).start();
        let guard = || Guard::builder(&sessions, "https://office.example.com");
        let never = |path: &str, by: &str| GuardError::NeverApplies { path: path.into(), by: by.into() };
        let signed_in = AccessRule::signed_in;
        for (described, error) in [
            (guard().rule("/", signed_in()).rule("/finance", AccessRule::any_group(["x"])), never("/finance", "/")),
            (guard().rule("/a", signed_in()).public("= /a/b"), never("= /a/b", "/a")),
            (guard().public("= /a").rule("= /a", signed_in()), never("= /a", "= /a")),
            (guard().rule("/api", signed_in()).rule("/API", signed_in()), never("/API", "/api")),
            (guard().public("= /a").public("= /A/"), never("= /A/", "= /a")),
            (guard().rule("/", signed_in()).login_at("/login"), GuardError::LoginNotPublic("/login".into())),
            (guard().public("/log").login_at("/login"), GuardError::LoginNotPublic("/login".into())),
            (guard().public("a"), GuardError::Path { path: "a".into(), fault: InvalidPathRule::NotAPath }),
            (guard().cookie_name("a b"), GuardError::CookieName(InvalidCookieName::NotAName)),
            (guard().cookie_name("a\nb"), GuardError::CookieName(InvalidCookieName::NotAName)),
            (guard().cookie_name("session"), GuardError::CookieName(InvalidCookieName::WithoutPrefix)),
            (
                Guard::builder(&sessions, "http://localhost").cookie_name("__Host-session"),
                GuardError::CookieName(InvalidCookieName::PrefixOverHttp),
            ),
            (Guard::builder(&sessions, "http://office.example.com"), GuardError::PublicUrl(InvalidPublicUrl::NotHttps)),
        ] {
            assert_eq!(described.build().err(), Some(error));
        }
        let good = guard().public("= /a").rule("/a", signed_in()).public("/login").login_at("/login");
        assert!(good.rule("/", signed_in()).build().is_ok());
    }
}
