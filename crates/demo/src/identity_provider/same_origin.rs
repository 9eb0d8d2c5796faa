//! Checks that a form came from the provider's own page.
//!
//! Owns the check against forged form posts: another site must not be able to sign somebody in or out. Called by
//! `authorize` and `end_session` for the presses of a button, not for the protocols' own cross-site requests.

use http::{HeaderMap, header};
use url::Url;

/// The text that the person reads when a form is refused.
pub(super) const FOREIGN_FORM: &str = "The form was sent from another site's page.";

/// Is true unless the browser says that the form is another site's. A program without such headers, such as curl,
/// has no one else's cookies to misuse.
pub(super) fn allows(headers: &HeaderMap, issuer: &str) -> bool {
    let site = text(headers, "sec-fetch-site");
    let site_allows = site.is_none_or(|site| matches!(site, "same-origin" | "none"));
    let origin_allows = text(headers, header::ORIGIN.as_str())
        .is_none_or(|origin| is_origin_of(origin, issuer) || is_own_host(origin, text(headers, "host")));
    site_allows && origin_allows
}

fn is_origin_of(origin: &str, issuer: &str) -> bool {
    Url::parse(issuer).is_ok_and(|issuer| issuer.origin().ascii_serialization() == origin)
}

/// Is true of a form from the requested host: the demo may be visited as `localhost` while its issuer is `127.0.0.1`.
fn is_own_host(origin: &str, host: Option<&str>) -> bool {
    origin.split_once("://").is_some_and(|(_, authority)| Some(authority) == host)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    // An unreadable value counts as a foreign one.
    headers.get(name).map(|value| value.to_str().unwrap_or("null"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(pairs: &[(&'static str, &'static str)]) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert("host", "localhost:8081".parse().unwrap());
        for (name, value) in pairs {
            headers.insert(*name, value.parse().unwrap());
        }
        allows(&headers, "http://127.0.0.1:8081")
    }

    #[test]
    fn own_forms_and_programs_pass_and_other_sites_do_not() {
        assert!(outcome(&[]));
        assert!(outcome(&[("origin", "http://127.0.0.1:8081"), ("sec-fetch-site", "same-origin")]));
        assert!(outcome(&[("origin", "http://localhost:8081")]));
        assert!(!outcome(&[("origin", "http://127.0.0.1:8080")]));
        assert!(!outcome(&[("origin", "null")]));
        assert!(!outcome(&[("sec-fetch-site", "same-site")]));
        assert!(!outcome(&[("sec-fetch-site", "cross-site"), ("origin", "http://127.0.0.1:8081")]));
    }
}
