//! Makes an [`Identity`] of claims or a profile document: the place and the form of each attribute.
//!
//! Paths are dotted (`employee.departments`). Pure. Attributes that are absent or of an unusable form are left out; the
//! subject is not: without it there is no identity. Further requests to a provider belong to `providers`.

use counterfoil_core::identity::Identity;
use serde_json::{Map, Value};

use crate::claims::attributes::{at, is_attribute, text_at};
use crate::claims::email_address::is_address;
use crate::claims::groups::groups_at;
use crate::claims::mapping::{ProfileFault, ProfileMapping, RequiredClaim};
use crate::claims::settings::ClaimSettings;

/// Is true if an attribute is at none of its paths, so that another source may have to be asked.
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

/// Checks that a document does not contradict the required claims. Userinfo may add a required claim, but not replace
/// that of the ID token, which alone is certain to be signed.
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

/// Makes an identity of verified claims, whose subject is that of the ID token.
///
/// # Errors
/// [`ProfileFault`].
pub(crate) fn identity_from_claims(
    idp: &str,
    settings: &ClaimSettings,
    (issuer, subject): (&str, &str),
    claims: &Map<String, Value>,
) -> Result<Identity, ProfileFault> {
    identity(idp, settings, issuer.to_owned(), subject.to_owned(), claims)
}

/// Makes an identity of a plain OAuth 2.0 provider's profile.
///
/// # Errors
/// [`ProfileFault`].
pub fn identity_from_profile(
    idp: &str,
    settings: &ClaimSettings,
    issuer: &str,
    profile: &Map<String, Value>,
) -> Result<Identity, ProfileFault> {
    let subject = subject_at(profile, &settings.mapping.subject)?;
    identity(idp, settings, issuer.to_owned(), subject, profile)
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
    idp: &str,
    settings: &ClaimSettings,
    issuer: String,
    subject: String,
    source: &Map<String, Value>,
) -> Result<Identity, ProfileFault> {
    let mapping = &settings.mapping;
    let names: Vec<_> = mapping.name.iter().filter_map(|path| text_at(source, path)).collect();
    Ok(Identity {
        idp: idp.to_owned(),
        issuer,
        subject,
        name: Some(names.join(" ")).filter(|name| is_attribute(name)),
        preferred_username: text_at(source, &mapping.preferred_username),
        email: text_at(source, &mapping.email).filter(|email| is_address(email)),
        email_verified: is_verified(source, mapping, settings.trust_email),
        groups: groups_at(source, mapping)?,
    })
}

/// Is true if the address counts as verified. The provider's claim overrides the operator's trust, and of several
/// claims all must be true (R-D15).
fn is_verified(source: &Map<String, Value>, mapping: &ProfileMapping, trusted: bool) -> bool {
    let said: Vec<_> = mapping.email_verified.iter().map(|path| at(source, path)).collect();
    // A wrong JSON type never counts as true (R-D13), except for the providers that are known to use it.
    let says_yes =
        |said: &Value| *said == Value::Bool(true) || (mapping.email_verified_as_text && said.as_str() == Some("true"));
    if said.iter().all(Option::is_none) { trusted } else { said.into_iter().all(|said| said.is_some_and(says_yes)) }
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
