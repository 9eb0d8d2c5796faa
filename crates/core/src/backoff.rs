//! Pauses between attempts (exponential backoff with jitter).
//!
//! Says how long; whoever tries again sleeps.

use std::time::Duration;

use crate::secret::random_bytes;

/// The pauses of one series of attempts: each is up to twice as long as the one before it, and none is longer than the
/// longest.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    /// Starts with `first` and doubles up to `longest`.
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, next: first.min(longest) }
    }

    /// Returns the next pause: between half of it and the whole, by chance, so that those who failed at the same time do
    /// not all try again at the same time.
    pub fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = pause.saturating_mul(2).min(self.longest);
        jittered(pause, u32::from_ne_bytes(random_bytes()))
    }

    /// Begins anew: an attempt succeeded.
    pub fn reset(&mut self) {
        self.next = self.first.min(self.longest);
    }
}

/// Takes off up to half of a pause.
fn jittered(pause: Duration, chance: u32) -> Duration {
    pause.saturating_sub((pause / 2).mul_f64(f64::from(chance) / f64::from(u32::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_anew_after_a_success() {
        let seconds = Duration::from_secs;
        let mut backoff = Backoff::new(seconds(2), seconds(30));
        for expected in [2, 4, 8, 16, 30, 30] {
            let pause = backoff.pause();
            assert!(pause >= seconds(expected) / 2 && pause <= seconds(expected), "{pause:?} of {expected} s");
        }
        backoff.reset();
        assert!(backoff.pause() <= seconds(2));
        assert!(Backoff::new(seconds(9), seconds(3)).pause() <= seconds(3), "the longest counts from the first");
    }

    #[test]
    fn chance_takes_off_up_to_half() {
        let pause = Duration::from_secs(8);
        assert_eq!(jittered(pause, 0), pause);
        assert_eq!(jittered(pause, u32::MAX), pause / 2);
        assert_eq!(jittered(Duration::ZERO, u32::MAX), Duration::ZERO);
    }
}
