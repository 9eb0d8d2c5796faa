//! Providers that others wrote: the certified `oidc-provider`, a plain OAuth 2.0 provider on Authlib, and idpyoidc.
//!
//! What the scripted provider asks in detail, these ask in earnest: they refuse what they do not like.

use counterfoil::idp::SigningKey;
use counterfoil::secret::Secret;
use serde_json::{Value, json};

use crate::support::broker::{Broker, PUBLIC, SESSION, Setup};
use crate::support::browser::Browser;
use crate::support::counterpart::{Counterpart, between, callback, follow, sign_in};
use crate::support::keys::{Kind, private_key};
use crate::support::program::Folder;

/// A broker that knows the certified provider as `certified`; `more` are keys of its section.
async fn broker_for(provider: &Counterpart, more: &str) -> Broker {
    let issuer = provider.told("issuer");
    let more = format!(
        "[idp.certified]\nkind = \"oidc\"\nissuer = \"{issuer}\"\nclient_id = \"backoffice\"\n\
         scopes = [\"openid\", \"profile\", \"email\", \"groups\", \"offline_access\"]\n{more}"
    );
    let broker = Broker::with(Setup { more, ..Setup::default() }).await;
    provider.can_reach(&broker).await;
    broker
}

async fn session_of(browser: &Browser) -> Value {
    browser.session().await
}

const SECRET: &str = "client_secret = \"p@ss:w%rd+/=~\"\n";

/// R-C01, R-J03: sign in, userinfo, sign out at the provider, in a browser of its own.
#[tokio::test]
async fn a_certified_provider_signs_people_in_and_out() {
    let provider = Counterpart::certified(json!({}));
    let issuer = provider.told("issuer");
    let broker = broker_for(&provider, SECRET).await;
    let browser = broker.browser();
    let landed = sign_in(&browser, "certified", "/orders?x=1").await;
    assert_eq!((landed.status.as_u16(), landed.location()), (303, "/orders?x=1"), "{}", landed.body);
    let session = session_of(&browser).await;
    assert_eq!((&session["subject"], &session["name"]), (&json!("alice"), &json!("Alice Kim")));
    assert_eq!((&session["groups"], &session["issuer"]), (&json!(["staff"]), &json!(issuer)));
    assert_eq!(provider.received("/token").await[0]["auth_scheme"], "basic");

    let away = crate::support::sign_out::sign_out(&browser).await;
    assert!(away.location().starts_with(&format!("{issuer}/session/end?client_id=backoffice")), "{}", away.location());
    assert!(browser.cookie(SESSION).is_none());
    let signed_out = confirm_logout(&browser, issuer, away.location()).await;
    assert!(signed_out.starts_with(&format!("{PUBLIC}/sso/signed-out?state=")), "{signed_out}");
    assert_eq!(browser.visit(&signed_out).send().await.status, 200);
}

/// The certified provider's own logout page and its button; where it leads to.
async fn confirm_logout(browser: &Browser, issuer: &str, page: &str) -> String {
    let asked = browser.visit(page).send().await;
    let xsrf = between(&asked.body, "name=\"xsrf\" value=\"", "\"");
    let confirm = format!("{issuer}/session/end/confirm");
    browser.submit(&confirm, &[("xsrf", xsrf), ("logout", "yes")]).send().await.location().to_owned()
}

