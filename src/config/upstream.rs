//! The keys of a `[[route]]` that say where its requests go.

use std::time::Duration;

use http::Uri;
use url::Url;

use super::reader::{ByteSize, Reader};
use super::server::is_configurable;
use crate::guard::route::PathRule;
use crate::proxy::paths::PathMap;
use crate::proxy::tls::{ClientCertificate, InvalidTls, UpstreamTls};
use crate::proxy::upstream::{HealthSettings, UpstreamSettings};
use crate::secret::Secret;

/// The keys that say how requests get there.
const KEYS: [&str; 6] = ["strip_prefix", "timeout", "max_body", "pool_idle", "health", "upstream_tls"];

/// Reads where the requests of a route go; `None` if it names no upstream.
pub(super) fn read(section: &mut Reader, route: Option<&PathRule>) -> Option<UpstreamSettings> {
    if !section.has("upstream") && !section.has("upstreams") {
        for key in KEYS.into_iter().filter(|key| section.has(key)) {
            section.fault(key, "needs `upstream`: without one nothing is forwarded");
        }
    }
    let addresses = read_addresses(section);
    let prefix = read_prefix(section, route);
    let (timeout, pool_idle) = (read_time(section, "timeout"), read_time(section, "pool_idle"));
    let max_body = section.optional::<ByteSize>("max_body").map(|size| size.0);
    let health = read_health(section);
    let (is_tls_set, tls) = (section.has("upstream_tls"), read_tls(section));
    let (addresses, path) = addresses?;
    let paths = PathMap::new(&prefix.unwrap_or_default(), &path);
    let default = UpstreamSettings::at(addresses);
    let pool_idle = pool_idle.unwrap_or(default.pool_idle);
    if is_tls_set && !default.is_all_https() {
        section.fault("upstream_tls", "is for https:// upstreams alone");
    }
    Some(UpstreamSettings { health, tls, paths, timeout, max_body, pool_idle, ..default })
}

/// The upstream's addresses, and the path below which the application is at all of them.
fn read_addresses(section: &mut Reader) -> Option<(Vec<Uri>, String)> {
    let one = section.optional::<Url>("upstream");
    let several = section.optional::<Vec<Url>>("upstreams");
    let (key, urls) = match (one, several) {
        (Some(_), Some(_)) => {
            section.fault("upstreams", "must not stand beside `upstream`: name all of them here");
            return None;
        }
        (Some(one), None) => ("upstream", vec![one]),
        (None, Some(several)) => ("upstreams", several),
        (None, None) => return None,
    };
    let read: Vec<_> = urls.iter().map(|url| read_address(section, key, url)).collect::<Option<_>>()?;
    let Some((_, path)) = read.first().cloned() else {
        section.fault(key, "must not be empty");
        return None;
    };
    if read.iter().any(|(_, other)| *other != path) {
        section.fault(key, "must have the same path at all addresses");
        return None;
    }
    let addresses: Vec<_> = read.into_iter().map(|(address, _)| address).collect();
    if addresses.iter().enumerate().any(|(place, address)| addresses[..place].contains(address)) {
        section.fault(key, "must not name an address twice");
    }
    Some((addresses, path))
}

fn read_tls(section: &mut Reader) -> Option<UpstreamTls> {
    let is_wanted = section.has("upstream_tls");
    let mut tls = section.section("upstream_tls");
    let authorities = tls.file("ca_file");
    let (has_chain, has_key) = (tls.has("cert_file"), tls.has("key_file"));
    let (chain, key) = (tls.file("cert_file"), tls.file("key_file").map(Secret::new));
    let name = tls.optional::<String>("server_name");
    if !is_wanted {
        return None;
    }
    if has_chain != has_key {
        let lacking = if has_key { "cert_file" } else { "key_file" };
        tls.fault(lacking, "is missing: a certificate and its key belong together");
    }
    let client = chain.as_deref().zip(key.as_ref()).map(|(chain, key)| ClientCertificate { chain, key });
    let made = UpstreamTls::new(authorities.as_deref(), client.as_ref(), name.as_deref());
    let key_at_fault = |error: &InvalidTls| match error {
        InvalidTls::Certificate => "cert_file",
        InvalidTls::Key => "key_file",
        InvalidTls::ServerName => "server_name",
        _ => "ca_file",
    };
    made.map_err(|error| tls.fault(key_at_fault(&error), error.to_string())).ok()
}

fn read_health(section: &mut Reader) -> Option<HealthSettings> {
    let is_wanted = section.has("health");
    let mut health = section.section("health");
    let path = health.optional::<String>("path");
    let interval = health.or("interval", Duration::from_secs(5));
    let timeout = health.or("timeout", Duration::from_secs(2));
    let (fall, rise) = (health.or("fall", 3), health.or("rise", 2));
    if !is_wanted {
        return None;
    }
    for (key, time) in [("interval", interval), ("timeout", timeout)] {
        if !is_configurable(time) {
            health.fault(key, "must be between 100ms and 1h");
        }
    }
    for (key, number) in [("fall", fall), ("rise", rise)] {
        if number == 0 {
            health.fault(key, "must be at least 1");
        }
    }
    let path = path.filter(|path| path.starts_with('/')).and_then(|path| path.parse().ok());
    if path.is_none() {
        health.fault("path", "must be the path that is asked for, such as /healthz");
    }
    Some(HealthSettings { path: path?, interval, timeout, fall, rise })
}

fn read_time(section: &mut Reader, key: &str) -> Option<Duration> {
    let time = section.optional::<Duration>(key)?;
    if !is_configurable(time) {
        section.fault(key, "must be between 100ms and 1h");
    }
    Some(time)
}

/// Scheme, host and port (R-K06), and the path below which the application is.
fn read_address(section: &Reader, key: &str, url: &Url) -> Option<(Uri, String)> {
    let http = matches!(url.scheme(), "http" | "https") && url.host().is_some();
    let bare =
        url.query().is_none() && url.fragment().is_none() && url.username().is_empty() && url.password().is_none();
    let path = plain_prefix(url.path());
    let (true, true, Some(path)) = (http, bare, path) else {
        let problem = "must be http:// or https:// with host and port, a plain path at most, and nothing else";
        section.fault(key, problem);
        return None;
    };
    let mut origin = url.clone();
    origin.set_path("/");
    Some((origin.as_str().parse().ok()?, path))
}

/// The prefix that the application does not see.
fn read_prefix(section: &mut Reader, route: Option<&PathRule>) -> Option<String> {
    let written = section.optional::<String>("strip_prefix")?;
    let prefix = plain_prefix(&written).filter(|prefix| !prefix.is_empty());
    let covers = |route: &PathRule| {
        let (PathRule::Exact(path) | PathRule::Prefix(path)) = route;
        let rest = prefix.as_ref().and_then(|prefix| path.strip_prefix(prefix.as_str()));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if prefix.is_none() {
        section.fault("strip_prefix", "must be a path such as /grafana, without `..`, `//`, `;`, `?` or escapes");
    } else if route.is_some_and(|route| !covers(route)) {
        section.fault("strip_prefix", "must be the route's path, or whole segments that this begins with");
    }
    prefix
}

/// A path in its one spelling without the slash at its end; empty for the root.
fn plain_prefix(path: &str) -> Option<String> {
    match PathRule::parse(path) {
        Ok(PathRule::Prefix(path)) => Some(path),
        _ => None,
    }
}
