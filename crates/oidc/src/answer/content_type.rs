//! The kind of document that an answer says it is (RFC 9110 8.3). Pure.

use http::Response;
use http::header::CONTENT_TYPE;

/// Returns the media type of an answer, without parameters, in lower case.
pub(crate) fn media_type(answer: &Response<Vec<u8>>) -> Option<String> {
    let value = answer.headers().get(CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

/// Is true of JSON (RFC 8259 11, RFC 6839 3.1).
pub(crate) fn is_json(answer: &Response<Vec<u8>>) -> bool {
    media_type(answer).is_some_and(|kind| kind == "application/json" || kind.ends_with("+json"))
}
