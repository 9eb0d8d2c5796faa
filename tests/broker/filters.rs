//! Finding sessions among many: by an index or by signatures, whatever became of either, and few records are opened.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use counterfoil::clock::{Clock, ManualClock, SystemClock};
use counterfoil::identity::Identity;
use counterfoil::session::LiveSession;
use counterfoil::session::blocks::Meant;
use counterfoil::session::establish::NewSession;
use counterfoil::session::filter::{Filter, PersonFilter, parse_network};
use counterfoil::session::key::SessionHandle;
use counterfoil::session::record::ClientTraits;
use counterfoil::session::revocation::{BlockOrder, Order, Selection};
use futures_util::stream::FuturesUnordered;
use futures_util::{StreamExt, future, stream};
use http::Method;
use serde_json::{Value, json};
use time::Duration;

use crate::support::administration::{SECTION, call};
use crate::support::broker::{Broker, KEY, Setup, Store};
use crate::support::child::until;
use crate::support::notices::tell_of_logout;
use crate::support::redis::Redis;
use crate::support::scripted_idp::{Script, set};

const ISSUERS: [&str; 2] = ["https://one.example.test", "https://two.example.test"];
const AGENTS: [&str; 3] = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/131.0.0.0 Safari/537.36",
    "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 Version/18.1 Safari/604.1",
];

fn setup(redis: &Redis) -> Setup {
    Setup { store: Store::Redis(redis.port()), more: SECTION.into(), ..Setup::default() }
}

fn person(number: u8) -> Identity {
    Identity {
        idp: ["one", "two"][usize::from(number % 2)].into(),
        issuer: ISSUERS[usize::from(number % 2)].into(),
        subject: format!("Subject-{number}"),
        name: Some(format!("Person {number}")),
        preferred_username: Some(format!("user{number}")),
        email: Some(format!("User{number}@Example.com")),
        email_verified: !number.is_multiple_of(7),
        groups: (0..5).map(|group| format!("group-{}", (number + group * 11) % 60)).collect(),
    }
}

async fn establish(broker: &Broker, identity: Identity, client: ClientTraits) -> SessionHandle {
    let new = NewSession::of_the_application(identity, broker.clock.now(), client);
    broker.app.sessions().establish(new).await.unwrap().handle()
}

/// Two sessions for each of as many people, one after the other.
async fn people(broker: &Broker, count: u8) {
    for number in 0..count {
        for round in 0..2 {
            let address = [198, 51, number, round];
            let agent = AGENTS[usize::from(number + round) % AGENTS.len()];
            establish(broker, person(number), ClientTraits::new(address.into(), Some(agent))).await;
        }
        broker.clock.advance(Duration::milliseconds(1));
    }
}

/// Filters of every kind, each fits somebody.
fn filters() -> Vec<(&'static str, Filter)> {
    let person = |change: fn(&mut PersonFilter)| {
        let mut filter = Filter::default();
        change(&mut filter.person);
        filter
    };
    let with = |change: fn(&mut Filter)| {
        let mut filter = Filter::default();
        change(&mut filter);
        filter
    };
    vec![
        ("user name", person(|person| person.user = Some("user42".into()))),
        ("e-mail", person(|person| person.user = Some("user42@example.COM".into()))),
        ("subject as user", person(|person| person.user = Some("Subject-42".into()))),
        ("subject", person(|person| person.subject = Some("Subject-42".into()))),
        ("issuer and subject", Filter::subject(ISSUERS[0], "Subject-42")),
        ("verified e-mail", person(|person| person.verified_email = Some("USER41@example.com".into()))),
        (
            "user and issuer",
            Filter {
                person: PersonFilter {
                    issuer: Some(ISSUERS[0].into()),
                    ..person(|person| person.user = Some("user42".into())).person
                },
                ..Filter::default()
            },
        ),
        ("group", person(|person| person.group = Some("group-33".into()))),
        ("provider", person(|person| person.idp = Some("two".into()))),
        ("issuer", person(|person| person.issuer = Some(ISSUERS[1].into()))),
        ("address", with(|filter| filter.network = parse_network("198.51.42.1").ok())),
        ("network", with(|filter| filter.network = parse_network("198.51.42.0/24").ok())),
        ("narrow network", with(|filter| filter.network = parse_network("198.51.42.0/31").ok())),
        ("wide network", with(|filter| filter.network = parse_network("198.51.0.0/18").ok())),
        ("browser", with(|filter| filter.browser = "Firefox on Linux".parse().ok())),
        ("system", with(|filter| filter.browser = "Windows".parse().ok())),
        (
            "group and browser",
            Filter {
                person: PersonFilter { group: Some("group-33".into()), ..PersonFilter::default() },
                ..with(|filter| filter.browser = "Safari".parse().ok())
            },
        ),
    ]
}

