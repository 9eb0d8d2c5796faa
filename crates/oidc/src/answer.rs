//! Reads what a provider answers, before anything is done with it: its JSON, and the reasons of its refusals.
//!
//! Pure.

pub(crate) mod provider_words;
pub(crate) mod strict_json;
