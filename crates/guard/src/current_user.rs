//! The caller, proven: an extractor for handlers behind the guard.

use std::sync::Arc;

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use counterfoil_core::identity::Identity;
use counterfoil_core::secret::Secret;
use counterfoil_session::LiveSession;
use counterfoil_session::key::SessionHandle;
use http::request::Parts;

use super::cookies::CookiePolicy;
use super::public_url::PublicUrl;
use super::recheck::Recheck;
use super::route::Route;
use super::upgrade::Protocol;
use crate::refusal::{Refusal, RefusalKind};

/// A request that the guard let pass, as far as it was looked at; stands in the request's extensions.
#[derive(Debug, Clone)]
pub struct Admitted {
    /// The route that covers it.
    pub route: Arc<Route>,
    /// The caller, if there is one.
    pub user: Option<CurrentUser>,
    /// The provider's access token, where the route passes it on.
    pub access_token: Option<Secret<String>>,
    /// Judges the caller's session once more, while the answer goes on.
    pub recheck: Option<Recheck>,
    /// The protocol that its connection may be upgraded to.
    pub upgrade: Option<Protocol>,
    /// Writes the session's cookie.
    pub cookies: Arc<CookiePolicy>,
    /// The origin that browsers see.
    pub public_url: Arc<PublicUrl>,
}

/// The authenticated caller of a request. Only the guard makes it, so a handler that holds one is behind the guard.
#[derive(Debug, Clone)]
pub struct CurrentUser(LiveSession);

impl CurrentUser {
    pub(super) fn new(session: LiveSession) -> Self {
        Self(session)
    }

    /// A caller without a guard, for tests of handlers.
    #[cfg(feature = "test-util")]
    #[cfg_attr(docsrs, doc(cfg(feature = "test-util")))]
    pub fn for_test(identity: Identity) -> Self {
        Self(LiveSession::for_test(identity))
    }

    /// The person, as the identity provider described them.
    pub fn identity(&self) -> &Identity {
        &self.0.record().identity
    }

    /// Returns a value derived from the person and their session alone, such as their headers for an upstream. It is
    /// computed once for a session and cached with it; values of a second type are computed each time. A type must have
    /// one `make`: the first one fills the cache.
    #[doc(hidden)]
    pub fn derived<T: Send + Sync + 'static>(&self, make: impl Fn(&Self) -> T) -> Arc<T> {
        self.0.derived(|| make(self))
    }

    /// The name to show for the person.
    pub fn display_name(&self) -> &str {
        self.identity().display_name()
    }

    /// Is true if the person is in this group, compared exactly.
    pub fn is_in(&self, group: &str) -> bool {
        self.identity().groups.iter().any(|own| own == group)
    }

    /// The public name of their session.
    pub fn session(&self) -> SessionHandle {
        self.0.handle()
    }
}

/// The request as the guard let it pass.
pub(crate) fn admitted(parts: &Parts) -> Result<&Admitted, Refusal> {
    parts.extensions.get().ok_or_else(|| {
        let refusal = Refusal::from(RefusalKind::MissingLayer);
        tracing::error!(path = parts.uri.path(), "{}", refusal.advice());
        refusal
    })
}

impl<S: Sync> FromRequestParts<S> for CurrentUser {
    type Rejection = Refusal;

    /// Refuses with 401 where the guard let an anonymous request pass (a public route), and with 500 without a guard.
    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Refusal> {
        admitted(parts)?.user.clone().ok_or_else(|| RefusalKind::SessionMissing.into())
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for CurrentUser {
    type Rejection = Refusal;

    /// `None` where the guard let an anonymous request pass; refuses with 500 without a guard.
    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Option<Self>, Refusal> {
        Ok(admitted(parts)?.user.clone())
    }
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;
    use http::{Request, StatusCode};

    use super::*;
    use crate::access::AccessRule;
    use crate::route::PathRule;

    /// The statuses that a handler gets who asks for the caller, and one who asks whether there is a caller; 200 stands
    /// for `None`.
    async fn asked(admitted: Option<Admitted>) -> (StatusCode, StatusCode) {
        let (mut parts, ()) = Request::new(()).into_parts();
        if let Some(admitted) = admitted {
            parts.extensions.insert(admitted);
        }
        let needed = <CurrentUser as FromRequestParts<()>>::from_request_parts(&mut parts, &()).await;
        let optional = <CurrentUser as OptionalFromRequestParts<()>>::from_request_parts(&mut parts, &()).await;
        assert!(needed.is_ok() == optional.as_ref().is_ok_and(Option::is_some));
        let status = |refusal: Refusal| refusal.into_response().status();
        (needed.map_or_else(status, |_| StatusCode::OK), optional.map_or_else(status, |_| StatusCode::OK))
    }

    /// A handler that is mounted outside the guard is a defect of the application: 500, not 401.
    #[tokio::test]
    async fn a_handler_without_a_guard_is_told_apart_from_a_stranger() {
        let route = Arc::new(Route::new(PathRule::Prefix(String::new()), AccessRule::public()));
        let public_url = Arc::new(PublicUrl::parse("https://a.example").unwrap());
        let cookies = CookiePolicy::new(&public_url, None).into();
        let stranger =
            Admitted { route, user: None, access_token: None, recheck: None, upgrade: None, cookies, public_url };
        assert_eq!(asked(Some(stranger)).await, (StatusCode::UNAUTHORIZED, StatusCode::OK));
        let defect = StatusCode::INTERNAL_SERVER_ERROR;
        assert_eq!(asked(None).await, (defect, defect));
        let text = Refusal::from(RefusalKind::MissingLayer).advice().to_owned();
        assert!(text.starts_with("no guard stands in front of this handler: wrap the router"), "{text}");
    }
}
