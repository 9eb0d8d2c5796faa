//! The upstreams of the configuration, each with its own connections.
//!
//! A route names its upstream by number ([`UpstreamId`]); the guard knows nothing else of it.

use std::io;
use std::time::Duration;

use counterfoil_guard::route::UpstreamId;
use http::Uri;
use http::uri::Scheme;

use crate::paths::PathMap;
use crate::pool::{Pool, PoolLimits};

/// The settings of one upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamSettings {
    /// Scheme, host and port.
    pub address: Uri,
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
    /// The upstream at an address, with the defaults of everything else.
    pub fn at(address: Uri) -> Self {
        Self { address, paths: None, timeout: None, max_body: None, pool_idle: PoolLimits::default().idle }
    }
}

/// An upstream with its connections.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) address: Uri,
    pub(crate) paths: Option<PathMap>,
    pub(crate) timeout: Duration,
    pub(crate) max_body: Option<u64>,
    pub(crate) pool: Pool,
}

impl Upstream {
    fn new(settings: UpstreamSettings, default_timeout: Duration) -> io::Result<Self> {
        let UpstreamSettings { address, paths, timeout, max_body, pool_idle } = settings;
        let timeout = timeout.unwrap_or(default_timeout);
        let limits = PoolLimits { idle: pool_idle, ..PoolLimits::default() };
        let pool = Pool::new(timeout, address.scheme() == Some(&Scheme::HTTPS), limits)?;
        Ok(Self { address, paths, timeout, max_body, pool })
    }
}

/// All of them, by number.
#[derive(Debug)]
pub(crate) struct Upstreams(Vec<Upstream>);

impl Upstreams {
    /// Prepares connecting to upstreams, which have `timeout` to begin an answer if nothing else is said.
    ///
    /// # Errors
    /// If one is reached by TLS, and this machine has no root certificates to verify it with.
    pub(crate) fn new(settings: Vec<UpstreamSettings>, timeout: Duration) -> io::Result<Self> {
        settings.into_iter().map(|settings| Upstream::new(settings, timeout)).collect::<io::Result<_>>().map(Self)
    }

    pub(crate) fn get(&self, id: UpstreamId) -> Option<&Upstream> {
        self.0.get(id.0)
    }
}
