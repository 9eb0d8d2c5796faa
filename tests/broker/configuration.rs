//! Configuration: every fault at once, each with its key, none with a secret.

use std::collections::BTreeMap;

use counterfoil::config::{Settings, Source};
use counterfoil::idp::ClientAuthentication;

use crate::support::broker::KEY;
use crate::support::program::{Folder, counterfoil, run};

const GOOD: &str = r#"
public_url = "https://backoffice.example.com"
[secrets]
keys = ["AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="]
[store]
url = "redis://127.0.0.1:6379/0"
[idp.company]
kind = "oidc"
issuer = "https://idp.example.com"
client_id = "backoffice"
client_secret = "CANARY"
[[route]]
path = "/"
upstream = "http://127.0.0.1:3000"
"#;

fn read(file: &str, environment: &[(&str, &str)]) -> Result<Settings, BTreeMap<String, String>> {
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let source = Source { file: Some(file.to_owned()), environment, ..Source::default() };
    source.settings().map_err(|faults| faults.0.into_iter().map(|fault| (fault.key, fault.problem)).collect())
}

fn faulty_keys(file: &str, environment: &[(&str, &str)]) -> Vec<String> {
    read(file, environment).err().map(|faults| faults.into_keys().collect()).unwrap_or_default()
}

/// What is wrong with a provider whose client is configured like this.
pub fn faults_of_provider(client: &str) -> BTreeMap<String, String> {
    read(&GOOD.replace("client_secret = \"CANARY\"", client), &[]).err().unwrap_or_default()
}

/// What is wrong with a route like this.
pub fn faults_of_route(route: &str) -> BTreeMap<String, String> {
    read(&format!("{GOOD}{route}\n"), &[]).err().unwrap_or_default()
}

#[test]
fn the_contracts_example_is_accepted_as_far_as_this_version_goes() {
    let more = r#"
        [server]
        listen = "0.0.0.0:8080"
        ops_listen = "127.0.0.1:9090"
        trusted_proxies = ["10.0.0.0/8"]
        [session]
        idle_timeout = "30m"
        absolute_timeout = "12h"
        cookie_name = "__Host-session"
        max_per_user = 0
        on_limit = "end-oldest"
        [[session.timeout]]
        groups = ["finance"]
        idle_timeout = "10m"
        absolute_timeout = "1h"
        [idp.legacy]
        kind = "oauth2"
        authorization_endpoint = "https://sso.example.com/authorize"
        token_endpoint = "https://sso.example.com/token"
        profile_endpoint = "https://sso.example.com/api/me"
        client_id = "backoffice"
        client_secret = "x"
        profile.subject = "employee.id"
        profile.groups = "employee.departments"
        [admin]
        groups = ["security"]
        ops_groups = ["ops"]
    "#;
    let route =
        "[[route]]\ngroups = [\"staff\"]\non_anonymous = \"auto\"\nmax_auth_age = \"10m\"\npass_access_token = false";
    let good = GOOD
        .replace("[[route]]", route)
        .replace("[store]", "[store]\nnear_cache_entries = 100000\nnear_cache_max_age = \"60s\"");
    let settings = read(&format!("{good}{more}"), &[]).unwrap();
    assert_eq!((settings.idps.len(), settings.routes.len(), settings.rules.timeouts.by_group.len()), (2, 1, 1));
    assert_eq!(settings.admin.groups, ["security"]);
    assert_eq!(settings.near_cache.entries, 100_000);
}

/// The example files of the repository are true.
#[test]
fn the_example_files_are_valid() {
    let example = include_str!("../../counterfoil.example.toml");
    let example = example.replace("…", KEY);
    if let Err(faults) = read(&example, &[]) {
        panic!("{faults:#?}");
    }
    let folder = Folder::new();
    let dotenv = include_str!("../../.env.example").replace("…", KEY);
    folder.write(".env", &dotenv);
    let (code, said, errors) = run(counterfoil(folder.path(), &["check"]));
    assert_eq!(code, Some(1), "valid, though nothing answers: {said}{errors}");
    assert!(said.contains("ok    configuration"), "{said}{errors}");
}

