//! The token request: code in, tokens out (RFC 6749 4.1.3, RFC 7636 4.5).
//!
//! The request and the reading of errors are the `oauth2` crate's; the answer's form is ours, because the
//! crate's drops the ID token and fails on lifetimes that real providers write in odd ways (R-C06).

use counterfoil_core::secret::Secret;
use oauth2::basic::{BasicErrorResponse, BasicTokenType};
use oauth2::{AccessToken, AuthorizationCode, PkceCodeVerifier, RefreshToken, RequestTokenError, TokenResponse};
use serde::de::IntoDeserializer;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use thiserror::Error;
use time::{Duration, OffsetDateTime};
use url::Url;

use crate::answer::provider_words::{ProviderWords, Spoken};
use crate::client::back_channel::BackChannel;
use crate::client::client_authentication::advice;
use crate::client::http::HttpError;
use crate::login::authorization::{Attempt, oauth_client};
use crate::provider::settings::IdpKind;

/// Longest access token lifetime that is believed.
const LONGEST_LIFETIME: u64 = 366 * 24 * 60 * 60;

/// Words for a refusal that may be repeated in logs.
pub(crate) const KNOWN_REFUSALS: [&str; 20] = [
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "invalid_scope",
    "unsupported_grant_type",
    "interaction_required",
    "login_required",
    "consent_required",
    "bad_refresh_token",
    "incorrect_client_credentials",
    "use_dpop_nonce",
    "invalid_dpop_proof",
    "access_denied",
    "token_inactive",
    "token_expired",
    "request_unauthorized",
    "bad_verification_code",
    "invalid_code",
    "code_already_used",
];

/// Refusals that speak of the code alone: it is too old, or was used. GitHub and Slack have words of their own.
const ABOUT_THE_CODE: [&str; 4] = ["invalid_grant", "bad_verification_code", "invalid_code", "code_already_used"];

/// The tokens of one login.
#[derive(Debug, Clone)]
pub struct ProviderTokens {
    /// The token for userinfo and for upstreams that were promised it.
    pub access_token: Secret<String>,
    /// Its expiry; unknown if the provider did not say so understandably.
    pub access_token_expires_at: Option<OffsetDateTime>,
    /// The token for new access tokens.
    pub refresh_token: Option<Secret<String>>,
    /// The ID token, not verified yet.
    pub id_token: Option<Secret<String>>,
}

/// The reason why the code was not exchanged, or no new tokens came. Names no token, code or secret.
#[derive(Debug, Error)]
pub enum TokenExchangeError {
    /// The token endpoint refused: `invalid_client` means our credentials, `invalid_grant` the code.
    #[error("the token endpoint refused the exchange: {code}{}{said}", advice(*.key))]
    Refused {
        /// One of the registered error codes, or `another error`.
        code: &'static str,
        /// The reason that it gave.
        said: ProviderWords,
        /// The configuration's keys that it may be about.
        key: Option<&'static str>,
    },
    /// No usable answer; the code may be used up, so it is not sent again (R-C08).
    #[error("the token endpoint failed: {0}")]
    Http(#[source] HttpError),
    /// An answer that is no token answer.
    #[error("the token endpoint's answer is not a token answer")]
    Malformed,
    /// Tokens of a type we cannot use; without DPoP though we asked for it, say (R-C04, RFC 9449 5).
    #[error("the token type is not the one that was asked for")]
    TokenType,
}

impl TokenExchangeError {
    /// Is true if nothing is wrong but that the code was used, or took too long to get here.
    pub fn is_about_the_code(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if ABOUT_THE_CODE.contains(code))
    }
}

/// The token endpoint's answer.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct TokenAnswer {
    access_token: AccessToken,
    #[serde(deserialize_with = "in_any_case")]
    token_type: BasicTokenType,
    #[serde(default, deserialize_with = "lenient_lifetime")]
    expires_in: Option<u64>,
    refresh_token: Option<RefreshToken>,
    #[serde(skip_serializing)]
    id_token: Option<Secret<String>>,
}

impl TokenResponse for TokenAnswer {
    type TokenType = BasicTokenType;

    fn access_token(&self) -> &AccessToken {
        &self.access_token
    }

    fn token_type(&self) -> &BasicTokenType {
        &self.token_type
    }

    fn expires_in(&self) -> Option<std::time::Duration> {
        self.expires_in.map(std::time::Duration::from_secs)
    }

    fn refresh_token(&self) -> Option<&RefreshToken> {
        self.refresh_token.as_ref()
    }

