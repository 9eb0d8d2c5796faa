//! Decides which addresses a provider's document may have us call: public ones, or those of the issuer's own network.
//!
//! A document from the Internet must not direct the broker's requests into the company's network (server-side request
//! forgery, for example to `169.254.169.254`). Origins that the configuration names are trusted; those that only a
//! document names are judged at each connection, after name resolution, so that DNS rebinding has no effect. A proxy
//! resolves names by itself, so restricting what it reaches is its own task.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use thiserror::Error;
use url::{Host, Origin, Url};

/// A network that an address belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AddressClass {
    /// The Internet.
    Public,
    /// RFC 1918, and the unique local addresses of RFC 4193.
    Private,
    /// The shared address space of carrier-grade NAT (RFC 6598).
    Shared,
    /// Link-local addresses (RFC 3927, RFC 4291 2.5.6), and those of the metadata services of clouds.
    LinkLocal,
    /// This machine.
    Loopback,
    /// Addresses that no provider can have: multicast, documentation, benchmarking, reserved.
    Reserved,
}

impl AddressClass {
    /// Returns the class of an address. IPv4 addresses that are written into IPv6 ones are of their own class. Pure.
    pub(crate) fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::of_v4(address),
            IpAddr::V6(address) => Self::of_v6(address),
        }
    }

    fn of_v4(address: Ipv4Addr) -> Self {
        match address.octets() {
            // "This host on this network" is where connections to it end (RFC 1122 3.2.1.3).
            [0 | 127, ..] => Self::Loopback,
            [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Self::Private,
            [100, 64..=127, ..] => Self::Shared,
            [169, 254, ..] => Self::LinkLocal,
            [192, 0, 0 | 2, _] | [198, 18 | 19, ..] | [198, 51, 100, _] | [203, 0, 113, _] | [224..=255, ..] => {
                Self::Reserved
            }
            _ => Self::Public,
        }
    }

    fn of_v6(address: Ipv6Addr) -> Self {
        let embedded = |high: u16, low: u16| {
            let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
            Self::of_v4(Ipv4Addr::new(a, b, c, d))
        };
        match address.segments() {
            [0, 0, 0, 0, 0, 0, 0, 0 | 1] => Self::Loopback,
            // Mapped, compatible, translated (RFC 4291 2.5.5, RFC 6052), 6to4 (RFC 3056).
            [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
            | [0, 0, 0, 0, 0xffff, 0, high, low]
            | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
            | [0x2002, high, low, ..] => embedded(high, low),
            // Metadata services of Amazon and Google, and link-local addresses.
            [0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x254] | [0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x254] | [0xfe80..=0xfebf, ..] => {
                Self::LinkLocal
            }
            [0xfc00..=0xfdff | 0xfec0..=0xfeff, ..] => Self::Private,
            // Documentation, and Teredo, which embeds another address.
            [0x2001, segment, ..] if segment == 0xdb8 || segment == 0 => Self::Reserved,
            [0x2000..=0x3fff, ..] => Self::Public,
            _ => Self::Reserved,
        }
    }
}

/// The reason why a host is not called: the class of its network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("its address is of another network than the issuer's: `private_addresses = true` lets that be")]
pub(crate) struct ForeignNetwork;

/// A guard over the hosts that are called. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct AddressGuard(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// The host of the documents; `None` if the configuration lets every address be.
    issuer: Option<String>,
    /// Origins (scheme, host and port) that the configuration names.
    named: HashSet<Origin>,
    /// The hosts of those: never judged when we connect, since that cannot be told by port.
    named_hosts: HashSet<String>,
    /// Hosts that only a document names.
    judged: RwLock<HashSet<String>>,
}

impl AddressGuard {
    /// Makes a guard that judges nothing.
    pub(crate) fn open() -> Self {
        Self::new(None, std::iter::empty())
    }

