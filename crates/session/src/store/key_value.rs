//! Small values by name, and hashes of them.

use std::fmt::Debug;

use async_trait::async_trait;
use time::OffsetDateTime;

use super::StoreError;

/// Keeps small values under names, and hashes whose fields are small values.
///
/// The names of hashes are those of values: one name is either. A hash is there as long as it has a field, and lasts for
/// ever.
#[async_trait]
pub trait KeyValue: Debug + Send + Sync {
    /// Keeps a value under a name, until a moment or for ever; replaces the one there was.
    async fn put(&self, name: &str, value: &[u8], until: Option<OffsetDateTime>) -> Result<(), StoreError>;

    /// Keeps a value under a name for ever, unless there is one; `true` for exactly one of any number of simultaneous
    /// callers.
    async fn put_if_absent(&self, name: &str, value: &[u8]) -> Result<bool, StoreError>;

    /// Returns the value under a name.
    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError>;

    /// Removes the value under a name.
    async fn remove(&self, name: &str) -> Result<(), StoreError>;

    /// Returns the fields of a hash and their values, in any order.
    async fn fields(&self, hash: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError>;

    /// Sets a field of a hash; replaces the value it had.
    async fn put_field(&self, hash: &str, field: &str, value: &[u8]) -> Result<(), StoreError>;

    /// Sets a field of a hash, unless it is set; `true` for exactly one of any number of simultaneous callers.
    async fn put_field_if_absent(&self, hash: &str, field: &str, value: &[u8]) -> Result<bool, StoreError>;

    /// Removes a field of a hash.
    async fn remove_field(&self, hash: &str, field: &str) -> Result<(), StoreError>;
}
