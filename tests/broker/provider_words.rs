//! The reasons that a provider gives: in the log and the audit trail, and nowhere else.
//!
//! The members of the kind were found by reading every place where an answer's status is looked at, and the documents
//! of the presets' providers; that no page shows a word of them, and no log a secret that they repeat, by letting each
//! place repeat what it was sent.

use std::sync::Arc;

use serde_json::json;

use crate::support::scripted_idp::{Misbehaviour, REFRESH_TOKEN, Script, change, set};
use crate::support::witness::Witness;

const JSON: (&str, &str) = ("content-type", "application/json");
const HTML: (&str, &str) = ("content-type", "text/html");

/// A provider that takes pushed requests, and tokens back.
fn with_endpoints() -> Script {
    let metadata = change(|metadata| {
        let issuer = metadata["issuer"].as_str().unwrap().to_owned();
        metadata["pushed_authorization_request_endpoint"] = json!(format!("{issuer}/par"));
        metadata["revocation_endpoint"] = json!(format!("{issuer}/revoke"));
    });
    Script { metadata, ..Script::default() }
}

/// R-O01, R-O02; RFC 6749 5.2, RFC 6750 3, RFC 9126 2.3: one line a place and a manner of speaking.
#[tokio::test(flavor = "multi_thread")]
async fn the_reason_that_a_provider_gives_is_logged_and_on_no_page() {
    let at_token =
        |status, header, body| Script { at_token: Misbehaviour::Repeat(status, header, body), ..Script::default() };
    let at_userinfo =
        |status, header, body| Script { at_userinfo: Misbehaviour::Repeat(status, header, body), ..Script::default() };
    let of_browser = |error: &'static str, description: &'static str| Script {
        authorization_answer: Some(Arc::new(move |answer| {
            let said = |name: &str| answer.iter().find(|(known, _)| known == name).unwrap().1.clone();
            let description = description.replace("{state}", &said("state")).replace("{code}", &said("code"));
            answer.push(("error".into(), error.into()));
            answer.push(("error_description".into(), description));
            answer.push(("error_uri".into(), "https://idp.test/why".into()));
        })),
        ..Script::default()
    };
    let witness = Witness::start("", Script::default()).await;
    for (script, written) in [
        (
            at_token(
                401,
                JSON,
                r#"{"error":"invalid_client","error_description":"UNIQUE-1 {code} {code_verifier} {authorization}"}"#,
            ),
            "invalid_client (it may be about client_id, client_secret, token_endpoint_auth_method); \
             the provider says: 'UNIQUE-1 [redacted] [redacted] Basic [redacted]'",
        ),
        (
            at_token(
                400,
                JSON,
                r#"{"error":"odd_code","error_description":"UNIQUE-2","error_uri":"https://x.test/1"}"#,
            ),
            "another error; the provider says: odd_code 'UNIQUE-2' <https://x.test/1>",
        ),
        (
            at_token(200, JSON, r#"{"error":"incorrect_client_credentials","error_description":"UNIQUE-3"}"#),
            "incorrect_client_credentials (it may be about client_id, client_secret, token_endpoint_auth_method); \
             the provider says: 'UNIQUE-3'",
        ),
        (at_token(200, JSON, r#"{"ok":false,"error":"UNIQUE-4"}"#), "another error; the provider says: UNIQUE-4"),
        (
            at_token(400, JSON, r#"{"error":{"message":"UNIQUE-5 {code}","type":"OAuthException","code":190}}"#),
            "the token endpoint failed: it answered with status 400; the provider says: 190 'UNIQUE-5 [redacted]'",
        ),
        (at_token(200, JSON, r#"{"error":{"message":"UNIQUE-6","code":"x"}}"#), "; the provider says: x 'UNIQUE-6'"),
        (at_token(404, HTML, "<h1>UNIQUE-7</h1>"), "the token endpoint failed: it answered with status 404"),
        (at_token(503, JSON, r#"{"error_description":"UNIQUE-8"}"#), "status 503; the provider says: 'UNIQUE-8'"),
        (
            at_userinfo(
                401,
                (
                    "www-authenticate",
                    r#"Bearer error="invalid_token", error_description="UNIQUE-9: {authorization} not allowed""#,
                ),
                "",
            ),
            "the userinfo endpoint failed: it answered with status 401; the provider says: invalid_token \
             'UNIQUE-9: Bearer [redacted] not allowed'",
        ),
        (
            at_userinfo(403, JSON, r#"{"message":"UNIQUE-10"}"#),
            "the userinfo endpoint failed: it answered with status 403; the provider says: 'UNIQUE-10'",
        ),
        (
            at_userinfo(200, JSON, r#"{"ok":false,"error":"UNIQUE-11"}"#),
            "the userinfo endpoint refused; the provider says: UNIQUE-11",
        ),
        (
            of_browser("access_denied", "UNIQUE-12: AADSTS50105 {state} {code}"),
            "the provider refused: access_denied; the browser brought: access_denied \
             'UNIQUE-12: AADSTS50105 [redacted] [redacted]' <https://idp.test/why>",
        ),
        (
            of_browser("UNIQUE-13", "x\r\nforged"),
            "the provider answered with another error; the browser brought: UNIQUE-13 'x  forged'",
        ),
        (
            of_browser("invalid_scope", "UNIQUE-14 [foo]"),
            "registration right?; the browser brought: invalid_scope 'UNIQUE-14 [foo]'",
        ),
    ] {
        witness.idp.behave(script);
        let page = witness.sign_in().await;
        assert!(page.status.is_client_error() || page.status.is_server_error(), "{}", page.status);
        assert!(!page.body.contains("UNIQUE") && !page.body.contains("AADSTS"), "{}", page.body);
        let said = witness.program.wait_for(written);
        assert!(!said.contains("CANARY-c") && !said.contains("CANARY-a"), "{said}");
    }
}

/// R-O01: one line a place that refuses with status 200 and repeats a token: the one that it was sent, the one that it
/// sends. Found by following every word of a provider to where what must not be read is taken out of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_with_status_200_brings_no_token_into_the_log() {
    let witness = Witness::start("", Script::default()).await;
    let sent = r#"{"error":"x","error_description":"UNIQUE-1 token {authorization} is not valid"}"#;
    let issued = r#"{"error":"odd","error_description":"UNIQUE-2 CANARY-a-new","access_token":"CANARY-a-new"}"#;
    for (script, written) in [
        (
            Script { at_userinfo: Misbehaviour::Repeat(200, JSON, sent), ..Script::default() },
            "the userinfo endpoint refused; the provider says: x 'UNIQUE-1 token Bearer [redacted] is not valid'",
        ),
        (
            Script { at_token: Misbehaviour::Repeat(200, JSON, issued), ..Script::default() },
            "another error; the provider says: odd 'UNIQUE-2 [redacted]'",
        ),
    ] {
        witness.idp.behave(script);
        assert_eq!(witness.sign_in().await.status, 502);
        let said = witness.program.wait_for(written);
        assert!(!said.contains("CANARY-a"), "{said}");
    }
}

/// R-O01, R-J06; RFC 7009 2.2.1, RFC 9126 2.3: one line a manner of speaking.
#[tokio::test(flavor = "multi_thread")]
async fn the_reason_is_logged_of_pushed_requests_renewals_and_tokens_given_back() {
    let witness = Witness::start("", with_endpoints()).await;
    for (status, header, body, written) in [
        (
            400,
            JSON,
            r#"{"error":"invalid_scope","error_description":"UNIQUE-1 Unrecognized scope(s) [foo] {state} {nonce}"}"#,
            "was refused: invalid_scope (it may be about scopes); the provider says: 'UNIQUE-1 Unrecognized scope(s) [foo] [redacted] [redacted]'",
        ),
        (
            401,
            JSON,
            r#"{"error":"invalid_client","error_description":"UNIQUE-2 {authorization}"}"#,
            "invalid_client (it may be about client_id, client_secret, token_endpoint_auth_method); the provider says: 'UNIQUE-2 Basic [redacted]'",
        ),
        (400, JSON, r#"{"error":"UNIQUE-3"}"#, "another error; the provider says: UNIQUE-3"),
        (404, HTML, "UNIQUE-4", "the pushed authorization request failed: it answered with status 404"),
        (503, ("content-type", "text/plain"), "UNIQUE-5", "it answered with status 503; the provider says: 'UNIQUE-5'"),
    ] {
        witness.idp.behave(Script { at_pushed: Misbehaviour::Repeat(status, header, body), ..Script::default() });
        let page = witness.sign_in().await;
        assert!(page.status.as_u16() >= 500 && !page.body.contains("UNIQUE"), "{} {}", page.status, page.body);
        witness.program.wait_for(written);
    }
    // Expired at once: the next page renews it.
    let refusal = r#"{"error":"invalid_grant","error_description":"UNIQUE-6 {refresh_token}"}"#;
    let expired = Script { token_answer: set(json!({ "expires_in": 0 })), ..Script::default() };
    witness.idp.behave(Script { at_refresh: Misbehaviour::Repeat(400, JSON, refusal), ..expired });
    assert_eq!(witness.sign_in().await.status, 303);
    let page = witness.browser.visit(&format!("{}/page", witness.public)).send().await;
    assert!(!page.body.contains("UNIQUE"), "{}", page.body);
    let said = witness.program.wait_for("invalid_grant; the provider says: 'UNIQUE-6 [redacted]'");
    assert!(said.contains("renewal_refused") && !said.contains(REFRESH_TOKEN), "{said}");

    let refusal = r#"{"error":"unsupported_token_type","error_description":"UNIQUE-7 {token}"}"#;
    witness.idp.behave(Script { at_revoke: Misbehaviour::Repeat(400, JSON, refusal), ..Script::default() });
    assert_eq!(witness.sign_in().await.status, 303);
    witness.sign_out().await;
    let said = witness.program.wait_for("unsupported_token_type 'UNIQUE-7 [redacted]'");
    assert!(!said.contains("CANARY"), "{said}");
}