    fn scopes(&self) -> Option<&Vec<oauth2::Scope>> {
        None
    }
}

/// Reads a token type; its case does not count (RFC 6749 5.1).
fn in_any_case<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BasicTokenType, D::Error> {
    let lower = String::deserialize(deserializer)?.to_ascii_lowercase();
    BasicTokenType::deserialize(lower.into_deserializer())
}

/// Reads whole seconds as a number or digits, up to a year; anything else is "not said", never "for ever".
fn lenient_lifetime<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let seconds = match Value::deserialize(deserializer)? {
        Value::Number(number) => number.as_u64(),
        Value::String(digits) => digits.parse().ok(),
        _ => None,
    };
    Ok(seconds.filter(|seconds| *seconds <= LONGEST_LIFETIME))
}

pub(crate) async fn exchange(
    back_channel: BackChannel<'_>,
    redirect_uri: &Url,
    code: String,
    attempt: &Attempt,
) -> Result<ProviderTokens, TokenExchangeError> {
    let client = oauth_client(back_channel.settings, back_channel.metadata, redirect_uri);
    let mut request = client
        .exchange_code(AuthorizationCode::new(code))
        .set_pkce_verifier(PkceCodeVerifier::new(attempt.verifier.expose().clone()));
    if matches!(&back_channel.settings.kind, IdpKind::OAuth2(plain) if plain.token_request_state) {
        request = request.add_extra_param("state", attempt.state.clone());
    }
    let answer = request.request_async(&back_channel).await.map_err(|error| failure(error, back_channel))?;
    tokens(answer, back_channel)
}

/// Returns the tokens of an answer, if they are of the type that was asked for.
pub(crate) fn tokens(answer: TokenAnswer, back_channel: BackChannel<'_>) -> Result<ProviderTokens, TokenExchangeError> {
    let bound = BasicTokenType::Extension("dpop".to_owned());
    let wanted = if back_channel.dpop.is_some() { bound } else { BasicTokenType::Bearer };
    if answer.token_type != wanted {
        return Err(TokenExchangeError::TokenType);
    }
    let lifetime = answer.expires_in.and_then(|seconds| i64::try_from(seconds).ok()).map(Duration::seconds);
    Ok(ProviderTokens {
        access_token: Secret::new(answer.access_token.into_secret()),
        access_token_expires_at: lifetime.map(|lifetime| back_channel.clock.now() + lifetime),
        refresh_token: answer.refresh_token.map(|token| Secret::new(token.into_secret())),
        id_token: answer.id_token,
    })
}

pub(crate) fn failure(
    error: RequestTokenError<HttpError, BasicErrorResponse>,
    back_channel: BackChannel<'_>,
) -> TokenExchangeError {
    match error {
        RequestTokenError::ServerResponse(response) => {
            let said = response.error().as_ref();
            let code = KNOWN_REFUSALS.into_iter().find(|code| *code == said).unwrap_or("another error");
            let spoken = Spoken {
                // A code that is known stands there already.
                code: (code != said).then_some(said),
                description: response.error_description().map(String::as_str),
                address: response.error_uri().map(String::as_str),
            };
            let key = back_channel.settings.client_authentication.key_behind(code);
            // The secrets that were sent have been taken out of the rest before.
            TokenExchangeError::Refused { code, said: ProviderWords::of_provider(spoken, &[]), key }
        }
        RequestTokenError::Request(error) => TokenExchangeError::Http(error),
        RequestTokenError::Parse(..) | RequestTokenError::Other(_) => TokenExchangeError::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(expires_in: &Value) -> TokenAnswer {
        serde_json::from_value(json!({ "access_token": "a", "token_type": "bEARER", "expires_in": expires_in }))
            .unwrap()
    }

    /// R-C06
    #[test]
    fn odd_lifetimes_neither_fail_nor_last_for_ever() {
        for (written, read) in [
            (json!(3600), Some(3600)),
            (json!("3600"), Some(3600)),
            (json!(0), Some(0)),
            (json!(null), None),
            (json!(-1), None),
            (json!(0.5), None),
            (json!("soon"), None),
            (json!(1_000_000_000_000_000_000_u64), None),
            (json!({}), None),
        ] {
            assert_eq!(answer(&written).expires_in, read, "{written}");
        }
    }

    /// R-C04
    #[test]
    fn the_token_type_is_required_and_read_in_any_case() {
        assert_eq!(answer(&json!(1)).token_type, BasicTokenType::Bearer);
        assert!(serde_json::from_value::<TokenAnswer>(json!({ "access_token": "a" })).is_err());
    }
}
