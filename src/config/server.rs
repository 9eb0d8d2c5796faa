//! `public_url`, `[server]`, `[branding]` and `[log]`.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;

use super::reader::Reader;
use crate::telemetry::{LogFormat, LogSettings};
use crate::web::branding::Branding;
use crate::web::client_address::TrustedProxies;
use crate::web::public_url::PublicUrl;

/// The `[server]` section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerSettings {
    /// The public port.
    pub listen: SocketAddr,
    /// The operators' port.
    pub ops_listen: SocketAddr,
    /// Longest wait for requests under way at shutdown.
    pub shutdown_timeout: Duration,
    /// Longest silence in the middle of a request's body.
    pub client_timeout: Duration,
    /// Longest wait for an upstream to read more of a request, and to begin its answer.
    pub upstream_timeout: Duration,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 8080).into(),
            ops_listen: (Ipv4Addr::LOCALHOST, 9090).into(),
            shutdown_timeout: Duration::from_secs(30),
            client_timeout: Duration::from_secs(15),
            upstream_timeout: Duration::from_mins(1),
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
        shutdown_timeout: section.or("shutdown_timeout", default.shutdown_timeout),
        client_timeout: section.or("client_timeout", default.client_timeout),
        upstream_timeout: section.or("upstream_timeout", default.upstream_timeout),
    };
    for (key, timeout) in [("client_timeout", server.client_timeout), ("upstream_timeout", server.upstream_timeout)] {
        if timeout < Duration::from_millis(100) || timeout > Duration::from_hours(1) {
            section.fault(key, "must be between 100ms and 1h");
        }
    }
    let (public, operations) = (server.listen, server.ops_listen);
    let overlap = public.ip() == operations.ip() || public.ip().is_unspecified() || operations.ip().is_unspecified();
    if public.port() == operations.port() && public.port() != 0 && overlap {
        section.fault("ops_listen", "must differ from `server.listen`: health is never on the public port");
    }
    if server.shutdown_timeout > Duration::from_hours(1) {
        section.fault("shutdown_timeout", "must be at most 1h");
    }
    let trusted = section.or::<Vec<IpNet>>("trusted_proxies", Vec::new());
    if trusted.iter().any(|network| network.prefix_len() == 0) {
        section.fault("trusted_proxies", "must not be everybody: then anybody could claim any address");
    }
    (server, TrustedProxies::new(trusted))
}

pub(super) fn read_branding(section: &mut Reader) -> Branding {
    let default = Branding::default();
    Branding {
        product_name: section.or("product_name", default.product_name),
        support_contact: section.optional("support_contact"),
    }
}

pub(super) fn read_log(section: &mut Reader) -> LogSettings {
    let default = LogSettings::default();
    let format = match section.optional::<String>("format").as_deref() {
        None => default.format,
        Some("human") => LogFormat::Human,
        Some("json") => LogFormat::Json,
        Some(_) => {
            section.fault("format", "must be \"human\" or \"json\"");
            default.format
        }
    };
    let level = section.optional::<String>("level").map(|level| level.parse());
    if matches!(level, Some(Err(_))) {
        section.fault("level", "must be error, warn, info, debug or trace");
    }
    LogSettings { format, level: level.and_then(Result::ok).unwrap_or(default.level) }
}
