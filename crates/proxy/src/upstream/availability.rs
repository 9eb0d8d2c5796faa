//! The health of one of several upstreams: which of them a request may go to.
//!
//! Pure: time comes by parameter. Passive health counts requests that failed: whoever fails is out for 5 s, then for twice as
//! long each time, up to a minute; after that one request at a time tries it, and one that succeeds lets it back. Active
//! health counts checks: `fall` failures in a row take it out, `rise` successes let it back.

use std::time::Duration;

use tokio::time::Instant;

/// First time for which an upstream that failed gets no requests.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// Longest such time.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// The state of one upstream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Availability {
    /// Set while requests fail.
    pause: Option<Pause>,
    /// Set while checks say that it is down.
    is_down: bool,
    /// Checks in a row that say otherwise.
    contrary: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pause {
    until: Instant,
    length: Duration,
    /// Set once it is over and a request tries the upstream.
    is_tried: bool,
}

/// A change that is to be logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// It gets no more requests.
    Out,
    /// It gets requests again.
    Back,
}

impl Availability {
    /// Is true if a request may go there. Once the pause is over, that is so for one request in each further 5 s.
    pub(super) fn may_take(&mut self, now: Instant) -> bool {
        match &mut self.pause {
            _ if self.is_down => false,
            None => true,
            Some(pause) if now < pause.until => false,
            Some(pause) => {
                // The client may give up before there is an outcome.
                (pause.until, pause.is_tried) = (now + FIRST_PAUSE, true);
                true
            }
        }
    }

    /// Takes note of a request that was answered.
    pub(super) fn answered(&mut self) -> Option<Change> {
        self.pause.take().filter(|_| !self.is_down).map(|_| Change::Back)
    }

    /// Takes note of a request that was not answered.
    pub(super) fn failed(&mut self, now: Instant) -> Option<Change> {
        let (length, change) = match self.pause {
            None => (FIRST_PAUSE, Some(Change::Out).filter(|_| !self.is_down)),
            Some(pause) if pause.is_tried => ((pause.length * 2).min(LONGEST_PAUSE), None),
            // One that was under way when it went out says nothing new.
            Some(_) => return None,
        };
        self.pause = Some(Pause { until: now + length, length, is_tried: false });
        change
    }

    /// Takes note of a check.
    pub(super) fn checked(&mut self, is_good: bool, fall: u64, rise: u64) -> Option<Change> {
        if is_good != self.is_down {
            self.contrary = 0;
            return None;
        }
        self.contrary += 1;
        if self.contrary < if self.is_down { rise } else { fall } {
            return None;
        }
        (self.is_down, self.contrary) = (!self.is_down, 0);
        if !self.is_down {
            // Good checks outweigh what failed before them.
            self.pause = None;
        }
        Some(if self.is_down { Change::Out } else { Change::Back })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_upstream_that_fails_is_out_for_growing_pauses_and_back_with_the_first_answer() {
        let mut state = Availability::default();
        let mut now = Instant::now();
        assert!(state.may_take(now));
        assert_eq!(state.failed(now), Some(Change::Out));
        assert_eq!(state.failed(now), None, "what was under way with it");
        for pause in [5, 10, 20, 40, 60, 60] {
            assert!(!state.may_take(now + SECOND * pause - SECOND), "{pause}");
            now += SECOND * pause;
            assert!(state.may_take(now), "{pause}");
            assert!(!state.may_take(now), "one at a time");
            assert_eq!(state.failed(now), None);
        }
        now += SECOND * 60;
        assert!(state.may_take(now));
        assert_eq!(state.answered(), Some(Change::Back));
        assert!(state.may_take(now) && state.may_take(now));
        assert_eq!(state.answered(), None);
        assert_eq!(state.failed(now), Some(Change::Out));
        assert!(!state.may_take(now + SECOND * 4) && state.may_take(now + SECOND * 5), "pauses begin anew");
    }

    /// A client that gives up is no outcome: the next one tries.
    #[test]
    fn a_try_without_an_outcome_is_followed_by_another() {
        let mut state = Availability::default();
        let now = Instant::now();
        state.failed(now);
        assert!(state.may_take(now + SECOND * 5));
        assert!(!state.may_take(now + SECOND * 9));
        assert!(state.may_take(now + SECOND * 10));
    }

    #[test]
    fn checks_take_an_upstream_out_and_let_it_back_after_several_in_a_row() {
        let mut state = Availability::default();
        let now = Instant::now();
        let mut checked = |good: &[bool]| good.iter().map(|good| state.checked(*good, 3, 2)).collect::<Vec<_>>();
        assert_eq!(checked(&[false, false, true, false, false]), [None; 5]);
        assert_eq!(checked(&[false]), [Some(Change::Out)]);
        assert_eq!(checked(&[false, true, false, true]), [None; 4]);
        assert!(!state.may_take(now));
        // Requests that went there all the same change nothing.
        assert_eq!((state.failed(now), state.answered(), state.may_take(now)), (None, None, false));
        state.failed(now);
        assert_eq!(state.checked(true, 3, 2), Some(Change::Back));
        assert!(state.may_take(now));
    }
}
