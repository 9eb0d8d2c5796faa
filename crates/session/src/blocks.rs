//! Blocks: who may have no session until when, in whose words, and lifting them (R-N04).
//!
//! An order blocks in words ("the group finance"), and every person whose session it ends by name, since they may be of
//! another group when they come back. A block is lifted by the words that laid it down, and by no others: lifting the
//! block of a group does not let in a member of it who is blocked for reasons of their own. Only an order that names a
//! person lifts whatever was laid down on them alone.
//!
//! Blocks of persons: `of_persons`; of many: `cut_off`.

pub(super) mod of_persons;

use std::fmt;

use counterfoil_core::identity::Identity;
use counterfoil_core::unix_millis::{UnixMillis, whole_milliseconds};
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use super::administration::SessionAdministration;
use super::filter::{Filter, LoginFilter};
use super::key::SessionHandle;
use super::revocation::Selection;
use super::store::StoreError;

use self::of_persons::Found;

/// The words of an order: whom it meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Words {
    /// The person of this session.
    Session(String),
    /// Whoever fits.
    Filter {
        /// The filter of their logins.
        logins: LoginFilter,
        /// The time without use of their session beyond which they fit, in milliseconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        idle_longer_than: Option<i64>,
    },
}

impl Words {
    pub(super) fn of_session(handle: SessionHandle) -> Self {
        Self::Session(handle.to_string())
    }

    /// The words of a filter.
    pub fn of(filter: &Filter) -> Self {
        let moves = Filter { idle_longer_than: None, ..filter.clone() };
        Self::Filter {
            logins: moves.of_logins().unwrap_or_default(),
            idle_longer_than: filter.idle_longer_than.map(whole_milliseconds),
        }
    }

    /// The filter, unless it was a session.
    pub fn filter(&self) -> Option<Filter> {
        let Self::Filter { logins, idle_longer_than } = self else { return None };
        Some(Filter {
            person: logins.person.clone(),
            network: logins.network,
            browser: logins.browser,
            older_than: logins.older_than.map(Duration::milliseconds),
            idle_longer_than: idle_longer_than.map(Duration::milliseconds),
            happened: None,
        })
    }

    /// The words that a block of many is spoken of by.
    pub(super) fn of_logins(logins: &LoginFilter) -> Self {
        Self::Filter { logins: logins.clone(), idle_longer_than: None }
    }

    /// Is true if two orders mean the same: addresses are compared as people write them.
    fn are(&self, other: &Self) -> bool {
        self.folded() == other.folded()
    }

    fn folded(&self) -> Self {
        let mut folded = self.clone();
        if let Self::Filter { logins: LoginFilter { person, .. }, .. } = &mut folded {
            for address in [&mut person.user, &mut person.verified_email].into_iter().flatten() {
                if address.contains('@') {
                    address.make_ascii_lowercase();
                }
            }
        }
        folded
    }
}

impl fmt::Display for Words {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session(handle) => write!(formatter, "session {handle}"),
            Self::Filter { .. } => self.filter().unwrap_or_default().fmt(formatter),
        }
    }
}

impl fmt::Display for Meant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => formatter.write_str("every block"),
            Self::InTheseWords(these) => {
                let these: Vec<_> = these.iter().map(ToString::to_string).collect();
                formatter.write_str(&these.join("; "))
            }
            Self::OfWhomeverFits(filter) => filter.fmt(formatter),
        }
    }
}

/// A block that stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The person who is blocked; `None`: whoever fits the words.
    pub person: Option<Identity>,
    /// The words in which it was ordered; `None` if they cannot be read: they were sealed under a key that is gone.
    pub words: Option<Words>,
    /// The end of the block: until then nobody it means gets a session.
    pub until: OffsetDateTime,
    /// The moment it was ordered.
    pub since: Option<OffsetDateTime>,
    /// The person or program that ordered it.
    pub by: Option<String>,
    /// The reason, in their words.
    pub reason: Option<String>,
}

/// The outcome of lifting blocks.
#[derive(Debug, Default)]
pub struct Lifted {
    /// Those that are gone.
    pub lifted: Vec<Block>,
    /// Those that stand against the same persons all the same, by other words.
    pub standing: Vec<Block>,
    /// The store's failure, if not all that were meant are gone.
    pub failure: Option<StoreError>,
}

/// The blocks that are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meant {
    /// Every one.
    All,
    /// Those that were ordered in these words, and every block of a person whom they name by issuer and subject.
    InTheseWords(Vec<Words>),
    /// Those that were ordered in the words of this filter, and every block of a person whom it names and who fits,
    /// unless it speaks of addresses or ages: those are of sessions, so then the same words alone count.
    OfWhomeverFits(Filter),
}

impl Meant {
    /// Means the blocks that an order of this selection laid down.
    pub fn by_order(selection: &Selection) -> Self {
        Self::InTheseWords(match selection {
            Selection::Handles(handles) => handles.iter().copied().map(Words::of_session).collect(),
            Selection::Matching(filter) => vec![Words::of(filter)],
            // Providers lay down none.
            Selection::ProviderSession { .. } | Selection::Searched(_) => Vec::new(),
        })
    }

    /// Is true if a block of many is meant.
    pub(super) fn means_words(&self, words: &Words) -> bool {
        match self {
            Self::All => true,
            Self::InTheseWords(these) => these.iter().any(|meant| meant.are(words)),
            Self::OfWhomeverFits(filter) => Words::of(filter).are(words),
        }
    }

    /// The words of orders that do not stand in the log, since what they say moves; `None` stands for all there may be.
    fn words_that_move(&self) -> Vec<Option<Words>> {
        let these = match self {
            Self::All => return vec![None],
            Self::InTheseWords(these) => these.clone(),
            Self::OfWhomeverFits(filter) => vec![Words::of(filter)],
        };
        let moves = |words: &Words| matches!(words, Words::Filter { idle_longer_than: Some(_), .. });
        these.into_iter().filter(moves).map(Some).collect()
    }

