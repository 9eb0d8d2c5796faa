//! Attributes that stand in the access token alone, as Keycloak's roles do.

use serde_json::{Value, json};
use time::Duration;

use crate::support::broker::{Broker, Setup};
use crate::support::browser::Browser;
use crate::support::scripted_idp::{Script, change, set};

const READ: &str = "access_token_claims = true";
const MAPPING: &str = "profile.groups = [\"groups\", \"realm_access.roles\", \"resource_access.backoffice.roles\"]";

async fn groups(browser: &Browser) -> Value {
    browser.session().await["groups"].clone()
}

async fn broker(keys: &str, script: Script) -> Broker {
    let broker = Broker::with(Setup { idp: format!("{keys}\n{MAPPING}"), ..Setup::default() }).await;
    broker.idp.behave(script);
    broker
}

/// RFC 9068 4, 6: one line a case: whether it is read, what its claims and its header say instead, and whose groups come of it. The
/// members were found by changing each part of a token that verification looks at.
#[tokio::test]
async fn roles_in_the_access_token_count_where_it_is_read_and_verified() {
    let (all, own) = (json!(["staff", "auditor", "editor"]), json!(["staff"]));
    for (keys, claims, header, expected) in [
        (READ, json!({}), json!({}), &all),
        (READ, json!({}), json!({ "typ": "at+jwt" }), &all),
        (READ, json!({ "azp": null, "client_id": "backoffice" }), json!({}), &all),
        ("", json!({}), json!({}), &own),
        (READ, json!({ "azp": "other" }), json!({}), &own),
        (READ, json!({ "azp": null }), json!({}), &own),
        (READ, json!({ "iss": "https://evil.example" }), json!({}), &own),
        (READ, json!({ "sub": "2" }), json!({}), &own),
        (READ, json!({ "exp": 1 }), json!({}), &own),
        (READ, json!({ "exp": null }), json!({}), &own),
        (READ, json!({}), json!({ "alg": "none" }), &own),
        (READ, json!({}), json!({ "typ": "logout+jwt" }), &own),
        (READ, json!({}), json!({ "crit": ["exp"] }), &own),
    ] {
        let script = Script {
            access_token_claims: set(claims.clone()),
            access_token_header: set(header.clone()),
            ..Script::default()
        };
        let broker = broker(keys, script).await;
        assert_eq!(&groups(&broker.signed_in().await).await, expected, "{keys} {claims} {header}");
    }
    // No JWT at all.
    let broker = self::broker(READ, Script::default()).await;
    assert_eq!(groups(&broker.signed_in().await).await, own);
}

/// R-D05: one line a token that no published key verifies: it says nothing, fails nobody's login, and fetches no keys.
#[tokio::test]
async fn an_access_token_that_nobody_can_verify_costs_no_login_and_no_keys() {
    let cut = change(|answer| {
        let token = answer["access_token"].as_str().unwrap();
        let (signed, _) = token.rsplit_once('.').unwrap();
        answer["access_token"] = json!(format!("{signed}.{}", "A".repeat(342)));
    });
    for (header, answer) in
        [(set(json!({ "kid": "unknown" })), None), (set(json!({ "kid": null })), cut.clone()), (None, cut)]
    {
        let script = Script {
            access_token_claims: set(json!({})),
            access_token_header: header,
            token_answer: answer,
            id_token_claims: set(json!({ "at_hash": null })),
            ..Script::default()
        };
        let broker = broker(READ, script.clone()).await;
        for _ in 0..2 {
            assert_eq!(groups(&broker.signed_in().await).await, json!(["staff"]));
        }
        assert_eq!(broker.idp.received("/jwks").len(), 1);
        // What ID tokens need is left.
        broker.idp.rotate_keys();
        assert_eq!(groups(&broker.signed_in().await).await, json!(["staff"]));
        assert_eq!(broker.idp.received("/jwks").len(), 2);
    }
}

/// R-I08: a role that is taken away there is gone with the next token.
#[tokio::test]
async fn a_renewal_reads_the_new_access_token() {
    for keys in ["userinfo = true", "userinfo = false"] {
        let roles = |roles: Value| Script {
            access_token_claims: change(move |claims| claims["realm_access"]["roles"] = roles.clone()),
            ..Script::default()
        };
        let broker = broker(&format!("{READ}\nrefresh = \"5m\"\n{keys}"), roles(json!(["auditor", "leaver"]))).await;
        let browser = broker.signed_in().await;
        assert_eq!(groups(&browser).await, json!(["staff", "auditor", "leaver", "editor"]), "{keys}");
        broker.idp.behave(roles(json!(["auditor"])));
        broker.clock.advance(Duration::minutes(6));
        assert_eq!(broker.status(&browser).await, 200);
        assert_eq!(groups(&browser).await, json!(["staff", "auditor", "editor"]), "{keys}");
    }
}
