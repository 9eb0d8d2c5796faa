//! Reading typed values out of TOML and environment, and remembering every fault on the way.
//!
//! serde's derive is not used: it stops at the first fault, and here all faults are reported together.

mod setting;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use toml::{Table, Value};

use self::setting::Setting;
use super::{Fault, Faults};
use crate::secret::Secret;

pub(super) use self::setting::ByteSize;

/// One table of the configuration; keys are taken out as they are read, and what is left over is unknown.
#[derive(Debug)]
pub(super) struct Reader {
    path: String,
    /// The path as variables write it, with numbers for the places in lists.
    origin: String,
    table: Table,
    shared: Rc<Shared>,
}

/// The state that the readers of all tables share.
#[derive(Debug, Default)]
struct Shared {
    faults: RefCell<Vec<Fault>>,
    /// Every key that was asked for.
    asked: RefCell<BTreeSet<String>>,
    /// The settings that the environment set.
    environment: BTreeSet<String>,
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
        let mut shared = Shared::default();
        for (path, value) in environment {
            let keys: Vec<_> = path.split("__").collect();
            shared.environment.insert(keys.join("."));
            if !lay_over(&mut table, &keys, value) {
                let problem = "the environment sets a section, or inside a value".to_owned();
                shared.faults.borrow_mut().push(Fault { key: keys.join("."), problem });
            }
        }
        Ok(Self { path: String::new(), origin: String::new(), table, shared: Rc::new(shared) })
    }

    /// Ends the reading of everything; a setting that was not read is unknown, which is a fault.
    pub(super) fn finish(mut self) -> Vec<Fault> {
        self.refuse_the_rest();
        let mut faults = std::mem::take(&mut *self.shared.faults.borrow_mut());
        faults.sort_by(|a, b| a.key.cmp(&b.key));
        faults.dedup();
        faults
    }

    /// Keys that were not read are somebody else's.
    pub(super) fn ignore_the_rest(&mut self) {
        self.table.clear();
    }

    /// The part that was not read yet, as it is written.
    pub(super) fn table(&self) -> &Table {
        &self.table
    }

    /// The same, to be completed before it is read.
    pub(super) fn table_mut(&mut self) -> &mut Table {
        &mut self.table
    }

    /// Every key that was asked for so far, in any table.
    pub(super) fn asked(&self) -> BTreeSet<String> {
        self.shared.asked.borrow().clone()
    }

    fn note_asked(&self, key: &str) {
        self.shared.asked.borrow_mut().insert(self.path_of(key));
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.note_asked(key);
        self.table.contains_key(key)
    }

    pub(super) fn fault(&self, key: &str, problem: impl Into<String>) {
        self.shared.faults.borrow_mut().push(Fault { key: self.path_of(key), problem: problem.into() });
    }

    /// A value, if it is there and right.
    pub(super) fn optional<T: Setting>(&mut self, key: &str) -> Option<T> {
        self.note_asked(key);
        let value = self.table.remove(key)?;
        if let Some(text) = value.as_str().filter(|text| T::IS_LIST && text.contains(','))
            && !self.shared.environment.contains(&joined(&self.origin, key))
        {
            // Only variables are lists by their commas: here it could be one name with a comma in it.
            let items: Vec<_> = text.split(',').map(|item| format!("\"{}\"", item.trim())).collect();
            let meant =
                if T::MAY_BE_SHOWN { format!("[{}]", items.join(", ")) } else { "[\"…\", \"…\"]".to_owned() };
            self.fault(key, format!("is one text with a comma in it; if a list is meant, write {meant}"));
            return None;
        }
        let read = T::read(&value);
        if read.is_none() {
            self.fault(key, T::fault(&value).unwrap_or_else(|| format!("must be {}", T::WHAT)));
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

    /// The content of a file that a key names.
    pub(super) fn file(&mut self, key: &str) -> Option<String> {
        let path = self.optional::<String>(key)?;
        let read = std::fs::read_to_string(&path);
        read.map_err(|error| self.fault(key, format!("{path} cannot be read: {error}"))).ok()
    }

    /// A section; an empty one if it is not there. Its unknown keys are faults as soon as it is dropped.
    pub(super) fn section(&mut self, key: &str) -> Self {
        self.note_asked(key);
        let table = match self.table.remove(key) {
            None => Table::new(),
            Some(Value::Table(table)) => table,
            Some(_) => {
                self.fault(key, "must be a section");
                Table::new()
            }
        };
        self.below(key, key, table)
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
        self.note_asked(key);
        let in_order = |items: Vec<Value>| items.into_iter().enumerate().map(|(place, item)| (place.to_string(), item));
        let tables: Vec<(String, Value)> = match self.table.remove(key) {
            None => Vec::new(),
            Some(Value::Array(items)) => in_order(items).collect(),
            // Made by the environment alone: numbered keys.
            Some(Value::Table(numbered)) => {
                let mut numbered: Vec<_> = numbered.into_iter().collect();
                numbered.sort_by_key(|(number, _)| number.parse::<u32>().unwrap_or(u32::MAX));
                numbered
            }
            Some(other) => in_order(vec![other]).collect(),
        };
        let section = |(index, (number, item)): (usize, (String, Value))| {
            let Value::Table(table) = item else {
                self.fault(key, format!("must be a list of sections: [[{key}]]"));
                return None;
            };
            Some(self.below(&format!("{key}[{index}]"), &format!("{key}.{number}"), table))
        };
        tables.into_iter().enumerate().filter_map(section).collect()
    }

    fn below(&self, key: &str, origin: &str, table: Table) -> Self {
        let (path, origin) = (self.path_of(key), joined(&self.origin, origin));
        Self { path, origin, table, shared: self.shared.clone() }
    }

    fn path_of(&self, key: &str) -> String {
        joined(&self.path, key)
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

fn joined(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
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
