//! A real Redis for one test.

use std::process::Command;

use counterfoil::secret::Secret;
use counterfoil::session::store::redis::RedisSettings;
use fred::clients::Client;
use fred::interfaces::ClientLike;
use fred::types::{Builder, ClusterHash, CustomCommand, Value};

use super::child::{PATIENCE, Program, free_port};

/// A running `redis-server`.
pub struct Redis {
    program: Program,
    port: u16,
}

impl Redis {
    /// Starts a server that keeps nothing on disk.
    pub fn start() -> Self {
        Self::start_on(free_port())
    }

    /// Starts a server on a known port.
    pub fn start_on(port: u16) -> Self {
        let mut command = Command::new("redis-server");
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        let program = Program::start(&mut command);
        program.wait_for("Ready to accept connections");
        Self { program, port }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// Stops answering without closing anything (a hung server).
    pub fn freeze(&self) {
        self.program.signal("STOP");
    }

    pub fn thaw(&self) {
        self.program.signal("CONT");
    }

    /// Runs one command as an operator at `redis-cli` would.
    pub async fn command(&self, words: &[&str]) -> Value {
        let client = self.client().await;
        let (name, arguments) = words.split_first().unwrap();
        let command = CustomCommand::new((*name).to_owned(), ClusterHash::FirstKey, false);
        let answer = client.custom(command, arguments.iter().map(|word| (*word).to_owned()).collect()).await.unwrap();
        client.quit().await.unwrap();
        answer
    }

    /// A client beside the broker's.
    pub async fn client(&self) -> Client {
        let config = fred::types::config::Config::from_url(&self.url()).unwrap();
        let client: Client = Builder::from_config(config).build().unwrap();
        tokio::time::timeout(PATIENCE, client.init()).await.unwrap().unwrap();
        client
    }

    /// Every key.
    pub async fn keys(&self) -> Vec<String> {
        self.command(&["KEYS", "*"]).await.convert().unwrap()
    }
}

/// The broker's settings for a server on this port.
pub fn settings(port: u16) -> RedisSettings {
    RedisSettings {
        url: Secret::new(format!("redis://127.0.0.1:{port}/0")),
        prefix: "counterfoil:".into(),
        timeout: std::time::Duration::from_millis(500),
    }
}
