//! The base that every part of Counterfoil builds on: identities, the clock, secrets.
//!
//! Knows nothing of sessions, of providers or of HTTP. Six modules, and no more: a test of the workspace holds the list.

#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod address;
pub mod clock;
pub mod identity;
pub mod printable;
pub mod secret;
