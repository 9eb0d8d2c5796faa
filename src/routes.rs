//! Every address of the broker, and who may ask for it, on one page.
//!
//! | address | guarded by |
//! | --- | --- |
//! | `GET /sso/login` | people only, no session needed |
//! | `POST /sso/login` | nothing: it leads to the GET |
//! | `GET /sso/callback/{idp}` | a login pending in this browser; or `POST`, if the provider answers by form |
//! | `GET /sso/signed-in` | the session itself |
//! | `GET /sso/logout` | nothing: it asks |
//! | `POST /sso/logout` | same origin, and the CSRF token of the session it ends |
//! | `GET /sso/signed-out` | nothing |
//! | `POST /sso/backchannel-logout/{idp}` | the provider's signature; cookies do not count |
//! | `POST /sso/security-events/{idp}` | the transmitter's bearer token and signature; cookies do not count |
//! | `GET /sso/frontchannel-logout/{idp}` | the names of the provider and of its session, which only that session's browser has |
//! | `GET /sso/session` | the session itself; never other sites |
//! | `GET /sso/limit`, `POST /sso/limit` | a grant from a refused login; the POST also same origin and the CSRF token |
//! | `/sso/api/v1/…` | a bearer token, or a session with the right group and the CSRF header |
//! | `GET /sso/api/v1/openapi.json` | nothing: it describes |
//! | `GET /sso/assets/{name}` | nothing |
//! | anything else ([`is_own`] is false) | `guard::layer`, by the routes of the configuration |

use std::future::ready;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Path};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG};
use http::{HeaderValue, StatusCode};

use crate::account::{self, Account};
use crate::api::{self, Api};
use crate::login::session_limit::LIMIT;
use crate::login::{self, Login};
use crate::logout::back_channel::back_channel;
use crate::logout::front_channel::front_channel;
use crate::logout::security_events::security_events;
use crate::logout::{Logout, SIGNED_OUT, own};
use crate::web::failure::{Failure, FailureKind};
use crate::web::paths::SIGNED_IN;
use crate::web::{assets, security_headers};

/// Largest form the broker reads, in bytes.
const LARGEST_FORM: usize = 16 * 1024;
/// Largest JSON the administration API reads, in bytes: some ten thousand handles.
const LARGEST_JSON: usize = 256 * 1024;

/// The rooms that serve addresses of their own.
#[derive(Debug, Clone)]
pub struct Handlers {
    /// Signing in.
    pub login: Login,
    /// Signing out.
    pub logout: Logout,
    /// One's own session.
    pub account: Account,
    /// Administration by JSON.
    pub api: Api,
}

/// Is true if a path is one of the broker's own addresses, or would be one.
pub fn is_own(path: &str) -> bool {
    path.strip_prefix("/sso").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The broker's own addresses. Whatever else lies below them does not exist.
pub fn own(rooms: Handlers, https: bool) -> Router {
    let start = get(login::start::start).post(login::third_party::start_by_form);
    let callback = get(login::callback::by_address).post(login::callback::by_form);
    let callback = callback.fallback(login::callback::refuse_method);
    Router::new()
        .route("/sso/login", start.with_state(rooms.login.clone()))
        .route("/sso/callback/{idp}", callback.with_state(rooms.login.clone()))
        .route(SIGNED_IN, get(login::signed_in::signed_in).with_state(rooms.login.clone()))
        .route(LIMIT, get(login::session_limit::choose).post(login::session_limit::end_one).with_state(rooms.login))
        .merge(signing_out(rooms.logout))
        .route("/sso/session", get(account::session).with_state(rooms.account))
        .merge(administration(rooms.api))
        .route("/sso/assets/{name}", get(asset))
        .fallback(not_found)
        .method_not_allowed_fallback(async || Failure::from(FailureKind::MethodNotAllowed))
        .layer(DefaultBodyLimit::max(LARGEST_FORM))
        .layer(map_response(move |mut response: Response| {
            security_headers::apply(response.headers_mut(), https);
            ready(response)
        }))
}

fn signing_out(logout: Logout) -> Router {
    Router::new()
        .route("/sso/logout", get(own::confirm).post(own::logout))
        .route(SIGNED_OUT, get(own::signed_out))
        .route("/sso/backchannel-logout/{idp}", post(back_channel))
        .route("/sso/frontchannel-logout/{idp}", get(front_channel).fallback(only_get))
        .route("/sso/security-events/{idp}", post(security_events))
        .with_state(logout)
}

fn administration(api: Api) -> Router {
    let timeouts = get(api::timeouts::show).put(api::timeouts::change).delete(api::timeouts::withdraw);
    Router::new()
        .route("/sso/api/v1/sessions", get(api::sessions::list))
        .route("/sso/api/v1/sessions/{handle}", get(api::sessions::show))
        .route("/sso/api/v1/revocations", post(api::sessions::revoke))
        .route("/sso/api/v1/timeouts", timeouts)
        .route("/sso/api/v1/openapi.json", get(api::openapi::openapi))
        .layer(DefaultBodyLimit::max(LARGEST_JSON))
        .with_state(api)
}

async fn only_get() -> Failure {
    Failure::from(FailureKind::MethodNotAllowed).with_allow("GET")
}

async fn not_found() -> Failure {
    FailureKind::NotFound.into()
}

/// Our style and logo. Their addresses carry their version, so browsers may keep them.
async fn asset(Path(name): Path<String>) -> Result<Response, Failure> {
    let asset = assets::asset(&name).ok_or(FailureKind::NotFound)?;
    let etag = HeaderValue::try_from(asset.etag.as_str()).unwrap_or(HeaderValue::from_static("\"\""));
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(asset.content_type)),
        (CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable")),
        (ETAG, etag),
    ];
    Ok((StatusCode::OK, headers, asset.body).into_response())
}
