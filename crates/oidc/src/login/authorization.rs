//! The authorization request's address, and the answer that the browser brings back with its issuer.
//!
//! RFC 6749 4.1.1 and 4.1.2, RFC 9207. Pure.

use std::fmt;

use thiserror::Error;
use url::Url;

use crate::answer::provider_words::ProviderWords;
use crate::answer::redaction::beginning;

/// The provider's answer to the browser (RFC 6749 4.1.2), apart from the `state`.
#[derive(Clone, PartialEq, Eq)]
pub struct AuthorizationAnswer {
    /// The code to exchange for tokens.
    pub code: Option<String>,
    /// The error code (RFC 6749 4.1.2.1), if there is no code to exchange.
    pub error: Option<String>,
    /// Further details of the provider, for operators.
    pub said: ProviderWords,
    /// The provider's description of the error, for developers.
    pub error_description: Option<String>,
    /// The issuer that answers (RFC 9207).
    pub iss: Option<String>,
}

impl fmt::Debug for AuthorizationAnswer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("AuthorizationAnswer").finish_non_exhaustive()
    }
}

/// The answer to the browser does not name the provider that was asked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum IssuerMismatch {
    /// It names another: a mix-up attack, or a proxy in between.
    #[error("the answer to the browser names the issuer {named:?}, and the configuration {configured:?}")]
    Other {
        /// The `iss` that the browser brought.
        named: String,
        /// The configured issuer.
        configured: String,
    },
    /// It names none although the metadata promises it.
    #[error("the answer to the browser names no issuer although the provider promises to")]
    Missing,
}

/// Adds parameters to an authorization endpoint. Its own query is kept (R-A09), except for names that we set, here or
/// in what was pushed or signed, so that no parameter occurs twice (R-A08).
pub(crate) fn with_parameters(endpoint: &Url, parameters: &[(String, String)], said: &[String]) -> Url {
    let is_set = |name: &str| said.iter().chain(parameters.iter().map(|(name, _)| name)).any(|known| known == name);
    let own: Vec<_> = endpoint.query_pairs().filter(|(name, _)| !is_set(name)).collect();
    let mut url = endpoint.clone();
    url.query_pairs_mut().clear().extend_pairs(own).extend_pairs(parameters);
    url
}

/// Checks the answer's issuer (RFC 9207 2.4): one that is present must be ours, and one that the metadata promise must
/// be present.
pub(crate) fn check_response_issuer(
    named: Option<&str>,
    is_ours: impl Fn(&str) -> bool,
    configured: &str,
    promised: bool,
) -> Result<(), IssuerMismatch> {
    match named {
        Some(named) if !is_ours(named) => {
            Err(IssuerMismatch::Other { named: beginning(named), configured: configured.into() })
        }
        None if promised => Err(IssuerMismatch::Missing),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R-A08, R-A09: nothing in the address contradicts what was pushed or signed.
    #[test]
    fn an_endpoint_keeps_of_its_query_what_nothing_else_is_said_about() {
        let endpoint = Url::parse("https://idp.example.test/a?tenant=1&prompt=none").unwrap();
        let outside = [("request_uri".to_owned(), "urn:x".to_owned())];
        let url = with_parameters(&endpoint, &outside, &["prompt".to_owned()]);
        assert_eq!(url.query(), Some("tenant=1&request_uri=urn%3Ax"));
    }

    /// R-B04
    #[test]
    fn the_response_issuer_must_be_ours_and_present_when_promised() {
        let check =
            |named: Option<&str>, promised| check_response_issuer(named, |named| named == "ours", "ours", promised);
        assert_eq!(check(Some("ours"), true), Ok(()));
        assert_eq!(check(None, false), Ok(()));
        assert_eq!(check(None, true), Err(IssuerMismatch::Missing));
        for promised in [false, true] {
            let said = check(Some("theirs\n"), promised).unwrap_err().to_string();
            assert!(said.contains("\"theirs\\n\"") && said.contains("\"ours\""), "{said}");
        }
    }
}
