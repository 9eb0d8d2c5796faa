//! `POST /sso/security-events/{idp}`: a transmitter of Shared Signals reports events about a person or a session (push
//! delivery, RFC 8935).
//!
//! No cookie counts here; the transmitter shows its bearer token, if one is agreed on, and the event is signed. Revoked
//! sessions end; after a change of credentials the person's sessions end too, and the next login has to be a fresh one.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::header::{AUTHORIZATION, CONTENT_LANGUAGE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::json;
use thiserror::Error;

use super::{Logout, Notice};
use crate::audit::NoticeWay;
use crate::idp::{
    EventSubject as Meant, EventType, JwtFault, NoticeError, Provider, SecurityEvent, SecurityEventToken, SharedSignals,
};
use crate::secret::Secret;
use crate::session::filter::{EventTime, Filter};
use crate::session::replay::ReplayKey;
use crate::session::revocation::{Order, Selection};
use crate::web::client_address::ClientAddress;
use crate::web::failure::{Failure, FailureKind};
use crate::web::form;

/// The reason that an event is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
enum Refusal {
    #[error("the transmitter did not show its bearer token")]
    Stranger,
    #[error("the request is not application/secevent+jwt")]
    ContentType,
    #[error("the security event token was refused: {0}")]
    Token(JwtFault),
    #[error("no known key signed the security event token, and the keys may not be fetched again yet")]
    TooSoon { retry_after: u64 },
}

/// Takes an event.
///
/// # Errors
/// [`Failure`]: 404 for a provider without shared signals, 503 if the store or the transmitter's keys cannot be had.
pub async fn security_events(
    State(logout): State<Logout>,
    idp: Result<Path<String>, PathRejection>,
    address: ClientAddress,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Failure> {
    let Path(idp) = idp.map_err(|error| Failure::caused(FailureKind::NotFound, error))?;
    let provider = logout.provider(&idp).ok_or(FailureKind::NotFound)?;
    let signals = provider.shared_signals().ok_or(FailureKind::NotFound)?;
    let refuse = |refusal: &Refusal| {
        logout.refusals.note(provider.name(), NoticeWay::SecurityEvent, &refusal.to_string(), address.client);
        Ok(refusal.response())
    };
    // The transmitter is checked before its message.
    if !is_admitted(signals, &headers) {
        return refuse(&Refusal::Stranger);
    }
    if form::media_type(&headers).as_deref() != Some("application/secevent+jwt") {
        return refuse(&Refusal::ContentType);
    }
    let body = body.map_err(form::unreadable)?;
    let token = std::str::from_utf8(&body).unwrap_or_default().trim();
    let token = match provider.security_event(token).await {
        Ok(token) => token,
        Err(NoticeError::Refused(fault)) => return refuse(&Refusal::Token(fault)),
        Err(NoticeError::TooSoon { retry_after }) => return refuse(&Refusal::TooSoon { retry_after }),
        Err(error @ NoticeError::Unusable(_)) => return Err(Failure::caused(FailureKind::IdpUnavailable, error)),
    };
    if let Some(notice) = notice(provider, signals, &token, address) {
        // A repeated event is acknowledged again: transmitters repeat what was not acknowledged.
        let carried_out = logout.carry_out(notice).await;
        carried_out?;
    }
    Ok(StatusCode::ACCEPTED.into_response())
}

/// Is true if the transmitter shows the bearer token that was agreed on; compared in constant time.
fn is_admitted(signals: &SharedSignals, headers: &HeaderMap) -> bool {
    let Some(agreed) = &signals.bearer_token else { return true };
    let shown =
        headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|value| value.split_once(' '));
    let shown = shown.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    shown.is_some_and(|(_, token)| Secret::new(token.trim().to_owned()) == *agreed)
}

/// The notice to carry out for a security event token, if it has an event that is acted on.
fn notice(
    provider: &Provider,
    signals: &SharedSignals,
    token: &SecurityEventToken,
    address: ClientAddress,
) -> Option<Notice> {
    let selections = |event: &SecurityEvent| {
        let proof_needed = event.event_type == EventType::CredentialChange;
        let happened = EventTime { at: event.happened_at, proof_needed };
        event.meant.iter().map(|meant| selection(meant, happened)).collect::<Vec<_>>()
    };
    let selections = token.events().iter().flat_map(selections).collect();
    let has_changed = token.events().iter().any(|event| event.event_type == EventType::CredentialChange);
    let reason = if has_changed { "credentials were changed at the provider" } else { "revoked at the provider" };
    let (issuer, audience) = (token.issuer().to_owned(), signals.audience.clone());
    let name = ReplayKey { way: "security_event", issuer, audience, id: token.id().to_owned() };
    // A notice about none of our people is audited, too.
    (!token.events().is_empty()).then(|| Notice {
        provider: provider.clone(),
        way: NoticeWay::SecurityEvent,
        selections,
        order: Order::of_the_provider(provider.name(), reason, has_changed),
        once: Some((name, token.counts_until())),
        client: address.client,
    })
}

/// The sessions that end. A provider's session that is over stays over; a person may have signed in again since.
fn selection(meant: &Meant, happened: EventTime) -> Selection {
    let since = |filter| Filter { happened: Some(happened), ..filter };
    match meant.clone() {
        Meant::Person { issuer, subject } => Selection::Matching(since(Filter::subject(&issuer, &subject))),
        Meant::Address { issuer, email } => Selection::Searched(since(Filter::address(&issuer, &email))),
        Meant::ProviderSession { issuer, sid, subject } => Selection::ProviderSession { issuer, sid, subject },
    }
}

impl Refusal {
    /// RFC 8935 2.3 and 2.4.
    fn response(&self) -> Response {
        let (status, err) = match self {
            Self::Stranger => (StatusCode::UNAUTHORIZED, "authentication_failed"),
            Self::Token(fault) if fault.claim() == Some("iss") => (StatusCode::BAD_REQUEST, "invalid_issuer"),
            Self::Token(fault) if fault.claim() == Some("aud") => (StatusCode::BAD_REQUEST, "invalid_audience"),
            Self::Token(JwtFault::Signature | JwtFault::UnknownKey | JwtFault::NoKeys) => {
                (StatusCode::BAD_REQUEST, "invalid_key")
            }
            Self::TooSoon { .. } => (StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable"),
            Self::ContentType | Self::Token(_) => (StatusCode::BAD_REQUEST, "invalid_request"),
        };
        let body = json!({ "err": err, "description": self.to_string() });
        let language = [(CONTENT_LANGUAGE, HeaderValue::from_static("en"))];
        let mut response = (status, language, Json(body)).into_response();
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Self::TooSoon { retry_after } = self {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(*retry_after));
        }
        response
    }
}
