//! The stage of a connection, as its stream and its requests tell, and the deadline of its client. No I/O.

use std::sync::{Mutex, MutexGuard};
use std::task::Waker;
use std::time::Duration;

use counterfoil_core::lock;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Longest wait for a request's head, from its first byte on; and for the first byte of a new connection.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(15);

/// The time that a new connection is given to say something before it counts as idle.
const NEWCOMERS_TIME: Duration = Duration::from_secs(1);

/// The stage of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing was ever received.
    New { since: Instant },
    /// No request is under way.
    Idle { since: Instant },
    /// A request has begun to arrive.
    Head { since: Instant },
    /// Requests are under way; their bodies have limits of their own.
    Busy { requests: usize },
}

/// The state of a connection, for everybody who has a part in it.
#[derive(Debug)]
pub(super) struct Progress {
    keep_alive: Duration,
    /// Tells the connection to end as soon as its request is answered.
    pub(super) leave: Notify,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    stage: Stage,
    /// The number of requests so far.
    requests: u64,
    /// The latest request's body was dropped before its end.
    cut_short: bool,
    /// No further request is read.
    closing: bool,
    /// The client has not yet read what it was sent.
    write_pending: bool,
    /// The task that waits for the client's next byte without a deadline.
    reader: Option<Waker>,
}

impl State {
    fn read_deadline(&self, keep_alive: Duration) -> Option<Instant> {
        match self.stage {
            Stage::New { since } | Stage::Head { since } => Some(since + HEAD_TIMEOUT),
            Stage::Idle { since } if !self.write_pending => Some(since + keep_alive),
            Stage::Idle { .. } | Stage::Busy { .. } => None,
        }
    }
}

