//! The return path after a login: a local path, or none.
//!
//! Every place that reads a return path reads it through [`ReturnTo::parse`] (R-I03), so open redirects are prevented
//! in one place. A path is accepted if no browser, proxy or server could read it as another origin, another path or
//! another header; it is then used byte for byte.

use std::fmt;

use http::header::REFERER;
use http::{HeaderMap, Method};
use url::Url;
use url::form_urlencoded::byte_serialize;

use super::broker_paths::BrokerPaths;
use super::public_url::PublicUrl;
use super::query::Parameters;

/// Longest return path: it travels in a cookie.
const LONGEST: usize = 2048;
/// Longest return path as part of an address, in bytes.
const LONGEST_ENCODED: usize = 2800;

/// A path, query and fragment on the public origin; made by [`ReturnTo::parse`] alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReturnTo(String);

impl ReturnTo {
    /// The start page.
    pub fn home() -> Self {
        Self("/".to_owned())
    }

    /// Accepts a local path, exactly as written.
    pub fn parse(text: &str, paths: &BrokerPaths) -> Option<Self> {
        (text.len() <= LONGEST && is_local(text) && stays_on_any_origin(text) && may_be_landed_on(text, paths))
            .then(|| Self(text.to_owned()))
    }

    /// The path of a request that cannot go on, to come back to: with its query if that fits.
    pub fn of_request(uri: &http::Uri, paths: &BrokerPaths) -> Self {
        let whole = uri.path_and_query().and_then(|whole| Self::parse(whole.as_str(), paths));
        whole.or_else(|| Self::parse(uri.path(), paths)).unwrap_or_else(Self::home)
    }

    /// The path as it goes into a `Location` header or a link.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path alone, without query and fragment.
    pub fn path(&self) -> &str {
        self.0.split(['?', '#']).next().unwrap_or_default()
    }

    /// The same page without its query and fragment.
    #[must_use]
    pub fn without_query(&self) -> Self {
        Self(self.path().to_owned())
    }

    /// The address that starts a login which comes back here: to the page alone if the whole, whose escapes make it up
    /// to three times as long, would not fit into the head of an answer.
    pub fn login_href(&self, paths: &BrokerPaths) -> String {
        let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
        let ways = [self.as_str(), self.path(), "/"];
        let fitting = ways.map(encoded).into_iter().find(|encoded| encoded.len() <= LONGEST_ENCODED);
        format!("{}?return_to={}", paths.login, fitting.unwrap_or_default())
    }

    /// The page that a request was sent from, if it is of this origin and may be landed on.
    pub fn of_referer(headers: &HeaderMap, public_url: &PublicUrl, paths: &BrokerPaths) -> Option<Self> {
        let mut referers = headers.get_all(REFERER).iter();
        let (Some(referer), None) = (referers.next(), referers.next()) else { return None };
        Self::parse(referer.to_str().ok()?.strip_prefix(public_url.origin())?, paths)
    }

    /// The page that tells somebody to go back to their other tab; it remembers which page of ours they signed in
    /// for, and by which method it was asked for: its route may demand something of the login. `None` if there is no such
    /// page.
    pub fn signed_in_for(page: Option<(&Self, &Method)>, paths: &BrokerPaths) -> Option<Self> {
        let signed_in = paths.signed_in.as_deref()?;
        let encoded = |page: &Self| byte_serialize(page.path().as_bytes()).collect::<String>();
        let whole = page.and_then(|(page, method)| {
            Self::parse(&format!("{signed_in}?for={}&method={method}", encoded(page)), paths)
        });
        Some(whole.unwrap_or_else(|| Self(signed_in.to_owned())))
    }

    /// The page that a login for this return path has to satisfy, and the method by which it is asked for: this one, or
    /// the one that it was begun for in another tab.
    #[must_use]
    pub fn demanding_page(&self, paths: &BrokerPaths) -> (Self, Method) {
        let query = paths.signed_in.as_deref().and_then(|own| self.0.strip_prefix(own)?.strip_prefix('?'));
        let query = query.and_then(|query| Parameters::read(query).ok());
        let named = query.as_ref().and_then(|query| Self::parse(query.get("for")?, paths));
        let method = query.as_ref().and_then(|query| Method::from_bytes(query.get("method")?.as_bytes()).ok());
        (named.unwrap_or_else(|| self.clone()), method.unwrap_or_default())
    }

