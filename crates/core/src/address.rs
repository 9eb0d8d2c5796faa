//! Addresses that secrets may be sent to.

use url::{Host, Url};

/// Is true if secrets may be sent to an address: HTTPS, or plain HTTP that never leaves this machine (R-F02).
pub fn is_safe_address(url: &Url) -> bool {
    let has_no_credentials = url.username().is_empty() && url.password().is_none();
    has_no_credentials && url.host().is_some() && (url.scheme() == "https" || is_loopback_http(url))
}

/// Is true if an address is plain HTTP on this machine.
pub fn is_loopback_http(url: &Url) -> bool {
    url.scheme() == "http"
        && match url.host() {
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            Some(Host::Domain(domain)) => domain == "localhost" || domain.ends_with(".localhost"),
            None => false,
        }
}
