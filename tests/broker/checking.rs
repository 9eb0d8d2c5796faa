//! `counterfoil check` reports what will not work before the first login: each finding with its key.

use std::sync::Arc;

use counterfoil::clock::SystemClock;
use serde_json::{Value, json};

use crate::support::broker::KEY;
use crate::support::child::free_port;
use crate::support::program::{Folder, counterfoil, run};
use crate::support::redis::Redis;
use crate::support::scripted_idp::{Misbehaviour, Script, ScriptedIdp, set};
use crate::support::upstream;

/// A store, a provider and an application for `check` to ask.
struct Site {
    folder: Folder,
    redis: Redis,
    idp: ScriptedIdp,
    office: String,
}

impl Site {
    async fn start() -> Self {
        let idp = ScriptedIdp::start(Arc::new(SystemClock)).await;
        let office = format!("http://{}", upstream::start().await);
        Self { folder: Folder::new(), redis: Redis::start(), idp, office }
    }

    /// `idp`: more keys of the provider; `more`: routes and the rest, in which `OFFICE` is the application.
    fn check(&self, idp: &str, more: &str) -> (Option<i32>, String) {
        let secret = if idp.contains("client_") || idp.contains("\"none\"") { "" } else { "client_secret = \"x\"\n" };
        let route = format!("[[route]]\npath = \"/\"\nupstream = \"{}\"\n", self.office);
        let more = if more.contains("[[route]]") { more.to_owned() } else { format!("{route}{more}") };
        let text = format!(
            "public_url = \"https://app.example.test\"\n[secrets]\nkeys = [\"{KEY}\"]\n[store]\nurl = \"{}\"\n[idp.company]\n\
             kind = \"oidc\"\nissuer = \"{}\"\nclient_id = \"backoffice\"\n{secret}{idp}\n{}",
            self.redis.url(),
            self.idp.issuer(),
            more.replace("OFFICE", &self.office),
        );
        let file = self.folder.write("counterfoil.toml", &text);
        let (code, said, errors) = run(counterfoil(self.folder.path(), &["check", "--config", &file]));
        assert!(code != Some(64), "{text}\n{errors}");
        (code, said)
    }

    fn metadata(&self, members: Value) {
        self.idp.behave(Script::metadata(members));
    }
}

fn line<'a>(said: &'a str, begin: &str) -> &'a str {
    said.lines().find(|line| line.starts_with(begin)).unwrap_or_else(|| panic!("no {begin} in {said}"))
}

