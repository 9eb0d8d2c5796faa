//! Revalidation of sessions with their providers, and refresh of access tokens for upstreams.
//!
//! When it is due is a pure decision ([`is_due`]). It takes the refresh lock of `session::renewal` and makes the
//! requests of `idp::refresh`, in this order: new tokens are saved, then the person's claims are saved. A denial ends
//! the session; an outage ends nothing (R-C12) and starts a backoff; after an indeterminate answer the session is
//! rejected until the provider confirms it, or until a login. Callers that waited load the session again: it may have
//! ended meanwhile.

mod attempt;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use async_trait::async_trait;
use time::{Duration, OffsetDateTime};

use crate::clock::SharedClock;
use crate::guard::revalidation::{Need, NoAccessToken, Revalidation, Revalidator};
use crate::identity::Identity;
use crate::idp::{Provider, RenewalError, Verdict};
use crate::secret::Secret;
use crate::session::key::SessionKey;
use crate::session::record::SessionRecord;
use crate::session::refresh_lock::Locked;
use crate::session::renewal::{LockedSession, REFRESH_BACKOFF};
use crate::session::store::StoreError;
use crate::session::{LiveSession, Sessions};

use self::attempt::{Fault, failed, has_expired, not_confirmed, refused, renew, revoke_tokens};

/// Time before its end at which an access token is replaced: it has to last until the upstream has used it.
const MARGIN: Duration = Duration::seconds(30);
/// Longest time for which an unknown signing key may be explained by a cache: many cache keys for as long, and some
/// ignore `no-cache`.
const KEYS_SETTLE_IN: Duration = Duration::minutes(10);
/// Answers of a provider that one renewal may have to wait for.
const ANSWERS: u32 = 5;

/// Everything that renewing works with. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Renewals(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    sessions: Sessions,
    providers: Box<[Arc<ProviderState>]>,
    clock: SharedClock,
}

/// A provider, and until when it is left alone.
#[derive(Debug)]
struct ProviderState {
    provider: Provider,
    /// Seconds since 1970; 0 while nothing is amiss.
    backoff_until: AtomicI64,
    /// Set while its last answer was that it does not know the client.
    is_misconfigured: AtomicBool,
}

/// The outcome of an attempt.
#[derive(Debug)]
enum Attempt {
    /// It was renewed, it ended, or the attempt failed.
    Over,
    LoginNeeded,
    /// The provider's word may not have been stored.
    Unstored(StoreError),
}

/// Is true if a session has to be renewed: after the refresh interval, or because the access token that a route needs
/// expires soon; and at once after an indeterminate answer.
pub fn is_due(record: &SessionRecord, pace: Option<Duration>, need: Need, now: OffsetDateTime) -> bool {
    let by_the_pace = pace.is_some_and(|pace| record.unconfirmed || now - record.renewed_at >= pace);
    let ends_soon = || record.access_token_expires_at.is_some_and(|ends| ends - margin(record, ends) <= now);
    by_the_pace || (need == Need::AccessToken && (record.unconfirmed || ends_soon()))
}

/// Is true if a session that the provider has failed to confirm for the grace needs a login now: not while the provider
/// serves nobody, since then a login would fail as well.
fn is_grace_over(record: &SessionRecord, provider: &Provider, error: &RenewalError, now: OffsetDateTime) -> bool {
    let is_over = |since: OffsetDateTime| {
        now - since >= provider.refresh_grace() && provider.has_served_another(&record.identity, since)
    };
    !error.affects_all_sessions() && record.failing_since.is_some_and(is_over)
}

/// Is true if the provider denies the person. An unknown signing key counts as a denial only if it persists, and if the
/// provider has served this process.
fn is_denied(record: &SessionRecord, provider: &Provider, error: &RenewalError, now: OffsetDateTime) -> bool {
    let lasts = || record.unverifiable_since.is_some_and(|since| now - since >= KEYS_SETTLE_IN);
    error.verdict == Verdict::Denied || (error.is_about_keys() && provider.is_proven() && lasts())
}

fn token_has_expired(record: &SessionRecord, now: OffsetDateTime) -> bool {
    record.access_token_expires_at.is_some_and(|ends| ends <= now)
}

/// Tokens that live for a minute are not replaced at each request.
fn margin(record: &SessionRecord, ends: OffsetDateTime) -> Duration {
    MARGIN.min((ends - record.renewed_at) / 3).max(Duration::ZERO)
}

impl Renewals {
    /// Renewals of these sessions with these providers.
    pub fn new(sessions: Sessions, providers: &[Provider], clock: SharedClock) -> Self {
        let vouching = |provider: &Provider| {
            let (backoff_until, is_misconfigured) = (AtomicI64::new(0), AtomicBool::new(false));
            Arc::new(ProviderState { provider: provider.clone(), backoff_until, is_misconfigured })
        };
        Self(Arc::new(Inner { sessions, providers: providers.iter().map(vouching).collect(), clock }))
    }

    fn vouching(&self, session: &LiveSession) -> Option<&Arc<ProviderState>> {
        self.vouching_for(&session.record().identity)
    }

