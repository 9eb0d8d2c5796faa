//! `counterfoil check` and Redis: what is wrong is said, in Redis' own words and with its remedy. Found by trying a wrong
//! password; the members beside it by looking for what a Redis can refuse, and what it grants and takes back later.

use std::io::{Read, Write};
use std::net::TcpListener;

use crate::support::broker::KEY;
use crate::support::certificates::make_certificates;
use crate::support::child::free_port;
use crate::support::program::{Folder, counterfoil, run};
use crate::support::redis::Redis;
use crate::support::redis_tls::RedisTls;

/// What `check` says of a store.
fn said(url: &str, more: &str) -> String {
    let folder = Folder::new();
    let text = format!(
        "public_url = \"https://app.example.test\"\n[secrets]\nkeys = [\"{KEY}\"]\n[store]\nurl = \"{url}\"\n\
         timeout = \"5s\"\n{more}\n[idp.company]\nkind = \"oidc\"\nissuer = \"http://127.0.0.1:1\"\n\
         client_id = \"backoffice\"\nclient_secret = \"x\"\n[[route]]\npath = \"/\"\n"
    );
    let file = folder.write("counterfoil.toml", &text);
    let (_, said, errors) = run(counterfoil(folder.path(), &["check", "--config", &file]));
    assert!(!format!("{said}{errors}").contains("CANARY"), "{said}{errors}");
    said.lines().filter(|line| line.contains("store.url")).collect::<Vec<_>>().join("\n")
}

fn says(url: &str, more: &str, expected: &[&str]) {
    let said = said(url, more);
    for expected in expected {
        assert!(said.contains(expected), "{url}: {expected:?} is not in\n{said}");
    }
    assert!(!said.contains("Timeout Error"), "{said}");
}

#[test]
fn check_names_what_is_wrong_with_the_credentials() {
    let redis = Redis::start();
    let port = redis.port();
    let fine = said(&redis.url(), "");
    assert!(fine.contains("answers") && fine.contains("may do all") && !fine.contains("fail"), "{fine}");
    says(&format!("redis://127.0.0.1:{port}/200"), "", &["fail", "the database number"]);
    redis.ask(&["CONFIG", "SET", "requirepass", "secret"]);
    says(&redis.url(), "", &["fail", "NOAUTH", "it wants a password"]);
    says(
        &format!("redis://:CANARY@127.0.0.1:{port}/0"),
        "",
        &["fail", "WRONGPASS", "the password in the URL is wrong"],
    );
    says(&format!("redis://nobody:CANARY@127.0.0.1:{port}/0"), "", &["fail", "WRONGPASS"]);
    says(&format!("redis://:secret@127.0.0.1:{port}/0"), "", &["ok    store.url"]);
}

#[test]
fn check_names_each_right_that_is_missing() {
    let redis = Redis::start();
    let readme = include_str!("../../README.md");
    let rules = readme.split_once("ACL SETUSER counterfoil ").unwrap().1.lines().next().unwrap();
    let url = format!("redis://counterfoil:secret@127.0.0.1:{}/0", redis.port());
    for (less, expected) in [
        ("-getrange", "getrange"),
        ("-set", "set of cf-check"),
        ("-expireat", "expireat"),
        ("-zrange", "zrange"),
        ("-client|tracking", "client|tracking"),
        ("-client|caching", "client|caching"),
        ("-xadd", "xadd"),
        ("-xrange", "xrange"),
        ("-xrevrange", "xrevrange"),
        ("-xdel", "xdel"),
        ("-wait", "wait"),
        ("-hset", "hset"),
        ("-hsetnx", "hsetnx"),
        ("-hgetall", "hgetall"),
        ("-hdel", "hdel"),
        ("-eval", "eval"),
        ("-role", "role"),
        ("-info", "its user lacks rights"),
        ("-ping", "ping"),
        ("resetkeys", "getrange of cf-check"),
    ] {
        let words: Vec<_> = ["ACL", "SETUSER", "counterfoil", "reset"].into_iter().chain(rules.split(' ')).collect();
        redis.ask(&words);
        redis.ask(&["ACL", "SETUSER", "counterfoil", less]);
        says(&url, "", &["fail", expected, "see the ACL line in the README"]);
    }
    let words: Vec<_> = ["ACL", "SETUSER", "counterfoil", "reset"].into_iter().chain(rules.split(' ')).collect();
    redis.ask(&words);
    says(&url, "", &["may do all that is needed"]);
    assert_eq!(redis.ask(&["DBSIZE"]), "0", "nothing was written");
}

#[test]
fn check_notes_settings_that_may_fail_later() {
    let redis = Redis::start();
    for policy in ["allkeys-lru", "volatile-ttl"] {
        redis.ask(&["CONFIG", "SET", "maxmemory-policy", policy]);
        says(&redis.url(), "", &["note", policy, "signed out", "set noeviction"]);
    }
    redis.ask(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    assert!(!said(&redis.url(), "").contains("note"), "what is usual is no news");
    redis.ask(&["REPLICAOF", "127.0.0.1", &free_port().to_string()]);
    says(&redis.url(), "", &["fail", "it is a replica"]);
}

#[test]
fn check_tells_a_server_that_is_away_from_one_that_is_none() {
    says(&format!("redis://127.0.0.1:{}/0", free_port()), "", &["fail", "refused", "is it running"]);
    says("redis://redis.invalid:6379/0", "", &["fail", "redis.invalid", "is the host right"]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        }
    });
    says(&format!("redis://127.0.0.1:{port}/0"), "", &["fail", "is this the port of Redis"]);
}

#[test]
fn check_names_what_is_wrong_with_tls() {
    let redis = RedisTls::start();
    let settings = redis.settings();
    let (url, folder) = (settings.url.expose(), Folder::new());
    make_certificates(&folder);
    let right = folder.write("right.crt", settings.certificate_authorities.as_deref().unwrap());
    let wrong = folder.path().join("ca.crt").display().to_string();
    says(url, &format!("ca_file = \"{right}\""), &["ok    store.url", "may do all"]);
    says(url, &format!("ca_file = \"{wrong}\""), &["fail", "certificate", "set store.ca_file"]);
    says(&url.replace("rediss:", "redis:"), "", &["fail", "speak TLS"]);
    let plain = Redis::start();
    says(&plain.url().replace("redis:", "rediss:"), &format!("ca_file = \"{right}\""), &["fail", "speak TLS"]);
}
