//! Keycloak as a program, and a realm in it.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::OnceCell;

use counterfoil::idp::SigningKey;
use counterfoil::secret::{Secret, random_token};

use crate::support::broker::{Broker, HOST, PUBLIC, Setup};
use crate::support::child::{Program, end_with_this_process, free_ports};
use crate::support::counterpart::callback;
use crate::support::program::Folder;

/// The provider's name in our configuration.
pub const NAME: &str = "keycloak";
const SECRET: &str = "a-secret-of-the-test-alone";
/// Where `tests/providers.sh` puts it.
const HOME: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/providers/keycloak");

/// The one Keycloak of this process.
struct Keycloak {
    base: String,
    client: reqwest::Client,
    _program: Program,
    _data: Folder,
}

/// A realm of its own: two groups, two people, and one client, which is us.
pub struct Realm {
    keycloak: &'static Keycloak,
    name: String,
    broker: Arc<OnceLock<SocketAddr>>,
}

impl Keycloak {
    async fn get() -> &'static Self {
        static ONE: OnceCell<Keycloak> = OnceCell::const_new();
        ONE.get_or_init(async || Self::start()).await
    }

    fn start() -> Self {
        let ([http, management], data) = (free_ports(), Folder::new());
        // What its script `kc.sh` starts and stays the parent of, which would be left over.
        let mut command = Command::new("java");
        command.args(["-Xmx512m", &format!("-Dkc.home.dir={HOME}"), "-Djava.util.concurrent.ForkJoinPool.common.threadFactory=io.quarkus.bootstrap.forkjoin.QuarkusForkJoinWorkerThreadFactory"]);
        command.args(["-cp", &format!("{HOME}/lib/quarkus-run.jar"), "io.quarkus.bootstrap.runner.QuarkusEntryPoint"]);
        command.args(["start", "--optimized", "--http-enabled=true", "--hostname-strict=false"]);
        command.args(["--http-host=127.0.0.1", "--http-management-host=127.0.0.1"]);
        command.args([format!("--http-port={http}"), format!("--http-management-port={management}")]);
        command.envs([("KC_BOOTSTRAP_ADMIN_USERNAME", "admin"), ("KC_BOOTSTRAP_ADMIN_PASSWORD", "admin")]);
        let program = Program::start(&mut command);
        end_with_this_process([program.id()], data.path());
        program.wait_for("Listening on:");
        let client = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).build().unwrap();
        Self { base: format!("http://127.0.0.1:{http}"), client, _program: program, _data: data }
    }

    /// A fresh token each time: they live for a minute.
    async fn token(&self) -> String {
        let form = "grant_type=password&client_id=admin-cli&username=admin&password=admin";
        let address = format!("{}/realms/master/protocol/openid-connect/token", self.base);
        let asked = self.client.post(address).header("content-type", "application/x-www-form-urlencoded").body(form);
        let answer: Value = asked.send().await.unwrap().json().await.unwrap();
        answer["access_token"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    async fn administer(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let address = format!("{}/admin/realms{path}", self.base);
        let asked = self.client.request(method, &address).bearer_auth(self.token().await);
        let asked = match body {
            Some(body) => asked.json(&body),
            None => asked,
        };
        let answer = asked.send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{address}: {status} {text}");
        serde_json::from_str(&text).unwrap_or_default()
    }
}

impl Realm {
    /// A realm whose client differs from the plain one by these members and attributes.
    pub async fn create(client: Value) -> Self {
        let keycloak = Keycloak::get().await;
        let (name, broker) = (format!("realm-{}", random_token::<9>()), Arc::new(OnceLock::new()));
        let relay = relay(broker.clone()).await;
        let mut realm = described(&name, relay);
        let ours = realm["clients"][0].as_object_mut().unwrap();
        let mut client = client.as_object().unwrap().clone();
        if let Some(Value::Object(attributes)) = client.remove("attributes") {
            ours["attributes"].as_object_mut().unwrap().extend(attributes);
        }
        ours.extend(client);
        keycloak.administer(Method::POST, "", Some(realm)).await;
        Self { keycloak, name, broker }
    }

    /// A broker that knows the realm, by the preset; `more` are keys of its section.
    pub async fn broker(&self, more: &str) -> Broker {
        self.broker_with(more, true).await
    }

    pub async fn broker_with(&self, more: &str, with_secret: bool) -> Broker {
        let (base, realm) = (&self.keycloak.base, &self.name);
        let secret = if with_secret { format!("client_secret = \"{SECRET}\"\n") } else { String::new() };
        let more = format!(
            "[idp.{NAME}]\nkind = \"keycloak\"\nbase_url = \"{base}\"\nrealm = \"{realm}\"\n\
             client_id = \"backoffice\"\n{secret}{more}"
        );
        let broker = Broker::with(Setup { more, ..Setup::default() }).await;
        self.broker.set(broker.address).unwrap();
        broker
    }

    async fn administer(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        self.keycloak.administer(method, &format!("/{}{path}", self.name), body).await
    }

    async fn id_of(&self, person: &str) -> String {
        let found = self.administer(Method::GET, &format!("/users?exact=true&username={person}"), None).await;
        found[0]["id"].as_str().unwrap().to_owned()
    }

    /// The person's sessions, as Keycloak names them.
    pub async fn sessions_of(&self, person: &str) -> Vec<String> {
        let path = format!("/users/{}/sessions", self.id_of(person).await);
        let sessions = self.administer(Method::GET, &path, None).await;
        sessions.as_array().unwrap().iter().map(|session| session["id"].as_str().unwrap().to_owned()).collect()
    }

    pub async fn end_session(&self, session: &str) {
        self.administer(Method::DELETE, &format!("/sessions/{session}"), None).await;
    }

    pub async fn log_out(&self, person: &str) {
        let path = format!("/users/{}/logout", self.id_of(person).await);
        self.administer(Method::POST, &path, None).await;
    }

    pub async fn disable(&self, person: &str) {
        let path = format!("/users/{}", self.id_of(person).await);
        self.administer(Method::PUT, &path, Some(json!({ "enabled": false }))).await;
    }

    pub async fn join(&self, person: &str, group: &str) {
        let groups = self.administer(Method::GET, &format!("/groups?search={group}"), None).await;
        let path = format!("/users/{}/groups/{}", self.id_of(person).await, groups[0]["id"].as_str().unwrap());
        self.administer(Method::PUT, &path, Some(json!({}))).await;
    }

    /// A new signing key in front, and the old ones gone.
    pub async fn change_keys(&self) {
        let kind = "org.keycloak.keys.KeyProvider";
        let old = self.administer(Method::GET, &format!("/components?type={kind}"), None).await;
        let new = json!({
            "name": "new", "providerId": "rsa-generated", "providerType": kind,
            "config": { "priority": ["200"], "enabled": ["true"], "active": ["true"], "algorithm": ["RS256"] },
        });
        self.administer(Method::POST, "/components", Some(new)).await;
        for key in old.as_array().unwrap().iter().filter(|key| key["providerId"] == "rsa-generated") {
            self.administer(Method::DELETE, &format!("/components/{}", key["id"].as_str().unwrap()), None).await;
        }
    }
}

/// A client that proves itself by this key instead of a secret, and has to push its requests.
pub fn client_keys(file: &str) -> Value {
    let key = SigningKey::from_pem(&Secret::new(std::fs::read_to_string(file).unwrap()), None, None).unwrap();
    let keys = json!({ "keys": [key.registration()] }).to_string();
    json!({
        "clientAuthenticatorType": "client-jwt", "secret": null,
        "attributes": {
            "use.jwks.string": "true", "jwks.string": keys, "token.endpoint.auth.signing.alg": "ES256",
            "require.pushed.authorization.requests": "true",
        },
    })
}

fn described(name: &str, relay: SocketAddr) -> Value {
    let person = |name: &str, family: &str, groups: &[&str]| {
        json!({
            "username": name, "enabled": true, "email": format!("{name}@example.test"), "emailVerified": true,
            "firstName": name, "lastName": family, "groups": groups,
            "credentials": [{ "type": "password", "value": "x", "temporary": false }],
            "realmRoles": ["auditor"], "clientRoles": { "backoffice": ["approver"] },
        })
    };
    let groups = json!({
        "name": "groups", "protocol": "openid-connect", "protocolMapper": "oidc-group-membership-mapper",
        "config": {
            "claim.name": "groups", "full.path": "false",
            "id.token.claim": "true", "userinfo.token.claim": "true", "access.token.claim": "true",
        },
    });
    json!({
        "realm": name, "enabled": true, "sslRequired": "none",
        "groups": [{ "name": "staff" }, { "name": "finance" }],
        "roles": { "realm": [{ "name": "auditor" }], "client": { "backoffice": [{ "name": "approver" }] } },
        "users": [person("alice", "Kim", &["/staff"]), person("bob", "Lee", &["/staff"])],
        "clients": [{
            "clientId": "backoffice", "protocol": "openid-connect", "publicClient": false, "secret": SECRET,
            "redirectUris": [callback(NAME)], "protocolMappers": [groups],
            "attributes": {
                "post.logout.redirect.uris": format!("{PUBLIC}/sso/signed-out"),
                "backchannel.logout.url": format!("http://{relay}/sso/backchannel-logout/{NAME}"),
                "backchannel.logout.session.required": "true",
            },
        }],
    })
}

/// Stands where the public name would lead to: Keycloak resolves no names of tests.
async fn relay(broker: Arc<OnceLock<SocketAddr>>) -> SocketAddr {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let site = Router::new().fallback(async move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| {
        let address = broker.get().expect("a broker is there before anything ends");
        let asked = client.request(method, format!("http://{address}{uri}")).header("host", HOST);
        let asked = asked.header("content-type", headers["content-type"].clone()).body(body);
        asked.send().await.map_or(StatusCode::BAD_GATEWAY, |answer| answer.status())
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // Not on the test's runtime: another test may be the one that waits.
    tokio::spawn(async move { axum::serve(listener, site).await });
    address
}
