//! The relying-party modules of the OpenID Foundation's conformance suite, one line each.
//!
//! The suite itself is a web application of others that needs the internet; what each module makes the provider do, and
//! what it expects of a relying party, is done here by the scripted provider. Modules for what this product does not
//! offer are named with the reason.

use serde_json::{Value, json};

use crate::support::broker::{Broker, HOST, PUBLIC, SESSION, Setup};
use crate::support::browser::{Answer, Browser};
use crate::support::scripted_idp::{LOGOUT_EVENT, Misbehaviour, Script, change, set};

/// How the answer comes to the browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Query,
    FormPost,
}

/// What is expected of a login.
enum Expected {
    /// A session.
    SignedIn,
    /// No session, and userinfo was not asked.
    Stopped,
    /// No session, although userinfo was asked.
    UserinfoRefused,
}
use Expected::{SignedIn, Stopped, UserinfoRefused};

/// A module's name, what it expects, and what the provider does in it.
type Module = (&'static str, Expected, fn() -> Script);

/// Makes a logout token out of claims.
type Make<'a> = &'a dyn Fn(&Broker, Value) -> String;

/// Two keys of one kind, none of them named.
fn two_keys_without_names() -> Script {
    let jwks = change(|document| {
        let mut keys = document["keys"].as_array().unwrap().clone();
        keys[0].as_object_mut().unwrap().remove("kid");
        let mut other = keys[0].clone();
        let modulus = other["n"].as_str().unwrap().replace(['A', 'B'], "C");
        other["n"] = json!(modulus);
        document["keys"] = json!([other, keys[0]]);
    });
    Script { id_token_header: set(json!({ "kid": null })), jwks, ..Script::default() }
}

fn flipped() -> Script {
    let flip = |token: String| {
        let (message, signature) = token.rsplit_once('.').unwrap();
        let first = if signature.starts_with('A') { 'B' } else { 'A' };
        format!("{message}.{first}{}", &signature[1..])
    };
    Script { id_token: Some(std::sync::Arc::new(flip)), ..Script::default() }
}

fn unsigned() -> Script {
    let strip = |token: String| format!("{}.", token.rsplit_once('.').unwrap().0);
    Script { id_token: Some(std::sync::Arc::new(strip)), ..Script::header(json!({ "alg": "none", "kid": null })) }
}

/// The provider's answer sends the browser on; the landing.
async fn sign_in(broker: &Broker, browser: &Browser, mode: Mode) -> Answer {
    match mode {
        Mode::Query => broker.sign_in(browser, "/orders").await,
        Mode::FormPost => {
            let (action, fields) = broker.reach_form(browser, "/orders").await;
            let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            browser.submit(&action, &fields).sent_by_another_site().send().await
        }
    }
}

async fn broker_with(keys: &str, mode: Mode) -> Broker {
    let response_mode = if mode == Mode::FormPost { "response_mode = \"form_post\"\n" } else { "" };
    Broker::with(Setup { idp: format!("{keys}\n{response_mode}"), ..Setup::default() }).await
}

/// Plans "Basic RP" and "Form Post RP" (the same modules again), and what FAPI 2.0 asks of any client.
/// R-B04, R-C04, R-C05, R-C06, R-D01 to R-D12, R-E02
#[tokio::test]
async fn every_module_of_the_basic_and_the_form_post_plan_is_passed() {
    let basic: Vec<Module> = vec![
        ("oidcc-client-test", SignedIn, Script::default),
        ("oidcc-client-test-client-secret-basic", SignedIn, Script::default),
        ("oidcc-client-test-idtoken-sig-rs256", SignedIn, Script::default),
        ("oidcc-client-test-idtoken-sig-none", Stopped, unsigned),
        ("oidcc-client-test-invalid-iss", Stopped, || {
            Script::claims(json!({ "iss": "https://idp.example.test/other" }))
        }),
        ("oidcc-client-test-missing-sub", Stopped, || Script::claims(json!({ "sub": null }))),
        ("oidcc-client-test-invalid-aud", Stopped, || Script::claims(json!({ "aud": "someone-else" }))),
        ("oidcc-client-test-missing-aud", Stopped, || Script::claims(json!({ "aud": null }))),
        ("oidcc-client-test-missing-iat", Stopped, || Script::claims(json!({ "iat": null }))),
        ("oidcc-client-test-kid-absent-single-jwks", SignedIn, || Script::header(json!({ "kid": null }))),
        ("oidcc-client-test-kid-absent-multiple-jwks", SignedIn, two_keys_without_names),
        ("oidcc-client-test-invalid-sig-rs256", Stopped, flipped),
        ("oidcc-client-test-invalid-sig-es256", Stopped, || Script::header(json!({ "alg": "ES256" }))),
        ("oidcc-client-test-invalid-sig-hs256", Stopped, || Script::header(json!({ "alg": "HS256", "kid": null }))),
        ("oidcc-client-test-userinfo-invalid-sub", UserinfoRefused, || Script {
            userinfo: set(json!({ "sub": "somebody-else" })),
            ..Script::default()
        }),
        ("oidcc-client-test-nonce-invalid", Stopped, || Script::claims(json!({ "nonce": "another" }))),
        ("oidcc-client-test-invalid-athash", Stopped, || {
            Script::claims(json!({ "at_hash": "AAAAAAAAAAAAAAAAAAAAAA" }))
        }),
        ("fapi2-…-invalid-missing-aud", Stopped, || Script::claims(json!({ "aud": [] }))),
        ("fapi2-…-invalid-secondary-aud", Stopped, || Script::claims(json!({ "aud": ["backoffice", "other"] }))),
        ("fapi2-…-valid-aud-as-array", SignedIn, || Script::claims(json!({ "aud": ["backoffice"] }))),
        ("fapi2-…-invalid-missing-iss", Stopped, || Script::claims(json!({ "iss": null }))),
        ("fapi2-…-invalid-missing-exp", Stopped, || Script::claims(json!({ "exp": null }))),
        ("fapi2-…-invalid-expired-exp", Stopped, || Script::claims(json!({ "exp": 1_600_000_000 }))),
        ("fapi2-…-invalid-missing-nonce", Stopped, || Script::claims(json!({ "nonce": null }))),
        ("fapi2-…-invalid-alternate-alg", Stopped, || Script::header(json!({ "alg": "PS256" }))),
        ("fapi2-…-token-type-case-insensitivity", SignedIn, || Script {
            token_answer: set(json!({ "token_type": "bEARER" })),
            ..Script::default()
        }),
        ("fapi2-…-token-endpoint-response-without-expires_in", SignedIn, || Script {
            token_answer: set(json!({ "expires_in": null })),
            ..Script::default()
        }),
        ("fapi1-…-iat-is-week-in-past", Stopped, || Script::claims(json!({ "iat": 1_700_000_000 }))),
    ];
    for mode in [Mode::Query, Mode::FormPost] {
        for (module, expected, script) in &basic {
            let broker = broker_with("", mode).await;
            broker.idp.behave(script());
            let browser = broker.browser();
            let landed = sign_in(&broker, &browser, mode).await;
            let (signed_in, asked) = match expected {
                SignedIn => (true, 1),
                Stopped => (false, 0),
                UserinfoRefused => (false, 1),
            };
            assert_eq!(landed.location() == "/orders", signed_in, "{module} {mode:?}: {}", landed.body);
            assert_eq!(browser.cookie(SESSION).is_some(), signed_in, "{module} {mode:?}");
            assert_eq!(broker.idp.received("/userinfo").len(), asked, "{module} {mode:?}");
        }
    }
}

/// The modules that look at what is sent and used.
/// R-A01, R-A03, R-C01, R-E01
#[tokio::test]
async fn requests_and_claims_are_what_the_basic_plan_wants_to_see() {
    let broker =
        broker_with("scopes = [\"openid\", \"profile\", \"email\", \"phone\", \"address\"]", Mode::Query).await;
    broker.idp.behave(Script { userinfo: set(json!({ "name": "From Userinfo" })), ..Script::default() });
    let browser = broker.signed_in().await;
    let session = browser.session().await;
    assert_eq!(session["name"], "From Userinfo", "oidcc-client-test-scope-userinfo-claims");
    let asked = &broker.idp.received("/authorize")[0];
    assert!(
        asked.query.contains("scope=openid+profile+email+phone+address"),
        "oidcc-client-test-scope-userinfo-claims"
    );
    let userinfo = &broker.idp.received("/userinfo")[0];
    let bearer = userinfo.headers["authorization"].to_str().unwrap();
    assert!(bearer.starts_with("Bearer ") && userinfo.query.is_empty(), "oidcc-client-test-userinfo-bearer-header");
    let token = &broker.idp.received("/token")[0];
    let basic = token.headers["authorization"].to_str().unwrap();
    assert!(basic.starts_with("Basic "), "oidcc-client-test-client-secret-basic");
    assert!(!token.form.contains_key("client_secret"), "one method at a time");
}

/// Signed userinfo, and claims that other places hold: those are never fetched.
/// R-E03, R-F03
#[tokio::test]
async fn signed_userinfo_is_verified_and_claims_of_others_are_left_alone() {
    let userinfo = |broker: &Broker, claims: Value| {
        let mut payload = json!({ "iss": broker.idp.issuer(), "aud": "backoffice", "sub": "248289761001" });
        payload.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
        let token: &'static str = broker.idp.sign(json!({}), &payload).leak();
        Script { at_userinfo: Misbehaviour::Answer(200, "application/jwt", token), ..Script::default() }
    };
    for (module, claims, expected) in [
        ("oidcc-client-test-userinfo-signed", json!({ "name": "Signed" }), 303),
        ("oidcc-client-test-userinfo-signed, made for others", json!({ "aud": "someone-else" }), 502),
        ("oidcc-client-test-aggregated-claims", json!({ "_claim_sources": { "a": { "JWT": "x.y.z" } } }), 303),
    ] {
        let broker = Broker::start().await;
        broker.idp.behave(userinfo(&broker, claims));
        assert_eq!(broker.sign_in(&broker.browser(), "/").await.status, expected, "{module}");
    }
    let broker = Broker::start().await;
    let elsewhere = format!("{}/distributed", broker.idp.issuer());
    let sources = json!({ "_claim_names": { "groups": "a" }, "_claim_sources": { "a": { "endpoint": elsewhere } } });
    broker.idp.behave(Script { userinfo: set(sources), ..Script::default() });
    broker.signed_in().await;
    assert!(broker.idp.received("/distributed").is_empty(), "oidcc-client-test-distributed-claims");
}

/// Plan "Config RP".
/// R-D05, R-F01, R-F04
#[tokio::test]
async fn every_module_of_the_configuration_plan_is_passed() {
    let broker = Broker::start().await;
    broker.idp.behave(Script::metadata(json!({ "jwks_uri": format!("{}/jwks?of=this-run", broker.idp.issuer()) })));
    broker.signed_in().await;
    let discovery = broker.idp.received("/.well-known/openid-configuration");
    assert_eq!(discovery.len(), 1, "oidcc-client-test-discovery-openid-config");
    let keys = &broker.idp.received("/jwks")[0];
    assert_eq!(keys.query, "of=this-run", "oidcc-client-test-discovery-jwks-uri-keys");

    let broker = Broker::start().await;
    broker.idp.behave(Script::metadata(json!({ "issuer": "https://idp.example.test/mismatch" })));
    let start = broker.browser().visit(&format!("{PUBLIC}/sso/login")).send().await;
    assert_eq!(start.status, 502, "oidcc-client-test-discovery-issuer-mismatch");
    assert!(broker.idp.received("/authorize").is_empty(), "oidcc-client-test-discovery-issuer-mismatch");

    let broker = Broker::start().await;
    broker.signed_in().await;
    broker.idp.rotate_keys();
    broker.signed_in().await;
    assert_eq!(broker.idp.received("/jwks").len(), 2, "oidcc-client-test-signing-key-rotation");

    let broker = Broker::start().await;
    broker.signed_in().await;
    let browser = broker.browser();
    let callback = broker.reach_callback(&browser, "/").await;
    broker.idp.rotate_keys();
    let landed = browser.visit(&callback).send().await;
    assert_eq!(landed.status, 303, "oidcc-client-test-signing-key-rotation-just-before-signing");

    let broker = Broker::start().await;
    broker.idp.behave(unsigned());
    let landed = broker.sign_in(&broker.browser(), "/").await;
    assert_eq!(landed.status, 502, "oidcc-client-test-idtoken-sig-none (Config)");
}

/// Plan "Form Post RP", the module that is its own.
/// R-B06
#[tokio::test]
async fn an_error_that_is_posted_is_shown_and_ends_the_login() {
    let module = "oidcc-client-test-form-post-error";
    let broker = broker_with("", Mode::FormPost).await;
    broker.idp.behave(Script {
        authorization_answer: Some(std::sync::Arc::new(|answer| {
            answer.retain(|(name, _)| name != "code");
            answer.push(("error".into(), "login_required".into()));
        })),
        ..Script::default()
    });
    let browser = broker.browser();
    let (action, fields) = broker.reach_form(&browser, "/").await;
    let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let page = browser.submit(&action, &fields).sent_by_another_site().send().await;
    assert_eq!(page.status, 403, "{module}: {}", page.body);
    assert!(broker.idp.received("/token").is_empty() && browser.cookies().is_empty(), "{module}");
}

/// Answers to the browser, as FAPI 2.0 tests them.
/// R-B02, R-B04
#[tokio::test]
async fn answers_of_another_issuer_or_for_another_attempt_are_refused() {
    let changed = |name: &'static str, value: Option<&'static str>| Script {
        authorization_answer: Some(std::sync::Arc::new(move |answer| {
            answer.retain(|(known, _)| known != name);
            answer.extend(value.map(|value| (name.to_owned(), value.to_owned())));
        })),
        ..Script::default()
    };
    for (module, script) in [
        ("fapi2-…-invalid-authorization-response-iss", changed("iss", Some("https://evil.example"))),
        ("fapi2-…-remove-authorization-response-iss", changed("iss", None)),
        ("fapi2-…-ensure-authorization-response-with-invalid-state-fails", changed("state", Some("another"))),
        ("fapi2-…-ensure-authorization-response-with-invalid-missing-state-fails", changed("state", None)),
    ] {
        let broker = Broker::start().await;
        broker.idp.behave(script);
        let browser = broker.browser();
        let landed = broker.sign_in(&browser, "/").await;
        assert!(landed.status.is_client_error() || landed.status == 502, "{module}: {}", landed.status);
        assert!(broker.idp.received("/token").is_empty() && browser.cookie(SESSION).is_none(), "{module}");
    }
}

/// Plan "Back-Channel Logout RP".
/// R-J08, R-J09
#[tokio::test]
async fn every_module_of_the_back_channel_logout_plan_is_passed() {
    let honest = |broker: &Broker, claims: Value| broker.idp.logout_token(&claims);
    let unsigned = |broker: &Broker, _: Value| {
        let token = broker.idp.logout_token(&json!({}));
        let payload = token.split('.').nth(1).unwrap();
        format!("eyJhbGciOiJub25lIn0.{payload}.")
    };
    // By a key of another kind, which is published.
    let other_algorithm = |broker: &Broker, _: Value| {
        broker.idp.behave(Script { signing: jsonwebtoken::Algorithm::ES256, ..Script::default() });
        broker.idp.logout_token(&json!({}))
    };
    let wrong_event = json!({ "events": { "http://schemas.openid.net/event/foobar": {} } });
    let modules: [(&str, u16, Make<'_>, Value); 9] = [
        ("oidcc-client-test-rp-backchannel-rpinitlogout", 200, &honest, json!({})),
        ("oidcc-client-test-rp-backchannel-rpinitlogout-alg-none", 400, &unsigned, json!({})),
        ("oidcc-client-test-rp-backchannel-rpinitlogout-wrong-alg", 400, &other_algorithm, json!({})),
        ("oidcc-client-test-rp-backchannel-rpinitlogout-no-event", 400, &honest, json!({ "events": null })),
        ("oidcc-client-test-rp-backchannel-rpinitlogout-wrong-event", 400, &honest, wrong_event),
        ("oidcc-client-test-rp-backchannel-rpinitlogout-with-nonce", 400, &honest, json!({ "nonce": "n" })),
        (
            "oidcc-client-test-rp-backchannel-rpinitlogout-wrong-iss",
            400,
            &honest,
            json!({ "iss": "https://x.example" }),
        ),
        ("oidcc-client-test-rp-backchannel-rpinitlogout-wrong-aud", 400, &honest, json!({ "aud": "someone-else" })),
        ("…, a list of events that is none", 400, &honest, json!({ "events": [LOGOUT_EVENT] })),
    ];
    for (module, expected, make, claims) in modules {
        let broker = Broker::start().await;
        let browser = broker.signed_in().await;
        let token = make(&broker, claims);
        let address = format!("{PUBLIC}/sso/backchannel-logout/company");
        let answer = Browser::new([(HOST.to_owned(), broker.address)]);
        let answer = answer.submit(&address, &[("logout_token", &token)]).send().await;
        assert_eq!(answer.status, expected, "{module}: {}", answer.body);
        assert_eq!(answer.header("cache-control"), "no-store", "{module}");
        assert_eq!(broker.status(&browser).await == 200, expected == 400, "{module}");
    }
}

/// Plans "RP-Initiated Logout RP" and "Front-Channel Logout RP".
/// R-J03, R-J04, R-J14
#[tokio::test]
async fn every_module_of_the_rp_initiated_and_the_front_channel_plan_is_passed() {
    let module = "oidcc-client-test-rp-init-logout";
    let broker = broker_with("logout_id_token_hint = true", Mode::Query).await;
    let browser = broker.signed_in().await;
    let away = crate::support::sign_out::sign_out(&browser).await;
    let away = url::Url::parse(away.location()).unwrap();
    let sent = |name: &str| away.query_pairs().find(|(own, _)| own == name).map(|(_, value)| value.into_owned());
    let hint = crate::support::scripted_idp::payload_of(&sent("id_token_hint").expect(module));
    assert_eq!(hint["sub"], "248289761001", "{module}");
    assert_eq!(sent("post_logout_redirect_uri").unwrap(), format!("{PUBLIC}/sso/signed-out"), "{module}");
    let state = sent("state").expect(module);
    for (module, query) in [
        (module, format!("?state={state}")),
        ("oidcc-client-test-rp-init-logout-no-state", String::new()),
        ("oidcc-client-test-rp-init-logout-other-state", "?state=another".into()),
    ] {
        let landed = browser.visit(&format!("{PUBLIC}/sso/signed-out{query}")).send().await;
        assert_eq!(landed.status, 200, "{module}");
    }

    let issuer: String = url::form_urlencoded::byte_serialize(broker.idp.issuer().as_bytes()).collect();
    for module in ["oidcc-client-test-rp-frontchannel-rpinitlogout", "oidcc-client-test-rp-frontchannel-opinitlogout"] {
        // The last logout cut off whatever login was under way.
        broker.clock.advance(time::Duration::seconds(3));
        let browser = broker.signed_in().await;
        let address = format!("{PUBLIC}/sso/frontchannel-logout/company?iss={issuer}&sid=sid-1");
        let framed = browser.visit(&address).header("sec-fetch-dest", "iframe").send().await;
        assert_eq!((framed.status.as_u16(), framed.header("cache-control")), (200, "no-store"), "{module}");
        assert_eq!(broker.status(&browser).await, 401, "{module}");
    }
}

/// Plan "Refresh Token RP": a refreshed ID token of somebody else stops everything.
/// R-C13
#[tokio::test]
async fn every_module_of_the_refresh_plan_is_passed() {
    let with_claims = |claims: Value| Script { refresh_claims: set(claims), ..Script::default() };
    for (module, script, status, userinfo) in [
        ("oidcc-client-test-refresh-token", Script::default(), 200, 2),
        ("oidcc-client-test-refresh-token-invalid-issuer", with_claims(json!({ "iss": "https://x.example" })), 401, 1),
        ("oidcc-client-test-refresh-token-invalid-sub", with_claims(json!({ "sub": "somebody-else" })), 401, 1),
        ("fapi2-security-profile-final-client-refresh-token-test", Script::default(), 200, 2),
    ] {
        let broker = broker_with("refresh = \"5m\"\nrefresh_wait = \"1m\"", Mode::Query).await;
        let browser = broker.signed_in().await;
        broker.idp.behave(script);
        broker.clock.advance(time::Duration::minutes(6));
        assert_eq!(broker.status(&browser).await, status, "{module}");
        let refreshes =
            broker.idp.received("/token").into_iter().filter(|asked| asked.form["grant_type"] == "refresh_token");
        assert_eq!(refreshes.count(), 1, "{module}");
        assert_eq!(broker.idp.received("/userinfo").len(), userinfo, "{module}");
    }
}

/// Plan "Third-Party-Initiated Login RP".
/// R-M06
#[tokio::test]
async fn a_login_that_a_third_party_initiates_completes() {
    let module = "oidcc-client-test-3rd-party-init-login";
    let broker = Broker::start().await;
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("iss", &broker.idp.issuer())
        .append_pair("target_link_uri", &format!("{PUBLIC}/orders?x=1"))
        .finish();
    let browser = broker.browser();
    let start =
        browser.visit(&format!("{PUBLIC}/sso/login?{query}")).header("sec-fetch-site", "cross-site").send().await;
    let answer = browser.visit(start.location()).send().await;
    let landed = browser.visit(answer.location()).send().await;
    assert_eq!(landed.location(), "/orders?x=1", "{module}");
}

/// What is not claimed: the modules of other plans, and why they have nothing to test here.
#[test]
fn what_the_product_does_not_offer_is_said() {
    let not_offered = [
        ("oidcc-client-test-userinfo-bearer-body", "the header is enough, and the form variant leaks more easily"),
        ("oidcc-client-test-discovery-webfinger-acct", "the issuer is configured, never guessed from an address"),
        ("oidcc-client-test-discovery-webfinger-url", "the issuer is configured, never guessed from an address"),
        ("oidcc-client-test-dynamic-registration", "clients are registered by their operators"),
        ("oidcc-client-test-request-uri-signed-rs256", "request objects are sent by value or pushed"),
        ("oidcc-client-test-request-uri-signed-none", "request objects are signed"),
        (
            "oidcc-client-test-nonce-unless-code-flow",
            "hybrid and implicit flows are never used; the nonce is always sent",
        ),
        ("oidcc-client-test-missing-athash", "no token ever comes through the browser"),
        ("oidcc-client-test-invalid-chash", "no token ever comes through the browser"),
        ("oidcc-client-test-missing-chash", "no token ever comes through the browser"),
        (
            "oidcc-client-test-session-management",
            "polled frames need cookies of third parties; back-channel logout does not",
        ),
    ];
    let source = include_str!("conformance.rs");
    for (module, reason) in not_offered {
        assert!(!reason.is_empty() && source.matches(module).count() == 1, "{module}");
    }
}
