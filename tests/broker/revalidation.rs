//! What the answers of products to a renewal mean: a table of products and situations, and what it rests on.
//!
//! The first five products and their answers were seen by running them. Others of their kind were found in the issue
//! trackers of OAuth servers, by looking for refresh tokens that are refused with another code than `invalid_grant`.

use std::sync::Arc;

use counterfoil::clock::Clock;
use counterfoil::session::store::memory::MemoryStore;
use http::Method;
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use crate::support::administration::{SECTION, call};
use crate::support::broker::{Broker, PUBLIC, Setup, Store};
use crate::support::captured_log::CapturedLog;
use crate::support::child::until;
use crate::support::scripted_idp::manners::{Product, Situation};
use crate::support::scripted_idp::{Gate, Misbehaviour, Script, change, set};

const ROUTES: &str = "[[route]]\npath = \"/api\"\nupstream = \"UPSTREAM\"\npass_access_token = true\n\
                      [[route]]\npath = \"/\"\nupstream = \"UPSTREAM\"\n";

/// The provider is asked every five minutes, and requests wait for it, however slow the machine is.
fn paced() -> Setup {
    with("refresh_wait = \"1m\"\ntimeout = \"1m\"")
}

fn with(keys: &str) -> Setup {
    let idp = format!("refresh = \"5m\"\n{keys}");
    Setup { idp, routes: ROUTES, more: SECTION.into(), ..Setup::default() }
}

/// Somebody else signs in honestly, or whatever else the provider lets them.
async fn somebody_else_signs_in(broker: &Broker) {
    let before = broker.idp.script();
    let (sub, mine) = (json!({ "sub": "somebody-else" }), before.clone());
    broker.idp.behave(Script { id_token_claims: set(sub.clone()), userinfo: set(sub), ..mine });
    broker.signed_in().await;
    broker.idp.behave(before);
}

#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Outcome {
    /// The session ends, and the page says that the provider ended it.
    Ends,
    /// It ends ten minutes after the first such answer.
    EndsIfItLasts,
    /// It goes on for the grace, and then needs a login.
    NeedsLoginAfterGrace,
    /// It goes on as it is.
    GoesOn,
}

/// R-C12, R-I08
#[tokio::test]
async fn what_products_answer_to_a_renewal_has_the_outcome_that_people_expect() {
    use Outcome::{Ends, EndsIfItLasts, GoesOn, NeedsLoginAfterGrace};
    use Situation::{ClientDeleted, KeyChanged, Nothing, Overloaded, PersonDeleted, RefreshTokenGone};
    for (product, situation, expected) in [
        (Product::Dex, Nothing, GoesOn),
        (Product::Dex, RefreshTokenGone, Ends),
        (Product::Dex, PersonDeleted, NeedsLoginAfterGrace),
        (Product::Dex, KeyChanged, GoesOn),
        (Product::Dex, Overloaded, GoesOn),
        (Product::Authelia, Nothing, GoesOn),
        (Product::Authelia, RefreshTokenGone, Ends),
        (Product::Authelia, KeyChanged, EndsIfItLasts),
        (Product::Hydra, ClientDeleted, GoesOn),
        (Product::Hydra, PersonDeleted, Ends),
        (Product::Gitea, Nothing, GoesOn),
        (Product::Gitea, RefreshTokenGone, Ends),
        (Product::Gitea, PersonDeleted, Ends),
        (Product::Gitea, ClientDeleted, GoesOn),
        (Product::Casdoor, Nothing, GoesOn),
        (Product::Casdoor, PersonDeleted, Ends),
        (Product::Casdoor, Overloaded, GoesOn),
        (Product::League, RefreshTokenGone, Ends),
        (Product::Authlib, RefreshTokenGone, Ends),
        (Product::BetterAuth, RefreshTokenGone, Ends),
    ] {
        let case = format!("{product:?}, {situation:?}");
        let broker = Broker::with(paced()).await;
        broker.idp.behave(product.manner(Nothing, &broker.idp));
        let browser = broker.signed_in().await;
        broker.clock.advance(Duration::minutes(5));
        broker.idp.behave(product.manner(situation, &broker.idp));
        let at_once = browser.get("/x").await;
        if expected == Ends {
            assert_eq!((at_once.status.as_u16(), at_once.code().as_str()), (401, "session_revoked"), "{case}");
            let away = browser.visit(&format!("{PUBLIC}/x")).send().await;
            let page = browser.visit(&format!("{PUBLIC}{}", away.location())).send().await;
            assert!(page.body.contains("Your company account signed you out"), "{case}: {}", page.body);
            continue;
        }
        assert_eq!(at_once.status, 200, "{case}: {}", at_once.body);
        if expected == EndsIfItLasts {
            broker.clock.advance(Duration::minutes(10) - Duration::seconds(1));
            assert_eq!(browser.get("/x").await.status, 200, "{case}");
            broker.clock.advance(Duration::seconds(11));
            assert_eq!(browser.get("/x").await.code(), "session_revoked", "{case}");
            continue;
        }
        for _ in 0..5 {
            broker.clock.advance(Duration::minutes(14));
            somebody_else_signs_in(&broker).await;
            let late = browser.get("/x").await;
            assert!(late.status == 200 || late.code() == "reauthentication_required", "{case}: {}", late.body);
        }
        let late = browser.get("/x").await;
        match expected {
            NeedsLoginAfterGrace => assert_eq!(late.code(), "reauthentication_required", "{case}"),
            _ => assert_eq!(late.status, 200, "{case}: {}", late.body),
        }
        broker.idp.behave(product.manner(Nothing, &broker.idp));
        if matches!(situation, PersonDeleted | Overloaded) {
            broker.clock.advance(Duration::seconds(11));
            assert_eq!(browser.get("/x").await.status, 200, "{case}: it had not ended");
        }
    }
}

