//! The middleware in front of the back office.
//!
//! Most requests pass at once: the near cache knows their session and the route lets it pass, so nothing is waited for
//! and nothing is boxed. Everything else goes the long way, which alone asks the store and
//! alone says no.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use counterfoil_core::clock::SharedClock;
use counterfoil_core::secret::Secret;
use counterfoil_session::audit::{AuditEvent, audit};
use counterfoil_session::key::SessionKey;
use counterfoil_session::record::SessionRecord;
use counterfoil_session::{LiveSession, SessionReader};
use futures_util::future::Either;
use http::{HeaderMap, Method};
use time::Duration;
use tower::{Layer, Service};

use super::access::{Authentication, AuthenticationRule, Decision, Holdings, decide};
use super::current_user::{Admitted, CurrentUser};
use super::request_target::{InvalidTarget, RequestTarget};
use super::revalidation::{Need, NoAccessToken, Revalidation, Revalidator};
use super::route::{OnAnonymous, Place, Route, RouteTable};
use super::session_lookup::{SessionLookup, look_up, lookup_cached};
use super::visitor::Visitor;
use crate::cookies::CookiePolicy;
use crate::failure::{Failure, FailureKind, SignedInAs};
use crate::public_url::PublicUrl;
use crate::redirect::see_other;
use crate::return_to::ReturnTo;
use crate::{navigation, security_headers};

/// Marks a request as no use of the session.
const BACKGROUND: &str = "x-session-background";

/// The guard's collaborators.
#[derive(Debug)]
pub struct Guard {
    /// The routes, with the people who may pass.
    pub routes: Arc<RouteTable>,
    /// The sessions asked.
    pub sessions: SessionReader,
    /// Asks whether they are still what their providers say.
    pub revalidator: Arc<dyn Revalidator>,
    /// The cookies read.
    pub cookies: Arc<CookiePolicy>,
    /// Judges `max_auth_age`.
    pub clock: SharedClock,
    /// Largest difference of a provider's clock: what a login accepts as recent, the guard must accept as well,
    /// or the two would send a browser back and forth.
    pub clock_skew: Duration,
    /// Where our own pages are.
    pub public_url: Arc<PublicUrl>,
}

/// Puts a guard in front of a service. What passes carries [`Admitted`]; the rest is answered with a [`Failure`] (400
/// for targets of two readings, 401, 403, 503 if the store cannot be asked) or sent to the login.
#[derive(Debug, Clone)]
pub struct RequireSession(pub Arc<Guard>);

impl<S> Layer<S> for RequireSession {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { guard: self.0.clone(), inner }
    }
}

/// A service behind a guard.
#[derive(Debug, Clone)]
pub struct Guarded<S> {
    guard: Arc<Guard>,
    inner: S,
}

type LongWay = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

impl<S> Service<Request> for Guarded<S>
where
    S: Service<Request, Response = Response, Error = Infallible, Future: Send> + Clone + Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<S::Future, LongWay>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        if self.guard.fast_path(&mut request) {
            return Either::Left(self.inner.call(request));
        }
        let guard = self.guard.clone();
        // The one that said it was ready is the one to be called.
        let fresh = self.inner.clone();
        let mut ready = std::mem::replace(&mut self.inner, fresh);
        Either::Right(Box::pin(async move {
            match guard.slow_path(&mut request).await {
                Ok(None) => ready.call(request).await,
                Ok(Some(elsewhere)) => Ok(elsewhere),
                Err(failure) => Ok(failure.into_response()),
            }
        }))
    }
}

impl Guard {
    /// Lets a request pass if that can be decided without waiting for anything. Says nothing of those it does not.
    fn fast_path(&self, request: &mut Request) -> bool {
        let Ok((target, Place::Route(route))) = self.routes.locate(request.uri()) else { return false };
        let Some(session) = lookup_cached(&self.sessions, &self.cookies, request.headers()) else { return false };
        // Tokens are in the store alone.
        if route.pass_access_token || self.revalidator.is_due(&session) {
            return false;
        }
        let passes = self.decide(Some(&*route), Some(&session)) == Decision::Pass;
        if passes {
            if let Some(visitor) = request.extensions().get::<Visitor>() {
                visitor.note(&session);
            }
            self.forward(request, target, route, Some(session), None);
        }
        passes
    }

