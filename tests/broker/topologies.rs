//! Sentinel, Cluster and TLS: the broker follows Redis wherever it goes, and the near cache is right there, too.

use std::sync::Arc;
use std::time::{Duration, Instant};

use counterfoil::session::store::redis::{RedisBackend, RedisSettings};

use crate::support::broker::{Broker, SESSION, Setup, Store};
use crate::support::browser::Browser;
use crate::support::child::PATIENCE;
use crate::support::redis::Redis;
use crate::support::redis_cluster::Cluster;
use crate::support::redis_sentinel::Sentinels;
use crate::support::redis_tls::RedisTls;

/// How long a session may still be believed after it was deleted, on a machine that is busy.
const AT_ONCE: Duration = Duration::from_secs(2);
/// A silent node of a cluster is given up after this.
const NODE_TIMEOUT: Duration = Duration::from_secs(2);

/// Somebody who is signed in.
struct Person {
    browser: Browser,
    handle: String,
    cookie: Option<String>,
}

async fn broker_on(settings: &RedisSettings) -> Broker {
    // Debug builds on a busy machine: the outages here are those of Redis.
    let settings = RedisSettings { timeout: Duration::from_secs(2), ..settings.clone() };
    let store = Arc::new(RedisBackend::connect(&settings).unwrap());
    Broker::with(Setup { store: Store::Shared(store), ..Setup::default() }).await
}

async fn sign_in(broker: &Broker) -> Person {
    let browser = broker.signed_in().await;
    let handle = broker.handle(&browser).await;
    let cookie = browser.cookie(SESSION);
    Person { browser, handle, cookie }
}

/// Someone on each primary of a cluster.
async fn sign_in_everywhere(broker: &Broker, cluster: &Cluster) -> Vec<Person> {
    let mut people: Vec<Person> = Vec::new();
    let mut ports: Vec<_> = cluster.primaries().iter().map(|primary| primary.port()).collect();
    while !ports.is_empty() {
        let person = sign_in(broker).await;
        let port = cluster.owner(&person.handle).port();
        if ports.contains(&port) {
            ports.retain(|&known| known != port);
            people.push(person);
        }
    }
    people
}

