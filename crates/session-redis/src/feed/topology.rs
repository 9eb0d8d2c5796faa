//! The primaries of a store, and following them: one server, whoever Sentinel names, or every primary of a cluster.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use counterfoil_core::secret::Secret;
use fred::interfaces::ClientLike;
use fred::types::ClientState;
use fred::types::config::{Server, ServerConfig};
use futures_util::future::join_all;
use redis_protocol::resp3::types::BytesFrame;
use tokio::task::{AbortHandle, JoinSet};

use super::connection::{Connection, RespError, items, number, text};
use super::link::Link;
use super::{Access, Address, Links, Shared};
use crate::connections::Connections;

/// Interval between two looks at who the primaries are.
const INTERVAL: Duration = Duration::from_secs(1);
/// Looks without an answer after which what was answered before is no longer believed.
const MOST_UNCONFIRMED: u32 = 3;
/// Looks within which the pool should have found a new primary.
const LOOKS: u8 = 10;
/// Every slot of a cluster (Redis cluster specification).
const SLOTS: std::ops::RangeInclusive<u16> = 0..=16_383;

/// Keeps a link to each primary for as long as it is polled.
pub(super) async fn follow(server: ServerConfig, access: Access, connections: Connections, shared: Arc<Shared>) {
    let in_cluster = matches!(server, ServerConfig::Clustered { .. });
    let mut lead = Lead { connections, named: None, looks: 0 };
    let mut kept =
        Kept { in_cluster, access, shared, last: Primaries::new(), links: HashMap::new(), tasks: JoinSet::new() };
    let mut unconfirmed = 0_u32;
    loop {
        match kept.primaries(&server).await {
            Ok(primaries) => {
                unconfirmed = 0;
                kept.keep(&primaries);
                if let (ServerConfig::Sentinel { .. }, [(_, primary)]) = (&server, primaries.as_slice()) {
                    lead.to(primary);
                }
            }
            Err(error) => {
                unconfirmed += 1;
                // A primary that was replaced goes on calling itself one. The nodes of a cluster say when they are cut
                // off; for Sentinel's, only Sentinel can.
                if unconfirmed == MOST_UNCONFIRMED && matches!(server, ServerConfig::Sentinel { .. }) {
                    tracing::warn!(%error, "Sentinel does not say who the primary is: every check asks Redis");
                    kept.keep(&Primaries::new());
                }
            }
        }
        if matches!(server, ServerConfig::Centralized { .. }) {
            return std::future::pending().await;
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Leads the pool to whoever Sentinel names. A primary that was replaced lives on until it is told, and what it takes
/// until then is lost, be it a login or a logout.
struct Lead {
    connections: Connections,
    named: Option<Address>,
    /// Looks that are still given to the pool: sentinels that disagree must not drive it to and fro for ever.
    looks: u8,
}

impl Lead {
    fn to(&mut self, primary: &Address) {
        if self.named.replace(primary.clone()).is_some_and(|named| named != *primary) {
            self.looks = LOOKS;
        }
        if self.looks == 0 {
            return;
        }
        self.looks -= 1;
        for client in self.connections.clients() {
            let servers = client.active_connections();
            let is_elsewhere = !servers.is_empty() && servers.iter().all(|server| address(server) != *primary);
            // A client without a connection is looking for the primary already.
            if is_elsewhere && client.state() == ClientState::Connected {
                // The next look sees how it went.
                tokio::spawn(async move { client.force_reconnection().await });
            }
        }
    }
}

/// The links that are kept up.
struct Kept {
    in_cluster: bool,
    access: Access,
    shared: Arc<Shared>,
    /// The primaries of a cluster as they last were.
    last: Primaries,
    links: HashMap<Address, (Arc<Link>, AbortHandle)>,
    tasks: JoinSet<()>,
}

/// The slots that each primary has.
type Primaries = Vec<(std::ops::RangeInclusive<u16>, Address)>;

impl Kept {
    async fn primaries(&self, server: &ServerConfig) -> Result<Primaries, RespError> {
        let mut failed = RespError::Closed;
        match server {
            ServerConfig::Sentinel { hosts, service_name, username, password } => {
                let (username, password) = (username.clone(), password.clone().map(Secret::new));
                let access = Access { username, password, database: 0, ..self.access.clone() };
                let answers = hosts.iter().map(async |host| ask_sentinel(&address(host), &access, service_name).await);
                let answers: Vec<_> = join_all(answers).await.into_iter().filter_map(Result::ok).collect();
                // One sentinel alone may be on the wrong side of a partition.
                let majority =
                    |primary: &&Address| answers.iter().filter(|answer| answer == primary).count() * 2 > hosts.len();
                return match answers.iter().find(majority) {
                    Some(primary) => Ok(vec![(SLOTS, primary.clone())]),
                    None => Err(RespError::NoMajority),
                };
            }
            ServerConfig::Clustered { hosts, .. } => {
                // The nodes that are known to be there come first, then those of the configuration.
                for node in self.links.keys().cloned().chain(hosts.iter().map(address)) {
                    match ask_node(&node, &self.access).await {
                        Ok(primaries) => return Ok(primaries),
                        Err(error) => failed = error,
                    }
                }
            }
            single @ ServerConfig::Centralized { .. } => {
                return Ok(single.hosts().into_iter().map(|server| (SLOTS, address(&server))).collect());
            }
        }
        Err(failed)
    }

    /// Ends links to those that are no primaries any more, and begins one to each new primary.
    fn keep(&mut self, primaries: &Primaries) {
        self.hear_slots(primaries);
        self.links.retain(|known, (_, task)| {
            let stays = primaries.iter().any(|(_, address)| address == known);
            if !stays {
                task.abort();
            }
            stays
        });
        while self.tasks.try_join_next().is_some() {}
        for (_, address) in primaries {
            if !self.links.contains_key(address) {
                let (access, shared) = (self.access.clone(), self.shared.clone());
                let (link, task) = Link::new(address.clone(), access, self.in_cluster, shared);
                self.links.insert(address.clone(), (link, self.tasks.spawn(task)));
            }
        }
        let link = |(slots, address): &(_, Address)| Some((Clone::clone(slots), self.links.get(address)?.0.clone()));
        self.shared.set_links(primaries.iter().filter_map(link).collect::<Links>());
    }

    /// Voids what was read before slots of a cluster went to another primary: a server whose slots another took deletes their
    /// keys, some versions tell nobody of that, and the epoch need not rise.
    fn hear_slots(&mut self, primaries: &Primaries) {
        if !self.in_cluster {
            return;
        }
        let mut primaries = primaries.clone();
        primaries.sort_by_key(|(slots, _)| *slots.start());
        let before = std::mem::replace(&mut self.last, primaries);
        if !before.is_empty() && before != self.last {
            self.links.values().for_each(|(link, _)| link.coverage.void());
            self.shared.listeners.each(|listener| listener.invalidate_all());
        }
    }
}

async fn ask_sentinel(sentinel: &Address, access: &Access, service: &str) -> Result<Address, RespError> {
    // All of them are asked at the same time, and an answer that is late is of no use.
    let access = &Access { timeout: access.timeout.min(INTERVAL), ..access.clone() };
    let mut sentinel = Connection::open(sentinel, access).await?;
    let answer = sentinel.ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", service]).await?;
    let [host, port] = items(&answer) else { return Err(RespError::OutOfStep) };
    let (host, port) = text(host).zip(number(port)).ok_or(RespError::OutOfStep)?;
    Ok(Address { host: host.to_owned(), port })
}

async fn ask_node(node: &Address, access: &Access) -> Result<Primaries, RespError> {
    let answer = Connection::open(node, access).await?.ask(&["CLUSTER", "SLOTS"]).await?;
    let primaries: Option<Primaries> = items(&answer).iter().map(|range| slots(range, node)).collect();
    primaries.filter(|primaries| !primaries.is_empty()).ok_or(RespError::OutOfStep)
}

/// One entry of `CLUSTER SLOTS`: first slot, last slot, the primary, its replicas.
fn slots(range: &BytesFrame, asked: &Address) -> Option<(std::ops::RangeInclusive<u16>, Address)> {
    let [first, last, primary, ..] = items(range) else { return None };
    let [host, port, ..] = items(primary) else { return None };
    // A node that does not know its own name leaves it to whoever reached it.
    let host = text(host).filter(|host| !host.is_empty()).unwrap_or(&asked.host).to_owned();
    Some((number(first)?..=number(last)?, Address { host, port: number(port)? }))
}

fn address(server: &Server) -> Address {
    Address { host: server.host.to_string(), port: server.port }
}
