//! The middleware in front of the back office.
//!
//! Most requests pass at once: the near cache knows their session and the route lets it pass, so nothing is awaited or
//! boxed. Everything else takes the slow path, which loads what `decision` asks for; only it refuses.

use std::borrow::Cow;
use std::convert::Infallible;
use std::future::ready;
use std::pin::Pin;
use std::sync::{Arc, Once};
use std::task::{Context, Poll};

use axum::Router;
use axum::extract::{NestedPath, OriginalUri, Request};
use axum::response::{IntoResponse, Response};
use counterfoil_core::clock::SharedClock;
use counterfoil_session::audit::{AuditEvent, audit};
use counterfoil_session::key::SessionKey;
use counterfoil_session::{Check, LiveSession, SessionReader};
use futures_util::future::Either;
use http::header::{CACHE_CONTROL, COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue, Method};
use time::Duration;
use tower::{Layer, Service};

use super::access::Holdings;
use super::current_user::{Admitted, CurrentUser};
use super::decision::{Caller, LoginReason, Verdict};
use super::inquiry::Inquiry;
use super::methods::judged;
use super::recheck::Recheck;
use super::request_target::{InvalidTarget, check_form, with_path};
use super::revalidation::Revalidator;
use super::route::{Caching, OnAnonymous, Place, Route, RouteTable};
use super::session_lookup::SessionLookup;
use crate::broker_paths::BrokerPaths;
use crate::caching::Audience;
pub use crate::caching::KeptPrivate;
use crate::cookies::CookiePolicy;
use crate::public_url::PublicUrl;
use crate::redirect::see_other;
use crate::refusal::{Refusal, RefusalKind, SignedInAs};
use crate::request_context::RequestContext;
use crate::return_to::ReturnTo;
use crate::security_headers::TARGETED;
use crate::{navigation, security_headers, upgrade};

/// Longest path that an audit event shows, in bytes.
const LONGEST_AUDITED_PATH: usize = 1_024;

/// The guard's collaborators.
#[derive(Debug)]
pub struct GuardParts {
    /// The routes, with the people who may pass.
    pub routes: Arc<RouteTable>,
    /// The sessions asked.
    pub sessions: SessionReader,
    /// Revalidates sessions with their providers.
    pub revalidator: Arc<dyn Revalidator>,
    /// The cookies read.
    pub cookies: Arc<CookiePolicy>,
    /// Judges `max_auth_age`.
    pub clock: SharedClock,
    /// Largest tolerated clock skew of a provider: the guard must accept as recent what a login accepts, or the two
    /// would make a redirect loop.
    pub clock_skew: Duration,
    /// The origin that browsers see.
    pub public_url: Arc<PublicUrl>,
    /// The addresses that the guard leads to.
    pub paths: BrokerPaths,
}

/// Decides who may pass to an application. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Guard(Arc<GuardParts>);

impl From<GuardParts> for Guard {
    fn from(parts: GuardParts) -> Self {
        Self(Arc::new(parts))
    }
}

impl Guard {
    /// The layer for a tower stack. On a [`Router`] it does not cover the fallback: see [`Self::in_front_of`].
    pub fn layer(&self) -> GuardLayer {
        GuardLayer(self.clone())
    }

    /// Puts the guard in front of a whole router, its fallback included.
    pub fn in_front_of(&self, router: Router) -> Router {
        Router::new().fallback_service(self.layer().layer(router))
    }

    /// The origin that browsers see.
    pub fn public_url(&self) -> &PublicUrl {
        &self.0.public_url
    }
}

/// Puts a guard in front of a service. What passes carries [`Admitted`]; the rest is answered with a [`Refusal`] (400
/// for targets of two readings, 401, 403, 503 if the store cannot be asked) or sent to the login.
#[derive(Debug, Clone)]
pub struct GuardLayer(Guard);

impl<S> Layer<S> for GuardLayer {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { guard: self.0.0.clone(), inner }
    }
}

