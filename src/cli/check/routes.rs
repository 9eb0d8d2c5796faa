//! The findings of `check` on routes and on the applications behind them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use http::Uri;
use tokio::net::{TcpStream, lookup_host};

use super::Finding;
use crate::config::{ServerSettings, Settings};
use crate::guard::route::{PathRule, Route};
use crate::web::public_url::PublicUrl;

/// Longest wait for a connection to an upstream.
const PATIENCE: Duration = Duration::from_secs(5);

/// Routes that never apply. Pure.
pub(super) fn findings(routes: &[Route]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, route) in routes.iter().enumerate() {
        let first = |covers: &dyn Fn(&Route) -> bool| {
            routes
                .iter()
                .take(index)
                .position(|earlier| earlier.methods.covers_all_of(&route.methods) && covers(earlier))
        };
        let earlier = first(&|earlier| covers_all_of(&earlier.path, &route.path));
        // In another spelling (case, a last slash) both apply, so that a request is refused for its two readings.
        let apart = || first(&|earlier| covers_all_of(&earlier.path.loose(), &route.path.loose()));
        if let Some(earlier) = earlier {
            findings.push(Finding::Failure(format!(
                "route[{index}].path: {} is never reached: route[{earlier}] ({}) covers all of it and comes first; put \
                 the narrower one first",
                name(&route.path),
                name(&routes[earlier].path),
            )));
        } else if let Some(earlier) = apart() {
            findings.push(Finding::Failure(format!(
                "route[{index}].path: {} answers nothing but 400: to applications that heed neither case nor a last slash \
                 it is the same as what route[{earlier}] ({}) covers; remove one of the two, or put the narrower one first",
                name(&route.path),
                name(&routes[earlier].path),
            )));
        }
        if route.upstream.is_none() {
            findings.push(Finding::Failure(format!(
                "route[{index}].upstream: is missing: `serve` answers 404 to {}",
                name(&route.path)
            )));
        }
    }
    findings
}

