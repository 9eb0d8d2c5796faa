//! The checks of an ID token's claims (OpenID Connect Core 3.1.3.7, RFC 8725).
//!
//! Pure. [`crate::verification::jwt`] has verified the signature before; here audience, times and `nonce` are checked.
//! Only [`check`] makes [`VerifiedClaims`]. Times are judged against the caller's `now`.

use crate::verification::algorithm::Algorithm;
use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use subtle::ConstantTimeEq;
use time::{Duration, OffsetDateTime};

use crate::verification::fault::JwtFault;
use crate::verification::registered_claims::{self, check_audience, has, optional_moment, optional_text, text};

/// Greatest age of a token that was issued for the request just made: an older one means that the clocks disagree.
const OLDEST_ISSUE: Duration = Duration::minutes(5);

/// The values that an ID token's claims must fit.
#[derive(Debug)]
pub struct Expectation<'a> {
    /// The configured issuer.
    pub issuer: &'a str,
    /// Our name at the provider.
    pub client_id: &'a str,
    /// Audiences that may stand beside it.
    pub additional_audiences: &'a [String],
    /// The `nonce` that ties it to the login.
    pub nonce: ExpectedNonce<'a>,
    /// The access token that came with it, for `at_hash`.
    pub access_token: &'a str,
    /// The oldest authentication that was asked for, in seconds.
    pub max_age: Option<u64>,
    /// Set if `auth_time` is required where `max_age` was asked for.
    pub auth_time_required: bool,
    /// Tolerated clock skew of the provider.
    pub clock_skew: Duration,
    /// The configured algorithm.
    pub algorithm: Algorithm,
}

/// The `nonce` that an ID token must carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpectedNonce<'a> {
    /// The one of this login's authorization request.
    Exactly(&'a str),
    /// The one of the login's request, or none at all: a token from a refresh (Core 12.2).
    IfAny(Option<&'a str>),
}

impl ExpectedNonce<'_> {
    fn check(self, payload: &Map<String, Value>) -> Result<(), JwtFault> {
        let fault = JwtFault::Claim("nonce");
        let expected = match (self, has(payload, "nonce")) {
            (Self::IfAny(_), false) => return Ok(()),
            (Self::IfAny(None), true) => return Err(fault),
            (Self::Exactly(expected) | Self::IfAny(Some(expected)), _) => expected,
        };
        if bool::from(text(payload, "nonce")?.as_bytes().ct_eq(expected.as_bytes())) { Ok(()) } else { Err(fault) }
    }
}

/// The claims of an ID token that passed every check, now ([`check`]) or when it came (`remembered`).
#[derive(Debug, Clone)]
pub struct VerifiedClaims {
    subject: String,
    auth_time: Option<OffsetDateTime>,
    acr: Option<String>,
    session_expiry: Option<OffsetDateTime>,
    provider_session: Option<String>,
    all: Map<String, Value>,
}

impl VerifiedClaims {
    /// Reads the claims of a token that passed every check before it was sealed.
    pub(crate) fn remembered(payload: Map<String, Value>) -> Result<Self, JwtFault> {
        let subject = text(&payload, "sub")?.to_owned();
        let auth_time = optional_moment(&payload, "auth_time")?;
        let provider_session = optional_text(&payload, "sid", JwtFault::ClaimType("sid"))?.map(str::to_owned);
        let acr = optional_text(&payload, "acr", JwtFault::ClaimType("acr"))?.map(str::to_owned);
        let session_expiry = optional_moment(&payload, "session_expiry")?;
        Ok(Self { subject, auth_time, acr, session_expiry, provider_session, all: payload })
    }

    /// Returns the provider's stable name for the person (`sub`).
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Returns the time at which the person last authenticated (`auth_time`).
    pub fn auth_time(&self) -> Option<OffsetDateTime> {
        self.auth_time
    }

    /// Returns the authentication context class (`acr`).
    pub fn acr(&self) -> Option<&str> {
        self.acr.as_deref()
    }

