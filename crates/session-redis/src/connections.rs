//! The connections of the pool, each of them watched.
//!
//! A node or a balancer that goes away without a word leaves connections that are open and carry nothing. fred counts
//! the silence of one from its last write, so one that is written to all the time is never given up, and it gives up
//! none of a cluster's while it can still read the others. Each connection is therefore asked for a sign of life a few
//! times a second. One that owes an answer gets a rival, a client of its own with fresh connections, and whichever
//! answers first stays: a server that only hangs loses no command by it, and a connection that is lost is replaced
//! although the server is well. The old one is dropped as a task, not closed: closing waits for its last writes.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use counterfoil_core::lock;
use counterfoil_core::log_on_change::LogOnChange;
use fred::clients::Client;
use fred::error::{Error, ErrorKind};
use fred::interfaces::{ClientLike, EventInterface};
use fred::types::config::Options;
use fred::types::{Builder, CustomCommand, Value};
use futures_util::future::try_join_all;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

/// Connections: commands on one are pipelined, so more than one per core gains nothing (measured).
const CONNECTIONS: usize = 2;
/// Interval between two signs of life.
const INTERVAL: Duration = Duration::from_millis(250);
/// Longest wait for one before there is a rival; a shorter `timeout` is shorter.
const PATIENCE: Duration = Duration::from_secs(1);
/// Longest race between a silent connection and its rival: then there is another rival, since this one may have been
/// lost as well.
const RACE: Duration = Duration::from_secs(5);
/// Pause before a client that gave up begins again.
const RESTART_PAUSE: Duration = Duration::from_millis(50);

/// Ends a task when it is dropped.
struct EndOnDrop(AbortHandle);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The connections of the pool. Cheap to clone; they end with the last clone.
#[derive(Clone)]
pub(crate) struct Connections(Arc<Inner>);

struct Inner {
    reports: Reports,
    lanes: Vec<Arc<Lane>>,
    next: AtomicUsize,
    _watches: Vec<EndOnDrop>,
}

/// One place of the pool, whoever fills it.
struct Lane {
    running: ArcSwap<Running>,
    /// Set if the last sign of life came in time.
    is_heard: AtomicBool,
}

/// A client and the task that keeps it connected; its sockets go with it.
struct Running {
    client: Client,
    _task: EndOnDrop,
}

impl Running {
    fn start(builder: &Builder, reports: &Reports) -> Result<Self, Error> {
        let client = builder.build()?;
        reports.follow(&client);
        let task = tokio::spawn(keep_connected(client.clone())).abort_handle();
        Ok(Self { client, _task: EndOnDrop(task) })
    }

    /// Waits for a sign of life on every connection of this client.
    async fn is_alive(&self, longest: Duration) -> Result<(), Error> {
        let options = |cluster_node| Options { timeout: Some(longest), cluster_node, ..Options::default() };
        let nodes = match self.client.active_connections() {
            nodes if self.client.is_clustered() && !nodes.is_empty() => nodes.into_iter().map(Some).collect(),
            _ => vec![None],
        };
        let pings = nodes.into_iter().map(async |node| {
            let _: String = self.client.with_options(&options(node)).ping(None).await?;
            Ok(())
        });
        try_join_all(pings).await.map(drop)
    }

    /// Waits for however long it takes. The last question is not given up: an answer counts that comes late.
    async fn comes_alive(&self) {
        while self.is_alive(RACE).await.is_err() {
            tokio::time::sleep(RESTART_PAUSE).await;
        }
    }
}

impl Connections {
    /// Starts connecting in the background. Every client is made by `builder`; `timeout` is the longest wait for an
    /// answer.
    ///
    /// # Errors
    /// fred's, if its configuration cannot be used.
    pub(crate) fn start(builder: &Builder, timeout: Duration) -> Result<Self, Error> {
        let reports = Reports::default();
        let (mut lanes, mut watches) = (Vec::new(), Vec::new());
        for _ in 0..CONNECTIONS {
            let running = ArcSwap::from_pointee(Running::start(builder, &reports)?);
            let lane = Arc::new(Lane { running, is_heard: AtomicBool::new(true) });
            let watch = tokio::spawn(lane.clone().watch(builder.clone(), timeout.min(PATIENCE), reports.clone()));
            watches.push(EndOnDrop(watch.abort_handle()));
            lanes.push(lane);
        }
        Ok(Self(Arc::new(Inner { reports, lanes, next: AtomicUsize::new(0), _watches: watches })))
    }

