//! The errors of this crate's conversations with a provider, gathered from those of their steps.

use std::sync::Arc;

use thiserror::Error;

use crate::claims::mapping::ProfileFault;
use crate::claims::userinfo::UserinfoError;
use crate::client::http_error::HttpError;
use crate::client::signing_key::SigningKeyError;
use crate::discovery::keys::{KeysUnavailable, SignatureError};
use crate::login::authorization::IssuerMismatch;
use crate::login::pushed_request::PushedRequestError;
use crate::providers::api::ProfileApiError;
use crate::tokens::exchange_error::TokenExchangeError;
use crate::verification::fault::JwtFault;

/// The reason why a login with a provider cannot go on.
#[derive(Debug, Error)]
pub enum IdpError {
    /// Its metadata or keys cannot be had.
    #[error("{what} cannot be had: {cause}")]
    Unusable {
        /// Metadata or keys.
        what: &'static str,
        /// Shared: one failed fetch answers every login that waited for it.
        cause: Arc<HttpError>,
    },
    /// It did not take the authorization request.
    #[error(transparent)]
    PushedRequest(#[from] PushedRequestError),
    /// Our own key did not sign the authorization request.
    #[error("the authorization request could not be signed: the key {0}")]
    RequestObject(#[from] SigningKeyError),
    /// Its answer to the browser names another issuer.
    #[error(transparent)]
    Issuer(#[from] IssuerMismatch),
    /// It did not exchange the code.
    #[error(transparent)]
    TokenExchange(#[from] TokenExchangeError),
    /// Its signed answer to the browser was not accepted.
    #[error("the signed answer was not accepted: {0}")]
    Answer(#[source] JwtFault),
    /// Its ID token was not accepted.
    #[error("the ID token was not accepted: {0}")]
    IdToken(#[from] JwtFault),
    /// Its userinfo was not accepted.
    #[error(transparent)]
    Userinfo(#[from] UserinfoError),
    /// Its profile endpoint failed.
    #[error("the profile endpoint failed: {0}")]
    ProfileEndpoint(#[source] HttpError),
    /// Its API did not tell what the claims or the profile leave out.
    #[error(transparent)]
    ProfileApi(#[from] ProfileApiError),
    /// Its claims or profile lack what is needed.
    #[error(transparent)]
    Profile(#[from] ProfileFault),
}

impl IdpError {
    /// Is true if the provider was not sent the code, since it could not be reached: the code is as good as before.
    pub fn was_not_sent(&self) -> bool {
        matches!(self, Self::TokenExchange(TokenExchangeError::Http(error)) if error.was_not_sent())
    }
}

impl From<KeysUnavailable> for IdpError {
    fn from(KeysUnavailable(cause): KeysUnavailable) -> Self {
        Self::Unusable { what: "the provider's keys", cause }
    }
}

/// A token whose purpose is not told apart here is an ID token.
impl From<SignatureError> for IdpError {
    fn from(error: SignatureError) -> Self {
        match error {
            SignatureError::Token(fault) => Self::IdToken(fault),
            SignatureError::Keys(unavailable) => unavailable.into(),
        }
    }
}
