//! The vocabulary of what can go wrong for a request.
//!
//! Rooms above end a request with a [`Failure`]; it travels in the response's extensions to `respond`, which
//! alone knows its status, words and log level, and draws it once. Values here say what happened, never how
//! it looks.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode};

use super::request_body::TooSlow;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// No session, and the request cannot be sent to the login.
    SessionMissing,
    /// The session was idle for too long.
    SessionIdle,
    /// The session reached its absolute timeout.
    SessionExpired,
    /// Somebody entitled to it ended the session.
    SessionRevoked,
    /// A newer session of the same person took its place.
    SessionDisplaced,
    /// The same person ended it from another browser.
    SessionEndedElsewhere,
    /// The identity provider said that the session is over.
    SessionEndedByProvider,
    /// The session lives, but the route demands a more recent authentication.
    LoginTooOld,
    /// Signed in, but not allowed.
    Forbidden,
    /// The store cannot be asked.
    StoreUnavailable,
    /// The store cannot be asked, in the middle of a logout.
    LogoutIncomplete,
    /// The provider cannot be asked.
    IdpUnavailable,
    /// The provider's answer was not accepted.
    LoginFailed,
    /// The provider, or the person there, said no.
    LoginRefused,
    /// The login was not begun in this browser, took too long or was used before.
    LoginExpired,
    /// The person's sessions were ended while the login was under way.
    LoginOvertaken,
    /// The person may have no session for a while.
    LoginBlocked,
    /// The same page was signed in to again and again.
    LoginLoop,
    /// The provider's clock and ours disagree.
    LoginClock,
    /// The request makes no sense.
    BadRequest,
    /// The path could be read in two ways.
    AmbiguousPath,
    /// The broker has no such address.
    NotFound,
    /// The request names another host than the public URL.
    WrongHost,
    /// The address does not serve this method.
    MethodNotAllowed,
    /// Another site made the browser send it.
    CrossSite,
    /// The body is too large.
    PayloadTooLarge,
    /// The body did not come in time.
    RequestTimeout,
    /// The address is too long.
    TargetTooLong,
    /// The header lines are too large.
    HeadersTooLarge,
    /// The upstream does not answer.
    UpstreamUnavailable,
    /// The upstream took too long.
    UpstreamTimeout,
    /// A defect of the broker.
    Internal,
}

/// Why a request ends here.
#[derive(Debug, Clone)]
pub struct Failure {
    /// What happened.
    pub kind: FailureKind,
    /// What exactly was wrong, for the program that asked; never anything secret.
    pub detail: Option<String>,
    /// Why, for the log alone.
    pub cause: Option<Arc<dyn Error + Send + Sync>>,
    /// The address of a login that leads back to what was asked for.
    pub sign_in: Option<String>,
    /// `Set-Cookie` values to send along.
    pub cookies: Vec<HeaderValue>,
}

impl Failure {
    /// A failure with a cause to be logged.
    pub fn caused(kind: FailureKind, cause: impl Error + Send + Sync + 'static) -> Self {
        Self { cause: Some(Arc::new(cause)), ..Self::from(kind) }
    }

    /// Tells a program what exactly was wrong.
    #[must_use]
    pub fn with_detail(mut self, detail: String) -> Self {
        self.detail = Some(detail);
        self
    }

    /// Offers a login.
    #[must_use]
    pub fn with_sign_in(mut self, href: String) -> Self {
        self.sign_in = Some(href);
        self
    }

    /// Sends cookies along.
    #[must_use]
    pub fn with_cookies(mut self, cookies: impl IntoIterator<Item = HeaderValue>) -> Self {
        self.cookies.extend(cookies);
        self
    }
}

impl From<FailureKind> for Failure {
    fn from(kind: FailureKind) -> Self {
        Self { kind, detail: None, cause: None, sign_in: None, cookies: Vec::new() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.kind, formatter)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        // Should it ever leave without having been drawn, it is at least not a success.
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response.extensions_mut().insert(self);
        response
    }
}

/// An error, what caused it, and so on.
pub fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn Error + 'static)| (**error).source())
}

/// Whether an error comes from a request's body that did not come in time: nobody's fault but the sender's.
pub fn is_silence(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(<dyn Error>::is::<TooSlow>)
}
