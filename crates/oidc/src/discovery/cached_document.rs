//! A document that is fetched on demand, cached, and revalidated in the background (R-F04, R-D05, R-P02):
//!
//! - stale-while-revalidate: a cached document answers while a newer one is being fetched;
//! - stale-if-error: a failed fetch leaves the cached document in use, for at most 7 days;
//! - single-flight: concurrent callers share one fetch;
//! - rate limit and negative cache: attempts keep a least interval, also after a failure;
//! - cancellation-safe: a caller that goes away neither stops a fetch nor causes another;
//! - the provider's `max-age` and `Retry-After` count, within bounds;
//! - unauthenticated callers have a rate limit of their own.

use std::future::Future;
use std::sync::{Arc, PoisonError, RwLock};

use counterfoil_core::clock::SharedClock;
use time::{Duration, OffsetDateTime};
use tokio::sync::Mutex;

use crate::client::document::{FetchFailure, Fetched};
use crate::client::http_error::HttpError;
use crate::discovery::attempts::{AskedBy, Attempts, LONGEST_PAUSE, REFETCH_AFTER, RETRY_AFTER, is_due};

/// Longest use of a document that cannot be fetched again, so that withdrawn keys stop counting.
const KEPT_FOR: Duration = Duration::days(7);
/// The lifetimes of a kind of document.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lifetimes {
    /// TTL if the provider states none.
    pub(crate) unless_said: Duration,
    /// Least that the provider may say.
    pub(crate) shortest: Duration,
    /// Most that the provider may say.
    pub(crate) longest: Duration,
    /// Longest use while a fetch goes on in the background; with an older document the caller waits for the fetch.
    pub(crate) usable: Duration,
}

/// A document after it was asked for again.
#[derive(Debug)]
pub(crate) enum Refetched<T> {
    /// Fetched for this caller: the document is current.
    Anew(Arc<T>),
    /// Fetched for somebody else since the caller looked.
    Meanwhile(Arc<T>),
}

/// A document of a provider. Cheap to clone.
#[derive(Debug)]
pub(crate) struct CachedDocument<T>(Arc<Inner<T>>);

#[derive(Debug)]
struct Inner<T> {
    lifetimes: Lifetimes,
    /// The provider's name, for the log.
    idp: String,
    /// The document's name, for the log.
    document: &'static str,
    good: RwLock<Option<Good<T>>>,
    attempts: Mutex<Attempts>,
    /// The last fetch's failure, for callers that must not wait for a fetch under way.
    failure: RwLock<Option<Arc<HttpError>>>,
}

#[derive(Debug)]
struct Good<T> {
    document: Arc<T>,
    fetched_at: OffsetDateTime,
    fresh_for: Duration,
}

impl<T> Clone for CachedDocument<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> CachedDocument<T> {
    /// Makes a document of this provider that was never fetched.
    pub(crate) fn new(lifetimes: Lifetimes, idp: &str, document: &'static str) -> Self {
        let (good, attempts, failure) = (RwLock::new(None), Mutex::default(), RwLock::new(None));
        Self(Arc::new(Inner { lifetimes, idp: idp.to_owned(), document, good, attempts, failure }))
    }
}

