//! Sessions for an application that says in code what a broker reads from its configuration.

use std::sync::Arc;
use std::time::Duration as StdDuration;

use counterfoil_core::clock::{SharedClock, SystemClock};
use counterfoil_core::secret::keyring::Keyring;
use time::Duration;

use super::policy::{Binding, OnLimit, SessionRules};
use super::sessions::{NearCacheSettings, Sessions};
use super::store::SessionBackend;
use super::timeout::{LONGEST, Limits, SHORTEST, TimeoutPolicy};

/// Longest time between two uses, unless told otherwise.
const IDLE: StdDuration = StdDuration::from_mins(30);
/// Longest time since the login, unless told otherwise.
const ABSOLUTE: StdDuration = StdDuration::from_hours(12);
/// The near cache, unless told otherwise: some 200 MB when it is full.
const NEAR_CACHE: NearCacheSettings = NearCacheSettings { entries: 100_000, max_age: StdDuration::from_mins(1) };

/// Collects what [`Sessions`] are made of; made by [`Sessions::builder`].
#[derive(Debug)]
pub struct SessionsBuilder {
    backend: Arc<dyn SessionBackend>,
    keyring: Keyring,
    idle: StdDuration,
    absolute: StdDuration,
    rules: Option<SessionRules>,
    near_cache: NearCacheSettings,
    clock: SharedClock,
}

impl Sessions {
    /// Begins to describe sessions in `store`, sealed with `keyring`. Without more, a session ends 30 minutes after its
    /// last use and 12 hours after its login.
    pub fn builder(store: impl SessionBackend + 'static, keyring: Keyring) -> SessionsBuilder {
        SessionsBuilder {
            backend: Arc::new(store),
            keyring,
            idle: IDLE,
            absolute: ABSOLUTE,
            rules: None,
            near_cache: NEAR_CACHE,
            clock: Arc::new(SystemClock),
        }
    }
}

impl SessionsBuilder {
    /// Ends sessions that were not used for so long: at least 1 s, at most the absolute timeout.
    #[must_use]
    pub fn idle_timeout(mut self, timeout: StdDuration) -> Self {
        self.idle = timeout;
        self
    }

    /// Ends sessions so long after their login, however much they are used: at least 1 s, at most 400 days, beyond which
    /// browsers keep no cookie (RFC 6265bis).
    #[must_use]
    pub fn absolute_timeout(mut self, timeout: StdDuration) -> Self {
        self.absolute = timeout;
        self
    }

    /// Applies these rules instead of the two timeouts: timeouts by group, most sessions of a person, binding.
    #[must_use]
    pub fn rules(mut self, rules: SessionRules) -> Self {
        self.rules = Some(rules);
        self
    }

    /// Limits what is kept of the store in this process; without more, 100,000 sessions for a minute.
    #[must_use]
    pub fn near_cache(mut self, settings: NearCacheSettings) -> Self {
        self.near_cache = settings;
        self
    }

    /// Asks this clock for the time instead of the operating system.
    #[must_use]
    pub fn clock(mut self, clock: SharedClock) -> Self {
        self.clock = clock;
        self
    }

    /// Makes the sessions, and starts their near cache and their maintenance in the background. Waits for nothing: a
    /// store that is down is used as soon as it is there.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn start(self) -> Sessions {
        let rules = self.rules.unwrap_or_else(|| SessionRules::of(limits(self.idle, self.absolute)));
        let sessions = Sessions::new(self.backend, &self.keyring, rules, self.near_cache, self.clock);
        sessions.maintenance().spawn();
        sessions
    }
}

/// The limits nearest to these that make sense.
fn limits(idle: StdDuration, absolute: StdDuration) -> Limits {
    let duration = |duration: StdDuration| Duration::try_from(duration).unwrap_or(Duration::MAX);
    let absolute = duration(absolute).clamp(SHORTEST, LONGEST);
    Limits { idle: duration(idle).clamp(SHORTEST, absolute), absolute }
}

impl SessionRules {
    /// Limits for everybody, as many sessions as people like, bound to nothing but their cookie.
    pub fn of(limits: Limits) -> Self {
        let timeouts = TimeoutPolicy { default: limits, by_group: Vec::new() };
        Self { timeouts, max_per_user: None, on_limit: OnLimit::default(), bind: Binding::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One line a case: what was asked for, and what applies, in seconds.
    #[test]
    fn timeouts_that_make_no_sense_are_replaced_by_the_nearest_that_do() {
        for (idle, absolute, expected) in [
            (60, 3_600, (60, 3_600)),
            (7_200, 3_600, (3_600, 3_600)),
            (0, 0, (1, 1)),
            (u64::MAX, u64::MAX, (400 * 86_400, 400 * 86_400)),
        ] {
            let limits = limits(StdDuration::from_secs(idle), StdDuration::from_secs(absolute));
            assert_eq!((limits.idle.whole_seconds(), limits.absolute.whole_seconds()), expected);
            assert!(Limits::new(limits.idle, limits.absolute).is_ok());
        }
    }
}
