//! One connection to one primary: it tells of changes, proves that it is heard, and reads records.
//!
//! A record is read with `CLIENT CACHING YES` in front, in one write: the server registers the read in the very command
//! that answers it, and pushes the record's first change after it, in the very command that makes it. So what was read is
//! either registered, or its change is on the wire. The note and the tombstone beside it are not registered: uses are
//! told to nobody. Nothing else may be cached: a read that was redirected, or refused, is asked for through the pool.
//!
//! Each tenth of a second it asks the server for its `ROLE`. The answer comes after every change that was pushed
//! before, so it extends the [`Coverage`] by half a second from when it was asked for; a server that hangs, or is no
//! longer a primary, is believed for that long and no longer.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use counterfoil_session::key::SessionHandle;
use counterfoil_session::store::log::{LogNumber, LogRead, MOST_READ};
use counterfoil_session::store::{Coverage, Watch};
use redis_protocol::resp3::types::{BytesFrame, Resp3Frame};
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};

use super::connection::{Connection, RespError, command, items};
use super::{Access, Address, Beside, Shared};
use crate::{LONGEST_RECORD, LONGEST_VALUE};

/// Interval between two proofs of life.
const HEARTBEAT: Duration = Duration::from_millis(100);
/// Time for which an answer is good, from when it was asked for.
const VALID: Duration = Duration::from_millis(500);
/// Longest silence before a link is made anew; `timeout` is added, up to this.
const MOST_TIMEOUT: Duration = Duration::from_secs(1);
/// Reads that may wait to be sent; more are read through the pool.
const LONGEST_QUEUE: usize = 4_096;
/// Room for what arrives, in bytes.
const READ_AT_ONCE: usize = 64 * 1024;
/// Pauses between attempts to connect.
const PAUSES: std::ops::RangeInclusive<Duration> = Duration::from_millis(50)..=Duration::from_secs(1);

/// A record as a link read it, and until when the link answers for it.
pub(crate) struct Read {
    pub(crate) record: Option<Bytes>,
    pub(crate) note: Option<Bytes>,
    /// Set if a record lies there beside a tombstone.
    pub(crate) has_ended: bool,
    pub(crate) expires: Option<Instant>,
    pub(crate) watch: Watch,
}

/// The near end of a link.
pub(super) struct Link {
    pub(super) coverage: Arc<Coverage>,
    reads: mpsc::Sender<Request>,
}

/// Answers to one request: whether the read is registered, the record, when it expires, the note, the beginning of the
/// tombstone.
const ANSWERS: usize = 5;

struct ReadRequest {
    handle: SessionHandle,
    beside: Beside,
    answer: oneshot::Sender<[BytesFrame; ANSWERS]>,
}

/// A request for the entries of a log behind a number.
struct LogRequest {
    key: String,
    behind: LogNumber,
    answer: oneshot::Sender<[BytesFrame; LOG_ANSWERS]>,
}

/// Answers to it: whether the read is registered, and the entries.
const LOG_ANSWERS: usize = 2;

/// The requests that a link sends.
enum Request {
    Record(ReadRequest),
    Log(LogRequest),
}

impl Request {
    fn send(self, outgoing: &mut BytesMut, pending: &mut VecDeque<Pending>) {
        match self {
            Self::Record(request) => request.send(outgoing, pending),
            Self::Log(LogRequest { key, behind, answer }) => {
                command(outgoing, &[b"CLIENT", b"CACHING", b"YES"]);
                let (behind, most) = (format!("({behind}"), MOST_READ.to_string());
                command(outgoing, &[b"XRANGE", key.as_bytes(), behind.as_bytes(), b"+", b"COUNT", most.as_bytes()]);
                pending.push_back(Pending::Log { frames: Vec::with_capacity(LOG_ANSWERS), answer });
            }
        }
    }
}

