//! Sessions as browsers, operators and Redis see them.

use std::collections::BTreeSet;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use counterfoil::secret::Secret;
use counterfoil::session::ending::EndCause;
use counterfoil::session::filter::Filter;
use counterfoil::session::revocation::{BlockOrder, Order, Selection};
use counterfoil::session::store::{RecordStore, SessionBackend};
use counterfoil::session_redis::RedisBackend;
use fred::interfaces::{ClientLike, KeysInterface};
use time::Duration;

use crate::support::broker::{Broker, HOST, KEY, PUBLIC, SESSION, Setup, Store};
use crate::support::child::{free_port, until};
use crate::support::redis::{Redis, settings, unreliable};
use crate::support::scripted_idp::{ACCESS_TOKEN, REFRESH_TOKEN};

async fn broker_on(redis: &Redis) -> Broker {
    Broker::with(Setup { store: Store::Redis(redis.port()), ..Setup::default() }).await
}

/// The text in some bytes: as they are, and decoded wherever they could be base64.
fn readable(bytes: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(bytes).into_owned();
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/".contains(byte);
    for run in bytes.split(|byte| !is_base64(byte)) {
        // What stands before it may look like a part of it.
        for start in 0..run.len().min(4) {
            let whole = (run.len() - start) / 4 * 4;
            let decoded = STANDARD.decode(&run[start..start + whole]);
            text.extend(decoded.map(|decoded| String::from_utf8_lossy(&decoded).into_owned()));
        }
    }
    text
}

/// R-G05, R-C10: a dump of Redis holds no cookie, no token and no profile.
#[tokio::test]
async fn redis_holds_the_handle_and_nothing_that_can_be_used_or_read() {
    // A dump that is not compressed shows what is in it.
    let redis = Redis::start_with(free_port(), &["--rdbcompression", "no"]);
    let broker = broker_on(&redis).await;
    let browser = broker.signed_in().await;
    let handle = broker.handle(&browser).await;
    assert!(handle.starts_with("cf-") && handle.len() == 22, "{handle}");
    let keys = redis.keys().await;
    assert!(keys.contains(&handle));
    assert!(keys.iter().all(|key| *key == handle || key.starts_with("counterfoil:")), "{keys:?}");
    let cookie = browser.cookie(SESSION).unwrap();
    let client = redis.client().await;
    for key in &keys {
        let dump: Vec<u8> = client.dump(key).await.unwrap();
        let readable = format!("{key} {}", readable(&dump));
        for secret in [&cookie, ACCESS_TOKEN, REFRESH_TOKEN, "alice", "Alice", "248289761001"] {
            assert!(!readable.contains(secret), "{secret} in {key}");
        }
    }
    let lifetime: i64 = client.pttl(&handle).await.unwrap();
    assert!((1..=12 * 60 * 60 * 1_000 + 2_000).contains(&lifetime), "the record has a TTL: {lifetime}");
    // R-N02: the public name is no cookie.
    let imposter = broker.browser();
    imposter.plant(HOST, SESSION, &handle);
    assert_eq!(broker.status(&imposter).await, 401);
    client.quit().await.unwrap();
}

