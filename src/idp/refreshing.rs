//! A document that is fetched when needed, kept, and fetched again in time.
//!
//! Five promises (R-F04, R-D05, R-P02): what is good is not waited for while it is being fetched again; the last good
//! document is kept when fetching fails, yet not for ever; however many ask, one fetch is under way; attempts keep a
//! distance, failed ones too; and whoever hangs up neither stops a fetch nor causes another.

use std::future::Future;
use std::sync::{Arc, PoisonError, RwLock};

use time::{Duration, OffsetDateTime};
use tokio::sync::Mutex;

use super::http::HttpError;
use crate::clock::SharedClock;

/// How long a document is used without asking again.
const FRESH_FOR: Duration = Duration::HOUR;
/// How long a document is used while asking again goes on behind the caller's back; an older one is waited for.
const USABLE_FOR: Duration = Duration::DAY;
/// How long a document is used when it cannot be fetched again: keys that were withdrawn must not count for ever.
const KEPT_FOR: Duration = Duration::days(7);
/// The distance of two attempts at a document that is not there or not fresh.
const RETRY_AFTER: Duration = Duration::seconds(2);
/// The distance of two attempts that are made because a fresh document lacks something.
const REFETCH_AFTER: Duration = Duration::seconds(10);

/// A document of a provider. Cheap to clone.
#[derive(Debug)]
pub(super) struct Refreshing<T>(Arc<Inner<T>>);

#[derive(Debug)]
struct Inner<T> {
    /// Whose it is and what, for the log.
    idp: String,
    document: &'static str,
    good: RwLock<Option<Good<T>>>,
    attempts: Mutex<Attempts>,
    /// How the last fetch failed, for whoever must not wait for the one under way.
    failure: RwLock<Option<Arc<HttpError>>>,
}

#[derive(Debug)]
struct Good<T> {
    document: Arc<T>,
    fetched_at: OffsetDateTime,
}

/// What is known of past fetches; holding it is the right to fetch.
#[derive(Debug, Default)]
struct Attempts {
    last: Option<OffsetDateTime>,
    last_refetch: Option<OffsetDateTime>,
    last_error: Option<Arc<HttpError>>,
}

impl<T> Clone for Refreshing<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Refreshing<T> {
    /// A document of this provider that was never fetched.
    pub(super) fn new(idp: &str, document: &'static str) -> Self {
        let (good, attempts, failure) = (RwLock::new(None), Mutex::default(), RwLock::new(None));
        Self(Arc::new(Inner { idp: idp.to_owned(), document, good, attempts, failure }))
    }
}

