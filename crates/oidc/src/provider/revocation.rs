//! Revokes tokens at the provider when their session is over (RFC 7009).
//!
//! Best effort, in the background of the logout. The refresh token goes first, since it can obtain new access tokens
//! (R-J06).
//!
//! It happens only at one's own logout, and where a renewal finds its session ended: the tokens are encrypted under the
//! cookie's key, which only the browser's own request brings. A reviewer who ends somebody else's session cannot read
//! them; deleting the record makes them unreadable.

use std::time::Duration;

use counterfoil_core::secret::Secret;
use thiserror::Error;
use time::OffsetDateTime;

use crate::client::http_error::HttpError;
use crate::error::IdpError;
use crate::provider::Provider;
use crate::tokens::revocation::send;

/// Delay between a logout and the revocation of its tokens: the browser has been to the provider by then.
const AFTER_LOGOUT: time::Duration = time::Duration::seconds(5);
/// Interval at which the clock is read while a revocation is delayed.
const LOOK: Duration = Duration::from_millis(250);

/// The reason why a token may still be valid at the provider.
#[derive(Debug, Error)]
enum RevocationError {
    #[error("the provider's metadata cannot be had: {0}")]
    Metadata(#[from] IdpError),
    #[error("the request failed: {0}")]
    Http(#[from] HttpError),
}

/// A revocation under way, which counts as pending until this is dropped.
struct PendingRevocation(Provider);

impl PendingRevocation {
    fn begin(provider: &Provider) -> Self {
        provider.0.revocations.pending.send_modify(|pending| *pending += 1);
        Self(provider.clone())
    }
}

impl Drop for PendingRevocation {
    fn drop(&mut self) {
        self.0.0.revocations.pending.send_modify(|pending| *pending -= 1);
    }
}

impl Provider {
    /// Revokes a session's tokens in the background, if the provider has an endpoint for that.
    pub fn revoke_tokens(&self, refresh_token: Option<Secret<String>>, access_token: Secret<String>) {
        self.revoke_at(self.0.clock.now(), refresh_token, access_token);
    }

    /// Does the same after a logout, once the browser has been sent to the provider's own logout: some providers fail
    /// one of two requests about the same session. The tokens are held in memory until then.
    pub fn revoke_tokens_after_logout(&self, refresh_token: Option<Secret<String>>, access_token: Secret<String>) {
        self.revoke_at(self.0.clock.now() + AFTER_LOGOUT, refresh_token, access_token);
    }

    /// Revokes at once the tokens whose revocation was delayed, and waits at most `patience` for all revocations under way.
    pub async fn finish_revocations(&self, patience: Duration) {
        self.0.revocations.flush.send_replace(true);
        let mut pending = self.0.revocations.pending.subscribe();
        if tokio::time::timeout(patience, pending.wait_for(|pending| *pending == 0)).await.is_err() {
            tracing::warn!(idp = self.name(), "tokens were still being revoked when the process ended");
        }
    }

    fn revoke_at(&self, due: OffsetDateTime, refresh_token: Option<Secret<String>>, access_token: Secret<String>) {
        if !self.0.settings.refresh.revoke_at_logout {
            return;
        }
        let revocation = PendingRevocation::begin(self);
        tokio::spawn(async move {
            let provider = &revocation.0;
            provider.wait_until(due).await;
            let refresh_token = refresh_token.map(|token| ("refresh_token", token));
            for (kind, token) in refresh_token.into_iter().chain([("access_token", access_token)]) {
                if let Err(error) = provider.revoke(kind, &token).await {
                    tracing::warn!(idp = provider.name(), kind, %error, "a token could not be revoked");
                }
            }
        });
    }

    /// Waits by the broker's clock, which may be moved.
    async fn wait_until(&self, due: OffsetDateTime) {
        let mut flush = self.0.revocations.flush.subscribe();
        while self.0.clock.now() < due {
            if tokio::time::timeout(LOOK, flush.wait_for(|flush| *flush)).await.is_ok() {
                return;
            }
        }
    }

    async fn revoke(&self, kind: &str, token: &Secret<String>) -> Result<(), RevocationError> {
        let metadata = self.metadata().await?;
        let Some(endpoint) = &metadata.revocation_endpoint else { return Ok(()) };
        let channel = self.back_channel(&metadata);
        let Some(pause) = send(&channel, endpoint, kind, token).await? else { return Ok(()) };
        tokio::time::sleep(pause).await;
        match send(&channel, endpoint, kind, token).await? {
            None => Ok(()),
            Some(_) => Err(HttpError::status(503).into()),
        }
    }
}
