//! Cut-offs: "no session of this person from a login begun before T" (R-N04).
//!
//! A revocation ends the sessions that there are; a cut-off refuses the one that is just being made, on whichever
//! replica. It may block the person for a while, and it may ask for a fresh login, so that a live session at the
//! provider does not let them straight back in. Cut-offs of single persons and of sessions at a provider are values of
//! their own; those of many ("the group finance", "everybody") stand in one short list. Blocks of single persons:
//! [`super::blocks`].

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use counterfoil_core::secret::keyring::{Keyring, Sealer};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use time::{Duration, OffsetDateTime};

use super::blocks::of_persons::Blocks;
use super::blocks::{Block, Meant, Words, moment_of};
use super::hashed_name::HashedName;
use super::record::SessionRecord;
use super::registry::milliseconds;
use super::selection::LoginFilter;
use super::store::{SessionBackend, StoreError};

/// Longest time for which a login may be under way: the pending login's lifetime, and some.
pub(super) const LONGEST_LOGIN: Duration = Duration::minutes(15);
/// Largest difference between the clocks of two replicas: a login that was begun so shortly after a cut-off may have
/// been begun before.
const CLOCKS_APART: Duration = Duration::seconds(2);
/// The list of those that concern many.
const OF_MANY: &str = "cut-offs";
/// Most of them at a time; revocations of many are rare events.
const MOST_OF_MANY: usize = 1_000;
/// Retention of a demand for fresh logins once the block that it came with was lifted: longer than any session may
/// last.
const LONGEST_REMEMBERED: Duration = Duration::days(400);

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
    pub(super) begun_at: OffsetDateTime,
    pub(super) freshness: Freshness,
}

/// The terms that a revocation lays down for logins to come.
#[derive(Debug, Clone)]
pub(super) struct CutOffRule {
    pub(super) at: OffsetDateTime,
    /// The length of the block, longer than nothing.
    pub(super) block_for: Option<Duration>,
    pub(super) fresh_login: bool,
    /// The longest that a session at the provider may be expected to last.
    pub(super) remember_for: Duration,
    pub(super) by: String,
    pub(super) reason: String,
}

/// One that concerns many.
#[derive(Debug, Serialize, Deserialize)]
struct OfMany {
    logins: LoginFilter,
    #[serde(with = "time::serde::timestamp::milliseconds")]
    at: OffsetDateTime,
    #[serde(with = "time::serde::timestamp::milliseconds::option")]
    blocked_until: Option<OffsetDateTime>,
    #[serde(with = "time::serde::timestamp::milliseconds::option")]
    fresh_since: Option<OffsetDateTime>,
    #[serde(default)]
    by: String,
    #[serde(default)]
    reason: String,
}

impl OfMany {
    /// Returns the moment from which it says nothing any more.
    fn ends(&self, remember_for: Duration) -> OffsetDateTime {
        let fresh = self.fresh_since.map(|since| since + remember_for);
        [self.blocked_until, fresh].into_iter().flatten().fold(self.at + LONGEST_LOGIN, OffsetDateTime::max)
    }

    fn block(&self, now: OffsetDateTime) -> Option<Block> {
        let until = self.blocked_until.filter(|until| now < *until)?;
        let said = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        Some(Block {
            person: None,
            words: Some(Words::of_logins(&self.logins)),
            until,
            since: Some(self.at),
            by: said(&self.by),
            reason: said(&self.reason),
        })
    }
}

#[derive(Debug)]
pub(super) struct CutOffs {
    backend: Arc<dyn SessionBackend>,
    sealer: Sealer,
}

impl CutOffs {
    pub(super) fn new(backend: Arc<dyn SessionBackend>, keyring: &Keyring) -> Self {
        Self { backend, sealer: keyring.sealer("counterfoil cut-off v1", &[]) }
    }

    /// Lays down a cut-off for one person. A block is laid down apart from this.
    pub(super) async fn set_for_subject(
        &self,
        issuer: &str,
        subject: &str,
        terms: &CutOffRule,
    ) -> Result<(), StoreError> {
        let index = HashedName::subject(issuer, subject);
        if terms.fresh_login {
            self.put(&Mark::FreshLogin.name(&index), terms.at, terms.at + terms.remember_for).await?;
        }
        self.put(&Mark::CutOff.name(&index), terms.at, terms.at + LONGEST_LOGIN).await
    }

    /// Lays down a cut-off for one session at a provider, or one person's part in it.
    pub(super) async fn set_for_provider_session(
        &self,
        issuer: &str,
        sid: &str,
        subject: Option<&str>,
        at: OffsetDateTime,
    ) -> Result<(), StoreError> {
        let index = match subject {
            Some(subject) => HashedName::provider_session_of(issuer, sid, subject),
            None => HashedName::provider_session(issuer, sid),
        };
        self.put(&Mark::CutOff.name(&index), at, at + LONGEST_LOGIN).await
    }

