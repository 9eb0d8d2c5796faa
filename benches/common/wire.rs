//! Two plain clients that cost little while something is measured: HTTP on one connection, and Redis.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use crate::sessions::HOST;

/// A connection whose answers are read through a buffer.
struct Connection(BufReader<TcpStream>);

impl Connection {
    fn open(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(std::time::Duration::from_secs(10)))?;
        Ok(Self(BufReader::new(stream)))
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.get_mut().write_all(bytes)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.0.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        line.truncate(line.trim_end().len());
        Ok(line)
    }

    fn bytes(&mut self, length: usize) -> io::Result<String> {
        let mut bytes = vec![0; length];
        self.0.read_exact(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// A connection to a broker that is kept alive.
pub(crate) struct Browser(Connection);

impl Browser {
    pub(crate) fn connect(port: u16) -> io::Result<Self> {
        Connection::open(port).map(Self)
    }

    /// A request as it goes over the wire.
    pub(crate) fn request(method: &str, path: &str, header: &str, body: &str) -> Vec<u8> {
        let length = body.len();
        format!("{method} {path} HTTP/1.1\r\nHost: {HOST}\r\n{header}\r\nContent-Length: {length}\r\n\r\n{body}").into()
    }

    /// Sends a request and reads the whole answer: its status and its body.
    ///
    /// # Errors
    /// If the connection is lost.
    pub(crate) fn ask(&mut self, request: &[u8]) -> io::Result<(u16, String)> {
        self.0.send(request)?;
        let status = self.0.line()?.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
        let mut length = 0;
        loop {
            let line = self.0.line()?;
            if line.is_empty() {
                return Ok((status, self.0.bytes(length)?));
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().map_err(io::Error::other)?;
            }
        }
    }
}

/// A connection to Redis.
pub(crate) struct Redis(Connection);

impl Redis {
    pub(crate) fn connect(port: u16) -> io::Result<Self> {
        Connection::open(port).map(Self)
    }

    /// Sends a command; a list comes back as its items in lines.
    ///
    /// # Errors
    /// If the connection is lost, or the server refuses.
    pub(crate) fn ask(&mut self, words: &[&str]) -> io::Result<String> {
        let words: Vec<_> = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
        let command = format!("*{}\r\n{}", words.len(), words.concat());
        self.0.send(command.as_bytes())?;
        self.answer()
    }

    fn answer(&mut self) -> io::Result<String> {
        let line = self.0.line()?;
        let (kind, rest) = line.split_at_checked(1).unwrap_or(("", ""));
        let length = || rest.parse::<i64>().map_err(io::Error::other);
        match kind {
            "$" => match usize::try_from(length()?) {
                Ok(length) => {
                    let text = self.0.bytes(length)?;
                    self.0.line()?;
                    Ok(text)
                }
                Err(_) => Ok(String::new()),
            },
            "*" => {
                let items: io::Result<Vec<_>> = (0..length()?).map(|_| self.answer()).collect();
                Ok(items?.join("\n"))
            }
            "-" => Err(io::Error::other(rest.to_owned())),
            _ => Ok(rest.to_owned()),
        }
    }

    /// One number of `INFO`.
    ///
    /// # Errors
    /// If there is none of this name.
    pub(crate) fn info(&mut self, name: &str) -> io::Result<u64> {
        let info = self.ask(&["INFO", "everything"])?;
        let found = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let number = found.and_then(|value| value.trim_start_matches("calls=").split(',').next()?.trim().parse().ok());
        number.ok_or_else(|| io::Error::other(format!("no {name}")))
    }
}
