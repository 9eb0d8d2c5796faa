//! Leases: keys with a TTL, whose value is the owner.
//!
//! A lease is acquired by `SET NX PX`. It is renewed and released by a script of one key, which Redis runs as one step:
//! Redis 7 has no command that compares a value before it changes it.

use async_trait::async_trait;
use counterfoil_core::unix_millis::whole_milliseconds;
use counterfoil_session::store::{LeaseOwner, LeaseStore, StoreError};
use fred::clients::Client;
use fred::interfaces::KeysInterface;
use fred::types::{Expiration, SetOptions, Value};
use time::Duration;

use crate::{RedisBackend, on_the_server_of};

/// Renews the lease of an owner. A value that is longer than an owner is none.
const RENEW: &str = "if redis.call('GETRANGE', KEYS[1], 0, 63) ~= ARGV[1] then return 0 end \
    redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) return 1";
/// Releases the lease of an owner.
const RELEASE: &str = "if redis.call('GETRANGE', KEYS[1], 0, 63) ~= ARGV[1] then return 0 end \
    return redis.call('DEL', KEYS[1])";

#[async_trait]
impl LeaseStore for RedisBackend {
    async fn acquire(&self, name: &str, owner: &LeaseOwner, ttl: Duration) -> Result<bool, StoreError> {
        let (key, owner, ttl) = (&self.lease_key(name), owner.as_str(), whole_milliseconds(ttl));
        let acquire = |client: Client| async move {
            client.set(key, owner, Some(Expiration::PX(ttl)), Some(SetOptions::NX), false).await
        };
        self.ask(acquire).await
    }

    async fn renew(&self, name: &str, owner: &LeaseOwner, ttl: Duration) -> Result<bool, StoreError> {
        self.run(RENEW, name, &[owner.as_str(), &whole_milliseconds(ttl).to_string()]).await
    }

    async fn release(&self, name: &str, owner: &LeaseOwner) -> Result<bool, StoreError> {
        self.run(RELEASE, name, &[owner.as_str()]).await
    }
}

impl RedisBackend {
    fn lease_key(&self, name: &str) -> String {
        self.key("once", name)
    }

    /// Runs a script on one lease; is true if it did something.
    async fn run(&self, script: &'static str, name: &str, arguments: &[&str]) -> Result<bool, StoreError> {
        let key = &self.lease_key(name);
        let words = [script, "1", key].into_iter().chain(arguments.iter().copied()).map(Value::from);
        let words = &words.collect::<Vec<_>>();
        let run = |client: Client| async move { on_the_server_of::<i64>(key, &client, "EVAL", words.clone()).await };
        Ok(self.ask(run).await? > 0)
    }
}
