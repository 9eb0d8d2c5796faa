//! The policies of every replica, so that the store keeps what any of them lets live.
//!
//! Each replica judges by its own timeouts. They are registered in one hash before anything is judged by them, and read
//! from there twice a second; records are kept for the longest of them all. What was established before a longer policy
//! was registered has to be extended once, by one pass over all entries ([`Due`]); a shorter policy needs none. A policy
//! that no replica has named for a day goes. Integrity: entries are sealed, so whoever can write to Redis cannot make
//! records last.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration as StdDuration, Instant};

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use counterfoil_core::clock::SharedClock;
use counterfoil_core::lock;
use counterfoil_core::secret::keyring::{Keyring, Sealer};
use counterfoil_core::unix_millis::UnixMillis;
use serde::{Deserialize, Serialize};

use super::retention::Retention;
use crate::store::{KeyValue, StoreError};
use crate::timeout::TimeoutPolicy;

/// The hash of the registered policies.
const NAME: &str = "kept";
/// Time within which every replica that writes has heard of a policy: nobody relies on what was read earlier.
pub(crate) const HEARD_WITHIN: StdDuration = StdDuration::from_millis(500);

/// One registered policy, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    policy: TimeoutPolicy,
    state: State,
    /// Tells one registration of a policy from the next.
    registered: UnixMillis,
    /// The day on which a replica last named it, since 1970.
    named: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    /// Records that were established before it may be kept for less.
    New,
    /// Every record is kept for it.
    Done,
}

/// The pass over all entries that the registered policies ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Due {
    /// The longest timeouts of all registered policies.
    pub(super) target: Retention,
    /// The longest timeouts that every record is kept for by now; `None` if none are known.
    pub(super) done: Option<Retention>,
    /// The moment the newest of the policies was heard of.
    pub(super) heard: Instant,
    /// The policies that are done when the pass is, and the moments they were registered.
    policies: BTreeMap<String, UnixMillis>,
}

impl Due {
    /// Is true if some records are kept for less than the target.
    pub(super) fn extends(&self) -> bool {
        self.done.is_none_or(|done| !done.covers(self.target))
    }

    /// Is true if lists and notes have to last longer as well.
    pub(super) fn extends_lists(&self) -> bool {
        self.done.is_none_or(|done| done.absolute < self.target.absolute)
    }

    /// The name of the pass: that of another target, or of later registrations, is another.
    pub(super) fn number(&self) -> String {
        let UnixMillis(newest) = self.policies.values().max().copied().unwrap_or_default();
        let Retention { idle, absolute } = self.target;
        format!("{newest}-{}-{}", idle.whole_milliseconds(), absolute.whole_milliseconds())
    }
}

/// The registered policies, as this process knows them.
#[derive(Debug)]
pub(crate) struct RegisteredPolicies {
    values: Arc<dyn KeyValue>,
    sealer: Sealer,
    clock: SharedClock,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    entries: BTreeMap<String, Entry>,
    /// Fields that cannot be read here.
    unreadable: Vec<String>,
    /// The moment each registration was heard of here.
    heard: BTreeMap<(String, UnixMillis), Instant>,
    read_at: Option<Instant>,
}

impl Known {
    fn longest(&self, counts: impl Fn(&Entry) -> bool) -> Option<Retention> {
        let counted = self.entries.values().filter(|entry| counts(entry));
        counted.map(|entry| Retention::of(&entry.policy)).reduce(Retention::longest)
    }

    fn due(&self) -> Option<Due> {
        let new = self.entries.iter().filter(|(_, entry)| entry.state == State::New);
        let policies: BTreeMap<_, _> = new.map(|(field, entry)| (field.clone(), entry.registered)).collect();
        let heard = policies.iter().filter_map(|(field, at)| self.heard.get(&(field.clone(), *at))).max().copied()?;
        let done = self.longest(|entry| entry.state == State::Done);
        Some(Due { target: self.longest(|_| true)?, done, heard, policies })
    }

