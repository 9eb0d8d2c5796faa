//! Pushed authorization requests (RFC 9126): the parameters are sent to the provider directly; the browser carries a
//! reference to them.
//!
//! Owns the decision to push, and the request that does. If the provider does not accept it, the login fails: a
//! fallback through the browser would defeat the purpose.

use std::time::Duration;

use http::Response;
use serde_json::{Map, Value};
use thiserror::Error;
use tokio::sync::{Semaphore, SemaphorePermit};
use url::Url;

use crate::answer::provider_words::ProviderWords;
use crate::client::back_channel::BackChannel;
use crate::client::client_authentication::{ClientAuthentication, advice};
use crate::client::http_error::HttpError;
use crate::client::json::{json_answer, json_object};
use crate::discovery::metadata::Metadata;
use crate::login::push_policy::PushedRequests;

/// Concurrency limit of pushed requests to one provider. Anybody may ask for a login address unauthenticated, and each
/// one causes a request: a flood of them must neither reach the provider nor take the connections of other logins.
pub(crate) const MOST_AT_ONCE: usize = 32;

/// The reason why a request could not be pushed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PushedRequestError {
    /// Pushing is turned off, and the provider demands it.
    #[error("the provider demands pushed authorization requests, which the configuration rules out")]
    Demanded,
    /// The provider has no address for them.
    #[error("the provider offers no pushed authorization requests")]
    NotOffered,
    /// The provider does not take this one.
    #[error("the pushed authorization request was refused: {code}{}{said}", advice(*.key))]
    Refused {
        /// One of the registered error codes, or `another error`.
        code: &'static str,
        /// The reason that it gave.
        said: ProviderWords,
        /// The configuration's keys that it may be about.
        key: Option<&'static str>,
    },
    /// No usable answer.
    #[error("the pushed authorization request failed: {0}")]
    Http(#[source] HttpError),
    /// As many as may be are under way already.
    #[error("too many authorization requests are being pushed at once")]
    TooMany,
    /// An answer without a reference, or with an expired one.
    #[error("the answer to the pushed authorization request is none")]
    Malformed,
}

/// Returns the address to push a request to, if it is to be pushed.
pub(crate) fn endpoint(wanted: PushedRequests, metadata: &Metadata) -> Result<Option<&Url>, PushedRequestError> {
    let offered = metadata.pushed_authorization_request_endpoint.as_ref();
    match wanted {
        PushedRequests::Never if metadata.pushed_requests_demanded => Err(PushedRequestError::Demanded),
        PushedRequests::Never => Ok(None),
        PushedRequests::Auto if !metadata.pushed_requests_demanded => Ok(offered),
        PushedRequests::Auto | PushedRequests::Always => offered.map(Some).ok_or(PushedRequestError::NotOffered),
    }
}

/// Pushes a request; returns what goes through the browser in its place (RFC 9126 4). Each reference is used once: it
/// is made for one login and kept nowhere.
pub(crate) async fn push(
    back_channel: BackChannel<'_>,
    endpoint: &Url,
    parameters: &[(String, String)],
    at_once: &Semaphore,
) -> Result<Vec<(String, String)>, PushedRequestError> {
    let _place = place(at_once, back_channel.client.timeout).await?;
    let answer = back_channel.post(endpoint, parameters).await.map_err(PushedRequestError::Http)?;
    let reference = read(&answer, &back_channel.client.authentication)?;
    let client_id = back_channel.client.id.clone();
    Ok(vec![("client_id".to_owned(), client_id), ("request_uri".to_owned(), reference)])
}

/// Waits for a permit of the concurrency limit, at most as long as for an answer.
async fn place(at_once: &Semaphore, patience: Duration) -> Result<SemaphorePermit<'_>, PushedRequestError> {
    let place = tokio::time::timeout(patience, at_once.acquire()).await;
    place.ok().and_then(Result::ok).ok_or(PushedRequestError::TooMany)
}

