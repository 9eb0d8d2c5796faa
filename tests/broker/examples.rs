//! `.env.example` and `counterfoil.example.toml` name every key that is read, no other, and defaults that are true.

use std::collections::BTreeSet;
use std::path::Path;

use counterfoil::config::{Settings, Source};

use crate::support::broker::KEY;

fn example(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

fn toml() -> String {
    example("counterfoil.example.toml")
}

/// Tables whose keys are the operator's own words.
const FREE: [&str; 2] = ["authorization_parameters", "required_claims"];

/// A path without the names and numbers that are the operator's to choose.
pub fn general(path: &str) -> String {
    let mut parts: Vec<String> = Vec::new();
    for part in path.replace('[', ".").replace(']', "").split('.') {
        let before = parts.last().map(String::as_str);
        if before.is_some_and(|before| FREE.contains(&before)) {
            break;
        }
        let is_name = before == Some("idp") || part.bytes().all(|byte| byte.is_ascii_digit());
        parts.push(if is_name { "*".to_owned() } else { part.to_owned() });
    }
    parts.join(".")
}

/// Every key that the reader asks for, of every kind of provider.
pub fn asked() -> BTreeSet<String> {
    let head = format!(
        "public_url = \"https://x.example\"\n[secrets]\nkeys = [\"{KEY}\"]\n[store]\nurl = \"memory:\"\n[session]\n\
         [[session.timeout]]\n[[route]]\npath = \"/\"\n"
    );
    let mut kinds = vec!["oidc".to_owned(), "oauth2".to_owned()];
    kinds.extend(counterfoil::config::presets::kinds().map(str::to_owned));
    let mut keys = BTreeSet::new();
    for kind in kinds {
        for authentication in ["", "tls_client_cert_file = \"x\"\n", "profile_api = \"github\"\n"] {
            let idp = format!("[idp.x]\nkind = \"{kind}\"\n{authentication}[idp.x.shared_signals]\n");
            let source = Source { file: Some(format!("{head}{idp}")), ..Source::default() };
            keys.extend(source.keys().unwrap().iter().map(|key| general(key)));
        }
    }
    // Sections are no keys.
    let is_section = |key: &String| keys.iter().any(|other| other.starts_with(&format!("{key}.")));
    let sections: BTreeSet<_> =
        keys.iter().filter(|key| is_section(key) || *key == "idp" || *key == "route").cloned().collect();
    keys.difference(&sections).filter(|key| !key.ends_with('*')).cloned().collect()
}

/// The variables of `.env.example`: path, value, and whether it is commented out.
fn variables() -> Vec<(String, String, bool)> {
    let text = example(".env.example");
    let lines = text.lines().filter_map(|line| {
        let (text, commented) = match line.strip_prefix("# COUNTERFOIL_") {
            Some(text) => (text, true),
            None => (line.strip_prefix("COUNTERFOIL_")?, false),
        };
        let (name, value) = text.split_once('=')?;
        Some((name.to_lowercase().replace("__", "."), value.to_owned(), commented))
    });
    lines.collect()
}

/// One line of `counterfoil.example.toml` that sets a key.
struct Line {
    /// The section, and the key in it.
    section: String,
    key: String,
    /// As it stands there, without the `# ` that may be in front of it.
    text: String,
    commented: bool,
    /// Whether the whole section is commented out.
    in_example: bool,
}

fn lines() -> Vec<Line> {
    let (mut section, mut in_example, mut lines) = (String::new(), false, Vec::new());
    for line in toml().lines() {
        let (text, commented) = line.strip_prefix("# ").map_or((line, false), |text| (text, true));
        let word = |text: &str| {
            text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte))
        };
        if let Some(header) = text.strip_prefix('[').map(|rest| rest.trim_start_matches('[').split(']').next().unwrap())
        {
            if word(header) && !header.is_empty() {
                (section, in_example) = (header.to_owned(), commented);
            }
        } else if let Some((key, _)) = text.split_once(" = ").filter(|(key, _)| word(key)) {
            let (key, text, section) = (key.to_owned(), text.to_owned(), section.clone());
            lines.push(Line { section, key, text, commented, in_example });
        }
    }
    lines
}

