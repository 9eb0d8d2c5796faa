//! Telling clients that a session has ended, OpenID Connect Back-Channel Logout 1.0.
//!
//! Owns the logout token and its delivery. Does not end sessions. Called by `end_session`.

use std::time::Duration as StdDuration;

use http::header;
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};
use tokio::task::JoinSet;
use url::form_urlencoded;

use counterfoil_core::secret::random_token;

use super::keys::LOGOUT_TOKEN_TYPE;
use super::sessions::{Participant, Session};
use super::{IdentityProvider, clients};

const LIFETIME: Duration = Duration::minutes(2);
/// Longest wait for a client's answer; section 2.5 asks not to wait long.
const PATIENCE: StdDuration = StdDuration::from_millis(2500);

/// The reason why a client was not told.
#[derive(Debug, thiserror::Error)]
enum DeliveryError {
    #[error("the logout token could not be signed: {0}")]
    Signing(#[from] jsonwebtoken::errors::Error),
    #[error("the client could not be reached: {0}")]
    Transport(#[from] reqwest::Error),
    #[error("the client answered {0}")]
    Refused(reqwest::StatusCode),
}

/// Sends a logout token to every client that took part in the session and wants one, to all at once, and returns
/// when all have answered or failed. The deliveries go on even if the caller goes away.
pub(super) async fn notify(provider: &IdentityProvider, session: &Session) {
    let mut deliveries = JoinSet::new();
    for participant in session.participants.clone() {
        let client = clients::find(provider.clients(), &participant.client_id);
        if let Some(uri) = client.and_then(|client| client.backchannel_logout_uri.clone()) {
            deliveries.spawn(deliver_or_warn(provider.clone(), participant, uri));
        }
    }
    // A JoinSet aborts its tasks when it is dropped, so it lives in a task of its own.
    let all = tokio::spawn(async move { while deliveries.join_next().await.is_some() {} });
    if let Err(error) = all.await {
        tracing::warn!(%error, "the back-channel logout deliveries did not finish");
    }
}

async fn deliver_or_warn(provider: IdentityProvider, participant: Participant, uri: String) {
    if let Err(error) = deliver(&provider, &participant, &uri).await {
        tracing::warn!(client_id = participant.client_id, %error, "a back-channel logout was not delivered");
    }
}

async fn deliver(provider: &IdentityProvider, participant: &Participant, uri: &str) -> Result<(), DeliveryError> {
    let claims = claims(provider.issuer(), participant, provider.now());
    let token = provider.key().sign(LOGOUT_TOKEN_TYPE, &claims)?;
    let body = form_urlencoded::Serializer::new(String::new()).append_pair("logout_token", &token).finish();
    // The clients of the demo are on the own machine, where no proxy leads.
    let client =
        reqwest::Client::builder().timeout(PATIENCE).redirect(reqwest::redirect::Policy::none()).no_proxy().build()?;
    let request = client.post(uri).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").body(body);
    let status = request.send().await.map_err(reqwest::Error::without_url)?.status();
    if status.is_success() { Ok(()) } else { Err(DeliveryError::Refused(status)) }
}

/// Returns the claims of section 2.4; a nonce must not be among them.
fn claims(issuer: &str, participant: &Participant, now: OffsetDateTime) -> Value {
    json!({
        "iss": issuer,
        "aud": participant.client_id,
        "iat": now.unix_timestamp(),
        "exp": (now + LIFETIME).unix_timestamp(),
        "jti": random_token::<16>(),
        "sub": participant.subject,
        "sid": participant.sid,
        "events": { "http://schemas.openid.net/event/backchannel-logout": {} },
    })
}
