//! The bodies on a pooled connection: a request's content, whose end begins the wait for an answer, and an answer's, whose
//! end frees the connection.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, Incoming, SizeHint};
use tokio::sync::oneshot;

use super::Lent;

/// A request's content, if it has any.
#[derive(Debug)]
pub struct Content {
    body: Option<Body>,
    /// Dropped with the content, which is when it has been sent.
    unsent: Option<oneshot::Sender<Infallible>>,
}

impl Content {
    /// No content.
    pub fn none() -> Self {
        Self { body: None, unsent: None }
    }

    /// The content that a body brings.
    pub fn of(body: Body) -> Self {
        Self { body: Some(body), unsent: None }
    }

    /// Is true if there is none.
    pub fn is_none(&self) -> bool {
        self.body.is_none()
    }

    /// A channel that closes once the content has been sent; `None` without content.
    pub(super) fn sent(&mut self) -> Option<oneshot::Receiver<Infallible>> {
        self.body.as_ref()?;
        let (unsent, sent) = oneshot::channel();
        self.unsent = Some(unsent);
        Some(sent)
    }
}

impl HttpBody for Content {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

/// The body of an answer. Its connection closes with it, unless [`Self::keep_connection`] was called and the body was read
/// to its end.
#[derive(Debug)]
pub struct AnswerBody {
    body: Incoming,
    connection: Option<Lent>,
    may_be_reused: bool,
    keeps_connection: bool,
}

impl AnswerBody {
    /// A body on a connection, which may be good for further requests or not.
    pub(super) fn new(body: Incoming, connection: Lent, may_be_reused: bool) -> Self {
        Self { body, connection: Some(connection), may_be_reused, keeps_connection: false }
    }

    /// Leaves the connection to the next request once this body is through, if it is good for one.
    pub fn keep_connection(&mut self) {
        self.keeps_connection = self.may_be_reused;
        self.free_at_the_end();
    }

    fn free_at_the_end(&mut self) {
        if self.body.is_end_stream() {
            self.free();
        }
    }

    fn free(&mut self) {
        let connection = self.connection.take();
        if let Some(connection) = connection.filter(|_| self.keeps_connection) {
            connection.give_back();
        }
    }
}

impl HttpBody for AnswerBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        match &frame {
            // Nothing is polled after the last frame of a known length.
            Some(Ok(_)) => self.free_at_the_end(),
            Some(Err(_)) => drop(self.connection.take()),
            None => self.free(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