    /// The address that starts a login which comes back here and for which the provider asks anew who it is.
    pub fn other_account_href(&self, paths: &BrokerPaths) -> String {
        format!("{}&choose=1&fresh=1", self.login_href(paths))
    }

    /// The address of the page that says that a session has ended, and leads back in.
    pub fn ended_href(&self, paths: &BrokerPaths) -> String {
        format!("{}&ended=1", self.login_href(paths))
    }
}

impl fmt::Display for ReturnTo {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

fn is_local(text: &str) -> bool {
    // Printable ASCII without space, quote marks of any use to a trick, or the backslash that browsers read
    // as a slash.
    let plain = |byte: u8| byte.is_ascii_graphic() && !b"\\\"<>`".contains(&byte);
    let path = text.split(['?', '#']).next().unwrap_or_default();
    text.starts_with('/') && text.bytes().all(plain) && is_plain_path(path) && escapes_are_whole(text)
}

/// A path without empty or dot segments in any spelling, and without escapes that decode to a backslash, a
/// control character, an overlong form or a second layer of escapes.
fn is_plain_path(path: &str) -> bool {
    let last = path.matches('/').count() - 1;
    let segments_are_plain = path[1..].split('/').enumerate().all(|(index, segment)| {
        let is_last = index == last;
        let dots = segment.to_ascii_lowercase().replace("%2e", ".");
        (is_last || !segment.is_empty()) && dots != "." && dots != ".."
    });
    let Some(decoded) = decode(path) else { return false };
    segments_are_plain
        && std::str::from_utf8(&decoded).is_ok_and(|decoded| {
            !decoded.contains("//")
                && !decoded.contains(['\\', '%'])
                && !decoded.chars().any(|character| character.is_control() || looks_like_a_slash_or_space(character))
                && !decoded.split('/').any(|segment| matches!(segment, "." | ".."))
        })
}

/// Characters that some software folds into `/`, `\`, `.` or nothing.
fn looks_like_a_slash_or_space(character: char) -> bool {
    character.is_whitespace() && character != ' '
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2044}' | '\u{2060}'..='\u{2069}')
        || matches!(character, '\u{2215}' | '\u{29f8}' | '\u{3002}' | '\u{feff}' | '\u{ff0e}' | '\u{ff0f}' | '\u{ff3c}')
        // Their low bytes are CR and LF: truncated to bytes they would split a header.
        || matches!(u32::from(character) & 0xff, 0x0a | 0x0d) && !character.is_ascii()
}

fn decode(path: &str) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(if byte == b'%' { hex(bytes.next()?)? << 4 | hex(bytes.next()?)? } else { byte });
    }
    Some(decoded)
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

fn escapes_are_whole(text: &str) -> bool {
    decode(text).is_some()
}

/// Finally resolved as a browser does: against an origin, the text stays on it, character for character.
fn stays_on_any_origin(text: &str) -> bool {
    let origin = "https://origin.invalid";
    let resolved = Url::parse(origin).and_then(|base| base.join(text));
    resolved.is_ok_and(|resolved| {
        let path = text.split(['?', '#']).next().unwrap_or_default();
        resolved.origin().ascii_serialization() == origin && resolved.path() == path
    })
}

