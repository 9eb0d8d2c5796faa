//! The place of Redis, as its URL says: servers by name or by address, of either kind (RFC 3986 3.2.2).
//!
//! fred keeps the brackets of an IPv6 address, which are none of it: whoever resolves the host, or checks a
//! certificate for it, finds nothing of that name. Of further nodes (`node=`) it splits an IPv6 address at each colon.

use fred::error::{Error, ErrorKind};
use fred::types::config::{Config, Server, ServerConfig};
use url::Url;

/// Names further nodes.
const NODE: &str = "node";

/// fred's configuration for a URL.
///
/// # Errors
/// fred's, if the URL cannot be used.
pub(super) fn configuration(url: &str) -> Result<Config, Error> {
    let mut url = Url::parse(url)?;
    let (nodes, others): (Vec<_>, Vec<_>) =
        url.query_pairs().into_owned().partition::<Vec<(String, String)>, _>(|(name, _)| name == NODE);
    let nodes = nodes.iter().map(|(_, node)| server(node)).collect::<Result<Vec<_>, _>>()?;
    url.set_query(None);
    if !others.is_empty() {
        url.query_pairs_mut().extend_pairs(others);
    }
    let mut config = Config::from_url(url.as_str())?;
    match &mut config.server {
        ServerConfig::Centralized { server } => server.host = without_brackets(&server.host).into(),
        ServerConfig::Clustered { hosts, .. } | ServerConfig::Sentinel { hosts, .. } => {
            for server in hosts.iter_mut() {
                server.host = without_brackets(&server.host).into();
            }
            hosts.extend(nodes);
        }
    }
    Ok(config)
}

/// `host:port`, the host in brackets if it is an IPv6 address.
fn server(text: &str) -> Result<Server, Error> {
    let fault = || Error::new(ErrorKind::Config, "each node must be host:port, or [address]:port for IPv6");
    let (host, port) = text.rsplit_once(':').ok_or_else(fault)?;
    let is_bare = host.contains(':') && !(host.starts_with('[') && host.ends_with(']'));
    let port: u16 = port.parse().map_err(|_| fault())?;
    if host.is_empty() || is_bare { Err(fault()) } else { Ok(Server::new(without_brackets(host), port)) }
}

fn without_brackets(host: &str) -> String {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(url: &str) -> Result<Vec<String>, Error> {
        Ok(configuration(url)?.server.hosts().iter().map(|server| format!("{} {}", server.host, server.port)).collect())
    }

    #[test]
    fn servers_are_named_by_names_and_by_addresses_of_either_kind() {
        for (url, expected) in [
            ("redis://redis.internal:6380/1", vec!["redis.internal 6380"]),
            ("redis://192.0.2.1/0", vec!["192.0.2.1 6379"]),
            ("redis://[::1]:6379/0", vec!["::1 6379"]),
            ("rediss://user:p%40ss@[2001:db8::7]/0", vec!["2001:db8::7 6379"]),
            (
                "redis-cluster://[2001:db8::1]:7001?node=[2001:db8::2]:7002&node=n:7003",
                vec!["2001:db8::1 7001", "2001:db8::2 7002", "n 7003"],
            ),
            (
                "redis-sentinel://[::1]:26379/0?sentinelServiceName=m&node=%5B::1%5D:26380",
                vec!["::1 26379", "::1 26380"],
            ),
            ("redis-sentinel://s-1:26379/0?node=s-2:26379&sentinelServiceName=m", vec!["s-1 26379", "s-2 26379"]),
        ] {
            assert_eq!(hosts(url).unwrap(), expected, "{url}");
        }
        for url in [
            "redis-cluster://a:1?node=b",
            "redis-cluster://a:1?node=b:x",
            "redis-cluster://a:1?node=::1:7",
            "redis-cluster://a:1?node=:7",
            "redis://[::1/0",
        ] {
            assert!(hosts(url).is_err(), "{url}");
        }
    }

    #[test]
    fn credentials_and_the_database_are_read_as_they_are_written() {
        let config = configuration("redis-sentinel://u:p%40s%2Fs@h:1/3?sentinelServiceName=m&node=h:2").unwrap();
        assert_eq!(
            (config.username.as_deref(), config.password.as_deref(), config.database),
            (Some("u"), Some("p@s/s"), Some(3))
        );
    }
}
