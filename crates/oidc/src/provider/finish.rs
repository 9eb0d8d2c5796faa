//! Finishes a login: from the code to the identity.
//!
//! Order matters: the code is exchanged, the ID token is judged, and only then is anything else requested. Renewals use
//! the same steps.

use counterfoil_core::identity::Identity;
use time::OffsetDateTime;

use crate::claims::id_token::ExpectedNonce;
use crate::discovery::metadata::Metadata;
use crate::error::IdpError;
use crate::login::attempt::Attempt;
use crate::provider::Provider;
use crate::provider::person::Evidence;
use crate::provider::settings::{IdpKind, OAuth2Settings, OidcSettings};
use crate::tokens::exchange::exchange;
use crate::tokens::provider_tokens::ProviderTokens;

/// The result of a finished login.
#[derive(Debug, Clone)]
pub struct SignedIn {
    /// The person's identity.
    pub identity: Identity,
    /// The time at which they last authenticated at the provider, if it says so.
    pub auth_time: Option<OffsetDateTime>,
    /// The authentication context class (`acr`), if it says so.
    pub acr: Option<String>,
    /// The time at which the provider wants the session to be over, if it says so.
    pub session_expiry: Option<OffsetDateTime>,
    /// The provider's name for its session (`sid`).
    pub provider_session: Option<String>,
    /// The provider's tokens.
    pub tokens: ProviderTokens,
}

impl Provider {
    /// Finishes a login: exchanges the code, verifies the tokens, and returns the identity.
    ///
    /// # Errors
    /// [`IdpError`]; the code is used up in any case.
    pub async fn finish(&self, code: String, attempt: &Attempt) -> Result<SignedIn, IdpError> {
        let metadata = self.metadata().await?;
        let state = match &self.0.settings.kind {
            IdpKind::OAuth2(plain) if plain.token_request_state => Some(attempt.state.as_str()),
            IdpKind::OAuth2(_) | IdpKind::Oidc(_) => None,
        };
        let (requests, redirect_uri) = (self.token_requests(&metadata), &self.0.redirect_uri);
        let tokens = exchange(requests, redirect_uri, code, &attempt.verifier, state).await?;
        let signed_in = match &self.0.settings.kind {
            IdpKind::Oidc(oidc) => self.finish_oidc(oidc, &metadata, attempt, tokens).await,
            IdpKind::OAuth2(plain) => self.finish_oauth2(plain, &metadata, tokens).await,
        }?;
        self.0.track_record.note(&signed_in.identity, self.0.clock.now());
        Ok(signed_in)
    }

    async fn finish_oidc(
        &self,
        oidc: &OidcSettings,
        metadata: &Metadata,
        attempt: &Attempt,
        tokens: ProviderTokens,
    ) -> Result<SignedIn, IdpError> {
        let nonce = ExpectedNonce::Exactly(&attempt.nonce);
        let claims = self.verify_id_token(oidc, metadata, nonce, Some(attempt), &tokens).await?;
        let evidence = Evidence { oidc, metadata, claims: &claims, tokens: &tokens };
        let identity = self.identity_of_claims(evidence).await?;
        Ok(SignedIn {
            identity,
            auth_time: claims.auth_time(),
            acr: claims.acr().map(str::to_owned),
            session_expiry: claims.session_expiry(),
            provider_session: claims.provider_session().map(str::to_owned),
            tokens,
        })
    }

    async fn finish_oauth2(
        &self,
        plain: &OAuth2Settings,
        metadata: &Metadata,
        tokens: ProviderTokens,
    ) -> Result<SignedIn, IdpError> {
        let identity = self.identity_of_profile(plain, metadata, &tokens).await?;
        Ok(SignedIn { identity, auth_time: None, acr: None, session_expiry: None, provider_session: None, tokens })
    }
}
