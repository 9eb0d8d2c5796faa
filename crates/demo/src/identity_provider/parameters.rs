//! Form-encoded parameters of a query or a body, with OAuth's rules about them.
//!
//! Owns that an empty parameter counts as omitted and that a repeated one is never used (RFC 6749 sections 3.1
//! and 3.2). Does not know which parameters exist. Called by every endpoint that reads parameters.

use std::collections::HashSet;

use http::{HeaderMap, header};
use url::form_urlencoded;

/// Parameters in the order they came.
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Reads `a=1&b=2`.
    pub(super) fn parse(encoded: &[u8]) -> Self {
        Self(form_urlencoded::parse(encoded).into_owned().collect())
    }

    /// Returns the value of a parameter that is there exactly once and is not empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let mut values = self.0.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
        match (values.next(), values.next()) {
            (Some(value), None) => Some(value).filter(|value| !value.is_empty()),
            _ => None,
        }
    }

    /// Is true if this parameter is there at all, even if empty or repeated.
    pub(super) fn mentions(&self, name: &str) -> bool {
        self.0.iter().any(|(key, _)| key == name)
    }

    /// Is true if any parameter is there more than once.
    pub(super) fn has_repetition(&self) -> bool {
        let mut seen = HashSet::new();
        !self.0.iter().all(|(key, _)| seen.insert(key))
    }

    /// Encodes these parameters again, followed by others.
    pub(super) fn encoded_with(&self, others: &Self) -> String {
        form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.0).extend_pairs(&others.0).finish()
    }
}

/// Is true if the body is declared as form-encoded, which is the only kind the token endpoints take.
pub(super) fn declares_form(headers: &HeaderMap) -> bool {
    let declared = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = declared.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// Adds query parameters to a URL, its own text untouched: a registered redirect URI may have a query of
/// its own that has to be kept (RFC 6749 section 3.1.2).
pub(super) fn extended(url: &str, pairs: &[(&str, &str)]) -> String {
    if pairs.is_empty() {
        return url.to_owned();
    }
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}{query}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_counts_as_omitted_and_repeated_is_never_used() {
        let parameters = Parameters::parse(b"a=1&b=&c=1&c=2");
        assert_eq!(parameters.get("a"), Some("1"));
        assert_eq!((parameters.get("b"), parameters.get("c")), (None, None));
        assert!(parameters.mentions("b") && parameters.has_repetition());
    }

    #[test]
    fn the_query_of_a_redirect_uri_is_kept() {
        assert_eq!(extended("https://a.example/cb?x=1", &[("code", "a b")]), "https://a.example/cb?x=1&code=a+b");
        assert_eq!(extended("https://a.example/cb", &[]), "https://a.example/cb");
    }
}
