//! Reads what a provider answers, before anything is done with it: its JSON, and the reasons of its refusals. Pure.

pub(crate) mod content_type;
pub(crate) mod error_codes;
pub(crate) mod provider_words;
pub(crate) mod reason;
pub(crate) mod redaction;
pub(crate) mod sent;
pub(crate) mod strict_json;