/// R-C14, R-D02, R-Q01: one line a way, each by the book of a provider that refuses every other.
#[tokio::test]
async fn a_certified_provider_agrees_with_every_way_of_talking_to_it() {
    let folder = Folder::new();
    let file = folder.write("client.pem", &private_key(Kind::P256));
    let key = SigningKey::from_pem(&Secret::new(std::fs::read_to_string(&file).unwrap()), None, None).unwrap();
    let signing = json!({
        "client_secret": null, "token_endpoint_auth_method": "private_key_jwt", "jwks": { "keys": [key.registration()] },
    });
    let by_key = &format!("token_endpoint_auth_method = \"private_key_jwt\"\nclient_key_file = \"{file}\"\n");
    let with = |base: &Value, more: Value| {
        let mut all = base.as_object().unwrap().clone();
        all.extend(more.as_object().unwrap().clone());
        Value::Object(all)
    };
    let object = json!({ "request_object_signing_alg": "ES256", "require_signed_request_object": true });
    let pushed = json!({ "par": true, "require_pushed_authorization_requests": true });
    let always = "pushed_authorization_requests = \"always\"\n";
    let bound = |key: &str| format!("{key}dpop = true\n");
    let algorithm = |name: &str, key: &str| format!("{key}id_token_signed_response_alg = \"{name}\"\n");
    let answered = |key: &str, mode: &str| format!("{key}response_mode = \"{mode}\"\n");
    let everything = json!({
        "jarm": true, "dpop_bound_access_tokens": true, "dpop_nonce": true,
        "id_token_signed_response_alg": "ES256", "authorization_signed_response_alg": "ES256",
    });
    let cases = [
        ("private_key_jwt", signing.clone(), by_key.clone()),
        ("pushed where that is offered", json!({ "par": true }), SECRET.to_owned()),
        ("pushed where that is demanded", pushed.clone(), SECRET.to_owned()),
        ("private_key_jwt, signed request", with(&signing, object.clone()), format!("{by_key}request_object = true\n")),
        (
            "private_key_jwt, signed request, pushed",
            with(&with(&signing, object.clone()), pushed.clone()),
            format!("{by_key}{always}request_object = true\n"),
        ),
        ("DPoP", json!({ "dpop_bound_access_tokens": true }), bound(SECRET)),
        ("DPoP with nonces", json!({ "dpop_bound_access_tokens": true, "dpop_nonce": true }), bound(SECRET)),
        ("PS256", json!({ "id_token_signed_response_alg": "PS256" }), algorithm("PS256", SECRET)),
        ("ES256", json!({ "id_token_signed_response_alg": "ES256" }), algorithm("ES256", SECRET)),
        ("EdDSA", json!({ "id_token_signed_response_alg": "EdDSA" }), algorithm("EdDSA", SECRET)),
        ("form_post", json!({}), answered(SECRET, "form_post")),
        ("jwt", json!({ "jarm": true }), answered(SECRET, "jwt")),
        ("form_post.jwt", json!({ "jarm": true }), answered(SECRET, "form_post.jwt")),
        (
            "private_key_jwt, signed request, pushed, bound, form_post.jwt, all of it ES256",
            with(&with(&signing, object), with(&pushed, everything)),
            format!(
                "{}{always}request_object = true\n",
                answered(&bound(&algorithm("ES256", by_key)), "form_post.jwt")
            ),
        ),
        ("signed userinfo", json!({ "userinfo_signed_response_alg": "RS256" }), SECRET.to_owned()),
    ];
    for (way, options, more) in cases {
        let provider = Counterpart::certified(options);
        let broker = broker_for(&provider, &more).await;
        let browser = broker.browser();
        let landed = sign_in(&browser, "certified", "/orders").await;
        assert_eq!((landed.status.as_u16(), landed.location()), (303, "/orders"), "{way}: {}", landed.body);
        assert_eq!(session_of(&browser).await["name"], "Alice Kim", "{way}");
        let exchange = provider.received("/token").await.pop().unwrap();
        let scheme = if way.starts_with("private_key_jwt") { "assertion" } else { "basic" };
        assert_eq!(exchange["auth_scheme"], scheme, "{way}");
        for path in ["/token", "/me"] {
            let bound = provider.received(path).await.iter().any(|asked| asked["dpop"] == true);
            assert_eq!(bound, way.contains("DPoP") || way.contains("bound"), "{way} at {path}");
        }
        let asked = provider.received("/auth").await.swap_remove(0);
        let asked: Vec<_> = asked["query"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        assert_eq!(asked.contains(&"request_uri"), way.contains("pushed"), "{way}: {asked:?}");
        assert_eq!(
            asked.contains(&"redirect_uri"),
            !way.contains("pushed") && !way.contains("signed request"),
            "{way}"
        );
    }
}

/// R-C11, R-C13, R-J08: a session outlives its tokens, each refresh token is used once (a second use would have ended
/// the whole grant), and when Alice signs out at the provider, its own word ends the session here.
#[tokio::test]
async fn a_session_lives_through_rotations_until_the_provider_ends_it() {
    let provider = Counterpart::certified(
        json!({ "backchannel_logout_uri": format!("{PUBLIC}/sso/backchannel-logout/certified") }),
    );
    let issuer = provider.told("issuer");
    // Without asking for consent there is no refresh token (Core 11). The provider's clock is not moved along.
    let more = format!("{SECRET}prompt = \"consent\"\nrefresh = \"1m\"\nrefresh_wait = \"1m\"\nclock_skew = \"5m\"\n");
    let broker = broker_for(&provider, &more).await;
    let browser = broker.browser();
    assert_eq!(sign_in(&browser, "certified", "/orders").await.location(), "/orders");
    for round in 1..=3 {
        broker.clock.advance(time::Duration::minutes(1));
        assert_eq!(broker.status(&browser).await, 200, "round {round}");
        assert_eq!(broker.status(&browser).await, 200, "round {round}");
        let mut tokens = provider.received("/token").await;
        tokens.retain(|asked| asked["grant_type"] == "refresh_token" && asked["status"] == 200);
        assert_eq!(tokens.len(), round);
    }
    confirm_logout(&browser, issuer, &format!("{issuer}/session/end")).await;
    let refused = browser.get("/guarded").await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (401, "session_revoked"));
    let page = browser.visit(&format!("{PUBLIC}/guarded")).send().await;
    assert!(page.body.contains("company account") || page.status == 303, "{} {}", page.status, page.body);
}

