//! Who may administer, by which means, and what the terminal does.

use http::Method;
use serde_json::{Value, json};
use time::Duration;

use crate::support::administration::{SECTION, TOKEN, call, call_from};
use crate::support::broker::{Broker, KEY, PUBLIC, Setup, Store};
use crate::support::browser::{Answer, Browser};
use crate::support::child::free_port;
use crate::support::house::House;
use crate::support::program::{counterfoil, run};
use crate::support::redis::Redis;
use crate::support::scripted_idp::{Script, set};

async fn broker(more: &str) -> Broker {
    Broker::with(Setup { more: format!("{SECTION}{more}"), ..Setup::default() }).await
}

async fn member_of(broker: &Broker, group: &str) -> Browser {
    let claims = set(json!({ "groups": [group], "sub": format!("member of {group}") }));
    let userinfo = set(json!({ "sub": format!("member of {group}"), "groups": null }));
    broker.idp.behave(Script { id_token_claims: claims, userinfo, ..Script::default() });
    broker.signed_in().await
}

/// What a page of ours does: it reads the token, then calls.
async fn as_page(browser: &Browser, method: Method, path: &str, body: Option<&Value>) -> Answer {
    let session = browser.fetch(&format!("{PUBLIC}/sso/session")).header("sec-fetch-site", "same-origin").send().await;
    let token = session.header("x-csrf-token").to_owned();
    let asking = browser.ask(method, &format!("{PUBLIC}/sso/api/v1/{path}"));
    let asking = asking.header("x-csrf-token", &token).header("sec-fetch-site", "same-origin");
    match body {
        Some(body) => asking.header("content-type", "application/json").body(&body.to_string()).send().await,
        None => asking.send().await,
    }
}

/// R-N03: one line a right: who may do what.
#[tokio::test]
async fn groups_decide_who_may_see_end_and_change() {
    let broker = broker("").await;
    let revocation = json!({ "handles": ["cf-8QzvTn2LmX0aPq4RsWg"], "reason": "test" });
    let timeouts = json!({ "idle_timeout": "30m", "absolute_timeout": "12h", "dry_run": true });
    let calls = [
        (Method::GET, "sessions", None),
        (Method::GET, "sessions/cf-8QzvTn2LmX0aPq4RsWg", None),
        (Method::POST, "revocations", Some(&revocation)),
        (Method::GET, "timeouts", None),
        (Method::PUT, "timeouts", Some(&timeouts)),
        (Method::DELETE, "timeouts", None),
    ];
    for (group, expected) in [
        ("staff", [403, 403, 403, 403, 403, 403]),
        ("security", [200, 404, 200, 200, 403, 403]),
        ("ops", [403, 403, 403, 200, 200, 200]),
    ] {
        let browser = member_of(&broker, group).await;
        for ((method, path, body), expected) in calls.iter().zip(expected) {
            let answer = as_page(&browser, method.clone(), path, *body).await;
            assert_eq!(answer.status.as_u16(), expected, "{group}: {method} {path}: {}", answer.body);
        }
    }
    for ((method, path, body), expected) in calls.iter().zip([200, 404, 200, 200, 200, 200]) {
        let answer = call(&broker, method.clone(), path, body.cloned()).await;
        assert_eq!(answer.status.as_u16(), expected, "{method} {path}: {}", answer.body);
        assert_eq!(answer.header("cache-control"), "no-store");
    }
}