    /// Returns the time at which the provider wants the session to be over (`session_expiry`).
    pub fn session_expiry(&self) -> Option<OffsetDateTime> {
        self.session_expiry
    }

    /// Returns the provider's name for its session (`sid`).
    pub fn provider_session(&self) -> Option<&str> {
        self.provider_session.as_deref()
    }

    /// Returns every claim.
    pub fn all(&self) -> &Map<String, Value> {
        &self.all
    }
}

/// Checks every claim of a token whose signature was verified.
///
/// # Errors
/// [`JwtFault::Claim`] and [`JwtFault::Clock`], naming the claim.
pub fn check(
    payload: Map<String, Value>,
    expected: &Expectation<'_>,
    now: OffsetDateTime,
) -> Result<VerifiedClaims, JwtFault> {
    let issuer = text(&payload, "iss")?;
    if issuer != expected.issuer {
        return Err(JwtFault::issuer(issuer, expected.issuer));
    }
    let subject = registered_claims::name(&payload, "sub")?;
    check_audience(&payload, expected.client_id, expected.additional_audiences)?;
    check_times(&payload, expected.clock_skew, now)?;
    expected.nonce.check(&payload)?;
    check_access_token_hash(&payload, expected)?;
    // A logout token is signed by the same keys (Back-Channel Logout 2.4).
    if has(&payload, "events") {
        return Err(JwtFault::Type);
    }
    let auth_time = optional_moment(&payload, "auth_time")?;
    // An authentication in the future would never become too old.
    if auth_time.is_some_and(|auth_time| auth_time > now + expected.clock_skew) {
        return Err(JwtFault::Clock("auth_time"));
    }
    check_authentication_age(auth_time, expected, now)?;
    let acr = optional_text(&payload, "acr", JwtFault::ClaimType("acr"))?.map(str::to_owned);
    let session_expiry = optional_moment(&payload, "session_expiry")?;
    if session_expiry.is_some_and(|end| end <= now) {
        return Err(JwtFault::Claim("session_expiry"));
    }
    let provider_session = registered_claims::optional_session_name(&payload)?;
    Ok(VerifiedClaims { subject, auth_time, acr, session_expiry, provider_session, all: payload })
}

/// Checks the token's times (Core 3.1.3.7 (9) and (10), RFC 7519 4.1.5; R-D08, R-D09).
fn check_times(payload: &Map<String, Value>, skew: Duration, now: OffsetDateTime) -> Result<(), JwtFault> {
    let times = registered_claims::check_times(payload, skew, now)?;
    times.expires_at.ok_or(JwtFault::Missing("exp"))?;
    let issued_at = times.issued_at.ok_or(JwtFault::Missing("iat"))?;
    if issued_at < now - skew - OLDEST_ISSUE { Err(JwtFault::Clock("iat")) } else { Ok(()) }
}

/// Checks `at_hash`, the left half of the access token's hash (Core 3.1.3.8, R-D12).
fn check_access_token_hash(payload: &Map<String, Value>, expected: &Expectation<'_>) -> Result<(), JwtFault> {
    let fault = JwtFault::Claim("at_hash");
    let Some(claimed) = optional_text(payload, "at_hash", JwtFault::ClaimType("at_hash"))? else { return Ok(()) };
    let hash = match expected.algorithm {
        Algorithm::RS384 | Algorithm::PS384 | Algorithm::ES384 => &digest::SHA384,
        // Ed25519 signs over SHA-512, which is what providers use here.
        Algorithm::RS512 | Algorithm::PS512 | Algorithm::EdDSA => &digest::SHA512,
        _ => &digest::SHA256,
    };
    let digest = digest::digest(hash, expected.access_token.as_bytes());
    let left_half = URL_SAFE_NO_PAD.encode(&digest.as_ref()[..digest.as_ref().len() / 2]);
    if bool::from(left_half.as_bytes().ct_eq(claimed.as_bytes())) { Ok(()) } else { Err(fault) }
}

