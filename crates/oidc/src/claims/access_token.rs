//! The access token as one more source of attributes, where the configuration says so.
//!
//! RFC 9068 6 tells clients not to inspect access tokens, since their format is a matter between the provider and its
//! APIs. Keycloak's default configuration puts roles into access tokens alone, though, and its operators are often not
//! those of the back office. So this source is off by default, its tokens are verified as ID tokens are, and a token
//! that cannot be verified is ignored. Keys are never fetched again for an access token: the ID token that came with it
//! has caused that already, and tokens that only an API can verify must not use up the rate limit of ID tokens. Each
//! new token is read again.

use serde_json::{Map, Value};
use time::{Duration, OffsetDateTime};

use crate::claims::attributes::{at, remove_at};
use crate::claims::mapping::ProfileMapping;
use crate::verification::fault::JwtFault;
use crate::verification::registered_claims::{check_times, optional_text, text};

/// Claims about the login rather than the person, which are taken from the ID token alone.
const OF_THE_ID_TOKEN: [&str; 12] =
    ["iss", "sub", "aud", "azp", "sid", "exp", "iat", "nonce", "acr", "amr", "auth_time", "session_expiry"];

/// The values that an access token's claims must fit.
pub(crate) struct Expectation<'a> {
    pub(crate) issuer: &'a str,
    pub(crate) subject: &'a str,
    pub(crate) client_id: &'a str,
    pub(crate) clock_skew: Duration,
}

/// Checks its issuer, its times, whom it was issued to (`azp`, or `client_id` as RFC 9068 2.2 has it) and whom it is
/// about. Its audience is not checked: that is an API's.
pub(crate) fn check(
    payload: &Map<String, Value>,
    expected: &Expectation<'_>,
    now: OffsetDateTime,
) -> Result<(), JwtFault> {
    let issuer = text(payload, "iss")?;
    if issuer != expected.issuer {
        return Err(JwtFault::issuer(issuer, expected.issuer));
    }
    check_times(payload, expected.clock_skew, now)?.expires_at.ok_or(JwtFault::Missing("exp"))?;
    let issued_to = |name: &'static str| optional_text(payload, name, JwtFault::ClaimType(name));
    let parties: Vec<_> = [issued_to("azp")?, issued_to("client_id")?].into_iter().flatten().collect();
    if parties.is_empty() || parties.iter().any(|party| *party != expected.client_id) {
        return Err(JwtFault::Claim("azp"));
    }
    match optional_text(payload, "sub", JwtFault::ClaimType("sub"))? {
        Some(subject) if subject != expected.subject => Err(JwtFault::Claim("sub")),
        _ => Ok(()),
    }
}

/// Adds the claims that are missing elsewhere, members of objects as well. An address and its `email_verified` are
/// taken together or not at all (R-D15).
pub(crate) fn add(claims: &mut Map<String, Value>, mut more: Map<String, Value>, mapping: &ProfileMapping) {
    more.retain(|name, _| !OF_THE_ID_TOKEN.contains(&name.as_str()));
    if at(claims, &mapping.email).is_some_and(|address| !address.is_null()) {
        for path in [&mapping.email].into_iter().chain(&mapping.email_verified) {
            remove_at(&mut more, path);
        }
    }
    fill(claims, more);
}

fn fill(known: &mut Map<String, Value>, more: Map<String, Value>) {
    for (name, value) in more {
        match (known.get_mut(&name), value) {
            (Some(Value::Object(known)), Value::Object(more)) => fill(known, more),
            (None | Some(Value::Null), value) => _ = known.insert(name, value),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-01-31 09:00 UTC);

    fn object(value: &Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    /// R-D13, RFC 9068 2.2, 4: one line a case.
    #[test]
    fn only_a_token_that_was_issued_to_us_about_this_person_is_read() {
        let now = NOW.unix_timestamp();
        for (fault, changes) in [
            (None, json!({})),
            (None, json!({ "aud": "account" })),
            (None, json!({ "azp": null, "client_id": "backoffice" })),
            (None, json!({ "sub": null })),
            (Some(JwtFault::issuer("https://other.test", "https://idp.test")), json!({ "iss": "https://other.test" })),
            (Some(JwtFault::Claim("azp")), json!({ "azp": null })),
            (Some(JwtFault::Claim("azp")), json!({ "azp": "other" })),
            (Some(JwtFault::Claim("azp")), json!({ "client_id": "other" })),
            (Some(JwtFault::Claim("sub")), json!({ "sub": "2" })),
            (Some(JwtFault::Missing("exp")), json!({ "exp": null })),
            (Some(JwtFault::Clock("exp")), json!({ "exp": now - 60 })),
            (Some(JwtFault::Clock("iat")), json!({ "iat": now + 61 })),
        ] {
            let mut claims = object(&json!({
                "iss": "https://idp.test", "azp": "backoffice", "sub": "1", "exp": now + 60, "iat": now,
            }));
            for (name, value) in changes.as_object().unwrap() {
                claims.insert(name.clone(), value.clone());
            }
            claims.retain(|_, value| !value.is_null());
            let expected = Expectation {
                issuer: "https://idp.test",
                subject: "1",
                client_id: "backoffice",
                clock_skew: Duration::seconds(60),
            };
            assert_eq!(check(&claims, &expected, NOW).err(), fault, "{changes}");
        }
    }

    /// R-E04, R-D15: one line a case: what the ID token says, what the access token says, what is left.
    #[test]
    fn an_access_token_adds_and_never_replaces() {
        for (known, more, left) in [
            (json!({ "sub": "1" }), json!({ "sub": "2", "aud": "x", "acr": "high" }), json!({ "sub": "1" })),
            (json!({ "groups": ["a"] }), json!({ "groups": ["b"] }), json!({ "groups": ["a"] })),
            (json!({ "groups": null }), json!({ "groups": ["b"] }), json!({ "groups": ["b"] })),
            (
                json!({ "r": { "x": 1 } }),
                json!({ "r": { "x": 2, "y": 3 }, "realm_access": { "roles": ["staff"] } }),
                json!({ "r": { "x": 1, "y": 3 }, "realm_access": { "roles": ["staff"] } }),
            ),
            (
                json!({ "email": "a@x.test" }),
                json!({ "email": "b@x.test", "email_verified": true }),
                json!({ "email": "a@x.test" }),
            ),
            (
                json!({}),
                json!({ "email": "b@x.test", "email_verified": true }),
                json!({ "email": "b@x.test", "email_verified": true }),
            ),
        ] {
            let mut claims = object(&known);
            add(&mut claims, object(&more), &ProfileMapping::default());
            assert_eq!(Value::Object(claims), left, "{known} {more}");
        }
    }
}
