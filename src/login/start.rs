//! `GET /sso/login`: to the provider.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::SET_COOKIE;
use http::{HeaderMap, Method, StatusCode, Uri};
use time::OffsetDateTime;
use url::form_urlencoded::byte_serialize;

use super::login_loop::LoginLoopDetector;
use super::lost::Lost;
use super::pending::PendingLogin;
use super::{Login, failure_kind};
use crate::guard::route::{Place, Route};
use crate::guard::session_lookup::{SessionLookup, candidates, look_up};
use crate::idp::{LoginOptions, Provider, acceptable_hint};
use crate::session::ending::Tombstone;
use crate::session::key::SessionKey;
use crate::web::branding::Frame;
use crate::web::failure::{Failure, FailureKind, RefusalKind, SignedInAs};
use crate::web::language::Language;
use crate::web::navigation;
use crate::web::page::{self, Moment, ProviderChoice, SessionEnded, SignInChooser};
use crate::web::paths::PATHS;
use crate::web::query::Parameters;
use crate::web::redirect::{fits_every_proxy, see_other};
use crate::web::return_to::ReturnTo;

/// Starts a login, or shows the choice between the providers. Of the query, only `return_to`, `idp`, `choose`, `fresh`,
/// `ended`, `again`, `resume`, `repeated` and `login_hint` are read (R-A03, R-A08); if `iss` is among it, only what
/// [`super::third_party`] names.
///
/// # Errors
/// [`Failure`]: 401 for anything that is not a person, 400 for an unknown provider, 502 or 503 for one
/// that cannot be used.
pub async fn start(
    State(login): State<Login>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    if method == Method::HEAD {
        // A prefetch does not follow the link: no login is begun and no cookie is set.
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    if !navigation::may_start_login(&headers) {
        return Err(RefusalKind::SessionMissing.into());
    }
    let query = Parameters::read(uri.query().unwrap_or_default());
    let query = query.map_err(|error| Failure::caused(FailureKind::BadRequest, error))?;
    let hint = query.get("login_hint").and_then(acceptable_hint);
    let tombstone = login.tombstone(&headers).await;
    if let Some(iss) = query.get("iss") {
        let (provider, target) = login.third_party_target(iss, &query)?;
        let route = login.route_behind(&target);
        let fresh = tombstone.is_some_and(|tombstone| tombstone.fresh_login);
        let wanted = Wanted { route: route.as_deref(), fresh, back: &target, hint, again: false };
        return login.send_to(provider, &wanted, &headers).await;
    }
    if let Some(state) = query.get("resume") {
        let lost = if query.get("repeated").is_some() { Lost::Repeated } else { Lost::Gone };
        return login.resume(query.get("idp"), state, lost, &headers).await;
    }
    let return_to =
        query.get("return_to").and_then(|page| ReturnTo::parse(page, &PATHS)).unwrap_or_else(ReturnTo::home);
    if query.get("ended").is_some() {
        return Ok(login.session_ended_page(&headers, tombstone.as_ref(), &return_to));
    }
    let fresh = query.get("fresh").is_some() || tombstone.is_some_and(|tombstone| tombstone.fresh_login);
    let route = login.route_behind(&return_to);
    let again = query.get("again").is_some();
    let wanted = Wanted { route: route.as_deref(), fresh, back: &return_to, hint, again };
    if let Some(name) = query.get("idp") {
        let provider = login.provider(name).ok_or(FailureKind::BadRequest)?;
        return login.send_to(provider, &wanted, &headers).await;
    }
    let fitting = login.providers_for(route.as_deref());
    let default = login.default_provider.as_deref().filter(|_| query.get("choose").is_none());
    let default = default.and_then(|name| fitting.iter().find(|provider| provider.name() == name));
    match (default, fitting.as_slice()) {
        (Some(only), _) | (None, [only]) => login.send_to(only, &wanted, &headers).await,
        (None, several) => Ok(login.chooser_page(&headers, several, &wanted)),
    }
}

/// The wishes for a login.
struct Wanted<'a> {
    /// The route of the page that the person came for.
    route: Option<&'a Route>,
    /// True if a session at the provider is not enough.
    fresh: bool,
    /// The page the person lands on.
    back: &'a ReturnTo,
    /// The person who is probably going to sign in.
    hint: Option<String>,
    /// True if it takes the place of a login that came to nothing by itself.
    again: bool,
}

impl Wanted<'_> {
    fn options(&self, language: Language, state_carries: String) -> LoginOptions {
        // The greatest age of the authentication for the page that the person came for, in seconds (R-A13).
        let max_age = self.route.and_then(|route| u64::try_from(route.max_auth_age?.whole_seconds()).ok());
        LoginOptions {
            max_age,
            fresh: self.fresh,
            acr_values: self.route.map(|route| route.acr.clone()).unwrap_or_default(),
            login_hint: self.hint.clone(),
            language: Some(language.tag()),
            state_carries: Some(state_carries),
        }
    }

    fn href(&self, provider: &Provider) -> String {
        let fresh = if self.fresh { "&fresh=1" } else { "" };
        let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
        let hint = self.hint.as_ref().map_or_else(String::new, |hint| format!("&login_hint={}", encoded(hint)));
        let again = if self.again { "&again=1" } else { "" };
        format!("{}&idp={}{fresh}{hint}{again}", self.back.login_href(&PATHS), encoded(provider.name()))
    }
}

