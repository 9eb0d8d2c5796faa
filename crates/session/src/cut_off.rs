//! Cut-offs: "no session of this person from a login begun before this order" (R-N04).
//!
//! A revocation ends the sessions that there are; a cut-off refuses the one that is just being made, on whichever
//! replica. It may block the person for a while, and it may ask for a fresh login, so that a live session at the
//! provider does not let them straight back in. Cut-offs of single persons and of sessions at a provider are values of
//! their own, and hold the number of an entry of the log, where those of many ("the group finance", "everybody") stand
//! (`log`). A login carries the number that was the newest when it began: it is refused by any that is higher. Blocks of
//! single persons: [`super::blocks`].

pub(super) mod log;
#[cfg(test)]
mod model;
pub(super) mod orders;

use std::sync::Arc;

use counterfoil_core::secret::keyring::Keyring;
use counterfoil_core::unix_millis::UnixMillis;
use thiserror::Error;
use time::{Duration, OffsetDateTime};

use super::blocks::of_persons::Blocks;
use super::blocks::{Block, Meant, Words, moment_of};
use super::ending::EndCause;
use super::filter::LoginFilter;
use super::hashed_name::HashedName;
use super::key_check::Keyed;
use super::record::SessionRecord;
use super::store::log::{Appended, LogNumber};
use super::store::{KeyValue, SortedSets, StoreError};

use self::log::{CutOffLog, LogCopy};
use self::orders::{Standing, StandingOrder};

/// Longest time for which a login may be under way: the pending login's lifetime, and some.
pub(super) const LONGEST_LOGIN: Duration = Duration::minutes(15);

/// Time for which an order stands beyond the longest session: records are there for some minutes more, and timeouts may be
/// lengthened meanwhile.
pub(super) const RECORDS_OUTLIVE_SESSIONS: Duration = Duration::HOUR;
/// Attempts at lifting a block that others seal again all the time.
const ATTEMPTS: usize = 5;
const LONGEST_LOGIN_MILLISECONDS: i64 = 15 * 60 * 1_000;
/// Marks that are deleted at a time.
const MOST_FORGOTTEN: usize = 100;

/// The reason why a person who proved who they are gets no session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The login was begun before their sessions were ended.
    #[error("the person's sessions were ended while the login was under way")]
    Overtaken,
    /// They may have no session for a while.
    #[error("the person is blocked until {0}")]
    Blocked(OffsetDateTime),
    /// They have to prove who they are once more.
    #[error("the person's sessions were ended, and the provider's own session is not enough")]
    FreshLoginNeeded,
    /// They have as many sessions as they may have.
    #[error("the person has as many sessions as they may have")]
    TooManySessions,
}

/// A login's proof of when the person last showed who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// The person proved who they are at that moment.
    At(OffsetDateTime),
    /// The provider could tell, but was not asked.
    Unknown,
    /// The provider cannot tell: a login begun later is all that can be had.
    CannotBeTold,
}

/// A login, as far as cut-offs are concerned.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attempt<'a> {
    pub(super) record: &'a SessionRecord,
    pub(super) freshness: Freshness,
}

/// The terms of an order: what it lays down for logins to come.
#[derive(Debug, Clone)]
pub(super) struct OrderTerms {
    pub(super) at: OffsetDateTime,
    /// The length of the block, longer than nothing.
    pub(super) block_for: Option<Duration>,
    pub(super) fresh_login: bool,
    /// The longest that a session at the provider may be expected to last.
    pub(super) remember_for: Duration,
    pub(super) by: String,
    pub(super) reason: String,
}

#[derive(Debug)]
pub(super) struct CutOffs {
    store: Arc<Keyed>,
    pub(super) log: CutOffLog,
}

impl CutOffs {
    pub(super) fn new(store: Arc<Keyed>, keyring: &Keyring, copy: Arc<LogCopy>) -> Self {
        Self { log: CutOffLog::new(store.clone(), keyring, copy), store }
    }

    /// Lays down a cut-off for one person, under an order's number. A block is laid down apart from this.
    pub(super) async fn set_for_subject(
        &self,
        issuer: &str,
        subject: &str,
        number: LogNumber,
        terms: &OrderTerms,
    ) -> Result<(), StoreError> {
        let index = self.store.names().await?.subject(issuer, subject);
        let fresh_login = async {
            // A long revocation may come to a person after a later one did.
            if !terms.fresh_login || self.fresh_since(&index).await?.is_some_and(|since| since >= terms.at) {
                return Ok(());
            }
            let since = UnixMillis::from(terms.at).0.to_string();
            self.put(&Mark::FreshLogin.name(&index), &since, terms.at + terms.remember_for).await
        };
        // One that fails does not keep the other from being laid down.
        let (fresh_login, mark) = tokio::join!(fresh_login, self.mark(&index, number, terms.at));
        fresh_login.and(mark)
    }

