//! The log of orders that mean many ("the group finance", "everybody"): list and clock in one.
//!
//! The store numbers each entry as it takes it. A session carries the number that was the newest when its login began, or
//! when its provider last confirmed it; an order with a higher number that fits its person ends it, at the next check, on
//! every replica, whether or not anybody has come to delete its record. Numbers are compared, never clocks.
//!
//! Each replica keeps a copy, read where it hears of every change. A copy that may have missed one counts for nothing and
//! is read again, by one at a time, before anything is judged. An entry that replaces another carries its number on.

mod copy;
mod maintenance;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration as StdDuration, Instant};

use counterfoil_core::secret::keyring::{Keyring, Sealer};
use time::OffsetDateTime;
use tokio::sync::{Mutex, MutexGuard};

use crate::store::StoreError;
use crate::store::log::{Appended, Log, LogNumber, LogRead, MOST_READ};

pub(crate) use self::copy::LogCopy;
use super::orders::{Entry, Orders, Standing, StandingOrder};
use crate::filter::LoginFilter;

/// The log's name.
pub(crate) const LOG: &str = "cut-off-log";
/// Most orders that stand at a time; revocations of many are rare events.
const MOST_ORDERS: usize = 1_000;
/// Most orders that stand at a time when one comes that names a person.
const MOST_ORDERS_OF_PERSONS: usize = 900;
/// An entry that says nothing but that its number was given.
const TICK: &[u8] = b"t";
/// Ticks of this process that stay in the log.
const KEPT_TICKS: usize = 8;
/// Pause after an order that could not be brought back.
const BRING_BACK_PAUSE: StdDuration = StdDuration::from_secs(1);
/// Interval at which the whole log is read where changes are not told.
const WHOLE_READ: StdDuration = StdDuration::from_secs(1);
/// The entries of the log behind a number, part by part.
struct Parts<'log> {
    store: &'log dyn Log,
    /// The number behind which the next part begins; `None` behind the last one.
    behind: Option<LogNumber>,
}

impl Parts<'_> {
    async fn next(&mut self) -> Result<Option<LogRead>, StoreError> {
        let Some(behind) = self.behind else { return Ok(None) };
        let read = self.store.read_watched(LOG, behind).await?;
        let last = read.entries.last().map(|(last, _)| *last);
        self.behind = last.filter(|_| read.entries.len() >= MOST_READ);
        Ok(Some(read))
    }
}

/// The last read of the log, by its number, and its failure.
#[derive(Debug, Default)]
struct LastRead {
    number: u64,
    failure: Option<StoreError>,
}

/// The log, and this process's copy of it.
#[derive(Debug)]
pub(crate) struct CutOffLog {
    store: Arc<dyn Log>,
    sealer: Sealer,
    copy: Arc<LogCopy>,
    /// Single-flight: one read at a time, whose failure is that of all who wait for it.
    last_read: Mutex<LastRead>,
    reads: AtomicU64,
    versions: AtomicU64,
    /// Set while a task brings lost orders back.
    is_bringing_back: Arc<AtomicBool>,
    /// The last ticks of this process.
    ticks: Mutex<VecDeque<LogNumber>>,
}

impl CutOffLog {
    pub(crate) fn new(store: Arc<dyn Log>, keyring: &Keyring, copy: Arc<LogCopy>) -> Self {
        Self {
            store,
            sealer: keyring.sealer("counterfoil cut-off v2", &[]),
            copy,
            last_read: Mutex::default(),
            reads: AtomicU64::new(0),
            versions: AtomicU64::new(0),
            is_bringing_back: Arc::default(),
            ticks: Mutex::default(),
        }
    }

    /// Returns the copy if every change would have been heard of.
    pub(crate) fn known(&self, now: Instant) -> Option<arc_swap::Guard<Arc<Orders>>> {
        self.copy.known(now)
    }

