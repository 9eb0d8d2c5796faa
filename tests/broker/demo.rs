//! `counterfoil demo`: the whole product from one command.

use crate::support::browser::Browser;
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

            let form = browser.visit(&format!("{}/sso/logout", demo.public)).send().await.body;
            let token =
                form.split_once("name=\"csrf_token\" value=\"").unwrap().1.split_once('"').unwrap().0.to_owned();
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