impl Line {
    fn path(&self) -> String {
        if self.section.is_empty() { self.key.clone() } else { format!("{}.{}", self.section, self.key) }
    }

    fn general(&self) -> String {
        let path = self.path();
        let numbered = [("session.timeout.", "session.timeout.0."), ("route.", "route.0.")];
        let numbered =
            numbered.iter().find_map(|(plain, numbered)| Some(format!("{numbered}{}", path.strip_prefix(plain)?)));
        general(&numbered.unwrap_or(path))
    }
}

#[test]
fn every_key_that_is_read_is_in_both_examples_and_every_key_there_is_read() {
    let asked = asked();
    assert!(asked.len() > 100 && asked.contains("idp.*.client_key") && asked.contains("route.*.acr"), "{asked:#?}");
    let in_dotenv: BTreeSet<_> = variables().iter().map(|(path, ..)| general(path)).collect();
    let missing: Vec<_> = asked.difference(&in_dotenv).collect();
    assert!(missing.is_empty(), "not in .env.example: {missing:#?}");
    let unknown: Vec<_> =
        in_dotenv.difference(&asked).filter(|key| !FREE.iter().any(|free| key.ends_with(free))).collect();
    assert!(unknown.is_empty(), "in .env.example, and read by nobody: {unknown:#?}");

    let in_toml: BTreeSet<_> = lines().iter().map(Line::general).collect();
    let text = toml();
    let words: BTreeSet<_> = text
        .split(|character: char| !character.is_ascii_lowercase() && !character.is_ascii_digit() && character != '_')
        .collect();
    // The twin from a file, or without one, is named beside the other.
    let missing: Vec<_> =
        asked.difference(&in_toml).filter(|key| !words.contains(key.rsplit('.').next().unwrap())).collect();
    assert!(missing.is_empty(), "not in counterfoil.example.toml: {missing:#?}");
    let unknown: Vec<_> =
        in_toml.difference(&asked).filter(|key| !FREE.iter().any(|free| key.ends_with(free))).collect();
    assert!(unknown.is_empty(), "in counterfoil.example.toml, and read by nobody: {unknown:#?}");
}

/// What both readers of a text make of it, as far as can be seen.
fn seen(settings: Result<Settings, counterfoil::config::Faults>, what: &str) -> String {
    format!("{:?}", settings.unwrap_or_else(|faults| panic!("{what}: {faults}")))
}

/// A value that is commented out is the default unless its comment says what the default is: set, it changes nothing.
#[test]
fn defaults_in_the_examples_are_the_defaults() {
    let file = toml().replace('…', KEY);
    let with = |environment: &[(String, String)]| {
        let environment = environment.iter().cloned().collect();
        Source { file: Some(file.clone()), environment, ..Source::default() }.settings()
    };
    let plain = seen(with(&[]), "plain");
    assert_eq!(plain, seen(with(&[]), "plain"), "two readings look the same");
    let (mut defaults, mut wrong) = (BTreeSet::new(), Vec::new());
    for line in lines().iter().filter(|line| line.commented && !line.in_example) {
        let (value, comment) = line.text.split_once('#').unwrap_or((&line.text, ""));
        let value = value.split_once(" = ").unwrap().1.trim();
        let is_example =
            comment.contains("default:") || value.contains('…') || value.contains("/run/") || value.contains("/etc/");
        if is_example || value.starts_with('{') {
            continue;
        }
        let text = match value.strip_prefix('[').and_then(|list| list.strip_suffix(']')) {
            Some(list) => list.replace('"', ""),
            None => value.trim_matches('"').to_owned(),
        };
        let path = if line.section == "route" { format!("route.0.{}", line.key) } else { line.path() };
        // A list that restricts is left out, not set to nothing.
        if text.is_empty() {
            continue;
        }
        let name = format!("COUNTERFOIL_{}", path.to_uppercase().replace('.', "__"));
        match with(&[(name, text.clone())]) {
            Ok(settings) if format!("{settings:?}") == plain => {}
            Ok(_) => wrong.push(format!("{path} = {text} is not the default")),
            Err(faults) => wrong.push(faults.to_string()),
        }
        defaults.insert((general(&path), text));
    }
    assert!(defaults.len() > 40, "{defaults:#?}");
    // And those of the environment's example, where the same key has a default.
    for (path, value, _) in
        variables().iter().filter(|(path, _, commented)| *commented && !path.starts_with("idp.legacy"))
    {
        if let Some((_, default)) = defaults.iter().find(|(key, _)| *key == general(path))
            && value.replace(' ', "") != default.replace(' ', "")
        {
            wrong.push(format!("{path} in .env.example is {value}, not {default}"));
        }
    }
    assert!(wrong.is_empty(), "say `default:` in the comment, or write the default: {wrong:#?}");
}