    /// Returns the orders as they are now, or were at a moment after this was called.
    pub(crate) async fn current(&self, now: OffsetDateTime) -> Result<Arc<Orders>, StoreError> {
        if let Some(orders) = self.known(Instant::now()) {
            return Ok(arc_swap::Guard::into_inner(orders));
        }
        let seen = self.reads.load(Ordering::Acquire);
        let last = self.last_read.lock().await;
        if let Some(orders) = self.known(Instant::now()) {
            return Ok(arc_swap::Guard::into_inner(orders));
        }
        self.read_after(seen, last, now).await
    }

    /// Reads, unless somebody did who began after so many reads.
    async fn read_after(
        &self,
        seen: u64,
        mut last: MutexGuard<'_, LastRead>,
        now: OffsetDateTime,
    ) -> Result<Arc<Orders>, StoreError> {
        // A read that somebody began after this call has seen all that had happened before it.
        let latest = self.copy.orders.load_full();
        if latest.read > seen {
            return Ok(latest);
        }
        // Nor did one that failed fail for its caller alone: a store that is away is not asked by all who wait, in turn.
        if let Some(failure) = last.failure.as_ref().filter(|_| last.number > seen) {
            return Err(failure.for_another());
        }
        let read = self.read(now).await;
        let number = self.reads.load(Ordering::Acquire);
        *last = LastRead { number, failure: read.as_ref().err().map(StoreError::for_another) };
        read
    }

    /// Returns the orders as they are now, also if a change is on its way that was not heard of yet.
    pub(crate) async fn current_anew(&self, now: OffsetDateTime) -> Result<Arc<Orders>, StoreError> {
        let seen = self.reads.load(Ordering::Acquire);
        let last = self.last_read.lock().await;
        self.read_after(seen, last, now).await
    }

    /// Returns the orders as they were when they were last read.
    pub(crate) fn last_read(&self) -> Arc<Orders> {
        self.copy.orders.load_full()
    }

    /// Returns the number of the newest entry, for a login that begins; the last one known if the store cannot be asked:
    /// a lower number only refuses more.
    pub(crate) async fn newest(&self) -> Result<LogNumber, StoreError> {
        if let Some(orders) = self.known(Instant::now()) {
            return Ok(orders.newest);
        }
        let latest = self.copy.orders.load();
        match self.store.newest(LOG).await {
            Ok(newest) => {
                let newest = newest.filter(|newest| newest.is_plausible());
                Ok(newest.unwrap_or_default().max(latest.newest))
            }
            Err(_) if latest.read > 0 => Ok(latest.newest),
            Err(error) => Err(error),
        }
    }

    async fn read(&self, now: OffsetDateTime) -> Result<Arc<Orders>, StoreError> {
        let before = self.copy.orders.load_full();
        let began = Instant::now();
        // What was read on this connection is whole; another may lead to a server that lacks some of it.
        let is_delta = before.read > 0
            && !before.is_ahead
            && match &before.watch {
                Some(watch) => watch.holds(began),
                None => before.whole_at.is_some_and(|at| began.duration_since(at) < WHOLE_READ),
            };
        self.read_from(&before, is_delta, now).await
    }