/// Is true if the path is the application's, or our page that is made to be landed on in its own spelling. Our other
/// addresses have side effects, serve programs, or would make a redirect loop.
fn may_be_landed_on(text: &str, paths: &BrokerPaths) -> bool {
    let path = text.split(['?', '#']).next().unwrap_or_default();
    let decoded = decode(path).unwrap_or_default().to_ascii_lowercase();
    !paths.holds(&decoded) || paths.signed_in.as_deref() == Some(path)
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    const SIGNED_IN: &str = "/sso/signed-in";
    const PATHS: BrokerPaths = BrokerPaths {
        root: Some(Cow::Borrowed("/sso")),
        login: Cow::Borrowed("/sso/login"),
        signed_in: Some(Cow::Borrowed(SIGNED_IN)),
    };

    #[test]
    fn a_request_that_is_too_long_to_remember_comes_back_to_its_path() {
        let uri: http::Uri = format!("/orders?q={}", "x".repeat(LONGEST)).parse().unwrap();
        assert_eq!(ReturnTo::of_request(&uri, &PATHS).as_str(), "/orders");
        let uri: http::Uri = format!("/{}", "x".repeat(LONGEST)).parse().unwrap();
        assert_eq!(ReturnTo::of_request(&uri, &PATHS).as_str(), "/");
    }

    /// Every address of `routes`, and spellings of them that servers fold together (RFC 3986 6.2.2, path parameters).
    #[test]
    fn of_the_brokers_addresses_only_pages_made_for_it_are_landed_on() {
        for path in [
            "/sso",
            "/sso/",
            "/sso/login",
            "/sso/login?return_to=/",
            "/sso/callback/company?code=x",
            "/sso/logout",
            "/sso/signed-out",
            "/sso/session",
            "/sso/limit",
            "/sso/backchannel-logout/company",
            "/sso/frontchannel-logout/company?iss=https://idp.example&sid=1",
            "/sso/security-events/company",
            "/sso/api/v1/openapi.json",
            "/sso/assets/counterfoil.css",
            "/sso/signed-in/",
            "/sso/signed-in/x",
            "/sso/Signed-In",
            "/SSO/signed-in",
            "/SSO/logout",
            "/%73so/logout",
            "/ss%6F/frontchannel-logout/company",
            "/sso;v=1/logout",
            "/sso%20/logout",
        ] {
            assert_eq!(ReturnTo::parse(path, &PATHS), None, "{path}");
        }
        for path in ["/sso/signed-in", "/sso/signed-in?for=%2Fvault", "/ssoo", "/my/sso/logout", "/sso-guide"] {
            assert!(ReturnTo::parse(path, &PATHS).is_some(), "{path}");
        }
    }

    #[test]
    fn the_login_address_carries_the_path_as_one_parameter() {
        let path = ReturnTo::parse("/orders?status=open&page=2#x", &PATHS).unwrap();
        assert_eq!(path.login_href(&PATHS), "/sso/login?return_to=%2Forders%3Fstatus%3Dopen%26page%3D2%23x");
    }

    #[test]
    fn a_page_is_gone_back_to_if_it_is_of_this_origin() {
        let public_url = PublicUrl::parse("https://a.example").unwrap();
        for (referer, page) in [
            ("https://a.example/orders?status=open", Some("/orders?status=open")),
            ("https://a.example/", Some("/")),
            ("https://a.example", None),
            ("https://a.example.evil/x", None),
            ("https://a.example@evil/x", None),
            ("https://a.example:8443/x", None),
            ("http://a.example/x", None),
            ("https://a.example//evil", None),
            ("https://a.example/sso/logout", None),
            ("about:blank", None),
        ] {
            let headers = HeaderMap::from_iter([(REFERER, http::HeaderValue::from_static(referer))]);
            let found = ReturnTo::of_referer(&headers, &public_url, &PATHS);
            assert_eq!(found.as_ref().map(ReturnTo::as_str), page, "{referer}");
        }
    }

    #[test]
    fn a_login_for_another_tab_remembers_what_it_is_for() {
        let vault = ReturnTo::parse("/vault/a%20b?x=1", &PATHS).unwrap();
        let signed_in = ReturnTo::signed_in_for(Some((&vault, &Method::PUT)), &PATHS).unwrap();
        assert_eq!(signed_in.as_str(), "/sso/signed-in?for=%2Fvault%2Fa%2520b&method=PUT");
        let (page, method) = signed_in.demanding_page(&PATHS);
        assert_eq!((page.as_str(), method), ("/vault/a%20b", Method::PUT));
        let (page, method) = ReturnTo::signed_in_for(None, &PATHS).unwrap().demanding_page(&PATHS);
        assert_eq!((page.as_str(), method), (SIGNED_IN, Method::GET));
        assert_eq!(vault.demanding_page(&PATHS), (vault, Method::GET));
    }

    /// R-I03: every return path that is known from an open redirect elsewhere.
    #[test]
    fn known_tricks_are_refused() {
        for line in include_str!("../tests/data/redirects_refuse.txt").lines() {
            let decoded =
                url::form_urlencoded::parse(format!("x={}", line.replace('+', "%2B").replace('&', "%26")).as_bytes())
                    .map(|(_, value)| value.into_owned())
                    .collect::<String>();
            assert_eq!(ReturnTo::parse(&decoded, &PATHS), None, "{line}");
        }
    }

    #[test]
    fn honest_paths_are_honoured_exactly() {
        for line in include_str!("../tests/data/redirects_accept.txt").lines() {
            assert_eq!(ReturnTo::parse(line, &PATHS).as_ref().map(ReturnTo::as_str), Some(line), "{line}");
        }
    }
}
