//! Presets: each provider's documented answers, recorded in `crates/oidc/tests/recorded`, make the person they describe.
//!
//! The endpoints are moved to this machine by the keys that everybody may write; everything else is the preset's.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Redirect, Response};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use counterfoil::clock::{Clock, ManualClock, SystemClock};
use counterfoil::config::{Settings, Source, presets};
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};
use url::Url;

use crate::support::broker::{Broker, HOST, KEY, PUBLIC, SESSION, Setup, listen};
use crate::support::browser::{Answer, Browser};
use crate::support::scripted_idp::{Script, ScriptedIdp, change, payload_of, set};
use crate::support::upstream::received;

/// What each preset needs besides a client.
const NEEDS: [(&str, &str); 15] = [
    ("apple", "team_id = \"ABCDE12345\"\nclient_key_id = \"ABC123DEFG\""),
    ("auth0", "domain = \"acme.eu.auth0.com\""),
    ("bitbucket", ""),
    (
        "cognito",
        "region = \"eu-central-1\"\nuser_pool = \"eu-central-1_AbC\"\ndomain = \"acme.auth.eu-central-1.amazoncognito.com\"",
    ),
    ("entra", "tenant = \"11111111-1111-1111-1111-111111111111\""),
    ("github", ""),
    ("gitlab", ""),
    ("google", "hosted_domain = \"example.com\""),
    ("kakao", ""),
    ("keycloak", "base_url = \"https://keycloak.example.com/\"\nrealm = \"acme\""),
    ("line-works", ""),
    ("naver", ""),
    ("naver-works", ""),
    ("okta", "domain = \"acme.okta.com\""),
    ("slack", "team = \"T0R7GR\""),
];

