//! The server loop: HTTP/1.1 with bounds on everything a client can make large, slow or many (R-K09), and an end
//! that lets requests under way finish (R-P09).
//!
//! Timeouts on clients are decided below HTTP, on the stream (`stream`), but for requests' bodies, which have
//! [limits of their own](crate::web::request_body). `peers` bounds the connections, in all and for each client.
//!
//! A connection that is upgraded keeps its place among the others, and its share of its peer's, to its end: the task that
//! served its requests carries its bytes.
//!
//! Not `axum::serve`: it sets no time limits and no bound on connections. Not hyper's own timer for heads: it
//! runs while a connection is idle, so that it would have to be as long as a load balancer keeps connections.

pub mod descriptors;
mod peers;
mod progress;
mod request;
mod stream;

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use counterfoil_core::lock;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use self::peers::{Peers, Place};
use self::progress::Progress;
use self::request::Handover;
use self::stream::{ClientStream, TooSlow};
use super::site::BackOffice;
use crate::proxy::error::causes;
use crate::web::client_address::TrustedProxies;

/// Largest head of a request, in bytes.
const LARGEST_HEAD: usize = 64 * 1024;
/// Most header lines.
const MOST_HEADERS: usize = 100;
/// File descriptors that are left for everything else: the store, providers, logs, the operators' port.
const RESERVED_DESCRIPTORS: usize = 256;
/// Pause after the system refused to accept a connection (too many open files, say), and between two looks for
/// somebody who could make room.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Shortest time between two lines in the log about connections that had no place.
const REFUSAL_PAUSE: Duration = Duration::from_secs(10);

/// The questions of the system to a client that is silent: after a minute, every ten seconds, three times.
fn keep_alive() -> TcpKeepalive {
    TcpKeepalive::new().with_time(Duration::from_mins(1)).with_interval(Duration::from_secs(10)).with_retries(3)
}

/// The bounds of a listener.
#[derive(Debug, Clone)]
pub struct ConnectionLimits {
    /// Most concurrent connections; more wait to be accepted.
    pub most: usize,
    /// Most connections of one peer; 0: a quarter of all.
    pub per_peer: usize,
    /// Longest time that an idle connection is kept for its next request.
    pub keep_alive: Duration,
    /// Least bytes a second at which a client has to read, after 30 seconds of grace.
    pub least_rate: u64,
    /// The proxies, which have no share, since they speak for many.
    pub proxies: Arc<TrustedProxies>,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        let (most, keep_alive) = (10_000, Duration::from_secs(75));
        Self { most, per_peer: 0, keep_alive, least_rate: 1024, proxies: Arc::default() }
    }
}

impl ConnectionLimits {
    /// The same, as far as so many descriptors go: a connection may need a second one, towards its upstream. Without
    /// free descriptors the process could accept on no port.
    #[must_use]
    pub fn within(self, descriptors: usize) -> Self {
        let most = self.most.min(descriptors.saturating_sub(RESERVED_DESCRIPTORS) / 2).max(1);
        let share = if self.per_peer == 0 { most / 4 } else { self.per_peer };
        Self { most, per_peer: share.clamp(1, most), ..self }
    }
}

/// Serves a site on a listener until `shutdown`; then stops accepting, and waits for requests under way for at
/// most `grace`. Nobody has a share: for a site of one's own on loopback, say.
pub async fn serve(listener: TcpListener, site: impl BackOffice, shutdown: impl Future<Output = ()>, grace: Duration) {
    let limits = ConnectionLimits { per_peer: usize::MAX, ..ConnectionLimits::default() };
    serve_within(&limits, listener, site, shutdown, grace).await;
}

/// The same with bounds, as far as this process's descriptors go.
pub async fn serve_within(
    limits: &ConnectionLimits,
    listener: TcpListener,
    site: impl BackOffice,
    shutdown: impl Future<Output = ()>,
    grace: Duration,
) {
    let house = House::new(limits.clone().within(descriptors::allowed()), site);
    tokio::select! {
        () = house.accept_from(&listener) => {}
        () = shutdown => {}
    }
    drop(listener);
    house.peers.dismiss_all();
    if tokio::time::timeout(grace, house.is_empty()).await.is_err() {
        tracing::warn!(seconds = grace.as_secs(), "requests were still under way at the end of the grace period");
    }
}

/// A listener's connections.
struct House<S> {
    limits: ConnectionLimits,
    site: S,
    places: Arc<Semaphore>,
    peers: Arc<Peers>,
}

impl<S: BackOffice> House<S> {
    fn new(limits: ConnectionLimits, site: S) -> Self {
        let (places, peers) = (Arc::new(Semaphore::new(limits.most)), Arc::new(Peers::new(limits.per_peer)));
        Self { limits, site, places, peers }
    }