    /// Lays down a cut-off for every login that fits. Takes in what was laid down in the same words before.
    pub(super) async fn set_for_logins(&self, logins: &LoginFilter, terms: &CutOffRule) -> Result<(), StoreError> {
        if let Some((issuer, subject)) = logins.one_person() {
            return self.set_for_subject(issuer, subject, terms).await;
        }
        // Blocks and fresh logins are not for others who come from the same address.
        let block_for = terms.block_for.filter(|_| logins.says_who());
        let mut cut_off = OfMany {
            logins: logins.clone(),
            at: terms.at,
            blocked_until: block_for.map(|block| terms.at + block),
            fresh_since: (terms.fresh_login && logins.says_who()).then_some(terms.at),
            by: terms.by.clone(),
            reason: terms.reason.clone(),
        };
        let known = self.of_many(terms.at).await?;
        let in_same_words: Vec<_> = known.iter().filter(|(_, _, known)| known.logins == *logins).collect();
        for (_, _, known) in &in_same_words {
            if known.blocked_until > cut_off.blocked_until {
                // The longer block stays, with whoever ordered it.
                cut_off.blocked_until = known.blocked_until;
                (cut_off.by, cut_off.reason) = (known.by.clone(), known.reason.clone());
            }
            cut_off.fresh_since = cut_off.fresh_since.max(known.fresh_since);
        }
        if known.len() - in_same_words.len() >= MOST_OF_MANY {
            return Err(StoreError::TooManyCutOffs);
        }
        let ends = cut_off.ends(terms.remember_for);
        self.backend.list_insert(OF_MANY, &self.seal(&cut_off), milliseconds(ends), ends).await?;
        for (member, ..) in in_same_words {
            self.backend.list_remove(OF_MANY, member).await?;
        }
        Ok(())
    }

    /// The blocks of many that stand.
    pub(super) async fn blocks(&self, now: OffsetDateTime) -> Result<Vec<Block>, StoreError> {
        Ok(self.of_many(now).await?.iter().filter_map(|(_, _, cut_off)| cut_off.block(now)).collect())
    }

    /// Lifts blocks of many and adds each to `lifted`; the cut-offs and the fresh logins ordered with them stay.
    pub(super) async fn lift(
        &self,
        meant: &Meant,
        now: OffsetDateTime,
        lifted: &mut Vec<Block>,
    ) -> Result<(), StoreError> {
        for (member, until, mut cut_off) in self.of_many(now).await? {
            let Some(block) = cut_off.block(now).filter(|_| meant.means_words(&Words::of_logins(&cut_off.logins)))
            else {
                continue;
            };
            cut_off.blocked_until = None;
            // No longer than it would have stood: the list is short.
            let ends = cut_off.ends(LONGEST_REMEMBERED).min(moment_of(until));
            self.backend.list_insert(OF_MANY, &self.seal(&cut_off), milliseconds(ends), ends).await?;
            self.backend.list_remove(OF_MANY, &member).await?;
            lifted.push(block);
        }
        Ok(())
    }

    /// Seals again, under the newest key, what was sealed under an older one, and forgets what is over.
    pub(super) async fn keep_up(&self, now: OffsetDateTime) -> Result<(), StoreError> {
        for overdue in self.backend.list_up_to(OF_MANY, milliseconds(now), MOST_OF_MANY).await? {
            self.backend.list_remove(OF_MANY, &overdue).await?;
        }
        for (member, until) in self.backend.list_down_from(OF_MANY, i64::MAX, MOST_OF_MANY).await? {
            let (Ok(sealed), ends) = (STANDARD_NO_PAD.decode(&member), moment_of(until)) else { continue };
            if self.sealer.is_sealed_under_the_newest(OF_MANY.as_bytes(), &sealed) {
                continue;
            }
            if let Some(cut_off) = self.open(&member) {
                let anew = self.seal(&cut_off);
                self.backend.list_insert(OF_MANY, &anew, until, ends).await?;
                // A cut-off that another has lifted or taken in meanwhile does not come back.
                if !self.backend.list_remove(OF_MANY, &member).await? {
                    self.backend.list_remove(OF_MANY, &anew).await?;
                }
            }
        }
        Ok(())
    }

    fn seal(&self, cut_off: &OfMany) -> String {
        STANDARD_NO_PAD.encode(self.sealer.seal_json(OF_MANY.as_bytes(), cut_off))
    }

    fn open(&self, member: &str) -> Option<OfMany> {
        self.sealer.open_json(OF_MANY.as_bytes(), &STANDARD_NO_PAD.decode(member).ok()?).ok()
    }

