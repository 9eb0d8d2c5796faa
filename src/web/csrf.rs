//! Defence of the broker's own state-changing requests against other sites (R-M01).
//!
//! Two checks: the origin of the request as the browser states it (`Sec-Fetch-Site`, else `Origin`), and a token bound
//! to the session, which another site cannot read.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;

use super::public_url::PublicUrl;
use crate::guard::sender::{SEC_FETCH_SITE, Sender};
use crate::secret::keyring::{Keyring, Tagger};

/// Makes and checks CSRF tokens.
#[derive(Debug)]
pub struct CsrfTokens {
    tagger: Tagger,
}

impl CsrfTokens {
    /// Tokens under the server's keys.
    pub fn new(keyring: &Keyring) -> Self {
        Self { tagger: keyring.tagger("counterfoil csrf v1") }
    }

    /// The token of a session, named by its handle.
    pub fn token(&self, session: &str) -> String {
        URL_SAFE_NO_PAD.encode(self.tagger.tag(session.as_bytes()))
    }

    /// Is true if a token is that session's.
    pub fn verify(&self, session: &str, token: &str) -> bool {
        URL_SAFE_NO_PAD.decode(token).is_ok_and(|tag| self.tagger.verify(session.as_bytes(), &tag))
    }
}

/// Is true unless the browser states that a request comes from another site, or from no page.
pub fn is_same_origin(headers: &HeaderMap, public_url: &PublicUrl) -> bool {
    matches!(Sender::of(headers, public_url), Sender::OwnPage | Sender::Unknown)
}

/// Is true if a reading request may be answered with personal data: asked by our own pages, or by no page at
/// all (R-G15, R-M02).
pub fn may_read(headers: &HeaderMap) -> bool {
    headers.get(SEC_FETCH_SITE).is_none_or(|site| site == "same-origin" || site == "none")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_belongs_to_one_session() {
        let tokens = CsrfTokens::new(&Keyring::ephemeral());
        assert!(tokens.verify("cf-a", &tokens.token("cf-a")));
        for other in ["", "x", "!", &tokens.token("cf-b")] {
            assert!(!tokens.verify("cf-a", other), "{other}");
        }
    }

    /// R-M01: one line a case.
    #[test]
    fn requests_of_other_sites_are_told_apart() {
        let public = PublicUrl::parse("https://a.example").unwrap();
        for (name, value, expected) in [
            ("sec-fetch-site", "same-origin", true),
            ("sec-fetch-site", "same-site", false),
            ("sec-fetch-site", "cross-site", false),
            ("sec-fetch-site", "none", false),
            ("origin", "https://a.example", true),
            ("origin", "https://a.example.evil", false),
            ("origin", "null", false),
            ("accept", "*/*", true),
        ] {
            let headers =
                HeaderMap::from_iter([(http::HeaderName::from_static(name), http::HeaderValue::from_static(value))]);
            assert_eq!(is_same_origin(&headers, &public), expected, "{name}: {value}");
        }
    }
}
