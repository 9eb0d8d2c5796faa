//! Blocks of single persons, in the store.
//!
//! A block stands in a list of that person's, scored by when it ends: a login looks at the highest score alone and
//! needs no key for it, so that one which cannot be read refuses all the same. The member is sealed and says who is
//! blocked, in whose words, by whom and why. Another list names the persons who have such a list, for those who look
//! at all.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use counterfoil_core::identity::Identity;
use counterfoil_core::secret::keyring::{Keyring, Sealer};
use counterfoil_core::unix_millis::UnixMillis;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use super::{Block, Words, moment_of};
use crate::cut_off::OrderTerms;
use crate::hashed_name::HashedName;
use crate::key_check::Keyed;
use crate::listing::AT_A_TIME;
use crate::store::{KeyValue, SortedSets, StoreError};

/// The list of the persons who have blocks of their own.
pub(crate) const PERSONS: &str = "blocks";

/// Time for which it is noted that blocks were lifted: no order that moves is carried out for so long.
const LONGEST_WALK: Duration = Duration::HOUR;

/// The sealed part of a block of one person.
#[derive(Debug, Serialize, Deserialize)]
struct Sealed {
    person: Identity,
    words: Words,
    #[serde(with = "time::serde::timestamp::milliseconds")]
    since: OffsetDateTime,
    by: String,
    reason: String,
}

/// The blocks of single persons.
#[derive(Debug)]
pub(crate) struct Blocks {
    store: Arc<Keyed>,
    sealer: Sealer,
}

/// A block of one person, and the member of the list that it is.
#[derive(Debug)]
pub(super) struct Found {
    index: String,
    member: String,
    sealed: Option<Sealed>,
    until: UnixMillis,
}

impl Found {
    pub(super) fn is_of(&self, index: &HashedName) -> bool {
        self.index == index.as_str()
    }

    /// Is true if an order in these words laid it down at that moment.
    pub(super) fn is_by(&self, words: &Words, since: OffsetDateTime) -> bool {
        let is_by =
            |sealed: &Sealed| sealed.words.are(words) && UnixMillis::from(sealed.since) == UnixMillis::from(since);
        self.sealed.as_ref().is_some_and(is_by)
    }

    pub(super) fn block(&self) -> Block {
        let until = moment_of(self.until);
        match &self.sealed {
            Some(Sealed { person, words, since, by, reason }) => Block {
                person: Some(person.clone()),
                words: Some(words.clone()),
                until,
                since: Some(*since),
                by: Some(by.clone()),
                reason: Some(reason.clone()),
            },
            None => Block { person: None, words: None, until, since: None, by: None, reason: None },
        }
    }
}

impl Blocks {
    pub(crate) fn new(store: Arc<Keyed>, keyring: &Keyring) -> Self {
        Self { store, sealer: keyring.sealer("counterfoil block v1", &[]) }
    }

    /// Lays one down. In the same words a shorter block does not shorten the one there is.
    pub(crate) async fn lay_down(
        &self,
        person: &Identity,
        words: &Words,
        terms: &OrderTerms,
        block_for: Duration,
    ) -> Result<(), StoreError> {
        let names = self.store.names().await?;
        let index = names.subject(&person.issuer, &person.subject).as_str().to_owned();
        let known = self.of_person(&index, terms.at).await?;
        let (same, _): (Vec<_>, Vec<_>) =
            known.into_iter().partition(|found| found.sealed.as_ref().is_some_and(|sealed| sealed.words.are(words)));
        let until = terms.at + block_for;
        // The longer block stays, with whoever ordered it.
        let longest = same.iter().filter(|found| moment_of(found.until) > until).max_by_key(|found| found.until);
        let (until, stays) =
            (longest.map_or(until, |found| moment_of(found.until)), longest.and_then(|found| found.sealed.as_ref()));
        let sealed = Sealed {
            // Whoever is named without having a session is known by no more than that.
            person: same
                .iter()
                .find_map(|found| found.sealed.as_ref())
                .map_or(person, |known| if person.idp.is_empty() { &known.person } else { person })
                .clone(),
            words: words.clone(),
            since: stays.map_or(terms.at, |stays| stays.since),
            by: stays.map_or(&terms.by, |stays| &stays.by).clone(),
            reason: stays.map_or(&terms.reason, |stays| &stays.reason).clone(),
        };
        // The list by which the block is found comes first, then the block itself, which refuses.
        self.store.insert(PERSONS, &index, UnixMillis::from(until).0, until).await?;
        let list = list_of(&index);
        let member = self.seal(&list, &sealed);
        self.store.insert(&list, &member, UnixMillis::from(until).0, until).await?;
        // Whoever keeps the list of persons up may have taken them for one without blocks in between.
        self.store.insert(PERSONS, &index, UnixMillis::from(until).0, until).await?;
        let stayed = longest.map(|found| found.member.clone());
        for old in same {
            let was_there = self.store.remove_member(&list, &old.member).await?;
            // The longer one was lifted meanwhile: it does not come back, and the order's own is laid down.
            if !was_there && stayed.as_ref() == Some(&old.member) {
                self.store.remove_member(&list, &member).await?;
                return Box::pin(self.lay_down(person, words, terms, block_for)).await;
            }
        }
        Ok(())
    }

