//! Reading typed values out of TOML and environment, and remembering every fault on the way.
//!
//! Why not serde's derive: it stops at the first fault, and operators deserve them all.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use ipnet::IpNet;
use toml::{Table, Value};
use url::Url;

use super::{Fault, Faults};
use crate::secret::Secret;

/// One table of the configuration; keys are taken out as they are read, and what is left over is unknown.
#[derive(Debug)]
pub(super) struct Reader {
    path: String,
    table: Table,
    faults: Rc<RefCell<Vec<Fault>>>,
}

impl Reader {
    /// The whole configuration: the file with the environment laid over it.
    pub(super) fn new<'a>(
        file: Option<&str>,
        environment: impl Iterator<Item = (String, &'a str)>,
    ) -> Result<Self, Faults> {
        let mut table = match file.unwrap_or_default().parse::<Table>() {
            Ok(table) => table,
            // The message shows no line of the file: it might hold a secret.
            Err(error) => {
                let line = error.span().and_then(|span| Some(file?.get(..span.start)?.matches('\n').count() + 1));
                let place = line.map_or_else(String::new, |line| format!(" (line {line})"));
                let problem = format!("not TOML: {}{place}", error.message());
                return Err(Faults(vec![Fault { key: "configuration file".into(), problem }]));
            }
        };
        let faults = Rc::new(RefCell::new(Vec::new()));
        for (path, value) in environment {
            let keys: Vec<_> = path.split("__").collect();
            if !lay_over(&mut table, &keys, value) {
                let problem = "the environment sets a section, or inside a value".to_owned();
                faults.borrow_mut().push(Fault { key: keys.join("."), problem });
            }
        }
        Ok(Self { path: String::new(), table, faults })
    }

    /// Whatever was not read is unknown; ends the reading of everything.
    pub(super) fn finish(mut self) -> Vec<Fault> {
        self.refuse_the_rest();
        let mut faults = std::mem::take(&mut *self.faults.borrow_mut());
        faults.sort_by(|a, b| a.key.cmp(&b.key));
        faults.dedup();
        faults
    }

    /// Keys that were not read are somebody else's.
    pub(super) fn ignore_the_rest(&mut self) {
        self.table.clear();
    }

    /// What was not read yet, as it is written.
    pub(super) fn table(&self) -> &Table {
        &self.table
    }

