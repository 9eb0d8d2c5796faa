//! Forms that browsers send.
//!
//! Every state-changing form of our own pages comes through [`read_own`], so that where it comes from is asked before
//! what it says. [`read_foreign`] is for the few that another site is meant to send, and that change nothing by
//! themselves. [`media_type`] and [`unreadable`] serve other bodies as well.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use thiserror::Error;

use super::csrf::is_same_origin;
use super::failure::{Failure, FailureKind};
use super::public_url::PublicUrl;
use super::query::Parameters;
use crate::proxy::error::is_body_timeout;

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

/// Reads a form that another site's page made the browser send. Proves nothing about who wrote it.
///
/// # Errors
/// [`Failure`]: 4xx for a body that is no form, names a parameter twice, is too large or did not come in time.
pub fn read_foreign(headers: &HeaderMap, body: Result<Bytes, BytesRejection>) -> Result<Parameters, Failure> {
    if media_type(headers).as_deref() != Some("application/x-www-form-urlencoded") {
        return Err(Failure::caused(FailureKind::BadRequest, NotAForm));
    }
    let body = body.map_err(unreadable)?;
    let body = std::str::from_utf8(&body).map_err(|error| Failure::caused(FailureKind::BadRequest, error))?;
    Parameters::read(body).map_err(|error| Failure::caused(FailureKind::BadRequest, error))
}

/// A body is declared to be something else than a form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the body is not declared to be a form")]
pub struct NotAForm;

/// The media type of a request's body, without parameters, in lower case.
pub fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

/// The failure for a body that could not be read.
pub fn unreadable(rejection: BytesRejection) -> Failure {
    let kind = if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        FailureKind::PayloadTooLarge
    } else if is_body_timeout(&rejection) {
        FailureKind::RequestTimeout
    } else {
        FailureKind::BadRequest
    };
    Failure::caused(kind, rejection)
}
