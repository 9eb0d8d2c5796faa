//! A real Redis for one test.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use counterfoil::secret::Secret;
use counterfoil::session_redis::RedisSettings;
use fred::clients::Client;
use fred::interfaces::ClientLike;
use fred::types::{Builder, ClusterHash, CustomCommand, Value};

use super::child::{PATIENCE, Program, free_port};
use super::program::Folder;

/// How long a server is waited for that is there, on a machine that has much else to do.
const ANSWERS_WITHIN: Duration = Duration::from_secs(30);
/// How long one is waited for that may be away.
pub const GIVEN_UP_AFTER: Duration = Duration::from_secs(2);

/// A running `redis-server`.
pub struct Redis {
    program: Program,
    port: u16,
    _folder: Folder,
}

impl Redis {
    /// Starts a server that keeps nothing on disk.
    pub fn start() -> Self {
        Self::start_on(free_port())
    }

    /// Starts a server on a known port.
    pub fn start_on(port: u16) -> Self {
        Self::start_with(port, &[])
    }

    /// Starts a server with more settings.
    pub fn start_with(port: u16, more: &[&str]) -> Self {
        let mut command = Command::new("redis-server");
        // A folder of its own: what one server dumps is no other's to load.
        let folder = Folder::new();
        command.current_dir(folder.path());
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        command.args(more);
        let program = Program::start(&mut command);
        program.wait_for("Ready to accept connections");
        Self { program, port, _folder: folder }
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

    /// Ends it as a crash would.
    pub fn kill(&self) {
        self.program.signal("KILL");
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.program.id()
    }

    /// What `redis-cli` says to a command; `None` if that failed or the server is not there.
    pub fn try_ask(&self, words: &[&str]) -> Option<String> {
        let port = self.port.to_string();
        let output = Command::new("redis-cli").args(["-e", "-p", &port]).args(words).output().unwrap();
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// What `redis-cli` says to a command that does not fail.
    pub fn ask(&self, words: &[&str]) -> String {
        self.try_ask(words).unwrap_or_else(|| panic!("{words:?} failed on {}", self.port))
    }

    /// Does several things at once (`MULTI`): nobody hears of one before the others.
    pub fn do_at_once(&self, commands: &[&str]) {
        let lines = [&["MULTI"], commands, &["EXEC"]].concat().join("\n");
        let mut command = Command::new("redis-cli");
        command.args(["-e", "-p", &self.port.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut client = command.spawn().unwrap();
        client.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
        let output = client.wait_with_output().unwrap();
        assert!(output.status.success(), "{commands:?}: {}", String::from_utf8_lossy(&output.stdout));
    }

    /// How often it was asked for a value.
    pub fn gets(&self) -> u64 {
        gets(&self.try_ask(&["INFO", "commandstats"]).unwrap_or_default())
    }

    /// Waits until its replicas have all that it has now.
    pub fn wait_for_replicas(&self, count: usize) {
        // "master", its offset, and for each replica its host, port and offset.
        let offsets = || -> (u64, Vec<u64>) {
            let role = self.ask(&["ROLE"]);
            let words: Vec<_> = role.lines().collect();
            let offset = |word: &&str| word.parse().unwrap();
            (offset(&words[1]), words.iter().skip(4).step_by(3).map(offset).collect())
        };
        let (written, _) = offsets();
        super::child::wait_until("the replicas have it all", || {
            let (_, replicas) = offsets();
            replicas.len() == count && replicas.iter().all(|&has| has >= written)
        });
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

    /// The handles of the sessions that it has records of.
    pub async fn records(&self) -> Vec<String> {
        self.command(&["KEYS", "cf-*"]).await.convert().unwrap()
    }

    /// Deletes the keys that fit, of which there has to be one.
    pub async fn delete_keys(&self, fits: impl Fn(&str) -> bool) {
        let keys = self.keys().await;
        let meant: Vec<_> = keys.iter().map(String::as_str).filter(|key| fits(key)).collect();
        assert!(!meant.is_empty(), "none of these fits: {keys:?}");
        self.ask(&[&["DEL"], meant.as_slice()].concat());
    }
}

/// How often a server was asked for a value, as its statistics say.
pub fn gets(statistics: &str) -> u64 {
    let calls = statistics.lines().find_map(|line| line.strip_prefix("cmdstat_getrange:calls=")?.split(',').next());
    calls.map_or(0, |calls| calls.parse().unwrap())
}

/// The broker's settings for a server on this port.
pub fn settings(port: u16) -> RedisSettings {
    settings_of(format!("redis://127.0.0.1:{port}/0"))
}

/// The same for a server that is away at times: nobody waits for it for long.
pub fn unreliable(port: u16) -> RedisSettings {
    RedisSettings { timeout: GIVEN_UP_AFTER, ..settings(port) }
}

/// The broker's settings for a store at this URL.
pub fn settings_of(url: String) -> RedisSettings {
    RedisSettings {
        url: Secret::new(url),
        certificate_authorities: None,
        prefix: "counterfoil:".into(),
        timeout: ANSWERS_WITHIN,
    }
}
