//! `[network]`: the proxy to providers, set here or in the variables that every tool reads.

use std::collections::BTreeMap;

use super::reader::Reader;
use crate::idp::ProviderProxy;

/// The variables in which others look for a proxy, the first one first. Not `HTTP_PROXY`: nothing goes out by plain
/// HTTP, and a CGI server lets clients set it.
const PROXIES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
const EXCEPTIONS: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// Reads the section, and what it leaves open from the environment. An empty text is a word too: no proxy.
pub(super) fn read(section: &mut Reader, environment: &BTreeMap<String, String>) -> Option<ProviderProxy> {
    let usual = |names: &[&'static str]| {
        let given = |name: &&'static str| Some((*name, environment.get(*name).filter(|value| !value.is_empty())?));
        names.iter().find_map(given)
    };
    let own = section.secret("https_proxy");
    let direct = section.optional::<Vec<String>>("no_proxy").unwrap_or_else(|| {
        let usual = usual(&EXCEPTIONS).map(|(_, names)| names.split([',', ' ']));
        usual.into_iter().flatten().map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
    });
    let (address, variable) = match &own {
        Some(own) => (own.expose(), None),
        None => usual(&PROXIES).map(|(name, address)| (address, Some(name)))?,
    };
    if address.is_empty() {
        return None;
    }
    let proxy = ProviderProxy::new(address, &direct);
    let from =
        variable.map_or_else(String::new, |name| format!(" (this one is from {name}; \"\" here is none at all)"));
    proxy.map_err(|error| section.fault("https_proxy", format!("{error}{from}"))).ok()
}
