//! The caller, proven: an extractor for handlers behind the guard.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use counterfoil_core::identity::Identity;
use counterfoil_core::secret::Secret;
use counterfoil_session::LiveSession;
use counterfoil_session::key::SessionHandle;
use http::request::Parts;

use super::request_target::RequestTarget;
use super::route::Route;
use crate::refusal::{Refusal, RefusalKind};

/// A request that the guard let pass, as far as it was looked at; stands in the request's extensions.
#[derive(Debug, Clone)]
pub struct Admitted {
    /// The path in the spelling in which it was matched.
    pub target: RequestTarget,
    /// The route that covers it.
    pub route: Arc<Route>,
    /// The caller, if there is one.
    pub user: Option<CurrentUser>,
    /// The provider's access token, where the route passes it on.
    pub access_token: Option<Secret<String>>,
}

/// Whoever sent this request, as the guard found them. Holding one is the proof: only the guard makes it.
#[derive(Debug, Clone)]
pub struct CurrentUser(LiveSession);

impl CurrentUser {
    pub(super) fn new(session: LiveSession) -> Self {
        Self(session)
    }

    /// The person, as the identity provider described them.
    pub fn identity(&self) -> &Identity {
        &self.0.record().identity
    }

    /// Returns a value that follows from the person and their session alone, such as how they are shown to others. It is
    /// made once for a session, as long as this process remembers it; values of a second type are made each time.
    pub fn derived<T: Send + Sync + 'static>(&self, make: impl Fn(&Self) -> T) -> Arc<T> {
        self.0.derived(|| make(self))
    }

    /// The public name of their session.
    pub fn session(&self) -> SessionHandle {
        self.0.handle()
    }
}

impl<S: Sync> FromRequestParts<S> for CurrentUser {
    type Rejection = Refusal;

    /// Refuses with 401 where the guard let a stranger pass (a public route) or does not stand at all.
    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Refusal> {
        let admitted = parts.extensions.get::<Admitted>();
        admitted.and_then(|admitted| admitted.user.clone()).ok_or_else(|| RefusalKind::SessionMissing.into())
    }
}