    /// Lets a request pass, or says where the browser has to go instead.
    async fn slow_path(&self, request: &mut Request) -> Result<Option<Response>, Failure> {
        let (target, place) = self.routes.locate(request.uri()).map_err(ambiguous)?;
        let route = match place {
            Place::Broker => return Err(FailureKind::NotFound.into()),
            Place::Route(route) => Some(route),
            Place::Nowhere => None,
        };
        let found = self.ask(route.as_deref(), request.headers()).await?;
        let (found, vouched_for) = self.renew(route.as_deref(), request.headers(), found).await?;
        let session = found.live().map(|(_, session)| session);
        if let (Some(session), Some(visitor)) = (session, request.extensions().get::<Visitor>()) {
            visitor.note(session);
        }
        let decision = match self.decide(route.as_deref(), session) {
            Decision::Pass if !vouched_for => Decision::NeedsFreshLogin,
            decision => decision,
        };
        let (decision, access_token) = match (decision, &route, found.live()) {
            (Decision::Pass, Some(route), Some((key, _))) if route.pass_access_token => self.access_token(key).await?,
            (decision, ..) => (decision, None),
        };
        match (decision, route) {
            (Decision::Pass, Some(route)) => {
                let session = session.cloned();
                self.forward(request, target, route, session, access_token);
                Ok(None)
            }
            (Decision::NeedsSession | Decision::NeedsFreshLogin, route) => {
                self.reject(request, route.as_deref(), decision, &found).map(Some)
            }
            (Decision::Forbidden | Decision::Pass, route) => {
                Err(self.forbidden(request, target.path(), route.as_deref(), session))
            }
        }
    }

    fn decide(&self, route: Option<&Route>, session: Option<&LiveSession>) -> Decision {
        let person = session.map(|session| {
            let SessionRecord { identity, auth_time, acr, .. } = session.record();
            (identity, Authentication { at: *auth_time, acr: acr.as_deref() })
        });
        match route {
            Some(route) => {
                // No more for the clocks than the limit itself, or `30s` would last for ninety.
                let max_age = route.max_auth_age.map(|max_age| max_age + self.clock_skew.min(max_age));
                let demanded = AuthenticationRule { max_age, acr: &route.acr };
                decide(&route.access, demanded, person, || self.clock.now())
            }
            // No rule, no entry; but strangers are not told which rules there are (R-I01).
            None if person.is_some() => Decision::Forbidden,
            None => Decision::NeedsSession,
        }
    }

    /// The session behind the request as its provider sees it now, and whether the provider has had its say. On a
    /// public route whoever cannot be vouched for is a stranger.
    async fn renew(
        &self,
        route: Option<&Route>,
        headers: &HeaderMap,
        found: SessionLookup,
    ) -> Result<(SessionLookup, bool), Failure> {
        let Some((key, session)) = found.live() else { return Ok((found, true)) };
        let wants_token = route.is_some_and(|route| route.pass_access_token);
        let need = if wants_token { Need::AccessToken } else { Need::Person };
        let is_public = route.is_some_and(|route| route.access.public);
        match self.revalidator.revalidate_if_due(key, session, need).await {
            Ok(Revalidation::Fresh) => Ok((found, true)),
            Ok(Revalidation::Reload) => {
                let found = self.ask(route, headers).await?;
                let counts =
                    !found.live().is_some_and(|(_, session)| self.revalidator.requires_reauthentication(session));
                Ok(if is_public && !counts { (SessionLookup::Nothing, true) } else { (found, counts) })
            }
            Ok(Revalidation::Reauthenticate) | Err(_) if is_public => Ok((SessionLookup::Nothing, true)),
            Ok(Revalidation::Reauthenticate) => Ok((found, false)),
            Err(error) => Err(error.into()),
        }
    }

    /// The access token that the route passes on. Only a login brings one where there is none and no way to one.
    async fn access_token(&self, key: &SessionKey) -> Result<(Decision, Option<Secret<String>>), Failure> {
        match self.revalidator.access_token(key).await {
            Ok(token) => Ok((Decision::Pass, Some(token))),
            Err(NoAccessToken::LoginNeeded) => Ok((Decision::NeedsFreshLogin, None)),
            Err(why @ NoAccessToken::Unavailable) => Err(Failure::caused(FailureKind::IdpUnavailable, why)),
            Err(NoAccessToken::Store(error)) => Err(error.into()),
        }
    }

