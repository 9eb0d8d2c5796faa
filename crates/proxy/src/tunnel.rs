//! The bytes of an upgraded connection, both ways, until either side closes or the stream has to end.
//!
//! A WebSocket that has to end gets a close frame in both directions, between two frames ([`crate::frames`]); any other
//! protocol is cut off.
//!
//! Each direction has one bounded buffer, which is read into again only once all of it has been written: who does not
//! read makes the other side wait (back-pressure), and nothing grows.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Bytes;
use counterfoil_core::secret::random_bytes;
use counterfoil_guard::upgrade::Protocol;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, timeout};
use tracing::Span;

use crate::frames::{Frames, close_frame};
use crate::pool::Duplex;
use crate::streams::{End, Entered};

/// Bytes of a buffer.
const BUFFER: usize = 4 * 1024;
/// Longest wait for the rest of a frame that the client has the beginning of, and for either side to take a close frame.
const FRAME_PATIENCE: Duration = Duration::from_millis(200);
/// Longest wait for a client to close after a close frame. What it still sends is read and dropped: unread bytes would
/// make the system throw the frame away.
const LINGER: Duration = Duration::from_secs(1);

/// The upstream's end of an upgraded connection, before there is the client's.
pub(crate) struct Ends {
    pub(crate) upstream: Box<dyn Duplex>,
    /// The upstream's bytes behind the head of its 101.
    pub(crate) received: Bytes,
    pub(crate) protocol: Protocol,
    pub(crate) entered: Arc<Entered>,
    /// The request's, which names it in the log.
    pub(crate) span: Span,
}

impl std::fmt::Debug for Ends {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Ends").field("protocol", &self.protocol).finish_non_exhaustive()
    }
}

/// The way a tunnel ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// A side closed.
    Closed(Side),
    /// It had to end.
    Ended(End),
}

/// A side of a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Client,
    Upstream,
}

/// One direction.
struct Direction {
    from: Side,
    to: Side,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    /// Bytes written so far.
    moved: u64,
    /// Set while some may not have been flushed.
    unflushed: bool,
    /// Set once the reading side has ended.
    at_end: bool,
    /// The place within the frames of what was written, if the protocol has frames.
    frames: Option<Frames>,
    /// Set if data has gone through since it was last asked for.
    has_data: bool,
}

impl Direction {
    /// A direction whose first bytes have been read already.
    fn new(from: Side, to: Side, received: &[u8], frames: Option<Frames>) -> Self {
        let mut buffer = received.to_vec();
        buffer.resize(received.len().max(BUFFER), 0);
        let (buffer, end) = (buffer.into_boxed_slice(), received.len());
        Self { from, to, buffer, start: 0, end, moved: 0, unflushed: false, at_end: false, frames, has_data: false }
    }

    /// Moves bytes until one of the two sides has to be waited for. Ready once the reading side has closed and all of its
    /// bytes have been written, or once a side has failed; says which side is at the beginning of that.
    fn poll(
        &mut self,
        context: &mut Context<'_>,
        mut reader: Pin<&mut (impl AsyncRead + ?Sized)>,
        mut writer: Pin<&mut (impl AsyncWrite + ?Sized)>,
    ) -> Poll<Side> {
        loop {
            if self.start < self.end {
                match ready!(writer.as_mut().poll_write(context, &self.buffer[self.start..self.end])) {
                    Ok(count @ 1..) => {
                        let written = &self.buffer[self.start..self.start + count];
                        self.has_data |= self.frames.as_mut().is_some_and(|frames| frames.pass(written));
                        self.start += count;
                        self.moved += count as u64;
                        self.unflushed = true;
                    }
                    Ok(0) | Err(_) => return Poll::Ready(self.to),
                }
            } else if self.at_end {
                return ready!(self.poll_flush(context, writer.as_mut()))
                    .map_or(Poll::Ready(self.to), |()| Poll::Ready(self.from));
            } else {
                let mut room = ReadBuf::new(&mut self.buffer);
                match reader.as_mut().poll_read(context, &mut room) {
                    Poll::Ready(Ok(())) => {
                        (self.start, self.end) = (0, room.filled().len());
                        self.at_end = self.end == 0;
                    }
                    Poll::Ready(Err(_)) => return Poll::Ready(self.from),
                    Poll::Pending => {
                        if ready!(self.poll_flush(context, writer.as_mut())).is_err() {
                            return Poll::Ready(self.to);
                        }
                        return Poll::Pending;
                    }
                }
            }
        }
    }

