//! When userinfo is asked, and what becomes of a login whose userinfo takes none of its tokens.

use serde_json::{Value, json};
use time::Duration;

use crate::support::broker::{Broker, Setup};
use crate::support::scripted_idp::{Misbehaviour, Script, set};
use crate::support::witness::Witness;

const REFUSES: Misbehaviour = Misbehaviour::Refuse(
    401,
    &[(
        "www-authenticate",
        "Bearer error=\"invalid_token\", error_description=\"Lightweight access token not allowed\"",
    )],
);

fn script(id_token: &Value) -> Script {
    Script { id_token_claims: set(id_token.clone()), refresh_claims: set(id_token.clone()), ..Script::default() }
}

/// OpenID Connect Core 5.3: one line a case: what is mapped, what the ID token says besides, whether more is asked for.
/// Found by leaving out each attribute that can be mapped.
#[tokio::test]
async fn userinfo_is_asked_while_something_that_is_mapped_is_missing() {
    let all = json!({ "preferred_username": "alice" });
    let roles = "profile.groups = [\"roles\", \"groups\"]";
    for (keys, id_token, asked) in [
        ("userinfo = \"auto\"", all.clone(), false),
        ("userinfo = \"auto\"", json!({}), true),
        ("userinfo = \"auto\"", json!({ "preferred_username": "alice", "email": null }), true),
        ("userinfo = \"auto\"", json!({ "preferred_username": "alice", "email_verified": null }), true),
        ("userinfo = \"auto\"", json!({ "preferred_username": "alice", "groups": null }), true),
        ("userinfo = \"auto\"", json!({ "preferred_username": "alice", "name": null }), true),
        (&format!("userinfo = \"auto\"\n{roles}"), all.clone(), false),
        ("userinfo = \"auto\"\nprofile.name = \"family_name\"", all.clone(), true),
        ("userinfo = true", all.clone(), true),
        ("userinfo = \"true\"", all.clone(), true),
        ("userinfo = false", json!({}), false),
        ("", all, true),
    ] {
        let broker = Broker::with(Setup { idp: keys.to_owned(), ..Setup::default() }).await;
        broker.idp.behave(script(&id_token));
        let browser = broker.signed_in().await;
        assert_eq!(broker.idp.received("/userinfo").len(), usize::from(asked), "{keys} {id_token}");
        let session = browser.get("/sso/session").await;
        assert_eq!(session.status, 200, "{keys} {id_token}");
    }
}

/// A session whose tokens say everything is renewed by them alone, and one whose tokens do not is asked about.
#[tokio::test]
async fn renewals_ask_userinfo_as_logins_do() {
    for (id_token, asked) in [(json!({ "preferred_username": "alice" }), 0), (json!({}), 2)] {
        let idp = "refresh = \"5m\"\nuserinfo = \"auto\"".to_owned();
        let broker = Broker::with(Setup { idp, ..Setup::default() }).await;
        broker.idp.behave(script(&id_token));
        let browser = broker.signed_in().await;
        broker.clock.advance(Duration::minutes(6));
        assert_eq!(broker.status(&browser).await, 200, "{id_token}");
        assert_eq!(broker.idp.received("/token").len(), 2, "{id_token}");
        assert_eq!(broker.idp.received("/userinfo").len(), asked, "{id_token}");
    }
    // Without a refresh token nothing can be asked, and that is no confirmation.
    let idp = "refresh = \"30s\"\nuserinfo = \"auto\"".to_owned();
    let broker = Broker::with(Setup { idp, ..Setup::default() }).await;
    let token_answer = set(json!({ "refresh_token": null }));
    broker.idp.behave(Script { token_answer, ..script(&json!({ "preferred_username": "alice" })) });
    let browser = broker.signed_in().await;
    broker.clock.advance(Duration::minutes(1));
    assert_eq!(broker.status(&browser).await, 401);
}

/// Keycloak's "lightweight access token": the login works where userinfo is not needed, and else the fault names the key.
#[tokio::test(flavor = "multi_thread")]
async fn a_userinfo_that_takes_no_token_names_the_key_to_change() {
    let complete = || Script { at_userinfo: REFUSES, ..script(&json!({ "preferred_username": "alice" })) };
    for keys in ["userinfo = \"auto\"", "userinfo = false"] {
        let broker = Broker::with(Setup { idp: keys.to_owned(), ..Setup::default() }).await;
        broker.idp.behave(complete());
        broker.signed_in().await;
    }
    let witness = Witness::start("", complete()).await;
    let page = witness.sign_in().await;
    assert!(page.status == 502 && !page.body.contains("Lightweight"), "{}", page.body);
    let said = witness.program.wait_for("userinfo = false");
    assert!(said.contains("invalid_token 'Lightweight access token not allowed'"), "{said}");
}