    /// The same, to be completed before it is read.
    pub(super) fn table_mut(&mut self) -> &mut Table {
        &mut self.table
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    pub(super) fn fault(&self, key: &str, problem: impl Into<String>) {
        self.faults.borrow_mut().push(Fault { key: self.path_of(key), problem: problem.into() });
    }

    /// A value, if it is there and right.
    pub(super) fn optional<T: Setting>(&mut self, key: &str) -> Option<T> {
        let value = self.table.remove(key)?;
        let read = T::read(&value);
        if read.is_none() {
            self.fault(key, format!("must be {}", T::WHAT));
        }
        read
    }

    /// A value, or its default.
    pub(super) fn or<T: Setting>(&mut self, key: &str, default: T) -> T {
        self.optional(key).unwrap_or(default)
    }

    /// A value that must be there.
    pub(super) fn required<T: Setting>(&mut self, key: &str) -> Option<T> {
        if !self.has(key) {
            self.fault(key, format!("is missing: {}", T::WHAT));
        }
        self.optional(key)
    }

    /// A value that must be there and pass a further check.
    pub(super) fn checked<T: Setting, U, E: std::fmt::Display>(
        &mut self,
        key: &str,
        check: impl FnOnce(&T) -> Result<U, E>,
    ) -> Option<U> {
        let value = self.required::<T>(key)?;
        check(&value).map_err(|error| self.fault(key, error.to_string())).ok()
    }

    /// A secret: under its name, or in the file that `<name>_file` names.
    pub(super) fn secret(&mut self, key: &str) -> Option<Secret<String>> {
        let in_file = format!("{key}_file");
        let value = self.optional::<String>(key);
        let Some(path) = self.optional::<String>(&in_file) else { return value.map(Secret::new) };
        if value.is_some() {
            self.fault(key, format!("is given twice: here and by `{in_file}`"));
            return None;
        }
        match std::fs::read_to_string(&path) {
            Ok(text) => Some(Secret::new(text.trim_end_matches(['\r', '\n']).to_owned())),
            Err(error) => {
                self.fault(&in_file, format!("{path} cannot be read: {error}"));
                None
            }
        }
    }

    /// A section; an empty one if it is not there. Its unknown keys are faults as soon as it is dropped.
    pub(super) fn section(&mut self, key: &str) -> Self {
        let table = match self.table.remove(key) {
            None => Table::new(),
            Some(Value::Table(table)) => table,
            Some(_) => {
                self.fault(key, "must be a section");
                Table::new()
            }
        };
        self.below(key, table)
    }

    /// The names of the sections of a section.
    pub(super) fn names_in(&self, key: &str) -> Vec<String> {
        self.table.get(key).and_then(Value::as_table).map(|table| table.keys().cloned().collect()).unwrap_or_default()
    }

    /// The sections of a section, by name.
    pub(super) fn named_sections(&mut self, key: &str) -> Vec<(String, Self)> {
        let mut parent = self.section(key);
        let names: Vec<_> = parent.table.keys().cloned().collect();
        names.into_iter().map(|name| (name.clone(), parent.section(&name))).collect()
    }

    /// A list of sections (`[[key]]`).
    pub(super) fn listed_sections(&mut self, key: &str) -> Vec<Self> {
        let tables = match self.table.remove(key) {
            None => Vec::new(),
            Some(Value::Array(items)) => items,
            // Made by the environment alone: numbered keys.
            Some(Value::Table(numbered)) => {
                let mut numbered: Vec<_> = numbered.into_iter().collect();
                numbered.sort_by_key(|(number, _)| number.parse::<u32>().unwrap_or(u32::MAX));
                numbered.into_iter().map(|(_, item)| item).collect()
            }
            Some(other) => vec![other],
        };
        let section = |(index, item)| {
            let Value::Table(table) = item else {
                self.fault(key, format!("must be a list of sections: [[{key}]]"));
                return None;
            };
            Some(self.below(&format!("{key}[{index}]"), table))
        };
        tables.into_iter().enumerate().filter_map(section).collect()
    }

    fn below(&self, key: &str, table: Table) -> Self {
        Self { path: self.path_of(key), table, faults: self.faults.clone() }
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn refuse_the_rest(&mut self) {
        for key in std::mem::take(&mut self.table).keys() {
            self.fault(key, "is unknown");
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.refuse_the_rest();
    }
}

/// Puts a variable's value where its path says; `false` if something else stands in the way.
fn lay_over(table: &mut Table, keys: &[&str], value: &str) -> bool {
    let Some((first, rest)) = keys.split_first() else { return false };
    if rest.is_empty() {
        let replaced = table.insert((*first).to_owned(), Value::String(value.to_owned()));
        return !matches!(replaced, Some(Value::Table(_)));
    }
    let next = table.entry(*first).or_insert_with(|| Value::Table(Table::new()));
    match next {
        Value::Table(next) => lay_over(next, rest, value),
        Value::Array(items) => {
            let Some(index) = rest[0].parse::<usize>().ok().filter(|index| *index <= items.len()) else { return false };
            if index == items.len() {
                items.push(Value::Table(Table::new()));
            }
            match &mut items[index] {
                Value::Table(item) => lay_over(item, &rest[1..], value),
                _ => false,
            }
        }
        _ => false,
    }
}

/// A type that settings can have. From the environment everything comes as text.
pub(super) trait Setting: Sized {
    /// What is expected, in words.
    const WHAT: &'static str;

    fn read(value: &Value) -> Option<Self>;
}

impl Setting for String {
    const WHAT: &'static str = "a text";

    fn read(value: &Value) -> Option<Self> {
        value.as_str().map(str::to_owned)
    }
}

impl Setting for bool {
    const WHAT: &'static str = "true or false";

    fn read(value: &Value) -> Option<Self> {
        value.as_bool().or_else(|| value.as_str()?.parse().ok())
    }
}

impl Setting for u64 {
    const WHAT: &'static str = "a whole number";

    fn read(value: &Value) -> Option<Self> {
        value.as_integer().and_then(|number| number.try_into().ok()).or_else(|| value.as_str()?.parse().ok())
    }
}

impl Setting for usize {
    const WHAT: &'static str = u64::WHAT;

    fn read(value: &Value) -> Option<Self> {
        u64::read(value)?.try_into().ok()
    }
}

/// A number of bytes, written with a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ByteSize(pub(super) u64);

impl Setting for ByteSize {
    const WHAT: &'static str = "a size such as 512B, 1KiB, 10MiB or 1GiB";

    fn read(value: &Value) -> Option<Self> {
        let text = value.as_str()?;
        let (number, unit) = text.split_at(text.find(|character: char| !character.is_ascii_digit())?);
        let unit = match unit.trim_start() {
            "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return None,
        };
        number.parse::<u64>().ok()?.checked_mul(unit).map(Self)
    }
}

impl Setting for Duration {
    const WHAT: &'static str = "a duration such as 90s, 15m, 12h or 7d";

    fn read(value: &Value) -> Option<Self> {
        humantime::parse_duration(value.as_str()?).ok()
    }
}

impl Setting for Url {
    const WHAT: &'static str = "an absolute URL";

    fn read(value: &Value) -> Option<Self> {
        Self::parse(value.as_str()?).ok()
    }
}

impl Setting for SocketAddr {
    const WHAT: &'static str = "an address and a port, such as 127.0.0.1:8080";

    fn read(value: &Value) -> Option<Self> {
        value.as_str()?.parse().ok()
    }
}

impl Setting for IpNet {
    const WHAT: &'static str = "a network such as 10.0.0.0/8, or an address";

    fn read(value: &Value) -> Option<Self> {
        let text = value.as_str()?;
        text.parse().ok().or_else(|| text.parse::<std::net::IpAddr>().ok().map(Self::from))
    }
}

impl<T: Setting> Setting for Vec<T> {
    const WHAT: &'static str = "a list (in the environment: separated by commas)";

    fn read(value: &Value) -> Option<Self> {
        match value {
            Value::Array(items) => items.iter().map(T::read).collect(),
            Value::String(text) => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                items.map(|item| T::read(&Value::String(item.to_owned()))).collect()
            }
            _ => None,
        }
    }
}
