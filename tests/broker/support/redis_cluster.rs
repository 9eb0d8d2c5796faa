//! A Redis Cluster: three primaries, each with a replica.

use std::ops::RangeInclusive;
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use counterfoil::session_redis::RedisSettings;

use super::child::{PATIENCE, end_with_this_process, free_ports, until, wait_until};
use super::program::Folder;
use super::redis::{Redis, settings_of};

const NODES: usize = 6;
/// For a cluster that no node is to be given up in, however busy the machine is.
pub const WHOLE: Duration = Duration::from_mins(2);

/// Six running servers.
pub struct Cluster {
    pub nodes: Vec<Redis>,
    folder: Folder,
}

/// A node as another one sees it.
struct Known {
    port: u16,
    is_primary: bool,
    slots: Vec<RangeInclusive<u16>>,
}

impl Cluster {
    /// Starts a cluster that gives up a silent node after `node_timeout`.
    pub fn start(node_timeout: Duration) -> Self {
        let folder = Folder::new();
        let ports = free_ports::<{ 2 * NODES }>();
        let node = |ports: &[u16]| {
            let home = folder.path().join(ports[0].to_string());
            std::fs::create_dir(&home).unwrap();
            let (bus, node_timeout) = (ports[1].to_string(), node_timeout.as_millis().to_string());
            let mut options = vec!["--cluster-enabled", "yes", "--cluster-port", &bus];
            options.extend(["--cluster-node-timeout", &node_timeout, "--repl-diskless-sync-delay", "0"]);
            options.extend(["--dir", home.to_str().unwrap()]);
            Redis::start_with(ports[0], &options)
        };
        let cluster = Self { nodes: ports.chunks(2).map(node).collect(), folder };
        let mut create = Command::new("redis-cli");
        create.args(["--cluster", "create"]).args(cluster.nodes.iter().map(address));
        let created = create.args(["--cluster-replicas", "1", "--cluster-yes"]).output().unwrap();
        assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stdout));
        wait_until("every node knows every node", || cluster.nodes.iter().all(is_settled));
        cluster
    }

    /// The cluster that tests share which leave it as it is.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        SHARED.get_or_init(|| {
            let cluster = Self::start(WHOLE);
            end_with_this_process(cluster.nodes.iter().map(Redis::id), cluster.folder.path());
            cluster
        })
    }

    /// The broker's settings; it is told of two nodes and finds the others.
    pub fn settings(&self) -> RedisSettings {
        let (first, second) = (address(&self.nodes[0]), address(&self.nodes[1]));
        settings_of(format!("redis-cluster://{first}?node={second}"))
    }

    /// The primary that has a key.
    pub fn owner(&self, key: &str) -> &Redis {
        let slot = self.slot(key);
        let started = Instant::now();
        loop {
            // In the middle of a failover nobody has it for a moment.
            if let Some(owner) = self.known().iter().find(|node| node.has(slot)) {
                return self.node(owner.port);
            }
            assert!(started.elapsed() < PATIENCE, "nobody has slot {slot}");
        }
    }

    /// The slot that a key lies in.
    pub fn slot(&self, key: &str) -> u16 {
        let mut answers = self.nodes.iter().filter_map(|node| node.try_ask(&["CLUSTER", "KEYSLOT", key]));
        answers.next().unwrap().parse().unwrap()
    }

    pub fn primaries(&self) -> Vec<&Redis> {
        self.known().iter().filter(|node| node.is_primary).map(|node| self.node(node.port)).collect()
    }

    /// The replica of a primary.
    pub fn replica_of(&self, primary: &Redis) -> &Redis {
        let role = primary.ask(&["ROLE"]);
        self.node(role.lines().nth(3).unwrap().parse().unwrap())
    }

    /// Moves a slot from one primary to another while it is used, as `redis-cli --cluster reshard` does.
    pub async fn move_slot(&self, slot: u16, from: &Redis, to: &Redis) {
        let (number, slot) = (slot, slot.to_string());
        let (from_id, to_id) = (from.ask(&["CLUSTER", "MYID"]), to.ask(&["CLUSTER", "MYID"]));
        to.ask(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]);
        from.ask(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]);
        let keys = from.ask(&["CLUSTER", "GETKEYSINSLOT", &slot, "1000"]);
        let port = to.port().to_string();
        for key in keys.lines() {
            from.ask(&["MIGRATE", "127.0.0.1", &port, key, "0", "5000"]);
        }
        // Whoever asks here now is sent on without the slot having moved.
        until("somebody is sent on", async || from.ask(&["INFO", "errorstats"]).contains("errorstat_ASK:")).await;
        to.ask(&["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]);
        from.ask(&["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]);
        until("every node knows", async || self.nodes.iter().all(|node| Self::knows(node, number, to))).await;
    }

    /// Whether a node knows who has a slot.
    pub fn knows(node: &Redis, slot: u16, owner: &Redis) -> bool {
        seen_by(node).iter().any(|known| known.port == owner.port() && known.has(slot))
    }

    fn node(&self, port: u16) -> &Redis {
        self.nodes.iter().find(|node| node.port() == port).unwrap()
    }

    /// The living nodes as the first of them sees them.
    fn known(&self) -> Vec<Known> {
        self.nodes.iter().map(seen_by).find(|known| !known.is_empty()).unwrap()
    }
}

impl Known {
    fn has(&self, slot: u16) -> bool {
        self.is_primary && self.slots.iter().any(|slots| slots.contains(&slot))
    }
}

/// What a node knows of the others and itself; nothing if it does not answer.
fn seen_by(node: &Redis) -> Vec<Known> {
    let nodes = node.try_ask(&["CLUSTER", "NODES"]).unwrap_or_default();
    nodes.lines().filter_map(known).collect()
}

/// A line of `CLUSTER NODES`: id, address, flags, primary, ping, pong, epoch, link, slots. `None` if it failed.
fn known(line: &str) -> Option<Known> {
    let words: Vec<_> = line.split(' ').collect();
    let (address, flags) = (words[1], words[2]);
    let port = address.split_once('@').unwrap().0.rsplit_once(':').unwrap().1.parse().unwrap();
    let slots = words[8..].iter().filter(|slots| !slots.starts_with('[')).map(|slots| {
        let (first, last) = slots.split_once('-').unwrap_or((slots, slots));
        first.parse().unwrap()..=last.parse().unwrap()
    });
    (!flags.split(',').any(|flag| flag == "fail")).then(|| Known {
        port,
        is_primary: flags.contains("master"),
        slots: slots.collect(),
    })
}

fn address(node: &Redis) -> String {
    format!("127.0.0.1:{}", node.port())
}

/// Whether a node has found its place among the others.
fn is_settled(node: &Redis) -> bool {
    let nodes = seen_by(node);
    let has_replicas = nodes.len() == NODES && nodes.iter().filter(|node| !node.is_primary).count() == NODES / 2;
    let replication = node.ask(&["INFO", "replication"]);
    has_replicas
        && node.ask(&["CLUSTER", "INFO"]).contains("cluster_state:ok")
        && (replication.contains("master_link_status:up") || replication.contains("state=online"))
}
