//! The server loop: HTTP/1.1 with bounds on everything a client can make large or slow (R-K09), and an end
//! that lets requests under way finish (R-P09).
//!
//! Why not `axum::serve`: it sets no time limit on headers and no bound on connections.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use rustix::process::{Resource, getrlimit};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tower::ServiceExt;

/// Longest wait for a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// Largest head of a request, in bytes.
const LARGEST_HEAD: usize = 64 * 1024;
/// Most header lines.
const MOST_HEADERS: usize = 100;
/// Most connections at a time; more wait to be accepted.
const MOST_CONNECTIONS: usize = 8_192;
/// File descriptors that are left for everything else: the store, providers, logs.
const RESERVED_DESCRIPTORS: usize = 64;
/// Pause after the system refused to accept a connection (too many open files, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves a site on a listener until `shutdown`; then stops accepting, and waits for requests under way for at
/// most `grace`.
pub async fn serve(listener: TcpListener, site: Router, shutdown: impl Future<Output = ()>, grace: Duration) {
    let connections = Arc::new(Semaphore::new(most_connections()));
    let graceful = GracefulShutdown::new();
    tokio::pin!(shutdown);
    loop {
        let permit = tokio::select! {
            permit = connections.clone().acquire_owned() => permit,
            () = &mut shutdown => break,
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut shutdown => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Without it small answers wait for acknowledgements; a socket that refuses is about to fail anyway.
        let _ = stream.set_nodelay(true);
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(LARGEST_HEAD)
            .max_headers(MOST_HEADERS)
            .serve_connection(TokioIo::new(stream), service(&site, peer));
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, %peer, "a connection ended early");
            }
            drop(permit);
        });
    }
    drop(listener);
    if tokio::time::timeout(grace, graceful.shutdown()).await.is_err() {
        tracing::warn!(seconds = grace.as_secs(), "requests were still under way at the end of the grace period");
    }
}

/// A connection may need a second descriptor, towards its upstream, and the operators' port has as many; running
/// out of them would make the process deaf on every port.
fn most_connections() -> usize {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let descriptors = usize::try_from(limit).unwrap_or(usize::MAX);
    (descriptors.saturating_sub(RESERVED_DESCRIPTORS) / 3).clamp(1, MOST_CONNECTIONS)
}

/// The site as one connection sees it.
fn service(
    site: &Router,
    peer: SocketAddr,
) -> impl hyper::service::Service<
    http::Request<Incoming>,
    Response = http::Response<Body>,
    Error = Infallible,
    Future: Send + 'static,
> + Send
+ 'static {
    let site = site.clone();
    service_fn(move |request: http::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        site.clone().oneshot(request)
    })
}
