//! ID tokens: OpenID Connect Core 3.1.3.7, RFC 8725.
//!
//! Three steps, each pure: [`read_header`] (is it signed the configured way?), [`verify_signature`] (did the
//! provider sign it?), [`check`] (was it made for us, now, and for this login?). Only the last makes
//! [`VerifiedClaims`]. Times are judged against the caller's `now`; a claim of the wrong JSON type refuses the
//! token and is never treated as absent (R-D13).

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, Validation};
use serde_json::{Map, Value};
use subtle::ConstantTimeEq;
use thiserror::Error;
use time::{Duration, OffsetDateTime};

use super::jwks::KeySet;

/// Largest token that is looked at, in bytes.
const LARGEST_TOKEN: usize = 64 * 1024;
/// Longest subject (Core 2).
const LONGEST_SUBJECT: usize = 255;
/// A token was issued for the request just made; one this old means that the clocks disagree.
const OLDEST_ISSUE: Duration = Duration::minutes(5);

/// Why an ID token was not accepted. Never shows the token's content.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum IdTokenFault {
    /// The token answer had none (R-C05).
    #[error("there is none")]
    Absent,
    /// Too large, not a signed JWT, or its header is unreadable.
    #[error("it is not a signed JWT")]
    Malformed,
    /// Signed with another algorithm than configured.
    #[error("it is not signed with the configured algorithm")]
    Algorithm,
    /// Its `typ` says that it is something else.
    #[error("its type is not that of an ID token")]
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
    /// A claim is missing, of the wrong type or of the wrong value.
    #[error("its claim `{0}` is missing or wrong")]
    Claim(&'static str),
    /// Its times do not fit ours.
    #[error("its claim `{0}` does not fit this machine's clock")]
    Clock(&'static str),
}

/// What a token says about its own signature, after it was found acceptable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedHeader {
    pub(super) kid: Option<String>,
    pub(super) algorithm: Algorithm,
}

/// What an ID token must fit.
#[derive(Debug)]
pub struct Expectation<'a> {
    /// The configured issuer.
    pub issuer: &'a str,
    /// Our name at the provider.
    pub client_id: &'a str,
    /// What this login's authorization request carried.
    pub nonce: &'a str,
    /// The access token that came with it, for `at_hash`.
    pub access_token: &'a str,
    /// The oldest authentication that was asked for, in seconds.
    pub max_age: Option<u64>,
    /// How far the provider's clock may be off.
    pub clock_skew: Duration,
    /// The configured algorithm.
    pub algorithm: Algorithm,
}

/// The claims of an ID token that passed every check; made by [`check`] alone.
#[derive(Debug, Clone)]
pub struct VerifiedClaims {
    subject: String,
    auth_time: Option<OffsetDateTime>,
    provider_session: Option<String>,
    all: Map<String, Value>,
}

impl VerifiedClaims {
    /// The provider's stable name for the person (`sub`).
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// When the person last authenticated (`auth_time`).
    pub fn auth_time(&self) -> Option<OffsetDateTime> {
        self.auth_time
    }

    /// The provider's name for its session (`sid`).
    pub fn provider_session(&self) -> Option<&str> {
        self.provider_session.as_deref()
    }

    /// Every claim.
    pub fn all(&self) -> &Map<String, Value> {
        &self.all
    }
}

/// Reads a token's header and refuses what is not signed with the configured algorithm (R-D02), demands
/// extensions (R-D04) or is no ID token (R-D14).
///
/// # Errors
/// [`IdTokenFault`].
pub fn read_header(token: &str, algorithm: Algorithm) -> Result<SignedHeader, IdTokenFault> {
    if token.len() > LARGEST_TOKEN || token.split('.').count() != 3 {
        return Err(IdTokenFault::Malformed);
    }
    let header = token.split('.').next().unwrap_or_default();
    let header = URL_SAFE_NO_PAD.decode(header).map_err(|_| IdTokenFault::Malformed)?;
    let header: Map<String, Value> = serde_json::from_slice(&header).map_err(|_| IdTokenFault::Malformed)?;
    if header.get("alg").and_then(Value::as_str) != Some(&super::jwks::name(algorithm)) {
        return Err(IdTokenFault::Algorithm);
    }
    if ["crit", "zip", "enc", "b64"].iter().any(|name| header.contains_key(*name)) {
        return Err(IdTokenFault::Critical);
    }
    let declared_type = optional_text(&header, "typ", IdTokenFault::Type)?;
    if declared_type.is_some_and(|declared| !declared.eq_ignore_ascii_case("JWT")) {
        return Err(IdTokenFault::Type);
    }
    let kid = optional_text(&header, "kid", IdTokenFault::Malformed)?.map(str::to_owned);
    Ok(SignedHeader { kid, algorithm })
}

