//! Giving tokens back when their session is over (RFC 7009).
//!
//! Best effort, and never in anybody's way: the caller lets it run behind the logout. The refresh token goes first,
//! since it could bring new access tokens (R-J06).
//!
//! Why only at one's own logout, and where a renewal finds its session ended: the tokens are sealed under the cookie's
//! key, and only the browser's own request brings that. Whoever ends somebody else's session cannot read them; deleting
//! the record makes them unreadable for ever.

use std::time::Duration;

use http::header::RETRY_AFTER;
use thiserror::Error;
use url::Url;

use super::Provider;
use super::back_channel::BackChannel;
use super::http::HttpError;
use crate::secret::Secret;

/// The longest pause that a busy provider may ask for (RFC 7009 2.2.1).
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Why tokens live on at the provider.
#[derive(Debug, Error)]
enum RevocationError {
    #[error("the provider's metadata cannot be had: {0}")]
    Metadata(#[from] super::IdpError),
    #[error("the request failed: {0}")]
    Http(#[from] HttpError),
}

impl Provider {
    /// Gives a session's tokens back, behind the caller's back, if the provider takes them.
    pub fn give_back(&self, refresh_token: Option<Secret<String>>, access_token: Secret<String>) {
        if !self.0.settings.revoke_tokens_at_logout {
            return;
        }
        let provider = self.clone();
        tokio::spawn(async move {
            let refresh_token = refresh_token.map(|token| ("refresh_token", token));
            for (kind, token) in refresh_token.into_iter().chain([("access_token", access_token)]) {
                if let Err(error) = provider.revoke(kind, &token).await {
                    tracing::warn!(idp = provider.name(), kind, %error, "a token could not be given back");
                }
            }
        });
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
