//! Tokens that are bound to a key of the broker's (RFC 9449), as a provider sees it.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use counterfoil::clock::Clock;
use jsonwebtoken::jwk::{Jwk, ThumbprintHash};
use serde_json::{Value, json};

use crate::support::broker::{Broker, PUBLIC, SESSION, Setup};
use crate::support::keys::{Kind, private_key, verified_proof};
use crate::support::program::Folder;
use crate::support::scripted_idp::{ACCESS_TOKEN, Misbehaviour, Received, Script, payload_of, set};

async fn broker(keys: &str) -> Broker {
    Broker::with(Setup { idp: format!("dpop = true\n{keys}"), ..Setup::default() }).await
}

fn proof(request: &Received) -> (Value, Value) {
    assert_eq!(request.headers.get_all("dpop").iter().count(), 1);
    verified_proof(request.headers["dpop"].to_str().unwrap())
}

/// R-C04, R-E01: RFC 9449 4.2, 5, 7.1.
#[tokio::test]
async fn every_request_proves_the_key_for_itself_alone() {
    let broker = broker("").await;
    let userinfo = format!("{}/userinfo?x=1", broker.idp.issuer());
    let metadata = set(json!({ "userinfo_endpoint": userinfo }));
    broker.idp.behave(Script { metadata, ..Script::default() });
    broker.signed_in().await;
    broker.signed_in().await;
    let (mut names, mut keys) = (Vec::new(), Vec::new());
    for (method, path) in [("POST", "/token"), ("GET", "/userinfo")] {
        for request in broker.idp.received(path) {
            let (key, claims) = proof(&request);
            assert_eq!(request.method, method);
            assert_eq!(
                (&claims["htm"], &claims["htu"]),
                (&json!(method), &json!(format!("{}{path}", broker.idp.issuer())))
            );
            assert_eq!(claims["iat"], json!(broker.clock.now().unix_timestamp()));
            assert!(claims.get("nonce").is_none());
            names.push(claims["jti"].as_str().unwrap().to_owned());
            keys.push(key);
        }
    }
    let first = broker.idp.received("/userinfo").remove(0);
    assert_eq!(first.headers["authorization"].to_str().unwrap(), format!("DPoP {ACCESS_TOKEN}"));
    let hash = URL_SAFE_NO_PAD.encode(digest(&SHA256, ACCESS_TOKEN.as_bytes()));
    assert_eq!(proof(&first).1["ath"], json!(hash));
    assert!(proof(&broker.idp.received("/token")[0]).1.get("ath").is_none());
    names.sort();
    names.dedup();
    assert_eq!((names.len(), keys.len()), (4, 4), "no name is used twice");
    assert!(keys.iter().all(|key| *key == keys[0]));
}

/// R-C14: RFC 9449 8, 9.
#[tokio::test]
async fn a_nonce_that_is_demanded_is_brought_and_everything_is_proven_anew() {
    let folder = Folder::new();
    let file = folder.write("client.pem", &private_key(Kind::P256));
    let client = format!("token_endpoint_auth_method = \"private_key_jwt\"\nclient_key_file = \"{file}\"");
    let broker = Broker::with(Setup { client, idp: "dpop = true".into(), ..Setup::default() }).await;
    for (nonce, tries) in [("n-1", 2), ("n-1", 1), ("n-2", 2)] {
        broker.idp.behave(Script { dpop_nonce: Some(nonce), ..Script::default() });
        broker.idp.forget_requests();
        broker.signed_in().await;
        let requests = broker.idp.received("/token");
        assert_eq!(requests.len(), tries, "{nonce}");
        assert_eq!(proof(requests.last().unwrap()).1["nonce"], json!(nonce));
        assert_eq!(broker.idp.received("/userinfo").len(), 1, "the server's nonce is known by then");
        if let [first, second] = requests.as_slice() {
            assert_eq!(first.form["code"], second.form["code"], "it was not used up");
            assert_ne!(proof(first).1["jti"], proof(second).1["jti"]);
            let name = |request: &Received| payload_of(&request.form["client_assertion"])["jti"].clone();
            assert_ne!(name(first), name(second));
        }
    }
}

