//! Signing out.

use time::Duration;
use url::Url;

use crate::support::broker::{Broker, PUBLIC, SESSION, Setup, Store};
use crate::support::child::until;
use crate::support::cut_proxy::CutProxy;
use crate::support::redis::Redis;
use crate::support::scripted_idp::Script;
use crate::support::sign_out::{LOGOUT, csrf_token, sign_out};

/// How long after a logout tokens are given back.
pub const AFTER_LOGOUT: Duration = Duration::seconds(5);

/// R-J02, R-J03, oidcc-client-test-rp-init-logout
#[tokio::test]
async fn signing_out_deletes_the_record_clears_the_cookie_and_goes_on_to_the_provider() {
    let redis = Redis::start();
    for store in [Store::Memory, Store::Redis(redis.port())] {
        let broker = Broker::with(Setup { store, ..Setup::default() }).await;
        let browser = broker.signed_in().await;
        let thief = browser.copy();
        let answer = sign_out(&browser).await;
        assert_eq!(answer.status, 303, "{}", answer.body);
        assert_eq!((answer.header("cache-control"), answer.header("clear-site-data")), ("no-store", "\"cache\""));
        let away: Url = answer.location().parse().unwrap();
        let query: std::collections::HashMap<_, _> = away.query_pairs().into_owned().collect();
        assert!(away.as_str().starts_with(&format!("{}/end-session?", broker.idp.issuer())));
        assert_eq!(query["client_id"], "backoffice");
        assert_eq!(query["post_logout_redirect_uri"], format!("{PUBLIC}/sso/signed-out"));
        assert!(query["state"].len() >= 20);
        assert_eq!(query["id_token_hint"].split('.').count(), 3, "RP-Initiated Logout 2: RECOMMENDED");
        assert!(browser.cookie(SESSION).is_none());
        assert_eq!(broker.status(&thief).await, 401, "a stolen cookie is worth nothing");
    }
}

/// R-J01, R-M01: one line a case.
#[tokio::test]
async fn nobody_else_can_sign_somebody_out() {
    let broker = Broker::start().await;
    let browser = broker.signed_in().await;
    let token = csrf_token(&browser).await;
    let others = csrf_token(&broker.signed_in().await).await;
    let own = [("csrf_token", token.as_str())];
    for (what, asking) in [
        ("an image", browser.fetch(LOGOUT)),
        ("no token", browser.submit(LOGOUT, &[])),
        ("a wrong token", browser.submit(LOGOUT, &[("csrf_token", "x")])),
        ("another session's token", browser.submit(LOGOUT, &[("csrf_token", &others)])),
        ("a token twice", browser.submit(LOGOUT, &[own[0], own[0]])),
        ("another site", browser.submit(LOGOUT, &own).header("sec-fetch-site", "cross-site")),
        ("a neighbour", browser.submit(LOGOUT, &own).header("sec-fetch-site", "same-site")),
        ("another origin", browser.submit(LOGOUT, &own).header("origin", "https://evil.example")),
        ("no origin", browser.submit(LOGOUT, &own).header("origin", "null")),
        ("another method", browser.ask(http::Method::PUT, LOGOUT)),
    ] {
        let status = asking.send().await.status.as_u16();
        assert!([200, 403, 405].contains(&status), "{what}: {status}");
        assert_eq!(broker.status(&browser).await, 200, "{what}");
    }
    let large = "x".repeat(20_000);
    assert_eq!(browser.submit(LOGOUT, &[("csrf_token", &large)]).send().await.status, 413);
    assert_eq!(sign_out(&browser).await.status, 303);
}