/// Is true if every path of one rule is one of another.
fn covers_all_of(earlier: &PathRule, later: &PathRule) -> bool {
    let (PathRule::Exact(path) | PathRule::Prefix(path)) = later;
    match (earlier, later) {
        (PathRule::Exact(own), PathRule::Exact(_)) => own == path,
        (PathRule::Exact(_), PathRule::Prefix(_)) => false,
        (PathRule::Prefix(own), _) => {
            path.strip_prefix(own.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }
    }
}

fn name(path: &PathRule) -> String {
    match path {
        PathRule::Exact(path) => format!("`= {path}`"),
        PathRule::Prefix(path) if path.is_empty() => "`/`".to_owned(),
        PathRule::Prefix(path) => format!("`{path}`"),
    }
}

/// Asks every upstream once, whatever number of routes lead there.
pub(super) async fn upstreams(settings: &Settings) -> Vec<Finding> {
    let Settings { routes, upstreams: of_routes, server, public_url, .. } = settings;
    let mut upstreams: BTreeMap<String, (usize, &str, &Uri)> = BTreeMap::new();
    for (index, route) in routes.iter().enumerate() {
        if let Some(upstream) = route.upstream.and_then(|id| of_routes.get(id.0)) {
            let key = if upstream.addresses.len() > 1 { "upstreams" } else { "upstream" };
            for address in &upstream.addresses {
                upstreams.entry(address.to_string()).or_insert((index, key, address));
            }
        }
    }
    let mut asked: Vec<_> = upstreams.into_values().collect();
    asked.sort_by_key(|(index, ..)| *index);
    let mut findings = Vec::new();
    for (index, key, upstream) in asked {
        findings.push(one_upstream(&format!("route[{index}].{key}"), upstream, server, public_url).await);
    }
    findings
}

async fn one_upstream(key: &str, upstream: &Uri, server: &ServerSettings, public_url: &PublicUrl) -> Finding {
    let shown = upstream.to_string();
    let shown = shown.trim_end_matches('/');
    if shown.eq_ignore_ascii_case(public_url.origin()) {
        return Finding::Failure(format!(
            "{key}: {shown} is the broker's own public_url: requests would go round in circles; name the application's \
             own address"
        ));
    }
    let Some(host) = upstream.host() else {
        return Finding::Failure(format!("{key}: {shown} names no host"));
    };
    let port = upstream.port_u16().unwrap_or(if upstream.scheme_str() == Some("https") { 443 } else { 80 });
    let addresses: Vec<SocketAddr> = match lookup_host((host.trim_matches(['[', ']']), port)).await {
        Ok(addresses) => addresses.collect(),
        Err(error) => return Finding::Failure(format!("{key}: {host} is not known here: {error}")),
    };
    if let Some((listen, own)) = own_port(&addresses, server) {
        return Finding::Failure(format!(
            "{key}: {shown} is the broker itself ({listen} = {own}): name the application's own address"
        ));
    }
    match tokio::time::timeout(PATIENCE, TcpStream::connect(&*addresses)).await {
        Ok(Ok(_)) => Finding::Fine(format!("{key}: {shown} takes connections")),
        Ok(Err(error)) => {
            Finding::Failure(format!("{key}: {shown} takes no connection: {error}: is the application running there?"))
        }
        Err(_) => Finding::Failure(format!(
            "{key}: {shown} does not answer within 5s: is it reachable from here, or does a firewall keep silent?"
        )),
    }
}

/// The broker's own port that these addresses lead to, if any. Pure.
fn own_port(addresses: &[SocketAddr], server: &ServerSettings) -> Option<(&'static str, SocketAddr)> {
    let ports = [("server.listen", server.listen), ("server.ops_listen", server.ops_listen)];
    ports.into_iter().find(|(_, own)| {
        let reaches = |address: &SocketAddr| {
            let same_machine = address.ip().is_loopback() || address.ip().is_unspecified();
            address.port() == own.port()
                && own.port() != 0
                && (address.ip() == own.ip() || (own.ip().is_unspecified() && same_machine))
        };
        addresses.iter().any(reaches)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::access::AccessRule;
    use crate::guard::methods::MethodRule;

    /// One line a pair of routes: which comes first, which second, and whether the second is ever reached.
    #[test]
    fn a_route_that_another_covers_wholly_is_never_reached() {
        for (first, second, shadowed) in [
            ("/", "/admin", true),
            ("/", "= /", true),
            ("/admin", "/", false),
            ("/admin", "/admin", true),
            ("/admin", "/admin/users", true),
            ("/admin", "= /admin", true),
            ("/admin", "/administrators", false),
            ("= /admin", "/admin", false),
            ("= /admin", "= /admin", true),
            ("/admin/users", "/admin", false),
            ("/Admin", "/admin", false),
        ] {
            let [first, second] = [first, second].map(|path| PathRule::parse(path).unwrap());
            assert_eq!(covers_all_of(&first, &second), shadowed, "{first:?} {second:?}");
        }
    }

    /// The same in another spelling: both rules apply to each of its paths, and none of them alone.
    #[test]
    fn a_route_that_another_covers_in_another_spelling_answers_nothing() {
        for (first, second, apart) in [
            ("/Admin", "/admin", true),
            ("= /x/", "= /x", true),
            ("/ADMIN", "/admin/users", true),
            ("/admin/users", "/Admin", false),
        ] {
            let [first, second] = [first, second].map(|path| PathRule::parse(path).unwrap());
            assert!(!covers_all_of(&first, &second), "{first:?} {second:?}");
            assert_eq!(covers_all_of(&first.loose(), &second.loose()), apart, "{first:?} {second:?}");
        }
    }

    /// A route that an earlier one covers for other methods alone is reached.
    #[test]
    fn a_route_is_shadowed_by_those_that_cover_its_methods() {
        let route = |path: &str, methods: &[&str]| {
            let methods = if methods.is_empty() { MethodRule::default() } else { MethodRule::parse(methods).unwrap() };
            Route { methods, ..Route::new(PathRule::parse(path).unwrap(), AccessRule::default()) }
        };
        for (first, second, shadowed) in [
            (&["GET"][..], &[][..], false),
            (&["GET"], &["POST"], false),
            (&["GET", "POST"], &["POST"], true),
            (&[], &["POST"], true),
            (&["GET"], &["GET", "HEAD"], true),
        ] {
            for path in ["/api/x", "/API"] {
                let found = findings(&[route("/api", first), route(path, second)]);
                let told =
                    |finding: &Finding| matches!(finding, Finding::Failure(text) if text.starts_with("route[1].path"));
                let is_found = found.iter().any(told);
                assert_eq!(is_found, shadowed, "{first:?} {second:?} {path}");
            }
        }
    }

    #[test]
    fn the_brokers_own_ports_are_known_by_every_address_that_leads_there() {
        let server = |listen: &str| ServerSettings { listen: listen.parse().unwrap(), ..ServerSettings::default() };
        for (listen, upstream, own) in [
            ("127.0.0.1:8080", "127.0.0.1:8080", true),
            ("0.0.0.0:8080", "127.0.0.1:8080", true),
            ("[::]:8080", "[::1]:8080", true),
            ("0.0.0.0:8080", "127.0.0.1:9090", true),
            ("127.0.0.1:8080", "127.0.0.1:3000", false),
            ("127.0.0.1:8080", "192.0.2.1:8080", false),
            ("0.0.0.0:8080", "192.0.2.1:8080", false),
        ] {
            let found = own_port(&[upstream.parse().unwrap()], &server(listen));
            assert_eq!(found.is_some(), own, "{listen} {upstream}");
        }
    }
}
