//! An identity provider that does as it is told, and remembers what it was asked.
//!
//! It is honest by default. A test hands it a [`Script`] to change any document or token, to be slow, to fail,
//! or to answer something else entirely. It has no login page: whoever comes is whom the script says.

mod keys;
pub mod manners;
mod script;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use aws_lc_rs::digest::{SHA256, SHA384, SHA512, digest};
use axum::extract::{Request, State};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use counterfoil::clock::SharedClock;
use counterfoil::secret::random_token;
use http::{HeaderMap, StatusCode};
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value, json};
use url::Url;

use self::keys::{Key, Which};
use self::script::{apply, misbehave, set_members};

pub use self::script::{Change, Gate, LogoutManner, Misbehaviour, Script, change, set};

/// Begins the access token of every login; the first one's is just this.
pub const ACCESS_TOKEN: &str = "CANARY-access-token";
/// Begins every refresh token; the first one is just this.
pub const REFRESH_TOKEN: &str = "CANARY-refresh-token";
/// The event of a logout token (Back-Channel Logout 2.4).
pub const LOGOUT_EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// One request that was received.
#[derive(Clone, Debug)]
pub struct Received {
    pub method: String,
    pub path: String,
    pub query: String,
    pub headers: HeaderMap,
    pub form: HashMap<String, String>,
}

impl Received {
    /// A text with what this request said in the place of each `{name}`: of its form, or of its header.
    fn repeated_in(&self, text: &str) -> String {
        let headers = self.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap()));
        let form = self.form.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        form.chain(headers).fold(text.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
    }
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
    name: Option<String>,
    received: Vec<Received>,
    codes: HashMap<String, Map<String, Value>>,
    /// What each refresh token that was not used yet stands for.
    refresh_tokens: HashMap<String, Map<String, Value>>,
    /// Authorization requests that were pushed.
    pushed: HashMap<String, HashMap<String, String>>,
    which: Which,
    tokens_made: usize,
    /// For each path, how many requests are under way, and how many there were at most.
    under_way: HashMap<String, (usize, usize)>,
}

/// A request that is under way.
struct UnderWay(ScriptedIdp, String);

impl UnderWay {
    fn begin(idp: &ScriptedIdp, path: &str) -> Self {
        let mut ledger = idp.lock();
        let (now, most) = ledger.under_way.entry(path.to_owned()).or_default();
        *now += 1;
        *most = (*most).max(*now);
        Self(idp.clone(), path.to_owned())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some((now, _)) = self.0.lock().under_way.get_mut(&self.1) {
            *now -= 1;
        }
    }
}

