//! The streams that are open, by session: each ends when its session does, or its right to its route.
//!
//! - A stream enters first, and its session is judged again then: a revocation in between is not missed.
//! - A change that the store tells of is no end but a reason to judge again; so are, twice a second, the time, the
//!   rules, and a store that is not heard.
//! - A session that could not be judged for longer than [`StreamLimits::unheard`] is not believed any more.
//!
//! `Entered::ended` tells the stream's own task, which alone knows how its protocol says goodbye.

mod registry;

use std::future::poll_fn;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;

use counterfoil_core::unix_millis::UnixMillis;
use counterfoil_guard::recheck::Recheck;
use counterfoil_guard::refusal::RefusalKind;
use counterfoil_guard::route::Route;
use futures_util::task::AtomicWaker;
use http::StatusCode;
use thiserror::Error;

use self::registry::Registry;

/// Interval at which every session with a stream is judged again.
pub(crate) const SWEEP: Duration = Duration::from_millis(500);

/// The turns in which streams end when the process does.
const TURNS: u32 = 64;

/// The bounds of streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamLimits {
    /// Most streams of one session.
    pub per_session: usize,
    /// Most streams in all.
    pub most: usize,
    /// Longest time for which a session is believed that cannot be judged.
    pub unheard: Duration,
}

impl Default for StreamLimits {
    fn default() -> Self {
        Self { per_session: 64, most: 10_000, unheard: Duration::from_secs(10) }
    }
}

/// As many streams are open as may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TooManyStreams {
    /// Of one session.
    #[error("the session has as many streams open as it may (streams.per_session)")]
    OfTheSession,
    /// In all.
    #[error("as many streams are open as may be (streams.most)")]
    InAll,
}

/// The reason why a stream is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// A request for its route would be refused.
    Refused(RefusalKind),
    /// The store could not be asked for too long.
    Unheard,
    /// The process ends.
    Leaving,
}

impl End {
    /// The code of a close frame: of the private range where RFC 6455 7.4 has none that fits.
    pub(crate) fn close_code(self) -> u16 {
        match self {
            Self::Refused(kind) => match kind.status_and_code().0 {
                StatusCode::FORBIDDEN => 4403,
                StatusCode::UNAUTHORIZED => 4401,
                _ => 1013,
            },
            Self::Unheard => 1013,
            Self::Leaving => 1001,
        }
    }

    /// The reason, in the words of the API.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Refused(kind) => kind.status_and_code().1,
            Self::Unheard => RefusalKind::StoreUnavailable.status_and_code().1,
            Self::Leaving => "going_away",
        }
    }
}

/// The streams of one proxy. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Streams(Arc<Registry>);

impl Streams {
    /// No streams yet.
    pub fn new(limits: StreamLimits) -> Self {
        Self(Arc::new(Registry::new(limits)))
    }

    /// Ends every stream, those that enter from now on too, one after the other within so long: clients that come back do not
    /// all come at once.
    pub(crate) fn leave(&self, within: Duration) {
        self.0.leaving.send_replace(Some(within));
    }

    /// Enters a stream that was let pass, of a session or of nobody, and has its session judged once more.
    ///
    /// # Errors
    /// [`TooManyStreams`].
    pub(crate) fn enter(&self, route: Arc<Route>, recheck: Option<&Recheck>) -> Result<Entered, TooManyStreams> {
        let stream = Arc::new(Stream::new(route, self.0.turn(), true));
        self.0.enter(&stream, recheck)?;
        Ok(Entered { registry: self.0.clone(), stream, recheck: recheck.cloned() })
    }

    /// Enters an answer that goes on. Those are as many as there are connections, and bounded by these alone.
    pub(crate) fn enter_answer(&self, route: Arc<Route>, recheck: &Recheck) -> Entered {
        let stream = Arc::new(Stream::new(route, self.0.turn(), false));
        self.0.enter_session(&stream, recheck);
        Entered { registry: self.0.clone(), stream, recheck: Some(recheck.clone()) }
    }
}

/// A stream that is open.
#[derive(Debug)]
pub(crate) struct Stream {
    route: Arc<Route>,
    end: OnceLock<End>,
    waker: AtomicWaker,
    /// [`UnixMillis`] of the last use that was not noted yet; 0 if there is none.
    used_at: AtomicI64,
    /// Its part of the time within which streams end one after the other, in parts of [`TURNS`].
    turn: u32,
    /// Set if it counts among those that are bounded.
    is_counted: bool,
}

impl Stream {
    fn new(route: Arc<Route>, turn: u32, is_counted: bool) -> Self {
        let (end, waker, used_at) = (OnceLock::new(), AtomicWaker::new(), AtomicI64::new(0));
        Self { route, end, waker, used_at, turn, is_counted }
    }

    fn end(&self, end: End) {
        if self.end.set(end).is_ok() {
            self.waker.wake();
        }
    }
}

/// The place of a stream among the others; leaves it when dropped.
#[derive(Debug)]
pub(crate) struct Entered {
    registry: Arc<Registry>,
    stream: Arc<Stream>,
    recheck: Option<Recheck>,
}

impl Entered {
    /// Waits until the session ends, or its right to the route. One task waits at a time.
    pub(crate) async fn ended_by_session(&self) -> End {
        poll_fn(|context| {
            self.stream.waker.register(context.waker());
            self.stream.end.get().map_or(Poll::Pending, |end| Poll::Ready(*end))
        })
        .await
    }

    /// Waits until the stream has to end, for that or because the process does. One task waits at a time.
    pub(crate) async fn ended(&self) -> End {
        let left = async {
            let mut leaving = self.registry.leaving.subscribe();
            // It lasts as long as the registry.
            let within = leaving.wait_for(Option::is_some).await.ok().and_then(|within| *within).unwrap_or_default();
            tokio::time::sleep(within * self.stream.turn / TURNS).await;
            End::Leaving
        };
        tokio::select! {
            biased;
            end = self.ended_by_session() => end,
            end = left => end,
        }
    }

    /// Takes note of a use by the person. The store hears of it with the next sweep.
    pub(crate) fn used(&self) {
        if let Some(recheck) = self.recheck.as_ref().filter(|_| self.stream.route.streams.counts_as_use) {
            self.stream.used_at.store(UnixMillis::from(recheck.now()).0, Ordering::Relaxed);
        }
    }

    /// The session's public name, if there is one.
    pub(crate) fn session(&self) -> Option<String> {
        self.recheck.as_ref().map(|recheck| recheck.handle().to_string())
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.registry.leave(&self.stream, self.recheck.as_ref().map(Recheck::handle));
    }
}
