//! Turns: one renewal of a session at a time among all replicas (R-C11).
//!
//! A turn is a place in a queue in this process, and a lease in the store among the replicas, prolonged while the work
//! takes its time. Those who have waited look again first: somebody else has mostly done it by then. The work, and what
//! is stored of it, is [`super::renewal`]'s.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration as StdDuration, Instant};

use time::{Duration, OffsetDateTime};

use super::key::{SessionHandle, SessionKey};
use super::record::SessionRecord;
use super::renewal::{LockedSession, backoff_key};
use super::sessions::Sessions;
use super::store::{InvalidationListener, StoreError};

/// Lease on a session's turn: so long a process that died keeps the others from renewing it.
const LEASE: Duration = Duration::seconds(4);
/// Interval between two prolongations of the lease: some of them may fail.
const PROLONG_AFTER: StdDuration = StdDuration::from_secs(1);
/// Pauses between two looks at what another replica is doing.
const SHORTEST_PAUSE: StdDuration = StdDuration::from_millis(20);
const LONGEST_PAUSE: StdDuration = StdDuration::from_millis(200);

/// The outcome of asking for a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Locked<T> {
    /// It was this caller's, and this is what came of the work.
    Done(T),
    /// There was nothing left to do: somebody else did it, or the session is over.
    NotNeeded,
    /// An attempt failed a moment ago, here or on another replica.
    BackingOff {
        /// Set if the provider answer was indeterminate.
        unconfirmed: bool,
    },
}

type Queue = Arc<tokio::sync::Mutex<()>>;

/// The queues of those who wait for a session's turn in this process. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct LocalLocks(Arc<Mutex<HashMap<SessionHandle, Queue>>>);

impl LocalLocks {
    fn lock(&self) -> MutexGuard<'_, HashMap<SessionHandle, Queue>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in a queue, which goes with its last.
struct LocalLockGuard {
    queues: LocalLocks,
    handle: SessionHandle,
    /// The queue, until it is left.
    queue: Option<Queue>,
}

impl LocalLockGuard {
    fn enter(queues: &LocalLocks, handle: SessionHandle) -> (Self, Queue) {
        let queue = queues.lock().entry(handle).or_default().clone();
        (Self { queues: queues.clone(), handle, queue: Some(queue.clone()) }, queue)
    }
}

impl Drop for LocalLockGuard {
    fn drop(&mut self) {
        let mut queues = self.queues.lock();
        // The queue is given up before the others are counted, or two who leave at once would each think the other
        // stays.
        drop(self.queue.take());
        if queues.get(&self.handle).is_some_and(|queue| Arc::strong_count(queue) == 1) {
            queues.remove(&self.handle);
        }
    }
}

impl Sessions {
    /// Does `work` on a session while nobody else does, here or on another replica, if it `is_due` by the time it is
    /// this caller's turn. Waits at most `patience` for others. Work that was begun is brought to its end whoever stops
    /// waiting.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be asked, or if the others took longer than `patience`.
    pub async fn with_refresh_lock<T, Done>(
        &self,
        key: &SessionKey,
        patience: StdDuration,
        is_due: impl Fn(&SessionRecord) -> bool + Send + Sync + 'static,
        work: impl FnOnce(LockedSession) -> Done + Send + 'static,
    ) -> Result<Locked<T>, StoreError>
    where
        T: Send + 'static,
        Done: Future<Output = T> + Send,
    {
        let (queued, queue) = LocalLockGuard::enter(&self.0.queues, key.handle());
        let waiting = tokio::time::timeout(patience, queue.lock_owned());
        let turn = waiting.await.map_err(|_| StoreError::LockTimeout)?;
        let (sessions, key) = (self.clone(), key.clone());
        let renewing = tokio::spawn(async move {
            // The order matters: the turn is given up before the place in the queue.
            let _queued = queued;
            let _turn = turn;
            sessions.with_lease(&key, patience, is_due, work).await
        });
        renewing.await.unwrap_or(Err(StoreError::Timeout))
    }

    /// Waits, at most so long, until no renewal is under way here.
    pub async fn finish_refreshes(&self, patience: StdDuration) {
        let begun = Instant::now();
        while begun.elapsed() < patience && !self.0.queues.lock().is_empty() {
            tokio::time::sleep(SHORTEST_PAUSE).await;
        }
    }