impl ReadRequest {
    fn send(self, outgoing: &mut BytesMut, pending: &mut VecDeque<Pending>) {
        let (handle, Beside { note, tombstone }) = (self.handle.to_string(), &self.beside);
        let up_to = |key: &str, last: usize, outgoing: &mut BytesMut| {
            command(outgoing, &[b"GETRANGE", key.as_bytes(), b"0", last.to_string().as_bytes()]);
        };
        // It holds for the next command alone.
        command(outgoing, &[b"CLIENT", b"CACHING", b"YES"]);
        up_to(&handle, LONGEST_RECORD - 1, outgoing);
        command(outgoing, &[b"PTTL", handle.as_bytes()]);
        up_to(note, LONGEST_VALUE - 1, outgoing);
        up_to(tombstone, 0, outgoing);
        pending.push_back(Pending::Read { frames: Vec::with_capacity(ANSWERS), answer: self.answer });
    }
}

/// The request that the next answers on the wire belong to.
enum Pending {
    Heartbeat { asked: Instant },
    ClusterState { asked: Instant },
    Read { frames: Vec<BytesFrame>, answer: oneshot::Sender<[BytesFrame; ANSWERS]> },
    Log { frames: Vec<BytesFrame>, answer: oneshot::Sender<[BytesFrame; LOG_ANSWERS]> },
}

/// The reason why a link ended.
#[derive(Debug, Error)]
pub(super) enum LinkError {
    #[error(transparent)]
    RespError(#[from] RespError),
    #[error("it is no primary")]
    NotPrimary,
    #[error("its cluster is not whole")]
    ClusterDown,
    #[error("it did not answer in time")]
    Silent,
}

impl From<std::io::Error> for LinkError {
    fn from(error: std::io::Error) -> Self {
        Self::RespError(error.into())
    }
}

impl Link {
    /// A link to this server, and the task that keeps it up for ever.
    pub(super) fn new(
        address: Address,
        access: Access,
        in_cluster: bool,
        shared: Arc<Shared>,
    ) -> (Arc<Self>, impl Future<Output = ()> + Send) {
        let (reads, requests) = mpsc::channel(LONGEST_QUEUE);
        let coverage = Coverage::new(Instant::now());
        let link = Arc::new(Self { coverage: coverage.clone(), reads });
        let far_end = LinkTask { address, access, in_cluster, shared, coverage, requests, epoch: None };
        (link, far_end.keep_up())
    }

    /// Is true if the server answers for what is read now.
    pub(super) fn is_heard(&self, now: Instant) -> bool {
        self.coverage.holds(now)
    }

