//! The operators' site: liveness and readiness (R-O05).
//!
//! On a port of its own, never on the public one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use serde::Serialize;

use crate::idp::{Health, Provider};
use crate::session::Maintenance;
use crate::session::store::StoreError;

/// The state behind the operators' site. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Operations {
    store: Maintenance,
    providers: Arc<[Provider]>,
    draining: Arc<AtomicBool>,
}

/// The body of `/readyz`.
#[derive(Debug, Serialize)]
struct Readiness {
    ready: bool,
    draining: bool,
    store: &'static str,
    idps: std::collections::BTreeMap<String, &'static str>,
    /// Notes that somebody should look at, by provider.
    #[serde(skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    notes: std::collections::BTreeMap<String, String>,
}

impl Operations {
    /// Reports on these.
    pub(super) fn new(store: Maintenance, providers: Arc<[Provider]>) -> Self {
        Self { store, providers, draining: Arc::default() }
    }

    /// Turns readiness off for good: the process is about to end.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    async fn ask_store(&self) -> Result<(), StoreError> {
        self.store.ping().await?;
        self.store.ensure_store_is_ours().await?;
        self.store.ensure_orders_are_known().await
    }

    pub(super) fn router(&self) -> Router {
        Router::new().route("/livez", get(async || "ok\n")).route("/readyz", get(ready)).with_state(self.clone())
    }

    /// Ready means: every connection to the store answers, the store is ours, the orders in it can be read, and logins can start with at least one provider. A provider that goes
    /// away later does not count, since live sessions need none (R-F06, R-P03).
    async fn readiness(&self) -> Readiness {
        let store = self.ask_store().await;
        let mut idps = std::collections::BTreeMap::new();
        let mut any_known = false;
        for provider in self.providers.iter() {
            any_known |= provider.is_known();
            let health = match provider.health() {
                Health::Ok => "ok",
                Health::Unreachable => "unreachable",
                Health::Faulty => "faulty",
            };
            idps.insert(provider.name().to_owned(), health);
        }
        let draining = self.draining.load(Ordering::Relaxed);
        Readiness {
            ready: store.is_ok() && any_known && !draining,
            draining,
            store: match store {
                Ok(()) => "ok",
                Err(StoreError::Foreign(_)) => "foreign",
                Err(_) => "unreachable",
            },
            idps,
            notes: self.providers.iter().filter_map(note).collect(),
        }
    }
}

/// A note that the provider's metadata name other hosts than before, if they do.
fn note(provider: &Provider) -> Option<(String, String)> {
    let moves = provider.refused_moves();
    let each = moves
        .iter()
        .map(|moved| format!("{} from {} to {}", moved.name, moved.from.as_deref().unwrap_or("nowhere"), moved.to));
    let moves = Some(each.collect::<Vec<_>>().join(", ")).filter(|moves| !moves.is_empty())?;
    let note = format!("its metadata move {moves}: refused, the old ones stay in use; SIGHUP takes them over");
    Some((provider.name().to_owned(), note))
}

async fn ready(State(operations): State<Operations>) -> Response {
    let readiness = operations.readiness().await;
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness)).into_response()
}
