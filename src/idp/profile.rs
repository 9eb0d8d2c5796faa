//! From claims or a profile document to an [`Identity`]: where each attribute stands, and what it must be.
//!
//! Paths are dotted (`employee.departments`). Pure. Attributes that are absent or of an unusable form are left
//! out; the subject is not: without it there is nobody. What more a provider has to be asked for is the business
//! of [`super::presets`].

use std::collections::HashSet;

use serde_json::{Map, Value};
use thiserror::Error;

use super::{IdpKind, IdpSettings};
use crate::identity::Identity;

/// Longest attribute kept, in bytes: longer ones are no names.
const LONGEST_ATTRIBUTE: usize = 512;
/// Most groups of a person: whoever has more is not signed in with some of them.
pub(super) const MOST_GROUPS: usize = 1_000;

/// Where in the claims (or the profile) each attribute stands, as dotted paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileMapping {
    /// The stable name; for OpenID Connect it is always `sub` of the ID token.
    pub subject: String,
    /// The full name; what stands at several paths is joined by spaces.
    pub name: Vec<String>,
    /// The name used to sign in.
    pub preferred_username: String,
    /// The e-mail address.
    pub email: String,
    /// Whether the address is verified: if the provider says anything at these paths, all must say yes.
    pub email_verified: Vec<String>,
    /// Whether the provider writes that as text, `"true"`; nobody else's text is a yes.
    pub email_verified_as_text: bool,
    /// The groups: lists of texts, or texts. What stands at several paths is put together, and lists on the way are
    /// walked.
    pub groups: Vec<String>,
}

impl Default for ProfileMapping {
    /// The standard claims (OpenID Connect Core 5.1), and `groups`.
    fn default() -> Self {
        Self {
            subject: "sub".into(),
            name: vec!["name".into()],
            preferred_username: "preferred_username".into(),
            email: "email".into(),
            email_verified: vec!["email_verified".into()],
            email_verified_as_text: false,
            groups: vec!["groups".into()],
        }
    }
}

/// Something that the ID token (or the profile) must say, or nobody is signed in: the tenant, say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequiredClaim {
    /// Where it stands, as a dotted path.
    pub path: String,
    /// What it may say, exactly; `*` is any text but an empty one.
    pub one_of: Vec<String>,
}

/// Why nobody can be made of a profile.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProfileFault {
    /// No usable subject where the configuration says.
    #[error("the profile has no usable subject at the configured path")]
    Subject,
    /// Another subject than the one that signed in.
    #[error("the answer is about another person than the one who signed in")]
    AnotherSubject,
    /// A claim that the configuration demands says something else, or nothing.
    #[error("`{0}` does not say what required_claims demands")]
    RequiredClaim(String),
    /// More groups than can be kept, or one that is no name: fewer than they are would be as wrong as none.
    #[error(
        "the groups are more than {MOST_GROUPS}, or one of them is longer than {LONGEST_ATTRIBUTE} bytes or no plain text"
    )]
    Groups,
}

/// Whether an attribute stands at none of its paths: somebody else may have to be asked.
pub(super) fn lacks_something(
    source: &Map<String, Value>,
    mapping: &ProfileMapping,
    required: &[RequiredClaim],
) -> bool {
    let says = |path: &String| at(source, path).is_some_and(|value| !value.is_null());
    let lists = [&mapping.name, &mapping.email_verified, &mapping.groups];
    let singles = [&mapping.preferred_username, &mapping.email];
    !lists.into_iter().all(|paths| paths.is_empty() || paths.iter().any(says))
        || !singles.into_iter().all(says)
        || !required.iter().all(|claim| says(&claim.path))
}

/// Whether a document says everything that is demanded of it.
pub(super) fn check_required(required: &[RequiredClaim], source: &Map<String, Value>) -> Result<(), ProfileFault> {
    let missing = required.iter().find(|claim| !claim.is_met_by(at(source, &claim.path)));
    missing.map_or(Ok(()), |claim| Err(ProfileFault::RequiredClaim(claim.path.clone())))
}

