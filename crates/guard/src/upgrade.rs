//! Upgrades of a connection to another protocol (RFC 9110 7.8): the one that a request asks for, and the page that asks.
//!
//! Pure functions over heads. Only a request that asks exactly as described here is upgraded; any other is a plain one,
//! without its `Upgrade`.

use std::fmt;

use axum::extract::Request;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    CONNECTION, CONTENT_LENGTH, ORIGIN, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use thiserror::Error;

use crate::public_url::PublicUrl;

/// The protocol of RFC 6455.
const WEBSOCKET: &str = "websocket";
/// The version of it that there is (RFC 6455 4.1).
const VERSION: &str = "13";
/// Bytes in a handshake's key (RFC 6455 4.1).
const KEY_BYTES: usize = 16;
/// Protocols that carry requests of their own, which no guard would see, or an encryption below HTTP.
const NEVER: [&str; 4] = ["http", "h2", "h2c", "tls"];

/// The name of a protocol that connections may be upgraded to, in lower case: `websocket`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protocol(String);

/// The rules of a route for connections that stay open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamRules {
    /// The protocols that a connection may be upgraded to.
    pub upgrades: Vec<Protocol>,
    /// The origins, beside the public one, whose pages may upgrade a connection with the session's cookie.
    pub allowed_origins: Vec<String>,
    /// Set if requests, and data that a browser sends by WebSocket, are a use of the session.
    pub counts_as_use: bool,
}

impl Default for StreamRules {
    /// WebSockets, for pages of the public origin.
    fn default() -> Self {
        Self { upgrades: vec![Protocol::websocket()], allowed_origins: Vec::new(), counts_as_use: true }
    }
}

/// A text that names no protocol to upgrade to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "must be the name of a protocol, such as \"websocket\", but not of HTTP or TLS: nobody would judge what comes then"
)]
pub struct InvalidProtocol;

impl Protocol {
    /// The WebSocket protocol (RFC 6455).
    pub fn websocket() -> Self {
        Self(WEBSOCKET.to_owned())
    }

    /// Reads a name, with a version or without (`protocol = protocol-name ["/" protocol-version]`).
    ///
    /// # Errors
    /// [`InvalidProtocol`] for what is no such name, and for those of HTTP and TLS.
    pub fn parse(text: &str) -> Result<Self, InvalidProtocol> {
        let text = text.to_ascii_lowercase();
        let mut parts = text.splitn(2, '/');
        let name = parts.next().unwrap_or_default();
        let is_valid = is_token(name) && parts.next().is_none_or(is_token) && !NEVER.contains(&name);
        is_valid.then_some(Self(text)).ok_or(InvalidProtocol)
    }

    /// Is true of the WebSocket protocol.
    pub fn is_websocket(&self) -> bool {
        self.0 == WEBSOCKET
    }

    /// Is true if a message names this protocol.
    pub fn is_named_by(&self, name: &[u8]) -> bool {
        name.eq_ignore_ascii_case(self.0.as_bytes())
    }

    /// Returns the name as `Upgrade` says it.
    pub fn header_value(&self) -> HeaderValue {
        // A token is printable ASCII.
        HeaderValue::try_from(&self.0).unwrap_or(HeaderValue::from_static(WEBSOCKET))
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Returns the protocol that a request asks for, if its route names that.
///
/// HTTP/1.1 alone upgrades. A request with content is never one: the bytes behind it could be read as content or as the
/// other protocol.
pub(crate) fn asked<'rules>(request: &Request, rules: &'rules StreamRules) -> Option<&'rules Protocol> {
    let headers = request.headers();
    // Most requests end here.
    if !headers.contains_key(UPGRADE) {
        return None;
    }
    let is_whole = request.version() == Version::HTTP_11 && !has_content(headers) && is_upgrade(headers);
    let mut named = elements(headers, &UPGRADE);
    let protocol = named.find_map(|name| rules.upgrades.iter().find(|protocol| protocol.is_named_by(name)))?;
    (is_whole && (!protocol.is_websocket() || is_handshake(request))).then_some(protocol)
}

/// Is true if a page of another origin has sent a request. Browsers send a session's cookie with the handshakes of
/// sibling hosts' pages, and say by `Origin` alone whose page it is (RFC 6455 10.2); programs send no `Origin`.
pub(crate) fn is_of_another_origin(headers: &HeaderMap, own: &PublicUrl, rules: &StreamRules) -> bool {
    let mut origins = headers.get_all(ORIGIN).iter();
    let Some(origin) = origins.next() else { return false };
    let is_allowed = origin == own.origin() || rules.allowed_origins.iter().any(|allowed| origin == allowed);
    !is_allowed || origins.next().is_some()
}

/// Is true if the head's `Connection` lists `upgrade`, without which `Upgrade` says nothing.
pub fn is_upgrade(headers: &HeaderMap) -> bool {
    elements(headers, &CONNECTION).any(|option| option.eq_ignore_ascii_case(b"upgrade"))
}

