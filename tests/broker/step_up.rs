//! Routes that demand a class of authentication (`acr`).

use std::collections::HashMap;

use counterfoil::clock::{Clock, ManualClock, SystemClock};
use serde_json::json;
use url::Url;

use crate::support::broker::{Broker, PUBLIC, Setup};
use crate::support::browser::{Answer, Browser};
use crate::support::captured_log::CapturedLog;
use crate::support::scripted_idp::{Script, ScriptedIdp};

const ROUTES: &str = "[[route]]\npath = \"/vault\"\nupstream = \"UPSTREAM\"\nacr = [\"urn:mfa\", \"urn:key\"]\n\
    [[route]]\npath = \"/\"\nupstream = \"UPSTREAM\"\n";

fn signs_in_with(broker: &Broker, acr: &serde_json::Value) {
    broker.idp.behave(Script::claims(json!({ "acr": acr })));
}

/// Follows a login that the broker sent the browser to; what was asked of the provider, and where it ends.
async fn signs_in_once_more(browser: &Browser, location: &str) -> (HashMap<String, String>, Answer) {
    let start = browser.visit(&format!("{PUBLIC}{location}")).send().await;
    let url: Url = start.location().parse().unwrap();
    let answer = browser.visit(start.location()).send().await;
    (url.query_pairs().into_owned().collect(), browser.visit(answer.location()).send().await)
}

/// R-A13
#[tokio::test]
async fn a_page_that_demands_more_sends_its_visitors_back_to_the_provider_once() {
    for near_cache_entries in [1_000, 0] {
        let broker = Broker::with(Setup { routes: ROUTES, near_cache_entries, ..Setup::default() }).await;
        signs_in_with(&broker, &json!("urn:password"));
        let (browser, vault) = (broker.signed_in().await, format!("{PUBLIC}/vault"));
        for _ in 0..2 {
            assert_eq!(broker.status(&browser).await, 200, "other routes do not mind");
            let script = browser.fetch(&vault).send().await;
            assert_eq!((script.status.as_u16(), script.code().as_str()), (401, "reauthentication_required"));
        }
        let turned_away = browser.visit(&vault).send().await;
        assert_eq!(turned_away.location(), "/sso/login?return_to=%2Fvault");
        let start = browser.visit(&format!("{PUBLIC}{}", turned_away.location())).send().await;
        let url: Url = start.location().parse().unwrap();
        let asked: HashMap<_, _> = url.query_pairs().into_owned().collect();
        assert_eq!(asked["acr_values"], "urn:mfa urn:key");

        let again = broker.sign_in(&browser, "/vault").await;
        let once_more = "/sso/login?return_to=%2Fvault&idp=company&fresh=1";
        assert_eq!((again.status.as_u16(), again.location()), (303, once_more), "it answers with less: once more");
        let log = CapturedLog::begin(tracing::Level::INFO);
        let (asked, landed) = signs_in_once_more(&browser, again.location()).await;
        assert_eq!((asked["prompt"].as_str(), asked["acr_values"].as_str()), ("login", "urn:mfa urn:key"));
        assert_eq!(landed.status, 403, "and no loop: {}", landed.body);
        assert!(landed.body.contains("This page needs a stronger sign-in"), "{}", landed.body);
        let said = log.lines_with("a request was turned away").pop().unwrap();
        for named in ["urn:mfa or urn:key", "the route /vault", "urn:password"] {
            assert!(said.contains(named), "{named}: {said}");
        }
        drop(log);
        assert_eq!(broker.status(&browser).await, 200, "the session before lives on");
        signs_in_with(&broker, &json!("urn:key"));
        assert_eq!(broker.sign_in(&browser, "/vault").await.location(), "/vault");
        for _ in 0..2 {
            assert_eq!(browser.fetch(&vault).send().await.status, 200);
        }
    }
}

