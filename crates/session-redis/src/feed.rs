//! The feed of changes: connections to Redis that tell when a record changes, whoever changed it.
//!
//! One `link` to each primary, on which Redis pushes the first change of each record that was read on it (RESP3 client
//! tracking, opted in to for each read: deleted, expired, evicted, overwritten, flushed). Records for the near cache are
//! read on that connection alone, so what is cached always comes from the server that will tell of its end: nothing can be
//! read from one server and be watched on another, in a failover or while a cluster moves its slots.
//!
//! `topology` knows which primaries there are. Without a live link nothing is cached and everything is read through
//! the pool: slower, never wrong.
//!
//! fred's own tracking does not suffice: it drops the push of `FLUSHALL`, loses pushes when many come at once, does
//! not start again after a reconnect, and asks one node of a cluster only.

pub(super) mod connection;
mod link;
mod topology;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};

use counterfoil_core::secret::Secret;
use counterfoil_session::key::SessionHandle;
use counterfoil_session::store::log::{LogNumber, LogRead};
use counterfoil_session::store::{InvalidationFeed, InvalidationListener, Listeners};
use fred::types::config::ServerConfig;
use redis_protocol::redis_keyslot;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use crate::RedisBackend;
use crate::connections::Connections;

use self::link::Link;
pub(super) use self::link::Read;

/// The means to reach any server of the store.
#[derive(Clone)]
pub(super) struct Access {
    pub(super) username: Option<String>,
    pub(super) password: Option<Secret<String>>,
    pub(super) database: u8,
    pub(super) tls: Option<TlsConnector>,
    pub(super) timeout: Duration,
}

/// The keys of what belongs to a record.
pub(super) struct Beside {
    pub(super) note: String,
    pub(super) tombstone: String,
}

/// The place where a server listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            return write!(formatter, "[{}]:{}", self.host, self.port);
        }
        write!(formatter, "{}:{}", self.host, self.port)
    }
}

/// The links to every primary, and which of them has which records.
type Links = Vec<(std::ops::RangeInclusive<u16>, Arc<Link>)>;

/// The state that the tasks share with their owner.
struct Shared {
    /// Begins every key but the records'.
    prefix: String,
    listeners: Listeners,
    links: RwLock<Arc<Links>>,
}

impl Shared {
    fn links(&self) -> Arc<Links> {
        self.links.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_links(&self, links: Links) {
        *self.links.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(links);
    }
}

/// All that is heard of one store. Begins with the first listener; ends when dropped.
pub(super) struct Invalidation {
    server: ServerConfig,
    access: Access,
    connections: Connections,
    shared: Arc<Shared>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Invalidation {
    pub(super) fn new(server: ServerConfig, access: Access, prefix: String, connections: Connections) -> Self {
        let shared = Arc::new(Shared { prefix, listeners: Listeners::default(), links: RwLock::default() });
        Self { server, access, connections, shared, task: Mutex::default() }
    }

    /// Tells `listener` from now on.
    pub(super) fn subscribe(&self, listener: Weak<dyn InvalidationListener>) {
        self.shared.listeners.add(listener);
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        task.get_or_insert_with(|| {
            let (server, access) = (self.server.clone(), self.access.clone());
            tokio::spawn(topology::follow(server, access, self.connections.clone(), self.shared.clone()))
        });
    }

    /// Reads a record where its end will be heard of. `None` if there is no such place just now, or it does not
    /// want to answer: then the pool is to be asked.
    pub(super) async fn read(&self, handle: SessionHandle, beside: Beside) -> Option<Read> {
        self.link(&handle.to_string())?.read(handle, beside).await
    }

    /// Reads a log where its changes will be heard of. `None` as in [`Self::read`].
    pub(super) async fn read_log(&self, key: String, behind: LogNumber) -> Option<LogRead> {
        self.link(&key)?.read_log(key, behind).await
    }

    /// The link to the server that has a key, if it is heard.
    fn link(&self, key: &str) -> Option<Arc<Link>> {
        let links = self.shared.links();
        let link = match links.as_slice() {
            [] => None,
            [(_, only)] if !matches!(self.server, ServerConfig::Clustered { .. }) => Some(only),
            several => {
                let slot = redis_keyslot(key.as_bytes());
                several.iter().find(|(slots, _)| slots.contains(&slot)).map(|(_, link)| link)
            }
        };
        link.filter(|link| link.is_heard(Instant::now())).cloned()
    }
}

impl Drop for Invalidation {
    fn drop(&mut self) {
        if let Some(task) = self.task.lock().unwrap_or_else(PoisonError::into_inner).take() {
            task.abort();
        }
    }
}

impl InvalidationFeed for RedisBackend {
    fn subscribe(&self, listener: Weak<dyn InvalidationListener>) {
        self.invalidation.subscribe(listener);
    }

    fn reconnected(&self) -> Option<Arc<Notify>> {
        Some(self.connections.reconnected())
    }
}

impl fmt::Debug for Invalidation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Invalidation").finish_non_exhaustive()
    }
}
