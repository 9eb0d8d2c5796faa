//! Claims as providers really write them: what counts, what is "not returned", and what is refused at every reader.

use serde_json::{Value, json};
use time::Duration;

use crate::support::broker::{Broker, Setup};
use crate::support::browser::Browser;
use crate::support::notices::tell_of_logout;
use crate::support::scripted_idp::{Misbehaviour, Script, change, set};

async fn broker(idp: &str) -> Broker {
    Broker::with(Setup { idp: idp.to_owned(), ..Setup::default() }).await
}

/// A change that writes `null` where the other change removes.
fn written(members: Value) -> Option<crate::support::scripted_idp::Change> {
    change(move |document| document.as_object_mut().unwrap().extend(members.as_object().unwrap().clone()))
}

async fn session(browser: &Browser) -> Value {
    browser.session().await
}

async fn sign_in(broker: &Broker, script: Script) -> u16 {
    broker.idp.behave(script);
    broker.sign_in(&broker.browser(), "/").await.status.as_u16()
}

/// Core 3.1.3.7 (3) to (5): one line a case. The first three are what Zitadel, Oracle and Keycloak's audience mappers
/// write; the reader's own table is `audiences_beside_ours_are_those_that_the_configuration_names`.
#[tokio::test]
async fn an_id_token_may_be_for_those_that_the_configuration_lets_stand_beside_us() {
    let broker = broker("additional_audiences = [\"3188\", \"https://identity.example/\", \"account\"]").await;
    for (members, status) in [
        (json!({ "aud": ["backoffice", "3188"], "azp": "backoffice" }), 303),
        (json!({ "aud": ["https://identity.example/", "backoffice"], "azp": "backoffice" }), 303),
        (json!({ "aud": ["account", "backoffice"], "azp": "backoffice" }), 303),
        (json!({ "aud": ["backoffice", "3189"], "azp": "backoffice" }), 502),
        (json!({ "aud": ["backoffice", "3188"], "azp": "3188" }), 502),
        (json!({ "aud": ["backoffice", "3188"] }), 502),
        (json!({ "aud": ["3188"], "azp": "backoffice" }), 502),
    ] {
        assert_eq!(sign_in(&broker, Script::claims(members.clone())).await, status, "{members}");
    }
    let plain = Broker::start().await;
    let zitadel = Script::claims(json!({ "aud": ["backoffice", "3188"], "azp": "backoffice" }));
    assert_eq!(sign_in(&plain, zitadel).await, 502, "nothing is let in that nobody wrote");
}

/// One line a claim. Found by writing `null` for everything that an ID token, userinfo and a token answer need not say.
#[tokio::test]
async fn a_claim_that_is_null_is_one_that_was_not_returned() {
    let broker = broker("refresh = \"5m\"\ntimeout = \"1m\"").await;
    for name in
        ["at_hash", "azp", "acr", "amr", "nbf", "sid", "auth_time", "session_expiry", "events", "name", "groups"]
    {
        let script = Script { id_token_claims: written(json!({ name: null })), ..Script::default() };
        assert_eq!(sign_in(&broker, script).await, 303, "{name}");
    }
    for name in ["refresh_token", "expires_in", "scope", "error"] {
        let script = Script { token_answer: written(json!({ name: null })), ..Script::default() };
        assert_eq!(sign_in(&broker, script).await, 303, "{name}");
    }
    let of_the_login = Script { id_token_claims: written(json!({ "nonce": null })), ..Script::default() };
    assert_eq!(sign_in(&broker, of_the_login).await, 502, "what was asked for is not optional");
    broker.idp.behave(Script::default());
    let browser = broker.signed_in().await;
    for name in ["nonce", "at_hash", "azp", "acr", "sid", "auth_time", "session_expiry"] {
        broker.idp.behave(Script { refresh_claims: written(json!({ name: null })), ..Script::default() });
        broker.idp.forget_requests();
        broker.clock.advance(Duration::minutes(5));
        assert_eq!(broker.status(&browser).await, 200, "{name}");
        assert_eq!(broker.idp.received("/token").len(), 1, "{name}: it was renewed");
    }
}

/// One line a claim of a refreshed ID token that is written wrongly: it is not what ends somebody's session as revoked.
#[tokio::test]
async fn the_form_of_a_refreshed_token_says_nothing_of_the_person() {
    for members in [
        json!({ "at_hash": 7 }),
        json!({ "nonce": 7 }),
        json!({ "auth_time": "yesterday" }),
        json!({ "sid": ["s"] }),
        json!({ "session_expiry": {} }),
        json!({ "azp": 7 }),
    ] {
        let broker = broker("refresh = \"5m\"\ntimeout = \"1m\"").await;
        let browser = broker.signed_in().await;
        broker.idp.behave(Script { refresh_claims: set(members.clone()), ..Script::default() });
        broker.clock.advance(Duration::minutes(5));
        let answer = browser.get("/guarded").await;
        assert_eq!(answer.status, 401, "{members}: nobody passes on it: {}", answer.body);
        assert_eq!(answer.code(), "reauthentication_required", "{members}");
        broker.idp.behave(Script::default());
        broker.clock.advance(Duration::minutes(5));
        assert_eq!(broker.status(&browser).await, 200, "{members}: {}", answer.body);
    }
}

