//! Client authentication at a provider's own endpoints (RFC 6749 2.3, RFC 7523, RFC 8705, OpenID Connect Core 9).
//!
//! Each request that is posted there carries a proof of its own. Sends nothing itself: `back_channel` does.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use counterfoil_core::secret::{Secret, random_token};
use http::HeaderValue;
use serde_json::json;
use time::OffsetDateTime;
use url::form_urlencoded::byte_serialize;

use crate::client::signing_key::{SigningKey, SigningKeyError};

/// Lifetime of an assertion, in seconds: it is sent at once, and only once.
const ASSERTION_LIFETIME: i64 = 60;
/// The type of our assertions (RFC 7523 2.2).
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A way to authenticate as a client, and the secret or key for it.
#[derive(Debug, Clone)]
pub enum ClientAuthentication {
    /// `client_secret_basic`
    Basic(Secret<String>),
    /// `client_secret_post`
    Post(Secret<String>),
    /// `none`: a public client, protected by PKCE alone.
    None,
    /// `private_key_jwt`
    PrivateKeyJwt {
        /// Signs the assertions.
        key: SigningKey,
        /// The party that they are addressed to.
        audience: AssertionAudience,
    },
    /// A `client_secret` that is a JWT signed for each request, as Apple demands.
    SignedSecret {
        /// Signs it.
        key: SigningKey,
        /// The team on whose behalf it is signed.
        issuer: String,
    },
    /// `tls_client_auth` and `self_signed_tls_client_auth`: the connection's certificate is the proof.
    MutualTls,
}

/// The party that an assertion is addressed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AssertionAudience {
    /// The issuer identifier, which is unique to the provider.
    Issuer,
    /// The token endpoint's address, as older providers expect.
    TokenEndpoint,
}

/// The names of both sides: our `client_id`, and the provider's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parties<'a> {
    pub(crate) client_id: &'a str,
    /// Plain OAuth 2.0 providers may have none.
    pub(crate) issuer: Option<&'a str>,
    pub(crate) token_endpoint: &'a str,
}

/// The proof that a request carries beside its own form.
#[derive(Debug)]
pub(crate) struct Proof {
    /// The `Authorization` header.
    pub(crate) header: Option<HeaderValue>,
    /// More parameters of the form.
    pub(crate) form: Vec<(String, String)>,
}

impl ClientAuthentication {
    /// Returns the configuration's keys that a refusal with this code may be about.
    pub(crate) fn key_behind(&self, code: &str) -> Option<&'static str> {
        match (code, self) {
            ("invalid_scope", _) => Some("scopes"),
            ("invalid_client" | "incorrect_client_credentials", Self::Basic(_) | Self::Post(_)) => {
                Some("client_id, client_secret, token_endpoint_auth_method")
            }
            ("invalid_client", Self::PrivateKeyJwt { .. }) => {
                Some("client_assertion_audience, client_id, client_key_file, client_key_id, client_key_alg")
            }
            ("invalid_client", Self::SignedSecret { .. }) => {
                Some("client_id, client_secret_issuer, client_key_file, client_key_id")
            }
            ("invalid_client", Self::MutualTls) => Some("client_id, tls_client_cert_file, token_endpoint_auth_method"),
            ("invalid_client", Self::None) => Some("client_id, token_endpoint_auth_method"),
            _ => None,
        }
    }

    /// Makes a proof for one request, which is sent once (R-C14).
    pub(crate) fn prove(&self, parties: Parties<'_>, now: OffsetDateTime) -> Result<Proof, SigningKeyError> {
        let by_form = |more: Vec<(&str, String)>| {
            let form = [("client_id", parties.client_id.to_owned())].into_iter().chain(more);
            Proof { header: None, form: form.map(|(name, value)| (name.to_owned(), value)).collect() }
        };
        Ok(match self {
            Self::Basic(secret) => Proof { header: Some(basic(parties.client_id, secret)?), form: Vec::new() },
            Self::Post(secret) => by_form(vec![("client_secret", secret.expose().clone())]),
            // RFC 8705 2: the certificate is compared with what is registered under this name.
            Self::None | Self::MutualTls => by_form(Vec::new()),
            Self::SignedSecret { key, issuer } => {
                by_form(vec![("client_secret", signed_secret(key, issuer, parties, now)?)])
            }
            Self::PrivateKeyJwt { key, audience } => by_form(vec![
                ("client_assertion_type", ASSERTION_TYPE.to_owned()),
                ("client_assertion", assertion(key, *audience, parties, now)?),
            ]),
        })
    }
}

/// Writes the advice for operators that is added to a refusal.
pub(crate) fn advice(key: Option<&'static str>) -> String {
    key.map_or_else(String::new, |key| format!(" (it may be about {key})"))
}

/// Writes a `Basic` header: both parts are form-encoded before they are joined (RFC 6749 2.3.1, R-C01).
fn basic(client_id: &str, secret: &Secret<String>) -> Result<HeaderValue, SigningKeyError> {
    let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    let pair = Secret::new(format!("{}:{}", encoded(client_id), encoded(secret.expose())));
    let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair.expose())))
        .map_err(|_| SigningKeyError::Sign)?;
    value.set_sensitive(true);
    Ok(value)
}

/// Signs an assertion of ours, about us, for this provider, for a minute, under a name of its own (RFC 7523 3).
fn assertion(
    key: &SigningKey,
    audience: AssertionAudience,
    parties: Parties<'_>,
    now: OffsetDateTime,
) -> Result<String, SigningKeyError> {
    let issuer = parties.issuer.filter(|_| audience == AssertionAudience::Issuer);
    let now = now.unix_timestamp();
    let claims = json!({
        "iss": parties.client_id, "sub": parties.client_id, "aud": issuer.unwrap_or(parties.token_endpoint),
        "iat": now, "exp": now + ASSERTION_LIFETIME, "jti": random_token::<16>(),
    });
    key.sign(None, &claims)
}

/// Signs a secret of the team, about us, for this provider, for a minute (providers allow half a year): it may leak.
fn signed_secret(
    key: &SigningKey,
    team: &str,
    parties: Parties<'_>,
    now: OffsetDateTime,
) -> Result<String, SigningKeyError> {
    let now = now.unix_timestamp();
    let claims = json!({
        "iss": team, "sub": parties.client_id, "aud": parties.issuer.unwrap_or(parties.token_endpoint),
        "iat": now, "exp": now + ASSERTION_LIFETIME,
    });
    key.sign(None, &claims)
}
