//! The fields of a log line for people: the message, then `name=value` for each.
//!
//! Lines look as the library's own do without colours. That paints each name all the same, in no colour, which costs
//! as much as the rest of a line of the access log.

use std::fmt::{self, Debug, Write};

use counterfoil_core::printable::is_unprintable;
use tracing::field::{Field, Visit};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::Writer;

/// Writes the fields of events and spans.
#[derive(Debug, Clone, Copy)]
pub(super) struct PlainFields;

impl<'writer> FormatFields<'writer> for PlainFields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut line = Line { writer, is_begun: false, written: Ok(()) };
        fields.record(&mut line);
        line.written
    }
}

struct Line<'writer> {
    writer: Writer<'writer>,
    is_begun: bool,
    written: fmt::Result,
}

impl Line<'_> {
    fn write(&mut self, field: &Field, value: &dyn Debug) -> fmt::Result {
        if std::mem::replace(&mut self.is_begun, true) {
            self.writer.write_char(' ')?;
        }
        // Of libraries too, whose texts are not written by us (R-O03).
        let mut escaped = Escaped(&mut self.writer);
        match field.name() {
            "message" => write!(escaped, "{value:?}"),
            name => {
                escaped.write_str(name.strip_prefix("r#").unwrap_or(name))?;
                write!(escaped, "={value:?}")
            }
        }
    }
}

/// Writes control characters and marks of direction as what they are called, so that no text moves the cursor, begins a line
/// or turns one around.
struct Escaped<'line, 'writer>(&'line mut Writer<'writer>);

impl fmt::Write for Escaped<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for piece in text.split_inclusive(is_unprintable) {
            match piece.chars().next_back().filter(|last| is_unprintable(*last)) {
                Some(control) => {
                    self.0.write_str(&piece[..piece.len() - control.len_utf8()])?;
                    write!(self.0, "{}", control.escape_default())?;
                }
                None => self.0.write_str(piece)?,
            }
        }
        Ok(())
    }
}

impl Visit for Line<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Events of the crate `log` say their target so, which stands before the fields.
        if self.written.is_ok() && !field.name().starts_with("log.") {
            self.written = self.write(field, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Written {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    fn logged(log: impl Fn(), subscriber: impl Fn(Written) -> tracing::Dispatch) -> String {
        let written = Written::default();
        tracing::dispatcher::with_default(&subscriber(written.clone()), log);
        let bytes = written.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_line_reads_as_the_librarys_own() {
        let log = || {
            let _in_span = tracing::info_span!("request", id = "x-1").entered();
            tracing::info!(r#type = "a \"b\"", status = 200, none = None::<u64>, path = %"/a b", ended = ?Some(1), "answered");
            tracing::info!("nothing \"else\" \\");
            tracing::info!(only = true);
        };
        let lines = |written| tracing_subscriber::fmt().without_time().with_ansi(false).with_writer(written);
        let ours = logged(log, |written| lines(written).fmt_fields(PlainFields).finish().into());
        assert_eq!(ours, logged(log, |written| lines(written).finish().into()));
        assert!(
            ours.contains("request{id=\"x-1\"}") && ours.contains("answered type=\"a \\\"b\\\"\" status=200"),
            "{ours}"
        );
    }

    /// R-O03
    #[test]
    fn no_text_moves_the_cursor_or_begins_a_line() {
        let hostile = "\u{1b}[2Jgone\nINFO forged \u{202e}";
        let plain = |written| tracing_subscriber::fmt().fmt_fields(PlainFields).with_ansi(false).with_writer(written);
        for log in [&(|| tracing::info!("{hostile}")) as &dyn Fn(), &|| tracing::info!(text = %hostile, "said")] {
            let line = logged(log, |written| plain(written).finish().into());
            assert_eq!(line.lines().count(), 1, "{line}");
            assert!(!line.contains('\u{1b}') && line.contains("\\u{1b}[2Jgone\\nINFO forged \\u{202e}"), "{line}");
        }
    }
}
