//! From claims or a profile document to an [`Identity`]: where each attribute stands, and what it must be.
//!
//! Paths are dotted (`employee.departments`). Pure. Attributes that are absent or of an unusable form are left
//! out; the subject is not: without it there is nobody. What more a provider has to be asked for is the business
//! of `providers`.

mod address;
mod groups;

use counterfoil_core::identity::Identity;
use serde_json::{Map, Value};
use thiserror::Error;

use self::address::is_address;
use self::groups::groups_at;
use crate::provider::settings::IdpKind;
use crate::provider::settings::IdpSettings;

pub use self::groups::GroupsAs;
pub(crate) use self::groups::dropped_groups;

/// Longest attribute kept, in bytes: longer ones are no names.
const LONGEST_ATTRIBUTE: usize = 512;
/// Most groups of a person: whoever has more is not signed in with some of them.
pub(crate) const MOST_GROUPS: usize = 1_000;

/// The place of each attribute in the claims (or the profile), as dotted paths.
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
    /// Paths that say if the address is verified: if the provider says anything there, all must say yes.
    pub email_verified: Vec<String>,
    /// True if the provider writes that as text, `"true"`; nobody else's text is a yes.
    pub email_verified_as_text: bool,
    /// The groups: lists of texts, or texts. What stands at several paths is put together, and lists on the way are
    /// walked.
    pub groups: Vec<String>,
    /// Form in which the groups are written there.
    pub groups_as: GroupsAs,
}

impl Default for ProfileMapping {
    /// Returns the standard claims (OpenID Connect Core 5.1), and `groups`.
    fn default() -> Self {
        Self {
            subject: "sub".into(),
            name: vec!["name".into()],
            preferred_username: "preferred_username".into(),
            email: "email".into(),
            email_verified: vec!["email_verified".into()],
            email_verified_as_text: false,
            groups: vec!["groups".into()],
            groups_as: GroupsAs::default(),
        }
    }
}

/// Something that the ID token with userinfo (or the profile) must say, or nobody is signed in: the tenant, say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequiredClaim {
    /// Its place, as a dotted path.
    pub path: String,
    /// Values that it may have, exactly; `*` is any text but an empty one.
    pub one_of: Vec<String>,
}

/// The reason why nobody can be made of a profile.
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

/// Is true if an attribute stands at none of its paths: somebody else may have to be asked.
pub(crate) fn lacks_something(
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

/// Checks that a document says everything that is demanded of it.
pub(crate) fn check_required(required: &[RequiredClaim], source: &Map<String, Value>) -> Result<(), ProfileFault> {
    let missing = required.iter().find(|claim| !claim.is_met_by(at(source, &claim.path)));
    missing.map_or(Ok(()), |claim| Err(ProfileFault::RequiredClaim(claim.path.clone())))
}

/// Checks that a document says nothing else than what is demanded. What userinfo adds to an ID token may meet a demand,
/// but not talk away what the ID token says: only that is sure to be signed.
pub(crate) fn check_uncontradicted(
    required: &[RequiredClaim],
    source: &Map<String, Value>,
) -> Result<(), ProfileFault> {
    let contradicted = required.iter().find(|claim| {
        let said = at(source, &claim.path);
        said.is_some() && !claim.is_met_by(said)
    });
    contradicted.map_or(Ok(()), |claim| Err(ProfileFault::RequiredClaim(claim.path.clone())))
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

/// Makes an identity of verified claims.
pub(crate) fn identity_from_claims(
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

/// Makes an identity of a plain OAuth 2.0 provider's profile.
///
/// # Errors
/// [`ProfileFault`].
pub fn identity_from_profile(
    settings: &IdpSettings,
    issuer: &str,
    profile: &Map<String, Value>,
) -> Result<Identity, ProfileFault> {
    let subject = subject_at(profile, &settings.profile.subject)?;
    identity(settings, issuer.to_owned(), subject, profile)
}

fn subject_at(profile: &Map<String, Value>, path: &str) -> Result<String, ProfileFault> {
    let subject = match at(profile, path) {
        Some(Value::String(text)) => text.clone(),
        // Many plain providers number their people.
        Some(Value::Number(number)) if number.is_u64() || number.is_i64() => number.to_string(),
        _ => return Err(ProfileFault::Subject),
    };
    if is_attribute(&subject) { Ok(subject) } else { Err(ProfileFault::Subject) }
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
        email: text_at(source, &mapping.email).filter(|email| is_address(email)),
        email_verified: is_verified(source, mapping, settings.trust_email),
        groups: groups_at(source, mapping)?,
    })
}

/// Is true if the address counts as verified: what the provider says goes before the operator's trust, and half a yes
/// is a no (R-D15).
fn is_verified(source: &Map<String, Value>, mapping: &ProfileMapping, trusted: bool) -> bool {
    let said: Vec<_> = mapping.email_verified.iter().map(|path| at(source, path)).collect();
    // A wrong JSON type is never good (R-D13), but for the providers that are known to use it.
    let says_yes =
        |said: &Value| *said == Value::Bool(true) || (mapping.email_verified_as_text && said.as_str() == Some("true"));
    if said.iter().all(Option::is_none) { trusted } else { said.into_iter().all(|said| said.is_some_and(says_yes)) }
}

/// Returns the value at a dotted path; names that hold dots (`https://example.com/roles`, a client's) come first.
/// `null` is nothing (Core 5.3.2).
pub(crate) fn at<'a>(source: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    if let Some(value) = source.get(path).filter(|value| !value.is_null()) {
        return Some(value);
    }
    path.rmatch_indices('.').find_map(|(dot, _)| at(source.get(&path[..dot])?.as_object()?, &path[dot + 1..]))
}