/// R-M01, R-N03: strangers, forgers, and other sites.
#[tokio::test]
async fn half_of_the_required_credentials_is_refused() {
    let broker = broker("idps = [\"company\"]\n").await;
    let reviewer = member_of(&broker, "security").await;
    let url = format!("{PUBLIC}/sso/api/v1/sessions");
    let session = reviewer.get("/sso/session").await;
    let token = session.header("x-csrf-token").to_owned();
    let others = member_of(&broker, "staff").await.get("/sso/session").await;
    let foreign = others.header("x-csrf-token").to_owned();
    let bearer = |token: &str| format!("Bearer {token}");
    for (browser, headers, status) in [
        (broker.browser(), vec![], 401),
        (broker.browser(), vec![("x-csrf-token", token.as_str())], 401),
        (reviewer.clone(), vec![], 403),
        (reviewer.clone(), vec![("x-csrf-token", foreign.as_str())], 403),
        (reviewer.clone(), vec![("x-csrf-token", token.as_str()), ("sec-fetch-site", "cross-site")], 403),
        (reviewer.clone(), vec![("x-csrf-token", token.as_str()), ("sec-fetch-site", "same-site")], 403),
        (reviewer.clone(), vec![("x-csrf-token", token.as_str()), ("origin", "https://evil.example")], 403),
        (reviewer.clone(), vec![("x-csrf-token", token.as_str())], 200),
        // A wrong token is no fallback to the session.
        (reviewer.clone(), vec![("x-csrf-token", token.as_str()), ("authorization", &bearer("wrong"))], 401),
        (broker.browser(), vec![("authorization", TOKEN)], 401),
        (broker.browser(), vec![("authorization", "Bearer")], 401),
        (broker.browser(), vec![("authorization", &bearer(&TOKEN[1..]))], 401),
        (broker.browser(), vec![("authorization", &bearer(TOKEN))], 200),
    ] {
        let asking = headers.iter().fold(browser.fetch(&url), |asking, (name, value)| asking.header(name, value));
        assert_eq!(asking.send().await.status.as_u16(), status, "{headers:?}");
    }
}

/// Groups count only from a provider that is configured for it.
#[tokio::test]
async fn only_the_named_providers_make_administrators() {
    let idp = "[idp.partner]\nkind = \"oauth2\"\nauthorization_endpoint = \"https://p.example/a\"\n\
               token_endpoint = \"https://p.example/t\"\nprofile_endpoint = \"https://p.example/p\"\nclient_id = \"x\"\n\
               client_secret = \"x\"\nprofile.subject = \"id\"\n";
    let broker = broker(&format!("idps = [\"partner\"]\n{idp}")).await;
    let claims = set(json!({ "groups": ["security"] }));
    broker.idp.behave(Script {
        id_token_claims: claims,
        userinfo: set(json!({ "groups": null })),
        ..Script::default()
    });
    let browser = broker.browser();
    let start = browser.visit(&format!("{PUBLIC}/sso/login?idp=company")).send().await;
    let callback = browser.visit(start.location()).send().await.location().to_owned();
    browser.visit(&callback).send().await;
    assert_eq!(as_page(&browser, Method::GET, "sessions", None).await.status, 403);
}

/// R-N02: what is seen, in an order that holds while sessions come and go.
#[tokio::test]
async fn sessions_are_listed_newest_first_and_page_by_page() {
    let redis = Redis::start();
    for store in [Store::Memory, Store::Redis(redis.port())] {
        let broker = Broker::with(Setup { store, more: SECTION.into(), ..Setup::default() }).await;
        let mut handles = Vec::new();
        for index in 0..9 {
            // Two in a millisecond, then an hour's edge in between.
            if index % 2 == 0 {
                broker.clock.advance(Duration::minutes(7));
            }
            let browser = broker.signed_in().await;
            handles.push(broker.handle(&browser).await);
        }
        let (mut listed, mut path) = (Vec::new(), "sessions?limit=2".to_owned());
        for page in 0.. {
            let answer = call(&broker, Method::GET, &path, None).await.json();
            let sessions = answer["sessions"].as_array().unwrap().clone();
            listed.extend(sessions.iter().map(|session| session["handle"].as_str().unwrap().to_owned()));
            let Some(next) = answer["next"].as_str() else { break };
            path = format!("sessions?limit=2&cursor={next}");
            if page == 1 {
                // A newcomer, and one that goes: neither repeats nor hides anything.
                broker.clock.advance(Duration::minutes(1));
                broker.signed_in().await;
                broker.app.sessions().end(handles[0].parse().unwrap()).await.unwrap();
            }
        }
        let expected: std::collections::HashSet<_> = handles[1..].iter().cloned().collect();
        assert_eq!(listed.len(), expected.len(), "{listed:?}");
        assert_eq!(listed.iter().cloned().collect::<std::collections::HashSet<_>>(), expected);
        let created: Vec<_> =
            listed.iter().map(|handle| handles.iter().position(|known| known == handle).unwrap() / 2).collect();
        assert!(created.is_sorted_by(|newer, older| newer >= older), "{created:?}");

        let one = call(&broker, Method::GET, &format!("sessions/{}", handles[3]), None).await.json();
        assert_eq!(one["client_address"], "127.0.0.1");
        assert!(!one.to_string().contains("CANARY"), "no token, no secret: {one}");
        assert_eq!(call(&broker, Method::GET, &format!("sessions/{}", handles[0]), None).await.status, 404);
        for wrong in [
            "limit=0",
            "limit=1001",
            "limit=x",
            "cursor=x",
            "usr=x",
            "user=a&user=b",
            "older_than=x",
            "ip=x",
            "count=2",
        ] {
            let answer = call(&broker, Method::GET, &format!("sessions?{wrong}"), None).await;
            assert_eq!((answer.status.as_u16(), answer.code().as_str()), (400, "bad_request"), "{wrong}");
        }
    }
}

