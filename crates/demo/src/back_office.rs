//! A sample back office: an application that believes the broker's headers and does nothing else to sign
//! people in.
//!
//! Owns the routes and the handlers. Who the visitor is comes from `visitor`, what there is to see from `orders`
//! and `approvals`, how it looks from `pages`. Called by `counterfoil demo`, which puts the broker in front.

mod approvals;
mod orders;
mod pages;
mod visitor;

use std::sync::{Arc, Mutex, MutexGuard};

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Form, Json, Router};
use counterfoil_core::lock;
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde_json::json;

use self::approvals::{Approval, ApprovalError, Decision};
use self::orders::Order;
use self::pages::{ApprovalsPage, DashboardPage, FinancePage, MessagePage, OrderPage, OrdersPage, StatusPage};
use self::visitor::{Person, SignedIn};

/// The pages of the main navigation.
const NAVIGATION: [(&str, &str); 5] = [
    ("/", "Dashboard"),
    ("/orders", "Orders"),
    ("/approvals", "Approvals"),
    ("/finance", "Finance"),
    ("/public", "Status"),
];

struct Office {
    orders: Vec<Order>,
    approvals: Mutex<Vec<Approval>>,
}

type SharedOffice = State<Arc<Office>>;

#[derive(Deserialize)]
struct OrderFilter {
    #[serde(default)]
    status: String,
}

#[derive(Deserialize)]
struct DecisionForm {
    decision: Decision,
}

/// Returns the back office's routes; they expect to be at the root of their origin.
pub fn router() -> Router {
    let office = Office { orders: orders::sample(), approvals: Mutex::new(approvals::sample()) };
    Router::new()
        .route("/", get(dashboard))
        .route("/orders", get(order_list))
        .route("/orders/{number}", get(order_details))
        .route("/approvals", get(approval_list))
        .route("/approvals/{id}", post(decide))
        .route("/finance", get(finance))
        .route("/public", get(status))
        .route("/api/orders", get(order_data))
        .route("/assets/demo.css", get(pages::stylesheet))
        .route("/assets/demo.js", get(pages::script))
        .route("/assets/icon.svg", get(pages::icon))
        .with_state(Arc::new(office))
}

impl Office {
    /// Locks the approvals. Every change is a single assignment, so poison is no reason to stop.
    fn approvals(&self) -> MutexGuard<'_, Vec<Approval>> {
        lock(&self.approvals)
    }
}

async fn dashboard(State(office): SharedOffice, SignedIn(person): SignedIn) -> Response {
    let waiting = office.approvals().iter().filter(|approval| approval.verdict.is_none()).count();
    let counts = orders::counts(&office.orders);
    pages::page(StatusCode::OK, &DashboardPage { here: "/", person: Some(person), counts, waiting })
}

async fn order_list(
    State(office): SharedOffice,
    SignedIn(person): SignedIn,
    Query(filter): Query<OrderFilter>,
) -> Response {
    let orders = orders::with_status(&office.orders, &filter.status).collect();
    let page = OrdersPage {
        here: "/orders",
        person: Some(person),
        statuses: orders::STATUSES,
        chosen: &filter.status,
        orders,
    };
    pages::page(StatusCode::OK, &page)
}

async fn order_details(
    State(office): SharedOffice,
    SignedIn(person): SignedIn,
    Path(number): Path<String>,
) -> Response {
    match office.orders.iter().find(|order| order.number == number) {
        Some(order) => pages::page(StatusCode::OK, &OrderPage { here: "/orders", person: Some(person), order }),
        None => message(StatusCode::NOT_FOUND, person, "/orders", "There is no such order."),
    }
}

async fn order_data(State(office): SharedOffice, headers: HeaderMap, Query(filter): Query<OrderFilter>) -> Response {
    let Some(person) = Person::in_headers(&headers) else {
        return visitor::missing_in_api();
    };
    let orders: Vec<_> = orders::with_status(&office.orders, &filter.status).map(Order::to_json).collect();
    let body = Json(json!({ "user": person.user, "orders": orders }));
    ([(header::CACHE_CONTROL, "no-store")], body).into_response()
}

async fn approval_list(State(office): SharedOffice, SignedIn(person): SignedIn) -> Response {
    let approvals = office.approvals().clone();
    pages::page(StatusCode::OK, &ApprovalsPage { here: "/approvals", person: Some(person), approvals })
}

