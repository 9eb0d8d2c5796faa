//! Providers that others wrote: the certified `oidc-provider`, a plain OAuth 2.0 provider on Authlib, and idpyoidc.
//!
//! What the scripted provider asks in detail, these ask in earnest: they refuse what they do not like.

use serde_json::{Value, json};

use crate::support::broker::{Broker, PUBLIC, SESSION, Setup};
use crate::support::browser::Browser;
use crate::support::counterpart::{Counterpart, between, callback, follow, sign_in};

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
    browser.fetch(&format!("{PUBLIC}/sso/session")).send().await.json()
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

    let away = crate::logout::sign_out(&browser).await;
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
        assert_eq!(refused.status, 502, "{}", refused.body);
        assert!(browser.cookie(SESSION).is_none());
        assert_eq!(provider.received("/token").await.len(), 1, "a code is not sent twice");
    }
}

/// Another implementation of OpenID Connect. It reads the secret of `client_secret_basic` as it stands, so this one
/// needs no escapes, and it signs nobody out without `id_token_hint`; everything else is as it comes: audiences in a list, `scope` among the claims, no `typ`, no
/// `at_hash`, two keys, `client_id` and `scope` in its answer to the browser.
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

    let away = crate::logout::sign_out(&browser).await;
    assert!(away.location().starts_with(&format!("{issuer}/session?")), "{}", away.location());
    let back = follow(&browser, away.location()).await;
    assert_eq!(back.status, 200, "{}", back.body);
    assert!(back.body.contains("You are signed out"), "{}", back.body);
}