/// Checks the signature against the keys that may have made it, and returns the payload (R-D01).
///
/// # Errors
/// [`IdTokenFault::UnknownKey`] if no key may have made it, [`IdTokenFault::Signature`] if none did.
pub fn verify_signature(token: &str, header: &SignedHeader, keys: &KeySet) -> Result<Map<String, Value>, IdTokenFault> {
    if !keys.has(header) {
        return Err(IdTokenFault::UnknownKey);
    }
    // The library checks the signature alone: claims are ours, strictly typed and judged by our clock.
    let mut validation = Validation::new(header.algorithm);
    validation.required_spec_claims.clear();
    (validation.validate_exp, validation.validate_aud) = (false, false);
    keys.candidates(header)
        .find_map(|key| jsonwebtoken::decode(token, key, &validation).ok())
        .map(|decoded| decoded.claims)
        .ok_or(IdTokenFault::Signature)
}

/// Checks every claim of a token whose signature was verified.
///
/// # Errors
/// [`IdTokenFault::Claim`] and [`IdTokenFault::Clock`], naming the claim.
pub fn check(
    payload: Map<String, Value>,
    expected: &Expectation<'_>,
    now: OffsetDateTime,
) -> Result<VerifiedClaims, IdTokenFault> {
    if text(&payload, "iss")? != expected.issuer {
        return Err(IdTokenFault::Claim("iss"));
    }
    let subject = text(&payload, "sub")?.to_owned();
    if subject.is_empty() || subject.len() > LONGEST_SUBJECT {
        return Err(IdTokenFault::Claim("sub"));
    }
    check_audience(&payload, expected.client_id)?;
    check_times(&payload, expected.clock_skew, now)?;
    if !bool::from(text(&payload, "nonce")?.as_bytes().ct_eq(expected.nonce.as_bytes())) {
        return Err(IdTokenFault::Claim("nonce"));
    }
    check_access_token_hash(&payload, expected)?;
    // A logout token is signed by the same keys (Back-Channel Logout 2.4).
    if payload.contains_key("events") {
        return Err(IdTokenFault::Type);
    }
    let auth_time = optional_moment(&payload, "auth_time")?;
    check_authentication_age(auth_time, expected, now)?;
    let provider_session = optional_text(&payload, "sid", IdTokenFault::Claim("sid"))?.map(str::to_owned);
    Ok(VerifiedClaims { subject, auth_time, provider_session, all: payload })
}

/// Core 3.1.3.7 (3) to (5): we are the audience, nobody we do not know is another, `azp` is us (R-D07).
fn check_audience(payload: &Map<String, Value>, client_id: &str) -> Result<(), IdTokenFault> {
    let refused = Err(IdTokenFault::Claim("aud"));
    match payload.get("aud") {
        Some(Value::String(only)) if only == client_id => {}
        Some(Value::Array(several)) if !several.is_empty() => {
            if several.iter().any(|audience| audience.as_str() != Some(client_id)) {
                return refused;
            }
        }
        _ => return refused,
    }
    match optional_text(payload, "azp", IdTokenFault::Claim("azp"))? {
        Some(party) if party != client_id => Err(IdTokenFault::Claim("azp")),
        _ => Ok(()),
    }
}

/// Core 3.1.3.7 (9) and (10), RFC 7519 4.1.5 (R-D08, R-D09).
fn check_times(payload: &Map<String, Value>, skew: Duration, now: OffsetDateTime) -> Result<(), IdTokenFault> {
    let expires_at = optional_moment(payload, "exp")?.ok_or(IdTokenFault::Claim("exp"))?;
    let issued_at = optional_moment(payload, "iat")?.ok_or(IdTokenFault::Claim("iat"))?;
    if issued_at > now + skew || issued_at < now - skew - OLDEST_ISSUE {
        return Err(IdTokenFault::Clock("iat"));
    }
    if expires_at <= now - skew {
        return Err(IdTokenFault::Clock("exp"));
    }
    match optional_moment(payload, "nbf")? {
        Some(not_before) if not_before > now + skew => Err(IdTokenFault::Clock("nbf")),
        _ => Ok(()),
    }
}

