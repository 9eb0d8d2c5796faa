//! A plain conversation with a Redis server in RESP3: open, greet, ask.

use std::io;

use bytes::BytesMut;
use redis_protocol::error::RedisProtocolError;
use redis_protocol::resp3::decode::complete::decode_bytes_mut;
use redis_protocol::resp3::encode::complete::extend_encode_borrowed;
use redis_protocol::resp3::types::{BorrowedFrame, BytesFrame, Resp3Frame};
use rustls::pki_types::ServerName;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;

use super::{Access, Address};

/// Longest answer that is taken, in bytes: far beyond any record.
const LONGEST_ANSWER: usize = 16 * 1024 * 1024;

/// The reason why a conversation failed.
#[derive(Debug, Error)]
pub(crate) enum RespError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("it did not answer in time")]
    Silent,
    #[error("it closed the connection")]
    Closed,
    #[error("it does not speak Redis: {0}")]
    Protocol(#[from] RedisProtocolError),
    #[error("its answers do not fit the questions")]
    OutOfStep,
    #[error("it said {0}")]
    Refused(String),
    #[error("the sentinels do not agree")]
    NoMajority,
    #[error("its name is none for TLS")]
    Name,
}

impl RespError {
    /// The error that an answer is, if it is one.
    pub(super) fn refusal(frame: &BytesFrame) -> Option<Self> {
        match frame {
            BytesFrame::SimpleError { data, .. } => Some(Self::Refused(data.to_string())),
            BytesFrame::BlobError { data, .. } => Some(Self::Refused(String::from_utf8_lossy(data).into_owned())),
            _ => None,
        }
    }
}

/// Bytes both ways, with or without TLS.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// The two directions of a connection, and what was received already.
pub(super) type Parts = (ReadHalf<Box<dyn Stream>>, WriteHalf<Box<dyn Stream>>, BytesMut);

/// An open connection.
pub(crate) struct Connection {
    stream: Box<dyn Stream>,
    received: BytesMut,
    access: Access,
}

impl Connection {
    /// Connects, signs in and chooses the database.
    pub(crate) async fn open(address: &Address, access: &Access) -> Result<Self, RespError> {
        let opened = tokio::time::timeout(access.timeout, Self::connect(address, access)).await;
        let mut connection = opened.map_err(|_| RespError::Silent)??;
        match &access.password {
            Some(password) => {
                let username = access.username.as_deref().unwrap_or("default");
                connection.ask(&["HELLO", "3", "AUTH", username, password.expose()]).await?;
            }
            None => _ = connection.ask(&["HELLO", "3"]).await?,
        }
        if access.database != 0 {
            connection.ask(&["SELECT", &access.database.to_string()]).await?;
        }
        Ok(connection)
    }

    async fn connect(address: &Address, access: &Access) -> Result<Self, RespError> {
        let stream = TcpStream::connect((address.host.as_str(), address.port)).await?;
        stream.set_nodelay(true)?;
        let stream: Box<dyn Stream> = match &access.tls {
            None => Box::new(stream),
            Some(tls) => {
                let name = ServerName::try_from(address.host.clone()).map_err(|_| RespError::Name)?;
                Box::new(tls.connect(name, stream).await?)
            }
        };
        Ok(Self { stream, received: BytesMut::new(), access: access.clone() })
    }

    /// Asks one thing and waits for its answer; an error is an error.
    pub(crate) async fn ask(&mut self, words: &[&str]) -> Result<BytesFrame, RespError> {
        let mut outgoing = BytesMut::new();
        command(&mut outgoing, &words.iter().map(|word| word.as_bytes()).collect::<Vec<_>>());
        let exchange = async {
            self.stream.write_all_buf(&mut outgoing).await?;
            loop {
                match take_frame(&mut self.received)? {
                    // Changes may be told before the answer to the question for them; nothing is cached yet.
                    Some(BytesFrame::Push { .. }) => {}
                    Some(frame) => return RespError::refusal(&frame).map_or(Ok(frame), Err),
                    None if self.stream.read_buf(&mut self.received).await? == 0 => return Err(RespError::Closed),
                    None => {}
                }
            }
        };
        tokio::time::timeout(self.access.timeout, exchange).await.map_err(|_| RespError::Silent)?
    }

    /// The two directions, and what was received already.
    pub(super) fn into_parts(self) -> Parts {
        let (reader, writer) = tokio::io::split(self.stream);
        (reader, writer, self.received)
    }
}

/// Writes a command.
pub(super) fn command(outgoing: &mut BytesMut, words: &[&[u8]]) {
    let words: Vec<_> = words.iter().map(|word| BorrowedFrame::BlobString { data: word, attributes: None }).collect();
    let frame = BorrowedFrame::Array { data: &words, attributes: None };
    // Fails only if the buffer could not grow, which it does by itself.
    let written = extend_encode_borrowed(outgoing, &frame, false);
    debug_assert!(written.is_ok(), "{written:?}");
}

/// The next whole frame, if it is there.
pub(super) fn take_frame(received: &mut BytesMut) -> Result<Option<BytesFrame>, RespError> {
    if received.len() > LONGEST_ANSWER {
        return Err(RespError::OutOfStep);
    }
    Ok(decode_bytes_mut(received)?.map(|(frame, _, _)| frame))
}

/// The items of an array.
pub(crate) fn items(frame: &BytesFrame) -> &[BytesFrame] {
    match frame {
        BytesFrame::Array { data, .. } => data,
        _ => &[],
    }
}

/// A text, whatever its type.
pub(super) fn text(frame: &BytesFrame) -> Option<&str> {
    frame.as_str()
}

/// A number.
pub(super) fn number(frame: &BytesFrame) -> Option<u16> {
    match frame {
        BytesFrame::Number { data, .. } => u16::try_from(*data).ok(),
        _ => frame.as_str()?.parse().ok(),
    }
}
