//! `public_url` and `[server]`.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;

use super::reader::{ByteSize, Reader};
use crate::web::client_address::TrustedProxies;
use crate::web::public_url::PublicUrl;
use crate::web::request_body::BodyLimits;

/// Longest of all the times that can be configured here.
const LONGEST: Duration = Duration::from_hours(1);

/// The `[server]` section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerSettings {
    /// The public port.
    pub listen: SocketAddr,
    /// The operators' port.
    pub ops_listen: SocketAddr,
    /// The time for which a process that was asked to end still accepts connections.
    pub drain_delay: Duration,
    /// Longest wait for requests under way at shutdown.
    pub shutdown_timeout: Duration,
    /// The timeouts on requests' bodies.
    pub body_limits: BodyLimits,
    /// Longest time that an idle connection is kept.
    pub keep_alive_timeout: Duration,
    /// Most connections on the public port.
    pub max_connections: usize,
    /// Most of them of one peer; 0: a quarter.
    pub per_peer_connections: usize,
    /// Longest wait for an upstream to read more of a request, and to begin its answer.
    pub upstream_timeout: Duration,
    /// Set if the name that a trusted proxy has given a request is kept.
    pub request_id_from_trusted_proxies: bool,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 8080).into(),
            ops_listen: (Ipv4Addr::LOCALHOST, 9090).into(),
            drain_delay: Duration::ZERO,
            shutdown_timeout: Duration::from_secs(30),
            body_limits: BodyLimits {
                silence: Duration::from_secs(15),
                whole: Duration::from_secs(30),
                least_rate: 1024,
            },
            keep_alive_timeout: Duration::from_secs(75),
            max_connections: 10_000,
            per_peer_connections: 0,
            upstream_timeout: Duration::from_mins(1),
            request_id_from_trusted_proxies: true,
        }
    }
}

pub(super) fn read_public_url(reader: &mut Reader) -> Option<PublicUrl> {
    reader.checked("public_url", |text: &String| PublicUrl::parse(text))
}

pub(super) fn read(section: &mut Reader) -> (ServerSettings, TrustedProxies) {
    let default = ServerSettings::default();
    let server = ServerSettings {
        listen: section.or("listen", default.listen),
        ops_listen: section.or("ops_listen", default.ops_listen),
        drain_delay: section.or("drain_delay", default.drain_delay),
        shutdown_timeout: section.or("shutdown_timeout", default.shutdown_timeout),
        body_limits: read_body_limits(section, default.body_limits),
        keep_alive_timeout: section.or("keep_alive_timeout", default.keep_alive_timeout),
        max_connections: section.or("max_connections", default.max_connections),
        per_peer_connections: section.or("per_peer_connections", default.per_peer_connections),
        upstream_timeout: section.or("upstream_timeout", default.upstream_timeout),
        request_id_from_trusted_proxies: section
            .or("request_id_from_trusted_proxies", default.request_id_from_trusted_proxies),
    };
    check_times(section, &server);
    if server.max_connections == 0 {
        section.fault("max_connections", "must be at least 1");
    }
    if server.per_peer_connections > server.max_connections {
        section.fault("per_peer_connections", "must be at most `server.max_connections`");
    }
    let (public, operations) = (server.listen, server.ops_listen);
    let overlap = public.ip() == operations.ip() || public.ip().is_unspecified() || operations.ip().is_unspecified();
    if public.port() == operations.port() && public.port() != 0 && overlap {
        section.fault("ops_listen", "must differ from `server.listen`: health is never on the public port");
    }
    let trusted = section.or::<Vec<IpNet>>("trusted_proxies", Vec::new());
    if trusted.iter().any(|network| network.prefix_len() == 0) {
        section.fault("trusted_proxies", "must not be everybody: then anybody could claim any address");
    }
    (server, TrustedProxies::new(trusted))
}

fn read_body_limits(section: &mut Reader, default: BodyLimits) -> BodyLimits {
    let least_rate = section.or("least_rate", ByteSize(default.least_rate)).0;
    if least_rate == 0 {
        section.fault("least_rate", "must be at least 1B: without one, a body may take for ever");
    }
    BodyLimits {
        silence: section.or("client_timeout", default.silence),
        whole: section.or("body_deadline", default.whole),
        least_rate,
    }
}

/// Is true of a wait that is neither too short to be one nor without an end.
pub(super) fn is_configurable(time: Duration) -> bool {
    (Duration::from_millis(100)..=LONGEST).contains(&time)
}

fn check_times(section: &Reader, server: &ServerSettings) {
    for (key, timeout) in [
        ("client_timeout", server.body_limits.silence),
        ("body_deadline", server.body_limits.whole),
        ("keep_alive_timeout", server.keep_alive_timeout),
        ("upstream_timeout", server.upstream_timeout),
    ] {
        if !is_configurable(timeout) {
            section.fault(key, "must be between 100ms and 1h");
        }
    }
    for (key, timeout) in [("shutdown_timeout", server.shutdown_timeout), ("drain_delay", server.drain_delay)] {
        if timeout > LONGEST {
            section.fault(key, "must be at most 1h");
        }
    }
}
