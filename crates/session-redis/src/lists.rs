//! Lists as Redis sorted sets, which live at least as long as their longest member.

use counterfoil_session::store::StoreError;
use fred::clients::Client;
use fred::interfaces::{KeysInterface, SortedSetsInterface};
use fred::types::ExpireOptions;
use fred::types::sorted_sets::ZSort;
use time::OffsetDateTime;

use crate::RedisBackend;

pub(crate) async fn insert(
    store: &RedisBackend,
    key: &str,
    (member, rank): (&str, i64),
    until: OffsetDateTime,
) -> Result<(), StoreError> {
    let until = until.unix_timestamp() + 1;
    let insert = |client: Client| async move {
        let pipeline = client.pipeline();
        let _: () = pipeline.zadd(key, None, None, false, false, (exact(rank), member)).await?;
        // The list lives as long as its longest member: NX gives it an expiry, GT only ever extends it.
        let _: () = pipeline.expire_at(key, until, Some(ExpireOptions::NX)).await?;
        let _: () = pipeline.expire_at(key, until, Some(ExpireOptions::GT)).await?;
        pipeline.all::<Vec<i64>>().await
    };
    store.ask(insert).await?;
    Ok(())
}

pub(crate) async fn extend(store: &RedisBackend, key: &str, until: OffsetDateTime) -> Result<(), StoreError> {
    let until = until.unix_timestamp() + 1;
    store.ask(|client| async move { client.expire_at(key, until, Some(ExpireOptions::GT)).await }).await
}

pub(crate) async fn down_from(
    store: &RedisBackend,
    key: &str,
    highest: i64,
    limit: usize,
) -> Result<Vec<(String, i64)>, StoreError> {
    let (from, to) = (exact(highest), f64::NEG_INFINITY);
    let limit = Some((0, i64::try_from(limit).unwrap_or(i64::MAX)));
    let read =
        |client: Client| async move { client.zrange(key, from, to, Some(ZSort::ByScore), true, limit, true).await };
    let found: Vec<(String, f64)> = store.ask(read).await?;
    Ok(found.into_iter().map(|(member, score)| (member, whole(score))).collect())
}

pub(crate) async fn up_to(
    store: &RedisBackend,
    key: &str,
    highest: i64,
    limit: usize,
) -> Result<Vec<String>, StoreError> {
    let (from, to) = (f64::NEG_INFINITY, exact(highest));
    let limit = Some((0, i64::try_from(limit).unwrap_or(i64::MAX)));
    let read =
        |client: Client| async move { client.zrange(key, from, to, Some(ZSort::ByScore), false, limit, false).await };
    store.ask(read).await
}

pub(crate) async fn remove_all(store: &RedisBackend, key: &str, members: &[String]) -> Result<(), StoreError> {
    if members.is_empty() {
        return Ok(());
    }
    store.ask(|client| async move { client.zrem(key, members.to_vec()).await }).await
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
