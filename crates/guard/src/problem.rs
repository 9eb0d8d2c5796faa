//! Problem documents: error answers for programs (RFC 9457).

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use serde::Serialize;

/// Seconds after which a request that met an outage may be tried again.
pub const RETRY_AFTER_SECONDS: &str = "5";

/// A problem document. Says when to try again if its status is 503.
#[derive(Debug, Clone, Copy)]
pub struct Problem<'a> {
    /// The status, of the answer and in the document.
    pub status: StatusCode,
    /// The kind of problem, for people.
    pub title: &'a str,
    /// The fault, for people.
    pub detail: &'a str,
    /// The kind of problem, for programs.
    pub code: &'a str,
    /// The request's name in the log.
    pub request_id: Option<&'a str>,
    /// The address at which somebody can sign in.
    pub login: Option<&'a str>,
}

/// The members in their order.
#[derive(Debug, Serialize)]
struct Document<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    login: Option<&'a str>,
}

impl IntoResponse for Problem<'_> {
    fn into_response(self) -> Response {
        let Self { status, title, detail, code, request_id, login } = self;
        let document =
            Document { kind: "about:blank", title, status: status.as_u16(), detail, code, request_id, login };
        let mut response = (status, Json(document)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
        }
        response
    }
}
