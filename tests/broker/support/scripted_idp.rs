//! An identity provider that does as it is told, and remembers what it was asked.
//!
//! It is honest by default. A test hands it a [`Script`] to change any document or token, to be slow, to fail,
//! or to answer something else entirely. It has no login page: whoever comes is whom the script says.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use aws_lc_rs::digest;
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use counterfoil::clock::SharedClock;
use counterfoil::secret::random_token;
use http::{HeaderMap, StatusCode};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Map, Value, json};
use url::Url;

/// The access token of every login.
pub const ACCESS_TOKEN: &str = "CANARY-access-token";
pub const REFRESH_TOKEN: &str = "CANARY-refresh-token";

/// What one endpoint does instead of answering honestly.
#[derive(Clone, Default)]
pub enum Misbehaviour {
    #[default]
    None,
    /// Status and body of this content type.
    Answer(u16, &'static str, &'static str),
    /// A redirect elsewhere.
    Redirect(String),
    /// An endless body.
    Endless,
    /// No answer for this long.
    Slow(Duration),
    /// The connection is dropped after the request was read.
    Drop,
}

type Change = Arc<dyn Fn(&mut Value) + Send + Sync>;
type ChangeOfParameters = Arc<dyn Fn(&mut Vec<(String, String)>) + Send + Sync>;
type ChangeOfToken = Arc<dyn Fn(String) -> String + Send + Sync>;

/// How the provider behaves. Changes get the honest document and may do anything with it.
#[derive(Clone, Default)]
pub struct Script {
    pub metadata: Option<Change>,
    pub jwks: Option<Change>,
    pub id_token_header: Option<Change>,
    pub id_token_claims: Option<Change>,
    /// The finished ID token.
    pub id_token: Option<ChangeOfToken>,
    pub token_answer: Option<Change>,
    pub userinfo: Option<Change>,
    /// Parameters of the answer to the browser.
    pub authorization_answer: Option<ChangeOfParameters>,
    /// Signs with a key that was never published.
    pub foreign_key: bool,
    pub at_metadata: Misbehaviour,
    pub at_jwks: Misbehaviour,
    pub at_token: Misbehaviour,
    pub at_userinfo: Misbehaviour,
}

/// A change of a JSON document, as a script takes it.
#[expect(clippy::unnecessary_wraps, reason = "a script's fields are optional")]
pub fn change(change: impl Fn(&mut Value) + Send + Sync + 'static) -> Option<Change> {
    Some(Arc::new(change))
}

/// A change that sets members, or removes those that are null.
pub fn set(members: Value) -> Option<Change> {
    change(move |document| {
        for (name, value) in members.as_object().unwrap() {
            match value {
                Value::Null => document.as_object_mut().unwrap().remove(name),
                value => document.as_object_mut().unwrap().insert(name.clone(), value.clone()),
            };
        }
    })
}

/// One request that was received.
#[derive(Clone, Debug)]
pub struct Received {
    pub path: String,
    pub query: String,
    pub headers: HeaderMap,
    pub form: HashMap<String, String>,
}

/// A running provider. Cheap to clone.
#[derive(Clone)]
pub struct ScriptedIdp(Arc<Inner>);

struct Inner {
    address: SocketAddr,
    clock: SharedClock,
    state: Mutex<Ledger>,
}

struct Ledger {
    script: Script,
    received: Vec<Received>,
    codes: HashMap<String, Map<String, Value>>,
    key: Key,
}

#[derive(Clone)]
struct Key {
    kid: String,
    private: EncodingKey,
    published: Value,
}

impl Key {
    fn generate() -> Self {
        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let pkcs8 = STANDARD.encode(pair.as_der().unwrap().as_ref());
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{pkcs8}\n-----END PRIVATE KEY-----\n");
        let private = EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap();
        let kid = random_token::<8>();
        let mut published = serde_json::to_value(Jwk::from_encoding_key(&private, Algorithm::RS256).unwrap()).unwrap();
        published["kid"] = json!(kid);
        Self { kid, private, published }
    }

