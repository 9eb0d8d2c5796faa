//! The refresh lock: one renewal of a session at a time among all replicas (R-C11).
//!
//! Single-flight within this process by a queue for each session; among the replicas by a lease in the store.
//! Double-checked: after waiting for the lock the session is read again, since another holder has mostly renewed it by
//! then. The work, and what is stored of it, belongs to [`super::renewal`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration as StdDuration, Instant};

use counterfoil_core::unix_millis::UnixMillis;

use super::key::{SessionHandle, SessionKey};
use super::lease::LeaseRequest;
use super::record::SessionRecord;
use super::renewal::{LockedSession, backoff_key};
use super::sessions::Sessions;
use super::store::{InvalidationListener, KeyValue, StoreError};

/// Interval between two looks at whether renewals are under way.
const LOOK_INTERVAL: StdDuration = StdDuration::from_millis(20);

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
        counterfoil_core::lock(&self.0)
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
    /// Does `work` on a session under its refresh lock, held here and among all replicas, if it still `is_due` once the
    /// lock is acquired. Waits at most `patience` for the lock. Work that was begun is finished even if the caller goes
    /// away.
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
            tokio::time::sleep(LOOK_INTERVAL).await;
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
        let mut request = LeaseRequest::new(self.0.store.clone(), name, patience);
        let lease = loop {
            match self.0.known(key).await? {
                Some(known) if is_due(&known.record) => {}
                _ => return Ok(Locked::NotNeeded),
            }
            if let Some(lease) = request.attempt().await? {
                break lease;
            }
        };
        lease.hold(self.work_on(key, is_due, work)).await
    }

    async fn work_on<T, Done: Future<Output = T>>(
        &self,
        key: &SessionKey,
        is_due: impl Fn(&SessionRecord) -> bool,
        work: impl FnOnce(LockedSession) -> Done,
    ) -> Result<Locked<T>, StoreError> {
        // The store is read: the near cache may be older than the work of the lock's last holder.
        let Some((record, tokens)) = self.0.sealed.load_whole(key).await? else { return Ok(Locked::NotNeeded) };
        if !is_due(&record) {
            self.0.near.invalidate(key.handle());
            return Ok(Locked::NotNeeded);
        }
        let now = UnixMillis::from(self.0.clock.now());
        if self.rests_until(key.handle()).await?.is_some_and(|until| now < until) {
            return Ok(Locked::BackingOff { unconfirmed: record.unconfirmed });
        }
        let asked = self.0.orders().await?.newest;
        let renewing = LockedSession::new(self.clone(), key.clone(), record, tokens, asked);
        Ok(Locked::Done(work(renewing).await))
    }

    async fn rests_until(&self, handle: SessionHandle) -> Result<Option<UnixMillis>, StoreError> {
        let Some(value) = self.0.store.get(&backoff_key(handle)).await? else { return Ok(None) };
        Ok(std::str::from_utf8(&value).ok().and_then(|text| text.parse().ok()).map(UnixMillis))
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