    fn forward(
        &self,
        request: &mut Request,
        target: RequestTarget,
        route: Arc<Route>,
        session: Option<LiveSession>,
        access_token: Option<Secret<String>>,
    ) {
        if let Some(session) = session.as_ref().filter(|_| !is_background(request.headers())) {
            self.sessions.touch(session);
        }
        let user = session.map(CurrentUser::new);
        request.extensions_mut().insert(Admitted { target, route, user, access_token });
    }

    /// The session behind the request. On a public route nobody depends on it, so a store that cannot be
    /// asked makes the caller a stranger there, and the page still loads.
    async fn ask(&self, route: Option<&Route>, headers: &HeaderMap) -> Result<SessionLookup, Failure> {
        match look_up(&self.sessions, &self.cookies, headers).await {
            Err(_) if route.is_some_and(|route| route.access.public) => Ok(SessionLookup::Nothing),
            other => other,
        }
    }

    fn reject(
        &self,
        request: &Request,
        route: Option<&Route>,
        decision: Decision,
        found: &SessionLookup,
    ) -> Result<Response, Failure> {
        let on_anonymous = route.map_or(OnAnonymous::Auto, |route| route.on_anonymous);
        if may_redirect(on_anonymous, request.method(), request.headers()) {
            let back = ReturnTo::of_request(request.uri());
            let ended = matches!(found, SessionLookup::Ended(_)) && decision == Decision::NeedsSession;
            let mut response = see_other(&if ended { back.ended_href() } else { back.login_href() })?;
            security_headers::apply(response.headers_mut(), self.public_url.is_https());
            return Ok(response);
        }
        let kind = if decision == Decision::NeedsFreshLogin { FailureKind::LoginTooOld } else { found.why_not() };
        let failure = Failure::from(kind).with_sign_in(self.page_of(request).login_href());
        if is_safe(request.method()) || !navigation::is_navigation(request.headers()) {
            return Err(failure);
        }
        // A form that was sent cannot be sent again by coming back to its address, but by reloading the page that says
        // so: browsers keep what was sent for that.
        let demanding = route.is_some_and(Route::demands_of_login).then(|| ReturnTo::of_request(request.uri()));
        Err(failure.with_new_tab_sign_in(ReturnTo::signed_in_for(demanding.as_ref()).login_href()))
    }

    /// The page that a person comes back to: the one they asked for, or the one that asked on their behalf.
    fn page_of(&self, request: &Request) -> ReturnTo {
        let own = ReturnTo::of_request(request.uri());
        if is_safe(request.method()) && navigation::is_navigation(request.headers()) {
            return own;
        }
        let asking = ReturnTo::of_referer(request.headers(), &self.public_url);
        asking.unwrap_or_else(|| if is_safe(request.method()) { own } else { ReturnTo::home() })
    }

    /// Writes down who may not pass and why, and tells them who they are.
    fn forbidden(&self, request: &Request, path: &str, route: Option<&Route>, who: Option<&LiveSession>) -> Failure {
        let identity = who.map(|session| &session.record().identity);
        let has = identity.map_or_else(String::new, |identity| Holdings(identity).to_string());
        let (route, rule) = match route {
            Some(route) => (route.path.to_string(), route.access.to_string()),
            None => ("none".to_owned(), "no route covers this path".to_owned()),
        };
        audit(&AuditEvent::AccessDenied { session: who, path, route: &route, rule: &rule, has: &has });
        let page = self.page_of(request);
        let account = identity.map(|identity| SignedInAs::new(identity, &ReturnTo::home(), &page));
        Failure::from(FailureKind::Forbidden).with_account(account)
    }
}

fn ambiguous(fault: InvalidTarget) -> Failure {
    Failure::caused(FailureKind::AmbiguousPath, fault)
}

/// Is true if nobody asked for it: a page says so of its polls and refreshes, a browser of what it fetches ahead. It does
/// not keep the session alive; whoever lies about it shortens no session but their own.
fn is_background(headers: &HeaderMap) -> bool {
    headers.get(BACKGROUND).is_some_and(|value| value == "1") || navigation::is_speculative(headers)
}

fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

fn may_redirect(on_anonymous: OnAnonymous, method: &Method, headers: &HeaderMap) -> bool {
    match on_anonymous {
        OnAnonymous::Auto => navigation::can_be_sent_to_login(method, headers),
        OnAnonymous::Login => is_safe(method) && !navigation::is_speculative(headers),
        OnAnonymous::Unauthorized => false,
    }
}
