//! Claims as every reader of JWTs takes them: their types, and the checks that several kinds of token share.
//!
//! Pure, after [`crate::verification::jwt`] has found the signature to be the provider's. `null` is "not returned" (as OpenID Connect
//! Core 5.3.2 has claims that are not there left out); any other wrong JSON type refuses the token and is never treated
//! as absent (R-D13). A claim that is missing, one of another type and one with another value are three faults.

use serde_json::{Map, Value};
use time::{Duration, OffsetDateTime};

use crate::verification::fault::JwtFault;

/// Longest name of a person (Core 2) or a notice, in bytes.
const LONGEST_NAME: usize = 255;
/// Longest name of a provider's session, in bytes.
const LONGEST_SESSION_NAME: usize = 2048;

/// Reads a text that has to be there.
pub(crate) fn text<'a>(payload: &'a Map<String, Value>, name: &'static str) -> Result<&'a str, JwtFault> {
    optional_text(payload, name, JwtFault::ClaimType(name))?.ok_or(JwtFault::Missing(name))
}

/// Reads a text, if it is there at all.
pub(crate) fn optional_text<'a, F>(object: &'a Map<String, Value>, name: &str, fault: F) -> Result<Option<&'a str>, F> {
    match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(fault),
    }
}

/// Reads a NumericDate (RFC 7519 2), if it is there at all: a JSON number, with or without a fraction.
pub(crate) fn optional_moment(
    payload: &Map<String, Value>,
    name: &'static str,
) -> Result<Option<OffsetDateTime>, JwtFault> {
    let Some(value) = payload.get(name).filter(|value| !value.is_null()) else { return Ok(None) };
    #[expect(clippy::cast_possible_truncation, reason = "`as` saturates, and the calendar refuses what is beyond it")]
    let seconds = value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds as i64));
    let moment = seconds.and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    moment.map(Some).ok_or(JwtFault::ClaimType(name))
}

/// Reads a name of a person or a notice, if it is there at all: neither empty nor endless, on one line. Names get into
/// headers, logs and keys of the store.
pub(crate) fn optional_name(payload: &Map<String, Value>, claim: &'static str) -> Result<Option<String>, JwtFault> {
    bounded(payload, claim, LONGEST_NAME)
}

/// Reads the provider's name for its session (`sid`), if it is there at all. Providers exist that write a whole sealed
/// record into it.
pub(crate) fn optional_session_name(payload: &Map<String, Value>) -> Result<Option<String>, JwtFault> {
    bounded(payload, "sid", LONGEST_SESSION_NAME)
}

fn bounded(payload: &Map<String, Value>, claim: &'static str, longest: usize) -> Result<Option<String>, JwtFault> {
    let is_name = |text: &str| !text.is_empty() && text.len() <= longest && !text.chars().any(char::is_control);
    match optional_text(payload, claim, JwtFault::ClaimType(claim))? {
        Some(text) if is_name(text) => Ok(Some(text.to_owned())),
        Some(_) => Err(JwtFault::Claim(claim)),
        None => Ok(None),
    }
}

/// Reads a name that has to be there.
pub(crate) fn name(payload: &Map<String, Value>, claim: &'static str) -> Result<String, JwtFault> {
    optional_name(payload, claim)?.ok_or(JwtFault::Missing(claim))
}

/// Is true if a claim is there.
pub(crate) fn has(payload: &Map<String, Value>, name: &str) -> bool {
    payload.get(name).is_some_and(|value| !value.is_null())
}

/// Reads the audiences that a token names (RFC 7519 4.1.3); none if it says nothing of any.
pub(crate) fn audiences(payload: &Map<String, Value>) -> Result<Vec<&str>, JwtFault> {
    let fault = || JwtFault::ClaimType("aud");
    match payload.get("aud") {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(only)) => Ok(vec![only]),
        Some(Value::Array(several)) if !several.is_empty() => {
            several.iter().map(|audience| audience.as_str().ok_or_else(fault)).collect()
        }
        Some(_) => Err(fault()),
    }
}

/// Refuses a token that does not name us among its audiences. Others may be named: whoever shares our keys is told the
/// same.
pub(crate) fn check_named(payload: &Map<String, Value>, ours: &str) -> Result<(), JwtFault> {
    let audiences = audiences(payload)?;
    match audiences.contains(&ours) {
        true => Ok(()),
        false if audiences.is_empty() => Err(JwtFault::Missing("aud")),
        false => Err(JwtFault::Claim("aud")),
    }
}

