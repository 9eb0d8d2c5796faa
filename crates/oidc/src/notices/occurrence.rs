//! The kinds of event that are acted on, by their types (CAEP 1.0 3.1, 3.3).

pub(crate) const SESSION_REVOKED: &str = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";
pub(crate) const CREDENTIAL_CHANGE: &str = "https://schemas.openid.net/secevent/caep/event-type/credential-change";

/// The kind of thing that happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occurrence {
    /// A session is over.
    SessionRevoked,
    /// A credential was made, changed, revoked or deleted: whoever has a session may not be who they were.
    CredentialChange,
}

impl Occurrence {
    /// Returns the kind of an event type, if it is one that is acted on.
    pub(crate) fn of_type(uri: &str) -> Option<Self> {
        match uri {
            SESSION_REVOKED => Some(Self::SessionRevoked),
            CREDENTIAL_CHANGE => Some(Self::CredentialChange),
            _ => None,
        }
    }
}
