//! Every interleaving of what can happen to one cached session, up to a stated depth (`stateright`).
//!
//! The model is the world around the cache: a server that registers each read and tells its first change, or that it
//! forgot the registration for want of room; one connection on which changes, answers and proofs of life arrive in order;
//! two loads at a time; a clock. The cache and its coverage are the real ones: each state is reached by
//! doing to them what was done on the way there.
//!
//! The invariant: once a revocation has been delivered (pushed, or applied by this process itself), or the coverage
//! has run out since, or nothing is on the wire that would deliver it, no read returns the record. Three further tests take
//! one defence away each and see the model notice.

use std::collections::VecDeque;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use stateright::{Checker, HasDiscoveries, Model, Property};

use super::{FillToken, NearCache, Watch};
use crate::key::{SessionHandle, SessionKey};
use crate::store::Coverage;

/// Longest sequence of events that is tried.
const DEPTH: usize = 12;
/// The coverage, in ticks of the clock; and how far the clock runs.
const COVERED: u8 = 2;
const LAST_TICK: u8 = 4;
const LOADERS: usize = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Event {
    /// A request misses and asks the server.
    Ask(usize),
    /// The server reads the record; its answer is on the wire.
    Answer(usize),
    /// The request has its answer and fills the cache.
    Fill(usize),
    /// The next thing on the wire arrives.
    Receive,
    /// Somebody overwrites the record.
    Overwrite,
    /// Somebody deletes it: another replica, an operator, Redis itself.
    Delete,
    /// Somebody empties the server.
    Flush,
    /// The server has no room for the registration and says so by a change.
    Overflow,
    /// This process, which had it deleted, forgets it before it answers.
    ForgetHere,
    /// The link asks for a proof of life.
    Heartbeat,
    /// The server gives it.
    ProveLife,
    Disconnect,
    Reconnect,
    Tick,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum OnTheWire {
    Changed,
    Flushed,
    Alive { asked: u8 },
    Read { loader: usize, version: Option<u8> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Loader {
    Idle,
    Asked,
    Answered { version: Option<u8> },
    Received { version: Option<u8> },
}

/// The world, as everybody but the cache knows it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    now: u8,
    version: Option<u8>,
    connected: bool,
    /// Set while the server will tell the record's next change.
    registered: bool,
    heartbeat: Option<u8>,
    wire: VecDeque<OnTheWire>,
    loaders: [Loader; LOADERS],
    deleted_at: Option<u8>,
    delivered: bool,
    /// The version that a read would return just now.
    served: Option<u8>,
}

/// A state: the world, how it came about, and what the cache looks like from inside.
#[derive(Debug, Clone)]
struct State {
    world: World,
    history: Vec<Event>,
    inside: Inside,
}

/// All that the cache's future depends on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Inside {
    covered_until: u64,
    entry: Option<(u8, bool, Duration)>,
    loads: [Option<(bool, bool)>; LOADERS],
}

// Two ways to the same world and cache are one state.
impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.world == other.world && self.inside == other.inside
    }
}
impl Eq for State {}
impl Hash for State {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.world.hash(hasher);
        self.inside.hash(hasher);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Defect {
    None,
    /// Fills do not ask whether anything changed since their load began.
    NoFillToken,
    /// Records that were read are trusted for as long as there is any connection.
    NoWatch,
    /// Records are read without being registered.
    NoRegistration,
}

struct Interleavings {
    defect: Defect,
    handle: SessionHandle,
    born: Instant,
}

/// The real thing, with what its callers hold.
struct Subject {
    cache: NearCache<u8>,
    coverage: Arc<Coverage>,
    loads: [Option<(FillToken, Watch)>; LOADERS],
}

impl Interleavings {
    fn with(defect: Defect) -> Self {
        Self { defect, handle: SessionKey::generate().handle(), born: Instant::now() }
    }

    fn at(&self, tick: u8) -> Instant {
        self.born + Duration::from_secs(u64::from(tick) + 1)
    }

