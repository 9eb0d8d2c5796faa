//! The types of security event that are acted on (CAEP 1.0 3.1, 3.3).

pub(crate) const SESSION_REVOKED: &str = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";
pub(crate) const CREDENTIAL_CHANGE: &str = "https://schemas.openid.net/secevent/caep/event-type/credential-change";

/// A type of security event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventType {
    /// A session is over.
    SessionRevoked,
    /// A credential was made, changed, revoked or deleted: somebody else may be using the person's sessions.
    CredentialChange,
}

impl EventType {
    /// Returns the type of this URI, if it is one that is acted on.
    pub(crate) fn of_uri(uri: &str) -> Option<Self> {
        match uri {
            SESSION_REVOKED => Some(Self::SessionRevoked),
            CREDENTIAL_CHANGE => Some(Self::CredentialChange),
            _ => None,
        }
    }
}
