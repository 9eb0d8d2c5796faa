//! Whose store it is: a broker with another key than the one that the store was begun with neither starts nor serves, and
//! changes nothing there. Found by a terminal with another key that signed everybody out; the members beside it by looking
//! for whoever opens a store: brokers that start, run, are reloaded, the terminal, `check`, the demo.

use std::sync::Arc;

use counterfoil::clock::{ManualClock, SystemClock};
use counterfoil::session::store::memory::MemoryStore;
use counterfoil::session::store::{SessionBackend, StoreError};
use counterfoil::session_redis::RedisBackend;

use crate::support::broker::{Broker, KEY, PUBLIC, SESSION, Setup, Store};
use crate::support::browser::Browser;
use crate::support::child::{Program, free_port, until};
use crate::support::program::{Demo, Folder, counterfoil, run};
use crate::support::redis::{Redis, settings};

/// Another key than the tests' own.
const OTHER: &str = "Hx4dHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA=";
/// The record.
const RECORD: &str = "counterfoil:keys";

async fn readiness(broker: &Broker) -> (u16, String) {
    let answer = broker.readiness().await;
    (answer.status.as_u16(), answer.json()["store"].as_str().unwrap().to_owned())
}

fn config(redis: &Redis, key: &str) -> String {
    format!(
        "public_url = \"https://app.example.test\"\n[server]\nlisten = \"127.0.0.1:{}\"\nops_listen = \"127.0.0.1:0\"\n\
         [secrets]\nkeys = [\"{key}\"]\n[store]\nurl = \"{}\"\ntimeout = \"30s\"\n[idp.company]\nkind = \"oidc\"\n\
         issuer = \"http://127.0.0.1:1\"\nclient_id = \"backoffice\"\nclient_secret = \"x\"\n\
         [[route]]\npath = \"/\"\nupstream = \"http://127.0.0.1:1\"\n",
        free_port(),
        redis.url()
    )
}