/// R-C12: until this process has exchanged or renewed anything with a provider, a refusal that may be for our
/// configuration ends nothing; a replica that has just been started is such a process.
#[tokio::test]
async fn a_replica_that_the_provider_has_not_served_yet_ends_no_session() {
    for manner in [
        (Product::Dex, Situation::RefreshTokenGone),
        (Product::Gitea, Situation::PersonDeleted),
        (Product::Authelia, Situation::KeyChanged),
        (Product::League, Situation::RefreshTokenGone),
    ] {
        let template = paced();
        let memory: Arc<MemoryStore> = Arc::new(MemoryStore::new(template.clock.clone()));
        let setup = || Setup { store: Store::Shared(memory.clone()), clock: template.clock.clone(), ..paced() };
        let before = Broker::with(setup()).await;
        let browser = before.signed_in().await;
        let started = before.replica(setup()).await;
        started.clock.advance(Duration::minutes(5));
        started.idp.behave(manner.0.manner(manner.1, &started.idp));
        let moved = started.takes_over(&browser);
        assert_eq!(moved.get("/x").await.status, 200, "{manner:?}");
        started.clock.advance(Duration::minutes(10));
        assert_eq!(moved.get("/x").await.status, 200, "{manner:?}");
        started.clock.advance(Duration::seconds(11));
        let script = started.idp.script();
        // Its first exchange; what the provider refuses from here on, it refuses to the person.
        started.idp.behave(Script { id_token_header: None, ..Script::default() });
        started.signed_in().await;
        started.idp.behave(script);
        assert_eq!(moved.get("/x").await.code(), "session_revoked", "{manner:?}");
    }
}

/// R-I08: the grace ends only where the provider is known to serve: in an outage for everybody a login would be no way
/// out. Once it has ended, every replica turns the session away, also those that have served nobody.
#[tokio::test]
async fn the_grace_ends_once_somebody_else_was_served_and_on_every_replica() {
    let template = paced();
    let memory: Arc<MemoryStore> = Arc::new(MemoryStore::new(template.clock.clone()));
    let setup = || Setup {
        store: Store::Shared(memory.clone()),
        clock: template.clock.clone(),
        ..with("refresh_wait = \"1m\"\nrefresh_grace = \"20m\"")
    };
    let broker = Broker::with(setup()).await;
    let other = broker.replica(setup()).await;
    let browser = broker.signed_in().await;
    broker.clock.advance(Duration::minutes(5));
    broker.idp.behave(Product::Dex.manner(Situation::PersonDeleted, &broker.idp));
    assert_eq!(browser.get("/x").await.status, 200);
    broker.clock.advance(Duration::minutes(21));
    assert_eq!(browser.get("/x").await.status, 200, "it fails for everybody, as far as is known");
    broker.clock.advance(Duration::seconds(11));
    let moved = other.takes_over(&browser);
    somebody_else_signs_in(&broker).await;
    assert_eq!(moved.get("/x").await.status, 200, "this replica has served nobody");
    broker.clock.advance(Duration::seconds(11));
    assert_eq!(browser.get("/x").await.code(), "reauthentication_required");
    assert_eq!(moved.get("/x").await.code(), "reauthentication_required");
    let away = Misbehaviour::Answer(503, "text/plain", "");
    broker.idp.behave(Script { at_refresh: away, ..Script::default() });
    broker.clock.advance(Duration::seconds(11));
    assert_eq!(browser.get("/x").await.code(), "reauthentication_required", "an outage lets nobody pass again");
    broker.idp.behave(Script::default());
    broker.clock.advance(Duration::seconds(11));
    assert_eq!(browser.get("/x").await.status, 200);
}

