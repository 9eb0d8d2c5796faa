//! Logs: their destination, and the limits on their content.
//!
//! One line an event, to standard error; of a server by a thread of its own ([`LogThread`]), so that no request waits
//! for a slow reader. The level of the configuration applies to this crate; libraries stay at `warn` whatever it is,
//! because what they print at finer levels (header frames, commands) can hold tokens and cookies (R-O01). Text that
//! came from outside is written through [`Printable`](crate::printable::Printable) (R-O03).

mod fields;

use std::io::{self, BufWriter, Write};
use std::time::Duration;

use tracing::Metadata;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use self::fields::PlainFields;

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// Lines for people at a terminal.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

/// The `[log]` section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSettings {
    /// The format of lines.
    pub format: LogFormat,
    /// The finest level of this crate's own events.
    pub level: tracing::Level,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { format: LogFormat::Human, level: tracing::Level::INFO }
    }
}

/// Most lines that wait to be written: at a few hundred bytes each some ten megabytes. Beyond, lines are dropped and
/// counted, since the reader of the log may be slow, or hang.
const QUEUE: usize = 32 * 1024;
/// The target of audit events.
const AUDIT: &str = "audit";
/// Time between two reports of lines that were dropped.
const REPORT_INTERVAL: Duration = Duration::from_secs(10);

/// A thread that writes the log. Dropping it writes all that was logged until then, for a second at most; so it has to
/// outlive whatever logs.
#[derive(Debug, Default)]
#[must_use = "dropping it ends the log"]
pub struct LogThread(Option<([WorkerGuard; 2], Dropped)>);

impl LogThread {
    /// Starts writing logs to standard error, in a Tokio runtime. The first call of a process wins.
    pub fn start(&mut self, settings: LogSettings) {
        let (lines, worker) = queue(QUEUE, true, WholeLines(io::stderr()));
        let (audit, audit_worker) = queue(QUEUE, false, WholeLines(io::stderr()));
        let dropped = Dropped { counter: lines.error_counter(), reported: 0 };
        start(settings, Queues { lines, audit });
        let mut reports = dropped.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(REPORT_INTERVAL).await;
                reports.report();
            }
        });
        self.0 = Some(([worker, audit_worker], dropped));
    }
}

impl Drop for LogThread {
    fn drop(&mut self) {
        if let Some((_workers, dropped)) = &mut self.0 {
            dropped.report();
        }
    }
}

/// The queue of audit events, which are never dropped: the writer waits for room; and the queue of everything else.
struct Queues {
    lines: NonBlocking,
    audit: NonBlocking,
}

impl<'writer> MakeWriter<'writer> for Queues {
    type Writer = NonBlocking;

    fn make_writer(&'writer self) -> NonBlocking {
        self.lines.clone()
    }

    fn make_writer_for(&'writer self, metadata: &Metadata<'_>) -> NonBlocking {
        if metadata.target() == AUDIT { self.audit.clone() } else { self.lines.clone() }
    }
}

/// A writer that two threads may use: it writes all that it is given before the other writes.
struct WholeLines(io::Stderr);

impl Write for WholeLines {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        self.0.lock().write_all(lines)?;
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// A bounded queue of lines in front of a writer, which is given as many at once as wait.
fn queue(lines: usize, is_lossy: bool, writer: impl Write + Send + 'static) -> (NonBlocking, WorkerGuard) {
    let builder = NonBlockingBuilder::default().lossy(is_lossy).buffered_lines_limit(lines).thread_name("log");
    builder.finish(BufWriter::new(writer))
}

/// The lines that found no place in the queue.
#[derive(Debug, Clone)]
struct Dropped {
    counter: ErrorCounter,
    reported: usize,
}

impl Dropped {
    /// Says how many there are, if there are more than at the last time.
    fn report(&mut self) {
        let all = self.counter.dropped_lines();
        if all > self.reported {
            self.reported = all;
            tracing::warn!(lines = all, "lines of the log were dropped since the start: whoever reads it is too slow");
        }
    }
}

/// Starts writing logs to `writer`. The first call of a process wins.
pub fn start<W>(settings: LogSettings, writer: W)
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let level = settings.level.as_str().to_ascii_lowercase();
    let filter = EnvFilter::new(format!("warn,counterfoil={level},audit=info"));
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_ansi(false);
    // A closed standard error must not cause a panic, which reporting it there would.
    let subscriber = subscriber.log_internal_errors(false);
    let started = match settings.format {
        LogFormat::Human => subscriber.fmt_fields(PlainFields).try_init(),
        LogFormat::Json => {
            subscriber.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init()
        }
    };
    if started.is_err() {
        tracing::debug!("logs were started before");
    }
}

#[cfg(test)]
mod tests {

    use std::sync::mpsc::{Receiver, channel};
    use std::sync::{Arc, Mutex};

    use super::*;

    /// A writer that takes nothing until it is told to.
    struct Stalled {
        goes_on: Receiver<()>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Stalled {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // Once for all: the other end is dropped then.
            let _ = self.goes_on.recv();
            self.written.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// No writer waits for a log that nobody reads; dropped lines are counted, and the rest is written in order.
    #[test]
    fn a_log_that_nobody_reads_holds_up_nobody_and_counts_what_it_drops() {
        let (go_on, goes_on) = channel();
        let written = Arc::new(Mutex::new(Vec::new()));
        let (mut lines, worker) = queue(100, true, Stalled { goes_on, written: written.clone() });
        for line in 0..10_000 {
            lines.write_all(format!("{line:04} {}\n", "x".repeat(200)).as_bytes()).unwrap();
        }
        let dropped = lines.error_counter().dropped_lines();
        drop(go_on);
        drop(worker);
        let written = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        let numbers: Vec<usize> = written.lines().map(|line| line[..4].parse().unwrap()).collect();
        assert!(dropped > 0 && numbers.is_sorted(), "{dropped} dropped, {numbers:?}");
        assert_eq!(numbers.len() + dropped, 10_000);
    }
}
