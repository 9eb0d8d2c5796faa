//! How the broker proves to a provider who it is, by every method; and whom it believes on the connection.

use serde_json::{Value, json};

use crate::support::broker::{Broker, Setup};
use crate::support::keys::{Kind, private_key, verified};
use crate::support::program::{Folder, counterfoil, run};

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
