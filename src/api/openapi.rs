//! `GET /sso/api/v1/openapi.json`: the API described, for whoever may use it and for whoever wants to.

use std::sync::LazyLock;

use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::{sessions, timeouts};

#[derive(Debug, OpenApi)]
#[openapi(
    info(title = "Counterfoil administration API", description = "Sessions, revocations and timeouts."),
    paths(sessions::list, sessions::show, sessions::revoke, timeouts::show, timeouts::change, timeouts::withdraw),
    modifiers(&Callers),
    security(("token" = []), ("browser" = [], "csrf" = []))
)]
struct Description;

/// Machines by a token, browsers by their session and a header.
#[derive(Debug)]
struct Callers;

impl Modify for Callers {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let components = openapi.components.get_or_insert_default();
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        components.add_security_scheme("token", SecurityScheme::Http(bearer));
        let cookie = ApiKeyValue::with_description("__Host-session", "The session cookie of an administrator");
        components.add_security_scheme("browser", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
        let header = ApiKeyValue::with_description("X-CSRF-Token", "From the same header of GET /sso/session");
        components.add_security_scheme("csrf", SecurityScheme::ApiKey(ApiKey::Header(header)));
    }
}

/// The description. It holds nothing that this repository does not.
pub async fn openapi() -> Response {
    static TEXT: LazyLock<String> = LazyLock::new(|| Description::openapi().to_json().unwrap_or_default());
    ([(CONTENT_TYPE, "application/json")], TEXT.as_str()).into_response()
}
