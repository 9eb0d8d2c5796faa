//! `counterfoil serve`: production.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::{CommandError, ConfigFile, check, failed};
use crate::app::operations::Operations;
use crate::app::server::{ConnectionLimits, descriptors, serve_within};
use crate::app::{App, Dependencies};
use crate::clock::{SharedClock, SystemClock};
use crate::config::{ServerSettings, Settings};
use crate::session::store::StoreError;
use crate::telemetry::LogThread;

/// Most connections on the operators' port: monitoring needs few.
const MOST_WATCHING: usize = 64;
/// Longest time for renewals whose browsers hung up: the provider may have made their old tokens worthless.
const LAST_RENEWALS: Duration = Duration::from_secs(10);

/// Longest time for the revocation of tokens of people who signed out a moment ago.
const LAST_REVOCATIONS: Duration = Duration::from_secs(5);
/// Longest wait for the files of the configuration at a reload.
const LONGEST_READING: Duration = Duration::from_secs(10);

pub(super) async fn run(file: ConfigFile, log: &mut LogThread) -> Result<(), CommandError> {
    let settings = file.settings()?;
    // Installed before the ports are open: unhandled, the signal would end the process.
    let hangups = signal(SignalKind::hangup()).map_err(failed)?;
    log.start(settings.log);
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    for problem in check::unreachable_routes(&settings.routes) {
        tracing::warn!("{problem}");
    }
    let public = listen("server.listen", settings.server.listen).await?;
    let operations = listen("server.ops_listen", settings.server.ops_listen).await?;
    run_broker(settings, public, operations, Some(Reloads { hangups, file })).await
}

/// Listens on an address, which stands in the setting or option of this name.
pub(super) async fn listen(setting: &str, address: SocketAddr) -> Result<TcpListener, CommandError> {
    let listening = TcpListener::bind(address).await;
    listening.map_err(|error| failed(format!("{setting}: cannot listen on {address}: {error}")))
}

/// Serves both ports until the process is asked to end. With a configuration to read again, SIGHUP does so.
pub(super) async fn run_broker(
    settings: Settings,
    public: TcpListener,
    operations: TcpListener,
    reloads: Option<Reloads>,
) -> Result<(), CommandError> {
    // Installed before the ports are open: unhandled, the signals would end the process at once.
    let ends = EndRequests::listen().map_err(failed)?;
    let ServerSettings { shutdown_timeout, drain_delay, .. } = settings.server;
    let limits = connection_limits(&settings);
    let watching = ConnectionLimits { most: MOST_WATCHING, per_peer: MOST_WATCHING, ..limits.clone() };
    let clock: SharedClock = Arc::new(SystemClock);
    let store = settings.store.open(clock.clone()).map_err(failed)?;
    let app = App::build(settings, Dependencies { clock, store }).map_err(failed)?;
    match app.sessions().maintenance().claim_store().await {
        Err(StoreError::Foreign(foreign)) => return Err(failed(format!("store.url: {foreign}"))),
        // It may come later; until then nothing is asked of it without looking first.
        Err(error) => tracing::warn!(%error, "it is not known yet whose store it is"),
        Ok(()) => {}
    }
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
    let operators_site = app.operations_router();
    let operators_site = tokio::spawn(async move {
        // Stopped last, so that monitoring sees the draining.
        let drained = async move { _ = is_drained.changed().await };
        serve_within(&watching, operations, operators_site, drained, Duration::from_secs(1)).await;
    });
    let shutdown = async {
        drain(ends, app.operations().clone(), drain_delay).await;
        // The other half is for answers that are being sent.
        app.end_streams(shutdown_timeout / 2);
    };
    serve_within(&limits, public, app.site(), shutdown, shutdown_timeout).await;
    app.sessions().finish_refreshes(LAST_RENEWALS).await;
    app.finish_revocations(LAST_REVOCATIONS).await;
    drained.send_replace(true);
    operators_site.await.map_err(failed)?;
    tracing::info!("ended");
    Ok(())
}

/// The bounds of the public port, as far as the system lets this process have connections.
fn connection_limits(settings: &Settings) -> ConnectionLimits {
    let ServerSettings { max_connections, per_peer_connections, keep_alive_timeout, body_limits, .. } = settings.server;
    let limits = ConnectionLimits {
        most: max_connections,
        per_peer: per_peer_connections,
        keep_alive: keep_alive_timeout,
        least_rate: body_limits.least_rate,
        proxies: Arc::new(settings.trusted_proxies.clone()),
    };
    let descriptors = descriptors::raise();
    let limits = limits.within(descriptors);
    if limits.most < max_connections {
        tracing::warn!(
            descriptors,
            connections = limits.most,
            "the hard limit of open files (ulimit -Hn, LimitNOFILE) leaves room for fewer than server.max_connections"
        );
    }
    limits
}

/// Ends when no more connections are to be accepted: `delay` after the process is asked to end, so that a load
/// balancer sees `/readyz` fail first; or when it is asked again.
async fn drain(mut ends: EndRequests, operations: Operations, delay: Duration) {
    ends.next().await;
    operations.drain();
    if !delay.is_zero() {
        tracing::info!(seconds = delay.as_secs(), "asked to end: not ready any more, still serving for a while");
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = ends.next() => {}
        }
    }
    tracing::info!("asked to end: requests under way are finished, no new ones are accepted");
}

/// The signals that ask the process to end: SIGTERM, and SIGINT (Ctrl-C).
struct EndRequests {
    terminate: Signal,
    interrupt: Signal,
}

impl EndRequests {
    /// Takes both signals over from now on.
    fn listen() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next one.
    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Reads the configuration again at each SIGHUP. One with faults changes nothing.
pub(super) struct Reloads {
    hangups: Signal,
    file: ConfigFile,
}

impl Reloads {
    /// Reads the configuration on a blocking thread, so that a hanging file system delays no request.
    async fn read(&self) -> Result<Settings, CommandError> {
        let file = self.file.clone();
        let read = tokio::task::spawn_blocking(move || file.settings());
        match tokio::time::timeout(LONGEST_READING, read).await {
            Ok(Ok(settings)) => settings,
            Ok(Err(defect)) => Err(failed(defect)),
            Err(_) => {
                let seconds = LONGEST_READING.as_secs();
                Err(failed(format!("the configuration, or a file that it names, could not be read within {seconds} s")))
            }
        }
    }

    async fn serve(mut self, app: App) {
        while self.hangups.recv().await.is_some() {
            match self.read().await {
                Ok(settings) => {
                    for warning in &settings.warnings {
                        tracing::warn!("{warning}");
                    }
                    let fits = app.sessions().maintenance().would_be_ours_with(&settings.keyring).await;
                    // Nothing is changed, either, if nobody knows: keys of another store would sign everybody out.
                    match fits {
                        Ok(()) => {}
                        Err(StoreError::Foreign(foreign)) => {
                            tracing::error!("nothing was changed: {foreign}");
                            continue;
                        }
                        Err(error) => {
                            tracing::error!(
                                "nothing was changed: the store cannot say whether these keys fit: {error}"
                            );
                            continue;
                        }
                    }
                    app.reload(settings);
                    tracing::info!(
                        "keys, timeouts, limits and [admin] were read again, and the providers' metadata and keys are fetched anew; \
                         all else needs a restart"
                    );
                }
                Err(error) => tracing::error!("the configuration has faults, so nothing was changed: {error}"),
            }
        }
    }
}
