//! Running it: start, health, defects, the end.

use axum::Router;
use axum::routing::get;
use counterfoil::guard::current_user::CurrentUser;

use crate::support::broker::{Broker, KEY, PUBLIC, listen};
use crate::support::browser::Browser;
use crate::support::child::{Program, free_port, until};
use crate::support::program::{Folder, counterfoil, run};
use crate::support::redis::Redis;
use crate::support::scripted_idp::ScriptedIdp;
use crate::support::upstream;

/// R-O05: health has a port of its own.
#[tokio::test]
async fn health_is_on_the_operators_port_alone() {
    let broker = Broker::start().await;
    let operations = Browser::new([("ops".to_owned(), broker.operations)]);
    assert_eq!(operations.fetch("http://ops/livez").send().await.status, 200);
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(broker.browser().fetch(&format!("{PUBLIC}{path}")).send().await.status, 401, "{path}");
    }
    assert_eq!(operations.fetch("http://ops/sso/session").send().await.status, 404);
}

/// R-P05: a defect ends one request; the library guards an application in the same process.
#[tokio::test]
async fn a_panic_ends_one_request_and_an_embedded_application_knows_its_user() {
    let broker = Broker::start().await;
    let office = Router::new()
        .route("/panic", get(async || -> &'static str { panic!("a defect") }))
        .route("/me", get(async |user: CurrentUser| user.identity().display_name().to_owned()));
    let address = listen(broker.app.in_front_of(office)).await;
    let signed_in = broker.signed_in().await;
    let browser = Browser::new([("app.example.test".to_owned(), address)]);
    for cookie in signed_in.cookies() {
        browser.plant("app.example.test", &cookie.name, &cookie.value);
    }
    for _ in 0..3 {
        let answer = browser.get("/panic").await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (500, "internal"));
        assert!(!answer.body.contains("a defect"));
    }
    assert_eq!(browser.get("/me").await.body, "Alice Kim");
    assert_eq!(Browser::new([("app.example.test".to_owned(), address)]).get("/me").await.status, 401);
}

/// R-P09: SIGTERM lets a request under way finish, takes no new ones, and loses no session.
#[tokio::test(flavor = "multi_thread")]
async fn sigterm_drains_and_a_restart_loses_no_session() {
    let (folder, redis, port) = (Folder::new(), Redis::start(), free_port());
    let idp = ScriptedIdp::start(std::sync::Arc::new(counterfoil::clock::SystemClock)).await;
    let (entered, mut is_entered) = tokio::sync::mpsc::channel::<()>(1);
    let (release, released) = tokio::sync::watch::channel(false);
    let slow = async move || {
        entered.send(()).await.unwrap();
        released.clone().wait_for(|released| *released).await.unwrap();
        "finished"
    };
    let office = listen(Router::new().route("/slow", get(slow)).fallback(async || "office")).await;
    let public = format!("http://127.0.0.1:{port}");
    let config = format!(
        "public_url = \"{public}\"\n[server]\nlisten = \"127.0.0.1:{port}\"\nops_listen = \"127.0.0.1:0\"\n\
         [secrets]\nkeys = [\"{KEY}\"]\n[store]\nurl = \"{}\"\ntimeout = \"30s\"\n\
         [idp.company]\nkind = \"oidc\"\nissuer = \"{}\"\nclient_id = \"backoffice\"\nclient_secret = \"x\"\n\
         [[route]]\npath = \"/\"\nupstream = \"http://{office}\"\n",
        redis.url(),
        idp.issuer(),
    );
    let file = folder.write("counterfoil.toml", &config);
    let start = || {
        let program = Program::start(&mut counterfoil(folder.path(), &["serve", "--config", &file]));
        program.wait_for("an identity provider is ready");
        program
    };
    let first = start();
    let browser = Browser::new([]);
    let login = browser.visit(&format!("{public}/sso/login")).send().await;
    let callback = browser.visit(login.location()).send().await.location().to_owned();
    assert_eq!(browser.visit(&callback).send().await.status, 303);

    let slow = tokio::spawn({
        let (browser, public) = (browser.clone(), public.clone());
        async move { browser.fetch(&format!("{public}/slow")).send().await }
    });
    is_entered.recv().await.unwrap();
    first.signal("TERM");
    first.wait_for("asked to end");
    let is_closed = async || Browser::new([]).fetch(&format!("{public}/")).try_send().await.is_err();
    until("the listener is closed", is_closed).await;
    release.send_replace(true);
    let answer = slow.await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, "finished"));
    assert_eq!(first.end().0, Some(0));

    let second = start();
    assert_eq!(browser.fetch(&format!("{public}/")).send().await.body, "office");
    second.signal("TERM");
    assert_eq!(second.end().0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn check_asks_the_store_and_every_provider_and_says_what_to_do() {
    let (folder, redis) = (Folder::new(), Redis::start());
    let idp = ScriptedIdp::start(std::sync::Arc::new(counterfoil::clock::SystemClock)).await;
    let office = upstream::start().await;
    let config = |redis: &str, issuer: &str| {
        format!(
            "public_url = \"https://app.example.test\"\n[secrets]\nkeys = [\"{KEY}\"]\n[store]\nurl = \"{redis}\"\n\
             [idp.company]\nkind = \"oidc\"\nissuer = \"{issuer}\"\nclient_id = \"backoffice\"\nclient_secret = \"x\"\n\
             [[route]]\npath = \"/\"\nupstream = \"http://{office}\"\n[admin]\ngroups = [\"security\"]\n"
        )
    };
    let good = folder.write("good.toml", &config(&redis.url(), &idp.issuer()));
    let (code, said, _) = run(counterfoil(folder.path(), &["check", "--config", &good]));
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("ok    store.url") && said.contains("ok    idp.company"));
    assert!(said.contains("https://app.example.test/sso/callback/company"), "what to register: {said}");

    let port = free_port();
    let bad = config(&format!("redis://user:CANARY@127.0.0.1:{port}/0"), &format!("{}/wrong", idp.issuer()));
    let bad = folder.write("bad.toml", &bad);
    let (code, said, errors) = run(counterfoil(folder.path(), &["check", "--config", &bad]));
    assert_eq!(code, Some(1), "{said}{errors}");
    assert!(said.contains("fail  store.url") && said.contains("fail  idp.company"), "{said}");
    assert!(!said.contains("CANARY") && !errors.contains("CANARY"));
}

