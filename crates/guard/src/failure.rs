//! The vocabulary of failures of a request.
//!
//! Rooms above end a request with a [`Failure`]; it travels in the response's extensions to `respond`, which
//! alone knows its status, words and log level, and draws it once. Values here say what happened, never how
//! it looks.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use counterfoil_core::identity::Identity;
use counterfoil_session::store::StoreError;
use http::{HeaderValue, StatusCode};

use super::return_to::ReturnTo;

/// The kind of a failure.
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
    /// A machine's token is not known.
    TokenInvalid,
    /// A browser's request does not prove that it comes from a page of ours.
    CsrfTokenInvalid,
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
    /// The browser brought an answer that cannot be the provider's, or makes no sense.
    AnswerRefused,
    /// The browser brought an answer of which nobody can say yet whether it is the provider's.
    AnswerUnjudged,
    /// The provider says that it signs nobody in just now; so the browser says.
    LoginPutOff,
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
    /// The provider's answer came in another response mode than was asked for.
    LoginOtherResponseMode,
    /// The provider's clock and ours disagree.
    LoginClock,
    /// The provider did not say that the person signed in as lately as was asked for.
    LoginNotFresh,
    /// The person authenticated in another way than the page asks for.
    StrongerLoginNeeded,
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
    /// The body is encoded for its way by a coding that the broker does not know.
    UnknownCoding,
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

impl FailureKind {
    /// Is true if nothing but the browser's word stands behind a login that failed so: anybody can make that up.
    pub fn is_of_the_browser(self) -> bool {
        matches!(
            self,
            Self::AnswerRefused
                | Self::AnswerUnjudged
                | Self::LoginOtherResponseMode
                | Self::LoginPutOff
                | Self::LoginRefused
                | Self::LoginExpired
                | Self::LoginLoop
        )
    }
}

/// The failure that ends a request.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The kind of failure.
    pub kind: FailureKind,
    /// The exact fault, for the program that asked; never anything secret.
    pub detail: Option<String>,
    /// The reason, for the log alone.
    pub cause: Option<Arc<dyn Error + Send + Sync>>,
    /// The address of a login that leads back to what was asked for.
    pub sign_in: Option<String>,
    /// Further details of the answer, in a box: few have any of them, and a failure is the error of many functions.
    pub details: Option<Box<Details>>,
    /// `Set-Cookie` values to send along.
    pub cookies: Vec<HeaderValue>,
}

/// Further details of some answers.
#[derive(Debug, Clone, Default)]
pub struct Details {
    new_tab_sign_in: Option<String>,
    account: Option<SignedInAs>,
    allow: Option<&'static str>,
}

/// The person whose session lives whatever became of the request, for pages that would otherwise leave them guessing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedInAs {
    /// The name to call the person by, which also tells two accounts of theirs apart.
    pub name: String,
    /// The address at which they go on as they are.
    pub go_on: String,
    /// The address at which signing in with another account begins.
    pub switch: String,
}

impl SignedInAs {
    /// A person, the page they go on with, and the page that they may want to open as somebody else.
    pub fn new(identity: &Identity, go_on: &ReturnTo, page: &ReturnTo) -> Self {
        let called = identity.display_name();
        let apart = identity.verified_email().or(identity.preferred_username.as_deref());
        let name = match apart.filter(|apart| *apart != called) {
            Some(apart) => format!("{called} ({apart})"),
            None => called.to_owned(),
        };
        Self { name, go_on: go_on.to_string(), switch: page.other_account_href() }
    }
}

impl Failure {
    /// A failure with a cause to be logged.
    pub fn caused(kind: FailureKind, cause: impl Error + Send + Sync + 'static) -> Self {
        Self { cause: Some(Arc::new(cause)), ..Self::from(kind) }
    }

    /// The same with a cause to be logged.
    #[must_use]
    pub fn with_cause(mut self, cause: impl Error + Send + Sync + 'static) -> Self {
        self.cause = Some(Arc::new(cause));
        self
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

    /// Offers a login in another tab, after which this one can send again what it sent.
    #[must_use]
    pub fn with_new_tab_sign_in(mut self, href: String) -> Self {
        self.details.get_or_insert_default().new_tab_sign_in = Some(href);
        self
    }

    /// The address of a login for another tab, if this one can send again what it sent once somebody is signed in.
    pub fn new_tab_sign_in(&self) -> Option<&str> {
        self.details.as_ref()?.new_tab_sign_in.as_deref()
    }

    /// Says who is signed in, and offers to be somebody else.
    #[must_use]
    pub fn with_account(mut self, account: impl Into<Option<SignedInAs>>) -> Self {
        if let Some(account) = account.into() {
            self.details.get_or_insert_default().account = Some(account);
        }
        self
    }

    /// The person who is signed in all the same.
    pub fn account(&self) -> Option<&SignedInAs> {
        self.details.as_ref()?.account.as_ref()
    }

    /// Says which methods are served.
    #[must_use]
    pub fn with_allow(mut self, methods: &'static str) -> Self {
        self.details.get_or_insert_default().allow = Some(methods);
        self
    }

    /// The methods that the address serves, as `Allow` lists them (RFC 9110 10.2.1).
    pub fn allow(&self) -> Option<&'static str> {
        self.details.as_ref()?.allow
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
        Self { kind, detail: None, cause: None, sign_in: None, details: None, cookies: Vec::new() }
    }
}

impl From<StoreError> for Failure {
    /// A store that cannot be asked signs nobody out: 503.
    fn from(error: StoreError) -> Self {
        Self::caused(FailureKind::StoreUnavailable, error)
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

/// A request's body did not come in time: nobody's fault but the sender's.
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
