//! The policies of every replica, so that the store keeps what any of them lets live.
//!
//! Each replica judges by its own timeouts. They are registered in one hash before anything is judged by them, and read
//! from there five times a second; records are kept for the longest of them all. What was established before a longer policy
//! was registered has to be extended once, by one pass over all entries ([`Due`]); a shorter policy needs none. Integrity:
//! entries are sealed, so whoever can write to Redis cannot make records last.
//!
//! A policy that no replica has named for a day goes. So the day of the last naming stands before the sealed entry in clear:
//! one whose key is gone is kept for as long as a replica that has the key names it, and no longer.

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
    /// The day on which a replica last named it, since 1970: stored in clear, and authenticated with the entry.
    #[serde(skip)]
    named: i64,
}

/// The decision on a registered field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// A replica may still judge by it.
    Keep,
    /// No replica does.
    Forget,
    /// Nothing says when it was named: it is marked as named today.
    Mark,
}

/// Decides on a field, by the day on which it was last named, in days since 1970.
fn fate(field: &str, named: Option<i64>, today: i64) -> Fate {
    match named {
        _ if !is_hash(field) => Fate::Forget,
        Some(named) if named < today - 1 => Fate::Forget,
        // Clocks of replicas differ; nobody names a policy for later.
        Some(named) if named <= today + 1 => Fate::Keep,
        Some(_) | None => Fate::Mark,
    }
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
    /// Fields that cannot be read here, and the days on which they were last named.
    unreadable: BTreeMap<String, Option<i64>>,
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
    fn take_over(
        &mut self,
        entries: BTreeMap<String, Entry>,
        unreadable: BTreeMap<String, Option<i64>>,
        begun: Instant,
    ) {
        let heard = entries.iter().map(|(field, entry)| {
            let registration = (field.clone(), entry.registered);
            let at = self.heard.get(&registration).copied().unwrap_or_else(Instant::now);
            (registration, at)
        });
        *self = Self { heard: heard.collect(), entries, unreadable, read_at: Some(begun) };
    }

    fn insert(&mut self, field: String, entry: Entry) {
        self.heard.entry((field.clone(), entry.registered)).or_insert_with(Instant::now);
        self.unreadable.remove(&field);
        self.entries.insert(field, entry);
    }

    fn remove(&mut self, field: &str) {
        self.unreadable.remove(field);
        self.entries.remove(field);
    }

    fn mark(&mut self, field: String, entry: Option<Entry>, today: i64) {
        match entry {
            Some(entry) => self.insert(field, entry),
            None => _ = self.unreadable.insert(field, Some(today)),
        }
    }

    /// Decides on every field that does not stay as it is.
    fn fates(&self, today: i64) -> Vec<(String, Fate)> {
        let readable = self.entries.iter().map(|(field, entry)| (field, Some(entry.named)));
        let unreadable = self.unreadable.iter().map(|(field, named)| (field, *named));
        let fates = readable.chain(unreadable).map(|(field, named)| (field.clone(), fate(field, named, today)));
        fates.filter(|(_, fate)| *fate != Fate::Keep).collect()
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
        let (mut entries, mut unreadable) = (BTreeMap::new(), BTreeMap::new());
        for (field, stored) in self.values.fields(NAME).await? {
            let (named, sealed) = parse(&stored).unzip();
            match named.zip(sealed).and_then(|(named, sealed)| self.open(&field, named, sealed)) {
                Some(entry) => _ = entries.insert(field, entry),
                None => _ = unreadable.insert(field, named),
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
            (entry, known.unreadable.contains_key(&field))
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

    /// Removes the policies that no replica has named for a day, whether or not they can be read here.
    pub(super) async fn forget_unnamed(&self) -> Result<(), StoreError> {
        self.read().await?;
        let today = self.today();
        let fates = lock(&self.known).fates(today);
        for (field, fate) in fates {
            match fate {
                Fate::Keep => {}
                Fate::Forget => {
                    self.values.remove_field(NAME, &field).await?;
                    lock(&self.known).remove(&field);
                }
                Fate::Mark => {
                    let entry = lock(&self.known).entries.get(&field).cloned();
                    let marked = entry.map(|entry| Entry { named: today, ..entry });
                    // What cannot be read is of no use: a replica whose policy that is registers it again.
                    let value = marked.as_ref().map_or_else(|| stored(today, &[]), |entry| self.seal(&field, entry));
                    self.values.put_field(NAME, &field, &value).await?;
                    lock(&self.known).mark(field, marked, today);
                }
            }
        }
        Ok(())
    }

    fn today(&self) -> i64 {
        self.clock.now().unix_timestamp().div_euclid(24 * 60 * 60)
    }

    fn seal(&self, field: &str, entry: &Entry) -> Vec<u8> {
        stored(entry.named, &self.sealer.seal_json(&subject(field, entry.named), entry))
    }

    fn open(&self, field: &str, named: i64, sealed: &[u8]) -> Option<Entry> {
        let entry = self.sealer.open_json(&subject(field, named), sealed).ok()?;
        Some(Entry { named, ..entry })
    }
}

/// Joins the day on which a policy was last named and its sealed entry.
fn stored(named: i64, sealed: &[u8]) -> Vec<u8> {
    [named.to_string().as_bytes(), b" ", sealed].concat()
}

/// Parts the same again; `None` if there is no day.
fn parse(stored: &[u8]) -> Option<(i64, &[u8])> {
    let end = stored.iter().position(|byte| *byte == b' ')?;
    let named = std::str::from_utf8(&stored[..end]).ok()?.parse().ok()?;
    Some((named, &stored[end + 1..]))
}

/// The associated data of a sealed entry.
fn subject(field: &str, named: i64) -> Vec<u8> {
    format!("{field} {named}").into_bytes()
}

/// The field of a policy: its hash.
fn field_of(policy: &TimeoutPolicy) -> String {
    let text = serde_json::to_vec(policy).unwrap_or_default();
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, &text))
}

/// Is true if a field can be that of a policy.
fn is_hash(field: &str) -> bool {
    URL_SAFE_NO_PAD.decode(field).is_ok_and(|hash| hash.len() == digest::SHA256_OUTPUT_LEN)
}

#[cfg(test)]
mod tests {
    use counterfoil_core::clock::{Clock, ManualClock, SystemClock};
    use counterfoil_core::secret::Secret;
    use time::Duration;

    use super::*;
    use crate::store::memory::MemoryStore;
    use crate::timeout::Limits;

    fn policy(idle: i64, absolute: i64) -> TimeoutPolicy {
        let limits = Limits { idle: Duration::minutes(idle), absolute: Duration::hours(absolute) };
        TimeoutPolicy { default: limits, by_group: Vec::new() }
    }

    fn known(policies: &[(i64, i64, State)]) -> Known {
        let mut known = Known::default();
        for (index, (idle, absolute, state)) in policies.iter().enumerate() {
            let policy = policy(*idle, *absolute);
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

    /// A replica's view of the policies in a store, with keys that are these bytes, newest first.
    fn replica(store: &Arc<MemoryStore>, clock: &Arc<ManualClock>, keys: &[u8]) -> RegisteredPolicies {
        let keys = keys.iter().map(|byte| Secret::new([*byte; 32])).collect();
        RegisteredPolicies::new(store.clone(), &Keyring::new(keys).unwrap(), clock.clone())
    }

    /// R-G12: an entry that cannot be read may be the longest policy, so nothing is pruned by age while it is there.
    #[tokio::test]
    async fn a_policy_whose_key_is_gone_is_kept_while_a_replica_names_it_and_forgotten_afterwards() {
        let clock = ManualClock::at(SystemClock.now());
        let store = Arc::new(MemoryStore::new(clock.clone()));
        let (old, new) = (replica(&store, &clock, &[1]), replica(&store, &clock, &[2]));
        for _ in 0..4 {
            old.read().await.unwrap();
            old.register(&policy(30, 12)).await.unwrap();
            new.register(&policy(20, 10)).await.unwrap();
            new.forget_unnamed().await.unwrap();
            assert!(!new.are_all_readable(), "a replica judges by it");
            clock.advance(Duration::DAY);
        }
        new.forget_unnamed().await.unwrap();
        assert!(!new.are_all_readable(), "it was named yesterday");
        clock.advance(Duration::DAY);
        new.forget_unnamed().await.unwrap();
        assert!(new.are_all_readable());
        new.register(&policy(20, 10)).await.unwrap();
        new.read().await.unwrap();
        assert!(new.are_all_readable());
        assert_eq!(store.fields(NAME).await.unwrap().len(), 1);
    }

    /// One line a case: what stands there, and the number of days after which it is gone.
    #[tokio::test]
    async fn what_no_replica_wrote_is_forgotten_in_two_days_at_the_latest() {
        let clock = ManualClock::at(SystemClock.now());
        let field = field_of(&policy(30, 12));
        let today = clock.now().unix_timestamp() / 86_400;
        for (field, value, days) in [
            ("made up", b"nonsense".to_vec(), 0),
            ("made up", stored(today, b"nonsense"), 0),
            (&field, b"nonsense".to_vec(), 2),
            (&field, stored(today, b"nonsense"), 2),
            (&field, stored(i64::MAX, b"nonsense"), 2),
            (&field, stored(today - 2, b"nonsense"), 0),
        ] {
            let clock = ManualClock::at(clock.now());
            let store = Arc::new(MemoryStore::new(clock.clone()));
            let policies = replica(&store, &clock, &[1]);
            store.put_field(NAME, field, &value).await.unwrap();
            let mut gone_after = 0;
            while {
                policies.forget_unnamed().await.unwrap();
                !policies.are_all_readable()
            } {
                clock.advance(Duration::DAY);
                gone_after += 1;
                assert!(gone_after < 10, "{field} {value:?}");
            }
            assert_eq!(gone_after, days, "{field} {value:?}");
            assert!(store.fields(NAME).await.unwrap().is_empty());
        }
    }

    /// A replica whose clock was far ahead names a policy once; the others do not keep it for that long.
    #[tokio::test]
    async fn a_policy_that_was_named_for_later_counts_as_named_today() {
        let clock = ManualClock::at(SystemClock.now() + Duration::days(30));
        let store = Arc::new(MemoryStore::new(clock.clone()));
        replica(&store, &clock, &[1]).register(&policy(30, 12)).await.unwrap();
        clock.advance(-Duration::days(30));
        let policies = replica(&store, &clock, &[1]);
        policies.forget_unnamed().await.unwrap();
        policies.read().await.unwrap();
        assert_eq!(policies.longest(Retention::of(&policy(1, 1))), Retention::of(&policy(30, 12)));
        clock.advance(Duration::days(2));
        policies.forget_unnamed().await.unwrap();
        assert!(store.fields(NAME).await.unwrap().is_empty());
    }
}
