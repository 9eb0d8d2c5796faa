//! Judges the provider's answer to the browser: its issuer, and its signature where it is signed.

use crate::discovery::attempts::AskedBy;
use crate::discovery::keys::{SignatureError, Wanted};
use crate::error::IdpError;
use crate::login::authorization::{self, AuthorizationAnswer};
use crate::login::request_settings::ResponseMode;
use crate::login::response_token::{Expectation, check};
use crate::provider::Provider;
use crate::provider::settings::IdpKind;
use crate::verification::fault::JwtFault;
use crate::verification::header::JwtUse;

impl Provider {
    /// Is true if the browser brings this provider's answers by POST.
    pub fn answers_by_form(&self) -> bool {
        self.0.settings.login.request.response_mode.is_some_and(ResponseMode::is_posted)
    }

    /// Is true if this provider's answers to the browser are signed.
    pub fn answers_signed(&self) -> bool {
        self.0.settings.login.request.response_mode.is_some_and(ResponseMode::is_signed)
    }

    /// Checks the `iss` parameter of the provider's answer to the browser (RFC 9207 2.4), of errors as well.
    ///
    /// # Errors
    /// [`IdpError::Issuer`] if it is another's or is missing though promised.
    pub async fn check_response_issuer(&self, iss: Option<&str>) -> Result<(), IdpError> {
        let promised = self.metadata().await?.response_issuer_promised;
        // Plain OAuth 2.0 providers may have no issuer to compare with.
        let is_nameless = matches!(&self.0.settings.kind, IdpKind::OAuth2(plain) if plain.issuer.is_none());
        let is_ours = |named: &str| is_nameless || self.accepts_issuer(named);
        Ok(authorization::check_response_issuer(iss, is_ours, self.issuer(), promised)?)
    }

    /// Verifies a signed answer to the browser (JARM) and says what it holds.
    ///
    /// # Errors
    /// [`IdpError::Answer`] if it is not acceptable, [`IdpError::Unusable`] if that cannot be found out.
    pub async fn open_answer(&self, token: &str) -> Result<AuthorizationAnswer, IdpError> {
        let IdpKind::Oidc(oidc) = &self.0.settings.kind else { return Err(IdpError::Answer(JwtFault::NoKeys)) };
        let metadata = self.metadata().await?;
        let jwks_uri = metadata.jwks_uri.as_ref().ok_or(IdpError::Answer(JwtFault::NoKeys))?;
        let (algorithm, kind) = (oidc.answer_algorithm, JwtUse::AuthorizationAnswer);
        let wanted = Wanted { algorithm, kind, issuers: &oidc.issuer, by: AskedBy::Anybody };
        let payload = self.0.keys.verify(self.keys_at(jwks_uri), token, wanted).await.map_err(|error| match error {
            SignatureError::Token(fault) => IdpError::Answer(fault),
            SignatureError::Keys(keys) => keys.into(),
        })?;
        let expected = Expectation {
            issuers: &oidc.issuer,
            client_id: &self.0.settings.client.id,
            additional_audiences: &oidc.additional_audiences,
            clock_skew: oidc.clock_skew,
        };
        check(&payload, &expected, self.0.clock.now()).map_err(IdpError::Answer)
    }
}
