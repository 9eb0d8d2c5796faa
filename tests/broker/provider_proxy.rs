//! Providers that are reached through a proxy: who is, who is not, and what the proxy learns.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use counterfoil::clock::SystemClock;
use counterfoil::config::{Fault, Source};

use crate::support::broker::{Broker, HOST, KEY, PUBLIC, Setup, Store};
use crate::support::browser::Browser;
use crate::support::certificates::{end_tls, make_certificates};
use crate::support::connect_proxy::ConnectProxy;
use crate::support::program::{Folder, counterfoil, run};
use crate::support::redis::Redis;
use crate::support::scripted_idp::ScriptedIdp;

const ISSUER: &str = "https://idp.example.test";
const NAME: &str = "idp.example.test:443";

/// A provider that only a proxy can find, its certificates, and the proxy.
async fn behind_a_proxy(credentials: Option<&str>) -> (Folder, ScriptedIdp, ConnectProxy) {
    let folder = Folder::new();
    make_certificates(&folder);
    let idp = ScriptedIdp::start(Arc::new(SystemClock)).await;
    idp.call_itself(ISSUER);
    let tls: SocketAddr = end_tls(folder.path(), false, idp.address()).await;
    let proxy = ConnectProxy::start(&[(NAME, tls)], credentials).await;
    (folder, idp, proxy)
}

/// R-F02, R-O01: everything that is asked of the provider goes through tunnels, and nothing else does.
#[tokio::test]
async fn a_login_goes_through_the_proxy_which_learns_the_providers_name_alone() {
    let (folder, idp, proxy) = behind_a_proxy(Some("user:CANARY p@ss")).await;
    let redis = Redis::start();
    let setup = Setup {
        store: Store::Redis(redis.port()),
        idp: format!("ca_file = \"{}\"", folder.path().join("ca.crt").display()),
        more: format!("[network]\nhttps_proxy = \"http://user:CANARY%20p%40ss@{}\"", proxy.address()),
        ..Setup::default()
    };
    let broker = Broker::with_provider(setup, idp.clone()).await;
    let browser = Browser::new([(HOST.to_owned(), broker.address), ("idp.example.test".to_owned(), idp.address())]);
    let landed = broker.sign_in(&browser, "/page").await;
    assert_eq!((landed.status.as_u16(), landed.location()), (303, "/page"), "{}", landed.body);
    assert_eq!(browser.visit(&format!("{PUBLIC}/page")).send().await.status, 200, "upstreams are reached directly");
    for path in ["/.well-known/openid-configuration", "/jwks", "/token", "/userinfo"] {
        assert_eq!(idp.received(path).len(), 1, "{path}");
    }
    let heads = proxy.heads();
    assert!(!heads.is_empty());
    for head in heads {
        assert!(head.starts_with(&format!("CONNECT {NAME} HTTP/1.1\r\n")), "{head}");
        assert!(!head.contains("CANARY") && !head.contains("code"), "{head}");
    }
}

/// R-P02: one line a case: where somebody may be told to go through a proxy that is away, and goes directly.
#[tokio::test]
async fn what_is_on_this_machine_or_named_as_an_exception_is_reached_directly() {
    let nobody = "https_proxy = \"http://127.0.0.1:1\"";
    let broker = Broker::with(Setup { more: format!("[network]\n{nobody}"), ..Setup::default() }).await;
    broker.signed_in().await;

    let (folder, idp, proxy) = behind_a_proxy(None).await;
    // The name is known to the proxy alone: whoever asks directly does not find it.
    for (exceptions, finds_it) in [("[\"example.test\"]", false), ("[\"*\"]", false), ("[\"other.test\"]", true)] {
        let setup = Setup {
            idp: format!("ca_file = \"{}\"", folder.path().join("ca.crt").display()),
            more: format!("[network]\nhttps_proxy = \"{}\"\nno_proxy = {exceptions}", proxy.address()),
            ..Setup::default()
        };
        let broker = Broker::with_provider(setup, idp.clone()).await;
        let asked = proxy.heads().len();
        let start = broker.browser().visit(&format!("{PUBLIC}/sso/login")).send().await;
        assert_eq!(start.status.as_u16(), if finds_it { 303 } else { 503 }, "{exceptions}");
        assert_eq!(proxy.heads().len() > asked, finds_it, "{exceptions}");
    }
}

fn read(file: &str, environment: &[(&str, &str)]) -> Result<Option<String>, Vec<Fault>> {
    let file = format!(
        "public_url = \"{PUBLIC}\"\n[secrets]\nkeys = [\"{KEY}\"]\n[store]\nurl = \"memory:\"\n[idp.company]\n\
         kind = \"oidc\"\nissuer = \"{ISSUER}\"\nclient_id = \"x\"\nclient_secret = \"x\"\n[[route]]\npath = \"/\"\n\
         upstream = \"http://127.0.0.1:1\"\n{file}"
    );
    let environment: BTreeMap<_, _> =
        environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let settings = Source { file: Some(file), environment, ..Source::default() }.settings();
    settings.map(|settings| settings.idps[0].proxy_on_the_way().map(str::to_owned)).map_err(|faults| faults.0)
}

