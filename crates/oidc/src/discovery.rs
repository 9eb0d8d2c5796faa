//! Fetches, checks and keeps what a provider publishes about itself.

pub(crate) mod cached_document;
pub mod metadata;
pub(crate) mod moved;
pub(crate) mod offers;