/// The contract's promise: by hand, at once, and the page says so and leads back in.
#[tokio::test]
async fn deleting_the_record_by_hand_ends_the_session_on_the_next_request() {
    let redis = Redis::start();
    let broker = broker_on(&redis).await;
    for command in ["DEL", "FLUSHALL", "EXPIRE"] {
        let browser = broker.signed_in().await;
        assert_eq!(broker.status(&browser).await, 200);
        let handle = broker.handle(&browser).await;
        match command {
            "DEL" => redis.command(&["DEL", &handle]).await,
            "EXPIRE" => redis.command(&["EXPIRE", &handle, "0"]).await,
            _ => redis.command(&["FLUSHALL"]).await,
        };
        // Redis answers whoever deleted it some microseconds before it tells the broker.
        until("Redis has told of it", async || broker.status(&browser).await == 401).await;
        let refused = browser.get("/guarded").await;
        assert_eq!((refused.status.as_u16(), refused.code().as_str()), (401, "session_missing"), "{command}");
        let page = browser.visit(&format!("{PUBLIC}/orders?x=1")).send().await;
        assert_eq!(page.status, 303);
        let ended = browser.visit(&format!("{PUBLIC}{}", page.location())).send().await;
        assert_eq!(ended.status, 200);
        assert!(ended.body.contains("session has ended"), "{}", ended.body);
        assert!(ended.body.contains("/sso/login?return_to=%2Forders%3Fx%3D1\""), "leads back to the page");
        assert_eq!(broker.sign_in(&browser, "/orders?x=1").await.location(), "/orders?x=1");
        assert_eq!(broker.status(&browser).await, 200);
    }
}

/// R-G07, R-G08: Redis forgets a record soon after its session became idle; the note beside it says how it ended. What was
/// deleted by hand before has not ended by any limit.
#[tokio::test]
async fn a_session_whose_record_has_expired_says_why() {
    let redis = Redis::start();
    for (minutes, code) in [(29, "session_missing"), (31, "session_idle"), (12 * 60, "session_expired")] {
        for store in [Store::Memory, Store::Redis(redis.port())] {
            let is_redis = matches!(store, Store::Redis(_));
            let broker = Broker::with(Setup { store, ..Setup::default() }).await;
            let browser = broker.signed_in().await;
            let handle = broker.handle(&browser).await;
            if is_redis {
                let lifetime: i64 = redis.command(&["TTL", &handle]).await.convert().unwrap();
                assert!(
                    (3_200..=3_301).contains(&lifetime),
                    "one and a half idle timeouts and ten minutes: {lifetime}"
                );
                let note: i64 =
                    redis.command(&["TTL", &format!("counterfoil:seen:{{{handle}}}")]).await.convert().unwrap();
                assert!((46_700..=46_801).contains(&note), "an hour longer than any session: {note}");
            }
            broker.clock.advance(Duration::minutes(minutes));
            // Redis has a clock of its own.
            match () {
                () if is_redis => assert_eq!(redis.ask(&["DEL", &handle]), "1"),
                () if minutes == 29 => continue,
                () => {}
            }
            broker.clock.advance(if is_redis { Duration::ZERO } else { Duration::minutes(25) });
            until("it is heard", async || broker.status(&browser).await == 401).await;
            for _ in 0..2 {
                let refused = browser.get("/guarded").await;
                assert_eq!((refused.status.as_u16(), refused.code().as_str()), (401, code), "{minutes} {is_redis}");
            }
        }
    }
}

/// R-G08: not every use tells all replicas; those that keep the record do.
#[tokio::test]
async fn uses_extend_the_record_once_in_half_an_idle_timeout() {
    let redis = Redis::start();
    let broker = broker_on(&redis).await;
    let browser = broker.signed_in().await;
    let handle = broker.handle(&browser).await;
    let (mut extended, mut expires) = (0, redis.ask(&["EXPIRETIME", &handle]));
    for _ in 0..20 {
        broker.clock.advance(Duration::minutes(3));
        assert_eq!(broker.status(&browser).await, 200);
        noted(&broker, &browser).await;
        let now = redis.ask(&["EXPIRETIME", &handle]);
        extended += usize::from(now != expires);
        expires = now;
    }
    assert_eq!(extended, 4, "in an hour");
    assert_eq!(crate::support::sign_out::sign_out(&browser).await.status, 303);
    let left = redis.keys().await.into_iter().filter(|key| key.contains(&handle)).count();
    assert_eq!(left, 0, "a logout leaves nothing");
}

