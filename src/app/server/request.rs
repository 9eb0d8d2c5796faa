//! Requests and answers of a connection, which tell it when they are done.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::extract::ConnectInfo;
use counterfoil_core::lock;
use http::header::UPGRADE;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tower::ServiceExt;

use super::progress::Progress;
use crate::app::site::BackOffice;
use crate::proxy::upgrade::{HandsOver, Tunnel};

/// The other protocol that a connection goes on in, once its 101 has been sent. The request counts as under way.
pub(super) struct Upgraded {
    tunnel: Tunnel,
    _under_way: Arc<UnderWay>,
}

impl Upgraded {
    /// Carries the connection's bytes to its end. `received`: the client's bytes behind the request.
    pub(super) async fn run(self, client: impl AsyncRead + AsyncWrite + Unpin, received: Bytes) {
        self.tunnel.run(client, received).await;
    }
}

/// The place where an answer leaves it for the connection.
pub(super) type Handover = Arc<Mutex<Option<Upgraded>>>;

/// The site as one connection sees it.
pub(super) fn service(
    site: impl BackOffice,
    peer: SocketAddr,
    progress: Arc<Progress>,
    handover: Handover,
) -> impl Service<Request<Incoming>, Response = Response<Answer>, Error = Infallible, Future: Send + 'static> + Send + 'static
{
    service_fn(move |request: Request<Incoming>| {
        let number = progress.request_began();
        let under_way = Arc::new(UnderWay(progress.clone()));
        let mut request = request.map(|body| {
            if http_body::Body::is_end_stream(&body) {
                // An empty body is complete already, and is not wrapped.
                return Body::empty();
            }
            Body::new(Asked { body, number, under_way: under_way.clone(), over: false })
        });
        request.extensions_mut().insert(ConnectInfo(peer));
        let may_upgrade = request.headers().contains_key(UPGRADE);
        if may_upgrade {
            request.extensions_mut().insert(HandsOver);
        }
        let answer = site.clone().oneshot(request);
        let handover = may_upgrade.then(|| handover.clone());
        async move {
            let mut answer = answer.await?;
            if let (Some(handover), Some(tunnel)) = (handover, Tunnel::of(&mut answer)) {
                *lock(&handover) = Some(Upgraded { tunnel, _under_way: under_way.clone() });
            }
            Ok(answer.map(|body| Answer { body, _under_way: under_way }))
        }
    })
}

/// A request that is under way for as long as anybody holds this: its answer, and its own body, of which an upstream may
/// want the rest after it has answered.
struct UnderWay(Arc<Progress>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.answered(Instant::now());
    }
}

/// A request's body, which says so if it is dropped before its end.
struct Asked {
    body: Incoming,
    /// The number of its request.
    number: u64,
    under_way: Arc<UnderWay>,
    over: bool,
}

impl http_body::Body for Asked {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        // A length that was kept is the end: hyper tells of it only once it reads on, which it does not while an answer that
        // is written already waits for us.
        let frame = if http_body::Body::is_end_stream(&self.body) {
            Poll::Ready(None)
        } else {
            Pin::new(&mut self.body).poll_frame(context)
        };
        self.over |= matches!(frame, Poll::Ready(None | Some(Err(_))));
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        http_body::Body::size_hint(&self.body)
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if !self.over && !http_body::Body::is_end_stream(&self.body) {
            self.under_way.0.body_cut_short(self.number);
        }
    }
}

/// An answer's body.
pub(super) struct Answer {
    body: Body,
    _under_way: Arc<UnderWay>,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        http_body::Body::size_hint(&self.body)
    }
}
