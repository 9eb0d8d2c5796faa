//! `GET /sso/login`: to the provider.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{LOCATION, SET_COOKIE};
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use url::form_urlencoded::byte_serialize;

use super::pending::PendingLogin;
use super::{Login, failure_kind};
use crate::guard::request_target::RequestTarget;
use crate::idp::Provider;
use crate::idp::authorization::LoginOptions;
use crate::web::branding::Frame;
use crate::web::failure::{Failure, FailureKind};
use crate::web::navigation;
use crate::web::page::{self, ProviderChoice, SessionEnded, SignInChooser};
use crate::web::query::Parameters;
use crate::web::return_to::ReturnTo;

/// Starts a login, or lets the person choose with whom. Of the query, only `return_to`, `idp`, `choose` and
/// `ended` are read (R-A03, R-A08).
///
/// # Errors
/// [`Failure`]: 401 for anything that is not a person, 400 for an unknown provider, 502 or 503 for one
/// that cannot be used.
pub async fn start(State(login): State<Login>, uri: Uri, headers: HeaderMap) -> Result<Response, Failure> {
    if !navigation::may_start_login(&headers) {
        return Err(FailureKind::SessionMissing.into());
    }
    let query = Parameters::read(uri.query().unwrap_or_default());
    let query = query.map_err(|error| Failure::caused(FailureKind::BadRequest, error))?;
    let return_to = query.get("return_to").and_then(ReturnTo::parse).unwrap_or_else(ReturnTo::home);
    if query.get("ended").is_some() {
        return Ok(login.session_ended_page(&headers, &return_to));
    }
    let named = query.get("idp").or(login.default_provider.as_deref().filter(|_| query.get("choose").is_none()));
    match (named, &*login.providers) {
        (Some(name), _) => match login.provider(name) {
            Some(provider) => login.send_to(provider, &return_to, &headers).await,
            None => Err(FailureKind::BadRequest.into()),
        },
        (None, [only]) => login.send_to(only, &return_to, &headers).await,
        (None, _) => Ok(login.chooser_page(&headers, &return_to)),
    }
}

impl Login {
    async fn send_to(&self, provider: &Provider, back: &ReturnTo, headers: &HeaderMap) -> Result<Response, Failure> {
        let options = LoginOptions { max_age: self.max_age_behind(back) };
        let (location, attempt) = provider
            .start(&options)
            .await
            .map_err(|error| Failure::caused(failure_kind(&error), error).with_sign_in(choice_href(provider, back)))?;
        let now = self.clock.now();
        let pending = PendingLogin::new(provider.name(), back, attempt, now);
        let mut response = StatusCode::SEE_OTHER.into_response();
        for cookie in self.pending.remember(&pending, &self.cookies, headers, now) {
            response.headers_mut().append(SET_COOKIE, cookie);
        }
        let location = HeaderValue::try_from(location.as_str());
        let location = location.map_err(|error| Failure::caused(FailureKind::Internal, error))?;
        response.headers_mut().insert(LOCATION, location);
        Ok(response)
    }

    /// How recent the authentication must be for the page that the person came for, in seconds (R-A13).
    fn max_age_behind(&self, back: &ReturnTo) -> Option<u64> {
        let target = RequestTarget::read(&back.path().parse().ok()?).ok()?;
        let route = self.routes.find(&target).ok()??;
        u64::try_from(route.max_auth_age?.whole_seconds()).ok()
    }

    fn session_ended_page(&self, headers: &HeaderMap, back: &ReturnTo) -> Response {
        let frame = Frame::for_request(headers, &self.branding);
        let html = SessionEnded { frame, sign_in_href: &back.login_href() }.html();
        page::response(StatusCode::OK, frame.language, html)
    }

    fn chooser_page(&self, headers: &HeaderMap, back: &ReturnTo) -> Response {
        let frame = Frame::for_request(headers, &self.branding);
        let choice = |provider: &Provider| ProviderChoice {
            display_name: provider.display_name().to_owned(),
            href: choice_href(provider, back),
        };
        let html = SignInChooser { frame, providers: self.providers.iter().map(choice).collect() }.html();
        page::response(StatusCode::OK, frame.language, html)
    }
}

fn choice_href(provider: &Provider, back: &ReturnTo) -> String {
    format!("{}&idp={}", back.login_href(), byte_serialize(provider.name().as_bytes()).collect::<String>())
}
