//! The failures of requests to a provider, and which of them are transient.

use std::error::Error;

use http::header::RETRY_AFTER;
use thiserror::Error;

use crate::answer::provider_words::ProviderWords;

/// Largest answer read. Metadata, keys and profiles are a few kilobytes.
pub(crate) const LARGEST_ANSWER: usize = 1024 * 1024;

/// The reason why there is no usable answer. Shows no address and no token, and nothing of a body but its reason.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HttpError {
    /// No client can be built.
    #[error("no HTTPS client can be built on this machine: {0}")]
    Client(#[source] TransportError),
    /// HTTPS is asked for, and there is no trusted authority.
    #[error(
        "this machine has no certificate authorities to verify it with: install them (ca-certificates), or name `ca_file`"
    )]
    NoAuthorities,
    /// The connection failed or broke.
    #[error("it cannot be reached: {}", root_cause(.0))]
    Unreachable(#[source] TransportError),
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
    /// It refused our DPoP proof for a token.
    #[error("it did not take the proof of possession")]
    Proof,
    /// Rate limit: it was asked a moment ago for a document like this, and did not have it.
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

    /// Is true if the failure is transient: the provider was unreachable, too slow, or answered 5xx.
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

    /// Is true if nothing was sent, because no connection could be opened: a code in the request is not used up.
    pub fn was_not_sent(&self) -> bool {
        matches!(self, Self::Unreachable(error) if error.0.is_connect())
    }

    /// Is true if an open connection broke before there was an answer: most likely a reused one that the provider had
    /// closed.
    pub(crate) fn is_broken_connection(&self) -> bool {
        matches!(self, Self::Unreachable(error) if error.0.is_request() && !error.0.is_connect() && !error.0.is_timeout())
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

    /// Makes an error of a failure to send a request or to read its answer.
    pub(crate) fn sending(error: reqwest::Error) -> Self {
        // A timeout while connecting counts as a failure to connect.
        let is_late = error.is_timeout() && !error.is_connect();
        if is_late { Self::Timeout } else { Self::Unreachable(TransportError(error.without_url())) }
    }

    /// Makes an error of a failure to build a client.
    pub(crate) fn client(error: reqwest::Error) -> Self {
        Self::Client(TransportError(error))
    }
}

/// A failure of the HTTP library. Names no address.
#[derive(Debug, Error)]
#[error(transparent)]
pub struct TransportError(reqwest::Error);

/// Returns the root of a failed connection ("Connection refused", a name that does not resolve), which is the useful
/// part.
fn root_cause<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    std::iter::successors(Some(error), |error: &&'a (dyn Error + 'static)| (**error).source()).last().unwrap_or(error)
}
