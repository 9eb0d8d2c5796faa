//! The example provider of zitadel/oidc, a certified library in Go.
//!
//! Its ID tokens name two audiences and say nothing of the person but who it is; the rest is at userinfo.

use std::process::Command;

use serde_json::json;

use crate::support::broker::{Broker, PUBLIC, Setup};
use crate::support::browser::Browser;
use crate::support::child::{Program, eventually, free_port};
use crate::support::counterpart::{callback, follow_as};
use crate::support::program::Folder;

/// Where `tests/providers.sh` puts it.
const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/providers/bin/zitadel");

/// Its people. The name of the file's field is the person's id.
const PEOPLE: &str = r#"{ "id7": {
    "ID": "id7", "Username": "alice", "Password": "x", "FirstName": "Alice", "LastName": "Kim",
    "Email": "alice@example.test", "EmailVerified": true
} }"#;

#[tokio::test]
async fn the_example_provider_of_zitadel_signs_people_in_renews_them_and_signs_them_out() {
    let (folder, port) = (Folder::new(), free_port());
    let people = folder.write("people.json", PEOPLE);
    let _provider = Program::start(
        Command::new(PROGRAM)
            .env("PORT", port.to_string())
            .env("USERS_FILE", people)
            .env("REDIRECT_URI", callback("zitadel")),
    );
    let issuer = format!("http://localhost:{port}/");
    let nobody = Browser::new([]);
    let discovery = format!("{issuer}.well-known/openid-configuration");
    eventually("the provider listens", async || nobody.fetch(&discovery).try_send().await.ok()).await;
    let more = format!(
        "[idp.zitadel]\nkind = \"oidc\"\nissuer = \"{issuer}\"\nclient_id = \"web\"\nclient_secret = \"secret\"\n\
         scopes = [\"openid\", \"profile\", \"email\", \"offline_access\"]\nrefresh = \"1m\"\nclock_skew = \"5m\"\n"
    );
    let broker = Broker::with(Setup { more, ..Setup::default() }).await;
    let browser = broker.browser();

    let start = browser.visit(&format!("{PUBLIC}/sso/login?idp=zitadel&return_to=/orders")).send().await;
    let landed = follow_as(&browser, start.location(), "alice", "x").await;
    assert_eq!((landed.status.as_u16(), landed.location()), (303, "/orders"), "{}", landed.body);
    let session = browser.session().await;
    assert_eq!((&session["subject"], &session["email"]), (&json!("id7"), &json!("alice@example.test")), "{session}");
    assert_eq!((&session["name"], &session["issuer"]), (&json!("Alice Kim"), &json!(issuer)), "{session}");

    for round in 1..=3 {
        broker.clock.advance(time::Duration::minutes(1));
        assert_eq!(broker.status(&browser).await, 200, "round {round}");
    }

    let away = crate::support::sign_out::sign_out(&browser).await;
    assert!(away.location().starts_with(&format!("{issuer}end_session?")), "{}", away.location());
    assert_eq!(broker.status(&browser).await, 401);
}
