//! Providers that are away, slow, wrong or several.

use serde_json::{Value, json};

use crate::support::broker::{Broker, PUBLIC, Setup};
use crate::support::browser::Browser;
use crate::support::scripted_idp::{Gate, Misbehaviour, Script, ScriptedIdp};

/// R-F01, R-F02: one line a case; no authorization request ever leaves.
#[tokio::test]
async fn metadata_that_cannot_be_trusted_starts_no_login() {
    for members in [
        json!({ "issuer": "https://evil.example" }),
        json!({ "issuer": null }),
        json!({ "token_endpoint": "http://idp.example.test/token" }),
        json!({ "authorization_endpoint": "ftp://idp.example.test/" }),
        json!({ "jwks_uri": null }),
        json!({ "require_pushed_authorization_requests": true }),
    ] {
        let broker = Broker::start().await;
        broker.idp.behave(Script::metadata(members.clone()));
        let answer = broker.browser().visit(&format!("{PUBLIC}/sso/login")).send().await;
        assert_eq!(answer.status, 502, "{members}");
        assert!(answer.set_cookies().is_empty() && answer.location().is_empty());
    }
}

/// R-F03, R-C07, R-P02: one line a case.
#[tokio::test]
async fn a_provider_that_cannot_be_used_is_said_to_be_and_nothing_is_lost() {
    let page = Misbehaviour::Answer(200, "text/html", "<html>");
    for (expected, misbehaviour) in [
        (502, page),
        (502, Misbehaviour::Answer(404, "application/json", "{}")),
        (503, Misbehaviour::Answer(500, "application/json", "{}")),
        (502, Misbehaviour::Redirect("http://127.0.0.1:1/".into())),
        (502, Misbehaviour::Endless),
        (503, Misbehaviour::Held(Gate::default())),
        (503, Misbehaviour::Drop),
    ] {
        // A hanging provider times out; all others have time enough.
        let hangs = matches!(misbehaviour, Misbehaviour::Held(_));
        let idp = format!("timeout = \"{}\"", if hangs { "5s" } else { "1m" });
        let broker = Broker::with(Setup { idp, ..Setup::default() }).await;
        broker.idp.behave(Script { at_metadata: misbehaviour, ..Script::default() });
        let browser = broker.browser();
        let answer = browser.visit(&format!("{PUBLIC}/sso/login?return_to=/x")).send().await;
        assert_eq!(answer.status, expected, "{}", answer.body);
        assert!(answer.body.contains("return_to=%2Fx"), "the way back is kept");
        broker.idp.behave(Script::default());
        broker.clock.advance(time::Duration::seconds(5));
        assert_eq!(broker.sign_in(&browser, "/x").await.location(), "/x", "it heals by itself");
    }
}

/// R-F04
#[tokio::test]
async fn keys_and_metadata_that_were_good_once_are_kept_through_an_outage() {
    let broker = Broker::start().await;
    broker.signed_in().await;
    let down = Misbehaviour::Answer(500, "text/plain", "");
    broker.idp.behave(Script { at_jwks: down.clone(), at_metadata: down, ..Script::default() });
    broker.clock.advance(time::Duration::hours(2));
    broker.signed_in().await;
}

/// R-F05
#[tokio::test]
async fn odd_keys_in_the_set_do_no_harm() {
    let broker = Broker::start().await;
    broker.idp.behave(Script {
        jwks: crate::support::scripted_idp::change(|document| {
            let odd = json!([7, { "kty": "oct", "k": "c2VjcmV0" }, { "kty": "quantum" }, { "kty": "RSA", "n": "AQAB", "e": "AQAB" }]);
            let good = document["keys"].as_array().unwrap().clone();
            document["keys"] = odd.as_array().unwrap().iter().chain(&good).cloned().collect::<Value>();
        }),
        ..Script::default()
    });
    broker.signed_in().await;
}

/// R-F06, R-P03
#[tokio::test]
async fn the_broker_starts_without_its_provider_and_sessions_outlive_it() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let setup = Setup::default();
    let idp = ScriptedIdp::start_on(listener, setup.clock.clone());
    idp.behave(Script { at_metadata: Misbehaviour::Drop, ..Script::default() });
    let broker = Broker::with_provider(setup, idp).await;
    let operations = Browser::new([("ops".to_owned(), broker.operations)]);
    let ready = async || broker.readiness().await;
    assert_eq!(operations.fetch("http://ops/livez").send().await.status, 200);
    assert_eq!(ready().await.status, 503);
    assert_eq!(ready().await.json()["idps"]["company"], "unreachable");

    broker.idp.behave(Script::default());
    broker.clock.advance(time::Duration::seconds(5));
    let browser = broker.signed_in().await;
    assert_eq!(ready().await.status, 200);
    broker.idp.behave(Script {
        at_metadata: Misbehaviour::Drop,
        at_jwks: Misbehaviour::Drop,
        at_token: Misbehaviour::Drop,
        ..Script::default()
    });
    broker.clock.advance(time::Duration::minutes(20));
    assert_eq!(broker.status(&browser).await, 200);
    assert_eq!(ready().await.status, 200, "live sessions need no provider");
}

#[tokio::test]
async fn several_providers_are_a_choice_and_a_default_is_none() {
    let second = "[idp.legacy]\nkind = \"oauth2\"\nclient_id = \"x\"\nclient_secret = \"y\"\n\
        display_name = \"Old <directory>\"\nprofile = { subject = \"id\" }\n\
        authorization_endpoint = \"https://old.example/a\"\ntoken_endpoint = \"https://old.example/t\"\n\
        profile_endpoint = \"https://old.example/p\"\n";
    let broker = Broker::with(Setup { more: second.into(), ..Setup::default() }).await;
    let login = format!("{PUBLIC}/sso/login");
    let chooser = broker.browser().visit(&format!("{login}?return_to=/x")).send().await;
    assert_eq!(chooser.status, 200);
    for idp in ["company", "legacy"] {
        let href = format!("/sso/login?return_to=%2Fx&#38;idp={idp}");
        assert!(chooser.body.contains(&href), "{}", chooser.body);
    }
    assert!(chooser.body.contains("Old &#60;directory&#62;"));
    let named = broker.browser().visit(&format!("{login}?idp=legacy")).send().await;
    assert!(named.location().starts_with("https://old.example/a?response_type=code&client_id=x"));
    assert!(!named.location().contains("nonce"), "plain OAuth 2.0 has none");
    assert_eq!(broker.browser().visit(&format!("{login}?idp=nobody")).send().await.status, 400);

    let more = format!("{second}[login]\ndefault_idp = \"company\"\n");
    let broker = Broker::with(Setup { more, ..Setup::default() }).await;
    assert_eq!(broker.browser().visit(&login).send().await.status, 303);
    assert_eq!(broker.browser().visit(&format!("{login}?choose=1")).send().await.status, 200);
}
