//! Blocks: the same words lift what an order laid down, and no others do.

use std::sync::Arc;

use counterfoil::identity::Identity;
use counterfoil::secret::Secret;
use counterfoil::secret::keyring::Keyring;
use counterfoil::session::blocks::Meant;
use counterfoil::session::ending::EndCause;
use counterfoil::session::filter::{Filter, PersonFilter};
use counterfoil::session::revocation::{BlockOrder, Order, Selection};
use counterfoil::session::store::memory::MemoryStore;
use counterfoil::session::{NearCacheSettings, Sessions};
use serde_json::{Value, json};
use time::Duration;

use crate::support::administration::{SECTION, revoke};
use crate::support::broker::{Broker, Setup, Store};
use crate::support::house::House;
use crate::support::program::{counterfoil, run};
use crate::support::redis::Redis;

/// Whom the scripted provider speaks of.
const ALICE: &str = "248289761001";

async fn may_sign_in(broker: &Broker, subject: &str, groups: &[&str]) -> bool {
    // Past what is refused because it may have been begun before a revocation.
    broker.clock.advance(Duration::seconds(3));
    broker.meets(subject, groups);
    let landed = broker.sign_in(&broker.browser(), "/").await;
    assert!([303, 403].contains(&landed.status.as_u16()), "{}", landed.body);
    landed.status == 303
}

/// One line a way to say whom an order means; the ways were read off the API's description of filters. Bob has a
/// session, ends, is blocked, and the same words let him in again, in another case where an address is meant.
#[tokio::test]
async fn what_one_order_laid_down_the_same_words_lift() {
    let redis = Redis::start();
    for store in [Store::Memory, Store::Redis(redis.port())] {
        let broker = Broker::with(Setup { store, more: SECTION.into(), ..Setup::default() }).await;
        let issuer = broker.idp.issuer();
        for (order, lift) in [
            (json!({ "user": "bob" }), None),
            (json!({ "user": "bob@example.com" }), None),
            (json!({ "user": "bob@example.com" }), Some(json!({ "user": "Bob@Example.COM" }))),
            (json!({ "group": "finance" }), None),
            (json!({ "issuer": issuer, "subject": "bob" }), None),
            (json!({ "subject": "bob" }), None),
            (json!({ "idp": "company" }), None),
            (json!({ "user": "bob", "group": "finance" }), None),
            (json!({ "issuer": issuer, "subject": "bob", "idp": "company" }), None),
            (json!({ "ip": "127.0.0.1" }), None),
            (json!({ "older_than": "1s" }), None),
            (json!({ "user": "bob", "idle_longer_than": "1s" }), None),
            (json!({ "all": true }), None),
            (json!("handle"), None),
            // An order that names a person lifts every block on that person alone.
            (json!("handle"), Some(json!({ "issuer": issuer, "subject": "bob" }))),
        ] {
            broker.meets("bob", &["finance"]);
            let browser = broker.signed_in().await;
            let handle = broker.handle(&browser).await;
            broker.clock.advance(Duration::seconds(3));
            let body = |words: &Value, block: &str| match words {
                Value::String(_) => json!({ "handles": [handle], "reason": "t", "block_for": block }),
                filter => json!({ "filter": filter, "reason": "t", "block_for": block }),
            };
            let ended = revoke(&broker, body(&order, "1h")).await;
            assert_eq!((&ended["ended"], &ended["lifted"]), (&json!(1), &json!(0)), "{order}");
            if order != json!({ "all": true }) {
                assert!(!may_sign_in(&broker, "bob", &["moved"]).await, "{order}");
            }
            assert!(!may_sign_in(&broker, "bob", &["finance"]).await, "{order}");
            let lifted = revoke(&broker, body(&lift.unwrap_or_else(|| order.clone()), "0s")).await;
            assert!(lifted["lifted"].as_u64().unwrap() > 0, "{order}: {lifted}");
            assert!(may_sign_in(&broker, "bob", &["finance"]).await, "{order}");
            assert_eq!(broker.app.sessions().administration().blocks().await.unwrap(), [], "{order}");
            revoke(&broker, json!({ "filter": { "all": true }, "reason": "t", "fresh_login": false })).await;
            broker.clock.advance(Duration::seconds(3));
        }
    }
}

