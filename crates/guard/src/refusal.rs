//! The refusals of a request, which draw themselves.
//!
//! A [`Refusal`] becomes a problem document (RFC 9457) with its true status wherever it is returned. It also travels in
//! the response's extensions, so that an application can draw its own page in its place.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use counterfoil_core::identity::Identity;
use counterfoil_session::ending::EndCause;
use counterfoil_session::store::StoreError;
use http::header::{ALLOW, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};

use crate::broker_paths::BrokerPaths;
use crate::problem::Problem;
use crate::return_to::ReturnTo;
use crate::security_headers;

/// The body for developers whose handler is mounted outside the guard.
const MISSING_LAYER: &str = "no guard stands in front of this handler: wrap the router, `guard.in_front_of(router)`; a \
    `Router::layer` on an inner router does not cover its fallback";

/// The body for developers whose guard is nested: axum cuts the outer path off before the guard sees it, so that rules for
/// `/admin` would not cover `/keys`, which is what is left of `/admin/keys`.
const NESTED_GUARD: &str = "the guard stands inside `Router::nest`, where a part of the path is cut off before it is \
    judged: put it in front of the outermost router, `guard.in_front_of(router)`";

/// The kind of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RefusalKind {
    /// No session, and the request cannot be sent to the login.
    SessionMissing,
    /// The session has ended.
    SessionEnded(EndCause),
    /// The session lives, but the route demands a more recent authentication, or another.
    Reauthenticate,
    /// The login failed: the person is not authenticated.
    SignInFailed,
    /// Signed in, but not allowed.
    Forbidden,
    /// A page of another origin asks for an upgrade with the person's session.
    ForeignOrigin,
    /// The path could be read in two ways.
    AmbiguousPath,
    /// Two cookies of the request name two live sessions.
    TwoSessions,
    /// The store cannot be asked, which signs nobody out.
    StoreUnavailable,
    /// The provider cannot be asked.
    ProviderUnavailable,
    /// There is no such address.
    NotFound,
    /// No route of this path covers the method.
    MethodNotAllowed,
    /// A handler that asks for the caller has no guard in front of it.
    MissingLayer,
    /// The guard stands inside a nested router, and cannot see the whole path.
    NestedGuard,
    /// A defect.
    Internal,
}

impl RefusalKind {
    /// Every kind there is.
    pub const ALL: [Self; 20] = [
        Self::SessionMissing,
        Self::SessionEnded(EndCause::Idle),
        Self::SessionEnded(EndCause::Absolute),
        Self::SessionEnded(EndCause::Revoked),
        Self::SessionEnded(EndCause::Displaced),
        Self::SessionEnded(EndCause::EndedElsewhere),
        Self::SessionEnded(EndCause::EndedByProvider),
        Self::Reauthenticate,
        Self::SignInFailed,
        Self::Forbidden,
        Self::ForeignOrigin,
        Self::AmbiguousPath,
        Self::TwoSessions,
        Self::StoreUnavailable,
        Self::ProviderUnavailable,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::MissingLayer,
        Self::NestedGuard,
        Self::Internal,
    ];

    /// The status and the machine-readable code.
    pub fn status_and_code(self) -> (StatusCode, &'static str) {
        match self {
            Self::SessionMissing => (StatusCode::UNAUTHORIZED, "session_missing"),
            Self::SessionEnded(EndCause::Idle) => (StatusCode::UNAUTHORIZED, "session_idle"),
            Self::SessionEnded(EndCause::Absolute) => (StatusCode::UNAUTHORIZED, "session_expired"),
            Self::SessionEnded(_) => (StatusCode::UNAUTHORIZED, "session_revoked"),
            Self::Reauthenticate => (StatusCode::UNAUTHORIZED, "reauthentication_required"),
            Self::SignInFailed => (StatusCode::UNAUTHORIZED, "login_failed"),
            Self::Forbidden | Self::ForeignOrigin => (StatusCode::FORBIDDEN, "forbidden"),
            Self::AmbiguousPath | Self::TwoSessions => (StatusCode::BAD_REQUEST, "bad_request"),
            Self::StoreUnavailable => (StatusCode::SERVICE_UNAVAILABLE, "store_unavailable"),
            Self::ProviderUnavailable => (StatusCode::SERVICE_UNAVAILABLE, "idp_unavailable"),
            Self::NotFound => (StatusCode::NOT_FOUND, "bad_request"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "bad_request"),
            Self::MissingLayer | Self::NestedGuard | Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        }
    }