/// Core 3.1.3.8: the left half of the access token's hash (R-D12).
fn check_access_token_hash(payload: &Map<String, Value>, expected: &Expectation<'_>) -> Result<(), IdTokenFault> {
    let fault = IdTokenFault::Claim("at_hash");
    let Some(claimed) = optional_text(payload, "at_hash", fault.clone())? else { return Ok(()) };
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

/// Core 3.1.3.7 (13): an authentication as recent as was asked for (R-A13).
fn check_authentication_age(
    auth_time: Option<OffsetDateTime>,
    expected: &Expectation<'_>,
    now: OffsetDateTime,
) -> Result<(), IdTokenFault> {
    let Some(max_age) = expected.max_age else { return Ok(()) };
    let max_age = Duration::seconds(i64::try_from(max_age).unwrap_or(i64::MAX / 2));
    match auth_time {
        Some(auth_time) if now - auth_time <= max_age + expected.clock_skew => Ok(()),
        _ => Err(IdTokenFault::Claim("auth_time")),
    }
}

fn text<'a>(payload: &'a Map<String, Value>, name: &'static str) -> Result<&'a str, IdTokenFault> {
    payload.get(name).and_then(Value::as_str).ok_or(IdTokenFault::Claim(name))
}

fn optional_text<'a>(
    object: &'a Map<String, Value>,
    name: &str,
    fault: IdTokenFault,
) -> Result<Option<&'a str>, IdTokenFault> {
    match object.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(fault),
    }
}

/// A NumericDate (RFC 7519 2): a JSON number, with or without a fraction.
fn optional_moment(payload: &Map<String, Value>, name: &'static str) -> Result<Option<OffsetDateTime>, IdTokenFault> {
    let Some(value) = payload.get(name) else { return Ok(None) };
    #[expect(clippy::cast_possible_truncation, reason = "`as` saturates, and the calendar refuses what is beyond it")]
    let seconds = value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds as i64));
    let moment = seconds.and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    moment.map(Some).ok_or(IdTokenFault::Claim(name))
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
            nonce: "n-1",
            access_token: "access",
            max_age: None,
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

    fn verdict(changes: &Value) -> Result<VerifiedClaims, IdTokenFault> {
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
        ];
        for (claim, changes) in cases {
            assert_eq!(verdict(&changes).unwrap_err(), IdTokenFault::Claim(claim), "{changes}");
        }
        for (claim, changes) in [
            ("exp", json!({ "exp": now - 301 })),
            ("iat", json!({ "iat": now + 61 })),
            ("iat", json!({ "iat": now - 600 })),
            ("nbf", json!({ "nbf": now + 61 })),
        ] {
            assert_eq!(verdict(&changes).unwrap_err(), IdTokenFault::Clock(claim), "{changes}");
        }
        let logout_token = json!({ "events": { "http://schemas.openid.net/event/backchannel-logout": {} } });
        assert_eq!(verdict(&logout_token).unwrap_err(), IdTokenFault::Type);
    }

    /// R-A13
    #[test]
    fn an_authentication_older_than_asked_for_is_refused() {
        let expected = Expectation { max_age: Some(600), ..expectation() };
        let at = |seconds: i64| payload(&json!({ "auth_time": NOW.unix_timestamp() - seconds }));
        assert!(check(at(660), &expected, NOW).is_ok());
        assert_eq!(check(at(661), &expected, NOW).unwrap_err(), IdTokenFault::Claim("auth_time"));
        assert_eq!(check(payload(&json!({})), &expected, NOW).unwrap_err(), IdTokenFault::Claim("auth_time"));
    }

    fn token_with(header: &Value) -> String {
        format!("{}.e30.c2ln", URL_SAFE_NO_PAD.encode(header.to_string()))
    }

    /// R-D02, R-D04, R-D14, R-D16
    #[test]
    fn headers_of_other_tokens_and_algorithms_are_refused() {
        for (fault, header) in [
            (IdTokenFault::Algorithm, json!({ "alg": "none" })),
            (IdTokenFault::Algorithm, json!({ "alg": "HS256" })),
            (IdTokenFault::Algorithm, json!({ "alg": "rs256" })),
            (IdTokenFault::Algorithm, json!({ "alg": "ES256" })),
            (IdTokenFault::Algorithm, json!({})),
            (IdTokenFault::Type, json!({ "alg": "RS256", "typ": "at+jwt" })),
            (IdTokenFault::Type, json!({ "alg": "RS256", "typ": "logout+jwt" })),
            (IdTokenFault::Type, json!({ "alg": "RS256", "typ": 1 })),
            (IdTokenFault::Critical, json!({ "alg": "RS256", "crit": ["b64"] })),
            (IdTokenFault::Critical, json!({ "alg": "RS256", "zip": "DEF" })),
            (IdTokenFault::Malformed, json!({ "alg": "RS256", "kid": 1 })),
        ] {
            assert_eq!(read_header(&token_with(&header), Algorithm::RS256), Err(fault), "{header}");
        }
        for token in ["", "a.b", "a.b.c.d.e", "!.e30.", &format!("{}.a.b", "x".repeat(LARGEST_TOKEN))] {
            assert_eq!(read_header(token, Algorithm::RS256), Err(IdTokenFault::Malformed));
        }
        assert!(
            read_header(&token_with(&json!({ "alg": "RS256", "typ": "jwt", "jku": "x" })), Algorithm::RS256).is_ok()
        );
    }
}
