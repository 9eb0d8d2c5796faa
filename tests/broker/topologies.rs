//! Sentinel, Cluster and TLS: the broker follows Redis wherever it goes, and the near cache is right there, too.

use std::sync::Arc;
use std::time::Duration;

use counterfoil::session_redis::{RedisBackend, RedisSettings};

use crate::support::broker::{Broker, SESSION, Setup, Store};
use crate::support::browser::Browser;
use crate::support::child::until;
use crate::support::redis::Redis;
use crate::support::redis_cluster::{Cluster, WHOLE};
use crate::support::redis_sentinel::{NEVER, Sentinels};
use crate::support::redis_tls::RedisTls;

/// A dead primary is given up after this; a living one that only has to wait for the processor should not be.
const SILENCE: Duration = Duration::from_secs(8);
/// A server that has gone is waited for no longer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Somebody who is signed in.
struct Person {
    browser: Browser,
    handle: String,
    cookie: Option<String>,
}

async fn broker_on(settings: &RedisSettings) -> Broker {
    let settings = RedisSettings { timeout: TIMEOUT, ..settings.clone() };
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

/// A session that was deleted is refused, as soon as that is heard and from then on. Near caches would keep it for an
/// hour if it were not.
async fn refused(broker: &Broker, person: &Person) {
    until("a deleted session is not served", async || broker.status(&person.browser).await != 200).await;
    until("the store is there", async || {
        let status = broker.status(&person.browser).await;
        assert_ne!(status, 200, "a deleted session is served again");
        status != 503
    })
    .await;
    for _ in 0..5 {
        assert_eq!(broker.status_after_an_outage(&person.browser).await, 401);
    }
}

/// The status of a page; whatever happens, a live session's cookie is left alone.
async fn live_or_unavailable(broker: &Broker, person: &Person) -> u16 {
    let status = broker.status(&person.browser).await;
    assert!(status == 200 || status == 503, "{status}");
    assert_eq!(person.browser.cookie(SESSION), person.cookie);
    status
}

/// Asks for everybody's pages all the while something happens.
async fn while_asked<T>(broker: &Broker, people: &[Person], event: impl Future<Output = T>) -> T {
    let asking = async {
        loop {
            for person in people {
                live_or_unavailable(broker, person).await;
            }
            // The pace at which people ask: what waits for the event runs on the same thread.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        happened = event => happened,
        () = asking => unreachable!("it asks for ever"),
    }
}

/// Asks until everybody is served again; never a wrong answer meanwhile.
async fn served_again(broker: &Broker, people: &[Person]) {
    for person in people {
        until("the broker finds the new primary", async || live_or_unavailable(broker, person).await == 200).await;
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
    broker.served_from_memory(&person.browser, || redis.gets()).await;
    assert_eq!(redis.ask(&["DEL", &person.handle]), "1");
    refused(&broker, &person).await;
    let other = sign_in(&broker).await;
    crate::support::sign_out::sign_out(&other.browser).await;
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
        broker.served_from_memory(&person.browser, || owner.gets()).await;
        delete(owner, &person);
        refused(&broker, &person).await;
    }
}

#[tokio::test]
async fn sessions_move_with_their_slots() {
    let cluster = Cluster::start(WHOLE);
    let broker = broker_on(&cluster.settings()).await;
    let people = sign_in_everywhere(&broker, &cluster).await;
    for person in &people {
        broker.served_from_memory(&person.browser, || gets(&cluster)).await;
    }
    for person in &people {
        let from = cluster.owner(&person.handle);
        let to = cluster.primaries().into_iter().find(|primary| primary.port() != from.port()).unwrap();
        let slot = cluster.slot(&person.handle);
        while_asked(&broker, &people, cluster.move_slot(slot, from, to)).await;
        served_again(&broker, &people).await;
        assert_eq!(cluster.owner(&person.handle).port(), to.port());
        broker.served_from_memory(&person.browser, || gets(&cluster)).await;
    }
    for person in &people {
        delete(cluster.owner(&person.handle), person);
        refused(&broker, person).await;
    }
}

/// A server whose slot another takes deletes its keys without telling anybody (Redis 7.0): the epoch of the cluster says
/// that something happened.
#[tokio::test]
async fn a_slot_that_is_taken_over_takes_its_sessions_with_it() {
    let cluster = Cluster::start(WHOLE);
    let broker = broker_on(&cluster.settings()).await;
    let person = sign_in(&broker).await;
    let from = cluster.owner(&person.handle);
    broker.served_from_memory(&person.browser, || from.gets()).await;
    let to = cluster.primaries().into_iter().find(|primary| primary.port() != from.port()).unwrap();
    let (slot, id) = (cluster.slot(&person.handle), to.ask(&["CLUSTER", "MYID"]));
    // The others would spread the epoch before the slot.
    let others = cluster.nodes.iter().filter(|node| ![from.port(), to.port()].contains(&node.port()));
    others.clone().for_each(Redis::freeze);
    to.do_at_once(&["CLUSTER BUMPEPOCH", &format!("CLUSTER SETSLOT {slot} NODE {id}")]);
    until("its owner has heard that it is none any more", async || Cluster::knows(from, slot, to)).await;
    others.for_each(Redis::thaw);
    refused(&broker, &person).await;
}

/// The epoch does not rise if the taker has the greatest one before: then it is the slots that say so.
#[tokio::test]
async fn a_slot_that_is_taken_over_under_the_same_epoch_takes_its_sessions_with_it() {
    let cluster = Cluster::start(WHOLE);
    let broker = broker_on(&cluster.settings()).await;
    let person = sign_in(&broker).await;
    let from = cluster.owner(&person.handle);
    let to = cluster.primaries().into_iter().find(|primary| primary.port() != from.port()).unwrap();
    let (slot, id) = (cluster.slot(&person.handle), to.ask(&["CLUSTER", "MYID"]));
    to.ask(&["CLUSTER", "BUMPEPOCH"]);
    let epoch = |node: &Redis| {
        let information = node.ask(&["CLUSTER", "INFO"]);
        information.lines().find(|line| line.starts_with("cluster_current_epoch:")).unwrap().trim().to_owned()
    };
    until("all know the epoch", async || cluster.nodes.iter().all(|node| epoch(node) == epoch(to))).await;
    broker.served_from_memory(&person.browser, || from.gets()).await;
    let before = epoch(from);
    to.ask(&["CLUSTER", "SETSLOT", &slot.to_string(), "NODE", &id]);
    until("its owner has heard that it is none any more", async || Cluster::knows(from, slot, to)).await;
    assert_eq!(epoch(from), before);
    until("it is refused", async || broker.status(&person.browser).await == 401).await;
}

#[tokio::test]
async fn sessions_outlive_the_primaries_of_a_cluster() {
    let cluster = Cluster::start(SILENCE);
    let broker = broker_on(&cluster.settings()).await;
    let people = sign_in_everywhere(&broker, &cluster).await;
    for person in &people {
        broker.served_from_memory(&person.browser, || gets(&cluster)).await;
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
        let is_primary = async || new.ask(&["ROLE"]).starts_with("master");
        while_asked(&broker, people, until("the replica takes over", is_primary)).await;
        until("the others know", async || cluster.owner(&person.handle).port() == new.port()).await;
        served_again(&broker, people).await;
        broker.served_from_memory(&person.browser, || gets(&cluster)).await;
        delete(new, person);
        refused(&broker, person).await;
    }
    served_again(&broker, &people[2..]).await;
}

#[tokio::test]
async fn sessions_outlive_a_primary_that_sentinel_replaces() {
    sentinel_replaces(NEVER, Sentinels::fail_over).await;
}

#[tokio::test]
async fn sessions_outlive_a_primary_that_dies_under_sentinel() {
    sentinel_replaces(SILENCE, |fleet| fleet.primary().kill()).await;
}

async fn sentinel_replaces(silence: Duration, fail: impl FnOnce(&Sentinels)) {
    let fleet = Sentinels::start(silence);
    let broker = broker_on(&fleet.settings()).await;
    let people = [sign_in(&broker).await, sign_in(&broker).await];
    let old = fleet.primary();
    for person in &people {
        broker.served_from_memory(&person.browser, || old.gets()).await;
    }
    old.wait_for_replicas(2);
    // Sentinel tells the old primary only seconds later that it is none any more, and what it takes until then is lost:
    // the broker does not wait for that. Here it takes until this test lets it know.
    old.ask(&["ACL", "SETUSER", "default", "-replicaof", "-slaveof"]);
    fail(&fleet);
    let replaced = async || fleet.named().is_some_and(|port| port != old.port());
    while_asked(&broker, &people, until("another is the primary", replaced)).await;
    let new = fleet.primary();
    let is_left = async || old.try_ask(&["ROLE"]).is_none_or(|role| role.starts_with("slave"));
    let sessions = || new.ask(&["KEYS", "cf-*"]).lines().count();
    let known = sessions();
    until("logins are kept on the new primary", async || {
        broker.sign_in(&broker.browser(), "/").await;
        sessions() > known
    })
    .await;
    old.try_ask(&["ACL", "SETUSER", "default", "+replicaof", "+slaveof"]);
    while_asked(&broker, &people, until("the old primary is none any more", is_left)).await;
    served_again(&broker, &people).await;
    broker.served_from_memory(&people[0].browser, || new.gets()).await;
    delete(new, &people[0]);
    refused(&broker, &people[0]).await;
    served_again(&broker, &people[1..]).await;
    let newcomer = broker.signed_in_after_an_outage().await;
    assert_eq!(broker.status_after_an_outage(&newcomer).await, 200, "and new ones are kept there");
}
