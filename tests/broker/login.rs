//! Starting a login: what goes to the provider, and what stays in the browser.

use std::collections::HashSet;

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use url::Url;

use crate::support::broker::Store;
use crate::support::broker::{Broker, PUBLIC, Setup};
use crate::support::browser::parameters;
use crate::support::redis::Redis;

async fn authorization_request(broker: &Broker, query: &str) -> Url {
    let answer = broker.browser().visit(&format!("{PUBLIC}/sso/login{query}")).send().await;
    assert_eq!(answer.status, 303, "{}", answer.body);
    answer.location().parse().unwrap()
}

#[tokio::test]
async fn an_employee_signs_in_and_lands_on_the_page_they_came_for() {
    let redis = Redis::start();
    for store in [Store::Memory, Store::Redis(redis.port())] {
        let broker = Broker::with(Setup { store, ..Setup::default() }).await;
        let browser = broker.browser();
        let deep_link = "/orders?status=open&q=a+b%2F#top";
        let turned_away = browser.visit(&format!("{PUBLIC}/orders?status=open&q=a+b%2F")).send().await;
        assert_eq!(turned_away.location(), "/sso/login?return_to=%2Forders%3Fstatus%3Dopen%26q%3Da%2Bb%252F");
        let landed = broker.sign_in(&browser, deep_link).await;
        assert_eq!((landed.status.as_u16(), landed.location()), (303, deep_link));
        let page = browser.visit(&format!("{PUBLIC}/orders?status=open")).send().await;
        assert_eq!(page.json()["target"], "/orders?status=open");
    }
}

/// R-A01, R-A03, R-A05, R-A06, R-A07, R-A09
#[tokio::test]
async fn the_authorization_request_is_complete_and_opaque() {
    let broker = Broker::start().await;
    let request = parameters(authorization_request(&broker, "?return_to=/secret-page").await.as_str());
    assert_eq!(request["response_type"], "code");
    assert_eq!(request["client_id"], "backoffice");
    assert_eq!(request["redirect_uri"], format!("{PUBLIC}/sso/callback/company"));
    assert_eq!(request["scope"], "openid profile email");
    assert_eq!(request["code_challenge_method"], "S256");
    assert_eq!(request["tenant"], "1", "the endpoint's own query is kept");
    assert_ne!(request["nonce"], request["state"]);
    for random in ["state", "nonce", "code_challenge"] {
        // Behind its random part the state carries the way back, sealed.
        let bytes = URL_SAFE_NO_PAD.decode(request[random].split('.').next().unwrap()).unwrap();
        assert_eq!(bytes.len(), 32, "{random}");
        assert!(!String::from_utf8_lossy(&bytes).contains("secret-page"));
    }
    let carried = URL_SAFE_NO_PAD.decode(request["state"].split_once('.').unwrap().1).unwrap();
    assert!(!String::from_utf8_lossy(&carried).contains("secret"));
}

/// R-A03, R-A08: nothing of the caller's query reaches the provider.
#[tokio::test]
async fn callers_cannot_add_parameters() {
    let broker = Broker::start().await;
    let query = "?scope=offline_access%20admin&state=x&client_id=y&redirect_uri=z&request_uri=w&prompt=none&nonce=n";
    let request = parameters(authorization_request(&broker, query).await.as_str());
    let mut names: Vec<_> = request.keys().map(String::as_str).collect();
    names.sort_unstable();
    let expected = [
        "client_id",
        "code_challenge",
        "code_challenge_method",
        "nonce",
        "redirect_uri",
        "response_type",
        "scope",
        "state",
        "tenant",
    ];
    assert_eq!(names, expected);
    assert_eq!(request["scope"], "openid profile email");
    assert_ne!(request["state"], "x");
}

/// R-A02: the redirect URI does not depend on what the request calls us.
#[tokio::test]
async fn a_foreign_host_is_refused_and_forwarding_headers_change_nothing() {
    let broker = Broker::start().await;
    let login = format!("{PUBLIC}/sso/login");
    let foreign = broker.browser().visit(&login).header("host", "evil.example").send().await;
    assert_eq!(foreign.status, 421);
    assert!(!foreign.body.contains("evil.example"));
    let forwarded = broker.browser().visit(&login).header("x-forwarded-host", "evil.example");
    let forwarded = forwarded.header("forwarded", "host=evil.example").header("x-forwarded-proto", "http").send().await;
    assert!(!forwarded.location().contains("evil"));
    assert_eq!(parameters(forwarded.location())["redirect_uri"], format!("{PUBLIC}/sso/callback/company"));
}

/// R-A04, R-A05, R-A06
#[tokio::test]
async fn a_thousand_logins_share_no_secret() {
    let broker = Broker::start().await;
    let mut seen = HashSet::new();
    for _ in 0..1_000 {
        let request = parameters(authorization_request(&broker, "").await.as_str());
        for secret in ["state", "nonce", "code_challenge"] {
            assert!(seen.insert(request[secret].clone()), "{secret} twice");
        }
    }
}

