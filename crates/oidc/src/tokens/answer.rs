//! The token endpoint's answer (RFC 6749 5.1), and the tokens in it.
//!
//! Its form is ours, because that of the `oauth2` crate drops the ID token and fails on lifetimes that real providers
//! write in odd ways (R-C06).

use counterfoil_core::secret::Secret;
use oauth2::basic::BasicTokenType;
use oauth2::{AccessToken, RefreshToken, TokenResponse};
use serde::de::IntoDeserializer;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use time::Duration;

use crate::client::back_channel::BackChannel;
use crate::tokens::exchange_error::TokenExchangeError;
use crate::tokens::provider_tokens::ProviderTokens;

/// Longest access token lifetime that is believed.
const LONGEST_LIFETIME: u64 = 366 * 24 * 60 * 60;

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

/// Reads whole seconds as a number or digits, up to a year; anything else counts as missing, never as unlimited.
fn lenient_lifetime<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let seconds = match Value::deserialize(deserializer)? {
        Value::Number(number) => number.as_u64(),
        Value::String(digits) => digits.parse().ok(),
        _ => None,
    };
    Ok(seconds.filter(|seconds| *seconds <= LONGEST_LIFETIME))
}

/// Returns the tokens of an answer, if they are of the type that was asked for.
pub(crate) fn tokens(answer: TokenAnswer, channel: BackChannel<'_>) -> Result<ProviderTokens, TokenExchangeError> {
    let bound = BasicTokenType::Extension("dpop".to_owned());
    let wanted = if channel.dpop.is_some() { bound } else { BasicTokenType::Bearer };
    if answer.token_type != wanted {
        return Err(TokenExchangeError::TokenType);
    }
    let lifetime = answer.expires_in.and_then(|seconds| i64::try_from(seconds).ok()).map(Duration::seconds);
    Ok(ProviderTokens {
        access_token: Secret::new(answer.access_token.into_secret()),
        access_token_expires_at: lifetime.map(|lifetime| channel.clock.now() + lifetime),
        refresh_token: answer.refresh_token.map(|token| Secret::new(token.into_secret())),
        id_token: answer.id_token,
    })
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
