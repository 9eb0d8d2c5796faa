//! The keys of routes for connections that stay open.

use std::fmt::Display;

use super::reader::Reader;
use crate::guard::public_url::PublicUrl;
use crate::guard::upgrade::{Protocol, StreamRules};

/// Reads `upgrades` and `allowed_origins` of a route.
pub(super) fn read_rules(section: &mut Reader) -> StreamRules {
    let default = StreamRules::default();
    let origin = |text: &str| PublicUrl::parse(text).map(|url| url.origin().to_owned());
    StreamRules {
        upgrades: read_list(section, "upgrades", Protocol::parse).unwrap_or(default.upgrades),
        allowed_origins: read_list(section, "allowed_origins", origin).unwrap_or(default.allowed_origins),
    }
}

/// Reads a list, each entry of which has to pass a check.
fn read_list<T, E: Display>(section: &mut Reader, key: &str, check: impl Fn(&str) -> Result<T, E>) -> Option<Vec<T>> {
    let entries = section.optional::<Vec<String>>(key)?;
    let checked: Result<Vec<_>, _> = entries.iter().map(|entry| check(entry)).collect();
    checked.map_err(|error| section.fault(key, error.to_string())).ok()
}