    async fn read_from(&self, before: &Orders, is_delta: bool, now: OffsetDateTime) -> Result<Arc<Orders>, StoreError> {
        let read = self.reads.fetch_add(1, Ordering::AcqRel) + 1;
        let generation = self.copy.generation.load(Ordering::Acquire);
        let began = Instant::now();
        let after = if is_delta { before.newest } else { LogNumber::BEGINNING };
        let mut orders = Orders {
            standing: if is_delta { before.standing.clone() } else { Vec::new() },
            newest: before.newest,
            unreadable: before.unreadable.clone(),
            generation,
            read,
            whole_at: if is_delta { before.whole_at } else { Some(began) },
            read_at: Some(began),
            ..Orders::default()
        };
        // The newest entry is never deleted: a log that lacks it is another's, or was emptied.
        let behind = if is_delta { before.newest.previous() } else { LogNumber::BEGINNING };
        let (mut parts, mut is_first) = (self.parts(behind), true);
        while let Some(LogRead { entries, watch }) = parts.next().await? {
            let first = entries.first().map(|(entry, _)| *entry).unwrap_or_default();
            if is_delta && is_first && first != before.newest {
                return Box::pin(self.read_from(before, false, now)).await;
            }
            // Parts may come from several servers: nobody answers for the whole of them.
            orders.watch = watch.filter(|_| is_first);
            is_first = false;
            let plausible = entries.iter().rev().map(|(entry, _)| *entry).find(|entry| entry.is_plausible());
            orders.newest = plausible.map_or(orders.newest, |last| orders.newest.max(last));
            for (entry, sealed) in entries.into_iter().filter(|(entry, sealed)| *entry > after && sealed != TICK) {
                orders.take(entry, self.open(&sealed));
            }
        }
        orders.standing.retain(|standing| !standing.is_over(now));
        if !is_delta {
            self.bring_back(before, &mut orders, now);
        }
        orders.version = if before.read > 0 && before.standing == orders.standing {
            before.version
        } else {
            self.versions.fetch_add(1, Ordering::AcqRel) + 1
        };
        let orders = Arc::new(orders);
        self.copy.orders.store(orders.clone());
        Ok(orders)
    }

    /// Keeps what this process knows and the server does not, which took over from another that it had not heard all of,
    /// and appends it again in the background: nobody who is checked waits for that.
    fn bring_back(&self, before: &Orders, orders: &mut Orders, now: OffsetDateTime) {
        let mut lost = Vec::new();
        // One that is done and says nothing of logins any more was deleted for that.
        let may_be_lost = |known: &&Standing| !known.order.is_done || now < known.order.logins_until;
        for known in before.all(now).filter(may_be_lost) {
            let is_there = |there: &Standing| {
                // A block that was lifted is not back because the lifting was lost.
                (there.number == known.number && there.order.revision >= known.order.revision)
                    || (there.number > known.number && there.order.logins == known.order.logins)
            };
            if orders.standing.iter().any(is_there) {
                continue;
            }
            tracing::warn!(number = %known.number, "a cut-off was lost with its server and is laid down again");
            // With the order deletions may be lost that it had done.
            let order = StandingOrder { number: Some(known.number), is_done: false, ..known.order.clone() };
            let entry = Entry::Order(Box::new(order));
            lost.push(self.sealer.seal_json(LOG.as_bytes(), &entry));
            orders.take(known.entry, Some(entry));
        }
        orders.is_ahead = !lost.is_empty();
        if lost.is_empty() || self.is_bringing_back.swap(true, Ordering::AcqRel) {
            return;
        }
        let (store, copy, is_bringing_back) = (self.store.clone(), self.copy.clone(), self.is_bringing_back.clone());
        tokio::spawn(async move {
            for entry in lost {
                if let Err(error) = store.append(LOG, &entry).await {
                    tracing::warn!(%error, "a cut-off that was lost with its server could not be laid down again yet");
                    tokio::time::sleep(BRING_BACK_PAUSE).await;
                }
            }
            is_bringing_back.store(false, Ordering::Release);
            // The whole log is read again, and what it still lacks is brought back.
            copy.invalidate();
        });
    }

    async fn append(&self, entry: &Entry) -> Result<Appended, StoreError> {
        self.append_sealed(&self.sealer.seal_json(LOG.as_bytes(), entry)).await
    }

    async fn append_sealed(&self, entry: &[u8]) -> Result<Appended, StoreError> {
        let appended = self.store.append(LOG, entry).await;
        // This is due also if the store did not answer: it may have done it.
        self.copy.invalidate();
        appended
    }

    /// Appends an entry under a number beyond one that is known. Sessions and logins are compared by number: an order that is
    /// not beyond what was known before would end none of them.
    async fn append_beyond(&self, known: LogNumber, entry: &[u8]) -> Result<Appended, StoreError> {
        let appended = self.append_sealed(entry).await?;
        if appended.number > known {
            return Ok(appended);
        }
        self.go_on_beyond(known).await?;
        let appended = self.append_sealed(entry).await?;
        if appended.number > known { Ok(appended) } else { Err(StoreError::NumbersWentBack) }
    }