impl<T: Send + Sync + 'static> CachedDocument<T> {
    /// Returns the last fetch's failure, if it failed.
    pub(crate) fn failure(&self) -> Option<Arc<HttpError>> {
        self.0.failure.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Fetches the document in the background, unless that was tried within `distance`, is under way, or the provider
    /// asked for a backoff.
    pub(crate) fn fetch_now_and_then<F>(&self, clock: &SharedClock, distance: Duration, fetch: F)
    where
        F: Future<Output = Result<Fetched<T>, FetchFailure>> + Send + 'static,
    {
        let (this, clock) = (self.clone(), clock.clone());
        tokio::spawn(async move {
            if let Ok(mut attempts) = this.0.attempts.try_lock()
                && is_due(attempts.last, clock.now(), distance)
                && attempts.may_ask(clock.now())
            {
                this.fetch(&mut attempts, &clock, fetch).await;
            }
        });
    }

    /// Returns the document if it is there, fresh or not.
    pub(crate) fn known(&self) -> Option<Arc<T>> {
        let good = self.0.good.read().unwrap_or_else(PoisonError::into_inner);
        good.as_ref().map(|good| good.document.clone())
    }

    /// Returns the document; fetches it if there is none, and in the background if it is stale.
    pub(crate) async fn current<F>(&self, clock: &SharedClock, fetch: F) -> Result<Arc<T>, Arc<HttpError>>
    where
        F: Future<Output = Result<Fetched<T>, FetchFailure>> + Send + 'static,
    {
        let usable = self.0.lifetimes.usable;
        let Some(document) = self.known().filter(|_| self.is_younger_than(usable, clock.now())) else {
            let (this, clock) = (self.clone(), clock.clone());
            return to_its_end(async move {
                let mut attempts = this.0.attempts.lock().await;
                // Double-checked: another caller may have fetched it meanwhile, or failed to.
                match this.known().filter(|_| this.is_younger_than(usable, clock.now())) {
                    Some(document) => Ok(document),
                    None => this.attempt(&mut attempts, &clock, fetch).await,
                }
            })
            .await;
        };
        if !self.is_fresh(clock.now()) {
            let (this, clock) = (self.clone(), clock.clone());
            tokio::spawn(async move {
                // The holder of the lock is fetching already.
                if let Ok(mut attempts) = this.0.attempts.try_lock() {
                    // Its error is logged and remembered.
                    let _ = this.attempt(&mut attempts, &clock, fetch).await;
                }
            });
        }
        Ok(document)
    }

    /// Fetches the document again because `seen` lacks something; at most one fetch per window and asker. The rate
    /// limit is apart from that of ordinary fetches, so that a key rotation right after one is noticed at once.
    ///
    /// # Errors
    /// The [`HttpError`] of the last fetch, if that failed; [`HttpError::AskedJustNow`] if `seen` is all there is and may
    /// not be fetched yet.
    pub(crate) async fn refetched<F>(
        &self,
        by: AskedBy,
        seen: &Arc<T>,
        clock: &SharedClock,
        fetch: F,
    ) -> Result<Refetched<T>, Arc<HttpError>>
    where
        F: Future<Output = Result<Fetched<T>, FetchFailure>> + Send + 'static,
    {
        let (this, seen, clock) = (self.clone(), seen.clone(), clock.clone());
        to_its_end(async move {
            let mut attempts = this.0.attempts.lock().await;
            let now = clock.now();
            let is_due = is_due(*attempts.last_refetch(by), now, REFETCH_AFTER) && attempts.may_ask(now);
            if is_due {
                this.fetch(&mut attempts, &clock, fetch).await;
                *attempts.last_refetch(by) = Some(clock.now());
            }
            if let Some(error) = &attempts.last_error {
                return Err(error.clone());
            }
            let document = this.outcome(&attempts, clock.now())?;
            match is_due {
                true => Ok(Refetched::Anew(document)),
                false if !Arc::ptr_eq(&document, &seen) => Ok(Refetched::Meanwhile(document)),
                false => Err(Arc::new(asked_just_now())),
            }
        })
        .await
    }

    /// Fetches the document whatever is cached, on an operator's order.
    pub(crate) async fn renew<F>(&self, clock: &SharedClock, fetch: F)
    where
        F: Future<Output = Result<Fetched<T>, FetchFailure>> + Send + 'static,
    {
        let mut attempts = self.0.attempts.lock().await;
        self.fetch(&mut attempts, clock, fetch).await;
    }

    async fn attempt<F>(&self, attempts: &mut Attempts, clock: &SharedClock, fetch: F) -> Result<Arc<T>, Arc<HttpError>>
    where
        F: Future<Output = Result<Fetched<T>, FetchFailure>>,
    {
        if is_due(attempts.last, clock.now(), RETRY_AFTER) && attempts.may_ask(clock.now()) {
            self.fetch(attempts, clock, fetch).await;
        }
        self.outcome(attempts, clock.now())
    }

    async fn fetch<F>(&self, attempts: &mut Attempts, clock: &SharedClock, fetch: F)
    where
        F: Future<Output = Result<Fetched<T>, FetchFailure>>,
    {
        (attempts.last_error, attempts.pause) = match fetch.await {
            Ok(fetched) => {
                self.keep(fetched, clock.now());
                (None, None)
            }
            Err(FetchFailure { error, retry_after }) => {
                let Inner { idp, document, .. } = &*self.0;
                tracing::warn!(%idp, document, %error, "a provider's document could not be fetched");
                (Some(Arc::new(error)), retry_after.map(|pause| pause.clamp(RETRY_AFTER, LONGEST_PAUSE)))
            }
        };
        self.0.failure.write().unwrap_or_else(PoisonError::into_inner).clone_from(&attempts.last_error);
        // Noted at its end, so that a slow fetch does not make the next one due at once.
        attempts.last = Some(clock.now());
    }

    fn outcome(&self, attempts: &Attempts, now: OffsetDateTime) -> Result<Arc<T>, Arc<HttpError>> {
        let error = || attempts.last_error.clone().unwrap_or_else(|| Arc::new(HttpError::Timeout));
        self.known().filter(|_| self.is_younger_than(KEPT_FOR, now)).ok_or_else(error)
    }

    fn keep(&self, Fetched { document, max_age }: Fetched<T>, fetched_at: OffsetDateTime) {
        let Lifetimes { unless_said, shortest, longest, .. } = self.0.lifetimes;
        let fresh_for = max_age.map_or(unless_said, |said| said.clamp(shortest, longest));
        let good = Good { document: Arc::new(document), fetched_at, fresh_for };
        *self.0.good.write().unwrap_or_else(PoisonError::into_inner) = Some(good);
    }

    fn is_fresh(&self, now: OffsetDateTime) -> bool {
        let good = self.0.good.read().unwrap_or_else(PoisonError::into_inner);
        good.as_ref().is_some_and(|good| (now - good.fetched_at).abs() < good.fresh_for)
    }

    fn is_younger_than(&self, age: Duration, now: OffsetDateTime) -> bool {
        let good = self.0.good.read().unwrap_or_else(PoisonError::into_inner);
        good.as_ref().is_some_and(|good| (now - good.fetched_at).abs() < age)
    }
}

