//! The bytes of an upgraded connection, both ways, until either side closes.
//!
//! Each direction has one bounded buffer, which is read into again only once all of it has been written: who does not
//! read makes the other side wait (back-pressure), and nothing grows.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Bytes;
use counterfoil_guard::upgrade::Protocol;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::Instant;
use tracing::Span;

use crate::pool::Duplex;

/// Bytes of a buffer.
const BUFFER: usize = 4 * 1024;

/// The upstream's end of an upgraded connection, before there is the client's.
pub(crate) struct Ends {
    pub(crate) upstream: Box<dyn Duplex>,
    /// The upstream's bytes behind the head of its 101.
    pub(crate) received: Bytes,
    pub(crate) protocol: Protocol,
    /// The request's, which names it in the log.
    pub(crate) span: Span,
}

impl std::fmt::Debug for Ends {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Ends").field("protocol", &self.protocol).finish_non_exhaustive()
    }
}

/// The side that closed first.
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
}

impl Direction {
    /// A direction whose first bytes have been read already.
    fn new(from: Side, to: Side, received: &[u8]) -> Self {
        let mut buffer = received.to_vec();
        buffer.resize(received.len().max(BUFFER), 0);
        let (buffer, end) = (buffer.into_boxed_slice(), received.len());
        Self { from, to, buffer, start: 0, end, moved: 0, unflushed: false, at_end: false }
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

impl Ends {
    /// Carries bytes until either side closes, hands on what that side had sent, and closes the other.
    pub(crate) async fn carry(mut self, mut client: impl AsyncRead + AsyncWrite + Unpin, received: Bytes) {
        let began = Instant::now();
        let mut up = Direction::new(Side::Client, Side::Upstream, &received);
        let mut down = Direction::new(Side::Upstream, Side::Client, &self.received);
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
                if side.is_ready() {
                    return side;
                }
            }
            Poll::Pending
        });
        let closed = closed.await;
        // Whoever closed first may be gone altogether.
        let _ = match closed {
            Side::Client => upstream.shutdown().await,
            Side::Upstream => client.shutdown().await,
        };
        let _in_span = self.span.enter();
        tracing::info!(
            event = "stream.ended",
            protocol = %self.protocol,
            ended = match closed {
                Side::Upstream => "by the upstream",
                Side::Client => "by the client",
            },
            milliseconds = began.elapsed().as_millis(),
            bytes_to_client = down.moved,
            bytes_to_upstream = up.moved,
            "a stream ended"
        );
    }
}
