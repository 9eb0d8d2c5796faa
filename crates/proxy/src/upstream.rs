//! The upstreams of the configuration, each with its own connections and, where it has several addresses, their health.
//!
//! A route names its upstream by number ([`UpstreamId`]); the guard knows nothing else of it.

mod availability;
mod members;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use counterfoil_guard::route::UpstreamId;
use http::uri::Scheme;
use http::{HeaderValue, Request, Response, Uri};

use self::members::{Members, watch};
use crate::paths::PathMap;
use crate::pool::{AnswerBody, Content, Pool, PoolError, PoolLimits};
use crate::tls::UpstreamTls;

pub use self::members::HealthSettings;

/// The settings of one upstream.
#[derive(Debug, Clone)]
pub struct UpstreamSettings {
    /// Scheme, host and port; several that do the same are asked in turn.
    pub addresses: Vec<Uri>,
    /// Checks beside what requests show of their health.
    pub health: Option<HealthSettings>,
    /// TLS, where it is not as the machine has it: private authorities, a certificate to show, another name.
    pub tls: Option<UpstreamTls>,
    /// The paths of the application, if they are others than the browser's.
    pub paths: Option<PathMap>,
    /// Longest wait for it to read more of a request, and to begin its answer; by default the proxy's.
    pub timeout: Option<Duration>,
    /// Largest body of a request, in bytes; by default there is no limit.
    pub max_body: Option<u64>,
    /// Longest time that a connection is kept for the next request.
    pub pool_idle: Duration,
}

impl UpstreamSettings {
    /// The upstream at these addresses, with the defaults of everything else.
    pub fn at(addresses: Vec<Uri>) -> Self {
        let pool_idle = PoolLimits::default().idle;
        Self { addresses, health: None, tls: None, paths: None, timeout: None, max_body: None, pool_idle }
    }

    /// Is true if every address is reached by TLS.
    pub fn is_all_https(&self) -> bool {
        self.addresses.iter().all(|address| address.scheme() == Some(&Scheme::HTTPS))
    }

    /// Is true if any address is reached by TLS.
    pub fn is_https(&self) -> bool {
        self.addresses.iter().any(|address| address.scheme() == Some(&Scheme::HTTPS))
    }
}

/// Fewest idle connections that an address may have, however many routes there are.
const LEAST_IDLE: usize = 16;

/// An upstream with its connections.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) paths: Option<PathMap>,
    pub(crate) timeout: Duration,
    pub(crate) max_body: Option<u64>,
    members: Members,
    pool: Pool,
}

impl Upstream {
    fn new(
        settings: UpstreamSettings,
        default_timeout: Duration,
        host: &HeaderValue,
        most_idle: usize,
    ) -> io::Result<Arc<Self>> {
        let UpstreamSettings { addresses, health, tls, paths, timeout, max_body, pool_idle } = settings;
        let timeout = timeout.unwrap_or(default_timeout);
        let limits = PoolLimits { idle: pool_idle, most_idle, ..PoolLimits::default() };
        let pool = Pool::new(timeout, tls.as_ref(), limits)?;
        let upstream = Arc::new(Self { paths, timeout, max_body, members: Members::new(addresses), pool });
        for (place, settings) in
            health.iter().flat_map(|health| (0..upstream.members.len()).map(move |at| (at, health)))
        {
            tokio::spawn(watch(Arc::downgrade(&upstream), place, settings.clone(), host.clone()));
        }
        Ok(upstream)
    }

    /// Sends a request in origin form with its `Host`.
    ///
    /// # Errors
    /// [`PoolError`].
    pub(crate) async fn send(&self, request: Request<Content>) -> Result<Response<AnswerBody>, PoolError> {
        self.members.send(&self.pool, request).await
    }
}

/// All of them, by number.
#[derive(Debug)]
pub(crate) struct Upstreams(Vec<Arc<Upstream>>);

impl Upstreams {
    /// Prepares connecting to upstreams, which have `timeout` to begin an answer if nothing else is said. Checks of their
    /// health are for `host`.
    ///
    /// # Errors
    /// If one is reached by TLS, and this machine has no root certificates to verify it with.
    pub(crate) fn new(settings: Vec<UpstreamSettings>, timeout: Duration, host: &HeaderValue) -> io::Result<Self> {
        // Read once, for all.
        let is_plain_tls = |settings: &UpstreamSettings| settings.tls.is_none() && settings.is_https();
        let of_machine = settings.iter().any(is_plain_tls).then(|| UpstreamTls::new(None, None, None)).transpose();
        let of_machine = of_machine.map_err(io::Error::other)?;
        // Each route has connections of its own; those that rest are as many in all as for one.
        let most_idle = (PoolLimits::default().most_idle / settings.len().max(1)).max(LEAST_IDLE);
        let upstream = |mut settings: UpstreamSettings| {
            settings.tls = settings.tls.take().or_else(|| of_machine.clone());
            Upstream::new(settings, timeout, host, most_idle)
        };
        settings.into_iter().map(upstream).collect::<io::Result<_>>().map(Self)
    }

    pub(crate) fn get(&self, id: UpstreamId) -> Option<&Upstream> {
        self.0.get(id.0).map(Arc::as_ref)
    }
}
