//! A request's path, read once: the very string that routes are matched against is the one that is forwarded
//! (R-I04).
//!
//! What different servers are known to read differently is refused (empty and dot segments, backslashes,
//! control characters, double escapes, bytes that are no UTF-8), escapes of plain characters are undone, and
//! what remains open (`%2F`, `;parameters`, upper case) is forwarded only if every reading of it leads to the
//! same route; see [`super::route::RouteTable::find`].

use std::borrow::Cow;
use std::fmt::Write;

use http::Uri;
use thiserror::Error;

/// A path in its one spelling; made by [`RequestTarget::read`] alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestTarget {
    path: String,
    query: Option<String>,
}

/// The path could be read in more than one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidTarget {
    /// Not a path: absolute form, authority form or `*`.
    #[error("the request target is not a path")]
    Form,
    /// A byte or an escape that servers disagree on.
    #[error("the path holds a character or an escape that is read in different ways")]
    Character,
    /// An empty or a dot segment.
    #[error("the path holds an empty or a dot segment")]
    Segment,
    /// Two readings of the path lead to different routes.
    #[error("two readings of the path lead to different routes")]
    Ambiguous,
}

impl RequestTarget {
    /// Reads a request's target.
    ///
    /// # Errors
    /// [`InvalidTarget`] for whatever could be read in two ways.
    pub fn read(uri: &Uri) -> Result<Self, InvalidTarget> {
        if uri.authority().is_some() || !uri.path().starts_with('/') {
            return Err(InvalidTarget::Form);
        }
        let path = canonical(uri.path())?;
        Ok(Self { path, query: uri.query().map(str::to_owned) })
    }

    /// The path in its one spelling.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The path and the query, to be forwarded.
    pub fn path_and_query(&self) -> String {
        match &self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone(),
        }
    }

    /// Whether any reading of the path lies in the broker's own part of the site, which the back office
    /// behind never sees.
    pub(super) fn is_the_brokers(&self) -> bool {
        let ours = |path: &str| path == "/sso" || path.starts_with("/sso/");
        ours(&self.path) || self.loosest_reading().is_ok_and(|loosest| ours(&loosest))
    }

    /// The reading of a server that decodes once more and splits again, drops parameters and whatever stands at the
    /// end of names, and ignores case: the furthest from the literal one. Without a slash at its end.
    ///
    /// # Errors
    /// [`InvalidTarget::Segment`] if that reading holds empty or dot segments.
    pub(super) fn loosest_reading(&self) -> Result<Cow<'_, str>, InvalidTarget> {
        let is_open = |byte: u8| byte.is_ascii_uppercase() || matches!(byte, b'%' | b';' | b'.');
        if !self.path.bytes().any(is_open) {
            return Ok(Cow::Borrowed(self.path.trim_end_matches('/')));
        }
        let mut decoded = self.path.to_ascii_lowercase();
        for (escape, plain) in [("%2f", "/"), ("%3b", ";"), ("%3f", "?"), ("%23", "#"), ("%20", " ")] {
            decoded = decoded.replace(escape, plain);
        }
        let whole = decoded.split(['?', '#']).next().unwrap_or_default();
        check_segments(whole)?;
        let plain = |segment: &str| segment.split(';').next().unwrap_or("").trim_end_matches(['.', ' ']).to_owned();
        let loosest = whole.split('/').map(plain).collect::<Vec<_>>().join("/");
        Ok(Cow::Owned(loosest.trim_end_matches('/').to_owned()))
    }
}

fn canonical(raw: &str) -> Result<String, InvalidTarget> {
    let mut path = String::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => unescape(bytes.next(), bytes.next(), &mut path)?,
            b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' => return Err(InvalidTarget::Character),
            byte if byte.is_ascii_graphic() => path.push(char::from(byte)),
            _ => return Err(InvalidTarget::Character),
        }
    }
    if path.contains('%') {
        check_double_escapes_and_text(&path)?;
    }
    check_segments(&path)?;
    Ok(path)
}

/// Writes one escape in its one spelling (RFC 3986 6.2.2): plain characters bare, others with capital digits.
fn unescape(high: Option<u8>, low: Option<u8>, path: &mut String) -> Result<(), InvalidTarget> {
    let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16)).ok_or(InvalidTarget::Character);
    let value = u8::try_from(digit(high)? << 4 | digit(low)?).map_err(|_| InvalidTarget::Character)?;
    match value {
        b'-' | b'.' | b'_' | b'~' => path.push(char::from(value)),
        value if value.is_ascii_alphanumeric() => path.push(char::from(value)),
        b'\\' | 0..0x20 | 0x7f => return Err(InvalidTarget::Character),
        value => write!(path, "%{value:02X}").map_err(|_| InvalidTarget::Character)?,
    }
    Ok(())
}

