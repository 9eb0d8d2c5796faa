//! The one origin that browsers see. Every address the broker writes is derived from it, never from a request
//! (R-A02).

use http::HeaderMap;
use http::header::HOST;
use thiserror::Error;
use url::Url;

use counterfoil_core::address::is_loopback_http;

/// The configured `public_url`, checked: an origin and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl {
    url: Url,
    origin: String,
    authority: String,
}

/// The reason that an address cannot be the public URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidPublicUrl {
    /// Not an absolute URL.
    #[error("not an absolute URL")]
    NotAbsolute,
    /// Plain HTTP beyond this machine.
    #[error("must be https, except on loopback (127.0.0.1, localhost) for trials")]
    NotHttps,
    /// It has a path, a query, a fragment or credentials.
    #[error("must be an origin alone, such as https://backoffice.example.com")]
    NotAnOrigin,
}

impl PublicUrl {
    /// Checks an address.
    ///
    /// # Errors
    /// [`InvalidPublicUrl`].
    pub fn parse(text: &str) -> Result<Self, InvalidPublicUrl> {
        let url = Url::parse(text).map_err(|_| InvalidPublicUrl::NotAbsolute)?;
        if url.host().is_none() {
            return Err(InvalidPublicUrl::NotAbsolute);
        }
        if url.scheme() != "https" && !is_loopback_http(&url) {
            return Err(InvalidPublicUrl::NotHttps);
        }
        let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        if !bare || !url.username().is_empty() || url.password().is_some() {
            return Err(InvalidPublicUrl::NotAnOrigin);
        }
        let origin = url.origin().ascii_serialization();
        let authority = origin.split_once("://").map_or_else(String::new, |(_, authority)| authority.to_owned());
        Ok(Self { url, origin, authority })
    }

    /// Scheme, host and port, as in an `Origin` header.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Host, and port unless it is the scheme's own, as in a `Host` header.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// `https` or `http`.
    pub fn scheme(&self) -> &str {
        self.url.scheme()
    }

    /// Is true if browsers reach us by HTTPS.
    pub fn is_https(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// The absolute address of one of our own paths, which begins with a slash.
    pub fn with_path(&self, path: &str) -> Url {
        let mut url = self.url.clone();
        url.set_path(path);
        url
    }

    /// Is true if a request's one `Host` header names this origin (R-K07).
    pub fn is_named_by(&self, headers: &HeaderMap) -> bool {
        let mut hosts = headers.get_all(HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
        let default_port = if self.is_https() { ":443" } else { ":80" };
        host.to_str()
            .is_ok_and(|host| host.strip_suffix(default_port).unwrap_or(host).eq_ignore_ascii_case(&self.authority))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R-P07
    #[test]
    fn only_a_bare_https_or_loopback_origin_is_a_public_url() {
        for good in ["https://a.example", "https://a.example/", "http://127.0.0.1:8080", "http://localhost"] {
            assert!(PublicUrl::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "a.example",
            "http://127.evil.example",
            "http://a.example",
            "https://a.example/x",
            "https://u@a.example",
            "https://a.example?x",
        ] {
            assert!(PublicUrl::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn exactly_one_host_header_must_name_the_origin() {
        let public = PublicUrl::parse("https://a.example").unwrap();
        let named = |hosts: &[&str]| {
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append(HOST, host.parse().unwrap());
            }
            public.is_named_by(&headers)
        };
        assert!(named(&["a.example"]) && named(&["A.Example:443"]));
        for hosts in [&[][..], &["evil.example"], &["a.example:80"], &["a.example", "a.example"], &["a.example.evil"]] {
            assert!(!named(hosts), "{hosts:?}");
        }
    }
}
