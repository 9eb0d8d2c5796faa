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
use http::header::RETRY_AFTER;
use thiserror::Error;
use time::OffsetDateTime;
use tokio::sync::watch;
use url::Url;

use crate::client::back_channel::BackChannel;
use crate::client::http::HttpError;
use crate::provider::Provider;

/// Delay between a logout and giving its tokens back: the browser has been to the provider by then.
const AFTER_LOGOUT: time::Duration = time::Duration::seconds(5);
/// Pause between two looks at the clock.
const LOOK: Duration = Duration::from_millis(250);
/// The longest pause that a busy provider may ask for (RFC 7009 2.2.1).
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The reason why tokens live on at the provider.
#[derive(Debug, Error)]
enum RevocationError {
    #[error("the provider's metadata cannot be had: {0}")]
    Metadata(#[from] crate::error::IdpError),
    #[error("the request failed: {0}")]
    Http(#[from] HttpError),
}

/// Tokens that are to be given back, and how many are under way.
#[derive(Debug)]
pub(crate) struct Returns {
    /// Number of sessions whose tokens are not given back yet.
    open: watch::Sender<usize>,
    /// True if nobody waits any longer.
    in_a_hurry: watch::Sender<bool>,
}

impl Default for Returns {
    fn default() -> Self {
        Self { open: watch::Sender::new(0), in_a_hurry: watch::Sender::new(false) }
    }
}

/// Tokens that are being given back; over when it is dropped.
struct Return(Provider);

impl Return {
    fn begin(provider: &Provider) -> Self {
        provider.0.returns.open.send_modify(|open| *open += 1);
        Self(provider.clone())
    }
}

impl Drop for Return {
    fn drop(&mut self) {
        self.0.0.returns.open.send_modify(|open| *open -= 1);
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
        self.0.returns.in_a_hurry.send_replace(true);
        let mut open = self.0.returns.open.subscribe();
        if tokio::time::timeout(patience, open.wait_for(|open| *open == 0)).await.is_err() {
            tracing::warn!(idp = self.name(), "tokens were still being given back at the end");
        }
    }

    fn give_back_at(&self, due: OffsetDateTime, refresh_token: Option<Secret<String>>, access_token: Secret<String>) {
        if !self.0.settings.revoke_tokens_at_logout {
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
        let mut in_a_hurry = self.0.returns.in_a_hurry.subscribe();
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

/// Sends one token; `Some` is how long a busy provider wants to be left alone. A token that the provider does not know
/// is as good as revoked: it answers 200 (2.2).
async fn send(
    channel: &BackChannel<'_>,
    endpoint: &Url,
    kind: &str,
    token: &Secret<String>,
) -> Result<Option<Duration>, HttpError> {
    let form = [("token", token.expose().as_str()), ("token_type_hint", kind)];
    let form = form.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let answer = channel.post(endpoint, &form).await?;
    let pause = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    match (answer.status().as_u16(), pause.and_then(pause_of)) {
        (200..=299, _) => Ok(None),
        (503, Some(pause)) => Ok(Some(pause)),
        _ => Err(HttpError::of(&answer)),
    }
}

/// Seconds alone: a provider that names a date, or a time too far away, is not waited for.
fn pause_of(retry_after: &str) -> Option<Duration> {
    let pause = Duration::from_secs(retry_after.trim().parse().ok()?);
    (pause <= LONGEST_PAUSE).then_some(pause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_provider_is_waited_for_briefly_or_not_at_all() {
        for (text, seconds) in [("0", Some(0)), (" 30 ", Some(30)), ("31", None), ("-1", None), ("1.5", None)] {
            assert_eq!(pause_of(text), seconds.map(Duration::from_secs), "{text}");
        }
        assert_eq!(pause_of("Sat, 31 Jan 2026 09:00:00 GMT"), None);
    }
}
