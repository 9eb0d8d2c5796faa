//! Connections to Redis that are open and carry nothing any more, as a node or a balancer leaves them that goes away without
//! a word: they are replaced, whatever is written to them meanwhile. New ones work all the time.
//!
//! Found by trying one server; the members beside it by looking for whatever keeps a connection: each client of the pool,
//! the links of the near cache, those to every node of a cluster, the way over Sentinel.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use counterfoil::session_redis::{RedisBackend, RedisSettings};

use crate::support::broker::{Broker, Setup, Store};
use crate::support::browser::Browser;
use crate::support::child::{Program, free_port, free_ports, until, wait_until};
use crate::support::program::Folder;
use crate::support::redis::{Redis, settings, settings_of};
use crate::support::silent_relay::SilentRelay;

/// What `store.timeout` is unless configured.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);
/// Requests that may fail, one after the other: each waits for no longer than `store.timeout`, so that this is the three
/// seconds within which everything works again.
const MOST_FAILURES: usize = 3;

async fn broker_on(settings: &RedisSettings, timeout: Duration, near_cache_entries: u32) -> Broker {
    let settings = RedisSettings { timeout, ..settings.clone() };
    let store = Arc::new(RedisBackend::connect(&settings).unwrap());
    Broker::with(Setup { store: Store::Shared(store), near_cache_entries, ..Setup::default() }).await
}

async fn is_ready(broker: &Broker) -> bool {
    broker.readiness().await.status == 200
}

/// Asks for a guarded page until some in a row were served; how many were not until then.
async fn failures(broker: &Broker, browser: &Browser) -> usize {
    let (mut failed, mut served) = (0, 0);
    // More than there are connections to take turns.
    while served < 8 {
        let status = broker.status(browser).await;
        assert!(status == 200 || status == 503, "nobody is signed out by it: {status}");
        if status == 200 {
            served += 1;
        } else {
            (failed, served) = (failed + 1, 0);
        }
        assert!(failed < 60, "it never recovers");
    }
    failed
}

#[tokio::test]
async fn a_connection_that_carries_nothing_is_replaced_while_requests_keep_coming() {
    let redis = Redis::start();
    for (timeout, near_cache_entries) in [(DEFAULT_TIMEOUT, 1_000), (DEFAULT_TIMEOUT, 0), (DEFAULT_TIMEOUT / 4, 0)] {
        let network = SilentRelay::in_front_of(redis.port()).await;
        let broker = broker_on(&settings(network.port()), timeout, near_cache_entries).await;
        let browser = broker.signed_in_after_an_outage().await;
        for _ in 0..2 {
            network.lose_established();
            let failed = failures(&broker, &browser).await;
            assert!(failed <= MOST_FAILURES, "{failed} failed with {timeout:?}, {near_cache_entries}");
            until("every connection answers", async || is_ready(&broker).await).await;
            broker.signed_in().await;
        }
    }
}

/// Only the readiness probe is needed for that; requests after it are served at once.
#[tokio::test]
async fn a_connection_that_carries_nothing_is_replaced_while_nobody_asks() {
    let redis = Redis::start();
    for near_cache_entries in [1_000, 0] {
        let network = SilentRelay::in_front_of(redis.port()).await;
        let broker = broker_on(&settings(network.port()), DEFAULT_TIMEOUT, near_cache_entries).await;
        let browser = broker.signed_in_after_an_outage().await;
        until("every connection answers", async || is_ready(&broker).await).await;
        let before = network.connections();
        let lost = network.lose_established();
        assert!(lost >= 2);
        until("there are new connections", async || network.connections() >= before + lost).await;
        until("every connection answers", async || is_ready(&broker).await).await;
        assert_eq!(failures(&broker, &browser).await, 0);
    }
}

/// Readiness is about every connection: that one of them still works helps only some.
#[tokio::test]
async fn readiness_asks_every_connection() {
    let redis = Redis::start();
    let network = SilentRelay::in_front_of(redis.port()).await;
    let broker = broker_on(&settings(network.port()), DEFAULT_TIMEOUT, 0).await;
    // The provider counts, too.
    broker.signed_in_after_an_outage().await;
    until("every connection answers", async || is_ready(&broker).await).await;
    for _ in 0..2 {
        network.lose_oldest();
        assert!(!is_ready(&broker).await, "one of two is lost");
        until("every connection answers", async || is_ready(&broker).await).await;
    }
}