/// Refuses a token for anybody but us and the audiences that the configuration lets stand beside us (Core 3.1.3.7 (3)
/// to (5), R-D07). Beside another audience `azp` has to say that the token was issued to us; wherever it stands it must.
pub(crate) fn check_audience(
    payload: &Map<String, Value>,
    client_id: &str,
    additional: &[String],
) -> Result<(), JwtFault> {
    check_named(payload, client_id)?;
    let audiences = audiences(payload)?;
    let mut others = audiences.iter().filter(|audience| **audience != client_id).peekable();
    let has_others = others.peek().is_some();
    if !others.all(|other| additional.iter().any(|known| known == other)) {
        return Err(JwtFault::Claim("aud"));
    }
    match optional_text(payload, "azp", JwtFault::ClaimType("azp"))? {
        Some(party) if party != client_id => Err(JwtFault::Claim("azp")),
        None if has_others => Err(JwtFault::Missing("azp")),
        _ => Ok(()),
    }
}

/// The times of a token: each is judged wherever it stands (RFC 7519 4.1.4 to 4.1.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Times {
    /// The time of its issue.
    pub(crate) issued_at: Option<OffsetDateTime>,
    /// The time of its expiry.
    pub(crate) expires_at: Option<OffsetDateTime>,
}

/// Refuses a token that is over, not valid yet, or from the future.
pub(crate) fn check_times(
    payload: &Map<String, Value>,
    skew: Duration,
    now: OffsetDateTime,
) -> Result<Times, JwtFault> {
    let issued_at = optional_moment(payload, "iat")?;
    let expires_at = optional_moment(payload, "exp")?;
    let not_before = optional_moment(payload, "nbf")?;
    if issued_at.is_some_and(|at| at > now + skew) {
        return Err(JwtFault::Clock("iat"));
    }
    if expires_at.is_some_and(|at| now >= at.saturating_add(skew)) {
        return Err(JwtFault::Clock("exp"));
    }
    if not_before.is_some_and(|at| at > now + skew) {
        return Err(JwtFault::Clock("nbf"));
    }
    Ok(Times { issued_at, expires_at })
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::macros::datetime;

    use super::*;
    use crate::claims::{id_token, userinfo};
    use crate::login::response_token;
    use crate::notices::{logout_token, security_event};
    use crate::verification::algorithm::Algorithm;
    use crate::verification::issuer::IssuerPattern;

    const NOW: OffsetDateTime = datetime!(2026-01-31 09:00 UTC);
    const ISSUER: &str = "https://idp.example.test";
    const SKEW: Duration = Duration::seconds(60);
    const LOGOUT: &str = "http://schemas.openid.net/event/backchannel-logout";
    const REVOKED: &str = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";

    /// A reader of the provider's claims.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Reader {
        IdToken,
        Userinfo,
        Answer,
        LogoutToken,
        SecurityEvent,
    }

    const READERS: [Reader; 5] =
        [Reader::IdToken, Reader::Userinfo, Reader::Answer, Reader::LogoutToken, Reader::SecurityEvent];

    impl Reader {
        /// Returns the reader's verdict on an honest token with these claims set.
        fn verdict(self, changes: &Value) -> Result<(), JwtFault> {
            let now = NOW.unix_timestamp();
            let mut payload = json!({ "iss": ISSUER, "aud": "backoffice", "iat": now, "exp": now + 300, "jti": "j" });
            let own = match self {
                Self::IdToken => json!({ "sub": "1", "nonce": "n" }),
                Self::Userinfo => json!({ "sub": "1" }),
                Self::Answer => json!({ "code": "c", "state": "s" }),
                Self::LogoutToken => json!({ "sub": "1", "events": { LOGOUT: {} } }),
                Self::SecurityEvent => json!({
                    "sub_id": { "format": "iss_sub", "iss": ISSUER, "sub": "1" }, "events": { REVOKED: {} },
                }),
            };
            let claims = payload.as_object_mut().unwrap();
            claims.extend(own.as_object().unwrap().clone());
            claims.extend(changes.as_object().unwrap().clone());
            self.check(claims)
        }

        fn check(self, claims: &Map<String, Value>) -> Result<(), JwtFault> {
            let (issuer, client_id, clock_skew) = (ISSUER, "backoffice", SKEW);
            let issuers = &IssuerPattern::One(ISSUER.to_owned());
            match self {
                Self::IdToken => {
                    let expected = id_token::Expectation {
                        issuer,
                        client_id,
                        additional_audiences: &[],
                        nonce: id_token::ExpectedNonce::Exactly("n"),
                        access_token: "access",
                        max_age: None,
                        auth_time_required: true,
                        clock_skew,
                        algorithm: Algorithm::RS256,
                    };
                    id_token::check(claims.clone(), &expected, NOW).map(|_| ())
                }
                Self::Userinfo => {
                    let expected = userinfo::Expectation { issuer, client_id, clock_skew };
                    userinfo::check_signed(claims, &expected, NOW)
                }
                Self::Answer => {
                    let expected =
                        response_token::Expectation { issuers, client_id, additional_audiences: &[], clock_skew };
                    response_token::check(claims, &expected, NOW).map(|_| ())
                }
                Self::LogoutToken => {
                    let expected = logout_token::Expectation { issuers, client_id, clock_skew };
                    logout_token::check(claims, expected, NOW).map(|_| ())
                }
                Self::SecurityEvent => {
                    let expected =
                        security_event::Expectation { issuers, audience: client_id, of_persons: issuers, clock_skew };
                    security_event::check(claims, expected, NOW).map(|_| ())
                }
            }
        }
    }

    /// R-D06 to R-D09, R-D13: one line a check, held for every reader but those that are named. Found by writing down
    /// what each reader checked and reading the other columns: security events took any `nbf`, signed userinfo any
    /// time at all, ID tokens names with line breaks.
    #[test]
    fn what_one_reader_refuses_every_reader_refuses() {
        use Reader::{Answer, LogoutToken, SecurityEvent, Userinfo};
        let now = NOW.unix_timestamp();
        let (claim, kind, clock) = (JwtFault::Claim, JwtFault::ClaimType, JwtFault::Clock);
        let issuer = |found: &str| JwtFault::issuer(found, ISSUER);
        for (fault, changes, exempt) in [
            (issuer("https://evil.example"), json!({ "iss": "https://evil.example" }), &[][..]),
            (issuer(&format!("{ISSUER}/")), json!({ "iss": format!("{ISSUER}/") }), &[]),
            (kind("iss"), json!({ "iss": [ISSUER] }), &[]),
            (kind("iss"), json!({ "iss": 7 }), &[]),
            // Authelia and others leave out what a signed answer of userinfo only SHOULD say (Core 5.3.2).
            (JwtFault::Missing("iss"), json!({ "iss": null }), &[Userinfo]),
            (JwtFault::Missing("aud"), json!({ "aud": null }), &[Userinfo]),
            (claim("aud"), json!({ "aud": "other" }), &[]),
            (claim("aud"), json!({ "aud": ["other"] }), &[]),
            (kind("aud"), json!({ "aud": [] }), &[]),
            (kind("aud"), json!({ "aud": {} }), &[]),
            (kind("aud"), json!({ "aud": ["backoffice", 7] }), &[]),
            (kind("aud"), json!({ "aud": ["backoffice", ["other"]] }), &[]),
            // Notices go to everybody who shares the keys; userinfo was asked for with our own access token.
            (claim("aud"), json!({ "aud": ["backoffice", "other"] }), &[Userinfo, LogoutToken, SecurityEvent]),
            (claim("azp"), json!({ "azp": "other" }), &[Userinfo, LogoutToken, SecurityEvent]),
            (clock("exp"), json!({ "exp": now - 60 }), &[]),
            (clock("exp"), json!({ "exp": now - 30 * 86_400 }), &[]),
            (kind("exp"), json!({ "exp": "9999999999" }), &[]),
            (kind("exp"), json!({ "exp": true }), &[]),
            (clock("nbf"), json!({ "nbf": now + 61 }), &[]),
            (kind("nbf"), json!({ "nbf": "x" }), &[]),
            (clock("iat"), json!({ "iat": now + 61 }), &[]),
            (kind("iat"), json!({ "iat": "x" }), &[]),
            (claim("sub"), json!({ "sub": "1\u{0}" }), &[Answer, SecurityEvent]),
            (claim("sub"), json!({ "sub": "1\r\nX-Auth-Request-Groups: ops" }), &[Answer, SecurityEvent]),
            (claim("sub"), json!({ "sub": "1\u{85}" }), &[Answer, SecurityEvent]),
            (claim("sub"), json!({ "sub": "" }), &[Answer, SecurityEvent]),
            (claim("sub"), json!({ "sub": "x".repeat(256) }), &[Answer, SecurityEvent]),
            (kind("sub"), json!({ "sub": 1 }), &[Answer, SecurityEvent]),
            (claim("sid"), json!({ "sid": "s\n" }), &[Answer, SecurityEvent, Userinfo]),
            (claim("sid"), json!({ "sid": "" }), &[Answer, SecurityEvent, Userinfo]),
            (claim("sid"), json!({ "sid": "x".repeat(2_049) }), &[Answer, SecurityEvent, Userinfo]),
            (kind("sid"), json!({ "sid": 7 }), &[Answer, SecurityEvent, Userinfo]),
            (claim("jti"), json!({ "jti": "j\n" }), &[Reader::IdToken, Answer, Userinfo]),
            // A notice must not pass for anything else (Back-Channel Logout 2.4).
            (JwtFault::Type, json!({ "events": { LOGOUT: {} } }), &[LogoutToken, SecurityEvent]),
        ] {
            for reader in READERS {
                let expected = if exempt.contains(&reader) { Ok(()) } else { Err(fault.clone()) };
                let said = reader.verdict(&changes);
                // Another kind of event is no event of ours.
                assert!(
                    said == expected || (exempt.contains(&reader) && said != Err(fault.clone())),
                    "{reader:?} {changes}: {said:?}"
                );
            }
        }
        for reader in READERS {
            // A session's name is as long as this when idpyoidc writes it.
            for honest in [json!({}), json!({ "sid": "x".repeat(400) })] {
                assert_eq!(reader.verdict(&honest), Ok(()), "{reader:?}");
            }
        }
    }

    /// One line a claim that every reader may find, and none has to. Found by going through all that is read with
    /// `optional_…`; `null` was a wrong type for each of them.
    #[test]
    fn null_is_not_returned_for_every_optional_claim_of_every_reader() {
        for name in ["nbf", "azp", "acr", "auth_time", "session_expiry", "sid", "at_hash", "events_", "txn", "error"] {
            for reader in READERS {
                assert_eq!(reader.verdict(&json!({ name: null })), Ok(()), "{reader:?} {name}");
            }
        }
        assert_eq!(Reader::LogoutToken.verdict(&json!({ "nonce": null, "exp": null })), Ok(()));
        assert_eq!(Reader::LogoutToken.verdict(&json!({ "sub": null })), Err(JwtFault::Missing("sub")));
        assert_eq!(Reader::IdToken.verdict(&json!({ "nonce": null })), Err(JwtFault::Missing("nonce")));
        assert_eq!(Reader::IdToken.verdict(&json!({ "events": null })), Ok(()));
        assert_eq!(Reader::Userinfo.verdict(&json!({ "exp": null, "iat": null })), Ok(()));
    }

    /// Core 3.1.3.7 (3) to (5): one line a case: the claims, the audiences that are configured, the verdict.
    #[test]
    fn audiences_beside_ours_are_those_that_the_configuration_names() {
        let project = ["318800112233".to_owned(), "account".to_owned()];
        let (aud, azp) = (JwtFault::Claim("aud"), JwtFault::Claim("azp"));
        for (claims, additional, verdict) in [
            (json!({ "aud": ["backoffice", "318800112233"], "azp": "backoffice" }), &project[..], Ok(())),
            (json!({ "aud": ["account", "backoffice", "318800112233"], "azp": "backoffice" }), &project, Ok(())),
            (json!({ "aud": ["backoffice", "backoffice"] }), &[], Ok(())),
            (json!({ "aud": ["backoffice", "318800112233"], "azp": "backoffice" }), &[], Err(aud.clone())),
            (json!({ "aud": ["backoffice", "evil"], "azp": "backoffice" }), &project, Err(aud.clone())),
            (json!({ "aud": ["backoffice", "Account"], "azp": "backoffice" }), &project, Err(aud.clone())),
            (json!({ "aud": ["account", "318800112233"], "azp": "backoffice" }), &project, Err(aud.clone())),
            (json!({ "aud": "account", "azp": "backoffice" }), &project, Err(aud)),
            (json!({ "aud": ["backoffice", "account"], "azp": "account" }), &project, Err(azp.clone())),
            (json!({ "aud": "backoffice", "azp": "account" }), &project, Err(azp)),
            (json!({ "aud": ["backoffice", "account"] }), &project, Err(JwtFault::Missing("azp"))),
            (json!({ "aud": ["backoffice", "account"], "azp": null }), &project, Err(JwtFault::Missing("azp"))),
        ] {
            assert_eq!(check_audience(claims.as_object().unwrap(), "backoffice", additional), verdict, "{claims}");
        }
    }
}
