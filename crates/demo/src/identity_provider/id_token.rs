//! The content of an ID token.
//!
//! Owns its claims, OpenID Connect Core 1.0 section 2. Does not sign. Called by `token`.

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use super::grants::Issued;

const LIFETIME: Duration = Duration::minutes(5);

/// Returns the claims for fresh tokens. A refresh has no nonce to repeat, section 12.2.
pub(super) fn claims(iss: &str, issued: &Issued, nonce: Option<&str>, now: OffsetDateTime) -> Value {
    let grant = &issued.grant;
    let mut claims = grant.account.claims(&issued.scopes);
    let protocol_claims = [
        ("iss", json!(iss)),
        ("sub", json!(grant.account.id)),
        ("aud", json!(grant.client_id)),
        ("exp", json!((now + LIFETIME).unix_timestamp())),
        ("iat", json!(now.unix_timestamp())),
        ("auth_time", json!(grant.signed_in_at.unix_timestamp())),
        ("sid", json!(grant.sid)),
        ("at_hash", json!(access_token_hash(&issued.access_token))),
    ];
    claims.extend(protocol_claims.map(|(name, value)| (name.to_owned(), value)));
    if let Some(nonce) = nonce {
        claims.insert("nonce".to_owned(), json!(nonce));
    }
    Value::Object(claims)
}

/// Returns the left half of the SHA-256 digest, section 3.1.3.6.
fn access_token_hash(access_token: &str) -> String {
    let hash = digest::digest(&digest::SHA256, access_token.as_bytes());
    URL_SAFE_NO_PAD.encode(&hash.as_ref()[..digest::SHA256_OUTPUT_LEN / 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_access_token_hash_is_the_one_of_the_specification() {
        // The access token and at_hash of OpenID Connect Core 1.0 appendix A.3.
        assert_eq!(access_token_hash("jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y"), "77QmUPtjPfzWtF2AnpK9RQ");
    }
}