impl RequiredClaim {
    fn is_met_by(&self, said: Option<&Value>) -> bool {
        let (said, is_text) = match said {
            Some(Value::String(text)) => (text.clone(), !text.is_empty()),
            // Tenants with numbers, and answers that say `"ok": true`.
            Some(plain @ (Value::Number(_) | Value::Bool(_))) => (plain.to_string(), false),
            _ => return false,
        };
        self.one_of.iter().any(|allowed| *allowed == said || (allowed == "*" && is_text))
    }
}

/// The identity of verified claims.
pub(super) fn identity_from_claims(
    settings: &IdpSettings,
    issuer: &str,
    subject: &str,
    claims: &Map<String, Value>,
) -> Result<Identity, ProfileFault> {
    match &settings.kind {
        IdpKind::Oidc(_) => identity(settings, issuer.to_owned(), subject.to_owned(), claims),
        IdpKind::OAuth2(_) => Err(ProfileFault::Subject),
    }
}

/// The identity of a plain OAuth 2.0 provider's profile.
///
/// # Errors
/// [`ProfileFault`].
pub fn identity_from_profile(
    settings: &IdpSettings,
    issuer: &str,
    profile: &Map<String, Value>,
) -> Result<Identity, ProfileFault> {
    let subject = match at(profile, &settings.profile.subject) {
        Some(Value::String(text)) => text.clone(),
        // Many plain providers number their people.
        Some(Value::Number(number)) if number.is_u64() || number.is_i64() => number.to_string(),
        _ => return Err(ProfileFault::Subject),
    };
    if subject.is_empty() || subject.len() > LONGEST_ATTRIBUTE {
        return Err(ProfileFault::Subject);
    }
    identity(settings, issuer.to_owned(), subject, profile)
}

fn identity(
    settings: &IdpSettings,
    issuer: String,
    subject: String,
    source: &Map<String, Value>,
) -> Result<Identity, ProfileFault> {
    let mapping = &settings.profile;
    let names: Vec<_> = mapping.name.iter().filter_map(|path| text_at(source, path)).collect();
    Ok(Identity {
        idp: settings.name.clone(),
        issuer,
        subject,
        name: Some(names.join(" ")).filter(|name| is_attribute(name)),
        preferred_username: text_at(source, &mapping.preferred_username),
        email: text_at(source, &mapping.email).filter(|email| is_one_address(email)),
        email_verified: is_verified(source, mapping, settings.trust_email),
        groups: groups_at(source, &mapping.groups)?,
    })
}

/// Whether the address counts as verified: what the provider says goes before the operator's trust, and half a yes
/// is a no (R-D15).
fn is_verified(source: &Map<String, Value>, mapping: &ProfileMapping, trusted: bool) -> bool {
    let said: Vec<_> = mapping.email_verified.iter().map(|path| at(source, path)).collect();
    // A wrong JSON type is never good (R-D13), but for the providers that are known to use it.
    let says_yes =
        |said: &Value| *said == Value::Bool(true) || (mapping.email_verified_as_text && said.as_str() == Some("true"));
    if said.iter().all(Option::is_none) { trusted } else { said.into_iter().all(|said| said.is_some_and(says_yes)) }
}

/// What stands at a dotted path; names that hold dots themselves (`https://example.com/roles`, a client's) come first.
pub(super) fn at<'a>(source: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    if let Some(value) = source.get(path) {
        return Some(value);
    }
    path.rmatch_indices('.').find_map(|(dot, _)| at(source.get(&path[..dot])?.as_object()?, &path[dot + 1..]))
}

/// Removes what [`at`] finds.
pub(super) fn remove_at(source: &mut Map<String, Value>, path: &str) {
    if source.remove(path).is_some() {
        return;
    }
    let mut steps = path.rmatch_indices('.').map(|(dot, _)| (&path[..dot], &path[dot + 1..]));
    let step = steps
        .find(|(member, rest)| source.get(*member).and_then(Value::as_object).is_some_and(|it| at(it, rest).is_some()));
    if let Some((member, rest)) = step
        && let Some(members) = source.get_mut(member).and_then(Value::as_object_mut)
    {
        remove_at(members, rest);
    }
}

