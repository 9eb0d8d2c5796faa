//! One suite for every store (`counterfoil_session::store::contract`), a test for each promise and store.

use std::sync::Arc;

use counterfoil::clock::{Clock, ManualClock, SystemClock};
use counterfoil::session::store::contract::{self, Subject};
use counterfoil::session::store::memory::MemoryStore;
use counterfoil::session_redis::{RedisBackend, RedisSettings};

use crate::support::child::PATIENCE;
use crate::support::redis::{Redis, settings};
use crate::support::redis_cluster::Cluster;
use crate::support::redis_sentinel::Sentinels;
use crate::support::redis_tls::RedisTls;

/// A store under test, and its server, if that is of this test alone.
struct Store {
    subject: Subject,
    _server: Option<Redis>,
}

impl Store {
    fn memory() -> Self {
        let clock = ManualClock::at(SystemClock.now());
        let subject = Subject::new(Arc::new(MemoryStore::new(clock.clone()))).with_clock(clock);
        Self { subject, _server: None }
    }

    fn redis() -> Self {
        let server = Redis::start();
        let store = Self::shared(&settings(server.port()));
        Self { _server: Some(server), ..store }
    }

    fn redis_tls() -> Self {
        Self::shared(&RedisTls::shared().settings())
    }

    fn redis_sentinel() -> Self {
        Self::shared(&Sentinels::shared().settings())
    }

    fn redis_cluster() -> Self {
        Self::shared(&Cluster::shared().settings())
    }

    /// On servers that outlive the test: every name in the suite is random.
    fn shared(settings: &RedisSettings) -> Self {
        // Long enough for a dozen servers that start on a small machine.
        let settings = RedisSettings { timeout: PATIENCE, ..settings.clone() };
        let subject = Subject::new(Arc::new(RedisBackend::connect(&settings).unwrap()));
        Self { subject, _server: None }
    }
}

/// Runs a check on every store.
macro_rules! on_every_store {
    ($($name:ident)*) => {
        on_every_store! { memory: $($name)* }
        on_every_store! { redis: $($name)* }
        on_every_store! { redis_tls: $($name)* }
        on_every_store! { redis_sentinel: $($name)* }
        on_every_store! { redis_cluster: $($name)* }
    };
    ($store:ident: $($name:ident)*) => {
        mod $store {
            $(#[tokio::test] async fn $name() { super::contract::$name(&super::Store::$store().subject).await; })*
        }
    };
}

counterfoil::session::with_store_promises! { on_every_store }