    fn poll_flush(
        &mut self,
        context: &mut Context<'_>,
        writer: Pin<&mut (impl AsyncWrite + ?Sized)>,
    ) -> Poll<io::Result<()>> {
        if self.unflushed {
            ready!(writer.poll_flush(context))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }
}

impl Direction {
    /// Writes the rest of the frame that the writing side has the beginning of, and nothing behind it. Is true if a close
    /// frame of ours may follow.
    async fn finish_frame(
        &mut self,
        reader: &mut (impl AsyncRead + Unpin + ?Sized),
        writer: &mut (impl AsyncWrite + Unpin + ?Sized),
    ) -> bool {
        let Some(frames) = &mut self.frames else { return false };
        while !frames.is_between() {
            if self.start == self.end {
                let Ok(count @ 1..) = reader.read(&mut self.buffer).await else { return false };
                (self.start, self.end) = (0, count);
            }
            let unwritten = &self.buffer[self.start..self.end];
            let rest = frames.clone().pass_frame(unwritten);
            let Ok(count @ 1..) = writer.write(&unwritten[..rest]).await else { return false };
            frames.pass_frame(&unwritten[..count]);
            self.start += count;
            self.moved += count as u64;
        }
        self.may_close()
    }

    /// Is true between two frames, unless the last one was a close frame.
    fn may_close(&self) -> bool {
        self.frames.is_some_and(|frames| frames.is_between() && !frames.has_closed())
    }
}

impl Ends {
    /// Carries bytes until either side closes, hands on what that side had sent, and closes the other; or until the stream
    /// has to end, and ends it.
    pub(crate) async fn carry(mut self, mut client: impl AsyncRead + AsyncWrite + Unpin, received: Bytes) {
        let began = Instant::now();
        let frames = self.protocol.is_websocket().then(Frames::default);
        let mut up = Direction::new(Side::Client, Side::Upstream, &received, frames);
        let mut down = Direction::new(Side::Upstream, Side::Client, &self.received, frames);
        drop((received, std::mem::take(&mut self.received)));
        let (client, upstream) = (&mut client, &mut *self.upstream);
        let mut is_turn_of_up = false;
        let closed = poll_fn(|context| {
            // A direction without a pause may use up what the runtime lets a task do at a time: they take turns.
            is_turn_of_up = !is_turn_of_up;
            for is_up in [is_turn_of_up, !is_turn_of_up] {
                let (client, upstream) = (Pin::new(&mut *client), Pin::new(&mut *upstream));
                let side =
                    if is_up { up.poll(context, client, upstream) } else { down.poll(context, upstream, client) };
                if std::mem::take(&mut up.has_data) {
                    self.entered.used();
                }
                if side.is_ready() {
                    return side;
                }
            }
            Poll::Pending
        });
        let outcome = tokio::select! {
            biased;
            end = self.entered.ended() => Outcome::Ended(end),
            side = closed => Outcome::Closed(side),
        };
        // Whoever closed first may be gone altogether.
        match outcome {
            Outcome::Closed(Side::Client) => _ = upstream.shutdown().await,
            Outcome::Closed(Side::Upstream) => _ = client.shutdown().await,
            Outcome::Ended(end) => say_goodbye(end, &mut up, &mut down, client, upstream).await,
        }
        let _in_span = self.span.enter();
        tracing::info!(
            event = "stream.ended",
            protocol = %self.protocol,
            session = self.entered.session(),
            ended = match outcome {
                Outcome::Closed(Side::Upstream) => "by the upstream",
                Outcome::Closed(Side::Client) => "by the client",
                Outcome::Ended(_) => "by the broker",
            },
            cause = match outcome {
                Outcome::Ended(end) => Some(end.reason()),
                Outcome::Closed(_) => None,
            },
            milliseconds = began.elapsed().as_millis(),
            bytes_to_client = down.moved,
            bytes_to_upstream = up.moved,
            "a stream ended"
        );
    }
}

/// Ends a WebSocket on both sides, as far as they let it; each step has its time. From the client nothing more goes on.
async fn say_goodbye(
    end: End,
    up: &mut Direction,
    down: &mut Direction,
    client: &mut (impl AsyncRead + AsyncWrite + Unpin),
    upstream: &mut dyn Duplex,
) {
    let (code, reason) = (end.close_code(), end.reason());
    let to_client = async {
        down.finish_frame(upstream, client).await
            && client.write_all(&close_frame(code, reason, None)).await.is_ok()
            && client.shutdown().await.is_ok()
    };
    let is_told = timeout(FRAME_PATIENCE, to_client).await.unwrap_or(false);
    let to_upstream = async {
        if up.may_close() {
            let _ = upstream.write_all(&close_frame(code, reason, Some(random_bytes()))).await;
        }
        let _ = upstream.shutdown().await;
    };
    let _ = timeout(FRAME_PATIENCE, to_upstream).await;
    if is_told {
        let dropped = async { while matches!(client.read(&mut up.buffer).await, Ok(1..)) {} };
        let _ = timeout(LINGER, dropped).await;
    }
}
