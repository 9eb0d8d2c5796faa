//! The broker's cookies on the wire.

use serde_json::json;

use crate::support::broker::{Broker, HOST, PUBLIC, SESSION};
use crate::support::scripted_idp::{Script, set};
use crate::support::upstream::received;

/// R-H01, R-H02, R-H04, R-H10: set and cleared with the same attributes, for the browser's session only.
#[tokio::test]
async fn the_session_cookie_is_set_and_cleared_with_every_attribute() {
    let broker = Broker::start().await;
    let browser = broker.browser();
    let landed = broker.sign_in(&browser, "/").await;
    let find = |answer: &crate::support::browser::Answer| {
        answer.set_cookies().into_iter().find(|cookie| cookie.starts_with(SESSION)).unwrap().to_owned()
    };
    let attributes = "; Path=/; Secure; HttpOnly; SameSite=Lax";
    let set = find(&landed);
    let value = set.strip_prefix("__Host-session=").unwrap().strip_suffix(attributes).unwrap();
    assert_eq!(value.len(), 64);
    let signed_out = crate::support::sign_out::sign_out(&browser).await;
    assert_eq!(find(&signed_out), format!("__Host-session={attributes}; Max-Age=0"));
    assert!(browser.cookies().is_empty());
}

/// R-H03: a huge profile does not make a huge cookie.
#[tokio::test]
async fn cookies_stay_small_whatever_the_provider_says() {
    let broker = Broker::start().await;
    let groups: Vec<_> = (0..900).map(|index| format!("a-group-with-a-long-name-{index}")).collect();
    broker.idp.behave(Script { userinfo: set(json!({ "groups": groups })), ..Script::default() });
    let browser = broker.signed_in().await;
    let cookies = browser.cookies();
    assert!(cookies.iter().all(|cookie| cookie.name.len() + cookie.value.len() < 4096));
    assert!(cookies.iter().map(|cookie| cookie.value.len()).sum::<usize>() < 100, "{cookies:?}");
    assert_eq!(broker.status(&browser).await, 200);
}

/// R-H05: garbage beside the good one does no harm; two that live are refused; never another's session.
#[tokio::test]
async fn of_two_session_cookies_the_live_one_counts_and_two_live_ones_are_refused() {
    let broker = Broker::start().await;
    let good = broker.signed_in().await.cookie(SESSION).unwrap();
    let other = broker.signed_in().await.cookie(SESSION).unwrap();
    let dead = "A".repeat(64);
    let status = async |cookie: &str| {
        let asking = broker.browser().fetch(&format!("{PUBLIC}/guarded")).header("cookie", cookie);
        asking.send().await.status.as_u16()
    };
    for (expected, cookie) in [
        (200, format!("{SESSION}={good}")),
        (200, format!("{SESSION}=garbage; {SESSION}={good}")),
        (200, format!("{SESSION}={good}; {SESSION}={dead}")),
        (200, format!("{SESSION}={good}; {SESSION}={good}")),
        (200, format!("x=\u{e9}\u{2000}; =; ;; {SESSION}={good}")),
        (400, format!("{SESSION}={good}; {SESSION}={other}")),
        (401, format!("{SESSION}=garbage")),
        (401, format!("\u{2000}{SESSION}={good}")),
        (401, format!("__host-session={good}")),
        (401, format!("{SESSION}=\"{good}\"")),
    ] {
        assert_eq!(status(&cookie).await, expected, "{cookie}");
    }
}

/// R-H06: several header lines.
#[tokio::test]
async fn the_session_cookie_is_found_on_any_line() {
    let broker = Broker::start().await;
    let good = broker.signed_in().await.cookie(SESSION).unwrap();
    let asking = broker.browser().fetch(&format!("{PUBLIC}/guarded")).header("cookie", "a=1");
    let answer = asking.header("cookie", &format!("{SESSION}={good}")).send().await;
    assert_eq!(answer.status, 200);
    assert_eq!(received(&answer.json(), "cookie"), ["a=1"]);
}

/// R-H08, R-H09
#[tokio::test]
async fn upstreams_neither_see_nor_set_the_brokers_cookies() {
    let broker = Broker::start().await;
    let browser = broker.signed_in().await;
    browser.plant(HOST, "cart", "1");
    broker.reach_callback(&browser, "/").await;
    let asking = browser.fetch(&format!("{PUBLIC}/guarded"));
    let asking = asking.header("x-answer-set-cookie", "__Host-session=evil; Path=/; Secure");
    let answer = asking.header("x-answer-set-cookie", "cart=2; Path=/").send().await;
    assert_eq!(received(&answer.json(), "cookie"), ["cart=1"]);
    assert_eq!(answer.set_cookies(), ["cart=2; Path=/"]);
}
