//! A small, strict OpenID Connect provider with four made-up people and no passwords.
//!
//! Owns the provider's parts and how they are put together: the registered clients, the signing key, the
//! state in memory, and the routes. Each endpoint lives in a file of its own in this folder. Called by
//! `counterfoil demo` and by the project's tests, which need a provider that refuses what a real one refuses.
//! Knows nothing of Counterfoil's broker; it is only the other side of it.

mod accounts;
mod address;
mod authorization_request;
mod authorize;
mod backchannel_logout;
mod bearer;
mod clients;
mod discovery;
mod end_session;
mod grants;
mod id_token;
mod keys;
mod pages;
mod parameters;
mod revoke;
mod same_origin;
mod scopes;
mod sessions;
mod table;
#[cfg(test)]
mod testing;
mod token;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use axum::{Extension, Router};
use http::HeaderMap;
use time::OffsetDateTime;

use counterfoil_core::clock::SharedClock;
use counterfoil_core::lock;

use self::grants::Grants;
use self::keys::SigningKey;
use self::sessions::{Session, Sessions};

/// Largest body that is read, in bytes; no request of these protocols needs more.
const LARGEST_BODY: usize = 64 * 1024;

/// An application that may send people here to sign in.
#[derive(Debug, Clone)]
pub struct RegisteredClient {
    /// The client's public name, RFC 6749 section 2.2.
    pub client_id: String,
    /// The client's password, RFC 6749 section 2.3.1.
    pub client_secret: String,
    /// Addresses that authorization answers may go to; compared as exact strings.
    pub redirect_uris: Vec<String>,
    /// Addresses that people may go to after signing out; compared as exact strings.
    pub post_logout_redirect_uris: Vec<String>,
    /// Address that logout tokens are sent to, if the client wants them.
    pub backchannel_logout_uri: Option<String>,
}

/// The settings that a provider is made from.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The issuer, which is also the base of every endpoint; no trailing slash.
    pub issuer: String,
    /// The applications that may use this provider.
    pub clients: Vec<RegisteredClient>,
}

/// The provider. Clones share one state.
#[derive(Debug, Clone)]
pub struct IdentityProvider {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Settings,
    clock: SharedClock,
    key: SigningKey,
    state: Mutex<State>,
}

/// Everything that changes. One lock for all of it, so that a code, its tokens and its session change together.
#[derive(Default)]
struct State {
    sessions: Sessions,
    grants: Grants,
}

/// The protocol that a request speaks, one of two. Codes and tokens of one are worth nothing in the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    OpenidConnect,
    PlainOauth,
}

impl Protocol {
    fn authorize_path(self) -> &'static str {
        match self {
            Self::OpenidConnect => "/authorize",
            Self::PlainOauth => "/oauth2/authorize",
        }
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The rest are secrets: client passwords, the key, codes and tokens.
        formatter.debug_struct("Inner").field("issuer", &self.settings.issuer).finish_non_exhaustive()
    }
}

impl IdentityProvider {
    /// Makes a provider with a fresh signing key and nobody signed in.
    pub fn new(settings: Settings, clock: SharedClock) -> Self {
        let inner = Inner { settings, clock, key: SigningKey::generate(), state: Mutex::default() };
        Self { inner: Arc::new(inner) }
    }

    /// Returns the provider's routes; they expect to be at the root of the issuer.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/.well-known/openid-configuration", get(discovery::configuration))
            .route("/jwks", get(discovery::jwks))
            .route("/userinfo", get(bearer::userinfo).post(bearer::userinfo))
            .route("/end-session", get(end_session::show).post(end_session::submit))
            .route("/revoke", post(revoke::revoke))
            .route("/demo.css", get(pages::stylesheet))
            .route("/demo-icon.svg", get(pages::icon))
            .merge(flow(Protocol::OpenidConnect))
            .nest("/oauth2", flow(Protocol::PlainOauth).route("/api/me", get(bearer::me)))
            .layer(DefaultBodyLimit::max(LARGEST_BODY))
            .with_state(self.clone())
    }

    fn issuer(&self) -> &str {
        &self.inner.settings.issuer
    }

    fn clients(&self) -> &[RegisteredClient] {
        &self.inner.settings.clients
    }

    fn key(&self) -> &SigningKey {
        &self.inner.key
    }

    fn now(&self) -> OffsetDateTime {
        self.inner.clock.now()
    }

    /// Locks the state. A panic while it was held leaves single entries at worst, so poison is no reason to stop.
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.inner.state)
    }

    /// Returns the sign-in session that the request's cookie names, if it is alive.
    fn session(&self, headers: &HeaderMap) -> Option<Session> {
        let cookie = sessions::cookie_in(headers)?;
        self.state().sessions.find(cookie, self.now()).cloned()
    }
}

/// Returns the two endpoints that both protocols have.
fn flow(protocol: Protocol) -> Router<IdentityProvider> {
    Router::new()
        .route("/authorize", get(authorize::show).post(authorize::submit))
        .route("/token", post(token::exchange))
        .layer(Extension(protocol))
}
