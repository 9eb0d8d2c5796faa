//! Small values as strings, and hashes, read and written through the pool.

use std::collections::HashMap;

use async_trait::async_trait;
use bytes::Bytes;
use counterfoil_session::store::{KeyValue, StoreError};
use fred::clients::Client;
use fred::interfaces::{HashesInterface, KeysInterface};
use fred::types::SetOptions;
use time::OffsetDateTime;

use crate::{LONGEST_VALUE, MISSING, RedisBackend, at};

#[async_trait]
impl KeyValue for RedisBackend {
    async fn put(&self, name: &str, value: &[u8], until: Option<OffsetDateTime>) -> Result<(), StoreError> {
        let key = &self.value_key(name);
        let set = |client: Client| async move { client.set(key, value, until.map(at), None, false).await };
        self.ask(set).await
    }

    async fn put_if_absent(&self, name: &str, value: &[u8]) -> Result<bool, StoreError> {
        let key = &self.value_key(name);
        let set = |client: Client| async move { client.set(key, value, None, Some(SetOptions::NX), false).await };
        self.ask(set).await
    }

    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let key = &self.value_key(name);
        if let Some(value) = self.value(key).await? {
            return Ok(Some(value));
        }
        // GETRANGE answers alike for a value that is empty and for one that is missing.
        let read = |client: Client| async move {
            let pipeline = client.pipeline();
            let _: () = pipeline.pttl(key).await?;
            let _: () = pipeline.getrange(key, 0, LONGEST_VALUE - 1).await?;
            pipeline.all::<(i64, Bytes)>().await
        };
        let (lifetime, value) = self.ask(read).await?;
        Ok((lifetime != MISSING || !value.is_empty()).then(|| value.into()))
    }

    async fn remove(&self, name: &str) -> Result<(), StoreError> {
        let key = &self.value_key(name);
        self.ask(|client| async move { client.del(key).await }).await
    }

    async fn fields(&self, hash: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let key = &self.value_key(hash);
        let fields: HashMap<String, Bytes> = self.ask(|client| async move { client.hgetall(key).await }).await?;
        Ok(fields.into_iter().map(|(field, value)| (field, value.into())).collect())
    }

    async fn put_field(&self, hash: &str, field: &str, value: &[u8]) -> Result<(), StoreError> {
        let key = &self.value_key(hash);
        self.ask(|client| async move { client.hset(key, (field, value)).await }).await
    }

    async fn put_field_if_absent(&self, hash: &str, field: &str, value: &[u8]) -> Result<bool, StoreError> {
        let key = &self.value_key(hash);
        self.ask(|client| async move { client.hsetnx(key, field, value).await }).await
    }

    async fn remove_field(&self, hash: &str, field: &str) -> Result<(), StoreError> {
        let key = &self.value_key(hash);
        self.ask(|client| async move { client.hdel(key, field).await }).await
    }
}
