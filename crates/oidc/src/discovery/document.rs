//! Reads and checks a metadata document: OpenID Connect Discovery 1.0 (RFC 8414 in shape). Pure.
//!
//! The issuer comes from the configuration; a document that names another issuer, or any address that is not safe to
//! send secrets to, is refused as a whole (R-F01, R-F02). The configuration may put endpoints in the place of the
//! document's.

use std::sync::Arc;

use counterfoil_core::address::is_safe_address;
use serde_json::{Map, Value};
use url::Url;

use crate::answer::redaction::beginning;
use crate::client::http_error::HttpError;
use crate::client::reserved_parameters::is_reserved;
use crate::discovery::metadata::Metadata;
use crate::discovery::offers::Offers;
use crate::verification::issuer::IssuerPattern;

/// Endpoints that the configuration names itself, by their names in the metadata, whose place they take.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GivenEndpoints(Vec<(&'static str, Url)>);

impl GivenEndpoints {
    /// Every endpoint that can be given.
    pub const NAMES: [&str; 7] = [
        "authorization_endpoint",
        "token_endpoint",
        "userinfo_endpoint",
        "jwks_uri",
        "end_session_endpoint",
        "revocation_endpoint",
        "pushed_authorization_request_endpoint",
    ];

    /// Makes given endpoints of addresses by their names.
    pub fn new(endpoints: Vec<(&'static str, Url)>) -> Self {
        Self(endpoints)
    }

    /// Iterates over their addresses.
    pub(crate) fn urls(&self) -> impl Iterator<Item = &Url> {
        self.0.iter().map(|(_, url)| url)
    }

    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(given, _)| *given == name)
    }
}

/// The source of a provider's metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetadataSource {
    /// The configuration alone.
    Given(Arc<Metadata>),
    /// The issuer's own document, but for what the configuration gives.
    Discovered(GivenEndpoints),
}

impl MetadataSource {
    /// Makes metadata of given endpoints alone.
    ///
    /// # Errors
    /// [`HttpError::Unacceptable`] if they are too few, or no addresses to send secrets to.
    pub fn given(endpoints: &GivenEndpoints) -> Result<Self, HttpError> {
        let metadata = read_endpoints(&with_given(Map::new(), endpoints, false)?, |_| true)?;
        Ok(Self::Given(Arc::new(metadata)))
    }
}

/// The settings by which a document is fetched and read.
#[derive(Debug)]
pub struct DocumentSource {
    /// The configured issuer.
    pub issuer: IssuerPattern,
    /// Endpoints that take the place of the document's.
    pub given: GivenEndpoints,
    /// Set if we show a certificate, for which a provider may have other addresses (RFC 8705 5).
    pub mutual_tls: bool,
}

/// Checks a metadata document. Pure.
///
/// # Errors
/// [`HttpError::Unacceptable`], and the document is not used at all.
pub fn read(source: &DocumentSource, document: Map<String, Value>) -> Result<Metadata, HttpError> {
    let named = document.get("issuer").and_then(Value::as_str).unwrap_or_default();
    if named != source.issuer.configured() {
        return Err(HttpError::Issuer { named: beginning(named), configured: source.issuer.configured().to_owned() });
    }
    // A document from elsewhere must not name endpoints on this machine; the configuration may.
    let is_local = source.issuer.configured().starts_with("http://");
    read_endpoints(&with_given(document, &source.given, source.mutual_tls)?, |name| is_local || source.given.has(name))
}