impl ScriptedIdp {
    pub async fn start(clock: SharedClock) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::start_on(listener, clock)
    }

    pub fn start_on(listener: tokio::net::TcpListener, clock: SharedClock) -> Self {
        let state = Ledger {
            script: Script::default(),
            name: None,
            received: vec![],
            codes: HashMap::new(),
            refresh_tokens: HashMap::new(),
            pushed: HashMap::new(),
            which: Which::First,
            tokens_made: 0,
            under_way: HashMap::new(),
        };
        let address = listener.local_addr().unwrap();
        let idp = Self(Arc::new(Inner { address, clock, state: Mutex::new(state) }));
        let site = Router::new().fallback(serve).with_state(idp.clone());
        tokio::spawn(async move { axum::serve(listener, site).await });
        idp
    }

    pub fn issuer(&self) -> String {
        self.lock().name.clone().unwrap_or_else(|| format!("http://{}", self.0.address))
    }

    /// Calls itself by another name from now on.
    pub fn call_itself(&self, issuer: &str) {
        self.lock().name = Some(issuer.to_owned());
    }

    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// From now on.
    pub fn behave(&self, script: Script) {
        self.lock().script = script;
    }

    /// The name of the key that it signs with.
    pub fn kid(&self) -> String {
        self.key().kid().to_owned()
    }

    /// Signs with another key from now on, which is published.
    pub fn rotate_keys(&self) {
        self.lock().which = Which::AfterRotation;
    }

    /// Every request to a path so far.
    pub fn received(&self, path: &str) -> Vec<Received> {
        self.lock().received.iter().filter(|received| received.path == path).cloned().collect()
    }

    /// Most requests to a path that were under way at once.
    pub fn most_at_once(&self, path: &str) -> usize {
        self.lock().under_way.get(path).map_or(0, |(_, most)| *most)
    }

    pub fn forget_requests(&self) {
        self.lock().received.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.0.state.lock().unwrap()
    }

    pub fn script(&self) -> Script {
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
        let asked = self.parameters_of(query);
        let code = format!("CANARY-code-{}", random_token::<12>());
        let now = self.0.clock.now().unix_timestamp();
        let claims = json!({
            "iss": self.issuer(), "sub": "248289761001", "aud": "backoffice", "exp": now + 300, "iat": now,
            "nonce": asked.get("nonce"), "auth_time": now, "sid": "sid-1",
            "name": "Alice Kim", "email": "alice@example.com", "email_verified": true, "groups": ["staff"],
        });
        self.lock().codes.insert(code.clone(), claims.as_object().unwrap().clone());
        let mut answer = vec![("code".to_owned(), code), ("state".to_owned(), asked["state"].clone())];
        answer.push(("iss".to_owned(), self.issuer()));
        if let Some(change) = self.script().authorization_answer {
            change(&mut answer);
        }
        let mode = asked.get("response_mode").map_or("query", String::as_str);
        if mode.ends_with("jwt") {
            answer = vec![("response".to_owned(), self.response_token(&answer))];
        }
        if mode.starts_with("form_post") {
            let field = |(name, value): &(String, String)| format!("<input name=\"{name}\" value=\"{value}\">");
            let fields: String = answer.iter().map(field).collect();
            return Html(format!("<form method=\"post\" action=\"{}\">{fields}</form>", asked["redirect_uri"]))
                .into_response();
        }
        let mut back = Url::parse(&asked["redirect_uri"]).unwrap();
        back.query_pairs_mut().extend_pairs(answer);
        Redirect::to(back.as_str()).into_response()
    }

    /// The authorization request, wherever it was: in the address, pushed before (once), or in a request object.
    fn parameters_of(&self, query: &HashMap<String, String>) -> HashMap<String, String> {
        let mut asked = query.clone();
        if let Some(pushed) = query.get("request_uri").map(|uri| self.lock().pushed.remove(uri)) {
            asked.extend(pushed.expect("a request that was pushed, used for the first time"));
        }
        if let Some(object) = asked.remove("request") {
            let text = |value: Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            asked.extend(payload_of(&object).into_iter().map(|(name, value)| (name, text(value))));
        }
        asked
    }

    /// The answer to the browser as one JWT (JARM 2.1).
    fn response_token(&self, answer: &[(String, String)]) -> String {
        let script = self.script();
        let mut claims = json!({
            "iss": self.issuer(), "aud": "backoffice", "exp": self.0.clock.now().unix_timestamp() + 60,
        });
        for (name, value) in answer {
            claims[name] = json!(value);
        }
        apply(script.response_claims.as_ref(), &mut claims);
        let repeats = script.response_repeats.iter().map(|(name, value)| format!(",\"{name}\":{value}"));
        let text = format!("{}{}}}", claims.to_string().trim_end_matches('}'), repeats.collect::<String>());
        self.signed_text(script.response_header.as_ref(), &text)
    }

    fn push(&self, form: &HashMap<String, String>) -> Response {
        let uri = format!("urn:ietf:params:oauth:request_uri:{}", random_token::<12>());
        self.lock().pushed.insert(uri.clone(), form.clone());
        let mut answer = json!({ "request_uri": uri, "expires_in": 60 });
        apply(self.script().pushed_answer.as_ref(), &mut answer);
        (StatusCode::CREATED, Json(answer)).into_response()
    }

    fn token(&self, form: &HashMap<String, String>) -> Response {
        let refreshing = form.get("grant_type").is_some_and(|grant| grant == "refresh_token");
        let grant = match (refreshing, form.get("code"), form.get("refresh_token")) {
            (false, Some(code), _) => self.lock().codes.remove(code),
            (true, _, Some(token)) => self.lock().refresh_tokens.remove(token),
            _ => None,
        };
        let Some(grant) = grant else {
            return (StatusCode::BAD_REQUEST, Json(json!({ "error": "invalid_grant" }))).into_response();
        };
        let script = self.script();
        let (opaque, refresh_token) = self.make_tokens(&grant);
        let access_token = match &script.access_token_claims {
            Some(change) => self.access_token(change, script.access_token_header.as_ref()),
            None => opaque,
        };
        let mut claims = Value::Object(grant);
        let hash = match script.signing {
            Algorithm::RS384 | Algorithm::PS384 | Algorithm::ES384 => &SHA384,
            Algorithm::RS512 | Algorithm::PS512 | Algorithm::EdDSA => &SHA512,
            _ => &SHA256,
        };
        let hash = digest(hash, access_token.as_bytes());
        claims["at_hash"] = json!(URL_SAFE_NO_PAD.encode(&hash.as_ref()[..hash.as_ref().len() / 2]));
        if refreshing {
            let now = self.0.clock.now().unix_timestamp();
            set_members(&mut claims, &json!({ "iat": now, "exp": now + 300, "nonce": null }));
            apply(script.refresh_claims.as_ref(), &mut claims);
        } else {
            apply(script.id_token_claims.as_ref(), &mut claims);
        }
        let id_token = self.signed(script.id_token_header.as_ref(), &claims);
        let id_token = script.id_token.map_or(id_token.clone(), |change| change(id_token));
        let token_type = if form.contains_key("DPoP") { "DPoP" } else { "Bearer" };
        let mut answer = json!({
            "access_token": access_token, "token_type": token_type, "expires_in": 300,
            "refresh_token": refresh_token, "id_token": id_token,
        });
        apply(if refreshing { script.refresh_answer.as_ref() } else { script.token_answer.as_ref() }, &mut answer);
        Json(answer).into_response()
    }

    /// An access token as Keycloak makes them: for other APIs, with the roles.
    fn access_token(&self, change: &Change, header: Option<&Change>) -> String {
        let now = self.0.clock.now().unix_timestamp();
        let mut claims = json!({
            "iss": self.issuer(), "sub": "248289761001", "aud": "account", "azp": "backoffice", "typ": "Bearer",
            "exp": now + 300, "iat": now, "jti": random_token::<12>(), "scope": "openid profile email",
            "realm_access": { "roles": ["auditor"] },
            "resource_access": { "backoffice": { "roles": ["editor"] }, "account": { "roles": ["manage-account"] } },
        });
        change(&mut claims);
        self.signed(header, &claims)
    }

    /// A new access token, and a refresh token that works once.
    fn make_tokens(&self, grant: &Map<String, Value>) -> (String, String) {
        let mut ledger = self.lock();
        ledger.tokens_made += 1;
        let suffix = if ledger.tokens_made == 1 { String::new() } else { format!("-{}", ledger.tokens_made) };
        let refresh_token = format!("{REFRESH_TOKEN}{suffix}");
        ledger.refresh_tokens.insert(refresh_token.clone(), grant.clone());
        (format!("{ACCESS_TOKEN}{suffix}"), refresh_token)
    }

    /// Forgets every refresh token, as if the person had been disabled.
    pub fn disable_everybody(&self) {
        self.lock().refresh_tokens.clear();
    }

    fn userinfo(&self) -> Response {
        let mut answer = json!({ "sub": "248289761001", "preferred_username": "alice" });
        let script = self.script();
        apply(script.userinfo.as_ref(), &mut answer);
        let Some(change) = &script.signed_userinfo else { return Json(answer).into_response() };
        let now = self.0.clock.now().unix_timestamp();
        set_members(&mut answer, &json!({ "iss": self.issuer(), "aud": "backoffice", "iat": now, "exp": now + 300 }));
        apply(Some(change), &mut answer);
        ([("content-type", "application/jwt")], self.signed(None, &answer)).into_response()
    }

    /// Ends the provider's own session, in the manner of the script (RP-Initiated Logout 2, 3).
    fn end_session(&self, asked: &HashMap<String, String>) -> Response {
        let hint = asked.get("id_token_hint").map(|hint| payload_of(hint));
        assert!(hint.as_ref().is_none_or(|claims| claims["iss"] == self.issuer()), "a hint of this provider's");
        let way_back = asked.get("post_logout_redirect_uri");
        let manner = self.script().logout;
        let given_back = !self.received("/revoke").is_empty();
        match (manner, &hint) {
            (LogoutManner::Fails, _) if given_back => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
            (LogoutManner::Fails, None) if way_back.is_some() || asked.contains_key("state") => {
                return (StatusCode::BAD_REQUEST, "state is set but id_token_hint is missing").into_response();
            }
            (LogoutManner::Asks, None) => return Html("Do you want to log out?").into_response(),
            (LogoutManner::ForgetsTheWay, None) => return Html("You are logged out.").into_response(),
            (LogoutManner::ShowsJson, None) => return Json(json!({ "status": "error" })).into_response(),
            _ => {}
        }
        let Some(way_back) = way_back else { return Html("You are logged out.").into_response() };
        let mut back = Url::parse(way_back).unwrap();
        back.query_pairs_mut().extend_pairs(asked.get("state").map(|state| ("state", state)));
        Redirect::to(back.as_str()).into_response()
    }

    fn key(&self) -> Key {
        let ledger = self.lock();
        let which = if ledger.script.foreign_key { Which::NeverPublished } else { ledger.which };
        Key::of(ledger.script.signing, which)
    }

    fn signed(&self, change_of_header: Option<&script::Change>, claims: &Value) -> String {
        self.signed_text(change_of_header, &claims.to_string())
    }

    fn signed_text(&self, change_of_header: Option<&script::Change>, claims: &str) -> String {
        let key = self.key();
        let algorithm = format!("{:?}", self.script().signing);
        let mut header = json!({ "alg": algorithm, "typ": "JWT", "kid": key.kid() });
        apply(change_of_header, &mut header);
        key.sign_text(&header, claims)
    }

    /// Any JWT of the provider's: its header with these members set, or removed where null.
    pub fn sign(&self, header: Value, claims: &Value) -> String {
        self.signed(set(header).as_ref(), claims)
    }

    /// A logout token as honest providers send it (no `typ`, one unknown claim), with claims set, or removed where
    /// null.
    pub fn logout_token(&self, claims: &Value) -> String {
        let now = self.0.clock.now().unix_timestamp();
        let mut honest = json!({
            "iss": self.issuer(), "sub": "248289761001", "aud": "backoffice", "jti": random_token::<12>(),
            "sid": "sid-1", "events": { LOGOUT_EVENT: {} }, "iat": now, "exp": now + 120, "unknown": "ignored",
        });
        set_members(&mut honest, claims);
        self.sign(json!({ "typ": null }), &honest)
    }

    /// A security event token (RFC 8417) with these events, and claims set, or removed where null.
    pub fn security_event(&self, events: &Value, claims: &Value) -> String {
        let now = self.0.clock.now().unix_timestamp();
        let mut honest = json!({
            "iss": self.issuer(), "aud": "backoffice", "jti": random_token::<12>(), "iat": now, "events": events,
            "sub_id": { "format": "iss_sub", "iss": self.issuer(), "sub": "248289761001" },
        });
        set_members(&mut honest, claims);
        self.sign(json!({ "typ": "secevent+jwt" }), &honest)
    }
}

