//! One tiny handler behind each way of knowing the caller; `run.sh` drives it.
//!
//! `servers MODE PORT COOKIES SESSIONS [REDIS [UPSTREAM]]` signs so many people in, writes a cookie of each into the file
//! `COOKIES`, one a line, says `ready`, and serves until it is ended, on one worker thread. The modes:
//!
//! | mode | in front of the handler |
//! | --- | --- |
//! | `bare` | nothing |
//! | `layered` | a middleware that does nothing: what a layer of this kind costs by itself |
//! | `guarded` | the session guard |
//! | `guarded-uncached` | the session guard without its near cache: Redis is asked for each request |
//! | `hs256`, `rs256`, `es256` | a JWT in the cookie, verified; its claims say what the session's record says |
//! | `broker` | the whole broker, on a guarded route |
//! | `broker-public` | the whole broker, on a public route, for strangers |
//! | `proxy-1k`, `proxy-100k` | the whole broker, on a guarded route, as a reverse proxy to the upstream |
//! | `broker-info`, `proxy-1k-info` | the same with the access log, on standard error |

#[path = "common/sessions.rs"]
#[expect(dead_code, reason = "other measurements need more of it")]
mod sessions;

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use counterfoil::app::server::serve;
use counterfoil::app::site::BackOffice;
use counterfoil::app::{App, Dependencies};
use counterfoil::clock::SystemClock;
use counterfoil::guard::broker_paths::BrokerPaths;
use counterfoil::guard::current_user::Admitted;
use counterfoil::guard::layer::{Guard, GuardParts};
use counterfoil::guard::revalidation::NoRevalidation;
use counterfoil::guard::route::RouteTable;
use counterfoil::identity::Identity;
use counterfoil::secret::{random_bytes, random_token};
use counterfoil::session::key::SessionKey;
use counterfoil::session::record::ClientTraits;
use counterfoil::telemetry::LogThread;
use counterfoil::web::cookies::CookiePolicy;
use futures_util::future::BoxFuture;
use http::StatusCode;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tracing::Level;

use crate::sessions::{client, configuration, cookie, establish, identity, now, open, settings};

/// Groups of each person; with them a JWT has about one kilobyte.
const GROUPS: usize = 10;
/// Guarded, but for one path. Whoever has no session gets 401, which the load generator counts; it would take a
/// redirect for a success.
const ROUTES: &str = r#"
[[route]]
path = "= /public"
access = "public"
[[route]]
path = "/"
on_anonymous = "401"
"#;

/// The server key of every mode: one Redis serves them all, and takes one key.
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

type Failed = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failed> {
    let arguments: Vec<_> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [mode, port, cookies, people, redis @ ..] = arguments.as_slice() else {
        println!("servers: is run by benches/run.sh");
        return Ok(());
    };
    let (redis, upstream) = match redis {
        [] => ("memory:", None),
        [redis, upstream @ ..] => (redis.as_str(), upstream.first().map(String::as_str)),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", port.parse()?)))?;
    let mut log = LogThread::default();
    let (site, values) = runtime.block_on(site(mode, redis, upstream, people.parse()?, &mut log))?;
    std::fs::write(cookies, values.iter().map(|value| cookie(value) + "\n").collect::<String>())?;
    println!("ready");
    // Spawned, so that it runs on the worker and not on this thread.
    runtime.block_on(runtime.spawn(site(listener)))?;
    Ok(())
}

/// A site on its way to a listener, each as the type that it is: nothing is boxed for a request.
type Serving = Box<dyn FnOnce(TcpListener) -> BoxFuture<'static, ()>>;

fn serving(site: impl BackOffice) -> Serving {
    Box::new(|listener| Box::pin(serve(listener, site, std::future::pending(), Duration::ZERO)))
}

/// What is served, and the values of its callers' cookies.
async fn site(
    mode: &str,
    redis: &str,
    upstream: Option<&str>,
    people: usize,
    log: &mut LogThread,
) -> Result<(Serving, Vec<String>), Failed> {
    let handler = Router::new().fallback(answer);
    let cached = if mode == "guarded-uncached" { "near_cache_entries = 0" } else { "" };
    let routes = upstream.map_or_else(|| ROUTES.to_owned(), |upstream| format!("{ROUTES}upstream = \"{upstream}\"\n"));
    let mut settings = settings(configuration(redis, KEY, cached, &routes));
    let mode = mode.strip_suffix("-info").inspect(|_| settings.log.level = Level::INFO).unwrap_or(mode);
    let cookies = Arc::new(CookiePolicy::new(&settings.public_url, None));
    let values = |keys: Vec<SessionKey>| keys.iter().map(SessionKey::expose_cookie_value).collect();
    Ok(match mode {
        // As long as the guard's cookies, so that the requests are the same.
        "bare" | "layered" => {
            let nothing = from_fn(async |request: Request, next: Next| next.run(request).await);
            let site = if mode == "bare" { handler } else { handler.layer(nothing) };
            (serving(site), (0..people).map(|_| random_token::<32>()).collect())
        }
        "guarded" | "guarded-uncached" => {
            let sessions = open(&settings);
            sessions.maintenance().spawn();
            let keys = establish(&sessions, 0..people, GROUPS).await;
            let paths = BrokerPaths::login_at("/sso/login");
            let routes = Arc::new(RouteTable::new(settings.routes, &paths));
            let (clock, clock_skew) = (Arc::new(SystemClock), time::Duration::ZERO);
            let revalidator = Arc::new(NoRevalidation);
            let public_url = Arc::new(settings.public_url);
            let sessions = sessions.reader();
            let parts = GuardParts { routes, sessions, revalidator, cookies, clock, clock_skew, public_url, paths };
            (serving(handler.layer(Guard::from(parts).layer())), values(keys))
        }
        "broker" | "broker-public" | "proxy-1k" | "proxy-100k" => {
            log.start(settings.log);
            let clock = Arc::new(SystemClock);
            let store = settings.store.open(clock.clone())?;
            let app = App::build(settings, Dependencies { clock, store })?;
            let keys = establish(app.sessions(), 0..people, GROUPS).await;
            let site = if upstream.is_some() { serving(app.site()) } else { serving(app.in_front_of(handler)) };
            (site, values(keys))
        }
        algorithm => {
            let signer = Signer::new(algorithm.to_ascii_uppercase().parse()?)?;
            let tokens = (0..people).map(|index| signer.sign(index)).collect::<Result<_, _>>()?;
            let verifier = Arc::new(signer.verifier(cookies)?);
            (serving(handler.layer(from_fn_with_state(verifier, require_token))), tokens)
        }
    })
}

/// The handler: who asks, if that is known.
async fn answer(request: Request) -> String {
    let admitted = request.extensions().get::<Admitted>();
    let session = admitted.and_then(|admitted| admitted.user.as_ref()).map(|user| &user.identity().subject);
    let subject = session.or_else(|| request.extensions().get::<Arc<Claims>>().map(|claims| &claims.sub));
    format!("ok {}", subject.map_or("nobody", String::as_str))
}

/// What a session's record says, as claims.
#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    idp: String,
    name: Option<String>,
    preferred_username: Option<String>,
    email: Option<String>,
    email_verified: bool,
    groups: Vec<String>,
    sid: Option<String>,
    auth_time: Option<i64>,
    iat: i64,
    exp: i64,
    client_address: Option<String>,
    user_agent: Option<String>,
}

