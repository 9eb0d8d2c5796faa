//! What `/readyz` says of the providers: how each of them is, not how it once was. Found by taking a provider away; the members
//! beside it by looking for every way in which a document cannot be had.

use time::Duration;

use crate::support::broker::{Broker, Setup, Store};
use crate::support::child::until;
use crate::support::redis::Redis;
use crate::support::scripted_idp::{Misbehaviour, Script, ScriptedIdp};

#[tokio::test]
async fn readiness_tells_how_each_provider_is() {
    let setup = Setup::default();
    let idp = ScriptedIdp::start(setup.clock.clone()).await;
    let provider = |name: &str, issuer: &str| {
        format!("[idp.{name}]\nkind = \"oidc\"\nissuer = \"{issuer}\"\nclient_id = \"b\"\nclient_secret = \"x\"\n")
    };
    let more = [
        provider("away", "http://127.0.0.1:1"),
        provider("missing", &format!("{}/nothing", idp.issuer())),
        // Another name of the same, by which its metadata does not call it.
        provider("another", &idp.issuer().replace("127.0.0.1", "localhost")),
    ];
    let broker = Broker::with_provider(Setup { more: more.concat(), ..setup }, idp).await;
    broker.app.probe_providers();
    let expected = [("company", "ok"), ("away", "unreachable"), ("missing", "faulty"), ("another", "faulty")];
    until("each is told from the others", async || {
        let idps = broker.readiness().await.json()["idps"].clone();
        expected.iter().all(|(name, health)| idps[*name] == *health)
    })
    .await;
}

/// One line a way in which a provider that was fine is so no more; and it is again as soon as it is asked.
#[tokio::test]
async fn readiness_follows_a_provider_that_goes_away_and_comes_back() {
    let broker = Broker::start().await;
    broker.signed_in().await;
    let health = async || broker.readiness().await;
    assert_eq!(health().await.json()["idps"]["company"], "ok");
    for (metadata, expected) in [
        (Misbehaviour::Answer(503, "text/plain", ""), "unreachable"),
        (Misbehaviour::Drop, "unreachable"),
        (Misbehaviour::Answer(200, "text/html", "<html>"), "faulty"),
        (Misbehaviour::Answer(404, "text/plain", ""), "faulty"),
    ] {
        for (script, expected) in
            [(Script { at_metadata: metadata.clone(), ..Script::default() }, expected), (Script::default(), "ok")]
        {
            broker.idp.behave(script);
            until("it is asked again", async || {
                broker.clock.advance(Duration::minutes(1));
                health().await.json()["idps"]["company"] == expected
            })
            .await;
            assert_eq!(health().await.status, 200, "live sessions need no provider");
        }
    }
}

/// Without the orders no session can be judged.
#[tokio::test]
async fn a_log_of_orders_that_cannot_be_read_is_no_store() {
    let redis = Redis::start();
    let broker = Broker::with(Setup { store: Store::Redis(redis.port()), ..Setup::default() }).await;
    broker.signed_in().await;
    assert_eq!(broker.readiness().await.status, 200);
    redis.ask(&["DEL", "counterfoil:cut-off-log"]);
    redis.ask(&["SET", "counterfoil:cut-off-log", "nonsense"]);
    until("it is not ready", async || broker.readiness().await.status == 503).await;
    redis.ask(&["DEL", "counterfoil:cut-off-log"]);
    until("it is ready again", async || broker.readiness().await.status == 200).await;
}

/// A Redis that answers and takes no writes (a replica, a primary that was demoted) cannot establish a session.
#[tokio::test]
async fn a_redis_that_takes_no_writes_is_no_store() {
    for near_cache_entries in [1_000, 0] {
        let redis = Redis::start();
        let broker =
            Broker::with(Setup { store: Store::Redis(redis.port()), near_cache_entries, ..Setup::default() }).await;
        broker.signed_in().await;
        let ready = async || {
            let answer = broker.readiness().await;
            (answer.status.as_u16(), answer.json()["store"].as_str().unwrap().to_owned())
        };
        assert_eq!(ready().await, (200, "ok".to_owned()));
        redis.ask(&["REPLICAOF", "127.0.0.1", "1"]);
        assert_eq!(ready().await, (503, "unreachable".to_owned()), "{near_cache_entries}");
        redis.ask(&["REPLICAOF", "NO", "ONE"]);
        until("it takes writes again", async || ready().await == (200, "ok".to_owned())).await;
    }
}
