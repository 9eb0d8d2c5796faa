//! Sessions that are renewed with their provider: new access tokens for upstreams, and what the person is by now.

use std::sync::{Arc, Mutex};
use std::time::Duration as StdDuration;

use axum::routing::{get as get_route, post};
use axum::{Json, Router};
use counterfoil::secret::Secret;
use counterfoil::session::ending::EndCause;
use counterfoil::session::key::SessionKey;
use counterfoil::session::record::{ExposedSecret, Tokens};
use counterfoil::session::refresh_lock::Locked;
use counterfoil::session::renewal::{LockedSession, Saved};
use counterfoil::session::store::SessionBackend;
use counterfoil::session::store::memory::MemoryStore;
use http::{HeaderMap, StatusCode};
use serde_json::json;
use time::Duration;

use crate::support::administration::{SECTION, revoke};
use crate::support::broker::{Broker, PUBLIC, SESSION, Setup, Store, listen};
use crate::support::browser::Browser;
use crate::support::child::{PATIENCE, until};
use crate::support::house::House;
use crate::support::redis::Redis;
use crate::support::scripted_idp::{
    ACCESS_TOKEN, Gate, Misbehaviour, REFRESH_TOKEN, Received, Script, ScriptedIdp, set,
};
use crate::support::sign_out::sign_out;
use crate::support::upstream::received;

/// `/api` gets the access token, everything else does not.
const ROUTES: &str = "[[route]]\npath = \"/api\"\nupstream = \"UPSTREAM\"\npass_access_token = true\n\
                      [[route]]\npath = \"/finance\"\nupstream = \"UPSTREAM\"\ngroups = [\"finance\"]\n\
                      [[route]]\npath = \"/open\"\nupstream = \"UPSTREAM\"\naccess = \"public\"\n\
                      [[route]]\npath = \"/\"\nupstream = \"UPSTREAM\"\n";

fn setup() -> Setup {
    Setup { routes: ROUTES, more: SECTION.into(), ..Setup::default() }
}

/// The provider is asked every five minutes, and requests wait for it, however slow the machine is.
fn paced() -> Setup {
    every("5m")
}

fn every(pace: &str) -> Setup {
    Setup { idp: format!("refresh = \"{pace}\"\nrefresh_wait = \"1m\"\ntimeout = \"1m\""), ..setup() }
}

/// The access token that reached the upstream.
async fn token_at(browser: &Browser, path: &str) -> String {
    let answer = browser.get(path).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let echo = answer.json();
    received(&echo, "authorization").join(",").trim_start_matches("Bearer ").to_owned()
}

/// The refresh tokens that were used so far.
fn refreshes(idp: &ScriptedIdp) -> Vec<String> {
    let grants = idp.received("/token").into_iter().filter(|asked| asked.form["grant_type"] == "refresh_token");
    grants.map(|mut asked| asked.form.remove("refresh_token").unwrap()).collect()
}

/// Waits until the provider was asked for new tokens.
async fn under_way(idp: &ScriptedIdp) {
    until("it is renewed", async || !refreshes(idp).is_empty()).await;
}

fn slow(milliseconds: u64) -> Script {
    Script { at_refresh: Misbehaviour::Slow(StdDuration::from_millis(milliseconds)), ..Script::default() }
}

/// No answer to a refresh until the gate is opened.
fn held(gate: &Gate) -> Script {
    Script { at_refresh: Misbehaviour::Held(gate.clone()), ..Script::default() }
}

/// R-K16, R-C11; oidcc-client-test-refresh-token: refresh, then userinfo with the new token.
#[tokio::test]
async fn an_access_token_is_renewed_before_its_end_for_that_route_alone() {
    let broker = Broker::with(setup()).await;
    let browser = broker.signed_in().await;
    assert_eq!(token_at(&browser, "/api/x").await, ACCESS_TOKEN);
    let own = browser.fetch(&format!("{PUBLIC}/api/x")).header("authorization", "Basic forged").send().await.json();
    assert_eq!(received(&own, "authorization"), [format!("Bearer {ACCESS_TOKEN}")]);
    assert_eq!(token_at(&browser, "/elsewhere").await, "", "no other route gets it");
    broker.clock.advance(Duration::seconds(269));
    assert_eq!(token_at(&browser, "/api/x").await, ACCESS_TOKEN);
    broker.clock.advance(Duration::seconds(1));
    assert_eq!(browser.get("/elsewhere").await.status, 200);
    assert_eq!(browser.get("/sso/session").await.status, 200);
    assert!(refreshes(&broker.idp).is_empty(), "nobody needs it there");
    for round in 2..5 {
        broker.idp.forget_requests();
        assert_eq!(token_at(&browser, "/api/x").await, format!("{ACCESS_TOKEN}-{round}"));
        // The rotated one was stored: the provider takes each of them once.
        let used = if round == 2 { REFRESH_TOKEN.to_owned() } else { format!("{REFRESH_TOKEN}-{}", round - 1) };
        assert_eq!(refreshes(&broker.idp), [used]);
        let userinfo = broker.idp.received("/userinfo");
        assert_eq!(userinfo.len(), 1);
        assert_eq!(userinfo[0].headers["authorization"], format!("Bearer {ACCESS_TOKEN}-{round}"));
        assert_eq!(token_at(&browser, "/api/x").await, format!("{ACCESS_TOKEN}-{round}"));
        assert_eq!(refreshes(&broker.idp).len(), 1);
        broker.clock.advance(Duration::minutes(5));
    }
}

/// R-C11: what the answer leaves out stays: the refresh token, the ID token, the person.
#[tokio::test]
async fn an_answer_with_nothing_but_an_access_token_is_enough() {
    let broker = Broker::with(setup()).await;
    let browser = broker.signed_in().await;
    let bare = set(json!({ "refresh_token": null, "id_token": null, "expires_in": null }));
    broker.idp.behave(Script { refresh_answer: bare, ..Script::default() });
    broker.clock.advance(Duration::minutes(5));
    assert_eq!(token_at(&browser, "/api").await, format!("{ACCESS_TOKEN}-2"));
    let session = browser.session().await;
    assert_eq!((&session["name"], &session["groups"]), (&json!("Alice Kim"), &json!(["staff"])));
    broker.clock.advance(Duration::hours(1) - Duration::minutes(35));
    assert_eq!(token_at(&browser, "/api").await, format!("{ACCESS_TOKEN}-2"), "nothing says that it ends");
}

