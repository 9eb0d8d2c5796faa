//! Microsoft Entra ID: groups beyond the limit of an ID token, and the tenant of a token.
//!
//! With more than two hundred groups the ID token holds a reference instead of the list (`_claim_names`, `hasgroups`).
//! The list is then fetched from Microsoft Graph, at the configured address: the one in the reference is ignored. The
//! subject stays `sub`: it is unique for this application, an administrator of another tenant cannot obtain it, and
//! every kind of token carries it; `oid` is the same in all applications and has to be read together with `tid`.

use serde_json::{Map, Value};

use crate::providers::api::{Api, MOST_GROUPS, ProfileApiError, text};
use crate::providers::list::{List, Next};

const GROUPS: &str = "Microsoft Graph's groups";
/// Memberships of all kinds, in the largest pages that Graph allows.
const MEMBERSHIPS: List = List {
    what: GROUPS,
    path: "me/transitiveMemberOf",
    first: "$select=id&$top=999",
    items: "/value",
    next: Next::Member("@odata.nextLink"),
    most_pages: 5,
};

/// Adds `groups` if the token only refers to them, and reads every form in which `xms_edov` is written.
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
    use crate::providers::api::recorded::{answer, object};

    const RECORDED: &str = include_str!("../../tests/recorded/entra.json");

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
