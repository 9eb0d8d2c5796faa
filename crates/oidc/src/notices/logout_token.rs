//! Logout tokens: the notice of a provider that it ended a session (OpenID Connect Back-Channel Logout 1.0 2.4 and
//! 2.6).
//!
//! Pure, after the signature was verified as for an ID token: [`check`] judges the claims. The caller decides whose
//! sessions end, and makes notices idempotent.
//!
//! `exp` may be missing: early drafts of the specification did not demand it, and providers exist that send none.
//! Such a token lives for `OLDEST_WITHOUT_EXPIRY` after `iat`. One with `exp` lives until then, yet no longer than
//! `OLDEST`, which bounds how long its `jti` has to be remembered. `typ` may be missing too: the certification suite
//! sends none. `logout_token_typ_required` demands it.

use serde_json::{Map, Value};
use time::{Duration, OffsetDateTime};

use crate::verification::fault::JwtFault;
use crate::verification::issuer::IssuerPattern;
use crate::verification::registered_claims::{
    self, check_named, has, name, optional_name, optional_session_name, text,
};

/// The event that makes a JWT a logout token.
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
/// Lifetime of a token without `exp`.
const OLDEST_WITHOUT_EXPIRY: Duration = Duration::minutes(5);
/// Longest lifetime of any token: providers that try again later may send the same one.
const OLDEST: Duration = Duration::minutes(15);

/// The values that a logout token must fit.
#[derive(Debug, Clone, Copy)]
pub struct Expectation<'a> {
    /// The issuers whose tokens are accepted.
    pub issuers: &'a IssuerPattern,
    /// Our name at the provider.
    pub client_id: &'a str,
    /// Tolerated error of the provider's clock.
    pub clock_skew: Duration,
}

/// A verified notice that the provider ended sessions; made by [`check`] alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogoutNotice {
    issuer: String,
    meant: Meant,
    id: String,
    counts_until: OffsetDateTime,
}

/// The sessions that the provider ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meant {
    /// Everything of one person (`sub` alone).
    Person(String),
    /// One session at the provider (`sid`), and whose it is, if that is said as well.
    ProviderSession {
        /// The provider's name for it.
        sid: String,
        /// The provider's name for the person.
        subject: Option<String>,
    },
}

impl LogoutNotice {
    /// Returns the issuer of the notice: with several tenants, that of one of them.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Returns the sessions that the provider ended.
    pub fn meant(&self) -> &Meant {
        &self.meant
    }

    /// Returns the notice's own name (`jti`), which makes it idempotent.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the time from which on the same token is refused because of its age.
    pub fn counts_until(&self) -> OffsetDateTime {
        self.counts_until
    }
}

/// Checks every claim of a token whose signature was verified (R-J09). What is not known is ignored.
///
/// # Errors
/// [`JwtFault::Claim`] and [`JwtFault::Clock`], naming the claim.
pub fn check(
    payload: &Map<String, Value>,
    expected: Expectation<'_>,
    now: OffsetDateTime,
) -> Result<LogoutNotice, JwtFault> {
    let issuer = text(payload, "iss")?.to_owned();
    if !expected.issuers.accepts(&issuer) {
        return Err(JwtFault::issuer(&issuer, expected.issuers.configured()));
    }
    check_named(payload, expected.client_id)?;
    let counts_until = check_times(payload, expected.clock_skew, now)?;
    let id = name(payload, "jti")?;
    let events = events(payload)?;
    if !events.get(EVENT).is_some_and(Value::is_object) {
        return Err(JwtFault::Claim("events"));
    }
    // An ID token is signed by the same keys, and has one.
    if has(payload, "nonce") {
        return Err(JwtFault::Claim("nonce"));
    }
    let meant = match (optional_session_name(payload)?, optional_name(payload, "sub")?) {
        (Some(sid), subject) => Meant::ProviderSession { sid, subject },
        (None, Some(subject)) => Meant::Person(subject),
        (None, None) => return Err(JwtFault::Missing("sub")),
    };
    Ok(LogoutNotice { issuer, meant, id, counts_until })
}

/// Returns the events of a token, by their types (RFC 8417 2.2).
pub(crate) fn events(payload: &Map<String, Value>) -> Result<&Map<String, Value>, JwtFault> {
    match payload.get("events") {
        None | Some(Value::Null) => Err(JwtFault::Missing("events")),
        Some(events) => events.as_object().ok_or(JwtFault::ClaimType("events")),
    }
}