/// As [`at`], through lists as well: every text that stands there.
fn texts_at<'a>(source: &'a Map<String, Value>, path: &str, found: &mut Vec<&'a str>) {
    if let Some(value) = source.get(path) {
        return texts_of(value, "", found);
    }
    let step = path.rmatch_indices('.').find_map(|(dot, _)| Some((source.get(&path[..dot])?, dot)));
    if let Some((value, dot)) = step {
        texts_of(value, &path[dot + 1..], found);
    }
}

fn texts_of<'a>(value: &'a Value, path: &str, found: &mut Vec<&'a str>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| texts_of(item, path, found)),
        Value::Object(members) if !path.is_empty() => texts_at(members, path, found),
        Value::String(text) if path.is_empty() => found.push(text),
        _ => {}
    }
}

pub(super) fn text_at(source: &Map<String, Value>, path: &str) -> Option<String> {
    at(source, path).and_then(Value::as_str).filter(|text| is_attribute(text)).map(str::to_owned)
}

/// All of them, each once, or none.
fn groups_at(source: &Map<String, Value>, paths: &[String]) -> Result<Vec<String>, ProfileFault> {
    let mut found = Vec::new();
    for path in paths {
        texts_at(source, path, &mut found);
    }
    let mut seen = HashSet::new();
    let groups: Vec<_> = found.into_iter().filter(|text| !text.is_empty() && seen.insert(*text)).collect();
    if groups.len() > MOST_GROUPS || !groups.iter().all(|group| is_attribute(group)) {
        return Err(ProfileFault::Groups);
    }
    Ok(groups.into_iter().map(str::to_owned).collect())
}

fn is_attribute(text: &str) -> bool {
    !text.is_empty() && text.len() <= LONGEST_ATTRIBUTE && !text.chars().any(char::is_control)
}

