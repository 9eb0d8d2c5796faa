//! The upkeep of the log: entries are sealed again under the sealing key, and deleted once they say nothing.

use counterfoil_core::unix_millis::UnixMillis;
use time::{Duration, OffsetDateTime};

use super::super::RECORDS_OUTLIVE_SESSIONS;
use super::super::orders::{Entry, Orders, StandingOrder};
use super::{CutOffLog, LOG, TICK};
use crate::store::StoreError;
use crate::store::log::{LogNumber, LogRead};

/// Age beyond which an entry that cannot be read is deleted: no session lives longer.
const LONGEST_UNREADABLE: Duration = Duration::days(400);

impl CutOffLog {
    /// Lets an order that is not carried out stand as long as sessions last by now. Seals again, under the sealing key, what was sealed under another, and deletes what is over. The newest entry
    /// stays: its number is the clock. The log is read once for each of the three steps, so that however much stands in it, one
    /// part of it is held at a time.
    pub(crate) async fn keep_up(&self, now: OffsetDateTime, longest: Duration) -> Result<(), StoreError> {
        // Judged by what is there, and not by a copy: what is deleted must not be all that there is of an order.
        let unreadable = self.copy.orders.load().unreadable.clone();
        let mut orders = Orders { unreadable, ..Orders::default() };
        let mut parts = self.parts(LogNumber::BEGINNING);
        while let Some(LogRead { entries, .. }) = parts.next().await? {
            orders.newest = entries.last().map_or(orders.newest, |(last, _)| *last);
            for (entry, sealed) in entries.into_iter().filter(|(_, sealed)| sealed != TICK) {
                orders.take(entry, self.open(&sealed));
            }
        }
        if self.replace_outdated(&orders, now, longest).await? {
            self.delete_unneeded(&orders, now).await?;
        }
        Ok(())
    }

    /// Replaces the entries of orders that were sealed under another key than the sealing one, or took in others. Returns whether nobody else
    /// replaced the same ones: the next round sees what came of that.
    async fn replace_outdated(
        &self,
        orders: &Orders,
        now: OffsetDateTime,
        longest: Duration,
    ) -> Result<bool, StoreError> {
        let (mut parts, mut is_whole) = (self.parts(LogNumber::BEGINNING), true);
        while let Some(LogRead { entries, .. }) = parts.next().await? {
            for (entry, sealed) in entries {
                let Some(own) = orders.all(now).find(|known| known.entry == entry) else { continue };
                let Some(Entry::Order(order)) = self.open(&sealed) else { continue };
                // That it is done stands in the log as well.
                let is_merged = own.order != StandingOrder { is_done: own.order.is_done, ..*order };
                let until = own.order.at + longest + RECORDS_OUTLIVE_SESSIONS;
                if !own.order.is_done && own.order.sessions_until < until {
                    let order = StandingOrder { sessions_until: until, ..own.order.clone() };
                    is_whole &= self.replace(own, order, now).await?;
                } else if is_merged || !self.sealer.is_under_sealing_key(LOG.as_bytes(), &sealed) {
                    is_whole &= self.replace(own, own.order.clone(), now).await?;
                }
            }
        }
        Ok(is_whole)
    }

    /// Deletes the entries before the newest one that say nothing any more.
    async fn delete_unneeded(&self, orders: &Orders, now: OffsetDateTime) -> Result<(), StoreError> {
        let mut parts = self.parts(LogNumber::BEGINNING);
        while let Some(LogRead { entries, .. }) = parts.next().await? {
            for (entry, sealed) in entries.into_iter().filter(|(entry, _)| *entry < orders.newest) {
                let is_needed = match self.open(&sealed) {
                    _ if sealed == TICK => false,
                    Some(read) => orders.need(entry, &read, now),
                    None => age(entry, now) < LONGEST_UNREADABLE,
                };
                if !is_needed {
                    self.store.delete_entry(LOG, entry).await?;
                }
            }
        }
        Ok(())
    }
}