    fn title_and_detail(self) -> (&'static str, &'static str) {
        match self {
            Self::SessionMissing => ("Not signed in", "Sign in, then ask again."),
            Self::SessionEnded(EndCause::Idle) => ("The session was idle for too long", "Sign in again."),
            Self::SessionEnded(EndCause::Absolute) => ("The session has expired", "Sign in again."),
            Self::SessionEnded(_) => ("The session was ended", "Sign in again."),
            Self::Reauthenticate => ("The login is not enough for this", "Sign in again."),
            Self::SignInFailed => ("The login failed", "Try again."),
            Self::Forbidden => ("Not allowed", "The account that is signed in may not do this."),
            Self::ForeignOrigin => {
                ("A page of another origin", "The route does not allow its origin to upgrade a connection.")
            }
            Self::AmbiguousPath => ("The path is ambiguous", "Write the path in one spelling, without escapes."),
            Self::TwoSessions => ("Two sessions at once", "Send the cookie of one session."),
            Self::StoreUnavailable => ("Sessions cannot be checked just now", "Nobody is signed out. Try again soon."),
            Self::ProviderUnavailable => ("The identity provider does not answer", "Try again soon."),
            Self::NotFound => ("Not found", "There is nothing at this address."),
            Self::MethodNotAllowed => ("Not a method of this address", "Use one of the methods that `Allow` lists."),
            Self::MissingLayer => ("No guard", MISSING_LAYER),
            Self::NestedGuard => ("A nested guard", NESTED_GUARD),
            Self::Internal => ("A defect", "The request met a defect."),
        }
    }
}

/// The refusal that ends a request.
#[derive(Debug, Clone)]
pub struct Refusal {
    kind: RefusalKind,
    detail: Option<String>,
    cause: Option<Arc<dyn Error + Send + Sync>>,
    /// Boxed to keep the error small: few refusals have any.
    offers: Option<Box<Offers>>,
}

/// The ways on that an answer offers.
#[derive(Debug, Clone, Default)]
struct Offers {
    sign_in: Option<String>,
    new_tab_sign_in: Option<String>,
    account: Option<SignedInAs>,
    /// The methods that the address serves.
    allow: Option<String>,
}

/// The person whose session is live although the request was refused, for the page to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedInAs {
    /// The display name of the person, which distinguishes several accounts of theirs.
    pub name: String,
    /// The address at which they go on as they are.
    pub go_on: String,
    /// The address at which signing in with another account begins.
    pub switch: String,
}

impl SignedInAs {
    /// Makes it of a person, the page they continue to, and the page to open with another account.
    pub fn new(identity: &Identity, go_on: &ReturnTo, page: &ReturnTo, paths: &BrokerPaths) -> Self {
        let called = identity.display_name();
        let apart = identity.verified_email().or(identity.preferred_username.as_deref());
        let name = match apart.filter(|apart| *apart != called) {
            Some(apart) => format!("{called} ({apart})"),
            None => called.to_owned(),
        };
        Self { name, go_on: go_on.to_string(), switch: page.other_account_href(paths) }
    }
}

impl Refusal {
    /// A refusal with a cause to be logged.
    pub fn caused(kind: RefusalKind, cause: impl Error + Send + Sync + 'static) -> Self {
        Self { cause: Some(Arc::new(cause)), ..Self::from(kind) }
    }

    /// Makes the refusal of a method, with those that the address serves, as `Allow` lists them (RFC 9110 10.2.1).
    pub(crate) fn of_method(allow: String) -> Self {
        let mut refusal = Self::from(RefusalKind::MethodNotAllowed);
        refusal.offers.get_or_insert_default().allow = Some(allow);
        refusal
    }

    /// Makes the refusal of a failed login, with the reason for the person.
    pub fn sign_in_failed(why: impl Into<String>) -> Self {
        Self { detail: Some(why.into()), ..Self::from(RefusalKind::SignInFailed) }
    }

    /// The kind of refusal.
    pub fn kind(&self) -> RefusalKind {
        self.kind
    }

    /// The exact fault, for the program that asked; never anything secret.
    pub fn detail(&self) -> Option<&str> {
        self.detail.as_deref()
    }

    /// The text of the refusal: its detail, otherwise the text of its kind.
    pub fn advice(&self) -> &str {
        self.detail().unwrap_or(self.kind.title_and_detail().1)
    }

    /// The reason, for the log alone.
    pub fn cause(&self) -> Option<&Arc<dyn Error + Send + Sync>> {
        self.cause.as_ref()
    }

    /// The address of a login that leads back to what was asked for.
    pub fn sign_in(&self) -> Option<&str> {
        self.offers.as_ref()?.sign_in.as_deref()
    }

    /// The address of a login for another tab, if this one can send again what it sent once somebody is signed in.
    pub fn new_tab_sign_in(&self) -> Option<&str> {
        self.offers.as_ref()?.new_tab_sign_in.as_deref()
    }

