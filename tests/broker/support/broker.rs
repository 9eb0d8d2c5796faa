//! The real application on a port of its own, with a clock that tests move.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration as StdDuration, Instant};

use counterfoil::app::server::serve;
use counterfoil::app::site::BackOffice;
use counterfoil::app::{App, Dependencies};
use counterfoil::clock::{Clock, ManualClock, SystemClock};
use counterfoil::config::{Settings, Source};
use counterfoil::session::store::SessionBackend;
use counterfoil::session::store::memory::MemoryStore;
use counterfoil::session_redis::RedisBackend;
use tokio::net::TcpListener;

use super::browser::{Answer, Browser};
use super::child::{eventually, until};
use super::redis;
use super::scripted_idp::{Script, ScriptedIdp};
use super::upstream;

/// What browsers call the broker.
pub const PUBLIC: &str = "https://app.example.test";
pub const HOST: &str = "app.example.test";
pub const SESSION: &str = "__Host-session";
/// A server key: base64 of 32 bytes.
pub const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// How long a broker may believe what it knows of a session after the last word from Redis.
pub const LEASE: StdDuration = StdDuration::from_millis(500);

/// A broker with a scripted provider named `company` and an echo behind it.
pub struct Broker {
    pub address: SocketAddr,
    pub operations: SocketAddr,
    pub clock: Arc<ManualClock>,
    pub idp: ScriptedIdp,
    pub app: App,
}

/// Where a test's sessions are.
pub enum Store {
    Memory,
    Redis(u16),
    /// A Redis that is away at times, for which nobody waits for long.
    Unreliable(u16),
    Shared(Arc<dyn SessionBackend>),
}

/// How a test's broker differs from the plain one.
pub struct Setup {
    pub store: Store,
    /// More configuration, as TOML; the text `UPSTREAM` becomes the echo's address.
    pub more: String,
    /// Routes, instead of one for everything.
    pub routes: &'static str,
    /// More keys of `[idp.company]`.
    pub idp: String,
    /// How the broker proves to that provider who it is.
    pub client: String,
    pub keys: Vec<&'static str>,
    pub near_cache_entries: u32,
    pub clock: Arc<ManualClock>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            store: Store::Memory,
            more: String::new(),
            routes: "[[route]]\npath = \"/\"\nupstream = \"UPSTREAM\"\n",
            idp: String::new(),
            client: "client_secret = \"CANARY-client-secret p@ss:w%rd+/=é\"".into(),
            keys: vec![KEY],
            near_cache_entries: 1_000,
            clock: ManualClock::at(SystemClock.now()),
        }
    }
}

impl Broker {
    pub async fn start() -> Self {
        Self::with(Setup::default()).await
    }

    pub async fn with(setup: Setup) -> Self {
        let idp = ScriptedIdp::start(setup.clock.clone()).await;
        Self::with_provider(setup, idp).await
    }

    pub async fn with_provider(setup: Setup, idp: ScriptedIdp) -> Self {
        let office = upstream::start().await;
        let settings = settings(&setup, &idp.issuer(), office);
        let store: Arc<dyn SessionBackend> = match setup.store {
            Store::Memory => Arc::new(MemoryStore::new(setup.clock.clone())),
            Store::Redis(port) => Arc::new(RedisBackend::connect(redis::settings(port)).unwrap()),
            Store::Unreliable(port) => Arc::new(RedisBackend::connect(redis::unreliable(port)).unwrap()),
            Store::Shared(store) => store,
        };
        let ports = Dependencies { clock: setup.clock.clone(), store };
        let app = App::build(settings, ports).unwrap();
        let address = listen(app.site()).await;
        let operations = listen(app.operations_router()).await;
        Self { address, operations, clock: setup.clock, idp, app }
    }

    /// Another replica: the same configuration, store and provider, nothing else in common.
    pub async fn replica(&self, setup: Setup) -> Self {
        Self::with_provider(Setup { clock: self.clock.clone(), ..setup }, self.idp.clone()).await
    }

    /// Reads the configuration again, as SIGHUP does.
    pub fn reload(&self, setup: &Setup) {
        self.app.reload(settings(setup, &self.idp.issuer(), self.operations));
    }

    /// The same person's browser, when it reaches this replica.
    pub fn takes_over(&self, browser: &Browser) -> Browser {
        let moved = self.browser();
        moved.take_cookies_of(browser);
        moved
    }

    /// A fresh browser of somebody who knows where everything is.
    pub fn browser(&self) -> Browser {
        Browser::new([(HOST.to_owned(), self.address)])
    }

    /// Signs in as whoever the provider says, coming back to a path; the landing.
    pub async fn sign_in(&self, browser: &Browser, path: &str) -> Answer {
        let callback = self.reach_callback(browser, path).await;
        browser.visit(&callback).send().await
    }

    /// A browser that is signed in.
    pub async fn signed_in(&self) -> Browser {
        let browser = self.browser();
        let landed = self.sign_in(&browser, "/").await;
        assert_eq!((landed.status.as_u16(), landed.location()), (303, "/"), "{}", landed.body);
        browser
    }

