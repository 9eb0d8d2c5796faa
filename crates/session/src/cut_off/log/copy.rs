//! This process's copy of the log, which checks of sessions read, and when it counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration as StdDuration, Instant};

use arc_swap::ArcSwap;

use super::super::orders::Orders;

/// Age beyond which a copy is read again although no change was heard of: the backstop, as of the near cache's entries.
const MAX_AGE: StdDuration = StdDuration::from_secs(10);

/// The copy of the log that checks of sessions read.
#[derive(Debug, Default)]
pub(crate) struct LogCopy {
    pub(super) orders: ArcSwap<Orders>,
    /// Changes heard of so far.
    pub(super) generation: AtomicU64,
}

impl LogCopy {
    /// A change was heard of, or may have been missed: the copy is read again before it counts.
    pub(crate) fn invalidate(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// The copy, if every change would have been heard of.
    pub(crate) fn known(&self, now: Instant) -> Option<arc_swap::Guard<Arc<Orders>>> {
        let orders = self.orders.load();
        let is_current = orders.generation == self.generation.load(Ordering::Acquire)
            && orders.read_at.is_some_and(|at| now.saturating_duration_since(at) < MAX_AGE);
        (is_current && orders.watch.as_ref().is_some_and(|watch| watch.holds(now))).then_some(orders)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Coverage;

    /// A change that nobody told of is known a while later all the same.
    #[test]
    fn a_copy_does_not_count_for_ever() {
        let (copy, read) = (LogCopy::default(), Instant::now());
        let coverage = Coverage::new(read);
        coverage.extend(read + 2 * MAX_AGE);
        let orders = Orders { watch: Some(coverage.watch()), read_at: Some(read), ..Orders::default() };
        copy.orders.store(Arc::new(orders));
        assert!(copy.known(read).is_some());
        assert!(copy.known(read + MAX_AGE).is_none());
    }
}