/// Makes the error of the rate limit: the document was fetched a moment ago for a similar request, and lacks what is
/// looked for.
pub(crate) fn asked_just_now() -> HttpError {
    HttpError::AskedJustNow { again_in: REFETCH_AFTER.whole_seconds().unsigned_abs() }
}

/// Finishes the work although the caller may go away.
async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, Arc<HttpError>>> + Send + 'static,
) -> Result<T, Arc<HttpError>> {
    // Only a panic or the end of the process leaves no result.
    tokio::spawn(work).await.unwrap_or_else(|_| Err(Arc::new(HttpError::Timeout)))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use time::macros::datetime;

    use super::*;
    use counterfoil_core::clock::{Clock, ManualClock};

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

        async fn answers(self: Arc<Self>, answer: Result<u32, HttpError>) -> Result<Fetched<u32>, FetchFailure> {
            let answer = answer.map(|document| Fetched { document, max_age: None }).map_err(FetchFailure::from);
            self.answers_with(answer).await
        }

        async fn answers_with(
            self: Arc<Self>,
            answer: Result<Fetched<u32>, FetchFailure>,
        ) -> Result<Fetched<u32>, FetchFailure> {
            self.count.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            answer
        }

        fn fetches(&self) -> u32 {
            self.count.load(Ordering::Relaxed)
        }
    }

    const LIFETIMES: Lifetimes = Lifetimes {
        unless_said: Duration::HOUR,
        shortest: Duration::MINUTE,
        longest: Duration::hours(6),
        usable: Duration::DAY,
    };

    fn empty() -> CachedDocument<u32> {
        CachedDocument::new(LIFETIMES, "company", "metadata")
    }

    /// Makes a document that was just fetched.
    fn holding(document: u32, source: &Source) -> CachedDocument<u32> {
        let held = empty();
        held.keep(Fetched { document, max_age: None }, source.clock.now());
        held
    }

    /// Lets what was spawned run.
    async fn settle() {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_fresh_document_is_not_fetched_and_an_old_one_survives_a_failure() {
        let (document, source) = (empty(), Source::new());
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
    async fn a_stale_document_answers_for_a_day_while_it_is_fetched_again() {
        let source = Source::new();
        let document = holding(1, &source);
        source.clock.advance(Duration::hours(2));
        let never = std::future::pending::<Result<Fetched<u32>, FetchFailure>>();
        assert_eq!(*document.current(&source.clock(), never).await.unwrap(), 1);
        settle().await;
        let next = document.current(&source.clock(), source.clone().answers(Ok(2))).await;
        assert_eq!((*next.unwrap(), document.known()), (1, Some(Arc::new(1))));

        let source = Source::new();
        let document = holding(1, &source);
        source.clock.advance(Duration::days(2));
        assert_eq!(*document.current(&source.clock(), source.clone().answers(Ok(2))).await.unwrap(), 2);
    }

    /// Returns the document after a refetch, or the error of the rate limit.
    async fn refetched(
        document: &CachedDocument<u32>,
        by: AskedBy,
        source: &Arc<Source>,
        answer: Result<u32, HttpError>,
    ) -> Result<u32, Arc<HttpError>> {
        let seen = document.known().unwrap();
        match document.refetched(by, &seen, &source.clock(), source.clone().answers(answer)).await? {
            Refetched::Anew(document) | Refetched::Meanwhile(document) => Ok(*document),
        }
    }

    /// R-D05: the limit holds after a failure as well, and callers are told of the failure.
    #[tokio::test]
    async fn a_thousand_refetches_make_one_attempt_per_window() {
        let source = Source::new();
        let document = holding(1, &source);
        for _ in 0..1_000 {
            assert!(refetched(&document, AskedBy::Anybody, &source, Err(HttpError::Timeout)).await.is_err());
        }
        assert_eq!((source.fetches(), document.known()), (1, Some(Arc::new(1))));
        source.clock.advance(REFETCH_AFTER);
        assert_eq!(refetched(&document, AskedBy::Anybody, &source, Ok(2)).await.unwrap(), 2);
        let too_soon = refetched(&document, AskedBy::Anybody, &source, Ok(3)).await.unwrap_err();
        assert!(matches!(*too_soon, HttpError::AskedJustNow { again_in: 10 }), "{too_soon}");
        assert_eq!(source.fetches(), 2);
    }

    /// R-D05: a caller that saw the document before it was fetched for another looks again.
    #[tokio::test]
    async fn unauthenticated_callers_use_up_no_fetch_of_the_provider() {
        let source = Source::new();
        let document = holding(1, &source);
        let seen = document.known().unwrap();
        assert_eq!(refetched(&document, AskedBy::Anybody, &source, Ok(2)).await.unwrap(), 2);
        let late = document.refetched(AskedBy::Anybody, &seen, &source.clock(), source.clone().answers(Ok(3))).await;
        assert!(matches!(late, Ok(Refetched::Meanwhile(document)) if *document == 2));
        assert_eq!(refetched(&document, AskedBy::Provider, &source, Ok(3)).await.unwrap(), 3);
        assert!(refetched(&document, AskedBy::Provider, &source, Ok(4)).await.is_err());
        assert_eq!(source.fetches(), 2);
    }

    /// R-D05, R-P02: a caller that goes away neither evades the least interval nor wastes the attempt.
    #[tokio::test]
    async fn a_cancelled_caller_neither_stops_a_fetch_nor_causes_another() {
        let source = Source::new();
        let document = holding(1, &source);
        let (clock, seen) = (source.clock(), document.known().unwrap());
        for _ in 0..10 {
            let refetched = document.refetched(AskedBy::Anybody, &seen, &clock, source.clone().answers(Ok(2)));
            assert!(futures_util::future::poll_immediate(refetched).await.is_none());
            settle().await;
        }
        assert_eq!((source.fetches(), document.known()), (1, Some(Arc::new(2))));
    }

    /// R-F04: one line a case: what the provider says, in seconds, and for how many the document is not asked for
    /// again. Found by saying nothing, nothing sensible, too little and too much.
    #[tokio::test]
    async fn a_document_is_as_fresh_as_the_provider_says_within_bounds() {
        for (said, fresh) in [
            (None, 3_600),
            (Some(0), 60),
            (Some(59), 60),
            (Some(300), 300),
            (Some(21_600), 21_600),
            (Some(31_536_000), 21_600),
            (Some(-1), 60),
        ] {
            let source = Source::new();
            let document = empty();
            let max_age = said.map(Duration::seconds);
            document.keep(Fetched { document: 1, max_age }, source.clock.now());
            source.clock.advance(Duration::seconds(fresh - 1));
            document.current(&source.clock(), source.clone().answers(Ok(2))).await.unwrap();
            settle().await;
            assert_eq!(source.fetches(), 0, "{said:?}");
            source.clock.advance(Duration::SECOND);
            document.current(&source.clock(), source.clone().answers(Ok(2))).await.unwrap();
            settle().await;
            assert_eq!(source.fetches(), 1, "{said:?}");
        }
    }

    /// R-P02: one line a case: the `Retry-After` of the provider and the backoff that follows, in seconds.
    #[tokio::test]
    async fn retry_after_is_respected_within_bounds() {
        for (said, pause) in [(None, 2), (Some(0), 2), (Some(1), 2), (Some(30), 30), (Some(86_400), 300)] {
            let (document, source) = (empty(), Source::new());
            let retry_after = said.map(Duration::seconds);
            let busy = || FetchFailure { error: HttpError::status(429), retry_after };
            let ask = async || {
                let answer = source.clone().answers_with(Err(busy()));
                assert!(document.current(&source.clock(), answer).await.is_err());
                source.fetches()
            };
            assert_eq!(ask().await, 1);
            source.clock.advance(Duration::seconds(pause - 1));
            assert_eq!(ask().await, 1, "{said:?}");
            source.clock.advance(Duration::SECOND);
            assert_eq!(ask().await, 2, "{said:?}");
        }
        // A missing part causes no fetch during the backoff; an order to renew does.
        let source = Source::new();
        let document = holding(1, &source);
        let busy = FetchFailure { error: HttpError::status(503), retry_after: Some(Duration::seconds(60)) };
        document.renew(&source.clock(), source.clone().answers_with(Err(busy))).await;
        source.clock.advance(Duration::seconds(59));
        assert!(refetched(&document, AskedBy::Provider, &source, Ok(2)).await.is_err());
        assert_eq!(source.fetches(), 1);
        // A health check waits for the end of the backoff too.
        let look = async || {
            document.fetch_now_and_then(&source.clock(), Duration::seconds(30), source.clone().answers(Ok(2)));
            settle().await;
            source.fetches()
        };
        assert_eq!(look().await, 1);
        document.renew(&source.clock(), source.clone().answers(Ok(2))).await;
        assert_eq!((source.fetches(), document.known()), (2, Some(Arc::new(2))));
        source.clock.advance(Duration::seconds(30));
        assert_eq!(look().await, 3);
    }

    /// R-F04
    #[tokio::test]
    async fn a_document_that_cannot_be_fetched_again_counts_for_a_week_and_no_longer() {
        let source = Source::new();
        let document = holding(1, &source);
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
    async fn a_failure_is_cached_until_the_next_attempt_is_due() {
        let (document, source) = (empty(), Source::new());
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