    /// Makes a guard that judges by the issuer's network; nothing without one. The origins `named` by the configuration
    /// are trusted.
    pub(crate) fn new<'a>(issuer: Option<&str>, named: impl Iterator<Item = &'a Url>) -> Self {
        let issuer = issuer.and_then(|issuer| Url::parse(issuer).ok());
        let urls: Vec<_> = named.cloned().chain(issuer.clone()).collect();
        let named_hosts = urls.iter().filter_map(Url::host_str).map(str::to_owned).collect();
        let named = urls.iter().map(Url::origin).collect();
        let issuer = issuer.as_ref().and_then(Url::host_str).map(str::to_owned);
        Self(Arc::new(Inner { issuer, named, named_hosts, judged: RwLock::default() }))
    }

    /// Judges the hosts of these addresses from now on. What is written as an address is judged at once, since it is
    /// never resolved; and so is another port of a host that the configuration names, as far as its name resolves here.
    ///
    /// # Errors
    /// [`ForeignNetwork`].
    pub(crate) async fn judge(&self, urls: impl Iterator<Item = &Url>) -> Result<(), ForeignNetwork> {
        if self.0.issuer.is_none() {
            return Ok(());
        }
        let mut classes = Vec::new();
        for url in urls.filter(|url| !self.0.named.contains(&url.origin())) {
            match url.host() {
                Some(Host::Domain(domain)) if self.0.named_hosts.contains(domain) => {
                    classes.extend(classes_of(domain).await);
                }
                Some(Host::Domain(domain)) => {
                    let mut judged = self.0.judged.write().unwrap_or_else(PoisonError::into_inner);
                    judged.insert(domain.to_owned());
                }
                Some(Host::Ipv4(address)) => classes.push(AddressClass::of(IpAddr::V4(address))),
                Some(Host::Ipv6(address)) => classes.push(AddressClass::of(IpAddr::V6(address))),
                None => {}
            }
        }
        if self.lets_be(classes).await { Ok(()) } else { Err(ForeignNetwork) }
    }

    fn is_judged(&self, host: &str) -> bool {
        self.0.judged.read().unwrap_or_else(PoisonError::into_inner).contains(host)
    }

    /// Is true if all of these may be called.
    async fn lets_be(&self, classes: Vec<AddressClass>) -> bool {
        if classes.iter().all(|class| *class == AddressClass::Public) {
            return true;
        }
        let issuers = match &self.0.issuer {
            Some(host) => classes_of(host).await,
            None => return true,
        };
        are_fit(&classes, &issuers)
    }
}

/// Is true if each address is public or of a network that the issuer is in. Pure.
fn are_fit(classes: &[AddressClass], issuers: &[AddressClass]) -> bool {
    classes.iter().all(|class| *class == AddressClass::Public || issuers.contains(class))
}

/// Returns the networks of a host; none if its name cannot be resolved.
async fn classes_of(host: &str) -> Vec<AddressClass> {
    let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    match literal {
        Ok(address) => vec![AddressClass::of(address)],
        Err(_) => resolved(host).await.unwrap_or_default().iter().map(|it| AddressClass::of(it.ip())).collect(),
    }
}

async fn resolved(host: &str) -> std::io::Result<Vec<SocketAddr>> {
    Ok(tokio::net::lookup_host((host, 0)).await?.collect())
}