    /// The person who is signed in all the same.
    pub fn account(&self) -> Option<&SignedInAs> {
        self.offers.as_ref()?.account.as_ref()
    }

    /// Offers a login.
    #[must_use]
    pub fn with_sign_in(mut self, href: String) -> Self {
        self.offers.get_or_insert_default().sign_in = Some(href);
        self
    }

    /// Offers a login in another tab, after which this one can send again what it sent.
    #[must_use]
    pub fn with_new_tab_sign_in(mut self, href: String) -> Self {
        self.offers.get_or_insert_default().new_tab_sign_in = Some(href);
        self
    }

    /// Adds who is signed in, and the login with another account.
    #[must_use]
    pub fn with_account(mut self, account: impl Into<Option<SignedInAs>>) -> Self {
        if let Some(account) = account.into() {
            self.offers.get_or_insert_default().account = Some(account);
        }
        self
    }
}

impl From<RefusalKind> for Refusal {
    fn from(kind: RefusalKind) -> Self {
        Self { kind, detail: None, cause: None, offers: None }
    }
}

impl From<StoreError> for Refusal {
    /// A store outage ends no session: 503.
    fn from(error: StoreError) -> Self {
        Self::caused(RefusalKind::StoreUnavailable, error)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.kind.title_and_detail().0)
    }
}

impl Error for Refusal {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let ((status, code), (title, _)) = (self.kind.status_and_code(), self.kind.title_and_detail());
        let detail = self.advice();
        let problem = Problem { status, title, detail, code, request_id: None, login: self.sign_in() };
        let mut response = problem.into_response();
        if status == StatusCode::UNAUTHORIZED {
            // RFC 9110 11.6.1 wants a challenge; no browser opens a dialogue for this scheme.
            let login = self.sign_in().and_then(|href| href.split('?').next()).unwrap_or("session");
            let challenge = HeaderValue::try_from(format!("Cookie realm=\"{login}\""));
            response.headers_mut().extend(challenge.map(|challenge| (WWW_AUTHENTICATE, challenge)));
        }
        let allow = self.offers.as_ref().and_then(|offers| HeaderValue::try_from(offers.allow.as_deref()?).ok());
        response.headers_mut().extend(allow.map(|allow| (ALLOW, allow)));
        security_headers::apply(response.headers_mut(), false);
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};

    use super::*;

    /// A kind that is missing here does not compile; it belongs in `ALL` as well.
    fn is_known(kind: RefusalKind) -> bool {
        match kind {
            RefusalKind::SessionEnded(cause) => EndCause::ALL.contains(&cause),
            RefusalKind::SessionMissing
            | RefusalKind::Reauthenticate
            | RefusalKind::SignInFailed
            | RefusalKind::Forbidden
            | RefusalKind::ForeignOrigin
            | RefusalKind::AmbiguousPath
            | RefusalKind::TwoSessions
            | RefusalKind::StoreUnavailable
            | RefusalKind::ProviderUnavailable
            | RefusalKind::NotFound
            | RefusalKind::MethodNotAllowed
            | RefusalKind::MissingLayer
            | RefusalKind::NestedGuard
            | RefusalKind::Internal => true,
        }
    }

    /// In a foreign application no layer of the broker draws these.
    #[test]
    fn every_refusal_draws_itself_with_its_true_status() {
        for kind in RefusalKind::ALL {
            assert!(is_known(kind), "{kind:?}");
            let response = Refusal::from(kind).with_sign_in("/login?return_to=%2F".to_owned()).into_response();
            let (status, headers) = (response.status(), response.headers());
            assert_eq!(status, kind.status_and_code().0, "{kind:?}");
            assert!(status.is_client_error() || status.is_server_error(), "{kind:?}");
            assert_eq!(headers[CONTENT_TYPE], "application/problem+json", "{kind:?}");
            assert_eq!(headers[CACHE_CONTROL], "no-store", "{kind:?}");
            assert_eq!(headers["x-content-type-options"], "nosniff", "{kind:?}");
            assert_eq!(headers.contains_key(RETRY_AFTER), status == StatusCode::SERVICE_UNAVAILABLE, "{kind:?}");
            let challenge = headers.get(WWW_AUTHENTICATE).map(HeaderValue::as_bytes);
            let expected = (status == StatusCode::UNAUTHORIZED).then_some(&b"Cookie realm=\"/login\""[..]);
            assert_eq!(challenge, expected, "{kind:?}");
            assert!(response.extensions().get::<Refusal>().is_some(), "{kind:?}");
        }
        for cause in EndCause::ALL {
            assert!(RefusalKind::ALL.contains(&RefusalKind::SessionEnded(cause)), "{cause:?}");
        }
    }
}