/// What reviewers see of the only session.
async fn listed(broker: &Broker) -> Value {
    let answer = call(broker, Method::GET, "sessions", None).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()["sessions"][0].clone()
}

/// R-O02: since when, in lists, and in one warning a session: not one a try.
#[tokio::test]
async fn since_when_a_session_is_not_confirmed_stands_in_lists_and_is_warned_of_once() {
    let broker = Broker::with(paced()).await;
    let browser = broker.signed_in().await;
    assert_eq!(listed(&broker).await["indeterminate_since"], Value::Null);
    let log = CapturedLog::begin(tracing::Level::WARN);
    broker.clock.advance(Duration::minutes(5));
    let since = broker.clock.now();
    for answer in [
        Product::Dex.manner(Situation::PersonDeleted, &broker.idp),
        Product::Dex.manner(Situation::Overloaded, &broker.idp),
        Script { refresh_claims: set(json!({ "iat": 1 })), ..Script::default() },
        Script { at_userinfo: Misbehaviour::Answer(500, "text/plain", ""), ..Script::default() },
    ] {
        broker.idp.behave(answer);
        assert_eq!(browser.get("/x").await.status, 200);
        let told = listed(&broker).await["indeterminate_since"].as_str().unwrap().to_owned();
        let told = OffsetDateTime::parse(&told, &Rfc3339).unwrap();
        assert_eq!(told.unix_timestamp(), since.unix_timestamp());
        broker.clock.advance(Duration::seconds(21));
    }
    assert_eq!(log.lines_with("renewal_failed").len(), 1, "{:?}", log.lines_with(""));
    broker.idp.behave(Script::default());
    assert_eq!(browser.get("/x").await.status, 200);
    assert_eq!(listed(&broker).await["indeterminate_since"], Value::Null);
}