/// Kinds that no signature narrows down, or hardly: then records are opened.
const OPENS_MANY: [&str; 5] = ["provider", "issuer", "wide network", "browser", "system"];

/// What listings show, with so many sessions on a page.
async fn found(broker: &Broker, filter: &Filter, limit: usize) -> BTreeSet<SessionHandle> {
    let (administration, mut found, mut place) = (broker.app.sessions().administration(), BTreeSet::new(), None);
    loop {
        let page = administration.page(filter, place, limit).await.unwrap();
        for session in page.sessions {
            assert!(found.insert(session.handle()), "nobody is listed twice");
        }
        if page.next.is_none() {
            return found;
        }
        place = page.next;
    }
}

/// What a filter means, by looking at everybody.
async fn expected(broker: &Broker, filter: &Filter) -> BTreeSet<SessionHandle> {
    let everybody = broker.app.sessions().administration().page(&Filter::default(), None, 10_000).await.unwrap();
    let now = broker.clock.now();
    let fits = everybody.sessions.iter().filter(|session| filter.fits(session.record(), session.last_seen_at(), now));
    fits.map(LiveSession::handle).collect()
}

/// Every filter finds what it means and opens few other records: among 400 sessions, whatever became of the indexes.
#[tokio::test]
async fn filters_find_whom_they_mean_and_open_few_records() {
    let redis = Redis::start();
    let broker = Broker::with(setup(&redis)).await;
    people(&broker, 200).await;
    // The upkeep looks at every entry once in ten minutes.
    until("the first pruning is over", async || {
        let keys = redis.keys().await;
        keys.iter().any(|key| key.ends_with("once:pruning")) && !keys.iter().any(|key| key.ends_with("once:upkeep"))
    })
    .await;
    for indexes in ["there", "gone"] {
        if indexes == "gone" {
            redis.delete_keys(|key| key.contains("index:") && !key.contains("index:all")).await;
        }
        for (what, filter) in filters() {
            let expected = expected(&broker, &filter).await;
            assert!(!expected.is_empty(), "{what}");
            let before = redis.gets();
            assert_eq!(found(&broker, &filter, 500).await, expected, "{what}, indexes {indexes}");
            let opened = usize::try_from(redis.gets() - before).unwrap() / 3;
            if !OPENS_MANY.contains(&what) {
                assert!(opened <= expected.len() + 30, "{what}, indexes {indexes}: {opened} for {}", expected.len());
            }
            assert_eq!(found(&broker, &filter, 7).await, expected, "{what}, indexes {indexes}, by pages");
            let count = broker.app.sessions().administration().count(&filter).await.unwrap();
            assert_eq!((count.sessions, count.is_exact), (expected.len(), true), "{what}, indexes {indexes}");
        }
    }
}

