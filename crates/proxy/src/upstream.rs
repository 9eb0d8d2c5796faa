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
}

impl UpstreamSettings {
    /// The upstream at an address, with the defaults of everything else.
    pub fn at(address: Uri) -> Self {
        Self { address, paths: None }
    }
}

/// An upstream with its connections.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) address: Uri,
    pub(crate) paths: Option<PathMap>,
    pub(crate) timeout: Duration,
    pub(crate) pool: Pool,
}

/// All of them, by number.
#[derive(Debug)]
pub(crate) struct Upstreams(Vec<Upstream>);

impl Upstreams {
    /// Prepares connecting to upstreams, which have `timeout` to begin an answer.
    ///
    /// # Errors
    /// If one is reached by TLS, and this machine has no root certificates to verify it with.
    pub(crate) fn new(settings: Vec<UpstreamSettings>, timeout: Duration) -> io::Result<Self> {
        let upstream = |UpstreamSettings { address, paths }: UpstreamSettings| {
            let is_https = address.scheme() == Some(&Scheme::HTTPS);
            Ok(Upstream { pool: Pool::new(timeout, is_https, PoolLimits::default())?, address, paths, timeout })
        };
        settings.into_iter().map(upstream).collect::<io::Result<_>>().map(Self)
    }

    pub(crate) fn get(&self, id: UpstreamId) -> Option<&Upstream> {
        self.0.get(id.0)
    }
}
