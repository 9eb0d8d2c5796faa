//! A TCP proxy that can be cut, stalled and restored: the network between the broker and its peers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mode {
    Pass,
    Cut,
    Stall,
    CutMidReply,
    Slow(Duration),
}

/// Forwards connections to one address.
pub struct CutProxy {
    address: SocketAddr,
    mode: Arc<watch::Sender<Mode>>,
}

impl CutProxy {
    pub async fn in_front_of(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mode = Arc::new(watch::Sender::new(Mode::Pass));
        let watched = mode.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, target, watched.subscribe()));
            }
        });
        Self { address, mode }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes every connection, and each new one.
    pub fn cut(&self) {
        self.mode.send_replace(Mode::Cut);
    }

    /// Keeps connections open and carries nothing.
    pub fn stall(&self) {
        self.mode.send_replace(Mode::Stall);
    }

    /// Cuts each connection in the middle of the next reply.
    pub fn cut_mid_reply(&self) {
        self.mode.send_replace(Mode::CutMidReply);
    }

    /// Holds everything back for so long.
    pub fn slow(&self, delay: Duration) {
        self.mode.send_replace(Mode::Slow(delay));
    }

    pub fn restore(&self) {
        self.mode.send_replace(Mode::Pass);
    }
}

async fn carry(mut client: TcpStream, target: SocketAddr, mut mode: watch::Receiver<Mode>) {
    loop {
        let now = *mode.borrow_and_update();
        match now {
            Mode::Cut => return,
            Mode::Stall => _ = mode.changed().await,
            Mode::Pass | Mode::CutMidReply | Mode::Slow(_) => break,
        }
    }
    let Ok(mut server) = TcpStream::connect(target).await else { return };
    let mut buffers = ([0; 16 * 1024], [0; 16 * 1024]);
    loop {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let now = *mode.borrow_and_update();
        if now == Mode::Cut {
            return;
        }
        if now == Mode::Stall {
            _ = mode.changed().await;
            continue;
        }
        tokio::select! {
            _ = mode.changed() => {}
            read = client.read(&mut buffers.0) => match read {
                Ok(length @ 1..) if server.write_all(&buffers.0[..length]).await.is_ok() => {}
                _ => return,
            },
            read = server.read(&mut buffers.1) => {
                let Ok(length @ 1..) = read else { return };
                let now = *mode.borrow();
                match now {
                    Mode::CutMidReply => {
                        _ = client.write_all(&buffers.1[..length / 2]).await;
                        return;
                    }
                    Mode::Slow(delay) => tokio::time::sleep(delay).await,
                    Mode::Pass | Mode::Cut | Mode::Stall => {}
                }
                if client.write_all(&buffers.1[..length]).await.is_err() {
                    return;
                }
            },
        }
    }
}