/// The reviewer's two doors take the same filters.
#[tokio::test]
async fn the_api_takes_networks_and_browsers_and_counts() {
    let redis = Redis::start();
    let broker = Broker::with(setup(&redis)).await;
    people(&broker, 6).await;
    for (query, count) in [
        ("ip=198.51.3.1", 1),
        ("ip=198.51.3.0/24", 2),
        ("ip=198.51.0.0%2F16", 12),
        ("browser=Firefox", 4),
        ("browser=chrome+on+windows", 4),
        ("browser=Windows&user=user3", 1),
        ("user=USER3%40EXAMPLE.COM", 2),
        ("user=user3&idp=one", 0),
    ] {
        let answer = call(&broker, Method::GET, &format!("sessions?{query}&count=true"), None).await;
        assert_eq!(answer.status, 200, "{query}: {}", answer.body);
        let listed = answer.json();
        assert_eq!(listed["sessions"].as_array().unwrap().len(), count, "{query}");
        assert_eq!((&listed["count"], &listed["count_is_exact"]), (&json!(count), &json!(true)), "{query}");
        assert_eq!(listed["registered"], 12);
    }
    for wrong in ["ip=198.51.3", "ip=198.51.3.0/33", "browser=Netscape", "browser=", "ip="] {
        assert_eq!(call(&broker, Method::GET, &format!("sessions?{wrong}"), None).await.status, 400, "{wrong}");
    }
    let order = json!({ "filter": { "browser": "Firefox on Linux", "ip": "198.51.0.0/22" }, "reason": "test" });
    let ended = call(&broker, Method::POST, "revocations", Some(order)).await.json();
    assert_eq!((&ended["matched"], &ended["ended"]), (&json!(3), &json!(3)), "{ended}");
    let left = call(&broker, Method::GET, "sessions?browser=Firefox", None).await.json();
    assert_eq!(left["sessions"].as_array().unwrap().len(), 1);
}

fn be(broker: &Broker, subject: &str, sid: &str) {
    broker.idp.behave(Script {
        id_token_claims: set(json!({ "sub": subject, "sid": sid })),
        userinfo: set(json!({ "sub": subject, "preferred_username": format!("name-{subject}"), "email": null })),
        ..Script::default()
    });
}