    /// Takes over what a reading found that began at a moment.
    fn take_over(&mut self, entries: BTreeMap<String, Entry>, unreadable: Vec<String>, begun: Instant) {
        let heard = entries.iter().map(|(field, entry)| {
            let registration = (field.clone(), entry.registered);
            let at = self.heard.get(&registration).copied().unwrap_or_else(Instant::now);
            (registration, at)
        });
        *self = Self { heard: heard.collect(), entries, unreadable, read_at: Some(begun) };
    }

    fn insert(&mut self, field: String, entry: Entry) {
        self.heard.entry((field.clone(), entry.registered)).or_insert_with(Instant::now);
        self.unreadable.retain(|unreadable| *unreadable != field);
        self.entries.insert(field, entry);
    }
}

impl RegisteredPolicies {
    pub(crate) fn new(values: Arc<dyn KeyValue>, keyring: &Keyring, clock: SharedClock) -> Self {
        let sealer = keyring.sealer("counterfoil kept v1", &[]);
        Self { values, sealer, clock, known: Mutex::default() }
    }

    /// Returns the longest timeouts of these and of all registered policies.
    pub(crate) fn longest(&self, own: Retention) -> Retention {
        lock(&self.known).longest(|_| true).map_or(own, |registered| own.longest(registered))
    }

    /// Is true if no registered policy is one that cannot be read here, and may be longer than all others.
    pub(crate) fn are_all_readable(&self) -> bool {
        lock(&self.known).unreadable.is_empty()
    }

    /// Is true if records are kept for a policy although it could not be registered.
    pub(crate) fn cover(&self, own: Retention) -> bool {
        lock(&self.known).longest(|_| true).is_some_and(|longest| longest.covers(own))
    }

    /// Is true if what is known was read so late that whoever extends records counts on it.
    pub(crate) fn is_fresh(&self) -> bool {
        lock(&self.known).read_at.is_some_and(|read_at| read_at.elapsed() < HEARD_WITHIN)
    }

    /// Reads the registered policies.
    pub(crate) async fn read(&self) -> Result<(), StoreError> {
        let begun = Instant::now();
        let (mut entries, mut unreadable) = (BTreeMap::new(), Vec::new());
        for (field, sealed) in self.values.fields(NAME).await? {
            match self.open(&field, &sealed) {
                Some(entry) => _ = entries.insert(field, entry),
                None => unreadable.push(field),
            }
        }
        lock(&self.known).take_over(entries, unreadable, begun);
        Ok(())
    }

    /// Registers a policy, unless it is known to be, and names it once a day.
    pub(crate) async fn register(&self, policy: &TimeoutPolicy) -> Result<(), StoreError> {
        let (field, today) = (field_of(policy), self.today());
        let (named, is_damaged) = {
            let known = lock(&self.known);
            let is_covered = known
                .longest(|entry| entry.state == State::Done)
                .is_some_and(|done| done.covers(Retention::of(policy)));
            let entry = match known.entries.get(&field) {
                Some(entry) if entry.named >= today => return Ok(()),
                Some(entry) => Entry { named: today, ..entry.clone() },
                None => Entry {
                    policy: policy.clone(),
                    state: if is_covered { State::Done } else { State::New },
                    registered: self.clock.now().into(),
                    named: today,
                },
            };
            (entry, known.unreadable.contains(&field))
        };
        let is_known = lock(&self.known).entries.contains_key(&field);
        let sealed = self.seal(&field, &named);
        let is_ours = if is_known || is_damaged {
            self.values.put_field(NAME, &field, &sealed).await?;
            true
        } else {
            self.values.put_field_if_absent(NAME, &field, &sealed).await?
        };
        if is_ours {
            lock(&self.known).insert(field, named);
            return Ok(());
        }
        // Another replica was first.
        self.read().await
    }

    /// Returns the pass that is due, if there is one.
    pub(super) fn due(&self) -> Option<Due> {
        lock(&self.known).due()
    }

