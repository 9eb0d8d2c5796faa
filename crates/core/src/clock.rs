//! The current time, as a parameter.
//!
//! Every decision about time takes `now`; every shell that needs `now` holds a [`SharedClock`]. Only
//! [`SystemClock`] asks the operating system (`clippy.toml` forbids it elsewhere), so tests move time
//! instead of sleeping.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use time::{Duration, OffsetDateTime};

use crate::lock;

/// A source of the present moment, in UTC.
pub trait Clock: Send + Sync + Debug {
    /// Returns the present moment.
    fn now(&self) -> OffsetDateTime;
}

/// A clock that several owners look at.
pub type SharedClock = Arc<dyn Clock>;

/// The operating system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that asks for the time")]
    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc()
    }
}

/// A clock that stands still until it is moved; for tests of this crate and of its users.
#[derive(Debug)]
pub struct ManualClock(Mutex<OffsetDateTime>);

impl ManualClock {
    /// Makes a clock that shows `now`.
    pub fn at(now: OffsetDateTime) -> Arc<Self> {
        Arc::new(Self(Mutex::new(now)))
    }

    /// Moves the clock; a negative duration moves it back.
    pub fn advance(&self, by: Duration) {
        *lock(&self.0) += by;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> OffsetDateTime {
        *lock(&self.0)
    }
}
