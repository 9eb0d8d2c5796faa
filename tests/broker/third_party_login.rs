//! Logins that another site begins (OpenID Connect Core 4), and login loops.

use std::collections::HashMap;

use url::Url;
use url::form_urlencoded::byte_serialize;

use crate::support::broker::{Broker, HOST, PUBLIC, SESSION, Setup};
use crate::support::browser::Answer;
use crate::support::scripted_idp::ScriptedIdp;

fn encoded(text: &str) -> String {
    byte_serialize(text.as_bytes()).collect()
}

async fn begun(broker: &Broker, iss: &str, more: &str) -> Answer {
    broker.browser().visit(&format!("{PUBLIC}/sso/login?iss={}{more}", encoded(iss))).send().await
}

/// R-M06, R-I03: one line a case.
#[tokio::test]
async fn another_site_may_name_the_provider_the_page_and_the_person_and_nothing_else() {
    let broker = Broker::start().await;
    let issuer = broker.idp.issuer();
    for (iss, target, status) in [
        (issuer.clone(), None, 303),
        (issuer.clone(), Some(PUBLIC.to_owned()), 303),
        (issuer.clone(), Some(format!("{PUBLIC}/orders?status=open#top")), 303),
        (format!("{issuer}/"), None, 400),
        (issuer.to_uppercase(), None, 400),
        (String::new(), None, 400),
        ("company".into(), None, 400),
        ("https://evil.example".into(), Some(format!("{PUBLIC}/")), 400),
        (issuer.clone(), Some(String::new()), 400),
        (issuer.clone(), Some("/orders".into()), 400),
        (issuer.clone(), Some("https://evil.example/".into()), 400),
        (issuer.clone(), Some(format!("{PUBLIC}.evil.example/")), 400),
        (issuer.clone(), Some(format!("{PUBLIC}@evil.example/")), 400),
        (issuer.clone(), Some(format!("{PUBLIC}:8443/")), 400),
        (issuer.clone(), Some(format!("{PUBLIC}//evil.example")), 400),
        (issuer.clone(), Some(format!("{PUBLIC}/\\evil.example")), 400),
        (issuer.clone(), Some(format!("{PUBLIC}/sso/login?return_to=/")), 400),
        (issuer.clone(), Some(format!("http://{HOST}/")), 400),
    ] {
        let target = target.map_or_else(String::new, |target| format!("&target_link_uri={}", encoded(&target)));
        let answer = begun(&broker, &iss, &target).await;
        assert_eq!(answer.status, status, "{iss} {target}");
    }
    let more = "&login_hint=alice&scope=admin&prompt=none&redirect_uri=https://evil.example&acr_values=0&idp=other\
        &return_to=/evil&fresh=1&state=x&request_uri=y&max_age=0";
    let answer = begun(&broker, &issuer, more).await;
    let url: Url = answer.location().parse().unwrap();
    let asked: HashMap<_, _> = url.query_pairs().into_owned().collect();
    assert_eq!((asked["login_hint"].as_str(), asked["scope"].as_str()), ("alice", "openid profile email"));
    assert_eq!(asked["redirect_uri"], format!("{PUBLIC}/sso/callback/company"));
    for name in ["prompt", "max_age", "acr_values", "request_uri"] {
        assert!(!asked.contains_key(name), "{name}");
    }
}

/// R-M06: several clients of one issuer: the one whose people the page admits.
#[tokio::test]
async fn of_several_clients_of_one_issuer_the_one_that_the_page_admits_is_meant() {
    let setup = Setup::default();
    let idp = ScriptedIdp::start(setup.clock.clone()).await;
    let issuer = idp.issuer();
    let more = format!(
        "[idp.office]\nkind = \"oidc\"\nissuer = \"{issuer}\"\nclient_id = \"office\"\nclient_secret = \"y\"\n"
    );
    let routes = "[[route]]\npath = \"/office\"\nupstream = \"UPSTREAM\"\nidps = [\"office\"]\n\
        [[route]]\npath = \"/\"\nupstream = \"UPSTREAM\"\n";
    let broker = Broker::with_provider(Setup { more, routes, ..setup }, idp).await;
    for (page, client) in [("/", "backoffice"), ("/office/x", "office")] {
        let target = encoded(&format!("{PUBLIC}{page}"));
        let start = begun(&broker, &issuer, &format!("&target_link_uri={target}")).await;
        let url: Url = start.location().parse().unwrap();
        let asked: HashMap<_, _> = url.query_pairs().into_owned().collect();
        assert_eq!(asked["client_id"], client, "{page}");
    }
}

