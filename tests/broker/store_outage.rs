//! A store that cannot be asked: 503, the cookie untouched, no login, bounded waiting, and recovery by itself.

use std::time::{Duration, Instant};

use crate::support::broker::{Broker, PUBLIC, SESSION, Setup, Store};
use crate::support::browser::Browser;
use crate::support::child::{PATIENCE, free_port};
use crate::support::cut_proxy::CutProxy;
use crate::support::redis::Redis;

async fn unavailable(broker: &Broker, browser: &Browser) {
    let cookie = browser.cookie(SESSION);
    for answer in [
        browser.fetch(&format!("{PUBLIC}/guarded")).send().await,
        browser.visit(&format!("{PUBLIC}/guarded")).send().await,
        browser.fetch(&format!("{PUBLIC}/sso/session")).send().await,
        browser.visit(&format!("{PUBLIC}/sso/logout")).send().await,
    ] {
        assert_eq!(answer.status, 503, "{}", answer.body);
        assert!(!answer.header("retry-after").is_empty());
        assert!(answer.set_cookies().is_empty() && answer.location().is_empty());
    }
    let problem = browser.fetch(&format!("{PUBLIC}/guarded")).send().await;
    assert_eq!(problem.code(), "store_unavailable");
    assert_eq!(browser.cookie(SESSION), cookie);
    let ready = operations(broker).fetch("http://ops/readyz").send().await;
    assert_eq!((ready.status.as_u16(), ready.json()["store"].as_str()), (503, Some("unreachable")));
    assert_eq!(operations(broker).fetch("http://ops/livez").send().await.status, 200);
}

fn operations(broker: &Broker) -> Browser {
    Browser::new([("ops".to_owned(), broker.operations)])
}

async fn recovered(broker: &Broker, browser: &Browser) {
    let started = Instant::now();
    while broker.status(browser).await != 200 {
        assert!(started.elapsed() < PATIENCE, "it never recovered");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// R-P01, R-P02: refused, then back.
#[tokio::test]
async fn a_connection_that_is_cut_is_an_outage_and_not_a_logout() {
    let redis = Redis::start();
    let network = CutProxy::in_front_of(([127, 0, 0, 1], redis.port()).into()).await;
    let store = Store::Redis(network.address().port());
    let broker = Broker::with(Setup { store, ..Setup::default() }).await;
    let browser = broker.signed_in().await;
    network.cut();
    unavailable(&broker, &browser).await;
    network.restore();
    recovered(&broker, &browser).await;
    network.stall();
    unavailable(&broker, &browser).await;
    network.restore();
    recovered(&broker, &browser).await;
}

/// R-P01, R-P02: a hung server; each request waits for a bounded time, and many do not wait for each other.
#[tokio::test]
async fn a_hung_redis_is_waited_for_briefly() {
    let redis = Redis::start();
    let broker = Broker::with(Setup { store: Store::Redis(redis.port()), ..Setup::default() }).await;
    let browser = broker.signed_in().await;
    redis.freeze();
    let started = Instant::now();
    let requests: Vec<_> = (0..50)
        .map(|_| {
            let browser = browser.clone();
            tokio::spawn(async move { browser.fetch(&format!("{PUBLIC}/guarded")).send().await.status })
        })
        .collect();
    for request in requests {
        assert_eq!(request.await.unwrap(), 503);
    }
    // Fifty waits of half a second, one after the other, would be 25 seconds.
    assert!(started.elapsed() < Duration::from_secs(10));
    unavailable(&broker, &browser).await;
    redis.thaw();
    recovered(&broker, &browser).await;
}

/// Redis down before the broker starts: it starts, says so, and serves as soon as Redis is there.
#[tokio::test]
async fn the_broker_starts_without_redis_and_finds_it_later() {
    let port = free_port();
    let broker = Broker::with(Setup { store: Store::Redis(port), ..Setup::default() }).await;
    let browser = broker.browser();
    let callback = broker.reach_callback(&browser, "/").await;
    let refused = browser.visit(&callback).send().await;
    assert_eq!(refused.status, 503);
    assert!(refused.set_cookies().is_empty(), "the login stays pending");
    assert!(broker.idp.received("/token").is_empty(), "the code is not used up");
    let _redis = Redis::start_on(port);
    let started = Instant::now();
    loop {
        let answer = browser.visit(&callback).send().await;
        if answer.status == 303 {
            break;
        }
        assert!(answer.status == 503 && started.elapsed() < PATIENCE, "{}", answer.status);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(broker.status(&browser).await, 200, "the same login went through");
}

/// A page that nobody needs a session for does not depend on the store.
#[tokio::test]
async fn public_pages_outlive_the_store() {
    let routes = "[[route]]\npath = \"/public\"\nupstream = \"UPSTREAM\"\naccess = \"public\"\n";
    let broker = Broker::with(Setup { store: Store::Redis(free_port()), routes, ..Setup::default() }).await;
    let browser = broker.browser();
    browser.plant("app.example.test", SESSION, &"A".repeat(43));
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
    crate::logout::sign_out(&moved).await;
    assert_eq!(first.status(&browser).await, 401, "and an end on one replica is an end on the other");
}
