//! The true address of a request's sender: the trusted-hop rule (R-O04, R-K04).
//!
//! `X-Forwarded-For` is read from the right, and only as long as the hop that wrote it is a configured proxy;
//! everything further left is unverified.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderValue};
use ipnet::IpNet;

/// The proxies whose word counts.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(Vec<IpNet>);

/// The nearest and the farthest known address of a request's origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress {
    /// The one who opened the connection.
    pub peer: IpAddr,
    /// The address of the client, as reported by trusted proxies.
    pub client: IpAddr,
}

impl TrustedProxies {
    /// Trusts these networks.
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    /// Is true if an address is one of the proxies.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address.to_canonical()))
    }

    /// The address a request comes from.
    pub fn client_address(&self, peer: SocketAddr, headers: &HeaderMap) -> ClientAddress {
        let peer = peer.ip().to_canonical();
        let mut client = peer;
        if !self.contains(peer) {
            return ClientAddress { peer, client };
        }
        let lines: Vec<_> = headers.get_all("x-forwarded-for").iter().collect();
        let hops = lines.iter().rev().flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
        for hop in hops {
            if !self.contains(client) {
                break;
            }
            // An unreadable hop ends the trusted part.
            let Some(address) = read_hop(hop) else { break };
            client = address;
        }
        ClientAddress { peer, client }
    }

    /// Is true if a trusted proxy says that the browser came by plain HTTP. Proxies in a row append what each of them
    /// sees, so the first value is the browser's; some say `ws` of plain HTTP that is about to become a WebSocket.
    pub fn says_plain_http(&self, peer: IpAddr, headers: &HeaderMap) -> bool {
        if !self.contains(peer) {
            return false;
        }
        let first = headers.get("x-forwarded-proto").map(HeaderValue::as_bytes).unwrap_or_default();
        let scheme = first.split(|byte| *byte == b',').next().unwrap_or_default().trim_ascii();
        scheme.eq_ignore_ascii_case(b"http") || scheme.eq_ignore_ascii_case(b"ws")
    }
}

/// An address, with or without a port.
fn read_hop(hop: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(hop).ok()?.trim();
    let address = text.parse::<IpAddr>().or_else(|_| text.parse::<SocketAddr>().map(|socket| socket.ip()));
    address.ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R-O04: one line a case.
    #[test]
    fn only_what_trusted_proxies_wrote_is_believed() {
        let trusted = TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap()]);
        for (peer, lines, expected) in [
            ("203.0.113.9:1", &["198.51.100.1"][..], "203.0.113.9"),
            ("10.0.0.1:1", &[], "10.0.0.1"),
            ("10.0.0.1:1", &["198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1:1", &["6.6.6.6, 198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1:1", &["6.6.6.6", "198.51.100.1, 10.0.0.2"], "198.51.100.1"),
            ("10.0.0.1:1", &["6.6.6.6, junk"], "10.0.0.1"),
            ("10.0.0.1:1", &["198.51.100.1:4711"], "198.51.100.1"),
            ("[::ffff:10.0.0.1]:1", &["2001:db8::1"], "2001:db8::1"),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append("x-forwarded-for", line.parse().unwrap());
            }
            let found = trusted.client_address(peer.parse().unwrap(), &headers);
            assert_eq!(found.client.to_string(), expected, "{peer} {lines:?}");
        }
    }

    /// R-B11. One line a case: the first was seen; the others are how proxies in a row write, whether in one line or in two.
    #[test]
    fn the_first_scheme_is_the_browsers() {
        let trusted = TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap()]);
        for (lines, plain) in [
            (&["https, http"][..], false),
            (&["https", "http"], false),
            (&["https,http,http"], false),
            (&["HTTPS"], false),
            (&["wss"], false),
            (&[""], false),
            (&[], false),
            (&["http"], true),
            (&[" HTTP , https"], true),
            (&["http", "https"], true),
            (&["ws"], true),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append("x-forwarded-proto", line.parse().unwrap());
            }
            assert_eq!(trusted.says_plain_http([10, 0, 0, 1].into(), &headers), plain, "{lines:?}");
            assert!(!trusted.says_plain_http([11, 0, 0, 1].into(), &headers), "{lines:?}");
        }
    }
}
