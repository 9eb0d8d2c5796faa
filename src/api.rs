//! The administration API: the security reviewer's and the operator's work as JSON, for their browsers and for
//! machines.
//!
//! [`caller`] says who asks and what they may; [`sessions`] lists and ends; [`timeouts`] changes how long sessions
//! live. [`openapi`] describes it all. Handlers are mounted by `routes`. Every change and every look at sessions is
//! audited (R-N05).

pub mod caller;
mod filter;
mod object;
pub mod openapi;
pub mod sessions;
pub mod timeouts;

use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use http::HeaderValue;
use http::header::CACHE_CONTROL;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::proxy::error::is_body_timeout;
use crate::revalidation::Renewals;
use crate::session::store::StoreError;
use crate::session::{SessionAdministration, SessionReader};
use crate::web::cookies::CookiePolicy;
use crate::web::csrf::CsrfTokens;
use crate::web::failure::{Failure, FailureKind};
use crate::web::public_url::PublicUrl;

use crate::administration::rights::AdminRights;

use self::object::Object;

/// The state behind the API. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Api {
    /// The sessions that are looked at and ended.
    pub sessions: SessionAdministration,
    /// Checks the caller's own.
    pub reader: SessionReader,
    /// Asks providers whether the sessions still stand.
    pub renewals: Renewals,
    /// Finds the session that asks.
    pub cookies: Arc<CookiePolicy>,
    /// Proves that a browser's request is its own.
    pub csrf: Arc<CsrfTokens>,
    /// The origin that browsers' requests must come from.
    pub public_url: Arc<PublicUrl>,
    /// The rights to look and to end; can be replaced.
    pub rights: Arc<ArcSwap<AdminRights>>,
}

/// A JSON body, its faults told as ours.
#[derive(Debug)]
pub struct Body<T>(T);

impl<T: DeserializeOwned> FromRequest<Api> for Body<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Failure> {
        let read = axum::Json::from_request(request, api).await;
        read.map(|axum::Json(Object(body))| Self(body)).map_err(unreadable)
    }
}

fn unreadable(rejection: JsonRejection) -> Failure {
    let kind = match rejection.status() {
        http::StatusCode::PAYLOAD_TOO_LARGE => FailureKind::PayloadTooLarge,
        _ if is_body_timeout(&rejection) => FailureKind::RequestTimeout,
        _ => FailureKind::BadRequest,
    };
    // At the other end is a programmer: what was wrong is no secret.
    let detail = rejection.body_text();
    Failure::caused(kind, rejection).with_detail(detail)
}

/// An answer that nobody keeps.
fn answer(body: impl Serialize) -> Response {
    let mut response = axum::Json(body).into_response();
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn store_failed(error: StoreError) -> Failure {
    match error {
        // No outage: waiting for seconds does not help.
        StoreError::TooManyCutOffs => wrong(error.to_string()),
        StoreError::TooManyScans => FailureKind::TooManyScans.into(),
        StoreError::NumbersWentBack => {
            let detail = error.to_string();
            Failure::from(error).with_detail(detail)
        }
        error => error.into(),
    }
}

fn wrong(detail: impl Into<String>) -> Failure {
    Failure::from(FailureKind::BadRequest).with_detail(detail.into())
}