/// Other words lift nothing: found by asking of each pair of orders who would be let in by mistake.
#[tokio::test]
async fn other_words_lift_nothing() {
    let broker = Broker::with(Setup { more: SECTION.into(), ..Setup::default() }).await;
    let issuer = broker.idp.issuer();
    for (order, lift) in [
        (json!({ "user": "bob" }), json!({ "group": "finance" })),
        (json!({ "group": "finance" }), json!({ "user": "bob" })),
        (json!({ "group": "finance" }), json!({ "group": "Finance" })),
        (json!({ "group": "finance" }), json!({ "group": "finance", "user": "bob" })),
        (json!({ "user": "bob", "idle_longer_than": "1s" }), json!({ "user": "bob" })),
        (json!({ "issuer": issuer, "subject": "bob" }), json!({ "issuer": issuer, "subject": "BOB" })),
        (json!({ "issuer": issuer, "subject": "bob" }), json!({ "idp": "company" })),
        (json!({ "idp": "company" }), json!({ "all": true })),
    ] {
        broker.meets("bob", &["finance"]);
        broker.signed_in().await;
        broker.clock.advance(Duration::seconds(3));
        let body = |filter: &Value, block: &str| json!({ "filter": filter, "reason": "t", "block_for": block });
        assert_eq!(revoke(&broker, body(&order, "1h")).await["ended"], 1, "{order}");
        assert_eq!(revoke(&broker, body(&lift, "0s")).await["lifted"], 0, "{order} by {lift}");
        assert!(!may_sign_in(&broker, "bob", &["finance"]).await, "{order} by {lift}");
        assert!(broker.app.sessions().administration().lift_blocks(&Meant::All).await.failure.is_none());
        assert!(may_sign_in(&broker, "bob", &["finance"]).await);
        revoke(&broker, json!({ "filter": { "all": true }, "reason": "t", "fresh_login": false })).await;
        broker.clock.advance(Duration::seconds(3));
    }
}

/// Two orders against one person: lifting one leaves the other, and says so; a shorter block in the same words does
/// not shorten the first.
#[tokio::test]
async fn each_order_stands_until_its_own_words_lift_it() {
    let broker = Broker::with(Setup { more: SECTION.into(), ..Setup::default() }).await;
    let sessions = broker.app.sessions();
    let order = |filter: Value, block: &str| json!({ "filter": filter, "reason": "t", "block_for": block });
    broker.meets("bob", &["finance"]);
    broker.signed_in().await;
    broker.clock.advance(Duration::seconds(3));
    revoke(&broker, order(json!({ "group": "finance" }), "2h")).await;
    revoke(&broker, order(json!({ "user": "bob" }), "3h")).await;
    revoke(&broker, order(json!({ "user": "bob" }), "1m")).await;
    let person =
        Filter { person: PersonFilter { user: Some("bob".into()), ..PersonFilter::default() }, ..Filter::default() };
    broker.clock.advance(Duration::minutes(5));
    let lifted = sessions.administration().lift_blocks(&Meant::OfWhomeverFits(person)).await;
    assert_eq!(lifted.lifted.len(), 2, "the words, and what the group's order laid on him: {lifted:#?}");
    let words: Vec<_> = lifted.standing.iter().map(|block| block.words.as_ref().unwrap().to_string()).collect();
    assert_eq!(words, ["group finance"], "what keeps him out all the same");
    assert!(!may_sign_in(&broker, "bob", &["finance"]).await);
    assert!(may_sign_in(&broker, "bob", &["staff"]).await, "he is of another group now");
    broker.clock.advance(Duration::hours(2));
    assert!(may_sign_in(&broker, "bob", &["finance"]).await, "over by itself");
    assert_eq!(sessions.administration().blocks().await.unwrap(), []);
    sessions.maintenance().prune().await.unwrap();
}

