//! Programs that a measurement starts, and that end with it: Redis, brokers.

use std::ffi::OsString;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use counterfoil::secret::random_token;

/// Longest wait for a program to be there.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running program.
pub(crate) struct Program(pub(crate) Child);

impl Program {
    /// Starts a program and waits until it answers on `port`.
    ///
    /// # Panics
    /// If it cannot be started, or does not listen in time.
    pub(crate) fn start(command: &mut Command, port: u16) -> Self {
        // Nobody reads what it says, and each revocation is worth a line to a broker.
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let program = Self(child.unwrap_or_else(|error| panic!("{command:?}: {error}")));
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < PATIENCE, "{command:?} does not listen on port {port}");
            std::thread::sleep(Duration::from_millis(10));
        }
        program
    }

    /// A Redis that keeps nothing on disk.
    pub(crate) fn redis(port: u16, more: &[&str]) -> Self {
        let mut command = Command::new(redis_server());
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        Self::start(command.args(more), port)
    }

    /// The real broker, under a configuration without its ports.
    pub(crate) fn broker(folder: &Folder, port: u16, configuration: &str) -> Self {
        let ports = format!("[server]\nlisten = \"127.0.0.1:{port}\"\nops_listen = \"127.0.0.1:{}\"\n", free_port());
        let file = folder.path().join(format!("broker-{port}.toml"));
        std::fs::write(&file, format!("{configuration}\n{ports}")).unwrap_or_else(|error| panic!("{error}"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_counterfoil"));
        Self::start(command.arg("serve").arg("--config").arg(file), port)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A folder that goes with the measurement.
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// A fresh one.
    ///
    /// # Panics
    /// If there is no place for it.
    pub(crate) fn new() -> Self {
        let path = std::env::temp_dir().join(format!("counterfoil-bench-{}", random_token::<9>()));
        std::fs::create_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The program that is a Redis server here: another one, if `REDIS_SERVER` names it.
pub(crate) fn redis_server() -> OsString {
    std::env::var_os("REDIS_SERVER").unwrap_or_else(|| "redis-server".into())
}

/// A TCP port that nobody listens on just now.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    listener.unwrap_or_else(|error| panic!("{error}")).port()
}
