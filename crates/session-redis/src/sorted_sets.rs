//! Sorted sets, which live at least as long as their longest member.

use async_trait::async_trait;
use counterfoil_session::store::{SortedSets, StoreError};
use fred::clients::Client;
use fred::interfaces::{KeysInterface, SortedSetsInterface};
use fred::types::ExpireOptions;
use fred::types::sorted_sets::ZSort;
use time::OffsetDateTime;

use crate::RedisBackend;

#[async_trait]
impl SortedSets for RedisBackend {
    async fn insert(&self, set: &str, member: &str, score: i64, until: OffsetDateTime) -> Result<(), StoreError> {
        let key = &self.key("index", set);
        let until = until.unix_timestamp() + 1;
        let insert = |client: Client| async move {
            let pipeline = client.pipeline();
            let _: () = pipeline.zadd(key, None, None, false, false, (exact(score), member)).await?;
            // The set lives as long as its longest member: NX gives it an expiry, GT only ever extends it.
            let _: () = pipeline.expire_at(key, until, Some(ExpireOptions::NX)).await?;
            let _: () = pipeline.expire_at(key, until, Some(ExpireOptions::GT)).await?;
            pipeline.all::<Vec<i64>>().await
        };
        self.ask(insert).await?;
        Ok(())
    }

    async fn remove_member(&self, set: &str, member: &str) -> Result<bool, StoreError> {
        let key = &self.key("index", set);
        Ok(self.ask(|client| async move { client.zrem::<i64, _, _>(key, member).await }).await? > 0)
    }

    async fn remove_members(&self, set: &str, members: &[String]) -> Result<(), StoreError> {
        let key = &self.key("index", set);
        if members.is_empty() {
            return Ok(());
        }
        self.ask(|client| async move { client.zrem(key, members.to_vec()).await }).await
    }

    async fn down_from(&self, set: &str, highest: i64, limit: usize) -> Result<Vec<(String, i64)>, StoreError> {
        let key = &self.key("index", set);
        let (from, to) = (exact(highest), f64::NEG_INFINITY);
        let limit = Some((0, i64::try_from(limit).unwrap_or(i64::MAX)));
        let read =
            |client: Client| async move { client.zrange(key, from, to, Some(ZSort::ByScore), true, limit, true).await };
        let found: Vec<(String, f64)> = self.ask(read).await?;
        Ok(found.into_iter().map(|(member, score)| (member, whole(score))).collect())
    }

    async fn up_to(&self, set: &str, highest: i64, limit: usize) -> Result<Vec<String>, StoreError> {
        let key = &self.key("index", set);
        let (from, to) = (f64::NEG_INFINITY, exact(highest));
        let limit = Some((0, i64::try_from(limit).unwrap_or(i64::MAX)));
        let read = |client: Client| async move {
            client.zrange(key, from, to, Some(ZSort::ByScore), false, limit, false).await
        };
        self.ask(read).await
    }

    async fn extend(&self, set: &str, until: OffsetDateTime) -> Result<(), StoreError> {
        let key = &self.key("index", set);
        let until = until.unix_timestamp() + 1;
        self.ask(|client| async move { client.expire_at(key, until, Some(ExpireOptions::GT)).await }).await
    }

    async fn clear(&self, set: &str) -> Result<(), StoreError> {
        let key = &self.key("index", set);
        self.ask(|client| async move { client.del(key).await }).await
    }

    async fn length(&self, set: &str) -> Result<u64, StoreError> {
        let key = &self.key("index", set);
        self.ask(|client| async move { client.zcard(key).await }).await
    }
}

/// A sorted set's score. Milliseconds since 1970 are exact in an `f64` for the next hundred thousand years.
#[expect(clippy::cast_precision_loss, reason = "see above")]
fn exact(score: i64) -> f64 {
    score as f64
}

#[expect(clippy::cast_possible_truncation, reason = "only whole numbers are written")]
fn whole(score: f64) -> i64 {
    score as i64
}