/// R-A13: one line a case: what the ID token says, whether the page is shown to a session that was begun elsewhere.
#[tokio::test]
async fn acr_values_are_compared_exactly() {
    let broker = Broker::with(Setup { routes: ROUTES, ..Setup::default() }).await;
    for (acr, status) in [
        (json!("urn:mfa"), 200),
        (json!("urn:MFA"), 401),
        (json!("urn:mfa urn:key"), 401),
        (json!(""), 401),
        (json!(null), 401),
    ] {
        signs_in_with(&broker, &acr);
        let browser = broker.signed_in().await;
        assert_eq!(browser.get("/vault").await.status, status, "{acr}");
    }
}

/// What a provider is set to accept narrows what a page asks it for, and whoever cannot be asked is not.
#[tokio::test]
async fn providers_that_cannot_meet_the_demand_are_not_asked() {
    let weak = ScriptedIdp::start(ManualClock::at(SystemClock.now())).await;
    let more = "[idp.weak]\nkind = \"oidc\"\nissuer = \"WEAK\"\nclient_id = \"x\"\nclient_secret = \"y\"\n\
        acr_values = [\"urn:password\"]\n\
        [idp.plain]\nkind = \"oauth2\"\nclient_id = \"x\"\nclient_secret = \"y\"\nprofile.subject = \"id\"\n\
        authorization_endpoint = \"https://p.example/a\"\ntoken_endpoint = \"https://p.example/t\"\n\
        profile_endpoint = \"https://p.example/p\"\n";
    let idp = "acr_values = [\"urn:key\", \"urn:password\"]".to_owned();
    let broker =
        Broker::with(Setup { routes: ROUTES, more: more.replace("WEAK", &weak.issuer()), idp, ..Setup::default() })
            .await;
    let start = async |path: &str| broker.browser().visit(&format!("{PUBLIC}/sso/login?return_to={path}")).send().await;
    let vault = start("/vault").await;
    assert!(vault.location().ends_with("&acr_values=urn%3Akey"), "{}", vault.location());
    assert_eq!(start("/").await.status, 200, "elsewhere there is a choice");
    let by_name = broker.browser().visit(&format!("{PUBLIC}/sso/login?idp=weak")).send().await;
    assert!(by_name.location().starts_with(&weak.issuer()), "{}", by_name.location());
    assert!(by_name.location().ends_with("&acr_values=urn%3Apassword"), "{}", by_name.location());
}

/// R-A13, Core 5.5.1.1: `acr` is voluntary. One line a case: what the provider says to the first login and to the one
/// with `prompt=login`, and what comes of it; also where the provider's own section asks for it.
#[tokio::test]
async fn a_weaker_login_is_asked_for_once_more_and_then_told_what_is_missing() {
    let by_route = || Setup { routes: ROUTES, ..Setup::default() };
    let by_provider = || Setup { idp: "acr_values = [\"urn:mfa\", \"urn:key\"]".into(), ..Setup::default() };
    for (who_asks, is_by_route) in [("acr of the route /vault", true), ("idp.company.acr_values", false)] {
        let setup = || if is_by_route { by_route() } else { by_provider() };
        for (first, second, status) in [
            (json!("urn:password"), json!("urn:mfa"), 303),
            (json!("urn:password"), json!("urn:password"), 403),
            (json!(null), json!(null), 403),
            (json!(""), json!("0"), 403),
            (json!(null), json!("urn:key"), 303),
            (json!("urn:MFA"), json!("urn:mfa urn:key"), 403),
        ] {
            let broker = Broker::with(setup()).await;
            signs_in_with(&broker, &first);
            let browser = broker.browser();
            let again = broker.sign_in(&browser, "/vault").await;
            assert!(again.location().ends_with("&fresh=1"), "{who_asks} {first}: {}", again.location());
            assert_eq!(broker.status(&browser).await, 401, "nobody is signed in by less than was asked for");
            signs_in_with(&broker, &second);
            let log = CapturedLog::begin(tracing::Level::INFO);
            let (_, landed) = signs_in_once_more(&browser, again.location()).await;
            assert_eq!(landed.status, status, "{who_asks} {first} {second}: {}", landed.body);
            let told = log.lines_with(who_asks).len();
            assert_eq!(told > 0, status == 403, "{who_asks} {first} {second}");
            assert_eq!(broker.status(&browser).await, if status == 303 { 200 } else { 401 });
        }
    }
}
