//! Timeouts on the sender of a request's body: on silence, and on progress.
//!
//! A sender who writes one byte every few seconds never times out on silence (slow-body attack), so there is a least
//! rate as well. A body that the broker reads itself has to be there as a whole after a while. One that is passed on
//! may be large and slow, but not slower than a least rate. Only the time counts in which somebody waits for the
//! sender: an upstream that reads slowly is not the sender's fault.
//!
//! Not on the bytes of the connection: with several requests on one (HTTP/2) those say nothing of a single body.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::proxy::error::BodyTimeout;

/// The longest time by which anybody may fall behind the least rate, silence included.
pub const GRACE: Duration = Duration::from_secs(30);

/// The bounds on waiting for a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyLimits {
    /// Longest silence.
    pub silence: Duration,
    /// Longest time until a body that the broker reads itself is there.
    pub whole: Duration,
    /// Least bytes a second of a body that is passed on, after [`GRACE`].
    pub least_rate: u64,
}

/// The remaining wait for somebody who has to move bytes at a least rate. It begins with, and never grows beyond,
/// [`GRACE`]: a fast sender gains no right to a long silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    left: Duration,
    least_rate: u64,
}

impl Patience {
    /// Full patience with somebody who has to move so many bytes a second.
    pub fn new(least_rate: u64) -> Self {
        Self { left: GRACE, least_rate: least_rate.max(1) }
    }

    /// The time still to wait.
    pub fn left(&self) -> Duration {
        self.left
    }

    /// Takes note of some bytes after a wait.
    #[must_use]
    pub fn after(self, waited: Duration, bytes: usize) -> Self {
        let earned = Duration::from_micros((bytes as u64).saturating_mul(1_000_000) / self.least_rate);
        Self { left: self.left.saturating_sub(waited).saturating_add(earned).min(GRACE), ..self }
    }
}

/// The reader of a request's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyReader {
    /// The broker itself.
    Broker,
    /// An upstream, or an application in this process, that it is passed on to.
    BackOffice,
}

impl BodyLimits {
    /// Bounds the waiting for a request's body, if it has one.
    pub fn apply(self, request: Request, reader: BodyReader) -> Request {
        if http_body::Body::is_end_stream(request.body()) {
            return request;
        }
        request.map(|body| Body::new(LimitedBody::new(body, self, reader)))
    }

    /// The deadline for more of a body.
    fn deadline(&self, began: Instant, waiting_since: Instant, patience: Option<Patience>) -> Instant {
        let progress = patience.map_or(began + self.whole, |patience| waiting_since + patience.left());
        progress.min(waiting_since + self.silence)
    }
}

/// A body that ends with [`BodyTimeout`] when its sender takes too long.
struct LimitedBody {
    body: Body,
    limits: BodyLimits,
    reader: BodyReader,
    began: Instant,
    waiting_since: Option<Instant>,
    patience: Patience,
    timer: Option<Pin<Box<Sleep>>>,
}

impl LimitedBody {
    fn new(body: Body, limits: BodyLimits, reader: BodyReader) -> Self {
        let patience = Patience::new(limits.least_rate);
        Self { body, limits, reader, began: Instant::now(), waiting_since: None, patience, timer: None }
    }

    /// Ready when nobody has to wait any longer.
    fn poll_too_late(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let waiting_since = *self.waiting_since.get_or_insert_with(Instant::now);
        let patience = (self.reader == BodyReader::BackOffice).then_some(self.patience);
        let deadline = self.limits.deadline(self.began, waiting_since, patience);
        poll_at(&mut self.timer, deadline, context)
    }
}

impl http_body::Body for LimitedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) else {
            ready!(this.poll_too_late(context));
            return Poll::Ready(Some(Err(axum::Error::new(BodyTimeout))));
        };
        let waited = this.waiting_since.take().map_or(Duration::ZERO, |since| since.elapsed());
        let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()).and_then(Frame::data_ref);
        this.patience = this.patience.after(waited, data.map_or(0, Bytes::len));
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        http_body::Body::size_hint(&self.body)
    }
}

/// Ready at an instant, by a timer that is made when it is first needed. It is set anew only if it would fire too late;
/// when it fires too early it is set to what is left.
pub fn poll_at(timer: &mut Option<Pin<Box<Sleep>>>, deadline: Instant, context: &mut Context<'_>) -> Poll<()> {
    let timer = timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
    if timer.deadline() > deadline {
        timer.as_mut().reset(deadline);
    }
    while timer.as_mut().poll(context).is_ready() {
        if Instant::now() >= deadline {
            return Poll::Ready(());
        }
        timer.as_mut().reset(deadline);
    }
    Poll::Pending
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: BodyLimits =
        BodyLimits { silence: Duration::from_secs(15), whole: Duration::from_secs(30), least_rate: 1024 };

    /// Plays a sender who writes `bytes` every `pause`; returns the time after which it is given up, within a day.
    fn given_up_after(passed_on: bool, bytes: usize, pause: Duration) -> Option<Duration> {
        let began = Instant::now();
        let (mut now, mut patience) = (began, Patience::new(LIMITS.least_rate));
        while now < began + Duration::from_hours(24) {
            let deadline = LIMITS.deadline(began, now, passed_on.then_some(patience));
            if deadline <= now + pause {
                return Some(deadline - began);
            }
            patience = patience.after(pause, bytes);
            now += pause;
        }
        None
    }

    /// One line a sender. Found by turning every number of the trickle up and down: how much, how often, for whom.
    #[test]
    fn a_sender_without_progress_is_given_up_and_one_with_progress_is_not() {
        let seconds = Duration::from_secs;
        for (who, passed_on, bytes, pause, expected) in [
            ("a trickle to the broker itself", false, 1, seconds(8), Some(seconds(30))),
            ("a fast sender without an end", false, 1 << 20, seconds(1), Some(seconds(30))),
            ("silence", false, 0, seconds(3_600), Some(seconds(15))),
            ("a trickle to an upstream", true, 1, seconds(8), Some(seconds(30))),
            ("a trickle of empty frames", true, 0, seconds(1), Some(seconds(30))),
            ("half the rate", true, 512, seconds(1), Some(seconds(59))),
            ("silence towards an upstream", true, 0, seconds(3_600), Some(seconds(15))),
            ("just the rate", true, 1024, seconds(1), None),
            ("bursts with pauses", true, 14 * 1024, seconds(14), None),
            ("a slow line", true, 8 * 1024, seconds(2), None),
        ] {
            let given_up = given_up_after(passed_on, bytes, pause);
            let close = |a: Duration, b: Duration| a.abs_diff(b) <= pause.min(seconds(1));
            let fits = match (given_up, expected) {
                (Some(given_up), Some(expected)) => close(given_up, expected),
                (given_up, expected) => given_up == expected,
            };
            assert!(fits, "{who}: given up after {given_up:?} and not {expected:?}");
        }
    }

    /// A fast transfer buys no more than the grace.
    #[test]
    fn a_fast_sender_saves_up_no_time() {
        let fast = Patience::new(1024).after(Duration::ZERO, 1 << 40);
        assert_eq!(fast.left(), GRACE);
        assert_eq!(fast.after(Duration::from_secs(29), 0).left(), Duration::from_secs(1));
        assert_eq!(fast.after(Duration::from_secs(31), 0).left(), Duration::ZERO);
        assert_eq!(fast.after(Duration::from_secs(29), 1024).left(), Duration::from_secs(2));
    }
}