/// One `@` with something on both sides: several have passed domain rules elsewhere (R-I08).
fn is_one_address(email: &str) -> bool {
    let parts = email.split('@').collect::<Vec<_>>();
    matches!(parts.as_slice(), [local, domain] if !local.is_empty() && !domain.is_empty())
        && !email.contains(char::is_whitespace)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn source(value: &Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn dotted_paths_reach_into_objects_and_whole_names_win() {
        let profile =
            source(&json!({ "employee": { "id": 7 }, "https://example.com/roles": ["a"], "a.b": 1, "a": { "b": 2 } }));
        assert_eq!(at(&profile, "employee.id"), Some(&json!(7)));
        assert_eq!(at(&profile, "https://example.com/roles"), Some(&json!(["a"])));
        assert_eq!(at(&profile, "a.b"), Some(&json!(1)));
        assert_eq!(at(&profile, "employee.id.x"), None);
        assert_eq!(at(&profile, "nobody"), None);
    }

    fn paths(paths: &[&str]) -> Vec<String> {
        paths.iter().map(|path| (*path).to_owned()).collect()
    }

    /// R-I08: exact lists; addresses with several `@` are none.
    #[test]
    fn groups_are_whole_texts_and_addresses_have_one_at() {
        let profile =
            source(&json!({ "many": ["staff", 7, "", "a,b"], "one": "staff finance", "bad": { "staff": true } }));
        assert_eq!(groups_at(&profile, &paths(&["many"])).unwrap(), ["staff", "a,b"]);
        assert_eq!(groups_at(&profile, &paths(&["one"])).unwrap(), ["staff finance"]);
        assert!(groups_at(&profile, &paths(&["bad"])).unwrap().is_empty());
        assert!(is_one_address("alice@example.com"));
        for address in ["alice", "@example.com", "a@b@example.com", "a@", "a b@example.com"] {
            assert!(!is_one_address(address), "{address}");
        }
    }

    /// R-I08: what stands at several paths and in lists is put together, each group once, nothing else with it.
    #[test]
    fn groups_of_several_paths_are_put_together_and_lists_on_the_way_are_walked() {
        let profile = source(&json!({
            "groups": ["staff"],
            "realm_access": { "roles": ["staff", "reviewer"] },
            "resource_access": { "back.office": { "roles": ["approver"] }, "account": { "roles": ["manage-account"] } },
            "organizations": [{ "orgUnits": [{ "id": "u-1" }, { "id": "u-2" }] }, { "orgUnits": [{ "id": 3 }] }, 7],
        }));
        let everywhere = paths(&["groups", "realm_access.roles", "resource_access.back.office.roles", "nobody.roles"]);
        assert_eq!(groups_at(&profile, &everywhere).unwrap(), ["staff", "reviewer", "approver"]);
        assert_eq!(groups_at(&profile, &paths(&["organizations.orgUnits.id"])).unwrap(), ["u-1", "u-2"]);
    }

    /// R-I08: all groups or nobody.
    #[test]
    fn nobody_has_fewer_groups_than_they_have() {
        let numbered = |count: usize| (0..count).map(|index| format!("g-{index}")).collect::<Vec<_>>();
        let groups = |said: Vec<String>| groups_at(&source(&json!({ "groups": said })), &paths(&["groups", "groups"]));
        assert_eq!(groups(numbered(MOST_GROUPS)).unwrap().len(), MOST_GROUPS);
        for said in [numbered(MOST_GROUPS + 1), vec!["x".repeat(LONGEST_ATTRIBUTE + 1)], vec!["a\nb".into()]] {
            assert_eq!(groups(said), Err(ProfileFault::Groups));
        }
    }

    /// R-D15, R-D13: one line a case: what the provider says, whether the operator trusts it anyway, the verdict.
    #[test]
    fn an_address_is_verified_only_if_everything_that_is_said_of_it_says_so() {
        let mut mapping =
            ProfileMapping { email_verified: paths(&["is_valid", "is_verified"]), ..ProfileMapping::default() };
        let as_text = source(&json!({ "is_valid": "true", "is_verified": true }));
        assert!(!is_verified(&as_text, &mapping, true));
        mapping.email_verified_as_text = true;
        assert!(is_verified(&as_text, &mapping, false));
        for (said, trusted, verified) in [
            (json!({ "is_valid": true, "is_verified": true }), false, true),
            (json!({ "is_valid": "TRUE", "is_verified": true }), true, false),
            (json!({ "is_valid": false, "is_verified": true }), true, false),
            (json!({ "is_valid": true }), true, false),
            (json!({ "is_valid": true, "is_verified": null }), true, false),
            (json!({ "is_valid": 1, "is_verified": "yes" }), true, false),
            (json!({}), true, true),
            (json!({}), false, false),
        ] {
            assert_eq!(is_verified(&source(&said), &mapping, trusted), verified, "{said}");
        }
    }

    /// R-I08: exactly one of the values; absence, lists and objects are never good enough.
    #[test]
    fn required_claims_are_met_exactly_or_not_at_all() {
        let required = |one_of: &[&str]| [RequiredClaim { path: "a.b".into(), one_of: paths(one_of) }];
        for (said, one_of, met) in [
            (json!({ "a": { "b": "example.com" } }), vec!["example.org", "example.com"], true),
            (json!({ "a": { "b": "00" } }), vec!["00"], true),
            (json!({ "a": { "b": 7 } }), vec!["7"], true),
            (json!({ "a": { "b": true } }), vec!["true"], true),
            (json!({ "a": { "b": "anything" } }), vec!["*"], true),
            (json!({ "a": { "b": "" } }), vec!["*"], false),
            (json!({ "a": {} }), vec!["*"], false),
            (json!({ "a": { "b": false } }), vec!["*"], false),
            (json!({ "a": { "b": 0 } }), vec!["*"], false),
            (json!({ "a": { "b": null } }), vec!["null"], false),
            (json!({ "a": { "b": ["example.com"] } }), vec!["example.com"], false),
            (json!({ "a": { "b": "EXAMPLE.com" } }), vec!["example.com"], false),
            (json!({ "a": { "b": "sub.example.com" } }), vec!["example.com"], false),
        ] {
            assert_eq!(check_required(&required(&one_of), &source(&said)).is_ok(), met, "{said} {one_of:?}");
        }
    }
}