    async fn with_lease<T, Done: Future<Output = T>>(
        &self,
        key: &SessionKey,
        patience: StdDuration,
        is_due: impl Fn(&SessionRecord) -> bool,
        work: impl FnOnce(LockedSession) -> Done,
    ) -> Result<Locked<T>, StoreError> {
        let name = format!("renewal:{}", key.handle());
        let (asked, mut pause) = (Instant::now(), SHORTEST_PAUSE);
        let mut ours_until = loop {
            match self.0.known(key).await? {
                Some(known) if is_due(&known.record) => {}
                _ => return Ok(Locked::NotNeeded),
            }
            let begun = Instant::now();
            if self.put_if_absent(&name, LEASE).await? {
                break begun + LEASE.unsigned_abs();
            }
            if asked.elapsed() > patience {
                return Err(StoreError::LockTimeout);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        };
        let had = tokio::select! {
            had = self.work_on(key, is_due, work) => had,
            never = self.renew_lease(&name, &mut ours_until) => match never {},
        };
        // After that it may be somebody else's.
        if Instant::now() < ours_until
            && let Err(error) = self.0.backend.release_lease(&name).await
        {
            tracing::warn!(%error, "the turn to renew a session could not be given up; it ends by itself");
        }
        had
    }

    async fn work_on<T, Done: Future<Output = T>>(
        &self,
        key: &SessionKey,
        is_due: impl Fn(&SessionRecord) -> bool,
        work: impl FnOnce(LockedSession) -> Done,
    ) -> Result<Locked<T>, StoreError> {
        // The store is asked: what was known here may be older than the turn of whoever had it last.
        let Some((record, tokens, _)) = self.0.sealed.load_whole(key).await? else { return Ok(Locked::NotNeeded) };
        if !is_due(&record) {
            self.0.near.invalidate(key.handle());
            return Ok(Locked::NotNeeded);
        }
        let now = self.0.clock.now();
        if self.rests_until(key.handle()).await?.is_some_and(|until| now < until) {
            return Ok(Locked::BackingOff { unconfirmed: record.unconfirmed });
        }
        let asked = self.0.orders().await?.newest;
        let renewing = LockedSession::new(self.clone(), key.clone(), record, tokens, asked);
        Ok(Locked::Done(work(renewing).await))
    }

    /// Keeps the lease for as long as it is ours.
    async fn renew_lease(&self, name: &str, ours_until: &mut Instant) -> Infallible {
        loop {
            tokio::time::sleep(PROLONG_AFTER).await;
            let begun = Instant::now();
            if begun >= *ours_until {
                // This task slept too long: the turn may be somebody else's, who must not be given our time.
                return std::future::pending().await;
            }
            match self.0.backend.renew_lease(name, LEASE).await {
                Ok(true) => *ours_until = begun + LEASE.unsigned_abs(),
                Ok(false) => *ours_until = begun,
                Err(error) => tracing::warn!(%error, "the turn to renew a session could not be prolonged yet"),
            }
        }
    }

    async fn rests_until(&self, handle: SessionHandle) -> Result<Option<OffsetDateTime>, StoreError> {
        let Some(value) = self.0.backend.get(&backoff_key(handle)).await? else { return Ok(None) };
        let milliseconds = std::str::from_utf8(&value).ok().and_then(|text| text.parse::<i128>().ok());
        Ok(milliseconds.and_then(|number| OffsetDateTime::from_unix_timestamp_nanos(number * 1_000_000).ok()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::thread;

    use super::*;

    /// R-P09: a queue without anybody in it would be waited for at the end of the process.
    #[test]
    fn a_queue_goes_with_its_last_also_if_two_leave_at_once() {
        let (queues, handle) = (LocalLocks::default(), SessionKey::generate().handle());
        for _ in 0..2_000 {
            let leaving = Barrier::new(2);
            thread::scope(|scope| {
                for _ in 0..2 {
                    let (place, _) = LocalLockGuard::enter(&queues, handle);
                    let leaving = &leaving;
                    scope.spawn(move || {
                        leaving.wait();
                        drop(place);
                    });
                }
            });
            assert!(queues.lock().is_empty());
        }
    }
}
