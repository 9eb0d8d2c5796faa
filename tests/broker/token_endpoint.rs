//! The code exchange: what the provider's token endpoint is told, and what it may answer.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::broker::{Broker, SESSION, Setup};
use crate::support::scripted_idp::{Gate, Misbehaviour, Script, change, set};

const SECRET: &str = "CANARY-client-secret p@ss:w%rd+/=é";

/// R-C01, R-C02
#[tokio::test]
async fn the_client_secret_goes_form_encoded_into_the_basic_header_and_nowhere_else() {
    let broker = Broker::start().await;
    broker.signed_in().await;
    let request = broker.idp.received("/token").remove(0);
    let basic = request.headers["authorization"].to_str().unwrap().strip_prefix("Basic ").unwrap();
    let pair = String::from_utf8(STANDARD.decode(basic).unwrap()).unwrap();
    let (id, secret) = pair.split_once(':').unwrap();
    let decode = |text: &str| url::form_urlencoded::parse(text.as_bytes()).next().unwrap().0.into_owned();
    assert_eq!((decode(id).as_str(), decode(secret).as_str()), ("backoffice", SECRET));
    assert!(!request.form.contains_key("client_secret") && request.query.is_empty());
}

/// R-C01, R-C02
#[tokio::test]
async fn client_secret_post_and_public_clients_use_the_body_alone() {
    let idp = "token_endpoint_auth_method = \"client_secret_post\"".to_owned();
    let broker = Broker::with(Setup { idp, ..Setup::default() }).await;
    broker.signed_in().await;
    let request = broker.idp.received("/token").remove(0);
    assert!(!request.headers.contains_key("authorization"));
    assert_eq!((request.form["client_id"].as_str(), request.form["client_secret"].as_str()), ("backoffice", SECRET));
}

async fn answered(change_: impl Fn(&mut Value) + Send + Sync + 'static) -> u16 {
    let broker = Broker::start().await;
    broker.idp.behave(Script { token_answer: change(change_), ..Script::default() });
    let browser = broker.browser();
    let status = broker.sign_in(&browser, "/").await.status.as_u16();
    assert_eq!(browser.cookie(SESSION).is_some(), status == 303);
    status
}

/// R-C04, R-C05, R-C06: one line a case.
#[tokio::test]
async fn token_answers_are_accepted_and_refused_by_the_book() {
    for (expected, members) in [
        (303, json!({})),
        (303, json!({ "token_type": "bEARER" })),
        (303, json!({ "expires_in": null, "refresh_token": null })),
        (303, json!({ "expires_in": 0 })),
        (303, json!({ "expires_in": -1 })),
        (303, json!({ "expires_in": 0.5 })),
        (303, json!({ "expires_in": "300" })),
        (303, json!({ "expires_in": 1_000_000_000_000_000_000_u64 })),
        (303, json!({ "scope": ["openid"] })),
        (502, json!({ "token_type": "mac" })),
        (502, json!({ "token_type": null })),
        (502, json!({ "access_token": null })),
        (502, json!({ "id_token": null })),
        (502, json!({ "id_token": "x" })),
    ] {
        let said = members.to_string();
        assert_eq!(answered(move |answer| set(members.clone()).unwrap()(answer)).await, expected, "{said}");
    }
}

/// R-C07, R-C08, R-P02: one line a case; the token endpoint is asked once each time.
#[tokio::test]
async fn a_token_endpoint_that_misbehaves_fails_the_login_and_is_not_asked_again() {
    let page = "<!doctype html><title>Maintenance</title>";
    for (expected, misbehaviour) in [
        (502, Misbehaviour::Answer(200, "text/html", page)),
        (502, Misbehaviour::Answer(200, "application/json", page)),
        (502, Misbehaviour::Answer(200, "application/json", "[]")),
        // An expired login begins again; GitHub and Slack have error codes of their own for that, and status 200.
        (400, Misbehaviour::Answer(400, "application/json", "{\"error\":\"invalid_grant\"}")),
        (400, Misbehaviour::Answer(403, "application/json", "{\"error\":\"invalid_grant\"}")),
        (400, Misbehaviour::Answer(200, "application/json", "{\"error\":\"bad_verification_code\"}")),
        (400, Misbehaviour::Answer(200, "application/json", "{\"ok\":false,\"error\":\"code_already_used\"}")),
        (502, Misbehaviour::Answer(400, "application/json", "{\"error\":\"invalid_request\"}")),
        (502, Misbehaviour::Answer(401, "application/json", "{\"error\":\"invalid_client\"}")),
        (503, Misbehaviour::Answer(503, "text/html", page)),
        (502, Misbehaviour::Redirect("http://127.0.0.1:1/token".into())),
        (502, Misbehaviour::Endless),
        (503, Misbehaviour::Drop),
        (503, Misbehaviour::Held(Gate::default())),
    ] {
        // A hanging provider times out; all others have time enough.
        let hangs = matches!(misbehaviour, Misbehaviour::Held(_));
        let idp = format!("timeout = \"{}\"", if hangs { "5s" } else { "1m" });
        let broker = Broker::with(Setup { idp, ..Setup::default() }).await;
        broker.idp.behave(Script { at_token: misbehaviour, ..Script::default() });
        let browser = broker.browser();
        let answer = broker.sign_in(&browser, "/").await;
        assert_eq!(answer.status.as_u16(), expected, "{}", answer.body);
        assert!(browser.cookies().is_empty(), "nothing is left behind");
        assert_eq!(broker.idp.received("/token").len(), 1);
        assert!(broker.idp.received("/userinfo").is_empty());
    }
}