    /// One for the whole binary: making keys is slow.
    fn shared(index: usize) -> Self {
        static KEYS: [std::sync::LazyLock<Key>; 3] = [const { std::sync::LazyLock::new(Key::generate) }; 3];
        KEYS[index].clone()
    }
}

impl ScriptedIdp {
    pub async fn start(clock: SharedClock) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::start_on(listener, clock)
    }

    pub fn start_on(listener: tokio::net::TcpListener, clock: SharedClock) -> Self {
        let state = Ledger { script: Script::default(), received: vec![], codes: HashMap::new(), key: Key::shared(0) };
        let address = listener.local_addr().unwrap();
        let idp = Self(Arc::new(Inner { address, clock, state: Mutex::new(state) }));
        let site = Router::new().fallback(serve).with_state(idp.clone());
        tokio::spawn(async move { axum::serve(listener, site).await });
        idp
    }

    pub fn issuer(&self) -> String {
        format!("http://{}", self.0.address)
    }

    /// From now on.
    pub fn behave(&self, script: Script) {
        self.lock().script = script;
    }

    /// Signs with another key from now on, which is published.
    pub fn rotate_keys(&self) {
        self.lock().key = Key::shared(1);
    }

    /// Every request to a path so far.
    pub fn received(&self, path: &str) -> Vec<Received> {
        self.lock().received.iter().filter(|received| received.path == path).cloned().collect()
    }

    pub fn forget_requests(&self) {
        self.lock().received.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.0.state.lock().unwrap()
    }

    fn script(&self) -> Script {
        self.lock().script.clone()
    }

    fn metadata(&self) -> Value {
        let issuer = self.issuer();
        json!({
            "issuer": issuer,
            "authorization_endpoint": format!("{issuer}/authorize?tenant=1"),
            "token_endpoint": format!("{issuer}/token"),
            "userinfo_endpoint": format!("{issuer}/userinfo"),
            "jwks_uri": format!("{issuer}/jwks"),
            "end_session_endpoint": format!("{issuer}/end-session"),
            "response_types_supported": ["code"],
            "authorization_response_iss_parameter_supported": true,
        })
    }

    /// Sends the browser back with a code, as whoever the script says.
    fn authorize(&self, query: &HashMap<String, String>) -> Response {
        let code = format!("CANARY-code-{}", random_token::<12>());
        let now = self.0.clock.now().unix_timestamp();
        let claims = json!({
            "iss": self.issuer(), "sub": "248289761001", "aud": "backoffice", "exp": now + 300, "iat": now,
            "nonce": query["nonce"], "auth_time": now, "sid": "sid-1",
            "name": "Alice Kim", "email": "alice@example.com", "email_verified": true, "groups": ["staff"],
        });
        self.lock().codes.insert(code.clone(), claims.as_object().unwrap().clone());
        let mut answer = vec![("code".to_owned(), code), ("state".to_owned(), query["state"].clone())];
        answer.push(("iss".to_owned(), self.issuer()));
        if let Some(change) = self.script().authorization_answer {
            change(&mut answer);
        }
        let mut back = Url::parse(&query["redirect_uri"]).unwrap();
        back.query_pairs_mut().extend_pairs(answer);
        Redirect::to(back.as_str()).into_response()
    }

    fn token(&self, form: &HashMap<String, String>) -> Response {
        let claims = form.get("code").and_then(|code| self.lock().codes.remove(code));
        let Some(claims) = claims else {
            return (StatusCode::BAD_REQUEST, Json(json!({ "error": "invalid_grant" }))).into_response();
        };
        let (script, key) = (self.script(), self.lock().key.clone());
        let mut header = json!({ "alg": "RS256", "typ": "JWT", "kid": key.kid });
        let mut claims = Value::Object(claims);
        let digest = digest::digest(&digest::SHA256, ACCESS_TOKEN.as_bytes());
        claims["at_hash"] = json!(URL_SAFE_NO_PAD.encode(&digest.as_ref()[..16]));
        apply(script.id_token_header.as_ref(), &mut header);
        apply(script.id_token_claims.as_ref(), &mut claims);
        let key = if script.foreign_key { Key::shared(2) } else { key };
        let id_token = sign(&header, &claims, &key);
        let id_token = script.id_token.map_or(id_token.clone(), |change| change(id_token));
        let mut answer = json!({
            "access_token": ACCESS_TOKEN, "token_type": "Bearer", "expires_in": 300,
            "refresh_token": REFRESH_TOKEN, "id_token": id_token,
        });
        apply(script.token_answer.as_ref(), &mut answer);
        Json(answer).into_response()
    }

    fn userinfo(&self) -> Response {
        let mut answer = json!({ "sub": "248289761001", "preferred_username": "alice" });
        apply(self.script().userinfo.as_ref(), &mut answer);
        Json(answer).into_response()
    }
}