/// What the example shows of plain providers and of presets can be used as it stands, but for the files it names.
#[test]
fn every_provider_of_the_example_is_accepted() {
    let example = include_str!("../../counterfoil.example.toml");
    let commented: String =
        example.lines().map(|line| line.strip_prefix("# ").unwrap_or(line).to_owned() + "\n").collect();
    let sections =
        commented.split("\n[").filter(|section| section.starts_with("idp.") && !section.contains("kind = \"oidc\""));
    let mut seen = 0;
    for section in sections.filter(|section| section.contains("kind = ")) {
        let section = section.split("\n\n").next().unwrap();
        let mut provider = format!("[{section}\n");
        for key in ["client_id", "client_secret"] {
            let has_key_instead = key == "client_secret" && section.contains("kind = \"apple\"");
            let is_there = section.contains(&format!("\n{key} = "));
            if !is_there && !has_key_instead {
                provider.extend([key, " = \"x\"\n"]);
            }
        }
        let mut faults = read(&format!("{GOOD}{provider}"), &[]).err().unwrap_or_default();
        faults.retain(|key, _| !key.ends_with("_file"));
        assert!(faults.is_empty(), "{provider}: {faults:#?}");
        seen += 1;
    }
    assert!(seen > 14, "{seen}");
}

/// R-P07: five faults, five lines, and exit code 64.
#[test]
fn all_faults_are_reported_at_once_and_no_secret_with_them() {
    let folder = Folder::new();
    let file = folder.write(
        "counterfoil.toml",
        r#"
        public_url = "http://backoffice.example.com"
        tpyo = 1
        [secrets]
        keys = ["CANARY-short"]
        [store]
        url = "mysql://user:CANARY@host/"
        [session]
        idle_timeout = "13h"
        absolute_timeout = "12h"
        [idp.company]
        kind = "oidc"
        issuer = "http://idp.example.com"
        client_id = "x"
        client_secret_file = "/nonexistent/CANARY-path"
        [[route]]
        path = "/a/../b"
        upstream = "http://host/with/path?and=query"
        "#,
    );
    for command in ["check", "serve"] {
        let (code, _, errors) = run(counterfoil(folder.path(), &[command, "--config", &file]));
        assert_eq!(code, Some(64), "{command}");
        for key in [
            "public_url:",
            "tpyo: is unknown",
            "secrets.keys:",
            "store.url:",
            "session.idle_timeout:",
            "idp.company.issuer:",
            "idp.company.client_secret_file:",
            "route[0].path:",
            "route[0].upstream:",
        ] {
            assert!(errors.contains(key), "{command}: no {key} in\n{errors}");
        }
        assert!(!errors.contains("client_secret: is missing"), "one fault, one line: {errors}");
        assert!(!errors.contains("CANARY-short") && !errors.contains("user:CANARY"), "{errors}");
    }
}