/// The description names every address and every field that there is.
#[tokio::test]
async fn the_api_describes_itself() {
    let broker = broker("").await;
    let described = broker.browser().get("/sso/api/v1/openapi.json").await;
    assert_eq!((described.status.as_u16(), described.header("content-type")), (200, "application/json"));
    let described = described.json();
    let mut operations = Vec::new();
    for (path, methods) in described["paths"].as_object().unwrap() {
        operations.extend(methods.as_object().unwrap().keys().map(|method| format!("{method} {path}")));
    }
    operations.sort();
    assert_eq!(
        operations,
        [
            "delete /sso/api/v1/timeouts",
            "get /sso/api/v1/sessions",
            "get /sso/api/v1/sessions/{handle}",
            "get /sso/api/v1/timeouts",
            "post /sso/api/v1/revocations",
            "put /sso/api/v1/timeouts",
        ]
    );
    member_of(&broker, "staff").await;
    let page = call(&broker, Method::GET, "sessions", None).await.json();
    let fields = described["components"]["schemas"]["SessionView"]["properties"].as_object().unwrap();
    assert!(page["sessions"][0].as_object().unwrap().keys().eq(fields.keys()), "{fields:?} {page}");
}

/// The store is down: the answer says so, and claims no success.
#[tokio::test]
async fn a_store_that_cannot_be_asked_is_said_so() {
    let broker =
        Broker::with(Setup { store: Store::Unreliable(free_port()), more: SECTION.into(), ..Setup::default() }).await;
    let revocation = json!({ "filter": { "all": true }, "reason": "test" });
    for (method, path, body) in [(Method::GET, "sessions", None), (Method::POST, "revocations", Some(revocation))] {
        let answer = call(&broker, method, path, body).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (503, "store_unavailable"));
        assert!(!answer.header("retry-after").is_empty());
    }
}

