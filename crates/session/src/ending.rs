//! How a session ended: what its tombstone says.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// Why a session is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndCause {
    /// It was not used for too long.
    Idle,
    /// It reached its absolute timeout.
    Absolute,
    /// Somebody entitled to it ended it.
    Revoked,
    /// A newer session of the same person took its place.
    Displaced,
    /// The same person ended it from another browser.
    EndedElsewhere,
    /// The identity provider said that it is over.
    EndedByProvider,
}

/// What is left of a session, for as long as its cookie could have lived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    /// When it ended.
    #[serde(with = "time::serde::timestamp::milliseconds")]
    pub ended_at: OffsetDateTime,
    /// Why.
    pub cause: EndCause,
    /// In the words of whoever ended it: for reviewers, never shown to the person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// By whom: for reviewers, never shown to the person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Whether the next login has to be a fresh one, whatever session lives at the provider.
    #[serde(default)]
    pub fresh_login: bool,
}

impl Tombstone {
    /// A tombstone that names nobody.
    pub fn of(cause: EndCause, ended_at: OffsetDateTime) -> Self {
        Self { ended_at, cause, reason: None, by: None, fresh_login: false }
    }
}
