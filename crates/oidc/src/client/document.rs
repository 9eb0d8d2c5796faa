//! Public JSON documents of a provider, with what the answer says of their lifetime.

use http::header::{ACCEPT, CACHE_CONTROL};
use serde_json::{Map, Value};
use time::Duration;
use url::Url;

use crate::client::freshness;
use crate::client::http::ProviderHttp;
use crate::client::http_error::HttpError;
use crate::client::json::json_answer;

/// The use of caches between us and a provider (RFC 9111 5.2.1.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caches {
    /// They may answer with what they have.
    MayAnswer,
    /// They have to ask the provider.
    AskAgain,
}

/// A document as it was fetched.
#[derive(Debug)]
pub(crate) struct Fetched<T> {
    pub(crate) document: T,
    /// TTL, if the answer stated one (`Cache-Control: max-age`, RFC 9111 5.2.2.1).
    pub(crate) max_age: Option<Duration>,
}

/// A failure to fetch a document.
#[derive(Debug)]
pub(crate) struct FetchFailure {
    pub(crate) error: HttpError,
    /// Backoff that the answer asked for, if it did (RFC 9110 10.2.3).
    pub(crate) retry_after: Option<Duration>,
}

impl From<HttpError> for FetchFailure {
    fn from(error: HttpError) -> Self {
        Self { error, retry_after: None }
    }
}

impl ProviderHttp {
    /// Fetches a public JSON object, from the provider or from caches on the way, and reads how long it is fresh.
    ///
    /// # Errors
    /// [`FetchFailure`], also for any status but 200 and anything but a JSON object that says that it is JSON.
    pub(crate) async fn get_document(
        &self,
        url: &Url,
        caches: Caches,
    ) -> Result<Fetched<Map<String, Value>>, FetchFailure> {
        let request = || {
            let request = http::Request::get(url.as_str()).header(ACCEPT, "application/json");
            let request = match caches {
                Caches::MayAnswer => request,
                Caches::AskAgain => request.header(CACHE_CONTROL, "no-cache"),
            };
            request.body(Vec::new()).map_err(|_| HttpError::Request)
        };
        let answer = self.ask(request).await?;
        if answer.status() == http::StatusCode::OK {
            return Ok(Fetched { document: json_answer(&answer)?, max_age: freshness::max_age(answer.headers()) });
        }
        let retry_after = freshness::retry_after(answer.headers());
        Err(FetchFailure { error: HttpError::of(&answer), retry_after })
    }
}
