//! `/sso/callback/{idp}`: from the provider's answer to a session.
//!
//! In this order: the answer is matched to a login pending in this browser, which needs no I/O; it is judged by what
//! the provider says of itself (its metadata and keys, fetched at most once for all logins together); if it brings a
//! code, its `state` is claimed, so that it works once (R-B03); only then is the provider asked anything about this
//! login.

use std::net::IpAddr;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use axum::response::Response;
use http::header::SET_COOKIE;
use http::request::Parts;
use http::{HeaderMap, Method};
use time::{Duration, OffsetDateTime};
use url::form_urlencoded::byte_serialize;

use super::answer::{Carrier, Unfinished};
use super::asks::Asks;
use super::code::{code_of, says_that_its_form_expired};
use super::fault::{CallbackFault, refused};
use super::login_loop::LoginLoopDetector;
use super::lost::{Lost, again_href};
use super::pending::{LIFETIME, PendingLogin};
use super::session_limit::EndSessionGrant;
use super::{Login, client_traits, failure_kind};
use crate::audit::{AuditEvent, audit};
use crate::guard::session_lookup::candidates;
use crate::idp::{IdpError, Provider, ProviderTokens, SignedIn};
use crate::session::Lease;
use crate::session::establish::{EstablishError, Freshness, NewSession, Refusal};
use crate::session::key::SessionKey;
use crate::session::record::{ExposedSecret, Tokens};
use crate::web::client_address::ClientAddress;
use crate::web::cookies::LANDINGS;
use crate::web::failure::{Failure, FailureKind, RefusalKind};
use crate::web::paths::PATHS;
use crate::web::query::Parameters;
use crate::web::redirect::see_other;
use crate::web::{form, navigation};

/// `GET /sso/callback/{idp}`: finishes a login whose answer came in the address.
///
/// # Errors
/// [`Failure`]: 4xx if nothing matching is pending in this browser or the provider said no, 502 and 503 if the
/// provider's answers were not acceptable or did not come.
pub async fn by_address(
    State(login): State<Login>,
    idp: Result<Path<String>, PathRejection>,
    address: ClientAddress,
    Parts { method, uri, headers, .. }: Parts,
) -> Result<Response, Failure> {
    let Path(idp) = idp.map_err(|error| Failure::caused(FailureKind::BadRequest, error))?;
    // The router serves HEAD where it serves GET; an answer is taken by GET alone (R-B01).
    if method != Method::GET {
        return Err(login.refuse_method(&idp));
    }
    login.refuse_unless_served(&idp, Carrier::Address)?;
    if navigation::is_speculative(&headers) {
        // Asked ahead of a click: the answer is for when the person comes.
        return Err(RefusalKind::SessionMissing.into());
    }
    let brought = Parameters::read(uri.query().unwrap_or_default());
    let brought = brought.map_err(|error| Failure::caused(FailureKind::BadRequest, error))?;
    login.take(&idp, &brought, Carrier::Address, &headers, address.client).await
}

/// Every other method on a callback address: says which one is served.
pub async fn refuse_method(State(login): State<Login>, idp: Result<Path<String>, PathRejection>) -> Failure {
    login.refuse_method(idp.as_ref().map_or("", |idp| &idp.0))
}

