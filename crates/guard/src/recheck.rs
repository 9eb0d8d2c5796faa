//! Judges once more what was let pass and goes on, such as a WebSocket: by the same decision as a request.
//!
//! The session is judged first ([`Recheck::known`], [`Recheck::ask`]), then each route that it was let pass by
//! ([`Recheck::refused_by`]).

use std::sync::{Arc, Weak};

use counterfoil_session::key::{SessionHandle, SessionKey};
use counterfoil_session::record::SessionRecord;
use counterfoil_session::store::{InvalidationListener, StoreError};
use counterfoil_session::{Check, LiveSession};
use time::OffsetDateTime;

use crate::access::Authentication;
use crate::decision::{Caller, Confirmation, Facts, LoginReason, Presented, TokenState, Verdict, judge};
use crate::layer::GuardParts;
use crate::refusal::RefusalKind;
use crate::revalidation::{Need, Revalidation};
use crate::route::Route;

/// The session behind a request that was let pass. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Recheck {
    guard: Arc<GuardParts>,
    key: SessionKey,
    session: LiveSession,
    /// Set if the session is rejected until its next login.
    is_rejected: bool,
}

impl Recheck {
    pub(crate) fn new(guard: Arc<GuardParts>, key: SessionKey, session: LiveSession) -> Self {
        Self { guard, key, session, is_rejected: false }
    }

    /// The session's public name.
    pub fn handle(&self) -> SessionHandle {
        self.session.handle()
    }

    pub(crate) fn session(&self) -> &LiveSession {
        &self.session
    }

    /// Judges the session by what this process knows, and returns it as it stands now. `None` if the store or the provider
    /// has to be asked.
    #[must_use]
    pub fn known(&self) -> Option<Self> {
        let session = self.guard.sessions.judge_again(&self.session)?;
        let is_settled =
            !self.guard.revalidator.is_due(&session) && !self.guard.revalidator.requires_reauthentication(&session);
        is_settled.then(|| Self { session, is_rejected: false, ..self.clone() })
    }

    /// Asks the store for the session, and its provider if that is due. Returns the session as it stands now, or why it does
    /// not.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be asked, which says nothing about the session.
    pub async fn ask(&self) -> Result<Result<Self, RefusalKind>, StoreError> {
        let session = match self.check().await? {
            Ok(session) => session,
            Err(why) => return Ok(Err(why)),
        };
        let revalidator = &self.guard.revalidator;
        let (session, is_rejected) = match revalidator.revalidate_if_due(&self.key, &session, Need::Person).await? {
            Revalidation::Fresh => (session, false),
            Revalidation::Reauthenticate => (session, true),
            Revalidation::Reload => match self.check().await? {
                Ok(session) => {
                    let is_rejected = revalidator.requires_reauthentication(&session);
                    (session, is_rejected)
                }
                Err(why) => return Ok(Err(why)),
            },
        };
        Ok(Ok(Self { session, is_rejected, ..self.clone() }))
    }

    async fn check(&self) -> Result<Result<LiveSession, RefusalKind>, StoreError> {
        Ok(match self.guard.sessions.check(&self.key).await? {
            Check::Live(session) => Ok(session),
            Check::Absent => Err(RefusalKind::SessionMissing),
            Check::Ended(tombstone) => Err(RefusalKind::SessionEnded(tombstone.cause)),
        })
    }

    /// Returns why a request for a route would be refused now, if it would be.
    pub fn refused_by(&self, route: &Route) -> Option<RefusalKind> {
        let SessionRecord { identity, auth_time, acr, .. } = self.session.record();
        let presented = Presented::Person(identity, Authentication { at: *auth_time, acr: acr.as_deref() });
        let confirmation = if self.is_rejected { Confirmation::Indeterminate } else { Confirmation::Confirmed };
        let facts = Facts { presented, confirmation, token: TokenState::AtHand };
        match judge(Some(route), facts, self.guard.clock_skew, || self.guard.clock.now()) {
            Verdict::Pass(Caller::Person) => None,
            Verdict::Forbidden => Some(RefusalKind::Forbidden),
            Verdict::Login(LoginReason::NoSession) => Some(RefusalKind::SessionMissing),
            // The application was told who it is, and nobody stands by that now.
            Verdict::Login(LoginReason::Reauthenticate) | Verdict::Pass(Caller::Stranger) => {
                Some(RefusalKind::Reauthenticate)
            }
            Verdict::NeedsStore | Verdict::NeedsRevalidation | Verdict::NeedsToken | Verdict::Outage => {
                Some(RefusalKind::StoreUnavailable)
            }
        }
    }

    /// The time by which sessions are judged.
    pub fn now(&self) -> OffsetDateTime {
        self.guard.clock.now()
    }

    /// Notes that the session was in use at `at`, unless it was over by then.
    pub fn touch_at(&self, at: OffsetDateTime) {
        self.guard.sessions.touch_at(&self.session, at);
    }

    /// Tells `listener` of changes to the sessions that were asked for.
    pub fn subscribe(&self, listener: Weak<dyn InvalidationListener>) {
        self.guard.sessions.subscribe(listener);
    }
}
