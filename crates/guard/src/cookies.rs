//! The session's cookie and the broker's other cookies: names them, writes them, finds them and strips them, byte for
//! byte.
//!
//! No cookie library is used: they drop a whole header line for one invalid byte, or trim Unicode spaces so that a
//! foreign name becomes `__Host-…` (R-H06, R-H07). RFC 6265bis needs little: lines split at `;`, names compared
//! exactly, spaces and tabs trimmed.

use http::header::{COOKIE, HeaderMap, HeaderValue};
use thiserror::Error;
use time::Duration;

use super::public_url::PublicUrl;

/// Names and writes the session's cookie, and those that the application in front of the guard calls its own.
#[derive(Debug, Clone)]
pub struct CookiePolicy {
    session_name: String,
    /// Whole names; those that end with a hyphen begin the names of several.
    own: Vec<String>,
    prefix: &'static str,
    attributes: &'static str,
}

impl CookiePolicy {
    /// `__Host-` cookies over HTTPS (no `Domain`, `Path=/`, `Secure`: R-H01); plain names over HTTP on
    /// loopback, where browsers refuse the prefix.
    pub fn new(public_url: &PublicUrl, session_name: Option<String>) -> Self {
        // Lax, not Strict: Strict would drop the session on every arrival from mail, chat or the provider
        // (R-H02); unsafe methods are defended on their own.
        let (prefix, attributes) =
            if public_url.is_https() { ("__Host-", "; Path=/; Secure; HttpOnly") } else { ("", "; Path=/; HttpOnly") };
        let session_name = session_name.unwrap_or_else(|| format!("{prefix}session"));
        Self { session_name, own: Vec::new(), prefix, attributes }
    }

    /// Names further cookies that no upstream gets to see or to set, without their prefix. A name that ends with a
    /// hyphen begins the names of several.
    #[must_use]
    pub fn with_own(mut self, names: &[&str]) -> Self {
        self.own = names.iter().map(|name| self.own_name(name)).collect();
        self
    }

    /// The session cookie's name.
    pub fn session_name(&self) -> &str {
        &self.session_name
    }

    /// The whole name of a cookie of one's own, over HTTPS with its prefix.
    pub fn own_name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Every value of a cookie of the broker's.
    pub fn values<'a>(&self, name: &'a str, headers: &'a HeaderMap) -> impl Iterator<Item = &'a [u8]> {
        pairs(headers).filter(move |(found, _)| *found == name.as_bytes()).map(|(_, value)| value)
    }

    /// A `Set-Cookie` value. Without `max_age` the cookie ends with the browser.
    pub fn set(&self, name: &str, value: &str, max_age: Option<Duration>) -> HeaderValue {
        self.write(name, value, "Lax", max_age)
    }

    /// A `Set-Cookie` value for what another site's form must bring back. Only over HTTPS: browsers refuse it
    /// otherwise.
    pub fn set_cross_site(&self, name: &str, value: &str, max_age: Option<Duration>) -> HeaderValue {
        self.write(name, value, "None", max_age)
    }

    fn write(&self, name: &str, value: &str, same_site: &str, max_age: Option<Duration>) -> HeaderValue {
        let max_age = max_age.map_or_else(String::new, |age| format!("; Max-Age={}", age.whole_seconds()));
        HeaderValue::try_from(format!("{name}={value}{}; SameSite={same_site}{max_age}", self.attributes))
            .unwrap_or_else(|_| unreachable!("names are checked at start, values are base64url, digits and dots"))
    }

    /// A `Set-Cookie` value that deletes: with every attribute it was set with, or prefixed cookies would
    /// stay (R-H04).
    pub fn clear(&self, name: &str) -> HeaderValue {
        self.set(name, "", Some(Duration::ZERO))
    }

    /// Deletes what [`Self::set_cross_site`] set.
    pub fn clear_cross_site(&self, name: &str) -> HeaderValue {
        self.set_cross_site(name, "", Some(Duration::ZERO))
    }

    /// Every value of the session cookie. More than one is possible, and decided by the guard.
    pub fn session_values<'a>(&'a self, headers: &'a HeaderMap) -> impl Iterator<Item = &'a [u8]> {
        pairs(headers).filter(|(name, _)| *name == self.session_name.as_bytes()).map(|(_, value)| value)
    }

    /// Every cookie of one's own whose name begins so: the whole name, and the value.
    pub fn beginning<'a>(
        &'a self,
        start: &'a str,
        headers: &'a HeaderMap,
    ) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        pairs(headers).filter_map(move |(name, value)| {
            let text = std::str::from_utf8(name).ok()?;
            text.strip_prefix(self.prefix)?.starts_with(start).then_some((text, value))
        })
    }

    fn is_ours(&self, name: &[u8]) -> bool {
        let is = |own: &String| name == own.as_bytes() || (own.ends_with('-') && name.starts_with(own.as_bytes()));
        name == self.session_name.as_bytes() || self.own.iter().any(is)
    }

    /// Takes the broker's cookies out of a request that goes to an upstream (R-H08).
    pub fn remove_from(&self, headers: &mut HeaderMap) {
        let mut kept = Vec::new();
        for (name, value) in pairs(headers) {
            if self.is_ours(name) || name.is_empty() && value.is_empty() {
                continue;
            }
            let separator: &[u8] = if kept.is_empty() { b"" } else { b"; " };
            if kept.is_empty() {
                kept.reserve(headers.get_all(COOKIE).iter().map(|line| line.len() + "; ".len()).sum());
            }
            let equals: &[u8] = if name.is_empty() { b"" } else { b"=" };
            for piece in [separator, name, equals, value] {
                kept.extend_from_slice(piece);
            }
        }
        let kept = HeaderValue::try_from(kept).ok().filter(|kept| !kept.is_empty());
        match kept {
            Some(kept) => _ = headers.insert(COOKIE, kept),
            None => _ = headers.remove(COOKIE),
        }
    }

    /// Is true if an upstream's `Set-Cookie` must be dropped: it names one of the broker's cookies, or nothing,
    /// which a browser may send back as if its value were a pair (R-H09).
    pub fn refuses_from_upstream(&self, set_cookie: &HeaderValue) -> bool {
        let (name, _) = pair(set_cookie.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default());
        name.is_empty() || self.is_ours(name)
    }
}

