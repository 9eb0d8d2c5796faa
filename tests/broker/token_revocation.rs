//! Revokes tokens at one's own logout (RFC 7009).

use serde_json::json;

use crate::logout::AFTER_LOGOUT;
use crate::support::administration::{SECTION, revoke};
use crate::support::broker::{Broker, Setup};
use crate::support::child::{PATIENCE, eventually};
use crate::support::scripted_idp::{ACCESS_TOKEN, Gate, Misbehaviour, Received, Script, set};
use crate::support::sign_out::sign_out;

fn offering(idp_revokes: Misbehaviour, issuer: &str) -> Script {
    let endpoint = json!({ "revocation_endpoint": format!("{issuer}/revoke") });
    Script { metadata: set(endpoint), at_revoke: idp_revokes, ..Script::default() }
}

/// What is given back, some time after a logout.
async fn revocations(broker: &Broker, count: usize) -> Vec<Received> {
    broker.clock.advance(AFTER_LOGOUT);
    let received = async || Some(broker.idp.received("/revoke")).filter(|received| received.len() >= count);
    eventually(&format!("{count} tokens are given back"), received).await
}

/// R-J06
#[tokio::test]
async fn signing_out_gives_the_tokens_back_the_refresh_token_first() {
    let broker = Broker::start().await;
    broker.idp.behave(offering(Misbehaviour::None, &broker.idp.issuer()));
    assert_eq!(sign_out(&broker.signed_in().await).await.status, 303);
    let received = revocations(&broker, 2).await;
    assert_eq!(received[0].form["token_type_hint"], "refresh_token");
    assert!(received[0].form["token"].starts_with("CANARY-refresh-token"), "{}", received[0].form["token"]);
    assert_eq!(received[1].form["token_type_hint"], "access_token");
    assert!(received[1].form["token"].starts_with(ACCESS_TOKEN));
    for request in &received {
        assert!(request.headers["authorization"].to_str().unwrap().starts_with("Basic "), "R-C01");
        assert!(request.query.is_empty());
    }
}

/// R-J06: whatever the provider does, the logout is complete before it; a token it refuses does not keep the other.
#[tokio::test]
async fn a_provider_that_takes_no_tokens_back_holds_up_no_logout() {
    for misbehaviour in [
        Misbehaviour::Held(Gate::default()),
        Misbehaviour::Drop,
        Misbehaviour::Answer(400, "application/json", r#"{"error":"unsupported_token_type"}"#),
        Misbehaviour::Answer(500, "text/plain", ""),
    ] {
        let broker = Broker::with(Setup { idp: "timeout = \"1m\"".into(), ..Setup::default() }).await;
        let (hangs, issuer) = (matches!(misbehaviour, Misbehaviour::Held(_)), broker.idp.issuer());
        broker.idp.behave(offering(misbehaviour, &issuer));
        let browser = broker.signed_in().await;
        let thief = browser.copy();
        assert_eq!(sign_out(&browser).await.status, 303);
        // With a hanging provider the second token is revoked only after the request for the first has timed out.
        assert!(!hangs || broker.idp.received("/revoke").len() <= 1, "the provider was waited for");
        assert_eq!(broker.status(&thief).await, 401);
        revocations(&broker, if hangs { 1 } else { 2 }).await;
    }
}

/// R-J06: RFC 7009 2.2.1.
#[tokio::test]
async fn a_busy_provider_is_asked_once_more() {
    let broker = Broker::start().await;
    broker.idp.behave(offering(Misbehaviour::Busy("1"), &broker.idp.issuer()));
    let browser = broker.signed_in().await;
    assert_eq!(sign_out(&browser).await.status, 303);
    let received = revocations(&broker, 4).await;
    let hints: Vec<_> = received.iter().map(|request| request.form["token_type_hint"].as_str()).collect();
    assert_eq!(hints, ["refresh_token", "refresh_token", "access_token", "access_token"]);
}

/// Not wanted, not offered: nothing is asked.
#[tokio::test]
async fn tokens_are_not_given_back_where_that_is_not_wanted_or_not_offered() {
    let unwanted = Setup { idp: "revoke_tokens_at_logout = false".into(), ..Setup::default() };
    let unwanted = Broker::with(unwanted).await;
    unwanted.idp.behave(offering(Misbehaviour::None, &unwanted.idp.issuer()));
    let unoffered = Broker::start().await;
    for broker in [&unwanted, &unoffered] {
        assert_eq!(sign_out(&broker.signed_in().await).await.status, 303);
        // As at the end of the process: what is held back until later is given back now.
        broker.app.finish_revocations(PATIENCE).await;
        assert!(broker.idp.received("/revoke").is_empty());
    }
    let wanted = Broker::start().await;
    wanted.idp.behave(offering(Misbehaviour::None, &wanted.idp.issuer()));
    assert_eq!(sign_out(&wanted.signed_in().await).await.status, 303);
    wanted.app.finish_revocations(PATIENCE).await;
    assert_eq!(wanted.idp.received("/revoke").len(), 2);
}

/// A login that an order for another session of the person overtook: what they have elsewhere is not meant.
#[tokio::test]
async fn tokens_of_a_login_that_was_overtaken_are_left_alone_while_the_person_is_signed_in_elsewhere() {
    let broker = Broker::with(Setup { more: SECTION.into(), ..Setup::default() }).await;
    broker.idp.behave(offering(Misbehaviour::None, &broker.idp.issuer()));
    let (meant, elsewhere) = (broker.signed_in().await, broker.signed_in().await);
    let under_way = broker.browser();
    let callback = broker.reach_callback(&under_way, "/").await;
    revoke(&broker, json!({ "handles": [broker.handle(&meant).await], "reason": "test" })).await;
    assert_eq!(under_way.visit(&callback).send().await.status, 403);
    broker.app.finish_revocations(PATIENCE).await;
    assert_eq!(broker.idp.received("/revoke").len(), 0);
    assert_eq!(broker.status(&elsewhere).await, 200);
}

/// Who is blocked has tokens of the login that is refused all the same, and nobody else would ever revoke them. A login that
/// succeeds, or fails in another way, revokes nothing: the person may have other sessions, which providers that revoke a
/// person's tokens together would end.
#[tokio::test]
async fn tokens_of_a_login_that_a_block_refuses_are_revoked_and_no_others() {
    let broker = Broker::with(Setup { more: SECTION.into(), ..Setup::default() }).await;
    let issuer = broker.idp.issuer();
    let refused = Script { id_token_claims: set(json!({ "aud": "another" })), ..offering(Misbehaviour::None, &issuer) };
    broker.idp.behave(refused);
    assert_eq!(broker.sign_in(&broker.browser(), "/").await.status, 502);
    broker.idp.behave(offering(Misbehaviour::None, &issuer));
    broker.signed_in().await;
    broker.app.finish_revocations(PATIENCE).await;
    assert_eq!(broker.idp.received("/revoke").len(), 0);

    let block = json!({ "filter": { "issuer": issuer, "subject": "248289761001" }, "reason": "t", "block_for": "1h" });
    revoke(&broker, block).await;
    assert_eq!(broker.sign_in(&broker.browser(), "/").await.status, 403);
    let received = async || Some(broker.idp.received("/revoke")).filter(|received| received.len() == 2);
    let received = eventually("its tokens are revoked", received).await;
    assert_eq!(received[0].form["token_type_hint"], "refresh_token");
    assert_eq!(received[1].form["token_type_hint"], "access_token");
}
