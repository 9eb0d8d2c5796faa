//! Signed answers to the browser: JWT Secured Authorization Response Mode (JARM).
//!
//! Pure. [`peek_state`] reads the `state` before anything is verified, only to find out which login is meant; [`check`]
//! judges the claims after the signature was verified. Only the signed parameters count.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use time::{Duration, OffsetDateTime};

use crate::answer::provider_words::ProviderWords;
use crate::answer::reason::Spoken;
use crate::answer::strict_json;
use crate::login::authorization::AuthorizationAnswer;
use crate::verification::fault::JwtFault;
use crate::verification::header::LARGEST_TOKEN;
use crate::verification::issuer::IssuerPattern;
use crate::verification::registered_claims::{self, check_audience, has, optional_text, text};

/// The values that such an answer must fit.
#[derive(Debug, Clone, Copy)]
pub struct Expectation<'a> {
    /// The issuers whose answers are accepted.
    pub issuers: &'a IssuerPattern,
    /// Our name at the provider.
    pub client_id: &'a str,
    /// Audiences that may stand beside it.
    pub additional_audiences: &'a [String],
    /// Tolerated error of the provider's clock.
    pub clock_skew: Duration,
}

/// Returns the `state` that a signed answer claims. Not verified: only for looking up a pending login.
pub fn peek_state(token: &str) -> Option<String> {
    let payload = token.split('.').nth(1).filter(|_| token.len() <= LARGEST_TOKEN)?;
    let payload = strict_json::object(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
    payload.get("state")?.as_str().map(str::to_owned)
}

/// Checks the claims of an answer whose signature was verified (JARM 2.1, 2.4).
///
/// # Errors
/// [`JwtFault`], by the claim that is missing, malformed or not what is expected.
pub fn check(
    payload: &Map<String, Value>,
    expected: &Expectation<'_>,
    now: OffsetDateTime,
) -> Result<AuthorizationAnswer, JwtFault> {
    let issuer = text(payload, "iss")?;
    if !expected.issuers.accepts(issuer) {
        return Err(JwtFault::issuer(issuer, expected.issuers.configured()));
    }
    check_audience(payload, expected.client_id, expected.additional_audiences)?;
    let times = registered_claims::check_times(payload, expected.clock_skew, now)?;
    times.expires_at.ok_or(JwtFault::Missing("exp"))?;
    if has(payload, "events") {
        return Err(JwtFault::Type);
    }
    let optional = |name: &'static str| Ok(optional_text(payload, name, JwtFault::ClaimType(name))?.map(str::to_owned));
    let (code, error) = (optional("code")?, optional("error")?);
    // A reason that is no text decides nothing.
    let lenient = |name: &str| payload.get(name).and_then(Value::as_str);
    let spoken =
        Spoken { code: error.as_deref(), description: lenient("error_description"), address: lenient("error_uri") };
    let secrets: Vec<_> = [lenient("code"), lenient("state")].into_iter().flatten().collect();
    let said = ProviderWords::of_provider(spoken, &secrets);
    let error_description = lenient("error_description").map(str::to_owned);
    Ok(AuthorizationAnswer { code, error, error_description, said, iss: optional("iss")? })
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-01-31 09:00 UTC);

    fn verdict(changes: &Value) -> Result<AuthorizationAnswer, JwtFault> {
        let now = NOW.unix_timestamp();
        let mut claims = json!({
            "iss": "https://idp.example.test", "aud": "backoffice", "exp": now + 60, "code": "c", "state": "s",
        });
        for (name, value) in changes.as_object().unwrap() {
            match value {
                Value::Null => claims.as_object_mut().unwrap().remove(name),
                value => claims.as_object_mut().unwrap().insert(name.clone(), value.clone()),
            };
        }
        let expected = Expectation {
            issuers: &IssuerPattern::One("https://idp.example.test".to_owned()),
            client_id: "backoffice",
            additional_audiences: &[],
            clock_skew: Duration::seconds(60),
        };
        check(claims.as_object().unwrap(), &expected, NOW)
    }

    #[test]
    fn honest_answers_pass_with_a_code_or_an_error() {
        assert_eq!(verdict(&json!({})).unwrap().code.as_deref(), Some("c"));
        let refusal = verdict(&json!({ "code": null, "error": "access_denied", "iat": NOW.unix_timestamp() })).unwrap();
        assert_eq!((refusal.code, refusal.error.as_deref()), (None, Some("access_denied")));
    }

    /// R-D13: one line a case.
    #[test]
    fn wrong_claims_refuse_the_answer() {
        let now = NOW.unix_timestamp();
        for (fault, changes) in [
            (JwtFault::Missing("iss"), json!({ "iss": null })),
            (
                JwtFault::issuer("https://idp.example.test/", "https://idp.example.test"),
                json!({ "iss": "https://idp.example.test/" }),
            ),
            (JwtFault::Missing("aud"), json!({ "aud": null })),
            (JwtFault::Claim("aud"), json!({ "aud": "other" })),
            (JwtFault::Claim("aud"), json!({ "aud": ["backoffice", "other"] })),
            (JwtFault::Missing("exp"), json!({ "exp": null })),
            (JwtFault::ClaimType("exp"), json!({ "exp": "9999999999" })),
            (JwtFault::Clock("exp"), json!({ "exp": now - 60 })),
            (JwtFault::Clock("nbf"), json!({ "nbf": now + 61 })),
            (JwtFault::ClaimType("iat"), json!({ "iat": "x" })),
            (JwtFault::ClaimType("code"), json!({ "code": 1 })),
            (JwtFault::ClaimType("error"), json!({ "error": ["access_denied"] })),
        ] {
            assert_eq!(verdict(&changes).map(|_| ()), Err(fault), "{changes}");
        }
    }

    #[test]
    fn a_state_is_read_from_tokens_alone() {
        let token = |payload: &str| format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(payload));
        assert_eq!(peek_state(&token(r#"{"state":"s"}"#)).as_deref(), Some("s"));
        assert_eq!(peek_state(&token(r#"{"state":"s","state":"s"}"#)).as_deref(), Some("s"), "Keycloak repeats itself");
        assert_eq!(peek_state(&token(r#"{"state":"s","state":"t"}"#)), None);
        for token in ["", ".", "a.b.c", &token("[]"), &token("{}"), &token(r#"{"state":1}"#)] {
            assert_eq!(peek_state(token), None, "{token}");
        }
    }
}
