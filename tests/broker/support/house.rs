//! Real broker processes on one Redis, and a terminal beside them.

use std::net::SocketAddr;
use std::sync::Arc;

use counterfoil::clock::SystemClock;

use super::broker::{HOST, KEY, PUBLIC};
use super::browser::Browser;
use super::child::{Program, free_port};
use super::program::{Folder, counterfoil, run};
use super::redis::Redis;
use super::scripted_idp::ScriptedIdp;
use super::upstream;

/// Some replicas of one broker.
pub struct House {
    pub folder: Folder,
    pub config: String,
    pub redis: Redis,
    pub programs: Vec<Program>,
    pub addresses: Vec<SocketAddr>,
    pub idp: ScriptedIdp,
}

impl House {
    /// Starts so many processes; `more` is configuration.
    pub async fn start(more: &str, replicas: usize) -> Self {
        let (folder, redis) = (Folder::new(), Redis::start());
        let idp = ScriptedIdp::start(Arc::new(SystemClock)).await;
        let office = upstream::start().await;
        let text = format!(
            "public_url = \"{PUBLIC}\"\n[secrets]\nkeys = [\"{KEY}\"]\n[store]\nurl = \"{}\"\ntimeout = \"30s\"\n[idp.company]\n\
             kind = \"oidc\"\nissuer = \"{}\"\nclient_id = \"backoffice\"\nclient_secret = \"x\"\ntimeout = \"30s\"\n[[route]]\n\
             path = \"/\"\nupstream = \"http://{office}\"\n{more}",
            redis.url(),
            idp.issuer(),
        );
        let config = folder.write("counterfoil.toml", &text);
        let (mut programs, mut addresses) = (Vec::new(), Vec::new());
        for _ in 0..replicas {
            let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
            let mut command = counterfoil(folder.path(), &["serve", "--config", &config]);
            command.env("COUNTERFOIL_SERVER__LISTEN", address.to_string());
            command.env("COUNTERFOIL_SERVER__OPS_LISTEN", format!("127.0.0.1:{}", free_port()));
            let program = Program::start(&mut command);
            program.wait_for("serving");
            programs.push(program);
            addresses.push(address);
        }
        Self { folder, config, redis, programs, addresses, idp }
    }

    /// A fresh browser that reaches one of the replicas.
    pub fn browser(&self, replica: usize) -> Browser {
        Browser::new([(HOST.to_owned(), self.addresses[replica])])
    }

    /// The same person's browser, when it reaches another replica.
    pub fn takes_over(&self, replica: usize, browser: &Browser) -> Browser {
        let moved = self.browser(replica);
        moved.take_cookies_of(browser);
        moved
    }

    /// Starts a login and lets the provider answer; the address it sends the browser to.
    pub async fn reach_callback(&self, browser: &Browser) -> String {
        let start = browser.visit(&format!("{PUBLIC}/sso/login")).send().await;
        browser.visit(start.location()).send().await.location().to_owned()
    }

    /// A browser that is signed in.
    pub async fn signed_in(&self, replica: usize) -> Browser {
        let browser = self.browser(replica);
        let callback = self.reach_callback(&browser).await;
        let landed = browser.visit(&callback).send().await;
        assert_eq!(landed.status, 303, "{}", landed.body);
        browser
    }

    /// `counterfoil sessions …` with this configuration.
    pub fn terminal(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let (command, rest) = arguments.split_first().unwrap();
        let all: Vec<_> = ["sessions", command, "--config", &self.config].iter().chain(rest).copied().collect();
        run(counterfoil(self.folder.path(), &all))
    }
}