/// Puts the endpoints in force into a document: configured ones first, then the mutual TLS aliases for clients with a
/// certificate.
fn with_given(
    mut document: Map<String, Value>,
    given: &GivenEndpoints,
    mutual_tls: bool,
) -> Result<Map<String, Value>, HttpError> {
    let aliases = match document.remove("mtls_endpoint_aliases") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(aliases)) => aliases,
        Some(_) => return Err(HttpError::Unacceptable("the metadata's mtls_endpoint_aliases are no object")),
    };
    // The browser has no certificate of ours: an endpoint that it is sent to has no alias.
    let for_us = |name: &str| !matches!(name, "authorization_endpoint" | "end_session_endpoint");
    for (name, address) in aliases.into_iter().filter(|(name, _)| mutual_tls && for_us(name)) {
        if GivenEndpoints::NAMES.contains(&name.as_str()) && !given.has(&name) {
            document.insert(name, address);
        }
    }
    document.extend(given.0.iter().map(|(name, address)| ((*name).to_owned(), address.as_str().into())));
    Ok(document)
}

/// Reads and checks the endpoints; `may_be_local` says by name which may be http on loopback.
fn read_endpoints(document: &Map<String, Value>, may_be_local: impl Fn(&str) -> bool) -> Result<Metadata, HttpError> {
    let endpoint = |document, name| endpoint(document, name, may_be_local(name));
    let required = |name, complaint| endpoint(document, name)?.ok_or(HttpError::Unacceptable(complaint));
    let metadata = Metadata {
        authorization_endpoint: required("authorization_endpoint", "the metadata lacks authorization_endpoint")?,
        token_endpoint: required("token_endpoint", "the metadata lacks token_endpoint")?,
        userinfo_endpoint: endpoint(document, "userinfo_endpoint")?,
        jwks_uri: Some(required("jwks_uri", "the metadata lacks jwks_uri")?),
        end_session_endpoint: endpoint(document, "end_session_endpoint")?,
        revocation_endpoint: endpoint(document, "revocation_endpoint")?,
        pushed_authorization_request_endpoint: endpoint(document, "pushed_authorization_request_endpoint")?,
        pushed_requests_demanded: promise(document, "require_pushed_authorization_requests")?,
        response_issuer_promised: promise(document, "authorization_response_iss_parameter_supported")?,
        claims_supported: list(document, "claims_supported"),
        offers: Offers::read(document),
    };
    check_authorization_endpoint(&metadata.authorization_endpoint)?;
    Ok(metadata)
}

/// Reads a list of names, and leaves out those that are no text; anything but a list is ignored.
fn list(document: &Map<String, Value>, name: &str) -> Option<Vec<String>> {
    let listed = document.get(name)?.as_array()?;
    Some(listed.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

fn promise(document: &Map<String, Value>, name: &str) -> Result<bool, HttpError> {
    match document.get(name) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(promised)) => Ok(*promised),
        Some(_) => {
            Err(HttpError::Unacceptable("the metadata promises something in a word that is neither true nor false"))
        }
    }
}

fn endpoint(document: &Map<String, Value>, name: &str, may_be_local: bool) -> Result<Option<Url>, HttpError> {
    let is_fit = |url: &Url| is_safe_address(url) && (may_be_local || url.scheme() == "https");
    match document.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => match Url::parse(text) {
            Ok(url) if is_fit(&url) && url.fragment().is_none() => Ok(Some(url)),
            _ => Err(HttpError::Unacceptable("the metadata names an endpoint that is not https")),
        },
        Some(_) => Err(HttpError::Unacceptable("the metadata names an endpoint that is not text")),
    }
}

