//! The sessions with open streams, and their judge: what is told, what is due, and what is asked.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};
use std::time::Duration;

use counterfoil_core::lock;
use counterfoil_core::unix_millis::UnixMillis;
use counterfoil_guard::recheck::Recheck;
use counterfoil_session::key::SessionHandle;
use counterfoil_session::store::InvalidationListener;
use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior};

use super::{End, SWEEP, Stream, StreamLimits, TURNS, TooManyStreams};

/// Most sessions that are asked for at a time.
const MOST_ASKED: usize = 64;
/// Locks that can be held at the same time.
const SHARDS: usize = 16;

/// Every open stream.
#[derive(Debug)]
pub(super) struct Registry {
    limits: StreamLimits,
    count: AtomicUsize,
    shards: [Mutex<HashMap<SessionHandle, SessionStreams>>; SHARDS],
    /// The judge's ear, once it listens.
    judge: OnceLock<Arc<Ear>>,
    /// The time within which all streams end, once the process does.
    pub(super) leaving: watch::Sender<Option<Duration>>,
    /// The streams that ever entered.
    entered: AtomicU32,
}

/// The open streams of a session.
#[derive(Debug)]
struct SessionStreams {
    recheck: Recheck,
    streams: Vec<Arc<Stream>>,
    /// The last moment at which the session is known to have lived.
    confirmed_at: Instant,
    /// Set if the session may have changed since it was judged.
    is_dirty: bool,
    /// Set while somebody asks.
    is_asked: bool,
}

/// The changes that the judge hears of: of single sessions, and of any.
#[derive(Debug)]
struct Ear {
    registry: Weak<Registry>,
    changed: mpsc::UnboundedSender<SessionHandle>,
    all_changed: Notify,
}

impl InvalidationListener for Ear {
    fn invalidate(&self, handle: SessionHandle) {
        if let Some(registry) = self.registry.upgrade() {
            registry.mark(handle, self);
        }
    }

    fn invalidate_log(&self, _log: &str) {
        // An order may mean any session. What is known of the log is void by now, so that all are asked for.
        self.all_changed.notify_one();
    }

    fn invalidate_all(&self) {
        self.all_changed.notify_one();
    }
}

impl SessionStreams {
    /// Takes note of the session as it stands, and ends the streams whose routes refuse it now.
    fn confirm(&mut self, recheck: Recheck, at: Instant) {
        self.confirmed_at = self.confirmed_at.max(at);
        for stream in &self.streams {
            if let Some(kind) = recheck.refused_by(&stream.route) {
                stream.end(End::Refused(kind));
            }
        }
        self.recheck = recheck;
    }

    fn end_all(&self, end: End) {
        self.streams.iter().for_each(|stream| stream.end(end));
    }

    /// Notes the last use by any of the streams.
    fn note_uses(&self) {
        let uses = self.streams.iter().map(|stream| stream.used_at.swap(0, Ordering::Relaxed));
        if let Some(at) = uses.max().filter(|at| *at != 0).and_then(|at| UnixMillis(at).try_into().ok()) {
            self.recheck.touch_at(at);
        }
    }
}

impl Registry {
    pub(super) fn new(limits: StreamLimits) -> Self {
        Self {
            limits,
            count: AtomicUsize::new(0),
            shards: std::array::from_fn(|_| Mutex::default()),
            judge: OnceLock::new(),
            leaving: watch::Sender::new(None),
            entered: AtomicU32::new(0),
        }
    }

    /// The turn of the next stream: all of them have about as many.
    pub(super) fn turn(&self) -> u32 {
        self.entered.fetch_add(1, Ordering::Relaxed) % TURNS
    }

