//! The facts about one request: begins with those known to this process, and loads those that [`judge`] asks for.

use counterfoil_core::secret::Secret;
use counterfoil_session::LiveSession;
use counterfoil_session::key::SessionKey;
use counterfoil_session::record::SessionRecord;
use http::HeaderMap;

use crate::access::Authentication;
use crate::decision::{Confirmation, Facts, Presented, TokenState, Verdict, judge};
use crate::layer::GuardParts;
use crate::refusal::{Refusal, RefusalKind};
use crate::revalidated::{Revalidated, revalidated};
use crate::revalidation::{Need, NoAccessToken};
use crate::route::Route;
use crate::session_lookup::{SessionLookup, look_up, lookup_cached};

/// The state of an inquiry.
#[derive(Debug)]
pub(crate) struct Inquiry {
    /// `None`: only the store can tell.
    found: Option<SessionLookup>,
    /// `None`: nobody was asked.
    confirmation: Option<Confirmation>,
    token: TokenState,
    access_token: Option<Secret<String>>,
    /// The refusal for a fact that is unavailable.
    outage: Option<Refusal>,
}

impl Inquiry {
    /// Begins with the facts of the near cache, without waiting.
    pub(crate) fn begin(guard: &GuardParts, headers: &HeaderMap) -> Self {
        let found = lookup_cached(&guard.sessions, &guard.cookies, headers);
        Self { found, confirmation: None, token: TokenState::Unasked, access_token: None, outage: None }
    }

    /// Judges the request by what is known.
    pub(crate) fn verdict(&self, guard: &GuardParts, route: Option<&Route>) -> Verdict {
        let presented = match &self.found {
            Some(SessionLookup::Live(_, session)) => {
                let SessionRecord { identity, auth_time, acr, .. } = session.record();
                Presented::Person(identity, Authentication { at: *auth_time, acr: acr.as_deref() })
            }
            Some(SessionLookup::Nothing | SessionLookup::Ended(_)) => Presented::Stranger,
            None if self.outage.is_some() => Presented::Unavailable,
            None => Presented::Unknown,
        };
        let is_due = || self.session().is_some_and(|session| guard.revalidator.is_due(session));
        let unasked = || if is_due() { Confirmation::Due } else { Confirmation::NotDue };
        let facts = Facts { presented, confirmation: self.confirmation.unwrap_or_else(unasked), token: self.token };
        judge(route, facts, guard.clock_skew, || guard.clock.now())
    }

    /// Loads facts until the verdict needs no more, and returns the verdict.
    pub(crate) async fn conclude(&mut self, guard: &GuardParts, route: Option<&Route>, headers: &HeaderMap) -> Verdict {
        loop {
            match self.verdict(guard, route) {
                Verdict::NeedsStore => self.learn_session(guard, headers).await,
                Verdict::NeedsRevalidation => self.learn_confirmation(guard, route, headers).await,
                Verdict::NeedsToken => self.learn_token(guard).await,
                verdict => return verdict,
            }
        }
    }

    async fn learn_session(&mut self, guard: &GuardParts, headers: &HeaderMap) {
        match look_up(&guard.sessions, &guard.cookies, headers).await {
            Ok(found) => self.found = Some(found),
            Err(refusal) => self.outage = Some(refusal),
        }
    }

    async fn learn_confirmation(&mut self, guard: &GuardParts, route: Option<&Route>, headers: &HeaderMap) {
        let wants_token = route.is_some_and(|route| route.pass_access_token);
        let need = if wants_token { Need::AccessToken } else { Need::Person };
        let found = self.found.clone().unwrap_or(SessionLookup::Nothing);
        let place = (&guard.sessions, &*guard.cookies);
        let (confirmation, found) = match revalidated(&*guard.revalidator, place, headers, found, need).await {
            Ok(Revalidated::Session(key, session)) => (Confirmation::Confirmed, SessionLookup::Live(key, session)),
            Ok(Revalidated::Reauthenticate(key, session)) => {
                (Confirmation::Indeterminate, SessionLookup::Live(key, session))
            }
            Ok(Revalidated::Anonymous(none)) => (Confirmation::Confirmed, none),
            Err(refusal) => {
                (self.confirmation, self.outage) = (Some(Confirmation::Unavailable), Some(refusal));
                return;
            }
        };
        (self.confirmation, self.found) = (Some(confirmation), Some(found));
    }

    /// Looks for the access token that the route passes on. Where there is none and it cannot be refreshed, a login is
    /// needed.
    async fn learn_token(&mut self, guard: &GuardParts) {
        let Some(SessionLookup::Live(key, _)) = &self.found else { return };
        let unavailable = |refusal| (TokenState::Unavailable, None, Some(refusal));
        (self.token, self.access_token, self.outage) = match guard.revalidator.access_token(key).await {
            Ok(token) => (TokenState::AtHand, Some(token), None),
            Err(NoAccessToken::LoginNeeded) => (TokenState::LoginNeeded, None, None),
            Err(why @ NoAccessToken::Unavailable) => {
                unavailable(Refusal::caused(RefusalKind::ProviderUnavailable, why))
            }
            Err(NoAccessToken::Store(error)) => unavailable(error.into()),
        };
    }

    /// The live session, if there is one.
    pub(crate) fn session(&self) -> Option<&LiveSession> {
        self.found.as_ref()?.live().map(|(_, session)| session)
    }

    /// The outcome of looking the session up.
    pub(crate) fn found(&self) -> &SessionLookup {
        self.found.as_ref().unwrap_or(&SessionLookup::Nothing)
    }

    /// The refusal of whoever did not answer.
    pub(crate) fn into_outage(self) -> Refusal {
        self.outage.unwrap_or_else(|| RefusalKind::Internal.into())
    }

    /// The session with its key, and the access token, for the request that passes.
    pub(crate) fn into_admitted(self) -> (Option<(SessionKey, LiveSession)>, Option<Secret<String>>) {
        let session = match self.found {
            Some(SessionLookup::Live(key, session)) => Some((key, session)),
            _ => None,
        };
        (session, self.access_token)
    }
}
