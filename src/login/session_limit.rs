//! Too many sessions: the page on which a person ends one of theirs, so that the login can be repeated.
//!
//! They have proven who they are, but have no session; a grant sealed in a cookie says who may end which sessions, for
//! ten minutes. It grants nothing else, and ending a session takes the page's own form (R-M01).

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use super::Login;
use crate::audit::{AuditEvent, audit};
use crate::identity::Identity;
use crate::secret::keyring::{Keyring, Sealer};
use crate::session::key::SessionHandle;
use crate::web::branding::Frame;
use crate::web::cookies::{CookiePolicy, LIMIT as LIMIT_COOKIE};
use crate::web::failure::{Failure, FailureKind};
use crate::web::page::{self, Moment, OwnSession, TooManySessions};
use crate::web::paths::PATHS;
use crate::web::redirect::see_other;
use crate::web::return_to::ReturnTo;
use crate::web::{form, security_headers};

/// The path of the page.
pub const LIMIT: &str = "/sso/limit";
/// The lifetime of a grant.
const LIFETIME: Duration = Duration::minutes(10);

/// A grant: the person who may end sessions here, and the page they wanted to go to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EndSessionGrant {
    issuer: String,
    subject: String,
    return_to: String,
    #[serde(with = "time::serde::timestamp::milliseconds")]
    until: OffsetDateTime,
}

/// Seals grants into a cookie and finds them again.
#[derive(Debug)]
pub struct GrantSealer {
    sealer: Sealer,
}

impl GrantSealer {
    /// A sealer of grants under the server's keys.
    pub fn new(keyring: &Keyring) -> Self {
        Self { sealer: keyring.sealer("counterfoil limit ticket v1", &[]) }
    }

    fn cookie(&self, grant: &EndSessionGrant, cookies: &CookiePolicy) -> HeaderValue {
        let name = cookies.own_name(LIMIT_COOKIE);
        let value = URL_SAFE_NO_PAD.encode(self.sealer.seal_json(name.as_bytes(), grant));
        cookies.set(&name, &value, Some(LIFETIME))
    }

    fn find(&self, cookies: &CookiePolicy, headers: &HeaderMap, now: OffsetDateTime) -> Option<EndSessionGrant> {
        let name = cookies.own_name(LIMIT_COOKIE);
        let open = |value: &[u8]| self.sealer.open_json(name.as_bytes(), &URL_SAFE_NO_PAD.decode(value).ok()?).ok();
        cookies.values(&name, headers).find_map(open).filter(|grant: &EndSessionGrant| now < grant.until)
    }
}

impl EndSessionGrant {
    /// A grant for somebody who has just proven who they are.
    pub(super) fn new(identity: &Identity, return_to: &ReturnTo, now: OffsetDateTime) -> Self {
        let Identity { issuer, subject, .. } = identity.clone();
        Self { issuer, subject, return_to: return_to.to_string(), until: now + LIFETIME }
    }

    /// The name that the anti-forgery token of the form is bound to: no handle of a session looks like it.
    fn name(&self) -> String {
        format!("limit {} {}", self.issuer, self.subject)
    }

    fn return_to(&self) -> ReturnTo {
        ReturnTo::parse(&self.return_to, &PATHS).unwrap_or_else(ReturnTo::home)
    }
}

impl Login {
    /// Sends a browser to the page.
    pub(super) fn send_to_limit(&self, grant: &EndSessionGrant) -> Result<Response, Failure> {
        let mut response = see_other(LIMIT)?;
        response.headers_mut().append(SET_COOKIE, self.grants.cookie(grant, &self.cookies));
        Ok(response)
    }
}

/// `GET /sso/limit`: the person's sessions, each with a button that ends it.
///
/// # Errors
/// [`Failure`]: 400 without a grant, 503 if the store cannot be asked.
pub async fn choose(State(login): State<Login>, headers: HeaderMap) -> Result<Response, Failure> {
    let now = login.clock.now();
    let grant = login.grants.find(&login.cookies, &headers, now).ok_or(FailureKind::LoginExpired)?;
    let sessions = login.sessions.administration().of_subject(&grant.issuer, &grant.subject).await;
    let sessions = sessions?;
    let own = |session: &crate::session::LiveSession| OwnSession {
        handle: session.handle().to_string(),
        browser: session.record().client.browser().to_string(),
        address: session.record().client.address.clone().unwrap_or_default(),
        last_seen: Moment::new(session.last_seen_at(), now),
    };
    let frame = Frame::for_request(&headers, &login.branding);
    let html = TooManySessions {
        frame,
        sessions: sessions.iter().map(own).collect(),
        csrf_token: &login.csrf.token(&grant.name()),
        sign_in_href: &grant.return_to().login_href(&PATHS),
    }
    .html();
    let mut response = page::response(StatusCode::OK, frame.language, html);
    security_headers::allow_form(response.headers_mut());
    Ok(response)
}

/// `POST /sso/limit`: ends one of them and goes on with the login.
///
/// # Errors
/// [`Failure`]: 403 unless it comes from our own page, 400 without a grant, 503 if the store cannot be asked.
pub async fn end_one(
    State(login): State<Login>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Failure> {
    let form = form::read_own(&headers, &login.public_url, body)?;
    let grant = login.grants.find(&login.cookies, &headers, login.clock.now()).ok_or(FailureKind::LoginExpired)?;
    if !login.csrf.verify(&grant.name(), form.get("csrf_token").unwrap_or_default()) {
        return Err(FailureKind::CrossSite.into());
    }
    let handle: Option<SessionHandle> = form.get("handle").and_then(|handle| handle.parse().ok());
    let handle = handle.ok_or(FailureKind::BadRequest)?;
    let ended = login.sessions.administration().end_own(&grant.issuer, &grant.subject, handle).await;
    if ended? {
        audit(&AuditEvent::LoggedOut { session: handle, subject: &grant.subject });
    }
    let mut response = see_other(&grant.return_to().login_href(&PATHS))?;
    response.headers_mut().append(SET_COOKIE, login.cookies.clear(&login.cookies.own_name(LIMIT_COOKIE)));
    Ok(response)
}