fn recorded(kind: &str) -> Value {
    let file = format!("{}/crates/oidc/tests/recorded/{kind}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

fn needs(kind: &str) -> &'static str {
    NEEDS.iter().find(|(name, _)| *name == kind).unwrap().1
}

fn read(section: &str) -> Result<Settings, Vec<(String, String)>> {
    let file = format!(
        "public_url = \"{PUBLIC}\"\n[secrets]\nkeys = [\"{KEY}\"]\n[store]\nurl = \"memory:\"\n[[route]]\npath = \"/\"\n\
         upstream = \"http://127.0.0.1:1\"\n[idp.preset]\nclient_id = \"backoffice\"\n{section}\n"
    );
    let source = Source { file: Some(file), ..Source::default() };
    source.settings().map_err(|faults| faults.0.into_iter().map(|fault| (fault.key, fault.problem)).collect())
}

fn section(kind: &str, more: &str) -> String {
    let proof = if kind == "apple" {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap().to_pkcs8v1().unwrap();
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----", STANDARD.encode(pair.as_ref()));
        format!("client_key = \"\"\"\n{pem}\n\"\"\"")
    } else {
        "client_secret = \"CANARY\"".to_owned()
    };
    format!("kind = \"{kind}\"\n{proof}\n{more}\n")
}

/// R-P07: every preset is valid, is told of where operators look, has its answers recorded, and takes no unknown key.
#[test]
fn every_preset_is_whole_and_documented() {
    let (example, page) = (include_str!("../../counterfoil.example.toml"), include_str!("../../docs/presets.md"));
    assert_eq!(presets::kinds().collect::<Vec<_>>(), NEEDS.map(|(kind, _)| kind));
    for kind in presets::kinds() {
        if let Err(faults) = read(&section(kind, needs(kind))) {
            panic!("{kind}: {faults:#?}");
        }
        assert!(recorded(kind).is_object());
        assert!(example.contains(&format!("\"{kind}\"")), "{kind} is not in counterfoil.example.toml");
        assert!(page.contains(&format!("`{kind}`")), "{kind} is not in docs/presets.md");
        let faults = read(&section(kind, &format!("{}\ntpyo = 1", needs(kind)))).unwrap_err();
        assert_eq!(faults, [("idp.preset.tpyo".to_owned(), "is unknown".to_owned())], "{kind}");
        for key in needs(kind).lines().map(|line| line.split(' ').next().unwrap()) {
            let without: Vec<_> = needs(kind).lines().filter(|line| !line.starts_with(key)).collect();
            let faults = read(&section(kind, &without.join("\n"))).unwrap_err();
            let [(named, problem)] = &faults[..] else { panic!("{kind} without {key}: {faults:#?}") };
            assert_eq!(*named, format!("idp.preset.{key}"));
            assert!(problem.starts_with("is missing: ") && problem.len() > 20, "{problem}");
        }
    }
}

/// R-P07: one line a case: what is written, and the key that is named.
#[test]
fn mistaken_presets_are_refused_by_name() {
    let tenant = needs("entra");
    for (kind, more, key) in [
        ("googel", "", "kind"),
        ("entra", "tenant = \"common\"", "tenant"),
        ("entra", "tenant = \"organizations\"\ntenants = [\"11111111\"]", "tenant"),
        ("entra", "tenants = []", "tenants"),
        ("entra", "tenants = [\"acme.onmicrosoft.com\"]", "tenants"),
        ("entra", &format!("{tenant}\ntenants = [\"11111111\"]"), "tenants"),
        ("entra", &format!("{tenant}\nprofile_api = \"gitlab\""), "profile_api"),
        ("entra", &format!("{tenant}\napi_base_url = \"http://graph.example.com\""), "api_base_url"),
        ("okta", "domain = \"https://acme.okta.com\"", "domain"),
        ("okta", "domain = \"acme.okta.com/oauth2\"", "domain"),
        ("okta", "domain = 7", "domain"),
        ("keycloak", "base_url = \"http://keycloak.example.com\"\nrealm = \"acme\"", "base_url"),
        ("slack", "team = \"\"", "team"),
        ("slack", "team = \"*\"", "team"),
        ("entra", "tenant = \"*\"", "tenant"),
        ("entra", &format!("{tenant}\ndpop = true"), "dpop"),
        ("entra", &format!("{tenant}\nauthority_url = \"https://login.example.com\""), "api_base_url"),
        ("github", "base_url = \"https://git.example.com\"", "api_base_url"),
        ("naver-works", "base_url = \"https://auth.example.com\"", "api_url"),
        ("google", "hosted_domain = \"example.com\"\nrequired_claims = { hd = [] }", "required_claims.hd"),
        ("kakao", "profile.subject = 7", "profile.subject"),
    ] {
        let faults = read(&section(kind, more)).expect_err(more);
        assert!(faults.iter().any(|(named, _)| *named == format!("idp.preset.{key}")), "{kind} {more}: {faults:?}");
    }
}

#[test]
fn presets_fill_in_what_is_not_written_and_nothing_else() {
    let issuer = |kind: &str, more: &str| {
        let settings = read(&section(kind, more)).unwrap_or_else(|faults| panic!("{faults:?}"));
        counterfoil::idp::Provider::new(
            settings.idps[0].clone(),
            Url::parse("https://app.example.test/sso/callback/preset").unwrap(),
            ManualClock::at(SystemClock.now()),
        )
        .unwrap()
        .issuer()
        .to_owned()
    };
    let of = |kind: &str| issuer(kind, needs(kind));
    assert_eq!(of("google"), "https://accounts.google.com");
    assert_eq!(of("auth0"), "https://acme.eu.auth0.com/");
    assert_eq!(of("keycloak"), "https://keycloak.example.com/realms/acme");
    assert_eq!(of("cognito"), "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_AbC");
    assert_eq!(of("entra"), "https://login.microsoftonline.com/11111111-1111-1111-1111-111111111111/v2.0");
    assert_eq!(issuer("entra", "tenants = [\"11111111\"]"), "https://login.microsoftonline.com/{tenantid}/v2.0");
    let enterprise = "base_url = \"https://git.example.com/\"\napi_base_url = \"https://git.example.com/api/v3\"";
    assert_eq!(issuer("github", enterprise), "https://git.example.com/login/oauth");
    assert_eq!(
        issuer("okta", "issuer = \"https://acme.okta.com/oauth2/x\"\ndomain = \"acme.okta.com\""),
        "https://acme.okta.com/oauth2/x"
    );

    let keycloak = &read(&section("keycloak", needs("keycloak"))).unwrap().idps[0];
    assert_eq!(keycloak.claims.mapping.groups, ["groups", "realm_access.roles", "resource_access.backoffice.roles"]);
    let own = format!("{}\nprofile.groups = \"units\"\nprofile.name = \"nickname\"", needs("keycloak"));
    let own = &read(&section("keycloak", &own)).unwrap().idps[0];
    assert_eq!(
        (own.claims.mapping.groups[0].as_str(), own.claims.mapping.groups.len(), own.claims.mapping.name[0].as_str()),
        ("units", 1, "nickname")
    );
    let github = &read(&section("github", "scopes = [\"read:user\"]\nprofile.name = \"login\"")).unwrap().idps[0];
    assert_eq!(
        (&github.login.scopes[..], github.claims.mapping.subject.as_str()),
        (&["read:user".to_owned()][..], "id")
    );
}

/// A login with the provider named `preset`; the landing.
async fn sign_in(broker: &Broker, browser: &Browser) -> Answer {
    let start = browser.visit(&format!("{PUBLIC}/sso/login?idp=preset&return_to=/")).send().await;
    assert_eq!(start.status, 303, "{}", start.body);
    let answer = Browser::new([(HOST.to_owned(), broker.address)]).visit(start.location()).send().await;
    assert_eq!(answer.status, 303, "{}", answer.body);
    browser.visit(answer.location()).send().await
}

/// Who the session and the upstream are told it is: subject, name, verified address, groups.
async fn person(browser: &Browser) -> (String, String, Option<String>, Vec<String>) {
    let session = browser.session().await;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let echo = browser.get("/").await.json();
    let email = received(&echo, "x-auth-request-email").first().copied().filter(|email| !email.is_empty());
    let groups = session["groups"].as_array().unwrap().iter().map(text).collect();
    (text(&session["subject"]), text(&session["name"]), email.map(str::to_owned), groups)
}

/// A provider that speaks OpenID Connect and says what was recorded.
async fn oidc_broker(kind: &str, more: &str, id_token: Value, userinfo: Value) -> Broker {
    let clock = ManualClock::at(SystemClock.now());
    let idp = ScriptedIdp::start(clock.clone()).await;
    let issuer = idp.issuer();
    let more = more.replace("ISSUER", &issuer);
    let issuer = if more.contains("issuer = ") { String::new() } else { format!("issuer = \"{issuer}\"") };
    let more = format!("[idp.preset]\nclient_id = \"backoffice\"\n{}{issuer}\n{more}\n", section(kind, needs(kind)));
    let broker = Broker::with_provider(Setup { more, clock, ..Setup::default() }, idp).await;
    // Nothing of the scripted person remains.
    let become_ = |answer: Value| {
        change(move |said: &mut Value| {
            for name in ["name", "email", "email_verified", "groups", "preferred_username", "sid"] {
                said.as_object_mut().unwrap().remove(name);
            }
            said.as_object_mut().unwrap().extend(answer.as_object().unwrap().clone());
        })
    };
    broker.idp.behave(Script { id_token_claims: become_(id_token), userinfo: become_(userinfo), ..Script::default() });
    broker
}

/// R-D15, R-I08: one line a provider: what it is, more keys, and who signs in.
#[tokio::test]
async fn openid_providers_make_the_person_that_their_documented_answers_describe() {
    let logout = "end_session_endpoint = \"ISSUER/end-session\"";
    for (kind, more, subject, groups) in [
        ("google", "", "110169484474386276334", vec![]),
        ("okta", "", "00uid4BxXw6I6TV4m0g3", vec!["Everyone", "staff"]),
        (
            "auth0",
            "profile.groups = \"https://backoffice.example.com/roles\"",
            "auth0|5f7c8ec7c33c6c004bbafe82",
            vec!["staff"],
        ),
        (
            "keycloak",
            "",
            "f7c8ec7c-0000-4000-8000-000000000001",
            vec!["/staff", "offline_access", "reviewer", "approver"],
        ),
        ("gitlab", "", "7", vec!["acme", "acme/platform"]),
        ("cognito", logout, "aaaaaaaa-bbbb-cccc-dddd-example", vec!["staff"]),
        ("slack", "", "U0R7JM", vec![]),
        ("entra", "", "AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ", vec!["6d2a7d5e-0000-4000-8000-000000000001"]),
    ] {
        let answers = recorded(kind);
        let userinfo = answers.get("userinfo").cloned().unwrap_or(json!({}));
        let broker = oidc_broker(kind, more, answers["id_token"].clone(), userinfo).await;
        let browser = broker.browser();
        let landed = sign_in(&broker, &browser).await;
        assert_eq!((landed.status.as_u16(), landed.location()), (303, "/"), "{kind}: {}", landed.body);
        let (said, name, email, in_groups) = person(&browser).await;
        assert_eq!(
            (said.as_str(), name.as_str(), email.as_deref()),
            (subject, "Alice Kim", Some("alice@example.com")),
            "{kind}"
        );
        assert_eq!(in_groups, groups, "{kind}");
        assert_eq!(broker.idp.received("/userinfo").is_empty(), kind == "entra");
    }
}

/// R-I08, R-M05: whose token it is stands in the ID token or in userinfo, which cannot talk away what the ID token says.
#[tokio::test]
async fn people_of_another_domain_or_workspace_are_refused() {
    for (kind, claim, wrong) in [
        ("google", "hd", json!("evil.example")),
        ("google", "hd", Value::Null),
        ("google", "hd", json!(["example.com"])),
        ("slack", "https://slack.com/team_id", json!("T0EVIL")),
        ("slack", "https://slack.com/team_id", Value::Null),
    ] {
        let mut answers = recorded(kind);
        answers["id_token"][claim] = wrong.clone();
        if wrong.is_null() {
            answers["userinfo"][claim] = Value::Null;
        }
        let broker = oidc_broker(kind, "", answers["id_token"].clone(), answers["userinfo"].clone()).await;
        let browser = broker.browser();
        let landed = sign_in(&broker, &browser).await;
        assert_eq!(landed.status, 403, "{kind} {wrong}: {}", landed.body);
        assert!(browser.cookie(SESSION).is_none());
        let asked = !broker.idp.received("/userinfo").is_empty();
        assert_eq!(asked, wrong.is_null(), "what the ID token says otherwise is refused before anything else is asked");
    }
}

/// R-C07, R-E02, R-C12: Slack refuses with status 200 at every endpoint; it reports outages in the same way, which say
/// nothing of the person.
#[tokio::test]
async fn a_refusal_that_comes_as_success_is_a_refusal_and_an_outage_none() {
    let answers = recorded("slack");
    let says = |answer: &str| {
        let answer = answers[answer].clone();
        change(move |said| *said = answer.clone())
    };
    let (id_token, userinfo) = (answers["id_token"].clone(), answers["userinfo"].clone());
    let broker = oidc_broker("slack", "refresh = \"5m\"\nrefresh_wait = \"1m\"", id_token, userinfo).await;
    // Its access tokens last, and there is nothing to renew them with.
    let lasting = set(json!({ "refresh_token": null, "expires_in": null }));
    let whole = Script { token_answer: lasting, ..broker.idp.script() };
    for (broken, status) in [
        (Script { token_answer: says("/token (refused)"), ..whole.clone() }, 400),
        (Script { userinfo: says("userinfo (refused)"), ..whole.clone() }, 502),
        (Script { userinfo: says("userinfo (away)"), ..whole.clone() }, 503),
    ] {
        broker.idp.behave(broken);
        let browser = broker.browser();
        assert_eq!(sign_in(&broker, &browser).await.status, status);
        assert!(browser.cookie(SESSION).is_none());
    }
    broker.idp.behave(whole.clone());
    let browser = broker.browser();
    assert_eq!(sign_in(&broker, &browser).await.status, 303);
    broker.idp.behave(Script { userinfo: says("userinfo (away)"), ..whole.clone() });
    broker.clock.advance(time::Duration::minutes(5));
    assert_eq!(browser.fetch(PUBLIC).send().await.status, 200);
    broker.idp.behave(Script { userinfo: says("userinfo (refused)"), ..whole });
    broker.clock.advance(time::Duration::minutes(5));
    assert_eq!(browser.fetch(PUBLIC).send().await.code(), "session_revoked");
}

/// R-D15: an address that Entra does not verify is ignored.
#[tokio::test]
async fn an_address_that_a_foreign_administrator_may_have_written_is_not_believed() {
    for said in [json!(false), json!("0"), json!(0), Value::Null] {
        let mut claims = recorded("entra")["id_token"].clone();
        claims["xms_edov"] = said.clone();
        claims["email_verified"] = json!(true);
        let broker = oidc_broker("entra", "", claims, json!({})).await;
        let browser = broker.browser();
        assert_eq!(sign_in(&broker, &browser).await.status, 303);
        assert_eq!(person(&browser).await.2, None, "{said}");
    }
}

/// R-D06: an application in several tenants; each is an issuer of its own, and the others are nobody's.
#[tokio::test]
async fn of_several_tenants_those_on_the_list_sign_in_each_under_its_own_issuer() {
    let (ours, theirs) = ("11111111-1111-1111-1111-111111111111", "33333333-3333-3333-3333-333333333333");
    for (token_tenant, issuer_tenant, key_tenant, expected) in [
        (json!(ours), ours, None, 303),
        (json!(ours), ours, Some("{tenantid}"), 303),
        (json!(ours), ours, Some(ours), 303),
        (json!(ours), ours, Some(theirs), 502),
        (json!(ours), ours, Some("9188040d-6c67-4c5b-b112-36a304b66dad"), 502),
        (json!("22222222-2222-2222-2222-222222222222"), "22222222-2222-2222-2222-222222222222", None, 400),
        (json!(ours), "22222222-2222-2222-2222-222222222222", None, 400),
        (Value::Null, ours, None, 502),
    ] {
        let clock = ManualClock::at(SystemClock.now());
        let idp = ScriptedIdp::start(clock.clone()).await;
        let authority = idp.issuer();
        let more = format!(
            "[idp.preset]\nclient_id = \"backoffice\"\n{}",
            section(
                "entra",
                &format!(
                    "refresh = \"5m\"\nrefresh_wait = \"1m\"\ntenants = [\"{ours}\", \"{theirs}\"]\nauthority_url = \"{authority}\"\n\
                     api_base_url = \"{authority}\""
                )
            )
        );
        let more = format!("{more}\n[idp.preset.shared_signals]\n");
        let broker = Broker::with_provider(Setup { more, clock, ..Setup::default() }, idp).await;
        let template = format!("{authority}/{{tenantid}}/v2.0");
        let iss = format!("{authority}/{issuer_tenant}/v2.0");
        let key_issuer = key_tenant.map(|tenant| format!("{authority}/{tenant}/v2.0"));
        let (tid, named, answered) = (token_tenant.clone(), iss.clone(), iss.clone());
        broker.idp.behave(Script {
            metadata: change(move |said| {
                said["issuer"] = json!(template);
            }),
            jwks: change(move |said| {
                if let Some(issuer) = &key_issuer {
                    said["keys"][0]["issuer"] = json!(issuer);
                }
            }),
            authorization_answer: Some(Arc::new(move |answer| {
                answer.retain(|(name, _)| name != "iss");
                answer.push(("iss".into(), answered.clone()));
            })),
            id_token_claims: change(move |claims| {
                claims["iss"] = json!(named);
                claims["tid"] = tid.clone();
            }),
            ..Script::default()
        });
        let browser = broker.browser();
        let landed = sign_in(&broker, &browser).await;
        assert_eq!(landed.status.as_u16(), expected, "{token_tenant} {issuer_tenant}: {}", landed.body);
        if expected == 303 {
            let session = browser.session().await;
            assert_eq!(session["issuer"], json!(iss));
            // R-C13: nor does a renewal make the session another tenant's.
            let other = json!({ "iss": format!("{authority}/{theirs}/v2.0"), "tid": theirs });
            broker.idp.behave(Script { refresh_claims: set(other), ..broker.idp.script() });
            broker.clock.advance(time::Duration::minutes(5));
            assert_eq!(browser.fetch(PUBLIC).send().await.code(), "session_revoked");
            ends_at_the_tenants_word(&broker, &browser, &authority, ours).await;
        }
    }
}

/// R-D06, R-J09, R-J14: each tenant speaks for its own people, by token, by frame and by event; another does not.
async fn ends_at_the_tenants_word(broker: &Broker, browser: &Browser, authority: &str, ours: &str) {
    const REVOKED: &str = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";
    let of = |tenant: &str| format!("{authority}/{tenant}/v2.0");
    let told = async |way: &str, kind: &str, body: String| {
        let asking = broker.browser().ask(Method::POST, &format!("{PUBLIC}/sso/{way}/preset"));
        asking.header("content-type", kind).body(&body).send().await.status.as_u16()
    };
    let framed = async |iss: String| {
        let query = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("iss", iss.as_str()), ("sid", "sid-1")])
            .finish();
        browser.fetch(&format!("{PUBLIC}/sso/frontchannel-logout/preset?{query}")).send().await.status.as_u16()
    };
    let logout = async |iss: String| {
        let token = broker.idp.logout_token(&json!({ "iss": iss, "jti": iss }));
        told("backchannel-logout", "application/x-www-form-urlencoded", format!("logout_token={token}")).await
    };
    let event = async |iss: String| {
        let sub_id = json!({ "format": "opaque", "id": "sid-1" });
        let token = broker.idp.security_event(&json!({ REVOKED: {} }), &json!({ "iss": iss, "sub_id": sub_id }));
        told("security-events", "application/secevent+jwt", token).await
    };
    let (other, template) = (of("22222222-2222-2222-2222-222222222222"), of("{tenantid}"));
    for iss in [other, template] {
        let refused = (logout(iss.clone()).await, event(iss.clone()).await, framed(iss.clone()).await);
        assert_eq!(refused, (400, 400, 400), "{iss}");
    }
    for way in ["token", "event", "frame"] {
        broker.clock.advance(time::Duration::seconds(3));
        assert_eq!(sign_in(broker, browser).await.status, 303, "{way}");
        assert_eq!(broker.status(browser).await, 200, "{way}");
        let status = match way {
            "token" => logout(of(ours)).await,
            "event" => event(of(ours)).await,
            _ => framed(of(ours)).await,
        };
        assert_eq!(status, if way == "event" { 202 } else { 200 }, "{way}");
        assert_eq!(broker.status(browser).await, 401, "{way}");
    }
}