    /// Lays down a cut-off for one session at a provider, or one person's part in it.
    pub(super) async fn set_for_provider_session(
        &self,
        issuer: &str,
        sid: &str,
        subject: Option<&str>,
        number: LogNumber,
        at: OffsetDateTime,
    ) -> Result<(), StoreError> {
        let names = self.store.names().await?;
        let index = match subject {
            Some(subject) => names.provider_session_of(issuer, sid, subject),
            None => names.provider_session(issuer, sid),
        };
        self.mark(&index, number, at).await
    }

    /// Lays down an order against every login and session that fits.
    pub(super) async fn set_for_logins(
        &self,
        logins: &LoginFilter,
        cause: EndCause,
        terms: &OrderTerms,
    ) -> Result<Appended, StoreError> {
        // Blocks and fresh logins are not for others who come from the same address.
        let block_for = terms.block_for.filter(|_| logins.says_who());
        let is_fresh = terms.fresh_login && logins.says_who();
        let blocked_until = block_for.map(|block| terms.at + block);
        let fresh_until = is_fresh.then(|| terms.at + terms.remember_for);
        self.log
            .order(StandingOrder {
                number: None,
                revision: 0,
                is_done: false,
                knows: LogNumber::BEGINNING,
                logins: logins.clone(),
                at: terms.at,
                blocked_until,
                fresh_since: is_fresh.then_some(terms.at),
                cause,
                by: terms.by.clone(),
                reason: terms.reason.clone(),
                fresh_login: terms.fresh_login,
                persons_blocked_until: terms.block_for.map(|block| terms.at + block),
                logins_until: orders::logins_until(terms.at, blocked_until, fresh_until),
                sessions_until: terms.at + terms.remember_for + RECORDS_OUTLIVE_SESSIONS,
            })
            .await
    }

    /// The blocks of many that stand.
    pub(super) async fn blocks(&self, now: OffsetDateTime) -> Result<Vec<Block>, StoreError> {
        Ok(self.log.current(now).await?.all(now).filter_map(|standing| standing.block(now)).collect())
    }

    /// Lifts blocks of many and adds each to `lifted`; the cut-offs and the fresh logins ordered with them stay.
    pub(super) async fn lift(
        &self,
        meant: &Meant,
        now: OffsetDateTime,
        lifted: &mut Vec<Block>,
    ) -> Result<(), StoreError> {
        // Another may have sealed one again meanwhile: it is found under its new entry.
        for _ in 0..ATTEMPTS {
            let orders = self.log.current(now).await?;
            let mut is_whole = true;
            for standing in orders.all(now) {
                let words = Words::of_logins(&standing.order.logins);
                if !standing.blocks_anybody(now) || !meant.means_words(&words) {
                    continue;
                }
                let order =
                    StandingOrder { blocked_until: None, persons_blocked_until: None, ..standing.order.clone() };
                if self.log.replace(standing, order, now).await? {
                    lifted.extend(standing.block(now));
                } else {
                    is_whole = false;
                }
            }
            if is_whole {
                return Ok(());
            }
        }
        Err(StoreError::LockTimeout)
    }

    /// Returns the reason why this login may not become a session, if there is one.
    pub(super) async fn refusal(
        &self,
        blocks: &Blocks,
        attempt: Attempt<'_>,
        now: OffsetDateTime,
    ) -> Result<Option<Refusal>, StoreError> {
        let (identity, names) = (&attempt.record.identity, self.store.names().await?);
        let of_subject = names.subject(&identity.issuer, &identity.subject);
        let sid = attempt.record.provider_session.as_ref();
        let of_provider = sid.map(|sid| names.provider_session(&identity.issuer, sid));
        let of_both = sid.map(|sid| names.provider_session_of(&identity.issuer, sid, &identity.subject));
        let (blocked, fresh, cut_off, provider_cut_off, cut_off_of_both, orders) = tokio::try_join!(
            blocks.until(&of_subject),
            self.fresh_since(&of_subject),
            self.newest_mark(Some(&of_subject)),
            self.newest_mark(of_provider.as_ref()),
            self.newest_mark(of_both.as_ref()),
            self.log.current(now),
        )?;
        let of_many = orders.of(attempt.record, now);
        let blocked = blocked.into_iter().chain(of_many.clone().filter_map(|standing| standing.order.blocked_until));
        let single = [cut_off, provider_cut_off, cut_off_of_both].into_iter().flatten();
        let cut_off = single.chain(of_many.clone().map(|standing| standing.number)).max();
        let fresh = fresh.into_iter().chain(of_many.filter_map(|standing| standing.order.fresh_since)).max();
        Ok(judge(attempt, blocked.max(), cut_off, fresh, now))
    }