/// `POST /sso/callback/{idp}`: finishes a login whose answer came in a form (Form Post Response Mode). The request is
/// cross-site, so only the cookie of the pending login is a proof.
///
/// # Errors
/// [`Failure`], as [`by_address`]; 4xx for what is no form.
pub async fn by_form(
    State(login): State<Login>,
    idp: Result<Path<String>, PathRejection>,
    address: ClientAddress,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Failure> {
    let Path(idp) = idp.map_err(|error| Failure::caused(FailureKind::BadRequest, error))?;
    login.refuse_unless_served(&idp, Carrier::Form)?;
    let brought = form::read_foreign(&headers, body)?;
    login.take(&idp, &brought, Carrier::Form, &headers, address.client).await
}

/// The outcome of a good answer of the provider.
pub(super) enum Finished {
    /// A session.
    SignedIn(SessionKey),
    /// The provider's own session is not enough.
    FreshLoginNeeded,
    /// The person authenticated in another way than was asked for, from the provider's own session perhaps.
    WeakLogin,
    /// The person has to end another session first.
    TooManySessions(EndSessionGrant),
    /// The person took too long at the provider, which says so.
    FormExpired,
}

impl Login {
    /// Matches an answer to a pending login, finishes that, and sends the browser on.
    async fn take(
        &self,
        idp: &str,
        brought: &Parameters,
        carrier: Carrier,
        headers: &HeaderMap,
        client: IpAddr,
    ) -> Result<Response, Failure> {
        let now = self.clock.now();
        self.refuse_other_manner(idp, brought)?;
        let state = self.state_of(idp, brought);
        let Some((cookie, pending)) = self.pending.find(&state, &self.cookies, headers, now) else {
            return self.lead_on(idp, &state, (Lost::Gone, carrier), headers).await;
        };
        let landings = match pending.landings() {
            Some(text) => LoginLoopDetector::remembered(text, now),
            None => LoginLoopDetector::read(&self.cookies, headers, now),
        };
        let finished = match self.provider(&pending.idp) {
            Some(_) if landings.are_a_loop(&pending.return_to()) => {
                Err(refused(FailureKind::LoginLoop, CallbackFault::Loop).into())
            }
            Some(provider) if idp == pending.idp => self.finish(provider, &pending, brought, headers, client).await,
            _ => Err(refused(FailureKind::LoginExpired, CallbackFault::OtherProvider).into()),
        };
        match finished {
            Ok(None) => self.lead_on(idp, &state, (Lost::Repeated, carrier), headers).await,
            Ok(Some(finished)) => {
                let mut response = self.go_on(finished, &pending, landings)?;
                response.headers_mut().append(SET_COOKIE, pending.clear(&cookie, &self.cookies));
                Ok(response)
            }
            Err(unfinished) => {
                let clear_pending = (!unfinished.may_be_repeated).then(|| pending.clear(&cookie, &self.cookies));
                let failure = self.unfinished(unfinished.failure, &pending, headers, client).await;
                Err(failure.with_cookies(clear_pending))
            }
        }
    }

    /// Audits why a login failed, and makes the failure with the next steps for the person.
    async fn unfinished(
        &self,
        failure: Failure,
        pending: &PendingLogin,
        headers: &HeaderMap,
        client: IpAddr,
    ) -> Failure {
        let reason = failure.cause.as_ref().map_or_else(String::new, ToString::to_string);
        // A refusal of the person comes from the provider, whatever the browser brought.
        let cause = failure.cause.as_deref().and_then(|cause| cause.downcast_ref::<IdpError>());
        let by_browser = failure.kind.is_of_the_browser() && !matches!(cause, Some(IdpError::Profile(_)));
        audit(&AuditEvent::LoginFailed { idp: &pending.idp, reason: &reason, by_browser, client });
        let account = self.account_beside(&failure, pending, headers).await;
        // The person has seen the page about the loop: the count begins anew.
        let anew =
            (failure.kind == FailureKind::LoginLoop).then(|| self.cookies.clear(&self.cookies.own_name(LANDINGS)));
        failure.with_account(account).with_sign_in(pending.return_to().login_href(&PATHS)).with_cookies(anew)
    }

    /// Claims this login, so that exactly one request finishes it among all replicas; `None` for every other.
    async fn claim(&self, pending: &PendingLogin) -> Result<Option<Lease>, Failure> {
        let claim = self.sessions.try_lease(&pending.claim_name(), LIFETIME + Duration::minutes(2)).await;
        claim.map_err(Failure::from)
    }

    /// Sends the provider the code. If it cannot be reached at all, neither the code nor the login is used up.
    async fn exchange(&self, code: String, asks: Asks<'_>, claim: Lease) -> Result<SignedIn, Unfinished> {
        let Asks { provider, pending, .. } = asks;
        match provider.finish(code, &pending.attempt).await {
            Ok(signed_in) => Ok(signed_in),
            Err(error) if error.was_not_sent() => {
                let released = claim.try_release().await;
                let unfinished = Unfinished::before_the_exchange(error);
                Err(Unfinished { may_be_repeated: released.is_ok(), ..unfinished })
            }
            Err(error) => {
                Err(Unfinished::after_the_exchange(Failure::caused(failure_kind(&error), asks.explain(error))))
            }
        }
    }

    /// Finishes a login; `None` if that was done before.
    async fn finish(
        &self,
        provider: &Provider,
        pending: &PendingLogin,
        brought: &Parameters,
        headers: &HeaderMap,
        client: IpAddr,
    ) -> Result<Option<Finished>, Unfinished> {
        let answer = self.answer_of(provider, brought).await?;
        if !pending.begun_again && says_that_its_form_expired(&answer) {
            return Ok(Some(Finished::FormExpired));
        }
        let said = answer.said.clone().without(&[&pending.attempt.nonce, pending.attempt.verifier.expose()]);
        let code = code_of(answer).map_err(|refusal| refusal.told(said))?;
        provider.prepare_to_finish().await.map_err(Unfinished::before_the_exchange)?;
        // The login is claimed only now: answers that would not be exchanged anyway leave nothing in the store.
        let Some(claim) = self.claim(pending).await? else { return Ok(None) };
        let route = self.route_behind(&pending.return_to());
        let asks = Asks { provider, pending, route: route.as_deref() };
        let signed_in = self.exchange(code, asks, claim).await?;
        if !pending.attempt.is_met_by(signed_in.acr.as_deref()) {
            let once_more = asks.stronger_login(&signed_in.identity, signed_in.acr.as_deref());
            return once_more.map(Some).map_err(Unfinished::after_the_exchange);
        }
        let grant = EndSessionGrant::new(&signed_in.identity, &pending.return_to(), self.clock.now());
        let subject = signed_in.identity.subject.clone();
        let established = self.establish(provider, pending, signed_in, headers, client).await;
        if let Err(EstablishError::Refused(refusal)) = &established {
            let reason = &refusal.to_string();
            audit(&AuditEvent::SessionRefused { idp: provider.name(), subject: &subject, reason, client });
        }
        let refused = |kind, error| Unfinished::after_the_exchange(Failure::caused(kind, error));
        match established {
            Ok(key) => Ok(Some(Finished::SignedIn(key))),
            Err(EstablishError::Refused(Refusal::FreshLoginNeeded)) => Ok(Some(Finished::FreshLoginNeeded)),
            Err(EstablishError::Refused(Refusal::TooManySessions)) => Ok(Some(Finished::TooManySessions(grant))),
            Err(EstablishError::Refused(why @ Refusal::Overtaken)) => Err(refused(FailureKind::LoginOvertaken, why)),
            Err(EstablishError::Refused(why @ Refusal::Blocked(_))) => Err(refused(FailureKind::LoginBlocked, why)),
            Err(EstablishError::Store(error)) => Err(Unfinished::after_the_exchange(error.into())),
        }
    }

    /// A new key at every login, and whatever session the browser came with is over (R-B09).
    async fn establish(
        &self,
        provider: &Provider,
        pending: &PendingLogin,
        signed_in: SignedIn,
        headers: &HeaderMap,
        client: IpAddr,
    ) -> Result<SessionKey, EstablishError> {
        let presented = candidates(&self.sessions.reader(), &self.cookies, headers).into_iter().map(|key| key.handle());
        for old in presented.chain(pending.replaces()) {
            self.sessions.end(old).await?;
        }
        let subject = signed_in.identity.subject.clone();
        let groups = signed_in.identity.groups.len();
        let address_dropped = signed_in.identity.email.is_some() && signed_in.identity.verified_email().is_none();
        let new = NewSession {
            identity: signed_in.identity,
            begun: Some(pending.begun()),
            auth_time: signed_in.auth_time,
            acr: signed_in.acr,
            ends_by: signed_in.session_expiry,
            freshness: freshness(provider, pending, signed_in.auth_time),
            provider_session: signed_in.provider_session,
            tokens: tokens(signed_in.tokens.clone(), self.clock.now(), &pending.attempt.nonce),
            client: client_traits(client, headers),
        };
        let issuer = new.identity.issuer.clone();
        let established = self.sessions.establish(new).await;
        // Some providers revoke all tokens of a person together, which would end the sessions that they have elsewhere.
        if matches!(established, Err(EstablishError::Refused(Refusal::Blocked(_) | Refusal::Overtaken)))
            && self.sessions.administration().of_subject(&issuer, &subject).await.is_ok_and(|others| others.is_empty())
        {
            provider.revoke_tokens(signed_in.tokens.refresh_token, signed_in.tokens.access_token);
        }
        let key = established?;
        let (session, idp) = (key.handle(), provider.name());
        audit(&AuditEvent::LoginCompleted { session, idp, subject: &subject, groups, address_dropped, client });
        Ok(key)
    }

    fn go_on(
        &self,
        finished: Finished,
        pending: &PendingLogin,
        landings: LoginLoopDetector,
    ) -> Result<Response, Failure> {
        match finished {
            Finished::SignedIn(key) => {
                let mut response = see_other(pending.return_to().as_str())?;
                let session = self.cookies.set(self.cookies.session_name(), &key.expose_cookie_value(), None);
                response.headers_mut().append(SET_COOKIE, session);
                let landed = landings.one_more(&pending.return_to(), &self.cookies, self.clock.now());
                response.headers_mut().append(SET_COOKIE, landed);
                Ok(response)
            }
            Finished::FreshLoginNeeded | Finished::WeakLogin => {
                let idp: String = byte_serialize(pending.idp.as_bytes()).collect();
                see_other(&format!("{}&idp={idp}&fresh=1", pending.return_to().login_href(&PATHS)))
            }
            Finished::TooManySessions(grant) => self.send_to_limit(&grant),
            Finished::FormExpired => see_other(&again_href(&pending.return_to(), Some(&pending.idp))),
        }
    }
}

/// The login's proof of the time at which the person showed who they are.
fn freshness(provider: &Provider, pending: &PendingLogin, auth_time: Option<OffsetDateTime>) -> Freshness {
    match auth_time {
        // Demanded just now, so that nothing but the provider's clock lies in between.
        Some(at) if pending.attempt.fresh => Freshness::At(at + provider.clock_skew()),
        Some(at) => Freshness::At(at),
        None if provider.is_plain_oauth2() => Freshness::CannotBeTold,
        // `prompt=login` was sent; the provider gives no further proof.
        None if !provider.tells_authentication_time()
            && (pending.attempt.fresh || provider.always_asks_who_it_is()) =>
        {
            Freshness::CannotBeTold
        }
        None => Freshness::Unknown,
    }
}

fn tokens(tokens: ProviderTokens, issued_at: OffsetDateTime, nonce: &str) -> Tokens {
    Tokens {
        access_token: tokens.access_token,
        access_token_expires_at: tokens.access_token_expires_at,
        issued_at,
        refresh_token: tokens.refresh_token.map(ExposedSecret),
        id_token: tokens.id_token.map(ExposedSecret),
        nonce: Some(nonce.to_owned()),
    }
}
