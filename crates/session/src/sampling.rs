//! Samples of what is seen once, in no order.

use counterfoil_core::secret::random_bytes;

use super::registry::Cursor;

/// A sample in which each of those seen is as likely as any other (reservoir sampling, Vitter's algorithm R), in random
/// order.
pub(super) struct Reservoir {
    most: usize,
    seen: usize,
    kept: Vec<Cursor>,
    random: u64,
}

impl Reservoir {
    pub(super) fn new(most: usize) -> Self {
        // Zero is the one state that this generator never leaves.
        Self { most, seen: 0, kept: Vec::new(), random: u64::from_ne_bytes(random_bytes()) | 1 }
    }

    pub(super) fn see(&mut self, place: Cursor) {
        self.seen += 1;
        let at = self.below(self.seen);
        if self.kept.len() < self.most {
            self.kept.push(place);
            let last = self.kept.len() - 1;
            self.kept.swap(at, last);
        } else if let Some(kept) = self.kept.get_mut(at) {
            *kept = place;
        }
    }

    /// Returns how many were seen, and those kept.
    pub(super) fn into_parts(self) -> (usize, Vec<Cursor>) {
        (self.seen, self.kept)
    }

    /// Returns a number below another, by xorshift (Marsaglia 2003): for statistics, not for secrets.
    fn below(&mut self, end: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let end = u64::try_from(end).unwrap_or(u64::MAX);
        usize::try_from(self.random % end).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use counterfoil_core::unix_millis::UnixMillis;

    use super::*;
    use crate::key::SessionHandle;

    #[test]
    fn each_is_as_likely_as_any_other_wherever_it_comes_and_wherever_the_sample_is_cut() {
        let (seen, kept, rounds) = (1_000_i64, 100, 400);
        let mut times = [0_u32; 10];
        for _ in 0..rounds {
            let mut reservoir = Reservoir::new(kept);
            for established in (0..seen).map(UnixMillis) {
                reservoir.see(Cursor { established, handle: SessionHandle::LOWEST });
            }
            let (count, mut sample) = reservoir.into_parts();
            assert_eq!((count, sample.len()), (1_000, kept));
            sample.truncate(20);
            for place in sample {
                times[usize::try_from(place.established.0 / 100).unwrap()] += 1;
            }
        }
        // Each tenth gets 800 of 8,000, give or take 27: ten times that is no accident.
        assert!(times.iter().all(|times| (530..1_070).contains(times)), "{times:?}");
    }

    #[test]
    fn fewer_than_fit_are_all_kept() {
        let mut reservoir = Reservoir::new(10);
        for established in (0..10).map(UnixMillis) {
            reservoir.see(Cursor { established, handle: SessionHandle::LOWEST });
        }
        let (seen, mut kept) = reservoir.into_parts();
        kept.sort_unstable();
        assert_eq!((seen, kept.iter().map(|place| place.established.0).collect()), (10, (0..10).collect::<Vec<_>>()));
    }
}
