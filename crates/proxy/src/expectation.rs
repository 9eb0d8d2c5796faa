//! `Expect: 100-continue` from end to end (RFC 9110 10.1.1): the client's content is asked for when the upstream asks for
//! it.
//!
//! Reading the client's content makes our server send 100. So the content is not read until the upstream has sent 100,
//! or has sent nothing for [`LONGEST_WAIT`]: servers that do not know the expectation wait for the content. An upstream
//! that refuses at once (401, 413) is passed on, and the content is never sent.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use http::header::EXPECT;
use http::{HeaderMap, Version};
use hyper::body::{Frame, SizeHint};
use tokio::sync::watch;

use crate::pool::Content;

/// Longest silence of an upstream before it gets the content all the same.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// The word of an upstream on a request's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    Nothing,
    Continue,
    Final,
}

/// Notes the interim answers of the upstream. The content is given up once every copy is gone.
#[derive(Debug, Clone)]
pub(crate) struct Heard(watch::Sender<Word>);

impl Heard {
    /// The upstream has sent 100 (Continue).
    pub(crate) fn go_on(&self) {
        self.0.send_replace(Word::Continue);
    }

    /// Notes that the upstream has begun its final answer, so that content which it has not asked for is not sent.
    pub(crate) fn answered(&self) {
        self.0.send_if_modified(|word| *word == Word::Nothing && std::mem::replace(word, Word::Final) == Word::Nothing);
    }
}

/// Is true if a request waits for 100 before it sends its content. HTTP/1.0 has no 100, and a request without content
/// does not wait.
pub(crate) fn is_expected(headers: &HeaderMap, version: Version, has_content: bool) -> bool {
    let waits = headers.get(EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    waits && has_content && version >= Version::HTTP_11
}

/// Content that is not read before the upstream has answered.
pub(crate) fn hold(content: Content) -> (Content, Heard) {
    let (heard, mut word) = watch::channel(Word::Nothing);
    let gate = Box::pin(async move {
        let silence = tokio::time::timeout(LONGEST_WAIT, word.wait_for(|word| *word != Word::Nothing));
        let is_refused = matches!(silence.await, Ok(Ok(word)) if *word == Word::Final);
        if is_refused {
            // The body stays pending until the answer is complete: an error now would cut the answer short.
            let _ = word.wait_for(|_| false).await;
        }
        !is_refused
    });
    (Content::of(Body::new(Held { gate: Some(gate), content })), Heard(heard))
}

struct Held {
    gate: Option<Pin<Box<dyn Future<Output = bool> + Send>>>,
    content: Content,
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Some(gate) = &mut self.gate {
            let may_go_on = ready!(gate.as_mut().poll(context));
            if !may_go_on {
                let refused = io::Error::other("the upstream answered without asking for the content");
                return Poll::Ready(Some(Err(axum::Error::new(refused))));
            }
            self.gate = None;
        }
        Pin::new(&mut self.content).poll_frame(context)
    }

    fn size_hint(&self) -> SizeHint {
        self.content.size_hint()
    }

    fn is_end_stream(&self) -> bool {
        self.gate.is_none() && self.content.is_end_stream()
    }
}
