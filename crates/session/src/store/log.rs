//! Logs: entries that are numbered by the store as it takes them.
//!
//! A number is given in the step that stores the entry, so whoever knows a number can read every entry up to it. Numbers
//! rise strictly for as long as one server gives them, whatever its clock does and whatever was deleted. (A Redis stream:
//! `XADD * …`.)

use std::fmt::{self, Debug};
use std::str::FromStr;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{StoreError, Watch};

/// Most entries of a log that a store reads at a time: whoever gets as many reads on behind the last one.
pub const MOST_READ: usize = 10_000;

/// The number of a log's entry: its server's milliseconds since 1970, and a count within the millisecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(from = "(u64, u64)", into = "(u64, u64)")]
pub struct LogNumber {
    /// Milliseconds since 1970.
    pub milliseconds: u64,
    /// The count within the millisecond.
    pub sequence: u64,
}

impl LogNumber {
    /// Lies before every entry.
    pub const BEGINNING: Self = Self { milliseconds: 0, sequence: 0 };

    /// Is true if a clock may have given it: by the year 9999. Another was written by somebody who is no broker.
    pub fn is_plausible(self) -> bool {
        self.milliseconds <= 253_402_300_799_999
    }

    /// Returns the number right behind this one; the highest there is stays.
    #[must_use]
    pub fn next(self) -> Self {
        match self.sequence.checked_add(1) {
            Some(sequence) => Self { sequence, ..self },
            None => Self { milliseconds: self.milliseconds.saturating_add(1), sequence: 0 },
        }
    }

    /// Returns the number right before this one.
    #[must_use]
    pub fn previous(self) -> Self {
        match (self.milliseconds, self.sequence) {
            (0, 0) => self,
            (milliseconds, 0) => Self { milliseconds: milliseconds - 1, sequence: u64::MAX },
            (milliseconds, sequence) => Self { milliseconds, sequence: sequence - 1 },
        }
    }
}

impl From<(u64, u64)> for LogNumber {
    fn from((milliseconds, sequence): (u64, u64)) -> Self {
        Self { milliseconds, sequence }
    }
}

impl From<LogNumber> for (u64, u64) {
    fn from(LogNumber { milliseconds, sequence }: LogNumber) -> Self {
        (milliseconds, sequence)
    }
}

/// A text that is no number of a log's entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the number of a log's entry")]
pub struct InvalidLogNumber;

impl fmt::Display for LogNumber {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", self.milliseconds, self.sequence)
    }
}

impl FromStr for LogNumber {
    type Err = InvalidLogNumber;

    fn from_str(text: &str) -> Result<Self, InvalidLogNumber> {
        let (milliseconds, sequence) = text.split_once('-').ok_or(InvalidLogNumber)?;
        let number = |part: &str| part.parse().map_err(|_| InvalidLogNumber);
        Ok(Self { milliseconds: number(milliseconds)?, sequence: number(sequence)? })
    }
}

/// An entry as the store took it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The number it was given.
    pub number: LogNumber,
    /// Set if it would outlive the loss of the server that took it: enough of its replicas confirmed it, or it has none.
    pub is_replicated: bool,
}

/// The entries behind a number, oldest first.
#[derive(Debug, Default)]
pub struct LogRead {
    /// Each with its number.
    pub entries: Vec<(LogNumber, Vec<u8>)>,
    /// Says until when there are no others. `None`: now and never again.
    pub watch: Option<Watch>,
}

/// Keeps logs.
///
/// A log lasts for ever, and so does each entry until it is deleted.
#[async_trait]
pub trait Log: Debug + Send + Sync {
    /// Appends an entry. It is stored with the number that is returned, or not at all; after an error that is not known.
    async fn append(&self, log: &str, entry: &[u8]) -> Result<Appended, StoreError>;

    /// Returns the number of a log's newest entry; `None` if it has none.
    async fn newest(&self, log: &str) -> Result<Option<LogNumber>, StoreError>;

    /// Reads the entries behind a number, [`MOST_READ`] at the most, and the promise to tell of others, if there is one.
    async fn read_watched(&self, log: &str, behind: LogNumber) -> Result<LogRead, StoreError>;

    /// Makes sure that every number given from now on is higher than `beyond`, by an entry if need be: a log that was lost may
    /// begin again with lower ones.
    async fn advance(&self, log: &str, beyond: LogNumber, entry: &[u8]) -> Result<(), StoreError>;

    /// Deletes an entry, whose number is never given again; `false` if it was not there.
    async fn delete_entry(&self, log: &str, number: LogNumber) -> Result<bool, StoreError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_ordered_and_read_back() {
        let number = |text: &str| text.parse::<LogNumber>();
        assert_eq!(number("1526919030474-55").unwrap().to_string(), "1526919030474-55");
        assert!(number("9-10").unwrap() > number("9-9").unwrap());
        assert!(number("10-0").unwrap() > number("9-99").unwrap());
        assert!(number("0-1").unwrap() > LogNumber::BEGINNING);
        assert_eq!(number("9-9").unwrap().previous(), number("9-8").unwrap());
        assert_eq!(number("9-8").unwrap().next(), number("9-9").unwrap());
        assert_eq!(number("8-18446744073709551615").unwrap().next(), number("9-0").unwrap());
        assert_eq!(number("9-0").unwrap().previous().to_string(), format!("8-{}", u64::MAX));
        assert_eq!(LogNumber::BEGINNING.previous(), LogNumber::BEGINNING);
        for wrong in ["", "-", "1", "1-", "-1", "1-x", "99999999999999999999-0"] {
            assert_eq!(number(wrong), Err(InvalidLogNumber), "{wrong}");
        }
    }
}
