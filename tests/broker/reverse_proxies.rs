//! Real reverse proxies in front of the broker: the documents' files as they are printed, and what uploads meet.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::support::broker::{Broker, HOST, KEY, Setup};
use crate::support::browser::Browser;
use crate::support::certificates::make_certificates;
use crate::support::child::{Program, free_ports};
use crate::support::counterpart::{Counterpart, between, follow_back_to};
use crate::support::front::Front;
use crate::support::program::{Folder, counterfoil, run};
use crate::support::redis::Redis;
use crate::support::upstream::{self, received};

/// The host of the documents' examples.
const BACK_OFFICE: &str = "backoffice.example.com";
const PUBLIC: &str = "https://backoffice.example.com";

fn document(name: &str) -> String {
    std::fs::read_to_string(format!("{}/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// The first code of a kind in a document, without the indentation of the list that it stands in.
fn code(document: &str, kind: &str) -> String {
    let fence = format!("```{kind}\n");
    let before = document.split_once(&fence).unwrap_or_else(|| panic!("no {kind}")).0;
    let indentation = before.rsplit('\n').next().unwrap().len();
    let lines = between(document, &fence, "```").lines();
    lines.map(|line| line.get(indentation..).unwrap_or_default().to_owned() + "\n").collect()
}

/// Puts this machine's addresses and files in the place of the documents'; each has to be there.
fn here(mut text: String, places: &[(&str, String)]) -> String {
    for (printed, here) in places {
        assert!(text.contains(printed), "{printed} is not in\n{text}");
        text = text.replace(printed, here);
    }
    text
}

/// Everything of the README's production, but for the proxy.
struct Production {
    _program: Program,
    _redis: Redis,
    _provider: Counterpart,
    broker: String,
    folder: Folder,
}

impl Production {
    /// Starts the configuration that a README prints.
    async fn of(readme: &str) -> Self {
        let (folder, redis, [port, operations]) = (Folder::new(), Redis::start(), free_ports());
        make_certificates(&folder);
        let provider = Counterpart::certified(json!({
            "client_secret": "from a file",
            "redirect_uris": [format!("{PUBLIC}/sso/callback/company")],
            "post_logout_redirect_uris": [format!("{PUBLIC}/sso/signed-out")],
        }));
        let office = upstream::start().await;
        let broker = format!("127.0.0.1:{port}");
        let config = here(
            code(&document(readme), "toml"),
            &[
                ("127.0.0.1:8080", broker.clone()),
                ("/run/secrets/counterfoil-keys", folder.write("keys", KEY)),
                ("redis://127.0.0.1:6379/0", redis.url()),
                ("https://idp.example.com", provider.told("issuer").to_owned()),
                ("/run/secrets/client-secret", folder.write("client-secret", "from a file\n")),
                ("http://127.0.0.1:3000", format!("http://{office}")),
            ],
        );
        let file = folder.write("counterfoil.toml", &config);
        let (code, said, errors) = run(counterfoil(folder.path(), &["check", "--config", &file]));
        assert_eq!(code, Some(0), "{said}{errors}");
        let mut command = counterfoil(folder.path(), &["serve", "--config", &file]);
        // The documents' default port may be taken on this machine.
        command.env("COUNTERFOIL_SERVER__OPS_LISTEN", format!("127.0.0.1:{operations}"));
        let program = Program::start(&mut command);
        program.wait_for("an identity provider is ready");
        Self { _program: program, _redis: redis, _provider: provider, broker, folder }
    }

    /// Signs the first user in through a proxy, and sees what the application gets to see.
    async fn serves_its_first_user(&self, address: SocketAddr) {
        let authority = std::fs::read(self.folder.path().join("ca.crt")).unwrap();
        let browser = Browser::by_tls(BACK_OFFICE, address, &authority);
        let away = browser.visit(&format!("{PUBLIC}/orders?x=1")).send().await;
        assert_eq!(away.status, 303, "{}", away.body);
        let (callback, login) = (format!("{PUBLIC}/sso/callback"), absolute(away.location()));
        let landed = follow_back_to(&callback, &browser, &login, "alice", "x").await;
        assert_eq!((landed.status.as_u16(), landed.location()), (303, "/orders?x=1"), "{}", landed.body);
        let forged = [
            "x-forwarded-for",
            "x-forwarded-proto",
            "x-forwarded-host",
            "x-auth-request-user",
            "x-real-ip",
            "x-request-id",
        ];
        let page = forged
            .iter()
            .fold(browser.visit(&format!("{PUBLIC}/orders?x=1")), |page, name| page.header(name, "6.6.6.6"));
        let page = page.send().await;
        assert_eq!(page.status, 200, "{}", page.body);
        let seen: Value = page.json();
        let expected = BTreeMap::from([
            ("host", BACK_OFFICE),
            ("x-auth-request-user", "alice"),
            ("x-auth-request-groups", "staff"),
            ("x-auth-request-email", "alice@example.test"),
            ("x-forwarded-for", "127.0.0.1"),
            ("x-real-ip", "127.0.0.1"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", BACK_OFFICE),
        ]);
        for (name, value) in expected {
            assert_eq!(received(&seen, name), [value], "{name}");
        }
        assert_eq!(received(&seen, "x-request-id"), [page.header("x-request-id")], "the proxy's own");
        assert_ne!(page.header("x-request-id"), "6.6.6.6");
        assert_eq!(seen["target"], "/orders?x=1");
        self.carries_what_is_large(&browser).await;
    }

    /// Heads of 4 kB in both directions, and an upload.
    async fn carries_what_is_large(&self, browser: &Browser) {
        let large = "x".repeat(9 * 1024);
        let page = browser.visit(&format!("{PUBLIC}/?q={large}")).header("x-answer-x-large", &large).send().await;
        assert_eq!((page.status.as_u16(), page.header("x-large").len()), (200, large.len()));
        let body = "x".repeat(1_500_000);
        let sent = browser.ask(http::Method::POST, &format!("{PUBLIC}/upload")).body(&body).send().await;
        assert_eq!(sent.status, 200);
        assert_eq!(sent.json()["body"].as_str().unwrap().len(), body.len());
    }
}

fn absolute(location: &str) -> String {
    if location.starts_with('/') { format!("{PUBLIC}{location}") } else { location.to_owned() }
}

/// The files that the documents print, changed in nothing but where things are on this machine, in both languages.
#[tokio::test(flavor = "multi_thread")]
async fn the_printed_configuration_works_for_its_first_user_behind_the_printed_nginx_and_caddy() {
    let proxies = document("docs/reverse-proxies.md");
    assert_eq!(
        code(&document("README.md"), "toml").lines().map(without_comment).collect::<Vec<_>>(),
        code(&document("README.ko.md"), "toml").lines().map(without_comment).collect::<Vec<_>>(),
        "both READMEs print the same"
    );
    let production = Production::of("README.md").await;
    let file = |name: &str| production.folder.path().join(name).display().to_string();
    let [https, http, caddy_https, caddy_http] = free_ports();

    let sections = here(
        code(&proxies, "nginx"),
        &[
            ("127.0.0.1:8080", production.broker.clone()),
            ("listen 443 ", format!("listen 127.0.0.1:{https} ")),
            ("listen 80;", format!("listen 127.0.0.1:{http};")),
            ("/etc/ssl/backoffice.crt", file("server.crt")),
            ("/etc/ssl/backoffice.key", file("server.key")),
        ],
    );
    let nginx = Front::nginx(&production.folder, https, &sections);
    production.serves_its_first_user(nginx.address).await;

    let caddyfile = here(
        code(&proxies, "caddyfile"),
        &[
            ("127.0.0.1:8080", production.broker.clone()),
            ("/etc/ssl/backoffice.crt", file("server.crt")),
            ("/etc/ssl/backoffice.key", file("server.key")),
        ],
    );
    let ports = format!("{{\nadmin off\nhttps_port {caddy_https}\nhttp_port {caddy_http}\n}}\n");
    let caddy = Front::caddy(&production.folder, caddy_https, &format!("{ports}{caddyfile}"));
    production.serves_its_first_user(caddy.address).await;
}

fn without_comment(line: &str) -> &str {
    line.split('#').next().unwrap().trim_end()
}

/// nginx as it comes, but for the size of uploads that it lets through: whoever has no session and sends something gets
/// our 401, and not a 502 of nginx' that lost it.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_without_a_session_through_nginx_is_a_401() {
    let (broker, folder, [port]) = (Broker::with(Setup::default()).await, Folder::new(), free_ports());
    let sections = format!(
        "server {{ listen 127.0.0.1:{port}; client_max_body_size 32m;\n\
         location / {{ proxy_pass http://{}; proxy_set_header Host {HOST}; }} }}",
        broker.address
    );
    let nginx = Front::nginx(&folder, port, &sections);
    let browser = Browser::new([(HOST.to_owned(), nginx.address)]);
    for size in [1_000, 50_000, 200_000, 1_000_000, 20_000_000] {
        let body = "x".repeat(size);
        for attempt in 0..100 {
            let asked = browser.ask(http::Method::POST, &format!("https://{HOST}/orders")).body(&body);
            let answer = asked.header("accept", "application/json").send().await;
            let code = if answer.status == 401 { answer.code() } else { answer.body };
            assert_eq!(code, "session_missing", "{size} bytes, attempt {attempt}: {}", answer.status);
        }
    }
}
