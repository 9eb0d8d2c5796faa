//! Programs started by a test, and ended with it.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

/// Longest wait for something that is to happen, on the slowest machine: it decides nothing but when a test gives up.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// A running program whose output is collected line by line.
pub struct Program {
    child: Child,
    lines: Mutex<Receiver<String>>,
}

impl Program {
    /// Starts a program; both of its outputs are read.
    ///
    /// # Panics
    /// If it is not installed: a test that cannot run has failed.
    pub fn start(command: &mut Command) -> Self {
        let name = command.get_program().display().to_string();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name} cannot be started: {error} (tests/run.sh installs it)"));
        let (sender, lines) = mpsc::channel();
        let outputs: [Box<dyn Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for output in outputs {
            let sender = sender.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        break;
                    }
                }
            });
        }
        Self { child, lines: Mutex::new(lines) }
    }

    /// Waits for a line that holds `text`; everything said until then.
    pub fn wait_for(&self, text: &str) -> String {
        let (lines, mut said) = (self.lines.lock().unwrap(), String::new());
        while !said.contains(text) {
            let line = lines.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|error| panic!("{error}: never said {text:?}, but:\n{said}"));
            said.extend([&line, "\n"]);
        }
        said
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for the end; the exit code, and everything said that was not waited for.
    pub fn end(mut self) -> (Option<i32>, String) {
        drop(self.child.stdin.take());
        let status = self.child.wait().unwrap();
        let said = self.lines.lock().unwrap().iter().collect::<Vec<_>>().join("\n");
        (status.code(), said)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Ends programs and removes their folder when this process is gone, whichever way it went: what a `static` holds
/// is never dropped. The guard notices by the end of its input, which is this process's alone.
pub fn end_with_this_process(programs: impl IntoIterator<Item = u32>, folder: &Path) {
    static GUARDS: Mutex<Vec<Child>> = Mutex::new(Vec::new());
    let programs: Vec<_> = programs.into_iter().map(|id| id.to_string()).collect();
    // What ends the tests from a terminal must not end their guard first.
    let script = "trap '' HUP INT TERM; read -r _; folder=$1; shift; kill -KILL \"$@\"; rm -rf \"$folder\"";
    let mut guard = Command::new("sh");
    guard.args(["-c", script, "sh"]).arg(folder).args(programs);
    let guard = guard.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    GUARDS.lock().unwrap().push(guard);
}

/// Waits for something that programs do by themselves.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "it never came about: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits for something that has to be asked for, or that is done in this process.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    eventually(what, async || holds().await.then_some(())).await;
}

/// The same; what came of it in the end.
pub async fn eventually<T>(what: &str, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(came) = attempt().await {
            return came;
        }
        assert!(started.elapsed() < PATIENCE, "it never came about: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The ports that tests give to programs: below those that the system gives to connections, any of which might have one by
/// the time a program wants it.
const FIRST_PORT: u16 = 10_000;
const PORTS: u16 = 22_000;

/// A TCP port that nobody listens on, and that no other test of this process was given.
pub fn free_port() -> u16 {
    static NEXT: OnceLock<AtomicU16> = OnceLock::new();
    // Processes that test at the same time begin at different places.
    let next = NEXT.get_or_init(|| AtomicU16::new(u16::from_ne_bytes(counterfoil::secret::random_bytes())));
    let ports = std::iter::repeat_with(|| FIRST_PORT + next.fetch_add(1, Ordering::Relaxed) % PORTS);
    ports.take(PORTS.into()).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
}

/// Several such ports, each of them another.
pub fn free_ports<const COUNT: usize>() -> [u16; COUNT] {
    [(); COUNT].map(|()| free_port())
}