/// An escape of an escape is read differently by servers that decode twice; so are bytes that are no UTF-8.
fn check_double_escapes_and_text(path: &str) -> Result<(), InvalidTarget> {
    let mut decoded = Vec::with_capacity(path.len());
    let bytes = path.as_bytes();
    let mut index = 0;
    while index < bytes.len() {
        if bytes[index] == b'%' {
            let value = u8::from_str_radix(&path[index + 1..index + 3], 16).map_err(|_| InvalidTarget::Character)?;
            let next_two = bytes.get(index + 3..index + 5);
            if value == b'%' && next_two.is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit)) {
                return Err(InvalidTarget::Character);
            }
            decoded.push(value);
            index += 3;
        } else {
            decoded.push(bytes[index]);
            index += 1;
        }
    }
    std::str::from_utf8(&decoded).map(|_| ()).map_err(|_| InvalidTarget::Character)
}

/// No empty segment but the last, no dot segment, with parameters or without.
fn check_segments(path: &str) -> Result<(), InvalidTarget> {
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let name = segment.split(';').next().unwrap_or_default();
        let is_last = segments.peek().is_none();
        if matches!(name, "." | "..") || (segment.is_empty() && !is_last) {
            return Err(InvalidTarget::Segment);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(target: &str) -> Result<String, InvalidTarget> {
        RequestTarget::read(&target.parse().unwrap()).map(|target| target.path_and_query())
    }

    /// R-I04: one line a case.
    #[test]
    fn a_path_has_one_spelling() {
        for (raw, expected) in [
            ("/", "/"),
            ("/orders/", "/orders/"),
            ("/%61dmin", "/admin"),
            ("/a%2fb", "/a%2Fb"),
            ("/caf%c3%a9", "/caf%C3%A9"),
            ("/100%25", "/100%25"),
            ("/a;v=1/b", "/a;v=1/b"),
            ("/a?x=%2e%2e//&y=%zz", "/a?x=%2e%2e//&y=%zz"),
            ("/..hidden/x", "/..hidden/x"),
        ] {
            assert_eq!(read(raw).as_deref(), Ok(expected), "{raw}");
        }
    }

    /// R-I04: one line a case.
    #[test]
    fn what_servers_read_differently_is_refused() {
        for (raw, fault) in [
            ("/../admin", InvalidTarget::Segment),
            ("/a/./b", InvalidTarget::Segment),
            ("/%2e%2e/admin", InvalidTarget::Segment),
            ("/.%2E/admin", InvalidTarget::Segment),
            ("/a/..;x=1/admin", InvalidTarget::Segment),
            ("//admin", InvalidTarget::Segment),
            ("/a//b", InvalidTarget::Segment),
            ("/a%5cb", InvalidTarget::Character),
            ("/a%00", InvalidTarget::Character),
            ("/a%0d%0ab", InvalidTarget::Character),
            ("/a%7f", InvalidTarget::Character),
            ("/%zz", InvalidTarget::Character),
            ("/a%2", InvalidTarget::Character),
            ("/%252e%252e/admin", InvalidTarget::Character),
            ("/%c0%af", InvalidTarget::Character),
            ("/%ff", InvalidTarget::Character),
            ("/a|b", InvalidTarget::Character),
            ("http://evil.example/admin", InvalidTarget::Form),
            ("*", InvalidTarget::Form),
        ] {
            assert_eq!(read(raw), Err(fault), "{raw}");
        }
    }

    #[test]
    fn the_loosest_reading_decodes_slashes_drops_parameters_and_ignores_case() {
        let loosest = |raw: &str| {
            let target = RequestTarget::read(&raw.parse().unwrap()).unwrap();
            target.loosest_reading().map(Cow::into_owned)
        };
        assert_eq!(loosest("/admin/users").as_deref(), Ok("/admin/users"));
        assert_eq!(loosest("/admin%2Fusers").as_deref(), Ok("/admin/users"));
        assert_eq!(loosest("/Admin;a=b/users").as_deref(), Ok("/admin/users"));
        for raw in ["/admin/", "/admin.", "/admin%20", "/admin%3Fx", "/admin%3Bx", "/admin%23x", "/ADMIN.%20/"] {
            assert_eq!(loosest(raw).as_deref(), Ok("/admin"), "{raw}");
        }
        assert_eq!(loosest("/").as_deref(), Ok(""));
        assert_eq!(loosest("/a%2F..%2Fadmin"), Err(InvalidTarget::Segment));
        assert_eq!(loosest("/a%2F%2Fadmin"), Err(InvalidTarget::Segment));
    }
}
