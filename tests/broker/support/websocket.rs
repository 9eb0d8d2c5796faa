//! A real WebSocket client and a real application behind, of a library of others.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async, client_async};

use super::broker::{HOST, SESSION};
use super::browser::Browser;
use super::child::PATIENCE;

/// The code and the reason of a close frame; `None` without a frame, or with an empty one.
pub type Close = Option<(u16, String)>;
pub type WebSocket = WebSocketStream<TcpStream>;

/// An application that sends back whatever it receives by WebSocket.
#[derive(Clone)]
pub struct EchoApplication {
    pub address: SocketAddr,
    handshakes: Arc<Mutex<Vec<http::HeaderMap>>>,
    closes: Arc<Mutex<Vec<Close>>>,
    speakers: Arc<Mutex<Vec<mpsc::UnboundedSender<Message>>>>,
}

impl EchoApplication {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let application =
            Self { address, handshakes: Arc::default(), closes: Arc::default(), speakers: Arc::default() };
        let accepting = application.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(accepting.clone().serve(stream));
            }
        });
        application
    }

    async fn serve(self, stream: TcpStream) {
        let handshakes = self.handshakes.clone();
        #[expect(clippy::result_large_err, reason = "the library's callback")]
        let note = move |request: &Request, mut response: Response| {
            handshakes.lock().unwrap().push(request.headers().clone());
            if let Some(protocol) = request.headers().get("sec-websocket-protocol") {
                response.headers_mut().insert("sec-websocket-protocol", protocol.clone());
            }
            Ok(response)
        };
        let Ok(mut socket) = accept_hdr_async(stream, note).await else { return };
        let (speaker, mut spoken) = mpsc::unbounded_channel();
        self.speakers.lock().unwrap().push(speaker);
        let close = loop {
            tokio::select! {
                received = socket.next() => match received {
                    Some(Ok(Message::Close(close))) => {
                        break close.map(|frame| (frame.code.into(), frame.reason.as_str().to_owned()));
                    }
                    Some(Ok(message)) if message.is_text() || message.is_binary() => {
                        let _ = socket.send(message).await;
                    }
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => break None,
                },
                Some(message) = spoken.recv() => {
                    let _ = socket.send(message).await;
                }
            }
        };
        // The answer to the close goes out.
        let _ = socket.flush().await;
        self.closes.lock().unwrap().push(close);
    }

    /// The heads of the handshakes that came.
    pub fn handshakes(&self) -> Vec<http::HeaderMap> {
        self.handshakes.lock().unwrap().clone()
    }

    /// How its connections ended: by a close frame with this code and reason, or without one.
    pub fn closes(&self) -> Vec<Close> {
        self.closes.lock().unwrap().clone()
    }

    /// Sends a message of its own to everybody.
    pub fn say(&self, text: &str) {
        for speaker in &*self.speakers.lock().unwrap() {
            let _ = speaker.send(Message::text(text));
        }
    }
}

/// Opens a WebSocket at a broker as somebody's browser, with more fields in the handshake.
pub async fn open(
    address: SocketAddr,
    path: &str,
    browser: Option<&Browser>,
    more: &[(&'static str, &str)],
) -> Result<WebSocket, Error> {
    let mut request = format!("ws://{HOST}{path}").into_client_request().unwrap();
    if let Some(value) = browser.and_then(|browser| browser.cookie(SESSION)) {
        request.headers_mut().insert("cookie", format!("theme=dark; {SESSION}={value}").parse().unwrap());
    }
    for (name, value) in more {
        request.headers_mut().append(*name, value.parse().unwrap());
    }
    let stream = TcpStream::connect(address).await.unwrap();
    client_async(request, stream).await.map(|(socket, _)| socket)
}

/// The status with which a handshake was refused.
pub fn refusal(opened: Result<WebSocket, Error>) -> u16 {
    match opened {
        Err(Error::Http(response)) => response.status().as_u16(),
        Err(error) => panic!("{error}"),
        Ok(_) => 101,
    }
}

/// The next text that comes.
pub async fn text(socket: &mut WebSocket) -> String {
    loop {
        match tokio::time::timeout(PATIENCE, socket.next()).await.expect("a message comes") {
            Some(Ok(Message::Text(text))) => return text.as_str().to_owned(),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// Sends a text, and waits for it to come back.
pub async fn echo(socket: &mut WebSocket, said: &str) {
    socket.send(Message::text(said)).await.unwrap();
    assert_eq!(text(socket).await, said);
}

/// The close frame with which a socket ends; `None` if it ends without one.
pub async fn close(socket: &mut WebSocket) -> Close {
    let ending = async {
        loop {
            match socket.next().await {
                Some(Ok(Message::Close(frame))) => break frame,
                Some(Ok(_)) => {}
                Some(Err(_)) | None => break None,
            }
        }
    };
    let frame: Option<CloseFrame> = tokio::time::timeout(PATIENCE, ending).await.expect("it ends");
    frame.map(|frame| (frame.code.into(), frame.reason.as_str().to_owned()))
}