/// A path, headers and the query of a request.
type Asked = (String, HeaderMap, HashMap<String, String>);

/// A provider's API that answers what was recorded to whoever has the token.
struct Api {
    base: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Api {
    async fn start(answers: Value) -> Self {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        let site = Router::new().fallback(async move |request: Request| answer(&answers, &log, request).await);
        Self { base: format!("http://{}", listen(site).await), asked }
    }

    fn asked(&self, path: &str) -> Vec<(HeaderMap, HashMap<String, String>)> {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|(at, _, _)| at == path).map(|(_, headers, form)| (headers.clone(), form.clone())).collect()
    }
}

type Log = Mutex<Vec<(String, HeaderMap, HashMap<String, String>)>>;

/// Answers with the document recorded for the query, else for the path; a number is a status, a text is a body that is
/// form-encoded. What is recorded under `link` is the header.
async fn answer(answers: &Value, log: &Log, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let pairs = |text: &[u8]| url::form_urlencoded::parse(text).into_owned().collect::<HashMap<_, _>>();
    let query = pairs(parts.uri.query().unwrap_or_default().as_bytes());
    if path == "/authorize" {
        let mut back = Url::parse(&query["redirect_uri"]).unwrap();
        back.query_pairs_mut().append_pair("code", "recorded").append_pair("state", &query["state"]);
        if let Some(issuer) = answers["/authorize (iss)"].as_str() {
            back.query_pairs_mut().append_pair("iss", issuer);
        }
        log.lock().unwrap().push((path, parts.headers, query));
        return Redirect::to(back.as_str()).into_response();
    }
    let form = pairs(&axum::body::to_bytes(body, 1 << 20).await.unwrap());
    let may = path == "/token" || parts.headers["authorization"].to_str().unwrap().starts_with("Bearer ");
    assert!(may, "{path} without an access token");
    log.lock().unwrap().push((path.clone(), parts.headers, if form.is_empty() { query } else { form }));
    let whole = parts.uri.path_and_query().unwrap().to_string();
    let recorded = if answers.get(&whole).is_some() { whole } else { path };
    let mut answer = said(&answers[&recorded]);
    if let Some(link) = answers[format!("{recorded} (link)")].as_str() {
        answer.headers_mut().insert("link", link.parse().unwrap());
    }
    answer
}