/// R-P08: blocks survive a rotation of keys; one that no key opens refuses all the same, is told of, and goes by the
/// person's name at the provider.
#[tokio::test]
async fn a_block_outlives_the_key_it_was_sealed_under() {
    use counterfoil::clock::ManualClock;
    use counterfoil::session::establish::{EstablishError, Freshness, NewSession, Refusal};
    use counterfoil::session::policy::{Binding, OnLimit, SessionRules};
    use counterfoil::session::record::{ClientTraits, Tokens};
    use counterfoil::session::timeout::{Limits, TimeoutPolicy};

    let rules = || {
        let limits = Limits::new(Duration::HOUR, Duration::DAY).unwrap();
        let timeouts = TimeoutPolicy { by_group: Vec::new(), default: limits };
        SessionRules { timeouts, max_per_user: None, on_limit: OnLimit::default(), bind: Binding::default() }
    };
    let clock = ManualClock::at(time::macros::datetime!(2026-01-31 09:00 UTC));
    let store = Arc::new(MemoryStore::new(clock.clone()));
    let key = |byte: u8| Secret::new(std::array::from_fn(|index| byte.wrapping_add(u8::try_from(index).unwrap())));
    let with = |keys: &[u8]| {
        let keyring = Keyring::new(keys.iter().map(|byte| key(*byte)).collect()).unwrap();
        let near_cache = NearCacheSettings { entries: 0, max_age: std::time::Duration::ZERO };
        Sessions::new(store.clone(), &keyring, rules(), near_cache, clock.clone())
    };
    let selection = Selection::Matching(Filter::subject("https://i", "bob"));
    let order = Order {
        reason: "t".into(),
        by: "test".into(),
        cause: EndCause::Revoked,
        block: BlockOrder::LayDown(Duration::DAY),
        fresh_login: false,
    };
    with(&[1]).administration().revoke(&selection, &order).await.complete().unwrap();
    // Within a minute after a key was put in front everything is sealed under it.
    with(&[2, 1]).maintenance().prune().await.unwrap();
    with(&[2, 1]).maintenance().renew_store_claim().await.unwrap();
    let rotated = with(&[2]);
    assert_eq!(
        rotated.administration().blocks().await.unwrap()[0].words.as_ref().unwrap().to_string(),
        "issuer https://i, subject bob"
    );

    // A key that was taken away before that.
    with(&[3, 2]).maintenance().renew_store_claim().await.unwrap();
    let lost = with(&[3]);
    let blocks = lost.administration().blocks().await.unwrap();
    assert_eq!((blocks.len(), &blocks[0].words, &blocks[0].person), (1, &None, &None));
    clock.advance(Duration::HOUR);
    let identity = Identity {
        idp: "company".into(),
        issuer: "https://i".into(),
        subject: "bob".into(),
        name: None,
        preferred_username: None,
        email: None,
        email_verified: false,
        groups: Vec::new(),
    };
    let new = || {
        use counterfoil::clock::Clock;
        NewSession {
            identity: identity.clone(),
            provider_session: None,
            auth_time: None,
            acr: None,
            ends_by: None,
            client: ClientTraits::default(),
            tokens: Tokens {
                access_token: Secret::new(String::new()),
                access_token_expires_at: None,
                issued_at: clock.now(),
                refresh_token: None,
                id_token: None,
                nonce: None,
            },
            begun: None,
            freshness: Freshness::CannotBeTold,
        }
    };
    let refused = lost.establish(new()).await;
    assert!(matches!(refused, Err(EstablishError::Refused(Refusal::Blocked(_)))), "{refused:?}");
    let by_other_words = lost.administration().lift_blocks(&Meant::OfWhomeverFits(Filter::default())).await;
    assert_eq!(by_other_words.lifted, []);
    let meant = Meant::OfWhomeverFits(Filter::subject("https://i", "bob"));
    assert_eq!(lost.administration().lift_blocks(&meant).await.lifted.len(), 1);
    assert!(lost.establish(new()).await.is_ok());
}

