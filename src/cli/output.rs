//! The output of commands: lines on standard output, for the next program; words on standard error, for the person.
//!
//! `println!` is not used, since it panics when standard output is closed (`counterfoil check | head -1`), which is no
//! error; clippy forbids the macros in the commands.

use std::io::{ErrorKind, Write};

use serde_json::{Value, json};

use super::{CommandError, failed};
use crate::printable::Printable;

/// Writes a line of the command's result.
///
/// # Errors
/// [`CommandError::NobodyReads`] if the other end of the pipe was closed: the command may end, or go on in silence.
pub(super) fn say(line: &str) -> Result<(), CommandError> {
    let mut output = std::io::stdout();
    match writeln!(output, "{line}").and_then(|()| output.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(CommandError::NobodyReads),
        Err(error) => Err(failed(error)),
    }
}

/// Writes to standard error; a closed one is ignored.
pub(super) fn tell(words: &str) {
    let _ = writeln!(std::io::stderr(), "{words}");
}

/// Asks the person at the terminal something, on the same line as the answer.
pub(super) fn ask(question: &str) {
    let mut terminal = std::io::stderr();
    let _ = write!(terminal, "{question}").and_then(|()| terminal.flush());
}

/// Tells a person or a program why a command ended early.
pub(super) fn complain(error: &CommandError, json: bool) {
    if !json {
        return tell(&error.to_string());
    }
    let object = match error {
        CommandError::Configuration(faults) => {
            let faults: Vec<Value> =
                faults.0.iter().map(|fault| json!({ "key": fault.key, "problem": fault.problem })).collect();
            json!({ "error": "configuration", "faults": faults })
        }
        CommandError::Source(cause) => json!({ "error": "configuration", "message": cause.to_string() }),
        CommandError::Usage(message) => json!({ "error": "usage", "message": message }),
        CommandError::Failed(message) => json!({ "error": "failed", "message": message }),
        CommandError::Said | CommandError::NobodyReads => return,
    };
    tell(&object.to_string());
}

/// A column that is longer than this is cut.
const WIDEST: usize = 40;

/// Lines up a table's columns. The content of the cells is made printable.
pub(super) fn table<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> Vec<String> {
    let rows: Vec<[String; COLUMNS]> = rows.iter().map(|row| row.clone().map(|cell| cell_of(&cell))).collect();
    let mut widths = [0; COLUMNS];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(columns(cell));
        }
    }
    let line = |row: &[String; COLUMNS]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell}{}", " ".repeat(width - columns(cell))));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

fn cell_of(text: &str) -> String {
    let text = Printable(text).to_string();
    if text.is_empty() {
        return "-".to_owned();
    }
    if text.chars().count() <= WIDEST {
        return text;
    }
    text.chars().take(WIDEST - 1).chain(['…']).collect()
}

/// The number of columns of a terminal a text takes: Korean, Chinese and Japanese characters take two each.
fn columns(text: &str) -> usize {
    let is_wide = |character: char| {
        matches!(character, '\u{1100}'..='\u{115f}' | '\u{2e80}'..='\u{a4cf}' | '\u{ac00}'..='\u{d7a3}'
            | '\u{f900}'..='\u{faff}' | '\u{fe30}'..='\u{fe6f}' | '\u{ff00}'..='\u{ff60}' | '\u{ffe0}'..='\u{ffe6}'
            | '\u{1f300}'..='\u{1faff}' | '\u{20000}'..='\u{3fffd}')
    };
    text.chars().map(|character| if is_wide(character) { 2 } else { 1 }).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_whatever_stands_in_them() {
        let row = |person: &str, groups: &str, end: &str| [person, groups, end].map(str::to_owned);
        let lines = table(&[
            row("person", "groups", "ends"),
            row("김지수", "staff", "x"),
            row("Alice\u{1b}[31m", "", "x"),
            row("Bob", &"g".repeat(90), "x"),
        ]);
        let ends: Vec<_> = lines[1..].iter().map(|line| columns(line)).collect();
        assert!(ends.iter().all(|end| *end == ends[0]), "{lines:#?}");
        assert!(lines[2].contains("\\u{1b}[31m  -"), "{lines:#?}");
        assert!(lines[3].contains('…') && lines[0].starts_with("person  "), "{lines:#?}");
    }
}
