//! The vocabulary of failures of a request.
//!
//! Modules above end a request with a [`Failure`]; it travels in the response's extensions to `respond`, which alone
//! knows its texts and log level, and renders it once. So do the refusals of the guard and the errors of the proxy,
//! which a failure wraps. Values here say what happened, never how it looks.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode};

pub use crate::guard::refusal::{Refusal, RefusalKind, SignedInAs};
use crate::proxy::error::{ProxyError, ProxyErrorKind};
use crate::session::store::StoreError;

/// The kind of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// The guard refused the request.
    Refused(RefusalKind),
    /// The proxy could not forward it.
    NotForwarded(ProxyErrorKind),
    /// A machine's token is not known.
    TokenInvalid,
    /// A browser's request does not prove that it comes from a page of ours.
    CsrfTokenInvalid,
    /// The store cannot be asked, in the middle of a logout.
    LogoutIncomplete,
    /// The provider cannot be asked.
    IdpUnavailable,
    /// The provider's answer was not accepted.
    LoginFailed,
    /// The browser brought an answer that cannot be the provider's, or is malformed.
    AnswerRefused,
    /// The browser brought an answer that cannot be verified yet.
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
    /// As many reviewers look through all sessions as may at a time.
    TooManyScans,
    /// A defect of the broker.
    Internal,
}

impl From<RefusalKind> for FailureKind {
    fn from(kind: RefusalKind) -> Self {
        Self::Refused(kind)
    }
}

impl FailureKind {
    /// Every kind of the broker's own.
    const OWN: [Self; 29] = [
        Self::TokenInvalid,
        Self::CsrfTokenInvalid,
        Self::LogoutIncomplete,
        Self::IdpUnavailable,
        Self::LoginFailed,
        Self::AnswerRefused,
        Self::AnswerUnjudged,
        Self::LoginPutOff,
        Self::LoginRefused,
        Self::LoginExpired,
        Self::LoginOvertaken,
        Self::LoginBlocked,
        Self::LoginLoop,
        Self::LoginOtherResponseMode,
        Self::LoginClock,
        Self::LoginNotFresh,
        Self::StrongerLoginNeeded,
        Self::BadRequest,
        Self::NotFound,
        Self::WrongHost,
        Self::MethodNotAllowed,
        Self::CrossSite,
        Self::PayloadTooLarge,
        Self::RequestTimeout,
        Self::UnknownCoding,
        Self::TargetTooLong,
        Self::HeadersTooLarge,
        Self::TooManyScans,
        Self::Internal,
    ];

    /// Every kind there is.
    pub fn all() -> impl Iterator<Item = Self> {
        let of_others = RefusalKind::ALL.map(Self::Refused).into_iter();
        of_others.chain(ProxyErrorKind::ALL.map(Self::NotForwarded)).chain(Self::OWN)
    }

    /// Is true if the store cannot be asked: whatever was begun may go on once it can.
    pub fn is_store_outage(self) -> bool {
        self == Self::Refused(RefusalKind::StoreUnavailable)
    }

    /// Is true of failures that anybody can cause by a forged address, since only the browser reports them.
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

    /// Adds who is signed in, and the login with another account.
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

impl From<RefusalKind> for Failure {
    fn from(kind: RefusalKind) -> Self {
        FailureKind::Refused(kind).into()
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let details = Details {
            new_tab_sign_in: refusal.new_tab_sign_in().map(str::to_owned),
            account: refusal.account().cloned(),
            allow: None,
        };
        let has_details = details.new_tab_sign_in.is_some() || details.account.is_some();
        Self {
            detail: refusal.detail().map(str::to_owned),
            cause: refusal.cause().cloned(),
            sign_in: refusal.sign_in().map(str::to_owned),
            details: has_details.then(|| Box::new(details)),
            ..Self::from(refusal.kind())
        }
    }
}

impl From<ProxyError> for Failure {
    fn from(error: ProxyError) -> Self {
        Self { cause: Some(error.cause().clone()), ..FailureKind::NotForwarded(error.kind()).into() }
    }
}

impl From<StoreError> for Failure {
    /// A store outage ends no session: 503.
    fn from(error: StoreError) -> Self {
        Refusal::from(error).into()
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
        // A failure that was not rendered is at least no success.
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response.extensions_mut().insert(self);
        response
    }
}

/// Takes the failure out of an answer that is one, whoever ended the request.
pub fn take_failure(response: &mut Response) -> Option<Failure> {
    let extensions = response.extensions_mut();
    let own = extensions.remove::<Failure>();
    let refused = || extensions.remove::<Refusal>().map(Failure::from);
    own.or_else(refused).or_else(|| response.extensions_mut().remove::<ProxyError>().map(Failure::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A kind that is missing here does not compile; it belongs in `OWN` as well.
    #[test]
    fn every_kind_of_the_brokers_own_is_listed() {
        for kind in FailureKind::all() {
            match kind {
                FailureKind::Refused(kind) => assert!(RefusalKind::ALL.contains(&kind)),
                FailureKind::NotForwarded(kind) => assert!(ProxyErrorKind::ALL.contains(&kind)),
                FailureKind::TokenInvalid
                | FailureKind::CsrfTokenInvalid
                | FailureKind::LogoutIncomplete
                | FailureKind::IdpUnavailable
                | FailureKind::LoginFailed
                | FailureKind::AnswerRefused
                | FailureKind::AnswerUnjudged
                | FailureKind::LoginPutOff
                | FailureKind::LoginRefused
                | FailureKind::LoginExpired
                | FailureKind::LoginOvertaken
                | FailureKind::LoginBlocked
                | FailureKind::LoginLoop
                | FailureKind::LoginOtherResponseMode
                | FailureKind::LoginClock
                | FailureKind::LoginNotFresh
                | FailureKind::StrongerLoginNeeded
                | FailureKind::BadRequest
                | FailureKind::NotFound
                | FailureKind::WrongHost
                | FailureKind::MethodNotAllowed
                | FailureKind::CrossSite
                | FailureKind::PayloadTooLarge
                | FailureKind::RequestTimeout
                | FailureKind::UnknownCoding
                | FailureKind::TargetTooLong
                | FailureKind::HeadersTooLarge
                | FailureKind::TooManyScans
                | FailureKind::Internal => assert!(FailureKind::OWN.contains(&kind)),
            }
        }
        assert_eq!(FailureKind::all().count(), 29 + RefusalKind::ALL.len() + ProxyErrorKind::ALL.len());
    }
}