/// R-J04, R-J05, oidcc-client-test-rp-init-logout-no-state, oidcc-client-test-rp-init-logout-other-state: the landing
/// page needs nothing, and a provider without logout leaves a complete local one.
#[tokio::test]
async fn a_provider_without_logout_leaves_a_complete_local_one() {
    let broker = Broker::start().await;
    broker.idp.behave(Script::metadata(serde_json::json!({ "end_session_endpoint": null })));
    let browser = broker.signed_in().await;
    let answer = sign_out(&browser).await;
    assert_eq!(answer.location(), "/sso/signed-out?only=here");
    assert!(browser.cookies().is_empty());
    for query in ["", "?only=here", "?state=", "?state=foreign&x=y", "?state=a&state=b"] {
        let page = browser.visit(&format!("{PUBLIC}/sso/signed-out{query}")).send().await;
        assert_eq!(page.status, 200, "{query}");
        assert!(!page.body.contains("foreign"));
    }
    let signed_in = broker.signed_in().await;
    let page = signed_in.visit(&format!("{PUBLIC}/sso/signed-out?state=x")).send().await;
    assert_eq!(page.location(), "/sso/logout", "nobody is told that they are signed out who are not");
    assert_eq!(broker.status(&signed_in).await, 200);
}

#[tokio::test]
async fn signing_out_twice_is_no_error() {
    let broker = Broker::start().await;
    let browser = broker.signed_in().await;
    let token = csrf_token(&browser).await;
    let second_tab = browser.copy();
    sign_out(&browser).await;
    let again = second_tab.submit(LOGOUT, &[("csrf_token", &token)]).send().await;
    assert_eq!((again.status.as_u16(), again.location()), (303, "/sso/signed-out?only=nothing"));
    assert!(second_tab.cookies().is_empty());
    assert_eq!(broker.browser().visit(LOGOUT).send().await.status, 200);
}

/// R-J06, R-O02: a client that disconnects in the middle has signed out all the same, and its tokens are revoked.
#[tokio::test]
async fn a_browser_that_hangs_up_in_the_middle_leaves_a_complete_logout() {
    let redis = Redis::start();
    let broker = Broker::with(Setup { store: Store::Redis(redis.port()), ..Setup::default() }).await;
    let endpoint = serde_json::json!({ "revocation_endpoint": format!("{}/revoke", broker.idp.issuer()) });
    broker.idp.behave(Script::metadata(endpoint));
    let browser = broker.signed_in().await;
    let token = csrf_token(&browser).await;
    redis.ask(&["CLIENT", "PAUSE", "60000", "WRITE"]);
    let hung_up = browser.copy();
    let hung_up = tokio::spawn(async move { hung_up.submit(LOGOUT, &[("csrf_token", &token)]).send().await });
    until("the record is being deleted", async || redis.ask(&["CLIENT", "LIST"]).contains(" cmd=del ")).await;
    hung_up.abort();
    assert!(hung_up.await.unwrap_err().is_cancelled());
    redis.ask(&["CLIENT", "UNPAUSE"]);
    until("the tokens are given back", async || {
        // From whenever the logout went on.
        broker.clock.advance(AFTER_LOGOUT);
        broker.idp.received("/revoke").len() == 2
    })
    .await;
    assert_eq!(broker.status(&browser).await, 401);
}

/// R-J07: the cookie is deleted, and the answer does not claim that the record is gone.
#[tokio::test]
async fn signing_out_while_the_store_is_away_tells_the_truth() {
    let redis = Redis::start();
    let network = CutProxy::in_front_of(([127, 0, 0, 1], redis.port()).into()).await;
    let store = Store::Unreliable(network.address().port());
    let broker = Broker::with(Setup { store, ..Setup::default() }).await;
    let browser = broker.signed_in_after_an_outage().await;
    let token = csrf_token(&browser).await;
    network.cut();
    let forged = browser.submit(LOGOUT, &[("csrf_token", "x")]).send().await;
    assert!(forged.status == 403 && forged.set_cookies().is_empty(), "nobody else makes a browser forget its cookie");
    let answer = browser.submit(LOGOUT, &[("csrf_token", &token)]).send().await;
    assert_eq!(answer.status, 503);
    assert!(answer.body.contains("could not be completed"), "{}", answer.body);
    assert!(browser.cookie(SESSION).is_none());
}