/// A service behind a guard.
#[derive(Debug, Clone)]
pub struct Guarded<S> {
    guard: Arc<GuardParts>,
    inner: S,
}

type LongWay = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

impl<S> Service<Request> for Guarded<S>
where
    S: Service<Request, Response = Response, Error = Infallible, Future: Send> + Clone + Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<KeptPrivate<S::Future>, LongWay>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let route = match self.guard.locate(&mut request) {
            Ok(route) => route,
            Err(refusal) => return Either::Right(Box::pin(ready(Ok(self.guard.draw(refusal))))),
        };
        let inquiry = Inquiry::begin(&self.guard, request.headers());
        let verdict = inquiry.verdict(&self.guard, route.as_deref());
        if let (Verdict::Pass(caller), Some(route)) = (verdict, &route) {
            return match self.guard.forward(&mut request, route.clone(), caller, inquiry) {
                Ok(audience) => Either::Left(KeptPrivate::new(self.inner.call(request), audience)),
                Err(refusal) => Either::Right(Box::pin(ready(Ok(self.guard.draw(refusal))))),
            };
        }
        let guard = self.guard.clone();
        // The service that was polled ready is the one to call.
        let fresh = self.inner.clone();
        let mut ready = std::mem::replace(&mut self.inner, fresh);
        Either::Right(Box::pin(async move {
            match guard.slow_path(&mut request, route, inquiry).await {
                Ok(Passage::Forward { audience, renewed }) => {
                    let mut response = KeptPrivate::new(ready.call(request), audience).await?;
                    if let Some(key) = renewed {
                        guard.set_cookie_again(&key, response.headers_mut()).await;
                    }
                    Ok(response)
                }
                Ok(Passage::Elsewhere(response)) => Ok(response),
                Err(refusal) => Ok(guard.draw(refusal)),
            }
        }))
    }
}

/// The way on of a request that was not refused.
#[derive(Debug)]
enum Passage {
    /// To the back office, whose answer is for these people, and sets the session's cookie again if it has to have another
    /// tag.
    Forward { audience: Audience, renewed: Option<SessionKey> },
    /// To the login.
    Elsewhere(Response),
}

impl GuardParts {
    /// Finds the route of a request, if there is one, and gives the request the spelling of its path that the route was
    /// chosen by.
    fn locate(&self, request: &mut Request) -> Result<Option<Arc<Route>>, Refusal> {
        if let Some(outer) = request.extensions().get::<NestedPath>() {
            static LOGGED: Once = Once::new();
            let refusal = Refusal::from(RefusalKind::NestedGuard);
            LOGGED.call_once(|| tracing::error!(nested_at = outer.as_str(), "{}", refusal.advice()));
            return Err(refusal);
        }
        check_form(request).map_err(ambiguous)?;
        let method = judged(request.method(), request.headers());
        let (path, place) = self.routes.locate(request.uri().path(), &method).map_err(ambiguous)?;
        if let Cow::Owned(plain) = path {
            let judged = with_path(request.uri(), &plain).map_err(ambiguous)?;
            *request.uri_mut() = judged.clone();
            // Nested routers go by this one.
            if let Some(original) = request.extensions_mut().get_mut::<OriginalUri>() {
                original.0 = judged;
            }
        }
        match place {
            Place::Broker => Err(RefusalKind::NotFound.into()),
            Place::Route(route) => Ok(Some(route)),
            Place::OtherMethods(allow) => Err(Refusal::of_method(allow)),
            Place::Nowhere => Ok(None),
        }
    }

