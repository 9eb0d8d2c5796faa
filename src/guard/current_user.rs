//! The caller, proven: an extractor for handlers behind the guard.

use axum::extract::FromRequestParts;
use http::request::Parts;

use super::require_session::Admitted;
use crate::identity::Identity;
use crate::session::LiveSession;
use crate::session::key::SessionHandle;
use crate::web::failure::{Failure, FailureKind};

/// Whoever sent this request, as the guard found them. Holding one is the proof: only the guard makes it.
#[derive(Debug, Clone)]
pub struct CurrentUser(LiveSession);

impl CurrentUser {
    pub(super) fn new(session: LiveSession) -> Self {
        Self(session)
    }

    /// Who it is.
    pub fn identity(&self) -> &Identity {
        &self.0.record().identity
    }

    /// The public name of their session.
    pub fn session(&self) -> SessionHandle {
        self.0.handle()
    }
}

impl<S: Sync> FromRequestParts<S> for CurrentUser {
    type Rejection = Failure;

    /// Refuses with 401 where the guard let a stranger pass (a public route) or does not stand at all.
    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Failure> {
        let admitted = parts.extensions.get::<Admitted>();
        admitted.and_then(|admitted| admitted.user.clone()).ok_or_else(|| FailureKind::SessionMissing.into())
    }
}