/// The reviewer at a terminal: sees who is blocked, in whose words; lifts; is told what stands; each with its exit code.
#[tokio::test(flavor = "multi_thread")]
async fn a_reviewer_at_a_terminal_lists_and_lifts_blocks() {
    let house = House::start("", 1).await;
    house.signed_in(0).await;
    let blocks = |arguments: &[&str]| {
        let (command, rest) = arguments.split_first().unwrap();
        let all: Vec<_> = ["blocks", command, "--config", &house.config].iter().chain(rest).copied().collect();
        run(counterfoil(house.folder.path(), &all))
    };
    let (code, listed, errors) = blocks(&["list"]);
    assert_eq!((code, listed.as_str(), errors.trim()), (Some(0), "", "0 block(s)"));
    let order = ["revoke", "--user", "alice@example.com", "--block", "1h", "--reason", "lost laptop", "--yes"];
    let (code, _, errors) = house.terminal(&order);
    assert!(code == Some(0) && errors.contains("block=1h"), "R-N05: {errors}");
    let (_, listed, _) = blocks(&["list"]);
    for part in
        ["person", "ordered for", "Alice", "(whoever fits)", "user alice@example.com", "lost laptop", "terminal:"]
    {
        assert!(listed.contains(part), "{part}: {listed}");
    }
    let (_, listed, _) = blocks(&["list", "--json"]);
    let objects: Vec<Value> = listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(objects.len(), 2, "{listed}");
    assert!(objects.iter().all(|block| block["filter"] == json!({ "user": "alice@example.com" })), "{listed}");
    assert!(objects.iter().any(|block| block["person"]["subject"] == "248289761001"), "{listed}");

    let issuer = house.idp.issuer();
    let refused = house.browser(0);
    let callback = house.reach_callback(&refused).await;
    assert!(refused.visit(&callback).send().await.body.contains("can’t sign in just now"));
    for (arguments, code, said) in [
        (vec!["lift", "--user", "alice@example.com", "--yes"], 64, "--reason"),
        (vec!["lift", "--reason", "x", "--yes"], 64, "say whose"),
        (vec!["lift", "--user", "alice@example.com", "--reason", "x"], 64, "nobody is there to ask"),
        (vec!["lift", "--all", "--user", "x", "--reason", "x", "--yes"], 64, "leave out"),
        (vec!["lift", "--user", "nobody", "--reason", "x", "--yes"], 0, "0 block(s) lifted"),
        // A group that she is not in, and what is of sessions: the same words alone lift what was ordered in them.
        (
            vec!["lift", "--issuer", &issuer, "--subject", ALICE, "--group", "x", "--reason", "x", "--dry-run"],
            0,
            "0 block(s) would",
        ),
        (
            vec!["lift", "--issuer", &issuer, "--subject", ALICE, "--group", "x", "--reason", "x", "--yes"],
            0,
            "0 block(s) lifted",
        ),
        (
            vec!["lift", "--user", "alice@example.com", "--ip", "192.0.2.1", "--reason", "x", "--dry-run"],
            0,
            "0 block(s) would",
        ),
        (
            vec!["lift", "--user", "alice@example.com", "--ip", "192.0.2.1", "--reason", "x", "--yes"],
            0,
            "0 block(s) lifted",
        ),
        (
            vec!["lift", "--user", "alice@example.com", "--older-than", "1d", "--reason", "x", "--yes"],
            0,
            "0 block(s) lifted",
        ),
        (vec!["lift", "--user", "alice@example.com", "--reason", "x", "--dry-run"], 0, "2 block(s) would be lifted"),
        (vec!["lift", "--user", "ALICE@example.com", "--reason", "found it", "--yes"], 0, "2 block(s) lifted"),
    ] {
        let (found, _, errors) = blocks(&arguments);
        assert!(found == Some(code) && errors.contains(said), "{arguments:?}: {found:?} {errors}");
        if said.starts_with("2 block(s) lifted") {
            assert!(errors.contains("blocks_lifted") && errors.contains("found it"), "R-N05: {errors}");
        }
    }
    let welcome = house.browser(0);
    let callback = house.reach_callback(&welcome).await;
    assert!(!welcome.visit(&callback).send().await.body.contains("can’t sign in just now"));
    let (_, ended, errors) = house.terminal(&["revoke", "--all", "--block", "0s", "--reason", "x", "--yes", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&ended).unwrap()["lifted"], 0, "{errors}");
}
