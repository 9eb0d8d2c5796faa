//! The userinfo endpoint: OpenID Connect Core 5.3.
//!
//! Plain JSON, or a JWT signed by the provider. Its subject must be the ID token's (R-E02), and what it says
//! never replaces what the ID token proved (R-E04).

use counterfoil_core::secret::Secret;
use http::Response;
use serde_json::{Map, Value};
use thiserror::Error;
use time::{Duration, OffsetDateTime};
use url::Url;

use crate::answer::content_type::media_type;
use crate::answer::error_codes::says_away;
use crate::answer::provider_words::ProviderWords;
use crate::claims::attributes::{at, remove_at, text_at};
use crate::claims::mapping::ProfileMapping;
use crate::client::back_channel::BackChannel;
use crate::client::http_error::HttpError;
use crate::client::json::json_object;
use crate::verification::fault::JwtFault;
use crate::verification::registered_claims::{self, check_named, has, optional_text};

/// Claims that only the ID token can make.
const PROVEN_BY_THE_ID_TOKEN: [&str; 12] =
    ["iss", "sub", "aud", "azp", "sid", "exp", "iat", "nonce", "acr", "amr", "auth_time", "session_expiry"];

/// The policy on requests to userinfo.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum UserinfoUse {
    /// At every login and renewal.
    #[default]
    Always,
    /// Only if an attribute is missing from the tokens.
    WhereNeeded,
    /// At none.
    Never,
}

/// The reason why userinfo was not accepted.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum UserinfoError {
    /// No usable answer.
    #[error("the userinfo endpoint failed: {0}{advice}", advice = advice(.0))]
    Http(#[from] HttpError),
    /// It speaks of somebody else.
    #[error("userinfo is about another subject than the ID token")]
    Subject,
    /// It has no subject and holds an error, with status 200.
    #[error("the userinfo endpoint refused{0}")]
    Refused(ProviderWords),
    /// It speaks of nobody.
    #[error("userinfo names no subject")]
    Nobody,
    /// A signed answer of another issuer, for another audience, or expired.
    #[error("signed userinfo was not accepted: {0}")]
    Token(#[source] JwtFault),
}

/// Returns advice, if a provider takes no such token at its own userinfo (Keycloak: "lightweight access token").
fn advice(error: &HttpError) -> &'static str {
    match error {
        HttpError::Status(401 | 403, _) => {
            " (if it takes none of this client's tokens: userinfo = false, or \"auto\" to ask only for what is missing)"
        }
        _ => "",
    }
}

/// An answer, not yet verified.
#[derive(Debug)]
pub enum Answer {
    /// `application/json`
    Plain(Map<String, Value>),
    /// `application/jwt`: the token, its signature still to be verified.
    Signed(Secret<String>),
}

pub(crate) async fn fetch(
    back_channel: BackChannel<'_>,
    endpoint: &Url,
    access_token: &Secret<String>,
) -> Result<Answer, UserinfoError> {
    Ok(read(&back_channel.get(endpoint, "application/json, application/jwt", access_token).await?)?)
}

/// Reads an answer. Pure.
///
/// # Errors
/// [`HttpError`] if it is neither a JSON object nor a JWT, says that it is something else, or is a provider's word for
/// being away.
pub fn read(answer: &Response<Vec<u8>>) -> Result<Answer, HttpError> {
    match media_type(answer).as_deref() {
        Some("application/json") => match json_object(answer.body())? {
            // Slack answers even a refusal with status 200. A refusal has no subject.
            refusal if !refusal.contains_key("sub") && says_away(&refusal) => {
                Err(HttpError::Status(503, ProviderWords::of_answer(answer)))
            }
            document => Ok(Answer::Plain(document)),
        },
        Some("application/jwt") => {
            let token = String::from_utf8(answer.body().clone()).map_err(|_| HttpError::ContentType)?;
            Ok(Answer::Signed(Secret::new(token.trim().to_owned())))
        }
        _ => Err(HttpError::ContentType),
    }
}

