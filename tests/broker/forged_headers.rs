//! No header field of a client passes for one of the broker's, checked with a real server and a CGI program.

use std::fmt::Write;

use crate::support::broker::{Broker, Setup};
use crate::support::lighttpd::Lighttpd;
use crate::support::raw::{exchange, request, status};

/// Marks that a name may hold beside letters and digits (RFC 9110 5.6.2).
const MARKS: &str = "!#$%&'*+-.^_`|~";
/// Spellings of each name.
const SPELLINGS: usize = 128;
/// Fields of one request: servers take about a hundred.
const AT_ONCE: usize = 32;

/// A name's spellings, each another: every mark between all words, then two marks that change places, in three cases, with
/// marks doubled, and one in front or behind.
fn spellings(name: &str) -> Vec<String> {
    let marks: Vec<char> = MARKS.chars().collect();
    let words: Vec<&str> = name.split('-').collect();
    let mut found: Vec<String> = Vec::new();
    for number in 0.. {
        let (one, other) = (marks[number % marks.len()], marks[number / marks.len() % marks.len()]);
        let mut spelling = words[0].to_owned();
        for (place, word) in words[1..].iter().enumerate() {
            spelling.push(if place % 2 == 0 { one } else { other });
            if number % 7 == 6 {
                spelling.push(other);
            }
            spelling.push_str(word);
        }
        match number % 5 {
            1 => spelling = spelling.to_uppercase(),
            2 => spelling = spelling.to_lowercase(),
            3 if number % 2 == 0 => spelling.push(one),
            4 if number % 2 == 0 => spelling.insert(0, other),
            _ => {}
        }
        if !found.contains(&spelling) {
            found.push(spelling);
        }
        if found.len() == SPELLINGS {
            return found;
        }
    }
    unreachable!("marks do not run out")
}

const IDENTITY: [&str; 8] = [
    "X-Auth-Request-User",
    "X-Auth-Request-Email",
    "X-Auth-Request-Preferred-Username",
    "X-Auth-Request-Name",
    "X-Auth-Request-Groups",
    "X-Auth-Request-Groups-Left-Out",
    "X-Auth-Request-Session",
    "X-Auth-Request-Assertion",
];
/// Others that applications believe: of forwarding, of other proxies, of methods, of CGI itself.
const OTHERS: [&str; 9] = [
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Real-IP",
    "X-Request-Id",
    "X-Original-URL",
    "Remote-User",
    "CF-Connecting-IP",
    "X-HTTP-Method-Override",
    "X-WebAuth-User",
];

/// R-K01, R-K02, R-K04. lighttpd makes an underscore of whatever is neither letter nor digit, so that a CGI program has one
/// variable for all of them: judged is what the program printed. `~` is what was seen to pass; the other marks are
/// those that the grammar has.
#[tokio::test(flavor = "multi_thread")]
async fn no_spelling_of_a_name_reaches_a_cgi_programs_environment() {
    let lighttpd = Lighttpd::telling_environments();
    let upstream = format!("upstream = \"http://127.0.0.1:{}\"\n", lighttpd.port);
    let routes =
        format!("[[route]]\npath = \"/open\"\n{upstream}access = \"public\"\n[[route]]\npath = \"/\"\n{upstream}");
    let broker = Broker::with(Setup { routes: Box::leak(routes.into_boxed_str()), ..Setup::default() }).await;
    let browser = broker.signed_in().await;

    let straight = reqwest::Client::builder().no_proxy().build().unwrap();
    let straight = straight.get(format!("http://127.0.0.1:{}/", lighttpd.port)).header("X~Auth~Request~User", "FORGED");
    let environment = straight.send().await.unwrap().text().await.unwrap();
    assert!(environment.contains("HTTP_X_AUTH_REQUEST_USER=FORGED"), "the server folds names: {environment}");

    for name in IDENTITY.into_iter().chain(OTHERS) {
        for (round, spellings) in spellings(name).chunks(AT_ONCE).enumerate() {
            let forged = spellings.iter().fold(String::new(), |mut lines, spelling| {
                let _ = write!(lines, "{spelling}: FORGED\r\n");
                lines
            });
            let forged = format!("{forged}Connection: close\r\n");
            for (path, who, expected) in
                [("/open", None, 200), ("/open", Some(&browser), 200), ("/x", Some(&browser), 200), ("/x", None, 401)]
            {
                let printed = exchange(&broker, &request(&format!("GET {path}"), who, &forged)).await;
                assert_eq!(status(&printed), expected, "{name} in round {round}: {printed}");
                assert!(!printed.contains("FORGED"), "{name} in round {round}: {printed}");
                let known = printed.contains("HTTP_X_AUTH_REQUEST_USER=248289761001");
                assert_eq!(known, expected == 200 && who.is_some(), "{printed}");
            }
        }
    }
    let echo = browser.get("/open").await.body;
    assert!(echo.contains("GATEWAY_INTERFACE=CGI"), "{echo}");
}
