//! Requests that carry our credentials or a person's access token: never through the browser, always proven.
//!
//! The one way to post to a provider's endpoints (token, refresh, pushed request, revocation) and to fetch what an
//! access token opens (userinfo, profile). Each attempt has proofs of its own.

use counterfoil_core::clock::SharedClock;
use counterfoil_core::secret::Secret;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Method, Request, Response};
use serde_json::{Map, Value};
use url::Url;
use url::form_urlencoded;

use crate::client::client_authentication::Parties;
use crate::client::dpop::{self, Dpop};
use crate::client::http::ProviderHttp;
use crate::client::http_error::HttpError;
use crate::client::json::json_answer;
use crate::client::settings::ClientSettings;

const DPOP: HeaderName = HeaderName::from_static("dpop");

/// The way to one provider's own endpoints.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BackChannel<'a> {
    pub(crate) http: &'a ProviderHttp,
    pub(crate) client: &'a ClientSettings,
    /// The issuer whose name an assertion may be addressed to; plain OAuth 2.0 providers may have none.
    pub(crate) issuer: Option<&'a str>,
    pub(crate) token_endpoint: &'a Url,
    /// Set if tokens are bound to a key of ours.
    pub(crate) dpop: Option<&'a Dpop>,
    pub(crate) clock: &'a SharedClock,
}

impl BackChannel<'_> {
    /// Posts a form as the client we are, and returns the answer, whatever its status.
    ///
    /// # Errors
    /// [`HttpError`] if there is no complete answer.
    pub(crate) async fn post(&self, endpoint: &Url, form: &[(String, String)]) -> Result<Response<Vec<u8>>, HttpError> {
        // Tokens are bound to a key at the token endpoint; a DPoP proof elsewhere would have no meaning.
        let dpop = self.dpop.filter(|_| endpoint == self.token_endpoint);
        self.with_nonce(dpop, endpoint, || self.form_request(endpoint, form, dpop)).await
    }

    /// Fetches what an access token opens.
    ///
    /// # Errors
    /// [`HttpError`], also for any status but 200.
    pub(crate) async fn get(
        &self,
        url: &Url,
        accept: &'static str,
        access_token: &Secret<String>,
    ) -> Result<Response<Vec<u8>>, HttpError> {
        let answer = self.with_nonce(self.dpop, url, || self.token_request(url, accept, access_token)).await?;
        match answer.status().as_u16() {
            200 => Ok(answer),
            401 if self.dpop.is_some() && dpop::is_unproven(&answer) => Err(HttpError::Proof),
            _ => Err(HttpError::of(&answer)),
        }
    }

    /// Fetches the JSON object that an access token opens.
    ///
    /// # Errors
    /// [`HttpError`], also for anything but a JSON object that says that it is JSON.
    pub(crate) async fn get_json(
        &self,
        url: &Url,
        access_token: &Secret<String>,
    ) -> Result<Map<String, Value>, HttpError> {
        json_answer(&self.get(url, "application/json", access_token).await?)
    }

    /// Sends a request, and repeats it once with new proofs if only the DPoP nonce was refused.
    async fn with_nonce(
        &self,
        dpop: Option<&Dpop>,
        url: &Url,
        request: impl Fn() -> Result<Request<Vec<u8>>, HttpError>,
    ) -> Result<Response<Vec<u8>>, HttpError> {
        let answer = self.http.ask(&request).await?;
        let Some(dpop) = dpop else { return Ok(answer) };
        dpop.remember_nonce(url, answer.headers());
        if !dpop::wants_nonce(&answer) {
            return Ok(answer);
        }
        match self.http.ask(&request).await {
            // The first attempt sent the whole request, so its answer counts.
            Err(error) if error.was_not_sent() => Ok(answer),
            Err(error) => Err(error),
            Ok(answer) => {
                dpop.remember_nonce(url, answer.headers());
                Ok(answer)
            }
        }
    }

    fn form_request(
        &self,
        endpoint: &Url,
        form: &[(String, String)],
        dpop: Option<&Dpop>,
    ) -> Result<Request<Vec<u8>>, HttpError> {
        let now = self.clock.now();
        let parties =
            Parties { client_id: &self.client.id, issuer: self.issuer, token_endpoint: self.token_endpoint.as_str() };
        let proof = self.client.authentication.prove(parties, now).map_err(|_| HttpError::Request)?;
        let mut request = Request::post(endpoint.as_str())
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        if let Some(header) = proof.header {
            request = request.header(AUTHORIZATION, header);
        }
        if let Some(dpop) = dpop {
            request = request.header(DPOP, dpop_header(dpop, &Method::POST, endpoint, None, self.clock)?);
        }
        // No name stands twice: a pushed request names the client by itself.
        let is_proof = |name: &str| proof.form.iter().any(|(known, _)| known == name);
        let pairs = form.iter().filter(|(name, _)| !is_proof(name)).chain(&proof.form);
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        request.body(body.into_bytes()).map_err(|_| HttpError::Request)
    }

    /// Writes a request with the token in the `Authorization` header alone (RFC 6750 2.1, RFC 9449 7.1).
    fn token_request(
        &self,
        url: &Url,
        accept: &'static str,
        access_token: &Secret<String>,
    ) -> Result<Request<Vec<u8>>, HttpError> {
        let scheme = if self.dpop.is_some() { "DPoP" } else { "Bearer" };
        let credentials = credentials(scheme, access_token)?;
        let mut request = Request::get(url.as_str()).header(ACCEPT, accept).header(AUTHORIZATION, credentials);
        if let Some(dpop) = self.dpop {
            request = request.header(DPOP, dpop_header(dpop, &Method::GET, url, Some(access_token), self.clock)?);
        }
        request.body(Vec::new()).map_err(|_| HttpError::Request)
    }
}

/// Writes the value of an `Authorization` header that shows an access token.
pub(crate) fn credentials(scheme: &str, access_token: &Secret<String>) -> Result<HeaderValue, HttpError> {
    let text = Secret::new(format!("{scheme} {}", access_token.expose()));
    let mut value = HeaderValue::try_from(text.expose()).map_err(|_| HttpError::Request)?;
    value.set_sensitive(true);
    Ok(value)
}

fn dpop_header(
    dpop: &Dpop,
    method: &Method,
    url: &Url,
    access_token: Option<&Secret<String>>,
    clock: &SharedClock,
) -> Result<HeaderValue, HttpError> {
    let proof = dpop.proof(method, url, access_token, clock.now()).map_err(|_| HttpError::Request)?;
    HeaderValue::try_from(proof).map_err(|_| HttpError::Request)
}