    fn replay(&self, history: &[Event]) -> State {
        let mut subject = Subject {
            cache: NearCache::with_shards(1, 4, Duration::from_hours(1)),
            coverage: Coverage::new(self.born),
            loads: [const { None }; LOADERS],
        };
        let mut world = World {
            now: 0,
            version: Some(0),
            connected: true,
            registered: false,
            heartbeat: None,
            wire: VecDeque::new(),
            loaders: [Loader::Idle; LOADERS],
            deleted_at: None,
            delivered: false,
            served: None,
        };
        for event in history {
            self.happen(*event, &mut world, &mut subject);
        }
        world.served = subject.cache.get(self.handle, self.at(world.now)).map(|value| *value);
        let inside = self.look_inside(&subject);
        State { world, history: history.to_vec(), inside }
    }

    fn look_inside(&self, subject: &Subject) -> Inside {
        let (epoch, shard) = (subject.coverage.watch().epoch, subject.cache.shard(self.handle));
        let entry = shard.entries.get(&self.handle);
        Inside {
            covered_until: subject.coverage.until.load(std::sync::atomic::Ordering::Acquire),
            entry: entry.map(|entry| (*entry.value, entry.watch.epoch == epoch, entry.expires - self.born)),
            loads: subject.loads.each_ref().map(|load| {
                let (token, watch) = load.as_ref()?;
                Some((token.generation == shard.generation, watch.epoch == epoch))
            }),
        }
    }

    fn happen(&self, event: Event, world: &mut World, subject: &mut Subject) {
        let now = self.at(world.now);
        match event {
            Event::Ask(loader) => {
                subject.loads[loader] = Some((subject.cache.begin_load(self.handle), subject.coverage.watch()));
                world.loaders[loader] = Loader::Asked;
            }
            Event::Answer(loader) => {
                world.loaders[loader] = Loader::Answered { version: world.version };
                world.registered |= self.defect != Defect::NoRegistration;
                world.wire.push_back(OnTheWire::Read { loader, version: world.version });
            }
            Event::Fill(loader) => {
                let (mut token, mut watch) = subject.loads[loader].take().unwrap();
                match self.defect {
                    Defect::None | Defect::NoRegistration => {}
                    Defect::NoFillToken => token = subject.cache.begin_load(self.handle),
                    Defect::NoWatch => watch = subject.coverage.watch(),
                }
                if let Loader::Received { version: Some(version) } = world.loaders[loader] {
                    subject.cache.fill(token, Arc::new(version), watch, None, now);
                }
                world.loaders[loader] = Loader::Idle;
            }
            Event::Receive => match world.wire.pop_front().unwrap() {
                OnTheWire::Changed => {
                    subject.cache.invalidate(self.handle);
                    world.delivered |= world.deleted_at.is_some() && !world.wire.contains(&OnTheWire::Changed);
                }
                OnTheWire::Flushed => {
                    subject.coverage.void();
                    subject.cache.clear();
                    world.delivered = true;
                }
                OnTheWire::Alive { asked } => subject.coverage.extend(self.at(asked + COVERED)),
                OnTheWire::Read { loader, version } => world.loaders[loader] = Loader::Received { version },
            },
            Event::Overwrite => {
                world.version = world.version.map(|version| version + 1);
                world.tell_change();
            }
            Event::Delete => {
                (world.version, world.deleted_at) = (None, Some(world.now));
                world.tell_change();
            }
            Event::Overflow => world.tell_change(),
            Event::Flush => {
                (world.version, world.deleted_at) = (None, Some(world.now));
                world.registered = false;
                world.tell(OnTheWire::Flushed);
            }
            Event::ForgetHere => {
                subject.cache.invalidate(self.handle);
                world.delivered = true;
            }
            Event::Heartbeat => world.heartbeat = Some(world.now),
            Event::ProveLife => {
                let asked = world.heartbeat.take().unwrap();
                world.wire.push_back(OnTheWire::Alive { asked });
            }
            Event::Disconnect => {
                subject.coverage.end();
                if self.defect != Defect::NoWatch {
                    subject.cache.clear();
                }
                (world.connected, world.registered, world.heartbeat) = (false, false, None);
                world.wire.clear();
                for (loader, load) in world.loaders.iter_mut().zip(&mut subject.loads) {
                    // A record that was read is with its reader; one that was not yet will never be.
                    if !matches!(loader, Loader::Received { .. }) {
                        (*loader, *load) = (Loader::Idle, None);
                    }
                }
            }
            Event::Reconnect => world.connected = true,
            Event::Tick => world.now += 1,
        }
    }
}

impl World {
    /// Tells a change of the record, once for each registration.
    fn tell_change(&mut self) {
        if std::mem::take(&mut self.registered) {
            self.tell(OnTheWire::Changed);
        }
    }

