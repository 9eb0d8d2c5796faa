//! The base that every part of Counterfoil builds on: identities, the clock, secrets, and the way to try
//! again.
//!
//! Knows nothing of sessions, of providers or of HTTP. A test of the workspace holds the list.

#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod address;
pub mod backoff;
pub mod clock;
pub mod identity;
mod lock;
pub mod log_on_change;
pub mod printable;
pub mod secret;
pub mod unix_millis;

pub use lock::lock;
