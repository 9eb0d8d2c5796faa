//! The two endpoints that tell who an access token is for.
//!
//! Owns the Bearer header (RFC 6750) and both answers. A token in a query or a body is not looked at. Called by
//! the router.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};

use super::grants::Access;
use super::{IdentityProvider, Protocol};

/// The reason why an access token was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum BearerError {
    #[error("the request has no Bearer token in its Authorization header")]
    Missing,
    #[error("the access token is unknown, expired or revoked")]
    Invalid,
}

/// Answers `GET` and `POST /userinfo`, OpenID Connect Core 1.0 section 5.3.
pub(super) async fn userinfo(
    State(provider): State<IdentityProvider>,
    headers: HeaderMap,
) -> Result<Response, BearerError> {
    let access = access(&provider, Protocol::OpenidConnect, &headers)?;
    let account = access.grant.account;
    let mut claims = account.claims(&access.scopes);
    claims.insert("sub".into(), json!(account.id));
    Ok(uncacheable(Value::Object(claims)))
}

/// Answers `GET /oauth2/api/me`.
pub(super) async fn me(State(provider): State<IdentityProvider>, headers: HeaderMap) -> Result<Response, BearerError> {
    let access = access(&provider, Protocol::PlainOauth, &headers)?;
    Ok(uncacheable(access.grant.account.employee_record()))
}

fn access(provider: &IdentityProvider, protocol: Protocol, headers: &HeaderMap) -> Result<Access, BearerError> {
    let token = bearer_token(headers).ok_or(BearerError::Missing)?;
    provider.state().grants.access(token, protocol, provider.now()).ok_or(BearerError::Invalid)
}

fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn uncacheable(body: Value) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

impl IntoResponse for BearerError {
    fn into_response(self) -> Response {
        // Without a token there is no error code to tell, RFC 6750 section 3.1.
        let challenge = match self {
            Self::Missing => "Bearer realm=\"demo\"".to_owned(),
            Self::Invalid => format!("Bearer realm=\"demo\", error=\"invalid_token\", error_description=\"{self}\""),
        };
        let headers = [(header::WWW_AUTHENTICATE, challenge), (header::CACHE_CONTROL, "no-store".to_owned())];
        (StatusCode::UNAUTHORIZED, headers).into_response()
    }
}
