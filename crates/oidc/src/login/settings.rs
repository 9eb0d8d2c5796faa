//! The settings of one provider's logins: what is asked for, and how the request travels.

use crate::client::signing_key::SigningKey;
use crate::login::push_policy::PushedRequests;
use crate::login::request_settings::RequestSettings;

/// One provider's logins.
#[derive(Debug, Clone, Default)]
pub struct LoginSettings {
    /// Scopes that are asked for.
    pub scopes: Vec<String>,
    /// Additions to authorization requests beyond the protocol's own.
    pub request: RequestSettings,
    /// Policy on pushing authorization requests (RFC 9126).
    pub pushed_requests: PushedRequests,
    /// Signs authorization requests, if they are to be signed (RFC 9101).
    pub request_object_key: Option<SigningKey>,
}