/// R-G04: junk never reaches the store, and neither does a key that this server did not make.
#[tokio::test]
async fn junk_cookies_are_refused_before_any_lookup() {
    let redis = Redis::start();
    let broker = broker_on(&redis).await;
    redis.command(&["CONFIG", "SET", "slowlog-log-slower-than", "0"]).await;
    redis.command(&["CONFIG", "SET", "slowlog-max-len", "100000"]).await;
    let lookups = async || format!("{:?}", redis.command(&["SLOWLOG", "GET", "-1"]).await).matches("cf-").count();
    let longest = "A".repeat(4_000);
    for junk in ["", "x", "../../etc", "cf-8QzvTn2LmX0aPq4RsWg", "\u{e9}", &"=".repeat(64), &"A".repeat(63), &longest] {
        let browser = broker.browser();
        browser.plant(HOST, SESSION, junk);
        assert_eq!(broker.status(&browser).await, 401, "{junk}");
    }
    let key = broker.signed_in().await.cookie(SESSION).unwrap();
    let (secret, tag) = key.split_at(43);
    redis.command(&["SLOWLOG", "RESET"]).await;
    let another = broker.signed_in().await.cookie(SESSION).unwrap();
    redis.command(&["SLOWLOG", "RESET"]).await;
    for invented in ["A".repeat(64), format!("{}{}", &another[..43], tag), format!("{secret}{}", "A".repeat(21))] {
        let stranger = broker.browser();
        stranger.plant(HOST, SESSION, &invented);
        assert_eq!(broker.status(&stranger).await, 401, "{invented}");
    }
    assert_eq!(lookups().await, 0);
}

/// R-G06
#[tokio::test]
async fn the_cookie_is_the_only_carrier() {
    let broker = Broker::start().await;
    let browser = broker.signed_in().await;
    let key = browser.cookie(SESSION).unwrap();
    let stranger = broker.browser();
    let by_query = stranger.fetch(&format!("{PUBLIC}/guarded?{SESSION}={key}&sid={key}")).send().await;
    assert_eq!(by_query.status, 401);
    let headers = ["x-session-id", "authorization", "x-auth-request-user", SESSION];
    for (header, value) in headers.map(|header| (header, format!("Bearer {key}"))) {
        let answer = stranger.fetch(&format!("{PUBLIC}/guarded")).header(header, &value).send().await;
        assert_eq!(answer.status, 401, "{header}");
    }
    assert_eq!(stranger.submit(&format!("{PUBLIC}/guarded"), &[(SESSION, &key)]).send().await.status, 401);
}

/// R-G07: use keeps a session, idleness ends it, and says which it was.
#[tokio::test]
async fn an_idle_session_ends_and_a_used_one_does_not() {
    let redis = Redis::start();
    for store in [Store::Memory, Store::Redis(redis.port())] {
        let broker = Broker::with(Setup { store, ..Setup::default() }).await;
        let browser = broker.signed_in().await;
        for _ in 0..6 {
            broker.clock.advance(Duration::minutes(20));
            assert_eq!(broker.status(&browser).await, 200);
            noted(&broker, &browser).await;
        }
        broker.clock.advance(Duration::minutes(30));
        let refused = browser.get("/guarded").await;
        assert_eq!(refused.status, 401);
        assert_eq!(refused.code(), "session_idle");
    }
}

/// Waits until the use of a session was noted, which happens off the request's path.
async fn noted(broker: &Broker, browser: &crate::support::browser::Browser) {
    use counterfoil::clock::Clock;
    let now = broker.clock.now().unix_timestamp().to_string();
    until("the use of the session is noted", async || {
        let session = browser.session().await;
        let seen = session["session"]["last_seen_at"].as_str().unwrap().to_owned();
        let seen = time::OffsetDateTime::parse(&seen, &time::format_description::well_known::Rfc3339).unwrap();
        seen.unix_timestamp().to_string() == now
    })
    .await;
}

