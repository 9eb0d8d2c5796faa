//! Both ends of the broker by bytes alone: an upstream that says exactly what a test tells it to, and a client likewise.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::broker::{Broker, HOST, SESSION, Setup};
use super::browser::Browser;
use super::child::PATIENCE;

/// An upstream by bytes; every request is written down as it came.
#[derive(Clone)]
pub struct RawUpstream {
    pub address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl RawUpstream {
    /// Answers each request's head with these bytes, on connections that stay open; for `closing` they do not.
    pub async fn saying(bytes: Vec<u8>, closing: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = Self { address: listener.local_addr().unwrap(), heads: Arc::default() };
        let (heads, bytes) = (upstream.heads.clone(), Arc::new(bytes));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (heads, bytes) = (heads.clone(), bytes.clone());
                tokio::spawn(async move {
                    while let Some(head) = read_head(&mut stream).await {
                        heads.lock().unwrap().push(head);
                        if stream.write_all(&bytes).await.is_err() || closing {
                            return;
                        }
                    }
                });
            }
        });
        upstream
    }

    /// The requests that came, each the bytes of its head.
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    /// A broker with one guarded route to this upstream, and more of a configuration.
    pub async fn behind_a_broker(&self, more: &str) -> Broker {
        let routes = format!(
            "[[route]]\npath = \"/open\"\nupstream = \"http://{0}\"\naccess = \"public\"\n\
             [[route]]\npath = \"/\"\nupstream = \"http://{0}\"\n",
            self.address
        );
        Broker::with(Setup { routes: Box::leak(routes.into_boxed_str()), more: more.to_owned(), ..Setup::default() })
            .await
    }
}

/// Reads until the empty line; `None` at the end.
pub async fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return None,
        }
    }
    Some(String::from_utf8_lossy(&head).into_owned())
}

/// Reads until `text` has come or the other end closes; everything until then.
pub async fn read_until(stream: &mut TcpStream, text: &str) -> String {
    let mut read = Vec::new();
    let reading = async {
        let mut buffer = vec![0; 16 * 1024];
        while !String::from_utf8_lossy(&read).contains(text) {
            match stream.read(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(count) => read.extend_from_slice(&buffer[..count]),
            }
        }
    };
    assert!(tokio::time::timeout(PATIENCE, reading).await.is_ok(), "{text:?} never came, nor an end");
    String::from_utf8_lossy(&read).into_owned()
}

/// The head of a request: its line, `Host`, the browser's session if there is one, and more lines.
pub fn request(line: &str, browser: Option<&Browser>, more: &str) -> String {
    let session = browser.and_then(|browser| browser.cookie(SESSION));
    let cookie = session.map_or_else(String::new, |value| format!("Cookie: {SESSION}={value}\r\n"));
    format!("{line} HTTP/1.1\r\nHost: {HOST}\r\n{cookie}{more}\r\n")
}

/// Sends bytes on a connection of their own and reads to its end.
pub async fn exchange(broker: &Broker, bytes: &str) -> String {
    let mut stream = TcpStream::connect(broker.address).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let reading = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer));
    // What was cut off counts as far as it came.
    let _ = reading.await.expect("the connection is closed");
    String::from_utf8_lossy(&answer).into_owned()
}

/// The status of an answer, 0 if there is none.
pub fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
}