    /// Returns the reason why this login may not become a session, if there is one.
    pub(super) async fn refusal(
        &self,
        blocks: &Blocks,
        attempt: Attempt<'_>,
        now: OffsetDateTime,
    ) -> Result<Option<Refusal>, StoreError> {
        let identity = &attempt.record.identity;
        let of_subject = HashedName::subject(&identity.issuer, &identity.subject);
        let sid = attempt.record.provider_session.as_ref();
        let of_provider = sid.map(|sid| HashedName::provider_session(&identity.issuer, sid));
        let of_both = sid.map(|sid| HashedName::provider_session_of(&identity.issuer, sid, &identity.subject));
        let (blocked, fresh, cut_off, provider_cut_off, cut_off_of_both, of_many) = tokio::try_join!(
            blocks.until(&of_subject),
            self.moment(Mark::FreshLogin, Some(&of_subject)),
            self.moment(Mark::CutOff, Some(&of_subject)),
            self.moment(Mark::CutOff, of_provider.as_ref()),
            self.moment(Mark::CutOff, of_both.as_ref()),
            self.of_many(now),
        )?;
        let of_many: Vec<_> = of_many.iter().map(|(_, _, cut_off)| cut_off).collect();
        let of_many = || of_many.iter().filter(|cut_off| cut_off.logins.fits(attempt.record));
        let blocked = blocked.into_iter().chain(of_many().filter_map(|cut_off| cut_off.blocked_until)).max();
        let single = [cut_off, provider_cut_off, cut_off_of_both].into_iter().flatten();
        let cut_off = single.chain(of_many().map(|cut_off| cut_off.at)).max();
        let fresh = fresh.into_iter().chain(of_many().filter_map(|cut_off| cut_off.fresh_since)).max();
        Ok(judge(attempt, blocked, cut_off, fresh, now))
    }

    /// Is true if a revocation of many means a person as they are now: one that came since the provider last said who
    /// they are, or one that blocks and did not mean them as they were.
    pub(super) async fn applies_after_refresh(
        &self,
        before: &SessionRecord,
        after: &SessionRecord,
        now: OffsetDateTime,
    ) -> Result<bool, StoreError> {
        let came_since = |cut_off: &OfMany| before.renewed_at <= cut_off.at + CLOCKS_APART;
        let blocks = |cut_off: &OfMany| cut_off.blocked_until.is_some_and(|until| now < until);
        let concerned = |cut_off: &OfMany| {
            cut_off.logins.fits(after) && (came_since(cut_off) || (blocks(cut_off) && !cut_off.logins.fits(before)))
        };
        Ok(self.of_many(now).await?.iter().any(|(_, _, cut_off)| concerned(cut_off)))
    }

    async fn put(&self, name: &str, moment: OffsetDateTime, until: OffsetDateTime) -> Result<(), StoreError> {
        self.backend.put(name, milliseconds(moment).to_string().as_bytes(), Some(until)).await
    }

    async fn moment(&self, mark: Mark, index: Option<&HashedName>) -> Result<Option<OffsetDateTime>, StoreError> {
        let Some(index) = index else { return Ok(None) };
        let value = self.backend.get(&mark.name(index)).await?;
        let moment = value.map(|value| {
            let milliseconds = std::str::from_utf8(&value).ok().and_then(|text| text.parse::<i128>().ok());
            let moment = milliseconds
                .and_then(|number| OffsetDateTime::from_unix_timestamp_nanos(number.checked_mul(1_000_000)?).ok());
            // A mark that cannot be read refuses.
            moment.unwrap_or(time::Date::MAX.midnight().assume_utc())
        });
        Ok(moment)
    }

    async fn of_many(&self, now: OffsetDateTime) -> Result<Vec<(String, i64, OfMany)>, StoreError> {
        // Twice as many are read as may be there: some may be unreadable.
        let members = self.backend.list_down_from(OF_MANY, i64::MAX, 2 * MOST_OF_MANY).await?;
        let current = members.into_iter().filter(|(_, until)| *until > milliseconds(now));
        let read = |(member, until): (String, i64)| {
            let opened = self.open(&member);
            if opened.is_none() {
                // Nobody could sign in any more if it refused; it is sealed again as long as any broker knows its key.
                tracing::error!("a cut-off cannot be read: it was sealed under a key that is gone, or damaged");
            }
            Some((member, until, opened?))
        };
        Ok(current.filter_map(read).collect())
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
    cut_off: Option<OffsetDateTime>,
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
    } else if cut_off.is_some_and(|at| attempt.begun_at <= at + CLOCKS_APART) {
        Some(Refusal::Overtaken)
    } else if fresh.is_some_and(|since| !is_fresh(since)) {
        Some(Refusal::FreshLoginNeeded)
    } else {
        None
    }
}
