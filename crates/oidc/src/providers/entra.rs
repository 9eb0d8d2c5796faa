//! Microsoft Entra ID: groups that were too many for the ID token, and which tenant a token is from.
//!
//! With more than two hundred groups the ID token holds a reference instead of the list (`_claim_names`, `hasgroups`).
//! The list is then had from Microsoft Graph, at the configured address: the one in the reference is not looked at. The
//! subject stays `sub`: it is unique for this application and cannot be had by an administrator of another tenant, and
//! tokens of every kind carry it; `oid` is the same in all applications and has to be read together with `tid`.

use serde_json::{Map, Value};

use crate::providers::list::{List, Next};
use crate::providers::{ANY_TENANT, Api, MOST_GROUPS, ProfileApiError, text};
use crate::verification::jwt::JwtFault;
use crate::verification::registered_claims;

const GROUPS: &str = "Microsoft Graph's groups";
/// Placeholder for all tenants in addresses.
const ALL_TENANTS: &str = "organizations";
/// Memberships of all kinds, in the largest pages that there are.
const MEMBERSHIPS: List = List {
    what: GROUPS,
    path: "me/transitiveMemberOf",
    first: "$select=id&$top=999",
    items: "/value",
    next: Next::Member("@odata.nextLink"),
    most_pages: 5,
};

/// Returns the address under which an issuer's metadata is published: of several tenants, under the name of all.
pub(crate) fn published_under(issuer: &str) -> String {
    issuer.replace(ANY_TENANT, ALL_TENANTS)
}

/// Is true if an issuer is the configured one, or that of an allowed tenant. Pure.
pub(crate) fn is_issuer(issuer: &str, tenants: &[String], said: &str) -> bool {
    if tenants.is_empty() {
        return issuer == said;
    }
    issuers(issuer, tenants).iter().any(|issuer| issuer == said)
}

/// Returns the issuers there are: the configured one, or one for each allowed tenant. Pure.
pub(crate) fn issuers(issuer: &str, tenants: &[String]) -> Vec<String> {
    if tenants.is_empty() {
        return vec![issuer.to_owned()];
    }
    tenants.iter().map(|tenant| issuer.replace(ANY_TENANT, tenant)).collect()
}

/// Returns the issuer that a token from one of the allowed tenants must name. Pure.
///
/// # Errors
/// [`JwtFault::Claim`] if the token is from another tenant, or says of none.
pub(crate) fn issuer_of(issuer: &str, tenants: &[String], payload: &Map<String, Value>) -> Result<String, JwtFault> {
    if tenants.is_empty() {
        return Ok(issuer.to_owned());
    }
    let tenant = registered_claims::text(payload, "tid")?;
    if !tenants.iter().any(|allowed| allowed == tenant) {
        return Err(JwtFault::Claim("tid"));
    }
    Ok(issuer.replace(ANY_TENANT, tenant))
}

/// Adds `groups` if the token only refers to them, and makes one truth of the ways `xms_edov` is written in.
pub(crate) async fn complete(api: Api<'_>, claims: &mut Map<String, Value>) -> Result<(), ProfileApiError> {
    if let Some(said) = claims.get_mut("xms_edov") {
        // A text, a number or a truth value, by the account's kind.
        *said = Value::Bool([Value::from(true), 1.into(), "1".into(), "true".into()].contains(said));
    }
    if has_overage(claims) {
        let groups = memberships(api).await?;
        claims.insert("groups".into(), groups.into());
    }
    Ok(())
}

fn has_overage(claims: &Map<String, Value>) -> bool {
    let referred_to = claims.get("_claim_names").is_some_and(|names| names.get("groups").is_some());
    let said = claims.get("hasgroups").is_some_and(|said| *said == Value::Bool(true) || *said == "true");
    !claims.contains_key("groups") && (referred_to || said)
}

async fn memberships(api: Api<'_>) -> Result<Vec<String>, ProfileApiError> {
    let groups = group_ids(&api.all(MEMBERSHIPS).await?)?;
    if groups.len() > MOST_GROUPS { Err(ProfileApiError::TooMany(GROUPS)) } else { Ok(groups) }
}

/// Picks the groups: directory roles and administrative units are memberships too, but no groups.
fn group_ids(items: &[Value]) -> Result<Vec<String>, ProfileApiError> {
    let groups = items.iter().filter(|item| item.get("@odata.type") == Some(&"#microsoft.graph.group".into()));
    groups.map(|group| text(GROUPS, group, "/id").map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::providers::recorded::{answer, object};

    const RECORDED: &str = include_str!("../../tests/recorded/entra.json");

    #[test]
    fn only_allowed_tenants_have_an_issuer_and_each_its_own() {
        let template = "https://login.microsoftonline.com/{tenantid}/v2.0";
        let tenants = ["11111111-1111-1111-1111-111111111111".to_owned()];
        let said = |value: Value| json!({ "tid": value }).as_object().unwrap().clone();
        let ours = issuer_of(template, &tenants, &said(json!(tenants[0]))).unwrap();
        assert_eq!(ours, "https://login.microsoftonline.com/11111111-1111-1111-1111-111111111111/v2.0");
        for other in [json!("22222222-2222-2222-2222-222222222222"), json!(""), json!(null), json!([tenants[0]])] {
            assert!(issuer_of(template, &tenants, &said(other.clone())).is_err(), "{other}");
        }
        assert!(issuer_of(template, &tenants, &Map::new()).is_err());
        assert!(
            is_issuer(template, &tenants, &ours)
                && is_issuer("https://idp.example.test", &[], "https://idp.example.test")
        );
        for other in [template, &ours.replace('1', "2"), &ours.replace("https", "http"), ""] {
            assert!(
                !is_issuer(template, &tenants, other) && !is_issuer("https://idp.example.test", &[], other),
                "{other}"
            );
        }
        assert_eq!(issuer_of("https://idp.example.test", &[], &Map::new()).unwrap(), "https://idp.example.test");
    }

    #[test]
    fn a_reference_to_groups_is_told_from_groups_and_from_none() {
        for (claims, overage) in [
            (object(RECORDED, "id_token"), false),
            (object(RECORDED, "id_token_overage"), true),
            (json!({ "hasgroups": true }).as_object().unwrap().clone(), true),
            (json!({ "_claim_names": { "roles": "src1" } }).as_object().unwrap().clone(), false),
            (Map::new(), false),
        ] {
            assert_eq!(has_overage(&claims), overage, "{claims:?}");
        }
    }

    #[test]
    fn groups_are_told_from_roles() {
        let page = answer(RECORDED, "/me/transitiveMemberOf");
        let ids = group_ids(page["value"].as_array().unwrap()).unwrap();
        assert_eq!(ids, ["6d2a7d5e-0000-4000-8000-000000000001", "6d2a7d5e-0000-4000-8000-000000000002"]);
        assert!(group_ids(&[json!({ "@odata.type": "#microsoft.graph.group" })]).is_err());
    }
}
