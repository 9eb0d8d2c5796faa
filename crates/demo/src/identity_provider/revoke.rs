//! The revocation endpoint, RFC 7009.
//!
//! Owns reading the request; what is revoked with a token is decided in `grants`. Called by the router.

use axum::body::Bytes;
use axum::extract::State;
use http::{HeaderMap, StatusCode};

use super::token::{TokenError, read_form, required};
use super::{IdentityProvider, clients};

/// Answers `POST /revoke`. An unknown token is no error, section 2.2. `token_type_hint` is not needed.
pub(super) async fn revoke(
    State(provider): State<IdentityProvider>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, TokenError> {
    let parameters = read_form(&headers, &body)?;
    let client = clients::authenticate(provider.clients(), &headers, &parameters)?;
    let token = required(&parameters, "token")?;
    provider.state().grants.revoke(token, &client.client_id, provider.now())?;
    Ok(StatusCode::OK)
}