/// R-P07, R-F02, R-H01: one line a case: what is written, and the key that is named.
#[test]
fn unsafe_and_mistaken_settings_are_refused_by_name() {
    let replaced = |from: &str, to: &str| GOOD.replace(from, to);
    let added = |section: &str| format!("{GOOD}\n{section}");
    for (file, key) in [
        (replaced("https://backoffice.example.com", "https://backoffice.example.com/path"), "public_url"),
        (replaced("https://idp", "http://idp"), "idp.company.issuer"),
        (replaced("\"oidc\"", "\"saml\""), "idp.company.kind"),
        (replaced("client_id = \"backoffice\"", ""), "idp.company.client_id"),
        (replaced("client_secret = \"CANARY\"", ""), "idp.company.client_secret"),
        (
            replaced("client_secret", "token_endpoint_auth_method = \"none\"\nclient_secret"),
            "idp.company.token_endpoint_auth_method",
        ),
        (replaced("client_secret", "scopes = [\"profile\"]\nclient_secret"), "idp.company.scopes"),
        (
            replaced("client_secret", "id_token_signed_response_alg = \"HS256\"\nclient_secret"),
            "idp.company.id_token_signed_response_alg",
        ),
        (
            replaced("client_secret", "id_token_signed_response_alg = \"none\"\nclient_secret"),
            "idp.company.id_token_signed_response_alg",
        ),
        (replaced("client_secret", "clock_skew = \"1h\"\nclient_secret"), "idp.company.clock_skew"),
        (replaced("client_secret", "client_secrt = \"CANARY\"\nclient_secret"), "idp.company.client_secrt"),
        (replaced("[idp.company]", "[idp.\"Company Ltd\"]"), "idp.Company Ltd."),
        (replaced("AAECAwQF", "!!!!!!!!"), "secrets.keys"),
        (
            replaced("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
            "secrets.keys",
        ),
        (replaced("[[route]]", "[[route]]\ngroups = \"staff\"\naccess = \"public\""), "route[0].access"),
        (replaced("[[route]]", "[[route]]\nidps = [\"nobody\"]"), "route[0].idps"),
        (replaced("[[route]]", "[[route]]\nemails = []"), "route[0].emails"),
        (replaced("[[route]]", "[[route]]\nemails = [\"ann\"]"), "route[0].emails"),
        (replaced("[[route]]", "[[route]]\ngroups = [\"\"]"), "route[0].groups"),
        (replaced("[[route]]", "[[route]]\nemail_domains = [\"@example.com\"]"), "route[0].email_domains"),
        (replaced("[[route]]", "[[route]]\nemail_domains = [\"*\"]"), "route[0].email_domains"),
        (replaced("path = \"/\"", "path = \"/admin/*\""), "route[0].path"),
        (replaced("[store]", "[store]\nprefix = \"a\\nb\""), "store.prefix"),
        (replaced("127.0.0.1:6379/0", "127.0.0.1/-1"), "store.url"),
        (replaced("127.0.0.1:6379/0", "u:p@ss/w@127.0.0.1/0"), "store.url"),
        (replaced("[[route]]", "[[route]]\naccess = \"public\"\nmax_auth_age = \"10m\""), "route[0].access"),
        (replaced("[[route]]", "[[route]]\naccess = \"public\"\non_anonymous = \"401\""), "route[0].access"),
        (replaced("[[route]]", "[[route]]\naccess = \"public\"\nacr = [\"a\"]"), "route[0].access"),
        (replaced("[[route]]", "[[route]]\nacr = []"), "route[0].acr"),
        (replaced("[[route]]", "[[route]]\nacr = [\"a b\"]"), "route[0].acr"),
        (replaced("client_secret", "prompt = \"none\"\nclient_secret"), "idp.company.prompt"),
        (replaced("client_secret", "prompt = \"\"\nclient_secret"), "idp.company.prompt"),
        (replaced("client_secret", "max_age = \"x\"\nclient_secret"), "idp.company.max_age"),
        (replaced("client_secret", "acr_values = []\nclient_secret"), "idp.company.acr_values"),
        (replaced("client_secret", "response_mode = \"fragment\"\nclient_secret"), "idp.company.response_mode"),
        (
            replaced("client_secret", "authorization_signed_response_alg = \"HS256\"\nclient_secret"),
            "idp.company.authorization_signed_response_alg",
        ),
        (
            replaced("client_secret", "authorization_parameters = { a = 1 }\nclient_secret"),
            "idp.company.authorization_parameters.a",
        ),
        (replaced("keys = [", "keys_file = \"/x\"\nkeys = ["), "secrets.keys"),
        (replaced("https://backoffice", "http://127.backoffice"), "public_url"),
        (replaced("\"backoffice\"", "\"\""), "idp.company.client_id"),
        (replaced("\"CANARY\"", "\"\""), "idp.company.client_secret"),
        (replaced("client_secret", "timeout = \"0s\"\nclient_secret"), "idp.company.timeout"),
        (replaced("[store]", "[store]\ntimeout = \"500000000000y\""), "store.timeout"),
        (replaced("path = \"/\"", "path = \"/sso\""), "route[0].path"),
        (
            replaced("[[route]]", "[[route]]\naccess = \"public\"\npass_access_token = true"),
            "route[0].pass_access_token",
        ),
        (
            replaced("client_secret", "dpop = true\nclient_secret")
                .replace("[[route]]", "[[route]]\npass_access_token = true"),
            "route[0].pass_access_token",
        ),
        (replaced("client_secret", "dpop = true\nrefresh = \"5m\"\nclient_secret"), "idp.company.refresh"),
        (replaced("client_secret", "refresh = \"29s\"\nclient_secret"), "idp.company.refresh"),
        (replaced("[[route]]", "[[route]]\nmax_auth_age = \"1s\""), "route[0].max_auth_age"),
        (replaced("redis://127.0.0.1:6379/0", "redis-sentinel://127.0.0.1:26379/0"), "store.url"),
        (replaced("redis://127.0.0.1:6379/0", "http://127.0.0.1:6379/0"), "store.url"),
        (replaced("[store]", "[store]\nprefix = \"{tag}\""), "store.prefix"),
        (replaced("[store]", "[store]\nca_file = \"/nowhere\""), "store.ca_file"),
        (replaced("[store]", "[store]\nnear_cache_entries = 99999999999"), "store.near_cache_entries"),
        (replaced("[store]", "[store]\nnear_cache_max_age = \"0s\""), "store.near_cache_max_age"),
        (added("[session]\ncookie_name = \"session\""), "session.cookie_name"),
        (added("[session]\ncookie_name = \"__Host-a; Domain=x\""), "session.cookie_name"),
        (added("[session]\nmax_per_user = -3"), "session.max_per_user"),
        (added("[session]\non_limit = \"ask\""), "session.on_limit"),
        (added("[session]\nbind = \"address\""), "session.bind"),
        (added("[session]\nidle_timeout = \"13h\""), "session.idle_timeout"),
        (added("[session]\nabsolute_timeout = \"9999y\""), "session.absolute_timeout"),
        (added("[admin]\napi_tokens = [\"too short\"]"), "admin.api_tokens"),
        (added("[admin]\napi_tokens_file = \"/nowhere\""), "admin.api_tokens_file"),
        (added("[session]\nidle_timeout = 30"), "session.idle_timeout"),
        (
            added("[[session.timeout]]\ngroups = []\nidle_timeout = \"1m\"\nabsolute_timeout = \"1h\""),
            "session.timeout[0].groups",
        ),
        (added("[[session.timeout]]\ngroups = [\"a\"]\nidle_timeout = \"1m\""), "session.timeout[0].absolute_timeout"),
        (added("[server]\ntrusted_proxies = [\"0.0.0.0/0\"]"), "server.trusted_proxies"),
        (added("[server]\nlisten = \"0.0.0.0:9090\"\nops_listen = \"0.0.0.0:9090\""), "server.ops_listen"),
        (added("[server]\nlisten = \"0.0.0.0:9090\""), "server.ops_listen"),
        (added("[log]\nlevel = \"loud\""), "log.level"),
        (added("[login]\ndefault_idp = \"nobody\""), "login.default_idp"),
    ] {
        assert_eq!(faulty_keys(&file, &[]), [key], "{file}");
    }
    assert_eq!(faulty_keys("not toml CANARY", &[]), ["configuration file"]);
    assert_eq!(faulty_keys("", &[]), ["idp", "public_url", "route", "secrets.keys", "store.url"]);
}

/// One line a case: the route's keys beside `path` and `upstream`, and the key that is named.
#[test]
fn keys_of_a_route_that_could_not_work_are_refused_by_name() {
    for (keys, key) in [
        ("methods = []", "methods"),
        ("methods = [\"get\"]", "methods"),
        ("methods = [\"HEAD\"]", "methods"),
        ("methods = [\"TRACE\"]", "methods"),
        ("strip_prefix = \"/other\"", "strip_prefix"),
        ("strip_prefix = \"/a/b/c\"", "strip_prefix"),
        ("strip_prefix = \"/a/\\u002e\"", "strip_prefix"),
        ("strip_prefix = \"/\"", "strip_prefix"),
        ("timeout = \"50ms\"", "timeout"),
        ("upstreams = [\"http://b\"]", "upstreams"),
        ("upstream_tls.server_name = \"a\"", "upstream_tls"),
        ("health = { interval = \"1s\" }", "health.path"),
        ("health = { path = \"healthz\" }", "health.path"),
        ("health = { path = \"/\", fall = 0 }", "health.fall"),
        ("health = { path = \"/\", interval = \"1ms\" }", "health.interval"),
        ("health = { path = \"/\", often = 1 }", "health.often"),
        ("timeout = \"2h\"", "timeout"),
        ("pool_idle = \"0s\"", "pool_idle"),
        ("max_body = \"1\"", "max_body"),
    ] {
        let file = format!("{GOOD}[[route]]\npath = \"/a/b\"\nupstream = \"http://127.0.0.1:3000\"\n{keys}\n");
        assert_eq!(faulty_keys(&file, &[]), [format!("route[1].{key}")], "{keys}");
    }
    for upstream in ["http://a/b//c", "http://a/%61", "http://a/b?c", "ftp://a", "http://u@a", "http://"] {
        let file = GOOD.replace("http://127.0.0.1:3000", upstream);
        assert_eq!(faulty_keys(&file, &[]), ["route[0].upstream"], "{upstream}");
    }
    for upstreams in ["", "\"http://a\", \"http://a/\"", "\"http://a/x\", \"http://b/y\"", "\"http://a\", \"ftp://b\""]
    {
        let file = GOOD.replace("upstream = \"http://127.0.0.1:3000\"", &format!("upstreams = [{upstreams}]"));
        assert_eq!(faulty_keys(&file, &[]), ["route[0].upstreams"], "{upstreams}");
    }
    let https = GOOD.replace("http://127.0.0.1", "https://127.0.0.1");
    for (keys, key) in [
        ("ca_file = \"/nowhere\"", "ca_file"),
        ("ca_file = \"Cargo.toml\"", "ca_file"),
        ("cert_file = \"Cargo.toml\"", "key_file"),
        ("key_file = \"Cargo.toml\"", "cert_file"),
        ("cert_file = \"Cargo.toml\", key_file = \"Cargo.toml\"", "cert_file"),
        ("server_name = \"a b\"", "server_name"),
        ("verify = false", "verify"),
    ] {
        let file = format!("{https}upstream_tls = {{ {keys} }}\n");
        assert_eq!(faulty_keys(&file, &[]), [format!("route[0].upstream_tls.{key}")], "{keys}");
    }
    let alone = format!("{GOOD}[[route]]\npath = \"/a\"\nstrip_prefix = \"/a\"\n");
    assert_eq!(faulty_keys(&alone, &[]), ["route[1].strip_prefix"]);
}

/// R-P08
#[test]
fn the_environment_wins_and_can_say_everything() {
    let settings = read(
        GOOD,
        &[
            ("COUNTERFOIL_PUBLIC_URL", "https://other.example.com"),
            ("COUNTERFOIL_SESSION__IDLE_TIMEOUT", "15m"),
            ("COUNTERFOIL_IDP__COMPANY__SCOPES", "openid, email"),
            ("COUNTERFOIL_ROUTE__0__GROUPS", "staff,finance"),
            ("COUNTERFOIL_ROUTE__1__PATH", "/more"),
            ("UNRELATED", "x"),
        ],
    )
    .unwrap();
    assert_eq!(settings.public_url.origin(), "https://other.example.com");
    assert_eq!(settings.rules.timeouts.default.idle, time::Duration::minutes(15));
    assert_eq!(settings.idps[0].login.scopes, ["openid", "email"]);
    assert_eq!((settings.routes[0].access.groups.len(), settings.routes.len()), (2, 2));

    let many: Vec<_> =
        (1..=11).map(|index| (format!("COUNTERFOIL_ROUTE__{index}__PATH"), format!("/{index}"))).collect();
    let many: Vec<_> = many.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(read(GOOD, &many).unwrap().routes.len(), 12, "in the order of their numbers");

    let everything = [
        ("COUNTERFOIL_PUBLIC_URL", "https://a.example"),
        ("COUNTERFOIL_SECRETS__KEYS", KEY),
        ("COUNTERFOIL_STORE__URL", "memory:"),
        ("COUNTERFOIL_IDP__COMPANY__KIND", "oidc"),
        ("COUNTERFOIL_IDP__COMPANY__ISSUER", "https://idp.example.com"),
        ("COUNTERFOIL_IDP__COMPANY__CLIENT_ID", "x"),
        ("COUNTERFOIL_IDP__COMPANY__CLIENT_SECRET", "y"),
        ("COUNTERFOIL_ROUTE__0__PATH", "/"),
        ("COUNTERFOIL_ROUTE__0__UPSTREAM", "http://127.0.0.1:3000"),
    ];
    assert_eq!(read("", &everything).unwrap().routes.len(), 1);
    assert_eq!(faulty_keys(GOOD, &[("COUNTERFOIL_STORE__TPYO", "1")]), ["store.tpyo"]);
    assert_eq!(
        faulty_keys(
            GOOD,
            &[("COUNTERFOIL_SESSION__IDLE_TIMEOUT__X", "1"), ("COUNTERFOIL_SESSION__IDLE_TIMEOUT", "1m")]
        ),
        ["session.idle_timeout.x"]
    );
    // What Kubernetes sets for a service of this name is not ours.
    let kubernetes = [("COUNTERFOIL_SERVICE_HOST", "10.0.0.1"), ("COUNTERFOIL_PORT", "tcp://10.0.0.1:80")];
    assert_eq!(faulty_keys(GOOD, &kubernetes), [""; 0]);
    // A variable that was never filled in does not open a route.
    assert_eq!(faulty_keys(GOOD, &[("COUNTERFOIL_ROUTE__0__GROUPS", "")]), ["route[0].groups"]);
}

/// R-P08: secrets from files.
#[test]
fn secrets_can_come_from_files_but_not_from_two_places() {
    let folder = Folder::new();
    let secret = folder.write("secret", "from-a-file\n");
    let keys = folder.write("keys", &format!("{KEY}\n"));
    let file = GOOD
        .replace("client_secret = \"CANARY\"", &format!("client_secret_file = \"{secret}\""))
        .replace(&format!("keys = [\"{KEY}\"]"), &format!("keys_file = \"{keys}\""));
    let settings = read(&file, &[]).unwrap();
    let ClientAuthentication::Basic(read) = &settings.idps[0].client.authentication else { panic!("not basic") };
    assert_eq!(read.expose(), "from-a-file");
    assert!(!format!("{settings:?}").contains("from-a-file"));
    let twice = GOOD.replace("client_secret", &format!("client_secret_file = \"{secret}\"\nclient_secret"));
    assert_eq!(faulty_keys(&twice, &[]), ["idp.company.client_secret"]);
}

/// R-I08: one line a case.
#[test]
fn a_session_that_nothing_can_confirm_is_warned_of() {
    for (keys, warned) in [
        ("refresh = \"5m\"", false),
        ("userinfo = false", false),
        ("refresh = \"5m\"\nuserinfo = false", true),
        ("refresh = \"5m\"\nuserinfo = false\nscopes = [\"openid\", \"offline_access\"]", false),
    ] {
        let settings = read(&GOOD.replace("[idp.company]", &format!("[idp.company]\n{keys}")), &[]).unwrap();
        let warnings = settings.warnings.join("\n");
        assert_eq!(warnings.contains("idp.company.refresh"), warned, "{keys}: {warnings}");
    }
}

/// R-A13: a plain OAuth 2.0 provider cannot be asked for a recent authentication.
#[test]
fn a_recent_authentication_is_demanded_only_from_providers_that_can_supply_it() {
    let plain = "[idp.plain]\nkind = \"oauth2\"\nclient_id = \"x\"\nclient_secret = \"y\"\nprofile.subject = \"id\"\n\
        authorization_endpoint = \"https://p.example/a\"\ntoken_endpoint = \"https://p.example/t\"\n\
        profile_endpoint = \"https://p.example/p\"\n";
    let with = |rule: &str| {
        format!("{}{plain}", GOOD.replace("[[route]]", &format!("[[route]]\nmax_auth_age = \"10m\"\n{rule}")))
    };
    assert_eq!(faulty_keys(&with("idps = [\"plain\"]"), &[]), ["route[0].max_auth_age"]);
    assert_eq!(faulty_keys(&with(""), &[]), [""; 0]);
}

/// R-A13: one line a case: what stands in the route, what in the provider's section, and the fault.
#[test]
fn an_acr_is_demanded_only_from_providers_that_can_supply_it() {
    let plain = "[idp.plain]\nkind = \"oauth2\"\nclient_id = \"x\"\nclient_secret = \"y\"\nprofile.subject = \"id\"\n\
        authorization_endpoint = \"https://p.example/a\"\ntoken_endpoint = \"https://p.example/t\"\n\
        profile_endpoint = \"https://p.example/p\"\n";
    for (route, provider, fault) in [
        ("", "", None),
        ("", "acr_values = [\"urn:b\", \"urn:mfa\"]", None),
        ("", "acr_values = [\"urn:b\"]", Some("route[0].acr")),
        ("idps = [\"plain\"]", "", Some("route[0].acr")),
    ] {
        let file = GOOD.replace("[[route]]", &format!("[[route]]\nacr = [\"urn:mfa\"]\n{route}"));
        let file = file.replacen("client_secret", &format!("{provider}\nclient_secret"), 1);
        assert_eq!(faulty_keys(&format!("{file}{plain}"), &[]), Vec::from_iter(fault), "{route} {provider}");
    }
}

/// R-A08: one line a case: what the broker says itself cannot be configured as an extra parameter.
#[test]
fn the_brokers_own_parameters_cannot_be_configured() {
    for name in ["state", "nonce", "redirect_uri", "client_id", "scope", "response_type", "code_challenge"] {
        let extra = format!("authorization_parameters = {{ {name} = \"x\" }}\nclient_secret");
        let key = format!("idp.company.authorization_parameters.{name}");
        assert_eq!(faulty_keys(&GOOD.replacen("client_secret", &extra, 1), &[]), [key]);
    }
    for name in ["request", "request_uri", "prompt", "response_mode", "code_challenge_method", "client_secret"] {
        let variable = format!("COUNTERFOIL_IDP__COMPANY__AUTHORIZATION_PARAMETERS__{}", name.to_uppercase());
        let key = format!("idp.company.authorization_parameters.{name}");
        assert_eq!(faulty_keys(GOOD, &[(&variable, "x")]), [key]);
    }
}

/// Whoever puts one there that has a key is told the key.
#[test]
fn a_parameter_that_has_a_key_of_its_own_is_named_by_it() {
    for (name, key) in [("prompt", "prompt"), ("scope", "scopes"), ("max_age", "max_age")] {
        let faults = faults_of_provider(&format!("client_secret = \"x\"\nauthorization_parameters.{name} = \"x\""));
        let problem = &faults[&format!("idp.company.authorization_parameters.{name}")];
        assert!(problem.ends_with(&format!(": {key}")), "{problem}");
    }
}

/// Browsers send cookies along with another site's form only over HTTPS; plain OAuth 2.0 providers publish no keys.
#[test]
fn answers_come_by_form_over_https_alone_and_signed_by_those_who_can_sign() {
    let with = |mode: &str| GOOD.replacen("client_secret", &format!("response_mode = \"{mode}\"\nclient_secret"), 1);
    let at_home = |mode: &str| with(mode).replace("https://backoffice.example.com", "http://127.0.0.1:8080");
    for mode in ["form_post", "form_post.jwt"] {
        assert_eq!(faulty_keys(&with(mode), &[]), [""; 0], "{mode}");
        assert_eq!(faulty_keys(&at_home(mode), &[]), ["idp.company.response_mode"], "{mode}");
    }
    assert_eq!(faulty_keys(&at_home("query.jwt"), &[]), [""; 0]);
    let plain = "[idp.plain]\nkind = \"oauth2\"\nclient_id = \"x\"\nclient_secret = \"y\"\nprofile.subject = \"id\"\n\
        authorization_endpoint = \"https://p.example/a\"\ntoken_endpoint = \"https://p.example/t\"\n\
        profile_endpoint = \"https://p.example/p\"\nmax_age = \"1h\"\nacr_values = [\"a\"]\nresponse_mode = \"jwt\"\n";
    let keys = ["idp.plain.acr_values", "idp.plain.max_age", "idp.plain.response_mode"];
    assert_eq!(faulty_keys(&format!("{GOOD}{plain}"), &[]), keys);
}

/// What is written by habits of shells and of other programs is not taken for somebody else's variable, nor for a name.
#[test]
fn variables_with_one_underscore_and_lists_with_brackets_are_refused() {
    for (name, value, key) in [
        ("COUNTERFOIL_SESSION_IDLE_TIMEOUT", "5m", "COUNTERFOIL_SESSION_IDLE_TIMEOUT"),
        ("COUNTERFOIL_ROUTE_0_PATH", "/x", "COUNTERFOIL_ROUTE_0_PATH"),
        ("COUNTERFOIL_ROUTE__0__GROUPS", "[\"staff\"]", "route[0].groups"),
    ] {
        assert_eq!(faulty_keys(GOOD, &[(name, value)]), [key]);
    }
    for of_others in ["COUNTERFOIL_SERVICE_HOST", "COUNTERFOIL_SERVER_PORT_8080_TCP", "COUNTERFOIL_HOME"] {
        assert!(faulty_keys(GOOD, &[(of_others, "x")]).is_empty(), "{of_others}");
    }
}

/// R-K09: whoever holds streams open leaves room for logins and revocations.
#[test]
fn streams_take_half_of_the_connections_at_the_most() {
    let most = |more: &str| read(&format!("{GOOD}\n{more}"), &[]).unwrap().streams.most;
    assert_eq!(most(""), 5_000);
    assert_eq!(most("[server]\nmax_connections = 100\n[streams]\nmost = 60"), 50);
    assert_eq!(most("[streams]\nmost = 60"), 60);
}

/// R-O01: a line of `.env` that cannot be read is named with everything else, and not shown.
#[test]
fn faults_in_dotenv_are_reported_with_the_others() {
    let folder = Folder::new();
    folder.write(".env", "COUNTERFOIL_LOG__LEVEL=loud\nCOUNTERFOIL_SECRETS__KEYS=\"CANARY\n");
    let (code, _, errors) = run(counterfoil(folder.path(), &["check"]));
    assert_eq!(code, Some(64));
    assert!(
        errors.contains(".env line 2:") && errors.contains("log.level:") && errors.contains("public_url:"),
        "{errors}"
    );
    assert!(!errors.contains("CANARY"), "{errors}");
}

/// One line a case: what is said of renewals and of moments that are not told, and which key is at fault.
#[test]
fn what_a_provider_cannot_be_asked_is_refused_by_name() {
    let with = |keys: &str| GOOD.replacen("client_secret", &format!("{keys}\nclient_secret"), 1);
    let untold = with("auth_time = \"untold\"");
    for (text, key) in [
        (with("refresh_wait = \"61s\""), "idp.company.refresh_wait"),
        (with("refresh_grace = \"soon\""), "idp.company.refresh_grace"),
        (with("auth_time = \"sometimes\""), "idp.company.auth_time"),
        (with("auth_time = \"untold\"\nmax_age = \"8h\""), "idp.company.max_age"),
        (untold.replace("[[route]]", "[[route]]\nmax_auth_age = \"10m\""), "route[0].max_auth_age"),
    ] {
        assert_eq!(faulty_keys(&text, &[]), [key], "{text}");
    }
    assert!(faulty_keys(&untold, &[]).is_empty());
}