/// The reason that a name cannot be the session cookie's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidCookieName {
    /// Not a token (RFC 6265 4.1.1).
    #[error("must be a cookie's name: letters, digits, `-` and `_`")]
    NotAName,
    /// Over HTTPS without the prefix.
    #[error("must begin with `__Host-`, so that no neighbour can plant it")]
    WithoutPrefix,
    /// Over plain HTTP with it.
    #[error("must not begin with `__`: browsers refuse such cookies over plain http")]
    PrefixOverHttp,
}

/// Checks a name for the session's cookie, of a site that is reached by HTTPS or not (R-H01).
///
/// # Errors
/// [`InvalidCookieName`].
pub fn check_session_name(name: &str, is_https: bool) -> Result<(), InvalidCookieName> {
    if !is_cookie_name(name) {
        Err(InvalidCookieName::NotAName)
    } else if is_https && !name.starts_with("__Host-") {
        Err(InvalidCookieName::WithoutPrefix)
    } else if !is_https && name.starts_with("__") {
        Err(InvalidCookieName::PrefixOverHttp)
    } else {
        Ok(())
    }
}

/// Is true if a text can be a cookie's name (RFC 6265 4.1.1: a token).
fn is_cookie_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// The name and value of every cookie, in order, over every header line. A pair without `=` has no name.
fn pairs(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    headers.get_all(COOKIE).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b';')).map(pair)
}

fn pair(text: &[u8]) -> (&[u8], &[u8]) {
    match text.iter().position(|byte| *byte == b'=') {
        Some(equals) => (trim(&text[..equals]), trim(&text[equals + 1..])),
        None => (&[], trim(text)),
    }
}

/// Trims spaces and tabs, and nothing else.
fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(public: &str) -> CookiePolicy {
        CookiePolicy::new(&PublicUrl::parse(public).unwrap(), None).with_own(&["login-", "landings"])
    }

    fn request(lines: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(COOKIE, HeaderValue::from_bytes(line).unwrap());
        }
        headers
    }

    fn values(lines: &[&[u8]]) -> Vec<String> {
        let headers = request(lines);
        let policy = policy("https://a.example");
        policy.session_values(&headers).map(|value| String::from_utf8_lossy(value).into_owned()).collect()
    }

    /// R-H01, R-H02, R-H04, R-H10
    #[test]
    fn cookies_carry_every_attribute_when_set_and_when_cleared() {
        let https = policy("https://a.example");
        assert_eq!(https.set("__Host-session", "v", None), "__Host-session=v; Path=/; Secure; HttpOnly; SameSite=Lax");
        assert_eq!(
            https.clear(https.session_name()),
            "__Host-session=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0"
        );
        let http = policy("http://127.0.0.1:8080");
        assert_eq!(http.set(http.session_name(), "v", None), "session=v; Path=/; HttpOnly; SameSite=Lax");
    }

    /// R-H05, R-H06, R-H07: one line a case.
    #[test]
    fn the_session_cookie_is_found_among_odd_neighbours_and_nothing_else_is_taken_for_it() {
        assert_eq!(values(&[b"a=1; __Host-session=good"]), ["good"]);
        assert_eq!(values(&[b"a=\xe9; \xe2\x80\x80__Host-session=evil; __Host-session=good"]), ["good"]);
        assert_eq!(values(&[b"a=1", b"=x; ;; __Host-session \t=\t good ;b"]), ["good"]);
        assert_eq!(values(&[b"__host-session=evil; __Host-sessions=evil; x__Host-session=evil"]), [""; 0]);
        assert_eq!(values(&[b"__Host-session=a", b"__Host-session=b"]), ["a", "b"]);
        assert_eq!(values(&[b"x=\"; __Host-session=good; y=\""]), ["good"]);
        assert_eq!(values(&[b"__Host-session"]), [""; 0]);
    }

    /// R-H08
    #[test]
    fn our_cookies_are_taken_out_and_the_others_stay_as_they_are() {
        let mut headers =
            request(&[b"a=1; __Host-session=x; b=\xe9", b"__Host-login-1=x; c; d=2=3; __Host-landings=x"]);
        policy("https://a.example").remove_from(&mut headers);
        assert_eq!(headers.get_all(COOKIE).iter().collect::<Vec<_>>(), [&b"a=1; b=\xe9; c; d=2=3"[..]]);
        let mut only_ours = request(&[b"__Host-session=x"]);
        policy("https://a.example").remove_from(&mut only_ours);
        assert!(!only_ours.contains_key(COOKIE));
    }

    /// R-H09
    #[test]
    fn an_upstream_cannot_set_our_cookies() {
        let policy = policy("https://a.example");
        for refused in [
            "__Host-session=evil; Path=/",
            " __Host-session =x",
            "__Host-login-1=x",
            "__Host-landings=x",
            "=__Host-session=x",
            "x",
        ] {
            assert!(policy.refuses_from_upstream(&HeaderValue::from_static(refused)), "{refused}");
        }
        for taken in ["cart=1; Path=/", "__Host-landings-2=x", "__Host-log=x", "login-1=x"] {
            assert!(!policy.refuses_from_upstream(&HeaderValue::from_static(taken)), "{taken}");
        }
    }
}
