//! Redis that speaks TLS alone, under a private authority, to users with a password and few rights.

use std::process::Command;
use std::sync::OnceLock;

use counterfoil::session_redis::RedisSettings;

use super::certificates::make_certificates;
use super::child::{end_with_this_process, free_port};
use super::program::Folder;
use super::redis::{Redis, gets, settings_of};

/// What the README lets the broker's user do.
/// Those that the README names.
fn rights() -> &'static str {
    let readme = include_str!("../../../README.md");
    readme.split_once("ACL SETUSER counterfoil on >secret ").unwrap().1.lines().next().unwrap()
}

/// A running server and its certificates.
pub struct RedisTls {
    server: Redis,
    folder: Folder,
}

impl RedisTls {
    pub fn start() -> Self {
        let folder = Folder::new();
        make_certificates(&folder);
        let users = format!(
            "user default off\nuser operator on >operator ~* &* +@all\n\
             user counterfoil on >p@ss:w%rd/é resetchannels {}\n",
            rights()
        );
        let users = folder.write("users.acl", &users);
        let port = free_port();
        let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let (authority, certificate, key) = (file("ca.crt"), file("server.crt"), file("server.key"));
        let tls_port = port.to_string();
        let mut options = vec!["--port", "0", "--tls-port", &tls_port, "--tls-auth-clients", "no"];
        options.extend(["--tls-ca-cert-file", &authority, "--tls-cert-file", &certificate, "--tls-key-file", &key]);
        options.extend(["--aclfile", &users]);
        Self { server: Redis::start_with(port, &options), folder }
    }

    /// The server that tests share.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<RedisTls> = OnceLock::new();
        SHARED.get_or_init(|| {
            let tls = Self::start();
            end_with_this_process([tls.server.id()], tls.folder.path());
            tls
        })
    }

    pub fn settings(&self) -> RedisSettings {
        let authority = std::fs::read_to_string(self.folder.path().join("ca.crt")).unwrap();
        let url = format!("rediss://counterfoil:p%40ss%3Aw%25rd%2F%C3%A9@127.0.0.1:{}/0", self.server.port());
        RedisSettings { certificate_authorities: Some(authority), ..settings_of(url) }
    }

    /// The authority's certificate, as a file.
    pub fn authority(&self) -> String {
        self.folder.path().join("ca.crt").display().to_string()
    }

    /// How often it was asked for a value.
    pub fn gets(&self) -> u64 {
        gets(&self.ask(&["INFO", "commandstats"]))
    }

    /// What `redis-cli` says to an operator's command.
    pub fn ask(&self, words: &[&str]) -> String {
        let port = self.server.port().to_string();
        let mut command = Command::new("redis-cli");
        command.args(["-e", "-p", &port, "--tls", "--cacert", "ca.crt", "--user", "operator", "--pass", "operator"]);
        let output = command.arg("--no-auth-warning").args(words).current_dir(self.folder.path()).output().unwrap();
        assert!(output.status.success(), "{words:?} failed: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}
