//! One's own logout: here first, then at the provider.
//!
//! `GET /sso/logout` asks, `POST /sso/logout` does it, `GET /sso/signed-out` says what came of it. Only the
//! POST changes anything, and only with the CSRF token of the session it ends (R-J01).

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::response::Response;
use http::header::{HeaderName, SET_COOKIE};
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use tracing::Instrument;
use url::Url;

use super::{Logout, SIGNED_OUT};
use crate::audit::{AuditEvent, audit};
use crate::guard::session_lookup::{SessionLookup, candidates, look_up};
use crate::idp::{LogoutRequest, Provider};
use crate::secret::Secret;
use crate::session::LiveSession;
use crate::session::key::SessionKey;
use crate::session::store::StoreError;
use crate::web::branding::Frame;
use crate::web::cookies::LANDINGS;
use crate::web::failure::{Failure, FailureKind, RefusalKind};
use crate::web::page::{self, ConfirmLogout, SignOutThere, SignedOut, SignedOutReason};
use crate::web::paths::PATHS;
use crate::web::query::Parameters;
use crate::web::redirect::see_other;
use crate::web::return_to::ReturnTo;
use crate::web::{form, security_headers};

/// `GET /sso/logout`: the question.
///
/// It needs no store: during an outage the page does not show who is signed in, and the cookie can still be deleted.
///
/// # Errors
/// [`Failure`] if two sessions are live.
pub async fn confirm(State(logout): State<Logout>, headers: HeaderMap) -> Result<Response, Failure> {
    let frame = Frame::for_request(&headers, &logout.branding);
    let found = look_up(&logout.sessions.reader(), &logout.cookies, &headers).await;
    let (handle, name) = match &found {
        Ok(found) => match found.live() {
            Some((_, session)) => (session.handle(), Some(session.record().identity.display_name())),
            None => return Ok(signed_out_page(frame, SignedOutReason::NotSignedIn)),
        },
        Err(refusal) => match candidates(&logout.sessions.reader(), &logout.cookies, &headers).first() {
            Some(key) if refusal.kind() == RefusalKind::StoreUnavailable => (key.handle(), None),
            _ => return Err(refusal.clone().into()),
        },
    };
    let html = ConfirmLogout {
        frame,
        name,
        csrf_token: &logout.csrf.token(&handle.to_string()),
        cancel_href: ReturnTo::home().as_str(),
    }
    .html();
    let mut response = page::response(StatusCode::OK, frame.language, html);
    security_headers::allow_form(response.headers_mut());
    Ok(response)
}

