//! How many sessions a person may have, and what a session is bound to.

use time::Duration;

use crate::support::broker::{Broker, PUBLIC, SESSION, Setup, Store};
use crate::support::redis::Redis;
use crate::support::scripted_idp::{Script, set};

async fn broker(rules: &str, store: Store) -> Broker {
    Broker::with(Setup { store, more: format!("[session]\n{rules}\n"), ..Setup::default() }).await
}

/// R-G13: the oldest device goes, and is told why.
#[tokio::test]
async fn one_session_too_many_ends_the_oldest_and_tells_it_why() {
    let redis = Redis::start();
    for store in [Store::Memory, Store::Redis(redis.port())] {
        let broker = broker("max_per_user = 2", store).await;
        let mut browsers = Vec::new();
        for _ in 0..4 {
            browsers.push(broker.signed_in().await);
            broker.clock.advance(Duration::seconds(1));
        }
        for older in &browsers[..2] {
            assert_eq!(older.get("/guarded").await.code(), "session_revoked");
        }
        for newer in &browsers[2..] {
            assert_eq!(newer.get("/guarded").await.status, 200);
        }
        let away = browsers[0].visit(&format!("{PUBLIC}/orders")).send().await;
        let page = browsers[0].visit(&format!("{PUBLIC}{}", away.location())).send().await;
        assert!(page.body.contains("You signed in somewhere else"), "{}", page.body);
        // Somebody else is not counted.
        broker.idp.behave(Script {
            id_token_claims: set(serde_json::json!({ "sub": "bob" })),
            userinfo: set(serde_json::json!({ "sub": "bob" })),
            ..Script::default()
        });
        broker.signed_in().await;
        assert_eq!(browsers[2].get("/guarded").await.status, 200);
    }
}

/// R-G13: parallel logins, on two replicas, end with exactly as many as are allowed.
#[tokio::test(flavor = "multi_thread")]
async fn parallel_logins_agree_on_who_may_stay() {
    let redis = Redis::start();
    for on_limit in ["end-oldest", "refuse"] {
        let rules = format!("max_per_user = 2\non_limit = \"{on_limit}\"");
        let one = broker(&rules, Store::Redis(redis.port())).await;
        let setup =
            Setup { store: Store::Redis(redis.port()), more: format!("[session]\n{rules}\n"), ..Setup::default() };
        let other = one.replica(setup).await;
        for _ in 0..10 {
            let mut callbacks = Vec::new();
            for index in 0..8 {
                let broker = if index % 2 == 0 { &one } else { &other };
                let browser = broker.browser();
                let callback = broker.reach_callback(&browser, "/").await;
                callbacks.push((browser, callback));
            }
            let finished: Vec<_> = callbacks
                .into_iter()
                .map(|(browser, callback)| {
                    tokio::spawn(async move {
                        browser.visit(&callback).send().await;
                        browser
                    })
                })
                .collect();
            let mut live = 0;
            let mut browsers = Vec::new();
            for browser in finished {
                browsers.push(browser.await.unwrap());
            }
            for browser in &browsers {
                live += usize::from(browser.cookie(SESSION).is_some() && browser.get("/guarded").await.status == 200);
            }
            assert_eq!(live, 2, "{on_limit}");
            one.app.sessions().administration().end_subject(&one.idp.issuer(), "248289761001").await.unwrap();
            one.clock.advance(Duration::seconds(3));
        }
    }
}