struct Signer {
    algorithm: Algorithm,
    private: EncodingKey,
}

struct Verifier {
    cookies: Arc<CookiePolicy>,
    public: DecodingKey,
    validation: Validation,
}

impl Signer {
    fn new(algorithm: Algorithm) -> Result<Self, Failed> {
        let private = match algorithm {
            Algorithm::HS256 => EncodingKey::from_secret(&random_bytes::<32>())?,
            Algorithm::ES256 => {
                let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
                EncodingKey::from_ec_der(pair.to_pkcs8v1()?.as_ref())
            }
            Algorithm::RS256 => {
                // jsonwebtoken takes the inner RSAPrivateKey, which its PEM reader finds in a PKCS#8 key.
                let pair = rsa::KeyPair::generate(rsa::KeySize::Rsa2048)?;
                let pkcs8 = STANDARD.encode(pair.as_der()?.as_ref());
                let pem = format!("-----BEGIN PRIVATE KEY-----\n{pkcs8}\n-----END PRIVATE KEY-----\n");
                EncodingKey::from_rsa_pem(pem.as_bytes())?
            }
            other => return Err(format!("not measured: {other:?}").into()),
        };
        Ok(Self { algorithm, private })
    }

    fn sign(&self, index: usize) -> Result<String, Failed> {
        let Identity { idp, issuer, subject, name, preferred_username, email, email_verified, groups } =
            identity(index, GROUPS);
        let ClientTraits { address, user_agent } = client(index);
        let now = now().unix_timestamp();
        let claims = Claims {
            iss: issuer,
            sub: subject,
            idp,
            name,
            preferred_username,
            email,
            email_verified,
            groups,
            sid: None,
            auth_time: Some(now),
            iat: now,
            exp: now + 12 * 60 * 60,
            client_address: address,
            user_agent,
        };
        Ok(jsonwebtoken::encode(&Header::new(self.algorithm), &claims, &self.private)?)
    }

    /// Its key and its rules are made here, once.
    fn verifier(&self, cookies: Arc<CookiePolicy>) -> Result<Verifier, Failed> {
        let public = DecodingKey::from_jwk(&Jwk::from_encoding_key(&self.private, self.algorithm)?)?;
        let mut validation = Validation::new(self.algorithm);
        validation.set_issuer(&[identity(0, 0).issuer]);
        validation.validate_aud = false;
        Ok(Verifier { cookies, public, validation })
    }
}

/// The guard's counterpart: finds the cookie the same way, verifies it, and hands the claims on.
async fn require_token(State(verifier): State<Arc<Verifier>>, mut request: Request, next: Next) -> Response {
    let Verifier { cookies, public, validation } = &*verifier;
    let token = cookies.session_values(request.headers()).next();
    match token.and_then(|token| jsonwebtoken::decode::<Claims>(token, public, validation).ok()) {
        Some(token) => {
            request.extensions_mut().insert(Arc::new(token.claims));
            next.run(request).await
        }
        None => StatusCode::UNAUTHORIZED.into_response(),
    }
}
