//! Answers without a pending login: brought twice, too late, or after too many other logins were begun.
//!
//! Nothing of such an answer is used. But its `state` holds the return path: a person with a session is sent there, and
//! a browser that has begun a login here lately begins another one for it, once. Otherwise a page asks the person to
//! start again.

use axum::response::Response;
use http::HeaderMap;
use url::form_urlencoded::byte_serialize;

use super::Login;
use super::answer::Carrier;
use super::fault::{CallbackFault, refused};
use super::pending::PendingLogin;
use super::way_back::WayBack;
use crate::guard::session_lookup::{SessionLookup, look_up};
use crate::web::failure::{Failure, FailureKind, SignedInAs};
use crate::web::paths::PATHS;
use crate::web::redirect::see_other;
use crate::web::return_to::ReturnTo;

/// The fate of the login that an answer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lost {
    /// It is over, or forgotten.
    Gone,
    /// The same answer was brought before. Nothing is begun again, since that may still be under way.
    Repeated,
}

impl Login {
    /// Answers a browser that brings an answer to a login that is no longer pending.
    pub(super) async fn lead_on(
        &self,
        idp: &str,
        state: &str,
        (lost, carrier): (Lost, Carrier),
        headers: &HeaderMap,
    ) -> Result<Response, Failure> {
        if carrier == Carrier::Form && self.way_back(state, headers).is_some() {
            // The session's cookie does not come along with another site's form; with the next request it does.
            let repeated = if lost == Lost::Repeated { "&repeated=1" } else { "" };
            return see_other(&format!("/sso/login?resume={}&idp={}{repeated}", encoded(state), encoded(idp)));
        }
        self.resume(Some(idp), state, lost, headers).await
    }

    /// Answers a browser that is sent on to the login address with the `state` of such an answer.
    pub(super) async fn resume(
        &self,
        idp: Option<&str>,
        state: &str,
        lost: Lost,
        headers: &HeaderMap,
    ) -> Result<Response, Failure> {
        let fault = if lost == Lost::Repeated { CallbackFault::UsedBefore } else { CallbackFault::NotPending };
        let Some(way) = self.way_back(state, headers) else { return Err(refused(FailureKind::LoginExpired, fault)) };
        if look_up(&self.sessions.reader(), &self.cookies, headers).await?.live().is_some() {
            return see_other(way.page.as_str());
        }
        if lost == Lost::Gone && !way.begun_again && self.pending.are_in(&self.cookies, headers) {
            return see_other(&again_href(&way.page, idp));
        }
        Err(refused(FailureKind::LoginExpired, fault).with_sign_in(way.page.login_href(&PATHS)))
    }

    /// The person who is signed in although this login failed.
    pub(super) async fn account_beside(
        &self,
        failure: &Failure,
        pending: &PendingLogin,
        headers: &HeaderMap,
    ) -> Option<SignedInAs> {
        if failure.kind.is_store_outage() {
            return None;
        }
        let mut session = match look_up(&self.sessions.reader(), &self.cookies, headers).await {
            Ok(SessionLookup::Live(_, session)) => Some(session),
            _ => None,
        };
        // The cookie of a session does not come along with another site's form.
        for handle in pending.replaces() {
            if session.is_none() {
                session = self.sessions.administration().find(handle).await.ok().flatten();
            }
        }
        session.map(|session| self.account_of(&session, &pending.return_to()))
    }

    fn way_back(&self, state: &str, headers: &HeaderMap) -> Option<WayBack> {
        // The browser's own cookie knows the whole page, however long.
        let remembered = self.pending.find_whenever(state, &self.cookies, headers);
        let remembered =
            remembered.map(|(_, login)| WayBack { page: login.return_to(), begun_again: login.begun_again });
        remembered.or_else(|| self.ways_back.read(state))
    }
}

/// The address that begins a login again in place of one that came to nothing by itself.
pub(super) fn again_href(page: &ReturnTo, idp: Option<&str>) -> String {
    let idp = idp.map_or_else(String::new, |idp| format!("&idp={}", encoded(idp)));
    format!("{}{idp}&again=1", page.login_href(&PATHS))
}

fn encoded(text: &str) -> String {
    byte_serialize(text.as_bytes()).collect()
}
