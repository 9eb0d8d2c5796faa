//! What the broker of a test writes to its log, as long as everything runs on the test's own thread.

use std::io::Write;
use std::sync::{Arc, Mutex};

use tracing::subscriber::DefaultGuard;

/// The lines written since it was begun. Only for tests on a single thread, which is how `tokio::test` runs them.
pub struct CapturedLog {
    written: Arc<Mutex<Vec<u8>>>,
    _guard: DefaultGuard,
}

impl CapturedLog {
    /// Begins; everything from `level` on is kept.
    pub fn begin(level: tracing::Level) -> Self {
        let written = Arc::<Mutex<Vec<u8>>>::default();
        let kept = written.clone();
        let subscriber = tracing_subscriber::fmt().with_max_level(level).with_ansi(false);
        let guard = tracing::subscriber::set_default(subscriber.with_writer(move || Kept(kept.clone())).finish());
        Self { written, _guard: guard }
    }

    /// The lines that hold a text.
    pub fn lines_with(&self, text: &str) -> Vec<String> {
        let written = String::from_utf8(self.written.lock().unwrap().clone()).unwrap();
        written.lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
    }
}

struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
