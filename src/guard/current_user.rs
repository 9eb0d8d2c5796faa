//! The caller, proven: an extractor for handlers behind the guard.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::request::Parts;

use crate::identity::Identity;
use crate::session::LiveSession;
use crate::session::key::SessionHandle;
use crate::web::failure::{Failure, FailureKind};

/// Whoever sent this request, as the guard found them. Holding one is the proof: only the guard makes it.
#[derive(Debug, Clone)]
pub struct CurrentUser(Arc<LiveSession>);

impl CurrentUser {
    pub(super) fn new(session: LiveSession) -> Self {
        Self(Arc::new(session))
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
        parts.extensions.get::<Self>().cloned().ok_or_else(|| FailureKind::SessionMissing.into())
    }
}
