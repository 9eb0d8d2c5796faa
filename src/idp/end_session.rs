//! The provider's own logout: where the browser ends its session there (OpenID Connect RP-Initiated Logout 1.0), and
//! which pages of the provider may frame ours while it does (Front-Channel Logout 1.0).

use url::Url;

use super::{IdpKind, Provider};
use crate::secret::{Secret, random_token};

impl Provider {
    /// Where the browser ends its session at the provider, if the provider offers that
    /// (OpenID Connect RP-Initiated Logout 2).
    pub async fn end_session_url(&self, back_to: &Url, id_token: Option<&Secret<String>>) -> Option<Url> {
        let IdpKind::Oidc(oidc) = &self.0.settings.kind else { return None };
        let mut url = self.metadata().await.ok()?.end_session_endpoint.clone()?;
        let hint = id_token.filter(|_| oidc.logout_id_token_hint);
        let back_to = (oidc.logout_redirect_parameter.as_str(), back_to);
        add_query(&mut url, &self.0.settings.client_id, back_to, hint);
        Some(url)
    }

    /// The origins of the provider's pages, as far as they are known: those of its issuer and of its logout.
    pub async fn page_origins(&self) -> Vec<String> {
        let issuer = Url::parse(self.issuer()).ok();
        let logout = self.metadata().await.ok().and_then(|metadata| metadata.end_session_endpoint.clone());
        let mut origins: Vec<_> =
            issuer.into_iter().chain(logout).map(|url| url.origin().ascii_serialization()).collect();
        origins.dedup();
        origins
    }
}

/// The request's parameters (R-J03). The `state` is only there because some providers want one: the landing page does
/// not act on it.
fn add_query(url: &mut Url, client_id: &str, (parameter, back_to): (&str, &Url), hint: Option<&Secret<String>>) {
    let mut query = url.query_pairs_mut();
    query.append_pair("client_id", client_id);
    query.append_pair(parameter, back_to.as_str());
    query.append_pair("state", &random_token::<16>());
    if let Some(hint) = hint {
        query.append_pair("id_token_hint", hint.expose());
    }
}
