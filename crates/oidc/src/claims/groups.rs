//! Reads a person's groups from claims or a profile: lists of texts, texts, and the other forms that providers write.
//!
//! Pure. The reading fails unless all groups can be read: a rule that is met by too few groups would be wrong.

use std::collections::HashSet;

use serde_json::{Map, Value};

use crate::claims::attributes::is_attribute;
use crate::claims::mapping::{GroupsAs, ProfileFault, ProfileMapping};
use crate::providers::api::MOST_GROUPS;

/// Returns all groups, each once, or fails.
pub(crate) fn groups_at(source: &Map<String, Value>, mapping: &ProfileMapping) -> Result<Vec<String>, ProfileFault> {
    let mut found = Vec::new();
    for path in &mapping.groups {
        leaves_at(source, path, &mut |leaf| collect(leaf, mapping.groups_as, &mut found));
    }
    let mut seen = HashSet::new();
    found.retain(|text| !text.is_empty() && seen.insert(text.clone()));
    if found.len() > MOST_GROUPS || !found.iter().all(|group| is_attribute(group)) {
        return Err(ProfileFault::Groups);
    }
    Ok(found)
}

/// Returns the path at which groups stand in a form that is not read, and the setting that would read it.
pub(crate) fn dropped_groups<'a>(
    source: &Map<String, Value>,
    mapping: &'a ProfileMapping,
) -> Option<(&'a str, &'static str)> {
    mapping.groups.iter().find_map(|path| {
        let mut why = None;
        leaves_at(source, path, &mut |leaf| why = why.or(reason(leaf, mapping.groups_as)));
        why.map(|why| (path.as_str(), why))
    })
}

fn reason(leaf: &Value, written: GroupsAs) -> Option<&'static str> {
    match (leaf, written) {
        (Value::Object(members), GroupsAs::Values) if !members.is_empty() => {
            Some("an object stands there, whose keys count with profile.groups_as = \"keys\"")
        }
        (Value::String(text), GroupsAs::Values | GroupsAs::Keys) if inside(text).is_some() => {
            Some("a text holds JSON there, which is read with profile.groups_as = \"json\"")
        }
        (Value::Number(_) | Value::Bool(_), _) => Some("what stands there is neither a text nor a list of texts"),
        _ => None,
    }
}

fn collect(leaf: &Value, written: GroupsAs, found: &mut Vec<String>) {
    match (leaf, written) {
        (Value::Object(members), GroupsAs::Keys | GroupsAs::Json) => {
            let is_said = |value: &Value| !matches!(value, Value::Null | Value::Bool(false));
            found.extend(members.iter().filter(|(_, value)| is_said(value)).map(|(name, _)| name.clone()));
        }
        (Value::String(text), GroupsAs::Json) => match inside(text) {
            // JSON in a text is parsed once: a text inside of it stays a text.
            Some(value) => leaves_of(&value, "", &mut |leaf| collect(leaf, GroupsAs::Keys, found)),
            None => found.push(text.clone()),
        },
        (Value::String(text), _) => found.push(text.clone()),
        _ => {}
    }
}

/// Returns the list or the object that a text holds.
fn inside(text: &str) -> Option<Value> {
    let text = text.trim_start();
    // Other JSON is not parsed: a group may be called `7` or `true`.
    let value = text.starts_with(['[', '{']).then(|| serde_json::from_str(text).ok())??;
    matches!(value, Value::Array(_) | Value::Object(_)).then_some(value)
}

/// Visits every value at a path that is not a list, as [`crate::claims::attributes::at`] does, and through lists as
/// well.
fn leaves_at(source: &Map<String, Value>, path: &str, visit: &mut dyn FnMut(&Value)) {
    if let Some(value) = source.get(path) {
        return leaves_of(value, "", visit);
    }
    let step = path.rmatch_indices('.').find_map(|(dot, _)| Some((source.get(&path[..dot])?, dot)));
    if let Some((value, dot)) = step {
        leaves_of(value, &path[dot + 1..], visit);
    }
}

