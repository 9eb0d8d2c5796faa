//! What a login costs: `benches/run.sh logins`, or `cargo bench --bench logins -- [SECONDS [AT_A_TIME [CORE]]]`.
//!
//! Whole logins, from `/sso/login` to the session cookie, against the demo provider: the real broker has one core to
//! itself, this program (browsers and provider) and Redis have the other. Counted is the CPU time of the broker's process
//! (user and system, `/proc/PID/stat`). Beside it what the parts of a login cost by themselves, each on one thread, as
//! that thread's CPU time.

#[path = "common/cpu.rs"]
mod cpu;
#[path = "common/processes.rs"]
#[expect(dead_code, reason = "other measurements need more of it")]
mod processes;
#[path = "common/sessions.rs"]
#[expect(dead_code, reason = "other measurements need more of it")]
mod sessions;

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use counterfoil::clock::SystemClock;
use counterfoil::config::Settings;
use counterfoil::demo::identity_provider::{self, IdentityProvider, RegisteredClient};
use counterfoil::idp::parsers::header::{JwtUse, read_header};
use counterfoil::idp::parsers::{jwks, jwt};
use counterfoil::idp::{self, IssuerPattern};
use counterfoil::secret::random_token;
use counterfoil::session::key::SessionKey;
use http::header::{COOKIE, LOCATION, SET_COOKIE};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::{Client, Response};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::cpu::{cpu, cpu_of_process};
use crate::processes::{Folder, Program, free_port};
use crate::sessions::{establish, open, random_key, settings};

type Failed = Box<dyn std::error::Error + Send + Sync>;

const SECRET: &str = "of this measurement alone";
/// Longest CPU time of a part, and longest warm-up: long enough for ticks of a hundredth of a second to be small.
const LONGEST_OF_A_PART: Duration = Duration::from_secs(2);
const SIGNED_IN: u16 = 303;

fn main() -> Result<(), Failed> {
    let mut numbers = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let mut number = |otherwise: u64| numbers.next().map_or(Ok(otherwise), |text| text.parse());
    let (seconds, at_a_time, core) = (number(20)?, number(8)?, number(0)?.to_string());
    let (folder, runtime) = (Folder::new(), Runtime::new()?);
    let (redis_port, port) = (free_port(), free_port());
    let _redis = Program::redis(redis_port, &[]);
    let issuer = runtime.block_on(provider(port))?;
    let text = configuration(port, &issuer, &format!("redis://127.0.0.1:{redis_port}/0"), &random_key());
    let file = folder.path().join("counterfoil.toml");
    std::fs::write(&file, &text)?;
    let mut command = Command::new("taskset");
    command.args(["-c", &core, env!("CARGO_BIN_EXE_counterfoil"), "serve", "--config"]).arg(file);
    let broker = Program::start(&mut command, port);

    let short = Duration::from_secs(seconds).min(LONGEST_OF_A_PART);
    runtime.block_on(log_in_for(short, at_a_time, port))?;
    let (begun, before) = (Instant::now(), cpu_of_process(broker.0.id())?);
    let logins = runtime.block_on(log_in_for(Duration::from_secs(seconds), at_a_time, port))?;
    let (elapsed, spent) = (begun.elapsed(), cpu_of_process(broker.0.id())?.saturating_sub(before));
    let each = spent / logins;
    println!("| logins | per second | core used | CPU per login | target |\n| ---: | ---: | ---: | ---: | ---: |");
    let (rate, used) = (f64::from(logins) / elapsed.as_secs_f64(), 100.0 * spent.as_secs_f64() / elapsed.as_secs_f64());
    println!("| {logins} | {rate:.0} | {used:.0} % | {:.2} ms | <= 3 ms |\n", milliseconds(each));
    drop(broker);
    parts(short, &settings(text), &issuer, &runtime)
}

fn configuration(port: u16, issuer: &str, redis: &str, key: &str) -> String {
    format!(
        "public_url = \"http://127.0.0.1:{port}\"\n[server]\nlisten = \"127.0.0.1:{port}\"\n\
         ops_listen = \"127.0.0.1:{}\"\n[secrets]\nkeys = [\"{key}\"]\n[log]\nlevel = \"warn\"\n\
         [store]\nurl = \"{redis}\"\n[idp.company]\nkind = \"oidc\"\nissuer = \"{issuer}\"\nclient_id = \"backoffice\"\n\
         client_secret = \"{SECRET}\"\nscopes = [\"openid\", \"profile\", \"email\", \"groups\"]\n\
         [[route]]\npath = \"/\"\nupstream = \"http://127.0.0.1:1\"\n",
        free_port()
    )
}

/// Starts the demo's provider; its issuer.
async fn provider(port: u16) -> Result<String, Failed> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let issuer = format!("http://{}", listener.local_addr()?);
    let client = RegisteredClient {
        client_id: "backoffice".into(),
        client_secret: SECRET.into(),
        redirect_uris: vec![format!("http://127.0.0.1:{port}/sso/callback/company")],
        post_logout_redirect_uris: Vec::new(),
        backchannel_logout_uri: None,
    };
    let settings = identity_provider::Settings { issuer: issuer.clone(), clients: vec![client] };
    let provider = IdentityProvider::new(settings, Arc::new(SystemClock));
    tokio::spawn(async move { axum::serve(listener, provider.router()).await });
    Ok(issuer)
}

