//! The address that the answer to an authorization request goes to.
//!
//! Owns that only an exactly registered redirect URI ever gets one, and what every answer carries. Pure. Called
//! by `authorization_request`, which reads it first, and `authorize`.

use super::authorization_request::RequestError;
use super::parameters::{Parameters, extended};
use super::{Protocol, RegisteredClient, clients};

/// The reason why there is nowhere to send an answer to: the person sees a page, RFC 6749 section 4.1.2.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum AddressError {
    #[error("The request does not name a client that is registered here (client_id).")]
    UnknownClient,
    #[error("The request's redirect_uri is not exactly one that is registered for this client.")]
    UnregisteredRedirectUri,
}

/// The target of an answer, and what every answer carries; only made for a registered redirect URI.
#[derive(Debug)]
pub(super) struct Address {
    pub redirect_uri: String,
    state: Option<String>,
    /// The `iss` parameter of RFC 9207.
    issuer: Option<String>,
}

impl Address {
    /// Returns the URL that brings a code to the client.
    pub(super) fn with_code(&self, code: &str) -> String {
        self.with(&[("code", code)])
    }

    /// Returns the URL that brings an error to the client.
    pub(super) fn with_error(&self, error: RequestError) -> String {
        self.with(&[("error", error.code()), ("error_description", &error.to_string())])
    }

    fn with(&self, answer: &[(&str, &str)]) -> String {
        let mut pairs = answer.to_vec();
        pairs.extend(self.state.as_deref().map(|state| ("state", state)));
        pairs.extend(self.issuer.as_deref().map(|issuer| ("iss", issuer)));
        extended(&self.redirect_uri, &pairs)
    }

    /// Reads the parameters that decide where an answer may go; everything else is looked at later.
    pub(super) fn read(
        protocol: Protocol,
        parameters: &Parameters,
        issuer: &str,
        known: &[RegisteredClient],
    ) -> Result<(String, Self), AddressError> {
        let client = parameters.get("client_id").and_then(|client_id| clients::find(known, client_id));
        let client = client.ok_or(AddressError::UnknownClient)?;
        // The comparison is one of strings, RFC 9700 section 2.1.
        let redirect_uri = parameters
            .get("redirect_uri")
            .filter(|uri| client.redirect_uris.iter().any(|registered| registered == uri))
            .ok_or(AddressError::UnregisteredRedirectUri)?;
        let address = Self {
            redirect_uri: redirect_uri.to_owned(),
            state: parameters.get("state").map(str::to_owned),
            issuer: (protocol == Protocol::OpenidConnect).then(|| issuer.to_owned()),
        };
        Ok((client.client_id.clone(), address))
    }
}
