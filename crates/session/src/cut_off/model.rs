//! Every interleaving of two orders, that mean everybody or a group, with a login, a renewal that takes the person out of
//! that group, and checks on two replicas (`stateright`).
//!
//! The model is the world around the judging: a log that numbers orders, pushes on their way to each replica's copy, a
//! login that begins on one replica and ends on another, a renewal. What is judged is judged by the real code.
//!
//! Two properties: whoever began to sign in before an order that meant them is not served by a replica whose copy has it;
//! whoever began after every order was heard is not refused. Four further tests take one defence away each and see the model
//! notice.

use counterfoil_core::identity::Identity;
use stateright::{Checker, HasDiscoveries, Model, Property};
use time::OffsetDateTime;

use super::orders::{Entry, Orders, StandingOrder};
use crate::filter::{LoginFilter, PersonFilter};
use crate::key::SessionKey;
use crate::live::KnownSession;
use crate::record::SessionRecord;
use crate::store::log::LogNumber;

const REPLICAS: usize = 2;
const ORDERS: u8 = 2;
const GROUP: &str = "finance";
const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

/// A replica's copy of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Copy {
    /// The orders that it has.
    read: u8,
    /// Set from when a change was heard of until it is read.
    is_void: bool,
    /// Set while a push is on its way.
    is_told: bool,
    /// The orders by which the session was last judged and lives; 0 if it was not.
    judged: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Login {
    NotYet,
    Begun {
        born: u8,
        before: u8,
        heard_all: bool,
    },
    /// `is_wrong` if every order had been heard of when it began, and no other came.
    Refused {
        is_wrong: bool,
    },
    Session {
        confirmed: u8,
    },
    Ended,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    /// The orders that the log has.
    log: u8,
    /// The orders of them that mean the group alone.
    of_group: [bool; ORDERS as usize],
    /// Set while the person is of that group.
    in_group: bool,
    /// The first order that came after the login had begun and meant the person.
    meant_by: Option<u8>,
    acknowledged: u8,
    copies: [Copy; REPLICAS],
    login: Login,
    /// The newest order when the provider was asked.
    asked: Option<u8>,
    /// Set while a renewal has stored what it learnt and not judged the person as they were once more; the number that
    /// they had.
    to_judge: Option<u8>,
    /// Set once a replica served the session by a copy with an order that its login had begun before.
    served_too_late: bool,
    was_served: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Event {
    Order { of_group: bool },
    Acknowledge,
    Hear(usize),
    Read(usize),
    Begin(usize),
    Finish(usize),
    Check(usize),
    Ask(usize),
    Confirm,
    JudgeAgain,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Defect {
    None,
    /// A login takes its number when it ends.
    BornAtTheEnd,
    /// A session that was judged once is not judged by later orders.
    JudgedForEver,
    /// A renewal takes its number after the provider was asked, and is not judged by what came before.
    ConfirmedUnread,
    /// A renewal is judged by what the person is now alone.
    JudgedAsTheyAreNow,
}

struct Interleavings(Defect);

/// The number that the log gives its `index`th order.
fn number(index: u8) -> LogNumber {
    LogNumber { milliseconds: u64::from(index), sequence: 0 }
}

fn orders(count: u8, of_group: [bool; ORDERS as usize]) -> Orders {
    let mut orders = Orders::default();
    (orders.newest, orders.version) = (number(count), u64::from(count));
    for index in 1..=count {
        let logins = logins(of_group[usize::from(index) - 1], index);
        let order = StandingOrder { logins, ..StandingOrder::blank(NOW) };
        orders.take(number(index), Some(Entry::Order(Box::new(order))));
    }
    orders
}

/// Everybody, or those of a group; orders in the same words would be one, so each has words of its own.
fn logins(of_group: bool, index: u8) -> LoginFilter {
    let person = PersonFilter {
        idp: (index == 2).then(|| "idp".into()),
        group: of_group.then(|| GROUP.into()),
        ..PersonFilter::default()
    };
    LoginFilter { person, ..LoginFilter::default() }
}

fn record(confirmed: u8, in_group: bool) -> SessionRecord {
    let identity = Identity {
        idp: "idp".into(),
        issuer: "i".into(),
        subject: "s".into(),
        name: None,
        preferred_username: None,
        email: None,
        email_verified: false,
        groups: if in_group { vec![GROUP.into()] } else { Vec::new() },
    };
    SessionRecord { confirmed: number(confirmed), ..SessionRecord::for_test(identity, NOW) }
}

/// Is true if the real judging ends a session of this number by the orders that a copy has, judged before by those.
fn is_ended(world: &World, confirmed: u8, in_group: bool, read: u8, judged: u8) -> bool {
    let known = KnownSession::of(SessionKey::generate().handle(), record(confirmed, in_group));
    if judged > 0 {
        // It was found to live: by as many orders as it may not be judged by again.
        known.mark_judged(u64::from(judged));
    }
    known.ended_by(&orders(read, world.of_group), NOW).is_some()
}

impl World {
    fn read(&mut self, replica: usize) {
        (self.copies[replica].read, self.copies[replica].is_void) = (self.log, false);
    }

    fn heard_all(&self) -> bool {
        self.acknowledged == self.log
            && self.copies.iter().all(|copy| !copy.is_told && (copy.is_void || copy.read == self.log))
    }
}

impl Model for Interleavings {
    type State = World;
    type Action = Event;

    fn init_states(&self) -> Vec<World> {
        let copy = Copy { read: 0, is_void: false, is_told: false, judged: 0 };
        vec![World {
            log: 0,
            of_group: [false; ORDERS as usize],
            in_group: true,
            meant_by: None,
            acknowledged: 0,
            copies: [copy; REPLICAS],
            login: Login::NotYet,
            asked: None,
            to_judge: None,
            served_too_late: false,
            was_served: false,
        }]
    }

    fn actions(&self, world: &World, events: &mut Vec<Event>) {
        let lives = matches!(world.login, Login::Session { .. });
        if world.log < ORDERS {
            events.extend([false, true].map(|of_group| Event::Order { of_group }));
        }
        if world.acknowledged < world.log {
            events.push(Event::Acknowledge);
        }
        for (replica, copy) in world.copies.iter().enumerate() {
            if copy.is_told {
                events.push(Event::Hear(replica));
            }
            if copy.is_void {
                events.push(Event::Read(replica));
            }
            match world.login {
                Login::NotYet => events.push(Event::Begin(replica)),
                Login::Begun { .. } => events.push(Event::Finish(replica)),
                Login::Session { .. } if !copy.is_void => events.push(Event::Check(replica)),
                Login::Session { .. } | Login::Refused { .. } | Login::Ended => {}
            }
            if lives && world.asked.is_none() && world.to_judge.is_none() && world.in_group {
                events.push(Event::Ask(replica));
            }
        }
        if lives && world.asked.is_some() {
            events.push(Event::Confirm);
        }
        if lives && world.to_judge.is_some() {
            events.push(Event::JudgeAgain);
        }
    }

    fn next_state(&self, before: &World, event: Event) -> Option<World> {
        let mut world = before.clone();
        match event {
            Event::Order { of_group } => {
                world.of_group[usize::from(world.log)] = of_group;
                world.log += 1;
                let is_under_way = matches!(world.login, Login::Begun { .. } | Login::Session { .. });
                if is_under_way && (world.in_group || !of_group) {
                    world.meant_by = world.meant_by.or(Some(world.log));
                }
                world.copies.iter_mut().for_each(|copy| copy.is_told = true);
                // The replica that gives it does not wait to be told.
                world.copies[0].is_void = true;
            }
            Event::Acknowledge => world.acknowledged = world.log,
            Event::Hear(replica) => {
                (world.copies[replica].is_told, world.copies[replica].is_void) = (false, true);
            }
            Event::Read(replica) => world.read(replica),
            Event::Begin(replica) => {
                let copy = world.copies[replica];
                let born = if copy.is_void { world.log } else { copy.read };
                world.login = Login::Begun { born, before: world.log, heard_all: world.heard_all() };
            }
            Event::Finish(replica) => {
                let Login::Begun { born, before, heard_all } = world.login else { return None };
                world.read(replica);
                let confirmed = if self.0 == Defect::BornAtTheEnd { world.log } else { born };
                world.login = if is_ended(&world, confirmed, world.in_group, world.log, 0) {
                    Login::Refused { is_wrong: heard_all && world.log == before }
                } else {
                    Login::Session { confirmed }
                };
            }
            Event::Check(replica) => {
                let Login::Session { confirmed } = world.login else { return None };
                let copy = world.copies[replica];
                let judged = if self.0 == Defect::JudgedForEver && copy.judged > 0 { copy.read } else { copy.judged };
                if is_ended(&world, confirmed, world.in_group, copy.read, judged) {
                    world.login = Login::Ended;
                } else {
                    world.copies[replica].judged = copy.read;
                    // Between the two judgements of a renewal nobody has been told that it is over.
                    world.served_too_late |=
                        world.to_judge.is_none() && world.meant_by.is_some_and(|order| copy.read >= order);
                    world.was_served = true;
                }
            }
            Event::Ask(replica) => {
                world.read(replica);
                world.asked = Some(world.log);
            }
            Event::Confirm => {
                let Login::Session { confirmed } = world.login else { return None };
                let asked = world.asked.take()?;
                let is_blind = self.0 == Defect::ConfirmedUnread;
                let (asked, judged_by) = if is_blind { (world.log, confirmed) } else { (asked, world.log) };
                let was_meant = self.0 != Defect::JudgedAsTheyAreNow && is_ended(&world, confirmed, true, judged_by, 0);
                world.in_group = false;
                world.login = if was_meant || is_ended(&world, confirmed, false, judged_by, 0) {
                    Login::Ended
                } else {
                    world.to_judge = Some(confirmed);
                    Login::Session { confirmed: confirmed.max(asked) }
                };
                world.copies.iter_mut().for_each(|copy| copy.judged = 0);
            }
            Event::JudgeAgain => {
                let confirmed = world.to_judge.take()?;
                let is_blind = matches!(self.0, Defect::ConfirmedUnread | Defect::JudgedAsTheyAreNow);
                if !is_blind && is_ended(&world, confirmed, true, world.log, 0) {
                    world.login = Login::Ended;
                }
            }
        }
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("whoever began before an order is not served where it is known", |_, world: &World| {
                !world.served_too_late
            }),
            Property::always("whoever began after all was heard is not refused for it", |_, world: &World| {
                world.login != Login::Refused { is_wrong: true }
            }),
            Property::sometimes("a session is served", |_, world: &World| world.was_served),
            Property::sometimes("a login is refused", |_, world: &World| matches!(world.login, Login::Refused { .. })),
            Property::sometimes("a session is ended by an order", |_, world: &World| world.login == Login::Ended),
        ]
    }
}

/// R-N04
#[test]
fn no_interleaving_serves_whom_an_order_meant() {
    let checker = Interleavings(Defect::None).checker().threads(2).spawn_bfs().join();
    checker.assert_properties();
    assert!(checker.unique_state_count() > 1_000, "{}", checker.unique_state_count());
}

fn notices(defect: Defect) -> bool {
    let checker = Interleavings(defect).checker().finish_when(HasDiscoveries::AnyFailures);
    let checker = checker.threads(2).spawn_bfs().join();
    checker.discovery("whoever began before an order is not served where it is known").is_some()
}

#[test]
fn the_model_notices_a_number_taken_when_the_login_ends() {
    assert!(notices(Defect::BornAtTheEnd));
}

#[test]
fn the_model_notices_a_judgement_that_outlives_its_orders() {
    assert!(notices(Defect::JudgedForEver));
}

#[test]
fn the_model_notices_a_confirmation_under_an_order_that_was_not_judged() {
    assert!(notices(Defect::ConfirmedUnread));
}

#[test]
fn the_model_notices_a_renewal_that_forgets_who_the_person_was() {
    assert!(notices(Defect::JudgedAsTheyAreNow));
}
