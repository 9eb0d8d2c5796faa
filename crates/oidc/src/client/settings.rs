//! The settings of our side towards one provider: the client's name, its proof, and the connection.

use std::time::Duration;

use crate::client::client_authentication::ClientAuthentication;
use crate::client::dpop::DpopSettings;
use crate::client::http::TlsSettings;
use crate::client::proxy::ProviderProxy;

/// One provider's client: this broker.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// Our name at the provider.
    pub id: String,
    /// Proof that it is us.
    pub authentication: ClientAuthentication,
    /// Trusted authorities and client certificate of the connection.
    pub tls: TlsSettings,
    /// Proxy between us and the provider, if there is one.
    pub proxy: Option<ProviderProxy>,
    /// Set if tokens are bound to a key of ours (RFC 9449).
    pub dpop: Option<DpopSettings>,
    /// Longest wait for one answer of the provider.
    pub timeout: Duration,
}
