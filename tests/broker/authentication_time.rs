//! Providers that do not say when somebody signed in (`auth_time`), and who asks for it all the same.
//!
//! Gitea and Casdoor were seen to do so. Others of the kind: providers whose metadata lists no claims at all, those that
//! list it and leave it out, and those that do not list it and say it; each is a case below.

use std::collections::HashMap;
use std::sync::Arc;

use counterfoil::clock::{Clock, SystemClock};
use serde_json::{Value, json};
use time::Duration;
use url::Url;

use crate::support::administration::{SECTION, revoke};
use crate::support::broker::{Broker, KEY, PUBLIC, Setup};
use crate::support::browser::{Answer, Browser};
use crate::support::captured_log::CapturedLog;
use crate::support::program::{Folder, counterfoil, run};
use crate::support::redis::Redis;
use crate::support::scripted_idp::manners::{Product, Situation};
use crate::support::scripted_idp::{Change, Script, ScriptedIdp, change, set};

async fn broker_with(key: &str) -> Broker {
    let idp = if key.is_empty() { String::new() } else { format!("auth_time = \"{key}\"") };
    Broker::with(Setup { idp, more: SECTION.into(), ..Setup::default() }).await
}

/// Somebody signs in, and a reviewer ends their sessions and asks for a fresh login.
async fn revoked(broker: &Broker) -> Browser {
    let browser = broker.signed_in().await;
    let order = json!({ "handles": [broker.handle(&browser).await], "reason": "lost laptop" });
    let answer = revoke(broker, order).await;
    assert_eq!(answer["ended"], 1);
    let told = answer["fresh_login"].as_str().unwrap();
    assert!(told.contains("fresh login") && told.contains("prompt=login"), "{told}");
    broker.clock.advance(Duration::seconds(3));
    browser
}

/// A login, in a browser that has never been here; what the provider was asked last, and where it ends.
async fn signs_in(broker: &Broker) -> (HashMap<String, String>, Answer) {
    let browser = broker.browser();
    let mut next = "/sso/login?return_to=%2F".to_owned();
    loop {
        let start = browser.visit(&format!("{PUBLIC}{next}")).send().await;
        let asked = start.location().parse::<Url>().unwrap().query_pairs().into_owned().collect();
        let answer = browser.visit(start.location()).send().await;
        let landed = browser.visit(answer.location()).send().await;
        if landed.status != 303 || !landed.location().starts_with("/sso/login") {
            return (asked, landed);
        }
        landed.location().clone_into(&mut next);
    }
}

fn listed(claims: &Value) -> Option<Change> {
    set(json!({ "claims_supported": claims }))
}

/// R-N04, R-A13: one line a case: the key, what the metadata lists, what ID tokens say, and whether a fresh login after a
/// revocation comes to a session.
#[tokio::test]
async fn a_fresh_login_can_be_had_from_a_provider_that_does_not_say_when_it_was() {
    let silent = || set(json!({ "auth_time": null }));
    let (without, with) = (|| listed(&json!(["sub", "name"])), || listed(&json!(["sub", "auth_time"])));
    for (case, key, metadata, id_token_claims, status) in [
        ("listed without it, and silent", "", without(), silent(), 303),
        ("listed without it, and told", "", without(), None, 303),
        ("listed with it, and silent", "", with(), silent(), 502),
        ("nothing listed, and silent", "", None, silent(), 502),
        ("no list where one should be, and silent", "auto", listed(&json!("auth_time")), silent(), 502),
        ("known to be silent", "untold", None, silent(), 303),
        ("known to be silent, whatever is listed", "untold", with(), silent(), 303),
        ("known to tell, and silent", "told", without(), silent(), 502),
        ("known to tell", "told", without(), None, 303),
    ] {
        let (broker, is_silent) = (broker_with(key).await, id_token_claims.is_some());
        broker.idp.behave(Script { metadata, id_token_claims, ..Script::default() });
        revoked(&broker).await;
        let log = CapturedLog::begin(tracing::Level::INFO);
        let (asked, landed) = signs_in(&broker).await;
        // An `auth_time` that is recent enough needs no second login.
        let fresh = is_silent.then_some("login");
        assert_eq!(asked.get("prompt").map(String::as_str), fresh, "{case}");
        assert_eq!(landed.status, status, "{case}: {}", landed.body);
        if status == 502 {
            assert!(landed.body.contains("have just signed in"), "{case}: {}", landed.body);
            let said = log.lines_with("a request could not be served").pop().unwrap();
            assert!(said.contains("by a revocation") && said.contains("idp.company.auth_time"), "{case}: {said}");
        }
    }
}

