//! What a connection is at, as its stream and its requests tell, and until when its client is waited for. No I/O.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Longest wait for a request's head, from its first byte on; and for the first byte of a new connection.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(15);

/// What a connection is at.
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

/// What is known of a connection, for everybody who has a part in it.
#[derive(Debug)]
pub(super) struct Progress {
    keep_alive: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    stage: Stage,
    /// A request was answered although its body had not come to its end.
    cut_short: bool,
}

impl Progress {
    /// A connection that was just accepted.
    pub(super) fn new(keep_alive: Duration, now: Instant) -> Self {
        Self { keep_alive, state: Mutex::new(State { stage: Stage::New { since: now }, cut_short: false }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is whole before anything could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of bytes from the client.
    pub(super) fn received(&self, now: Instant) {
        let mut state = self.state();
        if matches!(state.stage, Stage::New { .. } | Stage::Idle { .. }) {
            state.stage = Stage::Head { since: now };
        }
    }

    /// Takes note of bytes that the client let go: an answer that is still being written is no idleness.
    pub(super) fn sent(&self, now: Instant) {
        if let Stage::Idle { since } = &mut self.state().stage {
            *since = now;
        }
    }

    /// Takes note of a request whose head is there.
    pub(super) fn request_began(&self) {
        let mut state = self.state();
        state.stage = match state.stage {
            Stage::Busy { requests } => Stage::Busy { requests: requests + 1 },
            _ => Stage::Busy { requests: 1 },
        };
    }

    /// Takes note of a body that nobody wants the rest of.
    pub(super) fn body_cut_short(&self) {
        self.state().cut_short = true;
    }

    /// Takes note of an answer that is complete.
    pub(super) fn answered(&self, now: Instant) {
        let mut state = self.state();
        state.stage = match state.stage {
            Stage::Busy { requests: requests @ 2.. } => Stage::Busy { requests: requests - 1 },
            _ => Stage::Idle { since: now },
        };
    }

    /// Until when to wait for the client's next byte.
    pub(super) fn read_deadline(&self) -> Option<Instant> {
        match self.state().stage {
            Stage::New { since } | Stage::Head { since } => Some(since + HEAD_TIMEOUT),
            Stage::Idle { since } => Some(since + self.keep_alive),
            Stage::Busy { .. } => None,
        }
    }

    /// Since when the connection has done nothing for anybody.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        match self.state().stage {
            Stage::New { since } | Stage::Idle { since } => Some(since),
            Stage::Head { .. } | Stage::Busy { .. } => None,
        }
    }

    /// Whether a head was being read when the connection ended.
    pub(super) fn is_in_a_head(&self) -> bool {
        matches!(self.state().stage, Stage::Head { .. })
    }

    /// Whether the client may be in the middle of sending what nobody reads: closing then would make its system throw
    /// our answer away (RFC 9112 9.6).
    pub(super) fn may_be_sending(&self) -> bool {
        let state = self.state();
        state.cut_short || matches!(state.stage, Stage::Head { .. })
    }

    /// Whether the rest of a body is to be thrown away.
    pub(super) fn is_cut_short(&self) -> bool {
        self.state().cut_short
    }
}

#[cfg(test)]
mod tests {
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
        let seconds = || progress.read_deadline().map(|deadline| (deadline - began).as_secs());
        assert_eq!(seconds(), Some(15), "a connection that says nothing");
        progress.received(at(began, 10));
        assert_eq!(seconds(), Some(25), "its first byte");
        progress.received(at(began, 20));
        assert_eq!(seconds(), Some(25), "a trickle of bytes gains nothing");
        progress.request_began();
        assert_eq!((seconds(), progress.idle_since()), (None, None));
        progress.received(at(began, 30));
        assert_eq!(seconds(), None, "bytes of the body");
        progress.answered(at(began, 40));
        assert_eq!(seconds(), Some(115), "idle");
        progress.sent(at(began, 50));
        assert_eq!(seconds(), Some(125), "the end of the answer is still being written");
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
        assert_eq!(progress.idle_since(), None);
        progress.answered(began);
        assert_eq!(progress.idle_since(), Some(began));
    }

    #[test]
    fn whoever_may_be_sending_is_heard_out() {
        let began = Instant::now();
        let progress = Progress::new(KEEP_ALIVE, began);
        assert!(!progress.may_be_sending(), "it sent nothing yet");
        progress.received(began);
        assert!(progress.may_be_sending(), "a head that is refused");
        progress.request_began();
        assert!(!progress.may_be_sending());
        progress.body_cut_short();
        progress.answered(began);
        assert!(progress.may_be_sending() && progress.is_cut_short());
    }
}
