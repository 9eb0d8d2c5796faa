//! `counterfoil serve`: production.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;

use super::{CommandError, ConfigFile, asked_to_end, failed};
use crate::app::server::serve;
use crate::app::{App, Ports};
use crate::clock::{SharedClock, SystemClock};
use crate::config::{ServerSettings, Settings};
use crate::telemetry;

pub(super) async fn run(file: ConfigFile) -> Result<(), CommandError> {
    let settings = file.settings()?;
    telemetry::start(settings.log, std::io::stderr);
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    let public = listen(settings.server.listen).await?;
    let operations = listen(settings.server.ops_listen).await?;
    run_broker(settings, public, operations).await
}

pub(super) async fn listen(address: SocketAddr) -> Result<TcpListener, CommandError> {
    TcpListener::bind(address).await.map_err(|error| failed(format!("cannot listen on {address}: {error}")))
}

/// Serves both ports until the process is asked to end.
pub(super) async fn run_broker(
    settings: Settings,
    public: TcpListener,
    operations: TcpListener,
) -> Result<(), CommandError> {
    let ServerSettings { shutdown_timeout, .. } = settings.server;
    let clock: SharedClock = Arc::new(SystemClock);
    let store = settings.store.open(clock.clone()).map_err(failed)?;
    let app = App::build(settings, Ports { clock, store }).map_err(failed)?;
    app.probe_providers();
    tracing::info!(
        public = %public.local_addr().map_err(failed)?,
        operations = %operations.local_addr().map_err(failed)?,
        "serving"
    );
    let (drained, mut is_drained) = watch::channel(false);
    let operators_site = tokio::spawn(serve(
        operations,
        app.operations_router(),
        // The last to go: whoever watches sees the draining.
        async move { _ = is_drained.changed().await },
        std::time::Duration::from_secs(1),
    ));
    let draining = app.operations().clone();
    let shutdown = async move {
        asked_to_end().await;
        tracing::info!("asked to end: requests under way are finished, no new ones are accepted");
        draining.drain();
    };
    serve(public, app.router(), shutdown, shutdown_timeout).await;
    drained.send_replace(true);
    operators_site.await.map_err(failed)?;
    tracing::info!("ended");
    Ok(())
}
