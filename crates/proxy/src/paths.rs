//! The paths of a route behind which an application has others: a prefix is taken off, or one is put in front.
//!
//! Pure functions. A request's path is cut by whole segments, once, and only if no server reads it in another way
//! (R-I04): cut or joined, a path that is read twice would lead out of its folder, or to another host. What an answer
//! says of paths (`Location`, `Content-Location`, `Path` of cookies) is put back once: an application that was told of the
//! prefix names it itself.

use counterfoil_guard::request_target::stays_below;
use http::HeaderValue;
use http::uri::PathAndQuery;
use thiserror::Error;

/// Characters that some servers fold into `/`, `\` or `.`.
const FOLDED: [char; 5] = ['\u{ff0f}', '\u{ff3c}', '\u{ff0e}', '\u{2044}', '\u{2215}'];

/// Two prefixes, in the browser's words and in the application's. Neither ends in a slash; an empty one is the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathMap {
    public: String,
    upstream: String,
}

/// The path cannot be cut or joined, because servers read it in different ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "the path holds an escaped or doubled separator, or a dot segment, where a prefix is taken off or put in front"
)]
pub struct AmbiguousPath;

impl PathMap {
    /// The map of paths below `public` to paths below `upstream`, which are plain paths or empty; `None` if they are the
    /// same.
    pub fn new(public: &str, upstream: &str) -> Option<Self> {
        let bare = |path: &str| path.trim_end_matches('/').to_owned();
        let map = Self { public: bare(public), upstream: bare(upstream) };
        (map.public != map.upstream).then_some(map)
    }

    /// The prefix that the application does not see; empty if there is none.
    pub(crate) fn public(&self) -> &str {
        &self.public
    }

    /// The target that the application is asked for.
    ///
    /// # Errors
    /// [`AmbiguousPath`].
    pub(crate) fn towards_upstream(&self, target: &PathAndQuery) -> Result<PathAndQuery, AmbiguousPath> {
        let path = target.path();
        let rest = below(path, &self.public).filter(|_| has_one_reading(path)).ok_or(AmbiguousPath)?;
        let rest = if rest.is_empty() && self.upstream.is_empty() { "/" } else { rest };
        let mut joined = format!("{}{rest}", self.upstream);
        // Some servers read more into a path: it leads out of the application's folder at none.
        if !stays_below(&joined, &self.upstream) {
            return Err(AmbiguousPath);
        }
        if let Some(query) = target.query() {
            joined.push('?');
            joined.push_str(query);
        }
        PathAndQuery::try_from(joined).map_err(|_| AmbiguousPath)
    }

    /// A `Location` or `Content-Location` of the application's as browsers have to read it; `None` if it stays as it is:
    /// an address of another origin than `authority`, one relative to the request's, or one with the prefix already.
    pub(crate) fn location(&self, value: &HeaderValue, authority: &str) -> Option<HeaderValue> {
        let (origin, rest) = split_own_origin(value.to_str().ok()?, authority)?;
        let (path, more) = rest.split_at(rest.find(['?', '#']).unwrap_or(rest.len()));
        let path = self.put_back(if path.is_empty() { "/" } else { path })?;
        HeaderValue::try_from(format!("{origin}{path}{more}")).ok()
    }