/// Who orders the end.
enum By {
    Token(Value),
    Name(&'static str),
}

/// R-J10, R-N04: one line a case: what somebody deleted, and who orders the end.
#[tokio::test]
async fn sessions_end_although_somebody_deleted_the_index_that_names_them() {
    let redis = Redis::start();
    let one = Broker::with(setup(&redis)).await;
    let other = one.replica(setup(&redis)).await;
    let token = |sub: Value, sid: Value| By::Token(json!({ "sub": sub, "sid": sid }));
    for (deleted, by) in [
        ("index:subject", token("a".into(), Value::Null)),
        ("index:", token("a".into(), Value::Null)),
        ("index:provider-session", token(Value::Null, "a-1".into())),
        ("index:provider-session", token("a".into(), "a-1".into())),
        ("index:word", By::Name("name-a")),
        ("index:subject", By::Name("a")),
        ("index:issuers", By::Name("a")),
    ] {
        be(&one, "a", "a-1");
        let meant = one.signed_in().await;
        be(&one, "b", "b-1");
        let bystander = one.signed_in().await;
        let (moved, handle) = (other.takes_over(&meant), one.handle(&meant).await);
        assert_eq!(other.status(&moved).await, 200, "{deleted}: warms the near cache");
        // The hours are all that there is; without them nothing is listed.
        redis.delete_keys(|key| key.contains(deleted) && !key.contains("index:all")).await;
        let answer = match by {
            By::Token(claims) => tell_of_logout(&one, &one.idp.logout_token(&claims)).await,
            By::Name(user) => {
                let order = json!({ "filter": { "user": user }, "reason": "test", "fresh_login": false });
                call(&one, Method::POST, "revocations", Some(order)).await
            }
        };
        assert_eq!(answer.status, 200, "{deleted}: {}", answer.body);
        assert_eq!(one.status(&meant).await, 401, "{deleted}");
        until(deleted, async || other.status(&moved).await == 401).await;
        assert_eq!(one.status(&bystander).await, 200, "{deleted}");
        assert!(!redis.keys().await.contains(&handle), "{deleted}: its record is gone");
        one.clock.advance(Duration::seconds(3));
    }
}

/// R-J10, R-N04: the registry has the person as the provider last described them, and nothing of before.
#[tokio::test]
async fn a_renewed_session_is_found_by_what_it_is_now() {
    let redis = Redis::start();
    let paced = Setup { idp: "refresh = \"5m\"\nrefresh_wait = \"1m\"\ntimeout = \"1m\"".into(), ..setup(&redis) };
    let broker = Broker::with(paced).await;
    let described = |name: &str, group: &str| Script {
        userinfo: set(json!({ "preferred_username": name, "email": format!("{name}@example.com"), "groups": [group] })),
        ..Script::default()
    };
    broker.idp.behave(described("before", "alpha"));
    let browser = broker.signed_in().await;
    let listed = async |query: &str| {
        let answer = call(&broker, Method::GET, &format!("sessions?{query}&count=true"), None).await.json();
        (answer["sessions"].as_array().unwrap().len(), answer["count"].as_u64().unwrap())
    };
    let before = ["user=before", "user=before@example.com", "group=alpha"];
    let after = ["user=after", "user=after@example.com", "group=omega"];
    for query in before {
        assert_eq!(listed(query).await, (1, 1), "{query}");
    }
    let lists = async || redis.keys().await.into_iter().filter(|key| key.contains("index:")).collect::<BTreeSet<_>>();
    let lists_before = lists().await;
    broker.idp.behave(described("after", "omega"));
    broker.clock.advance(Duration::minutes(6));
    until("it is renewed", async || broker.status(&browser).await == 200 && listed("group=omega").await == (1, 1))
        .await;
    for query in after {
        assert_eq!(listed(query).await, (1, 1), "{query}");
    }
    for query in before {
        assert_eq!(listed(query).await, (0, 0), "{query}");
    }
    assert_eq!(listed("user=248289761001").await, (1, 1));
    // Two words went and two came; the hour has one entry of it.
    assert_eq!(lists().await.symmetric_difference(&lists_before).count(), 4);
    let hours: Vec<_> = lists().await.into_iter().filter(|key| key.contains("index:all:")).collect();
    assert_eq!(hours.len(), 1, "{hours:?}");
    assert_eq!(redis.ask(&["ZCARD", &hours[0]]), "1");
}

/// R-G05: names in the store tell nobody who lacks the server's keys whom they are of, and stay when the keys change.
#[tokio::test]
async fn names_in_the_store_are_keyed_and_outlive_a_rotation() {
    const NEW: &str = "Hx4dHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA=";
    let (redis, elsewhere) = (Redis::start(), Redis::start());
    let old = Broker::with(setup(&redis)).await;
    people(&old, 2).await;
    let names = async |redis: &Redis| {
        let keys = redis.keys().await.into_iter();
        keys.filter(|key| key.contains("index:") && !key.contains(":all") && !key.contains(":issuers"))
            .collect::<BTreeSet<_>>()
    };
    let (own, store) = (names(&redis).await, Broker::with(setup(&elsewhere)).await);
    people(&store, 2).await;
    assert_eq!(names(&elsewhere).await.len(), own.len());
    assert!(names(&elsewhere).await.is_disjoint(&own), "the same people in another store, under the same keys");
    for keys in [vec![NEW, KEY], vec![NEW]] {
        let rotated = Broker::with_provider(Setup { keys, ..setup(&redis) }, old.idp.clone()).await;
        people(&rotated, 2).await;
        assert_eq!(names(&redis).await, own);
        rotated.app.sessions().maintenance().renew_store_claim().await.unwrap();
    }
}

/// Signs in so many people, many at a time.
async fn many(broker: &Broker, count: u32) {
    let establish = async |number: u32| {
        let identity = Identity { subject: format!("many-{number}"), groups: vec!["many".into()], ..person(1) };
        establish(broker, identity, ClientTraits::new([192, 0, 2, 1].into(), Some(AGENTS[0]))).await
    };
    stream::iter(0..count).map(establish).buffer_unordered(64).collect::<Vec<_>>().await;
}

/// R-N04: an order for many is in force before all the records are deleted, and says so.
#[tokio::test(flavor = "multi_thread")]
async fn an_order_for_many_is_answered_while_its_records_are_being_deleted() {
    let redis = Redis::start();
    let broker = Broker::with(setup(&redis)).await;
    let browser = broker.signed_in().await;
    many(&broker, 4_000).await;
    let order = json!({ "filter": { "all": true }, "reason": "test", "fresh_login": false });
    let answer = call(&broker, Method::POST, "revocations", Some(order)).await.json();
    assert_eq!(answer["clearing"], true, "{answer}");
    assert_eq!(broker.status(&browser).await, 401);
    let listed = call(&broker, Method::GET, "sessions?count=true", None).await.json();
    assert_eq!((&listed["count"], listed["sessions"].as_array().unwrap().len()), (&json!(0), 0));
    until("all are deleted", async || redis.records().await.is_empty()).await;
    until("nothing is left of the walk", async || redis.keys().await.iter().all(|key| !key.contains("walk:"))).await;
}

/// R-N04: whoever began to delete may go away: a broker goes on, and ends nobody who signed in since.
#[tokio::test]
async fn another_broker_goes_on_where_a_revocation_was_interrupted() {
    let redis = Redis::start();
    let broker = Broker::with(setup(&redis)).await;
    let browser = broker.signed_in().await;
    people(&broker, 5).await;
    redis.command(&["ACL", "SETUSER", "default", "-del"]).await;
    let order = json!({ "filter": { "all": true }, "reason": "test", "fresh_login": false });
    assert_eq!(call(&broker, Method::POST, "revocations", Some(order)).await.status, 503, "not all could be done");
    assert_eq!(broker.status(&browser).await, 401, "and it is in force");
    redis.command(&["ACL", "SETUSER", "default", "+@all"]).await;
    let again = broker.signed_in().await;
    let handle = broker.handle(&again).await;
    assert!(redis.records().await.len() > 10);
    // Time passes, for the broker and for the lease in Redis.
    broker.clock.advance(Duration::seconds(31));
    redis.delete_keys(|key| key.contains("once:walk:")).await;
    until("a broker has gone on", async || redis.records().await == [handle.as_str()]).await;
    assert_eq!(broker.status(&again).await, 200);
}

/// More than 20,000 sessions are counted by a sample, and it is said.
#[tokio::test(flavor = "multi_thread")]
async fn so_many_are_counted_by_a_sample() {
    let broker = Broker::with(Setup { more: SECTION.into(), ..Setup::default() }).await;
    many(&broker, 20_500).await;
    people(&broker, 3).await;
    let count = async |query: &str| {
        let listed = call(&broker, Method::GET, &format!("sessions?{query}&limit=1&count=true"), None).await.json();
        (listed["count"].as_u64().unwrap(), listed["count_is_exact"].as_bool().unwrap())
    };
    assert_eq!(count("group=group-12").await, (2, true));
    let (all, is_exact) = count("").await;
    assert!(!is_exact && (20_400..=20_506).contains(&all), "{all}: none has ended");
    let (of_many, is_exact) = count("group=many").await;
    assert!(!is_exact && (20_400..=20_506).contains(&of_many), "{of_many}");
}

/// R-P06: most logout tokens are about people who have no session left; those who wait share a pass over the registry.
#[tokio::test]
async fn searches_for_people_without_an_index_share_a_pass() {
    let redis = Redis::start();
    let hours = 20;
    let timeouts = "[session]\nabsolute_timeout = \"10d\"\nidle_timeout = \"10d\"";
    let broker = Broker::with(Setup { more: format!("{SECTION}\n{timeouts}"), ..setup(&redis) }).await;
    for _ in 0..hours {
        people(&broker, 1).await;
        broker.clock.advance(Duration::HOUR);
    }
    let reads = || {
        let stats = redis.ask(&["INFO", "commandstats"]);
        let line = stats.lines().find_map(|line| line.strip_prefix("cmdstat_zrange:calls=")).unwrap();
        line.split(',').next().unwrap().parse::<u64>().unwrap()
    };
    let order = Order::of_the_program("test");
    let revoke = async |number: u64| {
        let somebody = Selection::person(ISSUERS[0], &format!("nobody-{number}"));
        let revoked = broker.app.sessions().administration().revoke(&somebody, &order).await;
        assert!(revoked.complete().unwrap().matched.is_empty());
    };
    let before = reads();
    revoke(0).await;
    assert!(reads() - before > hours, "one looks at every hour");
    let before = reads();
    future::join_all((1..=50).map(revoke)).await;
    assert!(reads() - before < 10 * hours, "{} reads for 50", reads() - before);
}

/// R-J10: whoever signs in again while a search for their old sessions waits is not meant by what ended those.
#[tokio::test]
async fn a_login_after_a_logout_token_outlives_the_search_for_what_it_meant() {
    let redis = Redis::start();
    let broker = Broker::with(setup(&redis)).await;
    let order = Order::of_the_program("test");
    let administration = broker.app.sessions().administration();
    // A pass, so that the next one waits behind it: sessions of others make it long enough.
    many(&broker, 3_000).await;
    let nobody = Selection::person(ISSUERS[0], "nobody");
    administration.revoke(&nobody, &order).await.complete().unwrap();
    let meant = Selection::person(ISSUERS[0], "Subject-2");
    let has_signed_in = AtomicBool::new(false);
    let revoke = async {
        let revoked = administration.revoke(&meant, &order).await;
        assert!(has_signed_in.load(Ordering::Relaxed), "the search waited for as long as that");
        revoked
    };
    let sign_in = async {
        let before = redis.ask(&["XLEN", "counterfoil:cut-off-log"]);
        until("the order has its number", async || redis.ask(&["XLEN", "counterfoil:cut-off-log"]) != before).await;
        broker.clock.advance(Duration::milliseconds(5));
        let handle = establish(&broker, person(2), ClientTraits::new([192, 0, 2, 1].into(), None)).await;
        has_signed_in.store(true, Ordering::Relaxed);
        handle
    };
    let (revoked, handle) = future::join(revoke, sign_in).await;
    assert!(revoked.complete().unwrap().ended.is_empty());
    assert!(administration.find(handle).await.unwrap().is_some());
}

/// R-N05: a block that is lifted between two batches of its order is not laid down by the second.
#[tokio::test(flavor = "multi_thread")]
async fn a_walk_lays_no_block_down_that_was_lifted_meanwhile() {
    let redis = Redis::start();
    let broker = Broker::with(setup(&redis)).await;
    many(&broker, 2_500).await;
    let network = Filter { network: parse_network("192.0.2.0/24").ok(), ..Filter::default() };
    a_block_is_lifted_between_two_batches_of(&broker, network, true).await;
    many(&broker, 2_500).await;
    broker.clock.advance(Duration::minutes(2));
    // What moves is in no log.
    let idle = || Filter { idle_longer_than: Some(Duration::MINUTE), ..Filter::default() };
    a_block_is_lifted_between_two_batches_of(&broker, idle(), true).await;
    many(&broker, 2_500).await;
    broker.clock.advance(Duration::minutes(2));
    a_block_is_lifted_between_two_batches_of(&broker, idle(), false).await;
}

/// Lifts blocks in these words or all, when the first batch of an order is done.
async fn a_block_is_lifted_between_two_batches_of(broker: &Broker, filter: Filter, in_these_words: bool) {
    let administration = broker.app.sessions().administration();
    let meant = if in_these_words { Meant::OfWhomeverFits(filter.clone()) } else { Meant::All };
    let selection = Selection::Matching(filter);
    let order = Order { block: BlockOrder::LayDown(Duration::DAY), ..Order::of_the_program("test") };
    let lifted = AtomicUsize::new(0);
    let revoked = administration
        .revoke_and_tell(&selection, &order, &|revoked| {
            if revoked.ended.len() == 1_000 {
                let lift = administration.lift_blocks(&meant);
                let done = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(lift));
                lifted.store(done.lifted.len(), Ordering::Relaxed);
            }
        })
        .await;
    assert_eq!(revoked.complete().unwrap().ended.len(), 2_500);
    assert_eq!(lifted.load(Ordering::Relaxed), 1_000, "those of the first batch");
    assert_eq!(administration.blocks().await.unwrap(), []);
}