/// A server that hangs is no reason for new connections: what it was asked on the old ones, it answers later.
#[tokio::test]
async fn a_server_that_only_hangs_keeps_its_connections() {
    let redis = Redis::start();
    let network = SilentRelay::in_front_of(redis.port()).await;
    let broker = broker_on(&settings(network.port()), DEFAULT_TIMEOUT, 0).await;
    // The provider counts, too.
    broker.signed_in_after_an_outage().await;
    until("every connection answers", async || is_ready(&broker).await).await;
    let ours = || {
        let list = redis.ask(&["CLIENT", "LIST"]);
        let ids = list.lines().filter(|line| !line.contains("cmd=client|list"));
        ids.map(|line| line.split(' ').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let before = (ours(), network.connections());
    assert_eq!(before.0.len(), 2);
    redis.freeze();
    until("others are tried", async || network.connections() >= before.1 + 2).await;
    redis.thaw();
    until("every connection answers", async || is_ready(&broker).await).await;
    until("the others are given up", async || ours() == before.0).await;
}

/// Three primaries without replicas, each reached through a network of its own.
struct RelayedCluster {
    nodes: Vec<Redis>,
    networks: Vec<SilentRelay>,
}

impl RelayedCluster {
    async fn start() -> Self {
        let (mut nodes, mut networks) = (Vec::new(), Vec::new());
        let ports = free_ports::<6>();
        for ports in ports.chunks(2) {
            let network = SilentRelay::in_front_of(ports[0]).await;
            let (bus, announced) = (ports[1].to_string(), network.port().to_string());
            let options = ["--cluster-enabled", "yes", "--cluster-port", &bus, "--cluster-announce-port", &announced];
            nodes.push(Redis::start_with(ports[0], &options));
            networks.push(network);
        }
        for (node, slots) in nodes.iter().zip([["0", "5460"], ["5461", "10922"], ["10923", "16383"]]) {
            node.ask(&["CLUSTER", "ADDSLOTSRANGE", slots[0], slots[1]]);
        }
        for (ports, network) in ports.chunks(2).zip(&networks).skip(1) {
            nodes[0].ask(&["CLUSTER", "MEET", "127.0.0.1", &network.port().to_string(), &ports[1].to_string()]);
        }
        let is_whole = |node: &Redis| {
            let (info, nodes) = (node.ask(&["CLUSTER", "INFO"]), node.ask(&["CLUSTER", "NODES"]));
            info.contains("cluster_state:ok")
                && networks.iter().all(|known| nodes.contains(&format!(":{}@", known.port())))
        };
        wait_until("the cluster is whole", || nodes.iter().all(is_whole));
        Self { nodes, networks }
    }

    fn settings(&self) -> RedisSettings {
        settings_of(format!("redis-cluster://127.0.0.1:{}", self.networks[0].port()))
    }
}

#[tokio::test]
async fn silent_connections_to_nodes_of_a_cluster_are_replaced() {
    let cluster = RelayedCluster::start().await;
    assert_eq!(cluster.nodes.len(), 3);
    for near_cache_entries in [1_000, 0] {
        let broker = broker_on(&cluster.settings(), DEFAULT_TIMEOUT, near_cache_entries).await;
        let browser = broker.signed_in_after_an_outage().await;
        // Each node alone, of which the others say nothing; then all of them.
        for lost in [0..1, 1..2, 2..3, 0..3] {
            let gone: usize = cluster.networks[lost.clone()].iter().map(SilentRelay::lose_established).sum();
            assert!(gone > 0);
            let failed = failures(&broker, &browser).await;
            assert!(failed <= MOST_FAILURES, "{failed} failed without {lost:?}, {near_cache_entries}");
            until("every connection answers", async || is_ready(&broker).await).await;
            broker.signed_in().await;
        }
    }
}

#[tokio::test]
async fn silent_connections_to_the_primary_of_a_sentinel_are_replaced() {
    let (redis, folder, port) = (Redis::start(), Folder::new(), free_port());
    let network = SilentRelay::in_front_of(redis.port()).await;
    let file = folder.write(
        "sentinel.conf",
        &format!(
            "port {port}\nbind 127.0.0.1\ndir {}\nsentinel monitor mymaster 127.0.0.1 {} 1\n\
             sentinel down-after-milliseconds mymaster 3600000\n",
            folder.path().display(),
            network.port()
        ),
    );
    let sentinel = Program::start(Command::new("redis-server").args([&file, "--sentinel"]));
    sentinel.wait_for("+monitor master mymaster");
    let settings = settings_of(format!("redis-sentinel://127.0.0.1:{port}/0?sentinelServiceName=mymaster"));
    for near_cache_entries in [1_000, 0] {
        let broker = broker_on(&settings, DEFAULT_TIMEOUT, near_cache_entries).await;
        let browser = broker.signed_in_after_an_outage().await;
        network.lose_established();
        let failed = failures(&broker, &browser).await;
        assert!(failed <= MOST_FAILURES, "{failed} failed");
        until("every connection answers", async || is_ready(&broker).await).await;
        broker.signed_in().await;
    }
}

/// The tracking connection of the near cache is replaced, and later deletions are pushed on the new one.
#[tokio::test]
async fn a_silent_link_of_the_near_cache_is_replaced() {
    let redis = Redis::start();
    let network = SilentRelay::in_front_of(redis.port()).await;
    let broker = broker_on(&settings(network.port()), DEFAULT_TIMEOUT, 1_000).await;
    let browser = broker.signed_in_after_an_outage().await;
    let handle = broker.handle(&browser).await;
    let cached = async || broker.served_from_memory(&browser, || redis.gets()).await;
    cached().await;
    network.lose_established();
    failures(&broker, &browser).await;
    cached().await;
    assert_eq!(redis.ask(&["DEL", &handle]), "1");
    until("a deletion is heard of", async || broker.status(&browser).await == 401).await;
}