    /// Notes that blocks in these words were lifted, or all, for those who are still carrying an order in them out.
    pub(super) async fn note_lifted(&self, words: Option<Words>, now: OffsetDateTime) -> Result<(), StoreError> {
        let (name, at) = (self.name_of_lifted(words).await?, UnixMillis::from(now).0.to_string());
        self.store.put(&name, at.as_bytes(), Some(now + LONGEST_WALK)).await
    }

    /// Is true if blocks in these words were lifted after an order of that moment.
    pub(crate) async fn is_lifted_since(&self, words: &Words, ordered_at: OffsetDateTime) -> Result<bool, StoreError> {
        for words in [Some(words.clone()), None] {
            let lifted = self.store.get(&self.name_of_lifted(words).await?).await?;
            let at = lifted.and_then(|at| std::str::from_utf8(&at).ok()?.parse().ok().map(UnixMillis));
            if at.is_some_and(|at| at >= ordered_at.into()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn name_of_lifted(&self, words: Option<Words>) -> Result<String, StoreError> {
        let words = words.map_or_else(String::new, |words| words.folded().to_string());
        Ok(format!("lifted:{}", self.store.names().await?.word(&words).as_str()))
    }

    /// Returns until when a person is blocked, whoever ordered it.
    pub(crate) async fn until(&self, index: &HashedName) -> Result<Option<OffsetDateTime>, StoreError> {
        let longest = self.store.down_from(&list_of(index.as_str()), i64::MAX, 1).await?;
        Ok(longest.first().map(|(_, until)| moment_of(UnixMillis(*until))))
    }

    /// Every block of a single person that stands.
    pub(super) async fn all(&self, now: OffsetDateTime) -> Result<Vec<Found>, StoreError> {
        let persons = self.store.down_from(PERSONS, i64::MAX, usize::MAX).await?;
        let found = stream::iter(persons)
            .map(async |(index, _)| self.of_person(&index, now).await)
            .buffered(AT_A_TIME)
            .try_collect::<Vec<_>>()
            .await?;
        Ok(found.into_iter().flatten().collect())
    }

    pub(super) async fn of_person(&self, index: &str, now: OffsetDateTime) -> Result<Vec<Found>, StoreError> {
        let list = list_of(index);
        let members = self.store.down_from(&list, i64::MAX, usize::MAX).await?;
        let members = members.into_iter().map(|(member, until)| (member, UnixMillis(until)));
        let standing = members.filter(|(_, until)| *until > now.into());
        let found = standing.map(|(member, until)| {
            let sealed = self.open(&list, &member);
            Found { index: index.to_owned(), member, sealed, until }
        });
        Ok(found.collect())
    }

    /// Removes what an order in these words laid on a person at that moment.
    pub(crate) async fn take_back(
        &self,
        index: &str,
        words: &Words,
        since: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Result<(), StoreError> {
        for found in self.of_person(index, now).await?.iter().filter(|found| found.is_by(words, since)) {
            self.remove(found).await?;
        }
        Ok(())
    }

    pub(super) async fn remove(&self, found: &Found) -> Result<(), StoreError> {
        // The person stays in the list of those who have blocks until the block would have ended: another may have been
        // laid down meanwhile.
        self.store.remove_member(&list_of(&found.index), &found.member).await.map(drop)
    }

    /// Seals again, under the sealing key, what was sealed under another, and forgets what is over.
    pub(crate) async fn keep_up(&self, now: OffsetDateTime) -> Result<(), StoreError> {
        for overdue in self.store.up_to(PERSONS, UnixMillis::from(now).0, usize::MAX).await? {
            for member in self.store.up_to(&list_of(&overdue), UnixMillis::from(now).0, usize::MAX).await? {
                self.store.remove_member(&list_of(&overdue), &member).await?;
            }
            if self.of_person(&overdue, now).await?.is_empty() {
                self.store.remove_member(PERSONS, &overdue).await?;
                // One that was laid down just now stays to be found.
                let standing = self.of_person(&overdue, now).await?;
                if let Some(longest) = standing.iter().map(|found| found.until).max() {
                    self.store.insert(PERSONS, &overdue, longest.0, moment_of(longest)).await?;
                }
            }
        }
        for found in self.all(now).await? {
            let list = list_of(&found.index);
            let is_new = STANDARD_NO_PAD
                .decode(&found.member)
                .is_ok_and(|sealed| self.sealer.is_under_sealing_key(list.as_bytes(), &sealed));
            if let Some(sealed) = found.sealed.as_ref().filter(|_| !is_new) {
                let until = moment_of(found.until);
                let anew = self.seal(&list, sealed);
                self.store.insert(&list, &anew, found.until.0, until).await?;
                // A block that another has lifted or taken in meanwhile does not come back.
                if !self.store.remove_member(&list, &found.member).await? {
                    self.store.remove_member(&list, &anew).await?;
                }
            }
        }
        Ok(())
    }

    fn seal(&self, list: &str, sealed: &Sealed) -> String {
        STANDARD_NO_PAD.encode(self.sealer.seal_json(list.as_bytes(), sealed))
    }

    fn open(&self, list: &str, member: &str) -> Option<Sealed> {
        self.sealer.open_json(list.as_bytes(), &STANDARD_NO_PAD.decode(member).ok()?).ok()
    }
}

fn list_of(index: &str) -> String {
    format!("blocks-of:{index}")
}