/// The reviewer at a terminal: lists sessions, is asked for confirmation, ends them for good.
#[tokio::test(flavor = "multi_thread")]
async fn a_reviewer_at_a_terminal_lists_shows_and_ends_sessions() {
    let house = House::start("", 1).await;
    let (browser, other) = (house.signed_in(0).await, house.signed_in(0).await);
    let (code, listed, errors) = house.terminal(&["list"]);
    assert_eq!(code, Some(0), "{errors}");
    assert_eq!((listed.lines().count(), errors.contains("2 session(s)")), (3, true), "a header, too: {listed}{errors}");
    let (_, json, _) = house.terminal(&["list", "--json", "--user", "alice@example.com"]);
    let sessions: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(sessions.len(), 2, "{json}");
    assert_eq!(house.terminal(&["list", "--user", "nobody"]).1, "");
    let handle = sessions[1]["handle"].as_str().unwrap();
    let (code, shown, _) = house.terminal(&["show", handle]);
    assert!(code == Some(0) && shown.contains(handle) && shown.contains("248289761001"), "{shown}");

    for (arguments, said) in [
        (vec!["revoke", "--reason", "x", "--yes"], "say whose"),
        (vec!["revoke", handle, "--all", "--reason", "x", "--yes"], "leave out the handles"),
        (vec!["revoke", handle, "--reason", " ", "--yes"], "must say why"),
        (vec!["revoke", handle, "--reason", "x"], "nobody is there to ask"),
        (vec!["revoke", "--user", "", "--reason", "x", "--yes"], "say something"),
        (vec!["revoke", "cf-nonsense", "--reason", "x", "--yes"], "not a session handle"),
        (vec!["revoke", handle, "--yes"], "--reason"),
    ] {
        let (code, _, errors) = house.terminal(&arguments);
        assert!(code == Some(64) && errors.contains(said), "{arguments:?}: {code:?} {errors}");
    }
    let (code, would, errors) = house.terminal(&["revoke", "--all", "--reason", "x", "--dry-run"]);
    assert!(code == Some(0) && would.lines().count() == 2 && errors.contains("would end"), "{would}{errors}");
    assert_eq!(browser.get("/guarded").await.status, 200);

    let (code, ended, errors) = house.terminal(&["revoke", handle, "--reason", "lost laptop", "--yes"]);
    assert_eq!((code, ended.trim()), (Some(0), handle), "{errors}");
    assert!(errors.contains("sessions_revoked") && errors.contains("lost laptop"), "R-N05: {errors}");
    let mut statuses =
        [browser.get("/guarded").await, other.get("/guarded").await].map(|answer| answer.status.as_u16());
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 401]);
    let (code, _, errors) = house.terminal(&["show", handle]);
    assert!(code == Some(1) && errors.contains("lost laptop") && errors.contains("revoked by terminal:"), "{errors}");
    let (_, ended, _) =
        house.terminal(&["revoke", "--idp", "company", "--block", "1h", "--reason", "x", "--yes", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&ended).unwrap()["matched"], 1);
    let refused = house.browser(0);
    let callback = house.reach_callback(&refused).await;
    assert_eq!(refused.visit(&callback).send().await.status, 403, "blocked");

    // Only the store and the keys are needed.
    let small = house
        .folder
        .write("small.toml", &format!("[secrets]\nkeys = [\"{KEY}\"]\n[store]\nurl = \"{}\"\n", house.redis.url()));
    let (code, _, errors) = run(counterfoil(house.folder.path(), &["sessions", "list", "--config", &small]));
    assert!(code == Some(0) && errors.contains("0 session(s)"), "{errors}");
    let memory =
        house.folder.write("memory.toml", &format!("[secrets]\nkeys = [\"{KEY}\"]\n[store]\nurl = \"memory:\"\n"));
    let (code, _, errors) = run(counterfoil(house.folder.path(), &["sessions", "list", "--config", &memory]));
    assert!(code == Some(64) && errors.contains("in memory"), "{errors}");
}