    /// Lets a request pass, or returns the redirect or refusal in its place.
    async fn slow_path(
        self: &Arc<Self>,
        request: &mut Request,
        route: Option<Arc<Route>>,
        mut inquiry: Inquiry,
    ) -> Result<Passage, Refusal> {
        let verdict = inquiry.conclude(self, route.as_deref(), request.headers()).await;
        if let (Verdict::Pass(caller), Some(route)) = (verdict, &route) {
            let renewed = self.renewed_key(route, request.headers(), inquiry.found());
            let audience = self.forward(request, route.clone(), caller, inquiry)?;
            return Ok(Passage::Forward { audience, renewed });
        }
        note_visitor(request, inquiry.session());
        match verdict {
            Verdict::Login(reason) => {
                self.reject(request, route.as_deref(), reason, inquiry.found()).map(Passage::Elsewhere)
            }
            Verdict::Forbidden => Err(self.forbidden(request, route.as_deref(), inquiry.session())),
            _ => Err(inquiry.into_outage()),
        }
    }

    /// Returns the session's key as a page's answer sets it again once another of the server's keys makes tags. Answers
    /// that others may keep are left alone.
    fn renewed_key(&self, route: &Route, headers: &HeaderMap, found: &SessionLookup) -> Option<SessionKey> {
        let is_ones_own = !route.access.public && route.caching == Caching::Private;
        let (key, _) = found.live().filter(|_| is_ones_own && navigation::is_navigation(headers))?;
        self.sessions.renewed_tag(key)
    }

    /// Sets the session's cookie again, unless the session ended while the page was made: the browser may have another
    /// by now. Such an answer becomes `no-store`.
    async fn set_cookie_again(&self, key: &SessionKey, headers: &mut HeaderMap) {
        if !matches!(self.sessions.check(key).await, Ok(Check::Live(_))) {
            return;
        }
        let cookie = self.cookies.set(self.cookies.session_name(), &key.expose_cookie_value(), None);
        headers.append(SET_COOKIE, cookie);
        for name in TARGETED {
            headers.remove(name);
        }
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    }

    /// Tells the application who asks, and returns the people that its answer is for. A page of another origin may not
    /// use a person's session for an upgrade.
    fn forward(
        self: &Arc<Self>,
        request: &mut Request,
        route: Arc<Route>,
        caller: Caller,
        inquiry: Inquiry,
    ) -> Result<Audience, Refusal> {
        let (session, access_token) = match caller {
            Caller::Person => inquiry.into_admitted(),
            Caller::Stranger => (None, None),
        };
        note_visitor(request, session.as_ref().map(|(_, session)| session));
        let upgrade = upgrade::asked(request, &route.streams).cloned();
        let is_foreign = || upgrade::is_of_another_origin(request.headers(), &self.public_url, &route.streams);
        // The cookies of strangers are the application's own, which browsers send along as well.
        if upgrade.is_some() && request.headers().contains_key(COOKIE) && is_foreign() {
            return Err(RefusalKind::ForeignOrigin.into());
        }
        if let Some((_, session)) = &session {
            // Opening one is no use: a forgotten tab opens it again and again.
            let is_use =
                upgrade.is_none() && route.streams.counts_as_use && !navigation::is_background(request.headers());
            if is_use {
                self.sessions.touch(session);
            }
        }
        let recheck = session.map(|(key, session)| Recheck::new(self.clone(), key, session));
        let user = recheck.as_ref().map(|recheck| CurrentUser::new(recheck.session().clone()));
        let audience = Audience::of(&route, user.is_some());
        let (cookies, public_url) = (self.cookies.clone(), self.public_url.clone());
        let admitted = Admitted { route, user, access_token, recheck, upgrade, cookies, public_url };
        request.extensions_mut().insert(admitted);
        Ok(audience)
    }