    fn means(&self, block: &Block) -> bool {
        if block.words.as_ref().is_some_and(|words| self.means_words(words)) {
            return true;
        }
        let Some(person) = &block.person else { return *self == Self::All };
        match self {
            Self::All => true,
            Self::InTheseWords(these) => these.iter().any(|words| match words {
                Words::Filter { logins, idle_longer_than: None } => {
                    logins.one_person() == Some((person.issuer.as_str(), person.subject.as_str()))
                }
                Words::Filter { .. } | Words::Session(_) => false,
            }),
            Self::OfWhomeverFits(filter) => {
                let of_persons_alone = filter.of_logins().is_some_and(|logins| logins.says_who());
                of_persons_alone && filter.names_a_person() && filter.person.fits(person)
            }
        }
    }

    /// The person whose list has to be looked at, whatever is in it.
    fn one_person(&self) -> Option<(String, String)> {
        let these = match self {
            Self::All => return None,
            Self::InTheseWords(these) => these.clone(),
            Self::OfWhomeverFits(filter) => vec![Words::of(filter)],
        };
        these.iter().find_map(|words| match words {
            Words::Filter { logins, idle_longer_than: None } => {
                logins.one_person().map(|(issuer, subject)| (issuer.to_owned(), subject.to_owned()))
            }
            Words::Filter { .. } | Words::Session(_) => None,
        })
    }
}

impl SessionAdministration {
    /// Every block that stands, those that last longest first.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be asked.
    pub async fn blocks(&self) -> Result<Vec<Block>, StoreError> {
        let now = self.0.clock.now();
        let mut blocks = self.0.cut_offs.blocks(now).await?;
        blocks.extend(self.0.blocks.all(now).await?.iter().map(Found::block));
        blocks.sort_by_key(|block| std::cmp::Reverse(block.until));
        Ok(blocks)
    }

    /// Returns the blocks that [`Self::lift_blocks`] would lift.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be asked.
    pub async fn blocks_meant(&self, meant: &Meant) -> Result<Vec<Block>, StoreError> {
        let now = self.0.clock.now();
        let mut blocks = self.0.cut_offs.blocks(now).await?;
        blocks.retain(|block| meant.means(block));
        blocks.extend(self.of_persons_meant(meant, now).await?.iter().map(Found::block));
        Ok(blocks)
    }

    /// The blocks of single persons that are meant.
    async fn of_persons_meant(&self, meant: &Meant, now: OffsetDateTime) -> Result<Vec<Found>, StoreError> {
        let mut found = self.0.blocks.all(now).await?;
        found.retain(|found| meant.means(&found.block()));
        if let Some((issuer, subject)) = meant.one_person() {
            // These include blocks that cannot be read, and those that are not in the list of persons.
            let index = self.0.store.names().await?.subject(&issuer, &subject);
            found.retain(|found| !found.is_of(&index));
            found.extend(self.0.blocks.of_person(index.as_str(), now).await?);
        }
        Ok(found)
    }

    /// Lifts blocks. It says which, and which others stand against the same persons. With a failure as much of it has
    /// been done as could be, and repeating it is safe.
    pub async fn lift_blocks(&self, meant: &Meant) -> Lifted {
        let mut lifted = Vec::new();
        let done = self.lift_into(&mut lifted, meant).await;
        let failure = done.err();
        let standing = if failure.is_none() { self.standing_against(&lifted).await } else { Ok(Vec::new()) };
        let standing = standing.unwrap_or_else(|error| {
            // Nothing that was asked for is missing.
            tracing::warn!(%error, "which blocks stand all the same cannot be said");
            Vec::new()
        });
        Lifted { lifted, standing, failure }
    }

    async fn lift_into(&self, lifted: &mut Vec<Block>, meant: &Meant) -> Result<(), StoreError> {
        let now = self.0.clock.now();
        self.0.cut_offs.lift(meant, now, lifted).await?;
        for words in meant.words_that_move() {
            self.0.blocks.note_lifted(words, now).await?;
        }
        for found in self.of_persons_meant(meant, now).await? {
            self.0.blocks.remove(&found).await?;
            lifted.push(found.block());
        }
        Ok(())
    }

    /// Removes the blocks of persons that one order laid down, by its words and its moment.
    pub(super) async fn take_back_blocks(&self, words: &Words, since: OffsetDateTime) -> Result<(), StoreError> {
        for found in self.0.blocks.all(self.0.clock.now()).await? {
            if found.is_by(words, since) {
                self.0.blocks.remove(&found).await?;
            }
        }
        Ok(())
    }

    /// The blocks that stand against the persons of these.
    async fn standing_against(&self, lifted: &[Block]) -> Result<Vec<Block>, StoreError> {
        let persons: Vec<_> = lifted.iter().filter_map(|block| block.person.as_ref()).collect();
        let stands_against = |block: &Block, person: &Identity| match (&block.person, &block.words) {
            (Some(other), _) => (&other.issuer, &other.subject) == (&person.issuer, &person.subject),
            (None, Some(Words::Filter { logins, .. })) => logins.person.fits(person),
            (None, _) => false,
        };
        let mut standing = if persons.is_empty() { Vec::new() } else { self.blocks().await? };
        standing.retain(|block| persons.iter().any(|person| stands_against(block, person)));
        Ok(standing)
    }
}

/// A moment that cannot be told is far away: what stands there refuses.
pub(super) fn moment_of(moment: UnixMillis) -> OffsetDateTime {
    moment.try_into().unwrap_or(time::Date::MAX.midnight().assume_utc())
}
