//! The registry as the maintenance uses it: all entries in batches, and lists that are kept for longer.

use std::collections::BTreeMap;

use time::OffsetDateTime;

use super::{BATCH, Cursor, Entry, HOURS, ISSUERS, Registry, hour_of, list_of_hour};
use crate::maintenance::retention::Retention;
use crate::record::SessionRecord;
use crate::store::{SortedSets, StoreError};

impl Entry {
    /// The moment the session was established.
    pub(crate) fn established_at(&self) -> OffsetDateTime {
        self.place.established.try_into().unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }
}

impl Registry {
    /// Returns a batch of the entries of all sessions behind a place, of one hour; empty at the end.
    pub(crate) async fn entries_behind(&self, place: Option<Cursor>) -> Result<Vec<Entry>, StoreError> {
        self.all_behind(place, BATCH).await
    }

    /// Takes entries out of the lists of their hours.
    pub(crate) async fn forget_entries(&self, entries: &[Entry]) -> Result<(), StoreError> {
        let mut hours: BTreeMap<i64, Vec<String>> = BTreeMap::new();
        for entry in entries {
            hours.entry(hour_of(entry.place.established)).or_default().push(entry.member());
        }
        for (hour, members) in hours {
            self.store.remove_members(&list_of_hour(hour), &members).await?;
        }
        Ok(())
    }

    /// Keeps the lists that these entries, which are of one hour, share with others for longer.
    pub(crate) async fn extend_hours(&self, entries: &[Entry], longest: Retention) -> Result<(), StoreError> {
        let Some(newest) = entries.first() else { return Ok(()) };
        let until = longest.entry_until(newest.established_at());
        for list in [HOURS, ISSUERS, &list_of_hour(hour_of(newest.place.established))] {
            self.store.extend(list, until).await?;
        }
        Ok(())
    }

    /// Keeps the lists of a person's sessions for longer.
    pub(crate) async fn extend_lists(&self, record: &SessionRecord, longest: Retention) -> Result<(), StoreError> {
        for index in self.store.names().await?.indexes(record) {
            self.store.extend(index.as_str(), longest.entry_until(record.created_at)).await?;
        }
        Ok(())
    }
}