/// Checks that a token was issued just now and is not over; returns the time until which it counts.
fn check_times(payload: &Map<String, Value>, skew: Duration, now: OffsetDateTime) -> Result<OffsetDateTime, JwtFault> {
    let times = registered_claims::check_times(payload, skew, now)?;
    let issued_at = times.issued_at.ok_or(JwtFault::Missing("iat"))?;
    let oldest = if times.expires_at.is_some() { OLDEST } else { OLDEST_WITHOUT_EXPIRY };
    let too_old_at = issued_at.saturating_add(oldest + skew);
    if now >= too_old_at {
        return Err(JwtFault::Clock("iat"));
    }
    Ok(times.expires_at.map_or(too_old_at, |at| at.saturating_add(skew).min(too_old_at)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-01-31 09:00 UTC);

    fn verdict(changes: &Value) -> Result<LogoutNotice, JwtFault> {
        let now = NOW.unix_timestamp();
        let mut payload = json!({
            "iss": "https://idp.example.test", "aud": "backoffice", "iat": now, "exp": now + 120, "jti": "j-1",
            "sub": "248289761001", "sid": "s-1", "events": { EVENT: {} },
        });
        let claims = payload.as_object_mut().unwrap();
        for (name, value) in changes.as_object().unwrap() {
            match value {
                Value::Null => claims.remove(name),
                value => claims.insert(name.clone(), value.clone()),
            };
        }
        let issuers = IssuerPattern::One("https://idp.example.test".to_owned());
        let clock_skew = Duration::seconds(60);
        check(claims, Expectation { issuers: &issuers, client_id: "backoffice", clock_skew }, NOW)
    }

    /// R-J09, R-J10, R-J12
    #[test]
    fn honest_logout_tokens_say_what_is_meant_and_how_long_they_count() {
        let now = NOW.unix_timestamp();
        let session =
            |subject: Option<&str>| Meant::ProviderSession { sid: "s-1".into(), subject: subject.map(Into::into) };
        for (meant, seconds, changes) in [
            (session(Some("248289761001")), 180, json!({})),
            (session(None), 180, json!({ "sub": null })),
            (Meant::Person("248289761001".into()), 180, json!({ "sid": null })),
            (session(Some("248289761001")), 180, json!({ "aud": ["other", "backoffice"], "unknown": [1] })),
            (session(Some("248289761001")), 180, json!({ "events": { EVENT: { "more": 1 }, "other": 7 } })),
            (session(Some("248289761001")), 360, json!({ "exp": null })),
            (session(Some("248289761001")), 1, json!({ "exp": null, "iat": now - 359 })),
            (session(Some("248289761001")), 960, json!({ "exp": i64::from(u32::MAX) })),
            (session(Some("248289761001")), 1, json!({ "exp": i64::from(u32::MAX), "iat": now - 959 })),
            (session(Some("248289761001")), 1, json!({ "exp": now - 59 })),
            (session(Some("248289761001")), 180, json!({ "iat": now + 60 })),
        ] {
            let notice = verdict(&changes).unwrap_or_else(|fault| panic!("{fault}: {changes}"));
            assert_eq!((notice.meant(), notice.id()), (&meant, "j-1"), "{changes}");
            assert_eq!(notice.counts_until(), NOW + Duration::seconds(seconds), "{changes}");
        }
    }

    /// R-J09, R-D13: one line a case.
    #[test]
    fn wrong_claims_refuse_a_logout_token_and_are_named() {
        for (claim, changes) in [
            ("iss", json!({ "iss": null })),
            ("iss", json!({ "iss": "https://idp.example.test/" })),
            ("iss", json!({ "iss": ["https://idp.example.test"] })),
            ("aud", json!({ "aud": null })),
            ("aud", json!({ "aud": "other" })),
            ("aud", json!({ "aud": [] })),
            ("aud", json!({ "aud": {} })),
            ("aud", json!({ "aud": ["backoffice", 1] })),
            ("iat", json!({ "iat": null })),
            ("iat", json!({ "iat": "1769850000" })),
            ("exp", json!({ "exp": "9999999999" })),
            ("exp", json!({ "exp": {} })),
            ("nbf", json!({ "nbf": "x" })),
            ("jti", json!({ "jti": null })),
            ("jti", json!({ "jti": "" })),
            ("jti", json!({ "jti": 1 })),
            ("jti", json!({ "jti": "x".repeat(256) })),
            ("events", json!({ "events": null })),
            ("events", json!({ "events": [EVENT] })),
            ("events", json!({ "events": EVENT })),
            ("events", json!({ "events": {} })),
            ("events", json!({ "events": { EVENT: true } })),
            ("events", json!({ "events": { "http://schemas.openid.net/event/foobar": {} } })),
            ("nonce", json!({ "nonce": "n" })),
            ("nonce", json!({ "nonce": 1 })),
            ("sub", json!({ "sub": null, "sid": null })),
            ("sub", json!({ "sub": 248_289_761_001_u64 })),
            ("sub", json!({ "sub": "" })),
            ("sid", json!({ "sid": 1 })),
            ("sid", json!({ "sid": "" })),
        ] {
            assert_eq!(verdict(&changes).unwrap_err().claim(), Some(claim), "{changes}");
        }
        let now = NOW.unix_timestamp();
        for (claim, changes) in [
            ("iat", json!({ "iat": now + 61 })),
            ("iat", json!({ "iat": now - 960, "exp": now + 60 })),
            ("iat", json!({ "iat": now - 360, "exp": null })),
            ("exp", json!({ "exp": now - 60 })),
            ("nbf", json!({ "nbf": now + 61 })),
        ] {
            assert_eq!(verdict(&changes), Err(JwtFault::Clock(claim)), "{changes}");
        }
    }
}