fn age(entry: LogNumber, now: OffsetDateTime) -> Duration {
    let given = i64::try_from(entry.milliseconds).unwrap_or(i64::MAX);
    Duration::milliseconds(UnixMillis::from(now).0.saturating_sub(given))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use counterfoil_core::clock::{Clock, ManualClock, SystemClock};
    use counterfoil_core::secret::Secret;
    use counterfoil_core::secret::keyring::Keyring;

    use super::super::super::orders::Standing;
    use super::*;
    use crate::store::log::{Log, MOST_READ};
    use crate::store::memory::MemoryStore;

    fn log(store: &Arc<MemoryStore>, keys: &[u8]) -> CutOffLog {
        let keys = keys.iter().map(|byte| Secret::new([*byte; 32])).collect();
        CutOffLog::new(store.clone(), &Keyring::new(keys).unwrap(), Arc::default())
    }

    /// An order in the middle of a log that is read in several parts: it is sealed again, and what says nothing goes.
    #[tokio::test]
    async fn a_log_of_several_parts_is_kept_up_part_by_part() {
        let clock = ManualClock::at(SystemClock.now());
        let (store, now) = (Arc::new(MemoryStore::new(clock.clone())), clock.now());
        let ticks = async || {
            for _ in 0..MOST_READ {
                store.append(LOG, TICK).await.unwrap();
            }
        };
        let number = log(&store, &[1]).order(StandingOrder::blank(now)).await.unwrap().number;
        ticks().await;
        store.append(LOG, b"nonsense").await.unwrap();
        ticks().await;
        let newest = store.newest(LOG).await.unwrap().unwrap();
        log(&store, &[2, 1]).keep_up(now, Duration::HOUR).await.unwrap();
        let left = store.read_watched(LOG, LogNumber::BEGINNING).await.unwrap().entries;
        let is_newest = |entry: &&(LogNumber, Vec<u8>)| entry.0 == newest;
        assert_eq!((left.len(), left.iter().filter(is_newest).count()), (3, 1), "the nonsense, the newest, the order");
        let orders = log(&store, &[2]).current(now).await.unwrap();
        assert_eq!(orders.all(now).map(|standing| standing.number).collect::<Vec<_>>(), [number]);
        // Another part of the log than the one that the orders were taken from.
        let unheard =
            Standing { number: newest.previous(), entry: newest.previous(), order: StandingOrder::blank(now) };
        let entry = |at| Entry::Order(Box::new(StandingOrder::blank(at)));
        assert!(Orders::default().need(unheard.entry, &entry(now), now), "it was not heard of, and may stand");
        assert!(!Orders::default().need(unheard.entry, &entry(now - Duration::DAY), now), "it is over");
        assert!(!orders.need(LogNumber::BEGINNING, &entry(now), now), "a later one in the same words stands");
    }

    /// R-N04: no session of before an order outlives it, whatever timeouts come.
    #[tokio::test]
    async fn an_order_that_is_not_carried_out_stands_as_long_as_sessions_may_live_by_now() {
        let clock = ManualClock::at(SystemClock.now());
        let (store, now) = (Arc::new(MemoryStore::new(clock.clone())), clock.now());
        let log = log(&store, &[1]);
        let number = log.order(StandingOrder::blank(now)).await.unwrap().number;
        log.keep_up(now, Duration::days(3)).await.unwrap();
        let until = now + Duration::days(3) + RECORDS_OUTLIVE_SESSIONS;
        let stands = async |log: &CutOffLog, at| log.current_anew(at).await.unwrap().all(at).count();
        assert_eq!(stands(&log, until - Duration::SECOND).await, 1);
        log.done(number).await.unwrap();
        log.keep_up(now, Duration::days(30)).await.unwrap();
        assert_eq!(stands(&log, until).await, 0, "of one that is done no session is left");
    }
}
