//! From claims or a profile document to an [`Identity`]: where each attribute stands, and what it must be.
//!
//! Paths are dotted (`employee.departments`). Pure. Attributes that are absent or of an unusable form are left
//! out; the subject is not: without it there is nobody.

use serde_json::{Map, Value};
use thiserror::Error;

use super::{IdpKind, IdpSettings};
use crate::identity::Identity;

/// Longest attribute kept, in bytes: longer ones are no names.
const LONGEST_ATTRIBUTE: usize = 512;
/// Most groups kept.
const MOST_GROUPS: usize = 1_000;

/// Where in the claims (or the profile) each attribute stands, as dotted paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileMapping {
    /// The stable name; for OpenID Connect it is always `sub` of the ID token.
    pub subject: String,
    /// The full name.
    pub name: String,
    /// The name used to sign in.
    pub preferred_username: String,
    /// The e-mail address.
    pub email: String,
    /// Whether the address is verified.
    pub email_verified: String,
    /// The groups: a list of texts, or one text.
    pub groups: String,
}

impl Default for ProfileMapping {
    /// The standard claims (OpenID Connect Core 5.1), and `groups`.
    fn default() -> Self {
        Self {
            subject: "sub".into(),
            name: "name".into(),
            preferred_username: "preferred_username".into(),
            email: "email".into(),
            email_verified: "email_verified".into(),
            groups: "groups".into(),
        }
    }
}

/// Why nobody can be made of a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ProfileFault {
    /// No usable subject where the configuration says.
    #[error("the profile has no usable subject at the configured path")]
    Subject,
    /// Another subject than the one that signed in.
    #[error("the answer is about another person than the one who signed in")]
    AnotherSubject,
}

/// The identity of verified claims.
pub(super) fn identity_from_claims(
    settings: &IdpSettings,
    subject: &str,
    claims: &Map<String, Value>,
) -> Result<Identity, ProfileFault> {
    let IdpKind::Oidc(oidc) = &settings.kind else { return Err(ProfileFault::Subject) };
    Ok(identity(settings, oidc.issuer.clone(), subject.to_owned(), claims))
}

/// The identity of a plain OAuth 2.0 provider's profile.
pub(super) fn identity_from_profile(
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
    Ok(identity(settings, issuer.to_owned(), subject, profile))
}

fn identity(settings: &IdpSettings, issuer: String, subject: String, source: &Map<String, Value>) -> Identity {
    let mapping = &settings.profile;
    let verified = match at(source, &mapping.email_verified) {
        Some(said) => *said == Value::Bool(true),
        None => settings.trust_email,
    };
    Identity {
        idp: settings.name.clone(),
        issuer,
        subject,
        name: text_at(source, &mapping.name),
        preferred_username: text_at(source, &mapping.preferred_username),
        email: text_at(source, &mapping.email).filter(|email| is_one_address(email)),
        email_verified: verified,
        groups: groups_at(source, &mapping.groups),
    }
}

/// What stands at a dotted path; a claim whose own name holds dots (`https://example.com/roles`) comes first.
fn at<'a>(source: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    if let Some(value) = source.get(path) {
        return Some(value);
    }
    let (first, rest) = path.split_once('.')?;
    at(source.get(first)?.as_object()?, rest)
}

fn text_at(source: &Map<String, Value>, path: &str) -> Option<String> {
    at(source, path).and_then(Value::as_str).filter(|text| is_attribute(text)).map(str::to_owned)
}

fn groups_at(source: &Map<String, Value>, path: &str) -> Vec<String> {
    let listed = match at(source, path) {
        Some(Value::Array(values)) => values.as_slice(),
        Some(single @ Value::String(_)) => std::slice::from_ref(single),
        _ => &[],
    };
    let texts = listed.iter().filter_map(Value::as_str).filter(|text| is_attribute(text));
    texts.take(MOST_GROUPS).map(str::to_owned).collect()
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

    /// R-I08: exact lists; addresses with several `@` are none.
    #[test]
    fn groups_are_whole_texts_and_addresses_have_one_at() {
        let profile =
            source(&json!({ "many": ["staff", 7, "", "a,b"], "one": "staff finance", "bad": { "staff": true } }));
        assert_eq!(groups_at(&profile, "many"), ["staff", "a,b"]);
        assert_eq!(groups_at(&profile, "one"), ["staff finance"]);
        assert!(groups_at(&profile, "bad").is_empty());
        assert!(is_one_address("alice@example.com"));
        for address in ["alice", "@example.com", "a@b@example.com", "a@", "a b@example.com"] {
            assert!(!is_one_address(address), "{address}");
        }
    }
}