/// One line a finding: what the provider says of itself, what is configured, the verdict, the key, and what to set. The
/// lists are those of OpenID Connect Discovery 3, RFC 8414 2, RFC 9101, RFC 9449 and JARM 4 that the broker's keys
/// touch.
#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "a table")]
async fn what_the_metadata_do_not_offer_is_named_with_the_key_to_change() {
    let site = Site::start().await;
    let key = site.folder.path().join("key.pem");
    let made = std::process::Command::new("openssl")
        .args(["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out"])
        .arg(&key)
        .output();
    assert!(made.unwrap().status.success());
    let by_key = format!("token_endpoint_auth_method = \"private_key_jwt\"\nclient_key_file = \"{}\"\n", key.display());
    let signing = format!("client_secret = \"x\"\nrequest_object = true\nclient_key_file = \"{}\"\n", key.display());
    let groups = "[[route]]\npath = \"/\"\nupstream = \"OFFICE\"\ngroups = [\"staff\"]\n";
    let emails = "[[route]]\npath = \"/\"\nupstream = \"OFFICE\"\nemail_domains = [\"example.com\"]\n";
    let acr = "[[route]]\npath = \"/\"\nupstream = \"OFFICE\"\nacr = [\"urn:mfa\"]\n";
    for (offers, idp, more, verdict, key, said) in [
        (
            json!({ "id_token_signing_alg_values_supported": ["ES256"] }),
            "",
            "",
            "fail",
            "idp.company.id_token_signed_response_alg",
            "\"ES256\"",
        ),
        (
            json!({ "id_token_signing_alg_values_supported": ["HS256", "none"] }),
            "",
            "",
            "fail",
            "idp.company.id_token_signed_response_alg",
            "none of these is known",
        ),
        (
            json!({ "token_endpoint_auth_methods_supported": ["private_key_jwt"] }),
            "",
            "",
            "note",
            "idp.company.token_endpoint_auth_method",
            "accepted us all the same",
        ),
        (
            json!({ "token_endpoint_auth_methods_supported": ["client_secret_post"] }),
            "token_endpoint_auth_method = \"none\"\n",
            "",
            "note",
            "idp.company.token_endpoint_auth_method",
            "\"client_secret_post\"",
        ),
        (
            json!({ "token_endpoint_auth_signing_alg_values_supported": ["RS256"] }),
            &by_key,
            "",
            "note",
            "idp.company.client_key_file",
            "RS256",
        ),
        (
            json!({ "response_types_supported": ["id_token"] }),
            "",
            "",
            "fail",
            "idp.company.issuer",
            "authorization codes",
        ),
        (
            json!({ "response_modes_supported": ["query", "fragment"] }),
            "response_mode = \"form_post\"\n",
            "",
            "fail",
            "idp.company.response_mode",
            "\"query\"",
        ),
        (
            json!({ "authorization_signing_alg_values_supported": ["PS256"] }),
            "response_mode = \"jwt\"\n",
            "",
            "fail",
            "idp.company.authorization_signed_response_alg",
            "\"PS256\"",
        ),
        (json!({ "scopes_supported": ["openid", "profile"] }), "", "", "note", "idp.company.scopes", "not email"),
        (
            json!({ "dpop_signing_alg_values_supported": ["RS256"] }),
            "dpop = true\n",
            "",
            "fail",
            "idp.company.dpop",
            "ES256",
        ),
        (json!({}), "dpop = true\n", "", "note", "idp.company.dpop", "no DPoP"),
        (
            json!({ "acr_values_supported": ["urn:pwd"] }),
            "acr_values = [\"urn:mfa\"]\n",
            "",
            "note",
            "idp.company.acr_values",
            "urn:pwd",
        ),
        (json!({ "acr_values_supported": ["urn:pwd"] }), "", acr, "note", "route[0].acr", "urn:pwd"),
        (
            json!({ "claims_supported": ["sub"] }),
            "required_claims = { hd = \"x\" }\n",
            "",
            "note",
            "idp.company.required_claims.hd",
            "sub",
        ),
        (
            json!({ "claims_supported": ["sub"] }),
            "profile.email = \"upn\"\n",
            "",
            "note",
            "idp.company.profile.email",
            "upn",
        ),
        (
            json!({ "prompt_values_supported": ["login"] }),
            "prompt = \"consent\"\n",
            "",
            "note",
            "idp.company.prompt",
            "login",
        ),
        (json!({ "require_signed_request_object": true }), "", "", "fail", "idp.company.request_object", "true"),
        (json!({ "request_parameter_supported": false }), &signing, "", "fail", "idp.company.request_object", "false"),
        (
            json!({ "request_object_signing_alg_values_supported": ["RS256"] }),
            &signing,
            "",
            "fail",
            "idp.company.client_key_file",
            "RS256",
        ),
        (json!({ "code_challenge_methods_supported": ["plain"] }), "", "", "note", "idp.company.issuer", "S256"),
        (
            json!({ "scopes_supported": ["openid", "profile", "email", "offline_access"] }),
            "refresh = \"5m\"\n",
            "",
            "note",
            "idp.company.scopes",
            "offline_access",
        ),
        (
            json!({ "grant_types_supported": ["authorization_code"] }),
            "refresh = \"5m\"\n",
            "",
            "note",
            "idp.company.refresh",
            "refresh tokens",
        ),
        (json!({}), "", groups, "note", "idp.company.scopes", "route[0].groups"),
        (
            json!({ "scopes_supported": ["openid", "profile", "email", "groups"] }),
            "",
            groups,
            "note",
            "idp.company.scopes",
            "\"groups\"",
        ),
        (json!({}), "", "[admin]\ngroups = [\"security\"]\n", "note", "idp.company.scopes", "admin.groups"),
        (
            json!({ "claims_supported": ["sub"] }),
            "scopes = [\"openid\", \"roles\"]\n",
            groups,
            "note",
            "idp.company.profile.groups",
            "groups",
        ),
        (json!({}), "scopes = [\"openid\"]\n", emails, "note", "idp.company.scopes", "email"),
    ] {
        site.metadata(offers.clone());
        let (code, report) = site.check(idp, more);
        let found = line(&report, &format!("{verdict}  {key}:"));
        assert!(found.contains(said), "{offers} {idp}: {said} is not in {found}");
        assert_eq!(code, Some(i32::from(verdict == "fail")), "{offers} {idp}: {report}");
    }
    // What fits is not complained of.
    for (offers, idp, more) in [
        (json!({ "id_token_signing_alg_values_supported": ["RS256", "ES256"] }), "", ""),
        (json!({ "token_endpoint_auth_methods_supported": ["client_secret_basic"] }), "", ""),
        (json!({ "scopes_supported": ["openid", "profile", "email"], "response_modes_supported": [] }), "", ""),
        (json!({ "claims_supported": ["sub", "groups"] }), "", groups),
        (json!({}), "scopes = [\"openid\", \"groups\"]\n", groups),
        (json!({}), "authorization_parameters = { claims = \"{}\" }\n", groups),
        (json!({ "dpop_signing_alg_values_supported": ["ES256"] }), "dpop = true\n", ""),
        (json!({ "id_token_signing_alg_values_supported": "nonsense" }), "", ""),
    ] {
        site.metadata(offers.clone());
        let (code, report) = site.check(idp, more);
        assert!(code == Some(0) && !report.contains("note  "), "{offers} {idp} {report}");
    }
}

