//! Sorted sets: members by score, read from either end.

use std::fmt::Debug;

use async_trait::async_trait;
use time::OffsetDateTime;

use super::StoreError;

/// Keeps sorted sets of texts.
///
/// A set goes by itself once the moment of each of its members has passed (in whole seconds), and is there as long as it
/// has a member. Scores are exact up to 2^53.
#[async_trait]
pub trait SortedSets: Debug + Send + Sync {
    /// Adds a member, or gives it another score; the set lives at least until a moment. Not one atomic step: a failure in
    /// between may leave a set with the lifetime that it had.
    async fn insert(&self, set: &str, member: &str, score: i64, until: OffsetDateTime) -> Result<(), StoreError>;

    /// Takes a member out; `false` if it was not in the set.
    async fn remove_member(&self, set: &str, member: &str) -> Result<bool, StoreError>;

    /// Takes members out.
    async fn remove_members(&self, set: &str, members: &[String]) -> Result<(), StoreError>;

    /// Returns `limit` members at most, scored `highest` at most, highest first; equal scores by member, downwards.
    async fn down_from(&self, set: &str, highest: i64, limit: usize) -> Result<Vec<(String, i64)>, StoreError>;

    /// Returns `limit` members at most, scored `highest` at most, lowest first; equal scores by member, upwards.
    async fn up_to(&self, set: &str, highest: i64, limit: usize) -> Result<Vec<String>, StoreError>;

    /// Keeps a set, if it exists, at least until a moment.
    async fn extend(&self, set: &str, until: OffsetDateTime) -> Result<(), StoreError>;

    /// Takes every member out.
    async fn clear(&self, set: &str) -> Result<(), StoreError>;

    /// Counts the members.
    async fn length(&self, set: &str) -> Result<u64, StoreError>;
}