/// R-G13, R-G14: refused, with the means to end another one; nobody else's can be ended that way.
#[tokio::test]
async fn a_refused_login_can_end_another_session_of_the_same_person_and_go_on() {
    let redis = Redis::start();
    for store in [Store::Memory, Store::Redis(redis.port())] {
        let broker = broker("max_per_user = 1\non_limit = \"refuse\"", store).await;
        let first = broker.signed_in().await;
        let handle = broker.handle(&first).await;
        broker.idp.behave(Script {
            id_token_claims: set(serde_json::json!({ "sub": "bob" })),
            userinfo: set(serde_json::json!({ "sub": "bob" })),
            ..Script::default()
        });
        let bob = broker.signed_in().await;
        let bobs = broker.handle(&bob).await;
        broker.idp.behave(Script::default());

        let second = broker.browser();
        let refused = broker.sign_in(&second, "/orders").await;
        assert_eq!((refused.status.as_u16(), refused.location()), (303, "/sso/limit"));
        assert!(second.cookie(SESSION).is_none() && second.get("/guarded").await.status == 401);
        let limit = format!("{PUBLIC}/sso/limit");
        let page = second.visit(&limit).send().await;
        assert_eq!(page.status, 200);
        assert!(page.body.contains(&handle) && !page.body.contains(&bobs), "{}", page.body);
        let token = page.csrf_token();

        let form = |handle: &str, token: &str| second.submit(&limit, &[("handle", handle), ("csrf_token", token)]);
        for (attempt, status) in [
            (form(&handle, "x").header("sec-fetch-site", "same-origin"), 403),
            (form(&handle, &token).header("sec-fetch-site", "cross-site"), 403),
            (form("cf-nonsense", &token).header("sec-fetch-site", "same-origin"), 400),
            (broker.browser().submit(&limit, &[("handle", &handle), ("csrf_token", &token)]), 400),
        ] {
            assert_eq!(attempt.send().await.status.as_u16(), status);
        }
        let page = second.visit(&limit).send().await;
        assert_eq!(page.status, 200, "the ticket outlives what was refused");
        form(&bobs, &token).header("sec-fetch-site", "same-origin").send().await;
        assert_eq!(bob.get("/guarded").await.status, 200, "not theirs to end");
        assert_eq!(first.get("/guarded").await.status, 200);

        // The ticket went with that attempt; the login is repeated.
        assert_eq!(broker.sign_in(&second, "/orders").await.location(), "/sso/limit");
        let page = second.visit(&limit).send().await;
        let token = page.csrf_token();
        let ended = form(&handle, &token).header("sec-fetch-site", "same-origin").send().await;
        assert_eq!((ended.status.as_u16(), ended.location()), (303, "/sso/login?return_to=%2Forders"));
        let told = first.get("/guarded").await;
        assert_eq!((told.status.as_u16(), told.code().as_str()), (401, "session_revoked"));
        broker.clock.advance(Duration::seconds(1));
        assert_eq!(broker.sign_in(&second, "/orders").await.location(), "/orders");
        assert_eq!(second.get("/guarded").await.status, 200);
    }
}

/// A session that ended by itself takes nobody's place.
#[tokio::test]
async fn only_live_sessions_count() {
    let broker = broker("max_per_user = 1\non_limit = \"refuse\"\nidle_timeout = \"10m\"", Store::Memory).await;
    broker.signed_in().await;
    broker.clock.advance(Duration::minutes(10));
    broker.signed_in().await;
}

/// A cookie that was carried to another kind of browser is worth nothing there, and still good where it belongs.
#[tokio::test]
async fn a_session_can_be_bound_to_its_browser() {
    const CHROME: &str = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/126.0.0.0 Safari/537.36";
    let bound = broker("bind = \"user-agent\"", Store::Memory).await;
    let free = broker("", Store::Memory).await;
    for (broker, elsewhere) in [(&bound, 401), (&free, 200)] {
        let browser = broker.browser();
        let start = browser.visit(&format!("{PUBLIC}/sso/login")).header("user-agent", CHROME).send().await;
        let callback = browser.visit(start.location()).send().await.location().to_owned();
        assert_eq!(browser.visit(&callback).header("user-agent", CHROME).send().await.status, 303);
        let status = async |agent: &str| {
            browser.fetch(&format!("{PUBLIC}/guarded")).header("user-agent", agent).send().await.status.as_u16()
        };
        assert_eq!(status(CHROME).await, 200);
        assert_eq!(status(&CHROME.replace("126.0.0.0", "131.0.6778.85")).await, 200, "an update");
        for other in ["curl/8.5.0", "Mozilla/5.0 (Macintosh; Intel Mac OS X) Safari/605.1.15"] {
            assert_eq!(status(other).await, elsewhere, "{other}");
        }
        assert_eq!(status(CHROME).await, 200);
    }
}