    /// Lets the log go on beyond a number that it gave, if it does not know it: it was lost, and with it its numbers. Returns
    /// whether that was so.
    pub(crate) async fn catch_up(&self, given: LogNumber, now: OffsetDateTime) -> Result<bool, StoreError> {
        if given <= self.last_read().newest || given <= self.current_anew(now).await?.newest {
            return Ok(false);
        }
        if !given.is_plausible() {
            return Err(StoreError::NumbersWentBack);
        }
        self.go_on_beyond(given).await?;
        Ok(true)
    }

    async fn go_on_beyond(&self, number: LogNumber) -> Result<(), StoreError> {
        tracing::warn!(%number, "the cut-off log was lost or its server's clock went back: it goes on beyond its old numbers");
        self.store.advance(LOG, number, TICK).await?;
        // The store may know a higher number than any entry that is left has.
        self.append_sealed(TICK).await.map(drop)
    }

    /// Lays down an order. It takes in those in the same words: the longer block stays, with whoever ordered it.
    pub(crate) async fn order(&self, mut order: StandingOrder) -> Result<Appended, StoreError> {
        let now = order.at;
        // A lift that was not heard of yet would be taken in as if there were none.
        let known = self.current_anew(now).await?;
        let (same, others): (Vec<_>, Vec<_>) = known.all(now).partition(|known| known.order.logins == order.logins);
        for known in &same {
            order.take_in(&known.order);
        }
        order.knows = known.newest;
        // However many persons were named before, groups and everybody can be ended.
        let is_for_everybody = order.logins == LoginFilter::default();
        let most = if order.logins.names_a_person() { MOST_ORDERS_OF_PERSONS } else { MOST_ORDERS };
        if others.len() >= most && !is_for_everybody {
            return Err(StoreError::TooManyCutOffs);
        }
        let entry = self.sealer.seal_json(LOG.as_bytes(), &Entry::Order(Box::new(order)));
        let appended = self.append_beyond(known.newest, &entry).await?;
        for known in same {
            if let Err(error) = self.store.delete_entry(LOG, known.entry).await {
                tracing::warn!(%error, "an order that another took in is still in the log; it counts for nothing");
            }
        }
        Ok(appended)
    }

    /// Returns a number of its own, for an order that means one person.
    pub(crate) async fn tick(&self) -> Result<Appended, StoreError> {
        let newest = self.copy.orders.load().newest;
        let appended = self.append_beyond(newest, TICK).await?;
        // Copies go on from the newest entry that they know: the last ones stay for those who have not read on.
        let old = {
            let mut ticks = self.ticks.lock().await;
            ticks.push_back(appended.number);
            if ticks.len() > KEPT_TICKS { ticks.pop_front() } else { None }
        };
        if let Some(old) = old {
            // What stays is deleted by the maintenance.
            let _ = self.store.delete_entry(LOG, old).await;
        }
        Ok(appended)
    }

    /// Notes that every session an order meant has been deleted: from now on it is about logins alone.
    pub(crate) async fn done(&self, number: LogNumber) -> Result<(), StoreError> {
        self.append(&Entry::Done(number)).await.map(drop)
    }

    /// Puts an order in the place of another; `false` if somebody else did before, as the order of the log says.
    pub(crate) async fn replace(
        &self,
        old: &Standing,
        order: StandingOrder,
        now: OffsetDateTime,
    ) -> Result<bool, StoreError> {
        let order = StandingOrder { number: Some(old.number), revision: old.order.revision + 1, ..order };
        let Appended { number: entry, .. } = self.append(&Entry::Order(Box::new(order))).await?;
        let orders = self.current(now).await?;
        let is_ours = orders.all(now).any(|known| known.number == old.number && known.entry == entry);
        self.store.delete_entry(LOG, if is_ours { old.entry } else { entry }).await?;
        Ok(is_ours)
    }

