//! The reasons why a signed token is not accepted.

use thiserror::Error;

use crate::answer::redaction::harmless;

/// The reason why a token was not accepted. Never shows the token's content, but for its issuer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum JwtFault {
    /// There is none where there has to be one (R-C05).
    #[error("there is none")]
    Absent,
    /// Too large, not a signed JWT, or its header is unreadable.
    #[error("it is not a signed JWT")]
    Malformed,
    /// Signed with another algorithm than configured.
    #[error("it is not signed with the configured algorithm")]
    Algorithm,
    /// It is another kind of token than is wanted here.
    #[error("it is another kind of token")]
    Type,
    /// It demands an extension or an encoding that is not understood.
    #[error("its header demands what is not understood")]
    Critical,
    /// The provider publishes no keys.
    #[error("the provider publishes no keys")]
    NoKeys,
    /// No published key fits it.
    #[error("the provider publishes no key that fits it")]
    UnknownKey,
    /// The signature is not the provider's.
    #[error("its signature is not valid")]
    Signature,
    /// The signature is the provider's, but what it signed is no JSON object, or gives one name two values.
    #[error("its claims are malformed: they are no JSON object, or one of them has two different values")]
    MalformedClaims,
    /// A claim that has to be there is not.
    #[error("its claim `{0}` is missing")]
    Missing(&'static str),
    /// A claim is of another JSON type than the standard gives it.
    #[error("its claim `{0}` is not of the type that the standard gives it")]
    ClaimType(&'static str),
    /// A claim says something else than it must.
    #[error("its claim `{0}` is wrong")]
    Claim(&'static str),
    /// It is another issuer's.
    #[error("its issuer is `{}`, not `{}`", .0.found, .0.expected)]
    Issuer(Box<OtherIssuer>),
    /// Its times do not fit ours.
    #[error("its claim `{0}` does not fit this machine's clock")]
    Clock(&'static str),
}

impl JwtFault {
    /// Returns the claim at fault: missing, of another type, or wrong; not times that do not fit our clock.
    pub fn claim(&self) -> Option<&'static str> {
        match self {
            Self::Missing(claim) | Self::ClaimType(claim) | Self::Claim(claim) => Some(claim),
            Self::Issuer(_) => Some("iss"),
            _ => None,
        }
    }

    /// Makes the fault of a token of another issuer.
    pub(crate) fn issuer(found: &str, expected: &str) -> Self {
        let found = harmless(&found.chars().take(LONGEST_ISSUER).collect::<String>());
        Self::Issuer(Box::new(OtherIssuer { found, expected: expected.to_owned() }))
    }
}

/// Two issuers that should be one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherIssuer {
    found: String,
    expected: String,
}

/// As much of a foreign issuer as is shown, in characters.
const LONGEST_ISSUER: usize = 256;
