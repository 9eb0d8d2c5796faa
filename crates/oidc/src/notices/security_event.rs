//! Security event tokens (RFC 8417): events about a person or a session, sent by a transmitter of Shared Signals (CAEP
//! 1.0).
//!
//! Pure, after the signature was found to be the transmitter's, whose keys may be the provider's own: [`check`] judges
//! the claims, and says who is meant (`subject`, RFC 9493). The caller decides whose sessions end, and makes events
//! idempotent.
//!
//! An event may be days old: transmitters repeat what was not acknowledged (RFC 8935 2.4), and the session it is about
//! may still be live. `OLDEST` bounds how long its `jti` has to be remembered.

use serde_json::{Map, Value};
use time::{Duration, OffsetDateTime};

use crate::notices::event_type::EventType;
use crate::notices::logout_token::events;
use crate::notices::subject::{self, Meant};
use crate::verification::fault::JwtFault;
use crate::verification::issuer::IssuerPattern;
use crate::verification::registered_claims::{self, check_named, name, optional_moment, text};

/// Lifetime of an event.
const OLDEST: Duration = Duration::days(7);
/// A security event token that passed every check; made by [`check`] alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecurityEventToken {
    issuer: String,
    id: String,
    counts_until: OffsetDateTime,
    events: Vec<SecurityEvent>,
}

/// One event of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecurityEvent {
    /// Its type.
    pub event_type: EventType,
    /// Its time: an event that comes late says nothing of what the person did since.
    pub happened_at: OffsetDateTime,
    /// The people or sessions that it is about; empty if none of them is ours.
    pub meant: Vec<Meant>,
}

impl SecurityEventToken {
    /// Returns the issuer of the token: with several tenants, that of one of them.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Returns the token's own name (`jti`), which makes it idempotent.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the time from which on the same token is refused because of its age.
    pub fn counts_until(&self) -> OffsetDateTime {
        self.counts_until
    }

    /// Returns its events of the types that are acted on.
    pub fn events(&self) -> &[SecurityEvent] {
        &self.events
    }
}

/// The values that an event must fit.
#[derive(Debug, Clone, Copy)]
pub struct Expectation<'a> {
    /// The transmitter: the pattern of the tenants', where there are several.
    pub issuers: &'a IssuerPattern,
    /// Our name at the transmitter.
    pub audience: &'a str,
    /// The issuers of the persons that it is about.
    pub of_persons: &'a IssuerPattern,
    /// Tolerated error of the transmitter's clock.
    pub clock_skew: Duration,
}

/// Checks every claim of a token whose signature was verified. Events of other types, and about other people, are
/// ignored.
///
/// # Errors
/// [`JwtFault::Claim`] and [`JwtFault::Clock`], naming the claim.
pub fn check<'a>(
    payload: &'a Map<String, Value>,
    expected: Expectation<'_>,
    now: OffsetDateTime,
) -> Result<SecurityEventToken, JwtFault> {
    let issuer = text(payload, "iss")?;
    if !expected.issuers.accepts(issuer) {
        return Err(JwtFault::issuer(issuer, expected.issuers.configured()));
    }
    let is_of_persons = |said: &str| expected.of_persons.accepts(said);
    // With several tenants, a person without an issuer belongs to the tenant that issued the token, or to any if none
    // did.
    let unnamed = if is_of_persons(issuer) { vec![issuer.to_owned()] } else { expected.of_persons.all() };
    check_named(payload, expected.audience)?;
    let (issued_at, counts_until) = check_times(payload, expected.clock_skew, now)?;
    let id = name(payload, "jti")?;
    let told = events(payload)?;
    if told.is_empty() {
        return Err(JwtFault::Claim("events"));
    }
    let mut events = Vec::new();
    for (uri, event) in told {
        let event = event.as_object().ok_or(JwtFault::ClaimType("events"))?;
        let Some(event_type) = EventType::of_uri(uri) else { continue };
        // Early drafts of CAEP had it inside of the event.
        let said = |object: &'a Map<String, Value>, name| object.get(name).filter(|said| !said.is_null());
        let identifier = said(payload, "sub_id").or_else(|| said(event, "subject"));
        let identifier = identifier.ok_or(JwtFault::Missing("sub_id"))?;
        let meant = subject::read(identifier, is_of_persons, &unnamed, event_type)?;
        events.push(SecurityEvent {
            event_type,
            happened_at: happened_at(event, issued_at, expected.clock_skew),
            meant,
        });
    }
    Ok(SecurityEventToken { issuer: issuer.to_owned(), id, counts_until, events })
}

