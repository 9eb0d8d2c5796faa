//! An axum application of your own behind the broker, in one process.
//!
//! The routes of the configuration decide who may pass; handlers take a `CurrentUser`. Run it with a
//! configuration file whose routes have no upstream:
//!
//! ```sh
//! cargo run --example guarded_application -- counterfoil.toml
//! ```

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use counterfoil::app::server::serve;
use counterfoil::app::{App, Dependencies};
use counterfoil::clock::{SharedClock, SystemClock};
use counterfoil::config::Source;
use counterfoil::guard::current_user::CurrentUser;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::env::args().nth(1).ok_or("usage: guarded_application FILE")?;
    let settings = Source::of_process(Some(Path::new(&file)))?.settings()?;
    let listen = settings.server.listen;
    let clock: SharedClock = Arc::new(SystemClock);
    let store = settings.store.open(clock.clone())?;
    let app = App::build(settings, Dependencies { clock, store })?;
    app.probe_providers();

    let back_office = Router::new().route("/", get(greet));
    let listener = tokio::net::TcpListener::bind(listen).await?;
    println!("listening on {listen}");
    let asked_to_end = async { _ = tokio::signal::ctrl_c().await };
    serve(listener, app.in_front_of(back_office), asked_to_end, Duration::from_secs(30)).await;
    Ok(())
}

async fn greet(user: CurrentUser) -> String {
    format!("Hello {}, your session is {}\n", user.identity().display_name(), user.session())
}
