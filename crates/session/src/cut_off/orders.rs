//! The orders that mean many, as a copy of the log has them: which of them end a session is a pure decision.

use std::collections::BTreeSet;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use crate::blocks::{Block, Words};
use crate::cut_off::{LONGEST_LOGIN, OrderTerms};
use crate::ending::{EndCause, Tombstone};
use crate::filter::{Filter, LoginFilter};
use crate::record::SessionRecord;
use crate::store::Watch;
use crate::store::log::LogNumber;

/// An order that means many, for as long as a session it means may live.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StandingOrder {
    /// Its number, if it is not the entry's own: the entry replaces another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) number: Option<LogNumber>,
    /// The number of times that it was replaced: of entries of one number the highest counts, and of equal ones the first.
    #[serde(default)]
    pub(super) revision: u32,
    /// Set once every session that it meant has been deleted.
    #[serde(default)]
    pub(super) is_done: bool,
    /// The newest entry that was known when it was written.
    #[serde(default)]
    pub(super) knows: LogNumber,
    pub(crate) logins: LoginFilter,
    #[serde(with = "time::serde::timestamp::milliseconds")]
    pub(crate) at: OffsetDateTime,
    #[serde(with = "time::serde::timestamp::milliseconds::option")]
    pub(crate) blocked_until: Option<OffsetDateTime>,
    #[serde(with = "time::serde::timestamp::milliseconds::option")]
    pub(crate) fresh_since: Option<OffsetDateTime>,
    pub(crate) cause: EndCause,
    pub(crate) by: String,
    pub(crate) reason: String,
    pub(crate) fresh_login: bool,
    /// The end of the blocks of the persons whose sessions it ends, if it blocks; it may say nothing of other logins.
    #[serde(default, with = "time::serde::timestamp::milliseconds::option")]
    pub(crate) persons_blocked_until: Option<OffsetDateTime>,
    /// The end of what it says of logins to come.
    #[serde(with = "time::serde::timestamp::milliseconds")]
    pub(crate) logins_until: OffsetDateTime,
    /// The end of what it says of sessions: none of them lives longer.
    #[serde(with = "time::serde::timestamp::milliseconds")]
    pub(crate) sessions_until: OffsetDateTime,
}

impl StandingOrder {
    /// Returns an order that means everybody, blocks nobody and stands for a day.
    #[cfg(test)]
    pub(crate) fn blank(at: OffsetDateTime) -> Self {
        Self {
            number: None,
            revision: 0,
            is_done: false,
            knows: LogNumber::BEGINNING,
            logins: LoginFilter::default(),
            at,
            blocked_until: None,
            fresh_since: None,
            cause: EndCause::Revoked,
            by: String::new(),
            reason: String::new(),
            fresh_login: false,
            persons_blocked_until: None,
            logins_until: at + time::Duration::DAY,
            sessions_until: at + time::Duration::DAY,
        }
    }

    /// Takes in an earlier order in the same words: the longer block stays, with whoever ordered it.
    pub(super) fn take_in(&mut self, earlier: &Self) {
        if earlier.blocked_until > self.blocked_until {
            self.blocked_until = earlier.blocked_until;
            (self.by, self.reason) = (earlier.by.clone(), earlier.reason.clone());
        }
        // An order that is done has blocked its persons by name.
        if !earlier.is_done {
            self.persons_blocked_until = self.persons_blocked_until.max(earlier.persons_blocked_until);
        }
        self.fresh_since = self.fresh_since.max(earlier.fresh_since);
        self.logins_until = self.logins_until.max(earlier.logins_until);
    }
}

/// An entry of the log.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Entry {
    Order(Box<StandingOrder>),
    /// Every session that the order of this number meant has been deleted.
    Done(LogNumber),
}

/// An order in a copy of the log.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Standing {
    /// The number that sessions are compared with.
    pub(crate) number: LogNumber,
    /// The entry that holds it.
    pub(crate) entry: LogNumber,
    pub(crate) order: StandingOrder,
}

impl Standing {
    /// Is true if it means a session, and whoever carries it out may be on the way to it.
    pub(crate) fn is_about_to_end(&self, record: &SessionRecord) -> bool {
        !self.order.is_done && record.confirmed < self.number && self.fits(record)
    }

    /// Is true if the records of whom it means were not all deleted, although it was given before a moment.
    pub(crate) fn is_unfinished(&self, given_before: OffsetDateTime) -> bool {
        !self.order.is_done && self.order.at < given_before
    }

    /// The words in which it was given.
    pub(crate) fn filter(&self) -> Filter {
        let LoginFilter { person, network, browser, older_than } = self.order.logins.clone();
        let older_than = older_than.map(Duration::milliseconds);
        Filter { person, network, browser, older_than, ..Filter::default() }
    }

    /// The terms for the persons whose sessions it ends. A block that is over is none.
    pub(crate) fn terms(&self, now: OffsetDateTime) -> OrderTerms {
        let StandingOrder { at, persons_blocked_until, sessions_until, by, reason, fresh_login, .. } = &self.order;
        OrderTerms {
            at: *at,
            block_for: persons_blocked_until.filter(|until| now < *until).map(|until| until - *at),
            fresh_login: *fresh_login,
            remember_for: *sessions_until - *at,
            by: by.clone(),
            reason: reason.clone(),
        }
    }

