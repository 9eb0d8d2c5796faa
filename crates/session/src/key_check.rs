//! The mark of a store's owner: a record that tells the format of what lies there, proves under which of the server's
//! keys, and holds the index key, sealed under them.
//!
//! A broker with another key takes every session for none, signs everybody out, and is never noticed until then; two of
//! them beside each other flip people between signed in and signed out. So `Keyed` stands between the sessions and
//! their store: nothing is read or written before the record was found to fit (made if there is none), and nothing any
//! more once it was found not to. The record is looked at when the broker starts, when its keys change, when the store
//! was emptied or a connection to it is made anew, and every minute.

mod record;
mod store;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use counterfoil_core::secret::keyring::Keyring;
use counterfoil_core::secret::random_bytes;
use thiserror::Error;
use tower_sessions::session_store;
use zeroize::Zeroizing;

use super::blocks::of_persons::PERSONS;
use super::hashed_name::{KEY_BYTES, Names};
use super::registry::HOURS;
use super::store::{SessionBackend, StoreError};

pub use self::record::STORE_FORMAT;
use self::record::StoreKeys;

/// The record's name.
const NAME: &str = "keys";
/// Attempts at making it, should it vanish each time.
const ATTEMPTS: usize = 3;

/// The reason why a store is not ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Foreign {
    /// It was begun with a key that is none of ours.
    #[error(
        "the store was begun with another key than those of secrets.keys: \
         give this broker that key, or an empty database of its own"
    )]
    Key,
    /// It holds another format.
    #[error(
        "the store holds another format than this version's ({STORE_FORMAT}): \
         run the version that wrote it, or use an empty database"
    )]
    Format,
    /// It holds sessions or blocks, and not the record of whose they are: nobody could find them by name.
    #[error(
        "the store holds sessions or blocks, but its record of the server's key is missing: \
         a running broker puts it back within a minute; if there is none, use an empty database"
    )]
    Unmarked,
}

/// The owner of a store, as a look at the record found it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreOwner {
    /// The store is ours.
    Us,
    /// The store is nobody's: it is empty, or was emptied.
    Nobody,
}

/// The store's owner, as far as is known, in one word: the number of the look that told, and its verdict in the lowest
/// bits. So of two looks that overlap the later one counts, whichever ends first.
#[derive(Debug, Default)]
struct Known {
    newest: AtomicU64,
    looks: AtomicU64,
}

/// A look's number, drawn before it reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Look(u64);

type Verdict = Option<Result<(), Foreign>>;

impl Known {
    const BITS: u32 = 3;

    fn begin(&self) -> Look {
        Look(self.looks.fetch_add(1, Ordering::AcqRel) + 1)
    }

    /// Takes over what a look found, unless a later one told already; returns what was known before if taken over.
    fn conclude(&self, Look(number): Look, verdict: Verdict) -> Option<Verdict> {
        let told = (number << Self::BITS) | Self::code(verdict);
        let before = self.newest.fetch_max(told, Ordering::AcqRel);
        (before < told).then(|| Self::verdict(before))
    }

    fn get(&self) -> Verdict {
        Self::verdict(self.newest.load(Ordering::Acquire))
    }

    fn code(verdict: Verdict) -> u64 {
        match verdict {
            None => 0,
            Some(Ok(())) => 1,
            Some(Err(Foreign::Key)) => 2,
            Some(Err(Foreign::Format)) => 3,
            Some(Err(Foreign::Unmarked)) => 4,
        }
    }

    fn verdict(word: u64) -> Verdict {
        match word & ((1 << Self::BITS) - 1) {
            0 => None,
            1 => Some(Ok(())),
            2 => Some(Err(Foreign::Key)),
            3 => Some(Err(Foreign::Format)),
            _ => Some(Err(Foreign::Unmarked)),
        }
    }
}

/// A store that is used only while it is ours.
pub(super) struct Keyed {
    backend: Arc<dyn SessionBackend>,
    keys: StoreKeys,
    /// The last verdict, read by every check of a session.
    known: Known,
    /// The index key of the store, once it was found to be ours.
    names: ArcSwapOption<IndexKey>,
}

/// The index key, and the names that it makes.
#[derive(Debug)]
struct IndexKey {
    /// The look that found it.
    look: Look,
    key: Zeroizing<[u8; KEY_BYTES]>,
    /// The record that it was read from.
    record: Vec<u8>,
    names: Arc<Names>,
}

impl Keyed {
    pub(super) fn new(backend: Arc<dyn SessionBackend>, keyring: &Keyring) -> Arc<Self> {
        let (known, names) = (Known::default(), ArcSwapOption::empty());
        Arc::new(Self { backend, keys: StoreKeys::new(keyring), known, names })
    }

    /// Returns the maker of the store's names; looks first whose store it is if that is not known.
    pub(super) async fn names(&self) -> Result<Arc<Names>, StoreError> {
        self.ours().await?;
        self.names.load().as_ref().map(|index| index.names.clone()).ok_or_else(emptied_again_and_again)
    }

    /// Is true if the store was found to be ours when it was last looked at.
    pub(super) fn is_ours(&self) -> bool {
        self.known.get() == Some(Ok(()))
    }