/// `POST /sso/logout`: ends the session, then sends the browser on to the provider's logout.
///
/// # Errors
/// [`Failure`]: 403 unless it comes from our own page, 503 if the session's record may have survived.
pub async fn logout(
    State(logout): State<Logout>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Failure> {
    let form = form::read_own(&headers, &logout.public_url, body)?;
    let keys = candidates(&logout.sessions.reader(), &logout.cookies, &headers);
    if keys.is_empty() {
        return logout.send_to(SIGNED_OUT_ALREADY);
    }
    // The token is checked first: it needs no store, so another site cannot have a cookie deleted either.
    logout.check_token(&keys, &form)?;
    let found = look_up(&logout.sessions.reader(), &logout.cookies, &headers).await;
    let (key, session) = match found.map_err(|refusal| logout.incomplete(refusal))? {
        SessionLookup::Live(key, session) => (key, session),
        // No session lives here and now. The one that the cookie names ends all the same: it may be bound to another
        // browser, or sealed under a key that this replica does not know.
        SessionLookup::Nothing | SessionLookup::Ended(_) => {
            for key in &keys {
                let ended = logout.sessions.end(key.handle()).await;
                ended.map_err(|error| logout.incomplete(Failure::caused(FailureKind::LogoutIncomplete, error)))?;
            }
            return logout.send_to(SIGNED_OUT_ALREADY);
        }
    };
    let provider = logout.provider_of(&session.record().identity).cloned();
    // The work is finished even if the client disconnects.
    let ending = tokio::spawn(logout.clone().end_and_revoke_tokens(key, session).in_current_span());
    // Only a panic or the end of the process leaves no result.
    let ended = ending.await.unwrap_or(Err(StoreError::Timeout));
    let id_token = ended.map_err(|error| logout.incomplete(Failure::caused(FailureKind::LogoutIncomplete, error)))?;
    let back = logout.public_url.with_path(SIGNED_OUT);
    let at_provider = match provider {
        Some(provider) => provider.logout_request(&back, id_token.as_ref()).await.map(|request| (provider, request)),
        None => None,
    };
    match at_provider {
        Some((_, LogoutRequest::Address(url))) => logout.send_to(url.as_str()),
        Some((provider, LogoutRequest::Form { endpoint, fields })) => {
            let frame = Frame::for_request(&headers, &logout.branding);
            Ok(logout.page_on_the_way(frame, &provider, &endpoint, &fields).await)
        }
        None => logout.send_to(SIGNED_OUT_HERE),
    }
}

const SIGNED_OUT_HERE: &str = "/sso/signed-out?only=here";
const SIGNED_OUT_ALREADY: &str = "/sso/signed-out?only=nothing";

/// `GET /sso/signed-out`: the outcome of signing out. A `state` means that the provider sent the browser back; its
/// value is ignored (R-J04).
///
/// # Errors
/// [`Failure`] if the page has to send the browser elsewhere and cannot.
pub async fn signed_out(State(logout): State<Logout>, uri: Uri, headers: HeaderMap) -> Result<Response, Failure> {
    let found = look_up(&logout.sessions.reader(), &logout.cookies, &headers).await;
    if found.is_ok_and(|found| found.live().is_some()) {
        // Whoever is signed in is not told otherwise.
        return see_other("/sso/logout");
    }
    let query = Parameters::read(uri.query().unwrap_or_default()).unwrap_or_default();
    let reason = match (query.get("only"), query.get("state")) {
        (Some("nothing"), _) => SignedOutReason::NotSignedIn,
        (None, Some(_)) => SignedOutReason::Complete,
        _ => SignedOutReason::LocalOnly,
    };
    Ok(signed_out_page(Frame::for_request(&headers, &logout.branding), reason))
}

impl Logout {
    /// Ends a session and has its tokens revoked at their provider; returns its ID token.
    async fn end_and_revoke_tokens(
        self,
        key: SessionKey,
        session: LiveSession,
    ) -> Result<Option<Secret<String>>, StoreError> {
        // The tokens are read before the record goes, the record goes before anything else happens.
        let tokens = self.sessions.tokens(&key).await.unwrap_or_default();
        self.sessions.end(session.handle()).await?;
        let identity = &session.record().identity;
        audit(&AuditEvent::LoggedOut { session: session.handle(), subject: &identity.subject });
        let Some(tokens) = tokens else { return Ok(None) };
        if let Some(provider) = self.provider_of(identity) {
            provider.revoke_tokens_after_logout(tokens.refresh_token.map(|token| token.0), tokens.access_token);
        }
        Ok(tokens.id_token.map(|token| token.0))
    }

    /// The form must carry the token of a session whose cookie came with it.
    fn check_token(&self, keys: &[SessionKey], form: &Parameters) -> Result<(), Failure> {
        let token = form.get("csrf_token").unwrap_or_default();
        let fits = |key: &SessionKey| self.csrf.verify(&key.handle().to_string(), token);
        if keys.iter().any(fits) { Ok(()) } else { Err(FailureKind::CrossSite.into()) }
    }

    /// The cookie is deleted in any case; the answer reports truthfully whether the record is gone (R-J07).
    fn incomplete(&self, failure: impl Into<Failure>) -> Failure {
        let failure = failure.into();
        let kind = if failure.kind.is_store_outage() { FailureKind::LogoutIncomplete } else { failure.kind };
        Failure { kind, ..failure }.with_cookies([self.clear_cookie()])
    }

    fn send_to(&self, location: &str) -> Result<Response, Failure> {
        let mut response = see_other(location)?;
        self.forget(response.headers_mut());
        Ok(response)
    }

    /// The page with the one button that brings the logout to the provider by POST. Its form may go there and, by the
    /// provider's redirect, back here, and nowhere else: browsers apply `form-action` to each hop.
    async fn page_on_the_way(
        &self,
        frame: Frame<'_>,
        provider: &Provider,
        endpoint: &Url,
        fields: &[(String, String)],
    ) -> Response {
        let html = SignOutThere {
            frame,
            provider: provider.display_name(),
            endpoint: endpoint.as_str(),
            fields,
            stay_href: SIGNED_OUT_HERE,
        };
        let mut response = page::response(StatusCode::OK, frame.language, html.html());
        security_headers::allow_form_to(response.headers_mut(), &provider.page_origins().await);
        self.forget(response.headers_mut());
        response
    }

    /// Makes the browser forget the session.
    fn forget(&self, headers: &mut HeaderMap) {
        headers.append(SET_COOKIE, self.clear_cookie());
        headers.append(SET_COOKIE, self.cookies.clear(&self.cookies.own_name(LANDINGS)));
        // The browser's copies of protected pages go too (R-J02). Cookies are cleared by name: the
        // directive "cookies" would take the back office's own as well.
        headers.insert(HeaderName::from_static("clear-site-data"), HeaderValue::from_static("\"cache\""));
    }
}

pub(super) fn signed_out_page(frame: Frame<'_>, reason: SignedOutReason) -> Response {
    let html = SignedOut { frame, reason, sign_in_href: &ReturnTo::home().login_href(&PATHS) }.html();
    page::response(StatusCode::OK, frame.language, html)
}
