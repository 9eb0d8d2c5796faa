//! A guarded application with sessions, for tests: sessions in memory, under a clock that stands still until it is
//! moved.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use counterfoil_core::clock::{Clock, ManualClock, SystemClock};
use counterfoil_core::identity::Identity;
use counterfoil_core::secret::keyring::Keyring;
use counterfoil_session::Sessions;
use counterfoil_session::establish::NewSession;
use counterfoil_session::key::SessionKey;
use counterfoil_session::record::ClientTraits;
use counterfoil_session::store::memory::MemoryStore;
use http::Request;
use http::header::COOKIE;
use tower::ServiceExt;

use crate::builder::GuardBuilder;
use crate::layer::Guard;

/// The origin of the site.
const PUBLIC_URL: &str = "https://site.example.test";

/// A guarded site.
#[derive(Debug, Clone)]
pub struct Site {
    app: Router,
    sessions: Sessions,
    clock: Arc<ManualClock>,
}

/// A browser on the site, with a session or without.
#[derive(Debug, Clone)]
pub struct Browser {
    app: Router,
    key: Option<SessionKey>,
}

/// Puts a guard in front of an application, as `describe` says.
///
/// # Panics
/// If the description makes no guard, or outside a Tokio runtime.
pub fn guarded(app: Router, describe: impl FnOnce(GuardBuilder) -> GuardBuilder) -> Site {
    guarded_with(|_| app, describe)
}

/// The same for an application that is made of its sessions, to sign people in or out.
///
/// # Panics
/// As [`guarded`].
pub fn guarded_with(
    make: impl FnOnce(Sessions) -> Router,
    describe: impl FnOnce(GuardBuilder) -> GuardBuilder,
) -> Site {
    let clock = ManualClock::at(SystemClock.now());
    let store = MemoryStore::new(clock.clone());
    let sessions = Sessions::builder(store, Keyring::ephemeral()).clock(clock.clone()).start();
    let guard = describe(Guard::builder(&sessions, PUBLIC_URL)).build();
    let guard = guard.unwrap_or_else(|error| panic!("{error}"));
    Site { app: guard.in_front_of(make(sessions.clone())), sessions, clock }
}

impl Site {
    /// The guarded application, to put into another router.
    pub fn app(&self) -> Router {
        self.app.clone()
    }

    /// The clock that the site goes by.
    pub fn clock(&self) -> &ManualClock {
        &self.clock
    }

    /// The sessions, to revoke some of them, say.
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// A browser in which somebody has just signed in.
    ///
    /// # Panics
    /// If the person may have no session.
    pub async fn signed_in(&self, identity: Identity) -> Browser {
        let now = self.clock.now();
        let new = NewSession::of_the_application(identity, now, ClientTraits::default());
        let key = self.sessions.establish(new).await.unwrap_or_else(|error| panic!("{error}"));
        Browser { app: self.app.clone(), key: Some(key) }
    }

    /// A browser without a session.
    pub fn stranger(&self) -> Browser {
        Browser { app: self.app.clone(), key: None }
    }

    /// Asks as a stranger, in the way of a program.
    pub async fn get(&self, path: &str) -> Response {
        self.stranger().get(path).await
    }
}

impl Browser {
    /// Asks for a path, in the way of a program.
    ///
    /// # Panics
    /// If `path` is none.
    pub async fn get(&self, path: &str) -> Response {
        let request = Request::get(path).body(Body::empty());
        self.send(request.unwrap_or_else(|error| panic!("{path}: {error}"))).await
    }

    /// Sends a request, with the session's cookie if there is one.
    pub async fn send(&self, mut request: Request<Body>) -> Response {
        if let Some(key) = &self.key {
            let cookie = format!("__Host-session={}", key.expose_cookie_value());
            request.headers_mut().extend(cookie.try_into().map(|cookie| (COOKIE, cookie)));
        }
        let Ok(response) = self.app.clone().oneshot(request).await;
        response
    }
}