/// R-M06, oidcc-client-test-3rd-party-init-login: all the way, by address and by form.
#[tokio::test]
async fn a_login_begun_elsewhere_lands_on_the_page_that_was_named() {
    let broker = Broker::start().await;
    let issuer = broker.idp.issuer();
    let target = format!("{PUBLIC}/orders?x=1");
    let finish = async |start: Answer, browser: &crate::support::browser::Browser| {
        let answered = browser.visit(start.location()).send().await;
        let landed = browser.visit(answered.location()).send().await;
        assert_eq!((landed.status.as_u16(), landed.location()), (303, "/orders?x=1"));
        assert!(browser.cookie(SESSION).is_some());
    };
    let (iss, encoded_target) = (encoded(&issuer), encoded(&target));
    let browser = broker.browser();
    let start = browser.visit(&format!("{PUBLIC}/sso/login?iss={iss}&target_link_uri={encoded_target}"));
    finish(start.sent_by_another_site().send().await, &browser).await;

    let browser = broker.browser();
    let fields = [("iss", issuer.as_str()), ("target_link_uri", &target), ("login_hint", "a&b"), ("scope", "admin")];
    let sent_on = browser.submit(&format!("{PUBLIC}/sso/login"), &fields).sent_by_another_site().send().await;
    let address = format!("/sso/login?iss={iss}&target_link_uri={encoded_target}&login_hint=a%26b");
    assert_eq!((sent_on.status.as_u16(), sent_on.location()), (303, address.as_str()));
    finish(browser.visit(&format!("{PUBLIC}{address}")).send().await, &browser).await;

    for fields in [&[][..], &[("target_link_uri", "x")], &[("iss", "a"), ("iss", "a")]] {
        assert_eq!(browser.submit(&format!("{PUBLIC}/sso/login"), fields).send().await.status, 400, "{fields:?}");
    }
    let page_of_scripts = browser.fetch(&format!("{PUBLIC}/sso/login?iss={iss}")).send().await;
    assert_eq!(page_of_scripts.status, 401, "a script in a page begins nothing (R-A12)");
}

/// R-I09: the session's cookie never comes back.
#[tokio::test]
async fn a_login_loop_ends_in_a_page_that_says_so() {
    let broker = Broker::start().await;
    let browser = broker.browser();
    let round = async |path: &str| {
        let turned_away = browser.visit(&format!("{PUBLIC}{path}")).send().await;
        assert_eq!(turned_away.status, 303);
        let landed = broker.sign_in(&browser, path).await;
        browser.forget(SESSION);
        landed
    };
    for index in 0..5 {
        assert_eq!(round("/orders").await.location(), "/orders", "{index}");
        broker.clock.advance(time::Duration::seconds(1));
    }
    broker.idp.forget_requests();
    let page = round("/orders").await;
    assert_eq!(page.status, 400);
    assert!(page.body.contains("round and round") && page.body.contains("/sso/login?return_to=%2Forders"));
    assert!(broker.idp.received("/token").is_empty());
    // Whoever has read that may try again.
    assert_eq!(round("/orders").await.location(), "/orders");
}

/// R-I09: what is no loop.
#[tokio::test]
async fn many_tabs_and_slow_people_are_no_loop() {
    let broker = Broker::start().await;
    let browser = broker.browser();
    let mut callbacks = Vec::new();
    for tab in 0..8 {
        callbacks.push(broker.reach_callback(&browser, &format!("/tab-{tab}")).await);
    }
    for callback in callbacks {
        assert_eq!(browser.visit(&callback).send().await.status, 303);
    }
    for _ in 0..10 {
        broker.clock.advance(time::Duration::seconds(8));
        assert_eq!(broker.sign_in(&browser, "/slow").await.location(), "/slow");
    }
}