    /// The client for the next command: they take turns, but for those that are not heard while another is.
    pub(crate) fn next(&self) -> Client {
        let Inner { lanes, next, .. } = &*self.0;
        let first = next.fetch_add(1, Ordering::Relaxed);
        let mut turns = (first..first + lanes.len()).map(|turn| &lanes[turn % lanes.len()]);
        let heard =
            turns.find(|lane| lane.is_heard.load(Ordering::Relaxed) && lane.running.load().client.is_connected());
        heard.unwrap_or(&lanes[first % lanes.len()]).running.load().client.clone()
    }

    /// Is notified when a connection was made anew.
    pub(crate) fn reconnected(&self) -> Arc<Notify> {
        self.0.reports.reconnected.clone()
    }

    /// Every client.
    pub(crate) fn clients(&self) -> Vec<Client> {
        self.0.lanes.iter().map(|lane| lane.running.load().client.clone()).collect()
    }

    /// Asks each connection, and one whether its server takes writes.
    ///
    /// # Errors
    /// That of the first that does not answer in time, or if the server is a replica.
    pub(crate) async fn ping(&self, timeout: Duration) -> Result<(), Error> {
        let running = self.0.lanes.iter().map(|lane| lane.running.load_full());
        try_join_all(running.map(async |running| running.is_alive(timeout).await)).await?;
        let client = self.next();
        // fred itself follows the primaries of a cluster.
        if client.is_clustered() {
            return Ok(());
        }
        let options = Options { timeout: Some(timeout), ..Options::default() };
        let role = CustomCommand::new_static("ROLE", None, false);
        let answered: Value = client.with_options(&options).custom(role, Vec::<Value>::new()).await?;
        let is_primary = answered.into_array().first().and_then(Value::as_str).is_some_and(|role| role == "master");
        is_primary
            .then_some(())
            .ok_or_else(|| Error::new(ErrorKind::Unknown, "the server is a replica: it takes no writes"))
    }
}

impl Lane {
    async fn watch(self: Arc<Self>, builder: Builder, patience: Duration, reports: Reports) {
        loop {
            tokio::time::sleep(INTERVAL.min(patience)).await;
            let running = self.running.load_full();
            let is_heard = running.is_alive(patience).await.is_ok();
            self.is_heard.store(is_heard, Ordering::Relaxed);
            if is_heard {
                continue;
            }
            // The same configuration as that of the one that runs, so it can be used.
            let Ok(rival) = Running::start(&builder, &reports) else { continue };
            tokio::select! {
                biased;
                () = running.comes_alive() => {}
                () = rival.comes_alive() => {
                    tracing::warn!("a connection to Redis carried nothing any more and was replaced");
                    self.running.store(Arc::new(rival));
                    reports.reconnected.notify_one();
                }
                () = tokio::time::sleep(RACE) => continue,
            }
            self.is_heard.store(true, Ordering::Relaxed);
        }
    }
}

/// Keeps a client connecting: some errors in the midst of a cluster's change end fred's task.
async fn keep_connected(client: Client) {
    loop {
        let task = client.connect();
        let _ends_with_this = EndOnDrop(task.abort_handle());
        // Ends well only when the client is told to quit.
        if matches!(task.await, Ok(Ok(()))) {
            return;
        }
        tokio::time::sleep(RESTART_PAUSE).await;
    }
}

/// Reports of connections that are lost or back. The failing operations themselves do not know why there is none
/// (wrong password, refused, READONLY): each reason is said once, until the connection is back.
#[derive(Clone, Default)]
struct Reports {
    outcome: Arc<Mutex<LogOnChange>>,
    reconnected: Arc<Notify>,
}

impl Reports {
    fn follow(&self, client: &Client) {
        let reports = self.clone();
        client.on_error(move |(error, _)| {
            if lock(&reports.outcome).record(&Err::<(), _>(&error)).is_some() {
                tracing::warn!(%error, "there is no connection to Redis");
            }
            std::future::ready(Ok(()))
        });
        let reports = self.clone();
        client.on_reconnect(move |_| {
            let mut outcome = lock(&reports.outcome);
            let was_failing = outcome.is_failing();
            outcome.record(&Ok::<_, Error>(()));
            if was_failing {
                tracing::info!("the connection to Redis is back");
            }
            reports.reconnected.notify_one();
            std::future::ready(Ok(()))
        });
    }
}