/// Checks that the endpoint's own query, which is kept (RFC 6749 3.1), does not hold parameters that we add.
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

    fn source() -> DocumentSource {
        DocumentSource {
            issuer: IssuerPattern::One(ISSUER.into()),
            given: GivenEndpoints::default(),
            mutual_tls: false,
        }
    }

    fn given(name: &'static str, address: &str) -> GivenEndpoints {
        GivenEndpoints::new(vec![(name, Url::parse(address).unwrap())])
    }

    /// R-F02, R-C14: RFC 8705 5.
    #[test]
    fn given_endpoints_come_first_then_those_for_certificates() {
        let aliases = json!({ "mtls_endpoint_aliases": {
            "token_endpoint": "https://mtls.example.test/token", "authorization_endpoint": "https://mtls.example.test/a",
            "device_authorization_endpoint": 7,
        } });
        let token = |given: GivenEndpoints, mutual_tls| {
            let metadata = read(&DocumentSource { given, mutual_tls, ..source() }, document(&aliases)).unwrap();
            assert_eq!(metadata.authorization_endpoint.host_str(), Some("idp.example.test"));
            metadata.token_endpoint.to_string()
        };
        assert_eq!(token(GivenEndpoints::default(), false), "https://idp.example.test/token");
        assert_eq!(token(GivenEndpoints::default(), true), "https://mtls.example.test/token");
        let own = || given("token_endpoint", "https://own.example.test/token");
        assert_eq!(token(own(), true), "https://own.example.test/token");
        let unsafe_one =
            document(&json!({ "mtls_endpoint_aliases": { "token_endpoint": "http://mtls.example.test/" } }));
        assert!(read(&DocumentSource { mutual_tls: true, ..source() }, unsafe_one).is_err());
        let broken = document(&json!({ "token_endpoint": 7 }));
        assert!(read(&DocumentSource { given: own(), ..source() }, broken).is_ok(), "what is replaced is not judged");
        assert!(MetadataSource::given(&own()).is_err(), "too few to do without a document");
    }

    /// R-F02: addresses on this machine are for the configuration to name.
    #[test]
    fn local_endpoints_are_for_the_configuration_or_a_local_issuer_to_name() {
        let local = "http://127.0.0.1:8080/token";
        let said = |issuer: &str| document(&json!({ "issuer": issuer, "token_endpoint": local }));
        assert!(read(&source(), said(ISSUER)).is_err());
        assert!(read(&DocumentSource { given: given("token_endpoint", local), ..source() }, said(ISSUER)).is_ok());
        let issuer = "http://127.0.0.1:8080";
        assert!(read(&DocumentSource { issuer: IssuerPattern::One(issuer.into()), ..source() }, said(issuer)).is_ok());
    }

    #[test]
    fn a_minimal_document_is_enough() {
        let metadata = read(&source(), document(&json!({}))).unwrap();
        assert_eq!(metadata.authorization_endpoint.query(), Some("tenant=1"));
        assert_eq!(metadata.userinfo_endpoint, None);
        assert!(!metadata.response_issuer_promised);
    }

    /// R-F01: byte for byte.
    #[test]
    fn a_document_of_another_issuer_is_refused() {
        for other in ["https://idp.example.test/", "https://IDP.example.test", "https://idp.example.test:443"] {
            let said = read(&source(), document(&json!({ "issuer": other }))).unwrap_err().to_string();
            assert!(said.contains(&format!("{other:?}")) && said.contains(&format!("{ISSUER:?}")), "{said}");
        }
        assert!(read(&source(), document(&json!({ "issuer": null }))).is_err());
    }

    /// R-F02, R-A08
    #[test]
    fn unsafe_endpoints_are_refused() {
        for changes in [
            json!({ "token_endpoint": "http://idp.example.test/token" }),
            json!({ "jwks_uri": "ftp://idp.example.test/" }),
            json!({ "userinfo_endpoint": "https://user:pass@idp.example.test/" }),
            json!({ "end_session_endpoint": "javascript:alert(1)" }),
            json!({ "token_endpoint": "http://127.0.0.1:8080/token" }),
            json!({ "jwks_uri": "http://localhost/jwks" }),
            json!({ "token_endpoint": 7 }),
            json!({ "token_endpoint": null }),
            json!({ "authorization_endpoint": "https://idp.example.test/authorize?state=x" }),
            json!({ "pushed_authorization_request_endpoint": "http://idp.example.test/par" }),
            json!({ "revocation_endpoint": ["https://idp.example.test/revoke"] }),
            json!({ "require_pushed_authorization_requests": "true" }),
            json!({ "authorization_response_iss_parameter_supported": 1 }),
            json!({ "mtls_endpoint_aliases": "https://mtls.example.test/" }),
        ] {
            assert!(read(&source(), document(&changes)).is_err(), "{changes}");
        }
    }
}