#[test]
fn bad_usage_and_help_have_their_exit_codes() {
    let folder = Folder::new();
    let code = |arguments: &[&str]| run(counterfoil(folder.path(), arguments)).0;
    assert_eq!(code(&["--help"]), Some(0));
    assert_eq!(code(&["--version"]), Some(0));
    assert_eq!(code(&[]), Some(64));
    assert_eq!(code(&["serve", "--nonsense"]), Some(64));
    assert_eq!(code(&["serve", "--config", "missing.toml"]), Some(64));
    assert_eq!(code(&["demo", "--listen", "0.0.0.0:8080"]), Some(64));
    let keys: Vec<_> = (0..2).map(|_| run(counterfoil(folder.path(), &["keys", "generate"])).1).collect();
    assert_ne!(keys[0], keys[1]);
}

/// A port that is taken is a failure, not a usage error.
#[test]
fn a_taken_port_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = Folder::new();
    let (code, _, errors) = run(counterfoil(folder.path(), &["demo", "--listen", &address]));
    assert_eq!(code, Some(1));
    assert!(errors.contains(&address), "{errors}");
}

/// A record of everything the JSON log is made of is parsed elsewhere; here only that readiness is JSON.
#[tokio::test]
async fn readiness_is_a_document() {
    let broker = Broker::start().await;
    broker.signed_in().await;
    let ready = broker.readiness().await.json();
    let documented = crate::documents::example_of_an_answer("ready");
    assert_eq!(ready, documented);
    assert_eq!((&ready["ready"], &ready["store"], &ready["draining"]), (&true.into(), &"ok".into(), &false.into()));
}