async fn decide(
    State(office): SharedOffice,
    SignedIn(person): SignedIn,
    headers: HeaderMap,
    Path(id): Path<String>,
    Form(form): Form<DecisionForm>,
) -> Response {
    if !visitor::is_own_form(&headers) {
        return message(StatusCode::FORBIDDEN, person, "/approvals", "The form was sent from another site's page.");
    }
    let outcome = approvals::decide(&mut office.approvals(), &id, form.decision, &person.name);
    match outcome {
        Ok(()) => Redirect::to("/approvals").into_response(),
        Err(error @ ApprovalError::Unknown) => message(StatusCode::NOT_FOUND, person, "/approvals", &error.to_string()),
        Err(error @ ApprovalError::AlreadyDecided) => {
            message(StatusCode::CONFLICT, person, "/approvals", &error.to_string())
        }
    }
}

async fn finance(SignedIn(person): SignedIn) -> Response {
    let page = FinancePage { here: "/finance", person: Some(person), rows: orders::REVENUE };
    pages::page(StatusCode::OK, &page)
}

async fn status(headers: HeaderMap) -> Response {
    let services = [("Orders", "working"), ("Approvals", "working"), ("Reports", "working")];
    let page = StatusPage { here: "/public", person: Person::in_headers(&headers), services };
    pages::page(StatusCode::OK, &page)
}

fn message(status: StatusCode, person: Person, here: &'static str, detail: &str) -> Response {
    let title = "That did not work";
    pages::page(status, &MessagePage { here, person: Some(person), title, detail, link: "Back to the list" })
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use http::Request;
    use tower::ServiceExt;

    use super::*;

    async fn fetch(router: &Router, request: http::request::Builder, body: &'static str) -> (StatusCode, String) {
        let response = router.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
        let status = response.status();
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, String::from_utf8(bytes.to_vec()).unwrap())
    }

    fn as_bob(request: http::request::Builder) -> http::request::Builder {
        request
            .header("x-auth-request-user", "bob")
            .header("x-auth-request-name", "B%C3%B6b <Lee>")
            .header("x-auth-request-groups", "staff,finance")
    }

    #[tokio::test]
    async fn pages_show_the_decoded_and_escaped_visitor_and_need_one() {
        let router = router();
        for path in ["/", "/orders", "/orders/LS-2047", "/approvals", "/finance"] {
            let (status, page) = fetch(&router, as_bob(Request::get(path)), "").await;
            assert_eq!(status, StatusCode::OK, "{path}");
            assert!(page.contains("Böb &#60;Lee&#62;") && page.contains("/sso/logout"), "{path}: {page}");
            let (status, page) = fetch(&router, Request::get(path), "").await;
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{path}");
            assert!(!page.contains("LS-20"), "{path}");
        }
        assert_eq!(fetch(&router, Request::get("/public"), "").await.0, StatusCode::OK);
    }

    #[tokio::test]
    async fn an_approval_is_decided_once_and_shows_by_whom() {
        let router = router();
        let form = || {
            let kind = "application/x-www-form-urlencoded";
            as_bob(Request::post("/approvals/refund-118")).header(header::CONTENT_TYPE, kind)
        };
        let foreign = form().header("sec-fetch-site", "cross-site");
        assert_eq!(fetch(&router, foreign, "decision=approve").await.0, StatusCode::FORBIDDEN);
        assert_eq!(fetch(&router, form(), "decision=approve").await.0, StatusCode::SEE_OTHER);
        assert_eq!(fetch(&router, form(), "decision=reject").await.0, StatusCode::CONFLICT);
        let (_, page) = fetch(&router, as_bob(Request::get("/approvals")), "").await;
        assert!(page.contains("Approved by <strong>Böb"), "{page}");
    }

    #[tokio::test]
    async fn the_api_filters_and_answers_a_stranger_with_a_problem() {
        let router = router();
        let (_, body) = fetch(&router, as_bob(Request::get("/api/orders?status=held")), "").await;
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert!(body["orders"].as_array().unwrap().iter().all(|order| order["status"] == "held"));
        let (status, body) = fetch(&router, Request::get("/api/orders"), "").await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        assert!(body.contains("\"status\":401"));
    }
}