/// Checks that the authentication is as recent as was asked for (Core 3.1.3.7 (13), R-A13).
fn check_authentication_age(
    auth_time: Option<OffsetDateTime>,
    expected: &Expectation<'_>,
    now: OffsetDateTime,
) -> Result<(), JwtFault> {
    let Some(max_age) = expected.max_age else { return Ok(()) };
    let max_age = Duration::seconds(i64::try_from(max_age).unwrap_or(i64::MAX / 2));
    // The tolerated skew is at most the age itself: otherwise `30s` and a skew of a minute would accept ninety seconds.
    // An age of 0 tolerates the skew alone.
    let skew = if max_age.is_zero() { expected.clock_skew } else { expected.clock_skew.min(max_age) };
    match auth_time {
        None if !expected.auth_time_required => Ok(()),
        Some(auth_time) if now - auth_time <= max_age + skew => Ok(()),
        Some(_) => Err(JwtFault::Claim("auth_time")),
        None => Err(JwtFault::Missing("auth_time")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-01-31 09:00 UTC);

    fn expectation() -> Expectation<'static> {
        Expectation {
            issuer: "https://idp.example.test",
            client_id: "backoffice",
            additional_audiences: &[],
            nonce: ExpectedNonce::Exactly("n-1"),
            access_token: "access",
            max_age: None,
            auth_time_required: true,
            clock_skew: Duration::seconds(60),
            algorithm: Algorithm::RS256,
        }
    }

    fn payload(changes: &Value) -> Map<String, Value> {
        let now = NOW.unix_timestamp();
        let mut payload = json!({
            "iss": "https://idp.example.test", "sub": "248289761001", "aud": "backoffice",
            "exp": now + 300, "iat": now, "nonce": "n-1",
        });
        let claims = payload.as_object_mut().unwrap();
        for (name, value) in changes.as_object().unwrap() {
            match value {
                Value::Null => claims.remove(name),
                value => claims.insert(name.clone(), value.clone()),
            };
        }
        claims.clone()
    }

    fn verdict(changes: &Value) -> Result<VerifiedClaims, JwtFault> {
        check(payload(changes), &expectation(), NOW)
    }

    #[test]
    fn honest_tokens_pass() {
        let now = NOW.unix_timestamp();
        for changes in [
            json!({}),
            json!({ "aud": ["backoffice"] }),
            json!({ "azp": "backoffice" }),
            json!({ "nbf": now }),
            json!({ "auth_time": now + 60 }),
            json!({ "iat": now + 59 }),
            json!({ "exp": now - 59 }),
            json!({ "exp": 1_769_850_300.5 }),
            json!({ "auth_time": 0, "sid": "s", "at_hash": "", "extra": {} }),
        ] {
            let mut changes = changes;
            // The left half of SHA-256("access").
            if changes.get("at_hash").is_some() {
                let digest = digest::digest(&digest::SHA256, b"access");
                changes["at_hash"] = json!(URL_SAFE_NO_PAD.encode(&digest.as_ref()[..16]));
            }
            assert!(verdict(&changes).is_ok(), "{changes}");
        }
    }

    /// R-D06 to R-D14: one line a case.
    #[test]
    fn wrong_claims_refuse_the_token_and_are_named() {
        let now = NOW.unix_timestamp();
        let cases = [
            ("iss", json!({ "iss": "https://idp.example.test/" })),
            ("iss", json!({ "iss": "https://IDP.example.test" })),
            ("iss", json!({ "iss": null })),
            ("iss", json!({ "iss": ["https://idp.example.test"] })),
            ("sub", json!({ "sub": null })),
            ("sub", json!({ "sub": "" })),
            ("sub", json!({ "sub": 248_289_761_001_u64 })),
            ("sub", json!({ "sub": "x".repeat(256) })),
            ("aud", json!({ "aud": null })),
            ("aud", json!({ "aud": "other" })),
            ("aud", json!({ "aud": [] })),
            ("aud", json!({ "aud": {} })),
            ("aud", json!({ "aud": ["backoffice", "other"] })),
            ("aud", json!({ "aud": ["backoffice", "other"], "azp": "backoffice" })),
            ("azp", json!({ "azp": "other" })),
            ("azp", json!({ "azp": 1 })),
            ("exp", json!({ "exp": null })),
            ("exp", json!({ "exp": "9999999999" })),
            ("exp", json!({ "exp": true })),
            ("iat", json!({ "iat": null })),
            ("iat", json!({ "iat": "x" })),
            ("nbf", json!({ "nbf": "x" })),
            ("nonce", json!({ "nonce": null })),
            ("nonce", json!({ "nonce": "n-2" })),
            ("nonce", json!({ "nonce": 1 })),
            ("at_hash", json!({ "at_hash": "AAAAAAAAAAAAAAAAAAAAAA" })),
            ("at_hash", json!({ "at_hash": 1 })),
            ("auth_time", json!({ "auth_time": "yesterday" })),
            ("sid", json!({ "sid": 7 })),
            ("acr", json!({ "acr": 1 })),
            ("acr", json!({ "acr": ["urn:example:mfa"] })),
            ("session_expiry", json!({ "session_expiry": "9999999999" })),
            ("session_expiry", json!({ "session_expiry": [] })),
            ("session_expiry", json!({ "session_expiry": now })),
        ];
        for (claim, changes) in cases {
            assert_eq!(verdict(&changes).unwrap_err().claim(), Some(claim), "{changes}");
        }
        for (claim, changes) in [
            ("exp", json!({ "exp": now - 301 })),
            ("iat", json!({ "iat": now + 61 })),
            ("iat", json!({ "iat": now - 600 })),
            ("nbf", json!({ "nbf": now + 61 })),
            ("auth_time", json!({ "auth_time": now + 61 })),
        ] {
            assert_eq!(verdict(&changes).unwrap_err(), JwtFault::Clock(claim), "{changes}");
        }
        let logout_token = json!({ "events": { "http://schemas.openid.net/event/backchannel-logout": {} } });
        assert_eq!(verdict(&logout_token).unwrap_err(), JwtFault::Type);
    }

    /// R-C13
    #[test]
    fn a_later_token_repeats_the_nonce_or_has_none() {
        for (nonce, changes, passes) in [
            (Some("n-1"), json!({}), true),
            (Some("n-1"), json!({ "nonce": null }), true),
            (None, json!({ "nonce": null }), true),
            (Some("n-2"), json!({}), false),
            (None, json!({}), false),
            (Some("n-1"), json!({ "nonce": 1 }), false),
        ] {
            let expected = Expectation { nonce: ExpectedNonce::IfAny(nonce), ..expectation() };
            assert_eq!(check(payload(&changes), &expected, NOW).is_ok(), passes, "{nonce:?} {changes}");
        }
    }

    /// R-A13: one line a case: seconds ago, the age asked for, whether the moment has to be told. How far clocks may be
    /// apart never more than doubles an age that was asked for.
    #[test]
    fn an_authentication_older_than_asked_for_is_refused() {
        for (ago, max_age, required, passes) in [
            (Some(660), Some(600), true, true),
            (Some(661), Some(600), true, false),
            (Some(60), Some(30), true, true),
            (Some(61), Some(30), true, false),
            (Some(2), Some(1), true, true),
            (Some(3), Some(1), true, false),
            (Some(9_999), None, true, true),
            (None, None, true, true),
            (None, Some(600), true, false),
            (None, Some(0), false, true),
            (Some(661), Some(600), false, false),
            (Some(61), Some(0), false, false),
        ] {
            let expected = Expectation { max_age, auth_time_required: required, ..expectation() };
            let claims = match ago {
                Some(ago) => json!({ "auth_time": NOW.unix_timestamp() - ago }),
                None => json!({}),
            };
            let checked = check(payload(&claims), &expected, NOW);
            assert_eq!(checked.is_ok(), passes, "{ago:?} {max_age:?} {required}");
        }
    }
}
