//! A document that is fetched when needed, kept, and fetched again in time.
//!
//! Three promises (R-F04, R-D05, R-P02): what is fresh is not fetched; the last good document is kept when
//! fetching fails; however many ask, one fetch is under way and attempts keep a distance, failed ones too.

use std::future::Future;
use std::sync::Arc;

use time::{Duration, OffsetDateTime};
use tokio::sync::Mutex;

use super::http::HttpError;

/// How long a document is used without asking again.
const FRESH_FOR: Duration = Duration::HOUR;
/// The distance of two attempts at a document that is not there or not fresh.
const RETRY_AFTER: Duration = Duration::seconds(2);
/// The distance of two attempts that are made because a fresh document lacks something.
const REFETCH_AFTER: Duration = Duration::seconds(10);

/// A document of a provider.
#[derive(Debug)]
pub(super) struct Refreshing<T>(Mutex<State<T>>);

#[derive(Debug)]
struct State<T> {
    good: Option<(Arc<T>, OffsetDateTime)>,
    last_attempt: Option<OffsetDateTime>,
    last_refetch: Option<OffsetDateTime>,
    last_error: Option<Arc<HttpError>>,
}

impl<T> Default for Refreshing<T> {
    fn default() -> Self {
        Self(Mutex::new(State { good: None, last_attempt: None, last_refetch: None, last_error: None }))
    }
}

impl<T> Refreshing<T> {
    /// A document that was given, not fetched, and is good until something else is fetched.
    pub(super) fn given(document: T) -> Self {
        Self(Mutex::new(State {
            good: Some((Arc::new(document), OffsetDateTime::UNIX_EPOCH)),
            last_attempt: None,
            last_refetch: None,
            last_error: None,
        }))
    }

    /// The document; fetched if there is none or it is no longer fresh.
    pub(super) async fn current<F>(&self, now: OffsetDateTime, fetch: F) -> Result<Arc<T>, Arc<HttpError>>
    where
        F: Future<Output = Result<T, HttpError>>,
    {
        let mut state = self.0.lock().await;
        match &state.good {
            Some((document, fetched_at)) if now - *fetched_at < FRESH_FOR => Ok(document.clone()),
            _ => {
                let due = is_due(state.last_attempt, now, RETRY_AFTER);
                state.last_attempt = if due { Some(now) } else { state.last_attempt };
                state.fetch_if(due, now, fetch).await
            }
        }
    }

    /// The document, fetched again because it lacks something; at most one fetch per window.
    pub(super) async fn refetched<F>(&self, now: OffsetDateTime, fetch: F) -> Result<Arc<T>, Arc<HttpError>>
    where
        F: Future<Output = Result<T, HttpError>>,
    {
        let mut state = self.0.lock().await;
        // Counted apart from ordinary fetches: a rotation right after one is followed at once.
        let due = is_due(state.last_refetch, now, REFETCH_AFTER);
        state.last_refetch = if due { Some(now) } else { state.last_refetch };
        state.fetch_if(due, now, fetch).await
    }

    /// The document if it is there, fresh or not.
    pub(super) async fn known(&self) -> Option<Arc<T>> {
        self.0.lock().await.good.as_ref().map(|(document, _)| document.clone())
    }
}

impl<T> State<T> {
    /// Fetches if it is time to; answers with what is good, new or old.
    async fn fetch_if<F>(&mut self, due: bool, now: OffsetDateTime, fetch: F) -> Result<Arc<T>, Arc<HttpError>>
    where
        F: Future<Output = Result<T, HttpError>>,
    {
        if due {
            match fetch.await {
                Ok(document) => {
                    self.last_error = None;
                    self.good = Some((Arc::new(document), now));
                }
                Err(error) => {
                    tracing::warn!(%error, "a provider's document could not be fetched");
                    self.last_error = Some(Arc::new(error));
                }
            }
        }
        match (&self.good, &self.last_error) {
            (Some((document, _)), _) => Ok(document.clone()),
            (None, Some(error)) => Err(error.clone()),
            // A fetch that was cancelled half-way leaves neither.
            (None, None) => Err(Arc::new(HttpError::Timeout)),
        }
    }
}

/// Whether the last attempt was long enough ago; a clock that jumped back does not hold anybody up.
fn is_due(last: Option<OffsetDateTime>, now: OffsetDateTime, distance: Duration) -> bool {
    last.is_none_or(|last| (now - last).abs() >= distance)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use time::macros::datetime;

    use super::*;

    const START: OffsetDateTime = datetime!(2026-01-31 09:00 UTC);

    async fn fetched(count: &Cell<u32>, answer: Result<u32, HttpError>) -> Result<u32, HttpError> {
        count.set(count.get() + 1);
        tokio::task::yield_now().await;
        answer
    }

    #[tokio::test]
    async fn a_fresh_document_is_not_fetched_and_an_old_one_survives_a_failure() {
        let (document, count) = (Refreshing::default(), Cell::new(0));
        assert_eq!(*document.current(START, fetched(&count, Ok(1))).await.unwrap(), 1);
        assert_eq!(*document.current(START + Duration::minutes(59), fetched(&count, Ok(2))).await.unwrap(), 1);
        assert_eq!(count.get(), 1);
        let late = START + Duration::hours(2);
        assert_eq!(*document.current(late, fetched(&count, Err(HttpError::Timeout))).await.unwrap(), 1);
        assert_eq!(*document.current(late + RETRY_AFTER, fetched(&count, Ok(3))).await.unwrap(), 3);
    }

    /// R-D05: also when fetching fails.
    #[tokio::test]
    async fn a_thousand_refetches_make_one_attempt_per_window() {
        let (document, count) = (Refreshing::default(), Cell::new(0));
        document.current(START, fetched(&count, Ok(1))).await.unwrap();
        let later = START + Duration::minutes(1);
        for _ in 0..1_000 {
            let kept = document.refetched(later, fetched(&count, Err(HttpError::Timeout))).await.unwrap();
            assert_eq!(*kept, 1);
        }
        assert_eq!(count.get(), 2);
    }

    #[tokio::test]
    async fn a_failure_is_answered_at_once_until_it_is_time_to_try_again() {
        let (document, count) = (Refreshing::<u32>::default(), Cell::new(0));
        for _ in 0..10 {
            assert!(document.current(START, fetched(&count, Err(HttpError::Timeout))).await.is_err());
        }
        assert_eq!(count.get(), 1);
        assert!(document.current(START + RETRY_AFTER, fetched(&count, Ok(1))).await.is_ok());
    }
}