/// R-N04: as those products do it, and after a login that the provider answered from its own session alone.
#[tokio::test]
async fn gitea_and_casdoor_let_people_in_again_after_a_revocation() {
    for product in [Product::Gitea, Product::Casdoor] {
        let broker = broker_with("").await;
        broker.idp.behave(product.manner(Situation::Nothing, &broker.idp));
        let browser = revoked(&broker).await;
        let landed = broker.sign_in(&broker.browser(), "/").await;
        let once_more = "/sso/login?return_to=%2F&idp=company&fresh=1";
        assert_eq!(
            (landed.status.as_u16(), landed.location()),
            (303, once_more),
            "{product:?}: not by its own session"
        );
        assert_eq!(signs_in(&broker).await.1.location(), "/", "{product:?}");
        assert_eq!(broker.sign_in(&browser, "/").await.location(), "/", "{product:?}: nor in the same browser");
    }
}

/// R-A13: an `auth_time` that is present is checked whatever the key says.
#[tokio::test]
async fn an_unexpected_auth_time_is_checked() {
    for (ago, status) in [(0, 303), (59, 303), (3_600, 502), (-3_600, 502)] {
        let broker = broker_with("untold").await;
        revoked(&broker).await;
        let told = broker.clock.now().unix_timestamp() - ago;
        let id_token_claims = change(move |claims| claims["auth_time"] = json!(told));
        broker.idp.behave(Script { id_token_claims, ..Script::default() });
        assert_eq!(signs_in(&broker).await.1.status, status, "{ago}");
    }
}

/// The log names the route, or the provider's section, that demands an `auth_time` which the provider does not send.
#[tokio::test]
async fn the_log_names_the_demand_on_a_missing_auth_time() {
    let routes = "[[route]]\npath = \"/vault\"\nupstream = \"UPSTREAM\"\nmax_auth_age = \"10m\"\n\
                  [[route]]\npath = \"/\"\nupstream = \"UPSTREAM\"\n";
    for (idp, path, named) in [
        ("", "/vault", "max_auth_age of the route /vault"),
        ("max_age = \"8h\"", "/", "idp.company.max_age"),
        ("max_age = \"8h\"", "/vault/x", "max_auth_age of the route /vault"),
    ] {
        let broker = Broker::with(Setup { idp: idp.into(), routes, ..Setup::default() }).await;
        broker.idp.behave(Script::claims(json!({ "auth_time": null })));
        let log = CapturedLog::begin(tracing::Level::INFO);
        let landed = broker.sign_in(&broker.browser(), path).await;
        assert_eq!(landed.status, 502, "{idp} {path}");
        let said = log.lines_with("a request could not be served").pop().unwrap();
        assert!(said.contains(named), "{idp} {path}: {said}");
    }
}

/// R-A13: a page that nobody can open, and a login that nobody can finish, are refused before anybody tries.
#[tokio::test(flavor = "multi_thread")]
async fn check_reports_demands_on_a_missing_auth_time() {
    let (folder, redis) = (Folder::new(), Redis::start());
    let idp = ScriptedIdp::start(Arc::new(SystemClock)).await;
    idp.behave(Script { metadata: listed(&json!(["sub", "name"])), ..Script::default() });
    for (keys, route, failing) in [
        ("", "", None),
        ("", "max_auth_age = \"10m\"", Some("route[0].max_auth_age: can never be met by anybody")),
        ("max_age = \"8h\"", "", Some("idp.company.max_age: can never be met")),
        ("auth_time = \"told\"\nmax_age = \"8h\"", "max_auth_age = \"10m\"", None),
    ] {
        let config = format!(
            "public_url = \"{PUBLIC}\"\n[secrets]\nkeys = [\"{KEY}\"]\n[store]\nurl = \"{}\"\n[idp.company]\n\
             kind = \"oidc\"\nissuer = \"{}\"\nclient_id = \"backoffice\"\nclient_secret = \"x\"\n{keys}\n\
             [[route]]\npath = \"/\"\nupstream = \"http://{}\"\n{route}\n",
            redis.url(),
            idp.issuer(),
            idp.address(),
        );
        let file = folder.write("counterfoil.toml", &config);
        let (_, said, errors) = run(counterfoil(folder.path(), &["check", "--config", &file]));
        let fails =
            said.lines().any(|line| line.starts_with("fail") && failing.is_some_and(|text| line.contains(text)));
        assert_eq!(fails, failing.is_some(), "{keys} {route}: {said}{errors}");
        assert!(failing.is_some() || !said.contains("auth_time"), "{keys} {route}: {said}");
    }
}
