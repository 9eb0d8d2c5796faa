//! The secrets of a request, which are removed from its answer before that is logged.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use counterfoil_core::secret::Secret;
use http::Request;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName};
use url::form_urlencoded;

/// Parameters of a request that are secret (R-O01), or that name a person.
const SECRET_PARAMETERS: [&str; 12] = [
    "code",
    "code_verifier",
    "refresh_token",
    "access_token",
    "token",
    "client_secret",
    "client_assertion",
    "state",
    "nonce",
    "request",
    "id_token_hint",
    "login_hint",
];

/// The secret values of a request, kept together with its answer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sent(pub(crate) Arc<[Secret<String>]>);

impl Sent {
    /// Keeps the secrets of a request: its credentials, its proof of possession, and what its form holds of them.
    pub(crate) fn with(request: &Request<Vec<u8>>) -> Self {
        let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
        let mut secrets: Vec<_> =
            header(HeaderName::from_static("dpop")).map(|proof| Secret::new(proof.to_owned())).into_iter().collect();
        if let Some((scheme, credentials)) = header(AUTHORIZATION).and_then(|value| value.split_once(' ')) {
            secrets.push(Secret::new(credentials.to_owned()));
            secrets.extend(Some(scheme).filter(|scheme| *scheme == "Basic").and_then(|_| secret_of_basic(credentials)));
        }
        if request.headers().contains_key(CONTENT_TYPE) {
            let ours = form_urlencoded::parse(request.body());
            let ours = ours.filter(|(name, _)| SECRET_PARAMETERS.contains(&name.as_ref()));
            secrets.extend(ours.map(|(_, value)| Secret::new(value.into_owned())));
        }
        Self(secrets.into())
    }
}

/// Reads the secret in the credentials of a `Basic` header of ours.
fn secret_of_basic(credentials: &str) -> Option<Secret<String>> {
    let pair = Secret::new(String::from_utf8(STANDARD.decode(credentials).ok()?).ok()?);
    let (_, secret) = pair.expose().split_once(':')?;
    let (decoded, _) = form_urlencoded::parse(secret.as_bytes()).next()?;
    Some(Secret::new(decoded.into_owned()))
}
