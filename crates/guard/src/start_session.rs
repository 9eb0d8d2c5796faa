//! The beginning and the end of a session, for applications that sign people in themselves.
//!
//! The extractors [`StartSession`] and [`EndSession`] work behind a guard, on routers whose state holds the
//! [`Sessions`]. Both refuse a request that the browser marks as cross-site.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRef, FromRequestParts};
use axum::response::{IntoResponseParts, ResponseParts};
use counterfoil_core::identity::Identity;
use counterfoil_session::Sessions;
use counterfoil_session::audit::{AuditEvent, audit};
use counterfoil_session::establish::{EstablishError, NewSession};
use counterfoil_session::key::SessionKey;
use counterfoil_session::record::ClientTraits;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, SET_COOKIE, USER_AGENT};
use http::request::Parts;

use crate::cookies::CookiePolicy;
use crate::current_user::{CurrentUser, admitted};
use crate::refusal::{Refusal, RefusalKind};
use crate::request_context::RequestContext;
use crate::sender::Sender;
use crate::session_lookup::candidates;

/// The request of somebody who signs in.
#[derive(Debug)]
pub struct StartSession {
    request: OfBrowser,
    address: Option<IpAddr>,
    user_agent: Option<String>,
}

/// The request of somebody who signs out.
#[derive(Debug)]
pub struct EndSession(OfBrowser);

/// A browser's request that changes which session the browser has.
#[derive(Debug)]
struct OfBrowser {
    sessions: Sessions,
    cookies: Arc<CookiePolicy>,
    presented: Vec<SessionKey>,
    user: Option<CurrentUser>,
}

/// The session's cookie, or its deletion, for a handler's answer. Not to be logged: it is the session.
#[derive(Debug, Clone)]
#[must_use = "a session without its cookie can be used by nobody, and a cookie that is not deleted comes back"]
pub struct SessionCookie(HeaderValue);

impl OfBrowser {
    fn of<S>(parts: &Parts, state: &S) -> Result<Self, Refusal>
    where
        Sessions: FromRef<S>,
    {
        let admitted = admitted(parts)?;
        if Sender::of(&parts.headers, &admitted.public_url) == Sender::OtherOrigin {
            return Err(RefusalKind::Forbidden.into());
        }
        let (cookies, user) = (admitted.cookies.clone(), admitted.user.clone());
        let sessions = Sessions::from_ref(state);
        let presented = candidates(&sessions.reader(), &cookies, &parts.headers);
        Ok(Self { sessions, cookies, presented, user })
    }

    /// Ends whatever session the browser came with.
    async fn end(&self) -> Result<(), Refusal> {
        for key in &self.presented {
            self.sessions.end(key.handle()).await?;
        }
        Ok(())
    }
}

impl StartSession {
    /// Makes a session of somebody who has just proven who they are. The session that the browser had ends (session
    /// fixation).
    ///
    /// # Errors
    /// [`Refusal`]: 401 if the person may have no session now, 503 if the store cannot be asked.
    pub async fn session_of(self, identity: Identity) -> Result<SessionCookie, Refusal> {
        let Self { request: OfBrowser { sessions, cookies, .. }, .. } = &self;
        let now = sessions.reader().clock().now();
        let mut client =
            ClientTraits::new(self.address.unwrap_or(Ipv4Addr::UNSPECIFIED.into()), self.user_agent.as_deref());
        client.address = client.address.filter(|_| self.address.is_some());
        let (idp, subject, groups) = (identity.idp.clone(), identity.subject.clone(), identity.groups.len());
        let address_dropped = identity.email.is_some() && identity.verified_email().is_none();
        self.request.end().await?;
        let key =
            sessions.establish(NewSession::of_the_application(identity, now, client)).await.map_err(
                |error| match error {
                    EstablishError::Store(error) => Refusal::from(error),
                    EstablishError::Refused(why) => Refusal::sign_in_failed(why.to_string()),
                },
            )?;
        if let Some(client) = self.address {
            let session = key.handle();
            audit(&AuditEvent::LoginCompleted {
                session,
                idp: &idp,
                subject: &subject,
                groups,
                address_dropped,
                client,
            });
        }
        Ok(SessionCookie::new(cookies.set(cookies.session_name(), &key.expose_cookie_value(), None)))
    }
}

impl EndSession {
    /// Ends the session of the browser; the cookie is deleted in any case.
    ///
    /// # Errors
    /// [`Refusal`]: 503 if the store cannot be asked, which means that the session may live on.
    pub async fn session(self) -> Result<SessionCookie, Refusal> {
        let Self(request) = self;
        request.end().await?;
        if let Some(user) = &request.user {
            audit(&AuditEvent::LoggedOut { session: user.session(), subject: &user.identity().subject });
        }
        Ok(SessionCookie::new(request.cookies.clear(request.cookies.session_name())))
    }
}

impl SessionCookie {
    fn new(mut value: HeaderValue) -> Self {
        value.set_sensitive(true);
        Self(value)
    }
}

impl<S> FromRequestParts<S> for StartSession
where
    Sessions: FromRef<S>,
    S: Sync,
{
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let request = OfBrowser::of(parts, state)?;
        let told = RequestContext::of(&parts.extensions).map(|context| context.address.client);
        let peer = || parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip());
        let user_agent = parts.headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).map(str::to_owned);
        Ok(Self { request, address: told.or_else(peer), user_agent })
    }
}

impl<S> FromRequestParts<S> for EndSession
where
    Sessions: FromRef<S>,
    S: Sync,
{
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        OfBrowser::of(parts, state).map(Self)
    }
}

impl IntoResponseParts for SessionCookie {
    type Error = std::convert::Infallible;

    fn into_response_parts(self, mut parts: ResponseParts) -> Result<ResponseParts, Self::Error> {
        parts.headers_mut().append(SET_COOKIE, self.0);
        // A cookie alone does not keep an answer out of shared caches (RFC 9111 7.3).
        parts.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(parts)
    }
}
