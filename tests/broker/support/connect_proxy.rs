//! A company's proxy: tunnels by CONNECT (RFC 9110 9.3.6), to names that it alone can look up, for whoever knows the
//! password.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A running proxy that remembers what it was asked.
pub struct ConnectProxy {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl ConnectProxy {
    /// Starts one that knows these names and wants these credentials (`user:password`), if any.
    pub async fn start(names: &[(&str, SocketAddr)], credentials: Option<&str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let names: HashMap<String, SocketAddr> =
            names.iter().map(|(name, address)| ((*name).to_owned(), *address)).collect();
        let wanted = credentials.map(|pair| format!("proxy-authorization: basic {}", STANDARD.encode(pair)));
        let wanted = wanted.map(|line| line.to_ascii_lowercase());
        let heads = Arc::new(Mutex::new(Vec::new()));
        let (names, seen) = (Arc::new(names), heads.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (names, wanted, seen) = (names.clone(), wanted.clone(), seen.clone());
                tokio::spawn(async move { serve(client, &names, wanted.as_deref(), &seen).await });
            }
        });
        Self { address, heads }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The head of every request so far.
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

async fn serve(
    mut client: TcpStream,
    names: &HashMap<String, SocketAddr>,
    wanted: Option<&str>,
    seen: &Mutex<Vec<String>>,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match client.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    seen.lock().unwrap().push(head.clone());
    let is_known = wanted.is_none_or(|wanted| head.to_ascii_lowercase().contains(wanted));
    let target = head.strip_prefix("CONNECT ").and_then(|rest| names.get(rest.split(' ').next().unwrap()));
    let refusal: &[u8] = match (is_known, target) {
        (false, _) => b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n",
        (true, None) => b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n",
        (true, Some(target)) => {
            let mut server = TcpStream::connect(target).await.unwrap();
            client.write_all(b"HTTP/1.1 200 Connection Established\r\n\r\n").await.unwrap();
            // Whoever leaves first ends it.
            let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            return;
        }
    };
    let _ = client.write_all(refusal).await;
}
