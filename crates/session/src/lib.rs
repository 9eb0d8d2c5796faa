//! Sessions: establishing, checking, touching and ending them.
//!
//! Four views lie on one store, by who uses them:
//! - [`SessionReader`], the guard's: checks a session, from the near cache, else from the store, judged by the time
//!   ([`timeout`]) and the rules in force ([`policy`]), and notes that it is in use. It can end nothing;
//! - [`Sessions`], of logins and logouts: [`establish`] makes a session, unless a cut-off forbids it; [`renewal`]
//!   changes it, one at a time ([`refresh_lock`]); [`replay`] makes what a provider tells idempotent;
//! - [`SessionAdministration`], the reviewers': [`listing`] says what there is (by the [`registry`]), [`revocation`]
//!   ends it ([`filter`], [`ending`]) and lays down and lifts [`blocks`];
//! - [`Maintenance`], in the background: whose store it is, how long its records last, what no timeout lets live.
//!
//! Below it lie the key in the cookie ([`key`]), what is remembered ([`record`]), and where it is all kept
//! ([`store`]), which is used only while it is ours ([`key_check`]). Knows nothing of HTTP or of providers. The traits of
//! the store are public, and not frozen yet.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod administration;
pub mod audit;
pub mod blocks;
pub mod browser;
mod builder;
mod checkpoint;
mod cut_off;
pub mod ending;
pub mod establish;
pub mod filter;
mod hashed_name;
mod inner;
pub mod key;
pub mod key_check;
mod lease;
pub mod listing;
mod live;
mod maintenance;
pub mod policy;
mod reader;
pub mod record;
pub mod refresh_lock;
pub mod registry;
pub mod renewal;
pub mod replay;
pub mod revocation;
mod sampling;
mod search;
mod sessions;
mod signature;
pub mod store;
pub mod timeout;
mod touch;

pub use self::administration::SessionAdministration;
pub use self::builder::SessionsBuilder;
pub use self::lease::Lease;
pub use self::live::{Check, LiveSession};
pub use self::maintenance::Maintenance;
pub use self::reader::SessionReader;
pub use self::sessions::{NearCacheSettings, Sessions};