/// Removes what [`at`] finds.
pub(crate) fn remove_at(source: &mut Map<String, Value>, path: &str) {
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

pub(crate) fn text_at(source: &Map<String, Value>, path: &str) -> Option<String> {
    at(source, path).and_then(Value::as_str).filter(|text| is_attribute(text)).map(str::to_owned)
}

fn is_attribute(text: &str) -> bool {
    !text.is_empty() && text.len() <= LONGEST_ATTRIBUTE && !text.chars().any(char::is_control)
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
            (json!({ "is_valid": null, "is_verified": null }), true, true),
            (json!({ "is_valid": null }), false, false),
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

    /// R-I08: one line a case: what is demanded of `hd`, what the ID token says, what is said with userinfo, the verdict.
    #[test]
    fn required_claims_are_met_by_both_together_and_not_talked_away() {
        let required = [RequiredClaim { path: "hd".into(), one_of: paths(&["example.com"]) }];
        for (id_token, merged, met) in [
            (json!({}), json!({ "hd": "example.com" }), true),
            (json!({ "hd": null }), json!({ "hd": "example.com" }), true),
            (json!({ "hd": "example.com" }), json!({ "hd": "example.com" }), true),
            (json!({ "hd": "evil.example" }), json!({ "hd": "example.com" }), false),
            (json!({ "hd": ["example.com"] }), json!({ "hd": "example.com" }), false),
            (json!({ "hd": "example.com" }), json!({ "hd": "evil.example" }), false),
            (json!({}), json!({}), false),
            (json!({}), json!({ "hd": null }), false),
        ] {
            let verdict = check_uncontradicted(&required, &source(&id_token))
                .and_then(|()| check_required(&required, &source(&merged)));
            assert_eq!(verdict.is_ok(), met, "{id_token} {merged}");
        }
    }

    /// A name on two lines gets into headers and logs; an ID token's is refused as well.
    #[test]
    fn a_subject_of_a_profile_is_a_name() {
        for (id, is_name) in [
            (json!("e-7"), true),
            (json!(7), true),
            (json!(-7), true),
            (json!("7\r\nX-Auth-Request-User: root"), false),
            (json!("7\u{0}"), false),
            (json!("7\u{85}"), false),
            (json!(""), false),
            (json!(7.5), false),
            (json!(null), false),
            (json!(["7"]), false),
        ] {
            assert_eq!(subject_at(&source(&json!({ "id": id })), "id").is_ok(), is_name, "{id}");
        }
    }
}
