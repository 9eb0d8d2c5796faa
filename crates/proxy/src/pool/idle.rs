//! The idle connections to one upstream: the last one used is the next one used, so that those that are not needed grow
//! old and close.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use http::Uri;
use hyper::client::conn::http1::SendRequest;
use tokio::time::Instant;

use super::{Content, Lent};
use counterfoil_core::lock;

/// The bounds of the idle connections to one upstream.
#[derive(Debug, Clone, Copy)]
pub struct PoolLimits {
    /// Longest time that a connection is kept for the next request.
    pub idle: Duration,
    /// Greatest age of a connection that takes another request: names are resolved anew for the next one.
    pub age: Duration,
    /// Most idle connections.
    pub most_idle: usize,
}

impl Default for PoolLimits {
    /// Idle for 4 s, less than the 5 s after which common application servers close; 5 minutes old; 512.
    fn default() -> Self {
        Self { idle: Duration::from_secs(4), age: Duration::from_mins(5), most_idle: 512 }
    }
}

/// A connection without a request on it.
#[derive(Debug)]
pub(super) struct Idle {
    pub(super) sender: SendRequest<Content>,
    pub(super) connected_at: Instant,
    pub(super) since: Instant,
}

/// The idle connections to one upstream.
#[derive(Debug)]
pub(super) struct IdleConnections {
    upstream: Uri,
    limits: PoolLimits,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The longest idle one first.
    idle: Vec<Idle>,
    /// Set while a task closes those that are kept for too long.
    is_swept: bool,
}

/// The next step with an idle connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It takes a request.
    Use,
    /// Its last exchange is about to end.
    Wait,
    /// It ended, or is kept for too long.
    Close,
}

impl Idle {
    fn fate(&self, limits: PoolLimits, now: Instant) -> Fate {
        if self.sender.is_closed() || now >= self.expires_at(limits) {
            Fate::Close
        } else if self.sender.is_ready() {
            Fate::Use
        } else {
            Fate::Wait
        }
    }

    fn expires_at(&self, limits: PoolLimits) -> Instant {
        (self.since + limits.idle).min(self.connected_at + limits.age)
    }
}

impl IdleConnections {
    pub(super) fn new(upstream: Uri, limits: PoolLimits) -> Self {
        Self { upstream, limits, state: Mutex::default() }
    }

    pub(super) fn upstream(&self) -> &Uri {
        &self.upstream
    }

    /// Takes the connection that was used last, of those that still can be.
    pub(super) fn take(self: &Arc<Self>, now: Instant) -> Option<Lent> {
        let mut state = self.lock();
        for place in (0..state.idle.len()).rev() {
            match state.idle[place].fate(self.limits, now) {
                Fate::Use => {
                    let Idle { sender, connected_at, .. } = state.idle.remove(place);
                    return Some(Lent { sender, connected_at, home: self.clone() });
                }
                Fate::Wait => {}
                Fate::Close => drop(state.idle.remove(place)),
            }
        }
        None
    }

    /// Keeps a connection for the next request, if there is room for it.
    pub(super) fn put(self: &Arc<Self>, idle: Idle) {
        let mut state = self.lock();
        if idle.fate(self.limits, idle.since) == Fate::Close || state.idle.len() >= self.limits.most_idle {
            return;
        }
        state.idle.push(idle);
        if !mem::replace(&mut state.is_swept, true) {
            tokio::spawn(sweep(Arc::downgrade(self), self.limits.idle));
        }
    }

    /// Closes the connections that are kept for too long, and says when to look again; never, if none is left.
    fn close_expired(&self, now: Instant) -> Option<Instant> {
        let mut state = self.lock();
        state.idle.retain(|idle| idle.fate(self.limits, now) != Fate::Close);
        let next = state.idle.iter().map(|idle| idle.expires_at(self.limits)).min();
        state.is_swept = next.is_some();
        next
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// Closes connections as they reach their limits, until there are none.
async fn sweep(connections: Weak<IdleConnections>, first: Duration) {
    let mut next = Some(Instant::now() + first);
    while let Some(moment) = next {
        tokio::time::sleep_until(moment).await;
        next = connections.upgrade().and_then(|connections| connections.close_expired(Instant::now()));
    }
}