/// R-N04: an order stands until all entries were looked at, although an index names some of whom it means.
#[tokio::test]
async fn an_index_that_lacks_sessions_hides_none_from_an_order() {
    let redis = Redis::start();
    let broker = Broker::with(setup(&redis)).await;
    people(&broker, 3).await;
    redis.delete_keys(|key| key.contains("index:word") || key.contains("index:subject")).await;
    // Of three sessions the indexes have one again.
    establish(&broker, person(1), ClientTraits::new([192, 0, 2, 1].into(), None)).await;
    let order = json!({ "filter": { "user": "user1" }, "reason": "test", "fresh_login": false });
    let answer = call(&broker, Method::POST, "revocations", Some(order)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    until("all three are deleted", async || redis.records().await.len() == 4).await;
    until("and the order is done", async || redis.keys().await.iter().all(|key| !key.contains("walk:"))).await;
    // Long after it spoke of logins, it has nothing left to end.
    broker.clock.advance(Duration::minutes(20));
    let listed = call(&broker, Method::GET, "sessions?idp=two&count=true", None).await.json();
    assert_eq!(listed["count"], 0);
}

/// R-N04: ages count back from the order: a broker that goes on with it later ends nobody who was too young.
#[tokio::test]
async fn a_resumed_order_by_age_means_those_who_were_old_when_it_was_given() {
    let redis = Redis::start();
    let clock = ManualClock::at(SystemClock.now());
    let broker = Broker::with(Setup { clock, ..setup(&redis) }).await;
    broker.clock.advance(-Duration::hours(2));
    people(&broker, 2).await;
    broker.clock.advance(Duration::hours(1) + Duration::minutes(59));
    let young = establish(&broker, person(5), ClientTraits::new([192, 0, 2, 1].into(), None)).await;
    broker.clock.advance(Duration::minutes(1));
    redis.command(&["ACL", "SETUSER", "default", "-del"]).await;
    let order = json!({ "filter": { "older_than": "20m" }, "reason": "test", "fresh_login": false });
    assert_eq!(call(&broker, Method::POST, "revocations", Some(order)).await.status, 503, "not all could be done");
    redis.command(&["ACL", "SETUSER", "default", "+@all"]).await;
    broker.clock.advance(Duration::minutes(25));
    redis.delete_keys(|key| key.contains("once:walk:")).await;
    until("a broker has gone on", async || redis.records().await == [young.to_string()]).await;
    until("and is done", async || redis.keys().await.iter().all(|key| !key.contains("walk:"))).await;
    assert_eq!(redis.records().await, [young.to_string()]);
}

/// R-P06: whoever asks for a look through all sessions while two of those are under way is told to ask again.
#[tokio::test]
async fn two_reviewers_at_a_time_look_through_all_sessions() {
    let redis = Redis::start();
    let broker = Broker::with(setup(&redis)).await;
    people(&broker, 3).await;
    let ask = async |what: &str| call(&broker, Method::GET, &format!("sessions?{what}"), None).await;
    let questions = ["group=group-1", "group=group-2&count=true", "count=true"];
    for question in questions {
        assert_eq!(ask(question).await.status, 200);
    }
    redis.freeze();
    let mut asked: FuturesUnordered<_> = questions.map(ask).into_iter().collect();
    let refused = asked.next().await.unwrap();
    let others = future::join_all(["", "user=user1&count=true"].map(ask));
    let (others, ()) = tokio::join!(others, async { redis.thaw() });
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (429, "too_many_scans"), "{}", refused.body);
    assert!(refused.headers.contains_key("retry-after"));
    assert!(others.iter().all(|answer| answer.status == 200), "one person's, and a page of everybody, cost little");
    assert!(asked.all(async |answer| answer.status == 200).await);
    for question in questions {
        assert_eq!(ask(question).await.status, 200, "they have come to their end");
    }
}