/// Every key but those that a running broker writes by itself from time to time.
async fn written(redis: &Redis) -> std::collections::BTreeSet<String> {
    let keys = redis.keys().await.into_iter();
    keys.filter(|key| !key.ends_with(":kept") && !key.contains(":once:")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_comes_with_another_key_is_told_so_at_once_and_does_nothing() {
    let (redis, folder) = (Redis::start(), Folder::new());
    let broker = Broker::with(Setup { store: Store::Redis(redis.port()), ..Setup::default() }).await;
    let browser = broker.signed_in().await;
    let handle = broker.handle(&browser).await;
    let file = folder.write("other.toml", &config(&redis, OTHER));
    let own = redis.ask(&["GET", RECORD]);
    let commands: [&[&str]; 6] = [
        &["serve"],
        &["check"],
        &["sessions", "list"],
        &["sessions", "show", &handle],
        &["sessions", "revoke", "--all", "--yes", "--reason", "test"],
        &["sessions", "revoke", &handle, "--yes", "--reason", "test"],
    ];
    for (record, said) in [(own.as_str(), "another key"), ("7 abc", "another format"), ("", "another format")] {
        redis.ask(&["SET", RECORD, record]);
        let before = written(&redis).await;
        for words in commands {
            let (code, out, errors) = run(counterfoil(folder.path(), &[words, &["--config", &file]].concat()));
            assert_eq!(code, Some(1), "{words:?}: {out}{errors}");
            assert!(format!("{out}{errors}").contains(said), "{words:?}: {out}{errors}");
        }
        assert_eq!(written(&redis).await, before, "nothing was written");
        assert_eq!(redis.ask(&["GET", RECORD]), record);
    }
    redis.ask(&["SET", RECORD, &own]);
    assert_eq!(broker.status(&browser).await, 200);
}

#[tokio::test]
async fn of_two_replicas_with_different_keys_one_serves_nobody() {
    let (redis, clock) = (Redis::start(), ManualClock::at(counterfoil::clock::Clock::now(&SystemClock)));
    let stores: [Arc<dyn SessionBackend>; 2] =
        [Arc::new(MemoryStore::new(clock.clone())), Arc::new(RedisBackend::connect(settings(redis.port())).unwrap())];
    for store in stores {
        let setup =
            |keys| Setup { store: Store::Shared(store.clone()), keys, clock: clock.clone(), ..Setup::default() };
        let one = Broker::with(setup(vec![KEY])).await;
        let browser = one.signed_in().await;
        let other = one.replica(setup(vec![OTHER])).await;
        let moved = other.takes_over(&browser);
        for answer in [
            moved.get("/guarded").await,
            moved.visit(&format!("{PUBLIC}/guarded")).send().await,
            moved.get("/sso/session").await,
        ] {
            assert_eq!(answer.status, 503, "{}", answer.body);
            assert!(!answer.header("retry-after").is_empty() && answer.set_cookies().is_empty());
        }
        assert_eq!(moved.cookie(SESSION), browser.cookie(SESSION), "nobody is signed out by it");
        let begun = other.browser().visit(&format!("{PUBLIC}/sso/login")).send().await;
        assert_eq!(begun.status, 503, "no login either");
        assert_eq!(readiness(&other).await, (503, "foreign".to_owned()));
        assert_eq!((readiness(&one).await.1, one.status(&browser).await), ("ok".to_owned(), 200));
    }
}

/// What the minute finds: another broker took the store over while this one ran.
#[tokio::test]
async fn a_store_that_becomes_anothers_is_not_served_from_memory_either() {
    let redis = Redis::start();
    let broker = Broker::with(Setup { store: Store::Redis(redis.port()), ..Setup::default() }).await;
    let browser = broker.signed_in().await;
    assert_eq!(broker.status(&browser).await, 200);
    let own = redis.ask(&["GET", RECORD]);
    for foreign in ["1 AAAA", "2 AAAA", "3 AAAA", "nonsense"] {
        redis.ask(&["SET", RECORD, foreign]);
        let found = broker.app.sessions().maintenance().renew_store_claim().await;
        assert!(matches!(found, Err(StoreError::Foreign(_))), "{foreign}: {found:?}");
        assert_eq!(broker.status(&browser).await, 503, "{foreign}");
        assert_eq!(readiness(&broker).await, (503, "foreign".to_owned()));
        assert_eq!(redis.ask(&["GET", RECORD]), foreign, "it is not taken back");
        redis.ask(&["SET", RECORD, &own]);
        broker.app.sessions().maintenance().renew_store_claim().await.unwrap();
        assert_eq!(broker.status(&browser).await, 200, "and nobody was signed out");
    }
}

#[tokio::test]
async fn a_store_that_was_emptied_is_ours_again() {
    let redis = Redis::start();
    let broker = Broker::with(Setup { store: Store::Redis(redis.port()), ..Setup::default() }).await;
    let browser = broker.signed_in().await;
    assert_eq!(broker.status(&browser).await, 200);
    let own = redis.ask(&["GET", RECORD]);
    assert_eq!(redis.ask(&["TTL", RECORD]), "-1", "it never expires");
    // From here on the near cache hears of everything.
    broker.served_from_memory(&browser, || redis.gets()).await;
    for command in ["FLUSHALL", "FLUSHDB"] {
        redis.ask(&[command]);
        until("the record is back", async || redis.try_ask(&["GET", RECORD]).as_ref() == Some(&own)).await;
    }
    redis.ask(&["DEL", RECORD]);
    broker.app.sessions().maintenance().renew_store_claim().await.unwrap();
    assert_eq!(redis.ask(&["GET", RECORD]), own);
}

/// Another Redis may answer after an outage, one with another's sessions: nothing of it is used before that was looked at.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_comes_back_as_anothers_is_not_used() {
    for near_cache_entries in [1_000, 0] {
        let redis = Redis::start();
        let port = redis.port();
        let setup = Setup { store: Store::Unreliable(port), near_cache_entries, ..Setup::default() };
        let broker = Broker::with(setup).await;
        let browser = broker.signed_in().await;
        assert_eq!(broker.status(&browser).await, 200);
        redis.kill();
        until("the outage is noticed", async || broker.status(&browser).await == 503).await;
        let redis = Redis::start_on(port);
        redis.ask(&["SET", RECORD, "2 AAAA"]);
        until("it was looked at", async || readiness(&broker).await == (503, "foreign".to_owned())).await;
        assert_eq!(broker.sign_in(&broker.browser(), "/").await.status, 503);
        assert_eq!(redis.keys().await, [RECORD], "nothing was written into it, {near_cache_entries}");
    }
}

/// Keys that cannot be checked against the store are refused: wrong ones would sign everybody out.
#[test]
fn a_reload_while_the_store_cannot_be_asked_changes_no_key() {
    let (redis, folder) = (Redis::start(), Folder::new());
    let text = config(&redis, KEY).replace("timeout = \"30s\"", "timeout = \"1s\"");
    let file = folder.write("counterfoil.toml", &text);
    let program = Program::start(&mut counterfoil(folder.path(), &["serve", "--config", &file]));
    program.wait_for("serving");
    folder.write("counterfoil.toml", &text.replace(KEY, OTHER));
    redis.freeze();
    program.signal("HUP");
    program.wait_for("nothing was changed");
    redis.thaw();
    program.signal("HUP");
    let said = program.wait_for("another key");
    assert!(!said.contains("were read again"), "{said}");
    program.signal("TERM");
    assert_eq!(program.end().0, Some(0));
}

/// A configuration that cannot be read to its end (a share that hangs; here a pipe that nobody writes) holds up nobody.
#[test]
fn a_reload_that_cannot_be_read_holds_up_nobody() {
    let (redis, folder) = (Redis::start(), Folder::new());
    let text = config(&redis, KEY);
    let file = folder.write("counterfoil.toml", &text);
    let program = Program::start(&mut counterfoil(folder.path(), &["serve", "--config", &file]));
    program.wait_for("serving");
    std::fs::remove_file(&file).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&file).status().unwrap().success());
    program.signal("HUP");
    program.wait_for("could not be read within");
    program.signal("TERM");
    assert_eq!(program.end().0, Some(0));
}

