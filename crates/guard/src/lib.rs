//! A guard in front of an axum application: which requests may pass, and as whom.
//!
#![doc = include_str!("../README.md")]
//!
//! # Inside
//!
//! A request's path is read once ([`request_target`]), in every way in which other servers might read it; the first
//! route that matches all of them says who may pass ([`route`], [`access`]); the session behind its cookie is asked for
//! ([`session_lookup`]) and, when that is due, renewed with its provider ([`revalidation`]). One pure decision names
//! the facts that have to be loaded and the verdict; [`layer`] is the middleware. What passes carries
//! [`Admitted`](current_user::Admitted) in its extensions; handlers take a [`CurrentUser`]. What comes back is kept out of
//! shared caches (`caching`).

#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod access;
pub mod broker_paths;
mod builder;
mod caching;
pub mod client_address;
pub mod cookies;
pub mod current_user;
mod decision;
mod inquiry;
pub mod layer;
pub mod methods;
pub mod navigation;
mod path_rule;
pub mod problem;
pub mod public_url;
pub mod query;
mod reading;
pub mod recheck;
pub mod redirect;
pub mod refusal;
pub mod request_context;
pub mod request_id;
pub mod request_target;
pub mod return_to;
pub mod revalidated;
pub mod revalidation;
pub mod route;
pub mod security_headers;
pub mod sender;
pub mod session_lookup;
mod start_session;
#[cfg(feature = "test-util")]
#[cfg_attr(docsrs, doc(cfg(feature = "test-util")))]
pub mod testing;
pub mod upgrade;
pub mod visitor;

pub use counterfoil_core::identity::Identity;
pub use counterfoil_core::secret::Secret;
pub use counterfoil_core::secret::keyring::Keyring;
pub use counterfoil_session::ending::EndCause;
pub use counterfoil_session::key::SessionKey;
pub use counterfoil_session::revocation::{Order, Selection};
pub use counterfoil_session::store::StoreError;
pub use counterfoil_session::{LiveSession, Sessions};

pub use self::access::AccessRule;
pub use self::builder::{GuardBuilder, GuardError};
pub use self::current_user::CurrentUser;
pub use self::layer::{Guard, GuardLayer};
pub use self::refusal::{Refusal, RefusalKind};
pub use self::revalidation::{Need, NoAccessToken, Revalidation, Revalidator};
pub use self::start_session::{EndSession, SessionCookie, StartSession};
