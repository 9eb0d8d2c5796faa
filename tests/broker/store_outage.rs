//! A store that cannot be asked: 503, the cookie untouched, no login, bounded waiting, and recovery by itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use crate::support::administration::{SECTION, call};
use crate::support::broker::{Broker, LEASE, PUBLIC, SESSION, Setup, Store};
use crate::support::browser::{Asking, Browser};
use crate::support::child::{PATIENCE, free_port, until};
use crate::support::cut_proxy::CutProxy;
use crate::support::redis::{GIVEN_UP_AFTER, Redis, unreliable};
use crate::support::scripted_idp::{Gate, Misbehaviour, Script};
use crate::support::upstream;

async fn unavailable(broker: &Broker, browser: &Browser) {
    let cookie = browser.cookie(SESSION);
    let asked = [
        browser.fetch(&format!("{PUBLIC}/guarded")),
        browser.visit(&format!("{PUBLIC}/guarded")),
        browser.fetch(&format!("{PUBLIC}/sso/session")),
    ];
    for answer in join_all(asked.map(Asking::send)).await {
        assert_eq!(answer.status, 503, "{}", answer.body);
        assert!(!answer.header("retry-after").is_empty());
        assert!(answer.set_cookies().is_empty() && answer.location().is_empty());
    }
    let problem = browser.get("/guarded").await;
    assert_eq!(problem.code(), "store_unavailable");
    assert_eq!(browser.cookie(SESSION), cookie);
    let ready = broker.readiness().await;
    assert_eq!((ready.status.as_u16(), ready.json()["store"].as_str()), (503, Some("unreachable")));
    let operations = Browser::new([("ops".to_owned(), broker.operations)]);
    assert_eq!(operations.fetch("http://ops/livez").send().await.status, 200);
}

async fn recovered(broker: &Broker, browser: &Browser) {
    assert_eq!(broker.status_after_an_outage(browser).await, 200, "nobody was signed out");
}

/// R-P01, R-P02: refused, then back.
#[tokio::test]
async fn a_connection_that_is_cut_is_an_outage_and_not_a_logout() {
    let redis = Redis::start();
    let network = CutProxy::in_front_of(([127, 0, 0, 1], redis.port()).into()).await;
    let store = Store::Unreliable(network.address().port());
    let broker = Broker::with(Setup { store, ..Setup::default() }).await;
    let browser = broker.signed_in_after_an_outage().await;
    network.cut();
    unavailable(&broker, &browser).await;
    network.restore();
    recovered(&broker, &browser).await;
    network.stall();
    // The near cache answers for half a second.
    broker.refused_after_the_lease(&browser, Instant::now()).await;
    unavailable(&broker, &browser).await;
    network.restore();
    recovered(&broker, &browser).await;
}

/// Whatever the outage: the page shows no name, and the cookie is deleted in any case.
#[tokio::test]
async fn the_question_before_signing_out_needs_no_store() {
    let redis = Redis::start();
    let network = CutProxy::in_front_of(([127, 0, 0, 1], redis.port()).into()).await;
    let store = Store::Unreliable(network.address().port());
    let broker = Broker::with(Setup { store, near_cache_entries: 0, ..Setup::default() }).await;
    for fault in ["cut", "stall", "another's"] {
        let browser = broker.signed_in_after_an_outage().await;
        let own = redis.ask(&["GET", "counterfoil:keys"]);
        match fault {
            "cut" => network.cut(),
            "stall" => network.stall(),
            _ => {
                redis.ask(&["SET", "counterfoil:keys", "1 AAAA"]);
                broker.app.sessions().maintenance().renew_store_claim().await.unwrap_err();
            }
        }
        let question = browser.visit(&format!("{PUBLIC}/sso/logout")).send().await;
        assert_eq!(question.status, 200, "{fault}: {}", question.body);
        assert!(question.body.contains("cannot look up your session") && !question.body.contains("Alice"), "{fault}");
        let token = question.csrf_token();
        let out = browser.submit(&format!("{PUBLIC}/sso/logout"), &[("csrf_token", &token)]).send().await;
        assert_eq!(out.status, 503, "{fault}: {}", out.body);
        assert!(out.body.contains("has forgotten your session"), "{fault}: what holds is said: {}", out.body);
        assert_eq!(browser.cookie(SESSION), None, "{fault}");
        let strangers = broker.browser().visit(&format!("{PUBLIC}/sso/logout")).send().await;
        assert!(strangers.status == 200 && !strangers.body.contains("csrf_token"), "{fault}: nothing to sign out of");
        network.restore();
        redis.ask(&["SET", "counterfoil:keys", &own]);
        until("the store is back", async || broker.app.sessions().maintenance().renew_store_claim().await.is_ok())
            .await;
    }
}