/// Reads the reference in an answer (RFC 9126 2.2, 2.3).
fn read(answer: &Response<Vec<u8>>, client: &ClientAuthentication) -> Result<String, PushedRequestError> {
    match answer.status().as_u16() {
        201 => reference(&json_answer(answer).map_err(PushedRequestError::Http)?).ok_or(PushedRequestError::Malformed),
        status if HttpError::status(status).is_outage() => Err(PushedRequestError::Http(HttpError::of(answer))),
        // A server without such an endpoint refuses too; then the status is the better reason.
        400 | 401 | 403 if json_object(answer.body()).is_ok() => Err(refusal(answer, client)),
        _ => Err(PushedRequestError::Http(HttpError::of(answer))),
    }
}

fn reference(answer: &Map<String, Value>) -> Option<String> {
    let lives = answer.get("expires_in").and_then(Value::as_u64).is_some_and(|seconds| seconds > 0);
    let reference = answer.get("request_uri").and_then(Value::as_str).filter(|reference| !reference.is_empty())?;
    lives.then(|| reference.to_owned())
}

fn refusal(answer: &Response<Vec<u8>>, client: &ClientAuthentication) -> PushedRequestError {
    let known = [
        "invalid_request",
        "invalid_client",
        "unauthorized_client",
        "invalid_scope",
        "invalid_request_object",
        "unsupported_response_type",
        "access_denied",
    ];
    let said = ProviderWords::of_answer(answer);
    let code = known.into_iter().find(|code| said.code() == Some(code)).unwrap_or("another error");
    PushedRequestError::Refused { code, key: client.key_behind(code), said: said.without_code(code) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const CLIENT: &ClientAuthentication = &ClientAuthentication::None;

    fn answer(status: u16, body: &Value) -> Response<Vec<u8>> {
        let answer = Response::builder().status(status).header("content-type", "application/json");
        answer.body(body.to_string().into_bytes()).unwrap()
    }

    /// R-A14: the wait for a permit has a timeout.
    #[tokio::test]
    async fn nobody_waits_for_ever_to_have_a_request_pushed() {
        let at_once = Semaphore::new(1);
        let patience = Duration::from_millis(10);
        let held = place(&at_once, patience).await.unwrap();
        assert!(matches!(place(&at_once, patience).await, Err(PushedRequestError::TooMany)));
        drop(held);
        assert!(place(&at_once, patience).await.is_ok());
    }

    /// R-A14
    #[test]
    fn only_a_living_reference_is_an_answer() {
        let good = json!({ "request_uri": "urn:x", "expires_in": 60 });
        assert_eq!(read(&answer(201, &good), CLIENT).unwrap(), "urn:x");
        for body in [
            json!({ "expires_in": 60 }),
            json!({ "request_uri": "", "expires_in": 60 }),
            json!({ "request_uri": 7, "expires_in": 60 }),
            json!({ "request_uri": "urn:x" }),
            json!({ "request_uri": "urn:x", "expires_in": 0 }),
            json!({ "request_uri": "urn:x", "expires_in": "60" }),
            json!({ "request_uri": "urn:x", "expires_in": -1 }),
        ] {
            assert!(matches!(read(&answer(201, &body), CLIENT), Err(PushedRequestError::Malformed)), "{body}");
        }
        assert!(matches!(read(&answer(200, &good), CLIENT), Err(PushedRequestError::Http(HttpError::Status(200, _)))));
        let refused = read(&answer(400, &json!({ "error": "invalid_request" })), CLIENT);
        assert!(matches!(refused, Err(PushedRequestError::Refused { code: "invalid_request", .. })));
        let refused = read(&answer(401, &json!({ "error": "<script>" })), CLIENT);
        assert!(matches!(refused, Err(PushedRequestError::Refused { code: "another error", .. })));
        assert!(
            matches!(read(&answer(503, &json!({})), CLIENT), Err(PushedRequestError::Http(error)) if error.is_outage())
        );
    }
}
