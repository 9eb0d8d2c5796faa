//! Connections to upstreams, kept alive between requests: HTTP/1.1, one request at a time on each.
//!
//! A connection that the upstream switches to another protocol leaves the pool.
//!
//! A pool of our own over hyper's connections, because hyper-util's client was measured to cost a multiple of it for each
//! request. It decides when a connection may be used again (`idle`) and when a request may be sent again; reading and
//! writing messages is hyper's, and connecting is in `connect`.

mod body;
mod connect;
mod idle;

use std::error::Error;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::header::UPGRADE;
use http::{Method, Request, Response, Uri, Version};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, SendRequest};
use thiserror::Error;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::time::Instant;

pub use self::body::{AnswerBody, Content};
use self::connect::Connector;
pub(crate) use self::connect::{Duplex, taken_apart};
pub use self::idle::PoolLimits;
use self::idle::{Idle, IdleConnections};
use crate::answer;
use crate::error::causes;
use crate::tls::UpstreamTls;
use counterfoil_core::lock;

/// Connections to every upstream. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Pool(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    connector: Connector,
    http: Builder,
    timeout: Duration,
    limits: PoolLimits,
    /// One entry an upstream of the configuration: few enough to look through.
    upstreams: Mutex<Vec<Arc<IdleConnections>>>,
}