/// R-P01: the provider has answered by then, and the answer is not used.
#[tokio::test]
async fn a_renewal_that_cannot_be_stored_lets_nobody_pass() {
    let redis = Redis::start();
    let network = CutProxy::in_front_of(([127, 0, 0, 1], redis.port()).into()).await;
    let store = Store::Unreliable(network.address().port());
    let idp = "refresh = \"5m\"\nrefresh_wait = \"1m\"\ntimeout = \"1m\"".into();
    let broker = Broker::with(Setup { store, idp, ..Setup::default() }).await;
    let browser = broker.signed_in_after_an_outage().await;
    broker.clock.advance(time::Duration::minutes(5));
    let gate = Gate::default();
    broker.idp.behave(Script { at_refresh: Misbehaviour::Held(gate.clone()), ..Script::default() });
    broker.idp.forget_requests();
    let waiting = browser.copy();
    let waiting = tokio::spawn(async move { waiting.get("/guarded").await });
    until("it is renewed", async || !broker.idp.received("/token").is_empty()).await;
    network.cut();
    gate.open();
    let answer = waiting.await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (503, "store_unavailable"), "{}", answer.body);
}

/// R-P01, R-P02: a hung server; each request waits for a bounded time, and many do not wait for each other.
#[tokio::test]
async fn a_hung_redis_is_waited_for_briefly() {
    let redis = Redis::start();
    let broker = Broker::with(Setup { store: Store::Unreliable(redis.port()), ..Setup::default() }).await;
    let browser = broker.signed_in_after_an_outage().await;
    redis.freeze();
    // Waited for one after the other they would take longer than their browsers wait.
    let count = 2 * PATIENCE.as_secs() / GIVEN_UP_AFTER.as_secs();
    let requests: Vec<_> = (0..count)
        .map(|_| {
            let browser = browser.clone();
            tokio::spawn(async move { browser.get("/guarded").await.status })
        })
        .collect();
    for request in requests {
        assert_eq!(request.await.unwrap(), 503);
    }
    unavailable(&broker, &browser).await;
    redis.thaw();
    recovered(&broker, &browser).await;
}

/// Redis down before the broker starts: it starts, says so, and serves as soon as Redis is there.
#[tokio::test]
async fn the_broker_starts_without_redis_and_finds_it_later() {
    let port = free_port();
    let broker = Broker::with(Setup { store: Store::Unreliable(port), ..Setup::default() }).await;
    let browser = broker.browser();
    let refused = browser.visit(&format!("{PUBLIC}/sso/login")).send().await;
    assert_eq!(refused.status, 503, "no login begins that nobody could end");
    assert!(refused.set_cookies().is_empty());
    let redis = Redis::start_on(port);
    until("a login begins", async || browser.visit(&format!("{PUBLIC}/sso/login")).send().await.status == 303).await;
    let callback = broker.reach_callback(&browser, "/").await;
    drop(redis);
    let refused = browser.visit(&callback).send().await;
    assert_eq!(refused.status, 503);
    assert!(refused.set_cookies().is_empty(), "the login stays pending");
    assert!(broker.idp.received("/token").is_empty(), "the code is not used up");
    let _redis = Redis::start_on(port);
    until("the same login goes through", async || {
        let status = browser.visit(&callback).send().await.status;
        assert!(status == 303 || status == 503, "{status}");
        status == 303
    })
    .await;
    assert_eq!(broker.status_after_an_outage(&browser).await, 200);
}

