//! The page that a request was sent from, as far as its browser says.

use http::header::ORIGIN;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::public_url::PublicUrl;

/// The header by which browsers say it (Fetch metadata).
pub const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The sender of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sender {
    /// A page of this origin.
    OwnPage,
    /// The person, by the address bar or a bookmark.
    NoPage,
    /// A page of another origin, of the same site or not.
    OtherOrigin,
    /// Nobody says: an old browser in a request that it sends without `Origin`, or a program.
    Unknown,
}

impl Sender {
    /// The sender of a request to the site that browsers reach by `public_url`. Old browsers send `Origin` alone.
    pub fn of(headers: &HeaderMap, public_url: &PublicUrl) -> Self {
        if let Some(site) = headers.get(SEC_FETCH_SITE).map(HeaderValue::as_bytes) {
            return match site {
                b"same-origin" => Self::OwnPage,
                b"none" => Self::NoPage,
                _ => Self::OtherOrigin,
            };
        }
        // Browsers write hosts in lower case.
        let is_own = |origin: &HeaderValue| origin.as_bytes() == public_url.origin().as_bytes();
        if !headers.contains_key(ORIGIN) {
            Self::Unknown
        } else if headers.get_all(ORIGIN).iter().all(is_own) {
            Self::OwnPage
        } else {
            Self::OtherOrigin
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R-M01: one line a case.
    #[test]
    fn pages_of_other_origins_are_told_apart() {
        let public = PublicUrl::parse("https://office.example.com").unwrap();
        let site = "sec-fetch-site";
        for (headers, sender) in [
            (&[][..], Sender::Unknown),
            (&[("accept", "*/*")], Sender::Unknown),
            (&[(site, "same-origin")], Sender::OwnPage),
            (&[(site, "none")], Sender::NoPage),
            (&[(site, "same-site")], Sender::OtherOrigin),
            (&[(site, "cross-site")], Sender::OtherOrigin),
            (&[(site, "something-new")], Sender::OtherOrigin),
            (&[(site, "same-origin"), ("origin", "https://evil.example")], Sender::OwnPage),
            (&[("origin", "https://office.example.com")], Sender::OwnPage),
            (&[("origin", "http://office.example.com")], Sender::OtherOrigin),
            (&[("origin", "https://office.example.com:8443")], Sender::OtherOrigin),
            (&[("origin", "https://office.example.com.evil.example")], Sender::OtherOrigin),
            (&[("origin", "https://evil.example")], Sender::OtherOrigin),
            (&[("origin", "null")], Sender::OtherOrigin),
            (&[("origin", "https://office.example.com"), ("origin", "https://evil.example")], Sender::OtherOrigin),
        ] {
            let mut sent = HeaderMap::new();
            for (name, value) in headers {
                sent.append(*name, HeaderValue::from_static(value));
            }
            assert_eq!(Sender::of(&sent, &public), sender, "{headers:?}");
        }
    }
}
