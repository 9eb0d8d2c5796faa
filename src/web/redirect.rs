//! Sending a browser somewhere else: always 303, so that a form is never sent on (RFC 9110 15.4.4, R-A10).

use axum::response::{IntoResponse, Response};
use http::header::LOCATION;
use http::{HeaderValue, StatusCode};

use super::failure::{Failure, FailureKind};

/// An answer that sends the browser to `location`, which must be one of ours or checked.
///
/// # Errors
/// [`FailureKind::Internal`] if it cannot stand in a header.
pub fn see_other(location: &str) -> Result<Response, Failure> {
    let location = HeaderValue::try_from(location);
    let location = location.map_err(|error| Failure::caused(FailureKind::Internal, error))?;
    let mut response = StatusCode::SEE_OTHER.into_response();
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
}