impl Progress {
    /// A connection that was just accepted.
    pub(super) fn new(keep_alive: Duration, now: Instant) -> Self {
        let state = State {
            stage: Stage::New { since: now },
            requests: 0,
            cut_short: false,
            closing: false,
            write_pending: false,
            reader: None,
        };
        Self { keep_alive, leave: Notify::new(), state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is whole before anything could panic.
        lock(&self.state)
    }

    /// Takes note of bytes from the client.
    pub(super) fn received(&self, now: Instant) {
        let mut state = self.state();
        if matches!(state.stage, Stage::New { .. } | Stage::Idle { .. }) {
            state.stage = Stage::Head { since: now };
        }
    }

    /// Takes note of bytes that the client does not take yet: a connection whose answer is still being written is not
    /// idle.
    pub(super) fn write_waits(&self) {
        self.state().write_pending = true;
    }

    /// Is true if the client has not yet taken all that was written.
    pub(super) fn has_unsent(&self) -> bool {
        self.state().write_pending
    }

    /// Takes note of bytes that the client let go.
    pub(super) fn sent(&self, now: Instant) {
        let mut state = self.state();
        state.write_pending = false;
        if let Stage::Idle { since } = &mut state.stage {
            *since = now;
            wake(state);
        }
    }

    /// Takes note of a request whose head is there; returns its number.
    pub(super) fn request_began(&self) -> u64 {
        let mut state = self.state();
        state.requests += 1;
        state.cut_short = false;
        state.stage = match state.stage {
            Stage::Busy { requests } => Stage::Busy { requests: requests + 1 },
            _ => Stage::Busy { requests: 1 },
        };
        state.requests
    }

    /// Takes note of a request's body that nobody wants the rest of. Once the next request is there, that rest has gone.
    pub(super) fn body_cut_short(&self, request: u64) {
        let mut state = self.state();
        state.cut_short |= request == state.requests;
    }

    /// Takes note that HTTP was told to end the connection after the request that is under way.
    pub(super) fn no_request_follows(&self) {
        self.state().closing = true;
    }

    /// Takes note of an answer that is complete.
    pub(super) fn answered(&self, now: Instant) {
        let mut state = self.state();
        state.stage = match state.stage {
            Stage::Busy { requests: requests @ 2.. } => Stage::Busy { requests: requests - 1 },
            _ => Stage::Idle { since: now },
        };
        if matches!(state.stage, Stage::Idle { .. }) {
            wake(state);
        }
    }

    /// The deadline of the client's next byte; if there is none yet, `reader` is woken as soon as there is.
    pub(super) fn read_deadline(&self, reader: &Waker) -> Option<Instant> {
        let mut state = self.state();
        let deadline = state.read_deadline(self.keep_alive);
        state.reader = deadline.is_none().then(|| reader.clone());
        deadline
    }

    /// The moment since which the connection is idle; `None` while it is in use.
    pub(super) fn idle_since(&self, now: Instant) -> Option<Instant> {
        let state = self.state();
        match state.stage {
            Stage::New { since } => Some(since).filter(|since| now >= *since + NEWCOMERS_TIME),
            Stage::Idle { since } => Some(since).filter(|_| !state.write_pending),
            Stage::Head { .. } | Stage::Busy { .. } => None,
        }
    }

    /// Is true if a head was being read when the connection ended.
    pub(super) fn is_in_a_head(&self) -> bool {
        matches!(self.state().stage, Stage::Head { .. })
    }

    /// Is true if the client may be in the middle of sending bytes that nobody reads: closing then would make its
    /// system throw our answer away (RFC 9112 9.6).
    pub(super) fn may_be_sending(&self) -> bool {
        let state = self.state();
        state.cut_short || matches!(state.stage, Stage::Head { .. })
    }

    /// Is true if the client may be sending a body that nobody wants, while it does not read. Then the connection is
    /// asked to leave: which bytes are to be thrown away is known only once no further request is read.
    pub(super) fn may_discard(&self) -> bool {
        let state = self.state();
        if state.cut_short && !state.closing {
            self.leave.notify_one();
        }
        state.cut_short && state.closing
    }
}

/// Wakes whoever waits for the client's next byte, since there is an end to it now.
fn wake(mut state: MutexGuard<'_, State>) {
    let reader = state.reader.take();
    drop(state);
    if let Some(reader) = reader {
        reader.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use futures_util::FutureExt;
    use futures_util::task::noop_waker;

    use super::*;

    const KEEP_ALIVE: Duration = Duration::from_secs(75);

    fn at(began: Instant, seconds: u64) -> Instant {
        began + Duration::from_secs(seconds)
    }

    /// The whole life of a connection, with what it may still take at each step.
    #[test]
    fn a_head_is_hurried_an_idle_connection_is_kept_and_a_busy_one_is_left_alone() {
        let began = Instant::now();
        let progress = Progress::new(KEEP_ALIVE, began);
        let seconds = || progress.read_deadline(&noop_waker()).map(|deadline| (deadline - began).as_secs());
        assert_eq!(seconds(), Some(15), "a connection that says nothing");
        progress.received(at(began, 10));
        assert_eq!(seconds(), Some(25), "its first byte");
        progress.received(at(began, 20));
        assert_eq!(seconds(), Some(25), "a trickle of bytes gains nothing");
        progress.request_began();
        assert_eq!((seconds(), progress.idle_since(began)), (None, None));
        progress.received(at(began, 30));
        assert_eq!(seconds(), None, "bytes of the body");
        progress.answered(at(began, 40));
        assert_eq!(seconds(), Some(115), "idle");
        progress.write_waits();
        assert_eq!(
            (seconds(), progress.idle_since(began)),
            (None, None),
            "the end of the answer is still being written"
        );
        progress.sent(at(began, 50));
        assert_eq!(seconds(), Some(125), "it is read");
        progress.received(at(began, 120));
        assert_eq!(seconds(), Some(135), "the next request");
    }

    #[test]
    fn a_connection_with_several_requests_is_busy_until_the_last_is_answered() {
        let began = Instant::now();
        let progress = Progress::new(KEEP_ALIVE, began);
        progress.request_began();
        progress.request_began();
        progress.answered(began);
        assert_eq!(progress.idle_since(began), None);
        progress.answered(began);
        assert_eq!(progress.idle_since(began), Some(began));
    }

    #[test]
    fn a_client_that_may_be_sending_gets_a_lingering_close() {
        let began = Instant::now();
        let progress = Progress::new(KEEP_ALIVE, began);
        assert!(!progress.may_be_sending(), "it sent nothing yet");
        progress.received(began);
        assert!(progress.may_be_sending(), "a head that is refused");
        let request = progress.request_began();
        assert!(!progress.may_be_sending());
        progress.body_cut_short(request);
        progress.answered(began);
        assert!(progress.may_be_sending());
    }

    /// The bytes after a body that was cut short may be the next request, unless HTTP was told to read none.
    #[test]
    fn nothing_of_a_request_is_thrown_away_for_the_sake_of_another() {
        let progress = Progress::new(KEEP_ALIVE, Instant::now());
        let is_asked_to_leave = || progress.leave.notified().now_or_never().is_some();
        let first = progress.request_began();
        progress.body_cut_short(first);
        assert!(!progress.may_discard() && is_asked_to_leave());
        let second = progress.request_began();
        assert!(!progress.may_discard() && !progress.may_be_sending() && !is_asked_to_leave());
        progress.body_cut_short(first);
        assert!(!progress.may_discard() && !progress.may_be_sending(), "a body that is dropped late");
        progress.no_request_follows();
        assert!(!progress.may_discard(), "the request's own body is read");
        progress.body_cut_short(second);
        assert!(progress.may_discard() && !is_asked_to_leave());
    }

    /// HTTP does not look for the next request again after an answer, if it looked before.
    #[test]
    fn a_reader_is_woken_when_a_deadline_is_set() {
        struct Woken(AtomicUsize);
        impl Wake for Woken {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let woken = Arc::new(Woken(AtomicUsize::new(0)));
        let (reader, times) = (Waker::from(woken.clone()), || woken.0.load(Ordering::Relaxed));
        let began = Instant::now();
        let progress = Progress::new(KEEP_ALIVE, began);
        progress.request_began();
        assert_eq!(progress.read_deadline(&reader), None);
        progress.write_waits();
        progress.sent(began);
        assert_eq!(times(), 0, "a piece of the answer");
        progress.answered(began);
        assert_eq!((times(), progress.read_deadline(&reader)), (1, Some(began + KEEP_ALIVE)));
        progress.write_waits();
        assert_eq!(progress.read_deadline(&reader), None);
        progress.sent(at(began, 9));
        assert_eq!((times(), progress.read_deadline(&reader)), (2, Some(at(began, 9) + KEEP_ALIVE)));
    }
}
