//! The access log: one line a request, written when its answer has gone out whole, or will not.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::response::Response;
use http::{Method, StatusCode, Uri};
use hyper::body::{Frame, SizeHint};
use tokio::time::Instant;
use tracing::Span;

use crate::guard::visitor::Visitor;
use crate::printable::Printable;
use crate::web::client_address::ClientAddress;
use crate::web::request_context::RequestContext;

/// The way an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It went out whole.
    Complete,
    /// The source of the body, such as the upstream, broke off.
    Upstream,
    /// The client went away.
    Client,
}

/// Is true if there is an access log: at a coarser level nothing is noted for it.
pub(super) fn is_written() -> bool {
    tracing::enabled!(tracing::Level::INFO)
}

/// The facts of a request before its answer has gone out. Writes its line when it is dropped, also if the client left
/// before there was an answer.
#[derive(Debug)]
pub(super) struct AccessLine {
    method: Method,
    uri: Uri,
    address: ClientAddress,
    visitor: Option<Visitor>,
    started: Instant,
    span: Span,
    /// The answer's status, and how long it took until then.
    head: Option<(StatusCode, Duration)>,
    bytes: u64,
    end: End,
}

impl AccessLine {
    /// A line for a request that has just come, in its span, if lines are written.
    pub(super) fn new(request: &Request, context: &RequestContext, span: Span) -> Option<Self> {
        is_written().then(|| Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            address: context.address,
            visitor: context.visitor.clone(),
            started: Instant::now(),
            span,
            head: None,
            bytes: 0,
            end: End::Client,
        })
    }

    /// Follows the answer to its end.
    pub(super) fn follow(mut self, response: Response) -> Response {
        let status = response.status();
        self.head = Some((status, self.started.elapsed()));
        let is_bare =
            matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) || self.method == Method::HEAD;
        if is_bare || response.body().is_end_stream() {
            self.end = End::Complete;
            return response;
        }
        response.map(|body| {
            let expected = body.size_hint().exact();
            Body::new(Followed { body, line: self, expected })
        })
    }
}

/// Longest path that a line shows, in bytes.
const LONGEST_PATH: usize = 1_024;

/// The beginning of a path, which bounds the memory of the log queue.
fn beginning(path: &str) -> &str {
    &path[..path.floor_char_boundary(LONGEST_PATH)]
}

impl Drop for AccessLine {
    fn drop(&mut self) {
        let session = self.visitor.as_ref().and_then(Visitor::session);
        let handle = session.map(|session| session.handle().to_string());
        let subject = session.map(|session| session.record().identity.subject.as_str());
        let _in_span = self.span.enter();
        // The query stays out: it can hold codes and states.
        tracing::info!(
            method = %self.method,
            path = %Printable(beginning(self.uri.path())),
            status = self.head.map(|(status, _)| status.as_u16()),
            bytes = self.bytes,
            ended = match self.end {
                End::Complete => "complete",
                End::Upstream => "by the upstream",
                End::Client => "by the client",
            },
            microseconds = self.head.map(|(_, to_head)| to_head.as_micros()),
            total_microseconds = self.started.elapsed().as_micros(),
            user = subject.map(Printable).map(tracing::field::display),
            session = handle,
            client = %self.address.client,
            peer = %self.address.peer,
            "answered"
        );
    }
}

struct Followed {
    body: Body,
    line: AccessLine,
    expected: Option<u64>,
}

impl HttpBody for Followed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        match &polled {
            Poll::Ready(None) => self.line.end = End::Complete,
            Poll::Ready(Some(Err(_))) => self.line.end = End::Upstream,
            Poll::Ready(Some(Ok(frame))) => {
                self.line.bytes += frame.data_ref().map_or(0, |data| u64::try_from(data.len()).unwrap_or(u64::MAX));
                // After a body of the announced length the server does not poll for the end.
                if self.expected == Some(self.line.bytes) || self.body.is_end_stream() {
                    self.line.end = End::Complete;
                }
            }
            Poll::Pending => {}
        }
        polled
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}