    /// Marks the policies of a pass as done, as far as they are still those of the pass.
    pub(super) async fn conclude(&self, due: &Due) -> Result<(), StoreError> {
        self.read().await?;
        for (field, registered) in &due.policies {
            let entry = lock(&self.known).entries.get(field).filter(|entry| entry.registered == *registered).cloned();
            let Some(entry) = entry else { continue };
            let done = Entry { state: State::Done, ..entry };
            self.values.put_field(NAME, field, &self.seal(field, &done)).await?;
            lock(&self.known).insert(field.clone(), done);
        }
        Ok(())
    }

    /// Removes the policies that no replica has named for a day.
    pub(super) async fn forget_unnamed(&self) -> Result<(), StoreError> {
        self.read().await?;
        let yesterday = self.today() - 1;
        let unnamed: Vec<_> = {
            let known = lock(&self.known);
            let unnamed = known.entries.iter().filter(|(_, entry)| entry.named < yesterday);
            unnamed.map(|(field, _)| field.clone()).collect()
        };
        for field in unnamed {
            self.values.remove_field(NAME, &field).await?;
            lock(&self.known).entries.remove(&field);
        }
        Ok(())
    }

    fn today(&self) -> i64 {
        self.clock.now().unix_timestamp().div_euclid(24 * 60 * 60)
    }

    fn seal(&self, field: &str, entry: &Entry) -> Vec<u8> {
        self.sealer.seal_json(field.as_bytes(), entry)
    }

    fn open(&self, field: &str, sealed: &[u8]) -> Option<Entry> {
        self.sealer.open_json(field.as_bytes(), sealed).ok()
    }
}

/// The field of a policy: its hash.
fn field_of(policy: &TimeoutPolicy) -> String {
    let text = serde_json::to_vec(policy).unwrap_or_default();
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, &text))
}

#[cfg(test)]
mod tests {
    use time::Duration;

    use super::*;
    use crate::timeout::Limits;

    fn known(policies: &[(i64, i64, State)]) -> Known {
        let mut known = Known::default();
        for (index, (idle, absolute, state)) in policies.iter().enumerate() {
            let limits = Limits { idle: Duration::minutes(*idle), absolute: Duration::hours(*absolute) };
            let policy = TimeoutPolicy { default: limits, by_group: Vec::new() };
            known.insert(index.to_string(), Entry { policy, state: *state, registered: UnixMillis(1), named: 1 });
        }
        known
    }

    /// One line a case: the policies (idle in minutes, absolute in hours), and what the pass extends.
    #[test]
    fn only_a_policy_that_is_longer_than_all_that_are_done_asks_for_a_pass() {
        use State::{Done, New};
        for (policies, expected) in [
            (vec![], None),
            (vec![(30, 12, Done), (30, 10, Done)], None),
            (vec![(30, 12, New)], Some((30, 12, true, true))),
            (vec![(30, 12, Done), (20, 10, New)], Some((30, 12, false, false))),
            (vec![(30, 10, Done), (30, 12, New)], Some((30, 12, true, true))),
            (vec![(30, 12, Done), (60, 10, New)], Some((60, 12, true, false))),
            (vec![(30, 10, Done), (60, 11, New), (40, 24, New)], Some((60, 24, true, true))),
        ] {
            let due = known(&policies).due();
            let told = due.map(|due| {
                let Retention { idle, absolute } = due.target;
                (idle.whole_minutes(), absolute.whole_hours(), due.extends(), due.extends_lists())
            });
            assert_eq!(told, expected, "{policies:?}");
        }
    }

    #[test]
    fn a_longer_policy_makes_another_pass_and_the_same_ones_do_not() {
        let number = |policies: &[_]| known(policies).due().unwrap().number();
        let (done, new) = ((30, 10, State::Done), (30, 12, State::New));
        assert_eq!(number(&[done, new]), number(&[done, new]));
        assert_ne!(number(&[done, new]), number(&[done, new, (30, 14, State::New)]));
    }
}
