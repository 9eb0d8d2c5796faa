//! The settings of the notices that a provider sends by itself.

use counterfoil_core::secret::Secret;
use url::Url;

use crate::verification::algorithm::Algorithm;

/// One provider's notices.
#[derive(Debug, Clone, Default)]
pub struct NoticeSettings {
    /// Transmitter of security events, if there is one.
    pub shared_signals: Option<SharedSignals>,
}

/// `[idp.<name>.shared_signals]`: the transmitter, and its authentication.
#[derive(Debug, Clone)]
pub struct SharedSignals {
    /// The transmitter's issuer identifier.
    pub issuer: String,
    /// Our name at the transmitter.
    pub audience: String,
    /// The transmitter's keys; `None` are the provider's own.
    pub jwks_uri: Option<Url>,
    /// The one algorithm events are signed with.
    pub algorithm: Algorithm,
    /// Token that the transmitter has to show as well.
    pub bearer_token: Option<Secret<String>>,
}