/// The values that a signed answer must fit.
#[derive(Debug, Clone, Copy)]
pub struct Expectation<'a> {
    /// The issuer of the ID token.
    pub issuer: &'a str,
    /// Our name at the provider.
    pub client_id: &'a str,
    /// Tolerated error of the provider's clock.
    pub clock_skew: Duration,
}

/// Checks the claims of a signed answer. Core 5.3.2 only recommends `iss` and `aud`, and providers exist that send
/// neither (Authelia): then signature and connection are the proof. A claim that is present has to be right, and an
/// expired answer is refused (RFC 7519 4.1.4).
///
/// # Errors
/// [`JwtFault`], by the claim that is malformed or not what is expected.
pub fn check_signed(
    payload: &Map<String, Value>,
    expected: &Expectation<'_>,
    now: OffsetDateTime,
) -> Result<(), JwtFault> {
    let issuer = optional_text(payload, "iss", JwtFault::ClaimType("iss"))?;
    if let Some(other) = issuer.filter(|issuer| *issuer != expected.issuer) {
        return Err(JwtFault::issuer(other, expected.issuer));
    }
    if has(payload, "aud") {
        check_named(payload, expected.client_id)?;
    }
    registered_claims::optional_name(payload, "sub")?;
    registered_claims::check_times(payload, expected.clock_skew, now)?;
    // A logout token is signed by the same keys.
    if has(payload, "events") { Err(JwtFault::Type) } else { Ok(()) }
}

/// Checks that the subject is exactly the same (Core 5.3.2). A refusal may repeat the access token that was shown.
///
/// # Errors
/// [`UserinfoError::Subject`], [`UserinfoError::Refused`], [`UserinfoError::Nobody`].
pub fn check_subject(payload: &Map<String, Value>, subject: &str, access_token: &str) -> Result<(), UserinfoError> {
    let text = |name| payload.get(name).and_then(Value::as_str);
    match (text("sub"), text("error")) {
        (Some(named), _) if named == subject => Ok(()),
        (None, None) => Err(UserinfoError::Nobody),
        (None, Some(_)) => Err(UserinfoError::Refused(ProviderWords::of_document(payload, &[access_token]))),
        _ => Err(UserinfoError::Subject),
    }
}

/// Adds userinfo to the ID token's claims. `email_verified` of the ID token does not apply to another address in
/// userinfo (R-D15); an unverified address stays unverified unless userinfo says otherwise. `null` is "not returned"
/// (Core 5.3.2) and erases nothing, at any depth.
pub fn merge(claims: &mut Map<String, Value>, userinfo: Map<String, Value>, mapping: &ProfileMapping) {
    let address = |claims: &Map<String, Value>| text_at(claims, &mapping.email);
    let vouched_for = address(claims);
    let is_yes = |said: &Value| [true.into(), 1.into(), "true".into(), "1".into()].contains(said);
    let vouches = |path: &&String| at(&userinfo, path).is_none() && at(claims, path).is_some_and(is_yes);
    let vouching: Vec<_> = mapping.email_verified.iter().filter(vouches).collect();
    for (name, value) in userinfo {
        if !PROVEN_BY_THE_ID_TOKEN.contains(&name.as_str()) && !value.is_null() {
            let before = claims.remove(&name);
            claims.insert(name, said_or_before(value, before));
        }
    }
    let is_the_same = match (vouched_for, address(claims)) {
        (Some(vouched_for), Some(address)) => vouched_for.eq_ignore_ascii_case(&address),
        _ => false,
    };
    for path in vouching.into_iter().filter(|_| !is_the_same) {
        remove_at(claims, path);
    }
}