/// R-G08: an absolute end, whatever Redis thinks.
#[tokio::test]
async fn the_absolute_timeout_holds_even_if_the_key_is_made_persistent() {
    let redis = Redis::start();
    let more = "[session]\nidle_timeout = \"30m\"\nabsolute_timeout = \"1h\"\n".to_owned();
    let broker = Broker::with(Setup { store: Store::Redis(redis.port()), more, ..Setup::default() }).await;
    let browser = broker.signed_in().await;
    let handle = broker.handle(&browser).await;
    for _ in 0..2 {
        broker.clock.advance(Duration::minutes(25));
        assert_eq!(broker.status(&browser).await, 200);
        noted(&broker, &browser).await;
    }
    redis.command(&["PERSIST", &handle]).await;
    broker.clock.advance(Duration::minutes(10));
    let refused = browser.get("/guarded").await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (401, "session_expired"));
    assert!(!redis.keys().await.contains(&handle), "its record is gone");
}

#[tokio::test]
async fn groups_can_have_shorter_timeouts() {
    let more = "[session]\nidle_timeout = \"30m\"\n[[session.timeout]]\ngroups = [\"staff\"]\n\
                idle_timeout = \"5m\"\nabsolute_timeout = \"1h\"\n";
    let broker = Broker::with(Setup { more: more.into(), ..Setup::default() }).await;
    let browser = broker.signed_in().await;
    broker.clock.advance(Duration::minutes(5));
    assert_eq!(browser.get("/guarded").await.code(), "session_idle");
}

/// R-G09: hundreds of requests that note their use while the record is deleted; none brings it back.
#[tokio::test]
async fn noting_use_never_revives_a_deleted_session() {
    let redis = Redis::start();
    let broker = broker_on(&redis).await;
    let mut served = 0;
    for round in 0..20 {
        let browser = broker.signed_in().await;
        let handle = broker.handle(&browser).await;
        broker.clock.advance(Duration::minutes(2));
        let requests: Vec<_> = (0..16)
            .map(|_| {
                let browser = browser.clone();
                tokio::spawn(async move { browser.get("/guarded").await.status })
            })
            .collect();
        if round % 2 == 0 {
            until("somebody is served", async || requests.iter().any(tokio::task::JoinHandle::is_finished)).await;
        }
        redis.command(&["DEL", &handle]).await;
        for request in requests {
            served += usize::from(request.await.unwrap() == 200);
        }
        until("Redis has told of it", async || broker.status(&browser).await == 401).await;
        assert!(!redis.keys().await.contains(&handle));
    }
    assert!(served > 0, "some requests were served, and so had a use to note");
}

/// R-G11: damaged, of another version, copied under another name.
#[tokio::test]
async fn a_record_that_cannot_be_read_is_no_session_and_no_error() {
    let redis = Redis::start();
    let broker = broker_on(&redis).await;
    let client = redis.client().await;
    let other = broker.signed_in().await;
    let others: Vec<u8> = client.get(broker.handle(&other).await).await.unwrap();
    for damage in ["truncated", "junk", "another's", "another type"] {
        let browser = broker.signed_in().await;
        let handle = broker.handle(&browser).await;
        let mut stored: Vec<u8> = client.get(&handle).await.unwrap();
        match damage {
            "truncated" => stored.truncate(stored.len() / 2),
            "junk" => stored = b"not a record".to_vec(),
            "another type" => {
                redis.command(&["DEL", &handle]).await;
                redis.command(&["HSET", &handle, "a", "b"]).await;
                assert_eq!(broker.status(&browser).await, 401);
                assert_eq!(broker.sign_in(&browser, "/").await.status, 303);
                continue;
            }
            _ => stored.clone_from(&others),
        }
        let _: () = client.set(&handle, stored.as_slice(), None, None, false).await.unwrap();
        assert_eq!(broker.status(&browser).await, 401, "{damage}");
        assert_eq!(broker.sign_in(&browser, "/").await.status, 303, "{damage}: signing in again works");
    }
    let browser = broker.signed_in().await;
    let handle = broker.handle(&browser).await;
    let whole: Vec<u8> = client.get(&handle).await.unwrap();
    let mut refused = 0;
    for index in (0..whole.len()).step_by(13) {
        let mut flipped = whole.clone();
        flipped[index] ^= 1;
        let _: () = client.set(&handle, flipped.as_slice(), None, None, false).await.unwrap();
        let status = broker.status(&browser).await;
        // A check does not decrypt the part that is sealed under the cookie's key.
        assert!([200, 401].contains(&status), "byte {index}: {status}");
        refused += u32::from(status == 401);
    }
    assert!(refused > 10, "{refused}");
    client.quit().await.unwrap();
}

