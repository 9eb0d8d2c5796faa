//! The heads of the broker's own answers fit into what proxies in front take: 4 kB (nginx' default, one memory page).

use crate::support::broker::{Broker, HOST, PUBLIC, Setup};
use crate::support::browser::{Answer, Browser};
use crate::support::child::free_ports;
use crate::support::front::Front;
use crate::support::program::Folder;

/// What an answer's head came to on the wire.
fn head(answer: &Answer) -> usize {
    let lines = answer.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len());
    "HTTP/1.1 303 See Other\r\n\r\n".len() + lines.sum::<usize>()
}

/// Follows a person from a page to the provider and back; every answer of the broker's, and where they landed.
async fn walk(browser: &Browser, start: &str) -> (Vec<Answer>, String) {
    let (mut location, mut own) = (start.to_owned(), Vec::new());
    for _ in 0..6 {
        if location.starts_with('/') {
            location = format!("{PUBLIC}{location}");
        }
        let answer = browser.visit(&location).send().await;
        if location.starts_with(PUBLIC) && location.contains("/sso/callback/") {
            let landed = answer.location().to_owned();
            own.push(answer);
            return (own, landed);
        }
        let next = answer.location().to_owned();
        assert_eq!(answer.status, 303, "{location}: {}", answer.body);
        if location.starts_with(PUBLIC) {
            own.push(answer);
        }
        location = next;
    }
    panic!("never came back");
}

/// One line a deep link: whether the whole of it survives. Found by walking through every answer of a login that
/// carries the link, with links of each kind at each length, and with everything else in those answers as large as it
/// gets: other logins' cookies, a provider that wants many parameters.
#[tokio::test]
async fn answer_heads_stay_below_what_proxies_take_and_the_link_leads_at_least_to_its_page() {
    let parameters = format!("authorization_parameters = {{ hint = \"{}\" }}", "p".repeat(500));
    for (what, idp) in [("a plain provider", String::new()), ("one with many parameters", parameters)] {
        let broker = Broker::with(Setup { idp, ..Setup::default() }).await;
        for crowd in [0, 12] {
            let browser = broker.browser();
            for index in 0..crowd {
                browser.visit(&format!("{PUBLIC}/sso/login?return_to=/tab/{index}/{}", "t".repeat(300))).send().await;
            }
            for (piece, length, survives) in [
                ("x", 100, true),
                ("x", 1_000, true),
                ("x", 1_900, false),
                ("x", 2_040, false),
                ("x", 2_048, false),
                ("x", 6_000, false),
                ("%20", 900, true),
                ("%20", 2_040, false),
                ("&a=/", 800, true),
                ("&a=/", 2_040, false),
            ] {
                let link = format!("/orders?q={}", piece.repeat(length / piece.len()));
                let (answers, landed) = walk(&browser, &format!("{PUBLIC}{link}")).await;
                let sizes: Vec<_> = answers.iter().map(head).collect();
                assert!(sizes.iter().all(|size| *size < 4096), "{what}, {crowd}, {length} of {piece}: {sizes:?}");
                if survives {
                    assert_eq!(landed, link, "{what}, {crowd}");
                } else {
                    assert!(landed == link || landed == "/orders", "{what}, {crowd}, {length} of {piece}: {landed}");
                }
                browser.forget("__Host-session");
                browser.forget("__Host-landings");
            }
        }
    }
}

/// A long path has no query to lose: it leads to the start page rather than to an error.
#[tokio::test]
async fn a_page_whose_path_alone_is_too_long_leads_to_the_start_page() {
    let broker = Broker::start().await;
    let (answers, landed) = walk(&broker.browser(), &format!("{PUBLIC}/{}", "x".repeat(2_040))).await;
    assert!(answers.iter().all(|answer| head(answer) < 4096), "{:?}", answers.iter().map(head).collect::<Vec<_>>());
    assert_eq!(landed, "/");
}

/// The same, as nginx sees it that nobody has configured anything for.
#[tokio::test(flavor = "multi_thread")]
async fn deep_links_of_any_length_pass_nginx_as_it_comes() {
    let (broker, folder, [port]) = (Broker::start().await, Folder::new(), free_ports());
    let sections = format!(
        "server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://{}; proxy_set_header Host {HOST}; }} }}",
        broker.address
    );
    let nginx = Front::nginx(&folder, port, &sections);
    for length in [1_000, 1_500, 1_600, 1_700, 1_920, 2_040, 2_048, 4_000] {
        let browser = Browser::new([(HOST.to_owned(), nginx.address)]);
        let (_, landed) = walk(&browser, &format!("{PUBLIC}/orders?q={}", "x".repeat(length))).await;
        assert!(landed.starts_with("/orders"), "{length}: {landed}");
    }
}

/// Trying once more helps nobody whose browser sends too many cookies: the page says whose cookies to delete. One line a
/// language and manner of asking.
#[tokio::test]
async fn whoever_has_too_many_cookies_is_told_whose_to_delete() {
    let broker = Broker::start().await;
    let cookies = format!("a={}", "x".repeat(33 * 1024));
    for (language, words) in [("en", "delete the cookies of app.example.test"), ("ko", "app.example.test의 쿠키를")]
    {
        for (asked, is_page) in [
            (broker.browser().visit(&format!("{PUBLIC}/orders")), true),
            (broker.browser().fetch(&format!("{PUBLIC}/orders")), false),
        ] {
            let answer = asked.header("accept-language", language).header("cookie", &cookies).send().await;
            assert_eq!(answer.status, 431, "{}", answer.body);
            let text = answer.body.replace(['\u{2068}', '\u{2069}'], "");
            assert!(text.contains(words), "{language}, page: {is_page}: {text}");
        }
    }
    let long = broker.browser().visit(&format!("{PUBLIC}/orders?q={}", "x".repeat(25_000))).send().await;
    assert_eq!(long.status, 414);
    assert!(long.body.contains("That address is too long"), "{}", long.body);
}
