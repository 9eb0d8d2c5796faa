//! Fetches, checks and keeps what a provider publishes about itself: its metadata and its keys.

pub(crate) mod attempts;
pub(crate) mod cached_document;
pub mod document;
pub(crate) mod keys;
pub(crate) mod metadata;
pub(crate) mod metadata_cache;
pub(crate) mod moved;
pub(crate) mod offers;
pub(crate) mod settings;
