//! Answers that go on: an event stream or a download ends with its session, as a WebSocket does.
//!
//! An answer whose body is there at once costs nothing of this. The first time that its body has to be waited for, it enters
//! the registry of [`streams`](super::streams).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use counterfoil_guard::recheck::Recheck;
use counterfoil_guard::route::Route;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use hyper::body::{Frame, SizeHint};
use thiserror::Error;

use crate::streams::{End, Streams};

/// The answer was cut because its session ended, or its right to the route.
#[derive(Debug, Error)]
#[error("the answer was cut: {0}")]
struct Cut(&'static str);

/// The end of a stream, once it has entered.
type Ended = Pin<Box<dyn Future<Output = End> + Send>>;

/// The body of an answer to somebody with a session.
pub(crate) struct AnswerStream {
    body: Body,
    state: State,
    events: Option<Events>,
}

enum State {
    /// Nothing had to be waited for yet.
    Prompt(Streams, Arc<Route>, Recheck),
    Entered(Ended),
    /// It was ended.
    Over,
}

impl AnswerStream {
    pub(crate) fn new(
        body: Body,
        headers: &HeaderMap,
        streams: &Streams,
        route: &Arc<Route>,
        recheck: Recheck,
    ) -> Self {
        let state = State::Prompt(streams.clone(), route.clone(), recheck);
        Self { body, state, events: Events::of(headers) }
    }

    /// Waits for the end from now on. Of a broker that ends only event streams hear: they come again, elsewhere, and what else
    /// is being sent has the time of a shutdown.
    fn enter(&self, streams: &Streams, route: &Arc<Route>, recheck: &Recheck) -> Ended {
        let (entered, is_of_events) = (streams.enter_answer(route.clone(), recheck), self.events.is_some());
        Box::pin(async move { if is_of_events { entered.ended().await } else { entered.ended_by_session().await } })
    }

    /// Ends an event stream between two events, with one more that says why, and anything else in the middle.
    fn end(&mut self, end: End) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let is_between = self.events.as_ref().is_some_and(Events::is_between);
        self.state = State::Over;
        // The upstream's connection closes with it.
        self.body = Body::empty();
        let last = || format!("event: session-ended\ndata: {{\"code\":\"{}\"}}\n\n", end.reason());
        Poll::Ready(match end {
            End::Leaving if is_between => None,
            _ if is_between => Some(Ok(Frame::data(last().into()))),
            _ => Some(Err(axum::Error::new(Cut(end.reason())))),
        })
    }
}

impl HttpBody for AnswerStream {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let State::Entered(ended) = &mut self.state
            && let Poll::Ready(end) = ended.as_mut().poll(context)
        {
            return self.end(end);
        }
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(frame) => {
                if let (Some(events), Some(Ok(frame))) = (&mut self.events, &frame) {
                    events.pass(frame.data_ref().map_or(&[], |data| data));
                }
                Poll::Ready(frame)
            }
            Poll::Pending => {
                if let State::Prompt(streams, route, recheck) = &self.state {
                    let mut ended = self.enter(streams, route, recheck);
                    if let Poll::Ready(end) = ended.as_mut().poll(context) {
                        return self.end(end);
                    }
                    self.state = State::Entered(ended);
                }
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The place within an event stream (HTML 9.2.5).
#[derive(Debug, Default)]
struct Events {
    /// The last bytes that went through.
    last: [u8; 4],
    has_begun: bool,
}

impl Events {
    /// Of an answer, if it is an event stream that can be read.
    fn of(headers: &HeaderMap) -> Option<Self> {
        let kind = headers.get(CONTENT_TYPE)?.as_bytes();
        let is_events =
            kind.split(|byte| *byte == b';').next()?.trim_ascii().eq_ignore_ascii_case(b"text/event-stream");
        (is_events && !headers.contains_key(CONTENT_ENCODING)).then(Self::default)
    }

    fn pass(&mut self, bytes: &[u8]) {
        for byte in &bytes[bytes.len().saturating_sub(self.last.len())..] {
            self.last.rotate_left(1);
            self.last[3] = *byte;
            self.has_begun = true;
        }
    }

    /// Is true where an event would not be put into another: behind an empty line, or before anything.
    fn is_between(&self) -> bool {
        !self.has_begun || self.last.ends_with(b"\n\n") || self.last.ends_with(b"\r\r") || self.last == *b"\r\n\r\n"
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn an_event_is_put_behind_an_empty_line_alone() {
        let headers = |kind: &'static str| HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]);
        for (pieces, expected) in [
            (&[][..], true),
            (&["data: x\n\n"], true),
            (&["data: x\r\n\r\n"], true),
            (&["data: x\r\r"], true),
            (&["data: x\n", "\n"], true),
            (&["data: x\n"], false),
            (&["data: x\n\n", "id"], false),
            (&["data: x\r\n"], false),
            (&["\n\n", ""], true),
        ] {
            let mut events = Events::of(&headers("text/event-stream; charset=utf-8")).unwrap();
            for piece in pieces {
                events.pass(piece.as_bytes());
            }
            assert_eq!(events.is_between(), expected, "{pieces:?}");
        }
        assert!(Events::of(&headers("text/html")).is_none());
        let mut compressed = headers("text/event-stream");
        compressed.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        assert!(Events::of(&compressed).is_none());
    }
}
