//! Counterfoil: an OAuth 2.0 / OpenID Connect session broker for back offices.
//!
//! A session is a ticket torn in two. The browser keeps one half, a random key in a cookie; the house keeps the
//! other, a record in Redis named by a one-way hash of that key. Whoever tears up the record has ended the
//! session, on every replica.
//!
//! # The life of a request
//!
//! browser → [`app`] (the layers, in order) → [`routes`] (every address of the broker) → [`guard`] (which route,
//! which session, may they pass?) → [`session`] (the record, judged by the time) → [`proxy`] → the back office.
//!
//! # The life of a login
//!
//! [`guard`] sends a person to [`login`], which sends them to the provider ([`idp`]) with a pending login sealed
//! in a cookie. The callback matches it, exchanges the code, verifies what comes back, makes an
//! [`identity`], establishes a [`session`], and sends the person to the page they came for. [`logout`] is
//! the way back.
//!
//! # The life of a revocation
//!
//! A reviewer asks the [`api`] or the terminal ([`cli`]); [`session::revocation`] lays down a cut-off for logins under
//! way, leaves tombstones and deletes records. Redis tells every replica on the connection that it read them on
//! ([`session_redis`]), the near caches drop them, and the next request is anonymous and says why.
//!
//! # The life of a renewal
//!
//! The [`guard`] notices that a session was not confirmed for too long, or that the access token for an upstream ends
//! ([`revalidation`]); it takes the session's turn among all replicas ([`session::renewal`]), asks the provider
//! ([`idp::Provider::refresh`]), stores what is new, and looks again.
//!
//! # Rows
//!
//! A module uses only rows below its own, never its neighbours; `tests/broker/architecture.rs` reads the source and
//! says so. `ARCHITECTURE.md` has the crates below, which are re-exported here.
//!
//! | row | modules |
//! | --- | --- |
//! | 6 | `main`, [`cli`] |
//! | 5 | [`app`] |
//! | 4 | [`routes`], [`respond`], [`config`] |
//! | 3 | [`login`], [`logout`], [`account`], [`api`] |
//! | 2 | [`revalidation`], [`administration`] |
//! | 1 | [`web`] |
//! | 0 | [`telemetry`] |
//! | crates | [`proxy`], [`guard`], [`session`] with [`audit`], [`idp`], and of `counterfoil-core` [`identity`], [`clock`], [`secret`], [`address`], [`printable`] |
//!
//! # As a library
//!
//! [`App::build`](app::App::build) and
//! [`App::in_front_of`](app::App::in_front_of) put the same broker in front of an axum application
//! of yours; its handlers take a [`CurrentUser`](guard::current_user::CurrentUser). See
//! `examples/guarded_application.rs`.

#![cfg_attr(docsrs, feature(doc_cfg))]

pub use counterfoil_core::{address, clock, identity, printable, secret, unix_millis};
#[cfg(feature = "demo")]
pub use counterfoil_demo as demo;
pub use counterfoil_guard as guard;
pub use counterfoil_oidc as idp;
pub use counterfoil_proxy as proxy;
pub use counterfoil_session as session;
pub use counterfoil_session::audit;
#[cfg(feature = "redis")]
pub use counterfoil_session_redis as session_redis;

pub mod account;
pub mod administration;
pub mod api;
pub mod app;
pub mod cli;
pub mod config;
pub mod login;
pub mod logout;
pub mod respond;
pub mod revalidation;
pub mod routes;
pub mod telemetry;
pub mod web;
