//! `counterfoil demo`: the whole product from one command.

use crate::support::browser::{Browser, authority};
use crate::support::program::Demo;
use crate::support::redis::Redis;

/// The four commands of the README, with both kinds of provider and both stores.
#[tokio::test]
async fn an_employee_signs_in_at_the_demo_and_out_again() {
    let redis = Redis::start();
    for store in ["memory:".to_owned(), redis.url()] {
        let demo = Demo::start(&["--store", &store]);
        for (idp, subject) in [("company", "alice"), ("legacy", "E-1001")] {
            let browser = Browser::new([]);
            let deep = format!("{}/orders?status=packed", demo.public);
            let turned_away = browser.visit(&deep).send().await;
            let login = format!("{}{}&idp={idp}", demo.public, turned_away.location());
            let at_provider = browser.visit(&login).send().await.location().to_owned();
            let back = browser.submit(&at_provider, &[("account", "alice")]).send().await.location().to_owned();
            assert_eq!(browser.visit(&back).send().await.location(), "/orders?status=packed");
            let page = browser.visit(&deep).send().await;
            assert!(page.status == 200 && page.body.contains("Alice Kim"), "{}", page.body);
            let session = browser.fetch(&format!("{}/sso/session", demo.public)).send().await.json();
            assert_eq!((session["subject"].as_str(), session["idp"].as_str()), (Some(subject), Some(idp)));
            assert_eq!(browser.visit(&format!("{}/finance", demo.public)).send().await.status, 403);
            assert_eq!(browser.fetch(&format!("{}/api/orders", demo.public)).send().await.status, 200);

            let token = browser.visit(&format!("{}/sso/logout", demo.public)).send().await.csrf_token();
            let fields = [("csrf_token", token.as_str())];
            let out = browser.submit(&format!("{}/sso/logout", demo.public), &fields).send().await;
            assert_eq!(out.location().contains("/end-session?"), idp == "company", "{}", out.location());
            assert_eq!(browser.fetch(&format!("{}/api/orders", demo.public)).send().await.status, 401);
        }
        demo.program.signal("TERM");
        assert_eq!(demo.program.end().0, Some(0));
    }
    assert!(!redis.keys().await.is_empty(), "the second round was in Redis");
}

/// The demo's provider tells the demo's broker of logouts. R-J08
#[tokio::test]
async fn signing_out_in_one_browser_of_the_demo_ends_what_came_of_the_same_sign_in_elsewhere() {
    let demo = Demo::start(&[]);
    let (one, other) = (Browser::new([]), Browser::new([]));
    let login = format!("{}/sso/login?idp=company", demo.public);
    let at_provider = one.visit(&login).send().await.location().to_owned();
    let back = one.submit(&at_provider, &[("account", "alice")]).send().await.location().to_owned();
    one.visit(&back).send().await;
    // The same session at the provider, another one at the broker.
    let broker = url::Url::parse(&demo.public).unwrap();
    for cookie in one.cookies().iter().filter(|cookie| cookie.host != authority(&broker)) {
        other.plant(&cookie.host, &cookie.name, &cookie.value);
    }
    let at_provider = other.visit(&login).send().await.location().to_owned();
    let back = other.visit(&at_provider).send().await.location().to_owned();
    other.visit(&back).send().await;
    let orders = format!("{}/api/orders", demo.public);
    assert_eq!(other.fetch(&orders).send().await.status, 200);

    let token = one.visit(&format!("{}/sso/logout", demo.public)).send().await.csrf_token();
    let out = one.submit(&format!("{}/sso/logout", demo.public), &[("csrf_token", &token)]).send().await;
    let back = one.visit(out.location()).send().await;
    assert!(back.location().contains("/sso/signed-out?state="), "{} {}", back.status, back.body);
    let ended = other.fetch(&orders).send().await;
    assert_eq!((ended.status.as_u16(), ended.code().as_str()), (401, "session_revoked"));
}