impl<T: Send + Sync + 'static> Refreshing<T> {
    /// How the last fetch failed, if it did.
    pub(super) fn failure(&self) -> Option<Arc<HttpError>> {
        self.0.failure.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Fetches the document behind the caller's back, unless that was tried within `distance` or is under way.
    pub(super) fn fetch_now_and_then<F>(&self, clock: &SharedClock, distance: Duration, fetch: F)
    where
        F: Future<Output = Result<T, HttpError>> + Send + 'static,
    {
        let (this, clock) = (self.clone(), clock.clone());
        tokio::spawn(async move {
            if let Ok(mut attempts) = this.0.attempts.try_lock()
                && is_due(attempts.last, clock.now(), distance)
            {
                this.fetch(&mut attempts, &clock, fetch).await;
            }
        });
    }

    /// The document if it is there, fresh or not.
    pub(super) fn known(&self) -> Option<Arc<T>> {
        let good = self.0.good.read().unwrap_or_else(PoisonError::into_inner);
        good.as_ref().map(|good| good.document.clone())
    }

    /// The document; fetched if there is none, and behind the caller's back if it is no longer fresh.
    pub(super) async fn current<F>(&self, clock: &SharedClock, fetch: F) -> Result<Arc<T>, Arc<HttpError>>
    where
        F: Future<Output = Result<T, HttpError>> + Send + 'static,
    {
        let Some(document) = self.known().filter(|_| self.is_younger_than(USABLE_FOR, clock.now())) else {
            let (this, clock) = (self.clone(), clock.clone());
            return to_its_end(async move {
                let mut attempts = this.0.attempts.lock().await;
                // Somebody else may have fetched it meanwhile, or failed to.
                match this.known().filter(|_| this.is_younger_than(USABLE_FOR, clock.now())) {
                    Some(document) => Ok(document),
                    None => this.attempt(&mut attempts, &clock, fetch).await,
                }
            })
            .await;
        };
        if !self.is_younger_than(FRESH_FOR, clock.now()) {
            let (this, clock) = (self.clone(), clock.clone());
            tokio::spawn(async move {
                // Whoever holds the right to fetch is at it already.
                if let Ok(mut attempts) = this.0.attempts.try_lock() {
                    // Its error is logged and remembered.
                    let _ = this.attempt(&mut attempts, &clock, fetch).await;
                }
            });
        }
        Ok(document)
    }

    /// The document, fetched again because it lacks something; at most one fetch per window. Counted apart from
    /// ordinary fetches: a rotation right after one is followed at once.
    ///
    /// # Errors
    /// The [`HttpError`] of the last fetch, if that failed.
    pub(super) async fn refetched<F>(&self, clock: &SharedClock, fetch: F) -> Result<Arc<T>, Arc<HttpError>>
    where
        F: Future<Output = Result<T, HttpError>> + Send + 'static,
    {
        let (this, clock) = (self.clone(), clock.clone());
        to_its_end(async move {
            let mut attempts = this.0.attempts.lock().await;
            if is_due(attempts.last_refetch, clock.now(), REFETCH_AFTER) {
                this.fetch(&mut attempts, &clock, fetch).await;
                attempts.last_refetch = Some(clock.now());
            }
            match &attempts.last_error {
                Some(error) => Err(error.clone()),
                None => this.outcome(&attempts, clock.now()),
            }
        })
        .await
    }

    async fn attempt<F>(&self, attempts: &mut Attempts, clock: &SharedClock, fetch: F) -> Result<Arc<T>, Arc<HttpError>>
    where
        F: Future<Output = Result<T, HttpError>>,
    {
        if is_due(attempts.last, clock.now(), RETRY_AFTER) {
            self.fetch(attempts, clock, fetch).await;
        }
        self.outcome(attempts, clock.now())
    }

    async fn fetch<F>(&self, attempts: &mut Attempts, clock: &SharedClock, fetch: F)
    where
        F: Future<Output = Result<T, HttpError>>,
    {
        attempts.last_error = match fetch.await {
            Ok(document) => {
                self.keep(document, clock.now());
                None
            }
            Err(error) => {
                let Inner { idp, document, .. } = &*self.0;
                tracing::warn!(%idp, document, %error, "a provider's document could not be fetched");
                Some(Arc::new(error))
            }
        };
        self.0.failure.write().unwrap_or_else(PoisonError::into_inner).clone_from(&attempts.last_error);
        // Noted at its end: a fetch that takes long must not make the next one due at once.
        attempts.last = Some(clock.now());
    }

    fn outcome(&self, attempts: &Attempts, now: OffsetDateTime) -> Result<Arc<T>, Arc<HttpError>> {
        let error = || attempts.last_error.clone().unwrap_or_else(|| Arc::new(HttpError::Timeout));
        self.known().filter(|_| self.is_younger_than(KEPT_FOR, now)).ok_or_else(error)
    }

    fn keep(&self, document: T, fetched_at: OffsetDateTime) {
        let good = Good { document: Arc::new(document), fetched_at };
        *self.0.good.write().unwrap_or_else(PoisonError::into_inner) = Some(good);
    }

    fn is_younger_than(&self, age: Duration, now: OffsetDateTime) -> bool {
        let good = self.0.good.read().unwrap_or_else(PoisonError::into_inner);
        good.as_ref().is_some_and(|good| (now - good.fetched_at).abs() < age)
    }
}

/// Whoever asked may hang up: what was begun is brought to its end all the same.
async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, Arc<HttpError>>> + Send + 'static,
) -> Result<T, Arc<HttpError>> {
    // Only a panic of ours or the end of the process leaves none.
    tokio::spawn(work).await.unwrap_or_else(|_| Err(Arc::new(HttpError::Timeout)))
}

