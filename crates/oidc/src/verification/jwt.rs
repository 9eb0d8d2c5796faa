//! Signed JWTs of a provider: is one signed the configured way, and by the provider? (RFC 7515, RFC 8725)
//!
//! Two steps, both pure: [`read_header`], then [`verify_signature`], which checks the bytes before it reads what they
//! say. What the claims must say depends on what the token is for: [`crate::claims::id_token`] and its neighbours check that, by
//! what they share in `claims`.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};
use thiserror::Error;

use crate::answer::provider_words::harmless;
use crate::answer::strict_json;
use crate::verification::jwks::KeySet;
use crate::verification::registered_claims::optional_text;

/// Largest token that is looked at, in bytes.
pub(crate) const LARGEST_TOKEN: usize = 64 * 1024;

/// A token's purpose; decides which `typ` it may carry, so that none passes for another (RFC 8725 3.11, R-D14).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JwtUse {
    /// An ID token, or signed userinfo: `JWT` or nothing.
    Claims,
    /// A logout token: `logout+jwt`, and `JWT` or nothing unless the type is demanded (Back-Channel Logout 2.4).
    LogoutToken {
        /// Set if `logout+jwt` is demanded.
        typ_required: bool,
    },
    /// A security event token: `secevent+jwt` (RFC 8417 2.3).
    SecurityEvent,
    /// An answer to the browser (JARM), which has no type of its own: `JWT` or nothing.
    AuthorizationAnswer,
    /// An access token: `at+jwt` (RFC 9068 2.1), and `JWT` or nothing, as Keycloak has it.
    AccessToken,
}

impl JwtUse {
    fn accepts(self, declared: Option<&str>) -> bool {
        // RFC 7515 4.1.9: without a slash it is short for a media type.
        let short = |declared: &str| match declared.split_at_checked("application/".len()) {
            Some((first, rest)) if first.eq_ignore_ascii_case("application/") => rest.to_ascii_lowercase(),
            _ => declared.to_ascii_lowercase(),
        };
        match (self, declared.map(short).as_deref()) {
            (
                Self::Claims
                | Self::AuthorizationAnswer
                | Self::AccessToken
                | Self::LogoutToken { typ_required: false },
                None | Some("jwt"),
            )
            | (Self::LogoutToken { .. }, Some("logout+jwt"))
            | (Self::AccessToken, Some("at+jwt"))
            | (Self::SecurityEvent, Some("secevent+jwt")) => true,
            (
                Self::Claims
                | Self::AuthorizationAnswer
                | Self::AccessToken
                | Self::LogoutToken { .. }
                | Self::SecurityEvent,
                _,
            ) => false,
        }
    }
}

/// The reason why a token was not accepted. Never shows the token's content, but for its issuer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
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

/// A token's header about its own signature, after it was found acceptable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedHeader {
    pub(crate) kid: Option<String>,
    pub(crate) algorithm: Algorithm,
}

/// Reads a token's header and refuses what is not signed with the configured algorithm (R-D02), demands
/// extensions (R-D04) or is another kind of token (R-D14).
///
/// # Errors
/// [`JwtFault`].
pub fn read_header(token: &str, algorithm: Algorithm, wanted: JwtUse) -> Result<SignedHeader, JwtFault> {
    if token.len() > LARGEST_TOKEN || token.split('.').count() != 3 {
        return Err(JwtFault::Malformed);
    }
    let header = token.split('.').next().unwrap_or_default();
    let header = URL_SAFE_NO_PAD.decode(header).map_err(|_| JwtFault::Malformed)?;
    let header = strict_json::object(&header).map_err(|_| JwtFault::Malformed)?;
    if header.get("alg").and_then(Value::as_str) != Some(&crate::verification::jwks::name(algorithm)) {
        return Err(JwtFault::Algorithm);
    }
    if ["crit", "zip", "enc", "b64"].iter().any(|name| header.contains_key(*name)) {
        return Err(JwtFault::Critical);
    }
    let declared_type = optional_text(&header, "typ", JwtFault::Type)?;
    if !wanted.accepts(declared_type) {
        return Err(JwtFault::Type);
    }
    let kid = optional_text(&header, "kid", JwtFault::Malformed)?.map(str::to_owned);
    Ok(SignedHeader { kid, algorithm })
}

/// Checks the signature against the keys that may have made it, and returns the payload (R-D01). Of several `tenants`
/// each may have keys of its own (R-D06).
///
/// # Errors
/// [`JwtFault::UnknownKey`] if no key may have made it, [`JwtFault::Signature`] if none did, and
/// [`JwtFault::MalformedClaims`] if one did but what it signed cannot be read; [`JwtFault::Claim`] if it may not sign for
/// the issuer that is named.
pub fn verify_signature(
    token: &str,
    header: &SignedHeader,
    keys: &KeySet,
    tenants: &[String],
) -> Result<Map<String, Value>, JwtFault> {
    if !keys.has(header) {
        return Err(JwtFault::UnknownKey);
    }
    let (message, signature) = token.rsplit_once('.').ok_or(JwtFault::Malformed)?;
    let mut made_by = keys.candidates(header).filter(|key| key.made(signature, message, header.algorithm)).peekable();
    made_by.peek().ok_or(JwtFault::Signature)?;
    let payload = signed_claims(message).map_err(|_| JwtFault::MalformedClaims)?;
    if made_by.any(|key| key.may_speak_for(&payload, tenants)) { Ok(payload) } else { Err(JwtFault::Claim("iss")) }
}

