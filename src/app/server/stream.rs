//! A client's connection below HTTP (and whatever is put in between): every wait for the client has a timeout, and
//! closing loses no answer (lingering close).

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::progress::Progress;
use crate::web::request_body::{Patience, poll_at};

/// Most unwanted bytes that are thrown away before a connection is closed, and the longest time that takes.
const MOST_DISCARDED: usize = 64 * 1024 * 1024;
const LONGEST_DISCARDING: Duration = Duration::from_secs(30);
/// Longest silence in between: the client has nothing more to send.
const DISCARDING_SILENCE: Duration = Duration::from_secs(5);

/// A client took too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(super) enum TooSlow {
    /// It took too long to send a request.
    #[error("the next request did not come in time")]
    Request,
    /// It took too long to read an answer.
    #[error("the answer was not read in time")]
    Answer,
}

/// A client's connection.
pub(super) struct ClientStream<S> {
    stream: S,
    progress: Arc<Progress>,
    read_timer: Option<Pin<Box<Sleep>>>,
    writing: Writing,
    discarding: Option<Discarding>,
    shut_down: bool,
}

/// The client's progress in reading.
struct Writing {
    patience: Patience,
    waiting_since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

/// The bytes thrown away so far.
struct Discarding {
    began: Instant,
    last: Instant,
    bytes: usize,
    timer: Option<Pin<Box<Sleep>>>,
    over: bool,
}

impl<S> ClientStream<S> {
    /// Watches a stream, and tells `progress` of what moves on it.
    pub(super) fn new(stream: S, progress: Arc<Progress>, least_rate: u64) -> Self {
        let writing = Writing { patience: Patience::new(least_rate), waiting_since: None, timer: None };
        Self { stream, progress, read_timer: None, writing, discarding: None, shut_down: false }
    }
}

impl<S: AsyncRead + Unpin> ClientStream<S> {
    /// Throws away what comes; ready when nothing more is expected or enough was thrown away.
    fn poll_discard(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let discarding = self.discarding.get_or_insert_with(|| {
            let now = Instant::now();
            Discarding { began: now, last: now, bytes: 0, timer: None, over: false }
        });
        let mut scratch = [MaybeUninit::uninit(); 16 * 1024];
        while !discarding.over {
            let mut buffer = ReadBuf::uninit(&mut scratch);
            match Pin::new(&mut self.stream).poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    discarding.last = Instant::now();
                    discarding.bytes += buffer.filled().len();
                    discarding.over = discarding.bytes > MOST_DISCARDED;
                }
                Poll::Ready(_) => discarding.over = true,
                Poll::Pending => {
                    let deadline = discarding.deadline();
                    ready!(poll_at(&mut discarding.timer, deadline, context));
                    discarding.over = true;
                }
            }
        }
        Poll::Ready(())
    }
}

impl Discarding {
    fn deadline(&self) -> Instant {
        (self.began + LONGEST_DISCARDING).min(self.last + DISCARDING_SILENCE)
    }
}

impl Writing {
    /// Takes note of a piece that went, or ends with an error if the client has not read for too long.
    fn after(&mut self, written: Poll<io::Result<usize>>, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(outcome) = written {
            let waited = self.waiting_since.take().map_or(Duration::ZERO, |since| since.elapsed());
            self.patience = self.patience.after(waited, *outcome.as_ref().unwrap_or(&0));
            return Poll::Ready(outcome);
        }
        let since = *self.waiting_since.get_or_insert_with(Instant::now);
        ready!(poll_at(&mut self.timer, since + self.patience.left(), context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, TooSlow::Answer)))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> ClientStream<S> {
    fn wrote(&mut self, written: Poll<io::Result<usize>>, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if written.is_pending() {
            self.progress.write_waits();
            if self.progress.may_discard() {
                // A client that sends before it reads would deadlock with us.
                let _ = self.poll_discard(context);
            }
        }
        let written = self.writing.after(written, context);
        if let Poll::Ready(Ok(_)) = written {
            self.progress.sent(Instant::now());
        }
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ClientStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        if let Poll::Ready(outcome) = Pin::new(&mut this.stream).poll_read(context, buffer) {
            if buffer.filled().len() > before {
                this.progress.received(Instant::now());
            }
            return Poll::Ready(outcome);
        }
        let Some(deadline) = this.progress.read_deadline(context.waker()) else { return Poll::Pending };
        ready!(poll_at(&mut this.read_timer, deadline, context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, TooSlow::Request)))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ClientStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.wrote(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.wrote(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    /// Closes our direction first. A client that may still be sending is read out before the connection closes
    /// (lingering close, RFC 9112 9.6).
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.shut_down {
            ready!(Pin::new(&mut this.stream).poll_shutdown(context))?;
            (this.shut_down, this.discarding) = (true, None);
        }
        if this.progress.may_be_sending() {
            ready!(this.poll_discard(context));
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    /// A large answer to somebody who is still sending what nobody wants, and reads nothing before that has gone.
    #[tokio::test]
    async fn a_client_that_sends_before_it_reads_gets_its_answer() {
        let (ours, mut theirs) = duplex(64);
        let progress = Arc::new(Progress::new(Duration::from_secs(75), Instant::now()));
        let request = progress.request_began();
        progress.body_cut_short(request);
        progress.no_request_follows();
        let mut stream = ClientStream::new(ours, progress, 1024);
        let answers = async {
            stream.write_all(&[b'a'; 10_000]).await.unwrap();
            stream.shutdown().await.unwrap();
        };
        let asks = async {
            theirs.write_all(&vec![b'q'; 100_000]).await.unwrap();
            theirs.shutdown().await.unwrap();
            let mut heard = Vec::new();
            theirs.read_to_end(&mut heard).await.unwrap();
            assert_eq!(heard.len(), 10_000);
        };
        tokio::join!(answers, asks);
    }
}
