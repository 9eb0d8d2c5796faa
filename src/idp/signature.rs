//! Is a token signed by keys that are published now? The one place where keys are fetched for a token.
//!
//! What its claims must say is for [`super::id_token`], [`super::logout_token`] and the like to check.

use std::sync::Arc;

use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};
use url::Url;

use super::discovery::Metadata;
use super::http::HttpError;
use super::jwks::KeyCache;
use super::jwt::{self, JwtFault, JwtUse};
use super::{IdpError, OidcSettings, Provider};

impl Provider {
    /// The claims of a token signed by the provider. A signature that none of the known keys made may be that of a new
    /// key, under a new name or an old one, so the keys are fetched again, once. If they cannot be had, nothing is said
    /// of the signature.
    pub(super) async fn signed_payload(
        &self,
        oidc: &OidcSettings,
        metadata: &Metadata,
        token: &str,
        wanted: JwtUse,
    ) -> Result<Map<String, Value>, IdpError> {
        let jwks_uri = metadata.jwks_uri.as_ref().ok_or(JwtFault::NoKeys)?;
        self.signed_by(&self.0.keys, jwks_uri, token, oidc.algorithm, wanted).await
    }

    /// The same, by keys published at `jwks_uri`.
    pub(super) async fn signed_by(
        &self,
        cache: &KeyCache,
        jwks_uri: &Url,
        token: &str,
        algorithm: Algorithm,
        wanted: JwtUse,
    ) -> Result<Map<String, Value>, IdpError> {
        let tenants = self.0.settings.tenants();
        let header = jwt::read_header(token, algorithm, wanted)?;
        let keys = cache.current(&self.0.http, jwks_uri, &self.0.clock).await.map_err(keys_unusable)?;
        match jwt::verify_signature(token, &header, &keys, tenants) {
            Err(JwtFault::UnknownKey | JwtFault::Signature) => {
                let again = cache.after_unknown_key(&self.0.http, jwks_uri, &self.0.clock).await;
                let keys = again.map_err(keys_unusable)?;
                // They are ten seconds old at most: what none of them signed is refused.
                Ok(jwt::verify_signature(token, &header, &keys, tenants)?)
            }
            verified => Ok(verified?),
        }
    }
}

pub(super) fn keys_unusable(cause: Arc<HttpError>) -> IdpError {
    IdpError::Unusable { what: "the provider's keys", cause }
}
