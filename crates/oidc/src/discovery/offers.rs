//! The capabilities in a provider's metadata beside the endpoints (OpenID Connect Discovery 3, RFC 8414 2).
//!
//! Pure. Metadata may be incomplete, and a missing list means nothing.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// The lists that are read, by their names in the metadata.
const LISTS: [&str; 13] = [
    "acr_values_supported",
    "authorization_signing_alg_values_supported",
    "claims_supported",
    "code_challenge_methods_supported",
    "dpop_signing_alg_values_supported",
    "grant_types_supported",
    "id_token_signing_alg_values_supported",
    "prompt_values_supported",
    "request_object_signing_alg_values_supported",
    "response_modes_supported",
    "response_types_supported",
    "scopes_supported",
    "token_endpoint_auth_methods_supported",
];
/// The list of algorithms for assertions.
pub(crate) const AUTH_ALGORITHMS: &str = "token_endpoint_auth_signing_alg_values_supported";

/// The features that the metadata name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Offers {
    lists: BTreeMap<&'static str, Vec<String>>,
    /// True if request objects are accepted in the `request` parameter; `None` if the metadata do not say.
    pub(crate) request_parameter: Option<bool>,
    /// True if only signed requests are accepted (RFC 9101 10.5).
    pub(crate) signed_requests_demanded: bool,
    /// True if the metadata were written by the provider at all.
    pub(crate) is_published: bool,
}

impl Offers {
    /// Reads them; members of another JSON type are ignored.
    pub(crate) fn read(document: &Map<String, Value>) -> Self {
        let list = |name: &'static str| {
            let values = document.get(name)?.as_array()?.iter().filter_map(Value::as_str);
            // Names alone: they are shown at terminals and in logs.
            let is_name = |value: &&str| value.len() <= 200 && value.bytes().all(|byte| byte.is_ascii_graphic());
            Some((name, values.filter(is_name).map(str::to_owned).collect()))
        };
        Self {
            lists: LISTS.into_iter().chain([AUTH_ALGORITHMS]).filter_map(list).collect(),
            request_parameter: document.get("request_parameter_supported").and_then(Value::as_bool),
            signed_requests_demanded: document.get("require_signed_request_object").and_then(Value::as_bool)
                == Some(true),
            is_published: document.contains_key("issuer"),
        }
    }

    /// Returns the list under a name, if it has anything.
    pub(crate) fn list(&self, name: &str) -> Option<&[String]> {
        self.lists.get(name).map(Vec::as_slice).filter(|list| !list.is_empty())
    }

    /// Returns the list under a name, if it is there and does not have the value.
    pub(crate) fn without(&self, name: &str, value: &str) -> Option<&[String]> {
        self.list(name).filter(|list| !list.iter().any(|offered| offered == value))
    }

    /// Is true if the list under a name has the value.
    pub(crate) fn has(&self, name: &str, value: &str) -> bool {
        self.list(name).is_some_and(|list| list.iter().any(|offered| offered == value))
    }
}