    fn parts(&self, behind: LogNumber) -> Parts<'_> {
        Parts { store: &*self.store, behind: Some(behind) }
    }

    fn open(&self, sealed: &[u8]) -> Option<Entry> {
        self.sealer.open_json(LOG.as_bytes(), sealed).ok()
    }
}

#[cfg(test)]
mod tests {
    use counterfoil_core::clock::{Clock, ManualClock, SystemClock};

    use super::*;
    use crate::filter::{LoginFilter, PersonFilter};
    use crate::store::memory::MemoryStore;

    fn log() -> (CutOffLog, OffsetDateTime) {
        let clock = ManualClock::at(SystemClock.now());
        let log = CutOffLog::new(Arc::new(MemoryStore::new(clock.clone())), &Keyring::ephemeral(), Arc::default());
        (log, clock.now())
    }

    fn against(person: PersonFilter, at: OffsetDateTime) -> StandingOrder {
        StandingOrder { logins: LoginFilter { person, ..LoginFilter::default() }, ..StandingOrder::blank(at) }
    }

    /// R-N04: a log that was lost goes on beyond what sessions carry, or no order would mean them.
    #[tokio::test]
    async fn numbers_that_went_back_are_caught_up_with() {
        let clock = ManualClock::at(SystemClock.now());
        let (store, keyring) = (Arc::new(MemoryStore::new(clock.clone())), Keyring::ephemeral());
        let (now, log) = (clock.now(), CutOffLog::new(store.clone(), &keyring, Arc::default()));
        let ahead = LogNumber { milliseconds: log.tick().await.unwrap().number.milliseconds + 7_200_000, sequence: 1 };
        assert!(log.catch_up(ahead, now).await.unwrap());
        assert!(log.tick().await.unwrap().number > ahead);
        assert!(!log.catch_up(ahead, now).await.unwrap());
        // Another log in its place, with numbers of another clock.
        let known = log.current_anew(now).await.unwrap().newest;
        let mut lost = CutOffLog::new(Arc::new(MemoryStore::new(clock.clone())), &keyring, Arc::default());
        lost.copy = log.copy.clone();
        assert!(lost.order(StandingOrder::blank(now)).await.unwrap().number > known);
    }

    /// A number that no clock gives was written by somebody else: no login carries it, and the log does not go there.
    #[tokio::test]
    async fn numbers_that_no_clock_gives_are_not_taken_over() {
        let clock = ManualClock::at(SystemClock.now());
        let store = Arc::new(MemoryStore::new(clock.clone()));
        let (now, log) = (clock.now(), CutOffLog::new(store.clone(), &Keyring::ephemeral(), Arc::default()));
        let before = log.tick().await.unwrap().number;
        let poison = LogNumber { milliseconds: u64::MAX - 1, sequence: 0 };
        store.advance(LOG, poison, b"poison").await.unwrap();
        assert_eq!(log.current_anew(now).await.unwrap().newest, before);
        assert_eq!(log.newest().await.unwrap(), before);
        assert!(matches!(log.catch_up(poison, now).await, Err(StoreError::NumbersWentBack)));
    }

    /// R-N04: however many persons were ended by name, whoever has to can end everybody.
    #[tokio::test]
    async fn orders_of_persons_leave_room_for_those_of_many() {
        let (log, now) = log();
        let of = |user: usize| PersonFilter { user: Some(user.to_string()), ..PersonFilter::default() };
        for user in 0..MOST_ORDERS_OF_PERSONS {
            log.order(against(of(user), now)).await.unwrap();
        }
        let one_more = log.order(against(of(MOST_ORDERS_OF_PERSONS), now)).await;
        assert!(matches!(one_more, Err(StoreError::TooManyCutOffs)), "{one_more:?}");
        log.order(against(PersonFilter { group: Some("finance".into()), ..PersonFilter::default() }, now))
            .await
            .unwrap();
        log.order(StandingOrder::blank(now)).await.unwrap();
    }
}