/// A list in the file is a list; commas make one in variables alone. Each fault says what exactly is wrong with which
/// item. One line a mistake; they were found by writing each kind of list wrongly.
#[test]
fn a_list_that_is_none_is_told_apart_from_an_item_that_is_wrong() {
    let good = format!(
        "public_url = \"https://x.example\"\n[secrets]\nkeys = [\"{KEY}\"]\n[store]\nurl = \"memory:\"\n[idp.company]\nkind = \"oidc\"\n\
         issuer = \"https://i.example\"\nclient_id = \"x\"\nclient_secret = \"x\"\n"
    );
    let route = "[[route]]\npath = \"/\"\nupstream = \"http://127.0.0.1:3000\"\n";
    let fault = |more: &str, environment: &[(&str, &str)]| {
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let source = Source { file: Some(format!("{good}{more}")), environment, ..Source::default() };
        source.settings().err().map(|faults| faults.to_string()).unwrap_or_default()
    };
    for (more, said) in [
        (
            "[server]\ntrusted_proxies = [\"10.0.0.0/8\", \"10.0.0.0/33\"]\n",
            "server.trusted_proxies: each must be a network such as 10.0.0.0/8, or an address; number 2 (10.0.0.0/33) is not",
        ),
        ("[server]\ntrusted_proxies = [10]\n", "number 1 is not"),
        ("[server]\ntrusted_proxies = 10\n", "must be a list"),
        ("[server]\ntrusted_proxies = \"10.0.0.0/8, 192.168.0.0/16\"\n", "write [\"10.0.0.0/8\", \"192.168.0.0/16\"]"),
        ("[admin]\ngroups = \"security,ops\"\n", "admin.groups: is one text with a comma in it"),
        ("[admin]\ngroups = [\"security\", 7]\n", "each must be a text; number 2 is not"),
        ("[idp.company.required_claims]\nhd = \"a,b\"\n", "idp.company.required_claims.hd: is one text with a comma"),
    ] {
        let found = fault(&format!("{route}{more}"), &[]);
        assert!(found.contains(said), "{more}: {found}");
    }
    let found = fault(&format!("{route}groups = \"staff,ops\"\n"), &[]);
    assert!(found.contains("route[0].groups: is one text with a comma"), "{found}");
    assert_eq!(fault(&format!("{route}groups = \"staff\"\n"), &[]), "", "one name needs no brackets");
    // By environment, over a file, in a list of sections and alone.
    let groups = [("COUNTERFOIL_ROUTE__0__GROUPS", "staff,ops")];
    assert_eq!(fault(route, &groups), "");
    assert_eq!(
        fault(&format!("{route}groups = \"staff,ops\"\n"), &groups),
        "",
        "what the environment replaces is not judged"
    );
    let alone = [
        ("COUNTERFOIL_ROUTE__7__PATH", "/"),
        ("COUNTERFOIL_ROUTE__7__GROUPS", "staff,ops"),
        ("COUNTERFOIL_ADMIN__GROUPS", "a,b"),
    ];
    assert_eq!(fault("", &alone), "");
    let wrong = fault(route, &[("COUNTERFOIL_SERVER__TRUSTED_PROXIES", "10.0.0.0/8,nonsense")]);
    assert!(wrong.contains("number 2 (nonsense) is not"), "{wrong}");
}
