//! Takes notices that a provider sends by itself: logout tokens and security events, verified.

use serde_json::{Map, Value};
use thiserror::Error;
use time::Duration;

use crate::client::http_error::HttpError;
use crate::discovery::attempts::AskedBy;
use crate::discovery::keys::{SignatureError, Wanted};
use crate::error::IdpError;
use crate::notices::logout_token::{self, LogoutNotice};
use crate::notices::security_event::{self, SecurityEventToken};
use crate::notices::settings::SharedSignals;
use crate::provider::Provider;
use crate::provider::settings::IdpKind;
use crate::verification::fault::JwtFault;
use crate::verification::header::JwtUse;

/// Tolerated clock skew of a transmitter that is no configured provider.
const DEFAULT_SKEW: Duration = Duration::minutes(1);

/// The reason why a notice cannot be acted on.
#[derive(Debug, Error)]
pub enum NoticeError {
    /// It is not to be believed.
    #[error("the token was not accepted: {0}")]
    Refused(#[from] JwtFault),
    /// No known key signed it, and the rate limit of fetching keys is reached: the provider is to try again.
    #[error("no known key signed the token, and the keys may not be fetched again yet")]
    TooSoon {
        /// The wait before that, in seconds.
        retry_after: u64,
    },
    /// The keys or metadata needed to verify it cannot be fetched: the provider is to try again.
    #[error("the token cannot be judged: {0}")]
    Unusable(#[source] IdpError),
}

impl From<SignatureError> for NoticeError {
    fn from(error: SignatureError) -> Self {
        match error {
            SignatureError::Token(fault) => Self::Refused(fault),
            SignatureError::Keys(keys) => match *keys.0 {
                HttpError::AskedJustNow { again_in } => Self::TooSoon { retry_after: again_in },
                _ => Self::Unusable(keys.into()),
            },
        }
    }
}

impl Provider {
    /// Is true if this provider can tell of logouts: plain OAuth 2.0 has no signed tokens.
    pub fn can_tell_of_logouts(&self) -> bool {
        matches!(self.0.settings.kind, IdpKind::Oidc(_))
    }

    /// Returns our name at the provider.
    pub fn client_id(&self) -> &str {
        &self.0.settings.client.id
    }

    /// Returns the transmitter of this provider's security events, if there is one.
    pub fn shared_signals(&self) -> Option<&SharedSignals> {
        self.0.settings.notices.shared_signals.as_ref()
    }

    /// Verifies a logout token.
    ///
    /// # Errors
    /// [`NoticeError`].
    pub async fn logout_notice(&self, token: &str) -> Result<LogoutNotice, NoticeError> {
        let IdpKind::Oidc(oidc) = &self.0.settings.kind else { return Err(JwtFault::NoKeys.into()) };
        let kind = JwtUse::LogoutToken { typ_required: oidc.logout_token_typ_required };
        let wanted = Wanted { algorithm: oidc.algorithm, kind, issuers: &oidc.issuer, by: AskedBy::Anybody };
        let payload = self.signed_notice(token, wanted).await?;
        let expected = logout_token::Expectation {
            issuers: &oidc.issuer,
            client_id: &self.0.settings.client.id,
            clock_skew: oidc.clock_skew,
        };
        Ok(logout_token::check(&payload, expected, self.0.clock.now())?)
    }

    /// Verifies a security event token.
    ///
    /// # Errors
    /// [`NoticeError`].
    pub async fn security_event(&self, token: &str) -> Result<SecurityEventToken, NoticeError> {
        let signals = self.shared_signals().ok_or(JwtFault::NoKeys)?;
        let payload = self.signed_event(signals, token).await?;
        let expected = security_event::Expectation {
            issuers: &self.0.issuers.with_issuer(&signals.issuer),
            audience: &signals.audience,
            of_persons: &self.0.issuers,
            clock_skew: self.0.settings.clock_skew().unwrap_or(DEFAULT_SKEW),
        };
        Ok(security_event::check(&payload, expected, self.0.clock.now())?)
    }

    async fn signed_event(&self, signals: &SharedSignals, token: &str) -> Result<Map<String, Value>, NoticeError> {
        let (algorithm, issuers) = (signals.algorithm, &self.0.issuers);
        let wanted = Wanted { algorithm, kind: JwtUse::SecurityEvent, issuers, by: AskedBy::Anybody };
        match (&signals.jwks_uri, &self.0.settings.kind) {
            (Some(jwks_uri), _) => Ok(self.0.signal_keys.verify(self.keys_at(jwks_uri), token, wanted).await?),
            (None, IdpKind::Oidc(_)) => self.signed_notice(token, wanted).await,
            (None, IdpKind::OAuth2(_)) => Err(JwtFault::NoKeys.into()),
        }
    }

    /// Verifies a token by the provider's own keys.
    async fn signed_notice(&self, token: &str, wanted: Wanted<'_>) -> Result<Map<String, Value>, NoticeError> {
        let metadata = self.metadata().await.map_err(NoticeError::Unusable)?;
        let jwks_uri = metadata.jwks_uri.as_ref().ok_or(JwtFault::NoKeys)?;
        Ok(self.0.keys.verify(self.keys_at(jwks_uri), token, wanted).await?)
    }
}