    fn shard(&self, handle: SessionHandle) -> MutexGuard<'_, HashMap<SessionHandle, SessionStreams>> {
        lock(&self.shards[handle.bucket(SHARDS)])
    }

    /// Takes a stream in, and has its session judged.
    pub(super) fn enter(
        self: &Arc<Self>,
        stream: &Arc<Stream>,
        recheck: Option<&Recheck>,
    ) -> Result<(), TooManyStreams> {
        if self.count.fetch_add(1, Ordering::AcqRel) >= self.limits.most {
            self.count.fetch_sub(1, Ordering::AcqRel);
            return Err(TooManyStreams::InAll);
        }
        let Some(recheck) = recheck else { return Ok(()) };
        if self.enter_session(stream, recheck) {
            return Ok(());
        }
        self.count.fetch_sub(1, Ordering::AcqRel);
        Err(TooManyStreams::OfTheSession)
    }

    /// Takes a stream in among those of its session, and has that judged; `false` if the session has as many as it may.
    pub(super) fn enter_session(self: &Arc<Self>, stream: &Arc<Stream>, recheck: &Recheck) -> bool {
        // Listens before the session is judged, so that no change is missed.
        let ear = self.judge.get_or_init(|| listen(self, recheck)).clone();
        let handle = recheck.handle();
        let mut shard = self.shard(handle);
        let known = shard.entry(handle).or_insert_with(|| SessionStreams {
            recheck: recheck.clone(),
            streams: Vec::new(),
            confirmed_at: Instant::now(),
            is_dirty: false,
            is_asked: false,
        });
        let counted = || known.streams.iter().filter(|stream| stream.is_counted).count();
        if stream.is_counted && counted() >= self.limits.per_session {
            return false;
        }
        known.streams.push(stream.clone());
        drop(shard);
        self.mark(handle, &ear);
        true
    }

    pub(super) fn leave(&self, stream: &Arc<Stream>, handle: Option<SessionHandle>) {
        if stream.is_counted {
            self.count.fetch_sub(1, Ordering::AcqRel);
        }
        let Some(handle) = handle else { return };
        let mut shard = self.shard(handle);
        if let Entry::Occupied(mut known) = shard.entry(handle) {
            let is_last = known.get().streams.iter().all(|other| Arc::ptr_eq(other, stream));
            if is_last {
                known.get().note_uses();
                known.remove();
            } else {
                known.get_mut().streams.retain(|other| !Arc::ptr_eq(other, stream));
            }
        }
    }

    /// Has a session judged, if it has streams.
    fn mark(&self, handle: SessionHandle, ear: &Ear) {
        if let Some(known) = self.shard(handle).get_mut(&handle)
            && !std::mem::replace(&mut known.is_dirty, true)
        {
            // Received for as long as there is a registry.
            let _ = ear.changed.send(handle);
        }
    }

    /// Judges every session by what is known. Those that have to be asked for are returned.
    fn sweep(&self) -> Vec<SessionHandle> {
        let mut unknown = Vec::new();
        for shard in &self.shards {
            for (handle, known) in &mut *lock(shard) {
                known.note_uses();
                let now = Instant::now();
                match known.recheck.known().filter(|_| !known.is_dirty) {
                    Some(recheck) => known.confirm(recheck, now),
                    None if now >= known.confirmed_at + self.limits.unheard => known.end_all(End::Unheard),
                    None => unknown.push(*handle),
                }
            }
        }
        unknown
    }

    /// Begins to ask for a session, unless somebody does.
    fn begin_asking(&self, handle: SessionHandle) -> Option<Recheck> {
        let mut shard = self.shard(handle);
        let known = shard.get_mut(&handle).filter(|known| !known.is_asked)?;
        known.is_asked = true;
        // A change from here on is judged anew.
        known.is_dirty = false;
        Some(known.recheck.clone())
    }

    /// Asks for a session, and acts on the answer. A change that was heard of meanwhile is judged with the next sweep at
    /// the latest.
    async fn ask(&self, recheck: Recheck, ear: &Ear) {
        let (handle, began) = (recheck.handle(), Instant::now());
        let answer = recheck.ask().await;
        let mut shard = self.shard(handle);
        let Some(known) = shard.get_mut(&handle) else { return };
        known.is_asked = false;
        match answer {
            Ok(Ok(recheck)) => known.confirm(recheck, began),
            Ok(Err(kind)) => known.end_all(End::Refused(kind)),
            // The next sweep asks again, until the session is not believed any more.
            Err(error) => {
                known.is_dirty = true;
                tracing::debug!(session = %handle, %error, "a session with streams cannot be judged");
                return;
            }
        }
        if known.is_dirty {
            let _ = ear.changed.send(handle);
        }
    }
}

/// Begins to listen, and to judge for as long as there is a registry.
fn listen(registry: &Arc<Registry>, recheck: &Recheck) -> Arc<Ear> {
    let (changed, hears) = mpsc::unbounded_channel();
    let ear = Arc::new(Ear { registry: Arc::downgrade(registry), changed, all_changed: Notify::new() });
    let listener: Weak<Ear> = Arc::downgrade(&ear);
    recheck.subscribe(listener);
    tokio::spawn(judge(Arc::downgrade(registry), Arc::downgrade(&ear), hears));
    ear
}

async fn judge(registry: Weak<Registry>, ear: Weak<Ear>, mut hears: mpsc::UnboundedReceiver<SessionHandle>) {
    let mut tick = tokio::time::interval(SWEEP);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let permits = Arc::new(Semaphore::new(MOST_ASKED));
    loop {
        let Some(all_changed) = ear.upgrade() else { return };
        let changed = tokio::select! {
            changed = hears.recv() => changed,
            () = all_changed.all_changed.notified() => None,
            _ = tick.tick() => None,
        };
        drop(all_changed);
        let (Some(registry), Some(ear)) = (registry.upgrade(), ear.upgrade()) else { return };
        let handles = changed.map_or_else(|| registry.sweep(), |handle| vec![handle]);
        for recheck in handles.into_iter().filter_map(|handle| registry.begin_asking(handle)) {
            let (registry, ear, permits) = (registry.clone(), ear.clone(), permits.clone());
            tokio::spawn(async move {
                // It is never closed.
                let _permit = permits.acquire().await;
                registry.ask(recheck, &ear).await;
            });
        }
    }
}
