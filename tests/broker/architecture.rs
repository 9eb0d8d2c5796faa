//! The architecture's rules, checked on the source.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The rows of the broker's own package. What lies below them are crates, whose edges the compiler keeps.
const ROWS: [&[&str]; 7] = [
    &["telemetry"],
    &["web"],
    &["revalidation", "administration"],
    &["login", "logout", "account", "api"],
    &["routes", "respond", "config"],
    &["app"],
    &["main", "cli", "lib"],
];

/// The folders and files of the OpenID Connect crate, from the ground up.
const OIDC_ROWS: [&[&str]; 9] = [
    &["answer"],
    &["verification"],
    &["client"],
    &["discovery"],
    &["login", "tokens", "notices", "providers"],
    &["claims"],
    &["error"],
    &["provider"],
    &["lib", "parsers"],
];

/// The crates below the broker, and which of them each may name. Those without a folder are to come.
const CRATES: [(&str, &[&str]); 9] = [
    ("core", &[]),
    ("session", &["core"]),
    ("oidc", &["core"]),
    ("demo", &["core"]),
    ("session-redis", &["core", "session"]),
    ("session-sqlite", &["core", "session"]),
    ("session-postgres", &["core", "session"]),
    ("guard", &["core", "session"]),
    ("proxy", &["core", "session", "guard"]),
];

/// The files of `core`: whatever belongs to one part only has its place there.
const CORE: [&str; 11] = [
    "address.rs",
    "backoff.rs",
    "clock.rs",
    "identity.rs",
    "lib.rs",
    "lock.rs",
    "log_on_change.rs",
    "printable.rs",
    "secret.rs",
    "secret/keyring.rs",
    "unix_millis.rs",
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

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn source() -> PathBuf {
    root().join("src")
}

/// Every Rust file of the product: the broker's own and its crates'.
fn product() -> Vec<PathBuf> {
    let mut all = files(&source());
    for (name, _) in CRATES {
        let folder = root().join("crates").join(name).join("src");
        all.extend(if folder.exists() { files(&folder) } else { Vec::new() });
    }
    all
}

/// The name of the module below a crate's root that a file belongs to.
fn room(source: &Path, file: &Path) -> String {
    let inside = file.strip_prefix(source).unwrap();
    inside.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs").to_owned()
}

/// A file up to its tests; what else is there for tests alone counts.
fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests").next().unwrap()
}

/// A file's code without its comments and its tests.
fn production(file: &Path) -> String {
    let text = std::fs::read_to_string(file).unwrap();
    without_tests(&text).lines().map(|line| line.split("//").next().unwrap()).collect::<Vec<_>>().join("\n")
}

/// The uses of a crate's modules by one another that do not go down.
fn offences(source: &Path, rows: &[&[&str]]) -> Vec<String> {
    let row: BTreeMap<_, _> =
        rows.iter().enumerate().flat_map(|(row, rooms)| rooms.iter().map(move |room| (*room, row))).collect();
    let mut offences = Vec::new();
    for file in files(source) {
        let own = room(source, &file);
        let own_row = row.get(own.as_str()).unwrap_or_else(|| panic!("{own} has no row"));
        for rest in production(&file).split("crate::").skip(1) {
            let used =
                rest.split(|character: char| !character.is_ascii_alphanumeric() && character != '_').next().unwrap();
            let Some(used_row) = row.get(used) else { continue };
            if used != own && used_row >= own_row {
                offences.push(format!("{} uses {used}", file.display()));
            }
        }
    }
    offences
}

/// A module uses only rows below its own, and of its own row nobody but itself.
#[test]
fn no_module_looks_up_or_sideways() {
    let offences = offences(&source(), &ROWS);
    assert!(offences.is_empty(), "{offences:#?}");
}

/// The same within the OpenID Connect crate, where files have no cyclic dependencies either.
#[test]
fn no_file_of_the_openid_connect_crate_looks_up_or_runs_in_circles() {
    let source = root().join("crates/oidc/src");
    let offences = offences(&source, &OIDC_ROWS);
    assert!(offences.is_empty(), "{offences:#?}");
    let mut uses: BTreeMap<PathBuf, Vec<PathBuf>> = BTreeMap::new();
    for file in files(&source) {
        let code = production(&file);
        assert!(!code.contains("super::"), "{}: paths begin at the crate", file.display());
        let named = code.split("crate::").skip(1).flat_map(|rest| used_files(&source, rest));
        uses.insert(file.clone(), named.filter(|other| *other != file).collect());
    }
    assert!(uses.values().map(Vec::len).sum::<usize>() > 200, "the paths are read");
    // Files that use none of the remaining ones are removed until only cycles remain.
    while let Some(free) = uses.iter().find(|(_, others)| !others.iter().any(|other| uses.contains_key(other))) {
        let free = free.0.clone();
        uses.remove(&free);
    }
    assert!(uses.is_empty(), "{uses:#?}");
}