/// A page that nobody needs a session for does not depend on the store.
#[tokio::test]
async fn public_pages_outlive_the_store() {
    let routes = "[[route]]\npath = \"/public\"\nupstream = \"UPSTREAM\"\naccess = \"public\"\n";
    let broker = Broker::with(Setup { store: Store::Unreliable(free_port()), routes, ..Setup::default() }).await;
    let browser = broker.browser();
    browser.plant("app.example.test", SESSION, &"A".repeat(64));
    assert_eq!(browser.visit(&format!("{PUBLIC}/public")).send().await.status, 200);
}

/// R-P09: a restart with Redis loses no session.
#[tokio::test]
async fn sessions_survive_a_restart_of_the_broker() {
    let redis = Redis::start();
    let first = Broker::with(Setup { store: Store::Redis(redis.port()), ..Setup::default() }).await;
    let browser = first.signed_in().await;
    let setup = Setup { store: Store::Redis(redis.port()), ..Setup::default() };
    let second = Broker::with_provider(setup, first.idp.clone()).await;
    let moved = second.browser();
    moved.plant("app.example.test", SESSION, &browser.cookie(SESSION).unwrap());
    assert_eq!(second.status(&moved).await, 200);
    crate::support::sign_out::sign_out(&moved).await;
    assert_eq!(first.status(&browser).await, 401, "and an end on one replica is an end on the other");
}

/// Several people with sessions, none of whom must ever be served as another.
struct Office {
    broker: Arc<Broker>,
    people: Vec<(Browser, String)>,
}

impl Office {
    async fn open(port: u16) -> Self {
        let store = Store::Unreliable(port);
        let broker = Broker::with(Setup { store, more: SECTION.into(), ..Setup::default() }).await;
        let mut office = Self { broker: Arc::new(broker), people: Vec::new() };
        for _ in 0..12 {
            let person = office.one_more().await;
            office.people.push(person);
        }
        office
    }

    /// Somebody whose session the near cache has seen.
    async fn one_more(&self) -> (Browser, String) {
        let browser = self.broker.signed_in_after_an_outage().await;
        assert_eq!(self.broker.status_after_an_outage(&browser).await, 200);
        let handle = self.broker.handle(&browser).await;
        (browser, handle)
    }

    /// Everybody asks at once; how many were served and how many were told to wait. Nobody is signed out, nobody is
    /// taken for somebody else, everybody gets an answer.
    async fn everybody_asks(&self) -> (usize, usize) {
        let asking: Vec<_> = self
            .people
            .iter()
            .map(|(browser, handle)| {
                let (browser, handle) = (browser.clone(), handle.clone());
                tokio::spawn(async move {
                    let cookie = browser.cookie(SESSION);
                    let answer = browser.visit(&format!("{PUBLIC}/guarded")).send().await;
                    assert_eq!(browser.cookie(SESSION), cookie, "the cookie stays");
                    match answer.status.as_u16() {
                        200 => {
                            assert_eq!(upstream::received(&answer.json(), "x-auth-request-session"), [handle]);
                            true
                        }
                        503 => {
                            assert!(!answer.header("retry-after").is_empty());
                            false
                        }
                        other => panic!("{other}: {}", answer.location()),
                    }
                })
            })
            .collect();
        let mut served = 0;
        for asked in asking {
            served += usize::from(asked.await.unwrap());
        }
        (served, self.people.len() - served)
    }

    async fn recovers(&self) {
        until("everybody is served again", async || self.everybody_asks().await.1 == 0).await;
    }
}

