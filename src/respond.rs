//! The answers to failures: the one place with the status, the texts and the log level of every [`FailureKind`], and
//! that logs it.

use std::borrow::Cow;
use std::error::Error;
use std::fmt::Write;
use std::sync::Arc;

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::header::{ACCEPT, ACCEPT_LANGUAGE, ALLOW, RETRY_AFTER, SET_COOKIE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::printable::Printable;
use crate::proxy::error::ProxyErrorKind;
use crate::web::branding::{Branding, Frame};
use crate::web::failure::{Failure, FailureKind, RefusalKind, take_failure};
use crate::web::page::{self, Action, ErrorPage};
use crate::web::problem::{Problem, RETRY_AFTER_SECONDS};
use crate::web::public_url::PublicUrl;
use crate::web::request_id::RequestId;
use crate::web::return_to::ReturnTo;
use crate::web::{navigation, security_headers};

/// The party at fault; decides the log level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blame {
    /// The person, the browser, or nobody: routine.
    Browser,
    /// An attacker, or a broken program.
    Sender,
    /// The identity provider.
    Provider,
    /// The session store.
    Store,
    /// The application behind.
    Upstream,
    /// The broker itself.
    Broker,
}

/// The look of a failure.
struct Appearance {
    status: StatusCode,
    /// Machine-readable (the contract's list).
    code: &'static str,
    /// The texts `error-{words}-title` and `error-{words}-advice`.
    words: Cow<'static, str>,
    blame: Blame,
}

fn appearance(kind: FailureKind) -> Appearance {
    use Blame::{Broker, Browser, Provider, Sender, Store};
    use FailureKind as Kind;
    let (status, code, words, blame) = match kind {
        Kind::Refused(kind) => return refused(kind),
        Kind::NotForwarded(kind) => return not_forwarded(kind),
        Kind::TokenInvalid => (401, "token_invalid", "token-invalid", Sender),
        Kind::CsrfTokenInvalid => (403, "forbidden", "csrf-token-invalid", Sender),
        Kind::LogoutIncomplete => (503, "store_unavailable", "logout-incomplete", Store),
        Kind::IdpUnavailable => (503, "idp_unavailable", "idp-unavailable", Provider),
        Kind::LoginFailed => (502, "login_failed", "login-failed", Provider),
        Kind::AnswerRefused => (400, "login_failed", "login-failed", Browser),
        Kind::AnswerUnjudged => (503, "idp_unavailable", "idp-unavailable", Browser),
        Kind::LoginPutOff => (400, "login_failed", "login-put-off", Browser),
        Kind::LoginRefused => (403, "login_failed", "login-refused", Browser),
        Kind::LoginExpired => (400, "login_failed", "login-expired", Browser),
        Kind::LoginOvertaken => (403, "login_failed", "login-overtaken", Browser),
        Kind::LoginBlocked => (403, "login_failed", "login-blocked", Browser),
        Kind::LoginLoop => (400, "login_failed", "login-loop", Browser),
        Kind::LoginClock => (502, "login_failed", "login-clock", Provider),
        Kind::LoginNotFresh => (502, "login_failed", "login-not-fresh", Provider),
        Kind::StrongerLoginNeeded => (403, "login_failed", "stronger-login-needed", Browser),
        Kind::LoginOtherResponseMode => (400, "login_failed", "login-other-response-mode", Sender),
        Kind::BadRequest => (400, "bad_request", "bad-request", Sender),
        Kind::NotFound => (404, "bad_request", "not-found", Browser),
        Kind::WrongHost => (421, "bad_request", "wrong-host", Sender),
        Kind::MethodNotAllowed => (405, "bad_request", "method-not-allowed", Sender),
        Kind::CrossSite => (403, "forbidden", "cross-site", Sender),
        Kind::PayloadTooLarge => (413, "bad_request", "payload-too-large", Sender),
        Kind::RequestTimeout => (408, "bad_request", "request-timeout", Sender),
        Kind::UnknownCoding => (501, "bad_request", "bad-request", Sender),
        Kind::TargetTooLong => (414, "bad_request", "target-too-long", Sender),
        Kind::HeadersTooLarge => (431, "bad_request", "headers-too-large", Sender),
        Kind::TooManyScans => (429, "too_many_scans", "too-many-scans", Sender),
        Kind::Internal => (500, "internal", "internal", Broker),
    };
    // Every number above is a status; the test walks them all.
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    Appearance { status, code, words: words.into(), blame }
}

