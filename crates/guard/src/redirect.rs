//! Sending a browser somewhere else: always 303, so that a form is never sent on (RFC 9110 15.4.4, R-A10).

use axum::response::{IntoResponse, Response};
use http::header::LOCATION;
use http::{HeaderMap, HeaderValue, StatusCode};

use super::refusal::{Refusal, RefusalKind};

/// Largest head of an answer of the broker's own, in bytes: proxies in front take one memory page (nginx), and make a 502
/// of what is larger.
pub const LARGEST_HEAD: usize = 4096;
/// The room for what an answer's head still gets on its way out: the status, and the headers that all answers have.
const YET_TO_COME: usize = 768;

/// Is true if an answer with these headers stays below [`LARGEST_HEAD`].
pub fn fits_every_proxy(headers: &HeaderMap) -> bool {
    let line = |(name, value): (&http::HeaderName, &HeaderValue)| name.as_str().len() + value.len() + ": \r\n".len();
    headers.iter().map(line).sum::<usize>() + YET_TO_COME <= LARGEST_HEAD
}

/// An answer that sends the browser to `location`, which must be one of ours or checked.
///
/// # Errors
/// [`RefusalKind::Internal`] if it cannot stand in a header.
pub fn see_other(location: &str) -> Result<Response, Refusal> {
    let location = HeaderValue::try_from(location);
    let location = location.map_err(|error| Refusal::caused(RefusalKind::Internal, error))?;
    let mut response = StatusCode::SEE_OTHER.into_response();
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
}
