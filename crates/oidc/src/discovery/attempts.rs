//! The attempts at fetching one document: the rate limits between them, by who asks. Pure.

use std::sync::Arc;

use time::{Duration, OffsetDateTime};

use crate::client::http_error::HttpError;

/// Least time between two attempts at a document that is not there or not fresh.
pub(crate) const RETRY_AFTER: Duration = Duration::seconds(2);
/// Least time between two attempts that are made because a fresh document lacks something.
pub(crate) const REFETCH_AFTER: Duration = Duration::seconds(10);
/// Longest pause that a provider may ask for.
pub(crate) const LONGEST_PAUSE: Duration = Duration::minutes(5);

/// The party that wants a document fetched again because it lacks something. Each has a rate limit of its own, so that
/// unauthenticated requests cannot use up the limit of the provider's own answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AskedBy {
    /// Anybody who can reach us: a logout token, a security event, an answer that a browser brought.
    Anybody,
    /// The provider, over TLS: an ID token, signed userinfo.
    Provider,
}

/// The record of past fetches; holding it is the right to fetch.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    pub(crate) last: Option<OffsetDateTime>,
    /// Backoff since then that the provider asked for.
    pub(crate) pause: Option<Duration>,
    last_refetch_by_anybody: Option<OffsetDateTime>,
    last_refetch_by_provider: Option<OffsetDateTime>,
    pub(crate) last_error: Option<Arc<HttpError>>,
}

impl Attempts {
    /// Returns the time of the last fetch for this asker.
    pub(crate) fn last_refetch(&mut self, by: AskedBy) -> &mut Option<OffsetDateTime> {
        match by {
            AskedBy::Anybody => &mut self.last_refetch_by_anybody,
            AskedBy::Provider => &mut self.last_refetch_by_provider,
        }
    }

    /// Is true unless the provider asked for a backoff that is not over.
    pub(crate) fn may_ask(&self, now: OffsetDateTime) -> bool {
        self.pause.is_none_or(|pause| is_due(self.last, now, pause))
    }
}

/// Is true if the last attempt was long enough ago; a clock that jumped back does not delay the next attempt.
pub(crate) fn is_due(last: Option<OffsetDateTime>, now: OffsetDateTime, distance: Duration) -> bool {
    last.is_none_or(|last| (now - last).abs() >= distance)
}