    /// Looks at the record; changes nothing in the store.
    pub(super) async fn look(&self) -> Result<StoreOwner, StoreError> {
        let look = self.known.begin();
        let Some(found) = self.backend.get(NAME).await? else { return Ok(StoreOwner::Nobody) };
        let judged = self.keys.judge(&found).map(|key| self.take_over(look, key, &found));
        self.conclude(look, judged)?;
        Ok(StoreOwner::Us)
    }

    /// Looks at the record, and makes it if there is none. Of any number of brokers that do so at the same time, one
    /// makes it and the others find it.
    pub(super) async fn look_or_begin(&self) -> Result<(), StoreError> {
        for _ in 0..ATTEMPTS {
            if self.look().await? == StoreOwner::Us {
                return Ok(());
            }
            let record = match &*self.names.load() {
                // Whoever knows the index key puts it back: the names of what is there stay what they are.
                Some(index) if self.keys.is_under_sealing_key(&index.record) => index.record.clone(),
                Some(index) => self.keys.record(&index.key),
                None => {
                    self.ensure_there_are_no_names().await?;
                    self.keys.record(&random_bytes())
                }
            };
            self.backend.put_if_absent(NAME, &record).await?;
        }
        // It vanishes as often as it is made: somebody empties the store all the time.
        match self.look().await? {
            StoreOwner::Us => Ok(()),
            StoreOwner::Nobody => Err(emptied_again_and_again()),
        }
    }

    /// Checks that a new index key would not leave anything behind that has a name by another one.
    async fn ensure_there_are_no_names(&self) -> Result<(), StoreError> {
        let look = self.known.begin();
        for list in [HOURS, PERSONS] {
            // Somebody else may have begun the store, and signed somebody in, since it was looked at.
            if self.backend.length(list).await? > 0 && self.backend.get(NAME).await?.is_none() {
                self.conclude(look, Err(Foreign::Unmarked))?;
            }
        }
        Ok(())
    }

    /// Uses an index key from now on.
    fn take_over(&self, look: Look, key: Zeroizing<[u8; KEY_BYTES]>, record: &[u8]) {
        let found = Arc::new(IndexKey { look, names: Arc::new(Names::of(*key)), key, record: record.to_owned() });
        self.names.rcu(|known| match known {
            // Of looks that overlap the later one counts.
            Some(known) if known.look > look || known.record == found.record => Some(known.clone()),
            _ => Some(found.clone()),
        });
    }

    /// Writes the record anew under the key that seals, if it was written under an older one.
    pub(super) async fn seal_again(&self) -> Result<(), StoreError> {
        self.look_or_begin().await?;
        let Some(found) = self.backend.get(NAME).await? else { return Ok(()) };
        match self.keys.judge(&found) {
            Ok(key) if !self.keys.is_under_sealing_key(&found) => {
                self.backend.put(NAME, &self.keys.record(&key), None).await
            }
            _ => Ok(()),
        }
    }

    /// Checks that other keys fit the store as well. Changes nothing, but puts the record of a store that is ours back
    /// if it is missing: any key would fit one without.
    pub(super) async fn fits(&self, keyring: &Keyring) -> Result<(), StoreError> {
        if self.is_ours() {
            self.look_or_begin().await?;
        }
        match self.backend.get(NAME).await? {
            Some(found) => Ok(StoreKeys::new(keyring).judge(&found).map(drop)?),
            None => Ok(()),
        }
    }

    /// Forgets whose store it is, so that the next question looks first. A look begun before tells nothing any more.
    pub(super) fn forget(&self) {
        self.known.conclude(self.known.begin(), None);
    }

    fn conclude(&self, look: Look, judged: Result<(), Foreign>) -> Result<(), Foreign> {
        let before = self.known.conclude(look, Some(judged));
        if let (Err(foreign), Some(before)) = (judged, before)
            && before != Some(judged)
        {
            tracing::error!(%foreign, "nobody is served");
        }
        judged
    }

    /// Returns the store if it is ours; looks first if that is not known. It comes before every use of the store.
    pub(super) async fn ours(&self) -> Result<&dyn SessionBackend, StoreError> {
        match self.known.get() {
            Some(judged) => judged?,
            None => self.look_or_begin().await?,
        }
        Ok(&*self.backend)
    }
}

fn emptied_again_and_again() -> StoreError {
    session_store::Error::Backend("it is emptied again and again".into()).into()
}

impl fmt::Debug for Keyed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Keyed").field("is_ours", &self.is_ours()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks that overlap in every order: the one that began last tells, a forgetting like a look.
    #[test]
    fn of_looks_that_overlap_the_one_that_began_last_counts() {
        let verdicts =
            [None, Some(Ok(())), Some(Err(Foreign::Key)), Some(Err(Foreign::Format)), Some(Err(Foreign::Unmarked))];
        for earlier in verdicts {
            for later in verdicts {
                let known = Known::default();
                let (first, second) = (known.begin(), known.begin());
                assert_eq!(known.conclude(second, later), Some(None));
                assert_eq!(known.conclude(first, earlier), None);
                assert_eq!(known.get(), later);
                let third = known.begin();
                assert_eq!(known.conclude(third, earlier), Some(later));
                assert_eq!(known.get(), earlier);
            }
        }
    }
}