impl Resolve for AddressGuard {
    fn resolve(&self, name: Name) -> Resolving {
        let this = self.clone();
        Box::pin(async move {
            let addresses = resolved(name.as_str()).await?;
            let classes = addresses.iter().map(|address| AddressClass::of(address.ip())).collect();
            if this.is_judged(name.as_str()) && !this.lets_be(classes).await {
                return Err(ForeignNetwork.into());
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::AddressClass::{LinkLocal, Loopback, Private, Public, Reserved, Shared};
    use super::*;

    /// One line an address: its class. Found in the registries of special addresses (RFC 6890) and by writing each of
    /// them into IPv6 in every way that there is.
    #[test]
    fn every_address_has_the_class_of_its_network_however_it_is_written() {
        for (address, class) in [
            ("93.184.216.34", Public),
            ("10.0.0.1", Private),
            ("172.16.0.1", Private),
            ("172.31.255.255", Private),
            ("172.32.0.1", Public),
            ("192.168.1.1", Private),
            ("100.64.0.1", Shared),
            ("100.100.100.200", Shared),
            ("100.128.0.1", Public),
            ("127.0.0.1", Loopback),
            ("127.255.0.9", Loopback),
            ("0.0.0.0", Loopback),
            ("169.254.169.254", LinkLocal),
            ("192.0.0.192", Reserved),
            ("224.0.0.1", Reserved),
            ("255.255.255.255", Reserved),
            ("::1", Loopback),
            ("::", Loopback),
            ("::ffff:169.254.169.254", LinkLocal),
            ("::ffff:10.0.0.1", Private),
            ("::127.0.0.1", Loopback),
            ("::ffff:0:10.0.0.1", Private),
            ("64:ff9b::a9fe:a9fe", LinkLocal),
            ("64:ff9b::5db8:d822", Public),
            ("2002:a00:1::1", Private),
            ("2001:0:4136:e378::1", Reserved),
            ("fc00::1", Private),
            ("fd12:3456::1", Private),
            ("fd00:ec2::254", LinkLocal),
            ("fd20:ce::254", LinkLocal),
            ("fe80::1", LinkLocal),
            ("fec0::1", Private),
            ("ff02::1", Reserved),
            ("2001:db8::1", Reserved),
            ("2606:2800:220:1::1", Public),
            ("100::1", Reserved),
        ] {
            assert_eq!(AddressClass::of(address.parse().unwrap()), class, "{address}");
        }
    }

    /// One line a case: the issuer, what its document names, the verdict. The addresses are literal, so nobody is asked.
    #[tokio::test]
    async fn a_document_may_name_the_internet_and_the_issuers_own_network() {
        for (issuer, named, fit) in [
            ("https://93.184.216.34", "https://93.184.216.35/token", true),
            ("https://93.184.216.34", "https://10.0.0.1/token", false),
            ("https://93.184.216.34", "https://169.254.169.254/latest/meta-data", false),
            ("https://93.184.216.34", "https://[::ffff:169.254.169.254]/", false),
            ("https://93.184.216.34", "https://2852039166/", false),
            ("https://93.184.216.34", "https://0xa9.0xfe.0xa9.0xfe/", false),
            ("https://93.184.216.34", "https://127.1/", false),
            ("https://93.184.216.34", "https://[fd00:ec2::254]/", false),
            ("https://93.184.216.34", "https://0/", false),
            ("https://10.1.2.3", "https://10.0.0.1/token", true),
            ("https://10.1.2.3", "https://[fd12::1]/token", true),
            ("https://10.1.2.3", "https://93.184.216.34/token", true),
            ("https://10.1.2.3", "https://169.254.169.254/", false),
            ("https://10.1.2.3", "https://127.0.0.1/", false),
            ("https://10.1.2.3", "https://100.64.0.1/", false),
            ("http://127.0.0.1:8080", "http://127.0.0.1:9000/token", true),
            ("http://127.0.0.1:8080", "https://[::1]/token", true),
            ("http://127.0.0.1:8080", "https://10.0.0.1/token", false),
        ] {
            let named = Url::parse(named).unwrap();
            let verdict = AddressGuard::new(Some(issuer), [].into_iter()).judge([&named].into_iter()).await;
            assert_eq!(verdict.is_ok(), fit, "{issuer} {named}");
            let own = AddressGuard::new(Some(issuer), [&named].into_iter()).judge([&named].into_iter()).await;
            assert!(own.is_ok(), "the configuration names it: {named}");
            let all = AddressGuard::new(None, [].into_iter()).judge([&named].into_iter()).await;
            assert!(all.is_ok(), "the configuration lets every address be: {named}");
        }
    }

    /// One line an address that a document names while the configuration names `https://localhost/token` and
    /// `https://10.0.0.1:8443/token`, and whether that is let be.
    #[tokio::test]
    async fn the_configuration_trusts_only_the_port_that_it_names() {
        let configured = ["https://localhost/token", "https://10.0.0.1:8443/token"].map(|it| Url::parse(it).unwrap());
        for (named, fit) in [
            ("https://localhost:443/elsewhere", true),
            ("https://localhost:6379/", false),
            ("http://localhost/token", false),
            ("https://10.0.0.1:8443/revoke", true),
            ("https://10.0.0.1/token", false),
            ("https://93.184.216.34:8443/token", true),
        ] {
            let guard = AddressGuard::new(Some("https://93.184.216.34"), configured.iter());
            let named = Url::parse(named).unwrap();
            assert_eq!(guard.judge([&named].into_iter()).await.is_ok(), fit, "{named}");
            assert!(guard.resolve("localhost".parse().unwrap()).await.is_ok(), "the configured one is called: {named}");
        }
    }

    /// Names are judged by what they resolve to when a connection is made. `localhost` is the one name that every
    /// machine resolves without asking anybody.
    #[tokio::test]
    async fn a_name_is_judged_by_what_it_resolves_to() {
        let url = Url::parse("https://localhost/token").unwrap();
        let resolve = async |guard: &AddressGuard| guard.resolve("localhost".parse().unwrap()).await.is_ok();
        let guard = AddressGuard::new(Some("https://93.184.216.34"), [].into_iter());
        assert!(resolve(&guard).await, "no document named it");
        guard.judge([&url].into_iter()).await.unwrap();
        assert!(!resolve(&guard).await);
        let at_home = AddressGuard::new(Some("http://127.0.0.1:8080"), [].into_iter());
        at_home.judge([&url].into_iter()).await.unwrap();
        assert!(resolve(&at_home).await);
    }
}