/// A plain provider as `plain`, with these habits and these more keys of its section.
async fn plain(habits: &[&str], more: &str) -> (Counterpart, Broker) {
    let options = json!({
        "client_id": "backoffice", "client_secret": "p@ss:w%rd+/=~", "redirect_uri": callback("plain"), "habits": habits,
    });
    let provider = Counterpart::in_python("authlib_provider.py", &options);
    let base = provider.told("base");
    let more = format!(
        "[idp.plain]\nkind = \"oauth2\"\nclient_id = \"backoffice\"\nscopes = [\"read:user\", \"user:email\"]\n{SECRET}\
         authorization_endpoint = \"{base}/authorize\"\ntoken_endpoint = \"{base}/token\"\n\
         profile_endpoint = \"{base}/user\"\n\
         profile = {{ subject = \"id\", preferred_username = \"login\" }}\n{more}"
    );
    let broker = Broker::with(Setup { more, ..Setup::default() }).await;
    (provider, broker)
}

/// What providers that grew before OpenID Connect do, one line a habit: what is known of Alice then.
#[tokio::test]
async fn plain_providers_with_habits_of_their_own_sign_people_in() {
    let cases: [(&[&str], &str, &str, Value); 8] = [
        (&[], "", "user-583231", json!("alice@example.test")),
        (&["numeric_ids"], "", "583231", json!("alice@example.test")),
        (&["null_email"], "", "user-583231", json!(null)),
        (&["form_answers"], "", "user-583231", json!("alice@example.test")),
        (&["no_expires_in"], "", "user-583231", json!("alice@example.test")),
        (&["comma_scopes"], "", "user-583231", json!("alice@example.test")),
        (
            &["post_only"],
            "token_endpoint_auth_method = \"client_secret_post\"\n",
            "user-583231",
            json!("alice@example.test"),
        ),
        (&["numeric_ids", "null_email", "form_answers", "no_expires_in", "comma_scopes"], "", "583231", json!(null)),
    ];
    for (habits, more, subject, email) in cases {
        let (_provider, broker) = plain(habits, &format!("trust_email = true\n{more}")).await;
        let browser = broker.browser();
        let landed = sign_in(&browser, "plain", "/orders").await;
        assert_eq!((landed.status.as_u16(), landed.location()), (303, "/orders"), "{habits:?}: {}", landed.body);
        let session = session_of(&browser).await;
        assert_eq!((&session["subject"], &session["email"]), (&json!(subject), &email), "{habits:?}: {session}");
        assert_eq!(session["name"], "Alice Kim", "{habits:?}");
    }
}

/// R-C07: a refusal is one, whatever its status.
#[tokio::test]
async fn a_refusal_that_is_answered_with_200_signs_nobody_in() {
    for habits in [&["errors_with_200"] as &[_], &["errors_with_200", "form_answers"]] {
        let (provider, broker) = plain(habits, "token_endpoint_auth_method = \"client_secret_basic\"\n").await;
        let browser = broker.browser();
        let login = browser.visit(&format!("{PUBLIC}/sso/login?idp=plain")).send().await;
        let state = between(login.location(), "state=", "&").to_owned();
        let forged = format!("{}?code=never-given-out&state={state}", callback("plain"));
        let refused = browser.visit(&forged).send().await;
        // A code that the provider does not know any more: the login has to begin again.
        assert_eq!(refused.status, 400, "{}", refused.body);
        assert!(browser.cookie(SESSION).is_none());
        assert_eq!(provider.received("/token").await.len(), 1, "a code is not sent twice");
    }
}

/// Another implementation of OpenID Connect. It reads the secret of `client_secret_basic` as it stands, so this one
/// needs no escapes, and it signs nobody out without `id_token_hint`; everything else is as it comes: audiences in a
/// list, `scope` among the claims, no `typ`, no `at_hash`, two keys, `client_id` and `scope` in its answer to the
/// browser.
#[tokio::test]
async fn a_provider_by_other_authors_signs_people_in() {
    let (secret, signed_out) = ("a-secret-of-plain-letters-0123456789", format!("{PUBLIC}/sso/signed-out"));
    let options = json!({
        "client_id": "backoffice", "client_secret": secret, "redirect_uri": callback("other"),
        "signed_out_uri": signed_out,
    });
    let provider = Counterpart::in_python("idpyoidc_provider.py", &options);
    let issuer = provider.told("issuer");
    let more = format!(
        "[idp.other]\nkind = \"oidc\"\nissuer = \"{issuer}\"\nclient_id = \"backoffice\"\nclient_secret = \"{secret}\"\n\
         logout_id_token_hint = true\n"
    );
    let broker = Broker::with(Setup { more, ..Setup::default() }).await;
    let browser = broker.browser();
    let landed = sign_in(&browser, "other", "/orders").await;
    assert_eq!((landed.status.as_u16(), landed.location()), (303, "/orders"), "{}", landed.body);
    let session = session_of(&browser).await;
    assert_eq!((&session["name"], &session["email"]), (&json!("Diana Prince"), &json!("diana@example.test")));
    assert_eq!(session["issuer"], issuer);

    let away = crate::support::sign_out::sign_out(&browser).await;
    assert!(away.location().starts_with(&format!("{issuer}/session?")), "{}", away.location());
    let back = follow(&browser, away.location()).await;
    assert_eq!(back.status, 200, "{}", back.body);
    assert!(back.body.contains("You are signed out"), "{}", back.body);
}
