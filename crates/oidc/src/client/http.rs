//! The one HTTP client towards providers: no redirects, bounded waiting, bounded answers.
//!
//! Used by every file of this crate that asks the provider something (R-C07, R-F03, R-P02); through `back_channel`
//! where credentials go with it. The one place that knows of certificates.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use counterfoil_core::secret::Secret;
use oauth2::http;
use reqwest::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Identity};
use rustls_native_certs::load_native_certs;
use serde_json::{Map, Value};
use thiserror::Error;
use url::Url;

use crate::answer::provider_words::{ProviderWords, Sent};
use crate::answer::strict_json;
use crate::client::address_class::AddressGuard;
use crate::client::proxy::ProviderProxy;
use crate::discovery::cached_document::{FetchFailure, Fetched};

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Largest answer read. Metadata, keys and profiles are a few kilobytes.
const LARGEST_ANSWER: usize = 1024 * 1024;

/// The reason why an answer could not be had or used. Names no address or token, and of a body the reason alone.
#[derive(Debug, Error)]
pub enum HttpError {
    /// No client can be built.
    #[error("no HTTPS client can be built on this machine: {0}")]
    Client(#[source] reqwest::Error),
    /// HTTPS is asked for, and there is nobody to believe.
    #[error(
        "this machine has no certificate authorities to verify it with: install them (ca-certificates), or name `ca_file`"
    )]
    NoAuthorities,
    /// The connection failed or broke.
    #[error("it cannot be reached: {}", root_cause(.0))]
    Unreachable(#[source] reqwest::Error),
    /// No complete answer in time.
    #[error("it did not answer in time")]
    Timeout,
    /// Another status than 200, and what the provider gave as its reason.
    #[error("it answered with status {0}{1}")]
    Status(u16, ProviderWords),
    /// An answer larger than is read.
    #[error("its answer is larger than {LARGEST_ANSWER} bytes")]
    TooLarge,
    /// Another kind of document than asked for.
    #[error("it answered with another content type than JSON")]
    ContentType,
    /// An answer that is no JSON object, or one in which a name has two different values.
    #[error("its answer is not a JSON object, or one name in it has two values")]
    NotAnObject,
    /// A document of another issuer than the configured one, each as it was written.
    #[error("its metadata names the issuer {named:?}, and the configuration {configured:?}")]
    Issuer {
        /// The document's.
        named: String,
        /// The configured one.
        configured: String,
    },
    /// A JSON object that does not fit.
    #[error("its answer is not acceptable: {0}")]
    Unacceptable(&'static str),
    /// It did not take our proof that a token is ours.
    #[error("it did not take the proof of possession")]
    Proof,
    /// It was asked a moment ago for the like of this, which it did not have, and is not asked again yet.
    #[error("it was asked a moment ago, and is asked again in {again_in} seconds")]
    AskedJustNow {
        /// The seconds until it is asked again, at most.
        again_in: u64,
    },
    /// Our own request could not be written down.
    #[error("the request could not be built")]
    Request,
}

impl HttpError {
    /// Makes an error of another status than 200, without a reason.
    pub(crate) fn status(status: u16) -> Self {
        Self::Status(status, ProviderWords::default())
    }

    /// Is true if the provider may well be fine in a moment: unreachable, too slow, or failing itself.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Timeout | Self::AskedJustNow { .. } => true,
            Self::Status(status, _) => *status >= 500 || [408, 429].contains(status),
            Self::Client(_)
            | Self::NoAuthorities
            | Self::TooLarge
            | Self::ContentType
            | Self::NotAnObject
            | Self::Issuer { .. }
            | Self::Unacceptable(_)
            | Self::Proof
            | Self::Request => false,
        }
    }

    /// Is true if nothing was sent, because no connection could be opened: the request's content is as good as before.
    pub fn was_not_sent(&self) -> bool {
        matches!(self, Self::Unreachable(error) if error.is_connect())
    }

    /// Is true if a connection that stood broke before there was an answer: one that was used before and that the
    /// provider closed meanwhile, most likely.
    fn is_broken_connection(&self) -> bool {
        matches!(self, Self::Unreachable(error) if error.is_request() && !error.is_connect() && !error.is_timeout())
    }

    /// Makes an error of an answer with another status than 200. A 403 that says when to come back, or that no request
    /// is left (as GitHub does), is a rate limit, as a 429 is.
    pub(crate) fn of(answer: &http::Response<Vec<u8>>) -> Self {
        let headers = answer.headers();
        let said = ProviderWords::of_answer(answer);
        let none_left = || headers.get("x-ratelimit-remaining").is_some_and(|left| left.as_bytes() == b"0");
        match answer.status().as_u16() {
            403 if headers.contains_key(RETRY_AFTER) || none_left() => Self::Status(429, said),
            status => Self::Status(status, said),
        }
    }
}