    /// Returns an order that means many and ends a session that is being renewed: one that came since the provider last
    /// confirmed the person and means them as they were or as they are now, or one that blocks and means them only now.
    pub(super) async fn order_after_refresh(
        &self,
        before: &SessionRecord,
        after: &SessionRecord,
        now: OffsetDateTime,
    ) -> Result<Option<Standing>, StoreError> {
        let orders = self.log.current(now).await?;
        let concerned = |standing: &Standing| {
            let is_new = standing.number > before.confirmed;
            is_new || (standing.block(now).is_some() && !standing.fits(before))
        };
        let order = orders.ends(before, now).or_else(|| orders.of(after, now).find(|standing| concerned(standing)));
        Ok(order.cloned())
    }

    /// Adds a number to those that logins under way are compared with: the highest counts, in whichever order they come.
    async fn mark(&self, index: &HashedName, number: LogNumber, at: OffsetDateTime) -> Result<(), StoreError> {
        let list = Mark::CutOff.name(index);
        let (score, member) =
            (i64::try_from(number.milliseconds).unwrap_or(i64::MAX), format!("{:020}", number.sequence));
        let member = format!("{score:020}-{member}");
        // No login is under way for so long, by the clock that gave the numbers.
        let oldest = score.saturating_sub(2 * LONGEST_LOGIN_MILLISECONDS);
        let (inserted, forgotten) = tokio::join!(
            self.store.insert(&list, &member, score, at + LONGEST_LOGIN),
            self.store.up_to(&list, oldest, MOST_FORGOTTEN)
        );
        inserted?;
        for old in forgotten? {
            self.store.remove_member(&list, &old).await?;
        }
        Ok(())
    }

    async fn put(&self, name: &str, value: &str, until: OffsetDateTime) -> Result<(), StoreError> {
        self.store.put(name, value.as_bytes(), Some(until)).await
    }

    async fn newest_mark(&self, index: Option<&HashedName>) -> Result<Option<LogNumber>, StoreError> {
        let Some(index) = index else { return Ok(None) };
        let highest = self.store.down_from(&Mark::CutOff.name(index), i64::MAX, 1).await?;
        // A mark that cannot be read refuses.
        let refuses = LogNumber { milliseconds: u64::MAX, sequence: u64::MAX };
        Ok(highest.first().map(|(mark, _)| mark.parse().unwrap_or(refuses)))
    }

    async fn fresh_since(&self, index: &HashedName) -> Result<Option<OffsetDateTime>, StoreError> {
        let value = self.store.get(&Mark::FreshLogin.name(index)).await?;
        let moment = |value: Vec<u8>| std::str::from_utf8(&value).ok()?.parse().ok().map(UnixMillis).map(moment_of);
        // A mark that cannot be read refuses.
        Ok(value.map(|value| moment(value).unwrap_or(time::Date::MAX.midnight().assume_utc())))
    }
}

#[derive(Debug, Clone, Copy)]
enum Mark {
    CutOff,
    FreshLogin,
}

impl Mark {
    fn name(self, index: &HashedName) -> String {
        let kind = match self {
            Self::CutOff => "cut-off",
            Self::FreshLogin => "fresh-login",
        };
        format!("{kind}:{}", index.as_str())
    }
}