/// Returns the new value, with the old one wherever the new one has `null` in its place.
fn said_or_before(said: Value, before: Option<Value>) -> Value {
    match (said, before) {
        (Value::Null, Some(before)) => before,
        (Value::Object(said), Some(Value::Object(mut before))) => {
            let member = |(name, value)| {
                let before = before.remove(&name);
                (name, said_or_before(value, before))
            };
            Value::Object(said.into_iter().map(member).collect())
        }
        (said, _) => said,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: &Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    /// R-E02
    #[test]
    fn the_subject_must_be_the_same_text() {
        let token = "eyJhbGciOiJSUzI1NiJ9.e30.c2ln";
        let check_subject = |payload: &Map<String, Value>, subject| check_subject(payload, subject, token);
        assert!(check_subject(&object(&json!({ "sub": "1" })), "1").is_ok());
        let refused = check_subject(&object(&json!({ "error": "account_inactive" })), "1").unwrap_err();
        assert_eq!(refused.to_string(), "the userinfo endpoint refused; the provider says: account_inactive");
        let repeated = json!({ "error": "x", "error_description": format!("token {token} is not valid") });
        let refused = check_subject(&object(&repeated), "1").unwrap_err();
        let written = "the userinfo endpoint refused; the provider says: x 'token [redacted] is not valid'";
        assert_eq!(refused.to_string(), written, "R-O01");
        for other in [json!({ "sub": "2" }), json!({ "sub": "2", "error": "x" })] {
            assert!(matches!(check_subject(&object(&other), "1"), Err(UserinfoError::Subject)), "{other}");
        }
        for nobody in [json!({}), json!({ "sub": 1 }), json!({ "sub": ["1"] }), json!({ "error": 7 })] {
            assert!(matches!(check_subject(&object(&nobody), "1"), Err(UserinfoError::Nobody)), "{nobody}");
        }
    }

    /// R-E03
    #[test]
    fn only_json_objects_and_jwts_are_read() {
        let answer = |kind: &str, body: &str| {
            read(&Response::builder().header("content-type", kind).body(body.as_bytes().to_vec()).unwrap())
        };
        assert!(matches!(answer("application/json; charset=utf-8", "{}"), Ok(Answer::Plain(_))));
        assert!(matches!(answer("application/jwt", "a.b.c"), Ok(Answer::Signed(_))));
        let away = answer("application/json", r#"{"ok":false,"error":"internal_error"}"#);
        assert!(matches!(away, Err(HttpError::Status(503, _))), "no word about the person (R-C12)");
        for document in [r#"{"ok":false,"error":"account_inactive"}"#, r#"{"sub":"1","error":"internal_error"}"#] {
            assert!(matches!(answer("application/json", document), Ok(Answer::Plain(_))), "{document}");
        }
        for (kind, body) in [
            ("application/json", "[]"),
            ("application/json", "\"text\""),
            ("application/json", "<html>"),
            ("text/html", "{}"),
            ("", "{}"),
        ] {
            assert!(answer(kind, body).is_err(), "{kind} {body}");
        }
    }

    /// R-E04
    #[test]
    fn userinfo_adds_but_never_replaces_what_the_id_token_proved() {
        let mut claims = object(&json!({ "sub": "1", "iss": "i", "name": "Old" }));
        let forged = PROVEN_BY_THE_ID_TOKEN.map(|name| (name.to_owned(), json!("forged")));
        let mut userinfo: Map<_, _> = forged.into_iter().collect();
        userinfo.insert("name".into(), json!("New"));
        merge(&mut claims, userinfo, &ProfileMapping::default());
        assert_eq!(claims, object(&json!({ "sub": "1", "iss": "i", "name": "New" })));
    }

    /// One line a case: what the ID token says, what userinfo says, what is left. Found by putting `null` in the place of
    /// every attribute that is mapped, and below objects.
    #[test]
    fn null_erases_nothing() {
        for (id_token, userinfo, merged) in [
            (json!({ "groups": ["staff"] }), json!({ "groups": null }), json!({ "groups": ["staff"] })),
            (
                json!({ "name": "A", "email": "a@b.c" }),
                json!({ "name": null, "email": null }),
                json!({ "name": "A", "email": "a@b.c" }),
            ),
            (
                json!({ "email": "a@b.c", "email_verified": true }),
                json!({ "email_verified": null }),
                json!({ "email": "a@b.c", "email_verified": true }),
            ),
            (
                json!({ "email": "a@b.c", "email_verified": true }),
                json!({ "email": null }),
                json!({ "email": "a@b.c", "email_verified": true }),
            ),
            (json!({}), json!({ "groups": null }), json!({})),
            (
                json!({ "realm_access": { "roles": ["r"] } }),
                json!({ "realm_access": { "roles": null } }),
                json!({ "realm_access": { "roles": ["r"] } }),
            ),
            (
                json!({ "realm_access": { "roles": ["r"] } }),
                json!({ "realm_access": null }),
                json!({ "realm_access": { "roles": ["r"] } }),
            ),
            // A value that is there counts, also if it is less.
            (json!({ "a": { "b": ["r"], "c": 1 } }), json!({ "a": { "b": ["s"] } }), json!({ "a": { "b": ["s"] } })),
            (json!({ "groups": ["staff"] }), json!({ "groups": [] }), json!({ "groups": [] })),
            (json!({ "groups": ["staff"] }), json!({ "groups": "" }), json!({ "groups": "" })),
        ] {
            let mut claims = object(&id_token);
            merge(&mut claims, object(&userinfo), &ProfileMapping::default());
            assert_eq!(claims, object(&merged), "{id_token} {userinfo}");
        }
    }

    /// R-D15: one line a case: what the ID token says, what userinfo says, what is left of the word on the address.
    #[test]
    fn email_verified_of_the_id_token_applies_to_its_own_address_alone() {
        let (alice, ceo) = ("alice@example.com", "ceo@example.com");
        for (id_token, userinfo, left) in [
            (json!({ "email": alice, "email_verified": true }), json!({}), json!(true)),
            (json!({ "email": alice, "email_verified": true }), json!({ "email": alice }), json!(true)),
            (json!({ "email": alice, "email_verified": true }), json!({ "email": "Alice@example.com" }), json!(true)),
            (json!({ "email": alice, "email_verified": true }), json!({ "email": ceo }), json!(null)),
            (json!({ "email": alice, "email_verified": "true" }), json!({ "email": ceo }), json!(null)),
            (json!({ "email_verified": true }), json!({ "email": ceo }), json!(null)),
            (json!({ "email": alice, "email_verified": true }), json!({ "email": [ceo] }), json!(null)),
            (json!({ "email": alice, "email_verified": false }), json!({ "email": alice }), json!(false)),
            (json!({ "email": alice, "email_verified": false }), json!({ "email": ceo }), json!(false)),
            (json!({ "email": alice, "email_verified": true }), json!({ "email_verified": false }), json!(false)),
            (json!({ "email": alice }), json!({ "email": ceo, "email_verified": true }), json!(true)),
        ] {
            let mut claims = object(&id_token);
            merge(&mut claims, object(&userinfo), &ProfileMapping::default());
            assert_eq!(claims.get("email_verified").unwrap_or(&Value::Null), &left, "{id_token} {userinfo}");
        }
        let mapping = ProfileMapping {
            email: "mail.address".into(),
            email_verified: vec!["xms_edov".into(), "mail.checked".into()],
            ..ProfileMapping::default()
        };
        let mut claims = object(&json!({ "xms_edov": 1, "mail": { "address": alice, "checked": true }, "groups": [] }));
        let before = claims.clone();
        merge(&mut claims, object(&json!({ "email": ceo })), &mapping);
        assert_eq!(claims, [before, object(&json!({ "email": ceo }))].into_iter().flatten().collect());
        merge(&mut claims, object(&json!({ "mail": { "address": ceo } })), &mapping);
        assert_eq!(claims, object(&json!({ "mail": { "address": ceo }, "groups": [], "email": ceo })));
    }
}
