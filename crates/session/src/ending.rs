//! The end of a session, as its tombstone tells it.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// The cause of a session's end.
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

impl EndCause {
    /// Every cause there is.
    pub const ALL: [Self; 6] =
        [Self::Idle, Self::Absolute, Self::Revoked, Self::Displaced, Self::EndedElsewhere, Self::EndedByProvider];

    /// The cause as part of a name: of a text, a style, a code.
    pub fn key(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Absolute => "expired",
            Self::Revoked => "revoked",
            Self::Displaced => "displaced",
            Self::EndedElsewhere => "ended-elsewhere",
            Self::EndedByProvider => "ended-by-provider",
        }
    }
}

/// The remains of a session, kept for as long as its cookie could have lived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    /// The moment it ended.
    #[serde(with = "time::serde::timestamp::milliseconds")]
    pub ended_at: OffsetDateTime,
    /// The cause of the end.
    pub cause: EndCause,
    /// The reason, in the words of whoever ended it: for reviewers, never shown to the person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The person or program that ended it: for reviewers, never shown to the person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Set if the next login has to be a fresh one, whatever session lives at the provider.
    #[serde(default)]
    pub fresh_login: bool,
}

impl Tombstone {
    /// A tombstone that names nobody.
    pub fn of(cause: EndCause, ended_at: OffsetDateTime) -> Self {
        Self { ended_at, cause, reason: None, by: None, fresh_login: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_has_a_key_of_its_own() {
        let mut keys: Vec<_> = EndCause::ALL.map(EndCause::key).to_vec();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), EndCause::ALL.len());
    }
}