/// The look of a refusal of the guard's, which knows its status and code itself.
fn refused(kind: RefusalKind) -> Appearance {
    use RefusalKind as Kind;
    let (words, blame) = match kind {
        Kind::SessionMissing => ("session-missing".into(), Blame::Browser),
        Kind::SessionEnded(cause) => (format!("session-{}", cause.key()).into(), Blame::Browser),
        Kind::Reauthenticate => ("login-too-old".into(), Blame::Browser),
        Kind::SignInFailed => ("login-refused".into(), Blame::Browser),
        Kind::Forbidden => ("forbidden".into(), Blame::Browser),
        Kind::ForeignOrigin => ("cross-site".into(), Blame::Sender),
        Kind::AmbiguousPath => ("ambiguous-path".into(), Blame::Sender),
        Kind::TwoSessions => ("bad-request".into(), Blame::Sender),
        Kind::StoreUnavailable => ("store-unavailable".into(), Blame::Store),
        Kind::ProviderUnavailable => ("idp-unavailable".into(), Blame::Provider),
        Kind::NotFound => ("not-found".into(), Blame::Browser),
        Kind::MethodNotAllowed => ("method-not-allowed".into(), Blame::Sender),
        // This includes kinds of later versions of the guard.
        _ => ("internal".into(), Blame::Broker),
    };
    let (status, code) = kind.status_and_code();
    Appearance { status, code, words, blame }
}

/// The look of a request that the proxy could not forward.
fn not_forwarded(kind: ProxyErrorKind) -> Appearance {
    use ProxyErrorKind as Kind;
    let (words, blame) = match kind {
        Kind::BodyTimeout => ("request-timeout", Blame::Sender),
        Kind::BrokenRequest => ("bad-request", Blame::Sender),
        Kind::BodyTooLarge => ("payload-too-large", Blame::Sender),
        Kind::AmbiguousPath => ("ambiguous-path", Blame::Sender),
        Kind::NoUpstream => ("not-found", Blame::Browser),
        Kind::TooManyStreams => ("too-many-streams", Blame::Browser),
        Kind::UpstreamTimeout => ("upstream-timeout", Blame::Upstream),
        _ => ("upstream-unavailable", Blame::Upstream),
    };
    let (status, code) = kind.status_and_code();
    Appearance { status, code, words: words.into(), blame }
}

/// Paths below this serve programs: they get texts for developers.
const API: &str = "/sso/api/";

/// The texts of a problem document of the API (`api-{words}-title` and `-advice`), where an employee's would not help.
fn words_for_programs(kind: FailureKind) -> Option<&'static str> {
    use FailureKind as Kind;
    Some(match kind {
        Kind::Refused(RefusalKind::SessionMissing) => "session-missing",
        Kind::Refused(RefusalKind::SessionEnded(_)) => "session-ended",
        Kind::Refused(RefusalKind::Reauthenticate) => "login-too-old",
        Kind::Refused(RefusalKind::Forbidden) => "forbidden",
        Kind::Refused(RefusalKind::StoreUnavailable) => "store-unavailable",
        Kind::Refused(RefusalKind::TwoSessions) | Kind::BadRequest => "bad-request",
        Kind::NotFound => "not-found",
        Kind::MethodNotAllowed => "method-not-allowed",
        Kind::CrossSite => "cross-site",
        Kind::TooManyScans => "too-many-scans",
        Kind::Internal => "internal",
        _ => return None,
    })
}

/// The state behind answering. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Responder {
    /// The operator's words for the pages.
    pub branding: Arc<Branding>,
    /// The address that people are sent to who came by another name.
    pub public_url: Arc<PublicUrl>,
}

/// The facts of a request that say how its failure is drawn.
#[derive(Debug)]
pub struct Asked {
    id: RequestId,
    /// True if the administration API was asked.
    is_api: bool,
    /// True if asking again changes nothing (RFC 9110 9.2.1).
    is_safe: bool,
    /// The values of [`TASTES`], in that order.
    tastes: [Option<HeaderValue>; 5],
}

/// The reference to the page that it stands on (RFC 3986 4.4).
const SAME_PAGE: &str = "";

/// The headers by which a browser says what it wants to be shown: [`navigation`] and the language read no others.
static TASTES: [HeaderName; 5] = [
    ACCEPT,
    ACCEPT_LANGUAGE,
    HeaderName::from_static("sec-fetch-mode"),
    HeaderName::from_static("sec-fetch-dest"),
    HeaderName::from_static("x-requested-with"),
];

impl Asked {
    /// Notes what a failure of this request would need; the request itself is gone by then.
    pub fn of(request: &Request, id: RequestId) -> Self {
        let tastes = TASTES.each_ref().map(|name| joined(request.headers(), name));
        Self { id, is_api: request.uri().path().starts_with(API), is_safe: request.method().is_safe(), tastes }
    }

