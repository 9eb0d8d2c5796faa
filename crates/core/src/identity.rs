//! A person, as the identity provider describes them.
//!
//! An [`Identity`] is made by `counterfoil-oidc` after every check of the protocol has passed, kept in the session record
//! by `session`, and read by `guard` and `proxy`. Its key is the pair of issuer and subject (OpenID Connect
//! Core 5.7); an e-mail address is an attribute, never a key.

use serde::{Deserialize, Serialize};

/// The name of the provider of people whom an application knows by itself.
const OF_THE_APPLICATION: &str = "application";

/// A person as one identity provider describes them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The configured name of the provider (`company` in `[idp.company]`).
    pub idp: String,
    /// The provider's issuer identifier; for a plain OAuth 2.0 provider its authorization endpoint.
    pub issuer: String,
    /// The provider's stable name for this person.
    pub subject: String,
    /// Full name, to be shown.
    pub name: Option<String>,
    /// The name the person signs in with, to be shown.
    pub preferred_username: Option<String>,
    /// E-mail address as the provider gave it; see [`Identity::verified_email`] before relying on it.
    pub email: Option<String>,
    /// True if the provider (or, for providers that never say, the operator) vouches for the address.
    pub email_verified: bool,
    /// Groups or roles, compared exactly.
    pub groups: Vec<String>,
}

impl Identity {
    /// A person whom an application knows by itself: `issuer` names the application, `subject` the person, for good.
    pub fn new(issuer: impl Into<String>, subject: impl Into<String>) -> Self {
        Self {
            idp: OF_THE_APPLICATION.to_owned(),
            issuer: issuer.into(),
            subject: subject.into(),
            name: None,
            preferred_username: None,
            email: None,
            email_verified: false,
            groups: Vec::new(),
        }
    }

    /// A person for a test, whose name is all there is to them.
    pub fn named(name: &str) -> Self {
        Self::new("https://issuer.example.test", name).with_name(name)
    }

    /// The same person with a full name, to be shown.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The same person with an e-mail address that the application has verified.
    #[must_use]
    pub fn with_verified_email(mut self, email: impl Into<String>) -> Self {
        (self.email, self.email_verified) = (Some(email.into()), true);
        self
    }

    /// The same person in these groups.
    #[must_use]
    pub fn with_groups(mut self, groups: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.groups = groups.into_iter().map(Into::into).collect();
        self
    }

    /// Returns the e-mail address if it is vouched for. Access rules and upstreams see nothing else.
    pub fn verified_email(&self) -> Option<&str> {
        self.email.as_deref().filter(|_| self.email_verified)
    }

    /// Returns the name to show for the person: the name, else the user name, else the subject.
    pub fn display_name(&self) -> &str {
        self.name.as_deref().or(self.preferred_username.as_deref()).unwrap_or(&self.subject)
    }
}
