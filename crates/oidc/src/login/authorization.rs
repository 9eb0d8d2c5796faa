//! Messages that go through the browser: the authorization request, its answer's issuer, and the logout request.
//!
//! RFC 6749 4.1.1, RFC 7636, RFC 9207, OpenID Connect Core 3.1.2.1, RP-Initiated Logout 2. Pure.

use std::fmt;

use counterfoil_core::secret::{Secret, random_token, serialize_exposed};
use oauth2::basic::{BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse};
use oauth2::{AuthType, AuthUrl, ClientId, EndpointNotSet, EndpointSet, RedirectUrl, StandardRevocableToken, TokenUrl};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use url::Url;

use crate::answer::provider_words::ProviderWords;
use crate::discovery::metadata::Metadata;
use crate::login::request_parameters::parameters;
use crate::provider::settings::IdpSettings;
use crate::tokens::exchange::TokenAnswer;

/// The demands of a particular login on the provider.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoginOptions {
    /// The oldest authentication that is accepted, in seconds.
    pub max_age: Option<u64>,
    /// Set if the person has to authenticate now, whatever session lives at the provider.
    pub fresh: bool,
    /// Ways to authenticate (`acr`), one of which it has to be; empty: any.
    pub acr_values: Vec<String>,
    /// The person who is going to sign in, as far as somebody guesses; acceptable in form.
    pub login_hint: Option<String>,
    /// The language our pages have for this browser.
    pub language: Option<&'static str>,
    /// The text behind the random part of `state`: opaque to everybody else, of the characters of RFC 6749 A.5.
    pub state_carries: Option<String>,
}

/// A login attempt, remembered between the authorization request and the callback.
#[derive(Clone, Serialize, Deserialize)]
pub struct Attempt {
    /// Ties the answer to this request: 256 random bits, and what the login wants it to carry besides.
    pub state: String,
    /// Ties the ID token to this request: 256 random bits.
    pub nonce: String,
    /// Proves at the token endpoint that we made the request (RFC 7636): 256 random bits.
    #[serde(serialize_with = "serialize_exposed")]
    pub verifier: Secret<String>,
    /// The oldest authentication that was asked for, in seconds.
    pub max_age: Option<u64>,
    /// Set if a fresh one was asked for.
    #[serde(default)]
    pub fresh: bool,
    /// Ways to authenticate that were asked for, one of which it has to be; empty: any.
    #[serde(default)]
    pub acr_values: Vec<String>,
}

impl Attempt {
    /// Is true if somebody authenticated in one of the ways that were asked for. It is the provider's choice whether it
    /// heeds that (Core 5.5.1.1), so another way is no fault of its answer.
    pub fn is_met_by(&self, acr: Option<&str>) -> bool {
        self.acr_values.is_empty() || acr.is_some_and(|acr| self.acr_values.iter().any(|wanted| wanted == acr))
    }
}

impl fmt::Debug for Attempt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Attempt").finish_non_exhaustive()
    }
}

