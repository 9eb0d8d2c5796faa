//! GitHub: which addresses are verified, which organisations and teams somebody is a member of.
//!
//! The profile's own `email` is chosen freely by its owner, and is ignored.

use serde_json::{Map, Value};

use crate::providers::api::{Api, ProfileApiError, set_address, text};
use crate::providers::list::{List, MOST_PAGES, Next};

const ADDRESSES: &str = "GitHub's e-mail addresses";
const ORGANISATIONS: &str = "GitHub's organisations";
const TEAMS: &str = "GitHub's teams";

/// Adds `email`, `email_verified` and `groups`: `acme` for an organisation, `acme/platform` for a team in it.
pub(crate) async fn complete(api: Api<'_>, profile: &mut Map<String, Value>) -> Result<(), ProfileApiError> {
    if api.was_asked_for(&["user:email", "user"]) {
        let addresses = api.all(list(ADDRESSES, "user/emails")).await?;
        set_address(ADDRESSES, profile, &addresses, ["primary", "verified"])?;
    } else {
        profile.remove("email");
    }
    if api.was_asked_for(&["read:org", "write:org", "admin:org"]) {
        let organisations = api.all(list(ORGANISATIONS, "user/orgs")).await?;
        let teams = api.all(list(TEAMS, "user/teams")).await?;
        profile.insert("groups".into(), groups(&organisations, &teams)?);
    }
    Ok(())
}

/// Describes a list: a page may be short although another one follows, and the header says which is the last.
const fn list(what: &'static str, path: &'static str) -> List {
    List { what, path, first: "per_page=100", items: "", next: Next::LinkHeader, most_pages: MOST_PAGES }
}

fn groups(organisations: &[Value], teams: &[Value]) -> Result<Value, ProfileApiError> {
    let mut groups = Vec::new();
    for organisation in organisations {
        groups.push(text(ORGANISATIONS, organisation, "/login")?.to_owned());
    }
    for team in teams {
        // The slug is unique within the organisation, the name is not.
        groups.push(format!("{}/{}", text(TEAMS, team, "/organization/login")?, text(TEAMS, team, "/slug")?));
    }
    Ok(groups.into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::providers::api::recorded::{answer, object};

    const RECORDED: &str = include_str!("../../tests/recorded/github.json");

    /// R-I08: names as GitHub keeps them unique.
    #[test]
    fn organisations_and_teams_become_groups_by_their_unique_names() {
        let (organisations, teams) = (answer(RECORDED, "/user/orgs"), answer(RECORDED, "/user/teams"));
        let groups = groups(organisations.as_array().unwrap(), teams.as_array().unwrap()).unwrap();
        assert_eq!(groups, json!(["acme", "acme/platform"]));
        for broken in [json!([{ "slug": "platform" }]), json!([{ "slug": 7, "organization": { "login": "acme" } }])] {
            assert!(super::groups(&[], broken.as_array().unwrap()).is_err(), "{broken}");
        }
    }

    /// R-D15: the published address is no proof; the primary one counts if it is verified.
    #[test]
    fn only_the_primary_address_counts_and_only_if_it_is_verified() {
        let mut profile = object(RECORDED, "/user");
        let addresses = answer(RECORDED, "/user/emails");
        let addresses = addresses.as_array().unwrap();
        set_address(ADDRESSES, &mut profile, addresses, ["primary", "verified"]).unwrap();
        assert_eq!((&profile["email"], &profile["email_verified"]), (&json!("alice@example.com"), &json!(true)));
        let unverified = [json!({ "email": "alice@example.com", "primary": true, "verified": false })];
        set_address(ADDRESSES, &mut profile, &unverified, ["primary", "verified"]).unwrap();
        assert_eq!((profile.get("email"), &profile["email_verified"]), (None, &json!(false)));
    }
}
