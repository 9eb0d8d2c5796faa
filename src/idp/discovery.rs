//! What a provider says of itself: OpenID Connect Discovery 1.0 (RFC 8414 in shape).
//!
//! The issuer comes from the configuration; a document that names another issuer, or any address that is not
//! safe to send secrets to, is refused as a whole (R-F01, R-F02). For plain OAuth 2.0 the configuration
//! itself is the metadata.

use std::sync::Arc;

use serde_json::{Map, Value};
use url::Url;

use super::IdpKind;
use super::http::{HttpError, ProviderHttp, is_safe_address};
use super::refreshing::Refreshing;
use super::request_parameters::is_reserved;
use crate::clock::SharedClock;

/// The endpoints of a provider, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// Where the browser is sent.
    pub authorization_endpoint: Url,
    /// Where the code is exchanged.
    pub token_endpoint: Url,
    /// Who somebody is (OpenID Connect only, and optional there).
    pub userinfo_endpoint: Option<Url>,
    /// The provider's public keys (OpenID Connect only).
    pub jwks_uri: Option<Url>,
    /// Where the browser ends its session at the provider.
    pub end_session_endpoint: Option<Url>,
    /// Whether the answer to the browser always names the issuer (RFC 9207 3).
    pub response_issuer_promised: bool,
}

/// The metadata of one provider.
#[derive(Debug)]
pub(super) enum MetadataCache {
    /// Written in the configuration.
    Given(Arc<Metadata>),
    /// Fetched from the issuer.
    Discovered { issuer: String, document: Refreshing<Metadata> },
}

impl MetadataCache {
    pub(super) fn new(kind: &IdpKind) -> Self {
        match kind {
            IdpKind::Oidc(oidc) => Self::Discovered { issuer: oidc.issuer.clone(), document: Refreshing::default() },
            IdpKind::OAuth2(plain) => Self::Given(Arc::new(Metadata {
                authorization_endpoint: plain.authorization_endpoint.clone(),
                token_endpoint: plain.token_endpoint.clone(),
                userinfo_endpoint: None,
                jwks_uri: None,
                end_session_endpoint: None,
                response_issuer_promised: false,
            })),
        }
    }

    pub(super) async fn current(
        &self,
        http: &ProviderHttp,
        clock: &SharedClock,
    ) -> Result<Arc<Metadata>, Arc<HttpError>> {
        match self {
            Self::Given(metadata) => Ok(metadata.clone()),
            Self::Discovered { issuer, document } => document.current(clock, fetch(http.clone(), issuer.clone())).await,
        }
    }

    pub(super) fn is_known(&self) -> bool {
        match self {
            Self::Given(_) => true,
            Self::Discovered { document, .. } => document.known().is_some(),
        }
    }
}

async fn fetch(http: ProviderHttp, issuer: String) -> Result<Metadata, HttpError> {
    // Discovery 4: the path is appended to the issuer, whose own path is kept.
    let address = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    let address = Url::parse(&address).map_err(|_| HttpError::Unacceptable("the issuer is not a URL"))?;
    read(&issuer, &http.get_json(&address).await?)
}

/// Checks a metadata document. Pure.
fn read(issuer: &str, document: &Map<String, Value>) -> Result<Metadata, HttpError> {
    if document.get("issuer").and_then(Value::as_str) != Some(issuer) {
        return Err(HttpError::Unacceptable("the metadata names another issuer than the configuration"));
    }
    if document.get("require_pushed_authorization_requests") == Some(&Value::Bool(true)) {
        return Err(HttpError::Unacceptable("the provider demands pushed authorization requests"));
    }
    let required = |name, complaint| endpoint(document, name)?.ok_or(HttpError::Unacceptable(complaint));
    let metadata = Metadata {
        authorization_endpoint: required("authorization_endpoint", "the metadata lacks authorization_endpoint")?,
        token_endpoint: required("token_endpoint", "the metadata lacks token_endpoint")?,
        userinfo_endpoint: endpoint(document, "userinfo_endpoint")?,
        jwks_uri: Some(required("jwks_uri", "the metadata lacks jwks_uri")?),
        end_session_endpoint: endpoint(document, "end_session_endpoint")?,
        response_issuer_promised: document.get("authorization_response_iss_parameter_supported")
            == Some(&Value::Bool(true)),
    };
    check_authorization_endpoint(&metadata.authorization_endpoint)?;
    Ok(metadata)
}

fn endpoint(document: &Map<String, Value>, name: &str) -> Result<Option<Url>, HttpError> {
    match document.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => match Url::parse(text) {
            Ok(url) if is_safe_address(&url) && url.fragment().is_none() => Ok(Some(url)),
            _ => Err(HttpError::Unacceptable("the metadata names an endpoint that is not https")),
        },
        Some(_) => Err(HttpError::Unacceptable("the metadata names an endpoint that is not text")),
    }
}

/// The endpoint's own query is kept (RFC 6749 3.1), so it must not hold what we are going to add.
///
/// # Errors
/// [`HttpError::Unacceptable`] if it does.
pub fn check_authorization_endpoint(endpoint: &Url) -> Result<(), HttpError> {
    if endpoint.query_pairs().any(|(name, _)| is_reserved(&name)) {
        return Err(HttpError::Unacceptable("authorization_endpoint already holds a parameter of the request"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ISSUER: &str = "https://idp.example.test";

    fn document(changes: &Value) -> Map<String, Value> {
        let mut document = json!({
            "issuer": ISSUER,
            "authorization_endpoint": "https://idp.example.test/authorize?tenant=1",
            "token_endpoint": "https://idp.example.test/token",
            "jwks_uri": "https://keys.example.test/jwks",
        });
        let fields = document.as_object_mut().unwrap();
        fields.extend(changes.as_object().unwrap().clone());
        fields.clone()
    }

    #[test]
    fn a_minimal_document_is_enough() {
        let metadata = read(ISSUER, &document(&json!({}))).unwrap();
        assert_eq!(metadata.authorization_endpoint.query(), Some("tenant=1"));
        assert_eq!(metadata.userinfo_endpoint, None);
        assert!(!metadata.response_issuer_promised);
    }

    /// R-F01: byte for byte.
    #[test]
    fn a_document_of_another_issuer_is_refused() {
        for other in ["https://idp.example.test/", "https://IDP.example.test", "https://idp.example.test:443"] {
            assert!(read(ISSUER, &document(&json!({ "issuer": other }))).is_err(), "{other}");
        }
        assert!(read(ISSUER, &document(&json!({ "issuer": null }))).is_err());
    }

    /// R-F02, R-A08
    #[test]
    fn unsafe_endpoints_are_refused() {
        for changes in [
            json!({ "token_endpoint": "http://idp.example.test/token" }),
            json!({ "jwks_uri": "ftp://idp.example.test/" }),
            json!({ "userinfo_endpoint": "https://user:pass@idp.example.test/" }),
            json!({ "end_session_endpoint": "javascript:alert(1)" }),
            json!({ "token_endpoint": 7 }),
            json!({ "token_endpoint": null }),
            json!({ "authorization_endpoint": "https://idp.example.test/authorize?state=x" }),
            json!({ "require_pushed_authorization_requests": true }),
        ] {
            assert!(read(ISSUER, &document(&changes)).is_err(), "{changes}");
        }
    }
}