    /// A `Set-Cookie` of the application's with its `Path` as browsers have to read it; `None` if it stays as it is. A
    /// cookie whose name begins with `__Host-` needs `Path=/` (RFC 6265bis 4.1.3.2).
    pub(crate) fn cookie(&self, value: &HeaderValue) -> Option<HeaderValue> {
        let bytes = value.as_bytes();
        if bytes.trim_ascii_start().get(..7).is_some_and(|name| name.eq_ignore_ascii_case(b"__host-")) {
            return None;
        }
        let mut attributes = bytes.split(|byte| *byte == b';');
        let mut written = attributes.next()?.to_vec();
        let mut has_changed = false;
        for attribute in attributes {
            let mut pair = attribute.splitn(2, |byte| *byte == b'=').map(<[u8]>::trim_ascii);
            let is_path = pair.next().is_some_and(|name| name.eq_ignore_ascii_case(b"path"));
            let path = pair.next().filter(|_| is_path).and_then(|path| std::str::from_utf8(path).ok());
            written.push(b';');
            match path.and_then(|path| self.cookie_path(path)) {
                Some(path) => {
                    has_changed = true;
                    written.extend_from_slice(b" Path=");
                    written.extend_from_slice(path.as_bytes());
                }
                None => written.extend_from_slice(attribute),
            }
        }
        HeaderValue::try_from(written).ok().filter(|_| has_changed)
    }

    /// The path of a cookie for all of the application, or for a part of it.
    fn cookie_path(&self, path: &str) -> Option<String> {
        // Anything else stands for the path of the request (RFC 6265 5.2.4).
        let bare = path.starts_with('/').then(|| path.strip_suffix('/').unwrap_or(path))?;
        let is_for_all_of_it = bare == self.upstream || below(&self.upstream, bare).is_some();
        if is_for_all_of_it && below(path, &self.public).is_none_or(|_| self.public.is_empty()) {
            return Some(if self.public.is_empty() { "/" } else { &self.public }.to_owned());
        }
        self.put_back(path)
    }

    /// The browser's path for one of the application's; `None` if it is none of those, or the browser's already, or would
    /// be read as another host.
    fn put_back(&self, path: &str) -> Option<String> {
        let rest = below(path, &self.upstream)?;
        // Below both, the narrower one is meant.
        if below(path, &self.public).is_some() && self.public.len() >= self.upstream.len() {
            return None;
        }
        let names_a_host = rest.as_bytes().get(1).is_some_and(|next| matches!(next, b'/' | b'\\') || *next < b' ');
        if self.public.is_empty() && (names_a_host || rest.is_empty()) {
            return rest.is_empty().then(|| "/".to_owned());
        }
        Some(format!("{}{rest}", self.public))
    }
}

/// The rest of a path behind a prefix, by whole segments: nothing, or something that begins with a slash.
fn below<'path>(path: &'path str, prefix: &str) -> Option<&'path str> {
    path.strip_prefix(prefix).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Is true if a path has the same segments for every server: no empty one, no dot segment, no separator in an escape.
fn has_one_reading(path: &str) -> bool {
    let Some(decoded) = decoded_once(path) else { return false };
    let is_dots = |segment: &str| matches!(segment.split(';').next(), Some("." | ".."));
    !path.contains('\\') && !decoded.contains("//") && !decoded.contains(FOLDED) && !decoded.split('/').any(is_dots)
}

/// A path with its escapes decoded; `None` if one of them stands for a character that separates (`/`, `\`, `;`, `?`, `#`)
/// or for `%`, or if the outcome is no UTF-8.
fn decoded_once(path: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut bytes = path.bytes();
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let byte = digit(bytes.next()?)? << 4 | digit(bytes.next()?)?;
        if b"/\\;?#%".contains(&byte) {
            return None;
        }
        decoded.push(byte);
    }
    String::from_utf8(decoded).ok()
}