/// R-G12: three sessions of one person, one ended; then all of that person, by subject and by `sid`.
#[tokio::test]
async fn every_live_session_of_a_person_is_found_and_ended() {
    let redis = Redis::start();
    for store in [Store::Memory, Store::Redis(redis.port())] {
        let broker = Broker::with(Setup { store, ..Setup::default() }).await;
        let browsers = [broker.signed_in().await, broker.signed_in().await, broker.signed_in().await];
        let handle = broker.handle(&browsers[0]).await.parse().unwrap();
        assert!(broker.app.sessions().end(handle).await.unwrap());
        let issuer = broker.idp.issuer();
        assert_eq!(broker.app.sessions().administration().end_subject(&issuer, "somebody else").await.unwrap(), 0);
        assert_eq!(broker.app.sessions().administration().end_subject(&issuer, "248289761001").await.unwrap(), 2);
        for browser in &browsers {
            assert_eq!(broker.status(browser).await, 401);
        }
        // The cut-off is for logins that were begun before.
        broker.clock.advance(Duration::seconds(3));
        let again = broker.signed_in().await;
        assert_eq!(broker.app.sessions().administration().end_provider_session(&issuer, "sid-1").await.unwrap(), 1);
        assert_eq!(broker.status(&again).await, 401);
    }
}

/// R-G12: entries of sessions that ended by themselves do not pile up.
#[tokio::test]
async fn the_registry_forgets_what_has_expired() {
    let redis = Redis::start();
    let broker = broker_on(&redis).await;
    for _ in 0..5 {
        broker.signed_in().await;
    }
    broker.clock.advance(Duration::hours(11));
    broker.signed_in().await;
    broker.clock.advance(Duration::hours(2));
    broker.signed_in().await;
    let entries = async |kind: &str| {
        let mut entries = 0;
        for key in redis.keys().await.iter().filter(|key| key.contains(kind)) {
            entries += redis.command(&["ZCARD", key]).await.convert::<i64>().unwrap();
        }
        entries
    };
    assert_eq!(entries("index:subject").await, 2, "a new entry takes the expired ones out");
    broker.app.sessions().maintenance().prune().await.unwrap();
    assert_eq!(entries("index:all:").await, 2, "and so does the upkeep");
    let client = redis.client().await;
    // Whose store it is, and for whose timeouts, stays written down for good.
    let for_good = ["counterfoil:keys", "counterfoil:kept"];
    let passing: Vec<_> = redis.keys().await.into_iter().filter(|key| !for_good.contains(&key.as_str())).collect();
    assert!(passing.len() > 5, "{passing:?}");
    for key in passing {
        let lifetime: i64 = client.pttl(&key).await.unwrap();
        assert!(lifetime > 0, "{key} would stay for ever");
    }
    client.quit().await.unwrap();
}