    fn reject(
        &self,
        request: &Request,
        route: Option<&Route>,
        reason: LoginReason,
        found: &SessionLookup,
    ) -> Result<Response, Refusal> {
        let leads_nowhere = self.paths.login.is_empty();
        let on_anonymous = route.map_or(OnAnonymous::Auto, |route| route.on_anonymous);
        let on_anonymous = if leads_nowhere { OnAnonymous::Unauthorized } else { on_anonymous };
        // The client of a handshake cannot show a page.
        let is_upgrade = route.is_some_and(|route| upgrade::asked(request, &route.streams).is_some());
        if !is_upgrade && may_redirect(on_anonymous, request.method(), request.headers()) {
            let back = ReturnTo::of_request(request.uri(), &self.paths);
            let ended = matches!(found, SessionLookup::Ended(_)) && reason == LoginReason::NoSession;
            let mut response =
                see_other(&if ended { back.ended_href(&self.paths) } else { back.login_href(&self.paths) })?;
            security_headers::apply(response.headers_mut(), self.public_url.is_https());
            return Ok(response);
        }
        let kind = match reason {
            LoginReason::NoSession => found.why_not(),
            LoginReason::Reauthenticate => RefusalKind::Reauthenticate,
        };
        if leads_nowhere {
            return Err(kind.into());
        }
        let refusal = Refusal::from(kind).with_sign_in(self.page_of(request).login_href(&self.paths));
        if is_safe(request.method()) || !navigation::is_navigation(request.headers()) {
            return Err(refusal);
        }
        // A form that was sent cannot be sent again by coming back to its address, but by reloading the page that says
        // so: browsers keep what was sent for that.
        let demanding =
            route.is_some_and(Route::demands_of_login).then(|| ReturnTo::of_request(request.uri(), &self.paths));
        let demanding = demanding.as_ref().map(|page| (page, request.method()));
        Err(match ReturnTo::signed_in_for(demanding, &self.paths) {
            Some(page) => refusal.with_new_tab_sign_in(page.login_href(&self.paths)),
            None => refusal,
        })
    }

    /// The page that a person comes back to: the one they asked for, or the one that asked on their behalf.
    fn page_of(&self, request: &Request) -> ReturnTo {
        let own = ReturnTo::of_request(request.uri(), &self.paths);
        if is_safe(request.method()) && navigation::is_navigation(request.headers()) {
            return own;
        }
        let asking = ReturnTo::of_referer(request.headers(), &self.public_url, &self.paths);
        asking.unwrap_or_else(|| if is_safe(request.method()) { own } else { ReturnTo::home() })
    }

    /// Draws a refusal, for browsers that reach us by the public URL.
    fn draw(&self, refusal: Refusal) -> Response {
        let mut response = refusal.into_response();
        security_headers::apply(response.headers_mut(), self.public_url.is_https());
        response
    }

    /// Audits the denied access and its cause, and makes the refusal with the person's account.
    fn forbidden(&self, request: &Request, route: Option<&Route>, who: Option<&LiveSession>) -> Refusal {
        let identity = who.map(|session| &session.record().identity);
        let has = identity.map_or_else(String::new, |identity| Holdings(identity).to_string());
        let (route, rule) = match route {
            Some(route) => (route.path.to_string(), route.access.to_string()),
            None => ("none".to_owned(), "no route covers this path".to_owned()),
        };
        let path = request.uri().path();
        let path = &path[..path.floor_char_boundary(LONGEST_AUDITED_PATH)];
        let (session, subject) = (who.map(LiveSession::handle), identity.map_or("", |identity| &identity.subject));
        audit(&AuditEvent::AccessDenied { session, subject, path, route: &route, rule: &rule, has: &has });
        let page = self.page_of(request);
        let account = identity.map(|identity| SignedInAs::new(identity, &ReturnTo::home(), &page, &self.paths));
        Refusal::from(RefusalKind::Forbidden).with_account(account)
    }
}

fn note_visitor(request: &Request, session: Option<&LiveSession>) {
    if let (Some(session), Some(visitor)) = (session, RequestContext::visitor_of(request.extensions())) {
        visitor.note(session);
    }
}

fn ambiguous(fault: InvalidTarget) -> Refusal {
    Refusal::caused(RefusalKind::AmbiguousPath, fault)
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
