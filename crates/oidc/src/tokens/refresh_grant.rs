//! The refresh grant: new tokens for a refresh token (RFC 6749 6).
//!
//! A provider may accept a refresh token only once, so nothing is repeated.

use std::pin::Pin;

use counterfoil_core::secret::Secret;
use http::{Request, Response};
use oauth2::{AsyncHttpClient, RefreshToken, TokenResponse};
use serde_json::Value;
use url::Url;

use crate::answer::error_codes::{KNOWN_REFUSALS, says_away};
use crate::answer::provider_words::ProviderWords;
use crate::client::http_error::HttpError;
use crate::client::json::json_object;
use crate::tokens::answer::tokens;
use crate::tokens::exchange_error::{TokenExchangeError, failure};
use crate::tokens::provider_tokens::ProviderTokens;
use crate::tokens::token_request::TokenRequests;

/// The failure of a refresh.
#[derive(Debug)]
pub(crate) struct RefreshFailure {
    pub(crate) error: TokenExchangeError,
    /// The refresh token that takes the place of the one just used, if the answer got that far.
    pub(crate) rotated: Option<Secret<String>>,
}

/// Exchanges a refresh token, which may be used up even if this fails.
pub(crate) async fn refresh(
    requests: TokenRequests<'_>,
    redirect_uri: &Url,
    refresh_token: &Secret<String>,
) -> Result<ProviderTokens, RefreshFailure> {
    let channel = requests.channel;
    let answered = requests
        .client(redirect_uri)
        .exchange_refresh_token(&RefreshToken::new(refresh_token.expose().clone()))
        .request_async(&Telling(requests))
        .await;
    let answer = answered
        .map_err(|error| RefreshFailure { error: failure(error, &channel.client.authentication), rotated: None })?;
    let rotated = answer.refresh_token().map(|token| Secret::new(token.secret().clone()));
    tokens(answer, channel).map_err(|error| RefreshFailure { error, rotated })
}

/// Sends the crate's requests and converts refusals for it: some providers refuse with an unreadable body, which the
/// crate takes for a parse error.
struct Telling<'a>(TokenRequests<'a>);

impl<'client> AsyncHttpClient<'client> for Telling<'_> {
    type Error = HttpError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Vec<u8>>, HttpError>> + Send + 'client>>;

    fn call(&'client self, request: Request<Vec<u8>>) -> Self::Future {
        Box::pin(async move { told(self.0.call(request).await?) })
    }
}

fn told(answer: Response<Vec<u8>>) -> Result<Response<Vec<u8>>, HttpError> {
    let document = json_object(answer.body()).unwrap_or_default();
    let code = document.get("error").and_then(Value::as_str);
    match (answer.status().as_u16(), code) {
        _ if says_away(&document) => {
            return Err(HttpError::Status(503, ProviderWords::of_answer(&answer)));
        }
        (200 | 400, _) => {}
        // Other statuses count as refusals only with a known error code.
        (_, Some(code)) if KNOWN_REFUSALS.contains(&code) => {}
        _ => return Err(HttpError::of(&answer)),
    }
    match (answer.status().as_u16(), code) {
        (400, None) => Err(HttpError::of(&answer)),
        _ => Ok(answer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Result<u16, HttpError> {
        let answer = http::Response::builder().status(status).body(body.as_bytes().to_vec()).unwrap();
        told(answer).map(|answer| answer.status().as_u16())
    }

    /// R-C12
    #[test]
    fn refusals_are_told_from_garbage_and_outages() {
        for (status, body, read) in [
            (200, r#"{"access_token":"a","token_type":"Bearer"}"#, Ok(200)),
            (400, r#"{"error":"invalid_grant"}"#, Ok(400)),
            (400, r#"{"error":"account_disabled"}"#, Ok(400)),
            (403, r#"{"error":"invalid_grant"}"#, Ok(403)),
            (401, r#"{"error":"invalid_client"}"#, Ok(401)),
            (400, "<html>", Err(400)),
            (400, r#"{"error":7}"#, Err(400)),
            (400, r#"{"error":"temporarily_unavailable"}"#, Err(503)),
            (400, r#"{"ok":false,"error":"internal_error"}"#, Err(503)),
            (401, "", Err(401)),
            (403, r#"{"error":"blocked by the firewall"}"#, Err(403)),
            (302, "", Err(302)),
            (429, "", Err(429)),
        ] {
            let said = answer(status, body).map_err(|error| match error {
                HttpError::Status(status, _) => status,
                other => panic!("{other}"),
            });
            assert_eq!(said, read, "{status} {body}");
        }
    }
}
