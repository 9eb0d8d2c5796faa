//! The contract of a store as a suite of tests, for whoever writes one.
//!
//! Each promise is a function that panics if the store breaks it; [`check`] takes them one after the other, and
//! [`with_store_promises`](crate::with_store_promises) has their names, for those who want a test of each. Every name that
//! the suite uses is random, so that it can run on a store that others use.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! use std::sync::Arc;
//! use counterfoil_core::clock::{Clock, ManualClock, SystemClock};
//! use counterfoil_session::store::contract::{Subject, check};
//! use counterfoil_session::store::memory::MemoryStore;
//!
//! let clock = ManualClock::at(SystemClock.now());
//! check(&Subject::new(Arc::new(MemoryStore::new(clock.clone()))).with_clock(clock)).await;
//! # });
//! ```

#![expect(clippy::missing_panics_doc, reason = "a promise that is broken is a panic")]

mod key_value;
mod leases;
mod log;
mod records;
mod sorted_sets;

use std::sync::Arc;
use std::time::{Duration as StdDuration, Instant};

use counterfoil_core::clock::{Clock, ManualClock, SystemClock};
use time::{Duration, OffsetDateTime};

use super::SessionBackend;
use crate::key::{SessionHandle, SessionKey};

pub use self::key_value::{
    a_hash_keeps_its_fields_apart, a_value_is_kept_until_it_is_removed_or_expires,
    a_value_is_put_by_exactly_one_of_many_where_there_is_none,
};
pub use self::leases::{
    a_lease_ends_with_its_ttl, a_lease_is_acquired_by_exactly_one_of_many,
    a_lease_is_renewed_and_released_by_its_owner_alone, a_lease_is_renewed_while_it_is_held_and_never_taken_up_again,
};
pub use self::log::{
    a_log_goes_on_behind_a_number_from_elsewhere, a_log_is_read_behind_any_number,
    a_log_numbers_its_entries_and_never_gives_a_number_twice,
};
pub use self::records::{
    a_deleted_record_is_gone_and_deleting_twice_is_fine, a_note_outlives_its_record_and_is_replaced_only_where_it_is,
    a_record_expires_by_itself, a_record_is_loaded_as_it_was_created,
    a_tombstone_outweighs_a_record_that_somebody_puts_back, a_watched_record_is_the_same_and_comes_with_its_note,
    creating_never_overwrites, ending_a_session_takes_all_of_it_and_leaves_the_tombstone,
    extending_ttls_never_revives_a_record_and_never_shortens_it, saving_changes_what_exists_and_never_revives,
    the_store_answers, what_is_left_of_many_sessions_is_read_at_once,
};
pub use self::sorted_sets::{
    a_sorted_set_is_extended_and_loses_many_members_at_a_time, a_sorted_set_is_read_in_its_order_from_any_place,
    sorted_sets_are_apart_and_expire,
};

/// Longest wait for the store to forget what is over.
const PATIENCE: StdDuration = StdDuration::from_mins(2);
/// Interval between two looks at a store that has its own clock.
const LOOK_INTERVAL: StdDuration = StdDuration::from_millis(10);

/// A store, and a way to let time pass for it.
#[derive(Debug)]
pub struct Subject {
    store: Arc<dyn SessionBackend>,
    clock: Option<Arc<ManualClock>>,
}

impl Subject {
    /// A store that goes by the time of the world.
    pub fn new(store: Arc<dyn SessionBackend>) -> Self {
        Self { store, clock: None }
    }

    /// Lets time pass by this clock, which the store goes by.
    #[must_use]
    pub fn with_clock(self, clock: Arc<ManualClock>) -> Self {
        Self { clock: Some(clock), ..self }
    }

    fn now(&self) -> OffsetDateTime {
        self.clock.as_ref().map_or_else(|| SystemClock.now(), |clock| clock.now())
    }

    /// Waits until a condition holds, and lets time pass meanwhile.
    async fn until(&self, mut holds: impl AsyncFnMut() -> bool) {
        let begun = Instant::now();
        while !holds().await {
            assert!(begun.elapsed() < PATIENCE, "its time does not pass");
            match &self.clock {
                Some(clock) => clock.advance(Duration::milliseconds(100)),
                None => tokio::time::sleep(LOOK_INTERVAL).await,
            }
        }
    }

    /// Does what has to be done within a lifetime, with a longer one if the machine was too slow for it; that lifetime.
    async fn in_time(&self, attempt: impl AsyncFn(Duration) -> bool) -> Duration {
        for lifetime in [1, 2, 4, 8, 16, 32].map(Duration::seconds) {
            if attempt(lifetime).await {
                return lifetime;
            }
        }
        panic!("it is over before its time");
    }
}

fn handle() -> SessionHandle {
    SessionKey::generate().handle()
}

/// Returns a name that nobody else uses.
fn name() -> String {
    format!("test:{}", handle())
}

/// Calls a macro with the names of all promises: each is a function of [`store::contract`](crate::store::contract).
#[macro_export]
macro_rules! with_store_promises {
    ($macro:ident) => {
        $macro! {
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
            a_log_goes_on_behind_a_number_from_elsewhere
        }
    };
}

macro_rules! check_all {
    ($($name:ident)*) => {
        /// Checks every promise, one after the other.
        pub async fn check(subject: &Subject) {
            $($name(subject).await;)*
        }
    };
}

with_store_promises! { check_all }
