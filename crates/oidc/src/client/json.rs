//! The JSON objects that answers hold.

use serde_json::{Map, Value};

use crate::answer::content_type::is_json;
use crate::answer::strict_json;
use crate::client::http_error::HttpError;

/// Reads the JSON object that an answer holds and says to hold.
pub(crate) fn json_answer(answer: &http::Response<Vec<u8>>) -> Result<Map<String, Value>, HttpError> {
    if is_json(answer) { json_object(answer.body()) } else { Err(HttpError::ContentType) }
}

/// Reads the JSON object that a body is.
///
/// # Errors
/// [`HttpError::NotAnObject`].
pub fn json_object(body: &[u8]) -> Result<Map<String, Value>, HttpError> {
    strict_json::object(body).map_err(|_| HttpError::NotAnObject)
}