/// RFC 9449 9: the userinfo endpoint asks for a nonce of its own, and of the token endpoint none was ever asked.
#[tokio::test]
async fn a_nonce_that_userinfo_demands_is_brought_there() {
    let broker = broker("").await;
    let browser = broker.browser();
    let callback = broker.reach_callback(&browser, "/").await;
    broker.idp.behave(Script { dpop_nonce: Some("n-1"), dpop_nonce_at: Some("/userinfo"), ..Script::default() });
    let landed = browser.visit(&callback).send().await;
    assert_eq!((landed.status.as_u16(), broker.idp.received("/token").len()), (303, 1), "{}", landed.body);
    let asked: Vec<_> = broker.idp.received("/userinfo").iter().map(|asked| proof(asked).1).collect();
    assert_eq!(asked.iter().map(|proof| proof.get("nonce")).collect::<Vec<_>>(), [None, Some(&json!("n-1"))]);
    assert_ne!(asked[0]["jti"], asked[1]["jti"]);
}

/// R-C04, R-C08: one line a case.
#[tokio::test]
async fn a_demand_that_cannot_be_met_and_tokens_that_are_not_bound_fail_the_login() {
    let demand = "{\"error\":\"use_dpop_nonce\"}";
    let answering = |members: Value| Script { token_answer: set(members), ..Script::default() };
    let at_token = |at_token| Script { at_token, ..Script::default() };
    for (expected, tries, keys, script) in [
        (303, 1, "dpop = true", answering(json!({ "token_type": "dpop" }))),
        (303, 1, "dpop = true", answering(json!({ "token_type": "DPOP" }))),
        (502, 1, "dpop = true", answering(json!({ "token_type": "Bearer" }))),
        (502, 1, "dpop = true", answering(json!({ "token_type": null }))),
        (502, 1, "dpop = false", answering(json!({ "token_type": "DPoP" }))),
        (502, 1, "dpop = true", at_token(Misbehaviour::Answer(400, "application/json", demand))),
        (
            502,
            1,
            "dpop = true",
            at_token(Misbehaviour::Answer(400, "application/json", "{\"error\":\"invalid_dpop_proof\"}")),
        ),
        (
            502,
            1,
            "dpop = false",
            Script {
                dpop_nonce: Some("n"),
                at_token: Misbehaviour::Answer(400, "application/json", demand),
                ..Script::default()
            },
        ),
    ] {
        let broker = Broker::with(Setup { idp: keys.into(), ..Setup::default() }).await;
        broker.idp.behave(script);
        let browser = broker.browser();
        let landed = broker.sign_in(&browser, "/").await;
        assert_eq!(landed.status.as_u16(), expected, "{keys}: {}", landed.body);
        assert_eq!(broker.idp.received("/token").len(), tries);
        assert_eq!(browser.cookie(SESSION).is_some(), expected == 303);
    }
}

/// RFC 9449 10: only where every replica has the key.
#[tokio::test]
async fn a_shared_key_binds_the_code_as_well() {
    let folder = Folder::new();
    let file = folder.write("dpop.pem", &private_key(Kind::P256));
    let broker = broker(&format!("dpop_key_file = \"{file}\"")).await;
    let start = broker.browser().visit(&format!("{PUBLIC}/sso/login")).send().await;
    broker.signed_in().await;
    let (key, _) = proof(&broker.idp.received("/token")[0]);
    let key: Jwk = serde_json::from_value(key).unwrap();
    let bound = format!("&dpop_jkt={}", key.thumbprint(ThumbprintHash::SHA256).unwrap());
    assert!(start.location().contains(&bound), "{}", start.location());

    let broker = self::broker("").await;
    let start = broker.browser().visit(&format!("{PUBLIC}/sso/login")).send().await;
    assert!(!start.location().contains("dpop_jkt"));
}

/// R-C12: a refused DPoP proof at userinfo says nothing of the person; a refused token does.
#[tokio::test]
async fn a_proof_that_userinfo_refuses_ends_no_session() {
    let folder = Folder::new();
    let file = folder.write("dpop.pem", &private_key(Kind::P256));
    let broker = broker(&format!("dpop_key_file = \"{file}\"\nrefresh = \"5m\"\nrefresh_wait = \"1m\"")).await;
    let refuses = |headers| Script { at_userinfo: Misbehaviour::Refuse(401, headers), ..Script::default() };
    for (status, headers) in [
        (200, [("www-authenticate", "DPoP error=\"invalid_dpop_proof\""), ("dpop-nonce", "n")].as_slice()),
        (200, [("www-authenticate", "DPoP error=\"use_dpop_nonce\""), ("dpop-nonce", "n")].as_slice()),
        (401, [("www-authenticate", "DPoP error=\"invalid_token\"")].as_slice()),
    ] {
        broker.idp.behave(Script::default());
        let browser = broker.signed_in().await;
        broker.clock.advance(time::Duration::minutes(5));
        broker.idp.behave(refuses(headers));
        let answer = browser.get("/x").await;
        assert_eq!(answer.status, status, "{headers:?}");
        broker.clock.advance(time::Duration::seconds(11));
    }
}
