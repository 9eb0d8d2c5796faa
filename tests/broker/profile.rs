//! Plain OAuth 2.0: a profile endpoint instead of an ID token, and attributes by dotted paths.

use axum::extract::Form;
use axum::routing::{get, post};
use axum::{Json, Router};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use std::collections::HashMap;

use crate::support::broker::{Broker, PUBLIC, Setup, listen};

/// A provider that answers this profile to whoever has the token.
async fn broker_with_profile(profile: Value, mapping: &str) -> Broker {
    let token = async |Form(form): Form<HashMap<String, String>>| {
        assert_eq!(form["grant_type"], "authorization_code");
        Json(json!({ "access_token": "plain-token", "token_type": "bearer" }))
    };
    let me = async move |headers: HeaderMap| {
        if headers["authorization"] == "Bearer plain-token" { Ok(Json(profile)) } else { Err(StatusCode::UNAUTHORIZED) }
    };
    let site = Router::new().route("/token", post(token)).route("/me", get(me));
    let provider = format!("http://{}", listen(site).await);
    let more = format!(
        "[idp.plain]\nkind = \"oauth2\"\nclient_id = \"x\"\nclient_secret = \"y\"\nprofile = {{ {mapping} }}\n\
         authorization_endpoint = \"{provider}/authorize\"\ntoken_endpoint = \"{provider}/token\"\n\
         profile_endpoint = \"{provider}/me\"\n"
    );
    Broker::with(Setup { more, ..Setup::default() }).await
}

async fn session_of(broker: &Broker) -> (u16, Value) {
    let browser = broker.browser();
    let start = browser.visit(&format!("{PUBLIC}/sso/login?idp=plain")).send().await;
    let state = start.location().split("state=").nth(1).unwrap().split('&').next().unwrap();
    let landed = browser.visit(&format!("{PUBLIC}/sso/callback/plain?code=c&state={state}")).send().await;
    let session = browser.get("/sso/session").await;
    (landed.status.as_u16(), session.json())
}

#[tokio::test]
async fn attributes_come_from_dotted_paths_and_numbers_name_people() {
    let profile = json!({ "response": { "id": 1001, "who": { "name": "Alice Kim", "mail": "alice@example.com" }, "units": ["staff"] } });
    let mapping = "subject = \"response.id\", name = \"response.who.name\", email = \"response.who.mail\", groups = \"response.units\"";
    let (status, session) = session_of(&broker_with_profile(profile, mapping).await).await;
    assert_eq!(status, 303);
    assert_eq!(session["subject"], "1001");
    assert_eq!(
        (&session["name"], &session["email"], &session["groups"]),
        (&json!("Alice Kim"), &json!("alice@example.com"), &json!(["staff"]))
    );
}

#[tokio::test]
async fn a_profile_without_the_subject_signs_nobody_in() {
    for profile in [json!({}), json!({ "id": null }), json!({ "id": "" }), json!({ "id": ["x"] }), json!({ "id": 1.5 })]
    {
        let said = profile.to_string();
        let (status, session) = session_of(&broker_with_profile(profile, "subject = \"id\"").await).await;
        assert_eq!((status, &session["code"]), (502, &json!("session_missing")), "{said}");
    }
}

#[tokio::test]
async fn missing_attributes_are_left_out() {
    let (status, session) =
        session_of(&broker_with_profile(json!({ "id": "1", "email": null }), "subject = \"id\"").await).await;
    assert_eq!((status, &session["email"], &session["groups"]), (303, &Value::Null, &json!([])));
}
