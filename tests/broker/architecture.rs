//! The house's own rules, read off the source.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const ROWS: [&[&str]; 8] = [
    &["identity", "clock", "secret", "telemetry"],
    &["session", "idp"],
    &["web", "audit"],
    &["guard"],
    &["login", "logout", "account", "api", "proxy"],
    &["routes", "respond", "config"],
    &["app", "demo"],
    &["main", "cli", "lib"],
];

/// Every Rust file below a folder.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn room(file: &Path) -> String {
    let inside = file.strip_prefix(source()).unwrap();
    inside.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs").to_owned()
}

/// A module uses only rows below its own, and of its own row nobody but itself. `secret` and `telemetry` may be
/// used by everybody; within row 2, `audit` writes through nothing else of it.
#[test]
fn no_module_looks_up_or_sideways() {
    let row: BTreeMap<_, _> =
        ROWS.iter().enumerate().flat_map(|(row, rooms)| rooms.iter().map(move |room| (*room, row))).collect();
    let mut offences = Vec::new();
    for file in files(&source()) {
        let (own, text) = (room(&file), std::fs::read_to_string(&file).unwrap());
        let own_row = row.get(own.as_str()).unwrap_or_else(|| panic!("{own} has no row"));
        let production = text.split("#[cfg(test)]\nmod tests").next().unwrap();
        for rest in production.split("crate::").skip(1) {
            let used =
                rest.split(|character: char| !character.is_ascii_alphanumeric() && character != '_').next().unwrap();
            let Some(used_row) = row.get(used) else { continue };
            if used != own && used_row >= own_row {
                offences.push(format!("{} uses {used}", file.display()));
            }
        }
    }
    assert!(offences.is_empty(), "{offences:#?}");
}

#[test]
fn there_are_no_drawers_and_no_endless_files() {
    for file in files(&source()) {
        let name = file.file_stem().unwrap().to_str().unwrap();
        assert!(!["mod", "utils", "helpers", "common", "types", "misc"].contains(&name), "{}", file.display());
        let text = std::fs::read_to_string(&file).unwrap();
        let lines = text.split("#[cfg(test)]").next().unwrap().lines().count();
        assert!(lines <= 400, "{} has {lines} lines without tests", file.display());
        assert!(text.starts_with("//!"), "{} does not say what it owns", file.display());
    }
}

/// `tests/REQUIREMENTS.md` names tests that exist.
#[test]
fn the_table_of_requirements_is_true() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = std::fs::read_to_string(root.join("tests/REQUIREMENTS.md")).unwrap();
    let mut sources = String::new();
    for folder in ["src", "tests"] {
        for file in files(&root.join(folder)) {
            sources.push_str(&std::fs::read_to_string(file).unwrap());
        }
    }
    let mut named = 0;
    for word in table.split('`').skip(1).step_by(2) {
        if word.matches('_').count() >= 2 && !word.contains(['/', '.', '-', ' ', '=']) {
            named += 1;
            assert!(
                sources.contains(&format!("fn {word}(")) || sources.contains(&format!("    {word}\n")),
                "{word} is no test"
            );
        }
    }
    assert!(named > 60, "{named} tests are named");
}
