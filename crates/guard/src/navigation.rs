//! The distinction between navigation to a page and requests of programs.
//!
//! Only a person can sign in: programs get 401 and no cookie (R-A12, R-I02). Browsers say which it is by
//! `Sec-Fetch-Mode`; for older ones and for scripts `Accept` decides.

use http::header::ACCEPT;
use http::{HeaderMap, HeaderName, Method};

const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const X_REQUESTED_WITH: HeaderName = HeaderName::from_static("x-requested-with");
/// Marks a request as no use of the session.
const BACKGROUND: HeaderName = HeaderName::from_static("x-session-background");
/// The fields by which browsers say, or said, that they ask ahead of a click.
const AHEAD: [HeaderName; 4] = [
    HeaderName::from_static("sec-purpose"),
    HeaderName::from_static("purpose"),
    HeaderName::from_static("x-purpose"),
    HeaderName::from_static("x-moz"),
];

/// Is true if the answer will be shown to a person as a page.
pub fn is_navigation(headers: &HeaderMap) -> bool {
    if is_script(headers) {
        return false;
    }
    match text(headers, &SEC_FETCH_MODE) {
        Some(mode) => mode == "navigate" && is_document(headers),
        None => accepts_html(headers),
    }
}

/// Is true if the request may be sent to the login and come back: a person going to a page without side effect.
pub fn can_be_sent_to_login(method: &Method, headers: &HeaderMap) -> bool {
    matches!(*method, Method::GET | Method::HEAD) && is_navigation(headers) && !is_speculative(headers)
}

/// Is true if a request to the login address itself may start one. Its address asks for a login, so a client without
/// fetch metadata (`curl`) may; a script, image or frame in a page may not.
pub fn may_start_login(headers: &HeaderMap) -> bool {
    if is_script(headers) || is_speculative(headers) {
        return false;
    }
    match text(headers, &SEC_FETCH_MODE) {
        Some(mode) => mode == "navigate" && is_document(headers),
        None => !headers.contains_key(ACCEPT) || accepts(headers, |kind| matches!(kind, "text/html" | "*/*")),
    }
}

/// Is true if a browser asks ahead of a click: prefetch and prerender, in each spelling that browsers have had for it
/// (Fetch: `Sec-Purpose`).
pub fn is_speculative(headers: &HeaderMap) -> bool {
    AHEAD.iter().any(|name| {
        words(headers, name).any(|word| matches!(&*word.to_ascii_lowercase(), "prefetch" | "prerender" | "preview"))
    })
}

/// Is true of a request without a person behind it: a poll that its page marks as such, a prefetch of the browser, or an
/// event stream, which a forgotten tab opens again and again.
/// It does not keep the session alive; a false mark shortens only the sender's own session.
pub fn is_background(headers: &HeaderMap) -> bool {
    headers.get(BACKGROUND).is_some_and(|value| value == "1")
        || is_speculative(headers)
        || text(headers, &ACCEPT).is_some_and(|kind| kind == "text/event-stream")
}

/// Is true if a script of a page sent the request and says so. Apps that embed a browser send their own name in this
/// field with every page a person opens, so the value counts and not the field.
fn is_script(headers: &HeaderMap) -> bool {
    words(headers, &X_REQUESTED_WITH).any(|word| word.eq_ignore_ascii_case("XMLHttpRequest"))
}

/// Is true if the answer is for a whole window. A service worker that asks on the page's behalf says `empty`; so does
/// a script, but scripts do not ask for HTML in mode `navigate`.
fn is_document(headers: &HeaderMap) -> bool {
    match text(headers, &SEC_FETCH_DEST) {
        None | Some("document") => true,
        Some(destination) => destination == "empty" && accepts_html(headers),
    }
}

fn accepts_html(headers: &HeaderMap) -> bool {
    accepts(headers, |kind| kind == "text/html")
}

fn accepts(headers: &HeaderMap, wanted: impl Fn(&str) -> bool) -> bool {
    let kinds = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).flat_map(|line| line.split(','));
    kinds.map(|kind| kind.split(';').next().unwrap_or_default().trim()).any(|kind| wanted(&kind.to_ascii_lowercase()))
}

/// The members of a list field and their parameters, one after the other.
fn words<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split([',', ';'])).map(str::trim)
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect()
    }

    /// R-A12, R-I02: one line a case: is it a page, may it start a login? The values of `X-Requested-With` are those of
    /// Android's `WebView`, of Cordova and of the browsers that Samsung and Huawei ship; the modes and destinations are
    /// those of the Fetch standard.
    #[test]
    fn people_and_programs_are_told_apart() {
        let html = ("accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8");
        let (navigate, empty) = (("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "empty"));
        for (pairs, page, login) in [
            (&[html][..], true, true),
            (&[html, navigate, ("sec-fetch-dest", "document")], true, true),
            (&[html, navigate, ("sec-fetch-dest", "iframe")], false, false),
            (&[html, navigate, ("sec-fetch-dest", "embed")], false, false),
            (&[html, navigate, ("sec-fetch-dest", "object")], false, false),
            (&[html, navigate, empty], true, true),
            (&[("accept", "*/*"), navigate, empty], false, false),
            (&[html, ("sec-fetch-mode", "same-origin"), empty], false, false),
            (&[html, ("sec-fetch-mode", "cors"), empty], false, false),
            (&[html, ("sec-fetch-mode", "cors")], false, false),
            (&[("accept", "image/avif,*/*;q=0.8"), ("sec-fetch-mode", "no-cors")], false, false),
            (&[("accept", "application/json")], false, false),
            (&[html, ("x-requested-with", "XMLHttpRequest")], false, false),
            (&[html, ("x-requested-with", "xmlhttprequest")], false, false),
            (&[html, ("x-requested-with", "com.example.kiosk, XMLHttpRequest")], false, false),
            (&[html, ("x-requested-with", "com.example.kiosk")], true, true),
            (&[html, navigate, ("x-requested-with", "io.cordova.hellocordova")], true, true),
            (&[html, navigate, ("x-requested-with", "com.sec.android.app.sbrowser")], true, true),
            (&[html, ("x-requested-with", "")], true, true),
            (&[("accept", "*/*")], false, true),
            (&[], false, true),
        ] {
            assert_eq!(is_navigation(&headers(pairs)), page, "{pairs:?}");
            assert_eq!(may_start_login(&headers(pairs)), login, "{pairs:?}");
        }
        assert!(!can_be_sent_to_login(&Method::POST, &headers(&[html])));
    }

    /// One line a spelling: Chromium's and Safari's of today, and those of their predecessors and of old Firefox.
    #[test]
    fn a_prefetch_starts_no_login() {
        let html = ("accept", "text/html");
        for ahead in [
            ("sec-purpose", "prefetch"),
            ("sec-purpose", "prefetch;prerender"),
            ("sec-purpose", "prefetch;anonymous-client-ip"),
            ("purpose", "prefetch"),
            ("x-purpose", "preview"),
            ("x-moz", "prefetch"),
        ] {
            let headers = headers(&[html, ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document"), ahead]);
            assert!(is_speculative(&headers), "{ahead:?}");
            assert!(!may_start_login(&headers) && !can_be_sent_to_login(&Method::GET, &headers), "{ahead:?}");
        }
        assert!(!is_speculative(&headers(&[html, ("sec-purpose", "")])));
    }
}