/// R-C12: a provider that does not know the client is an outage for everybody, which operators have to fix.
#[tokio::test]
async fn a_provider_that_does_not_know_the_client_is_a_fault_of_the_configuration() {
    for refusal in
        [(401, r#"{"error":"invalid_client"}"#), (401, "no"), (200, r#"{"error":"incorrect_client_credentials"}"#)]
    {
        let broker = Broker::with(paced()).await;
        let (one, other) = (broker.signed_in().await, broker.signed_in().await);
        let log = CapturedLog::begin(tracing::Level::ERROR);
        broker.clock.advance(Duration::minutes(5));
        broker.idp.forget_requests();
        let refuses = Misbehaviour::Answer(refusal.0, "application/json", refusal.1);
        broker.idp.behave(Script { at_refresh: refuses, ..Script::default() });
        for browser in [&one, &other] {
            assert_eq!(browser.get("/x").await.status, 200, "{refusal:?}");
        }
        assert_eq!(broker.idp.received("/token").len(), 1, "{refusal:?}: nobody else asks for now");
        broker.clock.advance(Duration::seconds(11));
        assert_eq!(other.get("/x").await.status, 200, "{refusal:?}");
        assert_eq!(log.lines_with("the configuration is at fault").len(), 1, "{refusal:?}");
    }
}

/// R-P02: a live session is served while the provider is slow; the renewal goes on in the background.
#[tokio::test]
async fn a_live_session_does_not_wait_for_a_slow_provider() {
    let broker = Broker::with(with("timeout = \"1m\"")).await;
    let browser = broker.signed_in().await;
    let gate = Gate::default();
    let joins = set(json!({ "groups": ["finance"] }));
    let held = Script { at_refresh: Misbehaviour::Held(gate.clone()), userinfo: joins, ..Script::default() };
    broker.clock.advance(Duration::minutes(5));
    broker.idp.forget_requests();
    broker.idp.behave(held);
    for path in ["/x", "/y", "/x"] {
        assert_eq!(browser.get(path).await.status, 200, "the provider has not answered yet");
    }
    let expired = browser.copy();
    let expired = tokio::spawn(async move { expired.get("/api").await });
    until("it is asked", async || broker.idp.received("/token").len() == 1).await;
    gate.open();
    assert_eq!(expired.await.unwrap().status, 200, "whoever needs a new token waits for it");
    until("the renewal is brought to its end", async || browser.session().await["groups"] == json!(["finance"])).await;
    assert_eq!(broker.idp.received("/token").len(), 1);
}

/// R-P02: a timeout of the provider starts a backoff for all sessions; then a single one makes a request, and its
/// success lets the others follow.
#[tokio::test]
async fn a_provider_that_timed_out_gets_a_backoff_for_all_sessions() {
    let broker = Broker::with(with("timeout = \"1s\"")).await;
    let mut browsers = Vec::new();
    for _ in 0..4 {
        browsers.push(broker.signed_in().await);
    }
    broker.clock.advance(Duration::minutes(5));
    broker.idp.forget_requests();
    let gate = Gate::default();
    broker.idp.behave(Script { at_refresh: Misbehaviour::Held(gate.clone()), ..Script::default() });
    assert_eq!(browsers[0].get("/x").await.status, 200);
    until("the provider did not answer in time", async || listed_unconfirmed(&broker).await == 1).await;
    for browser in &browsers {
        assert_eq!(browser.get("/x").await.status, 200);
    }
    assert_eq!(broker.idp.received("/token").len(), 1, "nobody else asks");
    broker.clock.advance(Duration::seconds(11));
    for browser in &browsers[1..] {
        assert_eq!(browser.get("/x").await.status, 200);
    }
    assert_eq!(broker.idp.received("/token").len(), 2, "one of them goes first");
    until("nor did it answer then", async || listed_unconfirmed(&broker).await == 2).await;
    broker.idp.behave(Script::default());
    broker.clock.advance(Duration::seconds(11));
    assert_eq!(browsers[0].get("/x").await.status, 200);
    until("the first is confirmed", async || listed_unconfirmed(&broker).await == 1).await;
    for browser in &browsers {
        assert_eq!(browser.get("/x").await.status, 200);
    }
    until("all are confirmed", async || listed_unconfirmed(&broker).await == 0).await;
    assert_eq!(broker.idp.received("/token").len(), 6);
}

async fn listed_unconfirmed(broker: &Broker) -> usize {
    let sessions = call(broker, Method::GET, "sessions", None).await.json()["sessions"].clone();
    sessions.as_array().unwrap().iter().filter(|session| !session["indeterminate_since"].is_null()).count()
}

/// R-C12, R-C13: one line a setting of the client at the provider, found by going through what is refused of an ID token.
/// Changed for a while, it ends no session: whoever signs in again, or waits until it is changed back, goes on.
#[tokio::test]
async fn a_setting_at_the_provider_that_is_changed_and_changed_back_ends_no_session() {
    let header = |members| Script::header(members);
    let claims = |members| Script { refresh_claims: set(members), ..Script::default() };
    for (setting, script) in [
        ("algorithm", Script { signing: Algorithm::ES256, ..Script::default() }),
        ("algorithm, by name", header(json!({ "alg": "PS256" }))),
        ("type", header(json!({ "typ": "at+jwt" }))),
        ("extension", header(json!({ "crit": ["b64"] }))),
        ("name of the key", header(json!({ "kid": 7 }))),
        ("encryption", Script { id_token: Some(Arc::new(|token| format!("{token}.x.y"))), ..Script::default() }),
        ("an audience more", claims(json!({ "aud": ["backoffice", "another"], "azp": "backoffice" }))),
        ("another audience", claims(json!({ "aud": "another" }))),
        ("another party", claims(json!({ "azp": "another" }))),
        ("name of the session", claims(json!({ "sid": "" }))),
        ("hash of the access token", claims(json!({ "at_hash": "another" }))),
    ] {
        let broker = Broker::with(paced()).await;
        let browser = broker.signed_in().await;
        for _ in 0..2 {
            broker.clock.advance(Duration::minutes(5));
            broker.idp.behave(script.clone());
            let turned_away = browser.get("/x").await;
            assert_eq!(turned_away.code(), "reauthentication_required", "{setting}: {}", turned_away.body);
            broker.idp.behave(Script::default());
            broker.clock.advance(Duration::seconds(11));
            assert_eq!(browser.get("/x").await.status, 200, "{setting}");
        }
    }
}

/// R-I08, R-C12: one line an outage for everybody, found by going through what is one. However long it was, and whoever was
/// served during it by what is left, the first failure after it only begins the grace.
#[tokio::test]
async fn an_outage_does_not_use_the_grace_up() {
    for outage in [
        Misbehaviour::Drop,
        Misbehaviour::Answer(429, "text/plain", ""),
        Misbehaviour::Answer(503, "text/plain", ""),
        Misbehaviour::Answer(401, "application/json", r#"{"error":"invalid_client"}"#),
    ] {
        let broker = Broker::with(paced()).await;
        let browser = broker.signed_in().await;
        broker.clock.advance(Duration::minutes(5));
        broker.idp.behave(Script { at_refresh: outage, ..Script::default() });
        assert_eq!(browser.get("/x").await.status, 200);
        for _ in 0..5 {
            broker.clock.advance(Duration::minutes(14));
            somebody_else_signs_in(&broker).await;
            assert_eq!(browser.get("/x").await.status, 200);
        }
        broker.idp.behave(Product::Dex.manner(Situation::PersonDeleted, &broker.idp));
        for minutes in [1, 20, 20, 19] {
            broker.clock.advance(Duration::minutes(minutes));
            somebody_else_signs_in(&broker).await;
            assert_eq!(browser.get("/x").await.status, 200);
        }
        broker.clock.advance(Duration::minutes(2));
        somebody_else_signs_in(&broker).await;
        assert_eq!(browser.get("/x").await.code(), "reauthentication_required");
    }
}

/// R-P02: one line a reason why the session that was to go first after an outage asks nothing; the next one goes first then.
/// Found by going through what ends an attempt without an answer of the provider.
#[tokio::test]
async fn after_an_outage_an_attempt_without_a_request_yields_to_the_next() {
    for (reason, login) in [
        ("no refresh token, and nothing to ask userinfo with", json!({ "refresh_token": null, "expires_in": 240 })),
        ("no refresh token, and an access token that is over", json!({ "refresh_token": null, "expires_in": 1 })),
    ] {
        let broker = Broker::with(paced()).await;
        broker.idp.behave(Script { token_answer: set(login), ..Script::default() });
        let without = broker.signed_in().await;
        broker.idp.behave(Script::default());
        let (one, other) = (broker.signed_in().await, broker.signed_in().await);
        broker.clock.advance(Duration::minutes(5));
        broker.idp.behave(Script { at_refresh: Misbehaviour::Answer(503, "text/plain", ""), ..Script::default() });
        assert_eq!(one.get("/x").await.status, 200);
        broker.idp.behave(Script::default());
        broker.clock.advance(Duration::seconds(11));
        broker.idp.forget_requests();
        assert_eq!(without.get("/x").await.code(), "reauthentication_required", "{reason}");
        assert_eq!(other.get("/x").await.status, 200);
        assert_eq!(broker.idp.received("/token").len(), 1, "{reason}: it was asked");
    }
}

/// R-D05, R-C12: one line a way in which the keys that we are shown may be older than a token, found by going through what a
/// cache can get wrong. Within ten minutes it ends nothing; the session is confirmed as soon as the keys are there.
#[tokio::test]
async fn a_cache_that_shows_old_keys_after_a_rotation_ends_no_session() {
    for named in [json!(null), json!("the same as before")] {
        let broker = Broker::with(paced()).await;
        let (header, name) = (json!({ "kid": named }), named.clone());
        let honest = move || {
            let (header, name) = (header.clone(), name.clone());
            let jwks = change(move |document| set(json!({ "kid": name })).unwrap()(&mut document["keys"][0]));
            Script { id_token_header: set(header), jwks, ..Script::default() }
        };
        broker.idp.behave(honest());
        let browser = broker.signed_in().await;
        let keys = format!("{}/jwks", broker.idp.issuer());
        let old = broker.browser().fetch(&keys).send().await.json();
        broker.idp.rotate_keys();
        broker.idp.behave(Script { jwks: change(move |document| *document = old.clone()), ..honest() });
        for minutes in [5, 5, 4] {
            broker.clock.advance(Duration::minutes(minutes));
            let answer = browser.get("/x").await;
            assert_eq!(answer.status, 200, "{named}: {}", answer.body);
            assert_ne!(listed(&broker).await["indeterminate_since"], Value::Null, "{named}: not confirmed");
        }
        broker.idp.behave(honest());
        broker.clock.advance(Duration::seconds(11));
        assert_eq!(browser.get("/x").await.status, 200, "{named}");
        assert_eq!(listed(&broker).await["indeterminate_since"], Value::Null, "{named}: confirmed");
    }
}
