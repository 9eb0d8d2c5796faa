//! One login: its demands on the provider, and what is remembered of it between authorization request and callback.
//!
//! RFC 6749 4.1.1, RFC 7636, OpenID Connect Core 3.1.2.1. Pure but for the random generator.

use std::fmt;

use counterfoil_core::secret::{Secret, random_token, serialize_exposed};
use serde::{Deserialize, Serialize};

/// The demands of a particular login on the provider.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoginOptions {
    /// The oldest authentication that is accepted, in seconds.
    pub max_age: Option<u64>,
    /// Set if the person has to authenticate now, whatever session lives at the provider.
    pub fresh: bool,
    /// Ways to authenticate (`acr`), one of which it has to be; empty: any.
    pub acr_values: Vec<String>,
    /// The `login_hint`: a guess at the person who signs in, acceptable in form.
    pub login_hint: Option<String>,
    /// The language our pages have for this browser.
    pub language: Option<&'static str>,
    /// The text behind the random part of `state`: opaque to everybody else, of the characters of RFC 6749 A.5.
    pub state_carries: Option<String>,
}

/// A login attempt, remembered between the authorization request and the callback.
#[derive(Clone, Serialize, Deserialize)]
pub struct Attempt {
    /// Binds the answer to this request: 256 random bits, and the way back that the login adds.
    pub state: String,
    /// Binds the ID token to this request: 256 random bits.
    pub nonce: String,
    /// Proves at the token endpoint that we made the request (RFC 7636): 256 random bits.
    #[serde(serialize_with = "serialize_exposed")]
    pub verifier: Secret<String>,
    /// The oldest authentication that was asked for, in seconds.
    pub max_age: Option<u64>,
    /// Set if a fresh one was asked for.
    #[serde(default)]
    pub fresh: bool,
    /// Ways to authenticate that were asked for, one of which it has to be; empty: any.
    #[serde(default)]
    pub acr_values: Vec<String>,
}

impl Attempt {
    /// Makes the secrets of a new login, and notes its demands on the authentication's age and class (`acr`).
    pub(crate) fn new(options: &LoginOptions, (max_age, acr_values): (Option<u64>, Vec<String>)) -> Self {
        let carried = options.state_carries.as_ref().map_or_else(String::new, |carried| format!(".{carried}"));
        Self {
            state: random_token::<32>() + &carried,
            nonce: random_token::<32>(),
            verifier: Secret::new(random_token::<32>()),
            max_age,
            fresh: options.fresh,
            acr_values,
        }
    }

    /// Is true if somebody authenticated in one of the ways that were asked for. A provider need not comply (Core
    /// 5.5.1.1), so another `acr` does not make the answer invalid.
    pub fn is_met_by(&self, acr: Option<&str>) -> bool {
        self.acr_values.is_empty() || acr.is_some_and(|acr| self.acr_values.iter().any(|wanted| wanted == acr))
    }
}

impl fmt::Debug for Attempt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Attempt").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R-A13: one line a case.
    #[test]
    fn ways_to_authenticate_are_compared_as_they_are_written() {
        let wanted = ["urn:example:mfa".to_owned(), "urn:example:key".to_owned()];
        for (acr, is_met) in [
            (Some("urn:example:key"), true),
            (Some("urn:example:mfa"), true),
            (Some("urn:example:password"), false),
            (Some("urn:example:MFA"), false),
            (Some("urn:example:mfa urn:example:key"), false),
            (Some("0"), false),
            (Some(""), false),
            (None, false),
        ] {
            let attempt = |acr_values: &[String]| Attempt {
                state: "s".into(),
                nonce: "n".into(),
                verifier: Secret::new("v".into()),
                max_age: None,
                fresh: false,
                acr_values: acr_values.to_vec(),
            };
            assert_eq!(attempt(&wanted).is_met_by(acr), is_met, "{acr:?}");
            assert!(attempt(&[]).is_met_by(acr), "{acr:?}");
        }
    }
}
