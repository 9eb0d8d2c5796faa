//! The endpoints through which employees ask about their own session.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;
use time::OffsetDateTime;

use crate::guard::revalidated::Revalidated;
use crate::guard::session_lookup::look_up;
use crate::revalidation::Renewals;
use crate::session::{LiveSession, SessionReader};
use crate::web::cookies::CookiePolicy;
use crate::web::csrf::{self, CsrfTokens};
use crate::web::failure::{Failure, FailureKind, RefusalKind};

/// The state of the account endpoints. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Account {
    /// The sessions asked for.
    pub sessions: SessionReader,
    /// Revalidates sessions with their providers.
    pub renewals: Renewals,
    /// Finds the session's cookie.
    pub cookies: Arc<CookiePolicy>,
    /// The anti-forgery tokens of our own pages.
    pub csrf: Arc<CsrfTokens>,
}

/// Carries the token that the administration API asks browsers for.
const CSRF_TOKEN: HeaderName = HeaderName::from_static("x-csrf-token");

/// The body of `GET /sso/session`: the person, their groups, the session's end. No token, ever.
#[derive(Debug, Serialize)]
struct SessionBody<'a> {
    subject: &'a str,
    issuer: &'a str,
    idp: &'a str,
    name: Option<&'a str>,
    email: Option<&'a str>,
    groups: &'a [String],
    session: SessionTimes,
}

#[derive(Debug, Serialize)]
struct SessionTimes {
    handle: String,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    last_seen_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    idle_expires_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    absolute_expires_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    auth_time: Option<OffsetDateTime>,
}

/// `GET /sso/session`: for front ends. Asking does not count as use of the session.
///
/// # Errors
/// [`Failure`]: 401 without a session or with one that needs a login, 403 to other sites, 503 if the store cannot be asked.
pub async fn session(State(account): State<Account>, headers: HeaderMap) -> Result<Response, Failure> {
    if !csrf::may_read(&headers) {
        return Err(FailureKind::CrossSite.into());
    }
    let found = look_up(&account.sessions, &account.cookies, &headers).await?;
    match Revalidated::as_it_stands(&account.renewals, found) {
        Revalidated::Session(_, session) => {
            let mut response = Json(body(&session)).into_response();
            // For pages of this origin that call the administration API; no other site can read it.
            let token = account.csrf.token(&session.handle().to_string());
            response.headers_mut().extend(HeaderValue::try_from(token).map(|token| (CSRF_TOKEN, token)));
            Ok(response)
        }
        Revalidated::Reauthenticate(..) => Err(RefusalKind::Reauthenticate.into()),
        Revalidated::Anonymous(found) => Err(found.why_not().into()),
    }
}

fn body(session: &LiveSession) -> SessionBody<'_> {
    let record = session.record();
    SessionBody {
        subject: &record.identity.subject,
        issuer: &record.identity.issuer,
        idp: &record.identity.idp,
        name: record.identity.name.as_deref(),
        email: record.identity.email.as_deref(),
        groups: &record.identity.groups,
        session: SessionTimes {
            handle: session.handle().to_string(),
            created_at: record.created_at,
            last_seen_at: session.last_seen_at(),
            idle_expires_at: session.idle_expires_at(),
            absolute_expires_at: session.absolute_expires_at(),
            auth_time: record.auth_time,
        },
    }
}