/// One line an attribute: what the ID token says, what userinfo has `null` for.
#[tokio::test]
async fn null_in_userinfo_erases_nothing() {
    let broker = broker("").await;
    let nothing = json!({ "groups": null, "name": null, "email": null, "email_verified": null });
    broker.idp.behave(Script { userinfo: written(nothing), ..Script::claims(json!({ "groups": ["staff"] })) });
    let session = session(&broker.signed_in().await).await;
    assert_eq!(session["groups"], json!(["staff"]));
    assert_eq!((&session["name"], &session["email"]), (&json!("Alice Kim"), &json!("alice@example.com")));
}

/// One line a form; the reader's own table is `groups_are_read_in_the_form_that_the_configuration_names`.
#[tokio::test]
async fn roles_that_are_keys_or_json_in_a_text_are_groups_where_the_configuration_says_so() {
    for (written, said, groups) in [
        ("keys", json!({ "admin": { "2077": "acme.example" }, "ops": {} }), json!(["admin", "ops"])),
        ("json", json!("[\"admin\",\"ops\"]"), json!(["admin", "ops"])),
        ("json", json!("{\"admin\":true,\"ops\":false}"), json!(["admin"])),
        ("values", json!({ "admin": {} }), json!([])),
    ] {
        let broker = broker(&format!("profile.groups_as = \"{written}\"")).await;
        broker.idp.behave(Script::claims(json!({ "groups": said })));
        assert_eq!(session(&broker.signed_in().await).await["groups"], groups, "{written} {said}");
    }
}

/// RFC 7519 4: one line a case: what stands a second time, and what comes of it.
#[tokio::test]
async fn a_signed_answer_that_repeats_itself_counts_once_and_one_that_contradicts_itself_is_malformed() {
    let broker = broker("response_mode = \"jwt\"").await;
    let issuer = broker.idp.issuer();
    broker.idp.behave(Script::keycloak(&issuer));
    let landed = broker.sign_in(&broker.browser(), "/orders").await;
    assert_eq!((landed.status.as_u16(), landed.location()), (303, "/orders"));
    let fetched = broker.idp.received("/jwks").len();
    for (name, value) in [
        ("iss", json!("https://evil.example")),
        ("aud", json!(["backoffice", "other"])),
        ("code", json!("another")),
        ("exp", json!(4_000_000_000_u64)),
        ("error", json!("access_denied")),
    ] {
        let script = Script { response_repeats: vec![(name, value)], ..Script::default() };
        let first = json!({ "error": null });
        let response_claims = if name == "error" { written(first) } else { None };
        let status = sign_in(&broker, Script { response_claims, ..script }).await;
        // Which login is meant cannot be said of a text with two meanings.
        assert!([400, 502].contains(&status), "{name}: {status}");
        assert_eq!(broker.idp.received("/jwks").len(), fetched, "{name}: its signature is valid");
    }
}

/// RFC 5321 4.1.2: one line a case; the reader's own table is `what_is_no_address_is_none`.
#[tokio::test]
async fn an_address_that_is_none_opens_no_domain() {
    let routes = "[[route]]\npath = \"/\"\nupstream = \"UPSTREAM\"\nemail_domains = [\"example.com\"]\n";
    let broker = Broker::with(Setup { routes, ..Setup::default() }).await;
    for (email, status) in [
        ("alice@example.com", 200),
        ("mailto:alice@example.com", 403),
        ("Alice <alice@example.com>", 403),
        ("alice@evil.example,x@example.com", 403),
        ("alice@example.com ", 403),
    ] {
        broker.idp.behave(Script::claims(json!({ "email": email })));
        let browser = broker.signed_in().await;
        assert_eq!(broker.status(&browser).await, status, "{email}");
    }
}

/// Core 5.3.2: one line a case: what the signed answer says, and what comes of it.
#[tokio::test]
async fn signed_userinfo_need_not_say_who_made_it_but_must_not_say_otherwise() {
    let broker = broker("").await;
    let now = counterfoil::clock::Clock::now(&*broker.clock).unix_timestamp();
    assert_eq!(sign_in(&broker, Script::authelia()).await, 303);
    for (members, status) in [
        (json!({}), 303),
        (json!({ "iss": null }), 303),
        (json!({ "aud": null }), 303),
        (json!({ "aud": ["other", "backoffice"] }), 303),
        (json!({ "iss": "https://evil.example" }), 502),
        (json!({ "aud": "other" }), 502),
        (json!({ "iss": 7 }), 502),
        (json!({ "exp": now - 30 * 86_400 }), 502),
        (json!({ "nbf": now + 600 }), 502),
        (json!({ "iat": now + 600 }), 502),
        (json!({ "events": {} }), 502),
        (json!({ "sub": "somebody else" }), 502),
    ] {
        let script = Script { signed_userinfo: set(members.clone()), ..Script::default() };
        assert_eq!(sign_in(&broker, script).await, status, "{members}");
    }
}