/// R-A05, R-C03: the verifier matches the code challenge.
#[tokio::test]
async fn the_verifier_matches_the_challenge() {
    let broker = Broker::start().await;
    let browser = broker.browser();
    let start = browser.visit(&format!("{PUBLIC}/sso/login")).send().await;
    let challenge = parameters(start.location())["code_challenge"].clone();
    let callback = browser.visit(start.location()).send().await.location().to_owned();
    browser.visit(&callback).send().await;
    let request = broker.idp.received("/token").remove(0).form;
    let hash = digest::digest(&digest::SHA256, request["code_verifier"].as_bytes());
    assert_eq!(URL_SAFE_NO_PAD.encode(hash), challenge);
    assert_eq!(request["grant_type"], "authorization_code");
    assert_eq!(request["redirect_uri"], format!("{PUBLIC}/sso/callback/company"));
}

/// R-A10
#[tokio::test]
async fn redirects_to_login_and_provider_are_not_kept_and_tell_nothing() {
    let broker = Broker::start().await;
    for path in ["/guarded", "/sso/login"] {
        let answer = broker.browser().visit(&format!("{PUBLIC}{path}")).send().await;
        assert_eq!(answer.status, 303, "{path}");
        assert_eq!(answer.header("cache-control"), "no-store", "{path}");
        assert_eq!(answer.header("referrer-policy"), "no-referrer", "{path}");
    }
}

/// R-A11: in any order.
#[tokio::test]
async fn five_tabs_sign_in_independently() {
    let broker = Broker::start().await;
    let browser = broker.browser();
    let mut callbacks = Vec::new();
    for tab in 0..5 {
        callbacks.push((tab, broker.reach_callback(&browser, &format!("/tab/{tab}")).await));
    }
    for (tab, callback) in callbacks.into_iter().rev() {
        let landed = browser.visit(&callback).send().await;
        assert_eq!(landed.location(), format!("/tab/{tab}"));
    }
}

/// R-A11: the cookies of five hundred tabs stay small.
#[tokio::test]
async fn abandoned_logins_do_not_pile_up_in_the_browser() {
    let broker = Broker::start().await;
    let browser = broker.browser();
    for tab in 0..500 {
        browser.visit(&format!("{PUBLIC}/sso/login?return_to=/{tab}/{}", "x".repeat(300))).send().await;
        let bytes: usize = browser.cookies().iter().map(|cookie| cookie.name.len() + cookie.value.len() + 3).sum();
        assert!(bytes < 8 * 1024, "{bytes} bytes after {tab} tabs");
    }
}