fn said(answer: &Value) -> Response {
    match answer {
        Value::Null => StatusCode::NOT_FOUND.into_response(),
        Value::Number(status) => {
            StatusCode::from_u16(u16::try_from(status.as_u64().unwrap()).unwrap()).unwrap().into_response()
        }
        Value::String(form) => {
            ([("content-type", "application/x-www-form-urlencoded; charset=utf-8")], form.clone()).into_response()
        }
        document => axum::Json(document.clone()).into_response(),
    }
}

/// A plain provider with these answers, and where its profile is.
async fn plain_broker(kind: &str, more: &str, answers: Value) -> (Broker, Api) {
    let api = Api::start(answers).await;
    let profile = match kind {
        "kakao" => "/v2/user/me",
        "naver" => "/v1/nid/me",
        "line-works" | "naver-works" => "/users/me",
        _ => "/user",
    };
    let base = &api.base;
    let moved = format!(
        "authorization_endpoint = \"{base}/authorize\"\ntoken_endpoint = \"{base}/token\"\nprofile_endpoint = \"{base}{profile}\"\n"
    );
    let api_base =
        if ["github", "bitbucket"].contains(&kind) { format!("api_base_url = \"{base}\"\n") } else { String::new() };
    let section = section(kind, &format!("{}\n{moved}{api_base}{more}", needs(kind)));
    let setup = Setup { more: format!("[idp.preset]\nclient_id = \"backoffice\"\n{section}"), ..Setup::default() };
    (Broker::with(setup).await, api)
}