/// R-C12, R-C13, R-E05: one line a case. `RENEWED`; `AWAY`: not renewed, and the session lives; `LOGIN`: indeterminate,
/// and the session lives; `ENDED`.
#[tokio::test]
async fn refusals_end_the_session_and_outages_do_not() {
    const RENEWED: (u16, &str) = (200, "");
    const AWAY: (u16, &str) = (503, "idp_unavailable");
    const LOGIN: (u16, &str) = (401, "reauthentication_required");
    const ENDED: (u16, &str) = (401, "session_revoked");
    let broker = Broker::with(setup()).await;
    let at_refresh = |at_refresh| Box::new(Script { at_refresh, ..Script::default() });
    let refresh = |status, body| at_refresh(Misbehaviour::Answer(status, "application/json", body));
    let claims = |members| Box::new(Script { refresh_claims: set(members), ..Script::default() });
    let at_userinfo = |at_userinfo| Box::new(Script { at_userinfo, ..Script::default() });
    let userinfo = |status| at_userinfo(Misbehaviour::Answer(status, "application/json", "{}"));
    let refuses = |headers| at_userinfo(Misbehaviour::Refuse(403, headers));
    let says = |members| Box::new(Script { userinfo: set(members), ..Script::default() });
    let many: Vec<_> = (0..1_001).map(|group| format!("g-{group}")).collect();
    let cases = [
        ("invalid_grant", ENDED, refresh(400, r#"{"error":"invalid_grant"}"#)),
        ("invalid_grant, as Auth0 says it", ENDED, refresh(403, r#"{"error":"invalid_grant"}"#)),
        ("a refusal with status 200, as GitHub says it", ENDED, refresh(200, r#"{"error":"bad_refresh_token"}"#)),
        ("oidcc-client-test-refresh-token-invalid-sub", ENDED, claims(json!({ "sub": "somebody-else" }))),
        ("oidcc-client-test-refresh-token-invalid-issuer", ENDED, claims(json!({ "iss": "https://other.example" }))),
        ("a session that is over", ENDED, claims(json!({ "session_expiry": 1 }))),
        ("an end that is no moment", LOGIN, claims(json!({ "session_expiry": "soon" }))),
        ("another audience", LOGIN, claims(json!({ "aud": "another" }))),
        ("another login's nonce", ENDED, claims(json!({ "nonce": "another" }))),
        ("an expired ID token", AWAY, claims(json!({ "exp": 1 }))),
        ("an ID token of the distant past", AWAY, claims(json!({ "iat": 1 }))),
        ("a key that nobody published", AWAY, Box::new(Script { foreign_key: true, ..Script::default() })),
        ("userinfo of somebody else", ENDED, says(json!({ "sub": "other" }))),
        ("userinfo that refuses, as Slack does", ENDED, says(json!({ "sub": null, "error": "account_inactive" }))),
        ("userinfo of nobody", LOGIN, says(json!({ "sub": null }))),
        ("more groups than can be taken", LOGIN, says(json!({ "groups": many }))),
        ("userinfo that takes no new token", ENDED, userinfo(401)),
        ("userinfo that may not be asked", LOGIN, userinfo(403)),
        ("userinfo that was asked too often", RENEWED, refuses(&[("retry-after", "60")])),
        ("userinfo that was asked too often, as GitHub says it", RENEWED, refuses(&[("x-ratelimit-remaining", "0")])),
        ("userinfo that has requests left", LOGIN, refuses(&[("x-ratelimit-remaining", "59")])),
        ("userinfo that is gone", LOGIN, userinfo(404)),
        ("userinfo that fails", RENEWED, userinfo(500)),
        ("userinfo that took too long", RENEWED, userinfo(408)),
        ("userinfo that is garbage", LOGIN, userinfo(204)),
        ("our credentials", AWAY, refresh(401, r#"{"error":"invalid_client"}"#)),
        ("our credentials, without a word", AWAY, refresh(401, "no")),
        ("our registration, which it has served before", ENDED, refresh(400, r#"{"error":"unauthorized_client"}"#)),
        ("a grant that is not offered", AWAY, refresh(400, r#"{"error":"unsupported_grant_type"}"#)),
        ("busy, by its own words", AWAY, refresh(400, r#"{"error":"temporarily_unavailable"}"#)),
        ("busy, by its own words, as others say it", AWAY, refresh(200, r#"{"ok":false,"error":"rate_limited"}"#)),
        ("busy", AWAY, refresh(429, "{}")),
        ("broken", AWAY, refresh(500, r#"{"error":"invalid_grant"}"#)),
        ("away", AWAY, refresh(503, "")),
        ("cut off", AWAY, at_refresh(Misbehaviour::Drop)),
        ("a refusal without a word", LOGIN, refresh(400, "no")),
        ("gone", LOGIN, refresh(404, "no")),
        ("garbage", LOGIN, refresh(200, "{}")),
        ("a redirect", LOGIN, at_refresh(Misbehaviour::Redirect("/token2".into()))),
    ];
    for (case, (status, code), script) in cases {
        broker.idp.behave(Script::default());
        let browser = broker.signed_in().await;
        broker.clock.advance(Duration::minutes(5));
        broker.idp.behave(*script);
        broker.idp.forget_requests();
        let answer = browser.get("/api").await;
        assert_eq!(answer.status, status, "{case}: {}", answer.body);
        assert_eq!(refreshes(&broker.idp).len(), 1, "{case}: one grant, whatever comes of it");
        if case.starts_with("oidcc") {
            assert!(broker.idp.received("/userinfo").is_empty(), "{case}: nothing more is asked");
        }
        assert!(code.is_empty() || answer.code() == code, "{case}: {}", answer.body);
        let (lives, handle) = (browser.get("/elsewhere").await.status, browser.get("/sso/session").await);
        assert_eq!(lives, if (status, code) == ENDED { 401 } else { 200 }, "{case}");
        assert_eq!(handle.status, lives, "{case}");
        // Until the provider is asked again.
        broker.clock.advance(Duration::seconds(11));
    }
}

/// R-I08, R-C12, R-E05: an indeterminate answer ends nothing; until the provider confirms the person again, or they
/// have signed in, the session is rejected, whatever else happens to the provider, and causes one request to it in ten
/// seconds.
#[tokio::test]
async fn an_indeterminate_session_is_rejected_until_revalidated() {
    let broker = Broker::with(paced()).await;
    let (browser, other) = (broker.signed_in().await, broker.signed_in().await);
    broker.clock.advance(Duration::minutes(5));
    broker.idp.forget_requests();
    let suspended = || Misbehaviour::Answer(403, "application/json", r#"{"message":"Your account was suspended"}"#);
    broker.idp.behave(Script { at_userinfo: suspended(), ..Script::default() });
    let is_turned_away = async |path: &str| {
        let answer = browser.get(path).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (401, "reauthentication_required"), "{path}");
    };
    for path in ["/x", "/api", "/x", "/sso/session"] {
        is_turned_away(path).await;
    }
    assert!(received(&browser.get("/open").await.json(), "x-auth-request-user").is_empty());
    let page = browser.visit(&format!("{PUBLIC}/x")).send().await;
    assert_eq!((page.status.as_u16(), page.location()), (303, "/sso/login?return_to=%2Fx"));
    assert_eq!((refreshes(&broker.idp).len(), broker.idp.received("/userinfo").len()), (1, 1), "and is left alone");
    broker.clock.advance(Duration::seconds(11));
    is_turned_away("/x").await;
    assert_eq!((refreshes(&broker.idp).len(), broker.idp.received("/userinfo").len()), (1, 2), "no token is used up");

    let away = || Misbehaviour::Answer(503, "text/plain", "");
    broker.idp.behave(Script { at_userinfo: away(), at_refresh: away(), ..Script::default() });
    broker.clock.advance(Duration::seconds(11));
    is_turned_away("/x").await;
    assert_eq!(other.get("/x").await.status, 200, "an outage ends nothing");
    broker.clock.advance(Duration::seconds(5));
    is_turned_away("/x").await;

    broker.idp.behave(Script::default());
    broker.clock.advance(Duration::seconds(11));
    assert_eq!(browser.get("/x").await.status, 200, "it had not ended");
    assert_eq!(browser.get("/sso/session").await.status, 200);
}

/// R-I08: also before the refresh interval has passed, when a route's access token is refreshed; and as soon as the
/// provider confirms the person again, they pass. Without a refresh interval the routes that need no token cause no
/// request.
#[tokio::test]
async fn an_indeterminate_answer_counts_before_the_refresh_interval() {
    for (idp, elsewhere) in
        [("refresh = \"2h\"\nrefresh_wait = \"1m\"\ntimeout = \"1m\"", 401), ("timeout = \"1m\"", 200)]
    {
        let broker = Broker::with(Setup { idp: idp.into(), ..setup() }).await;
        let short = || Script { token_answer: set(json!({ "expires_in": 300 })), ..Script::default() };
        broker.idp.behave(short());
        let browser = broker.signed_in().await;
        let suspended = Misbehaviour::Answer(403, "application/json", "{}");
        broker.idp.behave(Script { at_userinfo: suspended, ..short() });
        broker.clock.advance(Duration::seconds(275));
        for path in ["/api", "/api"] {
            let answer = browser.get(path).await;
            assert_eq!((answer.status.as_u16(), answer.code().as_str()), (401, "reauthentication_required"), "{idp}");
        }
        assert_eq!(browser.get("/x").await.status.as_u16(), elsewhere, "{idp}");
        broker.idp.behave(short());
        broker.clock.advance(Duration::seconds(11));
        assert_eq!(browser.get("/api").await.status, 200, "{idp}");
        assert_eq!((browser.get("/x").await.status.as_u16(), refreshes(&broker.idp).len()), (200, 1), "{idp}");
    }
}

/// R-I08, R-E05: tokens after an indeterminate answer are used again within the refresh interval, and no longer, so
/// that a revoked grant is noticed.
#[tokio::test]
async fn a_revoked_grant_is_noticed_within_the_refresh_interval_though_userinfo_fails() {
    let broker = Broker::with(every("2m")).await;
    let browser = broker.signed_in().await;
    let fails = Misbehaviour::Answer(500, "text/plain", "");
    broker.idp.behave(Script { at_userinfo: fails, ..Script::default() });
    broker.clock.advance(Duration::minutes(2));
    assert_eq!(browser.get("/x").await.status, 200);
    broker.idp.disable_everybody();
    broker.clock.advance(Duration::minutes(1));
    assert_eq!(browser.get("/x").await.status, 200);
    assert_eq!(refreshes(&broker.idp).len(), 1);
    broker.clock.advance(Duration::minutes(1));
    assert_eq!(browser.get("/x").await.code(), "session_revoked");
}

/// R-G10: a new ID token ends the session earlier, and never later.
#[tokio::test]
async fn a_refresh_can_bring_the_end_nearer_and_not_push_it_away() {
    let broker = Broker::with(paced()).await;
    let browser = broker.signed_in().await;
    let now = counterfoil::clock::Clock::now(&*broker.clock).unix_timestamp();
    for (expiry, ends) in [(now + 1200, now + 1200), (now + 9999, now + 1200)] {
        let claims = set(json!({ "session_expiry": expiry }));
        broker.idp.behave(Script { refresh_claims: claims, ..Script::default() });
        broker.clock.advance(Duration::minutes(5));
        assert_eq!(browser.get("/x").await.status, 200);
        let session = browser.session().await;
        let told = session["session"]["absolute_expires_at"].as_str().unwrap().to_owned();
        let format = time::format_description::well_known::Rfc3339;
        assert_eq!(time::OffsetDateTime::parse(&told, &format).unwrap().unix_timestamp(), ends);
    }
    broker.clock.advance(Duration::minutes(10));
    assert_eq!(browser.get("/x").await.code(), "session_expired");
}

/// R-C11: an answer that cannot be used may all the same have used the refresh token up.
#[tokio::test]
async fn the_refresh_token_of_an_unusable_answer_is_kept() {
    let broker = Broker::with(paced()).await;
    for (code, script) in [
        (
            "reauthentication_required",
            Script { refresh_answer: set(json!({ "token_type": "mac" })), ..Script::default() },
        ),
        ("idp_unavailable", Script { refresh_claims: set(json!({ "exp": 1 })), ..Script::default() }),
    ] {
        broker.idp.behave(Script::default());
        let browser = broker.signed_in().await;
        broker.clock.advance(Duration::minutes(5));
        broker.idp.behave(script);
        assert_eq!(browser.get("/api").await.code(), code);
        broker.idp.behave(Script::default());
        broker.clock.advance(Duration::seconds(11));
        assert_eq!(browser.get("/api").await.status, 200, "each refresh token works once");
    }
}

/// R-C12: a failure with one person's token does not keep others from being confirmed.
#[tokio::test]
async fn a_userinfo_failure_for_one_person_affects_no_other() {
    let broker = Broker::with(paced()).await;
    let (one, other) = (broker.signed_in().await, broker.signed_in().await);
    broker.clock.advance(Duration::minutes(5));
    let busy = Misbehaviour::Answer(429, "text/plain", "");
    broker.idp.behave(Script { at_userinfo: busy, ..Script::default() });
    for browser in [&one, &other] {
        assert_eq!(browser.get("/x").await.status, 200);
    }
    assert_eq!(refreshes(&broker.idp).len(), 2);
}

/// R-I08, R-C09, R-C13: sessions of a provider that is not configured any more, or was replaced by another one, are not
/// confirmed, and their tokens are not sent to it.
#[tokio::test]
async fn a_session_of_a_provider_that_is_gone_needs_a_login() {
    let template = setup();
    let memory: Arc<dyn SessionBackend> = Arc::new(MemoryStore::new(template.clock.clone()));
    let idp = || "logout_id_token_hint = true".to_owned();
    let shared =
        || Setup { store: Store::Shared(memory.clone()), clock: template.clock.clone(), idp: idp(), ..setup() };
    let before = Broker::with(shared()).await;
    let browser = before.signed_in().await;
    // Of the same name, and another issuer: every scripted provider has its own.
    let after = Broker::with(shared()).await;
    let endpoint = set(json!({ "revocation_endpoint": format!("{}/revoke", after.idp.issuer()) }));
    after.idp.behave(Script { metadata: endpoint, ..Script::default() });
    let browser = after.takes_over(&browser);
    for path in ["/api", "/x", "/sso/session"] {
        assert_eq!(browser.get(path).await.code(), "reauthentication_required", "{path}");
    }
    let public = browser.get("/open").await;
    assert!(public.status == 200 && received(&public.json(), "x-auth-request-user").is_empty());
    assert!(refreshes(&after.idp).is_empty(), "nothing is shown to a stranger");
    assert_eq!(sign_out(&browser).await.location(), "/sso/signed-out?only=here");
    after.app.finish_revocations(PATIENCE).await;
    assert!(after.idp.received("/revoke").is_empty());
}

/// R-J06: tokens that came for a session that is over are given back.
#[tokio::test]
async fn tokens_for_a_session_that_ended_meanwhile_are_given_back() {
    let broker = Broker::with(paced()).await;
    let endpoint = || set(json!({ "revocation_endpoint": format!("{}/revoke", broker.idp.issuer()) }));
    broker.idp.behave(Script { metadata: endpoint(), ..Script::default() });
    for ended_by_provider in [true, false] {
        let browser = broker.signed_in().await;
        let handle = broker.handle(&browser).await;
        broker.clock.advance(Duration::minutes(5));
        broker.idp.forget_requests();
        if ended_by_provider {
            let claims = set(json!({ "sub": "somebody-else" }));
            broker.idp.behave(Script { metadata: endpoint(), refresh_claims: claims, ..Script::default() });
            assert_eq!(browser.get("/x").await.code(), "session_revoked");
        } else {
            let gate = Gate::default();
            broker.idp.behave(Script { metadata: endpoint(), ..held(&gate) });
            let late = browser.copy();
            let late = tokio::spawn(async move { late.get("/x").await });
            under_way(&broker.idp).await;
            assert!(broker.app.sessions().end(handle.parse().unwrap()).await.unwrap());
            gate.open();
            assert_eq!(late.await.unwrap().status, 401);
        }
        let used = refreshes(&broker.idp).pop().unwrap();
        let fresh = |asked: &Received| asked.form["token_type_hint"] == "refresh_token" && asked.form["token"] != used;
        until("it is given back", async || broker.idp.received("/revoke").iter().any(fresh)).await;
        broker.idp.behave(Script { metadata: endpoint(), ..Script::default() });
    }
}

/// R-J06, R-O02: a list entry that cannot be removed does not keep the session from ending.
#[tokio::test]
async fn a_session_ends_although_the_lists_cannot_be_updated() {
    let redis = Redis::start();
    let broker = Broker::with(Setup { store: Store::Redis(redis.port()), ..paced() }).await;
    let endpoint = set(json!({ "revocation_endpoint": format!("{}/revoke", broker.idp.issuer()) }));
    broker.idp.behave(Script { metadata: endpoint, ..Script::default() });
    let (disabled, leaving) = (broker.signed_in().await, broker.signed_in().await);
    redis.ask(&["ACL", "SETUSER", "default", "-zrem"]);
    assert_eq!(sign_out(&leaving).await.status, 303);
    // Once the browser has been to the provider.
    broker.clock.advance(Duration::seconds(5));
    until("tokens are given back", async || broker.idp.received("/revoke").len() == 2).await;
    broker.idp.disable_everybody();
    broker.clock.advance(Duration::minutes(5));
    assert_eq!(disabled.get("/x").await.code(), "session_revoked");
    until("tokens are given back", async || broker.idp.received("/revoke").len() == 4).await;
}

/// R-I08: after the refresh interval, on every route; a disabled person is signed out, and is told so.
#[tokio::test]
async fn what_changes_at_the_provider_takes_effect_within_the_refresh_interval() {
    let broker = Broker::with(paced()).await;
    let browser = broker.signed_in().await;
    broker.idp.behave(Script { userinfo: set(json!({ "groups": ["finance"] })), ..Script::default() });
    broker.clock.advance(Duration::seconds(299));
    assert_eq!(browser.get("/finance").await.status, 403);
    assert!(refreshes(&broker.idp).is_empty());
    broker.clock.advance(Duration::seconds(1));
    assert_eq!(browser.session().await["groups"], json!(["staff"]), "asking renews nothing");
    assert!(refreshes(&broker.idp).is_empty());
    let promoted = browser.get("/finance").await;
    assert_eq!(promoted.status, 200, "{}", promoted.body);
    assert_eq!(received(&promoted.json(), "x-auth-request-groups"), ["finance"]);
    assert_eq!(browser.session().await["groups"], json!(["finance"]));
    for _ in 0..3 {
        assert_eq!(browser.get("/x").await.status, 200);
    }
    assert_eq!(refreshes(&broker.idp).len(), 1, "once in five minutes");

    broker.idp.disable_everybody();
    broker.clock.advance(Duration::minutes(5));
    let page = browser.visit(&format!("{PUBLIC}/x")).send().await;
    assert_eq!(page.status, 303);
    let ended = browser.visit(&format!("{PUBLIC}{}", page.location())).send().await;
    assert!(ended.body.contains("Your company account signed you out"), "{}", ended.body);
    assert_eq!(
        (browser.get("/x").await.status.as_u16(), browser.get("/x").await.code().as_str()),
        (401, "session_revoked")
    );
}

/// R-I08: also where nobody needs a session, and for reviewers.
#[tokio::test]
async fn whoever_was_disabled_is_a_stranger_on_public_routes_too() {
    let broker = Broker::with(paced()).await;
    let browser = broker.signed_in().await;
    let seen = browser.get("/open").await.json();
    assert_eq!(received(&seen, "x-auth-request-user"), ["248289761001"]);
    broker.idp.disable_everybody();
    broker.clock.advance(Duration::minutes(5));
    let answer = browser.get("/open").await;
    assert_eq!(answer.status, 200);
    assert!(received(&answer.json(), "x-auth-request-user").is_empty());
}

/// R-I08: reviewers by their groups are reviewers as long as the provider says so.
#[tokio::test]
async fn whoever_lost_the_group_is_no_reviewer_any_more() {
    let broker = Broker::with(paced()).await;
    broker.idp.behave(Script { userinfo: set(json!({ "groups": ["security"] })), ..Script::default() });
    let browser = broker.signed_in().await;
    let list = async || {
        let token = browser.get("/sso/session").await.header("x-csrf-token").to_owned();
        let asking = browser.fetch(&format!("{PUBLIC}/sso/api/v1/sessions")).header("x-csrf-token", &token);
        asking.header("sec-fetch-site", "same-origin").send().await.status
    };
    assert_eq!(list().await, 200);
    broker.idp.behave(Script { userinfo: set(json!({ "groups": ["staff"] })), ..Script::default() });
    broker.clock.advance(Duration::seconds(299));
    assert_eq!(list().await, 200);
    broker.clock.advance(Duration::seconds(1));
    assert_eq!(list().await, 403);
}

/// R-C12, R-P02: an outage of the provider keeps nobody out and starts a backoff.
#[tokio::test]
async fn an_outage_of_the_provider_is_waited_out() {
    let broker = Broker::with(paced()).await;
    let (one, other) = (broker.signed_in().await, broker.signed_in().await);
    broker.clock.advance(Duration::minutes(5));
    let away = Misbehaviour::Answer(503, "text/plain", "away");
    broker.idp.behave(Script { at_refresh: away, ..Script::default() });
    for _ in 0..5 {
        for browser in [&one, &other] {
            assert_eq!(browser.get("/x").await.status, 200);
            assert_eq!(browser.get("/api").await.code(), "idp_unavailable");
        }
    }
    assert_eq!(refreshes(&broker.idp).len(), 1, "for all of them");
    broker.idp.behave(Script::default());
    broker.clock.advance(Duration::seconds(11));
    assert_eq!(one.get("/x").await.status, 200);
    assert_eq!(other.get("/api").await.status, 200);
    assert_eq!(refreshes(&broker.idp).len(), 3);
}

/// R-E05: what userinfo does not answer costs no further refresh token; a 401 there costs one.
#[tokio::test]
async fn userinfo_that_fails_is_asked_again_with_the_same_token() {
    let broker = Broker::with(paced()).await;
    let browser = broker.signed_in().await;
    let fails = |status| Misbehaviour::Answer(status, "text/plain", "");
    broker.clock.advance(Duration::minutes(5));
    for (status, answer) in [(503, 200), (500, 200), (403, 401)] {
        broker.idp.behave(Script { at_userinfo: fails(status), ..Script::default() });
        broker.clock.advance(Duration::seconds(11));
        assert_eq!(browser.get("/x").await.status, answer);
    }
    assert_eq!(refreshes(&broker.idp), [REFRESH_TOKEN]);
    assert_eq!(broker.idp.received("/userinfo").len(), 4, "at the login, and three times since");
    broker.idp.behave(Script { at_userinfo: fails(401), ..Script::default() });
    broker.clock.advance(Duration::seconds(11));
    assert_eq!(browser.get("/x").await.code(), "session_revoked");
    assert_eq!(refreshes(&broker.idp).len(), 2, "once more, and only once");
}

/// Without a refresh token userinfo is asked for as long as the access token lasts; after that only a login helps.
#[tokio::test]
async fn without_a_refresh_token_the_access_token_serves_until_its_end() {
    let broker = Broker::with(every("2m")).await;
    broker.idp.behave(Script { token_answer: set(json!({ "refresh_token": null })), ..Script::default() });
    let browser = broker.signed_in().await;
    broker.clock.advance(Duration::minutes(2));
    assert_eq!(token_at(&browser, "/api").await, ACCESS_TOKEN);
    assert_eq!(broker.idp.received("/userinfo").len(), 2);
    broker.clock.advance(Duration::minutes(3));
    for path in ["/api", "/x"] {
        let answer = browser.get(path).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (401, "reauthentication_required"));
        let page = browser.visit(&format!("{PUBLIC}{path}")).send().await;
        assert_eq!(
            (page.status.as_u16(), page.location()),
            (303, format!("/sso/login?return_to=%2F{}", &path[1..]).as_str())
        );
    }
    assert!(refreshes(&broker.idp).is_empty());
    let landed = broker.sign_in(&browser, "/api").await;
    assert_eq!(landed.location(), "/api");
    assert_eq!(token_at(&browser, "/api").await, format!("{ACCESS_TOKEN}-2"));

    let other = broker.signed_in().await;
    broker.clock.advance(Duration::minutes(2));
    broker.idp.behave(Script { at_userinfo: Misbehaviour::Answer(401, "text/plain", ""), ..Script::default() });
    assert_eq!(other.get("/x").await.code(), "session_revoked");
}

/// R-G08: renewing prolongs nothing.
#[tokio::test]
async fn a_session_ends_at_its_absolute_timeout_however_often_it_is_renewed() {
    let more = "[session]\nabsolute_timeout = \"1h\"\nidle_timeout = \"10m\"\n".into();
    let broker = Broker::with(Setup { more, ..paced() }).await;
    let browser = broker.signed_in().await;
    for _ in 0..11 {
        broker.clock.advance(Duration::minutes(5));
        assert_eq!(browser.get("/x").await.status, 200);
    }
    assert_eq!(refreshes(&broker.idp).len(), 11);
    broker.clock.advance(Duration::minutes(5));
    assert_eq!(browser.get("/x").await.code(), "session_expired");
    assert_eq!(refreshes(&broker.idp).len(), 11);
}

async fn stores(test: impl AsyncFn(&dyn Fn() -> Setup, Option<&Redis>)) {
    let redis = Redis::start();
    test(&|| Setup { store: Store::Redis(redis.port()), ..paced() }, Some(&redis)).await;
    let template = setup();
    let memory: Arc<dyn SessionBackend> = Arc::new(MemoryStore::new(template.clock.clone()));
    test(&|| Setup { store: Store::Shared(memory.clone()), clock: template.clock.clone(), ..paced() }, None).await;
}

/// R-G09, R-N04: the provider's answer comes after the end, whoever ended it, and brings nothing back; nor does no
/// answer.
#[tokio::test]
async fn a_session_that_ended_while_it_was_renewed_stays_ended() {
    stores(async |setup, redis| {
        for (end, answers) in [
            ("revocation", true),
            ("logout", true),
            ("DEL", true),
            ("revocation", false),
            ("logout", false),
            ("DEL", false),
        ] {
            let (broker, gate) = (Broker::with(setup()).await, Gate::default());
            broker.idp.behave(held(&gate));
            let browser = broker.signed_in().await;
            let handle = broker.handle(&browser).await;
            broker.clock.advance(Duration::minutes(5));
            broker.idp.forget_requests();
            // Two routes, since what was found before the wait must serve on neither.
            let late = ["/api", "/x"].map(|path| {
                let late = browser.copy();
                tokio::spawn(async move { late.get(path).await })
            });
            under_way(&broker.idp).await;
            let code = match (end, redis) {
                ("revocation", _) => {
                    let order = json!({ "handles": [handle], "reason": "lost laptop", "fresh_login": false });
                    assert_eq!(revoke(&broker, order).await["ended"], 1);
                    "session_revoked"
                }
                ("DEL", Some(redis)) => {
                    redis.command(&["DEL", &handle]).await;
                    "session_missing"
                }
                _ => {
                    assert!(broker.app.sessions().end(handle.parse().unwrap()).await.unwrap());
                    "session_missing"
                }
            };
            assert_eq!(browser.get("/api").await.status, 401, "{end}: at once");
            if answers {
                gate.open();
            } else {
                gate.hang_up();
            }
            for late in late {
                let answer = late.await.unwrap();
                assert_eq!((answer.status.as_u16(), answer.code().as_str()), (401, code), "{end}: {}", answer.body);
            }
            assert_eq!(browser.get("/x").await.status, 401, "{end}: afterwards");
            if let Some(redis) = redis {
                assert!(!redis.keys().await.contains(&handle), "{end}");
            }
        }
    })
    .await;
}

/// R-P02: requests that waited for the same answer make no request of their own.
#[tokio::test]
async fn an_outage_starts_one_backoff_however_many_requests_waited() {
    let (broker, gate) = (Broker::with(paced()).await, Gate::default());
    let (one, other) = (broker.signed_in().await, broker.signed_in().await);
    broker.clock.advance(Duration::minutes(5));
    broker.idp.behave(held(&gate));
    broker.idp.forget_requests();
    let waiting: Vec<_> = (0..20)
        .map(|_| {
            let browser = one.copy();
            tokio::spawn(async move { browser.get("/x").await })
        })
        .collect();
    under_way(&broker.idp).await;
    gate.hang_up();
    for waiting in waiting {
        assert_eq!(waiting.await.unwrap().status, 200, "an outage ends nothing");
    }
    assert_eq!(other.get("/x").await.status, 200);
    assert_eq!(refreshes(&broker.idp).len(), 1, "nobody asked again");
}

/// R-G09: a replica that lost its lease neither ends nor overwrites what another replica renewed, even if that saved a
/// rotated token alone.
#[tokio::test]
async fn a_rotated_token_that_another_replica_kept_is_newer_than_a_renewal_under_way() {
    let template = paced();
    let store: Arc<dyn SessionBackend> = Arc::new(MemoryStore::new(template.clock.clone()));
    let setup = || Setup { store: Store::Shared(store.clone()), clock: template.clock.clone(), ..paced() };
    let broker = Broker::with(setup()).await;
    let replica = broker.replica(setup()).await;
    let browser = broker.signed_in().await;
    let key = SessionKey::parse(browser.cookie(SESSION).unwrap().as_bytes()).unwrap();
    let (clock, elsewhere, same) = (template.clock.clone(), replica.app.sessions().clone(), key.clone());
    let work = async move |mut late: LockedSession| {
        // The lease is over.
        clock.advance(Duration::seconds(5));
        let rotate = async move |mut renewing: LockedSession| {
            let rotated = Some(ExposedSecret(Secret::new("rotated".to_owned())));
            let tokens = Tokens { refresh_token: rotated, ..renewing.tokens().clone() };
            renewing.save_tokens(tokens, None).await.unwrap()
        };
        let rotated = elsewhere.with_refresh_lock(&same, StdDuration::from_mins(1), |_| true, rotate).await.unwrap();
        assert_eq!(rotated, Locked::Done(Saved::Saved));
        assert!(!late.end(EndCause::EndedByProvider).await.unwrap(), "the provider's no was to a token used twice");
        let again = late.tokens().clone();
        late.save_tokens(again, None).await.unwrap()
    };
    let late = broker.app.sessions().with_refresh_lock(&key, StdDuration::from_mins(1), |_| true, work).await.unwrap();
    assert_eq!(late, Locked::Done(Saved::Superseded));
    let kept = broker.app.sessions().tokens(&key).await.unwrap().unwrap();
    assert_eq!(kept.refresh_token.unwrap().0.expose(), "rotated");
}

/// R-N04: "everybody of the group finance" is ended while somebody is just becoming one of them.
#[tokio::test]
async fn who_joins_a_group_while_it_is_revoked_is_ended_too() {
    stores(async |setup, _| {
        let broker = Broker::with(setup()).await;
        let browser = broker.signed_in().await;
        broker.clock.advance(Duration::minutes(5));
        let joins = set(json!({ "groups": ["finance"] }));
        let gate = Gate::default();
        broker.idp.behave(Script { userinfo: joins, ..held(&gate) });
        let late = browser.copy();
        let late = tokio::spawn(async move { late.get("/x").await });
        under_way(&broker.idp).await;
        let order = json!({ "filter": { "group": "finance" }, "reason": "incident" });
        assert_eq!(revoke(&broker, order).await["ended"], 0, "not one of them yet");
        gate.open();
        assert_eq!(late.await.unwrap().code(), "session_revoked");
        assert_eq!(browser.get("/x").await.status, 401);
        broker.clock.advance(Duration::minutes(1));
    })
    .await;
}

/// R-N04: a revocation that did not find a session, for want of an entry, say, or of a provider's word about the group,
/// reaches it when it is renewed next.
#[tokio::test]
async fn a_session_that_a_revocation_did_not_find_ends_when_it_is_renewed() {
    let order = || json!({ "filter": { "group": "finance" }, "reason": "incident" });
    let finance = || Script { userinfo: set(json!({ "groups": ["finance"] })), ..Script::default() };
    let redis = Redis::start();
    let broker = Broker::with(Setup { store: Store::Redis(redis.port()), ..paced() }).await;
    broker.idp.behave(finance());
    let lost = broker.signed_in().await;
    redis.delete_keys(|key| key.contains("index:")).await;
    broker.idp.behave(Script::default());
    let joins = broker.signed_in().await;
    broker.idp.behave(finance());
    broker.clock.advance(Duration::minutes(2));
    assert_eq!(revoke(&broker, order()).await["ended"], 0, "neither is known to be one of them");
    broker.clock.advance(Duration::minutes(1));
    let after = broker.signed_in().await;
    broker.clock.advance(Duration::minutes(5));
    for browser in [&lost, &joins] {
        assert_eq!(browser.get("/x").await.code(), "session_revoked");
    }
    assert_eq!(after.get("/x").await.status, 200, "a login that was begun later");
}

/// R-N04: whoever carries the order out finds no session of theirs by which to block them.
#[tokio::test]
async fn whoever_an_order_ends_at_a_renewal_is_blocked_by_name() {
    let broker = Broker::with(paced()).await;
    let joins = broker.signed_in().await;
    broker.clock.advance(Duration::minutes(2));
    let order = json!({ "filter": { "group": "finance" }, "reason": "incident", "block_for": "1h" });
    assert_eq!(revoke(&broker, order).await["ended"], 0, "not one of them yet");
    broker.idp.behave(Script { userinfo: set(json!({ "groups": ["finance"] })), ..Script::default() });
    broker.clock.advance(Duration::minutes(5));
    assert_eq!(joins.get("/x").await.code(), "session_revoked");
    broker.idp.behave(Script::default());
    assert_eq!(broker.sign_in(&broker.browser(), "/").await.status, 403, "one of them no more, and blocked");
}

/// R-C11: a client that disconnects does not cancel the renewal; the rotated token is saved.
#[tokio::test]
async fn a_browser_that_hangs_up_leaves_nothing_half_done() {
    stores(async |setup, _| {
        let broker = Broker::with(setup()).await;
        let browser = broker.signed_in().await;
        broker.clock.advance(Duration::minutes(5));
        let gate = Gate::default();
        broker.idp.behave(held(&gate));
        let hung_up = browser.copy();
        let hung_up = tokio::spawn(async move { hung_up.get("/api").await });
        under_way(&broker.idp).await;
        hung_up.abort();
        assert!(hung_up.await.unwrap_err().is_cancelled());
        gate.open();
        assert_eq!(browser.get("/api").await.status, 200);
        assert_eq!(refreshes(&broker.idp).len(), 1);
        broker.clock.advance(Duration::minutes(5));
        assert_eq!(browser.get("/api").await.status, 200);
        assert_eq!(refreshes(&broker.idp).len(), 2, "each refresh token works once");
    })
    .await;
}

/// R-C11: two replicas, many requests of many sessions: one grant for each session, and no logout.
#[tokio::test(flavor = "multi_thread")]
async fn replicas_renew_each_session_once_and_no_refresh_token_is_used_twice() {
    stores(async |setup, _| {
        let one = Broker::with(setup()).await;
        let other = one.replica(setup()).await;
        let mut browsers = Vec::new();
        for _ in 0..8 {
            browsers.push(one.signed_in().await);
        }
        for round in 1..4 {
            one.clock.advance(Duration::minutes(5));
            one.idp.behave(slow(150));
            let mut asking = tokio::task::JoinSet::new();
            for browser in &browsers {
                for _ in 0..3 {
                    for browser in [browser.copy(), other.takes_over(browser)] {
                        asking.spawn(async move { browser.get("/api").await });
                    }
                }
            }
            for answer in asking.join_all().await {
                assert_eq!(answer.status, 200, "{}", answer.body);
            }
            let used = refreshes(&one.idp);
            assert_eq!(used.len(), round * browsers.len());
            assert_eq!(used.iter().collect::<std::collections::BTreeSet<_>>().len(), used.len());
            one.idp.behave(Script::default());
        }
    })
    .await;
}

/// The access token has expired when the login is over, and lasts after a refresh.
fn expired(script: Script) -> Script {
    Script { token_answer: set(json!({ "expires_in": 0 })), ..script }
}

/// What is left of the lease under which a session is renewed, in milliseconds; as Redis says it, -1 if it has no end,
/// -2 if there is none.
async fn left_of_the_lease(house: &House) -> i64 {
    let keys = house.redis.keys().await;
    let Some(lease) = keys.iter().find(|key| key.contains("once:renewal:")) else { return -2 };
    house.redis.command(&["PTTL", lease]).await.convert().unwrap()
}

/// Waits until the lease under which a session is renewed was renewed so often.
async fn prolonged(house: &House, times: usize) {
    let (mut before, mut seen) = (left_of_the_lease(house).await, 0);
    until("the lease is prolonged", async || {
        let left = left_of_the_lease(house).await;
        assert!(left > 0, "it has been let go");
        seen += usize::from(left > before);
        before = left;
        seen >= times
    })
    .await;
}

/// R-C11: fifty requests at the end of the access token, on two broker processes, and a provider that takes longer than
/// the lease of four seconds, which is renewed each second: one refresh, no logout.
#[tokio::test(flavor = "multi_thread")]
async fn fifty_requests_on_two_processes_make_one_refresh_of_five_seconds() {
    let house = House::start("pass_access_token = true\n", 2).await;
    let gate = Gate::default();
    house.idp.behave(expired(held(&gate)));
    let browser = house.signed_in(0).await;
    let mut asking = tokio::task::JoinSet::new();
    for index in 0..50 {
        let browser = house.takes_over(index % 2, &browser);
        asking.spawn(async move { token_at(&browser, "/orders").await });
    }
    under_way(&house.idp).await;
    prolonged(&house, 5).await;
    gate.open();
    for token in asking.join_all().await {
        assert_eq!(token, format!("{ACCESS_TOKEN}-2"));
    }
    assert_eq!(refreshes(&house.idp), [REFRESH_TOKEN]);
    assert_eq!(house.redis.records().await.len(), 1);
}

/// R-C11: a process that dies in the middle keeps the others waiting no longer than its lease.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_dies_while_it_renews_is_succeeded() {
    let house = House::start("pass_access_token = true\n", 2).await;
    house.idp.behave(expired(held(&Gate::default())));
    let browser = house.signed_in(0).await;
    let lost = house.takes_over(0, &browser);
    let lost = tokio::spawn(async move { lost.fetch(&format!("{PUBLIC}/orders")).try_send().await });
    under_way(&house.idp).await;
    house.programs[0].signal("KILL");
    assert!(lost.await.unwrap().is_err());
    house.idp.behave(expired(Script::default()));
    let left = left_of_the_lease(&house).await;
    assert!(left != -1 && left <= 4_000, "it ends by itself, and soon: {left}");
    assert_eq!(token_at(&house.takes_over(1, &browser), "/orders").await, format!("{ACCESS_TOKEN}-2"));
}

/// R-C11, R-P09: nor does the end of the process leave anything half done.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_asked_to_end_finishes_its_renewals() {
    let house = House::start("pass_access_token = true\n", 2).await;
    let gate = Gate::default();
    house.idp.behave(expired(held(&gate)));
    let browser = house.signed_in(0).await;
    let hung_up = browser.copy();
    let hung_up = tokio::spawn(async move { hung_up.get("/orders").await });
    under_way(&house.idp).await;
    hung_up.abort();
    house.programs[0].signal("TERM");
    house.programs[0].wait_for("asked to end");
    prolonged(&house, 2).await;
    gate.open();
    assert_eq!(token_at(&house.takes_over(1, &browser), "/orders").await, format!("{ACCESS_TOKEN}-2"));
    assert_eq!(refreshes(&house.idp), [REFRESH_TOKEN]);
}

/// R-O02
#[tokio::test]
async fn refusals_and_failures_of_renewals_are_in_the_audit_trail() {
    let house = House::start("pass_access_token = true\n", 1).await;
    let fails = Misbehaviour::Answer(500, "text/plain", "");
    house.idp.behave(expired(Script { at_refresh: fails, ..Script::default() }));
    let browser = house.signed_in(0).await;
    assert_eq!(browser.get("/x").await.code(), "idp_unavailable");
    house.programs[0].wait_for("renewal_failed");
    house.idp.behave(expired(Script::default()));
    let browser = house.signed_in(0).await;
    house.idp.disable_everybody();
    assert_eq!(browser.get("/x").await.code(), "session_revoked");
    let said = house.programs[0].wait_for("renewal_refused");
    assert!(said.contains("invalid_grant") && !said.contains("CANARY"), "{said}");
}

/// R-I08: plain OAuth 2.0 without refresh tokens, as GitHub has it: the profile is asked again, and a 401 says no.
#[tokio::test]
async fn a_plain_provider_is_asked_for_the_profile_again() {
    let answer = Arc::new(Mutex::new((200, json!({ "id": 7, "units": ["staff"] }))));
    let said = answer.clone();
    let me = async move |headers: HeaderMap| {
        assert_eq!(headers["authorization"], "Bearer plain-token");
        let (status, profile) = said.lock().unwrap().clone();
        let left = if profile["limited"] == true { "0" } else { "59" };
        (StatusCode::from_u16(status).unwrap(), [("x-ratelimit-remaining", left)], Json(profile))
    };
    let token = async || Json(json!({ "access_token": "plain-token", "token_type": "bearer" }));
    let provider =
        format!("http://{}", listen(Router::new().route("/token", post(token)).route("/me", get_route(me))).await);
    let more = format!(
        "[idp.plain]\nkind = \"oauth2\"\nclient_id = \"x\"\nclient_secret = \"y\"\nrefresh = \"5m\"\nrefresh_wait = \"1m\"\n\
         profile = {{ subject = \"id\", groups = \"units\" }}\nauthorization_endpoint = \"{provider}/authorize\"\n\
         token_endpoint = \"{provider}/token\"\nprofile_endpoint = \"{provider}/me\"\n"
    );
    let broker = Broker::with(Setup { more, ..setup() }).await;
    for (status, profile, after, code) in [
        (200, json!({ "id": 7, "units": ["finance"] }), 200, ""),
        (403, json!({ "limited": true }), 403, "forbidden"),
        (500, json!({}), 403, "forbidden"),
        (403, json!({ "message": "Your account was suspended" }), 401, "reauthentication_required"),
        (404, json!({}), 401, "reauthentication_required"),
        (200, json!({ "units": ["finance"] }), 401, "reauthentication_required"),
        (200, json!({ "id": 8, "units": ["finance"] }), 401, "session_revoked"),
        (401, json!({}), 401, "session_revoked"),
    ] {
        *answer.lock().unwrap() = (200, json!({ "id": 7, "units": ["staff"] }));
        let browser = broker.browser();
        let start = browser.visit(&format!("{PUBLIC}/sso/login?idp=plain")).send().await;
        let state = start.location().split("state=").nth(1).unwrap().split('&').next().unwrap();
        let landed = browser.visit(&format!("{PUBLIC}/sso/callback/plain?code=c&state={state}")).send().await;
        assert_eq!(landed.status, 303, "{}", landed.body);
        assert_eq!(token_at(&browser, "/api").await, "plain-token", "nothing says that it ends");
        *answer.lock().unwrap() = (status, profile.clone());
        broker.clock.advance(Duration::minutes(5));
        let path = if code == "reauthentication_required" { "/x" } else { "/finance" };
        let asked = browser.get(path).await;
        assert_eq!(asked.status, after, "{status} {profile}: {}", asked.body);
        assert!(code.is_empty() || asked.code() == code, "{status} {profile}: {}", asked.body);
    }
}
