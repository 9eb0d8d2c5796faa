//! Logs: where they go, what they may say.
//!
//! One line an event, to standard error. The level of the configuration applies to this crate; libraries
//! stay at `warn` whatever it is, because what they print at finer levels (header frames, commands) can hold
//! tokens and cookies (R-O01). Text that came from outside is written through [`Printable`] (R-O03).

use std::fmt::{self, Write};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people at a terminal.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

/// The `[log]` section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSettings {
    /// How lines look.
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

/// Text from outside, written so that it can neither break a line, nor colour a terminal, nor turn around
/// what is written after it.
#[derive(Debug, Clone, Copy)]
pub struct Printable<'a>(pub &'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Longest text of a field; what is longer is cut.
        const LONGEST: usize = 1024;
        for character in self.0.chars().take(LONGEST) {
            if is_unprintable(character) || matches!(character, '"' | '\\') {
                write!(formatter, "{}", character.escape_unicode())?;
            } else {
                formatter.write_char(character)?;
            }
        }
        Ok(())
    }
}

/// Whether a character may break a line, colour a terminal or turn around what is written after it.
pub fn is_unprintable(character: char) -> bool {
    character.is_control() || is_invisible(character)
}

/// Direction marks and other characters without a glyph of their own.
fn is_invisible(character: char) -> bool {
    matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R-O03
    #[test]
    fn text_from_outside_cannot_forge_a_line_or_turn_it_around() {
        let hostile = "a\r\nlevel=error \u{1b}[31m \u{202e} \"x\"";
        let printed = Printable(hostile).to_string();
        assert!(
            printed.chars().all(|character| !character.is_control() && character != '\u{202e}' && character != '"')
        );
        assert_eq!(Printable("Alice 김 <a@b>").to_string(), "Alice 김 <a@b>");
    }
}