/// Reads the payload of a token that was verified when it came and was sealed from then on.
pub(crate) fn payload_of_verified(token: &str) -> Result<Map<String, Value>, JwtFault> {
    let (message, _) = token.rsplit_once('.').ok_or(JwtFault::Malformed)?;
    signed_claims(message)
}

/// Reads the claims out of a header and a payload.
fn signed_claims(message: &str) -> Result<Map<String, Value>, JwtFault> {
    let (_, payload) = message.split_once('.').ok_or(JwtFault::Malformed)?;
    let payload = URL_SAFE_NO_PAD.decode(payload).map_err(|_| JwtFault::Malformed)?;
    strict_json::object(&payload).map_err(|_| JwtFault::Malformed)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn token_with(header: &Value) -> String {
        format!("{}.e30.c2ln", URL_SAFE_NO_PAD.encode(header.to_string()))
    }

    /// R-D02, R-D04, R-D14, R-D16
    #[test]
    fn headers_of_other_tokens_and_algorithms_are_refused() {
        for (fault, header) in [
            (JwtFault::Algorithm, json!({ "alg": "none" })),
            (JwtFault::Algorithm, json!({ "alg": "HS256" })),
            (JwtFault::Algorithm, json!({ "alg": "rs256" })),
            (JwtFault::Algorithm, json!({ "alg": "ES256" })),
            (JwtFault::Algorithm, json!({})),
            (JwtFault::Type, json!({ "alg": "RS256", "typ": "at+jwt" })),
            (JwtFault::Type, json!({ "alg": "RS256", "typ": "logout+jwt" })),
            (JwtFault::Type, json!({ "alg": "RS256", "typ": 1 })),
            (JwtFault::Critical, json!({ "alg": "RS256", "crit": ["b64"] })),
            (JwtFault::Critical, json!({ "alg": "RS256", "zip": "DEF" })),
            (JwtFault::Critical, json!({ "alg": "RS256", "crit": null })),
            (JwtFault::Malformed, json!({ "alg": "RS256", "kid": 1 })),
        ] {
            assert_eq!(read_header(&token_with(&header), Algorithm::RS256, JwtUse::Claims), Err(fault), "{header}");
        }
        let twice = |header: &str| format!("{}.e30.c2ln", URL_SAFE_NO_PAD.encode(header));
        let repeated = read_header(&twice(r#"{"alg":"RS256","alg":"RS256"}"#), Algorithm::RS256, JwtUse::Claims);
        assert!(repeated.is_ok(), "RFC 7515 4: equal duplicates count once");
        let torn = twice(r#"{"alg":"HS256","alg":"RS256"}"#);
        assert_eq!(read_header(&torn, Algorithm::RS256, JwtUse::Claims), Err(JwtFault::Malformed));
        for token in ["", "a.b", "a.b.c.d.e", "!.e30.", &format!("{}.a.b", "x".repeat(LARGEST_TOKEN))] {
            assert_eq!(read_header(token, Algorithm::RS256, JwtUse::Claims), Err(JwtFault::Malformed));
        }
        for (wanted, accepted, refused) in [
            (JwtUse::Claims, &[Some("JWT"), Some("jwt"), None][..], &[Some("logout+jwt"), Some("at+jwt")][..]),
            (
                JwtUse::LogoutToken { typ_required: false },
                &[Some("logout+jwt"), Some("application/Logout+JWT"), Some("JWT"), None],
                &[Some("at+jwt"), Some("secevent+jwt"), Some("oauth-authz-req+jwt"), Some("")],
            ),
            (JwtUse::LogoutToken { typ_required: true }, &[Some("logout+jwt")], &[Some("JWT"), None, Some("at+jwt")]),
            (JwtUse::SecurityEvent, &[Some("secevent+jwt")], &[Some("JWT"), None, Some("logout+jwt")]),
        ] {
            assert!(accepted.iter().all(|declared| wanted.accepts(*declared)), "{wanted:?}");
            assert!(!refused.iter().any(|declared| wanted.accepts(*declared)), "{wanted:?}");
        }
        assert!(
            read_header(
                &token_with(&json!({ "alg": "RS256", "typ": "jwt", "jku": "x" })),
                Algorithm::RS256,
                JwtUse::Claims
            )
            .is_ok()
        );
    }
}
