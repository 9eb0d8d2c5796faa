//! Bitbucket Cloud: which address is confirmed, which workspaces somebody is a member of.

use serde_json::{Map, Value};

use crate::providers::api::{Api, ProfileApiError, set_address, text};
use crate::providers::list::{List, MOST_PAGES, Next};

const ADDRESSES: &str = "Bitbucket's e-mail addresses";
const WORKSPACES: &str = "Bitbucket's workspaces";

/// Adds `email`, `email_verified`, and the workspaces' short names as `groups`.
pub(crate) async fn complete(api: Api<'_>, profile: &mut Map<String, Value>) -> Result<(), ProfileApiError> {
    if api.was_asked_for(&["email"]) {
        let addresses = api.all(list(ADDRESSES, "user/emails")).await?;
        set_address(ADDRESSES, profile, &addresses, ["is_primary", "is_confirmed"])?;
    }
    if api.was_asked_for(&["account", "account:write"]) {
        let workspaces = api.all(list(WORKSPACES, "user/workspaces")).await?;
        profile.insert("groups".into(), groups(&workspaces)?);
    }
    Ok(())
}

/// Describes a list; Bitbucket's `next` link is opaque, so its query is used as it is.
const fn list(what: &'static str, path: &'static str) -> List {
    List { what, path, first: "pagelen=100", items: "/values", next: Next::Member("next"), most_pages: MOST_PAGES }
}

fn groups(workspaces: &[Value]) -> Result<Value, ProfileApiError> {
    let slugs = workspaces.iter().map(|access| text(WORKSPACES, access, "/workspace/slug").map(Value::from));
    slugs.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::providers::api::recorded::{answer, object};

    const RECORDED: &str = include_str!("../../tests/recorded/bitbucket.json");

    /// R-D15, R-I08
    #[test]
    fn the_confirmed_address_and_the_workspaces_are_taken() {
        let values = |path: &str| answer(RECORDED, path)["values"].as_array().unwrap().clone();
        assert_eq!(groups(&values("/user/workspaces")).unwrap(), json!(["acme", "acme-labs"]));
        assert!(groups(&[json!({ "slug": "acme" })]).is_err());
        let mut profile = object(RECORDED, "/user");
        let marks = ["is_primary", "is_confirmed"];
        set_address(ADDRESSES, &mut profile, &values("/user/emails"), marks).unwrap();
        assert_eq!((&profile["email"], &profile["email_verified"]), (&json!("alice@example.com"), &json!(true)));
        let unconfirmed = [json!({ "email": "a@example.com", "is_primary": true, "is_confirmed": false })];
        set_address(ADDRESSES, &mut profile, &unconfirmed, marks).unwrap();
        assert_eq!((profile.get("email"), &profile["email_verified"]), (None, &json!(false)));
    }
}
