//! The look of the sample back office.
//!
//! Owns the templates, the assets and the headers of its answers. Called by the handlers.

use askama::Template;
use axum::response::{Html, IntoResponse, Response};
use http::{HeaderName, StatusCode, header};

use super::approvals::Approval;
use super::orders::{Order, Revenue};
use super::visitor::Person;

const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; \
     connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

const ICON: &str = r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="#1f5c4d"/><path d="M7 12l9-5 9 5v10l-9 4-9-4z" fill="none" stroke="#fff" stroke-width="2.5"/><path d="M7 12l9 4 9-4M16 16v10" fill="none" stroke="#fff" stroke-width="2.5"/></svg>"##;

/// `/`.
#[derive(Template)]
#[template(path = "office_dashboard.html")]
pub(super) struct DashboardPage {
    pub here: &'static str,
    pub person: Option<Person>,
    pub counts: Vec<(&'static str, usize)>,
    pub waiting: usize,
}

/// `/orders`.
#[derive(Template)]
#[template(path = "office_orders.html")]
pub(super) struct OrdersPage<'a> {
    pub here: &'static str,
    pub person: Option<Person>,
    pub statuses: [&'static str; 5],
    pub chosen: &'a str,
    pub orders: Vec<&'a Order>,
}

/// `/orders/{number}`.
#[derive(Template)]
#[template(path = "office_order.html")]
pub(super) struct OrderPage<'a> {
    pub here: &'static str,
    pub person: Option<Person>,
    pub order: &'a Order,
}

/// `/approvals`.
#[derive(Template)]
#[template(path = "office_approvals.html")]
pub(super) struct ApprovalsPage {
    pub here: &'static str,
    pub person: Option<Person>,
    pub approvals: Vec<Approval>,
}

/// `/finance`.
#[derive(Template)]
#[template(path = "office_finance.html")]
pub(super) struct FinancePage {
    pub here: &'static str,
    pub person: Option<Person>,
    pub rows: [Revenue; 4],
}

/// `/public`.
#[derive(Template)]
#[template(path = "office_status.html")]
pub(super) struct StatusPage {
    pub here: &'static str,
    pub person: Option<Person>,
    pub services: [(&'static str, &'static str); 3],
}

/// Anything that did not go as hoped.
#[derive(Template)]
#[template(path = "office_message.html")]
pub(super) struct MessagePage<'a> {
    pub here: &'static str,
    pub person: Option<Person>,
    pub title: &'static str,
    pub detail: &'a str,
    pub link: &'static str,
}

/// Renders a page with this status.
pub(super) fn page(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => (status, page_headers(), Html(html)).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page of the sample back office could not be rendered");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// Answers `GET /assets/demo.css`.
pub(super) async fn stylesheet() -> impl IntoResponse {
    asset("text/css; charset=utf-8", include_str!("../../static/demo.css"))
}

/// Answers `GET /assets/demo.js`.
pub(super) async fn script() -> impl IntoResponse {
    asset("text/javascript; charset=utf-8", include_str!("../../static/demo.js"))
}

/// Answers `GET /assets/icon.svg`.
pub(super) async fn icon() -> impl IntoResponse {
    asset("image/svg+xml", ICON)
}

fn asset(content_type: &'static str, text: &'static str) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, content_type), (header::CACHE_CONTROL, "no-cache")], text)
}

fn page_headers() -> [(HeaderName, &'static str); 4] {
    [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
    ]
}
