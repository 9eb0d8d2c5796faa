//! A request's path: the very string that routes are matched against is the one that is forwarded (R-I04).
//!
//! Characters that no path may hold are refused here (control characters, broken escapes, bytes that are no UTF-8). Everything else
//! that servers read in several ways is looked at by [`super::route::RouteTable::locate`]: it passes, byte for byte, if
//! every reading leads to the same rule.

use http::{Request, Uri, Version};
use thiserror::Error;

use super::reading::{decoded, escaped, readings};

/// The path could be read in more than one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidTarget {
    /// Not a path: absolute form, authority form or `*`.
    #[error("the request target is not a path")]
    Form,
    /// A byte or an escape that no path may hold.
    #[error("the path holds a control character, a broken escape or bytes that are no UTF-8")]
    Character,
    /// Two readings of the path lead to different routes.
    #[error("two readings of the path lead to different routes")]
    Ambiguous,
}

/// Checks that a request names a path of this site, and no other address (RFC 9112 3.2). HTTP/2 names the site beside the
/// path (RFC 9113 8.3.1), which is in order.
pub(crate) fn check_form<B>(request: &Request<B>) -> Result<(), InvalidTarget> {
    let names_a_site = request.uri().authority().is_some() && request.version() < Version::HTTP_2;
    (!names_a_site && request.uri().path().starts_with('/')).then_some(()).ok_or(InvalidTarget::Form)
}

/// Checks that a path holds nothing that no path may hold.
pub(crate) fn check_characters(path: &str) -> Result<(), InvalidTarget> {
    if path.bytes().any(|byte| byte.is_ascii_control() || byte == b' ') || !escapes_are_whole(path) {
        return Err(InvalidTarget::Character);
    }
    decoded(path).map(drop)
}

/// Returns the same path with letters, digits, `-`, `.`, `_` and `~` written plainly, which makes no difference (RFC 3986
/// 6.2.2.2); `None` if they are already.
pub(crate) fn written_plainly(path: &str) -> Option<String> {
    let mut plain = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        let (before, escape) = rest.split_at(at);
        plain.push_str(before);
        let byte = escape.as_bytes();
        let character = byte.get(1).zip(byte.get(2)).and_then(|(high, low)| escaped(*high, *low));
        match character.filter(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(byte)) {
            Some(byte) => plain.push(char::from(byte)),
            None => plain.push_str(&escape[..3]),
        }
        rest = &escape[3..];
    }
    plain.push_str(rest);
    (plain != path).then_some(plain)
}

/// Is true if a path is below a prefix, by whole segments, for every server, whatever its habits in reading paths.
pub fn stays_below(path: &str, prefix: &str) -> bool {
    let is_below =
        |reading: &String| reading.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    readings(path).is_ok_and(|readings| readings.iter().all(is_below))
}

/// Returns an address with another path, and the same query.
pub(crate) fn with_path(uri: &Uri, path: &str) -> Result<Uri, InvalidTarget> {
    let mut parts = uri.clone().into_parts();
    let target = match uri.query() {
        Some(query) => format!("{path}?{query}").try_into(),
        None => path.try_into(),
    };
    parts.path_and_query = Some(target.map_err(|_| InvalidTarget::Character)?);
    Uri::from_parts(parts).map_err(|_| InvalidTarget::Form)
}

fn escapes_are_whole(path: &str) -> bool {
    path.split('%').skip(1).all(|rest| matches!(rest.as_bytes(), [high, low, ..] if escaped(*high, *low).is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(target: &str) -> Result<(), InvalidTarget> {
        let request = Request::builder().uri(target).body(()).unwrap();
        check_form(&request)?;
        check_characters(request.uri().path())
    }

    /// R-I04
    #[test]
    fn a_path_may_hold_what_some_application_reads() {
        for raw in [
            "/",
            "/orders/",
            "/a%2fb",
            "/caf%c3%a9",
            "/100%25",
            "/a;v=1/b",
            "/a?x=%2e%2e//&y=%zz",
            "/a?",
            "/..hidden/x",
            "/api/queues/%2F/amq.queue",
            "/job/feature%252Fx",
            "/a|b",
            "/iiif/http:%2F%2Fa.example%2F1/full",
        ] {
            assert_eq!(check(raw), Ok(()), "{raw}");
        }
    }

    /// RFC 9113 8.3.1
    #[test]
    fn http_2_names_the_site_beside_the_path() {
        for (version, expected) in [
            (Version::HTTP_10, Err(InvalidTarget::Form)),
            (Version::HTTP_11, Err(InvalidTarget::Form)),
            (Version::HTTP_2, Ok(())),
            (Version::HTTP_3, Ok(())),
        ] {
            let request = Request::builder().uri("https://a.example/x").version(version).body(()).unwrap();
            assert_eq!(check_form(&request), expected, "{version:?}");
        }
    }

    #[test]
    fn what_may_be_written_plainly_is() {
        for (raw, expected) in [
            ("/%61dmin", Some("/admin")),
            ("/%2e%2E/%7e%2Fx", Some("/../~%2Fx")),
            ("/a%2fb", None),
            ("/100%25", None),
            ("/a", None),
        ] {
            assert_eq!(written_plainly(raw).as_deref(), expected, "{raw}");
        }
    }

    #[test]
    fn another_path_leaves_the_rest_of_an_address_alone() {
        for (uri, path, expected) in [
            ("/%61?%61=%zz", "/a", "/a?%61=%zz"),
            ("/%61?", "/a", "/a?"),
            ("/%61", "/a", "/a"),
            ("https://a.example/%61?b", "/a", "https://a.example/a?b"),
        ] {
            assert_eq!(with_path(&uri.parse().unwrap(), path).unwrap().to_string(), expected);
        }
    }

    /// R-I04: one line a case.
    #[test]
    fn what_no_path_may_hold_is_refused() {
        for (raw, fault) in [
            ("/a%00", InvalidTarget::Character),
            ("/a%0d%0ab", InvalidTarget::Character),
            ("/a%7f", InvalidTarget::Character),
            ("/%zz", InvalidTarget::Character),
            ("/%u002f", InvalidTarget::Character),
            ("/a%2", InvalidTarget::Character),
            ("/a%", InvalidTarget::Character),
            ("/%c0%af", InvalidTarget::Character),
            ("/%ff", InvalidTarget::Character),
            ("/%ed%a0%80", InvalidTarget::Character),
            ("http://evil.example/admin", InvalidTarget::Form),
            ("*", InvalidTarget::Form),
        ] {
            assert_eq!(check(raw), Err(fault), "{raw}");
        }
    }
}