/// A wrong secret is told from everything else that a token endpoint, or one for pushed requests, refuses.
#[tokio::test(flavor = "multi_thread")]
async fn credentials_are_tried_before_anybody_signs_in() {
    let site = Site::start().await;
    let json = "application/json";
    let pushed = || set(json!({ "pushed_authorization_request_endpoint": format!("{}/par", site.idp.issuer()) }));
    for (script, verdict, said) in [
        (Script::default(), "ok    ", "knows client_id"),
        (
            Script { at_token: Misbehaviour::Answer(401, json, r#"{"error":"invalid_client"}"#), ..Script::default() },
            "fail  ",
            "client_secret",
        ),
        (
            Script { at_token: Misbehaviour::Answer(400, json, r#"{"error":"invalid_client"}"#), ..Script::default() },
            "fail  ",
            "client_secret",
        ),
        (
            Script {
                at_token: Misbehaviour::Answer(400, json, r#"{"error":"unauthorized_client"}"#),
                ..Script::default()
            },
            "fail  ",
            "by code",
        ),
        (Script { at_token: Misbehaviour::Answer(500, json, ""), ..Script::default() }, "note  ", "could not be told"),
        (
            Script { at_token: Misbehaviour::Answer(400, json, r#"{"error":"invalid_request"}"#), ..Script::default() },
            "note  ",
            "could not be told",
        ),
        (Script { metadata: pushed(), ..Script::default() }, "ok    ", "knows client_id"),
        (
            Script {
                metadata: pushed(),
                at_pushed: Misbehaviour::Answer(401, json, r#"{"error":"invalid_client"}"#),
                ..Script::default()
            },
            "fail  ",
            "client_secret",
        ),
        (
            Script {
                metadata: pushed(),
                at_pushed: Misbehaviour::Answer(400, json, r#"{"error":"invalid_request"}"#),
                ..Script::default()
            },
            "fail  ",
            "redirect URI",
        ),
        // A method that is not offered and not accepted either.
        (
            Script {
                metadata: set(json!({ "token_endpoint_auth_methods_supported": ["client_secret_post"] })),
                at_token: Misbehaviour::Answer(401, json, r#"{"error":"invalid_client"}"#),
                ..Script::default()
            },
            "fail  ",
            "client_secret",
        ),
    ] {
        let is_two = script.metadata.is_some() && matches!(script.at_token, Misbehaviour::Answer(..));
        site.idp.behave(script);
        let (code, report) = site.check("", "");
        let found: Vec<_> = report.lines().filter(|line| line.starts_with(verdict) && line.contains(said)).collect();
        assert!(!found.is_empty() && code == Some(i32::from(verdict == "fail  ")), "{said}: {report}");
        if is_two {
            assert!(line(&report, "fail  idp.company.token_endpoint_auth_method").contains("\"client_secret_post\""));
        }
    }
    assert!(site.idp.received("/token").iter().all(|received| received.form["code"].starts_with("counterfoil-check")));
}

/// Routes that never apply, and applications that are not there: each said with its key, and never exit 0.
#[tokio::test(flavor = "multi_thread")]
async fn routes_and_the_applications_behind_them_are_looked_at() {
    let site = Site::start().await;
    let route = |path: &str, upstream: &str| format!("[[route]]\npath = \"{path}\"\nupstream = \"{upstream}\"\n");
    let dead = format!("http://127.0.0.1:{}", free_port());
    let own = free_port();
    let listen = format!("[server]\nlisten = \"0.0.0.0:{own}\"\n");
    for (more, key, said) in [
        (route("/", "OFFICE") + &route("/admin", "OFFICE"), "route[1].path", "route[0]"),
        (route("/a", "OFFICE") + &route("/b", "OFFICE") + &route("= /a/x", "OFFICE"), "route[2].path", "`/a`"),
        ("[[route]]\npath = \"/\"\n".into(), "route[0].upstream", "404"),
        (route("/", &dead), "route[0].upstream", "is the application running"),
        (route("/", "http://no-such-host.invalid:3000"), "route[0].upstream", "not known here"),
        (route("/", "https://app.example.test"), "route[0].upstream", "in circles"),
        (route("/", &format!("http://127.0.0.1:{own}")) + &listen, "route[0].upstream", "the broker itself"),
        (route("/x", "OFFICE") + &route("/", "http://localhost:9090"), "route[1].upstream", "server.ops_listen"),
    ] {
        let (code, report) = site.check("", &more);
        assert!(line(&report, &format!("fail  {key}:")).contains(said), "{more}: {report}");
        assert_eq!(code, Some(1), "{report}");
    }
    let (code, report) = site.check("", &(route("/admin", "OFFICE") + &route("/", "OFFICE")));
    assert!(code == Some(0) && report.matches("takes connections").count() == 1, "asked once: {report}");
}

/// What has to be registered at the provider is printed whole, to be copied.
#[tokio::test(flavor = "multi_thread")]
async fn every_address_to_register_is_printed() {
    let site = Site::start().await;
    let (_, report) = site.check("[idp.company.shared_signals]\n", "");
    for path in [
        "/sso/callback/company",
        "/sso/signed-out",
        "/sso/backchannel-logout/company",
        "/sso/frontchannel-logout/company",
        "/sso/security-events/company",
    ] {
        assert!(report.contains(&format!("register there: https://app.example.test{path} (")), "{path}: {report}");
    }
}