    /// Is true if it means a session, or a login that becomes this one.
    pub(crate) fn fits(&self, record: &SessionRecord) -> bool {
        self.order.logins.fits(record, self.order.at)
    }

    pub(super) fn is_over(&self, now: OffsetDateTime) -> bool {
        let sessions_until = if self.order.is_done { self.order.at } else { self.order.sessions_until };
        now >= self.order.logins_until.max(sessions_until)
    }

    /// Is true if it blocks logins, or the persons whose sessions it ends.
    pub(super) fn blocks_anybody(&self, now: OffsetDateTime) -> bool {
        let StandingOrder { blocked_until, persons_blocked_until, .. } = self.order;
        [blocked_until, persons_blocked_until].into_iter().flatten().any(|until| now < until)
    }

    pub(crate) fn block(&self, now: OffsetDateTime) -> Option<Block> {
        let until = self.order.blocked_until.filter(|until| now < *until)?;
        let said = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        Some(Block {
            person: None,
            words: Some(Words::of_logins(&self.order.logins)),
            until,
            since: Some(self.order.at),
            by: said(&self.order.by),
            reason: said(&self.order.reason),
        })
    }

    /// The tombstone of a session that it ends.
    pub(crate) fn tombstone(&self) -> Tombstone {
        let StandingOrder { at, cause, reason, by, fresh_login, .. } = &self.order;
        let (reason, by) = (Some(reason.clone()), Some(by.clone()));
        Tombstone { ended_at: *at, cause: *cause, reason, by, fresh_login: *fresh_login }
    }
}

/// A copy of the log.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    /// The orders that stand, lowest number first.
    pub(super) standing: Vec<Standing>,
    /// The number of the newest entry; it never falls.
    pub(crate) newest: LogNumber,
    /// Another one for each change of the orders: what was judged by the same is judged.
    pub(crate) version: u64,
    pub(super) unreadable: BTreeSet<LogNumber>,
    pub(super) watch: Option<Watch>,
    pub(super) generation: u64,
    /// The number of the read that made it; 0 if none did.
    pub(super) read: u64,
    pub(super) whole_at: Option<Instant>,
    /// The moment the last read began.
    pub(super) read_at: Option<Instant>,
    /// Set while it holds orders that the log lacks.
    pub(super) is_ahead: bool,
}

impl Orders {
    /// Returns the newest order that ends a session, if there is one.
    pub(crate) fn ends(&self, record: &SessionRecord, now: OffsetDateTime) -> Option<&Standing> {
        let since = self.standing.iter().rev().take_while(|standing| standing.number > record.confirmed);
        since.filter(|standing| !standing.is_over(now)).find(|standing| standing.fits(record))
    }

    /// Returns until when an order in these words blocks the persons whose sessions it ends; `None` once it was lifted.
    pub(crate) fn persons_blocked_until(&self, logins: &LoginFilter, now: OffsetDateTime) -> Option<OffsetDateTime> {
        let same = self.all(now).filter(|standing| standing.order.logins == *logins);
        same.filter_map(|standing| standing.order.persons_blocked_until).filter(|until| now < *until).max()
    }

    /// Is true if an order in these words stands and blocks no person.
    pub(crate) fn is_block_lifted(&self, logins: &LoginFilter, now: OffsetDateTime) -> bool {
        let mut same = self.all(now).filter(|standing| standing.order.logins == *logins).peekable();
        same.peek().is_some() && same.all(|standing| standing.order.persons_blocked_until.is_none())
    }

    /// Is true if an order under way blocks the persons whose sessions it ends.
    pub(crate) fn is_blocking_persons(&self, now: OffsetDateTime) -> bool {
        self.all(now).any(|standing| !standing.order.is_done && standing.order.persons_blocked_until > Some(now))
    }

    /// The orders of lower numbers.
    pub(crate) fn before(&self, number: LogNumber) -> Self {
        let standing = self.standing.iter().filter(|standing| standing.number < number).cloned().collect();
        Self { standing, newest: self.newest, version: self.version, ..Self::default() }
    }