/// Whether the last attempt was long enough ago; a clock that jumped back does not hold anybody up.
fn is_due(last: Option<OffsetDateTime>, now: OffsetDateTime, distance: Duration) -> bool {
    last.is_none_or(|last| (now - last).abs() >= distance)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use time::macros::datetime;

    use super::*;
    use crate::clock::{Clock, ManualClock};

    struct Source {
        count: AtomicU32,
        clock: Arc<ManualClock>,
    }

    impl Source {
        fn new() -> Arc<Self> {
            let clock = ManualClock::at(datetime!(2026-01-31 09:00 UTC));
            Arc::new(Self { count: AtomicU32::new(0), clock })
        }

        fn clock(&self) -> SharedClock {
            self.clock.clone()
        }

        async fn answers(self: Arc<Self>, answer: Result<u32, HttpError>) -> Result<u32, HttpError> {
            self.count.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            answer
        }

        fn fetches(&self) -> u32 {
            self.count.load(Ordering::Relaxed)
        }
    }

    /// Lets what was spawned run.
    async fn settle() {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_fresh_document_is_not_fetched_and_an_old_one_survives_a_failure() {
        let (document, source) = (Refreshing::new("company", "metadata"), Source::new());
        let current = async |answer| *document.current(&source.clock(), source.clone().answers(answer)).await.unwrap();
        assert_eq!(current(Ok(1)).await, 1);
        source.clock.advance(Duration::minutes(59));
        assert_eq!(current(Ok(2)).await, 1);
        assert_eq!(source.fetches(), 1);
        source.clock.advance(Duration::HOUR);
        assert_eq!(current(Err(HttpError::Timeout)).await, 1);
        settle().await;
        assert_eq!((source.fetches(), current(Ok(3)).await), (2, 1));
        source.clock.advance(RETRY_AFTER);
        current(Ok(3)).await;
        settle().await;
        assert_eq!(current(Ok(4)).await, 3);
    }

    #[tokio::test]
    async fn what_is_good_is_not_waited_for_within_a_day() {
        let (document, source) = (Refreshing::new("company", "metadata"), Source::new());
        document.keep(1, source.clock.now());
        source.clock.advance(Duration::hours(2));
        let never = std::future::pending::<Result<u32, HttpError>>();
        assert_eq!(*document.current(&source.clock(), never).await.unwrap(), 1);
        settle().await;
        let next = document.current(&source.clock(), source.clone().answers(Ok(2))).await;
        assert_eq!((*next.unwrap(), document.known()), (1, Some(Arc::new(1))));

        let (document, source) = (Refreshing::new("company", "metadata"), Source::new());
        document.keep(1, source.clock.now());
        source.clock.advance(Duration::days(2));
        assert_eq!(*document.current(&source.clock(), source.clone().answers(Ok(2))).await.unwrap(), 2);
    }

    /// R-D05: also when fetching fails; and whoever asks is told that the document could not be had.
    #[tokio::test]
    async fn a_thousand_refetches_make_one_attempt_per_window() {
        let (document, source) = (Refreshing::new("company", "metadata"), Source::new());
        document.keep(1, source.clock.now());
        let refetched = async |answer| document.refetched(&source.clock(), source.clone().answers(answer)).await;
        for _ in 0..1_000 {
            assert!(refetched(Err(HttpError::Timeout)).await.is_err());
        }
        assert_eq!((source.fetches(), document.known()), (1, Some(Arc::new(1))));
        source.clock.advance(REFETCH_AFTER);
        for _ in 0..2 {
            assert_eq!(*refetched(Ok(2)).await.unwrap(), 2);
        }
    }

    /// R-D05, R-P02: hanging up is no way around the distance, and does not waste the attempt.
    #[tokio::test]
    async fn whoever_hangs_up_neither_stops_a_fetch_nor_causes_another() {
        let (document, source) = (Refreshing::new("company", "metadata"), Source::new());
        document.keep(1, source.clock.now());
        let clock = source.clock();
        for _ in 0..10 {
            let refetched = document.refetched(&clock, source.clone().answers(Ok(2)));
            assert!(futures_util::future::poll_immediate(refetched).await.is_none());
            settle().await;
        }
        assert_eq!((source.fetches(), document.known()), (1, Some(Arc::new(2))));
    }

    /// R-F04
    #[tokio::test]
    async fn a_document_that_cannot_be_fetched_again_counts_for_a_week_and_no_longer() {
        let (document, source) = (Refreshing::new("company", "metadata"), Source::new());
        document.keep(1, source.clock.now());
        let away = async || document.current(&source.clock(), source.clone().answers(Err(HttpError::Timeout))).await;
        source.clock.advance(KEPT_FOR - Duration::SECOND);
        assert_eq!(*away().await.unwrap(), 1);
        source.clock.advance(Duration::SECOND);
        assert!(away().await.is_err());
        source.clock.advance(RETRY_AFTER);
        assert!(away().await.is_err());
        source.clock.advance(RETRY_AFTER);
        assert!(document.current(&source.clock(), source.clone().answers(Ok(2))).await.is_ok());
    }

    /// R-P02: those who waited for a fetch that failed do not start another.
    #[tokio::test]
    async fn a_failure_is_answered_at_once_until_it_is_time_to_try_again() {
        let (document, source) = (Refreshing::<u32>::new("company", "metadata"), Source::new());
        let slow = |source: Arc<Source>| async move {
            source.clock.advance(Duration::seconds(8));
            source.answers(Err(HttpError::Timeout)).await
        };
        let (clock, one, other) = (source.clock(), slow(source.clone()), slow(source.clone()));
        let both = tokio::join!(document.current(&clock, one), document.current(&clock, other));
        assert!(both.0.is_err() && both.1.is_err());
        assert_eq!(source.fetches(), 1);
        source.clock.advance(RETRY_AFTER);
        assert!(document.current(&clock, source.clone().answers(Ok(1))).await.is_ok());
    }
}
