//! What every page and answer of the broker has in common.

use crate::support::broker::{Broker, PUBLIC, Setup};
use crate::support::browser::Browser;

/// Every address of the broker, and a few that are none, as a stranger and as somebody signed in.
async fn walk(broker: &Broker, browser: &Browser, look: impl Fn(&str, &crate::support::browser::Answer)) {
    for path in [
        "/sso/login",
        "/sso/login?ended=1",
        "/sso/login?idp=nobody",
        "/sso/callback/company",
        "/sso/callback/company?state=x&code=y",
        "/sso/logout",
        "/sso/signed-out",
        "/sso/session",
        "/sso/nothing",
        "/sso",
        "/forbidden",
        "/a/../b",
        "/%zz",
    ] {
        let url = format!("{PUBLIC}{path}");
        look(path, &browser.visit(&url).send().await);
        look(path, &browser.fetch(&url).send().await);
        look(path, &browser.submit(&url, &[("a", "b")]).send().await);
    }
    look("wrong host", &broker.browser().visit(PUBLIC).header("host", "evil.example").send().await);
    look("method", &broker.browser().ask(http::Method::TRACE, PUBLIC).send().await);
}

/// R-M03, R-A10: on every answer of the broker itself.
#[tokio::test]
async fn every_answer_of_the_broker_carries_the_security_headers() {
    let routes = "[[route]]\npath = \"/forbidden\"\ngroups = [\"nobody\"]\nupstream = \"UPSTREAM\"\n";
    let broker = Broker::with(Setup { routes, ..Setup::default() }).await;
    for browser in [broker.browser(), broker.signed_in().await] {
        walk(&broker, &browser, |what, answer| {
            let at = format!("{what} {}", answer.status);
            assert_ne!(answer.status, 500, "{at}");
            let policy = answer.header("content-security-policy");
            for directive in ["default-src 'none'", "frame-ancestors 'none'", "object-src 'none'", "base-uri 'none'"] {
                assert!(policy.contains(directive), "{at}: {policy}");
            }
            assert!(!policy.contains("unsafe"), "{at}");
            assert!(answer.header("strict-transport-security").starts_with("max-age=63072000"), "{at}");
            assert_eq!(answer.header("x-content-type-options"), "nosniff", "{at}");
            let with_form = what == "/sso/logout" && answer.status == 200;
            assert!(answer.header("referrer-policy") == "no-referrer" || with_form, "{at}");
            assert_eq!(answer.header("cross-origin-opener-policy"), "same-origin", "{at}");
            assert_eq!(answer.header("cache-control"), "no-store", "{at}");
            assert!(!answer.header("x-request-id").is_empty(), "{at}");
        })
        .await;
    }
}

/// R-M04: what a request says is never repeated, whatever it says.
#[tokio::test]
async fn pages_repeat_nothing_of_what_a_request_says() {
    let broker = Broker::start().await;
    let browser = broker.browser();
    let hostile = "%3Csvg%20onload%3D1%3ECANARY%22%27";
    for path in [
        format!("/sso/login?idp={hostile}"),
        format!("/sso/login?return_to=/{hostile}"),
        format!("/sso/login?ended=1&return_to=/{hostile}"),
        format!("/sso/callback/{hostile}?state={hostile}&code={hostile}"),
        format!("/sso/callback/company?error={hostile}&error_description={hostile}"),
        format!("/sso/signed-out?only={hostile}&state={hostile}"),
        format!("/sso/logout?x={hostile}"),
        format!("/sso/{hostile}"),
    ] {
        let page = browser.visit(&format!("{PUBLIC}{path}")).send().await;
        assert!(!page.body.contains("CANARY") && !page.body.contains("<svg"), "{path}: {}", page.body);
    }
}

#[tokio::test]
async fn pages_come_in_the_language_of_the_browser() {
    let broker = Broker::start().await;
    for (accepts, tag) in
        [("ko-KR,ko;q=0.9,en;q=0.8", "ko"), ("en-GB", "en"), ("fr,ko;q=0.1", "ko"), ("fr", "en"), ("", "en")]
    {
        let page =
            broker.browser().visit(&format!("{PUBLIC}/sso/signed-out")).header("accept-language", accepts).send().await;
        assert!(page.body.contains(&format!("<html lang=\"{tag}\"")), "{accepts}");
        assert_eq!(page.header("content-language"), tag);
        assert!(page.header("vary").contains("Accept-Language"));
    }
}

#[tokio::test]
async fn style_and_logo_are_served_to_be_kept() {
    let broker = Broker::start().await;
    let page = broker.browser().visit(&format!("{PUBLIC}/sso/signed-out")).send().await;
    let (_, rest) = page.body.split_once("rel=\"stylesheet\" href=\"").unwrap();
    let style = broker.browser().fetch(&format!("{PUBLIC}{}", rest.split_once('"').unwrap().0)).send().await;
    assert_eq!((style.status.as_u16(), style.header("content-type")), (200, "text/css; charset=utf-8"));
    assert!(style.header("cache-control").contains("immutable"));
    assert_eq!(style.header("vary"), "", "it is the same for everybody");
    assert_eq!(broker.browser().get("/sso/assets/..%2fsecret").await.status, 404);
}

#[tokio::test]
async fn branding_is_on_every_page() {
    let more = "[branding]\nproduct_name = \"Lantern <Office>\"\nsupport_contact = \"help@example.com\"\n".to_owned();
    let broker = Broker::with(Setup { more, ..Setup::default() }).await;
    for path in ["/sso/signed-out", "/sso/nothing", "/sso/login?ended=1"] {
        let page = broker.browser().visit(&format!("{PUBLIC}{path}")).send().await;
        assert!(page.body.contains("Lantern &#60;Office&#62;"), "{path}");
        assert!(page.body.contains("mailto:help@example.com"), "{path}");
    }
}
