//! The documents are true: their links lead somewhere, the commands, keys, addresses, headers, codes and audit events that they
//! name exist, and those that exist are named.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::program::{Folder, counterfoil, run};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Every Markdown file of the repository.
fn pages() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() && !name.starts_with('.') && !["target", "node_modules"].contains(&name) {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    found
}

/// What operators read: the introduction and the reference.
fn manual() -> Vec<(String, String)> {
    let pages = pages().into_iter().map(|path| path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned());
    let pages = pages.filter(|name| name.starts_with("README") || name.starts_with("docs/"));
    pages.map(|name| (name.clone(), text(&name))).collect()
}

/// A page's lines outside of blocks of code, each with its number.
fn prose(page: &str) -> Vec<(usize, &str)> {
    let mut is_code = false;
    let mut lines = Vec::new();
    for (number, line) in page.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        } else if !is_code {
            lines.push((number + 1, line));
        }
    }
    lines
}

/// The blocks of code of a kind, without what their list indents them by.
fn blocks(page: &str, kind: &str) -> Vec<String> {
    let fence = format!("```{kind}\n");
    let blocks = page.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks.map(|block| block.lines().map(|line| line.trim_start().to_owned() + "\n").collect()).collect()
}

/// What stands in backquotes; nothing is quoted over the end of a paragraph.
fn spans(page: &str) -> Vec<String> {
    let lines: Vec<_> = prose(page).into_iter().map(|(_, line)| line).collect();
    let paragraphs = lines.split(|line| line.trim().is_empty()).map(|lines| lines.join(" "));
    paragraphs.flat_map(|text| text.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// The name by which GitHub links to a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|character| character.is_alphanumeric() || " -_".contains(*character));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

fn anchors(page: &str) -> BTreeSet<String> {
    let headings = prose(page).into_iter().filter_map(|(_, line)| line.strip_prefix('#'));
    headings.map(|heading| anchor(heading.trim_start_matches('#').trim())).collect()
}

#[test]
fn every_link_of_a_document_leads_somewhere() {
    let (mut followed, mut broken) = (0, Vec::new());
    for path in pages() {
        let page = std::fs::read_to_string(&path).unwrap();
        for (number, line) in prose(&page) {
            let without_code: String = line.split('`').step_by(2).collect();
            let targets = without_code.split("](").skip(1).map(|rest| rest.split(')').next().unwrap());
            for target in targets.filter(|target| !target.contains(':')) {
                followed += 1;
                let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
                let file = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
                let leads = match std::fs::read_to_string(&file) {
                    Ok(page) => anchor.is_empty() || anchors(&page).contains(anchor),
                    Err(_) => file.exists() && anchor.is_empty(),
                };
                if !leads {
                    broken.push(format!("{}:{number}: {target}", path.display()));
                }
            }
        }
    }
    assert!(followed > 60, "{followed} links");
    assert!(broken.is_empty(), "{broken:#?}");
}

/// Each command by its words, with its options; asked of the program itself.
fn commands() -> BTreeMap<String, BTreeSet<String>> {
    let folder = Folder::new();
    let (mut found, mut open) = (BTreeMap::new(), vec![Vec::new()]);
    while let Some(words) = open.pop() {
        let asked: Vec<_> = words.iter().map(String::as_str).chain(["--help"]).collect();
        let (code, said, _) = run(counterfoil(folder.path(), &asked));
        assert_eq!(code, Some(0), "{asked:?}");
        let first_words = |part: &str| {
            let lines = said.split_once(part).map_or("", |(_, rest)| rest.split("\n\n").next().unwrap()).lines();
            lines.map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect::<Vec<_>>()
        };
        for line in first_words("Commands:\n") {
            let name = line.split(' ').next().unwrap();
            if name != "help" {
                open.push(words.iter().cloned().chain([name.to_owned()]).collect());
            }
        }
        let options = first_words("Options:\n");
        let options = options.iter().filter_map(|line| Some(line.split_once("--")?.1.split(' ').next().unwrap()));
        let known = ["help", "version"];
        let options = options.filter(|name| !known.contains(name)).map(|name| format!("--{name}")).collect();
        found.insert(words.join(" "), options);
    }
    found
}

/// The words after `counterfoil` in a line of a terminal or a span: the command, and the options it is given.
fn as_command<'a>(words: &'a str, known: &BTreeMap<String, BTreeSet<String>>) -> Option<(String, Vec<&'a str>)> {
    let words: Vec<_> = words.split_whitespace().take_while(|word| !["|", "#", ">"].contains(word)).collect();
    let command =
        words.iter().copied().take_while(|word| known.keys().any(|name| name.split(' ').any(|part| part == *word)));
    let command = command.take(2).collect::<Vec<_>>().join(" ");
    let options = words.into_iter().filter(|word| word.starts_with("--")).map(|word| word.trim_end_matches('…'));
    (!command.is_empty()).then(|| (command, options.collect()))
}

#[test]
fn commands_and_options_of_the_documents_exist_and_all_of_them_are_documented() {
    let known = commands();
    assert!(known.len() > 10 && known["sessions revoke"].contains("--dry-run"), "{known:#?}");
    let options: BTreeSet<_> = known.values().flatten().map(String::as_str).collect();
    // Those of other programs.
    let others = ["--release", "--no-default-features", "--features", "--help"];
    let (mut named, mut wrong) = (0, Vec::new());
    for (name, page) in manual() {
        let blocks = ["sh", ""].map(|kind| blocks(&page, kind)).concat().concat();
        let lines = blocks.lines().filter_map(|line| line.trim_start_matches("$ ").strip_prefix("counterfoil "));
        let spans = spans(&page);
        let spans = spans.iter().map(|span| span.strip_prefix("counterfoil ").unwrap_or(span));
        for words in lines.chain(spans) {
            let Some((command, given)) = as_command(words, &known) else {
                let given = words.split(' ').next().filter(|word| word.starts_with("--"));
                wrong.extend(
                    given
                        .filter(|given| !options.contains(given) && !others.contains(given))
                        .map(|given| format!("{name}: {given}")),
                );
                continue;
            };
            named += 1;
            let Some(takes) = known.get(&command) else {
                wrong.push(format!("{name}: {command}"));
                continue;
            };
            let unknown = given.into_iter().filter(|option| !takes.contains(*option));
            wrong.extend(unknown.map(|option| format!("{name}: {command} {option}")));
        }
    }
    let reference = text("docs/commands.md");
    for (command, options) in &known {
        let is_group = known.keys().any(|other| other.starts_with(&format!("{command} "))) || command.is_empty();
        if !is_group && !reference.contains(&format!("| `counterfoil {command}")) {
            wrong.push(format!("docs/commands.md has no {command}"));
        }
        let missing = options.iter().filter(|option| !reference.contains(&format!("`{option}")));
        wrong.extend(missing.map(|option| format!("docs/commands.md has no {option}")));
    }
    assert!(named > 30, "{named} commands are named");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The cells of a table that begins with this line, row by row.
fn table(page: &str, head: &str) -> Vec<Vec<String>> {
    let rows = page.split_once(head).unwrap_or_else(|| panic!("no {head}")).1.lines().skip(2);
    let rows = rows.take_while(|line| line.starts_with('|'));
    rows.map(|row| row.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect()).collect()
}

/// What stands in backquotes in a cell.
fn quoted(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The names of keys in Redis; `…` stands for what differs.
pub fn keys_in_redis() -> Vec<String> {
    table(&text("docs/redis.md"), "| key | what |").iter().flat_map(|row| quoted(&row[0])).collect()
}

/// The example of an answer in JSON that begins with this member.
pub fn example_of_an_answer(member: &str) -> Value {
    let examples = blocks(&text("docs/addresses.md"), "json");
    let example = examples.iter().find(|example| example.starts_with(&format!("{{\"{member}\"")));
    serde_json::from_str(example.unwrap_or_else(|| panic!("no {member}"))).unwrap()
}

/// The names of an object's members, and of those of the objects in it.
pub fn members(answer: &Value) -> BTreeSet<String> {
    let named = |(name, value): (&String, &Value)| {
        let inside = members(value).into_iter().map(|inside| format!("{name}.{inside}")).collect::<Vec<_>>();
        [vec![name.clone()], inside].concat()
    };
    answer.as_object().into_iter().flatten().flat_map(named).collect()
}

/// Every event and every field of it, read out of the one list there is.
#[test]
fn the_table_of_audit_events_is_the_list_of_audit_events() {
    let source = text("crates/session/src/audit.rs");
    let list = source.split_once("\nevents! {").unwrap().1.split_once("\n}\n").unwrap().0;
    let (mut events, mut event) = (BTreeMap::<String, Vec<String>>::new(), String::new());
    for line in list.lines().filter(|line| !line.trim_start().starts_with("//")) {
        if let Some((_, name)) = line.split_once(" = \"") {
            event = name.split('"').next().unwrap().to_owned();
            events.insert(event.clone(), Vec::new());
        } else if let Some((field, _)) = line.split_once(": ") {
            events.get_mut(&event).unwrap().push(field.trim().to_owned());
        }
    }
    let rows = table(&text("docs/addresses.md"), "| `event` | | fields |");
    let documented: BTreeMap<_, _> = rows.iter().map(|row| (quoted(&row[0]).remove(0), quoted(&row[2]))).collect();
    assert!(events.len() > 15 && events["logged_out"] == ["session", "subject"], "{events:#?}");
    assert_eq!(documented, events);
}

/// Every code, with every status that it comes with.
#[test]
fn the_table_of_problem_codes_is_what_refusals_are_drawn_from() {
    let mut codes = BTreeMap::<String, BTreeSet<u16>>::new();
    let by_name = |name: &str| match name {
        "UNAUTHORIZED" => 401,
        "FORBIDDEN" => 403,
        "BAD_REQUEST" => 400,
        "NOT_FOUND" => 404,
        "METHOD_NOT_ALLOWED" => 405,
        "REQUEST_TIMEOUT" => 408,
        "PAYLOAD_TOO_LARGE" => 413,
        "INTERNAL_SERVER_ERROR" => 500,
        "BAD_GATEWAY" => 502,
        "SERVICE_UNAVAILABLE" => 503,
        "GATEWAY_TIMEOUT" => 504,
        other => panic!("{other}"),
    };
    for file in ["src/respond.rs", "crates/guard/src/refusal.rs", "crates/proxy/src/error.rs"] {
        let source = text(file);
        for line in source.split("#[cfg(test)]").next().unwrap().lines() {
            let Some((status, code)) = line.split_once("=> (").and_then(|(_, pair)| pair.split_once(", \"")) else {
                continue;
            };
            let status = match status.strip_prefix("StatusCode::") {
                Some(name) => by_name(name),
                None => match status.parse() {
                    Ok(status) => status,
                    Err(_) => continue,
                },
            };
            codes.entry(code.split('"').next().unwrap().to_owned()).or_default().insert(status);
        }
    }
    let mut documented = BTreeMap::<String, BTreeSet<u16>>::new();
    for row in table(&text("docs/addresses.md"), "| `code` | status | |") {
        let statuses: BTreeSet<u16> = row[1].split(", ").map(|status| status.parse().unwrap()).collect();
        documented.extend(quoted(&row[0]).into_iter().map(|code| (code, statuses.clone())));
    }
    assert!(codes.len() > 10, "{codes:?}");
    assert_eq!(documented, codes);
}

/// Every address that the router knows, and every address that a document names.
#[test]
fn addresses_of_the_documents_exist_and_all_of_them_are_documented() {
    let sources =
        ["src/routes.rs", "src/web/paths.rs", "src/login/session_limit.rs", "src/logout.rs"].map(text).concat();
    let quoted = sources.split('"').skip(1).step_by(2);
    let general = |path: &str| {
        let parts = path.split('/').take(5).map(|part| if part.starts_with('{') { "*" } else { part });
        parts.collect::<Vec<_>>().join("/")
    };
    let served: BTreeSet<_> = quoted.filter(|text| text.starts_with("/sso/")).map(general).collect();
    assert!(served.contains("/sso/callback/*") && served.contains("/sso/limit") && served.len() > 12, "{served:?}");
    let is_served = |path: &str| {
        let fits = |known: &String| {
            let (known, path): (Vec<_>, Vec<_>) = (known.split('/').collect(), path.split('/').collect());
            known.len() == path.len() && known.iter().zip(path).all(|(known, part)| *known == "*" || *known == part)
        };
        served.iter().any(fits)
    };
    let (mut named, mut wrong) = (BTreeSet::new(), Vec::new());
    for (name, page) in manual() {
        for rest in page.split("/sso/").skip(1) {
            let is_part = |character: char| character.is_ascii_alphanumeric() || "/-.{}_".contains(character);
            let path = format!("/sso/{}", rest.split(|character| !is_part(character)).next().unwrap());
            let path = general(path.trim_end_matches(['/', '.']));
            // What stands for all of it.
            if path != "/sso/api/v1" && path != "/sso" && !is_served(&path) {
                wrong.push(format!("{name}: {path}"));
            }
            named.insert(path);
        }
    }
    let covered = |known: &&String| !known.starts_with("/sso/api/v1/") && *known != "/sso/assets/*";
    wrong.extend(
        served
            .iter()
            .filter(covered)
            .filter(|known| !named.contains(*known))
            .map(|known| format!("not documented: {known}")),
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The fields that upstreams get, and their list.
#[test]
fn the_table_of_headers_to_upstreams_is_what_is_written() {
    let source = text("crates/proxy/src/identity.rs");
    let written = source.split("#[cfg(test)]").next().unwrap().split('"');
    let written: BTreeSet<_> = written.filter(|text| text.starts_with("x-auth-request-")).map(str::to_owned).collect();
    let rows = text("docs/proxying.md");
    let rows = rows.lines().filter(|line| line.starts_with("| `X-Auth-Request-"));
    let documented: BTreeSet<_> =
        rows.flat_map(|row| quoted(row.split(" | ").next().unwrap())).map(|name| name.to_lowercase()).collect();
    assert!(written.len() > 5, "{written:?}");
    assert_eq!(documented, written);
}

/// Settings are spoken of as a value (`refresh = "5m"`), by their path (`server.drain_delay`), in examples, and as variables.
#[test]
fn settings_that_the_documents_name_exist() {
    let asked = crate::examples::asked();
    let last: BTreeSet<_> = asked.iter().map(|path| path.rsplit('.').next().unwrap()).collect();
    let sections: BTreeSet<_> =
        asked.iter().filter_map(|path| path.split_once('.')).map(|(section, _)| section).collect();
    let word =
        |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || b"_.".contains(&byte));
    let general =
        |path: &str| crate::examples::general(&path.replace("idp.company.", "idp.x.").replace("route.", "route.0."));
    let (mut named, mut wrong) = (0, Vec::new());
    for (name, page) in manual() {
        let mut check = |path: &str, is_known: bool| {
            named += 1;
            if !is_known {
                wrong.push(format!("{name}: {path}"));
            }
        };
        for block in blocks(&page, "toml") {
            let mut section = String::new();
            for line in block.lines() {
                if let Some(header) = line.strip_prefix('[') {
                    section = header.trim_start_matches('[').split(']').next().unwrap().to_owned() + ".";
                } else if let Some((key, _)) = line.split_once(" = ") {
                    let path = general(&format!("{section}{}", key.trim()));
                    check(&path, asked.contains(&path));
                }
            }
        }
        for span in spans(&page) {
            match span.split_once(" = ") {
                Some((key, _)) if word(key) => {
                    check(&span, last.contains(key.rsplit('.').next().unwrap()));
                }
                None if word(&span) && span.split_once('.').is_some_and(|(first, _)| sections.contains(first)) => {
                    let path = general(&span);
                    check(&span, asked.contains(&path));
                }
                _ => {}
            }
        }
        for variable in page.split("COUNTERFOIL_").skip(1) {
            let is_part =
                |character: char| character.is_ascii_uppercase() || character.is_ascii_digit() || character == '_';
            let variable = variable.split(|character| !is_part(character)).next().unwrap();
            let path = general(&variable.to_lowercase().replace("__", "."));
            // The one that tests read.
            check(variable, variable.is_empty() || variable == "TRICKLE_SECONDS" || asked.contains(&path));
        }
    }
    assert!(named > 60, "{named} settings are named");
    assert!(wrong.is_empty(), "{wrong:#?}");
}