/// R-A12, R-I02: one line a case.
#[tokio::test]
async fn programs_never_start_a_login() {
    let broker = Broker::start().await;
    let html = ("accept", "text/html");
    for path in ["/sso/login", "/guarded"] {
        for headers in [
            &[("accept", "application/json")][..],
            &[html, ("sec-fetch-mode", "cors")],
            &[html, ("x-requested-with", "XMLHttpRequest")],
            &[("accept", "image/avif,*/*;q=0.8"), ("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image")],
            &[html, ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")],
        ] {
            let mut asking = broker.browser().ask(http::Method::GET, &format!("{PUBLIC}{path}"));
            for (name, value) in headers {
                asking = asking.header(name, value);
            }
            let answer = asking.send().await;
            assert_eq!(answer.status, 401, "{path} {headers:?}");
            assert_eq!(answer.header("content-type"), "application/problem+json");
            assert_eq!(answer.header("cache-control"), "no-store");
            assert_eq!(answer.code(), "session_missing");
            assert!(answer.location().is_empty() && answer.set_cookies().is_empty());
        }
    }
}

/// R-I03, at the place where it is read first: what cannot be trusted leads to the start page.
#[tokio::test]
async fn a_return_path_that_leads_elsewhere_is_forgotten() {
    let broker = Broker::start().await;
    for path in ["//evil.example", "/\\evil.example", "https://evil.example", "/%5cevil.example", "javascript:alert(1)"]
    {
        let landed = broker.sign_in(&broker.browser(), path).await;
        assert_eq!((landed.status.as_u16(), landed.location()), (303, "/"), "{path}");
    }
}

/// R-I03: the whole list of honest paths, through a whole login.
#[tokio::test]
async fn honest_return_paths_are_honoured_exactly() {
    let broker = Broker::start().await;
    for path in include_str!("../../crates/guard/tests/data/redirects_accept.txt").lines() {
        let landed = broker.sign_in(&broker.browser(), path).await;
        assert_eq!(landed.location(), path);
    }
}

/// R-A13: the route's demand is sent to the provider, and its answer is checked.
#[tokio::test]
async fn a_route_that_demands_a_recent_authentication_asks_for_one() {
    use crate::support::scripted_idp::{Script, change};
    use counterfoil::clock::Clock;
    let routes = "[[route]]\npath = \"/vault\"\nupstream = \"UPSTREAM\"\nmax_auth_age = \"10m\"\n\
                  [[route]]\npath = \"/\"\nupstream = \"UPSTREAM\"\n";
    let broker = Broker::with(Setup { routes, ..Setup::default() }).await;
    let browser = broker.signed_in().await;
    let vault = format!("{PUBLIC}/vault");
    assert_eq!(browser.visit(&vault).send().await.status, 200);
    broker.clock.advance(time::Duration::minutes(11));
    assert_eq!(browser.fetch(&vault).send().await.code(), "reauthentication_required");
    assert_eq!(broker.status(&browser).await, 200, "other routes go on");
    let turned_away = browser.visit(&vault).send().await;
    assert_eq!(turned_away.location(), "/sso/login?return_to=%2Fvault");
    let start = browser.visit(&format!("{PUBLIC}{}", turned_away.location())).send().await;
    assert_eq!(parameters(start.location())["max_age"], "600");

    let an_hour_ago = broker.clock.now().unix_timestamp() - 3_600;
    broker.idp.behave(Script {
        id_token_claims: change(move |claims| claims["auth_time"] = an_hour_ago.into()),
        ..Script::default()
    });
    let stale = broker.sign_in(&browser, "/vault").await;
    assert_eq!(stale.status, 502, "an authentication older than asked for is refused");
    broker.idp.behave(Script::default());
    assert_eq!(broker.sign_in(&browser, "/vault").await.location(), "/vault");
    assert_eq!(browser.visit(&vault).send().await.status, 200);
}

/// R-A13: a login without `auth_time` satisfies no such demand, and there is no redirect loop.
#[tokio::test]
async fn a_recent_authentication_cannot_be_had_by_the_back_door() {
    use crate::support::scripted_idp::{Script, change};
    use counterfoil::clock::Clock;
    let routes = "[[route]]\npath = \"/vault\"\nupstream = \"UPSTREAM\"\nmax_auth_age = \"30s\"\n\
                  [[route]]\npath = \"/\"\nupstream = \"UPSTREAM\"\n";
    let broker = Broker::with(Setup { routes, ..Setup::default() }).await;
    let vault = format!("{PUBLIC}/vault");
    broker.idp.behave(Script::claims(serde_json::json!({ "auth_time": null })));
    let browser = broker.signed_in().await;
    assert_eq!((broker.status(&browser).await, browser.visit(&vault).send().await.status.as_u16()), (200, 303));
    assert_eq!(broker.sign_in(&browser, "/vault").await.status, 502, "it was asked for, so it must be said");

    let slow_clock = broker.clock.now().unix_timestamp() - 45;
    broker.idp.behave(Script {
        id_token_claims: change(move |claims| claims["auth_time"] = slow_clock.into()),
        ..Script::default()
    });
    assert_eq!(broker.sign_in(&browser, "/vault").await.location(), "/vault");
    assert_eq!(browser.visit(&vault).send().await.status, 200, "what the login accepts, the guard accepts");
}

/// A route for the people of some providers sends its visitors to one of those.
#[tokio::test]
async fn a_routes_providers_narrow_the_choice() {
    let plain = |name: &str| {
        format!(
            "[idp.{name}]\nkind = \"oauth2\"\nclient_id = \"{name}\"\nclient_secret = \"y\"\nprofile.subject = \"id\"\n\
             authorization_endpoint = \"https://{name}.example/a\"\ntoken_endpoint = \"https://{name}.example/t\"\n\
             profile_endpoint = \"https://{name}.example/p\"\n"
        )
    };
    let routes = "[[route]]\npath = \"/vault\"\nidps = [\"company\"]\nmax_auth_age = \"10m\"\n\
                  [[route]]\npath = \"/fresh\"\nmax_auth_age = \"10m\"\n\
                  [[route]]\npath = \"/two\"\nidps = [\"company\", \"one\"]\n[[route]]\npath = \"/\"\n";
    let more = format!("{}{}[login]\ndefault_idp = \"other\"\n", plain("one"), plain("other"));
    let broker = Broker::with(Setup { more, routes, ..Setup::default() }).await;
    let start = async |path: &str| broker.browser().visit(&format!("{PUBLIC}/sso/login?return_to={path}")).send().await;
    assert!(start("/").await.location().starts_with("https://other.example/a"));
    let vault = start("/vault/x").await;
    assert!(vault.location().starts_with(&broker.idp.issuer()) && vault.location().contains("max_age=600"));
    let fresh = start("/fresh").await;
    assert!(fresh.location().contains("max_age=600"), "only one provider can say when: {}", fresh.location());
    let two = start("/two").await;
    assert_eq!(two.status, 200);
    assert!(two.body.contains("idp=company") && two.body.contains("idp=one") && !two.body.contains("idp=other"));
}