impl From<reqwest::Error> for HttpError {
    fn from(error: reqwest::Error) -> Self {
        // A connection that is not opened in time is one that could not be opened.
        if error.is_timeout() && !error.is_connect() { Self::Timeout } else { Self::Unreachable(error.without_url()) }
    }
}

/// Returns the root of a failed connection ("Connection refused", a name that does not resolve), which alone helps.
fn root_cause<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    std::iter::successors(Some(error), |error: &&'a (dyn Error + 'static)| (**error).source()).last().unwrap_or(error)
}

/// The authorities that we believe on a connection, and the certificate that we show.
#[derive(Debug, Clone, Default)]
pub struct TlsSettings {
    /// The authorities that are believed (PEM), instead of the system's.
    pub authorities: Option<String>,
    /// Our certificate with its chain, and its key (PEM; RFC 8705).
    pub identity: Option<Secret<String>>,
}

/// The part that caches between us and a provider are to play (RFC 9111 5.2.1.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caches {
    /// They may answer with what they have.
    MayAnswer,
    /// They have to ask the provider.
    AskAgain,
}

/// The client of one provider.
#[derive(Debug, Clone)]
pub struct ProviderHttp {
    client: reqwest::Client,
    believes_somebody: bool,
    timeout: Duration,
}

impl ProviderHttp {
    /// Makes a client that waits at most `timeout` for each whole answer and uses the proxy, if there is one. Without
    /// authorities of its own or of the system's it refuses HTTPS, and needs none for plain HTTP on this machine.
    ///
    /// # Errors
    /// [`HttpError::Client`] if the certificates are none.
    pub fn new(timeout: Duration, tls: &TlsSettings, proxy: Option<&ProviderProxy>) -> Result<Self, HttpError> {
        Self::guarded(timeout, tls, proxy, &AddressGuard::open())
    }

    /// Makes the same, which calls no host that `addresses` does not let be.
    ///
    /// # Errors
    /// As [`ProviderHttp::new`].
    pub(crate) fn guarded(
        timeout: Duration,
        tls: &TlsSettings,
        proxy: Option<&ProviderProxy>,
        addresses: &AddressGuard,
    ) -> Result<Self, HttpError> {
        let builder = |tls: &TlsSettings| -> Result<reqwest::ClientBuilder, HttpError> {
            Ok(client_builder(timeout, tls, proxy)?.dns_resolver(Arc::new(addresses.clone())))
        };
        let client = builder(tls)?.build();
        if client.is_err() && tls.authorities.is_none() && load_native_certs().certs.is_empty() {
            let bare = TlsSettings { authorities: Some(String::new()), identity: tls.identity.clone() };
            let client = builder(&bare)?.build().map_err(HttpError::Client)?;
            return Ok(Self { client, timeout, believes_somebody: false });
        }
        Ok(Self { client: client.map_err(HttpError::Client)?, timeout, believes_somebody: true })
    }

