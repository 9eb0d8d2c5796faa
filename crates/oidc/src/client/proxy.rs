//! The proxy between us and providers, for networks without direct access to the Internet.
//!
//! HTTPS goes through a tunnel (CONNECT, RFC 9110 9.3.6): the proxy learns the provider's name alone, and resolves it.
//! For providers alone, never for upstreams or the store. What stays on this machine is always reached directly.

use std::sync::Arc;

use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use reqwest::NoProxy;
use thiserror::Error;
use url::{Position, Url};

use counterfoil_core::secret::Secret;

/// Hosts that are never asked through a proxy.
const THIS_MACHINE: &str = "localhost,127.0.0.0/8,::1";

/// An address that cannot be a proxy's. The error repeats nothing of it, since it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("must be the address of an HTTP proxy, such as http://user:password@proxy.example.com:3128")]
pub struct NoProxyAddress;

/// A proxy, and which names are reached without it.
#[derive(Debug, Clone)]
pub struct ProviderProxy {
    address: Secret<String>,
    /// The address without the password.
    shown: String,
    direct: String,
    matcher: Arc<Matcher>,
}

impl ProviderProxy {
    /// Makes a proxy of an address, with or without a scheme; `direct` are names, domains (`.example.com`) and networks
    /// that are reached without it, or `*`.
    ///
    /// # Errors
    /// [`NoProxyAddress`].
    pub fn new(address: &str, direct: &[String]) -> Result<Self, NoProxyAddress> {
        // The usual variables often hold a host and a port alone.
        let address = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
        let url = Url::parse(&address).map_err(|_| NoProxyAddress)?;
        let is_plain = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) || !is_plain {
            return Err(NoProxyAddress);
        }
        let shown = format!("{}://{}", url.scheme(), &url[Position::BeforeHost..Position::AfterPort]);
        // Some write `*.example.com` for what every tool calls `.example.com`.
        let direct = direct.iter().map(|name| name.trim().strip_prefix("*.").unwrap_or(name.trim()));
        let direct = [THIS_MACHINE].into_iter().chain(direct).collect::<Vec<_>>().join(",");
        let matcher = Arc::new(Matcher::builder().https(shown.clone()).no(direct.clone()).build());
        Ok(Self { address: Secret::new(address), shown, direct, matcher })
    }

    /// Returns the proxy on the way to an address, without its password; none if that is reached directly.
    pub fn on_the_way_to(&self, url: &Url) -> Option<&str> {
        let url: Uri = url.as_str().parse().ok()?;
        self.matcher.intercept(&url).map(|_| self.shown.as_str())
    }

    /// Returns the same for the HTTP client, which decides by the same rules.
    pub(crate) fn for_client(&self) -> Result<reqwest::Proxy, reqwest::Error> {
        Ok(reqwest::Proxy::https(self.address.expose().as_str())?.no_proxy(NoProxy::from_string(&self.direct)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    /// RFC 9110 9.3.6: one line a case. The members were found by reading what curl, Go and Python take for a name.
    #[test]
    fn only_https_to_elsewhere_goes_through_the_proxy() {
        let direct =
            ["idp.internal", ".corp.example", "*.wild.example", "10.0.0.0/8", "2001:db8::/32"].map(str::to_owned);
        let proxy = ProviderProxy::new("http://user:CANARY@proxy.test:3128", &direct).unwrap();
        for (address, is_proxied) in [
            ("https://idp.example.com/x", true),
            ("https://idp.example.com:8443/x", true),
            ("https://login.idp.internal", false),
            ("https://idp.internal", false),
            ("https://notidp.internal", true),
            ("https://a.corp.example", false),
            ("https://a.wild.example", false),
            ("https://10.1.2.3", false),
            ("https://11.1.2.3", true),
            ("https://[2001:db8::1]", false),
            ("https://[2001:db9::1]", true),
            ("https://127.0.0.2:8443", false),
            ("https://[::1]", false),
            ("https://localhost", false),
            ("http://127.0.0.1", false),
            ("http://idp.localhost", false),
        ] {
            let through = proxy.on_the_way_to(&url(address));
            assert_eq!(through, is_proxied.then_some("http://proxy.test:3128"), "{address}");
        }
        assert!(ProviderProxy::new("proxy", &["*".into()]).unwrap().on_the_way_to(&url("https://x.test")).is_none());
        assert!(!format!("{proxy:?}").contains("CANARY"), "{proxy:?}");
    }

    #[test]
    fn what_is_no_http_proxy_is_refused_without_being_repeated() {
        for (address, shown) in [
            ("proxy:3128", Some("http://proxy:3128")),
            ("http://proxy", Some("http://proxy")),
            ("https://user:p%40ss@proxy:8443/", Some("https://proxy:8443")),
            ("http://[::1]:3128", Some("http://[::1]:3128")),
            ("socks5://proxy:1080", None),
            ("http://", None),
            ("http://proxy/path", None),
            ("http://proxy?x=y", None),
            ("ftp://proxy", None),
            ("http://proxy:port", None),
            ("", None),
        ] {
            let proxy = ProviderProxy::new(address, &[]);
            assert_eq!(proxy.as_ref().ok().map(|proxy| proxy.shown.as_str()), shown, "{address}");
        }
    }
}
