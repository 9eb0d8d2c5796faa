//! The endpoints and capabilities that a provider publishes (OpenID Connect Discovery 1.0 3, RFC 8414 2). Data.

use url::Url;

use crate::discovery::offers::Offers;

/// The endpoints of a provider, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// The endpoint that the browser is sent to.
    pub authorization_endpoint: Url,
    /// The endpoint that exchanges the code.
    pub token_endpoint: Url,
    /// The userinfo endpoint (OpenID Connect only, and optional there).
    pub userinfo_endpoint: Option<Url>,
    /// The provider's public keys (OpenID Connect only).
    pub jwks_uri: Option<Url>,
    /// The endpoint at which the browser ends its session at the provider.
    pub end_session_endpoint: Option<Url>,
    /// The endpoint that revokes tokens (RFC 7009).
    pub revocation_endpoint: Option<Url>,
    /// The endpoint that takes pushed authorization requests (RFC 9126).
    pub pushed_authorization_request_endpoint: Option<Url>,
    /// Set if the provider takes no other authorization requests (RFC 9126 5).
    pub pushed_requests_demanded: bool,
    /// Set if the answer to the browser always names the issuer (RFC 9207 3).
    pub response_issuer_promised: bool,
    /// The claims that the provider may supply, if it lists them (Discovery 3).
    pub claims_supported: Option<Vec<String>>,
    /// Its other offers.
    pub offers: Offers,
}

impl Metadata {
    /// Returns every endpoint that there is, by its name in the document.
    pub(crate) fn endpoints(&self) -> [(&'static str, Option<&Url>); 7] {
        [
            ("authorization_endpoint", Some(&self.authorization_endpoint)),
            ("token_endpoint", Some(&self.token_endpoint)),
            ("userinfo_endpoint", self.userinfo_endpoint.as_ref()),
            ("jwks_uri", self.jwks_uri.as_ref()),
            ("end_session_endpoint", self.end_session_endpoint.as_ref()),
            ("revocation_endpoint", self.revocation_endpoint.as_ref()),
            ("pushed_authorization_request_endpoint", self.pushed_authorization_request_endpoint.as_ref()),
        ]
    }

    /// Returns those that the broker itself calls; browsers are sent to the others.
    pub(crate) fn endpoints_of_ours(&self) -> impl Iterator<Item = &Url> {
        let is_ours = |name: &str| !["authorization_endpoint", "end_session_endpoint"].contains(&name);
        self.endpoints().into_iter().filter(move |(name, _)| is_ours(name)).filter_map(|(_, url)| url)
    }
}
