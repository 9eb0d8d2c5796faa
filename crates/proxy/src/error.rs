//! The failures of forwarding a request, which draw themselves.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use counterfoil_guard::problem::Problem;
use counterfoil_guard::security_headers;
use http::StatusCode;

/// The kind of a failure to forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProxyErrorKind {
    /// The request's body did not come in time.
    BodyTimeout,
    /// The request cannot be forwarded as it came.
    BrokenRequest,
    /// The request's body is larger than its route allows.
    BodyTooLarge,
    /// The path would have to be cut or joined, and can be read in two ways.
    AmbiguousPath,
    /// The route has no upstream.
    NoUpstream,
    /// As many streams are open as may be.
    TooManyStreams,
    /// The upstream does not answer, or not in a way that can be passed on.
    UpstreamUnavailable,
    /// The upstream took too long.
    UpstreamTimeout,
}

impl ProxyErrorKind {
    /// Every kind there is.
    pub const ALL: [Self; 8] = [
        Self::BodyTimeout,
        Self::BrokenRequest,
        Self::BodyTooLarge,
        Self::AmbiguousPath,
        Self::NoUpstream,
        Self::TooManyStreams,
        Self::UpstreamUnavailable,
        Self::UpstreamTimeout,
    ];

    /// The status and the machine-readable code.
    pub fn status_and_code(self) -> (StatusCode, &'static str) {
        match self {
            Self::BodyTimeout => (StatusCode::REQUEST_TIMEOUT, "bad_request"),
            Self::BrokenRequest | Self::AmbiguousPath => (StatusCode::BAD_REQUEST, "bad_request"),
            Self::BodyTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "bad_request"),
            Self::NoUpstream => (StatusCode::NOT_FOUND, "bad_request"),
            Self::TooManyStreams => (StatusCode::SERVICE_UNAVAILABLE, "too_many_streams"),
            Self::UpstreamUnavailable => (StatusCode::BAD_GATEWAY, "upstream_unavailable"),
            Self::UpstreamTimeout => (StatusCode::GATEWAY_TIMEOUT, "upstream_unavailable"),
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::BodyTimeout => "The request did not come in time",
            Self::BrokenRequest => "The request cannot be read",
            Self::BodyTooLarge => "The request is too large",
            Self::AmbiguousPath => "The path is ambiguous",
            Self::NoUpstream => "Not found",
            Self::TooManyStreams => "Too many connections are open",
            Self::UpstreamUnavailable => "The application does not answer",
            Self::UpstreamTimeout => "The application took too long",
        }
    }
}

/// A request that was not forwarded, or whose answer cannot be passed on.
#[derive(Debug, Clone)]
pub struct ProxyError {
    kind: ProxyErrorKind,
    cause: Arc<dyn Error + Send + Sync>,
}

impl ProxyError {
    /// A failure of this kind, with the cause to be logged.
    pub fn new(kind: ProxyErrorKind, cause: impl Error + Send + Sync + 'static) -> Self {
        Self { kind, cause: Arc::new(cause) }
    }

    /// The kind of failure.
    pub fn kind(&self) -> ProxyErrorKind {
        self.kind
    }

    /// The reason, for the log alone.
    pub fn cause(&self) -> &Arc<dyn Error + Send + Sync> {
        &self.cause
    }
}

impl fmt::Display for ProxyError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.kind.title())
    }
}

impl Error for ProxyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.cause)
    }
}

impl IntoResponse for ProxyError {
    /// A problem document (RFC 9457); the error travels along in the extensions, for whoever draws pages.
    fn into_response(self) -> Response {
        let ((status, code), title) = (self.kind.status_and_code(), self.kind.title());
        let problem = Problem { status, title, detail: "Try again.", code, request_id: None, login: None };
        let mut response = problem.into_response();
        security_headers::apply(response.headers_mut(), false);
        response.extensions_mut().insert(self);
        response
    }
}

/// A request's body did not come in time: the sender's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the request's body did not come in time")]
pub struct BodyTimeout;

/// Is true if an error comes from a request's body that did not come in time.
pub fn is_body_timeout(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(<dyn Error>::is::<BodyTimeout>)
}

/// An error, what caused it, and so on.
pub fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn Error + 'static)| (**error).source())
}

#[cfg(test)]
mod tests {
    use http::header::CONTENT_TYPE;

    use super::*;

    #[test]
    fn every_failure_to_forward_draws_itself_with_its_true_status() {
        for kind in ProxyErrorKind::ALL {
            // A kind that is missing here does not compile; it belongs in `ALL` as well.
            match kind {
                ProxyErrorKind::BodyTimeout
                | ProxyErrorKind::BrokenRequest
                | ProxyErrorKind::BodyTooLarge
                | ProxyErrorKind::AmbiguousPath
                | ProxyErrorKind::NoUpstream
                | ProxyErrorKind::TooManyStreams
                | ProxyErrorKind::UpstreamUnavailable
                | ProxyErrorKind::UpstreamTimeout => {}
            }
            let response = ProxyError::new(kind, BodyTimeout).into_response();
            assert_eq!(response.status(), kind.status_and_code().0, "{kind:?}");
            assert!(response.status().is_client_error() || response.status().is_server_error(), "{kind:?}");
            assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json", "{kind:?}");
            assert!(response.extensions().get::<ProxyError>().is_some(), "{kind:?}");
        }
    }
}