    /// Is true if the record was deleted and nothing is on its way that would say so.
    fn is_untold(&self) -> bool {
        let tells = |what: &OnTheWire| matches!(what, OnTheWire::Changed | OnTheWire::Flushed);
        self.deleted_at.is_some() && !self.wire.iter().any(tells)
    }

    fn tell(&mut self, what: OnTheWire) {
        if self.connected {
            self.wire.push_back(what);
        }
    }
}

impl Model for Interleavings {
    type State = State;
    type Action = Event;

    fn init_states(&self) -> Vec<State> {
        vec![self.replay(&[Event::Heartbeat, Event::ProveLife, Event::Receive])]
    }

    fn actions(&self, state: &State, events: &mut Vec<Event>) {
        let world = &state.world;
        let exists = world.version.is_some();
        for (index, loader) in world.loaders.iter().enumerate() {
            match loader {
                Loader::Idle if world.connected => events.push(Event::Ask(index)),
                Loader::Asked => events.push(Event::Answer(index)),
                Loader::Received { .. } => events.push(Event::Fill(index)),
                Loader::Idle | Loader::Answered { .. } => {}
            }
        }
        let possible = [
            (Event::Receive, !world.wire.is_empty()),
            (Event::Overwrite, exists && world.version < Some(1)),
            (Event::Delete, exists),
            (Event::Flush, exists),
            (Event::Overflow, world.registered && exists),
            (Event::ForgetHere, world.deleted_at.is_some() && !world.delivered),
            (Event::Heartbeat, world.connected && world.heartbeat.is_none()),
            (Event::ProveLife, world.heartbeat.is_some()),
            (Event::Disconnect, world.connected),
            (Event::Reconnect, !world.connected),
            (Event::Tick, world.now < LAST_TICK),
        ];
        events.extend(possible.into_iter().filter(|(_, possible)| *possible).map(|(event, _)| event));
    }

    fn next_state(&self, state: &State, event: Event) -> Option<State> {
        let mut history = state.history.clone();
        history.push(event);
        Some(self.replay(&history))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("what was revoked is not served", |_, state: &State| {
                let world = &state.world;
                let coverage_is_over = world.deleted_at.is_some_and(|deleted| world.now >= deleted + COVERED);
                !(world.delivered || coverage_is_over || world.is_untold()) || world.served.is_none()
            }),
            Property::sometimes("a record is served from the cache", |_, state: &State| state.world.served.is_some()),
            Property::sometimes("a deleted record is served until that is heard", |_, state: &State| {
                state.world.served.is_some() && state.world.deleted_at.is_some()
            }),
            Property::sometimes("it is served again after a reconnect", |_, state: &State| {
                state.world.served.is_some() && state.history.contains(&Event::Reconnect)
            }),
        ]
    }

    fn within_boundary(&self, state: &State) -> bool {
        state.history.len() <= DEPTH + 3
    }
}

/// R-N04, R-N01: no read returns what was revoked.
#[test]
fn no_interleaving_serves_what_was_revoked() {
    let checker = Interleavings::with(Defect::None).checker().threads(2).spawn_bfs().join();
    checker.assert_properties();
    assert!(checker.unique_state_count() > 10_000, "{}", checker.unique_state_count());
}

/// Is true if the model finds a revoked record served when one defence is missing.
fn notices(defect: Defect) -> bool {
    let checker = Interleavings::with(defect).checker().finish_when(HasDiscoveries::AnyFailures);
    checker.threads(2).spawn_bfs().join().discovery("what was revoked is not served").is_some()
}

#[test]
fn the_model_notices_a_fill_that_ignores_what_changed_meanwhile() {
    assert!(notices(Defect::NoFillToken));
}

#[test]
fn the_model_notices_a_fill_that_outlives_its_connection() {
    assert!(notices(Defect::NoWatch));
}

#[test]
fn the_model_notices_a_read_that_is_not_registered() {
    assert!(notices(Defect::NoRegistration));
}
