//! `POST /sso/backchannel-logout/{idp}`: the provider itself says that a session is over (OpenID Connect Back-Channel
//! Logout 1.0 2.5 to 2.8).
//!
//! No cookie counts here and none is set; the token's signature is the only proof. Whatever is refused gets 400 with a
//! fixed text, what cannot be decided now gets 503, so that the provider tries again.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::json;
use thiserror::Error;

use super::{Logout, Notice, Outcome};
use crate::audit::NoticeWay;
use crate::idp::{JwtFault, LogoutNotice, Meant, NoticeError, Provider};
use crate::session::filter::Filter;
use crate::session::replay::ReplayKey;
use crate::session::revocation::{Order, Selection};
use crate::web::client_address::ClientAddress;
use crate::web::failure::{Failure, FailureKind};
use crate::web::form;
use crate::web::query::Parameters;

/// The reason that a logout request is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
enum Refusal {
    #[error("the request is not form-encoded")]
    ContentType,
    #[error("the request has not exactly one logout_token")]
    NoToken,
    #[error("the logout token was refused: {0}")]
    Token(JwtFault),
    #[error("the logout token was used before")]
    Repeated,
    #[error("no known key signed the logout token, and the keys may not be fetched again yet")]
    TooSoon { retry_after: u64 },
}

/// Ends the sessions that the provider says are over.
///
/// # Errors
/// [`Failure`]: 404 for an unknown provider, 503 if the store or the provider's keys cannot be had.
pub async fn back_channel(
    State(logout): State<Logout>,
    idp: Result<Path<String>, PathRejection>,
    address: ClientAddress,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Failure> {
    let Path(idp) = idp.map_err(|error| Failure::caused(FailureKind::NotFound, error))?;
    let provider = logout.provider(&idp).filter(|provider| provider.can_tell_of_logouts());
    let provider = provider.ok_or(FailureKind::NotFound)?;
    let body = body.map_err(form::unreadable)?;
    let refuse = |refusal: &Refusal| {
        logout.refusals.note(provider.name(), NoticeWay::BackChannel, &refusal.to_string(), address.client);
        Ok(refused(refusal))
    };
    let token = match token(&headers, &body) {
        Ok(token) => token,
        Err(refusal) => return refuse(&refusal),
    };
    let said = match provider.logout_notice(&token).await {
        Ok(said) => said,
        Err(NoticeError::Refused(fault)) => return refuse(&Refusal::Token(fault)),
        Err(NoticeError::TooSoon { retry_after }) => return refuse(&Refusal::TooSoon { retry_after }),
        Err(error @ NoticeError::Unusable(_)) => return Err(Failure::caused(FailureKind::IdpUnavailable, error)),
    };
    match logout.carry_out(notice(provider, &said, address)).await {
        Ok(Outcome::CarriedOut) => Ok(StatusCode::OK.into_response()),
        Ok(Outcome::Repeated) => refuse(&Refusal::Repeated),
        Err(error) => Err(error.into()),
    }
}

fn notice(provider: &Provider, said: &LogoutNotice, address: ClientAddress) -> Notice {
    let issuer = said.issuer().to_owned();
    let selection = match said.meant().clone() {
        Meant::Person(subject) => Selection::Matching(Filter::subject(&issuer, &subject)),
        Meant::ProviderSession { sid, subject } => Selection::ProviderSession { issuer: issuer.clone(), sid, subject },
    };
    let name =
        ReplayKey { way: "back_channel", audience: provider.client_id().to_owned(), id: said.id().to_owned(), issuer };
    Notice {
        provider: provider.clone(),
        way: NoticeWay::BackChannel,
        selections: vec![selection],
        order: Order::of_the_provider(provider.name(), "logged out at the provider", false),
        once: Some((name, said.counts_until())),
        client: address.client,
    }
}

/// The one token of the form (2.5). A parameter that stands twice is an error.
fn token(headers: &HeaderMap, body: &[u8]) -> Result<String, Refusal> {
    if form::media_type(headers).as_deref() != Some("application/x-www-form-urlencoded") {
        return Err(Refusal::ContentType);
    }
    let form = std::str::from_utf8(body).ok().and_then(|body| Parameters::read(body).ok());
    form.and_then(|form| form.get("logout_token").map(str::to_owned)).ok_or(Refusal::NoToken)
}

/// An OAuth error (2.8), which repeats nothing of the sender's. A token that cannot be judged yet is to be sent again.
fn refused(refusal: &Refusal) -> Response {
    let (status, error, retry_after) = match refusal {
        Refusal::TooSoon { retry_after } => {
            (StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", Some(*retry_after))
        }
        _ => (StatusCode::BAD_REQUEST, "invalid_request", None),
    };
    let body = json!({ "error": error, "error_description": refusal.to_string() });
    let mut response = (status, Json(body)).into_response();
    response.headers_mut().extend(retry_after.map(|seconds| (RETRY_AFTER, HeaderValue::from(seconds))));
    response
}
