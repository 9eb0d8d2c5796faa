//! Authorization requests that do not travel as parameters: pushed (RFC 9126), signed (RFC 9101), both.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::support::broker::{Broker, PUBLIC, Setup};
use crate::support::browser::parameters;
use crate::support::child::until;
use crate::support::keys::{Kind, private_key, verified};
use crate::support::program::{Folder, counterfoil, run};
use crate::support::scripted_idp::{Change, Gate, Misbehaviour, Script, ScriptedIdp, set};

const OFFERED: &str = "pushed_authorization_request_endpoint";
const DEMANDED: &str = "require_pushed_authorization_requests";

fn names(parameters: &HashMap<String, String>) -> Vec<&str> {
    let mut names: Vec<_> = parameters.keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

async fn broker(keys: &str, client: Option<String>, offers: &[&str]) -> Broker {
    let setup = Setup { idp: keys.to_owned(), ..Setup::default() };
    let setup = client.map_or_else(Setup::default, |client| Setup { client, ..setup });
    let setup = Setup { idp: keys.to_owned(), ..setup };
    let idp = ScriptedIdp::start(setup.clock.clone()).await;
    idp.behave(Script { metadata: metadata(&idp, offers), ..Script::default() });
    Broker::with_provider(setup, idp).await
}

fn metadata(idp: &ScriptedIdp, offers: &[&str]) -> Option<Change> {
    let mut members = json!({});
    if offers.contains(&OFFERED) {
        members[OFFERED] = json!(format!("{}/par", idp.issuer()));
    }
    if offers.contains(&DEMANDED) {
        members[DEMANDED] = json!(true);
    }
    set(members)
}

/// R-A14, R-C01: the browser carries a reference, a new one each time; the provider got everything from us.
#[tokio::test]
async fn a_pushed_request_leaves_the_browser_nothing_but_a_reference() {
    let broker = broker("", None, &[OFFERED, DEMANDED]).await;
    let mut references = Vec::new();
    for _ in 0..2 {
        let browser = broker.browser();
        let start = browser.visit(&format!("{PUBLIC}/sso/login")).send().await;
        let carried = parameters(start.location());
        assert_eq!(names(&carried), ["client_id", "request_uri", "tenant"], "its own query is the endpoint's");
        references.push(carried["request_uri"].clone());
        let back = browser.visit(start.location()).send().await;
        let landed = browser.visit(back.location()).send().await;
        assert_eq!((landed.status.as_u16(), landed.location()), (303, "/"), "{}", landed.body);
    }
    assert_ne!(references[0], references[1]);
    let pushed = broker.idp.received("/par");
    assert_eq!(pushed.len(), 2);
    let form = &pushed[0].form;
    assert_eq!((form["client_id"].as_str(), form["response_type"].as_str()), ("backoffice", "code"));
    assert_eq!(form["redirect_uri"], format!("{PUBLIC}/sso/callback/company"));
    for name in ["state", "nonce", "code_challenge", "code_challenge_method", "scope"] {
        assert!(form.contains_key(name), "{name}");
    }
    assert!(pushed[0].headers["authorization"].to_str().unwrap().starts_with("Basic "));
    assert_ne!(form["state"], pushed[1].form["state"]);
}

/// R-A14: a flood of begun logins does not reach the provider.
#[tokio::test]
async fn pushed_requests_have_a_concurrency_limit() {
    let broker = broker("timeout = \"1m\"", None, &[OFFERED]).await;
    let gate = Gate::default();
    broker.idp.behave(Script { at_pushed: Misbehaviour::Held(gate.clone()), ..broker.idp.script() });
    let start = async || broker.browser().visit(&format!("{PUBLIC}/sso/login")).send().await.status.as_u16();
    let crowd = futures_util::future::join_all((0..40).map(|_| start()));
    let provider = async {
        until("as many as may be are there", async || broker.idp.received("/par").len() >= 32).await;
        assert_eq!(broker.status(&broker.browser()).await, 401, "nobody else waits for that");
        assert_eq!(broker.idp.received("/par").len(), 32, "the others wait for them");
        gate.open();
    };
    let (statuses, ()) = tokio::join!(crowd, provider);
    assert!(statuses.iter().all(|status| *status == 303), "{statuses:?}");
    assert_eq!(broker.idp.most_at_once("/par"), 32);
    broker.idp.behave(Script { at_pushed: Misbehaviour::None, ..broker.idp.script() });
    assert_eq!(start().await, 303, "places are given back");
}

/// R-A14: one line a case.
#[tokio::test]
async fn what_is_pushed_depends_on_the_provider_and_the_configuration() {
    let always = "pushed_authorization_requests = \"always\"";
    let never = "pushed_authorization_requests = \"never\"";
    for (expected, pushed, keys, offers) in [
        (303, 0, "", &[][..]),
        (303, 1, "", &[OFFERED]),
        (303, 1, "", &[OFFERED, DEMANDED]),
        (502, 0, "", &[DEMANDED]),
        (303, 1, always, &[OFFERED]),
        (502, 0, always, &[]),
        (303, 0, never, &[]),
        (303, 0, never, &[OFFERED]),
        (502, 0, never, &[OFFERED, DEMANDED]),
    ] {
        let broker = broker(keys, None, offers).await;
        let start = broker.browser().visit(&format!("{PUBLIC}/sso/login")).send().await;
        assert_eq!(start.status.as_u16(), expected, "{keys} {offers:?}: {}", start.body);
        assert_eq!(broker.idp.received("/par").len(), pushed, "{keys} {offers:?}");
    }
}

/// R-A14: one line a case; nothing goes through the browser instead.
#[tokio::test]
async fn a_push_that_fails_fails_the_login() {
    let page = Misbehaviour::Answer(201, "text/html", "<html>");
    let script = |at_pushed| Script { at_pushed, ..Script::default() };
    let answering = |members: Value| Script { pushed_answer: set(members), ..Script::default() };
    for (expected, script) in [
        (502, script(page)),
        (502, script(Misbehaviour::Answer(400, "application/json", "{\"error\":\"invalid_request\"}"))),
        (502, script(Misbehaviour::Answer(200, "application/json", "{\"request_uri\":\"urn:x\",\"expires_in\":60}"))),
        (502, script(Misbehaviour::Redirect("http://127.0.0.1:1/".into()))),
        (503, script(Misbehaviour::Answer(500, "application/json", "{}"))),
        (503, script(Misbehaviour::Answer(429, "application/json", "{}"))),
        (503, script(Misbehaviour::Drop)),
        (502, answering(json!({ "request_uri": null }))),
        (502, answering(json!({ "request_uri": ["urn:x"] }))),
        (502, answering(json!({ "expires_in": null }))),
        (502, answering(json!({ "expires_in": 0 }))),
    ] {
        let broker = broker("", None, &[OFFERED]).await;
        broker.idp.behave(Script { metadata: metadata(&broker.idp, &[OFFERED]), ..script });
        let start = broker.browser().visit(&format!("{PUBLIC}/sso/login?return_to=/x")).send().await;
        assert_eq!(start.status.as_u16(), expected, "{}", start.body);
        assert!(start.location().is_empty() && start.set_cookies().is_empty());
        assert_eq!(broker.idp.received("/par").len(), 1);
    }
}

fn signing_client(folder: &Folder) -> (String, Value) {
    let file = folder.write("client.pem", &private_key(Kind::P256));
    let (_, said, _) = run(counterfoil(folder.path(), &["keys", "jwks", "client.pem"]));
    let jwk = serde_json::from_str::<Value>(&said).unwrap()["keys"][0].clone();
    (format!("token_endpoint_auth_method = \"private_key_jwt\"\nclient_key_file = \"{file}\"\n"), jwk)
}

fn check_object(object: &str, jwk: &Value, issuer: &str) {
    let (header, claims) = verified(object, jwk);
    assert_eq!((header.typ.as_deref(), header.kid.as_deref()), (Some("oauth-authz-req+jwt"), jwk["kid"].as_str()));
    assert_eq!((&claims["iss"], &claims["client_id"]), (&json!("backoffice"), &json!("backoffice")));
    assert_eq!((&claims["aud"], &claims["response_type"]), (&json!(issuer), &json!("code")));
    assert_eq!(claims["redirect_uri"], json!(format!("{PUBLIC}/sso/callback/company")));
    assert_eq!(claims["max_age"], json!(600), "numbers are numbers");
    for name in ["state", "nonce", "scope", "code_challenge", "jti"] {
        assert!(claims[name].as_str().is_some_and(|text| !text.is_empty()), "{name}");
    }
    let moment = |name: &str| claims[name].as_i64().unwrap();
    assert!(moment("nbf") == moment("iat") && (1..=300).contains(&(moment("exp") - moment("iat"))));
    assert!(claims.get("sub").is_none() && claims.get("request").is_none());
}

#[tokio::test]
async fn a_signed_request_says_everything_inside_and_only_what_must_stand_outside() {
    let folder = Folder::new();
    let (client, jwk) = signing_client(&folder);
    let broker = broker("request_object = true\nmax_age = \"10m\"", Some(client), &[]).await;
    let start = broker.browser().visit(&format!("{PUBLIC}/sso/login")).send().await;
    let carried = parameters(start.location());
    assert_eq!(names(&carried), ["client_id", "request", "response_type", "scope", "tenant"]);
    check_object(&carried["request"], &jwk, &broker.idp.issuer());
    broker.signed_in().await;
}

/// R-A14, R-C14
#[tokio::test]
async fn a_signed_request_can_be_pushed_by_whoever_proves_to_be_its_client() {
    let folder = Folder::new();
    let (client, jwk) = signing_client(&folder);
    let broker = broker("request_object = true\nmax_age = \"10m\"", Some(client), &[OFFERED]).await;
    let start = broker.browser().visit(&format!("{PUBLIC}/sso/login")).send().await;
    assert_eq!(names(&parameters(start.location())), ["client_id", "request_uri", "tenant"]);
    let pushed = broker.idp.received("/par").remove(0).form;
    assert_eq!(names(&pushed), ["client_assertion", "client_assertion_type", "client_id", "request"]);
    check_object(&pushed["request"], &jwk, &broker.idp.issuer());
    let (_, assertion) = verified(&pushed["client_assertion"], &jwk);
    assert_eq!((&assertion["aud"], &assertion["sub"]), (&json!(broker.idp.issuer()), &json!("backoffice")));
    broker.signed_in().await;
}
