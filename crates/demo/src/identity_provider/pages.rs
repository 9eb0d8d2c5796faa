//! The pages people see at the provider, and the headers of its answers.
//!
//! Owns the templates and the security headers. Does not decide which page is due. Called by `authorize` and
//! `end_session`.

use askama::Template;
use axum::response::{Html, IntoResponse, Redirect, Response};
use http::{HeaderName, StatusCode, header};

use super::accounts::Account;

/// No `form-action`: Chromium applies it to the redirect that follows a form post, and that goes to the client.
const CONTENT_SECURITY_POLICY: &str =
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'";

const ICON: &str = r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="#1f5c4d"/><path d="M10 8h4v12h8v4H10z" fill="#fff"/></svg>"##;

/// The page where one picks an account.
#[derive(Template)]
#[template(path = "sign_in.html")]
pub(super) struct SignInPage<'a> {
    pub action: String,
    pub client_id: &'a str,
    pub wishes: String,
    pub accounts: Vec<(&'static Account, bool)>,
    pub current: Option<&'static str>,
    pub is_unknown_account: bool,
}

/// The page for a request that cannot be answered anywhere else.
#[derive(Template)]
#[template(path = "problem.html")]
pub(super) struct ProblemPage {
    pub title: &'static str,
    pub detail: String,
}

/// The page that asks before signing out.
#[derive(Template)]
#[template(path = "sign_out.html")]
pub(super) struct SignOutPage {
    pub action: String,
    pub name: &'static str,
}

/// The page after signing out, or after deciding not to.
#[derive(Template)]
#[template(path = "signed_out.html")]
pub(super) struct SignedOutPage {
    pub is_signed_out: bool,
}

/// Renders a page with this status.
pub(super) fn page(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => (status, page_headers(), Html(html)).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page of the demo provider could not be rendered");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// Renders a page that says what is wrong with a request.
pub(super) fn problem(title: &'static str, detail: &impl ToString) -> Response {
    page(StatusCode::BAD_REQUEST, &ProblemPage { title, detail: detail.to_string() })
}

/// Returns a redirect that is neither stored nor named to its target. Always 303, so that a form is not posted on
/// (RFC 9700 section 4.12).
pub(super) fn redirect(url: &str) -> Response {
    let headers = [(header::CACHE_CONTROL, "no-store"), (header::REFERRER_POLICY, "no-referrer")];
    (headers, Redirect::to(url)).into_response()
}

/// Answers `GET /demo.css`.
pub(super) async fn stylesheet() -> impl IntoResponse {
    let headers = [(header::CONTENT_TYPE, "text/css; charset=utf-8"), (header::CACHE_CONTROL, "no-cache")];
    (headers, include_str!("../../static/demo.css"))
}

/// Answers `GET /demo-icon.svg`.
pub(super) async fn icon() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "image/svg+xml"), (header::CACHE_CONTROL, "no-cache")], ICON)
}

fn page_headers() -> [(HeaderName, &'static str); 5] {
    [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        // Not no-referrer: a form on such a page is sent with `Origin: null`, which `same_origin` refuses.
        (header::REFERRER_POLICY, "same-origin"),
    ]
}
