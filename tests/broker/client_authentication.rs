//! The broker's authentication at a provider, by every method, and the authorities that it trusts on the connection.

use serde_json::{Value, json};

use crate::configuration::faults_of_provider;
use crate::support::broker::{Broker, PUBLIC, SESSION, Setup};
use crate::support::certificates::{end_tls, make_certificates};
use crate::support::keys::{Kind, private_key, verified};
use crate::support::program::{Folder, counterfoil, run};
use crate::support::scripted_idp::{Script, ScriptedIdp, set};

/// The public half, as `counterfoil keys jwks` shows it to whoever registers it.
fn registered(folder: &Folder, options: &[&str]) -> Value {
    let (code, said, errors) = run(counterfoil(folder.path(), &[&["keys", "jwks", "client.pem"], options].concat()));
    assert_eq!(code, Some(0), "{errors}");
    let set: Value = serde_json::from_str(&said).unwrap();
    assert!(["d", "p", "q", "dp", "dq", "qi", "k"].iter().all(|private| set["keys"][0].get(private).is_none()));
    set["keys"][0].clone()
}

/// R-C01, R-C02, R-C14: one line a case; the assertion is verified with what was registered.
#[tokio::test]
async fn an_assertion_is_signed_with_the_registered_key_for_this_provider_and_this_request_alone() {
    for (kind, algorithm, keys, by_id) in [
        (Kind::Rsa, "RS256", "", None),
        (Kind::Rsa, "RS384", "client_key_alg = \"RS384\"", None),
        (Kind::Rsa, "PS256", "client_key_alg = \"PS256\"\nclient_key_id = \"key 1\"", Some("key 1")),
        (Kind::P256, "ES256", "client_assertion_audience = \"token_endpoint\"", None),
        (Kind::P384, "ES384", "", None),
        (Kind::Ed25519, "EdDSA", "client_assertion_audience = \"issuer\"", None),
    ] {
        let folder = Folder::new();
        let file = folder.write("client.pem", &private_key(kind));
        let mut options = vec!["--alg", algorithm];
        options.extend(by_id.iter().flat_map(|id| ["--id", id]));
        let jwk = registered(&folder, &options);
        assert_eq!((&jwk["alg"], &jwk["use"]), (&json!(algorithm), &json!("sig")));
        let client = format!("token_endpoint_auth_method = \"private_key_jwt\"\nclient_key_file = \"{file}\"\n{keys}");
        let broker = Broker::with(Setup { client, ..Setup::default() }).await;
        broker.signed_in().await;
        broker.signed_in().await;
        let requests = broker.idp.received("/token");
        let mut seen = Vec::new();
        for request in &requests {
            assert!(!request.headers.contains_key("authorization") && !request.form.contains_key("client_secret"));
            assert_eq!(request.form["client_assertion_type"], "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
            assert_eq!(request.form["client_id"], "backoffice");
            let (header, claims) = verified(&request.form["client_assertion"], &jwk);
            assert_eq!(header.kid.as_deref(), jwk["kid"].as_str());
            assert_eq!(by_id.unwrap_or(jwk["kid"].as_str().unwrap()), jwk["kid"].as_str().unwrap());
            assert_eq!((&claims["iss"], &claims["sub"]), (&json!("backoffice"), &json!("backoffice")));
            let at_endpoint = keys.contains("token_endpoint");
            let audience = if at_endpoint { format!("{}/token", broker.idp.issuer()) } else { broker.idp.issuer() };
            assert_eq!(claims["aud"], json!(audience));
            let (issued, expires) = (claims["iat"].as_i64().unwrap(), claims["exp"].as_i64().unwrap());
            assert!((0..=60).contains(&(expires - issued)), "it is good for a minute");
            seen.push(claims["jti"].as_str().unwrap().to_owned());
        }
        assert!(seen.len() == 2 && seen[0] != seen[1] && seen[0].len() >= 16, "{seen:?}");
    }
}

/// R-C01
#[tokio::test]
async fn a_public_client_names_itself_in_the_form_and_proves_nothing() {
    let client = "token_endpoint_auth_method = \"none\"".to_owned();
    let broker = Broker::with(Setup { client, ..Setup::default() }).await;
    broker.signed_in().await;
    let request = broker.idp.received("/token").remove(0);
    assert!(!request.headers.contains_key("authorization"));
    assert_eq!(request.form["client_id"], "backoffice");
    assert!(!request.form.contains_key("client_secret") && !request.form.contains_key("client_assertion"));
}

/// R-C14, R-Q02; oidcc-client-test-mtls-endpoint-aliases: RFC 8705 2 and 5; one line a case.
#[tokio::test]
async fn mutual_tls_shows_the_certificate_at_the_addresses_that_are_for_it() {
    let folder = Folder::new();
    make_certificates(&folder);
    let file = |name: &str| folder.path().join(name).display().to_string();
    let certificate = format!(
        "ca_file = \"{}\"\ntls_client_cert_file = \"{}\"\ntls_client_key_file = \"{}\"\n",
        file("ca.crt"),
        file("client.crt"),
        file("client.key")
    );
    let secret = format!("ca_file = \"{}\"\nclient_secret = \"x\"", file("ca.crt"));
    for (through_tls, client) in [
        (true, format!("{certificate}token_endpoint_auth_method = \"tls_client_auth\"")),
        (true, format!("{certificate}token_endpoint_auth_method = \"self_signed_tls_client_auth\"")),
        (true, format!("{certificate}client_secret = \"x\"")),
        (false, secret),
    ] {
        let setup = Setup { client: client.clone(), ..Setup::default() };
        let idp = ScriptedIdp::start(setup.clock.clone()).await;
        let front = end_tls(folder.path(), true, idp.address()).await;
        let alias = |path: &str| format!("https://{front}/{path}");
        idp.behave(Script {
            metadata: set(json!({
                "pushed_authorization_request_endpoint": format!("{}/par", idp.issuer()),
                "mtls_endpoint_aliases": {
                    "token_endpoint": alias("token"), "userinfo_endpoint": alias("userinfo"),
                    "pushed_authorization_request_endpoint": alias("par"), "authorization_endpoint": alias("authorize"),
                },
            })),
            ..Script::default()
        });
        let broker = Broker::with_provider(setup, idp).await;
        broker.signed_in().await;
        let expected = if through_tls { front } else { broker.idp.address() }.to_string();
        for path in ["/par", "/token", "/userinfo"] {
            let request = broker.idp.received(path).remove(0);
            assert_eq!(request.headers["host"].to_str().unwrap(), expected, "{path} {client}");
            if path != "/userinfo" && client.contains("tls_client_auth") {
                assert_eq!(request.form["client_id"], "backoffice");
                assert!(!request.headers.contains_key("authorization"));
            }
        }
        let authorize = broker.idp.received("/authorize").remove(0);
        assert_eq!(authorize.headers["host"].to_str().unwrap(), broker.idp.address().to_string());
    }
}

/// R-P10, R-F02: one line a case.
#[tokio::test]
async fn only_the_configured_authority_is_believed_and_without_one_the_systems() {
    let (folder, stranger) = (Folder::new(), Folder::new());
    make_certificates(&folder);
    make_certificates(&stranger);
    let authority = |folder: &Folder| format!("ca_file = \"{}\"", folder.path().join("ca.crt").display());
    for (expected, wants_certificate, more) in [
        (303, false, authority(&folder)),
        (503, false, authority(&stranger)),
        (503, false, String::new()),
        (503, true, authority(&folder)),
    ] {
        let clock = Setup::default().clock;
        let idp = ScriptedIdp::start(clock.clone()).await;
        let front = end_tls(folder.path(), wants_certificate, idp.address()).await;
        let keys = format!("token_endpoint = \"https://{front}/token\"\n{more}");
        let broker = Broker::with_provider(Setup { idp: keys, clock, ..Setup::default() }, idp).await;
        let browser = broker.browser();
        let landed = broker.sign_in(&browser, "/").await;
        assert_eq!(landed.status.as_u16(), expected, "{more}: {}", landed.body);
        assert_eq!(broker.idp.received("/token").len(), usize::from(expected == 303), "no secret goes to a stranger");
        assert_eq!(browser.cookie(SESSION).is_some(), expected == 303);
    }
}

/// R-F02
#[tokio::test]
async fn endpoints_can_be_given_in_place_of_a_document() {
    let clock = Setup::default().clock;
    let idp = ScriptedIdp::start(clock.clone()).await;
    let at = |path: &str| format!("{}/{path}", idp.issuer());
    let keys = format!(
        "discovery = false\nauthorization_endpoint = \"{}\"\ntoken_endpoint = \"{}\"\njwks_uri = \"{}\"\n",
        at("authorize?x=1"),
        at("token"),
        at("jwks"),
    );
    let broker = Broker::with_provider(Setup { idp: keys, clock, ..Setup::default() }, idp).await;
    let start = broker.browser().visit(&format!("{PUBLIC}/sso/login")).send().await;
    assert!(start.location().starts_with(&format!("{}/authorize?x=1&response_type=code", broker.idp.issuer())));
    broker.signed_in().await;
    assert!(broker.idp.received("/.well-known/openid-configuration").is_empty());
    assert!(broker.idp.received("/userinfo").is_empty(), "what is not named is not there");
}

/// R-P07, R-C14: one line a case.
#[test]
fn means_of_proof_that_do_not_fit_are_faults_by_name() {
    let folder = Folder::new();
    let key = folder.write("p256.pem", &private_key(Kind::P256));
    let rsa = folder.write("rsa.pem", &private_key(Kind::Rsa));
    let junk = folder.write("junk.pem", "CANARY");
    make_certificates(&folder);
    let file = |name: &str| folder.path().join(name).display().to_string();
    let by_key = format!("token_endpoint_auth_method = \"private_key_jwt\"\nclient_key_file = \"{key}\"\n");
    for (fault, client) in [
        ("", by_key.clone()),
        ("client_key_alg", format!("{by_key}client_key_alg = \"HS256\"")),
        ("client_key_file", format!("{by_key}client_key_alg = \"RS256\"")),
        ("client_assertion_audience", format!("{by_key}client_assertion_audience = \"both\"")),
        ("client_key_file", by_key.replace(&key, &junk)),
        ("client_key_file", by_key.replace(&key, "/nonexistent")),
        ("client_key_file", "token_endpoint_auth_method = \"private_key_jwt\"".into()),
        ("token_endpoint_auth_method", format!("{by_key}client_secret = \"x\"")),
        ("token_endpoint_auth_method", "token_endpoint_auth_method = \"client_secret_jwt\"\nclient_secret = \"x\"".into()),
        ("client_key_file", "client_secret = \"x\"\nrequest_object = true".into()),
        ("tls_client_cert_file", "token_endpoint_auth_method = \"tls_client_auth\"".into()),
        ("tls_client_key_file", format!("client_secret = \"x\"\ntls_client_cert_file = \"{}\"", file("client.crt"))),
        (
            "tls_client_cert_file",
            format!("client_secret = \"x\"\ntls_client_cert_file = \"{}\"\ntls_client_key_file = \"{}\"", file("client.crt"), file("server.key")),
        ),
        ("ca_file", format!("client_secret = \"x\"\nca_file = \"{junk}\"")),
        ("ca_file", "client_secret = \"x\"\nca_file = \"/nonexistent\"".into()),
        ("dpop_key_file", format!("client_secret = \"x\"\ndpop = true\ndpop_key_file = \"{rsa}\"")),
        ("dpop_key_file", format!("client_secret = \"x\"\ndpop_key_file = \"{key}\"")),
        ("pushed_authorization_requests", "client_secret = \"x\"\npushed_authorization_requests = \"maybe\"".into()),
        ("token_endpoint", "client_secret = \"x\"\ntoken_endpoint = \"http://idp.example.com/\"".into()),
        ("jwks_uri", "client_secret = \"x\"\ndiscovery = false\nauthorization_endpoint = \"https://a.example/\"\ntoken_endpoint = \"https://a.example/\"".into()),
        ("authorization_endpoint", "client_secret = \"x\"\nauthorization_endpoint = \"https://a.example/?state=1\"".into()),
    ] {
        let faults = faults_of_provider(&client);
        let expected: Vec<_> = [fault].into_iter().filter(|fault| !fault.is_empty()).map(|fault| format!("idp.company.{fault}")).collect();
        assert_eq!(faults.keys().cloned().collect::<Vec<_>>(), expected, "{client}: {faults:?}");
        assert!(faults.values().all(|problem| !problem.contains("CANARY")));
    }
}
