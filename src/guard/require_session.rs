//! The middleware in front of the back office.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, Method};
use time::Duration;

use super::access::{Decision, decide};
use super::current_user::CurrentUser;
use super::presented::{Presented, presented};
use super::request_target::RequestTarget;
use super::route::{OnAnonymous, Route, RouteTable};
use crate::audit::{AuditEvent, audit};
use crate::clock::SharedClock;
use crate::session::{LiveSession, Sessions};
use crate::web::cookies::CookiePolicy;
use crate::web::failure::{Failure, FailureKind};
use crate::web::redirect::see_other;
use crate::web::return_to::ReturnTo;
use crate::web::{navigation, security_headers};

/// What the guard works with. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Guard {
    /// Who may pass where.
    pub routes: Arc<RouteTable>,
    /// The sessions asked.
    pub sessions: Sessions,
    /// The cookies read.
    pub cookies: Arc<CookiePolicy>,
    /// Judges `max_auth_age`.
    pub clock: SharedClock,
    /// How far a provider's clock may be off: what a login accepts as recent, the guard must accept as well,
    /// or the two would send a browser back and forth.
    pub clock_skew: Duration,
    /// Whether browsers reach us by HTTPS.
    pub https: bool,
}

/// Lets a request pass to the application behind, or tells it why not.
///
/// # Errors
/// [`Failure`]: 400 for targets of two readings, 401, 403, 503 if the store cannot be asked.
pub async fn require_session(
    State(guard): State<Guard>,
    mut request: Request,
    next: Next,
) -> Result<Response, Failure> {
    let target = RequestTarget::read(request.uri()).map_err(ambiguous)?;
    if target.is_the_brokers() {
        return Err(FailureKind::NotFound.into());
    }
    let route = guard.routes.find(&target).map_err(ambiguous)?;
    let found = guard.ask(route.as_deref(), request.headers()).await?;
    let person = found.live().map(|(_, session)| (&session.record().identity, session.record().auth_time));
    let decision = match &route {
        Some(route) => {
            let max_age = route.max_auth_age.map(|max_age| max_age + guard.clock_skew);
            decide(&route.access, max_age, person, guard.clock.now())
        }
        // No rule, no entry; but strangers are not told which rules there are (R-I01).
        None if person.is_some() => Decision::Forbidden,
        None => Decision::NeedsSession,
    };
    match decision {
        Decision::Pass => {}
        Decision::NeedsSession | Decision::NeedsFreshLogin => {
            let manner = route.map_or(OnAnonymous::Auto, |route| route.on_anonymous);
            return guard.turn_away(&request, manner, decision, &found);
        }
        Decision::Forbidden => {
            audit(&AuditEvent::AccessDenied { session: found.live().map(|(_, session)| session), path: target.path() });
            return Err(FailureKind::Forbidden.into());
        }
    }
    if let Presented::Live(_, session) = found {
        guard.note_use(&session);
        request.extensions_mut().insert(CurrentUser::new(session));
    }
    request.extensions_mut().insert(target);
    if let Some(route) = route {
        request.extensions_mut().insert(route);
    }
    Ok(next.run(request).await)
}

fn ambiguous(fault: super::request_target::InvalidTarget) -> Failure {
    Failure::caused(FailureKind::AmbiguousPath, fault)
}

impl Guard {
    /// The session behind the request. On a public route nobody depends on it, so a store that cannot be
    /// asked makes the caller a stranger there, and the page still loads.
    async fn ask(&self, route: Option<&Route>, headers: &HeaderMap) -> Result<Presented, Failure> {
        match presented(&self.sessions, &self.cookies, headers).await {
            Err(_) if route.is_some_and(|route| route.access.public) => Ok(Presented::Nothing),
            other => other,
        }
    }

    fn turn_away(
        &self,
        request: &Request,
        manner: OnAnonymous,
        decision: Decision,
        found: &Presented,
    ) -> Result<Response, Failure> {
        let back = ReturnTo::of_request(request.uri());
        if may_redirect(manner, request.method(), request.headers()) {
            let ended = matches!(found, Presented::Ended(_)) && decision == Decision::NeedsSession;
            let mut response = see_other(&if ended { back.ended_href() } else { back.login_href() })?;
            security_headers::apply(response.headers_mut(), self.https);
            return Ok(response);
        }
        let kind = if decision == Decision::NeedsFreshLogin { FailureKind::LoginTooOld } else { found.why_not() };
        // A form that was sent cannot be sent again by coming back to its address.
        let back = if request.method() == Method::GET { back } else { ReturnTo::home() };
        Err(Failure::from(kind).with_sign_in(back.login_href()))
    }

    /// Notes the use of a session off the request's path: it must not wait for it, nor fail with it.
    fn note_use(&self, session: &LiveSession) {
        if !self.sessions.touch_is_due(session) {
            return;
        }
        let (sessions, session) = (self.sessions.clone(), session.clone());
        tokio::spawn(async move {
            if let Err(error) = sessions.touch(&session).await {
                tracing::warn!(session = %session.handle(), %error, "the use of a session could not be noted");
            }
        });
    }
}

fn may_redirect(manner: OnAnonymous, method: &Method, headers: &HeaderMap) -> bool {
    match manner {
        OnAnonymous::Auto => navigation::can_be_sent_to_login(method, headers),
        OnAnonymous::Login => matches!(*method, Method::GET | Method::HEAD),
        OnAnonymous::Unauthorized => false,
    }
}