fn leaves_of(value: &Value, path: &str, visit: &mut dyn FnMut(&Value)) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| leaves_of(item, path, visit)),
        Value::Object(members) if !path.is_empty() => leaves_at(members, path, visit),
        leaf if path.is_empty() => visit(leaf),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::claims::attributes::LONGEST_ATTRIBUTE;

    fn groups(source: &Value, paths: &[&str], groups_as: GroupsAs) -> Result<Vec<String>, ProfileFault> {
        let paths = paths.iter().map(|path| (*path).to_owned()).collect();
        let mapping = ProfileMapping { groups: paths, groups_as, ..ProfileMapping::default() };
        groups_at(source.as_object().unwrap(), &mapping)
    }

    /// R-I08: exact lists.
    #[test]
    fn groups_are_whole_texts() {
        let profile = json!({ "many": ["staff", 7, "", "a,b"], "one": "staff finance", "bad": { "staff": true } });
        let groups = |path| groups(&profile, &[path], GroupsAs::Values).unwrap();
        assert_eq!(groups("many"), ["staff", "a,b"]);
        assert_eq!(groups("one"), ["staff finance"]);
        assert!(groups("bad").is_empty());
    }

    /// R-I08: what stands at several paths and in lists is put together, each group once, nothing else with it.
    #[test]
    fn groups_of_several_paths_are_put_together_and_lists_on_the_way_are_walked() {
        let profile = json!({
            "groups": ["staff"],
            "realm_access": { "roles": ["staff", "reviewer"] },
            "resource_access": { "back.office": { "roles": ["approver"] }, "account": { "roles": ["manage-account"] } },
            "organizations": [{ "orgUnits": [{ "id": "u-1" }, { "id": "u-2" }] }, { "orgUnits": [{ "id": 3 }] }, 7],
        });
        let everywhere = ["groups", "realm_access.roles", "resource_access.back.office.roles", "nobody.roles"];
        let groups = |paths: &[&str]| groups(&profile, paths, GroupsAs::Values).unwrap();
        assert_eq!(groups(&everywhere), ["staff", "reviewer", "approver"]);
        assert_eq!(groups(&["organizations.orgUnits.id"]), ["u-1", "u-2"]);
    }

    /// R-I08: all groups or nobody.
    #[test]
    fn nobody_has_fewer_groups_than_they_have() {
        let numbered = |count: usize| (0..count).map(|index| format!("g-{index}")).collect::<Vec<_>>();
        let groups = |said: Vec<String>| groups(&json!({ "groups": said }), &["groups", "groups"], GroupsAs::Values);
        assert_eq!(groups(numbered(MOST_GROUPS)).unwrap().len(), MOST_GROUPS);
        for said in [numbered(MOST_GROUPS + 1), vec!["x".repeat(LONGEST_ATTRIBUTE + 1)], vec!["a\nb".into()]] {
            assert_eq!(groups(said), Err(ProfileFault::Groups));
        }
    }

    /// One line a case: what stands there, what is read of it in each of the three ways. The first is Zitadel's, the
    /// rest was found by writing groups in every JSON type, in lists, in objects and in texts.
    #[test]
    fn groups_are_read_in_the_form_that_the_configuration_names() {
        for (said, values, keys, json) in [
            (json!({ "admin": { "2077": "acme.example" }, "ops": {} }), "", "admin ops", "admin ops"),
            (json!({ "admin": true, "ops": false, "old": null }), "", "admin", "admin"),
            (json!([{ "admin": 1 }, { "ops": "yes" }]), "", "admin ops", "admin ops"),
            (json!(["staff", { "admin": 1 }]), "staff", "staff admin", "staff admin"),
            (json!(["staff", "ops"]), "staff ops", "staff ops", "staff ops"),
            (json!(r#"["staff","ops"]"#), r#"["staff","ops"]"#, r#"["staff","ops"]"#, "staff ops"),
            (json!([r#"["staff"]"#, "ops"]), r#"["staff"] ops"#, r#"["staff"] ops"#, "staff ops"),
            (
                json!(r#"{"admin":true,"ops":false}"#),
                r#"{"admin":true,"ops":false}"#,
                r#"{"admin":true,"ops":false}"#,
                "admin",
            ),
            (json!(r#"["[\"root\"]"]"#), r#"["[\"root\"]"]"#, r#"["[\"root\"]"]"#, r#"["root"]"#),
            (json!("[staff"), "[staff", "[staff", "[staff"),
            (json!("7"), "7", "7", "7"),
            (json!(7), "", "", ""),
            (json!(null), "", "", ""),
        ] {
            for (written, expected) in [(GroupsAs::Values, values), (GroupsAs::Keys, keys), (GroupsAs::Json, json)] {
                let read = groups(&json!({ "groups": said }), &["groups"], written).unwrap();
                assert_eq!(read.join(" "), expected, "{said} {written:?}");
            }
        }
    }

    /// One line a case: what stands there, and whether somebody has to be told, in each of the three ways.
    #[test]
    fn groups_that_are_left_out_are_named_with_the_key_that_reads_them() {
        for (said, told) in [
            (json!({ "admin": {} }), ["\"keys\"", "", ""]),
            (json!(["staff", { "admin": {} }]), ["\"keys\"", "", ""]),
            (json!(r#"["staff"]"#), ["\"json\"", "\"json\"", ""]),
            (json!([7]), ["neither", "neither", "neither"]),
            (json!(["staff"]), ["", "", ""]),
            (json!([]), ["", "", ""]),
            (json!({}), ["", "", ""]),
            (json!(null), ["", "", ""]),
        ] {
            for (groups_as, told) in [GroupsAs::Values, GroupsAs::Keys, GroupsAs::Json].into_iter().zip(told) {
                let mapping = ProfileMapping { groups_as, ..ProfileMapping::default() };
                let source = json!({ "groups": said });
                let dropped = dropped_groups(source.as_object().unwrap(), &mapping);
                assert_eq!(dropped.is_some(), !told.is_empty(), "{said} {groups_as:?}");
                assert!(dropped.is_none_or(|(path, why)| path == "groups" && why.contains(told)), "{said}");
            }
        }
    }
}