    /// Sends a request and reads a bounded answer. A safe request whose connection broke before there was an answer is
    /// made and sent once more (RFC 9112 9.3.1, RFC 9110 9.2.2), within the same time: providers close connections that
    /// they just answered on. Nothing that brings a code or a token about is ever repeated (R-C08).
    ///
    /// # Errors
    /// [`HttpError`] if there is no complete answer; any status is an answer.
    pub(crate) async fn ask(
        &self,
        request: impl Fn() -> Result<http::Request<Vec<u8>>, HttpError>,
    ) -> Result<http::Response<Vec<u8>>, HttpError> {
        let answered = async {
            let first = request()?;
            let is_safe = first.method().is_safe();
            match self.execute(first).await {
                Err(error) if is_safe && error.is_broken_connection() => self.execute(request()?).await,
                answered => answered,
            }
        };
        tokio::time::timeout(self.timeout, answered).await.unwrap_or(Err(HttpError::Timeout))
    }

    /// Sends a request and reads a bounded answer, which keeps what must not be read out of it. Nothing is sent twice.
    ///
    /// # Errors
    /// [`HttpError`] if there is no complete answer; any status is an answer.
    async fn execute(&self, request: http::Request<Vec<u8>>) -> Result<http::Response<Vec<u8>>, HttpError> {
        let sent = Sent::with(&request);
        let request = reqwest::Request::try_from(request).map_err(|_| HttpError::Request)?;
        if !self.believes_somebody && request.url().scheme() == "https" {
            return Err(HttpError::NoAuthorities);
        }
        let mut answer = self.client.execute(request).await?;
        let mut response = http::Response::builder().status(answer.status());
        for (name, value) in answer.headers() {
            response = response.header(name, value);
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await? {
            if body.len() + chunk.len() > LARGEST_ANSWER {
                return Err(HttpError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        let mut response = response.body(body).map_err(|_| HttpError::Request)?;
        response.extensions_mut().insert(sent);
        Ok(response)
    }

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
            return Ok(Fetched {
                document: json_answer(&answer)?,
                max_age: crate::client::freshness::max_age(answer.headers()),
            });
        }
        let retry_after = crate::client::freshness::retry_after(answer.headers());
        Err(FetchFailure { error: HttpError::of(&answer), retry_after })
    }
}

fn client_builder(
    timeout: Duration,
    tls: &TlsSettings,
    proxy: Option<&ProviderProxy>,
) -> Result<reqwest::ClientBuilder, HttpError> {
    let mut client = reqwest::Client::builder();
    if let Some(pem) = &tls.authorities {
        client = client.tls_certs_only(Certificate::from_pem_bundle(pem.as_bytes()).map_err(HttpError::Client)?);
    }
    if let Some(pem) = &tls.identity {
        client = client.identity(Identity::from_pem(pem.expose().as_bytes()).map_err(HttpError::Client)?);
    }
    let client = client
        .redirect(Policy::none())
        // A code or a refresh token must never be sent twice (R-C08).
        .retry(reqwest::retry::never())
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(timeout)
        // The environment's proxies were read with the configuration. This drops every proxy, so ours comes later.
        .no_proxy()
        .user_agent(concat!("counterfoil/", env!("CARGO_PKG_VERSION")));
    Ok(match proxy {
        Some(proxy) => client.proxy(proxy.for_client().map_err(HttpError::Client)?),
        None => client,
    })
}

/// Returns the media type of an answer, without parameters, in lower case.
pub(crate) fn media_type(answer: &http::Response<Vec<u8>>) -> Option<String> {
    let value = answer.headers().get(CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

/// Reads the JSON object that an answer holds and says to hold.
pub(crate) fn json_answer(answer: &http::Response<Vec<u8>>) -> Result<Map<String, Value>, HttpError> {
    if is_json(answer) { json_object(answer.body()) } else { Err(HttpError::ContentType) }
}

fn is_json(answer: &http::Response<Vec<u8>>) -> bool {
    media_type(answer).is_some_and(|kind| kind == "application/json" || kind.ends_with("+json"))
}

/// Reads the JSON object that a body is.
///
/// # Errors
/// [`HttpError::NotAnObject`].
pub fn json_object(body: &[u8]) -> Result<Map<String, Value>, HttpError> {
    strict_json::object(body).map_err(|_| HttpError::NotAnObject)
}