    async fn accept_from(&self, listener: &TcpListener) {
        let mut refused = Refused::default();
        loop {
            let permit = self.place().await;
            let (stream, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let now = Instant::now();
            let progress = Arc::new(Progress::new(self.limits.keep_alive, now));
            let share_of = Some(peer.ip()).filter(|address| !self.limits.proxies.contains(*address));
            match self.peers.admit(share_of, progress.clone(), now) {
                Some(place) => self.welcome(stream, peer, progress, (permit, place)),
                None => refused.count(peer, self.limits.per_peer),
            }
        }
    }

    /// Waits for a permit for the next connection. While there is none, idle connections are closed.
    async fn place(&self) -> OwnedSemaphorePermit {
        loop {
            if let Ok(permit) = self.places.clone().try_acquire_owned() {
                return permit;
            }
            self.peers.make_room(Instant::now());
            tokio::select! {
                Ok(permit) = self.places.clone().acquire_owned() => return permit,
                () = tokio::time::sleep(ACCEPT_PAUSE) => {}
            }
        }
    }

    fn welcome(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        progress: Arc<Progress>,
        held: (OwnedSemaphorePermit, Place),
    ) {
        // Without it small answers wait for acknowledgements; a socket that refuses is about to fail anyway.
        let _ = stream.set_nodelay(true);
        // A client that is gone says nothing, and while a stream is silent nothing else would find out.
        let _ = SockRef::from(&stream).set_tcp_keepalive(&keep_alive());
        let handover = Handover::default();
        let service = request::service(self.site.clone(), peer, progress.clone(), handover.clone());
        let stream = ClientStream::new(stream, progress.clone(), self.limits.least_rate);
        let mut connection = http1::Builder::new()
            .max_buf_size(LARGEST_HEAD)
            .max_headers(MOST_HEADERS)
            .serve_connection(TokioIo::new(stream), service);
        tokio::spawn(async move {
            let outcome = tokio::select! {
                outcome = &mut connection => outcome,
                () = progress.leave.notified() => {
                    std::pin::Pin::new(&mut connection).graceful_shutdown();
                    progress.no_request_follows();
                    (&mut connection).await
                }
            };
            // After a request with `Upgrade` it ends for an upgrade first, with the stream open. If there is none, what is
            // written may still be in its buffer: asked again, it closes like any other.
            let upgraded = lock(&handover).take();
            let outcome = match (outcome, upgraded) {
                (Ok(()), Some(upgraded)) => {
                    let parts = connection.into_parts();
                    // A 101 that was not sent whole is followed by nothing.
                    if !progress.has_unsent() {
                        upgraded.run(parts.io.into_inner(), parts.read_buf).await;
                    }
                    Ok(())
                }
                (Ok(()), None) => {
                    progress.no_request_follows();
                    connection.await
                }
                (failed, _) => failed,
            };
            if let Err(error) = outcome {
                log_end(&error, peer, &progress);
            }
            drop(held);
        });
    }

    /// Ends when the last connection has.
    async fn is_empty(&self) {
        let all = u32::try_from(self.limits.most).unwrap_or(u32::MAX);
        // It is never closed.
        let _ = self.places.acquire_many(all).await;
    }
}

/// Connections that had no place, for the log: one line for many.
#[derive(Debug, Default)]
struct Refused {
    said: Option<Instant>,
    unsaid: u64,
}

impl Refused {
    fn count(&mut self, peer: SocketAddr, share: usize) {
        let now = Instant::now();
        self.unsaid += 1;
        if self.said.is_some_and(|said| now < said + REFUSAL_PAUSE) {
            return;
        }
        self.said = Some(now);
        let refused = std::mem::take(&mut self.unsaid);
        tracing::warn!(peer = %peer.ip(), share, refused, "a peer has its share of the connections in use, so new ones were \
            closed; if it is a proxy of yours, name it in server.trusted_proxies");
    }
}

/// Logs why a connection ended early, at a level by its cause.
fn log_end(error: &hyper::Error, peer: SocketAddr, progress: &Progress) {
    if error.is_parse() {
        // A request that HTTP cannot read is answered below the site: this is its only line. HTTP/2 is not answered.
        let is_http2 = error.to_string().contains("HTTP2");
        let status = (!is_http2).then(|| if error.is_parse_too_large() { 431 } else { 400 });
        tracing::info!(%peer, status, cause = %error, "a request that cannot be read was refused");
    } else if progress.is_in_a_head() && too_slow(error) == Some(TooSlow::Request) {
        tracing::info!(%peer, "a request's head did not come in time");
    } else if too_slow(error) == Some(TooSlow::Answer) {
        tracing::info!(%peer, "an answer was not read in time");
    } else {
        tracing::debug!(%error, %peer, "a connection ended early");
    }
}

/// The step that a client took too long for, if that is why a connection ended.
fn too_slow(error: &(dyn Error + 'static)) -> Option<TooSlow> {
    let within = |error: &io::Error| error.get_ref().and_then(|inner| inner.downcast_ref::<TooSlow>()).copied();
    causes(error).find_map(|cause| cause.downcast_ref::<io::Error>().and_then(within))
}