    fn vouching_for(&self, identity: &Identity) -> Option<&Arc<ProviderState>> {
        let vouches =
            |provider: &Provider| provider.name() == identity.idp && provider.recognizes_issuer(&identity.issuer);
        self.0.providers.iter().find(|vouching| vouches(&vouching.provider))
    }

    /// Renews a session under its refresh lock. `permit`: the right to ask the provider.
    async fn attempt(&self, mut renewing: LockedSession, mut permit: PermitToAsk) -> Attempt {
        let Some(vouching) = self.vouching_for(&renewing.record().identity) else { return Attempt::LoginNeeded };
        let (provider, idp) = (&vouching.provider, vouching.provider.name());
        let came = renew(provider, &mut renewing, self.0.clock.now()).await;
        // The first attempt after an outage may have been inconclusive.
        let has_learnt_nothing =
            matches!(came, Err(Fault::LoginNeeded | Fault::Superseded | Fault::Ended(_) | Fault::Store(_)));
        permit.was_used = !has_learnt_nothing;
        match came {
            Ok(()) => {
                vouching.is_misconfigured.store(false, Ordering::Relaxed);
                vouching.is_heard();
                tracing::debug!(session = %renewing.handle(), idp, "a session was renewed with its provider");
                Attempt::Over
            }
            // Without an access token that lasts, the session goes on elsewhere until it is to be confirmed.
            Err(Fault::LoginNeeded) => {
                let is_due = is_due(renewing.record(), provider.refresh_interval(), Need::Person, self.0.clock.now());
                if is_due { not_confirmed(idp, &mut renewing, true, None).await } else { Attempt::LoginNeeded }
            }
            Err(Fault::Superseded) => Attempt::Over,
            Err(Fault::Ended(tokens)) => {
                revoke_tokens(provider, &tokens);
                Attempt::Over
            }
            Err(Fault::Provider(error)) if is_denied(renewing.record(), provider, &error, self.0.clock.now()) => {
                vouching.is_heard();
                refused(provider, &renewing, &error).await
            }
            Err(Fault::Provider(error)) => {
                let now = self.0.clock.now();
                if error.affects_all_sessions() {
                    vouching.back_off(now);
                } else {
                    vouching.is_heard();
                }
                if error.is_about_the_client() && !vouching.is_misconfigured.swap(true, Ordering::Relaxed) {
                    tracing::error!(
                        idp, %error, "the configuration is at fault: the provider does not know this client, or not by \
                        these credentials; no session can be renewed and nobody can sign in"
                    );
                }
                let is_rejected =
                    error.verdict == Verdict::Indeterminate || is_grace_over(renewing.record(), provider, &error, now);
                not_confirmed(idp, &mut renewing, is_rejected, Some(&error)).await
            }
            Err(Fault::Store(error)) => {
                failed(idp, &renewing, &error.to_string()).await;
                Attempt::Unstored(error)
            }
        }
    }
}

#[async_trait]
impl Revalidator for Renewals {
    fn is_due(&self, session: &LiveSession) -> bool {
        self.vouching(session).is_none_or(|vouching| {
            let pace = vouching.provider.refresh_interval();
            pace.is_some() && is_due(session.record(), pace, Need::Person, session.checked_at())
        })
    }

    async fn revalidate_if_due(
        &self,
        key: &SessionKey,
        session: &LiveSession,
        need: Need,
    ) -> Result<Revalidation, StoreError> {
        let now = self.0.clock.now();
        // Its provider is not configured any more, or is another one under the same name.
        let Some(vouching) = self.vouching(session) else { return Ok(Revalidation::Reauthenticate) };
        let pace = vouching.provider.refresh_interval();
        if !is_due(session.record(), pace, need, now) {
            return Ok(Revalidation::Fresh);
        }
        let unconfirmed = session.record().unconfirmed;
        let Some(permit) = vouching.may_ask(now) else {
            return Ok(if unconfirmed { Revalidation::Reauthenticate } else { Revalidation::Fresh });
        };
        let patience = vouching.provider.timeout() * ANSWERS;
        let (clock, this) = (self.0.clock.clone(), self.clone());
        let is_due = move |record: &SessionRecord| is_due(record, pace, need, clock.now());
        let work = async move |renewing: LockedSession| this.attempt(renewing, permit).await;
        let turn = self.0.sessions.with_refresh_lock(key, patience, is_due, work);
        // A live session does not wait for a slow provider; the renewal goes on in the background.
        let lacks_token = need == Need::AccessToken && token_has_expired(session.record(), now);
        let stands = !unconfirmed && !lacks_token;
        let came =
            if stands { tokio::time::timeout(vouching.provider.refresh_wait(), turn).await } else { Ok(turn.await) };
        let Ok(came) = came else { return Ok(Revalidation::Reload) };
        match came {
            Ok(Locked::Done(Attempt::LoginNeeded) | Locked::BackingOff { unconfirmed: true }) => {
                Ok(Revalidation::Reauthenticate)
            }
            Err(StoreError::LockTimeout) if unconfirmed => Ok(Revalidation::Reauthenticate),
            Ok(Locked::Done(Attempt::Over) | Locked::NotNeeded | Locked::BackingOff { .. })
            | Err(StoreError::LockTimeout) => Ok(Revalidation::Reload),
            Ok(Locked::Done(Attempt::Unstored(error))) | Err(error) => Err(error),
        }
    }