/// The reason that an upstream gave no answer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PoolError {
    /// No connection could be made.
    #[error("no connection could be made")]
    Connect(#[source] Box<dyn Error + Send + Sync>),
    /// The connection did not last until the answer, or what came on it is no HTTP.
    #[error("the connection did not bring an answer")]
    Exchange(#[source] hyper::Error),
    /// No answer in time.
    #[error("no answer came within {0:?}")]
    Timeout(Duration),
}

/// A connection with a request or its answer on it. Dropped, it closes.
#[derive(Debug)]
pub(crate) struct Lent {
    sender: SendRequest<Content>,
    connected_at: Instant,
    home: Arc<IdleConnections>,
}

/// A request without its answer.
enum Failed {
    /// Not a byte of it was written.
    Unsent(Box<Request<Content>>, hyper::Error),
    /// Some of it may have been read.
    Sent(PoolError),
}

impl Pool {
    /// A pool without connections. An upstream may take `timeout` to begin its answer once it has the request, and as
    /// long between two pieces of a request that it reads. Without `tls`, upstreams are reached by plain HTTP alone.
    ///
    /// # Errors
    /// If the TLS library cannot be set up.
    pub fn new(timeout: Duration, tls: Option<&UpstreamTls>, limits: PoolLimits) -> io::Result<Self> {
        let mut http = Builder::new();
        // A proxy has to correct answers: whitespace before the colon (RFC 9112 5.1), folded lines (5.2).
        http.allow_spaces_after_header_name_in_responses(true)
            .allow_obsolete_multiline_headers_in_responses(true)
            .max_headers(answer::MOST_FIELDS);
        let connector = connect::connector(timeout, tls)?;
        Ok(Self(Arc::new(Inner { connector, http, timeout, limits, upstreams: Mutex::default() })))
    }

    /// Sends a request in origin form with its `Host` to an upstream, which is named by scheme, host and port.
    ///
    /// A request is sent once more if its connection was used before and ended: on another idle connection if nothing
    /// was written; on a fresh one if it is a GET or HEAD without content, because keep-alive ends without notice
    /// (RFC 9112 9.3.1).
    ///
    /// # Errors
    /// [`PoolError`].
    pub async fn send(&self, upstream: &Uri, mut request: Request<Content>) -> Result<Response<AnswerBody>, PoolError> {
        let home = self.idle_connections(upstream);
        while let Some(connection) = home.take(Instant::now()) {
            let copy = is_repeatable(&request).then(|| copy(&request));
            match self.exchange(connection, request).await {
                Ok(answer) => return Ok(answer),
                Err(Failed::Unsent(unsent, _)) => request = *unsent,
                Err(Failed::Sent(error)) => match copy.filter(|_| ended_early(&error)) {
                    Some(copy) => {
                        request = copy;
                        break;
                    }
                    None => return Err(error),
                },
            }
        }
        let connection = self.connect(home).await?;
        self.exchange(connection, request).await.map_err(|failed| match failed {
            Failed::Unsent(_, error) => PoolError::Exchange(error),
            Failed::Sent(error) => error,
        })
    }

    fn idle_connections(&self, upstream: &Uri) -> Arc<IdleConnections> {
        let mut upstreams = lock(&self.0.upstreams);
        if let Some(known) = upstreams.iter().find(|known| known.upstream() == upstream) {
            return known.clone();
        }
        let new = Arc::new(IdleConnections::new(upstream.clone(), self.0.limits));
        upstreams.push(new.clone());
        new
    }

    async fn connect(&self, home: Arc<IdleConnections>) -> Result<Lent, PoolError> {
        let stream = connect::connect(&self.0.connector, home.upstream()).await.map_err(PoolError::Connect)?;
        let (sender, connection) = self.0.http.handshake(stream).await.map_err(PoolError::Exchange)?;
        tokio::spawn(async move {
            // A request on it has received the error; without a request it does not matter.
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "an idle connection to an upstream ended");
            }
        });
        Ok(Lent { sender, connected_at: Instant::now(), home })
    }

    /// Sends a request on a connection. The time for an answer begins when its content has been sent: uploads may take
    /// theirs.
    async fn exchange(
        &self,
        mut connection: Lent,
        mut request: Request<Content>,
    ) -> Result<Response<AnswerBody>, Failed> {
        let mut sent = request.body_mut().sent();
        let too_late = async {
            if let Some(sent) = &mut sent {
                let _ = sent.await;
            }
            tokio::time::sleep(self.0.timeout).await;
        };
        let answer = tokio::select! {
            answer = connection.sender.try_send_request(request) => answer,
            () = too_late => return Err(Failed::Sent(PoolError::Timeout(self.0.timeout))),
        };
        // An upstream that answered before it had the whole content may take the rest of it for a request, which the content's
        // sender has written.
        let is_sent = sent.is_none_or(|mut sent| matches!(sent.try_recv(), Err(TryRecvError::Closed)));
        // hyper goes on in HTTP/1.0 on a connection that answered in it, where a body of unknown length cannot be sent.
        let with_connection = |answer: Response<Incoming>| {
            let may_be_reused = is_sent && answer.version() == Version::HTTP_11;
            answer.map(|body| AnswerBody::new(body, connection, may_be_reused))
        };
        answer.map(with_connection).map_err(|mut failed| match failed.take_message() {
            Some(unsent) => Failed::Unsent(Box::new(unsent), failed.into_error()),
            None => Failed::Sent(PoolError::Exchange(failed.into_error())),
        })
    }
}

impl Lent {
    /// Leaves the connection to the next request.
    fn give_back(self) {
        let Self { sender, connected_at, home } = self;
        home.put(Idle { sender, connected_at, since: Instant::now() });
    }
}

/// Is true if a request changes nothing and has no content. What opens another protocol may act by opening it.
pub(crate) fn is_repeatable(request: &Request<Content>) -> bool {
    request.body().is_none()
        && matches!(*request.method(), Method::GET | Method::HEAD)
        && !request.headers().contains_key(UPGRADE)
}

/// The same request, of which there is no content.
pub(crate) fn copy(request: &Request<Content>) -> Request<Content> {
    let mut copy = Request::new(Content::none());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    copy
}

/// Is true if the connection ended before an answer was there.
fn ended_early(error: &PoolError) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    causes(error).any(|cause| {
        let message = cause.downcast_ref::<hyper::Error>();
        let io = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        message.is_some_and(|error| error.is_incomplete_message() || error.is_canceled())
            || matches!(io, Some(ConnectionReset | ConnectionAborted | BrokenPipe | UnexpectedEof))
    })
}