/// Splits an address into its origin, which is empty or has this authority, and the rest, which begins with the path.
fn split_own_origin<'text>(text: &'text str, authority: &str) -> Option<(&'text str, &'text str)> {
    let begins = |scheme: &str| text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    let scheme = ["https://", "http://", "//"].into_iter().find(|scheme| begins(scheme));
    let Some(scheme) = scheme else { return text.starts_with('/').then_some(("", text)) };
    let behind = &text[scheme.len()..];
    let end = behind.find(['/', '?', '#']).unwrap_or(behind.len());
    behind[..end].eq_ignore_ascii_case(authority).then(|| text.split_at(scheme.len() + end))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "app.example";

    fn map(public: &str, upstream: &str) -> PathMap {
        PathMap::new(public, upstream).unwrap()
    }

    fn asked(map: &PathMap, target: &str) -> Option<String> {
        map.towards_upstream(&target.parse().unwrap()).ok().map(|target| target.to_string())
    }

    /// R-K06: one line a habit of servers that would lead out of the application's folder.
    #[test]
    fn no_path_leads_out_of_the_folder_whatever_the_servers_habits() {
        for target in [
            "/%2e%2e%20/admin",
            "/.%C2%AD./admin",
            "/%E2%80%A4%E2%80%A4/admin",
            "/a/..%20/..%20/admin",
            "/a%E2%88%95../..",
        ] {
            assert_eq!(asked(&map("", "/app"), target), None, "{target}");
        }
        assert_eq!(asked(&map("/a", "/x"), "/a/..%20/a/s"), None);
        assert_eq!(asked(&map("", "/app"), "/%C3%A9t%C3%A9/a%20b").as_deref(), Some("/app/%C3%A9t%C3%A9/a%20b"));
    }

    #[test]
    fn a_prefix_is_taken_off_or_put_in_front_by_whole_segments() {
        for (public, upstream, target, expected) in [
            ("/grafana", "", "/grafana/d/1?x=/grafana/y", Some("/d/1?x=/grafana/y")),
            ("/grafana", "", "/grafana", Some("/")),
            ("/grafana", "", "/grafana?x", Some("/?x")),
            ("/grafana", "", "/grafana/", Some("/")),
            ("/grafana", "", "/grafana/grafana/x", Some("/grafana/x")),
            ("/grafana", "", "/grafanax/y", None),
            ("/grafana", "/app", "/grafana/x", Some("/app/x")),
            ("/grafana", "/app/", "/grafana", Some("/app")),
            ("", "/app", "/x/y?z", Some("/app/x/y?z")),
            ("", "/app", "/", Some("/app/")),
            ("/a/b", "", "/a/b/%ED%9A%8C%20x;v=1", Some("/%ED%9A%8C%20x;v=1")),
        ] {
            assert_eq!(asked(&map(public, upstream), target).as_deref(), expected, "{public} {upstream} {target}");
        }
        assert_eq!((PathMap::new("", "/"), PathMap::new("/a", "/a/")), (None, None));
    }

    /// R-I04: one line a path that some server reads as another one once it is cut or joined.
    #[test]
    fn a_path_of_two_readings_is_neither_cut_nor_joined() {
        for rest in [
            "//evil.example/x",
            "/%2Fevil.example/x",
            "/%2fevil.example",
            "/\\evil.example",
            "/%5Cevil.example",
            "/x//y",
            "/../admin",
            "/x/..",
            "/./x",
            "/%2e%2e/admin",
            "/.%2E/admin",
            "/..;/admin",
            "/..;a=b/admin",
            "/%2e%2e;/admin",
            "/x%3b/y",
            "/x%3Fy",
            "/x%23y",
            "/%252e%252e/admin",
            "/x%252Fy",
            "/%EF%BC%8Fevil.example",
            "/%EF%BC%8E%EF%BC%8E/admin",
            "/%E2%81%84x",
            "/%ff",
        ] {
            for (public, upstream) in [("/app", ""), ("", "/app"), ("/app", "/other")] {
                assert_eq!(
                    asked(&map(public, upstream), &format!("{public}{rest}")),
                    None,
                    "{public} {upstream} {rest}"
                );
            }
        }
    }

    #[test]
    fn what_an_answer_says_of_its_place_is_put_back_once() {
        for (public, upstream, said, expected) in [
            ("/grafana", "", "/d/1?x#y", Some("/grafana/d/1?x#y")),
            ("/grafana", "", "/", Some("/grafana/")),
            ("/grafana", "", "/grafana/d/1", None),
            ("/grafana", "", "/grafana", None),
            ("/grafana", "", "/grafanax", Some("/grafana/grafanax")),
            ("/grafana", "", "https://app.example/d", Some("https://app.example/grafana/d")),
            ("/grafana", "", "HTTP://APP.example", Some("HTTP://APP.example/grafana/")),
            ("/grafana", "", "//app.example/d", Some("//app.example/grafana/d")),
            ("/grafana", "", "https://app.example?x", Some("https://app.example/grafana/?x")),
            ("/grafana", "", "https://other.example/d", None),
            ("/grafana", "", "https://app.example@evil.example/d", None),
            ("/grafana", "", "https://app.example:8443/d", None),
            ("/grafana", "", "//evil.example/d", None),
            ("/grafana", "", "d/1", None),
            ("/grafana", "", "../x", None),
            ("/grafana", "", "?x", None),
            ("/grafana", "", "mailto:a@app.example", None),
            ("/grafana", "/app", "/app/d", Some("/grafana/d")),
            ("/grafana", "/app", "/app", Some("/grafana")),
            ("/grafana", "/app", "/grafana/d", None),
            ("/grafana", "/app", "/elsewhere", None),
            ("/grafana", "/grafana/x", "/grafana/x/y", Some("/grafana/y")),
            ("/app/x", "/app", "/app/x/y", None),
            ("/app/x", "/app", "/app/y", Some("/app/x/y")),
            ("", "/app", "/app/x", Some("/x")),
            ("", "/app", "/app", Some("/")),
            ("", "/app", "/app//evil.example", None),
            ("", "/app", "/app/\\evil.example", None),
            ("", "/app", "/app/\t/evil.example", None),
            ("", "/app", "https://app.example/app/x", Some("https://app.example/x")),
        ] {
            let said_value = HeaderValue::from_static(said);
            let found = map(public, upstream).location(&said_value, HOST);
            let found = found.as_ref().map(|value| value.to_str().unwrap());
            assert_eq!(found, expected, "{public} {upstream} {said}");
        }
    }

    #[test]
    fn the_path_of_a_cookie_is_put_back_once() {
        for (public, upstream, said, expected) in [
            ("/grafana", "", "a=1; Path=/; HttpOnly", Some("a=1; Path=/grafana; HttpOnly")),
            ("/grafana", "", "a=1;path = /x;Secure", Some("a=1; Path=/grafana/x;Secure")),
            ("/grafana", "", "a=/; Path=/grafana", None),
            ("/grafana", "", "a=1; Path=/grafana/x", None),
            ("/grafana", "", "a=1", None),
            ("/grafana", "", "a=1; Path=", None),
            ("/grafana", "", "a=1; Path=x", None),
            ("/grafana", "", "a=1; Path", None),
            ("/grafana", "", "__Host-a=1; Path=/; Secure", None),
            ("/grafana", "", "__Secure-a=1; Path=/; Secure", Some("__Secure-a=1; Path=/grafana; Secure")),
            ("/grafana", "/app", "a=1; Path=/app/", Some("a=1; Path=/grafana")),
            ("/grafana", "/app", "a=1; Path=/app/x", Some("a=1; Path=/grafana/x")),
            ("/grafana", "/app", "a=1; Path=/", Some("a=1; Path=/grafana")),
            ("", "/app", "a=1; Path=/app", Some("a=1; Path=/")),
            ("", "/app", "a=1; Path=/app/x", Some("a=1; Path=/x")),
            ("/grafana", "", "a=1; Path=/x; Path=/y", Some("a=1; Path=/grafana/x; Path=/grafana/y")),
        ] {
            let said_value = HeaderValue::from_static(said);
            let found = map(public, upstream).cookie(&said_value);
            let found = found.as_ref().map(|value| value.to_str().unwrap());
            assert_eq!(found, expected, "{public} {upstream} {said}");
        }
    }
}
