//! The tokens that a provider issued for one person.

use counterfoil_core::secret::Secret;
use time::OffsetDateTime;

/// The tokens of one login.
#[derive(Debug, Clone)]
pub struct ProviderTokens {
    /// The token for userinfo, and for upstreams that it is passed to.
    pub access_token: Secret<String>,
    /// Its expiry; `None` if the provider stated none that can be read.
    pub access_token_expires_at: Option<OffsetDateTime>,
    /// The token for new access tokens.
    pub refresh_token: Option<Secret<String>>,
    /// The ID token, not verified yet.
    pub id_token: Option<Secret<String>>,
}