fn judge(
    attempt: Attempt<'_>,
    blocked: Option<OffsetDateTime>,
    cut_off: Option<LogNumber>,
    fresh: Option<OffsetDateTime>,
    now: OffsetDateTime,
) -> Option<Refusal> {
    let is_fresh = |since: OffsetDateTime| match attempt.freshness {
        Freshness::CannotBeTold => true,
        // Providers tell whole seconds.
        Freshness::At(moment) => moment >= since.truncate_to_second(),
        Freshness::Unknown => false,
    };
    if let Some(until) = blocked.filter(|until| now < *until) {
        Some(Refusal::Blocked(until))
    } else if cut_off.is_some_and(|number| attempt.record.confirmed < number) {
        Some(Refusal::Overtaken)
    } else if fresh.is_some_and(|since| !is_fresh(since)) {
        Some(Refusal::FreshLoginNeeded)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use counterfoil_core::clock::{Clock, SystemClock};
    use counterfoil_core::identity::Identity;

    use super::*;

    use crate::store::memory::MemoryStore;

    const ISSUER: &str = "https://idp.example.test";

    fn cut_offs() -> (CutOffs, Blocks) {
        let store = Arc::new(MemoryStore::new(Arc::new(SystemClock)));
        let keyring = Keyring::ephemeral();
        let keyed = Keyed::new(store, &keyring);
        (CutOffs::new(keyed.clone(), &keyring, Arc::default()), Blocks::new(keyed, &keyring))
    }

    fn number(milliseconds: u64, sequence: u64) -> LogNumber {
        LogNumber { milliseconds, sequence }
    }

    fn login(confirmed: LogNumber) -> SessionRecord {
        let now = SystemClock.now();
        let identity = Identity {
            idp: "company".into(),
            issuer: ISSUER.into(),
            subject: "ann".into(),
            name: None,
            preferred_username: None,
            email: None,
            email_verified: false,
            groups: vec!["finance".into()],
        };
        SessionRecord { provider_session: Some("sid".into()), confirmed, ..SessionRecord::for_test(identity, now) }
    }

    fn terms(block_for: Option<Duration>) -> OrderTerms {
        OrderTerms {
            at: SystemClock.now(),
            block_for,
            fresh_login: false,
            remember_for: Duration::HOUR,
            by: "test".into(),
            reason: "test".into(),
        }
    }

    async fn refused((cut_offs, blocks): &(CutOffs, Blocks), confirmed: LogNumber) -> Option<Refusal> {
        let record = login(confirmed);
        let attempt = Attempt { record: &record, freshness: Freshness::CannotBeTold };
        cut_offs.refusal(blocks, attempt, SystemClock.now()).await.unwrap()
    }

    /// R-N04: of several cut-offs of one person the highest number counts, in whichever order they are laid down.
    #[tokio::test]
    async fn the_highest_number_counts_whoever_comes_last() {
        for numbers in [[number(7, 2), number(7, 10)], [number(7, 10), number(7, 2)], [number(7, 10), number(6, 99)]] {
            let all = cut_offs();
            for number in numbers {
                all.0.set_for_subject(ISSUER, "ann", number, &terms(None)).await.unwrap();
            }
            assert_eq!(refused(&all, number(7, 9)).await, Some(Refusal::Overtaken), "{numbers:?}");
            assert_eq!(refused(&all, number(7, 10)).await, None, "{numbers:?}");
            let at = SystemClock.now();
            all.0.set_for_provider_session(ISSUER, "sid", None, number(8, 1), at).await.unwrap();
            all.0.set_for_provider_session(ISSUER, "sid", None, number(7, 0), at).await.unwrap();
            assert_eq!(refused(&all, number(8, 0)).await, Some(Refusal::Overtaken));
            assert_eq!(refused(&all, number(8, 1)).await, None);
        }
    }

    /// A lifted block does not come back with somebody else's maintenance.
    #[tokio::test]
    async fn an_order_is_replaced_once() {
        let all = cut_offs();
        let finance = LoginFilter {
            person: crate::filter::PersonFilter { group: Some("finance".into()), ..Default::default() },
            ..LoginFilter::default()
        };
        let ordered =
            all.0.set_for_logins(&finance, EndCause::Revoked, &terms(Some(Duration::HOUR))).await.unwrap().number;
        assert!(matches!(refused(&all, ordered).await, Some(Refusal::Blocked(_))));
        let now = SystemClock.now();
        let before = all.0.log.current(now).await.unwrap();
        let standing = before.all(now).next().unwrap();
        let mut lifted = Vec::new();
        all.0.lift(&Meant::All, now, &mut lifted).await.unwrap();
        assert_eq!(lifted.len(), 1);
        assert!(!all.0.log.replace(standing, standing.order.clone(), now).await.unwrap(), "it was replaced before");
        all.0.log.keep_up(now, Duration::HOUR).await.unwrap();
        assert_eq!(refused(&all, ordered).await, None, "the block stays lifted");
        assert_eq!(refused(&all, LogNumber::BEGINNING).await, Some(Refusal::Overtaken), "the order itself stands");
        let after = all.0.log.current(now).await.unwrap();
        assert_eq!(after.all(now).map(|standing| standing.number).collect::<Vec<_>>(), [ordered]);
    }
}
