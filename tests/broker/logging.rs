//! The content of the log, and the secrets that it never holds.

use http::Method;
use serde_json::Value;

use crate::support::broker::{KEY, SESSION, listen};
use crate::support::browser::Browser;
use crate::support::child::{Program, free_port};
use crate::support::program::{Folder, counterfoil};
use crate::support::redis::Redis;
use crate::support::scripted_idp::{ACCESS_TOKEN, Gate, Misbehaviour, REFRESH_TOKEN, Script, ScriptedIdp, set};

/// The real program at the finest log level, in front of a scripted provider and a real Redis.
struct Serving {
    program: Program,
    browser: Browser,
    public: String,
    idp: ScriptedIdp,
    _folder: Folder,
    redis: Redis,
}

async fn serving(format: &str) -> Serving {
    let (folder, redis, port) = (Folder::new(), Redis::start(), free_port());
    redis.command(&["CONFIG", "SET", "requirepass", "CANARY-redis-password"]).await;
    let idp = ScriptedIdp::start(std::sync::Arc::new(counterfoil::clock::SystemClock)).await;
    let office = listen(axum::Router::new().fallback(async || "office")).await;
    let public = format!("http://127.0.0.1:{port}");
    let config = format!(
        r#"
        public_url = "{public}"
        [server]
        listen = "127.0.0.1:{port}"
        ops_listen = "127.0.0.1:0"
        [log]
        level = "trace"
        format = "{format}"
        [secrets]
        keys = ["{KEY}"]
        [store]
        url = "redis://:CANARY-redis-password@127.0.0.1:{}/0"
        timeout = "5s"
        [idp.company]
        kind = "oidc"
        issuer = "{}"
        client_id = "backoffice"
        client_secret = "CANARY-client-secret"
        timeout = "5s"
        [idp.company.shared_signals]
        [[route]]
        path = "/secure"
        groups = ["staff"]
        upstream = "http://{office}"
        pass_access_token = true
        [[route]]
        path = "/"
        upstream = "http://127.0.0.1:1"
        groups = ["nobody"]
        "#,
        redis.port(),
        idp.issuer()
    );
    let file = folder.write("counterfoil.toml", &config);
    let mut command = counterfoil(folder.path(), &["serve", "--config", &file]);
    let program = Program::start(command.env("RUST_LOG", "trace"));
    program.wait_for("an identity provider is ready");
    Serving { program, browser: Browser::new([]), public, idp, _folder: folder, redis }
}

impl Serving {
    async fn callback(&self) -> String {
        let start = self.browser.visit(&format!("{}/sso/login?return_to=/secure", self.public)).send().await;
        self.browser.visit(start.location()).send().await.location().to_owned()
    }
}

/// R-O01, R-C09: success and failure, at trace level, with the levels of libraries asked for as well.
#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_written_at_any_level_on_any_path() {
    let serving = serving("json").await;
    let mut secrets =
        vec![ACCESS_TOKEN.to_owned(), REFRESH_TOKEN.to_owned(), "CANARY".to_owned(), KEY.to_owned(), "eyJ".to_owned()];
    let remember = |secrets: &mut Vec<String>| {
        secrets.extend(serving.browser.cookies().into_iter().map(|cookie| cookie.value).filter(|v| v.len() > 20));
    };
    for script in [
        Script::default(),
        Script::claims(serde_json::json!({ "nonce": "x" })),
        Script { at_token: Misbehaviour::Answer(400, "application/json", "{\"error\":\"no\"}"), ..Script::default() },
        Script { at_token: Misbehaviour::Answer(200, "text/html", "CANARY"), ..Script::default() },
        Script { at_token: Misbehaviour::Held(Gate::default()), ..Script::default() },
        Script { at_userinfo: Misbehaviour::Answer(500, "text/html", "CANARY"), ..Script::default() },
        Script {
            authorization_answer: Some(std::sync::Arc::new(|answer| answer.push(("error".into(), "no".into())))),
            ..Script::default()
        },
    ] {
        serving.idp.behave(script);
        let callback = serving.callback().await;
        let query = callback.split_once('?').unwrap().1;
        secrets.extend(
            url::form_urlencoded::parse(query.as_bytes())
                .map(|(_, value)| value.into_owned())
                .filter(|v| v.len() > 20 && !v.contains("127.0.0.1")),
        );
        remember(&mut secrets);
        serving.browser.visit(&callback).send().await;
        serving.browser.visit(&callback).send().await;
        remember(&mut secrets);
    }
    for request in serving.idp.received("/token") {
        secrets.push(request.form["code_verifier"].clone());
    }
    // Expired at once: the first page renews it.
    let expired = Script { token_answer: set(serde_json::json!({ "expires_in": 0 })), ..Script::default() };
    let at_refresh = Misbehaviour::Answer(400, "application/json", "{\"error\":\"no\"}");
    let refused = (Script { at_refresh, ..expired.clone() }, "renewal_refused");
    let mut said = String::new();
    for (script, comes_of_it) in [refused, (expired, "a session was renewed")] {
        serving.idp.behave(script);
        let callback = serving.callback().await;
        assert_eq!(serving.browser.visit(&callback).send().await.status, 303);
        remember(&mut secrets);
        serving.browser.visit(&format!("{}/secure", serving.public)).send().await;
        // The page does not wait for it as long as it may take.
        said.push_str(&serving.program.wait_for(comes_of_it));
    }
    for path in ["/secure", "/other", "/a%00b", "/sso/session", "/sso/callback/company?state=CANARY&code=CANARY"] {
        serving.browser.visit(&format!("{}{path}", serving.public)).send().await;
    }
    let junk = serving.browser.copy();
    junk.plant("127.0.0.1", SESSION, "CANARY");
    junk.fetch(&format!("{}/secure", serving.public)).header("authorization", "Bearer CANARY").send().await;
    serving.redis.freeze();
    serving.browser.visit(&format!("{}/secure", serving.public)).send().await;
    serving.redis.thaw();

    serving.program.signal("TERM");
    let (code, rest) = serving.program.end();
    said.push_str(&rest);
    assert_eq!(code, Some(0));
    assert!(said.contains("\"level\":\"DEBUG\"") && said.lines().count() > 50, "the test looks at something");
    for secret in &secrets {
        let line = said.lines().find(|line| line.contains(secret.as_str()));
        assert_eq!(line, None, "{secret} is in the log");
    }
}