    fn headers(&self) -> HeaderMap {
        let values = TASTES.iter().zip(&self.tastes);
        values.filter_map(|(name, value)| Some((name.clone(), value.clone()?))).collect()
    }
}

/// A field's value; of several lines, one that means the same (RFC 9110 5.3).
fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<HeaderValue> {
    let mut lines = headers.get_all(name).iter();
    let (first, second) = (lines.next()?, lines.next());
    if second.is_none() {
        return Some(first.clone());
    }
    let lines: Vec<_> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    HeaderValue::from_bytes(&lines.join(&b", "[..])).ok()
}

impl Responder {
    /// Draws whatever [`Failure`] a response carries: a page for a person, a problem document (RFC 9457) for a program.
    pub fn finish(&self, asked: &Asked, mut response: Response) -> Response {
        let Some(failure) = take_failure(&mut response) else { return response };
        let appearance = appearance(failure.kind);
        log(&failure, &appearance);
        let mut drawn = self.draw(&failure, &appearance, asked);
        if appearance.status == StatusCode::METHOD_NOT_ALLOWED {
            // RFC 9110 15.5.6: whoever refuses a method says which ones it serves; the router knows for what it refuses.
            let allow = failure.allow().map(HeaderValue::from_static).or_else(|| response.headers_mut().remove(ALLOW));
            drawn.headers_mut().extend(allow.map(|allow| (ALLOW, allow)));
        }
        drawn
    }

