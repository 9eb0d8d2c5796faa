//! Giving tokens back when their session is over (RFC 7009).
//!
//! Best effort, and never in anybody's way: the caller lets it run behind the logout. The refresh token goes first,
//! since it could bring new access tokens (R-J06).
//!
//! It happens only at one's own logout, and where a renewal finds its session ended: the tokens are sealed under the
//! cookie's key, and only the browser's own request brings that. Whoever ends somebody else's session cannot read them;
//! deleting the record makes them unreadable for ever.

use std::time::Duration;

use counterfoil_core::secret::Secret;
use thiserror::Error;
use time::OffsetDateTime;

use crate::client::http_error::HttpError;
use crate::error::IdpError;
use crate::provider::Provider;
use crate::tokens::revocation::send;

/// Delay between a logout and giving its tokens back: the browser has been to the provider by then.
const AFTER_LOGOUT: time::Duration = time::Duration::seconds(5);
/// Pause between two looks at the clock.
const LOOK: Duration = Duration::from_millis(250);
/// The reason why tokens live on at the provider.
#[derive(Debug, Error)]
enum RevocationError {
    #[error("the provider's metadata cannot be had: {0}")]
    Metadata(#[from] IdpError),
    #[error("the request failed: {0}")]
    Http(#[from] HttpError),
}

/// Tokens that are being given back; over when it is dropped.
struct Return(Provider);

impl Return {
    fn begin(provider: &Provider) -> Self {
        provider.0.revocations.open.send_modify(|open| *open += 1);
        Self(provider.clone())
    }
}

impl Drop for Return {
    fn drop(&mut self) {
        self.0.0.revocations.open.send_modify(|open| *open -= 1);
    }
}

impl Provider {
    /// Gives a session's tokens back, behind the caller's back, if the provider takes them.
    pub fn revoke_tokens(&self, refresh_token: Option<Secret<String>>, access_token: Secret<String>) {
        self.give_back_at(self.0.clock.now(), refresh_token, access_token);
    }

    /// Does the same for somebody who signs out, a moment after their browser left for the provider's own logout: some
    /// providers fail one of two requests about the same session. The tokens are held in memory until then.
    pub fn give_back_after_logout(&self, refresh_token: Option<Secret<String>>, access_token: Secret<String>) {
        self.give_back_at(self.0.clock.now() + AFTER_LOGOUT, refresh_token, access_token);
    }

    /// Gives back at once what is still held, and waits for that for so long at most.
    pub async fn finish_giving_back(&self, patience: Duration) {
        self.0.revocations.in_a_hurry.send_replace(true);
        let mut open = self.0.revocations.open.subscribe();
        if tokio::time::timeout(patience, open.wait_for(|open| *open == 0)).await.is_err() {
            tracing::warn!(idp = self.name(), "tokens were still being given back at the end");
        }
    }

    fn give_back_at(&self, due: OffsetDateTime, refresh_token: Option<Secret<String>>, access_token: Secret<String>) {
        if !self.0.settings.refresh.revoke_at_logout {
            return;
        }
        let it = Return::begin(self);
        tokio::spawn(async move {
            let provider = &it.0;
            provider.wait_until(due).await;
            let refresh_token = refresh_token.map(|token| ("refresh_token", token));
            for (kind, token) in refresh_token.into_iter().chain([("access_token", access_token)]) {
                if let Err(error) = provider.revoke(kind, &token).await {
                    tracing::warn!(idp = provider.name(), kind, %error, "a token could not be given back");
                }
            }
        });
    }

    /// Waits by the broker's clock, which may be moved.
    async fn wait_until(&self, due: OffsetDateTime) {
        let mut in_a_hurry = self.0.revocations.in_a_hurry.subscribe();
        while self.0.clock.now() < due {
            if tokio::time::timeout(LOOK, in_a_hurry.wait_for(|hurry| *hurry)).await.is_ok() {
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
