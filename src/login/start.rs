//! `GET /sso/login`: to the provider.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::header::SET_COOKIE;
use http::{HeaderMap, StatusCode, Uri};
use url::form_urlencoded::byte_serialize;

use super::pending::PendingLogin;
use super::{Login, failure_kind};
use crate::guard::request_target::RequestTarget;
use crate::guard::route::Route;
use crate::idp::Provider;
use crate::idp::authorization::LoginOptions;
use crate::web::branding::Frame;
use crate::web::failure::{Failure, FailureKind};
use crate::web::navigation;
use crate::web::page::{self, ProviderChoice, SessionEnded, SignInChooser};
use crate::web::query::Parameters;
use crate::web::redirect::see_other;
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
    let route = login.route_behind(&return_to);
    if let Some(name) = query.get("idp") {
        let provider = login.provider(name).ok_or(FailureKind::BadRequest)?;
        return login.send_to(provider, route.as_deref(), &return_to, &headers).await;
    }
    let fitting = login.providers_for(route.as_deref());
    let default = login.default_provider.as_deref().filter(|_| query.get("choose").is_none());
    let default = default.and_then(|name| fitting.iter().find(|provider| provider.name() == name));
    match (default, fitting.as_slice()) {
        (Some(only), _) | (None, [only]) => login.send_to(only, route.as_deref(), &return_to, &headers).await,
        (None, several) => Ok(login.chooser_page(&headers, several, &return_to)),
    }
}

impl Login {
    /// The route of the page that the person came for.
    fn route_behind(&self, back: &ReturnTo) -> Option<Arc<Route>> {
        let target = RequestTarget::read(&back.path().parse().ok()?).ok()?;
        self.routes.find(&target).ok()?
    }

    /// The providers whose people may pass the route: those it names, or all; and if it demands a recent
    /// authentication, those that can say when it was.
    fn providers_for(&self, route: Option<&Route>) -> Vec<&Provider> {
        let Some(route) = route else { return self.providers.iter().collect() };
        let named = &route.access.idps;
        let fits = |provider: &&Provider| {
            (named.is_empty() || named.iter().any(|name| name == provider.name()))
                && (route.max_auth_age.is_none() || provider.tells_authentication_time())
        };
        self.providers.iter().filter(fits).collect()
    }

    async fn send_to(
        &self,
        provider: &Provider,
        route: Option<&Route>,
        back: &ReturnTo,
        headers: &HeaderMap,
    ) -> Result<Response, Failure> {
        // How recent the authentication must be for the page that the person came for, in seconds (R-A13).
        let max_age = route.and_then(|route| u64::try_from(route.max_auth_age?.whole_seconds()).ok());
        let (location, attempt) = provider
            .start(&LoginOptions { max_age })
            .await
            .map_err(|error| Failure::caused(failure_kind(&error), error).with_sign_in(choice_href(provider, back)))?;
        let now = self.clock.now();
        let pending = PendingLogin::new(provider.name(), back, attempt, now);
        let mut response = see_other(location.as_str())?;
        for cookie in self.pending.remember(&pending, &self.cookies, headers, now) {
            response.headers_mut().append(SET_COOKIE, cookie);
        }
        Ok(response)
    }

    fn session_ended_page(&self, headers: &HeaderMap, back: &ReturnTo) -> Response {
        let frame = Frame::for_request(headers, &self.branding);
        let html = SessionEnded { frame, sign_in_href: &back.login_href() }.html();
        page::response(StatusCode::OK, frame.language, html)
    }

    fn chooser_page(&self, headers: &HeaderMap, providers: &[&Provider], back: &ReturnTo) -> Response {
        let frame = Frame::for_request(headers, &self.branding);
        let choice = |provider: &&Provider| ProviderChoice {
            display_name: provider.display_name().to_owned(),
            href: choice_href(provider, back),
        };
        let html = SignInChooser { frame, providers: providers.iter().map(choice).collect() }.html();
        page::response(StatusCode::OK, frame.language, html)
    }
}

fn choice_href(provider: &Provider, back: &ReturnTo) -> String {
    format!("{}&idp={}", back.login_href(), byte_serialize(provider.name().as_bytes()).collect::<String>())
}
