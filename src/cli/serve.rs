//! `counterfoil serve`: production.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::{CommandError, ConfigFile, asked_to_end, failed};
use crate::app::server::serve;
use crate::app::{App, Ports};
use crate::clock::{SharedClock, SystemClock};
use crate::config::{ServerSettings, Settings};
use crate::telemetry;

/// How long renewals whose browsers hung up may take: the provider may have made their old tokens worthless.
const LAST_RENEWALS: Duration = Duration::from_secs(10);

pub(super) async fn run(file: ConfigFile) -> Result<(), CommandError> {
    let settings = file.settings()?;
    // Before anybody can know that we run: unhandled, it would end the process.
    let hangups = signal(SignalKind::hangup()).map_err(failed)?;
    telemetry::start(settings.log, std::io::stderr);
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    let public = listen(settings.server.listen).await?;
    let operations = listen(settings.server.ops_listen).await?;
    run_broker(settings, public, operations, Some(Reloads { hangups, file })).await
}

pub(super) async fn listen(address: SocketAddr) -> Result<TcpListener, CommandError> {
    TcpListener::bind(address).await.map_err(|error| failed(format!("cannot listen on {address}: {error}")))
}

/// Serves both ports until the process is asked to end. With a configuration to read again, SIGHUP does so.
pub(super) async fn run_broker(
    settings: Settings,
    public: TcpListener,
    operations: TcpListener,
    reloads: Option<Reloads>,
) -> Result<(), CommandError> {
    let ServerSettings { shutdown_timeout, .. } = settings.server;
    let clock: SharedClock = Arc::new(SystemClock);
    let store = settings.store.open(clock.clone()).map_err(failed)?;
    let app = App::build(settings, Ports { clock, store }).map_err(failed)?;
    app.probe_providers();
    if let Some(reloads) = reloads {
        tokio::spawn(reloads.serve(app.clone()));
    }
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
        Duration::from_secs(1),
    ));
    let draining = app.operations().clone();
    let shutdown = async move {
        asked_to_end().await;
        tracing::info!("asked to end: requests under way are finished, no new ones are accepted");
        draining.drain();
    };
    serve(public, app.router(), shutdown, shutdown_timeout).await;
    app.sessions().finish_renewals(LAST_RENEWALS).await;
    drained.send_replace(true);
    operators_site.await.map_err(failed)?;
    tracing::info!("ended");
    Ok(())
}

/// Reads the configuration again at each SIGHUP. One with faults changes nothing.
pub(super) struct Reloads {
    hangups: Signal,
    file: ConfigFile,
}

impl Reloads {
    async fn serve(mut self, app: App) {
        while self.hangups.recv().await.is_some() {
            match self.file.settings() {
                Ok(settings) => {
                    for warning in &settings.warnings {
                        tracing::warn!("{warning}");
                    }
                    app.reload(settings);
                    tracing::info!("keys, timeouts, limits and [admin] were read again; all else needs a restart");
                }
                Err(error) => tracing::error!("the configuration has faults, so nothing was changed: {error}"),
            }
        }
    }
}
