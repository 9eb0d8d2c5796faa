//! The parameters of an authorization request that the broker alone may add.

/// Parameters that the broker sets itself, or must never set: the configuration cannot add them (R-A08).
const RESERVED: [&str; 22] = [
    "response_type",
    "client_id",
    "redirect_uri",
    "scope",
    "state",
    "nonce",
    "code_challenge",
    "code_challenge_method",
    "response_mode",
    "prompt",
    "max_age",
    "acr_values",
    "ui_locales",
    "login_hint",
    "id_token_hint",
    "request",
    "request_uri",
    "dpop_jkt",
    "code",
    "client_secret",
    "client_assertion",
    "client_assertion_type",
];

/// Is true if a parameter is the broker's own, so that the configuration must not add it.
pub fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name)
}
