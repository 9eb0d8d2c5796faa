//! One attempt at a renewal: the requests to the provider, each saved at once.
//!
//! The caller holds the session's refresh lock. The consequences of the outcome are decided in [`super`].

use thiserror::Error;
use time::OffsetDateTime;

use super::{Attempt, MARGIN};
use crate::audit::{AuditEvent, audit};
use crate::idp::{Provider, ProviderTokens, Refreshed, RenewalError, StoredGrant, Verdict};
use crate::secret::Secret;
use crate::session::ending::EndCause;
use crate::session::record::{ExposedSecret, Tokens};
use crate::session::renewal::{Failure, LockedSession, Saved};
use crate::session::store::StoreError;

/// A reason that ends an attempt early.
#[derive(Debug, Error)]
pub(super) enum Fault {
    #[error(transparent)]
    Provider(#[from] RenewalError),
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The session ended meanwhile; these tokens of it are still valid.
    #[error("the session ended meanwhile")]
    Ended(Tokens),
    /// Somebody else renewed it meanwhile. What they hold is of the same grant: no token is revoked.
    #[error("somebody else renewed the session meanwhile")]
    Superseded,
    /// There is nothing left to ask the provider with.
    #[error("there is nothing to ask the provider with")]
    LoginNeeded,
}

pub(super) async fn renew(provider: &Provider, renewing: &mut LockedSession, now: OffsetDateTime) -> Result<(), Fault> {
    let refresh_token = renewing.tokens().refresh_token.clone();
    // Tokens newer than the last claims come from a renewal that failed between its two steps: continuing with them
    // uses no refresh token (R-E05). Only within the refresh interval, since a revoked grant shows at the token
    // endpoint alone.
    let issued_at = renewing.tokens().issued_at;
    let is_fresh = issued_at > renewing.record().renewed_at
        && !has_expired(renewing.tokens(), now + MARGIN)
        && provider.refresh_interval().is_none_or(|pace| now - issued_at < pace);
    let Some(refresh_token) = refresh_token else {
        if has_expired(renewing.tokens(), now) || !provider.can_confirm(&held(renewing)).await? {
            return Err(Fault::LoginNeeded);
        }
        return confirm(provider, renewing).await;
    };
    if is_fresh {
        match confirm(provider, renewing).await {
            // Repeated once: the access token may have been revoked (R-E05).
            Err(Fault::Provider(RenewalError { verdict: Verdict::Denied, .. })) => {}
            confirmed => return confirmed,
        }
    }
    refresh(provider, renewing, &refresh_token.0, now).await?;
    confirm(provider, renewing).await
}

async fn refresh(
    provider: &Provider,
    renewing: &mut LockedSession,
    refresh_token: &Secret<String>,
    now: OffsetDateTime,
) -> Result<(), Fault> {
    let (fresh, ends_by) = match provider.refresh(&held(renewing), refresh_token).await {
        Ok(Refreshed { tokens, session_expiry }) => (tokens, session_expiry),
        Err(RenewalError { verdict, cause, rotated: Some(rotated) }) => {
            // The old one may be invalid by now; nothing else of this answer is used.
            let tokens = Tokens { refresh_token: Some(ExposedSecret(rotated)), ..renewing.tokens().clone() };
            save_tokens(renewing, tokens, None).await?;
            return Err(RenewalError { verdict, cause, rotated: None }.into());
        }
        Err(error) => return Err(error.into()),
    };
    let tokens = Tokens {
        access_token: fresh.access_token,
        access_token_expires_at: fresh.access_token_expires_at,
        issued_at: now,
        refresh_token: fresh.refresh_token.map(ExposedSecret),
        id_token: fresh.id_token.map(ExposedSecret),
        nonce: renewing.tokens().nonce.clone(),
    };
    save_tokens(renewing, tokens, ends_by).await
}

async fn save_tokens(
    renewing: &mut LockedSession,
    tokens: Tokens,
    ends_by: Option<OffsetDateTime>,
) -> Result<(), Fault> {
    match renewing.save_tokens(tokens.clone(), ends_by).await? {
        Saved::Saved => Ok(()),
        Saved::SessionEnded => Err(Fault::Ended(tokens)),
        Saved::Superseded => Err(Fault::Superseded),
    }
}

async fn confirm(provider: &Provider, renewing: &mut LockedSession) -> Result<(), Fault> {
    let identity = provider.confirm(&held(renewing)).await?;
    match renewing.save_claims(identity).await? {
        Saved::Saved => Ok(()),
        Saved::SessionEnded => Err(Fault::Ended(renewing.tokens().clone())),
        Saved::Superseded => Err(Fault::Superseded),
    }
}

/// The provider no longer confirms the person.
pub(super) async fn refused(provider: &Provider, renewing: &LockedSession, error: &RenewalError) -> Attempt {
    let (session, idp, subject) = (renewing.handle(), provider.name(), &renewing.record().identity.subject);
    let reason = error.to_string();
    match renewing.end(EndCause::EndedByProvider).await {
        Ok(ended) => {
            if ended {
                audit(&AuditEvent::RenewalRefused { session, idp, subject, reason: &reason });
                revoke_tokens(provider, renewing.tokens());
            }
            Attempt::Over
        }
        // No backoff: the next request tries again to end it.
        Err(error) => {
            renewal_failed(idp, renewing, &error.to_string());
            Attempt::Unstored(error)
        }
    }
}

/// Handles an indeterminate answer or an outage. `is_rejected`: the session is rejected until the provider confirms it.
/// With an error a request was made, and the provider gets a backoff.
pub(super) async fn not_confirmed(
    idp: &str,
    renewing: &mut LockedSession,
    is_rejected: bool,
    error: Option<&RenewalError>,
) -> Attempt {
    let (is_news, was_rejected) = (renewing.record().indeterminate_since.is_none(), renewing.record().unconfirmed);
    // Saved before the backoff begins: requests during the backoff must not pass as before.
    let failure = error.map_or(Failure::Outage, |error| match error {
        error if error.is_about_keys() => Failure::Keys,
        error if error.affects_all_sessions() => Failure::Outage,
        _ => Failure::OfThisSession,
    });
    let marked = renewing.mark_indeterminate(is_rejected, failure).await;
    if let Some(error) = error {
        let (session, reason) = (renewing.handle(), &*error.to_string());
        if is_news {
            renewal_failed(idp, renewing, reason);
        } else if is_rejected && !was_rejected {
            tracing::info!(%session, idp, reason, "a session that its provider does not confirm needs a login now");
        } else {
            tracing::debug!(%session, idp, reason, "a session is not confirmed by its provider yet");
        }
        // Otherwise no backoff, since the rejection of the session would not be known during it.
        if marked.is_ok() || !is_rejected {
            back_off(renewing).await;
        }
    }
    match marked {
        Ok(Saved::Saved) if renewing.record().unconfirmed => Attempt::LoginNeeded,
        Ok(_) => Attempt::Over,
        Err(error) if is_rejected => Attempt::Unstored(error),
        Err(error) => {
            tracing::warn!(session = %renewing.handle(), %error, "that a session is not confirmed could not be stored");
            Attempt::Over
        }
    }
}

pub(super) fn revoke_tokens(provider: &Provider, tokens: &Tokens) {
    provider.revoke_tokens(tokens.refresh_token.clone().map(|token| token.0), tokens.access_token.clone());
}

fn renewal_failed(idp: &str, renewing: &LockedSession, reason: &str) {
    let (session, subject) = (renewing.handle(), &renewing.record().identity.subject);
    audit(&AuditEvent::RenewalFailed { session, idp, subject, reason });
}

pub(super) async fn failed(idp: &str, renewing: &LockedSession, reason: &str) {
    renewal_failed(idp, renewing, reason);
    back_off(renewing).await;
}

async fn back_off(renewing: &LockedSession) {
    if let Err(error) = renewing.back_off().await {
        let session = renewing.handle();
        tracing::warn!(%session, %error, "other replicas could not be told that a renewal failed");
    }
}

fn held(renewing: &LockedSession) -> StoredGrant {
    let tokens = renewing.tokens();
    let open = |secret: &ExposedSecret| secret.0.clone();
    StoredGrant {
        tokens: ProviderTokens {
            access_token: tokens.access_token.clone(),
            access_token_expires_at: tokens.access_token_expires_at,
            refresh_token: tokens.refresh_token.as_ref().map(open),
            id_token: tokens.id_token.as_ref().map(open),
        },
        nonce: tokens.nonce.clone(),
        issuer: renewing.record().identity.issuer.clone(),
        subject: renewing.record().identity.subject.clone(),
    }
}

/// A token whose end is not known is tried.
pub(super) fn has_expired(tokens: &Tokens, now: OffsetDateTime) -> bool {
    tokens.access_token_expires_at.is_some_and(|ends| ends <= now)
}