    async fn access_token(&self, key: &SessionKey) -> Result<Secret<String>, NoAccessToken> {
        let tokens = self.0.sessions.tokens(key).await?.ok_or(NoAccessToken::LoginNeeded)?;
        match has_expired(&tokens, self.0.clock.now()) {
            false => Ok(tokens.access_token),
            true if tokens.refresh_token.is_some() => Err(NoAccessToken::Unavailable),
            true => Err(NoAccessToken::LoginNeeded),
        }
    }

    fn requires_reauthentication(&self, session: &LiveSession) -> bool {
        self.vouching(session).is_none() || (session.record().unconfirmed && self.is_due(session))
    }
}

impl ProviderState {
    /// Returns the right to ask the provider, unless it is backing off. After an outage a single attempt goes first
    /// (half-open circuit breaker); the others follow when it has succeeded.
    fn may_ask(self: &Arc<Self>, now: OffsetDateTime) -> Option<PermitToAsk> {
        let rested_until = self.backoff_until.load(Ordering::Relaxed);
        let claimed = (now + REFRESH_BACKOFF).unix_timestamp();
        let is_first =
            || self.backoff_until.compare_exchange(rested_until, claimed, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        let may = rested_until == 0 || (now.unix_timestamp() >= rested_until && is_first());
        may.then(|| PermitToAsk { vouching: self.clone(), rested_until, claimed, was_used: false })
    }

    fn is_heard(&self) {
        self.backoff_until.store(0, Ordering::Relaxed);
    }

    fn back_off(&self, now: OffsetDateTime) {
        self.backoff_until.store((now + REFRESH_BACKOFF).unix_timestamp(), Ordering::Relaxed);
    }
}

/// The right to ask a provider. If the first attempt after an outage made no request, the next one goes first.
#[derive(Debug)]
struct PermitToAsk {
    vouching: Arc<ProviderState>,
    /// End of the previous backoff; 0 if there was none.
    rested_until: i64,
    claimed: i64,
    was_used: bool,
}

impl Drop for PermitToAsk {
    fn drop(&mut self) {
        // If it was not left alone, what stands there now is somebody else's; and somebody else may have heard from it.
        if !self.was_used && self.rested_until != 0 {
            let rests = &self.vouching.backoff_until;
            let _ = rests.compare_exchange(self.claimed, self.rested_until, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::session::record::ClientTraits;

    const LOGIN: OffsetDateTime = datetime!(2026-01-31 09:00 UTC);

    fn record(lifetime: Option<Duration>) -> SessionRecord {
        SessionRecord {
            identity: Identity {
                idp: "company".into(),
                issuer: "https://idp.example.test".into(),
                subject: "1".into(),
                name: None,
                preferred_username: None,
                email: None,
                email_verified: false,
                groups: Vec::new(),
            },
            provider_session: None,
            created_at: LOGIN,
            auth_time: None,
            acr: None,
            ends_by: None,
            renewed_at: LOGIN,
            access_token_expires_at: lifetime.map(|lifetime| LOGIN + lifetime),
            client: ClientTraits::default(),
            unconfirmed: false,
            indeterminate_since: None,
            failing_since: None,
            unverifiable_since: None,
            confirmed: crate::session::store::log::LogNumber::BEGINNING,
        }
    }

    /// R-I08, R-C11: one line a case.
    #[test]
    fn a_session_is_renewed_at_its_interval_and_a_token_before_its_end() {
        let (pace, five, hour) = (Some(Duration::minutes(5)), Some(Duration::minutes(5)), Some(Duration::HOUR));
        for (pace, lifetime, need, after, due) in [
            (None, five, Need::Person, Duration::DAY, false),
            (pace, None, Need::Person, Duration::seconds(299), false),
            (pace, None, Need::Person, Duration::seconds(300), true),
            (pace, hour, Need::AccessToken, Duration::seconds(300), true),
            (None, five, Need::AccessToken, Duration::seconds(269), false),
            (None, five, Need::AccessToken, Duration::seconds(270), true),
            (None, Some(Duration::seconds(30)), Need::AccessToken, Duration::seconds(19), false),
            (None, Some(Duration::seconds(30)), Need::AccessToken, Duration::seconds(20), true),
            (None, None, Need::AccessToken, Duration::DAY, false),
        ] {
            let record = record(lifetime);
            assert_eq!(is_due(&record, pace, need, LOGIN + after), due, "{pace:?} {lifetime:?} {need:?} {after}");
        }
        // The provider answered a moment ago: indeterminate.
        let record = SessionRecord { unconfirmed: true, ..record(hour) };
        for (pace, need, due) in [
            (pace, Need::Person, true),
            (pace, Need::AccessToken, true),
            (None, Need::Person, false),
            (None, Need::AccessToken, true),
        ] {
            assert_eq!(is_due(&record, pace, need, LOGIN), due, "{pace:?} {need:?}");
        }
    }
}