    /// The orders that mean a person.
    pub(crate) fn of<'a>(
        &'a self,
        record: &'a SessionRecord,
        now: OffsetDateTime,
    ) -> impl Iterator<Item = &'a Standing> + Clone {
        self.all(now).filter(|standing| standing.fits(record))
    }

    /// Every order that stands.
    pub(crate) fn all(&self, now: OffsetDateTime) -> impl Iterator<Item = &Standing> + Clone {
        self.standing.iter().filter(move |standing| !standing.is_over(now))
    }

    /// Is true if an entry says something that no other one does. One that was not taken in, because another server had not
    /// heard of it, says something unless its order is over or replaced.
    pub(super) fn need(&self, entry: LogNumber, read: &Entry, now: OffsetDateTime) -> bool {
        let order = match read {
            Entry::Order(order) => order,
            Entry::Done(of) => return self.all(now).any(|known| known.number == *of),
        };
        if let Some(own) = self.standing.iter().find(|known| known.entry == entry) {
            return !own.is_over(now);
        }
        let number = order.number.unwrap_or(entry);
        let replaces =
            |known: &Standing| known.number == number || known.number > number && known.order.logins == order.logins;
        let standing = Standing { number, entry, order: (**order).clone() };
        !self.standing.iter().any(replaces) && !standing.is_over(now)
    }

    /// Takes in an entry.
    pub(super) fn take(&mut self, entry: LogNumber, opened: Option<Entry>) {
        match opened {
            Some(Entry::Order(order)) => {
                let mut order = *order;
                let number = order.number.unwrap_or(entry);
                let is_newer = |known: &Standing| {
                    known.number == number && known.order.revision >= order.revision
                        || known.number > number && known.order.logins == order.logins
                };
                if self.standing.iter().any(is_newer) {
                    return;
                }
                let replaced = self.standing.iter().find(|known| known.number == number);
                order.is_done |= replaced.is_some_and(|known| known.order.is_done);
                if order.number.is_none() {
                    // Whoever ordered it took in what they knew, and not what they did not.
                    let (same, others) = std::mem::take(&mut self.standing)
                        .into_iter()
                        .partition(|known| known.order.logins == order.logins);
                    self.standing = others;
                    let same: Vec<Standing> = same;
                    let knows = order.knows;
                    for known in same.iter().filter(|known| known.entry > knows) {
                        order.take_in(&known.order);
                    }
                }
                self.standing.retain(|known| known.number != number && known.order.logins != order.logins);
                let place = self.standing.partition_point(|known| known.number < number);
                self.standing.insert(place, Standing { number, entry, order });
            }
            Some(Entry::Done(of)) => {
                for known in self.standing.iter_mut().filter(|known| known.number == of) {
                    known.order.is_done = true;
                }
            }
            None => {
                if self.unreadable.insert(entry) {
                    // Nobody could sign in any more if it refused; it is sealed again as long as any broker knows its key.
                    tracing::error!(%entry, "a cut-off cannot be read: it was sealed under a key that is gone, or damaged");
                }
            }
        }
    }
}

/// The end of what an order says of logins: a block, a fresh login, and logins that are under way.
pub(crate) fn logins_until(
    at: OffsetDateTime,
    blocked_until: Option<OffsetDateTime>,
    fresh_until: Option<OffsetDateTime>,
) -> OffsetDateTime {
    [blocked_until, fresh_until].into_iter().flatten().fold(at + LONGEST_LOGIN, OffsetDateTime::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn number(milliseconds: u64) -> LogNumber {
        LogNumber { milliseconds, sequence: 0 }
    }

    fn order(of: Option<u64>, revision: u32, blocked_for: i64) -> Entry {
        Entry::Order(Box::new(StandingOrder {
            number: of.map(number),
            revision,
            blocked_until: (blocked_for > 0).then(|| NOW + time::Duration::hours(blocked_for)),
            ..StandingOrder::blank(NOW)
        }))
    }

    /// Each case is a line: entries by their numbers, and the entry that counts, the length of its block in hours, and
    /// whether it is done.
    #[test]
    fn what_counts_of_one_order_does_not_depend_on_who_reads_which_entries() {
        type Log = Vec<(u64, fn() -> Entry)>;
        let cases: [(Log, (u64, i64, bool)); 7] = [
            (vec![(1, || order(None, 0, 2))], (1, 2, false)),
            // Lifted, and laid down again by somebody who had not seen that: the first in the log counts.
            (
                vec![(1, || order(None, 0, 2)), (2, || order(Some(1), 1, 0)), (3, || order(Some(1), 1, 2))],
                (2, 0, false),
            ),
            (vec![(2, || order(Some(1), 1, 0)), (3, || order(Some(1), 1, 2))], (2, 0, false)),
            // Brought back too late.
            (vec![(2, || order(Some(1), 1, 0)), (3, || order(Some(1), 0, 2))], (2, 0, false)),
            (
                vec![(1, || order(None, 0, 2)), (2, || Entry::Done(number(1))), (3, || order(Some(1), 1, 0))],
                (3, 0, true),
            ),
            // In the same words, by somebody who did not know: the longer block stays.
            (vec![(1, || order(None, 0, 3)), (2, || order(None, 0, 0))], (2, 3, false)),
            // What was taken in does not come back.
            (vec![(2, || order(None, 0, 1)), (3, || order(Some(1), 5, 3))], (2, 1, false)),
        ];
        for (log, (entry, blocked_for, is_done)) in cases {
            let mut orders = Orders::default();
            for (number_of, make) in &log {
                orders.take(number(*number_of), Some(make()));
            }
            let [standing] = orders.standing.as_slice() else { panic!("{orders:?}") };
            let until = (blocked_for > 0).then(|| NOW + time::Duration::hours(blocked_for));
            let found = (standing.entry, standing.order.blocked_until, standing.order.is_done);
            assert_eq!(found, (number(entry), until, is_done));
        }
    }
}
