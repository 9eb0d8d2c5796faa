//! Connections to providers that break: what is sent once more, and what never is.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::broker::{Broker, Setup};
use crate::support::scripted_idp::{Script, ScriptedIdp};

/// Stands before a provider and answers once on each connection: whatever comes on it after that finds it dead. Nothing
/// of that is said in the answer.
#[derive(Clone)]
struct AnswersOnce {
    address: SocketAddr,
    /// The request lines that found a dead connection.
    lost: Arc<Mutex<Vec<String>>>,
}

impl AnswersOnce {
    async fn before(idp: &ScriptedIdp) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let this = Self { address: listener.local_addr().unwrap(), lost: Arc::default() };
        let (front, provider) = (this.clone(), idp.address());
        tokio::spawn(async move {
            while let Ok((browser, _)) = listener.accept().await {
                let front = front.clone();
                tokio::spawn(async move { front.serve(browser, provider).await });
            }
        });
        this
    }

    async fn serve(&self, mut client: TcpStream, provider: SocketAddr) {
        let Some(request) = message(&mut client).await else { return };
        let mut upstream = TcpStream::connect(provider).await.unwrap();
        upstream.write_all(&request).await.unwrap();
        let answer = message(&mut upstream).await.unwrap();
        client.write_all(&answer).await.unwrap();
        if let Some(lost) = message(&mut client).await {
            let line = String::from_utf8_lossy(&lost).lines().next().unwrap().to_owned();
            self.lost.lock().unwrap().push(line);
        }
    }

    fn lost(&self) -> Vec<String> {
        self.lost.lock().unwrap().clone()
    }
}

/// A whole HTTP message, of the length that it says; `None` if the other side is gone.
async fn message(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
        if let Some(head) = text.find("\r\n\r\n") {
            let length = text.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
            let length: usize = length.map_or(0, |length| length.trim().parse().unwrap());
            if bytes.len() >= head + 4 + length {
                return Some(bytes);
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

/// RFC 9112 9.3.1: the keys and userinfo are asked for again; the profile of a plain OAuth 2.0 provider goes the same
/// way as userinfo, the metadata the same as the keys. Found by going through everything that is sent by GET.
#[tokio::test]
async fn what_only_reads_is_asked_once_more_when_its_connection_is_dead() {
    let broker = Broker::with(Setup { idp: "timeout = \"1m\"".into(), ..Setup::default() }).await;
    let front = AnswersOnce::before(&broker.idp).await;
    let at_front = |path: &str| format!("http://{}{path}", front.address);
    let metadata = json!({ "userinfo_endpoint": at_front("/userinfo"), "jwks_uri": at_front("/jwks") });
    broker.idp.behave(Script::metadata(metadata));
    broker.signed_in().await;
    assert_eq!(front.lost(), ["GET /userinfo HTTP/1.1"], "the connection that the keys came on was dead");
    broker.idp.rotate_keys();
    broker.signed_in().await;
    assert_eq!(front.lost()[1..], ["GET /jwks HTTP/1.1", "GET /userinfo HTTP/1.1"]);
    let received = |path: &str| broker.idp.received(path).len();
    assert_eq!((received("/token"), received("/jwks"), received("/userinfo")), (2, 2, 2));
}

/// R-C08: a code is sent once, whatever becomes of the connection; so is a refresh token.
#[tokio::test]
async fn a_code_is_never_sent_twice() {
    let broker = Broker::with(Setup { idp: "timeout = \"1m\"".into(), ..Setup::default() }).await;
    let front = AnswersOnce::before(&broker.idp).await;
    let at_front = |path: &str| format!("http://{}{path}", front.address);
    let metadata = json!({ "token_endpoint": at_front("/token"), "jwks_uri": at_front("/jwks") });
    broker.idp.behave(Script::metadata(metadata));
    // The connection that the keys came on is dead, and the code finds it.
    let answer = broker.sign_in(&broker.browser(), "/").await;
    assert!([502, 503].contains(&answer.status.as_u16()), "{}", answer.status);
    assert_eq!(front.lost(), ["POST /token HTTP/1.1"]);
    assert!(broker.idp.received("/token").is_empty(), "it reached nobody");
}