impl Login {
    /// The route of the page that the person came for.
    pub(super) fn route_behind(&self, back: &ReturnTo) -> Option<Arc<Route>> {
        let (page, method) = back.demanding_page(&PATHS);
        match self.routes.locate(page.path(), &method).ok()?.1 {
            Place::Route(route) => Some(route),
            Place::Broker | Place::OtherMethods(_) | Place::Nowhere => None,
        }
    }

    /// The providers whose people may pass the route: those it names, or all; and if it demands a recent authentication
    /// or one of a certain `acr`, those that can say when and how it was.
    pub(super) fn providers_for(&self, route: Option<&Route>) -> Vec<&Provider> {
        let Some(route) = route else { return self.providers.iter().collect() };
        let named = &route.access.idps;
        let fits = |provider: &&Provider| {
            (named.is_empty() || named.iter().any(|name| name == provider.name()))
                && (route.max_auth_age.is_none() || provider.tells_authentication_time())
                && provider.can_meet(&route.acr)
        };
        self.providers.iter().filter(fits).collect()
    }

    async fn send_to(
        &self,
        provider: &Provider,
        wanted: &Wanted<'_>,
        headers: &HeaderMap,
    ) -> Result<Response, Failure> {
        // Read first: a revocation after this moment refuses this login.
        let now = self.clock.now();
        let begun = self.sessions.login_number().await?;
        let carried = self.ways_back.seal(wanted.back, wanted.again);
        let (location, attempt) = match provider.start(&wanted.options(Language::negotiate(headers), carried)).await {
            Ok(started) => started,
            Err(error) => {
                let failure = Failure::caused(failure_kind(&error), error).with_sign_in(wanted.href(provider));
                return Err(failure.with_account(self.account(wanted.back, headers).await));
            }
        };
        let pending = PendingLogin::new(provider.name(), wanted.back, attempt, begun, now);
        let mut pending = pending.begun_again(wanted.again);
        if provider.answers_by_form() {
            let had = candidates(&self.sessions.reader(), &self.cookies, headers);
            let landings = LoginLoopDetector::read(&self.cookies, headers, now).text();
            pending = pending.answered_by_form(had.iter().map(SessionKey::handle), landings);
        }
        let mut response = self.leave_for(location.as_str(), &pending, headers, now)?;
        // Rather the page without its query, or the start page, than an answer that a proxy in front cannot take.
        for shorter in [wanted.back.without_query(), ReturnTo::home()] {
            if !fits_every_proxy(response.headers()) {
                response = self.leave_for(location.as_str(), &pending.clone().leading_to(&shorter), headers, now)?;
            }
        }
        Ok(response)
    }

    /// Sends the browser to the provider, with what it has to bring back.
    fn leave_for(
        &self,
        location: &str,
        pending: &PendingLogin,
        headers: &HeaderMap,
        now: OffsetDateTime,
    ) -> Result<Response, Failure> {
        let mut response = see_other(location)?;
        for cookie in self.pending.remember(pending, &self.cookies, headers, now) {
            response.headers_mut().append(SET_COOKIE, cookie);
        }
        Ok(response)
    }

    /// The person who is signed in, for a page about a login that cannot begin.
    async fn account(&self, page: &ReturnTo, headers: &HeaderMap) -> Option<SignedInAs> {
        match look_up(&self.sessions.reader(), &self.cookies, headers).await {
            Ok(SessionLookup::Live(_, session)) => Some(self.account_of(&session, page)),
            _ => None,
        }
    }

    /// The end of the session whose cookie the browser still has. No decision depends on it: the callback checks again.
    async fn tombstone(&self, headers: &HeaderMap) -> Option<Tombstone> {
        match look_up(&self.sessions.reader(), &self.cookies, headers).await {
            Ok(SessionLookup::Ended(tombstone)) => tombstone,
            _ => None,
        }
    }

    fn session_ended_page(&self, headers: &HeaderMap, tombstone: Option<&Tombstone>, back: &ReturnTo) -> Response {
        let frame = Frame::for_request(headers, &self.branding);
        let cause = tombstone.map(|tombstone| tombstone.cause);
        let ended_at = tombstone.map(|tombstone| Moment::new(tombstone.ended_at, self.clock.now()));
        let html = SessionEnded { frame, cause, ended_at, sign_in_href: &back.login_href(&PATHS) }.html();
        page::response(StatusCode::OK, frame.language, html)
    }

    fn chooser_page(&self, headers: &HeaderMap, providers: &[&Provider], wanted: &Wanted<'_>) -> Response {
        let frame = Frame::for_request(headers, &self.branding);
        let choice = |provider: &&Provider| ProviderChoice {
            display_name: provider.display_name().to_owned(),
            href: wanted.href(provider),
        };
        let html = SignInChooser { frame, providers: providers.iter().map(choice).collect() }.html();
        page::response(StatusCode::OK, frame.language, html)
    }
}