#[tokio::test]
async fn the_store_learns_of_a_key_that_seals_by_now() {
    let redis = Redis::start();
    let setup = |keys| Setup { store: Store::Redis(redis.port()), keys, ..Setup::default() };
    let old = Broker::with(setup(vec![KEY])).await;
    old.signed_in().await;
    let before = redis.ask(&["GET", RECORD]);
    old.app.sessions().maintenance().renew_store_claim().await.unwrap();
    assert_eq!(redis.ask(&["GET", RECORD]), before);
    let rotated = old.replica(setup(vec![OTHER, KEY])).await;
    rotated.app.sessions().maintenance().claim_store().await.unwrap();
    assert_eq!(redis.ask(&["GET", RECORD]), before, "not at once: replicas have a minute to learn the key");
    rotated.app.sessions().maintenance().renew_store_claim().await.unwrap();
    assert_ne!(redis.ask(&["GET", RECORD]), before);
    let retired = old.replica(setup(vec![OTHER])).await;
    retired.app.sessions().maintenance().claim_store().await.unwrap();
    let late = old.replica(setup(vec![KEY])).await;
    assert!(matches!(late.app.sessions().maintenance().claim_store().await, Err(StoreError::Foreign(_))));
}

/// SIGHUP with keys that do not fit changes nothing: nobody is signed out.
#[test]
fn a_reload_with_keys_that_do_not_fit_the_store_is_refused() {
    let (redis, folder) = (Redis::start(), Folder::new());
    let text = config(&redis, KEY);
    let file = folder.write("counterfoil.toml", &text);
    let program = Program::start(&mut counterfoil(folder.path(), &["serve", "--config", &file]));
    program.wait_for("serving");
    folder.write("counterfoil.toml", &text.replace(KEY, OTHER));
    program.signal("HUP");
    program.wait_for("nothing was changed");
    folder.write("counterfoil.toml", &text.replace(KEY, &format!("{OTHER}\", \"{KEY}")));
    program.signal("HUP");
    program.wait_for("were read again");
}

#[tokio::test]
async fn a_demo_can_be_started_again_on_the_same_store_and_not_on_anothers() {
    let redis = Redis::start();
    for _ in 0..2 {
        let demo = Demo::start(&["--store", &redis.url()]);
        assert_eq!(Browser::new([]).visit(&format!("{}/", demo.public)).send().await.status, 303, "it serves");
        demo.program.signal("TERM");
        assert_eq!(demo.program.end().0, Some(0));
    }
    let folder = Folder::new();
    let mut other = counterfoil(
        folder.path(),
        &[
            "demo",
            "--listen",
            "127.0.0.1:0",
            "--idp-listen",
            "127.0.0.1:0",
            "--ops-listen",
            "127.0.0.1:0",
            "--store",
            &redis.url(),
        ],
    );
    other.env("COUNTERFOIL_SECRETS__KEYS", OTHER);
    let (code, _, errors) = run(other);
    assert_eq!(code, Some(1), "{errors}");
    assert!(errors.contains("another key"), "{errors}");
}

/// Names in the store are made with a key that the record holds: whoever makes another would find nobody by name.
#[tokio::test]
async fn a_store_whose_record_was_deleted_is_not_begun_anew_beside_what_is_there() {
    let redis = Redis::start();
    let setup = || Setup { store: Store::Redis(redis.port()), ..Setup::default() };
    let broker = Broker::with(setup()).await;
    let browser = broker.signed_in().await;
    assert_eq!(broker.status(&browser).await, 200);
    // The broker looks again for each connection that it has made, and puts the record back: then another comes.
    let mut found = None;
    for _ in 0..20 {
        redis.ask(&["DEL", RECORD]);
        let newcomer = broker.replica(setup()).await;
        let status = newcomer.status(&newcomer.takes_over(&browser)).await;
        if (status, readiness(&newcomer).await.1.as_str(), redis.ask(&["EXISTS", RECORD]).as_str())
            == (503, "foreign", "0")
        {
            found = Some(newcomer);
            break;
        }
    }
    let newcomer = found.expect("a newcomer begins no store beside what is there");
    // Whoever knows it puts it back.
    broker.app.sessions().maintenance().renew_store_claim().await.unwrap();
    newcomer.app.sessions().maintenance().claim_store().await.unwrap();
    assert_eq!(newcomer.status(&newcomer.takes_over(&browser)).await, 200);
}
