//! The second half of signing out: at the provider, as each product does it.
//!
//! What the manners are was found by signing out at Keycloak, Hydra, Dex and Casdoor; they stand in the scripted provider.

use serde_json::json;

use crate::logout::AFTER_LOGOUT;
use crate::support::broker::{Broker, PUBLIC, SESSION, Setup};
use crate::support::browser::Browser;
use crate::support::browser::parameters;
use crate::support::child::until;
use crate::support::scripted_idp::{LogoutManner, Misbehaviour, Script, change};
use crate::support::sign_out::sign_out;
use crate::support::witness::Witness;

const MANNERS: [LogoutManner; 5] = [
    LogoutManner::Lenient,
    LogoutManner::Asks,
    LogoutManner::Fails,
    LogoutManner::ForgetsTheWay,
    LogoutManner::ShowsJson,
];

fn with_revocation(logout: LogoutManner) -> Script {
    let metadata = change(|metadata| {
        let issuer = metadata["issuer"].as_str().unwrap().to_owned();
        metadata["revocation_endpoint"] = json!(format!("{issuer}/revoke"));
    });
    Script { metadata, logout, ..Script::default() }
}

async fn broker(idp: &str, script: Script) -> Broker {
    let broker = Broker::with(Setup { idp: idp.to_owned(), ..Setup::default() }).await;
    broker.idp.behave(script);
    broker
}

async fn come_back(browser: &Browser, back: &str) {
    assert!(back.starts_with(&format!("{PUBLIC}/sso/signed-out?state=")), "{back}");
    let landed = browser.visit(back).send().await;
    assert!(landed.status == 200 && landed.body.contains("You are signed out"), "{}", landed.body);
}

/// R-J03, R-J06, RP-Initiated Logout 2: one provider a line, by either method; no token is given back beside it.
#[tokio::test]
async fn a_logout_is_complete_at_every_provider_and_comes_back() {
    for manner in MANNERS {
        let broker = broker("", with_revocation(manner)).await;
        let browser = broker.signed_in().await;
        let away = sign_out(&browser).await;
        let there = browser.visit(away.location()).send().await;
        assert_eq!(there.status, 303, "{manner:?}: {}", there.body);
        come_back(&browser, there.location()).await;
        assert!(broker.idp.received("/revoke").is_empty(), "{manner:?}: not beside the logout");
        broker.clock.advance(AFTER_LOGOUT);
        until("both tokens are given back", async || broker.idp.received("/revoke").len() == 2).await;

        let broker = self::broker("logout_request_method = \"post\"", with_revocation(manner)).await;
        let browser = broker.signed_in().await;
        let page = sign_out(&browser).await;
        assert_eq!(page.status, 200, "{}", page.body);
        assert!(browser.cookie(SESSION).is_none() && !page.body.contains("<script"));
        let (endpoint, fields) = page.form();
        let policy = page.header("content-security-policy");
        assert!(policy.contains(&format!("form-action 'self' {};", broker.idp.issuer())), "{policy}");
        assert_eq!(page.header("referrer-policy"), "no-referrer");
        let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let there = browser.submit(&endpoint, &fields).send().await;
        assert_eq!(there.status, 303, "{manner:?}: {}", there.body);
        come_back(&browser, there.location()).await;
        assert!(broker.idp.received("/end-session")[0].query.is_empty(), "nothing in the address");
    }
}

/// Without a hint nothing goes along that a provider would refuse without one; RP-Initiated Logout 2.
#[tokio::test]
async fn without_a_hint_no_state_goes_along() {
    for (idp, claims) in [
        ("logout_id_token_hint = false", json!({})),
        ("", json!({ "padding": "x".repeat(1_500) })),
        ("", json!({ "groups": vec!["a group with a long name"; 100] })),
    ] {
        let broker = broker(idp, Script::claims(claims.clone())).await;
        let away = sign_out(&broker.signed_in().await).await;
        let said = parameters(away.location());
        let mut names: Vec<_> = said.keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["client_id", "post_logout_redirect_uri"], "{idp}");
        assert!(away.location().len() < 2_048);
    }
    let claims = json!({ "padding": "x".repeat(1_500) });
    let script = Script::claims(claims);
    let broker = broker("logout_request_method = \"post\"", script).await;
    let page = sign_out(&broker.signed_in().await).await;
    assert!(page.form().1.iter().any(|(name, _)| name == "id_token_hint"), "a form has room for it");
}

/// R-O02: said once, however many sign out.
#[tokio::test(flavor = "multi_thread")]
async fn a_hint_that_is_too_large_is_said_once() {
    let script = Script::claims(json!({ "padding": "x".repeat(1_500) }));
    let witness = Witness::start("", script).await;
    for _ in 0..3 {
        assert_eq!(witness.sign_in().await.status, 303);
        assert_eq!(witness.sign_out().await.status, 303);
    }
    witness.program.signal("TERM");
    let (_, said) = witness.program.end();
    assert_eq!(said.matches("the ID token is too large for an address").count(), 1, "{said}");
}

/// R-J06, R-P09: what is still held goes back before the process ends, and a provider that hangs holds nobody up.
#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_given_back_at_once_when_the_process_ends() {
    let witness = Witness::start("", with_revocation(LogoutManner::Lenient)).await;
    assert_eq!(witness.sign_in().await.status, 303);
    assert_eq!(witness.sign_out().await.status, 303);
    witness.program.signal("TERM");
    let (code, said) = witness.program.end();
    assert_eq!((code, witness.idp.received("/revoke").len()), (Some(0), 2), "{said}");

    let script = Script { at_revoke: Misbehaviour::Drop, ..with_revocation(LogoutManner::Lenient) };
    let witness = Witness::start("", script).await;
    assert_eq!(witness.sign_in().await.status, 303);
    assert_eq!(witness.sign_out().await.status, 303);
    witness.program.signal("TERM");
    assert_eq!(witness.program.end().0, Some(0));
}
