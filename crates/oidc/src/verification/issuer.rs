//! The issuers of a provider: one, or one for each tenant of an application in several (Microsoft Entra ID). Pure.

use serde_json::{Map, Value};

use crate::verification::fault::JwtFault;
use crate::verification::registered_claims::text;

/// Placeholder for the tenant in the issuer of an application in several tenants.
pub const ANY_TENANT: &str = "{tenantid}";

/// Placeholder for all tenants in addresses.
const ALL_TENANTS: &str = "organizations";
/// The issuers whose tokens are accepted from a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IssuerPattern {
    /// One, compared byte for byte.
    One(String),
    /// One for each allowed tenant.
    PerTenant {
        /// The issuer, in which [`ANY_TENANT`] stands for the tenant.
        template: String,
        /// The allowed tenants.
        tenants: Vec<String>,
    },
}

impl IssuerPattern {
    /// Makes the pattern of an issuer; without tenants it is the only one.
    pub fn new(issuer: String, tenants: Vec<String>) -> Self {
        if tenants.is_empty() { Self::One(issuer) } else { Self::PerTenant { template: issuer, tenants } }
    }

    /// Returns the issuer as it is configured: that of several tenants with [`ANY_TENANT`] in it.
    pub fn configured(&self) -> &str {
        match self {
            Self::One(issuer) | Self::PerTenant { template: issuer, .. } => issuer,
        }
    }

    /// Returns the one issuer, if there is but one.
    pub fn only(&self) -> Option<&str> {
        match self {
            Self::One(issuer) => Some(issuer),
            Self::PerTenant { .. } => None,
        }
    }

    /// Is true if an issuer is the configured one, or that of an allowed tenant.
    pub fn accepts(&self, issuer: &str) -> bool {
        match self {
            Self::One(only) => only == issuer,
            Self::PerTenant { template, tenants } => tenants.iter().any(|tenant| of_tenant(template, tenant) == issuer),
        }
    }

    /// Returns every issuer.
    pub(crate) fn all(&self) -> Vec<String> {
        match self {
            Self::One(issuer) => vec![issuer.clone()],
            Self::PerTenant { template, tenants } => tenants.iter().map(|tenant| of_tenant(template, tenant)).collect(),
        }
    }

    /// Returns the issuer that a token with these claims must name: that of its tenant (`tid`), where there are several.
    ///
    /// # Errors
    /// [`JwtFault::Claim`] if the token is from another tenant, or says of none.
    pub(crate) fn of_token(&self, payload: &Map<String, Value>) -> Result<String, JwtFault> {
        match self {
            Self::One(issuer) => Ok(issuer.clone()),
            Self::PerTenant { template, tenants } => {
                let tenant = text(payload, "tid")?;
                if !tenants.iter().any(|allowed| allowed == tenant) {
                    return Err(JwtFault::Claim("tid"));
                }
                Ok(of_tenant(template, tenant))
            }
        }
    }

    /// Returns the pattern of another issuer with the same tenants.
    pub(crate) fn with_issuer(&self, issuer: &str) -> Self {
        match self {
            Self::One(_) => Self::One(issuer.to_owned()),
            Self::PerTenant { tenants, .. } => {
                Self::PerTenant { template: issuer.to_owned(), tenants: tenants.clone() }
            }
        }
    }

    /// Is true if a key that is published for `own` issuer may sign for the one that a token names. Of several tenants
    /// each may have keys of its own (R-D06).
    pub(crate) fn lets_sign(&self, own: &str, named: Option<&str>) -> bool {
        match self {
            Self::One(_) => true,
            Self::PerTenant { .. } => named.is_some_and(|named| self.with_issuer(own).accepts(named)),
        }
    }

    /// Returns the address under which the metadata are published: of several tenants, under the name of all.
    pub(crate) fn published_under(&self) -> String {
        self.configured().replace(ANY_TENANT, ALL_TENANTS)
    }
}

fn of_tenant(template: &str, tenant: &str) -> String {
    template.replace(ANY_TENANT, tenant)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_allowed_tenants_have_an_issuer_and_each_its_own() {
        let template = "https://login.microsoftonline.com/{tenantid}/v2.0";
        let tenants = ["11111111-1111-1111-1111-111111111111".to_owned()];
        let several = IssuerPattern::new(template.to_owned(), tenants.to_vec());
        let one = IssuerPattern::new("https://idp.example.test".to_owned(), Vec::new());
        let said = |value: Value| json!({ "tid": value }).as_object().unwrap().clone();
        let ours = several.of_token(&said(json!(tenants[0]))).unwrap();
        assert_eq!(ours, "https://login.microsoftonline.com/11111111-1111-1111-1111-111111111111/v2.0");
        assert_eq!(several.all(), std::slice::from_ref(&ours));
        for other in [json!("22222222-2222-2222-2222-222222222222"), json!(""), json!(null), json!([tenants[0]])] {
            assert!(several.of_token(&said(other.clone())).is_err(), "{other}");
        }
        assert!(several.of_token(&Map::new()).is_err());
        assert!(several.accepts(&ours) && one.accepts("https://idp.example.test"));
        for other in [template, &ours.replace('1', "2"), &ours.replace("https", "http"), ""] {
            assert!(!several.accepts(other) && !one.accepts(other), "{other}");
        }
        assert_eq!(one.of_token(&Map::new()).unwrap(), "https://idp.example.test");
        assert_eq!((one.only(), several.only()), (Some("https://idp.example.test"), None));
        assert_eq!(several.published_under(), "https://login.microsoftonline.com/organizations/v2.0");
    }

    /// R-D06: one line a case: the issuer that a key is published for, the issuer that a token names.
    #[test]
    fn a_key_of_one_tenant_signs_for_no_other() {
        let several =
            IssuerPattern::new("https://idp.test/{tenantid}".to_owned(), vec!["a".to_owned(), "b".to_owned()]);
        for (own, named, may) in [
            ("https://idp.test/{tenantid}", Some("https://idp.test/a"), true),
            ("https://idp.test/a", Some("https://idp.test/a"), true),
            ("https://idp.test/a", Some("https://idp.test/b"), false),
            ("https://idp.test/{tenantid}", Some("https://idp.test/c"), false),
            ("https://idp.test/{tenantid}", None, false),
        ] {
            assert_eq!(several.lets_sign(own, named), may, "{own} {named:?}");
        }
        assert!(IssuerPattern::new("https://idp.test".to_owned(), Vec::new()).lets_sign("https://other.test", None));
    }
}