/// Returns the time of an event (CAEP 1.0 2). An impossible time, such as the milliseconds of early drafts, is replaced
/// by the token's `iat`.
fn happened_at(event: &Map<String, Value>, issued_at: OffsetDateTime, skew: Duration) -> OffsetDateTime {
    let said = optional_moment(event, "event_timestamp").ok().flatten();
    said.filter(|at| *at <= issued_at + skew && *at > issued_at - OLDEST).unwrap_or(issued_at)
}

/// Returns the time it was issued, and the time until which it counts. RFC 8417 2.2: `iat` is required, and an event
/// does not expire; one that does all the same is not used after that.
fn check_times(
    payload: &Map<String, Value>,
    skew: Duration,
    now: OffsetDateTime,
) -> Result<(OffsetDateTime, OffsetDateTime), JwtFault> {
    let issued_at = registered_claims::check_times(payload, skew, now)?.issued_at.ok_or(JwtFault::Missing("iat"))?;
    let counts_until = issued_at.saturating_add(OLDEST + skew);
    if now >= counts_until { Err(JwtFault::Clock("iat")) } else { Ok((issued_at, counts_until)) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::macros::datetime;

    use super::*;
    use crate::notices::event_type::{CREDENTIAL_CHANGE, SESSION_REVOKED};

    const NOW: OffsetDateTime = datetime!(2026-01-31 09:00 UTC);
    const IDP: &str = "https://idp.example.test";

    fn verdict(changes: &Value) -> Result<SecurityEventToken, JwtFault> {
        let mut payload = json!({
            "iss": "https://signals.example.test", "aud": "backoffice", "iat": NOW.unix_timestamp(), "jti": "j-1",
            "sub_id": { "format": "iss_sub", "iss": IDP, "sub": "a" },
            "events": { SESSION_REVOKED: { "event_timestamp": 1 } },
        });
        let claims = payload.as_object_mut().unwrap();
        for (name, value) in changes.as_object().unwrap() {
            match value {
                Value::Null => claims.remove(name),
                value => claims.insert(name.clone(), value.clone()),
            };
        }
        let one = |issuer: &str| IssuerPattern::One(issuer.to_owned());
        let (issuers, of_persons) = (&one("https://signals.example.test"), &one(IDP));
        let clock_skew = Duration::seconds(60);
        check(claims, Expectation { issuers, audience: "backoffice", of_persons, clock_skew }, NOW)
    }

    #[test]
    fn honest_events_say_what_happened_to_whom() {
        let person = || Meant::Person { issuer: IDP.into(), subject: "a".into() };
        let now = NOW.unix_timestamp();
        for (changes, expected) in [
            (json!({}), vec![(EventType::SessionRevoked, person())]),
            (json!({ "events": { CREDENTIAL_CHANGE: {} } }), vec![(EventType::CredentialChange, person())]),
            (json!({ "events": { "https://schemas.openid.net/secevent/ssf/event-type/verification": {} } }), vec![]),
            (json!({ "events": { "urn:other": { "x": 1 } }, "sub_id": null }), vec![]),
            (json!({ "aud": ["other", "backoffice"], "txn": "8675309" }), vec![(EventType::SessionRevoked, person())]),
            (json!({ "iat": now - 600_000 }), vec![(EventType::SessionRevoked, person())]),
            (
                json!({ "sub_id": null, "events": { SESSION_REVOKED: { "subject": { "subject_type": "iss_sub", "iss": IDP, "sub": "a" } } } }),
                vec![(EventType::SessionRevoked, person())],
            ),
        ] {
            let token = verdict(&changes).unwrap_or_else(|fault| panic!("{fault}: {changes}"));
            let said = token.events().iter();
            let said: Vec<_> = said.map(|event| (event.event_type, event.meant[0].clone())).collect();
            assert_eq!((&said, token.id()), (&expected, "j-1"), "{changes}");
        }
        let foreign = json!({ "sub_id": { "format": "iss_sub", "iss": "https://evil.example", "sub": "a" } });
        assert_eq!(verdict(&foreign).unwrap().events()[0].meant, []);
    }

    /// One line a case.
    #[test]
    fn an_event_happened_when_it_says_or_else_when_it_was_issued() {
        let now = NOW.unix_timestamp();
        for (said, at) in [
            (json!(now - 3_600), now - 3_600),
            (json!(null), now),
            (json!(now + 3_600), now),
            (json!(now * 1_000), now),
            (json!(1), now),
            (json!("yesterday"), now),
        ] {
            let event = verdict(&json!({ "events": { SESSION_REVOKED: { "event_timestamp": said } } })).unwrap();
            assert_eq!(event.events()[0].happened_at.unix_timestamp(), at, "{said}");
        }
    }

    /// R-D06: no session has the pattern of the tenants' issuers as its own.
    #[test]
    fn a_transmitter_beside_several_tenants_tells_of_the_people_of_each() {
        let tenants = vec!["one".to_owned(), "two".to_owned()];
        let of_persons = &IssuerPattern::new("https://idp.test/{tenantid}/v2.0".to_owned(), tenants);
        for (issuer, meant) in [
            ("https://signals.example.test", &["https://idp.test/one/v2.0", "https://idp.test/two/v2.0"][..]),
            ("https://idp.test/two/v2.0", &["https://idp.test/two/v2.0"]),
        ] {
            let payload = json!({
                "iss": issuer, "aud": "backoffice", "iat": NOW.unix_timestamp(), "jti": "j-1",
                "sub_id": { "format": "email", "email": "a@example.com" }, "events": { SESSION_REVOKED: {} },
            });
            let transmitter = if issuer.contains("signals") { issuer } else { of_persons.configured() };
            let (issuers, clock_skew) = (&of_persons.with_issuer(transmitter), Duration::seconds(60));
            let expected = Expectation { issuers, audience: "backoffice", of_persons, clock_skew };
            let event = check(payload.as_object().unwrap(), expected, NOW).unwrap();
            let address = |issuer: &&str| Meant::Address { issuer: (*issuer).into(), email: "a@example.com".into() };
            assert_eq!(event.events()[0].meant, meant.iter().map(address).collect::<Vec<_>>());
        }
    }

    /// R-D13: one line a case.
    #[test]
    fn wrong_claims_refuse_a_security_event_and_are_named() {
        for (claim, changes) in [
            ("iss", json!({ "iss": null })),
            ("iss", json!({ "iss": IDP })),
            ("aud", json!({ "aud": null })),
            ("aud", json!({ "aud": ["other"] })),
            ("iat", json!({ "iat": null })),
            ("iat", json!({ "iat": "1" })),
            ("exp", json!({ "exp": "1" })),
            ("jti", json!({ "jti": null })),
            ("jti", json!({ "jti": 1 })),
            ("events", json!({ "events": null })),
            ("events", json!({ "events": {} })),
            ("events", json!({ "events": [SESSION_REVOKED] })),
            ("events", json!({ "events": { SESSION_REVOKED: null } })),
            ("events", json!({ "events": { SESSION_REVOKED: [] } })),
            ("sub_id", json!({ "sub_id": null })),
            ("sub_id", json!({ "sub_id": "a" })),
            ("sub_id", json!({ "sub_id": {} })),
        ] {
            assert_eq!(verdict(&changes).unwrap_err().claim(), Some(claim), "{changes}");
        }
        let now = NOW.unix_timestamp();
        for (claim, changes) in [
            ("iat", json!({ "iat": now + 61 })),
            ("iat", json!({ "iat": now - 7 * 86_400 - 60 })),
            ("exp", json!({ "exp": now - 60 })),
        ] {
            assert_eq!(verdict(&changes), Err(JwtFault::Clock(claim)), "{changes}");
        }
    }
}