/// R-D15, R-I08: one line a provider: what it is, and who signs in.
#[tokio::test]
async fn plain_providers_make_the_person_that_their_documented_answers_describe() {
    let units = vec!["9f0c1d2e-0000-4000-8000-000000000001", "9f0c1d2e-0000-4000-8000-000000000002"];
    let alice = Some("alice@example.com");
    for (kind, subject, name, email, groups) in [
        ("github", "583231", "Alice Kim", alice, vec!["acme", "acme/platform"]),
        ("bitbucket", "{d301aafa-0000-4000-8000-000000000001}", "Alice Kim", alice, vec!["acme", "acme-labs"]),
        ("line-works", "2d5e4f1a-0000-4000-8000-000000000001", "Kim Alice", alice, units.clone()),
        ("naver-works", "2d5e4f1a-0000-4000-8000-000000000001", "Kim Alice", alice, units),
        ("naver", "32742776", "앨리스", None, vec![]),
        ("kakao", "123456789", "앨리스", alice, vec![]),
    ] {
        let (broker, api) = plain_broker(kind, "", recorded(kind)).await;
        let browser = broker.browser();
        let landed = sign_in(&broker, &browser).await;
        assert_eq!((landed.status.as_u16(), landed.location()), (303, "/"), "{kind}: {}", landed.body);
        let (said, said_name, said_email, in_groups) = person(&browser).await;
        assert_eq!((said.as_str(), said_name.as_str(), said_email.as_deref()), (subject, name, email), "{kind}");
        assert_eq!(in_groups, groups, "{kind}");
        let (headers, form) = api.asked("/token").remove(0);
        assert_eq!(
            (form.contains_key("state"), headers["accept"].as_bytes()),
            (kind == "naver", &b"application/json"[..])
        );
        assert_eq!(form.contains_key("client_secret"), kind != "bitbucket", "{kind}");
        let scope = &api.asked("/authorize")[0].1.get("scope").cloned().unwrap_or_default();
        assert_eq!(scope.contains(','), kind == "kakao", "{scope}");
    }
}

