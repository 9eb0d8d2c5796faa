//! The public site as one service: the layers that every request goes through, written out in their order.
//!
//! From the outside in: a request gets its id, its client address and its line in the access log
//! (`Admission::context`); a failure from inside is rendered ([`Responder`]); a panic is such a failure; a request for
//! another host is refused (`Admission::refusal`); the wait for a body has a timeout; the broker's own addresses go to
//! `routes`, and everything else through the guard to the back office.
//!
//! One service and not a stack of `Router::layer`s, because each of those boxes the future of every request and clones
//! what is inside: that cost more than all the rest of a guarded request.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::future::RouteFuture;
use futures_util::FutureExt;
use futures_util::future::{CatchUnwind, Either};
use pin_project_lite::pin_project;
use tower::{Layer, Service};
use tracing::instrument::{Instrument, Instrumented};

use super::access_log::AccessLine;
use super::admission::{Admission, Begun};
use crate::guard::layer::{Guard, Guarded};
use crate::respond::{Asked, Responder};
use crate::routes::is_own;
use crate::web::failure::{Failure, FailureKind};
use crate::web::request_body::{BodyLimits, BodyReader};

/// The back office behind the broker: an axum router, or any other service that does not fail.
pub trait BackOffice:
    Service<Request, Response = Response, Error = Infallible, Future: Send> + Clone + Send + Sync + 'static
{
}

impl<S> BackOffice for S where
    S: Service<Request, Response = Response, Error = Infallible, Future: Send> + Clone + Send + Sync + 'static
{
}

/// The broker in front of a back office. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Site<S> {
    layers: Arc<Layers>,
    guarded: Guarded<S>,
}

/// The parts that no request changes.
#[derive(Debug)]
struct Layers {
    admission: Admission,
    responder: Responder,
    body_limits: BodyLimits,
    own: Router,
}

/// Refused, or on its way to an address of the broker's, or to the back office.
type Inside<F> = Either<Ready<Result<Response, Infallible>>, Either<RouteFuture<Infallible>, F>>;

impl<S: BackOffice> Site<S> {
    pub(super) fn new(
        admission: Admission,
        responder: Responder,
        body_limits: BodyLimits,
        own: Router,
        guard: &Guard,
        back_office: S,
    ) -> Self {
        let layers = Arc::new(Layers { admission, responder, body_limits, own });
        Self { layers, guarded: guard.layer().layer(back_office) }
    }

    fn dispatch(&mut self, begun: &Begun, request: Request) -> Inside<<Guarded<S> as Service<Request>>::Future> {
        let Layers { admission, body_limits, own, .. } = &*self.layers;
        if let Some(refusal) = admission.refusal(begun, &request) {
            return Either::Left(ready(Ok(refusal.into_response())));
        }
        Either::Right(if is_own(request.uri().path()) {
            Either::Left(own.clone().call(body_limits.apply(request, BodyReader::Broker)))
        } else {
            Either::Right(self.guarded.call(body_limits.apply(request, BodyReader::BackOffice)))
        })
    }
}

impl<S: BackOffice> Service<Request> for Site<S> {
    type Response = Response;
    type Error = Infallible;
    type Future = Instrumented<Answering<<Guarded<S> as Service<Request>>::Future>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.guarded.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let layers = self.layers.clone();
        let (begun, request) = layers.admission.context(request);
        let asked = Asked::of(&request, begun.context.id.clone());
        let span = tracing::info_span!("request", id = begun.context.id.as_str());
        let line = AccessLine::new(&request, &begun.context, span.clone());
        let inside = span.in_scope(|| catch_unwind(AssertUnwindSafe(|| self.dispatch(&begun, request))));
        let inside = inside.unwrap_or_else(|_panic| Either::Left(ready(Ok(panicked()))));
        let inside = AssertUnwindSafe(inside).catch_unwind();
        let outside = Some(Outside { layers, begun, asked, line });
        Answering { inside, outside }.instrument(span)
    }
}

pin_project! {
    /// A request under way.
    pub struct Answering<F> {
        #[pin]
        inside: CatchUnwind<AssertUnwindSafe<Inside<F>>>,
        outside: Option<Outside>,
    }
}

impl<F: Future<Output = Result<Response, Infallible>>> Future for Answering<F> {
    type Output = Result<Response, Infallible>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let outcome = std::task::ready!(this.inside.poll(context));
        let response = outcome.map_or_else(|_panic| panicked(), |Ok(response)| response);
        Poll::Ready(Ok(match this.outside.take() {
            Some(outside) => outside.finish(response),
            None => response,
        }))
    }
}

/// The outer layers' part of a request, for when its answer comes back.
struct Outside {
    layers: Arc<Layers>,
    begun: Begun,
    asked: Asked,
    line: Option<AccessLine>,
}

impl Outside {
    fn finish(self, response: Response) -> Response {
        let Self { layers, begun, asked, line } = self;
        let response = begun.mark(layers.responder.finish(&asked, response));
        match line {
            Some(line) => line.follow(response),
            None => response,
        }
    }
}

/// A defect of ours ends this request and nothing else (R-P05).
fn panicked() -> Response {
    Failure::from(FailureKind::Internal).into_response()
}
