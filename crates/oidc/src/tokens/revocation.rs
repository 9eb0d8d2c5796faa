//! The revocation request: one token (RFC 7009 2).

use std::time::Duration;

use counterfoil_core::secret::Secret;
use http::header::RETRY_AFTER;
use url::Url;

use crate::client::back_channel::BackChannel;
use crate::client::http_error::HttpError;

/// The longest pause that a busy provider may ask for (RFC 7009 2.2.1).
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Sends one token; `Some` is the `Retry-After` of a busy provider. For a token that it does not know the provider
/// answers 200 (2.2).
pub(crate) async fn send(
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
