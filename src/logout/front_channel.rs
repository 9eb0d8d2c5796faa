//! `GET /sso/frontchannel-logout/{idp}?iss=&sid=`: the provider's logout page loads this in a frame (OpenID Connect
//! Front-Channel Logout 1.0).
//!
//! Nobody is authenticated here, so little happens: only a request that brings a session's cookie *and* names that
//! session's own `iss` and `sid` ends it, and no token is revoked (R-J14). The cookie is `SameSite=Lax`: in a frame it
//! comes along only if provider and back office are the same site. It also comes along when another site sends the
//! whole window here, but that site does not know the `sid`.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use http::header::SET_COOKIE;
use http::request::Parts;
use http::{HeaderMap, Method};
use thiserror::Error;

use super::own::signed_out_page;
use super::{Logout, Notice};
use crate::audit::NoticeWay;
use crate::guard::session_lookup::look_up;
use crate::idp::Provider;
use crate::session::LiveSession;
use crate::session::revocation::{Order, Selection};
use crate::web::branding::Frame;
use crate::web::client_address::ClientAddress;
use crate::web::failure::{Failure, FailureKind};
use crate::web::page::SignedOutReason;
use crate::web::query::Parameters;
use crate::web::{navigation, security_headers};

/// The reason that a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
enum Refusal {
    #[error("it does not name the provider and its session, each once")]
    Incomplete,
    #[error("it names another provider")]
    OtherIssuer,
    #[error("it names another session than the browser's")]
    OtherSession,
}

/// Ends the session whose cookie came along, if that is the one that is meant.
///
/// # Errors
/// [`Failure`]: 400 if another session is meant, 404 for an unknown provider, 503 if the store cannot be asked.
pub async fn front_channel(
    State(logout): State<Logout>,
    idp: Result<Path<String>, PathRejection>,
    address: ClientAddress,
    Parts { method, uri, headers, .. }: Parts,
) -> Result<Response, Failure> {
    // The router serves HEAD where it serves GET.
    if method != Method::GET {
        return Err(Failure::from(FailureKind::MethodNotAllowed).with_allow("GET"));
    }
    if navigation::is_speculative(&headers) {
        // A prefetch ends nothing.
        return Err(FailureKind::BadRequest.into());
    }
    let Path(idp) = idp.map_err(|error| Failure::caused(FailureKind::NotFound, error))?;
    let provider = logout.provider(&idp).filter(|provider| provider.can_tell_of_logouts());
    let provider = provider.ok_or(FailureKind::NotFound)?;
    let refuse = |refusal: Refusal| {
        logout.refusals.note(provider.name(), NoticeWay::FrontChannel, &refusal.to_string(), address.client);
        Failure::caused(FailureKind::BadRequest, refusal)
    };
    let (issuer, sid) = named_session(uri.query().unwrap_or_default(), provider).map_err(refuse)?;
    let found = look_up(&logout.sessions.reader(), &logout.cookies, &headers).await?;
    let Some((_, session)) = found.live() else {
        // The cookie of a session that is over stays: whether it is the one that is meant cannot be told.
        return Ok(logout.framed_page(provider, &headers).await);
    };
    if !is_meant(session, &issuer, &sid) {
        return Err(refuse(Refusal::OtherSession));
    }
    let carried_out = logout.carry_out(notice(provider, session, sid, address)).await;
    carried_out?;
    let mut response = logout.framed_page(provider, &headers).await;
    response.headers_mut().append(SET_COOKIE, logout.clear_cookie());
    Ok(response)
}

/// `iss` and `sid` come together, and `iss` is the provider's (Front-Channel Logout 2).
fn named_session(query: &str, provider: &Provider) -> Result<(String, String), Refusal> {
    let query = Parameters::read(query).map_err(|_| Refusal::Incomplete)?;
    match (query.get("iss"), query.get("sid")) {
        (Some(iss), Some(sid)) if !sid.is_empty() => {
            if provider.accepts_issuer(iss) {
                Ok((iss.to_owned(), sid.to_owned()))
            } else {
                Err(Refusal::OtherIssuer)
            }
        }
        _ => Err(Refusal::Incomplete),
    }
}

fn is_meant(session: &LiveSession, issuer: &str, sid: &str) -> bool {
    let record = session.record();
    record.identity.issuer == issuer && record.provider_session.as_deref() == Some(sid)
}

fn notice(provider: &Provider, session: &LiveSession, sid: String, address: ClientAddress) -> Notice {
    let identity = &session.record().identity;
    let (issuer, subject) = (identity.issuer.clone(), Some(identity.subject.clone()));
    Notice {
        provider: provider.clone(),
        way: NoticeWay::FrontChannel,
        selections: vec![Selection::ProviderSession { issuer, sid, subject }],
        order: Order::of_the_provider(provider.name(), "logged out at the provider", false),
        once: None,
        client: address.client,
    }
}

impl Logout {
    /// Makes an empty page: the provider shows it in an invisible frame.
    async fn framed_page(&self, provider: &Provider, headers: &HeaderMap) -> Response {
        let frame = Frame::for_request(headers, &self.branding);
        let mut response = signed_out_page(frame, SignedOutReason::LocalOnly);
        security_headers::allow_framing_by(response.headers_mut(), &provider.page_origins().await);
        response
    }
}