/// R-P01, R-P02: connections that are refused, cut in the middle of replies, stalled or slow, one after the other and
/// back again.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_network_does_nobody_is_signed_out_or_mistaken_for_another() {
    let redis = Redis::start();
    let network = CutProxy::in_front_of(([127, 0, 0, 1], redis.port()).into()).await;
    let office = Office::open(network.address().port()).await;
    for round in 0..2 {
        for (fault, serves) in [("cut", false), ("mid-reply", false), ("stall", false), ("slow", true)] {
            let victim = office.one_more().await;
            match fault {
                "cut" => network.cut(),
                "mid-reply" => network.cut_mid_reply(),
                "stall" => network.stall(),
                _ => network.slow(Duration::from_millis(300)),
            }
            // Behind the fault a session ends; no page for it to whoever asks once the lease has run out.
            redis.command(&["DEL", &victim.1]).await;
            let started = Instant::now();
            let mut asked = Duration::ZERO;
            while asked < 3 * LEASE {
                asked = started.elapsed();
                let status = office.broker.status(&victim.0).await;
                assert!(status != 200 || asked <= LEASE, "{fault}: a page after {asked:?}");
                assert!(serves || status != 401, "{fault}: an outage is not a logout");
                let asked = started.elapsed();
                let served = office.everybody_asks().await.0;
                assert!(serves || served == 0 || asked <= LEASE, "{round} {fault}: {served} pages after {asked:?}");
            }
            network.restore();
            office.recovers().await;
            let status = office.broker.status_after_an_outage(&victim.0).await;
            assert_eq!(status, 401, "{fault}: what was deleted stays deleted");
        }
    }
}

/// R-P01: a primary that became a replica, one that is out of memory, one that is loading its data.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_redis_refuses_nobody_is_signed_out() {
    let options = [
        "--enable-debug-command",
        "yes",
        "--key-load-delay",
        "10000",
        "--loading-process-events-interval-bytes",
        "1024",
    ];
    let redis = Redis::start_with(free_port(), &options);
    let office = Office::open(redis.port()).await;
    let login = async || {
        let browser = office.broker.browser();
        office.broker.sign_in(&browser, "/").await.status.as_u16()
    };

    redis.command(&["REPLICAOF", "127.0.0.1", &free_port().to_string()]).await;
    office.everybody_asks().await;
    assert_eq!(login().await, 503, "READONLY");
    redis.command(&["REPLICAOF", "NO", "ONE"]).await;
    office.recovers().await;

    redis.command(&["CONFIG", "SET", "maxmemory", "1"]).await;
    // Reading needs no memory.
    office.recovers().await;
    assert_eq!(login().await, 503, "OOM");
    // What can be ended is ended, and that not all could be done is said.
    let victim = &office.people[0];
    let body = serde_json::json!({ "handles": [victim.1], "reason": "test" });
    assert_eq!(call(&office.broker, http::Method::POST, "revocations", Some(body)).await.status, 503);
    assert_eq!(office.broker.status_after_an_outage(&victim.0).await, 401);
    redis.command(&["CONFIG", "SET", "maxmemory", "0"]).await;
    let office = Office::open(redis.port()).await;

    for number in 0..3_000 {
        redis_set(&redis, number).await;
    }
    let client = redis.client().await;
    let reloading = tokio::spawn(async move {
        let command = fred::types::CustomCommand::new("DEBUG", fred::types::ClusterHash::FirstKey, false);
        let _: Result<fred::types::Value, _> =
            fred::interfaces::ClientLike::custom(&client, command, vec!["RELOAD".to_owned()]).await;
    });
    until("it loads its data", async || redis.ask(&["INFO", "persistence"]).contains("loading:1")).await;
    until("LOADING is met", async || {
        assert!(!reloading.is_finished());
        office.everybody_asks().await.1 > 0
    })
    .await;
    redis.ask(&["CONFIG", "SET", "key-load-delay", "0"]);
    office.recovers().await;
}

async fn redis_set(redis: &Redis, number: u32) {
    redis.command(&["SET", &format!("filler-{number}"), &"x".repeat(100)]).await;
}

/// R-P01: a name that does not resolve is an outage like any other.
#[tokio::test]
async fn a_redis_whose_name_is_unknown_is_an_outage() {
    let mut settings = unreliable(6379);
    settings.url = counterfoil::secret::Secret::new("redis://redis.invalid:6379/0".to_owned());
    let store = Arc::new(counterfoil::session_redis::RedisBackend::connect(&settings).unwrap());
    let broker = Broker::with(Setup { store: Store::Shared(store), ..Setup::default() }).await;
    let browser = broker.browser();
    browser.plant("app.example.test", SESSION, &"A".repeat(64));
    unavailable(&broker, &browser).await;
}
