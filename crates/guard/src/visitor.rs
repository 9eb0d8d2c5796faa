//! The person behind a request, for its line in the access log.

use std::sync::{Arc, OnceLock};

use counterfoil_session::LiveSession;

/// The session behind a request, noted by the code that finds it, in the request's context. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Visitor(Arc<OnceLock<LiveSession>>);

impl Visitor {
    /// Notes the session; the first note counts.
    pub fn note(&self, session: &LiveSession) {
        let _ = self.0.set(session.clone());
    }

    /// The session, if somebody found one.
    pub fn session(&self) -> Option<&LiveSession> {
        self.0.get()
    }
}
