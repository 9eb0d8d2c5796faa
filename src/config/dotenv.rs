//! `.env` files: `NAME=value` lines, and nothing clever.
//!
//! No library is used: the usual one substitutes `$name`, which changes passwords, and repeats the line it cannot read,
//! which shows them. Here a value is taken literally, without the quotes around it.

use std::collections::BTreeMap;

use super::Fault;

/// Reads a file's lines; lines that are no assignment are faults, named by number alone.
pub(super) fn read(text: &str) -> (BTreeMap<String, String>, Vec<Fault>) {
    let (mut variables, mut faults) = (BTreeMap::new(), Vec::new());
    // Some editors begin a file with a byte order mark.
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match assignment(line) {
            Some((name, value)) => _ = variables.insert(name.to_owned(), value.to_owned()),
            None => faults.push(Fault {
                key: format!(".env line {}", index + 1),
                problem: "must be NAME=value; quotes around a value must be closed".into(),
            }),
        }
    }
    (variables, faults)
}

fn assignment(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.strip_prefix("export ").unwrap_or(line).split_once('=')?;
    let name = name.trim_end();
    // The names of providers may have a hyphen.
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    let value = value.trim_start();
    let value = match value.chars().next() {
        Some(quote @ ('"' | '\'')) => value[1..].strip_suffix(quote)?,
        _ => value,
    };
    is_name.then_some((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_what_stands_there() {
        let (variables, faults) =
            read("\u{feff}A=pa$word#1\n# note\n\nexport B = \"two words\"\nC='it\"s'\nD=a=b\nE-F=\n");
        assert!(faults.is_empty());
        let pairs: Vec<_> = variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(pairs, [("A", "pa$word#1"), ("B", "two words"), ("C", "it\"s"), ("D", "a=b"), ("E-F", "")]);
    }

    /// R-O01: a fault names the line and shows nothing of it.
    #[test]
    fn lines_that_cannot_be_read_are_named_by_number() {
        let (_, faults) = read("A=1\nCANARY\nB=\"CANARY\n=CANARY\nC D=CANARY");
        let text = format!("{faults:?}");
        assert_eq!(
            faults.iter().map(|fault| fault.key.as_str()).collect::<Vec<_>>(),
            [".env line 2", ".env line 3", ".env line 4", ".env line 5"]
        );
        assert!(!text.contains("CANARY"));
    }
}
