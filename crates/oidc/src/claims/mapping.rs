//! The places of a person's attributes in the claims or the profile, and what else these must say. Pure.

use serde_json::Value;
use thiserror::Error;

use crate::claims::attributes::LONGEST_ATTRIBUTE;
use crate::providers::api::MOST_GROUPS;

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
    /// Paths of `email_verified`: every one that is present must be true.
    pub email_verified: Vec<String>,
    /// True if the provider writes that as the text `"true"`; otherwise a text is not accepted.
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

/// A claim that the ID token with userinfo (or the profile) must have for a login to succeed: the tenant, for example.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequiredClaim {
    /// Its place, as a dotted path.
    pub path: String,
    /// Values that it may have, exactly; `*` is any text but an empty one.
    pub one_of: Vec<String>,
}

/// The form in which groups are written (`profile.groups_as`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GroupsAs {
    /// Lists of texts, or texts.
    #[default]
    Values,
    /// The same, and where an object stands its keys, but for those whose value is `null` or `false`.
    Keys,
    /// The same as keys, and where a text holds a JSON list or object what that holds.
    Json,
}

/// The reason why no identity can be made of a profile.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProfileFault {
    /// No usable subject where the configuration says.
    #[error("the profile has no usable subject at the configured path")]
    Subject,
    /// Another subject than the one that signed in.
    #[error("the answer is about another person than the one who signed in")]
    AnotherSubject,
    /// A claim that the configuration demands has another value, or is missing.
    #[error("`{0}` does not say what required_claims demands")]
    RequiredClaim(String),
    /// More groups than can be kept, or one that is no name. Signing the person in with fewer would be wrong.
    #[error(
        "the groups are more than {MOST_GROUPS}, or one of them is longer than {LONGEST_ATTRIBUTE} bytes or no plain text"
    )]
    Groups,
}

impl RequiredClaim {
    /// Is true if the value at its path is one that is demanded.
    pub(crate) fn is_met_by(&self, said: Option<&Value>) -> bool {
        let (said, is_text) = match said {
            Some(Value::String(text)) => (text.clone(), !text.is_empty()),
            // Tenants with numbers, and answers that say `"ok": true`.
            Some(plain @ (Value::Number(_) | Value::Bool(_))) => (plain.to_string(), false),
            _ => return false,
        };
        self.one_of.iter().any(|allowed| *allowed == said || (allowed == "*" && is_text))
    }
}
