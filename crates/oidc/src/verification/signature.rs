//! Verifies a token by keys that are published now: the one place where keys are fetched for a token.
//!
//! Its claims are for [`crate::claims::id_token`], [`crate::notices::logout_token`] and the like to check.

use std::sync::Arc;

use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};
use url::Url;

use crate::client::http::HttpError;
use crate::discovery::cached_document::{AskedBy, Refetched, asked_just_now};
use crate::discovery::metadata::Metadata;
use crate::error::IdpError;
use crate::provider::Provider;
use crate::provider::settings::OidcSettings;
use crate::verification::jwks::KeyCache;
use crate::verification::jwt::{self, JwtFault, JwtUse};

/// The demands on a signed token, and the party that brought it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    /// The one algorithm that counts.
    pub(crate) algorithm: Algorithm,
    /// The kind of token it has to be.
    pub(crate) kind: JwtUse,
    /// The party that brought it.
    pub(crate) by: AskedBy,
}

impl Provider {
    /// Verifies a token that came from the provider over TLS, and returns its claims. A signature that none of the
    /// known keys made may be that of a new key, under a new name or an old one, so the keys are fetched again, once.
    /// If they cannot be had, nothing is said of the signature.
    pub(crate) async fn signed_payload(
        &self,
        oidc: &OidcSettings,
        metadata: &Metadata,
        token: &str,
    ) -> Result<Map<String, Value>, IdpError> {
        let jwks_uri = metadata.jwks_uri.as_ref().ok_or(JwtFault::NoKeys)?;
        let wanted = Wanted { algorithm: oidc.algorithm, kind: JwtUse::Claims, by: AskedBy::Provider };
        self.signed_by(&self.0.keys, jwks_uri, token, wanted).await
    }

    /// Verifies any token by keys published at `jwks_uri`, and returns its claims.
    pub(crate) async fn signed_by(
        &self,
        cache: &KeyCache,
        jwks_uri: &Url,
        token: &str,
        wanted: Wanted,
    ) -> Result<Map<String, Value>, IdpError> {
        let (http, clock, tenants) = (&self.0.http, &self.0.clock, self.0.settings.tenants());
        let header = jwt::read_header(token, wanted.algorithm, wanted.kind)?;
        let seen = cache.current(http, jwks_uri, clock).await.map_err(keys_unusable)?;
        let first = jwt::verify_signature(token, &header, &seen, tenants);
        if !first.as_ref().is_err_and(is_about_keys) {
            return Ok(first?);
        }
        match cache.after_unknown_key(wanted.by, &seen, http, jwks_uri, clock).await.map_err(keys_unusable)? {
            Refetched::Anew(keys) => Ok(jwt::verify_signature(token, &header, &keys, tenants)?),
            // Fetched for another, perhaps before this token was signed.
            Refetched::Meanwhile(keys) => match jwt::verify_signature(token, &header, &keys, tenants) {
                Err(fault) if is_about_keys(&fault) => Err(keys_unusable(Arc::new(asked_just_now()))),
                verified => Ok(verified?),
            },
        }
    }
}

/// Is true if other keys may make it good.
fn is_about_keys(fault: &JwtFault) -> bool {
    matches!(fault, JwtFault::UnknownKey | JwtFault::Signature)
}

pub(crate) fn keys_unusable(cause: Arc<HttpError>) -> IdpError {
    IdpError::Unusable { what: "the provider's keys", cause }
}
