//! Rate-limited audit of rejected notices: anybody can send any number of them.
//!
//! For each provider the first few of a second have a line of their own; how many more there were is said with the
//! first one of a later second.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;

use time::OffsetDateTime;

use crate::audit::{AuditEvent, NoticeWay, audit};
use crate::clock::SharedClock;
use counterfoil_core::lock;

/// Lines in a second, for each provider.
const MOST_IN_A_SECOND: u64 = 10;

/// The recent refusals, by the provider's configured name.
#[derive(Debug)]
pub struct RejectedNotices {
    clock: SharedClock,
    lately: Mutex<HashMap<String, Lately>>,
}

#[derive(Debug, Default)]
struct Lately {
    second: i64,
    refused: u64,
}

impl Lately {
    /// The number of refusals before this one that had no line, if this one has a line. Pure.
    fn count(&mut self, now: OffsetDateTime) -> Option<u64> {
        let second = now.unix_timestamp();
        let unsaid = if self.second == second { 0 } else { self.refused.saturating_sub(MOST_IN_A_SECOND) };
        if self.second != second {
            *self = Self { second, refused: 0 };
        }
        self.refused += 1;
        (self.refused <= MOST_IN_A_SECOND).then_some(unsaid)
    }
}

impl RejectedNotices {
    /// Nothing was refused yet.
    pub fn new(clock: SharedClock) -> Self {
        Self { clock, lately: Mutex::default() }
    }

    /// Audits a rejected notice, within the rate limit.
    pub(super) fn note(&self, idp: &str, way: NoticeWay, reason: &str, client: IpAddr) {
        let unsaid = {
            let mut lately = lock(&self.lately);
            lately.entry(idp.to_owned()).or_default().count(self.clock.now())
        };
        if let Some(unsaid) = unsaid {
            audit(&AuditEvent::ProviderNoticeRefused { idp, way, reason, client, unsaid });
        }
    }
}

#[cfg(test)]
mod tests {
    use time::Duration;
    use time::macros::datetime;

    use super::*;

    /// R-O02, R-P06
    #[test]
    fn many_refusals_in_a_second_have_few_lines_and_a_number() {
        let now = datetime!(2026-01-31 09:00 UTC);
        let mut lately = Lately::default();
        let lines = (0..1_000).filter_map(|_| lately.count(now)).collect::<Vec<_>>();
        assert_eq!(lines, [0; 10]);
        let later = now + Duration::seconds(7);
        assert_eq!((lately.count(later), lately.count(later)), (Some(990), Some(0)));
        assert_eq!(lately.count(now + Duration::MINUTE), Some(0));
    }
}
