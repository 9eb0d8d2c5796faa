//! The provider's own logout: how the browser ends its session there (OpenID Connect RP-Initiated Logout 1.0), and
//! which pages of the provider may frame ours while it does (Front-Channel Logout 1.0).

use std::sync::atomic::Ordering;

use counterfoil_core::secret::Secret;
use url::Url;

use crate::login::logout_request::{LogoutMethod, LogoutRequest, fields};
use crate::provider::Provider;
use crate::provider::settings::IdpKind;
use crate::provider::settings::OidcSettings;

/// Largest ID token that goes into an address, in bytes: servers and proxies refuse longer addresses.
const LARGEST_HINT: usize = 2 * 1024;

impl Provider {
    /// Writes the browser's logout at the provider, if the provider offers that. The ID token names the session to end,
    /// so that the provider need not ask the person (RP-Initiated Logout 2, `id_token_hint`: RECOMMENDED).
    pub async fn logout_request(&self, back_to: &Url, id_token: Option<&Secret<String>>) -> Option<LogoutRequest> {
        let IdpKind::Oidc(oidc) = &self.0.settings.kind else { return None };
        let mut endpoint = self.metadata().await.ok()?.end_session_endpoint.clone()?;
        let hint = id_token.filter(|hint| oidc.logout_id_token_hint && self.is_bearable(oidc, hint));
        let fields = fields(&self.0.settings.client.id, (&oidc.logout_redirect_parameter, back_to), hint);
        Some(match oidc.logout_method {
            LogoutMethod::Get => {
                endpoint.query_pairs_mut().extend_pairs(fields);
                LogoutRequest::Address(endpoint)
            }
            LogoutMethod::Post => LogoutRequest::Form { endpoint, fields },
        })
    }

    /// Is true if the hint fits into the request; logs once if it does not.
    fn is_bearable(&self, oidc: &OidcSettings, hint: &Secret<String>) -> bool {
        let bytes = hint.expose().len();
        let fits = oidc.logout_method == LogoutMethod::Post || bytes <= LARGEST_HINT;
        if !fits && !self.0.large_hint_noted.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                idp = self.name(),
                bytes,
                "the ID token is too large for an address, so the provider may ask people at a logout, or forget the way \
                 back: have it issue smaller ones, or set logout_request_method = \"post\""
            );
        }
        fits
    }

    /// Returns the origins of the provider's pages, as far as they are known: those of its issuer and of its logout.
    pub async fn page_origins(&self) -> Vec<String> {
        let issuer = Url::parse(self.issuer()).ok();
        let logout = self.metadata().await.ok().and_then(|metadata| metadata.end_session_endpoint.clone());
        let mut origins: Vec<_> =
            issuer.into_iter().chain(logout).map(|url| url.origin().ascii_serialization()).collect();
        origins.dedup();
        origins
    }
}