/// A JWS whose header and payload are exactly these.
fn sign(header: &Value, claims: &Value, key: &Key) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key.private, Algorithm::RS256).unwrap();
    format!("{message}.{signature}")
}

fn apply(change: Option<&Change>, document: &mut Value) {
    if let Some(change) = change {
        change(document);
    }
}

async fn serve(State(idp): State<ScriptedIdp>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap_or_default();
    let pairs = |text: &[u8]| url::form_urlencoded::parse(text).into_owned().collect::<HashMap<_, _>>();
    let (path, query) = (parts.uri.path().to_owned(), parts.uri.query().unwrap_or_default().to_owned());
    let form = pairs(&body);
    let received =
        Received { path: path.clone(), query: query.clone(), headers: parts.headers.clone(), form: form.clone() };
    idp.lock().received.push(received);
    let script = idp.script();
    let misbehaviour = match path.as_str() {
        "/.well-known/openid-configuration" => script.at_metadata.clone(),
        "/jwks" => script.at_jwks.clone(),
        "/token" => script.at_token.clone(),
        "/userinfo" => script.at_userinfo.clone(),
        _ => Misbehaviour::None,
    };
    if let Some(response) = misbehave(misbehaviour).await {
        return response;
    }
    match path.as_str() {
        "/.well-known/openid-configuration" => {
            let mut metadata = idp.metadata();
            apply(script.metadata.as_ref(), &mut metadata);
            Json(metadata).into_response()
        }
        "/jwks" => {
            let mut keys = json!({ "keys": [idp.lock().key.published.clone()] });
            apply(script.jwks.as_ref(), &mut keys);
            Json(keys).into_response()
        }
        "/authorize" => idp.authorize(&pairs(query.as_bytes())),
        "/token" => idp.token(&form),
        "/userinfo" => idp.userinfo(),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn misbehave(misbehaviour: Misbehaviour) -> Option<Response> {
    match misbehaviour {
        Misbehaviour::None => None,
        Misbehaviour::Answer(status, kind, body) => {
            let status = StatusCode::from_u16(status).unwrap();
            Some((status, [("content-type", kind)], body).into_response())
        }
        Misbehaviour::Redirect(location) => Some(Redirect::temporary(&location).into_response()),
        Misbehaviour::Endless => {
            let chunk = Bytes::from(vec![b' '; 64 * 1024]);
            let chunks = std::iter::repeat_with(move || Ok::<_, Infallible>(chunk.clone())).take(3_200);
            let body = Body::from_stream(futures_stream(chunks));
            Some(([("content-type", "application/json")], body).into_response())
        }
        Misbehaviour::Slow(delay) => {
            tokio::time::sleep(delay).await;
            None
        }
        Misbehaviour::Drop => panic!("the scripted provider drops this connection"),
    }
}

/// A stream of what an iterator yields.
fn futures_stream<T: Send + 'static>(
    items: impl Iterator<Item = Result<T, Infallible>> + Send + Unpin + 'static,
) -> impl futures_core::Stream<Item = Result<T, Infallible>> + Send + 'static {
    struct Items<I>(I);
    impl<I: Iterator + Unpin> futures_core::Stream for Items<I> {
        type Item = I::Item;

        fn poll_next(
            mut self: std::pin::Pin<&mut Self>,
            _context: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<I::Item>> {
            std::task::Poll::Ready(self.0.next())
        }
    }
    Items(items)
}
