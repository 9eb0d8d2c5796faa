//! Signed request objects (RFC 9101, OpenID Connect Core 6.1): the parameters of a request, protected against changes
//! on the way.
//!
//! Pure. How the object then travels, through the browser or pushed, is not its business.

use counterfoil_core::secret::random_token;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use crate::client::signing_key::{SigningKey, SigningKeyError};

/// Lifetime of an object, in seconds: the browser takes it along at once.
const LIFETIME: i64 = 300;

/// Parameters beside an object that goes through the browser: OpenID Connect wants the last two, with the same values
/// as inside (Core 6.1).
pub(crate) const BESIDE: &[&str] = &["client_id", "response_type", "scope"];
/// Parameters beside an object that is pushed (RFC 9126 3).
pub(crate) const BESIDE_PUSHED: &[&str] = &["client_id"];

/// Puts the parameters of a request into an object; returns what is sent instead of them.
pub(crate) fn wrap(
    parameters: Vec<(String, String)>,
    outside: &[&str],
    key: &SigningKey,
    client_id: &str,
    audience: &str,
    now: OffsetDateTime,
) -> Result<Vec<(String, String)>, SigningKeyError> {
    let mut sent: Vec<_> = parameters.iter().filter(|(name, _)| outside.contains(&name.as_str())).cloned().collect();
    let mut claims: Map<_, _> = parameters.into_iter().map(|(name, value)| claim(name, value)).collect();
    let now = now.unix_timestamp();
    let about = json!({
        "iss": client_id, "aud": audience, "iat": now, "nbf": now, "exp": now + LIFETIME, "jti": random_token::<16>(),
    });
    claims.extend(about.as_object().cloned().unwrap_or_default());
    sent.push(("request".to_owned(), key.sign(Some("oauth-authz-req+jwt"), &Value::Object(claims))?));
    Ok(sent)
}

/// Makes a claim (RFC 9101 4): numbers are numbers and objects are objects; everything else is text.
fn claim(name: String, value: String) -> (String, Value) {
    let typed = match name.as_str() {
        "max_age" => value.parse::<u64>().ok().map(Value::from),
        "claims" => serde_json::from_str::<Map<_, _>>(&value).ok().map(Value::Object),
        _ => None,
    };
    (name, typed.unwrap_or(Value::String(value)))
}