/// The claims of a JWS, unverified.
pub fn payload_of(token: &str) -> Map<String, Value> {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

/// Whether a request's DPoP proof (RFC 9449 4.2), if there is one, lacks the nonce that the script demands.
fn lacks_nonce(headers: &HeaderMap, nonce: &str) -> bool {
    let proof = headers.get("dpop").and_then(|proof| proof.to_str().ok());
    proof.is_some_and(|proof| payload_of(proof).get("nonce") != Some(&json!(nonce)))
}

fn wants_nonce(path: &str, nonce: &'static str) -> Response {
    let challenge = [("dpop-nonce", nonce), ("www-authenticate", "DPoP error=\"use_dpop_nonce\"")];
    match path {
        "/token" => (StatusCode::BAD_REQUEST, challenge, Json(json!({ "error": "use_dpop_nonce" }))).into_response(),
        _ => (StatusCode::UNAUTHORIZED, challenge).into_response(),
    }
}

fn headers_of(headers: &[(&str, &str)]) -> HeaderMap {
    headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
}

async fn serve(State(idp): State<ScriptedIdp>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap_or_default();
    let pairs = |text: &[u8]| url::form_urlencoded::parse(text).into_owned().collect::<HashMap<_, _>>();
    let (path, query) = (parts.uri.path().to_owned(), parts.uri.query().unwrap_or_default().to_owned());
    let mut form = pairs(&body);
    let (method, headers) = (parts.method.to_string(), parts.headers);
    let received =
        Received { method, path: path.clone(), query: query.clone(), headers: headers.clone(), form: form.clone() };
    idp.lock().received.push(received.clone());
    let _under_way = UnderWay::begin(&idp, &path);
    let script = idp.script();
    let refreshing = form.get("grant_type").is_some_and(|grant| grant == "refresh_token");
    let misbehaviour = match path.as_str() {
        "/.well-known/openid-configuration" => script.at_metadata.clone(),
        "/jwks" => script.at_jwks.clone(),
        "/token" if refreshing => script.at_refresh.clone(),
        "/token" => script.at_token.clone(),
        "/userinfo" => script.at_userinfo.clone(),
        "/par" => script.at_pushed.clone(),
        "/revoke" => script.at_revoke.clone(),
        _ => Misbehaviour::None,
    };
    if let Some(response) = misbehave(misbehaviour, &received).await {
        return response;
    }
    let is_asked_here = script.dpop_nonce_at.is_none_or(|asked| asked == path);
    if let Some(nonce) = script.dpop_nonce.filter(|nonce| is_asked_here && lacks_nonce(&headers, nonce)) {
        return wants_nonce(&path, nonce);
    }
    if headers.contains_key("dpop") {
        form.insert("DPoP".to_owned(), String::new());
    }
    match path.as_str() {
        // An issuer may have a path.
        path if path.ends_with("/.well-known/openid-configuration") => {
            let mut metadata = idp.metadata();
            apply(script.metadata.as_ref(), &mut metadata);
            (headers_of(script.document_headers), Json(metadata)).into_response()
        }
        "/jwks" => {
            let which = idp.lock().which;
            let mut keys = json!({ "keys": [Key::of(script.signing, which).published()] });
            apply(script.jwks.as_ref(), &mut keys);
            (headers_of(script.document_headers), Json(keys)).into_response()
        }
        "/authorize" => idp.authorize(&pairs(query.as_bytes())),
        "/par" => idp.push(&form),
        "/token" => idp.token(&form),
        "/userinfo" => idp.userinfo(),
        "/revoke" => StatusCode::OK.into_response(),
        "/end-session" => idp.end_session(&if form.is_empty() { pairs(query.as_bytes()) } else { form }),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}