/// R-I08: one line a case: the part that is missing or wrong, and what becomes of the login. Nobody signs in with less.
#[tokio::test]
async fn a_part_that_cannot_be_had_is_a_failed_login_and_not_one_with_less() {
    for (kind, path, answer, expected) in [
        ("github", "/authorize (iss)", json!("https://github.com"), 400),
        ("github", "/user/emails", json!(403), 502),
        ("github", "/user/orgs", json!(403), 502),
        ("github", "/user/teams", json!(404), 502),
        ("github", "/user/teams", json!(503), 503),
        ("github", "/user/teams", json!(429), 503),
        ("github", "/user/teams", json!({ "message": "moved" }), 502),
        ("github", "/user/teams", json!([{ "slug": "platform" }]), 502),
        ("github", "/user/teams", json!("a=b"), 502),
        ("bitbucket", "/user/emails", json!(401), 502),
        ("bitbucket", "/user/workspaces", json!(410), 502),
        ("bitbucket", "/user/workspaces", json!({ "values": [{}] }), 502),
        ("naver", "/v1/nid/me", recorded("naver")["/v1/nid/me (refused)"].clone(), 502),
        ("naver", "/v1/nid/me", json!({ "resultcode": "024", "message": "Authentication failed" }), 403),
        ("naver", "/v1/nid/me", json!({ "resultcode": "00", "response": null }), 502),
        ("naver", "/token", recorded("naver")["/token (refused)"].clone(), 502),
        ("kakao", "/v2/user/me", json!({ "id": null }), 502),
        ("line-works", "/users/me", json!({ "code": "UNAUTHORIZED" }), 502),
    ] {
        let mut answers = recorded(kind);
        answers[path] = answer.clone();
        let (broker, _) = plain_broker(kind, "", answers).await;
        let browser = broker.browser();
        let landed = sign_in(&broker, &browser).await;
        assert_eq!(landed.status.as_u16(), expected, "{kind} {path} {answer}: {}", landed.body);
        assert!(browser.cookie(SESSION).is_none());
    }
}

