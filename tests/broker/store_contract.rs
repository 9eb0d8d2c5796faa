//! One suite for every store (`counterfoil_session::store::contract`), a test for each promise and store.

use std::sync::Arc;

use counterfoil::clock::{Clock, ManualClock, SystemClock};
use counterfoil::session::store::contract::{self, PROMISES, Subject};
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

        #[test]
        fn no_promise_is_left_out() {
            assert_eq!([$(stringify!($name)),*], PROMISES);
        }
    };
    ($store:ident: $($name:ident)*) => {
        mod $store {
            $(#[tokio::test] async fn $name() { super::contract::$name(&super::Store::$store().subject).await; })*
        }
    };
}

on_every_store! {
    a_record_is_loaded_as_it_was_created
    creating_never_overwrites
    saving_changes_what_exists_and_never_revives
    a_deleted_record_is_gone_and_deleting_twice_is_fine
    a_record_expires_by_itself
    a_watched_record_is_the_same_and_comes_with_its_note
    a_note_outlives_its_record_and_is_replaced_only_where_it_is
    ending_a_session_takes_all_of_it_and_leaves_the_tombstone
    a_tombstone_outweighs_a_record_that_somebody_puts_back
    extending_ttls_never_revives_a_record_and_never_shortens_it
    what_is_left_of_many_sessions_is_read_at_once
    the_store_answers
    a_value_is_kept_until_it_is_removed_or_expires
    a_hash_keeps_its_fields_apart
    a_value_is_put_by_exactly_one_of_many_where_there_is_none
    a_lease_is_acquired_by_exactly_one_of_many
    a_lease_ends_with_its_ttl
    a_lease_is_renewed_while_it_is_held_and_never_taken_up_again
    a_lease_is_renewed_and_released_by_its_owner_alone
    a_sorted_set_is_read_in_its_order_from_any_place
    sorted_sets_are_apart_and_expire
    a_sorted_set_is_extended_and_loses_many_members_at_a_time
    a_log_numbers_its_entries_and_never_gives_a_number_twice
    a_log_is_read_behind_any_number
}