/// Signs people in, so many at a time; how many it were.
async fn log_in_for(time: Duration, at_a_time: u64, port: u16) -> Result<u32, Failed> {
    let (done, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let mut people = tokio::task::JoinSet::new();
    for _ in 0..at_a_time {
        let (done, over) = (done.clone(), over.clone());
        people.spawn(async move {
            let client = Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build()?;
            while !over.load(Ordering::Relaxed) {
                log_in(&client, port).await?;
                done.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<_, Failed>(())
        });
    }
    tokio::time::sleep(time).await;
    over.store(true, Ordering::Relaxed);
    while let Some(person) = people.join_next().await {
        person??;
    }
    Ok(u32::try_from(done.load(Ordering::Relaxed))?)
}

/// What a browser does, without one: to the provider, the button there, and back.
async fn log_in(client: &Client, port: u16) -> Result<(), Failed> {
    let start = format!("http://127.0.0.1:{port}/sso/login?return_to=/orders");
    let start = client.get(start).header("accept", "text/html").send().await?;
    let (asked, pending) = (header(&start, &LOCATION)?, header(&start, &SET_COOKIE)?);
    start.bytes().await?;
    let form = "application/x-www-form-urlencoded";
    let pressed = client.post(asked).header("content-type", form).body("account=alice").send().await?;
    let back = header(&pressed, &LOCATION)?;
    pressed.bytes().await?;
    let pending = pending.split(';').next().unwrap_or_default().to_owned();
    let landed = client.get(back).header(COOKIE, pending).header("accept", "text/html").send().await?;
    let has_session = landed.headers().get_all(SET_COOKIE).iter().any(|one| one.as_bytes().starts_with(b"session="));
    let (status, body) = (landed.status().as_u16(), landed.text().await?);
    if status == SIGNED_IN && has_session { Ok(()) } else { Err(format!("no session: {status} {body}").into()) }
}

fn header(answer: &Response, name: &http::HeaderName) -> Result<String, Failed> {
    let value = answer.headers().get(name).ok_or_else(|| format!("{} without {name}", answer.status()))?;
    Ok(value.to_str()?.to_owned())
}

/// What the parts of a login cost by themselves.
fn parts(each: Duration, settings: &Settings, issuer: &str, provider: &Runtime) -> Result<(), Failed> {
    let row = |name, in_a_login, part: &mut dyn FnMut() -> Result<(), Failed>| row(each, name, in_a_login, part);
    println!("| part | CPU each | in a login | together |\n| --- | ---: | ---: | ---: |");
    // What a browser carries of a login in progress, and the record and its tokens: sealed once, opened once.
    let sealer = settings.keyring.sealer("measurement", b"");
    row("sealing and opening 700 bytes (pending login, record, tokens)", 3, &mut || {
        let closed = sealer.seal(b"subject", &[7; 700]);
        sealer.open(b"subject", &closed).map(drop).map_err(|_| "not opened".into())
    })?;
    row("verifying an RS256 signature and reading the claims", 1, &mut rs256()?)?;
    let key = SessionKey::generate();
    row("deriving a session's handle", 2, &mut || {
        std::hint::black_box(key.handle());
        Ok(())
    })?;
    let one = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let client = Client::builder().no_proxy().build()?;
    let (_provider, document) = (provider.enter(), format!("{issuer}/.well-known/openid-configuration"));
    // The provider answers on other threads.
    row("asking the provider something (token, userinfo)", 2, &mut || {
        one.block_on(async { Ok(client.get(&document).send().await?.bytes().await.map(drop)?) })
    })?;
    let sessions = one.block_on(async { open(settings) });
    let mut person = 0;
    row("establishing a session in Redis", 1, &mut || {
        person += 1;
        one.block_on(establish(&sessions, person..person + 1, 5));
        Ok(())
    })
}

/// A token as the provider makes it, and what is done with it.
fn rs256() -> Result<impl FnMut() -> Result<(), Failed>, Failed> {
    let pair = KeyPair::generate(KeySize::Rsa2048)?;
    let pem = STANDARD.encode(AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&pair)?.as_ref());
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{pem}\n-----END PRIVATE KEY-----\n");
    let key = EncodingKey::from_rsa_pem(pem.as_bytes())?;
    let set = json!({ "keys": [Jwk::from_encoding_key(&key, Algorithm::RS256)?] });
    let keys = jwks::read(set.as_object().ok_or("no object")?)?;
    let claims = json!({
        "iss": "https://idp.example.com", "sub": "alice", "aud": "backoffice", "exp": 2_000_000_000, "iat": 1,
        "nonce": random_token::<32>(), "name": "Alice Kim", "email": "alice@example.com", "groups": ["staff", "finance"],
    });
    let token = jsonwebtoken::encode(&Header::new(Algorithm::RS256), &claims, &key)?;
    let issuers = IssuerPattern::One("https://idp.example.com".to_owned());
    Ok(move || {
        let header = read_header(&token, idp::Algorithm::RS256, JwtUse::Claims)?;
        std::hint::black_box(jwt::verify_signature(&token, &header, &keys, &issuers)?);
        Ok(())
    })
}

/// Does it again and again until enough CPU time was used, and says what each cost.
fn row(
    enough: Duration,
    name: &str,
    in_a_login: u32,
    part: &mut dyn FnMut() -> Result<(), Failed>,
) -> Result<(), Failed> {
    const THREAD: &str = "/proc/thread-self/stat";
    let (mut times, before) = (0, cpu(THREAD)?);
    let spent = loop {
        for _ in 0..100 {
            part()?;
        }
        times += 100;
        let spent = cpu(THREAD)?.saturating_sub(before);
        if spent >= enough {
            break spent;
        }
    };
    let each = milliseconds(spent / times);
    println!("| {name} | {each:.3} ms | {in_a_login} | {:.3} ms |", each * f64::from(in_a_login));
    Ok(())
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