/// One line a case: checks that another reader made already. The readers' own table is
/// `what_one_reader_refuses_every_reader_refuses`.
#[tokio::test]
async fn what_a_neighbour_refuses_is_refused_here_as_well() {
    let broker = broker("").await;
    let key = |name: &'static str, value: Value| change(move |document| document["keys"][0][name] = value.clone());
    for (what, script) in [
        ("sub with NUL", Script::claims(json!({ "sub": "1\u{0}" }))),
        ("sub on two lines", Script::claims(json!({ "sub": "1\r\nX-Auth-Request-User: root" }))),
        ("sid on two lines", Script::claims(json!({ "sid": "s\n" }))),
        (
            "error beside tokens",
            Script { token_answer: set(json!({ "error": "invalid_request" })), ..Script::default() },
        ),
        ("half an error beside tokens", Script { token_answer: set(json!({ "error": 7 })), ..Script::default() }),
    ] {
        assert_eq!(sign_in(&broker, script).await, 502, "{what}");
    }
    for (what, jwks) in [
        ("to encrypt", key("key_ops", json!(["encrypt"]))),
        ("to wrap", key("key_ops", json!(["wrapKey", "unwrapKey"]))),
        ("to sign", key("key_ops", json!(["sign"]))),
        ("for encryption", key("use", json!("enc"))),
        ("for another algorithm", key("alg", json!("RS512"))),
    ] {
        let broker = self::broker("").await;
        assert_eq!(sign_in(&broker, Script { jwks, ..Script::default() }).await, 502, "{what}");
    }
    let broker = self::broker("").await;
    let both = Script { jwks: key("key_ops", json!(["sign", "verify"])), ..Script::default() };
    assert_eq!(sign_in(&broker, both).await, 303);
}

/// One line a case: what the ID token and userinfo say, and who signs in.
#[tokio::test]
async fn what_is_required_may_stand_in_userinfo_alone() {
    let broker = broker("required_claims = { department = [\"sales\"] }").await;
    for (id_token, userinfo, status) in [
        (json!({}), json!({ "department": "sales" }), 303),
        (json!({ "department": "sales" }), json!({}), 303),
        (json!({ "department": "it" }), json!({ "department": "sales" }), 403),
        (json!({ "department": "sales" }), json!({ "department": "it" }), 403),
        (json!({}), json!({ "department": null }), 403),
        (json!({}), json!({}), 403),
    ] {
        let script = Script { userinfo: set(userinfo.clone()), ..Script::claims(id_token.clone()) };
        assert_eq!(sign_in(&broker, script).await, status, "{id_token} {userinfo}");
    }
}

/// Authelia, which goes on answering for an account that was deleted, with `sub` alone: what is demanded is missing then.
#[tokio::test]
async fn a_deleted_account_with_sub_alone_is_not_confirmed() {
    let broker = broker("refresh = \"5m\"\ntimeout = \"1m\"\nrequired_claims = { mail = [\"*\"] }").await;
    let alive = Script { userinfo: set(json!({ "mail": "alice@example.com" })), ..Script::authelia() };
    broker.idp.behave(alive.clone());
    let browser = broker.signed_in().await;
    broker.clock.advance(Duration::minutes(5));
    assert_eq!(broker.status(&browser).await, 200);
    for gone in [
        Script::authelia_without_the_account(),
        Script { signed_userinfo: None, ..Script::authelia_without_the_account() },
        Script {
            at_userinfo: Misbehaviour::Answer(200, "application/json", "{\"sub\":\"248289761001\",\"mail\":null}"),
            ..Script::default()
        },
    ] {
        broker.idp.behave(gone);
        broker.clock.advance(Duration::minutes(5));
        let unconfirmed = browser.get("/guarded").await;
        assert_eq!((unconfirmed.status.as_u16(), unconfirmed.code().as_str()), (401, "reauthentication_required"));
        broker.idp.behave(alive.clone());
        broker.clock.advance(Duration::minutes(5));
        assert_eq!(broker.status(&browser).await, 200, "and comes back with it");
    }
}

/// The answer to a notice distinguishes a missing claim from a wrong one.
#[tokio::test]
async fn missing_and_wrong_claims_have_different_errors() {
    let broker = Broker::start().await;
    for (claims, words) in [
        (json!({ "iss": null }), "its claim `iss` is missing"),
        (json!({ "iss": "https://evil.example" }), "its issuer is `https://evil.example`, not `http"),
        (json!({ "iss": 7 }), "its claim `iss` is not of the type"),
        (json!({ "jti": null }), "its claim `jti` is missing"),
        (json!({ "jti": "" }), "its claim `jti` is wrong"),
    ] {
        let answer = tell_of_logout(&broker, &broker.idp.logout_token(&claims)).await;
        assert!(answer.json()["error_description"].as_str().unwrap().contains(words), "{claims}: {}", answer.body);
    }
}
