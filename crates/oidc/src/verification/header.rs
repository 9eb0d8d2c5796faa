//! The header of a signed JWT: the algorithm, the key's name, and the kind of token (RFC 7515 4, RFC 8725 3). Pure.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::answer::strict_json;
use crate::verification::algorithm::Algorithm;
use crate::verification::fault::JwtFault;
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
    if header.get("alg").and_then(Value::as_str) != Some(algorithm.name()) {
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
