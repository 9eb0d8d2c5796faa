//! Leases: keys with a TTL, made where there is none.

use async_trait::async_trait;
use counterfoil_session::store::{LeaseStore, StoreError};
use fred::clients::Client;
use fred::interfaces::KeysInterface;
use fred::types::{Expiration, SetOptions};
use time::Duration;

use crate::RedisBackend;

#[async_trait]
impl LeaseStore for RedisBackend {
    async fn acquire(&self, name: &str, ttl: Duration) -> Result<bool, StoreError> {
        let key = &self.key("once", name);
        let acquire =
            |client: Client| async move { client.set(key, 1, Some(within(ttl)), Some(SetOptions::NX), false).await };
        self.ask(acquire).await
    }

    async fn renew(&self, name: &str, ttl: Duration) -> Result<bool, StoreError> {
        let key = &self.key("once", name);
        let renew =
            |client: Client| async move { client.set(key, 1, Some(within(ttl)), Some(SetOptions::XX), false).await };
        self.ask(renew).await
    }

    async fn release(&self, name: &str) -> Result<(), StoreError> {
        let key = &self.key("once", name);
        self.ask(|client| async move { client.del(key).await }).await
    }
}

fn within(ttl: Duration) -> Expiration {
    Expiration::PX(i64::try_from(ttl.whole_milliseconds()).unwrap_or(i64::MAX))
}