/// R-I08: what the profile has to say may be a number.
#[tokio::test]
async fn of_a_companys_domains_one_can_be_let_in_alone() {
    for (domain, status) in [("10000001", 303), ("10000002", 403)] {
        let more = format!("required_claims = {{ domainId = \"{domain}\" }}");
        let (broker, _) = plain_broker("naver-works", &more, recorded("naver-works")).await;
        assert_eq!(sign_in(&broker, &broker.browser()).await.status, status, "{domain}");
    }
}

/// R-F03, R-I08: a page may be short, its name no number, and its address anybody's; nobody loses a group by it.
#[tokio::test]
async fn lists_go_on_where_their_answers_say_so_at_our_own_address() {
    let link = |page: usize| format!("<https://evil.example/user/orgs?per_page=100&page={page}>; rel=\"next\"");
    let next = |page: &str| format!("https://evil.example/2.0/user/workspaces?pagelen=100&page={page}");
    let access = json!({ "type": "workspace_access", "workspace": { "slug": "acme-more" } });
    let (orgs, workspaces) = (&recorded("github")["/user/orgs"], &recorded("bitbucket")["/user/workspaces"]["values"]);
    for (kind, more, groups) in [
        (
            "github",
            json!({
                "/user/orgs (link)": link(2),
                "/user/orgs?per_page=100&page=2": [{ "login": "acme-more" }],
            }),
            &["acme", "acme-more", "acme/platform"][..],
        ),
        ("github", json!({ "/user/orgs": orgs, "/user/orgs (link)": link(1) }), &[]),
        (
            "bitbucket",
            json!({
                "/user/workspaces": { "values": workspaces, "next": next("67sER") },
                "/user/workspaces?pagelen=100&page=67sER": { "values": [access] },
            }),
            &["acme", "acme-labs", "acme-more"],
        ),
        ("bitbucket", json!({ "/user/workspaces": { "values": workspaces, "next": next("same") } }), &[]),
    ] {
        let mut answers = recorded(kind);
        answers.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let (broker, _) = plain_broker(kind, "", answers).await;
        let browser = broker.browser();
        let landed = sign_in(&broker, &browser).await;
        // A list without an end is no list.
        assert_eq!(landed.status, if groups.is_empty() { 502 } else { 303 }, "{kind}: {}", landed.body);
        if !groups.is_empty() {
            assert_eq!(person(&browser).await.3, groups, "{kind}");
        }
    }
}

/// R-D15: an address that the provider does not verify is ignored, whatever else it says.
#[tokio::test]
async fn addresses_of_plain_providers_count_only_if_the_provider_vouches_for_them() {
    let unverified = json!([{ "email": "alice@example.com", "primary": true, "verified": false }]);
    let unconfirmed =
        json!({ "values": [{ "email": "alice@example.com", "is_primary": true, "is_confirmed": false }] });
    let mut invalid = recorded("kakao")["/v2/user/me"].clone();
    invalid["kakao_account"]["is_email_valid"] = json!(false);
    for (kind, path, answer) in [
        ("github", "/user/emails", unverified),
        ("bitbucket", "/user/emails", unconfirmed),
        ("kakao", "/v2/user/me", invalid),
    ] {
        let mut answers = recorded(kind);
        answers[path] = answer;
        let (broker, _) = plain_broker(kind, "", answers).await;
        let browser = broker.browser();
        assert_eq!(sign_in(&broker, &browser).await.status, 303, "{kind}");
        assert_eq!(person(&browser).await.2, None, "{kind}");
    }
}