/// Waits until a session is served without Redis being asked.
async fn cached(broker: &Broker, person: &Person, gets: impl Fn() -> u64) {
    let started = Instant::now();
    loop {
        let before = gets();
        for _ in 0..3 {
            assert_eq!(broker.status(&person.browser).await, 200);
        }
        if gets() == before {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "it is never served from the near cache");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A session that was deleted is refused, very soon and from then on.
async fn refused(broker: &Broker, person: &Person) {
    let started = Instant::now();
    while broker.status(&person.browser).await == 200 {
        assert!(started.elapsed() < AT_ONCE, "a deleted session is still served");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let ends = Instant::now() + AT_ONCE;
    while broker.status(&person.browser).await == 503 {
        assert!(Instant::now() < ends, "the store is away");
    }
    for _ in 0..5 {
        assert_eq!(broker.status(&person.browser).await, 401);
    }
}

/// The status of a page; whatever happens, a live session's cookie is left alone.
async fn live_or_unavailable(broker: &Broker, person: &Person) -> u16 {
    let status = broker.status(&person.browser).await;
    assert!(status == 200 || status == 503, "{status}");
    assert_eq!(person.browser.cookie(SESSION), person.cookie);
    status
}

/// Asks for everybody's pages all the while something happens; the longest time that anybody was refused.
async fn while_asked<T>(broker: &Broker, people: &[Person], event: impl Future<Output = T>) -> (T, Duration) {
    let mut longest = Duration::ZERO;
    let asking = async {
        let mut served: Vec<_> = people.iter().map(|_| Instant::now()).collect();
        loop {
            for (person, served) in people.iter().zip(&mut served) {
                if live_or_unavailable(broker, person).await == 200 {
                    *served = Instant::now();
                }
                longest = longest.max(served.elapsed());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let happened = tokio::select! {
        happened = event => happened,
        () = asking => unreachable!("it asks for ever"),
    };
    (happened, longest)
}

/// Asks until everybody is served again; never a wrong answer meanwhile.
async fn served_again(broker: &Broker, people: &[Person]) {
    let started = Instant::now();
    for person in people {
        while live_or_unavailable(broker, person).await != 200 {
            assert!(started.elapsed() < PATIENCE, "the broker never found the new primary");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Waits for what servers do by themselves, and lets the broker work.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "it never came about: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn delete(server: &Redis, person: &Person) {
    assert_eq!(server.ask(&["DEL", &person.handle]), "1");
}

fn gets(cluster: &Cluster) -> u64 {
    cluster.nodes.iter().map(Redis::gets).sum()
}

/// R-G08, with a user who may do what the README says and nothing else.
#[tokio::test]
async fn few_rights_are_enough_for_everything() {
    let redis = RedisTls::start();
    let broker = broker_on(&redis.settings()).await;
    let person = sign_in(&broker).await;
    cached(&broker, &person, || redis.gets()).await;
    assert_eq!(redis.ask(&["DEL", &person.handle]), "1");
    refused(&broker, &person).await;
    let other = sign_in(&broker).await;
    crate::logout::sign_out(&other.browser).await;
    refused(&broker, &other).await;
    assert_eq!(redis.ask(&["ACL", "LOG"]), "", "nothing was asked for that may not be asked for");
}

#[tokio::test]
async fn a_deleted_record_is_refused_on_the_next_request_in_a_cluster() {
    let cluster = Cluster::shared();
    let broker = broker_on(&cluster.settings()).await;
    for person in sign_in_everywhere(&broker, cluster).await {
        // Others ask this cluster, too: somewhere among a few requests nobody does.
        let owner = cluster.owner(&person.handle);
        cached(&broker, &person, || owner.gets()).await;
        delete(owner, &person);
        refused(&broker, &person).await;
    }
}

#[tokio::test]
async fn sessions_move_with_their_slots() {
    let cluster = Cluster::start(Duration::from_secs(15));
    let broker = broker_on(&cluster.settings()).await;
    let people = sign_in_everywhere(&broker, &cluster).await;
    for person in &people {
        cached(&broker, person, || gets(&cluster)).await;
    }
    for person in &people {
        let from = cluster.owner(&person.handle);
        let to = cluster.primaries().into_iter().find(|primary| primary.port() != from.port()).unwrap();
        let slot = cluster.slot(&person.handle);
        let ((), refused_for) = while_asked(&broker, &people, cluster.move_slot(slot, from, to)).await;
        assert!(refused_for < AT_ONCE * 2, "{refused_for:?}");
        served_again(&broker, &people).await;
        assert_eq!(cluster.owner(&person.handle).port(), to.port());
        cached(&broker, person, || gets(&cluster)).await;
    }
    for person in &people {
        delete(cluster.owner(&person.handle), person);
        refused(&broker, person).await;
    }
}

#[tokio::test]
async fn sessions_outlive_the_primaries_of_a_cluster() {
    let cluster = Cluster::start(NODE_TIMEOUT);
    let broker = broker_on(&cluster.settings()).await;
    let people = sign_in_everywhere(&broker, &cluster).await;
    for person in &people {
        cached(&broker, person, || gets(&cluster)).await;
    }
    // One primary hands over in order, another dies.
    for (index, dies) in [false, true].into_iter().enumerate() {
        let (people, person) = (&people[index..], &people[index]);
        let old = cluster.owner(&person.handle);
        old.wait_for_replicas(1);
        let new = cluster.replica_of(old);
        if dies {
            old.kill();
        } else {
            assert_eq!(new.ask(&["CLUSTER", "FAILOVER"]), "OK");
        }
        let is_primary = || new.ask(&["ROLE"]).starts_with("master");
        while_asked(&broker, people, until("the replica takes over", is_primary)).await;
        until("the others know", || cluster.owner(&person.handle).port() == new.port()).await;
        served_again(&broker, people).await;
        cached(&broker, person, || gets(&cluster)).await;
        delete(new, person);
        refused(&broker, person).await;
    }
    served_again(&broker, &people[2..]).await;
}

#[tokio::test]
async fn sessions_outlive_a_primary_that_sentinel_replaces() {
    sentinel_replaces(Sentinels::fail_over).await;
}

#[tokio::test]
async fn sessions_outlive_a_primary_that_dies_under_sentinel() {
    sentinel_replaces(|fleet| fleet.primary().kill()).await;
}

async fn sentinel_replaces(fail: impl FnOnce(&Sentinels)) {
    let fleet = Sentinels::start();
    let broker = broker_on(&fleet.settings()).await;
    let people = [sign_in(&broker).await, sign_in(&broker).await];
    let old = fleet.primary();
    for person in &people {
        cached(&broker, person, || old.gets()).await;
    }
    old.wait_for_replicas(2);
    fail(&fleet);
    let replaced = || fleet.named().is_some_and(|port| port != old.port());
    while_asked(&broker, &people, until("another is the primary", replaced)).await;
    let new = fleet.primary();
    // Sentinel tells the old primary only seconds later that it is none any more, and what it takes until then is lost:
    // the broker does not wait for that.
    let sessions = || new.ask(&["KEYS", "cf-*"]).lines().count();
    let (known, started) = (sessions(), Instant::now());
    while sessions() == known {
        assert!(started.elapsed() < Duration::from_secs(5), "logins are kept on the old primary");
        broker.sign_in(&broker.browser(), "/").await;
    }
    let is_left = || old.try_ask(&["ROLE"]).is_none_or(|role| role.starts_with("slave"));
    while_asked(&broker, &people, until("the old primary is none any more", is_left)).await;
    served_again(&broker, &people).await;
    cached(&broker, &people[0], || new.gets()).await;
    delete(new, &people[0]);
    refused(&broker, &people[0]).await;
    served_again(&broker, &people[1..]).await;
    assert_eq!(broker.status(&sign_in(&broker).await.browser).await, 200, "and new ones are kept there");
}
