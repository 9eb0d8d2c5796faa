//! The error codes of refusals that are known (RFC 6749 5.2, RFC 9449 5, and those of well-known products). Pure.

use serde_json::{Map, Value};

/// Error codes of refusals, which logs may repeat.
pub(crate) const KNOWN_REFUSALS: [&str; 20] = [
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "invalid_scope",
    "unsupported_grant_type",
    "interaction_required",
    "login_required",
    "consent_required",
    "bad_refresh_token",
    "incorrect_client_credentials",
    "use_dpop_nonce",
    "invalid_dpop_proof",
    "access_denied",
    "token_inactive",
    "token_expired",
    "request_unauthorized",
    "bad_verification_code",
    "invalid_code",
    "code_already_used",
];

/// Error codes of an outage, whatever status they come with: those of the standard, and Slack's.
pub(crate) const AWAY: [&str; 11] = [
    "server_error",
    "temporarily_unavailable",
    "slow_down",
    "internal_error",
    "fatal_error",
    "service_unavailable",
    "request_timeout",
    "ratelimited",
    "rate_limited",
    "team_added_to_org",
    "org_login_required",
];

/// Is true if a refusal reports an outage and so says nothing of the person (R-C12).
pub(crate) fn says_away(document: &Map<String, Value>) -> bool {
    document.get("error").and_then(Value::as_str).is_some_and(|said| AWAY.contains(&said))
}
