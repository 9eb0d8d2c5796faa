//! Front-channel logout: the provider's page loads ours in a frame.

use http::Method;
use serde_json::json;

use crate::support::broker::{Broker, PUBLIC, SESSION, Setup, Store};
use crate::support::browser::{Answer, Browser};
use crate::support::child::PATIENCE;
use crate::support::cut_proxy::CutProxy;
use crate::support::redis::Redis;
use crate::support::scripted_idp::Script;
use crate::support::sign_out::sign_out;

fn address(iss: &str, sid: &str) -> String {
    let query =
        url::form_urlencoded::Serializer::new(String::new()).extend_pairs([("iss", iss), ("sid", sid)]).finish();
    format!("{PUBLIC}/sso/frontchannel-logout/company?{query}")
}

/// What a browser sends for the frame; the cookie comes along, as it does within one site.
async fn frame(browser: &Browser, address: &str) -> Answer {
    let asking = browser.ask(Method::GET, address).header("accept", "text/html");
    asking.header("sec-fetch-mode", "navigate").header("sec-fetch-dest", "iframe").send().await
}

/// R-J14, oidcc-client-test-rp-frontchannel-rpinitlogout, oidcc-client-test-rp-frontchannel-opinitlogout
#[tokio::test]
async fn the_providers_frame_ends_the_session_it_names() {
    let redis = Redis::start();
    for store in [Store::Memory, Store::Redis(redis.port())] {
        let broker = Broker::with(Setup { store, ..Setup::default() }).await;
        let endpoint = json!({ "revocation_endpoint": format!("{}/revoke", broker.idp.issuer()) });
        broker.idp.behave(Script::metadata(endpoint));
        let browser = broker.signed_in().await;
        let thief = browser.copy();
        let page = frame(&browser, &address(&broker.idp.issuer(), "sid-1")).await;
        assert_eq!((page.status.as_u16(), page.header("cache-control")), (200, "no-store"), "{}", page.body);
        let policy = page.header("content-security-policy");
        assert!(policy.ends_with(&format!("frame-ancestors {}; object-src 'none'", broker.idp.issuer())), "{policy}");
        assert_eq!(page.header("x-frame-options"), "");
        assert!(browser.cookie(SESSION).is_none());
        assert_eq!(broker.status(&thief).await, 401);
        broker.app.finish_revocations(PATIENCE).await;
        assert!(broker.idp.received("/revoke").is_empty(), "no token is revoked on the word of a frame");
    }
}

/// oidcc-client-test-rp-frontchannel-rpinitlogout: our own logout was first, so the frame finds nothing.
#[tokio::test]
async fn a_frame_after_ones_own_logout_finds_nothing_and_says_so() {
    let broker = Broker::start().await;
    let browser = broker.signed_in().await;
    assert_eq!(sign_out(&browser).await.status, 303);
    let page = frame(&browser, &address(&broker.idp.issuer(), "sid-1")).await;
    assert_eq!(page.status, 200);
    assert!(page.set_cookies().is_empty());
    assert_eq!(browser.visit(&format!("{PUBLIC}/sso/signed-out?state=x")).send().await.status, 200);
}

/// R-J14: one line a case; nothing happens.
#[tokio::test]
async fn a_frame_that_does_not_name_the_very_session_ends_nothing() {
    let broker = Broker::start().await;
    let browser = broker.signed_in().await;
    let issuer = broker.idp.issuer();
    let below = format!("{PUBLIC}/sso/frontchannel-logout");
    let iss: String = url::form_urlencoded::byte_serialize(issuer.as_bytes()).collect();
    for (what, status, address) in [
        ("nothing", 400, format!("{below}/company")),
        ("iss alone", 400, format!("{below}/company?iss={iss}")),
        ("sid alone", 400, format!("{below}/company?sid=sid-1")),
        ("empty sid", 400, format!("{below}/company?iss={iss}&sid=")),
        ("sid twice", 400, format!("{below}/company?iss={iss}&sid=sid-1&sid=sid-1")),
        ("another session", 400, address(&issuer, "sid-2")),
        ("another issuer", 400, address("https://evil.example", "sid-1")),
        ("almost the issuer", 400, address(&format!("{issuer}/"), "sid-1")),
        ("another provider", 404, format!("{below}/other?iss={iss}&sid=sid-1")),
    ] {
        let page = frame(&browser, &address).await;
        assert_eq!((page.status.as_u16(), page.header("x-frame-options")), (status, "DENY"), "{what}");
        assert!(page.set_cookies().is_empty(), "{what}");
        assert_eq!(broker.status(&browser).await, 200, "{what}");
    }
    for method in [Method::POST, Method::HEAD] {
        let status = browser.ask(method.clone(), &address(&issuer, "sid-1")).send().await.status;
        assert_eq!(status, 405, "{method}");
    }
    let stranger = frame(&broker.browser(), &address(&issuer, "sid-1")).await;
    assert!(stranger.status == 200 && stranger.set_cookies().is_empty(), "without the cookie nothing is found");
    assert_eq!(broker.status(&browser).await, 200);
}

/// R-J14: the cookie of a session that is over is not touched: nobody can tell whether that one is meant.
#[tokio::test]
async fn a_frame_leaves_the_cookie_of_a_session_that_is_over() {
    let broker = Broker::start().await;
    let browser = broker.signed_in().await;
    assert_eq!(
        broker.app.sessions().administration().end_provider_session(&broker.idp.issuer(), "sid-1").await.unwrap(),
        1
    );
    let page = frame(&browser, &address(&broker.idp.issuer(), "sid-2")).await;
    assert!(page.status == 200 && page.set_cookies().is_empty());
    assert!(browser.cookie(SESSION).is_some());
}

/// R-J14: a session without a name at the provider cannot be named.
#[tokio::test]
async fn a_session_whose_provider_gave_it_no_name_is_not_ended_by_a_frame() {
    let broker = Broker::start().await;
    broker.idp.behave(Script::claims(json!({ "sid": null })));
    let browser = broker.signed_in().await;
    for sid in ["sid-1", ""] {
        assert_eq!(frame(&browser, &address(&broker.idp.issuer(), sid)).await.status, 400);
    }
    assert_eq!(broker.status(&browser).await, 200);
}

/// R-P01: nobody is told that a session ended whose record may live on.
#[tokio::test]
async fn a_frame_during_an_outage_is_told_so_and_no_cookie_is_touched() {
    let redis = Redis::start();
    let network = CutProxy::in_front_of(([127, 0, 0, 1], redis.port()).into()).await;
    let store = Store::Unreliable(network.address().port());
    let broker = Broker::with(Setup { store, ..Setup::default() }).await;
    let browser = broker.signed_in_after_an_outage().await;
    network.cut();
    let page = frame(&browser, &address(&broker.idp.issuer(), "sid-1")).await;
    assert!(page.status == 503 && page.set_cookies().is_empty(), "{}", page.status);
}
