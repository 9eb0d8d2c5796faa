//! Signing out, from every side.
//!
//! [`own`]: by the person, here first and then at the provider. Notices of the provider that a session is over come in
//! three ways: [`back_channel`] (OpenID Connect Back-Channel Logout 1.0), [`front_channel`] (Front-Channel Logout 1.0,
//! through the browser) and [`security_events`] (Shared Signals: CAEP by push). Each of them decides what is meant, and
//! leaves the ending to `session::revocation`. All are handlers that `routes` mounts.

pub mod back_channel;
pub mod front_channel;
pub mod own;
pub mod rejected_notices;
pub mod security_events;

use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderValue;
use time::OffsetDateTime;

use self::rejected_notices::RejectedNotices;
use tracing::Instrument;

use crate::audit::{AuditEvent, NoticeWay, audit};
use crate::identity::Identity;
use crate::idp::Provider;
use crate::session::Sessions;
use crate::session::replay::ReplayKey;
use crate::session::revocation::{Order, Selection};
use crate::session::store::StoreError;
use crate::web::branding::Branding;
use crate::web::cookies::CookiePolicy;
use crate::web::csrf::CsrfTokens;
use crate::web::public_url::PublicUrl;

/// The page a browser lands on after signing out; registered at the provider.
pub const SIGNED_OUT: &str = "/sso/signed-out";

/// The state behind signing out. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Logout {
    /// Every configured provider, for the end of its own session.
    pub providers: Arc<[Provider]>,
    /// Ends sessions.
    pub sessions: Sessions,
    /// Clears the cookie.
    pub cookies: Arc<CookiePolicy>,
    /// Proves that the request comes from our own page.
    pub csrf: Arc<CsrfTokens>,
    /// The origin of the address that the provider sends the browser back to.
    pub public_url: Arc<PublicUrl>,
    /// The operator's words for the pages.
    pub branding: Arc<Branding>,
    /// Audits rejected notices, rate-limited.
    pub refusals: Arc<RejectedNotices>,
}

/// A provider's word, believed and understood.
#[derive(Debug)]
struct Notice {
    provider: Provider,
    /// The way it came.
    way: NoticeWay,
    /// The sessions that end.
    selections: Vec<Selection>,
    order: Order,
    /// Its replay key and the end of its validity; a front-channel notice has none.
    once: Option<(ReplayKey, OffsetDateTime)>,
    client: IpAddr,
}

/// The outcome of a notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// It was carried out, whether it concerned anybody or not.
    CarriedOut,
    /// It had been carried out before.
    Repeated,
}

impl Logout {
    fn provider(&self, name: &str) -> Option<&Provider> {
        self.providers.iter().find(|provider| provider.name() == name)
    }

    /// The provider of a person, if it is still configured with the same issuer.
    fn provider_of(&self, identity: &Identity) -> Option<&Provider> {
        self.provider(&identity.idp).filter(|provider| provider.recognizes_issuer(&identity.issuer))
    }

    fn clear_cookie(&self) -> HeaderValue {
        self.cookies.clear(self.cookies.session_name())
    }

    /// Carries out a provider's notice, once. After an error it may be half done: the provider is to send it again.
    async fn carry_out(&self, notice: Notice) -> Result<Outcome, StoreError> {
        let sessions = self.sessions.clone();
        // The work is finished even if the client disconnects.
        let task = tokio::spawn(async move { notice.carry_out(&sessions).await }.in_current_span());
        // Only a panic or the end of the process leaves no result.
        task.await.unwrap_or(Err(StoreError::Timeout))
    }
}

impl Notice {
    async fn carry_out(self, sessions: &Sessions) -> Result<Outcome, StoreError> {
        if self.selections.is_empty() {
            // Nothing to do, so nothing to do once.
            self.write_down("nobody", 0, true);
            return Ok(Outcome::CarriedOut);
        }
        if let Some((name, _)) = &self.once
            && sessions.is_replay(name).await?
        {
            return Ok(Outcome::Repeated);
        }
        for selection in &self.selections {
            let revoked = sessions.administration().revoke(selection, &self.order).await;
            self.write_down(&selection.to_string(), revoked.ended.len(), revoked.failure.is_none());
            for session in revoked.ended.iter().copied() {
                audit(&AuditEvent::SessionRevoked { session, by: &self.order.by });
            }
            revoked.complete()?;
        }
        if let Some((name, until)) = &self.once {
            sessions.remember_notice(name, *until).await?;
        }
        Ok(Outcome::CarriedOut)
    }

    fn write_down(&self, selection: &str, ended: usize, complete: bool) {
        let Self { way, client, .. } = *self;
        let (idp, reason) = (self.provider.name(), self.order.reason.as_str());
        audit(&AuditEvent::ProviderEnded { idp, way, selection, reason, ended, complete, client });
    }
}
