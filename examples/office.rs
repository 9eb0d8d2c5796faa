//! An application that signs people in itself, behind the guard alone: no provider, no broker.
//!
//! ```sh
//! SESSION_KEY=$(head -c 32 /dev/urandom | base64) cargo run --example office
//! curl -i http://127.0.0.1:3000/
//! curl -i -c jar -d 'name=alice&password=wonderland' http://127.0.0.1:3000/login
//! curl -i -b jar http://127.0.0.1:3000/finance
//! ```

use std::error::Error;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::Redirect;
use axum::routing::{delete, get, post};
use axum::{Form, Router};
use counterfoil_guard::{
    AccessRule, CurrentUser, EndSession, Guard, Identity, Keyring, Order, Refusal, Selection, SessionCookie, Sessions,
    StartSession,
};
use counterfoil_session_redis::RedisBackend;
use serde::Deserialize;

/// The name of this application, which tells its people apart from those of others in the same store.
const ISSUER: &str = "http://127.0.0.1:3000";

#[tokio::main]
#[allow(clippy::disallowed_methods, reason = "it has no configuration but these three variables")]
async fn main() -> Result<(), Box<dyn Error>> {
    let redis = std::env::var("REDIS_URL").unwrap_or_else(|_| "redis://127.0.0.1".to_owned());
    let site = site(&redis, &std::env::var("SESSION_KEY")?)?;
    let listener =
        tokio::net::TcpListener::bind(std::env::var("LISTEN").as_deref().unwrap_or("127.0.0.1:3000")).await?;
    println!("listening on {}", listener.local_addr()?);
    axum::serve(listener, site).await?;
    Ok(())
}

/// The guarded application.
pub(crate) fn site(redis: &str, key: &str) -> Result<Router, Box<dyn Error>> {
    let sessions = Sessions::builder(RedisBackend::connect(redis)?, Keyring::from_base64(key)?)
        .idle_timeout(Duration::from_mins(30))
        .absolute_timeout(Duration::from_hours(12))
        .start();
    let guard = Guard::builder(&sessions, ISSUER)
        .public("/login")
        .public("/news")
        .rule("/finance", AccessRule::any_group(["finance"]))
        .rule("/people", AccessRule::any_group(["security"]))
        .rule("/", AccessRule::signed_in())
        .login_at("/login")
        .build()?;
    let app = Router::new()
        .route("/", get(async |user: CurrentUser| format!("Hello {}", user.display_name())))
        .route("/finance", get(async || "the books"))
        .route("/news", get(async |user: Option<CurrentUser>| if user.is_some() { "all news" } else { "some news" }))
        .route("/login", get(async || "name and password, please").post(sign_in))
        .route("/logout", post(sign_out))
        .route("/people/{subject}/sessions", delete(revoke))
        .with_state(sessions);
    Ok(guard.in_front_of(app))
}

#[derive(Deserialize)]
struct Credentials {
    name: String,
    password: String,
}

impl Credentials {
    /// A real application asks its table of people, and hashes what it compares.
    fn check(&self) -> Option<Identity> {
        let person = Identity::new(ISSUER, &self.name).with_name(&self.name);
        match (&*self.name, &*self.password) {
            ("alice", "wonderland") => Some(person.with_groups(["finance"])),
            ("mallory", "keys") => Some(person.with_groups(["security"])),
            _ => None,
        }
    }
}

async fn sign_in(start: StartSession, Form(form): Form<Credentials>) -> Result<(SessionCookie, Redirect), Refusal> {
    let Some(person) = form.check() else { return Err(Refusal::sign_in_failed("wrong name or password")) };
    Ok((start.session_of(person).await?, Redirect::to("/")))
}

async fn sign_out(end: EndSession) -> Result<(SessionCookie, Redirect), Refusal> {
    Ok((end.session().await?, Redirect::to("/news")))
}

async fn revoke(
    _: CurrentUser,
    State(sessions): State<Sessions>,
    Path(subject): Path<String>,
) -> Result<String, Refusal> {
    let (person, order) = (Selection::person(ISSUER, &subject), Order::of_the_program("left the company"));
    let revoked = sessions.administration().revoke(&person, &order).await.complete()?;
    Ok(format!("{} sessions ended", revoked.ended.len()))
}