/// R-A03: what is not in the scopes is not asked for.
#[tokio::test]
async fn an_api_is_asked_for_what_the_scopes_name_and_nothing_else() {
    let (broker, api) = plain_broker("github", "scopes = [\"read:user\"]", recorded("github")).await;
    let browser = broker.browser();
    assert_eq!(sign_in(&broker, &browser).await.status, 303);
    assert_eq!(person(&browser).await, ("583231".into(), "Alice Kim".into(), None, vec![]));
    assert_eq!(api.asked.lock().unwrap().len(), 3, "authorization, token, profile");
}

/// R-F03, R-I08: groups that were too many come from the configured Graph, page by page, or nobody signs in.
#[tokio::test]
async fn groups_beyond_the_id_token_come_from_the_configured_graph() {
    let answers = recorded("entra");
    let ids = ["6d2a7d5e-0000-4000-8000-000000000001", "6d2a7d5e-0000-4000-8000-000000000002"];
    let mut endless = answers.clone();
    endless["/me/transitiveMemberOf"]["@odata.nextLink"] = json!("https://evil.example/v1.0/me?$skiptoken=s");
    let mut refused = answers.clone();
    refused["/me/transitiveMemberOf"] = json!(403);
    for (graph, expected, asked) in [(&answers, 303, 1), (&endless, 502, 5), (&refused, 502, 1)] {
        let api = Api::start(graph.clone()).await;
        let more = format!("api_base_url = \"{}\"", api.base);
        let broker = oidc_broker("entra", &more, answers["id_token_overage"].clone(), json!({})).await;
        let browser = broker.browser();
        let landed = sign_in(&broker, &browser).await;
        assert_eq!(landed.status.as_u16(), expected, "{}", landed.body);
        assert_eq!(api.asked("/me/transitiveMemberOf").len(), asked);
        if expected == 303 {
            let (_, _, email, groups) = person(&browser).await;
            assert_eq!((email.as_deref(), groups), (Some("alice@example.com"), ids.map(str::to_owned).to_vec()));
        }
    }
}

/// R-C14: Apple's client secret is a JWT of the team, made for this one request. The answer comes by form; the name in
/// the first one is signed by nobody, and `email_verified` is a text.
#[tokio::test]
async fn apple_gets_a_signed_secret_and_signs_the_address_alone() {
    let answers = recorded("apple");
    let userinfo = json!({ "sub": answers["id_token"]["sub"] });
    let only = "[login]\ndefault_idp = \"preset\"";
    let broker = oidc_broker("apple", only, answers["id_token"].clone(), userinfo).await;
    broker.idp.behave(Script {
        authorization_answer: Some(Arc::new(|answer| {
            answer.push(("user".to_owned(), recorded("apple")["user"].to_string()));
        })),
        ..broker.idp.script()
    });
    let browser = broker.browser();
    let (address, fields) = broker.reach_form(&browser, "/").await;
    // The browser's page would escape the quotes of `user`.
    let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert!(fields.iter().any(|(name, _)| *name == "user"));
    let landed = browser.submit(&address, &fields).sent_by_another_site().send().await;
    assert_eq!(landed.status, 303, "{}", landed.body);
    let (subject, name, email, _) = person(&browser).await;
    assert_eq!((json!(subject), name.as_str()), (answers["id_token"]["sub"].clone(), ""));
    assert_eq!(email.as_deref(), Some("alice@example.com"), "verified, as a text");
    let form = broker.idp.received("/token").remove(0).form;
    let claims = payload_of(&form["client_secret"]);
    let named = ["iss", "sub", "aud"].map(|claim| claims[claim].as_str().unwrap().to_owned());
    assert_eq!(named, ["ABCDE12345".to_owned(), "backoffice".to_owned(), broker.idp.issuer()]);
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 60);
    let header = URL_SAFE_NO_PAD.decode(form["client_secret"].split('.').next().unwrap()).unwrap();
    let header: Value = serde_json::from_slice(&header).unwrap();
    assert_eq!((&header["alg"], &header["kid"]), (&json!("ES256"), &json!("ABC123DEFG")));
}

/// R-C07: a provider that answers with a form although it was asked for JSON (GitHub's default).
#[tokio::test]
async fn token_answers_of_plain_providers_may_be_forms() {
    for (token, expected) in [
        ("access_token=gho_recorded&scope=read%3Aorg%2Cuser&token_type=bearer", 303),
        ("error=bad_verification_code&error_description=The+code+is+incorrect", 400),
        ("access_token=a&access_token=b&token_type=bearer", 502),
    ] {
        let mut answers = recorded("github");
        answers["/token"] = json!(token);
        let (broker, api) = plain_broker("github", "", answers).await;
        let landed = sign_in(&broker, &broker.browser()).await;
        assert_eq!(landed.status.as_u16(), expected, "{token}: {}", landed.body);
        assert_eq!(api.asked("/user").is_empty(), expected != 303);
    }
}
