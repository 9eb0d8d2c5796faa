//! Whether a request is a person going to a page, or a program asking for something.
//!
//! Only a person can sign in: programs get 401 and no cookie (R-A12, R-I02). Browsers say which it is by
//! `Sec-Fetch-Mode`; for older ones and for scripts `Accept` decides.

use http::header::ACCEPT;
use http::{HeaderMap, Method};

/// Whether the answer will be shown to a person as a page.
pub fn is_navigation(headers: &HeaderMap) -> bool {
    if headers.contains_key("x-requested-with") {
        return false;
    }
    match text(headers, "sec-fetch-mode") {
        Some(mode) => mode == "navigate" && is_document(headers),
        None => accepts(headers, |kind| kind == "text/html"),
    }
}

/// Whether the request may be sent to the login and come back: a person going to a page without side effect.
pub fn can_be_sent_to_login(method: &Method, headers: &HeaderMap) -> bool {
    matches!(*method, Method::GET | Method::HEAD) && is_navigation(headers)
}

/// Whether a request to the login address itself may start one. It asks for a login by its very address, so
/// a client that says nothing of itself (`curl`) may; a script, image or frame in a page may not.
pub fn may_start_login(headers: &HeaderMap) -> bool {
    if headers.contains_key("x-requested-with") {
        return false;
    }
    match text(headers, "sec-fetch-mode") {
        Some(mode) => mode == "navigate" && is_document(headers),
        None => !headers.contains_key(ACCEPT) || accepts(headers, |kind| matches!(kind, "text/html" | "*/*")),
    }
}

fn is_document(headers: &HeaderMap) -> bool {
    text(headers, "sec-fetch-dest").is_none_or(|destination| destination == "document")
}

fn accepts(headers: &HeaderMap, wanted: impl Fn(&str) -> bool) -> bool {
    let kinds = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).flat_map(|line| line.split(','));
    kinds.map(|kind| kind.split(';').next().unwrap_or_default().trim()).any(|kind| wanted(&kind.to_ascii_lowercase()))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect()
    }

    /// R-A12, R-I02: one line a case: is it a page, may it start a login?
    #[test]
    fn people_and_programs_are_told_apart() {
        let html = ("accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8");
        for (pairs, page, login) in [
            (&[html][..], true, true),
            (&[html, ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")], true, true),
            (&[html, ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")], false, false),
            (&[html, ("sec-fetch-mode", "cors")], false, false),
            (&[("accept", "image/avif,*/*;q=0.8"), ("sec-fetch-mode", "no-cors")], false, false),
            (&[("accept", "application/json")], false, false),
            (&[html, ("x-requested-with", "XMLHttpRequest")], false, false),
            (&[("accept", "*/*")], false, true),
            (&[], false, true),
        ] {
            assert_eq!(is_navigation(&headers(pairs)), page, "{pairs:?}");
            assert_eq!(may_start_login(&headers(pairs)), login, "{pairs:?}");
        }
        assert!(!can_be_sent_to_login(&Method::POST, &headers(&[html])));
    }
}