/// The provider's answer to the browser (RFC 6749 4.1.2), apart from the `state`.
#[derive(Clone, PartialEq, Eq)]
pub struct AuthorizationAnswer {
    /// The code to exchange for tokens.
    pub code: Option<String>,
    /// The error code (RFC 6749 4.1.2.1), if there is no code to exchange.
    pub error: Option<String>,
    /// More words of the provider about it, for whoever looks after the broker.
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
pub enum IssuerMismatch {
    /// It names another: a mix-up attack, or a proxy in between.
    #[error("the answer to the browser names the issuer {named:?}, and the configuration {configured:?}")]
    Other {
        /// The browser's word.
        named: String,
        /// The configured issuer.
        configured: String,
    },
    /// It names none although the metadata promises it.
    #[error("the answer to the browser names no issuer although the provider promises to")]
    Missing,
}

/// Longest part of an issuer of somebody else that is repeated, in characters.
pub(crate) const LONGEST_NAMED: usize = 200;

/// The `oauth2` crate's client with the endpoints we use.
pub(crate) type OAuthClient = oauth2::Client<
    BasicErrorResponse,
    TokenAnswer,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
>;

pub(crate) fn oauth_client(settings: &IdpSettings, metadata: &Metadata, redirect_uri: &Url) -> OAuthClient {
    // The back channel adds the client authentication: the crate knows two of the ways, we need five.
    oauth2::Client::new(ClientId::new(settings.client_id.clone()))
        .set_auth_uri(AuthUrl::from_url(metadata.authorization_endpoint.clone()))
        .set_token_uri(TokenUrl::from_url(metadata.token_endpoint.clone()))
        .set_redirect_uri(RedirectUrl::from_url(redirect_uri.clone()))
        .set_auth_type(AuthType::RequestBody)
}

/// Writes an authorization request with fresh secrets.
pub(crate) fn request(
    settings: &IdpSettings,
    redirect_uri: &Url,
    options: &LoginOptions,
) -> (Vec<(String, String)>, Attempt) {
    let attempt = attempt(settings, options);
    (parameters(settings, redirect_uri, options, &attempt), attempt)
}

/// Makes the secrets of a new login, and notes its demands.
fn attempt(settings: &IdpSettings, options: &LoginOptions) -> Attempt {
    let (max_age, acr_values) = settings.request.demands(options);
    let carried = options.state_carries.as_ref().map_or_else(String::new, |carried| format!(".{carried}"));
    Attempt {
        state: random_token::<32>() + &carried,
        nonce: random_token::<32>(),
        verifier: Secret::new(random_token::<32>()),
        max_age,
        fresh: options.fresh,
        acr_values,
    }
}

/// Adds parameters to an authorization endpoint. Its own query is kept (R-A09), but for names that we say something
/// about, here or in what was pushed or signed: no parameter stands twice (R-A08).
pub(crate) fn with_parameters(endpoint: &Url, parameters: &[(String, String)], said: &[String]) -> Url {
    let is_set = |name: &str| said.iter().chain(parameters.iter().map(|(name, _)| name)).any(|known| known == name);
    let own: Vec<_> = endpoint.query_pairs().filter(|(name, _)| !is_set(name)).collect();
    let mut url = endpoint.clone();
    url.query_pairs_mut().clear().extend_pairs(own).extend_pairs(parameters);
    url
}

/// Checks the answer's issuer (RFC 9207 2.4): present means ours, promised means present.
pub(crate) fn check_response_issuer(
    named: Option<&str>,
    is_ours: impl Fn(&str) -> bool,
    configured: &str,
    promised: bool,
) -> Result<(), IssuerMismatch> {
    match named {
        Some(named) if !is_ours(named) => Err(IssuerMismatch::Other {
            named: named.chars().take(LONGEST_NAMED).collect(),
            configured: configured.into(),
        }),
        None if promised => Err(IssuerMismatch::Missing),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R-A08, R-A09: what was pushed or signed cannot be contradicted from outside.
    #[test]
    fn an_endpoint_keeps_of_its_query_what_nothing_else_is_said_about() {
        let endpoint = Url::parse("https://idp.example.test/a?tenant=1&prompt=none").unwrap();
        let outside = [("request_uri".to_owned(), "urn:x".to_owned())];
        let url = with_parameters(&endpoint, &outside, &["prompt".to_owned()]);
        assert_eq!(url.query(), Some("tenant=1&request_uri=urn%3Ax"));
    }

    /// R-A13: one line a case.
    #[test]
    fn ways_to_authenticate_are_compared_as_they_are_written() {
        let wanted = ["urn:example:mfa".to_owned(), "urn:example:key".to_owned()];
        for (acr, is_met) in [
            (Some("urn:example:key"), true),
            (Some("urn:example:mfa"), true),
            (Some("urn:example:password"), false),
            (Some("urn:example:MFA"), false),
            (Some("urn:example:mfa urn:example:key"), false),
            (Some("0"), false),
            (Some(""), false),
            (None, false),
        ] {
            let attempt = |acr_values: &[String]| Attempt {
                state: "s".into(),
                nonce: "n".into(),
                verifier: Secret::new("v".into()),
                max_age: None,
                fresh: false,
                acr_values: acr_values.to_vec(),
            };
            assert_eq!(attempt(&wanted).is_met_by(acr), is_met, "{acr:?}");
            assert!(attempt(&[]).is_met_by(acr), "{acr:?}");
        }
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
