//! The visitor, as the broker's headers describe them.
//!
//! Owns reading the `X-Auth-Request-…` headers and the answers to somebody without them. The application trusts
//! them because only the broker reaches it. Called by the handlers.

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, StatusCode, header};
use serde_json::json;

use super::pages::{self, MessagePage};

/// The person in front of the browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Person {
    pub user: String,
    pub name: String,
    pub email: String,
    pub groups: Vec<String>,
    pub session: String,
}

/// A visitor that has to be known; others get a page that says so.
pub(super) struct SignedIn(pub Person);

impl Person {
    /// Returns the person, if the broker names one.
    pub(super) fn in_headers(headers: &HeaderMap) -> Option<Self> {
        let user = text(headers, "x-auth-request-user").filter(|user| !user.is_empty())?;
        let or_empty = |name| text(headers, name).unwrap_or_default();
        let called = [or_empty("x-auth-request-name"), or_empty("x-auth-request-preferred-username")];
        let name = called.into_iter().find(|name| !name.is_empty()).unwrap_or_else(|| user.clone());
        Some(Self {
            name,
            email: or_empty("x-auth-request-email"),
            groups: groups(headers),
            session: or_empty("x-auth-request-session"),
            user,
        })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for SignedIn {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Person::in_headers(&parts.headers).map(Self).ok_or_else(missing)
    }
}

/// Is true if a form came from this application's own page, as far as the browser tells.
pub(super) fn is_own_form(headers: &HeaderMap) -> bool {
    headers.get("sec-fetch-site").is_none_or(|site| site == "same-origin" || site == "none")
}

/// Returns the API's answer to somebody unknown, RFC 9457.
pub(super) fn missing_in_api() -> Response {
    let headers = [(header::CONTENT_TYPE, "application/problem+json"), (header::CACHE_CONTROL, "no-store")];
    let problem = json!({ "type": "about:blank", "title": "Not signed in", "status": 401 });
    (StatusCode::UNAUTHORIZED, headers, problem.to_string()).into_response()
}

fn missing() -> Response {
    let page = MessagePage {
        here: "/",
        person: None,
        title: "You are not signed in",
        detail: "This request did not come through the broker with somebody's name on it.",
        link: "Sign in",
    };
    pages::page(StatusCode::UNAUTHORIZED, &page)
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).map(|value| percent_decoded(value.as_bytes()))
}

/// Splits first and decodes afterwards: a comma inside a group's name arrives encoded.
fn groups(headers: &HeaderMap) -> Vec<String> {
    let joined = headers.get("x-auth-request-groups").map(http::HeaderValue::as_bytes).unwrap_or_default();
    let names = joined.split(|byte| *byte == b',').map(|name| percent_decoded(name.trim_ascii()));
    names.filter(|name| !name.is_empty()).collect()
}

/// Undoes a text's `%XX`. A plus sign is a plus sign here, unlike in a form.
fn percent_decoded(encoded: &[u8]) -> String {
    let mut decoded = Vec::with_capacity(encoded.len());
    let mut rest = encoded;
    while let Some((&first, behind)) = rest.split_first() {
        let byte = if first == b'%' { behind.get(..2).and_then(hexadecimal) } else { None };
        decoded.push(byte.unwrap_or(first));
        rest = if byte.is_some() { behind.get(2..).unwrap_or_default() } else { behind };
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn hexadecimal(digits: &[u8]) -> Option<u8> {
    let value = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    match digits {
        [high, low] => Some(value(*high)? * 16 + value(*low)?),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_text_is_decoded_and_other_text_is_left_alone() {
        assert_eq!(percent_decoded(b"%EA%B9%80 a+b%2Cc"), "김 a+b,c");
        assert_eq!(percent_decoded(b"100% %zz %4"), "100% %zz %4");
    }

    #[test]
    fn an_empty_user_is_nobody_and_a_missing_name_is_replaced() {
        let mut headers = HeaderMap::new();
        headers.insert("x-auth-request-user", "".parse().unwrap());
        assert_eq!(Person::in_headers(&headers), None);
        headers.insert("x-auth-request-user", "bob".parse().unwrap());
        headers.insert("x-auth-request-groups", "staff, a%2Cb".parse().unwrap());
        let person = Person::in_headers(&headers).unwrap();
        assert_eq!((person.name.as_str(), person.groups), ("bob", vec!["staff".to_owned(), "a,b".to_owned()]));
    }
}
