//! Exchanges codes and refresh tokens at the token endpoint, and revokes tokens.

pub(crate) mod answer;
pub(crate) mod as_specified;
pub(crate) mod exchange;
pub(crate) mod exchange_error;
pub(crate) mod provider_tokens;
pub(crate) mod refresh_grant;
pub(crate) mod revocation;
pub(crate) mod token_request;