/// R-G15, R-M02: minimal, not kept, not for other sites, and no use of the session.
#[tokio::test]
async fn asking_for_ones_session_tells_little_and_extends_nothing() {
    let broker = Broker::start().await;
    let browser = broker.signed_in().await;
    let url = format!("{PUBLIC}/sso/session");
    let answer = browser.fetch(&url).header("sec-fetch-site", "same-origin").send().await;
    assert_eq!((answer.status.as_u16(), answer.header("cache-control")), (200, "no-store"));
    let body = answer.json();
    let documented = crate::documents::example_of_an_answer("subject");
    assert_eq!(crate::documents::members(&body), crate::documents::members(&documented));
    let expected = ["email", "groups", "idp", "issuer", "name", "session", "subject"];
    assert!(body.as_object().unwrap().keys().eq(expected), "{body}");
    assert!(!answer.body.contains("CANARY"));
    for site in ["cross-site", "same-site"] {
        assert_eq!(browser.fetch(&url).header("sec-fetch-site", site).send().await.status, 403, "{site}");
    }
    assert!(body["session"]["idle_expires_at"].is_string(), "{body}");
    for _ in 0..3 {
        broker.clock.advance(Duration::minutes(9));
        assert_eq!(
            browser.fetch(&url).send().await.json()["session"]["idle_expires_at"],
            body["session"]["idle_expires_at"]
        );
    }
    broker.clock.advance(Duration::minutes(3));
    let over = browser.fetch(&url).send().await;
    assert_eq!((over.status.as_u16(), over.code().as_str()), (401, "session_idle"));
    assert_eq!(broker.browser().fetch(&url).send().await.code(), "session_missing");
}

/// R-P08: a new key first in the list; nobody is signed out, and the old key is not used for anything new.
#[tokio::test]
async fn the_servers_keys_can_be_rotated() {
    const NEW: &str = "Hx4dHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA=";
    let redis = Redis::start();
    let store: Arc<dyn SessionBackend> = Arc::new(RedisBackend::connect(settings(redis.port())).unwrap());
    let setup = |keys: Vec<&'static str>| Setup { store: Store::Shared(store.clone()), keys, ..Setup::default() };
    let old = Broker::with(setup(vec![KEY])).await;
    let browser = old.signed_in().await;
    let under_way = old.browser();
    let callback = old.reach_callback(&under_way, "/").await;

    let rotated = Broker::with_provider(setup(vec![NEW, KEY]), old.idp.clone()).await;
    let at = |broker: &Broker, browser: &crate::support::browser::Browser| {
        let moved = broker.browser();
        browser.cookies().iter().for_each(|cookie| moved.plant(HOST, &cookie.name, &cookie.value));
        moved
    };
    assert_eq!(rotated.status(&at(&rotated, &browser)).await, 200);
    let moved = at(&rotated, &browser);
    let fetched = moved.get("/guarded").await;
    assert_eq!((fetched.status.as_u16(), fetched.set_cookies().len()), (200, 0));
    let page = moved.visit(&format!("{PUBLIC}/guarded")).send().await;
    assert!(page.set_cookies()[0].starts_with(&format!("{SESSION}=")), "the tag is by the newest key from here on");
    assert_eq!(moved.cookie(SESSION).unwrap()[..42], browser.cookie(SESSION).unwrap()[..42], "the key is the same");
    assert_ne!(moved.cookie(SESSION), browser.cookie(SESSION));
    let page = moved.visit(&format!("{PUBLIC}/guarded")).send().await;
    assert_eq!((page.status.as_u16(), page.set_cookies().len()), (200, 0));
    assert_eq!(at(&rotated, &under_way).visit(&callback).send().await.status, 303, "logins under way go on");

    let fresh = rotated.signed_in().await;
    assert_eq!(old.status(&at(&old, &fresh)).await, 401, "sealed under the new key");
    // What happens a minute later.
    rotated.app.sessions().maintenance().renew_store_claim().await.unwrap();
    let retired = Broker::with_provider(setup(vec![NEW]), old.idp.clone()).await;
    assert_eq!(retired.status(&at(&retired, &browser)).await, 401);
    assert_eq!(retired.status(&at(&retired, &fresh)).await, 200);
}