    /// From now on the provider speaks of somebody of these groups, who has just proved who they are.
    pub fn meets(&self, subject: &str, groups: &[&str]) {
        self.idp.behave(Script::person(subject, groups, self.clock.now().unix_timestamp()));
    }

    /// A browser of somebody of these groups that is signed in.
    pub async fn signed_in_as(&self, subject: &str, groups: &[&str]) -> Browser {
        self.meets(subject, groups);
        self.signed_in().await
    }

    /// The same, as soon as the store is back.
    pub async fn signed_in_after_an_outage(&self) -> Browser {
        eventually("the store takes a login", async || {
            let browser = self.browser();
            let start = browser.visit(&format!("{PUBLIC}/sso/login")).send().await;
            if start.status == 503 {
                return None;
            }
            let status = self.sign_in(&browser, "/").await.status;
            assert!(status == 303 || status == 503, "{status}");
            (status == 303).then_some(browser)
        })
        .await
    }

    /// Starts a login and lets the provider answer; the address it sends the browser to.
    pub async fn reach_callback(&self, browser: &Browser, path: &str) -> String {
        let path: String = url::form_urlencoded::byte_serialize(path.as_bytes()).collect();
        let start = browser.visit(&format!("{PUBLIC}/sso/login?return_to={path}")).send().await;
        assert_eq!(start.status, 303, "{}", start.body);
        let answer = browser.visit(start.location()).send().await;
        assert_eq!(answer.status, 303, "{}", answer.body);
        answer.location().to_owned()
    }

    /// Starts a login and lets the provider answer with a form, for the browser to send: where to, and what.
    pub async fn reach_form(&self, browser: &Browser, path: &str) -> (String, Vec<(String, String)>) {
        let path: String = url::form_urlencoded::byte_serialize(path.as_bytes()).collect();
        let start = browser.visit(&format!("{PUBLIC}/sso/login?return_to={path}")).send().await;
        assert_eq!(start.status, 303, "{}", start.body);
        let page = browser.visit(start.location()).send().await;
        assert_eq!(page.status, 200, "{}", page.body);
        page.form()
    }

    /// The handle of a browser's session, as lists show it and as soon as the store says it.
    pub async fn handle(&self, browser: &Browser) -> String {
        let session = eventually("the store is back", async || {
            let session = browser.get("/sso/session").await;
            (session.status != 503).then_some(session)
        });
        session.await.json()["session"]["handle"].as_str().unwrap().to_owned()
    }

    /// What the operators' port says of being ready.
    pub async fn readiness(&self) -> Answer {
        Browser::new([("ops".to_owned(), self.operations)]).fetch("http://ops/readyz").send().await
    }

    /// The status that a browser gets for a guarded page, asked by a script.
    pub async fn status(&self, browser: &Browser) -> u16 {
        browser.get("/guarded").await.status.as_u16()
    }

    /// Asks for a guarded page until it is not served any more; the status then. Since Redis was last heard of nobody
    /// is served who asks after the lease: the time before asking counts, not what the machine takes to answer.
    pub async fn refused_after_the_lease(&self, browser: &Browser, last_heard: Instant) -> u16 {
        loop {
            let asked = last_heard.elapsed();
            let status = self.status(browser).await;
            if status != 200 {
                return status;
            }
            assert!(asked <= LEASE, "believed {asked:?} after the last word from Redis");
        }
    }

    /// Waits until a session is served without Redis being asked for a value; `gets` is how often that was done so far.
    pub async fn served_from_memory(&self, browser: &Browser, gets: impl Fn() -> u64) {
        until("it is served from the near cache", async || {
            let before = gets();
            for _ in 0..3 {
                assert_eq!(self.status_after_an_outage(browser).await, 200);
            }
            gets() == before
        })
        .await;
    }

    /// Waits until a guarded page is answered otherwise than "not now"; the status then.
    pub async fn status_after_an_outage(&self, browser: &Browser) -> u16 {
        eventually("the store is back", async || Some(self.status(browser).await).filter(|&status| status != 503)).await
    }
}

/// Serves a site for as long as the test runs; its address.
pub async fn listen(site: impl BackOffice) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, site, std::future::pending(), StdDuration::from_secs(1)));
    address
}

fn settings(setup: &Setup, issuer: &str, office: SocketAddr) -> Settings {
    let keys = setup.keys.iter().map(|key| format!("\"{key}\"")).collect::<Vec<_>>().join(",");
    let (routes, idp, more, near_cache_entries) = (setup.routes, &setup.idp, &setup.more, setup.near_cache_entries);
    let client = &setup.client;
    let file = format!(
        r#"
        public_url = "{PUBLIC}"
        [secrets]
        keys = [{keys}]
        [store]
        url = "memory:"
        near_cache_entries = {near_cache_entries}
        near_cache_max_age = "1h"
        [idp.company]
        kind = "oidc"
        issuer = "{issuer}"
        client_id = "backoffice"
        {client}
        {idp}
        {routes}
        {more}
        "#
    );
    let file = file.replace("UPSTREAM", &format!("http://{office}"));
    let source = Source { file: Some(file), ..Source::default() };
    source.settings().unwrap_or_else(|faults| panic!("{faults}"))
}
