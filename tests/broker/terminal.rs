//! What the commands print: columns for people, objects for programs, and nothing to a pipe that was closed.

use std::io::Read;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::broker::KEY;
use crate::support::house::House;
use crate::support::program::{Folder, counterfoil, run};

/// A reviewer reads a list by its header: who, what they are of, from where, since when, until when.
#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_listed_in_columns_under_a_header() {
    let house = House::start("", 1).await;
    assert_eq!(house.terminal(&["list"]).1, "", "no header over nothing");
    house.signed_in(0).await;
    let (_, listed, _) = house.terminal(&["list"]);
    let (header, row) = listed.split_once('\n').unwrap();
    for (name, value) in [
        ("session", "cf-"),
        ("person", "Alice"),
        ("e-mail", "alice@example.com"),
        ("groups", "staff"),
        ("provider", "company"),
        ("address", "127.0.0.1"),
        ("signed in", "20"),
        ("last used", "20"),
        ("ends", "20"),
    ] {
        let place = header.find(name).unwrap_or_else(|| panic!("{name} is not in {header}"));
        assert!(row[place..].starts_with(value), "{name}: {listed}");
    }
}

/// `--json` is one object a line, whatever is said: sessions, tombstones, counts, mistakes. One line a command; they
/// were read off `--help`.
#[tokio::test(flavor = "multi_thread")]
async fn with_json_every_line_is_an_object() {
    let house = House::start("", 1).await;
    house.signed_in(0).await;
    let (_, listed, _) = house.terminal(&["list", "--json"]);
    let handle = serde_json::from_str::<Value>(&listed).unwrap()["handle"].as_str().unwrap().to_owned();
    let object = |text: &str| {
        let objects = text.lines().map(|line| {
            let object: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {text}"));
            assert!(object.is_object(), "{text}");
            object
        });
        objects.fold(Value::Null, |_, object| object)
    };
    let (code, shown, _) = house.terminal(&["show", &handle, "--json"]);
    assert_eq!((code, object(&shown)["handle"].as_str()), (Some(0), Some(handle.as_str())));
    let ended = ["revoke", &handle, "--reason", "lost laptop", "--yes", "--json"];
    let (code, ended, errors) = house.terminal(&ended);
    let outcome = object(&ended);
    assert_eq!((code, outcome["matched"].as_u64(), outcome["ended"].as_u64()), (Some(0), Some(1), Some(1)));
    assert_eq!((&outcome["clearing"], &outcome["lifted"]), (&Value::Bool(false), &0.into()));
    assert!(errors.contains("sessions_revoked"), "{errors}");
    object(&errors);
    let (code, tombstone, errors) = house.terminal(&["show", &handle, "--json"]);
    let tombstone = object(&tombstone);
    assert_eq!(
        (code, tombstone["cause"].as_str(), tombstone["reason"].as_str()),
        (Some(1), Some("revoked"), Some("lost laptop"))
    );
    assert!(tombstone["by"].as_str().unwrap().starts_with("terminal:") && errors.is_empty(), "{errors}");
    let (code, _, prose) = house.terminal(&["show", &handle]);
    assert!(code == Some(1) && prose.contains("revoked by terminal:") && prose.contains(": lost laptop"), "{prose}");

    let memory = format!("[secrets]\nkeys = [\"{KEY}\"]\n[store]\nurl = \"memory:\"\n");
    let (memory, faulty) = (house.folder.write("memory.toml", &memory), house.folder.write("faulty.toml", "x = 1\n"));
    let nobody = "cf-8QzvTn2LmX0aPq4RsWg";
    for (arguments, code, kind) in [
        (vec!["sessions", "show", nobody, "--json", "--config", &house.config], 1, "failed"),
        (vec!["sessions", "list", "--json", "--user", "", "--config", &memory], 64, "usage"),
        (vec!["sessions", "list", "--json", "--config", &faulty], 64, "configuration"),
        (vec!["sessions", "list", "--json", "--config", "nowhere.toml"], 64, "configuration"),
        (vec!["blocks", "lift", "--json", "--reason", "x", "--config", &house.config], 64, "usage"),
        (vec!["sessions", "revoke", "--json"], 64, "usage"),
        (vec!["sessions", "nonsense", "--json"], 64, "usage"),
    ] {
        let (found, output, errors) = run(counterfoil(house.folder.path(), &arguments));
        assert_eq!((found, output.as_str()), (Some(code), ""), "{arguments:?}");
        assert_eq!(object(&errors)["error"], kind, "{arguments:?}: {errors}");
    }
}

