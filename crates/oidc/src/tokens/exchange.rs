//! The token request: code in, tokens out (RFC 6749 4.1.3, RFC 7636 4.5).

use counterfoil_core::secret::Secret;
use oauth2::{AuthorizationCode, PkceCodeVerifier};
use url::Url;

use crate::tokens::answer::tokens;
use crate::tokens::exchange_error::{TokenExchangeError, failure};
use crate::tokens::provider_tokens::ProviderTokens;
use crate::tokens::token_request::TokenRequests;

/// Exchanges a code, once. `state` is repeated where the provider wants it.
pub(crate) async fn exchange(
    requests: TokenRequests<'_>,
    redirect_uri: &Url,
    code: String,
    verifier: &Secret<String>,
    state: Option<&str>,
) -> Result<ProviderTokens, TokenExchangeError> {
    let client = requests.client(redirect_uri);
    let mut request = client
        .exchange_code(AuthorizationCode::new(code))
        .set_pkce_verifier(PkceCodeVerifier::new(verifier.expose().clone()));
    if let Some(state) = state {
        request = request.add_extra_param("state", state.to_owned());
    }
    let channel = requests.channel;
    let answer =
        request.request_async(&requests).await.map_err(|error| failure(error, &channel.client.authentication))?;
    tokens(answer, channel)
}
