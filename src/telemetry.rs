//! Logs: their destination, and the limits on their content.
//!
//! One line an event, to standard error. The level of the configuration applies to this crate; libraries
//! stay at `warn` whatever it is, because what they print at finer levels (header frames, commands) can hold
//! tokens and cookies (R-O01). Text that came from outside is written through [`Printable`](crate::printable::Printable) (R-O03).

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

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

/// Starts writing logs to `writer`. The first call of a process wins.
pub fn start<W>(settings: LogSettings, writer: W)
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let level = settings.level.as_str().to_ascii_lowercase();
    let filter = EnvFilter::new(format!("warn,counterfoil={level},audit=info"));
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_ansi(false);
    // A log that nobody reads any more is no reason for a panic, which complaining on standard error would be.
    let subscriber = subscriber.log_internal_errors(false);
    let started = match settings.format {
        LogFormat::Human => subscriber.try_init(),
        LogFormat::Json => {
            subscriber.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init()
        }
    };
    if started.is_err() {
        tracing::debug!("logs were started before");
    }
}