/// The reader is gone: the pipes were closed before the program writes its first line. One line a command that prints,
/// read off `--help`; neither a panic nor a complaint, and `check` still says what it found.
#[tokio::test(flavor = "multi_thread")]
async fn a_closed_pipe_is_a_quiet_end() {
    let house = House::start("", 1).await;
    house.signed_in(0).await;
    let folder = Folder::new();
    let key = folder.path().join("key.pem");
    let made = Command::new("openssl")
        .args(["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out"])
        .arg(&key)
        .output();
    assert!(made.unwrap().status.success());
    let wrong = std::fs::read_to_string(&house.config).unwrap().replace(&house.idp.issuer(), "http://127.0.0.1:1");
    let wrong = folder.write("wrong.toml", &wrong);
    let (_, listed, _) = house.terminal(&["list", "--json"]);
    let handle = serde_json::from_str::<Value>(&listed).unwrap()["handle"].as_str().unwrap().to_owned();
    for (arguments, code) in [
        (vec!["--help"], 0),
        (vec!["sessions", "revoke", "--help"], 0),
        (vec!["--version"], 0),
        (vec!["nonsense"], 64),
        (vec!["keys", "generate"], 0),
        (vec!["keys", "jwks", key.to_str().unwrap()], 0),
        (vec!["check", "--config", &house.config], 0),
        (vec!["check", "--config", &wrong], 1),
        (vec!["check", "--config", "nowhere.toml"], 64),
        (vec!["sessions", "list", "--config", &house.config], 0),
        (vec!["sessions", "list", "--json", "--config", &house.config], 0),
        (vec!["sessions", "show", &handle, "--config", &house.config], 0),
        (vec!["sessions", "revoke", "--all", "--reason", "x", "--dry-run", "--config", &house.config], 0),
        (vec!["sessions", "revoke", "--all", "--block", "1h", "--reason", "x", "--yes", "--config", &house.config], 0),
        (vec!["blocks", "list", "--config", &house.config], 0),
        (vec!["blocks", "lift", "--all", "--reason", "x", "--yes", "--config", &house.config], 0),
    ] {
        for also_errors in [false, true] {
            let mut command = counterfoil(house.folder.path(), &arguments);
            command.stdin(Stdio::null()).stdout(closed());
            command.stderr(if also_errors { closed() } else { Stdio::piped() });
            let mut child = command.spawn().unwrap();
            let mut said = String::new();
            child.stderr.take().map(|mut errors| errors.read_to_string(&mut said).unwrap());
            assert_eq!(child.wait().unwrap().code(), Some(code), "{arguments:?} {also_errors}: {said}");
            assert!(!said.contains("panicked") && !said.contains("Broken pipe"), "{arguments:?}: {said}");
        }
    }
}

/// A pipe whose reader is gone.
fn closed() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

/// A reviewer's machine may have other timeouts than the brokers: the store keeps nothing for those.
#[tokio::test(flavor = "multi_thread")]
async fn the_terminal_registers_no_timeouts() {
    let house = House::start("", 1).await;
    house.signed_in(0).await;
    let registered = || house.redis.ask(&["HKEYS", "counterfoil:kept"]);
    let before = registered();
    let longer = std::fs::read_to_string(&house.config).unwrap() + "[session]\nabsolute_timeout = \"300d\"\n";
    let config = house.folder.write("longer.toml", &longer);
    let (_, listed, _) = house.terminal(&["list", "--json"]);
    let handle = serde_json::from_str::<Value>(&listed).unwrap()["handle"].as_str().unwrap().to_owned();
    for arguments in [
        vec!["sessions", "list"],
        vec!["sessions", "list", "--count"],
        vec!["sessions", "show", &handle],
        vec!["sessions", "revoke", "--all", "--reason", "x", "--dry-run"],
        vec!["blocks", "list"],
        vec!["blocks", "lift", "--all", "--reason", "x", "--dry-run"],
        vec!["sessions", "revoke", &handle, "--reason", "x", "--yes"],
    ] {
        let all: Vec<_> = arguments.iter().copied().chain(["--config", &config]).collect();
        let (code, _, errors) = run(counterfoil(house.folder.path(), &all));
        assert_eq!((code, registered()), (Some(0), before.clone()), "{arguments:?}: {errors}");
    }
}
