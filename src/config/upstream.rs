//! The keys of a `[[route]]` that say where its requests go.

use std::time::Duration;

use http::Uri;
use url::Url;

use super::reader::{ByteSize, Reader};
use super::server::is_configurable;
use crate::guard::route::PathRule;
use crate::proxy::paths::PathMap;
use crate::proxy::upstream::UpstreamSettings;

/// The keys that say how requests get there.
const KEYS: [&str; 4] = ["strip_prefix", "timeout", "max_body", "pool_idle"];

/// Reads where the requests of a route go; `None` if it names no upstream.
pub(super) fn read(section: &mut Reader, route: Option<&PathRule>) -> Option<UpstreamSettings> {
    if !section.has("upstream") {
        for key in KEYS.into_iter().filter(|key| section.has(key)) {
            section.fault(key, "needs `upstream`: without one nothing is forwarded");
        }
    }
    let address = section.optional::<Url>("upstream").and_then(|url| read_address(section, &url));
    let prefix = read_prefix(section, route);
    let (timeout, pool_idle) = (read_time(section, "timeout"), read_time(section, "pool_idle"));
    let max_body = section.optional::<ByteSize>("max_body").map(|size| size.0);
    let (address, path) = address?;
    let paths = PathMap::new(&prefix.unwrap_or_default(), &path);
    let default = UpstreamSettings::at(address);
    Some(UpstreamSettings { paths, timeout, max_body, pool_idle: pool_idle.unwrap_or(default.pool_idle), ..default })
}

fn read_time(section: &mut Reader, key: &str) -> Option<Duration> {
    let time = section.optional::<Duration>(key)?;
    if !is_configurable(time) {
        section.fault(key, "must be between 100ms and 1h");
    }
    Some(time)
}

/// Scheme, host and port (R-K06), and the path below which the application is.
fn read_address(section: &Reader, url: &Url) -> Option<(Uri, String)> {
    let http = matches!(url.scheme(), "http" | "https") && url.host().is_some();
    let bare =
        url.query().is_none() && url.fragment().is_none() && url.username().is_empty() && url.password().is_none();
    let path = plain_prefix(url.path());
    let (true, true, Some(path)) = (http, bare, path) else {
        let problem = "must be http:// or https:// with host and port, a plain path at most, and nothing else";
        section.fault("upstream", problem);
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