/// R-P08, R-G07: one signal: a new key, other timeouts, other administrators; nobody is signed out, and a file with
/// faults changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_reload_rotates_keys_and_changes_rules_without_signing_anybody_out() {
    const NEW: &str = "Hx4dHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA=";
    let mut house = House::start(SECTION, 1).await;
    let browser = house.signed_in(0).await;
    let write = |change: &dyn Fn(String) -> String| {
        let text = std::fs::read_to_string(&house.config).unwrap();
        std::fs::write(&house.config, change(text)).unwrap();
        house.programs[0].signal("HUP");
    };
    write(&|text| text.replace(KEY, "nonsense"));
    house.programs[0].wait_for("nothing was changed");
    assert_eq!(browser.get("/guarded").await.status, 200);

    write(&|text| text.replace("\"nonsense\"", &format!("\"{NEW}\", \"{KEY}\"")));
    house.programs[0].wait_for("were read again");
    assert_eq!(browser.get("/guarded").await.status, 200, "sealed under the old key");
    // What is sealed now can still be read by a replica that has not heard of the new key.
    let fresh = house.signed_in(0).await;
    let old = house
        .folder
        .write("old.toml", &format!("[secrets]\nkeys = [\"{KEY}\"]\n[store]\nurl = \"{}\"\n", house.redis.url()));
    let (_, listed, _) = run(counterfoil(house.folder.path(), &["sessions", "list", "--config", &old]));
    assert_eq!(listed.lines().count(), 3, "a header and two: {listed}");
    assert_eq!(fresh.get("/guarded").await.status, 200);

    let call = async |token: &str| {
        let url = format!("{PUBLIC}/sso/api/v1/timeouts");
        house.browser(0).fetch(&url).header("authorization", &format!("Bearer {token}")).send().await
    };
    assert_eq!(call(TOKEN).await.json()["idle_timeout"], "30m");
    write(&|text| text.replace(TOKEN, &TOKEN.replace("test", "next")) + "[session]\nidle_timeout = \"7m\"\n");
    house.programs[0].wait_for("were read again");
    assert_eq!(call(TOKEN).await.status, 401, "a token that was taken away");
    assert_eq!(call(&TOKEN.replace("test", "next")).await.json()["idle_timeout"], "7m");
    assert_eq!(browser.get("/guarded").await.status, 200);
    assert!(house.idp.received("/token").len() == 2, "nobody had to sign in again");
    house.programs[0].signal("TERM");
    let (code, _) = house.programs.remove(0).end();
    assert_eq!(code, Some(0));
}

/// R-N05, R-O01: who, whom, when, from where and what came of it; refused attempts as well, and never a token.
#[tokio::test(flavor = "multi_thread")]
async fn administration_leaves_its_events() {
    let mut house = House::start(&format!("{SECTION}[log]\nformat = \"json\"\n"), 1).await;
    let browser = house.signed_in(0).await;
    let session = browser.session().await;
    let handle = session["session"]["handle"].as_str().unwrap();
    let client = house.browser(0);
    let timeouts = json!({ "idle_timeout": "20m", "absolute_timeout": "8h" });
    let revocation = json!({ "handles": [handle], "reason": "lost laptop" });
    call_from(&client, Method::GET, "sessions", None).await;
    call_from(&client, Method::PUT, "timeouts", Some(timeouts)).await;
    call_from(&client, Method::POST, "revocations", Some(revocation)).await;
    // An order for many is written down before anybody is ended by it, also one that does not stand.
    let idle = json!({ "filter": { "idle_longer_than": "3h" }, "reason": "nobody at home" });
    call_from(&client, Method::POST, "revocations", Some(idle)).await;
    let wrong = client.fetch(&format!("{PUBLIC}/sso/api/v1/sessions")).header("authorization", "Bearer CANARY-token");
    assert_eq!(wrong.send().await.status, 401);
    let program = house.programs.remove(0);
    program.signal("TERM");
    let (_, said) = program.end();
    assert!(!said.contains("CANARY") && !said.contains(TOKEN), "R-O01");
    let events: Vec<Value> = said.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let event = |name: &str| {
        let found = events.iter().find(|event| event.to_string().contains(&format!("\"{name}\"")));
        found.unwrap_or_else(|| panic!("{name} is not in {said}")).to_string()
    };
    for (name, parts) in [
        ("sessions_viewed", vec!["api-token:", "127.0.0.1"]),
        ("timeouts_changed", vec!["api-token:", "20m", "127.0.0.1"]),
        ("sessions_revoked", vec!["api-token:", "lost laptop", "127.0.0.1", "\"ended\":1"]),
        ("session_revoked", vec!["api-token:", handle]),
        ("revocation_ordered", vec!["api-token:", "nobody at home", "127.0.0.1"]),
        ("administration_denied", vec!["/sso/api/v1/sessions", "127.0.0.1"]),
    ] {
        let event = event(name);
        for part in parts {
            assert!(event.contains(part), "{part} is not in {event}");
        }
        assert!(event.contains("timestamp"), "{event}");
    }
}
