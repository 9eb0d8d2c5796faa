//! Forms that our own pages send.
//!
//! [`media_type`] and [`unreadable`] serve other bodies as well. Every state-changing form comes through [`read_own`], so that where it comes from is asked before what it says.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};

use super::csrf::is_same_origin;
use super::failure::{Failure, FailureKind, is_silence};
use super::public_url::PublicUrl;
use super::query::Parameters;

/// Reads a form that a page of ours sent. One whose fields make no sense has none: it lacks the page's token.
///
/// # Errors
/// [`Failure`]: 403 from another site, 4xx for a body that is too large, did not come in time, or is broken.
pub fn read_own(
    headers: &HeaderMap,
    public_url: &PublicUrl,
    body: Result<Bytes, BytesRejection>,
) -> Result<Parameters, Failure> {
    if !is_same_origin(headers, public_url) {
        return Err(FailureKind::CrossSite.into());
    }
    let body = body.map_err(unreadable)?;
    Ok(std::str::from_utf8(&body).ok().and_then(|body| Parameters::read(body).ok()).unwrap_or_default())
}

/// The media type of a request's body, without parameters, in lower case.
pub fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

/// Why a body could not be read.
pub fn unreadable(rejection: BytesRejection) -> Failure {
    let kind = if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        FailureKind::PayloadTooLarge
    } else if is_silence(&rejection) {
        FailureKind::RequestTimeout
    } else {
        FailureKind::BadRequest
    };
    Failure::caused(kind, rejection)
}