/// Is true of the handshake of a WebSocket client (RFC 6455 4.1).
fn is_handshake(request: &Request) -> bool {
    let headers = request.headers();
    let is_key = |key: &HeaderValue| STANDARD.decode(key.as_bytes()).is_ok_and(|key| key.len() == KEY_BYTES);
    request.method() == Method::GET
        && only(headers, &SEC_WEBSOCKET_VERSION).is_some_and(|version| version == VERSION)
        && only(headers, &SEC_WEBSOCKET_KEY).is_some_and(is_key)
}

fn has_content(headers: &HeaderMap) -> bool {
    headers.contains_key(TRANSFER_ENCODING) || headers.contains_key(CONTENT_LENGTH)
}

/// Returns a field's value if there is exactly one.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// Returns the elements of a list field.
fn elements<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    headers.get_all(name).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii)
}

fn is_token(text: &str) -> bool {
    let is_mark = |byte: u8| b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || is_mark(byte))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

    fn request(method: &str, lines: &[(&str, &str)]) -> Request {
        let mut request = http::Request::builder().method(method).uri("/live");
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        request.body(Body::empty()).unwrap()
    }

    const HANDSHAKE: [(&str, &str); 4] = [
        ("upgrade", "websocket"),
        ("connection", "Upgrade"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", KEY),
    ];

    /// R-K10. One line a case: what is different from a browser's handshake, and whether it is one all the same.
    #[test]
    fn only_a_whole_handshake_for_a_named_protocol_is_an_upgrade() {
        let rules = StreamRules::default();
        let differently = |method: &str, name: &str, values: &[&str]| {
            let others = HANDSHAKE.iter().filter(|(known, _)| *known != name).copied();
            let lines: Vec<_> = others.chain(values.iter().map(|value| (name, *value))).collect();
            asked(&request(method, &lines), &rules).is_some()
        };
        for (method, name, values, expected) in [
            ("GET", "x", &[][..], true),
            ("GET", "upgrade", &["WebSocket"], true),
            ("GET", "upgrade", &["h2c, websocket"], true),
            ("GET", "upgrade", &["h2c"], false),
            ("GET", "upgrade", &["websocket/13"], false),
            ("GET", "upgrade", &[], false),
            ("GET", "connection", &["keep-alive, Upgrade"], true),
            ("GET", "connection", &["keep-alive"], false),
            ("GET", "connection", &[], false),
            ("GET", "sec-websocket-version", &["8"], false),
            ("GET", "sec-websocket-version", &["13", "13"], false),
            ("GET", "sec-websocket-version", &["13, 8"], false),
            ("GET", "sec-websocket-version", &[], false),
            ("GET", "sec-websocket-key", &["c2hvcnQ="], false),
            ("GET", "sec-websocket-key", &[KEY, KEY], false),
            ("GET", "sec-websocket-key", &["not base64"], false),
            ("GET", "sec-websocket-key", &[], false),
            ("GET", "content-length", &["0"], false),
            ("GET", "content-length", &["5"], false),
            ("GET", "transfer-encoding", &["chunked"], false),
            ("POST", "x", &[], false),
            ("HEAD", "x", &[], false),
        ] {
            assert_eq!(differently(method, name, values), expected, "{method} {name}: {values:?}");
        }
        let mut old = request("GET", &HANDSHAKE);
        *old.version_mut() = Version::HTTP_10;
        assert!(asked(&old, &rules).is_none());
    }

    #[test]
    fn a_route_names_other_protocols_but_never_http_or_tls() {
        let rules = StreamRules { upgrades: vec![Protocol::parse("SPDY/3.1").unwrap()], ..StreamRules::default() };
        let asks = |protocol| request("POST", &[("upgrade", protocol), ("connection", "upgrade")]);
        assert_eq!(asked(&asks("spdy/3.1"), &rules).map(ToString::to_string).as_deref(), Some("spdy/3.1"));
        assert!(asked(&asks("spdy/3"), &rules).is_none());
        assert!(asked(&request("GET", &HANDSHAKE), &rules).is_none());
        for bad in ["h2c", "H2C", "h2", "HTTP/2.0", "http", "TLS/1.0", "", "/", "a b", "a/", "a,b", "é"] {
            assert!(Protocol::parse(bad).is_err(), "{bad}");
        }
    }

    /// R-K10, RFC 6455 10.2.
    #[test]
    fn another_origins_page_is_recognized_by_its_origin() {
        let own = PublicUrl::parse("https://app.example.test").unwrap();
        let rules = StreamRules { allowed_origins: vec!["https://wiki.example.test".into()], ..StreamRules::default() };
        for (origins, expected) in [
            (&[][..], false),
            (&["https://app.example.test"], false),
            (&["https://wiki.example.test"], false),
            (&["https://evil.example.test"], true),
            (&["http://app.example.test"], true),
            (&["https://app.example.test:8443"], true),
            (&["https://app.example.test.evil.test"], true),
            (&["HTTPS://APP.EXAMPLE.TEST"], true),
            (&["null"], true),
            (&[""], true),
            (&["https://app.example.test", "https://evil.example.test"], true),
            (&["https://evil.example.test", "https://app.example.test"], true),
        ] {
            let lines: Vec<_> = origins.iter().map(|origin| ("origin", *origin)).collect();
            let headers = request("GET", &lines).headers().clone();
            assert_eq!(is_of_another_origin(&headers, &own, &rules), expected, "{origins:?}");
        }
    }
}