/// The files that a path below `crate::` leads to, which may end in a list.
fn used_files(source: &Path, path: &str) -> Vec<PathBuf> {
    let is_path = |character: char| character.is_ascii_alphanumeric() || character == '_' || character == ':';
    let (path, rest) = path.split_at(path.find(|character| !is_path(character)).unwrap_or(path.len()));
    let listed = match rest.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
        Some((names, _)) => names.split(',').map(|name| format!("{path}{}", name.trim())).collect(),
        None => vec![path.to_owned()],
    };
    let file_of = |path: &String| {
        let mut folder = source.to_path_buf();
        let mut file = None;
        for name in path.split("::") {
            let candidate = folder.join(format!("{name}.rs"));
            if !candidate.exists() {
                break;
            }
            (folder, file) = (folder.join(name), Some(candidate));
        }
        file
    };
    listed.iter().filter_map(file_of).collect()
}

/// Each crate names only those below it, by its manifest, and there is none that this list does not know.
#[test]
fn no_crate_names_one_that_it_must_not_know() {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root().join("crates")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let (_, may_name) = CRATES.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("{name}"));
        let manifest = std::fs::read_to_string(root().join("crates").join(&name).join("Cargo.toml")).unwrap();
        // An example in its documentation may bring a store along.
        let manifest_of_the_product = manifest.split("[dev-dependencies]").next().unwrap();
        let named = manifest_of_the_product
            .lines()
            .filter_map(|line| line.strip_prefix("counterfoil-")?.split(['.', ' ', '=']).next());
        for named in named {
            assert!(may_name.contains(&named), "{name} names {named}");
        }
        assert!(manifest.contains("[lints]\nworkspace = true"), "{name} has lints of its own");
        found.push(name);
    }
    assert!(found.len() >= 4, "{found:?}");
}

#[test]
fn core_is_no_drawer() {
    let folder = root().join("crates/core/src");
    let mut found: Vec<_> =
        files(&folder).iter().map(|file| file.strip_prefix(&folder).unwrap().to_str().unwrap().to_owned()).collect();
    found.sort_unstable();
    assert_eq!(found, CORE);
    let lines: usize = files(&folder).iter().map(|file| std::fs::read_to_string(file).unwrap().lines().count()).sum();
    assert!(lines < 1_000, "{lines} lines");
}

#[test]
fn there_are_no_drawers_and_no_endless_files() {
    for file in product() {
        let name = file.file_stem().unwrap().to_str().unwrap();
        assert!(!["mod", "utils", "helpers", "common", "types", "misc"].contains(&name), "{}", file.display());
        let text = std::fs::read_to_string(&file).unwrap();
        let lines = without_tests(&text).lines().count();
        assert!(lines <= 400, "{} has {lines} lines without tests", file.display());
        assert!(text.starts_with("//!"), "{} does not say what it owns", file.display());
    }
}

/// A comment's first sentence says what a thing is or does.
#[test]
fn no_comment_opens_with_a_question() {
    let opens = |line: &str| {
        let text = line.trim_start().trim_start_matches(['/', '!']);
        let comment = line.trim_start().starts_with("///") || line.trim_start().starts_with("//!");
        comment && [" What ", " Whether ", " Who ", " How ", " Why "].iter().any(|word| text.starts_with(word))
    };
    for file in product() {
        let text = std::fs::read_to_string(&file).unwrap();
        for (number, line) in text.lines().enumerate() {
            assert!(!opens(line), "{}:{}: {line}", file.display(), number + 1);
        }
    }
}

/// `tests/REQUIREMENTS.md` names tests that exist.
#[test]
fn the_table_of_requirements_is_true() {
    let root = root();
    let table = std::fs::read_to_string(root.join("tests/REQUIREMENTS.md")).unwrap();
    let mut sources = String::new();
    for folder in ["src", "tests", "crates"] {
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
