//! A request's path: the very string that routes are matched against is the one that is forwarded (R-I04).
//!
//! Characters that no path may hold are refused here (control characters, broken escapes, bytes that are no UTF-8). Everything else
//! that servers read in several ways is looked at by [`super::route::RouteTable::locate`]: it passes, byte for byte, if
//! every reading leads to the same rule.

use std::borrow::Cow;

use http::Uri;
use thiserror::Error;

use super::reading::{decoded, escaped};

/// A path without what no path may hold; made by [`RequestTarget::read`] alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestTarget {
    path: String,
    query: Option<String>,
}

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

impl RequestTarget {
    /// Reads a request's target, and leaves it as it is.
    ///
    /// # Errors
    /// [`InvalidTarget`] if it is no path, or holds what no path may hold.
    pub fn read(uri: &Uri) -> Result<Self, InvalidTarget> {
        if uri.authority().is_some() || !uri.path().starts_with('/') {
            return Err(InvalidTarget::Form);
        }
        let path = uri.path();
        if path.bytes().any(|byte| byte.is_ascii_control() || byte == b' ') || !escapes_are_whole(path) {
            return Err(InvalidTarget::Character);
        }
        decoded(path)?;
        Ok(Self { path: path.to_owned(), query: uri.query().map(str::to_owned) })
    }

    /// The path.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Is true if this is what a request's line says, byte for byte.
    pub fn is_written_in(&self, uri: &Uri) -> bool {
        uri.path() == self.path && uri.query() == self.query.as_deref()
    }

    /// The path and the query, to be forwarded.
    pub fn path_and_query(&self) -> Cow<'_, str> {
        match &self.query {
            Some(query) => Cow::Owned(format!("{}?{query}", self.path)),
            None => Cow::Borrowed(&self.path),
        }
    }

    /// The same target with letters, digits, `-`, `.`, `_` and `~` written plainly, which makes no difference (RFC 3986
    /// 6.2.2.2); `None` if they are already.
    pub(super) fn written_plainly(&self) -> Option<Self> {
        let mut path = String::with_capacity(self.path.len());
        let mut rest = self.path.as_str();
        while let Some(at) = rest.find('%') {
            let (before, escape) = rest.split_at(at);
            path.push_str(before);
            let byte = escape.as_bytes();
            let plain = byte.get(1).zip(byte.get(2)).and_then(|(high, low)| escaped(*high, *low));
            match plain.filter(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(byte)) {
                Some(byte) => path.push(char::from(byte)),
                None => path.push_str(&escape[..3]),
            }
            rest = &escape[3..];
        }
        path.push_str(rest);
        (path != self.path).then(|| Self { path, query: self.query.clone() })
    }
}

fn escapes_are_whole(path: &str) -> bool {
    path.split('%').skip(1).all(|rest| matches!(rest.as_bytes(), [high, low, ..] if escaped(*high, *low).is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(target: &str) -> Result<RequestTarget, InvalidTarget> {
        RequestTarget::read(&target.parse().unwrap())
    }

    /// R-I04: what is forwarded is what came.
    #[test]
    fn a_path_is_left_as_it_is() {
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
            assert_eq!(read(raw).unwrap().path_and_query(), raw);
        }
    }

    #[test]
    fn what_may_be_written_plainly_is() {
        for (raw, expected) in [
            ("/%61dmin?%61", Some("/admin?%61")),
            ("/%2e%2E/%7e%2Fx", Some("/../~%2Fx")),
            ("/a%2fb", None),
            ("/100%25", None),
            ("/a", None),
        ] {
            let plain = read(raw).unwrap().written_plainly();
            assert_eq!(plain.as_ref().map(RequestTarget::path_and_query).as_deref(), expected, "{raw}");
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
            assert_eq!(read(raw), Err(fault), "{raw}");
        }
    }
}