/// R-O02, R-O03, R-O04: one JSON object a line, with the events a review asks for.
#[tokio::test(flavor = "multi_thread")]
async fn a_scenario_leaves_its_events_in_structured_lines() {
    let serving = serving("json").await;
    let callback = serving.callback().await;
    serving.browser.visit(&callback).send().await;
    serving.browser.visit(&format!("{}/other%0A%1b", serving.public)).send().await;
    serving.browser.visit(&format!("{}/other", serving.public)).send().await;
    serving.idp.behave(Script::claims(serde_json::json!({ "aud": "x\r\nforged" })));
    let failing = serving.callback().await;
    serving.browser.visit(&failing).send().await;
    let page = serving.browser.visit(&format!("{}/sso/logout", serving.public)).send().await;
    let token = page.csrf_token();
    serving.browser.submit(&format!("{}/sso/logout", serving.public), &[("csrf_token", &token)]).send().await;
    serving.program.signal("TERM");
    let (_, said) = serving.program.end();
    let lines: Vec<Value> =
        said.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect();
    let event = |name: &str| lines.iter().find(|line| line["event"] == name).unwrap_or_else(|| panic!("no {name}"));
    assert_eq!(
        (&event("login_completed")["idp"], &event("login_completed")["client"]),
        (&"company".into(), &"127.0.0.1".into())
    );
    assert!(event("login_failed")["reason"].as_str().unwrap().contains("aud"));
    assert_eq!(
        (&event("login_completed")["groups"], &event("login_completed")["address_dropped"]),
        (&1.into(), &false.into())
    );
    let denied = lines.iter().find(|line| line["event"] == "access_denied").unwrap();
    assert_eq!((&denied["route"], &denied["rule"]), (&"/".into(), &"groups: nobody".into()));
    assert_eq!(denied["has"], "groups: staff; email: alice@example.com; idp: company");
    assert_eq!(event("access_denied")["path"], "/other");
    assert!(event("logged_out")["session"].as_str().unwrap().starts_with("cf-"));
    assert!(event("logged_out")["span"]["id"].is_string(), "by whose request");
    let answered = lines.iter().find(|line| line["message"] == "answered").unwrap();
    assert!(answered["peer"] == "127.0.0.1" && answered["client"] == "127.0.0.1" && answered["span"]["id"].is_string());
}

/// R-O02, R-O01: what a provider says of sessions, believed or not.
#[tokio::test(flavor = "multi_thread")]
async fn what_providers_say_of_sessions_is_in_the_audit_trail() {
    let serving = serving("json").await;
    let callback = serving.callback().await;
    serving.browser.visit(&callback).send().await;
    let address = format!("{}/sso/backchannel-logout/company", serving.public);
    let refused = serving.idp.logout_token(&serde_json::json!({ "aud": "x\r\nforged" }));
    let honest = serving.idp.logout_token(&serde_json::json!({}));
    for (token, status) in [(&refused, 400), (&honest, 200)] {
        assert_eq!(serving.browser.submit(&address, &[("logout_token", token)]).send().await.status, status);
    }
    let foreign = serde_json::json!({ "format": "iss_sub", "iss": "https://evil.example", "sub": "a" });
    let revoked = serde_json::json!({ "https://schemas.openid.net/secevent/caep/event-type/session-revoked": {} });
    let of_nobody = serving.idp.security_event(&revoked, &serde_json::json!({ "sub_id": foreign }));
    let address = format!("{}/sso/security-events/company", serving.public);
    let telling = serving.browser.ask(Method::POST, &address).header("content-type", "application/secevent+jwt");
    assert_eq!(telling.body(&of_nobody).send().await.status, 202);
    serving.program.signal("TERM");
    let (_, said) = serving.program.end();
    assert!(![&refused, &honest].iter().any(|token| said.contains(token.rsplit_once('.').unwrap().1)));
    let lines: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let event = |name: &str| lines.iter().find(|line| line["event"] == name).unwrap_or_else(|| panic!("no {name}"));
    let (refusal, end) = (event("provider_notice_refused"), event("provider_ended"));
    assert!(refusal["way"] == "back_channel" && refusal["reason"].as_str().unwrap().contains("`aud`"), "{refusal}");
    assert!(end["way"] == "back_channel" && end["ended"] == 1 && end["complete"] == true, "{end}");
    assert_eq!(event("session_revoked")["by"], "provider:company");
    let of_nobody = lines.iter().find(|line| line["way"] == "security_event").unwrap();
    assert!(of_nobody["event"] == "provider_ended" && of_nobody["selection"] == "nobody", "{of_nobody}");
    assert!(of_nobody["ended"] == 0 && of_nobody["complete"] == true, "{of_nobody}");
    // So does the notice that a provider sends after an ordinary logout: nothing is amiss.
    assert_eq!(of_nobody["level"], "INFO", "{of_nobody}");
}