#[tokio::test]
async fn an_unreachable_store_url_is_refused_or_reported_but_never_shown() {
    let mut bad = unreliable(1);
    bad.url = Secret::new("redis://user:CANARY@127.0.0.1:1/0".into());
    let store = RedisBackend::connect(&bad).unwrap();
    let error = store.ping().await.unwrap_err();
    assert!(!format!("{error} {error:?} {bad:?} {store:?}").contains("CANARY"));
}

/// The rules of the README are enough: nothing else is ever sent to Redis. Every key that is used is documented.
#[tokio::test]
async fn a_redis_user_with_the_documented_rights_is_enough() {
    let readme = include_str!("../../README.md");
    let rules = readme.split_once("ACL SETUSER counterfoil ").unwrap().1.lines().next().unwrap();
    let redis = Redis::start();
    for (setting, value) in [("slowlog-log-slower-than", "0"), ("slowlog-max-len", "100000")] {
        redis.ask(&["CONFIG", "SET", setting, value]);
    }
    let words: Vec<_> = ["ACL", "SETUSER", "counterfoil"].into_iter().chain(rules.split(' ')).collect();
    redis.command(&words).await;
    let mut limited = settings(redis.port());
    limited.url = Secret::new(format!("redis://counterfoil:secret@127.0.0.1:{}/0", redis.port()));
    let store: Arc<dyn SessionBackend> = Arc::new(RedisBackend::connect(&limited).unwrap());
    let broker = Broker::with(Setup { store: Store::Shared(store), ..Setup::default() }).await;
    let browser = broker.signed_in().await;
    broker.clock.advance(Duration::minutes(4));
    assert_eq!(broker.status(&browser).await, 200);
    noted(&broker, &browser).await;
    assert_eq!(crate::support::sign_out::sign_out(&browser).await.status, 303);
    let other = broker.signed_in().await;
    let handle = broker.handle(&other).await.parse().unwrap();
    let order = Order {
        reason: "test".into(),
        by: "test".into(),
        cause: EndCause::Revoked,
        block: BlockOrder::Keep,
        fresh_login: true,
    };
    broker.app.sessions().administration().revoke(&Selection::Handles(vec![handle]), &order).await.complete().unwrap();
    broker
        .app
        .sessions()
        .administration()
        .revoke(&Selection::Matching(Filter::default()), &order)
        .await
        .complete()
        .unwrap();
    let timeouts = broker.app.sessions().administration().timeouts().0;
    broker.app.sessions().administration().store_timeouts(Some(&timeouts)).await.unwrap();
    broker.app.sessions().administration().store_timeouts(None).await.unwrap();
    broker.app.sessions().maintenance().prune().await.unwrap();
    broker.app.sessions().administration().registered().await.unwrap();
    broker.clock.advance(Duration::hours(13));
    broker.signed_in().await;
    assert_eq!(
        broker.app.sessions().administration().end_subject(&broker.idp.issuer(), "248289761001").await.unwrap(),
        1
    );
    let commands = redis.ask(&["SLOWLOG", "GET", "-1"]);
    let used: BTreeSet<_> =
        commands.lines().filter(|word| word.starts_with("cf-") || word.starts_with("counterfoil:")).collect();
    assert!(used.len() > 15, "{used:?}");
    let documented = crate::documents::keys_in_redis();
    let is_documented = |key: &str| {
        documented.iter().any(|name| name.split_once('…').map_or(key == name, |(begins, _)| key.starts_with(begins)))
    };
    let unknown: Vec<_> = used.iter().filter(|key| !is_documented(key)).collect();
    assert!(unknown.is_empty(), "not in docs/redis.md: {unknown:#?}");
    let refused: String =
        redis.command(&["ACL", "LOG"]).await.convert::<fred::types::Value>().map(|log| format!("{log:?}")).unwrap();
    assert_eq!(refused, "Array([])", "commands were refused");
}
