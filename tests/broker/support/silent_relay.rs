//! A network that loses connections without a word: what is sent on them arrives nowhere, and nobody closes them. New ones
//! work. This is what is left of a connection when a node, a balancer or a firewall between forgets it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Carries connections to one address, until they are lost.
pub struct SilentRelay {
    address: SocketAddr,
    connections: Arc<Mutex<Vec<Arc<AtomicBool>>>>,
}

impl SilentRelay {
    pub async fn in_front_of(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let relay = Self { address: listener.local_addr().unwrap(), connections: Arc::default() };
        let connections = relay.connections.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let is_lost = Arc::new(AtomicBool::new(false));
                connections.lock().unwrap().push(is_lost.clone());
                tokio::spawn(carry(client, port, is_lost));
            }
        });
        relay
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// From now on the connections of this moment carry nothing, in neither direction. Returns how many carried something.
    pub fn lose_established(&self) -> usize {
        let connections = self.connections.lock().unwrap();
        connections.iter().filter(|connection| !connection.swap(true, Ordering::SeqCst)).count()
    }

    /// The same for the oldest one that still carries something.
    pub fn lose_oldest(&self) {
        let connections = self.connections.lock().unwrap();
        let oldest = connections.iter().find(|connection| !connection.load(Ordering::SeqCst));
        oldest.unwrap().store(true, Ordering::SeqCst);
    }

    /// How many connections were made so far.
    pub fn connections(&self) -> usize {
        self.connections.lock().unwrap().len()
    }
}

async fn carry(client: TcpStream, port: u16, is_lost: Arc<AtomicBool>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let mut buffers = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
    loop {
        let carried = tokio::select! {
            read = from_client.read(&mut buffers.0) => (read, &buffers.0, &mut to_server),
            read = from_server.read(&mut buffers.1) => (read, &buffers.1, &mut to_client),
        };
        if is_lost.load(Ordering::SeqCst) {
            // Whatever still comes is swallowed, and nobody hears of an end.
            tokio::join!(swallow(&mut from_client), swallow(&mut from_server));
            return std::future::pending().await;
        }
        let (read, bytes, to) = carried;
        let length = read.unwrap_or_default();
        if length == 0 || to.write_all(&bytes[..length]).await.is_err() {
            is_lost.store(true, Ordering::SeqCst);
            return;
        }
    }
}

/// Takes what comes and forgets it.
async fn swallow(from: &mut (impl AsyncReadExt + Unpin)) {
    let mut buffer = vec![0; 16 * 1024];
    while matches!(from.read(&mut buffer).await, Ok(1..)) {}
}