    /// Reads a record, unless it has a tombstone, and the note beside it. `None` if the server does not want to answer,
    /// or not for as long as it is believed without one.
    pub(super) async fn read(&self, handle: SessionHandle, beside: Beside) -> Option<Read> {
        let (answer, answered) = oneshot::channel();
        // The watch begins before the request is sent: whatever voids earlier reads from here on voids this one too.
        let (watch, sent) = (self.coverage.watch(), Instant::now());
        self.reads.try_send(Request::Record(ReadRequest { handle, beside, answer })).ok()?;
        let [registered, record, expires, note, tombstone] = tokio::time::timeout(VALID, answered).await.ok()?.ok()?;
        if registered.as_str() != Some("OK") {
            return None;
        }
        let is_live = text(tombstone)?.is_empty();
        let kept = |part: Bytes| (is_live && !part.is_empty()).then_some(part);
        let (record, note) = (text(record)?, kept(text(note)?));
        let has_ended = !is_live && !record.is_empty();
        let expires = match expires {
            // The answer -1 says that it never expires, -2 that there is none.
            BytesFrame::Number { data, .. } => u64::try_from(data).ok().map(Duration::from_millis),
            _ => return None,
        };
        let expires = expires.map(|expires| sent + expires);
        Some(Read { record: kept(record), note, has_ended, expires, watch })
    }
}

impl Link {
    /// Reads the entries of a log behind a number. `None` as in [`Self::read`].
    pub(super) async fn read_log(&self, key: String, behind: LogNumber) -> Option<LogRead> {
        let (answer, answered) = oneshot::channel();
        let watch = self.coverage.watch();
        self.reads.try_send(Request::Log(LogRequest { key, behind, answer })).ok()?;
        let [registered, entries] = tokio::time::timeout(VALID, answered).await.ok()?.ok()?;
        if registered.as_str() != Some("OK") {
            return None;
        }
        let BytesFrame::Array { data, .. } = entries else { return None };
        let entries = data.iter().map(entry).collect::<Option<_>>()?;
        Some(LogRead { entries, watch: Some(watch) })
    }
}

/// One entry of a log: its number, and the one field that it has.
fn entry(frame: &BytesFrame) -> Option<(LogNumber, Vec<u8>)> {
    let [number, fields] = items(frame) else { return None };
    let [_, BytesFrame::BlobString { data, .. }] = items(fields) else { return None };
    Some((number.as_str()?.parse().ok()?, data.to_vec()))
}

/// A text; `None` for anything else: an error, a redirection, another type.
fn text(frame: BytesFrame) -> Option<Bytes> {
    match frame {
        BytesFrame::BlobString { data, .. } => Some(data),
        _ => None,
    }
}

/// The side of a link that talks to the server.
struct LinkTask {
    address: Address,
    access: Access,
    in_cluster: bool,
    shared: Arc<Shared>,
    coverage: Arc<Coverage>,
    requests: mpsc::Receiver<Request>,
    /// The cluster's epoch, as the server last told it on this connection.
    epoch: Option<u64>,
}

impl LinkTask {
    async fn keep_up(mut self) {
        // This future ends by being dropped from outside: then nothing may be believed either.
        let ending = EndOnDrop(self.coverage.clone(), self.shared.clone());
        let mut pause = *PAUSES.start();
        let mut known = String::new();
        loop {
            let Err(error) = self.talk().await;
            if self.coverage.was_held() {
                ending.end();
                pause = *PAUSES.start();
                known.clear();
            }
            // Whatever waits for an answer is read through the pool.
            while self.requests.try_recv().is_ok() {}
            let reason = error.to_string();
            if reason != known {
                tracing::warn!(server = %self.address, %error, "changes in Redis cannot be heard: every check asks it");
                known = reason;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(*PAUSES.end());
        }
    }

    /// One connection, from its beginning to its end.
    async fn talk(&mut self) -> Result<std::convert::Infallible, LinkError> {
        let mut connection = Connection::open(&self.address, &self.access).await?;
        connection.ask(&["CLIENT", "TRACKING", "ON", "OPTIN"]).await?;
        // A user who may not ask for this hears of nothing: better said now than found out by each read.
        connection.ask(&["CLIENT", "CACHING", "YES"]).await?;
        self.epoch = None;
        let (mut reader, mut writer, mut received) = connection.into_parts();
        let mut pending = VecDeque::new();
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        heartbeat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut last_heard = Instant::now();
        let mut outgoing = BytesMut::new();
        loop {
            received.reserve(READ_AT_ONCE);
            tokio::select! {
                biased;
                read = reader.read_buf(&mut received) => {
                    if read? == 0 {
                        return Err(RespError::Closed.into());
                    }
                    while let Some(frame) = super::connection::take_frame(&mut received)? {
                        last_heard = Instant::now();
                        self.hear(frame, &mut pending)?;
                    }
                }
                _ = heartbeat.tick() => {
                    let asked = Instant::now();
                    if asked - last_heard > VALID + self.access.timeout.min(MOST_TIMEOUT) {
                        return Err(LinkError::Silent);
                    }
                    command(&mut outgoing, &[b"ROLE"]);
                    pending.push_back(Pending::Heartbeat { asked });
                    if self.in_cluster {
                        command(&mut outgoing, &[b"CLUSTER", b"INFO"]);
                        pending.push_back(Pending::ClusterState { asked });
                    }
                }
                Some(request) = self.requests.recv() => {
                    request.send(&mut outgoing, &mut pending);
                    while let Ok(request) = self.requests.try_recv() {
                        request.send(&mut outgoing, &mut pending);
                    }
                }
            }
            if !outgoing.is_empty() {
                let written = tokio::time::timeout(VALID, writer.write_all_buf(&mut outgoing)).await;
                written.map_err(|_| LinkError::Silent)??;
            }
        }
    }

    fn hear(&mut self, frame: BytesFrame, pending: &mut VecDeque<Pending>) -> Result<(), LinkError> {
        if let BytesFrame::Push { data, .. } = &frame {
            self.hear_push(data);
            return Ok(());
        }
        match pending.pop_front().ok_or(RespError::OutOfStep)? {
            Pending::Heartbeat { asked } => {
                let role = match &frame {
                    BytesFrame::Array { data, .. } => data.first().and_then(BytesFrame::as_str),
                    _ => None,
                };
                if role != Some("master") {
                    return Err(RespError::refusal(&frame).map_or(LinkError::NotPrimary, LinkError::RespError));
                }
                if !self.in_cluster {
                    self.coverage.extend(asked + VALID);
                }
            }
            Pending::ClusterState { asked } => {
                // A node on the wrong side of a partition keeps answering about itself, but says so.
                if !frame.as_str().is_some_and(|state| state.contains("cluster_state:ok")) {
                    return Err(RespError::refusal(&frame).map_or(LinkError::ClusterDown, LinkError::RespError));
                }
                self.hear_epoch(epoch_of(frame.as_str().unwrap_or_default()));
                self.coverage.extend(asked + VALID);
            }
            Pending::Log { mut frames, answer } => {
                frames.push(frame);
                match <[BytesFrame; LOG_ANSWERS]>::try_from(frames) {
                    Ok(frames) => _ = answer.send(frames),
                    Err(frames) => pending.push_front(Pending::Log { frames, answer }),
                }
            }
            Pending::Read { mut frames, answer } => {
                frames.push(frame);
                match <[BytesFrame; ANSWERS]>::try_from(frames) {
                    // Whoever asked may have given up.
                    Ok(frames) => _ = answer.send(frames),
                    Err(frames) => pending.push_front(Pending::Read { frames, answer }),
                }
            }
        }
        Ok(())
    }

    /// Voids what was read under another epoch: a server whose slots another node took deletes their keys, and some
    /// versions tell nobody of that.
    fn hear_epoch(&mut self, epoch: Option<u64>) {
        let before = std::mem::replace(&mut self.epoch, epoch);
        if before.is_some() && before != epoch {
            self.coverage.void();
            self.shared.listeners.each(|listener| listener.invalidate_all());
        }
    }

    fn hear_push(&self, push: &[BytesFrame]) {
        let [kind, what] = push else { return };
        if kind.as_str() != Some("invalidate") {
            return;
        }
        if let BytesFrame::Array { data, .. } = what {
            for key in data.iter().filter_map(BytesFrame::as_str) {
                if let Ok(handle) = key.parse() {
                    self.shared.listeners.each(|listener| listener.invalidate(handle));
                } else if let Some(log) = key.strip_prefix(&*self.shared.prefix) {
                    self.shared.listeners.each(|listener| listener.invalidate_log(log));
                }
            }
        } else {
            // FLUSHALL and FLUSHDB name nothing.
            self.coverage.void();
            self.shared.listeners.each(|listener| listener.invalidate_all());
        }
    }
}

/// Returns the epoch of `CLUSTER INFO`.
fn epoch_of(information: &str) -> Option<u64> {
    information.lines().find_map(|line| line.strip_prefix("cluster_current_epoch:")?.trim().parse().ok())
}

struct EndOnDrop(Arc<Coverage>, Arc<Shared>);

impl EndOnDrop {
    fn end(&self) {
        self.0.end();
        self.1.listeners.each(|listener| listener.invalidate_all());
    }
}

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.end();
    }
}
