//! The header fields of proxies in front, and which of them are trusted.

use crate::support::broker::{Broker, PUBLIC, Setup};
use crate::support::upstream::received;

async fn broker(server: &str) -> Broker {
    Broker::with(Setup { more: format!("[server]\n{server}\n"), ..Setup::default() }).await
}

/// R-O04. Kept from a trusted proxy, in the answer, in the problem document and towards the upstream; made anew for anybody
/// else, for what is no name, and where the configuration says so.
#[tokio::test]
async fn a_request_keeps_the_name_that_a_trusted_proxy_gave_it() {
    const TRUSTED: &str = "trusted_proxies = [\"127.0.0.1\"]";
    for (server, given, kept) in [
        (TRUSTED, &["8f14e45f-ceea-167a"][..], true),
        (TRUSTED, &["Root=1-67891233-abcdef0123"], true),
        (TRUSTED, &["two words"], false),
        (TRUSTED, &["a", "a"], false),
        ("", &["8f14e45f-ceea-167a"], false),
        ("trusted_proxies = [\"127.0.0.1\"]\nrequest_id_from_trusted_proxies = false", &["8f14e45f-ceea-167a"], false),
    ] {
        let broker = broker(server).await;
        let browser = broker.signed_in().await;
        let asking = |url: String, browser: &crate::support::browser::Browser| {
            given.iter().fold(browser.fetch(&url), |asking, id| asking.header("x-request-id", id))
        };
        let answer = asking(format!("{PUBLIC}/page"), &browser).send().await;
        let id = answer.header("x-request-id").to_owned();
        assert_eq!(id == given[0], kept, "{server} {given:?}: {id}");
        assert_eq!(received(&answer.json(), "x-request-id"), [id.as_str()]);
        let refused = asking(format!("{PUBLIC}/page"), &broker.browser()).send().await;
        assert_eq!(refused.json()["request_id"] == given[0], kept, "{}", refused.body);
    }
}

/// R-B11: the first value is the browser's, the others are what lies between the proxies.
#[tokio::test]
async fn a_browser_that_came_by_https_is_served_however_many_proxies_follow() {
    let broker = broker("trusted_proxies = [\"127.0.0.1\"]").await;
    let browser = broker.signed_in().await;
    for (scheme, status) in
        [("https, http", 200), ("https,http,http", 200), ("https", 200), ("http, https", 421), ("http", 421)]
    {
        let answer = browser.fetch(&format!("{PUBLIC}/page")).header("x-forwarded-proto", scheme).send().await;
        assert_eq!(answer.status, status, "{scheme}");
    }
}