/// One line a case: what the file says, what the environment says, which proxy it is. The variables are those that curl,
/// Go and Python read.
#[test]
fn the_configuration_goes_before_the_usual_variables() {
    let own = "[network]\nhttps_proxy = \"http://own:1\"";
    for (file, environment, proxy) in [
        ("", &[][..], None),
        (own, &[("HTTPS_PROXY", "http://other:2")], Some("http://own:1")),
        (own, &[("COUNTERFOIL_NETWORK__HTTPS_PROXY", "http://third:3")], Some("http://third:3")),
        ("[network]\nhttps_proxy = \"\"", &[("HTTPS_PROXY", "http://other:2")], None),
        ("", &[("HTTPS_PROXY", "http://other:2"), ("https_proxy", "http://third:3")], Some("http://other:2")),
        ("", &[("https_proxy", "http://other:2"), ("ALL_PROXY", "http://third:3")], Some("http://other:2")),
        ("", &[("ALL_PROXY", "other:2")], Some("http://other:2")),
        ("", &[("all_proxy", "http://other:2")], Some("http://other:2")),
        ("", &[("HTTPS_PROXY", "")], None),
        ("", &[("HTTPS_PROXY", ""), ("ALL_PROXY", "other:2")], Some("http://other:2")),
        ("", &[("HTTP_PROXY", "http://other:2")], None),
        ("", &[("HTTPS_PROXY", "http://other:2"), ("NO_PROXY", "a.test, example.test")], None),
        ("", &[("HTTPS_PROXY", "http://other:2"), ("no_proxy", "a.test example.test")], None),
        ("", &[("HTTPS_PROXY", "http://other:2"), ("NO_PROXY", "*")], None),
        (own, &[("NO_PROXY", "example.test")], None),
        ("[network]\nno_proxy = []", &[("HTTPS_PROXY", "other:2"), ("NO_PROXY", "*")], Some("http://other:2")),
    ] {
        assert_eq!(read(file, environment).unwrap().as_deref(), proxy, "{file} {environment:?}");
    }
}

/// R-P08: a fault names the key, and the variable if the value is from one; never the value.
#[test]
fn what_is_no_proxy_fails_clearly_and_is_not_repeated() {
    for (file, environment, names) in [
        ("[network]\nhttps_proxy = \"socks5://u:CANARY@x\"", &[][..], "must be the address of an HTTP proxy"),
        ("", &[("ALL_PROXY", "socks5://u:CANARY@x")], "ALL_PROXY"),
        ("[network]\nhttps_proxy_file = \"/nowhere\"", &[], "cannot be read"),
        ("[network]\nno_proxy = 7", &[], "must be a list"),
        ("[network]\nproxy = \"http://x\"", &[], "is unknown"),
    ] {
        let faults = read(file, environment).unwrap_err();
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(faults[0].key.starts_with("network.") && faults[0].problem.contains(names), "{faults:?}");
        assert!(!faults[0].problem.contains("CANARY"), "{faults:?}");
    }
}

/// R-O01, R-P08: `check` says through which proxy it asks and what the proxy answers, and shows no password.
#[tokio::test(flavor = "multi_thread")]
async fn check_says_through_which_proxy_a_provider_is_asked() {
    let (folder, _idp, proxy) = behind_a_proxy(Some("user:CANARY")).await;
    let config = folder.write(
        "counterfoil.toml",
        &format!(
            "public_url = \"{PUBLIC}\"\n[secrets]\nkeys = [\"{KEY}\"]\n[store]\nurl = \"memory:\"\n[idp.company]\n\
             kind = \"oidc\"\nissuer = \"{ISSUER}\"\nclient_id = \"backoffice\"\nclient_secret = \"x\"\n\
             ca_file = \"ca.crt\"\nuserinfo = true\n[[route]]\npath = \"/\"\nupstream = \"http://127.0.0.1:1\"\n"
        ),
    );
    for (password, written) in [("CANARY", "ok    idp.company: "), ("CANARY-wrong", "fail  idp.company: ")] {
        let mut command = counterfoil(folder.path(), &["check", "--config", &config]);
        command.env("HTTPS_PROXY", format!("http://user:{password}@{}", proxy.address()));
        let (_, said, errors) = tokio::task::block_in_place(|| run(command));
        let through = format!("note  idp.company: asked through the proxy http://{}\n", proxy.address());
        assert!(said.contains(&through) && said.contains(written), "{said}{errors}");
        assert!(!said.contains("CANARY") && !errors.contains("CANARY"), "{said}{errors}");
    }
}