    fn draw(&self, failure: &Failure, appearance: &Appearance, asked: &Asked) -> Response {
        let headers = asked.headers();
        let frame = Frame::for_request(&headers, &self.branding);
        let mut response = if navigation::is_navigation(&headers) {
            page::response(appearance.status, frame.language, self.page(failure, appearance, frame, asked))
        } else {
            problem(failure, appearance, frame, self.public_url.authority(), asked)
        };
        let headers = response.headers_mut();
        headers.extend(failure.cookies.iter().cloned().map(|cookie| (SET_COOKIE, cookie)));
        if matches!(appearance.status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            headers.insert(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
        }
        if appearance.status == StatusCode::UNAUTHORIZED {
            // RFC 9110 11.6.1 wants a challenge; no browser opens a dialogue for these schemes.
            let challenges: &[&'static str] = match failure.kind {
                // RFC 6750 3.1: only who showed a token is told of an error.
                FailureKind::TokenInvalid if failure.detail.is_some() => &["Bearer realm=\"/sso/api/v1\""],
                FailureKind::TokenInvalid => &["Bearer realm=\"/sso/api/v1\", error=\"invalid_token\""],
                _ if asked.is_api => &["Cookie realm=\"/sso/login\"", "Bearer realm=\"/sso/api/v1\""],
                _ => &["Cookie realm=\"/sso/login\""],
            };
            for challenge in challenges {
                headers.append(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
            }
        }
        security_headers::apply(headers, self.public_url.is_https());
        response
    }

    fn page(&self, failure: &Failure, appearance: &Appearance, frame: Frame<'_>, asked: &Asked) -> String {
        let home = ReturnTo::home();
        let public = self.public_url.origin();
        let sign_in = failure.sign_in.as_deref();
        let account = failure.account();
        let actions = match failure.kind {
            FailureKind::Refused(
                RefusalKind::SessionMissing
                | RefusalKind::SessionEnded(_)
                | RefusalKind::Reauthenticate
                | RefusalKind::SignInFailed,
            ) => sign_in.map(Action::SignIn).into_iter().collect(),
            FailureKind::Refused(RefusalKind::ProviderUnavailable)
            | FailureKind::IdpUnavailable
            | FailureKind::LoginFailed
            | FailureKind::AnswerRefused
            | FailureKind::AnswerUnjudged
            | FailureKind::LoginPutOff
            | FailureKind::LoginRefused
            | FailureKind::LoginExpired
            | FailureKind::LoginOvertaken
            | FailureKind::LoginLoop
            | FailureKind::LoginOtherResponseMode
            | FailureKind::LoginClock
            | FailureKind::LoginNotFresh => {
                let go_on = account.map(|account| Action::GoOn(&account.go_on));
                go_on.into_iter().chain([Action::TryAgain(sign_in.unwrap_or(home.as_str()))]).collect()
            }
            FailureKind::StrongerLoginNeeded => {
                let switch = account.map(|account| Action::OtherAccount(&account.switch));
                [Action::TryAgain(sign_in.unwrap_or(home.as_str()))].into_iter().chain(switch).collect()
            }
            FailureKind::LogoutIncomplete => vec![],
            FailureKind::WrongHost => vec![Action::Home(public)],
            _ => {
                // It is over by itself: the page that was asked for, and not another.
                let is_outage = matches!(appearance.status.as_u16(), 502..=504) && asked.is_safe;
                let again = is_outage.then_some(Action::TryAgain(SAME_PAGE));
                let switch = account.map(|account| Action::OtherAccount(&account.switch));
                again.into_iter().chain([Action::Home(home.as_str())]).chain(switch).collect()
            }
        };
        let (status, kind, code) = (appearance.status.as_u16(), &*appearance.words, appearance.code);
        let site = self.public_url.authority();
        let (account, new_tab_sign_in) = (account.map(|account| &*account.name), failure.new_tab_sign_in());
        ErrorPage { frame, status, kind, code, request_id: asked.id.as_str(), site, actions, account, new_tab_sign_in }
            .html()
    }
}

fn problem(failure: &Failure, appearance: &Appearance, frame: Frame<'_>, site: &str, asked: &Asked) -> Response {
    let text = |what: &str| match words_for_programs(failure.kind).filter(|_| asked.is_api) {
        Some(words) => frame.language.text(&format!("api-{words}-{what}")),
        None => frame.language.text_with(&format!("error-{}-{what}", appearance.words), "site", site),
    };
    // A login does not help who showed a token.
    let needs_login = appearance.status == StatusCode::UNAUTHORIZED && failure.kind != FailureKind::TokenInvalid;
    let (status, title, detail) = (appearance.status, text("title"), text("advice"));
    let problem = Problem {
        status,
        title: &title,
        detail: failure.detail.as_deref().unwrap_or(&detail),
        code: appearance.code,
        request_id: Some(asked.id.as_str()),
        login: failure.sign_in.as_deref().or(needs_login.then_some("/sso/login")),
    };
    problem.into_response()
}

fn log(failure: &Failure, appearance: &Appearance) {
    let status = appearance.status.as_u16();
    let cause = failure.cause.as_deref().map(chain).unwrap_or_default();
    let (kind, blame, cause) = (failure.kind, appearance.blame, Printable(&cause));
    match blame {
        // Without a cause it is routine; with one, the request id on the page has to lead to it.
        Blame::Browser if cause.0.is_empty() => tracing::debug!(?kind, ?blame, status, "a request was turned away"),
        Blame::Browser => tracing::info!(?kind, ?blame, status, %cause, "a request was turned away"),
        Blame::Sender => tracing::info!(?kind, ?blame, status, %cause, "a request was refused"),
        Blame::Provider | Blame::Store | Blame::Upstream => {
            tracing::warn!(?kind, ?blame, status, %cause, "a request could not be served");
        }
        Blame::Broker => tracing::error!(?kind, ?blame, status, %cause, "a request met a defect"),
    }
}

/// A cause and what caused it.
fn chain(error: &(dyn Error + Send + Sync + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        // Many errors repeat their source in their own words.
        if !text.contains(&more) {
            let _ = write!(text, ": {more}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::language::Language;

    #[test]
    fn every_failure_has_an_error_status_and_words_in_every_language() {
        for kind in FailureKind::all() {
            let appearance = appearance(kind);
            assert!(appearance.status.is_client_error() || appearance.status.is_server_error(), "{kind:?}");
            let is_a_defect = appearance.status == StatusCode::INTERNAL_SERVER_ERROR;
            assert_eq!(appearance.words == "internal", is_a_defect, "{kind:?} has no words of its own");
            assert!(appearance.blame != Blame::Upstream || appearance.code == "upstream_unavailable", "{kind:?}");
            for language in [Language::English, Language::Korean] {
                for part in ["title", "advice"] {
                    let for_programs = words_for_programs(kind).map(|words| format!("api-{words}-{part}"));
                    for id in [Some(format!("error-{}-{part}", appearance.words)), for_programs].into_iter().flatten() {
                        assert_ne!(language.text_with(&id, "site", "app.example.test"), id, "{kind:?}");
                    }
                }
            }
        }
    }

    /// R-P01: during an outage of the store a session is neither valid nor over.
    #[test]
    fn outages_are_503() {
        let of_the_store = FailureKind::Refused(RefusalKind::StoreUnavailable);
        for kind in [of_the_store, FailureKind::LogoutIncomplete, FailureKind::IdpUnavailable] {
            assert_eq!(appearance(kind).status, StatusCode::SERVICE_UNAVAILABLE);
        }
    }
}
